/* A battery-powered sensor that speaks MQTT-SN 1.2 over UDP. docs/writing-a-sensor.md explains every octet of it.
       gcc -Wall -o sensor examples/sensor.c && ./sensor 127.0.0.1 1884 60
   publishes a reading, sleeps 60 seconds, and wakes to print what has been published on site/7/set meanwhile. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#ifndef T_RETRY
#define T_RETRY 10 /* seconds until a message without an answer is sent again; N_RETRY: how often */
#endif
#define N_RETRY 3
enum { CONNECT = 4, CONNACK, REGISTER = 0x0a, REGACK, PUBLISH, PUBACK, SUBSCRIBE = 0x12, SUBACK, PINGREQ = 0x16, PINGRESP, DISCONNECT };
static int gateway;            /* the socket, connected to the gateway */
static unsigned char got[256]; /* the last message from it: Length, MsgType, and the rest */

static void die(const char *text) { fprintf(stderr, "sensor: %s\n", text); exit(1); }

/* Accepts a message or a topic id of the gateway: `ids` points to its TopicId and MsgId. */
static void accept_it(int type, const unsigned char *ids) {
    unsigned char out[] = {7, type, ids[0], ids[1], ids[2], ids[3], 0};
    send(gateway, out, sizeof out, 0);
}

/* Sends Length, MsgType, the octets of `head` and a text, again and again until `answer` comes. Replies to what comes before. */
static void ask(int type, const void *head, int size, const char *text, int answer, int msg_id) {
    unsigned char out[256] = {2 + size + strlen(text), type};
    memcpy(out + 2, head, size);
    memcpy(out + 2 + size, text, strlen(text));
    for (int copies = 0; copies <= N_RETRY; copies++) {
        if (copies > 0 && (type == PUBLISH || type == SUBSCRIBE)) out[2] |= 0x80; /* DUP: sent before */
        send(gateway, out, out[0], 0);
        for (time_t until = time(NULL) + T_RETRY; time(NULL) < until;) {
            ssize_t n = recv(gateway, got, sizeof got, 0);
            if (n < 2 || got[0] != n) continue; /* nothing for a second, or not MQTT-SN, or too long for us */
            if (got[1] == REGISTER && n > 6) accept_it(REGACK, got + 2);
            if (got[1] == PUBLISH && n >= 7) printf("site/7/set: %.*s\n", (int)n - 7, got + 7);
            if (got[1] == PUBLISH && n >= 7 && (got[2] & 0x60) == 0x20) accept_it(PUBACK, got + 3); /* QoS 1 */
            if (got[1] == DISCONNECT && answer != DISCONNECT) die("the gateway does not know us: connect again");
            if (got[1] != answer || (msg_id && (got[n - 3] << 8 | got[n - 2]) != msg_id)) continue;
            if (answer < PINGRESP && got[n - 1] != 0) die("refused: the last octet of the answer says why");
            return;
        }
    }
    die("no answer");
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: sensor ADDRESS PORT SECONDS");
    const char *id = "node-7";
    int seconds = atoi(argv[3]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr.s_addr = inet_addr(argv[1])};
    struct timeval wait = {.tv_sec = 1};
    gateway = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(gateway, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(gateway, (struct sockaddr *)&to, sizeof to) != 0) die("no such address");

    ask(CONNECT, "\x00\x01\x00\x3c", 4, id, CONNACK, 0); /* keep the session; keep alive 60 s */
    ask(REGISTER, "\x00\x00\x00\x01", 4, "site/7/temp", REGACK, 1);
    unsigned char publish[] = {0x20, got[2], got[3], 0, 3}; /* QoS 1, the topic id from REGACK, MsgId 3 */
    ask(SUBSCRIBE, "\x20\x00\x02", 3, "site/7/set", SUBACK, 2);
    ask(PUBLISH, publish, sizeof publish, "21.5", PUBACK, 3);
    unsigned char sleep_for[] = {seconds >> 8, seconds};
    ask(DISCONNECT, sleep_for, sizeof sleep_for, "", DISCONNECT, 0);
    sleep(seconds); /* the radio is off */
    ask(PINGREQ, "", 0, id, PINGRESP, 0); /* ask() prints what has waited */
    ask(DISCONNECT, "", 0, "", DISCONNECT, 0);
    return 0;
}
