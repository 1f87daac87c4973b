/*
 * snload - load for an MQTT-SN 1.2 gateway on the loopback interface: one thread, epoll, Linux. Each sensor has a UDP
 * socket of its own; the MQTT clients on the other side are built in.
 *
 *   pub    -N sensors publish to an MQTT subscriber, -q QoS (-1 to 2)
 *   sub    an MQTT publisher to -N sensors with a topic each, -a: with the same topic
 *   sn2sn  -N sensors publish to -N others, in pairs
 *   sleep  -N sensors subscribe and fall asleep, -m messages are published for each over MQTT, then each is woken
 *   idle   -N connected sensors, -u: with a subscription each
 *   storm  -n times: new port, CONNECT, CONNACK, DISCONNECT
 *
 * -p UDP port of the gateway, -P TCP port of the broker, -x process ids to measure, -T time limit in seconds, -C
 * sensors in progress at a time, -A source port of the first sensor, -i milliseconds until a request is sent again, -d
 * measured seconds after -w seconds of warm-up, -W messages of one publisher (sub: of all) that may be outstanding, or
 * -r messages a second. Prints one JSON object.
 *
 * QoS 1 and 2 keep W messages open per sensor and send them again with DUP. QoS -1 and 0 have no acknowledgement: there
 * a sensor has at most W messages that have not been delivered; what is not within 250 ms counts as lost.
 */
#include "load.h"
#include "mqtt.h"

#define MAX_SENSORS 40000
#define BATCH 64
#define DATAGRAM 256
#define WINDOW_MAX 1024
#define PAYLOAD 32
#define GIVE_UP_NS (1500 * NS_PER_MS)
#define SCAN_NS (50 * NS_PER_MS)
#define SLEEP_SECONDS 3600
#define KEEP_ALIVE 600
#define MQTT_UNACKNOWLEDGED_MAX 500

enum { ADVERTISE = 0x00, CONNECT = 0x04, CONNACK, REGISTER = 0x0a, REGACK, PUBLISH, PUBACK, PUBCOMP, PUBREC, PUBREL };
enum { SUBSCRIBE = 0x12, SUBACK, PINGREQ = 0x16, PINGRESP, DISCONNECT };
enum state { ABSENT, CONNECTING, REGISTERING, SUBSCRIBING, READY, FALLING_ASLEEP, ASLEEP, DRAINING, DONE, FAILED };
enum kind { SENSOR = 1, STREAM };

enum slot_state { FREE, PUBLISHED, RELEASED };
struct slot {
  enum slot_state state;
  int tries;
  uint16_t message_id;
  uint32_t sequence;
  uint64_t sent_at;
};

struct sensor {
  int kind, fd, index, publishes, tries, open, is_marked;
  enum state state;
  uint16_t message_id, topic_id, request_id;
  uint64_t asked, sent, delivered, last_delivery;
  struct slot *slots;
  uint32_t next_sequence;
};

static int gateway_port = 1884, broker_port = 1883, sensor_count = 1, qos, window = 1, same_topic, at_a_time = 64,
           messages = 10;
static int subscribes, has_lasting_session, first_port, retry_ms = 1000;
static uint64_t connects = 20000;
static double seconds = 3, warm_up = 1, time_limit = 60, rate;

static struct sensor *sensors, **marked;
static int marked_count;
static struct stream broker = {.fd = -1};
static int is_connected, broker_subscribes;
static uint32_t *next_sequences; /* of the MQTT subscriber, for each sensor */
static uint16_t broker_packet_id;
static uint64_t broker_unacknowledged, broker_acknowledged;
static uint64_t started, ready, failed, retried, delivered, unique, duplicates, sent, acknowledged;
static int is_measuring;
static struct histogram latencies;
static void (*on_connected)(struct sensor *);
static void (*on_drained)(struct sensor *);

static int is_expired(void) {
  return now_ns() - started > time_limit * 1e9;
}

static void mark(struct sensor *s) {
  if (s->is_marked || !s->publishes) return;
  s->is_marked = 1;
  marked[marked_count++] = s;
}

