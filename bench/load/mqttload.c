/*
 * mqttload - load for an MQTT 3.1.1 broker on the loopback interface: one thread, epoll, Linux.
 *
 *   flow      Messages from publishers to subscribers. -s shape: 1to1, fanin, fanout, mesh, pairs; -P publishers, -S
 * subscribers, -q QoS, -l payload, -M topics of each publisher, -F filters that match none of them, -W outstanding
 * messages of a publisher, or -r messages a second; -d measured seconds after -w seconds of warm-up idle      -K
 * connections without traffic, -C opened at a time; -u: with a subscription each storm     -n times: TCP connection,
 * CONNECT, CONNACK, DISCONNECT; -C at a time retained  -R retained messages are stored, at most -W not acknowledged,
 * then read by -S subscribers
 *
 * Always: -p port, -x process ids to measure, -T time limit in seconds. Prints one JSON object.
 *
 * A publisher has at most W messages that have not reached all their subscribers (and, with QoS 1 and 2, are not
 * acknowledged). It sends again when a quarter of them is free, so the broker sees between W/4 and W packets together;
 * W = 1 is strict ping-pong. A message's latency is from writing it to the send buffer to after the read that returned
 * it.
 */
#include "load.h"
#include "mqtt.h"
#include <sys/timerfd.h>

#define MAX_CLIENTS 60000
#define BACKLOG_MAX (256 * 1024)
#define STALLED_NS (300 * NS_PER_MS)
#define GIVE_UP_NS (1500 * NS_PER_MS)

enum role { PUBLISHER, SUBSCRIBER, BYSTANDER };
enum state { CLOSED, OPENING, CONNECTING, READY };

struct client {
  struct stream stream;
  enum role role;
  enum state state;
  int index;
  /* Publishers */
  uint64_t sent, delivered;
  uint32_t unacknowledged;
  uint16_t packet_id;
  int is_marked;
  /* Subscribers */
  uint32_t *next_sequence, subscribes_open;
  uint16_t subscribe_id;
};

/* A PUBLISH with gaps for packet id, time and sequence number. */
struct template {
  uint8_t *bytes;
  uint32_t length, packet_id, payload;
};

static int port = 1883, publishers = 1, subscribers = 1, qos, payload_length = 64, window = 256, batch, topics = 1;
static int idle_connections = 1000, at_a_time = 100, retained_topics = 10000, other_filters, subscribes;
static uint64_t connects = 20000;
static double seconds = 3, warm_up = 1, time_limit = 60, rate;
static const char *shape = "1to1";

static struct client *clients, *first_publisher, *first_subscriber;
static struct client **marked;
static int client_count, marked_count, timer = -1;
static struct template *templates;
static uint64_t started, ready, refused, sent, acknowledged, delivered, unique, duplicates, retained_received,
    last_delivery;
static int fan = 1, is_measuring, is_closed_loop = 1;
static struct histogram latencies;
static void (*on_ready)(struct client *);

static int is_expired(void) {
  return now_ns() - started > time_limit * 1e9;
}

/* The publisher may have room for more. */
static void mark(struct client *c) {
  if (c->is_marked || !marked) return;
  c->is_marked = 1;
  marked[marked_count++] = c;
}

/* ---- Connections ---------------------------------------------------------------------------------------------------
 */

static void client_open(struct client *c) {
  static int opened;
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  /* Many source addresses: a broker may limit the connections of one, and each has a range of ports of its own. */
  struct sockaddr_in source = {.sin_family = AF_INET}, address = loopback(port);
  source.sin_addr.s_addr = htonl(0x7f000002u + opened++ % 200);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (bind(fd, (void *)&source, sizeof source)) die("bind: %s", strerror(errno));
  c->stream.fd = fd;
  c->stream.waits_for_room = 1;
  c->state = OPENING;
  if (connect(fd, (void *)&address, sizeof address) && errno != EINPROGRESS) die("connect: %s", strerror(errno));
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll: %s", strerror(errno));
}

static void client_refused(struct client *c) {
  refused++;
  stream_close(&c->stream);
  c->state = CLOSED;
}

static void client_opened(struct client *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    client_refused(c);
    return;
  }
  uint8_t packet[64];
  char client_id[32];
  snprintf(client_id, sizeof client_id, "load-%c%d-%d", "psi"[c->role], c -> index, (int)getpid() % 100000);
  c->state = CONNECTING;
  stream_wait_for_room(&c->stream, 0);
  stream_send(&c->stream, packet, put_connect(packet, client_id, 1, 600));
}

