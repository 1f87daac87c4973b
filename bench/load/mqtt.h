/*
 * A non-blocking MQTT 3.1.1 connection with a send buffer, and the loop that reads packets and acknowledges messages.
 * The program that includes it defines on_packet and on_message.
 */
#define READ_BUFFER (512 * 1024)
#define SEND_BUFFER_MAX (64u << 20)

enum { MQTT_CONNACK = 2, MQTT_PUBLISH, MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBREL, MQTT_PUBCOMP, MQTT_SUBACK = 9 };

struct stream {
  int kind, fd, waits_for_room;
  uint8_t *partial; /* a packet that has not been received completely */
  uint32_t partial_length, partial_capacity;
  uint8_t *out; /* from `out_sent` to `out_length`: not sent yet */
  uint32_t out_length, out_sent, out_capacity;
};

static int poller;
static uint64_t closed_by_peer;

/* CONNACK, PUBACK, PUBCOMP and SUBACK; `body` is what follows the remaining length. */
static void on_packet(struct stream *stream, int type, const uint8_t *body, uint32_t length);
static void on_message(struct stream *stream, const uint8_t *payload, uint32_t length, int retained, uint64_t now);

static void stream_wait_for_room(struct stream *s, int waits) {
  if (s->waits_for_room == waits) return;
  s->waits_for_room = waits;
  struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = s};
  epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &event);
}

static void stream_close(struct stream *s) {
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
  s->out_length = s->out_sent = s->partial_length = 0;
}

static void stream_lost(struct stream *s) {
  closed_by_peer++;
  stream_close(s);
}

static uint32_t stream_waiting(const struct stream *s) {
  return s->out_length - s->out_sent;
}

static void stream_flush(struct stream *s) {
  while (s->out_sent < s->out_length) {
    ssize_t n = send(s->fd, s->out + s->out_sent, stream_waiting(s), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) s->out_sent += n;
    else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      stream_wait_for_room(s, 1);
      return;
    } else {
      stream_lost(s);
      return;
    }
  }
  s->out_length = s->out_sent = 0;
  stream_wait_for_room(s, 0);
}

/* Returns where the next `length` octets are to be written; the caller adds them to out_length. */
static uint8_t *stream_room(struct stream *s, uint32_t length) {
  if (s->out_sent && s->out_length + length > s->out_capacity) {
    memmove(s->out, s->out + s->out_sent, stream_waiting(s));
    s->out_length -= s->out_sent;
    s->out_sent = 0;
  }
  if (s->out_length + length > s->out_capacity) {
    uint32_t capacity = s->out_capacity ? s->out_capacity : 256;
    while (capacity < s->out_length + length) capacity *= 2;
    if (capacity > SEND_BUFFER_MAX) die("send buffer too large");
    s->out = realloc(s->out, capacity);
    if (!s->out) die("out of memory");
    s->out_capacity = capacity;
  }
  return s->out + s->out_length;
}

static void stream_send(struct stream *s, const void *bytes, uint32_t length) {
  if (s->fd < 0) return;
  memcpy(stream_room(s, length), bytes, length);
  s->out_length += length;
  stream_flush(s);
}

static void stream_subscribe(struct stream *s, const char *filter, unsigned packet_id, int qos) {
  uint8_t packet[300];
  stream_send(s, packet, put_subscribe(packet, filter, packet_id, qos));
}

/* Reports the packet, and writes its acknowledgement, if it has one, to `acknowledgement`. Returns the octets written.
 */
static int stream_packet(struct stream *s, uint8_t first, const uint8_t *body, uint32_t length, uint64_t now,
                         uint8_t *acknowledgement) {
  int type = first >> 4, qos = first >> 1 & 3;
  const uint8_t *packet_id = body;
  if (type == MQTT_PUBLISH) {
    uint32_t topic = length >= 2 ? body[0] << 8 | body[1] : 0, payload = 2 + topic + (qos ? 2 : 0);
    if (payload > length) return 0;
    on_message(s, body + payload, length - payload, first & 1, now);
    if (!qos) return 0;
    packet_id = body + 2 + topic;
  } else if (type != MQTT_PUBREC && type != MQTT_PUBREL) {
    on_packet(s, type, body, length);
    return 0;
  }
  uint8_t answer = type == MQTT_PUBREC ? 0x62 : type == MQTT_PUBREL ? 0x70 : qos == 1 ? 0x40 : 0x50;
  memcpy(acknowledgement, (uint8_t[]){answer, 2, packet_id[0], packet_id[1]}, 4);
  return 4;
}

/* Reads once, and sends all acknowledgements together. */
static void stream_receive(struct stream *s) {
  static uint8_t bytes[READ_BUFFER], acknowledgements[READ_BUFFER];
  uint32_t kept = s->partial_length, acknowledged = 0;
  memcpy(bytes, s->partial, kept);
  ssize_t n = recv(s->fd, bytes + kept, READ_BUFFER - kept, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    stream_lost(s);
    return;
  }
  uint64_t now = now_ns();
  const uint8_t *at = bytes, *end = bytes + kept + n;
  while (end - at >= 2) {
    uint32_t length = 0;
    int octets = 0, is_whole = 0;
    while (at + 1 + octets < end && octets < 4 && !is_whole) {
      length |= (at[1 + octets] & 127) << (7 * octets);
      is_whole = !(at[1 + octets++] & 128);
    }
    if (!is_whole && octets == 4) {
      stream_lost(s);
      return;
    }
    const uint8_t *body = at + 1 + octets;
    if (!is_whole || (uint32_t)(end - body) < length) break;
    acknowledged += stream_packet(s, *at, body, length, now, acknowledgements + acknowledged);
    if (s->fd < 0) return;
    at = body + length;
  }
  if (acknowledged) stream_send(s, acknowledgements, acknowledged);
  s->partial_length = end - at;
  if (s->partial_length == READ_BUFFER) die("packet too large");
  if (s->partial_length > s->partial_capacity) {
    s->partial_capacity = s->partial_length * 2;
    s->partial = realloc(s->partial, s->partial_capacity);
    if (!s->partial) die("out of memory");
  }
  memcpy(s->partial, at, s->partial_length);
}
