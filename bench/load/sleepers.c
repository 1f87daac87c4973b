/*
 * sleepers - many MQTT-SN sensors behind forwarders that connect, subscribe, fall asleep, and are woken one after the
 * other. Linux, loopback only, one thread, memory of a few bytes for each sensor. bench/million.mjs and
 * bench/upstream.mjs run it and say what it means.
 *
 *   -n sensors  -p UDP port of the gateway  -P TCP port of the broker  -F forwarders  -C sensors that connect at a time
 *   -r wakes a second  -m messages buffered for one sensor in a hundred  -S seconds after which no other sensor connects
 *   -w unacknowledged messages to the sensors that wake; without it -r is kept, however late they are acknowledged
 *   -W seconds after which no other sensor wakes
 *   -g sensors that are refused try again, and the publisher whose connection is closed; without -g each is the end
 *
 * Reads commands from standard input, one a line, and answers each with a line of JSON:
 *
 *   connect   every sensor: CONNECT, SUBSCRIBE to a topic of its own, DISCONNECT with a sleep duration
 *   buffer    publishes -m QoS 1 messages to the topic of one sensor in a hundred, over MQTT
 *   wake      wakes all at -r a second, whether or not the ones before have been answered; each of the other sensors
 * gets one QoS 1 message published two seconds before. A wake takes from the instant it was due to PINGRESP.
 *
 * Every sensor has to receive exactly the messages that were published to it, in their order. A message sent again
 * (DUP) after it was received is counted, not an error: at least once is what QoS 1 promises.
 */
#include "load.h"

#define MAX_FORWARDERS 64
#define BATCH 64
#define DATAGRAM 256
#define ENVELOPE 7 /* octets before an encapsulated message: length, type, control, four of node id */
#define PAYLOAD 32
#define BUFFERED_EVERY 100
#define PUBLISH_WINDOW 500
#define PUBLISH_LEAD_NS (2 * NS_PER_S)
#define RETRY_NS (2 * NS_PER_S) /* doubled with each retry, or an overload would feed itself */
#define RETRIES_DOUBLED 4
#define WAKES_MAX 10
#define GIVE_UP_NS (60 * NS_PER_S)
#define SLEEP_SECONDS 65535

enum { ADVERTISE = 0x00, CONNECT = 0x04, CONNACK, REGISTER = 0x0a, REGACK, PUBLISH, PUBACK };
enum { SUBSCRIBE = 0x12, SUBACK, PINGREQ = 0x16, PINGRESP, DISCONNECT, FORWARDED = 0xfe };
enum state { ABSENT, CONNECTING, SUBSCRIBING, FALLING_ASLEEP, ASLEEP, AWAKE };

struct sensor {
  uint64_t heard; /* when the gateway was last heard, or the request sent */
  uint64_t due;   /* when it had to wake */
  uint16_t expected, received;
  uint8_t state, wakes, retries;
};

static int sensor_count = 1000, forwarder_count = 16, at_a_time = 64, gateway_port = 1884, broker_port = 1883,
           messages = 10, tries_again = 0;
static double rate = 5000, connect_seconds = 1e6, wake_seconds = 1e6;
static uint64_t window; /* 0: none */

static struct sensor *sensors;
static int forwarders[MAX_FORWARDERS], poller, broker;
static uint64_t finished, retried, repeated, misplaced, refused, late, last_progress, lost_connections;
static struct histogram single_wakes, long_wakes;

/* ---- MQTT publisher ------------------------------------------------------------------------------------------------
 */

static uint64_t published, acknowledged;

/* What is not acknowledged, by its number. */
static struct message { uint32_t sensor, sequence; } sent[PUBLISH_WINDOW];

/* A connection that is closed is noticed by broker_receive. */
static void broker_send(const uint8_t *bytes, int length) {
  for (int done = 0; done < length;) {
    ssize_t n = send(broker, bytes + done, length - done, MSG_NOSIGNAL);
    if (n <= 0) return;
    done += n;
  }
}