/* A message has arrived: its payload is time, publisher and sequence number. */
static void arrived(uint32_t *next, int is_of_all, const uint8_t *payload, uint32_t length, uint64_t now) {
  uint64_t sent_at;
  uint32_t publisher, sequence;
  if (length < 16) return;
  memcpy(&sent_at, payload, 8);
  memcpy(&publisher, payload + 8, 4);
  memcpy(&sequence, payload + 12, 4);
  if (publisher >= (uint32_t)sensor_count) return;
  if (is_of_all) next += publisher;
  delivered++;
  if (sequence >= *next) {
    *next = sequence + 1;
    unique++;
  } else duplicates++;
  if (is_measuring) histogram_add(&latencies, now - sent_at);
  sensors[publisher].delivered++;
  sensors[publisher].last_delivery = now;
  mark(&sensors[publisher]);
}

/* ---- MQTT side -----------------------------------------------------------------------------------------------------
 */

static void on_packet(struct stream *stream, int type, const uint8_t *body, uint32_t length) {
  (void)stream;
  if (type == MQTT_CONNACK) is_connected = length == 2 && !body[1];
  else if (type == MQTT_SUBACK) broker_subscribes--;
  else if (type == MQTT_PUBACK) {
    broker_acknowledged++;
    broker_unacknowledged--;
  }
}

static void on_message(struct stream *stream, const uint8_t *payload, uint32_t length, int retained, uint64_t now) {
  (void)stream;
  if (!retained) arrived(next_sequences, 1, payload, length, now);
}

static void poll_once(int milliseconds);

static void broker_wait(void) {
  while (!is_connected || broker_subscribes > 0) {
    if (is_expired() || closed_by_peer) die("the broker does not answer");
    poll_once(20);
  }
}

static void broker_open(const char *filter) {
  struct sockaddr_in address = loopback(broker_port);
  int one = 1;
  uint8_t packet[64];
  broker.kind = STREAM;
  broker.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (broker.fd < 0 || connect(broker.fd, (void *)&address, sizeof address)) die("broker: %s", strerror(errno));
  setsockopt(broker.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &broker};
  epoll_ctl(poller, EPOLL_CTL_ADD, broker.fd, &event);
  stream_send(&broker, packet, put_connect(packet, "snload", 1, 600));
  broker_wait();
  if (!filter) return;
  broker_subscribes = 1;
  next_sequences = allocate(sensor_count, sizeof *next_sequences);
  stream_subscribe(&broker, filter, 1, qos < 0 ? 0 : qos);
  broker_wait();
}

static void put_payload(uint8_t *to, uint32_t publisher, uint32_t sequence, uint64_t now) {
  memset(to, 'x', PAYLOAD);
  memcpy(to, &now, 8);
  memcpy(to + 8, &publisher, 4);
  memcpy(to + 12, &sequence, 4);
}

/* Adds a message to the send buffer. */
static void broker_publish(const char *topic, uint32_t sensor, uint32_t sequence, int qos) {
  uint8_t *packet = stream_room(&broker, 128);
  if (qos) {
    broker_packet_id = broker_packet_id % 65535 + 1;
    broker_unacknowledged++;
  }
  int length = put_publish(packet, topic, qos, 0, broker_packet_id, PAYLOAD);
  put_payload(packet + length, sensor, sequence, now_ns());
  broker.out_length += length + PAYLOAD;
  sent++;
}

/* ---- Sensors -------------------------------------------------------------------------------------------------------
 */

static void sensor_send(const struct sensor *s, const void *message, int length) {
  /* What the socket has no room for is lost, as on any network. */
  if (send(s->fd, message, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
}

static void sensor_open(struct sensor *s) {
  struct sockaddr_in gateway = loopback(gateway_port), source = loopback(first_port + s->index);
  int one = 1, size = 1 << 20;
  s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s->fd < 0) die("socket: %s", strerror(errno));
  /* Only with a port of one's own: the kernel could give the same ephemeral port to two sockets. */
  if (first_port) setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (first_port && bind(s->fd, (void *)&source, sizeof source))
    die("bind port %d: %s", first_port + s->index, strerror(errno));
  if (connect(s->fd, (void *)&gateway, sizeof gateway)) die("gateway: %s", strerror(errno));
  if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
    setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &event)) die("epoll: %s", strerror(errno));
}