static void subscribe(struct client *c, const char *filter) {
  c->subscribes_open++;
  stream_subscribe(&c->stream, filter, c->subscribe_id = c->subscribe_id % 65535 + 1, qos);
}

static void on_packet(struct stream *stream, int type, const uint8_t *body, uint32_t length) {
  struct client *c = (struct client *)stream;
  if (type == MQTT_CONNACK && c->state == CONNECTING) {
    if (length != 2 || body[1]) {
      client_refused(c);
      return;
    }
    c->state = READY;
    ready++;
    if (on_ready) on_ready(c);
  } else if (type == MQTT_PUBACK || type == MQTT_PUBCOMP) {
    if (c->unacknowledged) c->unacknowledged--;
    acknowledged++;
    mark(c);
  } else if (type == MQTT_SUBACK && c->subscribes_open) c->subscribes_open--;
}

static void on_message(struct stream *stream, const uint8_t *payload, uint32_t length, int retained, uint64_t now) {
  struct client *c = (struct client *)stream;
  last_delivery = now;
  if (retained) {
    retained_received++;
    return;
  }
  if (length < 16 || !c->next_sequence) return;
  uint64_t sent_at;
  uint32_t publisher, sequence;
  memcpy(&sent_at, payload, 8);
  memcpy(&publisher, payload + 8, 4);
  memcpy(&sequence, payload + 12, 4);
  if (publisher >= (uint32_t)publishers) return;
  delivered++;
  uint32_t *next = &c->next_sequence[publisher];
  if (sequence >= *next) {
    *next = sequence + 1;
    unique++;
  } else duplicates++;
  if (is_measuring) histogram_add(&latencies, now - sent_at);
  first_publisher[publisher].delivered++;
  if (is_closed_loop) mark(&first_publisher[publisher]);
}

static void on_event(struct client *c, uint32_t events) {
  if (c->stream.fd < 0) return;
  if (c->state == OPENING) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) client_opened(c);
    return;
  }
  if (events & EPOLLOUT) {
    stream_flush(&c->stream);
    if (c->role == PUBLISHER && !stream_waiting(&c->stream)) mark(c);
  }
  if (c->stream.fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) stream_receive(&c->stream);
}

static void poll_once(int milliseconds) {
  struct epoll_event events[512];
  int count = epoll_wait(poller, events, 512, milliseconds);
  for (int i = 0; i < count; i++) {
    uint64_t ticks;
    if (events[i].data.ptr) on_event(events[i].data.ptr, events[i].events);
    else if (read(timer, &ticks, sizeof ticks) < 0) continue;
  }
}

static void poll_for(double duration) {
  for (uint64_t end = now_ns() + duration * 1e9; now_ns() < end;) poll_once(20);
}

static void make_clients(int count) {
  if (count > MAX_CLIENTS) die("too many clients");
  client_count = count;
  clients = allocate(count, sizeof *clients);
  for (int i = 0; i < count; i++) clients[i] = (struct client){.stream.fd = -1, .role = BYSTANDER, .index = i};
}

/* Opens all, `at_a_time` in progress. Returns how many were accepted. */
static int connect_all(void) {
  uint64_t ready_before = ready;
  for (int next = 0; !is_expired() && closed_by_peer <= (uint64_t)client_count;) {
    int done = ready - ready_before + refused;
    if (done >= client_count) break;
    while (next < client_count && next - done < at_a_time) client_open(&clients[next++]);
    poll_once(50);
  }
  return ready - ready_before;
}

static void connect_or_die(void) {
  int count = connect_all();
  if (count < client_count) die("only %d of %d clients are connected", count, client_count);
}

static void wait_for_subscriptions(void) {
  for (int i = 0; i < client_count; i++)
    while (clients[i].subscribes_open && clients[i].stream.fd >= 0 && !is_expired()) poll_once(50);
}

/* ---- Publishing ----------------------------------------------------------------------------------------------------
 */