static void broker_lost(void);

/* PUBACKs are the only packets that the publisher gets, of four octets each. */
static void broker_receive(void) {
  static uint8_t bytes[65536];
  static int kept;
  ssize_t n = recv(broker, bytes + kept, sizeof bytes - kept, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    kept = 0;
    broker_lost();
    return;
  }
  if (n < 0) return;
  kept += n;
  acknowledged += kept / 4;
  memmove(bytes, bytes + kept / 4 * 4, kept % 4);
  kept %= 4;
}

static void broker_open(void) {
  struct sockaddr_in address = loopback(broker_port);
  int one = 1;
  uint8_t packet[64];
  broker = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(broker, (void *)&address, sizeof address)) die("broker: %s", strerror(errno));
  setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  broker_send(packet, put_connect(packet, "publisher", 1, 0));
  if (recv(broker, packet, 4, MSG_WAITALL) != 4 || packet[3]) die("the broker refuses the publisher");
  struct epoll_event event = {.events = EPOLLIN, .data.fd = broker};
  epoll_ctl(poller, EPOLL_CTL_ADD, broker, &event);
}

static void topic_of(uint32_t sensor, char *topic, size_t size) {
  snprintf(topic, size, "site/%03u/sensor/%07u", sensor % 1000, sensor);
}

/* The payload says for which sensor the message is, and how many it got before. */
static void broker_publish(uint64_t number, struct message m) {
  uint8_t packet[128] = {0};
  char topic[64];
  topic_of(m.sensor, topic, sizeof topic);
  int length = put_publish(packet, topic, 1, 0, number % 65535 + 1, PAYLOAD);
  memcpy(packet + length, &m.sensor, 4);
  memcpy(packet + length + 4, &m.sequence, 4);
  broker_send(packet, length + PAYLOAD);
}

static void publish(uint32_t sensor) {
  struct message m = {sensor, sensors[sensor].expected++};
  sent[published % PUBLISH_WINDOW] = m;
  broker_publish(published++, m);
}

/* The publisher connects again, and sends what is not acknowledged. */
static void broker_lost(void) {
  if (!tries_again) die("the broker has closed the connection");
  close(broker);
  broker_open();
  lost_connections++;
  for (uint64_t number = acknowledged; number < published; number++) broker_publish(number, sent[number % PUBLISH_WINDOW]);
}

/* ---- Sensors -------------------------------------------------------------------------------------------------------
 */