static void sensor_close(struct sensor *s) {
  close(s->fd);
  s->fd = -1;
  s->state = ABSENT;
}

static int put_topic(char *to, size_t size, int sensor) {
  return same_topic ? snprintf(to, size, "sn/all/v") : snprintf(to, size, "sn/%d/v", sensor % sensor_count);
}

static uint16_t next_message_id(struct sensor *s) {
  return s->message_id = s->message_id % 65535 + 1;
}

/* Sends the request that belongs to the sensor's state, or sends it again. */
static void request(struct sensor *s) {
  uint8_t m[DATAGRAM];
  char text[64];
  int length = 0;
  s->asked = now_ns();
  switch (s->state) {
  case CONNECTING:
    length = 6 + snprintf(text, sizeof text, "sl%05d", s->index);
    memcpy(m, (uint8_t[]){length, CONNECT, has_lasting_session ? 0 : 4, 1, KEEP_ALIVE >> 8, KEEP_ALIVE & 255}, 6);
    memcpy(m + 6, text, length - 6);
    break;
  case REGISTERING:
    length = 6 + put_topic(text, sizeof text, s->index);
    memcpy(m, (uint8_t[]){length, REGISTER, 0, 0, s->request_id >> 8, s->request_id & 255}, 6);
    memcpy(m + 6, text, length - 6);
    break;
  case SUBSCRIBING:
    length = 5 + put_topic(text, sizeof text, s->index);
    memcpy(m, (uint8_t[]){length, SUBSCRIBE, qos << 5, s->request_id >> 8, s->request_id & 255}, 5);
    memcpy(m + 5, text, length - 5);
    break;
  case FALLING_ASLEEP:
    length = 4;
    memcpy(m, (uint8_t[]){4, DISCONNECT, SLEEP_SECONDS >> 8, SLEEP_SECONDS & 255}, 4);
    break;
  case DRAINING:
    length = 2 + snprintf(text, sizeof text, "sl%05d", s->index);
    memcpy(m, (uint8_t[]){length, PINGREQ}, 2);
    memcpy(m + 2, text, length - 2);
    break;
  default: return;
  }
  sensor_send(s, m, length);
}

static void enter(struct sensor *s, enum state state) {
  s->state = state;
  s->tries = 0;
  if (state == REGISTERING || state == SUBSCRIBING) s->request_id = next_message_id(s);
  if (state == READY) ready++;
  request(s);
}

static void fail(struct sensor *s) {
  s->state = FAILED;
  failed++;
}

static int put_message(const struct sensor *s, uint8_t *to, uint32_t sequence, uint16_t message_id, uint64_t now,
                       int is_repeated) {
  int flags = (is_repeated ? 0x80 : 0) | (qos & 3) << 5 | (qos < 0 ? 2 : 0);
  uint16_t topic = qos < 0 ? 'q' << 8 | 'a' : s->topic_id; /* QoS -1 has a short topic name */
  memcpy(to, (uint8_t[]){7 + PAYLOAD, PUBLISH, flags, topic >> 8, topic & 255, message_id >> 8, message_id & 255}, 7);
  put_payload(to + 7, s->index, sequence, now);
  return 7 + PAYLOAD;
}

/* How many messages the sensor may send now. */
static int room(const struct sensor *s) {
  int free = window - (qos > 0 ? s->open : 0);
  uint64_t undelivered = s->sent > s->delivered ? s->sent - s->delivered : 0;
  if (undelivered >= (uint64_t)window) return 0;
  return free < window - (int)undelivered ? free : window - (int)undelivered;
}

static void take_slot(struct sensor *s, uint16_t message_id, uint32_t sequence, uint64_t now) {
  for (int i = 0; i < window; i++) {
    if (s->slots[i].state != FREE) continue;
    s->slots[i] = (struct slot){PUBLISHED, 0, message_id, sequence, now};
    s->open++;
    return;
  }
}