static void make_templates(const char *prefix, int retain) {
  templates = allocate((size_t)publishers * topics, sizeof *templates);
  for (int i = 0; i < publishers * topics; i++) {
    char topic[64];
    snprintf(topic, sizeof topic, "%s/%d/%d/v", prefix, i / topics, i % topics);
    struct template *t = &templates[i];
    t->bytes = allocate(1, payload_length + 128);
    t->payload = put_publish(t->bytes, topic, qos, retain, 0, payload_length);
    t->packet_id = t->payload - 2;
    t->length = t->payload + payload_length;
    memset(t->bytes + t->payload, 'x', payload_length);
    uint32_t publisher = i / topics;
    memcpy(t->bytes + t->payload + 8, &publisher, 4);
  }
}

/* How many messages the publisher may send now. */
static uint32_t room(const struct client *p) {
  uint32_t free = window;
  if (p->stream.fd < 0 || stream_waiting(&p->stream) > BACKLOG_MAX) return 0;
  if (qos) free = p->unacknowledged >= free ? 0 : free - p->unacknowledged;
  if (!is_closed_loop) return free;
  uint64_t done = p->delivered / fan, open = p->sent > done ? p->sent - done : 0;
  uint32_t undelivered = open >= (uint64_t)window ? 0 : window - open;
  return undelivered < free ? undelivered : free;
}

static void publish(struct client *p, uint32_t count, uint64_t now) {
  const struct template *own = &templates[p->index * topics];
  while (count--) {
    const struct template *t = &own[p->sent % topics];
    uint8_t *packet = stream_room(&p->stream, t->length);
    memcpy(packet, t->bytes, t->length);
    if (qos) {
      p->packet_id = p->packet_id % 65535 + 1;
      p->unacknowledged++;
      put_u16(packet + t->packet_id, p->packet_id);
    }
    uint32_t sequence = p->sent++;
    memcpy(packet + t->payload, &now, 8);
    memcpy(packet + t->payload + 12, &sequence, 4);
    p->stream.out_length += t->length;
    sent++;
  }
  stream_flush(&p->stream);
}

/* Sends from all publishers with room for a batch. */
static void publish_marked(void) {
  int count = marked_count;
  uint64_t now = now_ns();
  marked_count = 0;
  for (int i = 0; i < count; i++) marked[i]->is_marked = 0;
  for (int i = 0; i < count; i++) {
    uint32_t free = room(marked[i]);
    if (free >= (uint32_t)batch) publish(marked[i], free, now);
  }
}

/* Sends what is due by -r, the publishers in turn. */
static void publish_due(uint64_t began) {
  uint64_t due = (now_ns() - began) / 1e9 * rate;
  for (int i = 0; i < 5000 && sent < due; i++) publish(&first_publisher[sent % publishers], 1, now_ns());
}

/* Messages that were not delivered do not block their publishers for ever. */
static void forgive(int forgets_acknowledgements) {
  for (int i = 0; i < publishers; i++) {
    struct client *p = &first_publisher[i];
    if (p->delivered < p->sent * fan) p->delivered = p->sent * fan;
    if (forgets_acknowledgements) p->unacknowledged = 0;
    mark(p);
  }
}

/* ---- Modes ---------------------------------------------------------------------------------------------------------
 */

static void print_end(void) {
  if (closed_by_peer) printf(",\"fail\":\"the broker closed %lu connections\"", closed_by_peer);
  printf("}\n");
}

static void subscribe_all(int is_wildcard, int is_pairs) {
  char filter[128];
  for (int i = 0; i < subscribers; i++) {
    for (int topic = 0; topic < (is_wildcard ? 1 : topics); topic++) {
      if (is_wildcard) snprintf(filter, sizeof filter, "bench/+/+/v");
      else snprintf(filter, sizeof filter, "bench/%d/%d/v", is_pairs ? i : 0, topic);
      subscribe(&first_subscriber[i], filter);
    }
  }
  struct client *bystander = &clients[client_count - 1];
  for (int i = 0; i < other_filters; i++) {
    if (i & 1) snprintf(filter, sizeof filter, "bench/%d/+/other", i);
    else snprintf(filter, sizeof filter, "site/%d/+/dev/%d/#", i % 97, i);
    subscribe(bystander, filter);
    while (bystander->subscribes_open > 400 && !is_expired()) poll_once(20);
  }
  wait_for_subscriptions();
  poll_for(0.2);
}

static void start_timer(void) {
  long interval = rate > 1e4 ? 100000 : 1e9 / rate;
  struct itimerspec every = {{0, interval}, {0, interval}};
  struct epoll_event event = {.events = EPOLLIN};
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  timerfd_settime(timer, 0, &every, NULL);
  epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
}