static void sensor_send(uint32_t sensor, const uint8_t *message, int length) {
  uint8_t datagram[DATAGRAM] = {ENVELOPE, FORWARDED, 0, sensor >> 24, sensor >> 16, sensor >> 8, sensor};
  memcpy(datagram + ENVELOPE, message, length);
  send(forwarders[sensor % forwarder_count], datagram, ENVELOPE + length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sends the request that belongs to the sensor's state, or sends it again. */
static void request(uint32_t sensor) {
  uint8_t message[DATAGRAM];
  char text[64];
  int length = 0;
  switch (sensors[sensor].state) {
  case CONNECTING:
    length = 6 + snprintf(text, sizeof text, "sensor-%07u", sensor);
    memcpy(message, (uint8_t[]){length, CONNECT, 0, 1, SLEEP_SECONDS >> 8, SLEEP_SECONDS & 255}, 6);
    memcpy(message + 6, text, length - 6);
    break;
  case SUBSCRIBING:
    topic_of(sensor, text, sizeof text);
    length = 5 + strlen(text);
    memcpy(message, (uint8_t[]){length, SUBSCRIBE, 1 << 5, 0, 1}, 5);
    memcpy(message + 5, text, length - 5);
    break;
  case FALLING_ASLEEP:
    length = 4;
    memcpy(message, (uint8_t[]){4, DISCONNECT, SLEEP_SECONDS >> 8, SLEEP_SECONDS & 255}, 4);
    break;
  case AWAKE:
    length = 2 + snprintf(text, sizeof text, "sensor-%07u", sensor);
    memcpy(message, (uint8_t[]){length, PINGREQ}, 2);
    memcpy(message + 2, text, length - 2);
    break;
  }
  sensor_send(sensor, message, length);
}

static void enter(uint32_t sensor, enum state state, uint64_t now) {
  sensors[sensor].state = state;
  sensors[sensor].heard = now;
  sensors[sensor].retries = 0;
  if (state == ASLEEP) finished++;
  else request(sensor);
}

static void received(uint32_t sensor, const uint8_t *payload) {
  struct sensor *s = &sensors[sensor];
  uint32_t addressee, sequence;
  memcpy(&addressee, payload, 4);
  memcpy(&sequence, payload + 4, 4);
  if (addressee != sensor || sequence > s->received) misplaced++;
  else if (sequence < s->received) repeated++;
  else s->received++;
}

/*
 * PINGRESP. A message that the broker read too late to be there for this wake is not lost: the sensor is woken again,
 * by `retry`, and the wake takes until then.
 */
static void woken(uint32_t sensor, uint64_t now) {
  struct sensor *s = &sensors[sensor];
  if (s->received < s->expected && ++s->wakes < WAKES_MAX) {
    late++;
    return;
  }
  histogram_add(s->expected > 1 ? &long_wakes : &single_wakes, now - s->due);
  enter(sensor, ASLEEP, now);
}

static void handle(uint32_t sensor, const uint8_t *m, int length, uint64_t now) {
  if (sensor >= (uint32_t)sensor_count || length < 2 || m[0] != length) return;
  struct sensor *s = &sensors[sensor];
  s->heard = last_progress = now;
  switch (m[1]) {
  case CONNACK:
    if (s->state != CONNECTING || length < 3) return;
    if (m[2]) refused++; /* `retry` sends it again */
    else enter(sensor, SUBSCRIBING, now);
    return;
  case SUBACK:
    if (s->state != SUBSCRIBING || length < 8) return;
    if (m[7]) refused++;
    else enter(sensor, FALLING_ASLEEP, now);
    return;
  case DISCONNECT:
    if (s->state == FALLING_ASLEEP) enter(sensor, ASLEEP, now);
    else if (s->state == AWAKE) refused++;
    return;
  case REGISTER:
    if (length >= 6) sensor_send(sensor, (uint8_t[]){7, REGACK, m[2], m[3], m[4], m[5], 0}, 7);
    return;
  case PUBLISH:
    if (length != 7 + PAYLOAD) return;
    received(sensor, m + 7);
    sensor_send(sensor, (uint8_t[]){7, PUBACK, m[3], m[4], m[5], m[6], 0}, 7);
    return;
  case PINGRESP:
    if (s->state == AWAKE) woken(sensor, now);
    return;
  }
}

static void receive(int forwarder) {
  static uint8_t bytes[BATCH][DATAGRAM];
  static struct mmsghdr headers[BATCH];
  static struct iovec parts[BATCH];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){bytes[i], DATAGRAM};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  for (int n = BATCH; n == BATCH;) {
    n = recvmmsg(forwarder, headers, BATCH, MSG_DONTWAIT, NULL);
    uint64_t now = now_ns();
    for (int i = 0; i < n; i++) {
      const uint8_t *b = bytes[i];
      int length = headers[i].msg_len;
      if (length <= ENVELOPE || b[0] != ENVELOPE || b[1] != FORWARDED) continue;
      handle((uint32_t)b[3] << 24 | b[4] << 16 | b[5] << 8 | b[6], b + ENVELOPE, length - ENVELOPE, now);
    }
  }
}

static void open_forwarders(void) {
  struct sockaddr_in gateway = loopback(gateway_port);
  int size = 8 << 20;
  for (int i = 0; i < forwarder_count; i++) {
    forwarders[i] = socket(AF_INET, SOCK_DGRAM, 0);
    if (forwarders[i] < 0 || connect(forwarders[i], (void *)&gateway, sizeof gateway))
      die("gateway: %s", strerror(errno));
    if (setsockopt(forwarders[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
      setsockopt(forwarders[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = forwarders[i]};
    epoll_ctl(poller, EPOLL_CTL_ADD, forwarders[i], &event);
  }
}

static void poll_for(int milliseconds) {
  struct epoll_event events[MAX_FORWARDERS + 1];
  int count = epoll_wait(poller, events, MAX_FORWARDERS + 1, milliseconds);
  for (int i = 0; i < count; i++) {
    if (events[i].data.fd == broker) broker_receive();
    else receive(events[i].data.fd);
  }
}

static int has_stalled(void) {
  return now_ns() - last_progress > GIVE_UP_NS;
}

/* ---- Phases --------------------------------------------------------------------------------------------------------
 */

static uint64_t wake_stride;

static uint64_t common_divisor(uint64_t a, uint64_t b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

/* Each sensor is 0.618 of all away from the one woken before it: an order that has nothing to do with that of connecting. */
static void choose_wake_order(void) {
  wake_stride = sensor_count * 0.6180339887;
  while (common_divisor(++wake_stride, sensor_count) > 1) continue;
}

static uint32_t in_wake_order(uint64_t place) {
  return place * wake_stride % sensor_count;
}

/* Sends requests again that were not answered. `first`, `next`: places in the order of `sensor_at`. Returns the first
 * place not at rest. */
static uint64_t retry(uint64_t first, uint64_t next, uint32_t (*sensor_at)(uint64_t)) {
  static uint64_t last;
  uint64_t now = now_ns();
  if (now - last < 100 * NS_PER_MS) return first;
  last = now;
  while (first < next && sensors[sensor_at(first)].state == ASLEEP) first++;
  for (uint64_t place = first; place < next; place++) {
    struct sensor *s = &sensors[sensor_at(place)];
    if (s->state == ASLEEP || now - s->heard < RETRY_NS << s->retries) continue;
    s->heard = now;
    if (s->retries < RETRIES_DOUBLED) s->retries++;
    retried++;
    request(sensor_at(place));
  }
  return first;
}

static uint32_t in_order(uint64_t place) {
  return place;
}

static void connect_all(void) {
  uint64_t began = now_ns(), next = 0, first = 0;
  double cpu = own_cpu();
  last_progress = began;
  while (finished < (uint64_t)sensor_count && (tries_again || !refused) && !has_stalled()) {
    while (next < (uint64_t)sensor_count && next - finished < (uint64_t)at_a_time) enter(next++, CONNECTING, now_ns());
    if (now_ns() - began > connect_seconds * 1e9) sensor_count = next;
    poll_for(20);
    first = retry(first, next, in_order);
  }
  double seconds = (now_ns() - began) / 1e9;
  printf("{\"asleep\":%lu,\"begun\":%d,\"refused\":%lu,\"retried\":%lu,\"seconds\":%.3f", finished,
         sensor_count, refused, retried, seconds);
  printf(",\"loadUse\":%.3f}\n", (own_cpu() - cpu) / seconds);
}

static void buffer(void) {
  uint64_t began = now_ns(), before = published;
  last_progress = began;
  for (int round = 0; round < messages; round++)
    for (int sensor = 0; sensor < sensor_count; sensor += BUFFERED_EVERY) {
      publish(sensor);
      for (uint64_t open = published - acknowledged; open >= PUBLISH_WINDOW && !has_stalled();
           open = published - acknowledged)
        poll_for(20);
    }
  while (acknowledged < published && !has_stalled()) poll_for(20);
  printf("{\"buffered\":%lu,\"acknowledged\":%lu,\"seconds\":%.3f}\n", published - before, acknowledged,
         (now_ns() - began) / 1e9);
}

static void print_histogram(const char *name, const struct histogram *h) {
  printf(",\"%s\":{\"count\":%lu,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name, h->count,
         histogram_at(h, 0.5) / 1e6, histogram_at(h, 0.99) / 1e6, histogram_at(h, 0.999) / 1e6, h->max / 1e6);
}

static void wake_all(void) {
  uint64_t total = sensor_count, announced = 0, next = 0, first = 0, behind = 0, lost = 0, expected = 0, slot;
  uint64_t began = now_ns(), first_due = began + PUBLISH_LEAD_NS;
  double cpu = own_cpu(), interval = 1e9 / rate;
  finished = retried = refused = 0;
  choose_wake_order();
  last_progress = first_due;
  while (finished < total && !refused && !(now_ns() > last_progress && has_stalled())) {
    uint64_t now = now_ns();
    if (now - began > wake_seconds * 1e9) total = announced;
    for (; announced < total && (slot = began + (uint64_t)(announced * interval)) <= now; announced++) {
      uint32_t sensor = in_wake_order(announced);
      if (window && published - acknowledged >= window) break;
      sensors[sensor].due = PUBLISH_LEAD_NS + (window ? now : slot);
      if (!sensors[sensor].expected) publish(sensor);
    }
    for (; next < announced && sensors[in_wake_order(next)].due <= now; next++) {
      uint32_t sensor = in_wake_order(next);
      if (now - sensors[sensor].due > behind) behind = now - sensors[sensor].due;
      enter(sensor, AWAKE, now);
    }
    poll_for(next < total ? 1 : 20);
    first = retry(first, next, in_wake_order);
  }
  double seconds = (now_ns() - first_due) / 1e9;
  for (uint64_t i = 0; i < (uint64_t)sensor_count; i++) {
    expected += sensors[i].expected;
    lost += sensors[i].expected - sensors[i].received;
  }
  printf("{\"begun\":%lu,\"lostConnections\":%lu,", total, lost_connections);
  printf("\"woken\":%lu,\"refused\":%lu,\"retried\":%lu,\"expected\":%lu,\"lost\":%lu,\"repeated\":%lu,"
         "\"misplaced\":%lu,\"late\":%lu,\"seconds\":%.3f",
         finished, refused, retried, expected, lost, repeated, misplaced, late, seconds);
  printf(",\"loadUse\":%.3f,\"behindMs\":%.3f", (own_cpu() - cpu) / seconds, behind / 1e6);
  print_histogram("single", &single_wakes);
  print_histogram("long", &long_wakes);
  printf("}\n");
}

int main(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "n:p:P:F:C:r:m:S:w:W:g")) != -1;) switch (option) {
    case 'n': sensor_count = atoi(optarg); break;
    case 'p': gateway_port = atoi(optarg); break;
    case 'P': broker_port = atoi(optarg); break;
    case 'F': forwarder_count = atoi(optarg); break;
    case 'C': at_a_time = atoi(optarg); break;
    case 'r': rate = atof(optarg); break;
    case 'm': messages = atoi(optarg); break;
    case 'S': connect_seconds = atof(optarg); break;
    case 'w': window = atoi(optarg); break;
    case 'W': wake_seconds = atof(optarg); break;
    case 'g': tries_again = 1; break;
    default: die("sleepers: see the head of sleepers.c");
    }
  if (sensor_count < 1 || forwarder_count < 1 || forwarder_count > MAX_FORWARDERS ||
      at_a_time < 1 || rate <= 0 || messages < 0 || messages > 65535 || window > PUBLISH_WINDOW)
    die("sleepers: option out of range");
  setlinebuf(stdout);
  sensors = allocate(sensor_count, sizeof *sensors);
  poller = epoll_create1(0);
  open_forwarders();
  broker_open();
  for (char line[64]; fgets(line, sizeof line, stdin);) {
    if (!strcmp(line, "connect\n")) connect_all();
    else if (!strcmp(line, "buffer\n")) buffer();
    else if (!strcmp(line, "wake\n")) wake_all();
  }
  return 0;
}