static void publish(struct sensor *s, int count, uint64_t now) {
  static uint8_t bytes[BATCH][DATAGRAM];
  struct mmsghdr headers[BATCH] = {0};
  struct iovec parts[BATCH];
  if (count > BATCH) count = BATCH;
  for (int i = 0; i < count; i++) {
    uint16_t message_id = qos > 0 ? next_message_id(s) : 0;
    uint32_t sequence = s->sent++;
    if (qos > 0) take_slot(s, message_id, sequence, now);
    parts[i] = (struct iovec){bytes[i], put_message(s, bytes[i], sequence, message_id, now, 0)};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  sent += count;
  s->last_delivery = now;
  for (int done = 0; done < count;) {
    int n = sendmmsg(s->fd, headers + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) break;
    done += n;
  }
}

static struct slot *slot_of(struct sensor *s, uint16_t message_id) {
  for (int i = 0; i < window && s->slots; i++)
    if (s->slots[i].state != FREE && s->slots[i].message_id == message_id) return &s->slots[i];
  return NULL;
}

static void completed(struct sensor *s, struct slot *slot) {
  if (!slot) return;
  slot->state = FREE;
  s->open--;
  acknowledged++;
  mark(s);
}

static uint16_t u16(const uint8_t *at) {
  return at[0] << 8 | at[1];
}

static void answer(const struct sensor *s, int type, const uint8_t *message_id) {
  sensor_send(s, (uint8_t[]){4, type, message_id[0], message_id[1]}, 4);
}

/* Answers to the requests of connecting and falling asleep. */
static void handle_setup(struct sensor *s, const uint8_t *m, int length) {
  int type = m[1];
  if (type == CONNACK && s->state == CONNECTING && length >= 3) {
    if (m[2]) fail(s);
    else if (on_connected) on_connected(s);
    else enter(s, s->publishes ? qos < 0 ? READY : REGISTERING : subscribes ? SUBSCRIBING : READY);
  } else if (type == REGACK && s->state == REGISTERING && length >= 7 && u16(m + 4) == s->request_id) {
    s->topic_id = u16(m + 2);
    if (m[6]) fail(s);
    else enter(s, READY);
  } else if (type == SUBACK && s->state == SUBSCRIBING && length >= 8 && u16(m + 5) == s->request_id) {
    s->topic_id = u16(m + 3);
    if (m[7]) fail(s);
    else enter(s, READY);
  } else if (type == DISCONNECT && s->state == FALLING_ASLEEP) s->state = ASLEEP;
  /* In a storm it may be the answer to the last sensor with this port. */
  else if (type == DISCONNECT && s->state < READY && !on_connected) fail(s);
}

static void handle(struct sensor *s, const uint8_t *m, int length, uint64_t now) {
  if (length < 2 || m[0] > length) return;
  switch (m[1]) {
  case REGISTER:
    if (length >= 6) sensor_send(s, (uint8_t[]){7, REGACK, m[2], m[3], m[4], m[5], 0}, 7);
    return;
  case PUBLISH:
    if (length < 7) return;
    s->asked = now;
    arrived(&s->next_sequence, 0, m + 7, length - 7, now);
    if ((m[2] >> 5 & 3) == 1) sensor_send(s, (uint8_t[]){7, PUBACK, m[3], m[4], m[5], m[6], 0}, 7);
    else if ((m[2] >> 5 & 3) == 2) answer(s, PUBREC, m + 5);
    return;
  case PUBACK:
    if (length >= 7 && qos == 1) completed(s, slot_of(s, u16(m + 4)));
    return;
  case PUBREC: {
    struct slot *slot = length >= 4 ? slot_of(s, u16(m + 2)) : NULL;
    if (!slot) return;
    slot->state = RELEASED;
    slot->sent_at = now;
    answer(s, PUBREL, m + 2);
    return;
  }
  case PUBCOMP:
    if (length >= 4) completed(s, slot_of(s, u16(m + 2)));
    return;
  case PUBREL:
    if (length >= 4) answer(s, PUBCOMP, m + 2);
    return;
  case PINGREQ: sensor_send(s, (uint8_t[]){2, PINGRESP}, 2); return;
  case PINGRESP:
    if (s->state != DRAINING) return;
    s->state = DONE;
    on_drained(s);
    return;
  default: handle_setup(s, m, length);
  }
}

static void sensor_receive(struct sensor *s) {
  static uint8_t bytes[BATCH][DATAGRAM];
  static struct mmsghdr headers[BATCH];
  static struct iovec parts[BATCH];
  for (int i = 0; i < BATCH && !parts[i].iov_base; i++) {
    parts[i] = (struct iovec){bytes[i], DATAGRAM};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int n = recvmmsg(s->fd, headers, BATCH, MSG_DONTWAIT, NULL);
  uint64_t now = now_ns();
  for (int i = 0; i < n; i++) handle(s, bytes[i], headers[i].msg_len, now);
}

static void poll_once(int milliseconds) {
  struct epoll_event events[512];
  int count = epoll_wait(poller, events, 512, milliseconds);
  for (int i = 0; i < count; i++) {
    struct sensor *s = events[i].data.ptr;
    if (s->kind == SENSOR) {
      if (s->fd >= 0) sensor_receive(s);
      continue;
    }
    if (events[i].events & EPOLLOUT) stream_flush(&broker);
    if (broker.fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) stream_receive(&broker);
  }
}

static void poll_for(double duration) {
  for (uint64_t end = now_ns() + duration * 1e9; now_ns() < end;) poll_once(20);
}

/* True every 50 ms. */
static int is_time_to_scan(void) {
  static uint64_t last;
  uint64_t now = now_ns();
  if (now - last < SCAN_NS) return 0;
  last = now;
  return 1;
}

/* Sends the request again if it was not answered; fails after `tries`. */
static void retry_request(struct sensor *s, int tries) {
  if (now_ns() - s->asked < retry_ms * NS_PER_MS) return;
  if (++s->tries > tries) {
    fail(s);
    return;
  }
  retried++;
  request(s);
}

static void make_sensors(int count) {
  if (count > MAX_SENSORS) die("too many sensors");
  sensors = allocate(count, sizeof *sensors);
  marked = allocate(count, sizeof *marked);
  for (int i = 0; i < count; i++) sensors[i] = (struct sensor){.kind = SENSOR, .fd = -1, .index = i};
}

/* Connects the sensors from `from` to `to`, registers or subscribes. Returns how many are ready. */
static int connect_sensors(int from, int to) {
  uint64_t ready_before = ready, failed_before = failed;
  for (int next = from, first = from; !is_expired();) {
    int done = ready - ready_before + failed - failed_before;
    if (done >= to - from) break;
    for (; next < to && next - from - done < at_a_time; next++) {
      sensor_open(&sensors[next]);
      enter(&sensors[next], CONNECTING);
    }
    poll_once(10);
    if (!is_time_to_scan()) continue;
    while (first < next && sensors[first].state >= READY) first++;
    for (int i = first; i < next; i++)
      if (sensors[i].state < READY) retry_request(&sensors[i], 5);
  }
  int count = ready - ready_before;
  if (count < to - from) fprintf(stderr, "snload: %d of %d sensors are ready\n", count, to - from);
  if (!count) die("no sensor is connected");
  return count;
}

/* ---- Modes ---------------------------------------------------------------------------------------------------------
 */

static void print_end(void) {
  if (closed_by_peer) printf(",\"fail\":\"the broker closed the connection\"");
  printf(",\"failed\":%lu,\"retransmitted\":%lu}\n", failed, retried);
}

static void print_flow(const char *mode, const struct sample *from, const struct sample *to, uint64_t expected) {
  print_rates(mode, from, to, &latencies);
  printf(",\"lost\":%ld,\"dup\":%lu", (long)(expected - unique), duplicates);
  print_end();
}

/* Runs warm-up and measurement, calling `step` until the end, then waits for what is still under way. */
static void run(struct sample *from, struct sample *to, void (*step)(uint64_t began), uint64_t copies) {
  uint64_t began = now_ns(), last_change = began, seen = 0;
  int has_ended = 0;
  for (;;) {
    uint64_t now = now_ns();
    if (!from->at && now - began >= warm_up * 1e9) {
      is_measuring = 1;
      *from = take_sample(delivered);
      now = from->at;
    }
    if (!has_ended && ((from->at && now - from->at >= seconds * 1e9) || is_expired() || closed_by_peer)) {
      has_ended = 1;
      is_measuring = 0;
      if (!from->at) *from = take_sample(delivered);
      *to = take_sample(delivered);
      last_change = now;
    }
    if (has_ended && (unique >= sent * copies || now - last_change > GIVE_UP_NS || is_expired() || closed_by_peer))
      return;
    if (!has_ended) step(began);
    poll_once(rate > 0 ? 1 : 10);
    if (delivered + acknowledged == seen) continue;
    seen = delivered + acknowledged;
    last_change = now_ns();
  }
}

static void repeat_slot(struct sensor *s, struct slot *slot, uint64_t now) {
  uint8_t message[DATAGRAM], id[2] = {slot->message_id >> 8, slot->message_id};
  if (++slot->tries > 8) {
    slot->state = FREE;
    s->open--;
    failed++;
    mark(s);
    return;
  }
  retried++;
  slot->sent_at = now;
  if (slot->state == RELEASED) answer(s, PUBREL, id);
  else sensor_send(s, message, put_message(s, message, slot->sequence, slot->message_id, now, 1));
}

/* Sends messages again that were not acknowledged, and gives up those that were not delivered. */
static void scan_publishers(void) {
  uint64_t now = now_ns(), patience = (qos > 0 ? 3000 : 250) * NS_PER_MS;
  for (int i = 0; i < sensor_count; i++) {
    struct sensor *s = &sensors[i];
    for (int j = 0; j < window && s->open; j++)
      if (s->slots[j].state != FREE && now - s->slots[j].sent_at > retry_ms * NS_PER_MS)
        repeat_slot(s, &s->slots[j], now);
    if (rate > 0 || s->open || s->sent <= s->delivered || now < s->last_delivery + patience) continue;
    s->delivered = s->sent;
    s->last_delivery = now;
    mark(s);
  }
}

static void publish_step(uint64_t began) {
  if (is_time_to_scan()) scan_publishers();
  int count = marked_count;
  uint64_t now = now_ns(), due = (now - began) / 1e9 * rate;
  marked_count = 0;
  for (int i = 0; i < count; i++) marked[i]->is_marked = 0;
  if (rate > 0) {
    for (int i = 0; i < 2000 && sent < due; i++) publish(&sensors[sent % sensor_count], 1, now_ns());
    return;
  }
  for (int i = 0; i < count; i++) {
    int free = room(marked[i]);
    if (free > 0 && marked[i]->state == READY) publish(marked[i], free, now);
  }
}

static void publish_mode(const char *mode) {
  int is_pairs = !strcmp(mode, "sn2sn");
  make_sensors(is_pairs ? 2 * sensor_count : sensor_count);
  for (int i = 0; i < sensor_count; i++) {
    sensors[i].publishes = 1;
    if (qos > 0) sensors[i].slots = allocate(window, sizeof(struct slot));
  }
  subscribes = is_pairs;
  if (!is_pairs) broker_open(qos < 0 ? "qa" : "sn/+/v");
  if (is_pairs) connect_sensors(sensor_count, 2 * sensor_count);
  if (qos >= 0) connect_sensors(0, sensor_count);
  for (int i = 0; i < sensor_count && qos < 0; i++) {
    sensor_open(&sensors[i]);
    sensors[i].state = READY;
  }
  poll_for(0.3);
  for (int i = 0; i < sensor_count; i++) mark(&sensors[i]);
  struct sample from = {0}, to;
  run(&from, &to, publish_step, 1);
  print_flow(mode, &from, &to, sent);
}

/* State of the MQTT publisher of mode sub. */
static uint64_t given_up, last_seen, last_seen_at;
static uint32_t *sequences;

static void broker_step(uint64_t began) {
  uint64_t now = now_ns(), copies = same_topic ? sensor_count : 1, total = sent * copies;
  uint64_t open = total > delivered + given_up ? (total - delivered - given_up) / copies : 0;
  int free = open >= (uint64_t)window ? 0 : window - (int)open;
  if (delivered != last_seen) {
    last_seen = delivered;
    last_seen_at = now;
  } else if (now - last_seen_at > 250 * NS_PER_MS) {
    given_up = total - delivered;
    last_seen_at = now;
  }
  if (qos > 0 && broker_unacknowledged + free > MQTT_UNACKNOWLEDGED_MAX)
    free = MQTT_UNACKNOWLEDGED_MAX - (int)broker_unacknowledged;
  if (rate > 0) free = (now - began) / 1e9 * rate > sent ? 1 : 0;
  else if (free < (window + 3) / 4) return;
  for (; free > 0; free--) {
    static uint32_t turn;
    char topic[32];
    uint32_t sensor = same_topic ? 0 : turn++ % sensor_count;
    put_topic(topic, sizeof topic, sensor);
    broker_publish(topic, sensor, sequences[sensor]++, qos > 0);
  }
  stream_flush(&broker);
}

static void subscribe_mode(void) {
  make_sensors(sensor_count);
  subscribes = 1;
  sequences = allocate(sensor_count, sizeof *sequences);
  connect_sensors(0, sensor_count);
  broker_open(NULL);
  poll_for(0.3);
  struct sample from = {0}, to;
  uint64_t copies = same_topic ? sensor_count : 1;
  run(&from, &to, broker_step, copies);
  print_flow("sub", &from, &to, sent * copies);
}

static uint64_t drained;

static void count_drained(struct sensor *s) {
  (void)s;
  drained++;
}

static int fall_asleep(void) {
  int asleep = 0;
  for (int next = 0; !is_expired();) {
    int open = 0;
    asleep = 0;
    for (int i = 0; i < next; i++) {
      if (sensors[i].state == ASLEEP) asleep++;
      if (sensors[i].state != FALLING_ASLEEP) continue;
      open++;
      retry_request(&sensors[i], 5);
    }
    if (next >= sensor_count && !open) break;
    for (; next < sensor_count && open < at_a_time; next++) {
      if (sensors[next].state != READY) continue;
      enter(&sensors[next], FALLING_ASLEEP);
      open++;
    }
    poll_once(5);
  }
  return asleep;
}

static void buffer_messages(void) {
  uint64_t total = (uint64_t)sensor_count * messages;
  char topic[32];
  while (broker_acknowledged < total && !is_expired() && !closed_by_peer) {
    for (; sent < total && broker_unacknowledged < 200;) {
      uint32_t sensor = sent % sensor_count;
      put_topic(topic, sizeof topic, sensor);
      broker_publish(topic, sensor, sent / sensor_count, 1);
    }
    stream_flush(&broker);
    poll_once(10);
  }
}

static void drain(void) {
  on_drained = count_drained;
  for (int next = 0, begun = 0; !is_expired();) {
    for (; next < sensor_count && begun - (int)drained < at_a_time; next++) {
      if (sensors[next].state != ASLEEP) continue;
      enter(&sensors[next], DRAINING);
      begun++;
    }
    if (next >= sensor_count && (int)drained >= begun) return;
    poll_once(10);
    if (!is_time_to_scan()) continue;
    for (int i = 0; i < next; i++) {
      if (sensors[i].state != DRAINING) continue;
      retry_request(&sensors[i], 3);
      if (sensors[i].state == FAILED) drained++;
    }
  }
}

static void sleep_mode(void) {
  make_sensors(sensor_count);
  subscribes = has_lasting_session = 1;
  long rss = measured_rss();
  connect_sensors(0, sensor_count);
  int asleep = fall_asleep();
  poll_for(0.5);
  long asleep_rss = measured_rss();
  broker_open(NULL);
  double cpu = measured_cpu();
  buffer_messages();
  poll_for(1);
  double buffer_cpu = measured_cpu() - cpu;
  long buffered_rss = measured_rss();
  uint64_t before = delivered, began = now_ns();
  cpu = measured_cpu();
  drain();
  double duration = (now_ns() - began) / 1e9;
  cpu = measured_cpu() - cpu;
  uint64_t count = delivered - before;
  poll_for(0.5);
  printf("{\"mode\":\"sleep\",\"asleep\":%d,\"bytes_per_asleep\":%.0f,\"bytes_per_buffered_msg\":%.0f", asleep,
         (asleep_rss - rss) * 1024.0 / (asleep ? asleep : 1),
         (buffered_rss - asleep_rss) * 1024.0 / ((double)sensor_count * messages));
  printf(",\"buffer_per_cpu_s\":%.0f,\"drain_per_s\":%.0f,\"drain_per_cpu_s\":%.0f,\"lost\":%ld,\"dup\":%lu",
         broker_acknowledged / buffer_cpu, count / duration, count / cpu, (long)(sent - unique), duplicates);
  print_end();
}

static void idle_mode(void) {
  make_sensors(sensor_count);
  long rss = measured_rss();
  double cpu = measured_cpu();
  int count = connect_sensors(0, sensor_count);
  cpu = measured_cpu() - cpu;
  poll_for(1);
  printf("{\"mode\":\"idle\",\"connected\":%d,\"connect_per_cpu_s\":%.0f,\"bytes_per_client\":%.0f", count, count / cpu,
         (measured_rss() - rss) * 1024.0 / count);
  print_end();
}

static uint64_t storm_done;

static void disconnect(struct sensor *s) {
  sensor_send(s, (uint8_t[]){2, DISCONNECT}, 2);
  sensor_close(s);
  storm_done++;
}

static void storm_mode(void) {
  make_sensors(at_a_time);
  on_connected = disconnect;
  double cpu = measured_cpu();
  uint64_t began = now_ns(), next = 0;
  while (storm_done + failed < connects && !is_expired()) {
    int scans = is_time_to_scan();
    for (int i = 0; i < at_a_time; i++) {
      struct sensor *s = &sensors[i];
      if (s->state == CONNECTING && scans) retry_request(s, 5);
      if (s->state == FAILED) sensor_close(s);
      if (s->state != ABSENT || next >= connects) continue;
      s->index = next++;
      sensor_open(s);
      enter(s, CONNECTING);
    }
    poll_once(10);
  }
  double duration = (now_ns() - began) / 1e9;
  cpu = measured_cpu() - cpu;
  printf("{\"mode\":\"storm\",\"done\":%lu,\"connect_per_s\":%.0f,\"connect_per_cpu_s\":%.0f", storm_done,
         storm_done / duration, storm_done / cpu);
  print_end();
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  if (argc > 1) argc--, argv++;
  for (int option; (option = getopt(argc, argv, "p:P:x:T:N:q:W:n:d:w:r:am:uC:A:i:")) != -1;) switch (option) {
    case 'p': gateway_port = atoi(optarg); break;
    case 'P': broker_port = atoi(optarg); break;
    case 'x': parse_pids(optarg); break;
    case 'T': time_limit = atof(optarg); break;
    case 'N': sensor_count = atoi(optarg); break;
    case 'q': qos = atoi(optarg); break;
    case 'W': window = atoi(optarg); break;
    case 'n': connects = strtoull(optarg, NULL, 10); break;
    case 'd': seconds = atof(optarg); break;
    case 'w': warm_up = atof(optarg); break;
    case 'r': rate = atof(optarg); break;
    case 'a': same_topic = 1; break;
    case 'm': messages = atoi(optarg); break;
    case 'u': subscribes = 1; break;
    case 'C': at_a_time = atoi(optarg); break;
    case 'A': first_port = atoi(optarg); break;
    case 'i': retry_ms = atoi(optarg); break;
    default: die("snload: see the head of snload.c");
    }
  if (sensor_count < 1 || qos < -1 || qos > 2 || window < 1 || window > WINDOW_MAX || at_a_time < 1 || messages < 0 ||
      retry_ms < 10)
    die("snload: option out of range");
  raise_open_files();
  poller = epoll_create1(EPOLL_CLOEXEC);
  started = now_ns();
  alarm(time_limit + 20);
  if (!strcmp(mode, "pub") || !strcmp(mode, "sn2sn")) publish_mode(mode);
  else if (!strcmp(mode, "sub")) subscribe_mode();
  else if (!strcmp(mode, "sleep")) sleep_mode();
  else if (!strcmp(mode, "idle")) idle_mode();
  else if (!strcmp(mode, "storm")) storm_mode();
  else die("snload: no mode %s", mode);
  return 0;
}