/* Runs warm-up and measurement, waits for what is still under way, and sets the samples at both ends of the
 * measurement. */
static void run_flow(struct sample *from, struct sample *to) {
  uint64_t began = now_ns(), last_change = began, seen = 0;
  int has_ended = 0;
  for (int i = 0; i < publishers; i++) mark(&first_publisher[i]);
  for (;;) {
    uint64_t now = now_ns();
    if (!from->at && now - began >= warm_up * 1e9) {
      is_measuring = 1;
      *from = take_sample(delivered);
      now = from->at;
    }
    int is_over = (from->at && now - from->at >= seconds * 1e9) || is_expired() || closed_by_peer;
    if (is_over && !has_ended) {
      has_ended = 1;
      is_measuring = 0;
      if (!from->at) *from = take_sample(delivered);
      *to = take_sample(delivered);
      last_change = now;
    }
    int is_complete = unique >= sent * fan && (!qos || acknowledged >= sent);
    if (has_ended && (is_complete || closed_by_peer || is_expired() || now - last_change > GIVE_UP_NS)) return;
    if (!has_ended && rate > 0) publish_due(began);
    else if (!has_ended) publish_marked();
    poll_once(20);
    now = now_ns();
    if (delivered != seen) {
      seen = delivered;
      last_change = now;
    } else if (!has_ended && rate <= 0 && now - last_change > STALLED_NS) {
      forgive(qos && now - last_change > 2 * NS_PER_S);
      if (!qos) last_change = now;
    }
  }
}

static void flow(void) {
  int is_wildcard = !strcmp(shape, "fanin") || !strcmp(shape, "mesh"), is_pairs = !strcmp(shape, "pairs");
  if (!strcmp(shape, "1to1")) publishers = subscribers = 1;
  if (!strcmp(shape, "fanout")) publishers = 1;
  if (is_pairs) subscribers = publishers;
  fan = is_pairs ? 1 : subscribers;
  batch = window / 4 ? window / 4 : 1;
  make_clients(subscribers + publishers + (other_filters ? 1 : 0));
  first_subscriber = clients;
  first_publisher = clients + subscribers;
  for (int i = 0; i < subscribers; i++) {
    clients[i].role = SUBSCRIBER;
    clients[i].next_sequence = allocate(publishers, sizeof(uint32_t));
  }
  for (int i = 0; i < publishers; i++) {
    first_publisher[i].role = PUBLISHER;
    first_publisher[i].index = i;
  }
  make_templates("bench", 0);
  connect_or_die();
  subscribe_all(is_wildcard, is_pairs);
  marked = allocate(publishers, sizeof *marked);
  if (rate > 0) start_timer();
  struct sample from = {0}, to;
  run_flow(&from, &to);
  print_rates("flow", &from, &to, &latencies);
  printf(",\"lost\":%ld,\"dup\":%lu,\"unacked\":%ld", (long)(sent * fan - unique), duplicates,
         qos ? (long)(sent - acknowledged) : 0);
  print_end();
}

static void subscribe_one(struct client *c) {
  char filter[64];
  snprintf(filter, sizeof filter, "bench/dev/%d/cmd", c->index);
  subscribe(c, filter);
}

static void idle(void) {
  make_clients(idle_connections);
  if (subscribes) on_ready = subscribe_one;
  long rss = measured_rss();
  double cpu = measured_cpu();
  int count = connect_all();
  wait_for_subscriptions();
  cpu = measured_cpu() - cpu;
  poll_for(1);
  printf("{\"mode\":\"idle\",\"connected\":%d,\"connect_per_cpu_s\":%.0f,\"bytes_per_conn\":%.0f", count, count / cpu,
         (measured_rss() - rss) * 1024.0 / (count ? count : 1));
  print_end();
}

static uint64_t storm_done;

static void disconnect(struct client *c) {
  send(c->stream.fd, "\xe0\0", 2, MSG_NOSIGNAL);
  stream_close(&c->stream);
  c->state = CLOSED;
  storm_done++;
}

static void storm(void) {
  make_clients(at_a_time);
  on_ready = disconnect;
  double cpu = measured_cpu(), own = own_cpu();
  uint64_t began = now_ns(), next = 0;
  while (storm_done + refused + closed_by_peer < connects && !is_expired()) {
    for (int i = 0; i < client_count && next < connects; i++) {
      if (clients[i].stream.fd >= 0) continue;
      clients[i].index = next++;
      client_open(&clients[i]);
    }
    poll_once(20);
  }
  double duration = (now_ns() - began) / 1e9;
  cpu = measured_cpu() - cpu;
  printf("{\"mode\":\"storm\",\"done\":%lu,\"refused\":%lu,\"connect_per_s\":%.0f,"
         "\"connect_per_cpu_s\":%.0f,\"load_util\":%.3f",
         storm_done, refused, storm_done / duration, storm_done / cpu, (own_cpu() - own) / duration);
  print_end();
}

static void retained(void) {
  publishers = 1;
  topics = retained_topics;
  make_clients(1 + subscribers);
  first_publisher = clients;
  clients[0].role = PUBLISHER;
  for (int i = 1; i < client_count; i++) clients[i].role = SUBSCRIBER;
  qos = 1;
  is_closed_loop = 0;
  make_templates("bench-retained", 1);
  long rss = measured_rss();
  connect_or_die();
  double cpu = measured_cpu();
  while (acknowledged < (uint64_t)topics && !is_expired() && !closed_by_peer) {
    uint32_t free = room(&clients[0]), left = topics - sent;
    if (free && left) publish(&clients[0], free < left ? free : left, now_ns());
    poll_once(20);
  }
  double store_cpu = measured_cpu() - cpu;
  poll_for(0.5);
  long stored_rss = measured_rss();
  cpu = measured_cpu();
  qos = 0;
  last_delivery = now_ns();
  for (int i = 1; i < client_count; i++) subscribe(&clients[i], "bench-retained/#");
  uint64_t wanted = (uint64_t)topics * subscribers;
  while (retained_received < wanted && !is_expired() && !closed_by_peer && now_ns() - last_delivery < 2 * NS_PER_S)
    poll_once(20);
  double read_cpu = measured_cpu() - cpu;
  printf("{\"mode\":\"retained\",\"stored\":%lu,\"store_per_cpu_s\":%.0f,\"read_per_cpu_s\":%.0f,"
         "\"bytes_per_retained\":%.0f,\"lost\":%ld",
         acknowledged, acknowledged / store_cpu, retained_received / read_cpu, (stored_rss - rss) * 1024.0 / topics,
         (long)(wanted - retained_received));
  print_end();
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  if (argc > 1) argc--, argv++;
  for (int option; (option = getopt(argc, argv, "p:x:T:s:P:S:q:l:W:M:F:n:d:w:r:K:C:uR:")) != -1;) switch (option) {
    case 'p': port = atoi(optarg); break;
    case 'x': parse_pids(optarg); break;
    case 'T': time_limit = atof(optarg); break;
    case 's': shape = optarg; break;
    case 'P': publishers = atoi(optarg); break;
    case 'S': subscribers = atoi(optarg); break;
    case 'q': qos = atoi(optarg); break;
    case 'l': payload_length = atoi(optarg); break;
    case 'W': window = atoi(optarg); break;
    case 'M': topics = atoi(optarg); break;
    case 'F': other_filters = atoi(optarg); break;
    case 'n': connects = strtoull(optarg, NULL, 10); break;
    case 'd': seconds = atof(optarg); break;
    case 'w': warm_up = atof(optarg); break;
    case 'r': rate = atof(optarg); break;
    case 'K': idle_connections = atoi(optarg); break;
    case 'C': at_a_time = atoi(optarg); break;
    case 'u': subscribes = 1; break;
    case 'R': retained_topics = atoi(optarg); break;
    default: die("mqttload: see the head of mqttload.c");
    }
  if (publishers < 1 || subscribers < 1 || qos < 0 || qos > 2 || payload_length < 16 || payload_length > 200000 ||
      window < 1 || topics < 1 || at_a_time < 1)
    die("mqttload: option out of range");
  raise_open_files();
  poller = epoll_create1(EPOLL_CLOEXEC);
  started = now_ns();
  alarm(time_limit + 20);
  if (!strcmp(mode, "flow")) flow();
  else if (!strcmp(mode, "idle")) idle();
  else if (!strcmp(mode, "storm")) storm();
  else if (!strcmp(mode, "retained")) retained();
  else die("mqttload: no mode %s", mode);
  return 0;
}
