/*
 * What the load generators share: clocks, the CPU time and memory of the measured processes, a histogram of latencies,
 * and the few MQTT packets that all of them send. Each generator is one file that includes this one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* CPU seconds of the generator itself. */
static inline double own_cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

static inline void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) die("out of memory");
  return memory;
}

/* ---- Measured processes ------------------------------------------------------------------------------------------ */

#define MAX_PIDS 8
static int pids[MAX_PIDS], pid_count;

static inline void parse_pids(char *list) {
  for (char *pid = strtok(list, ","); pid && pid_count < MAX_PIDS; pid = strtok(NULL, ","))
    pids[pid_count++] = atoi(pid);
}

/* CPU seconds of all threads of the measured processes. */
static inline double measured_cpu(void) {
  double total = 0;
  for (int i = 0; i < pid_count; i++) {
    clockid_t clock;
    struct timespec t;
    if (!clock_getcpuclockid(pids[i], &clock) && !clock_gettime(clock, &t)) total += t.tv_sec + t.tv_nsec / 1e9;
  }
  return total;
}

/* Resident memory of the measured processes in kB. */
static inline long measured_rss(void) {
  long sum = 0;
  for (int i = 0; i < pid_count; i++) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pids[i]);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    while (fgets(line, sizeof line, file))
      if (!strncmp(line, "VmRSS:", 6)) sum += atol(line + 6);
    fclose(file);
  }
  return sum;
}

/* ---- Histogram: 32 buckets for each power of two, so within about 3 percent ----------------------------------------
 */

#define BUCKETS 32
struct histogram {
  uint64_t counts[64 * BUCKETS], count, max;
};

static inline void histogram_add(struct histogram *h, uint64_t ns) {
  h->count++;
  if (ns > h->max) h->max = ns;
  int exponent = ns < BUCKETS ? 4 : 63 - __builtin_clzll(ns);
  h->counts[ns < BUCKETS ? ns : (exponent - 4) * BUCKETS + ((ns >> (exponent - 5)) & (BUCKETS - 1))]++;
}

/* The value below which `part` of all values lie, in ns. */
static inline double histogram_at(const struct histogram *h, double part) {
  uint64_t wanted = (uint64_t)(h->count * part), seen = 0;
  for (int i = 0; i < 64 * BUCKETS && h->count; i++) {
    seen += h->counts[i];
    if (seen <= wanted) continue;
    if (i < BUCKETS) return i;
    int exponent = i / BUCKETS + 4;
    return (1ull << exponent) + ((uint64_t)(i % BUCKETS) << (exponent - 5)) + (1ull << (exponent - 5)) / 2.0;
  }
  return h->max;
}

/* ---- One end of a measurement, and what lies between two -----------------------------------------------------------
 */

struct sample {
  uint64_t at, delivered;
  double cpu, own_cpu;
};

static inline struct sample take_sample(uint64_t delivered) {
  return (struct sample){.at = now_ns(), .delivered = delivered, .cpu = measured_cpu(), .own_cpu = own_cpu()};
}

/* Prints the beginning of a JSON object. */
static inline void print_rates(const char *mode, const struct sample *from, const struct sample *to,
                               const struct histogram *latencies) {
  double duration = (to->at - from->at) / 1e9, cpu = to->cpu - from->cpu, count = to->delivered - from->delivered;
  printf("{\"mode\":\"%s\",\"delivered\":%.0f,\"del_per_s\":%.0f", mode, count, count / duration);
  printf(",\"del_per_cpu_s\":%.0f,\"broker_util\":%.3f", cpu > 0 ? count / cpu : 0, cpu / duration);
  printf(",\"load_util\":%.3f", (to->own_cpu - from->own_cpu) / duration);
  printf(",\"lat_us\":{\"p50\":%.1f,\"p99\":%.1f", histogram_at(latencies, 0.5) / 1e3,
         histogram_at(latencies, 0.99) / 1e3);
  printf(",\"p999\":%.1f,\"max\":%.1f}", histogram_at(latencies, 0.999) / 1e3, latencies->max / 1e3);
}

/* ---- MQTT 3.1.1 packets --------------------------------------------------------------------------------------------
 */

/* Writes a remaining length, and returns the number of its octets. */
static inline int put_length(uint8_t *to, uint32_t length) {
  int octets = 0;
  do {
    uint8_t low = length & 127;
    length >>= 7;
    to[octets++] = low | (length ? 128 : 0);
  } while (length);
  return octets;
}

static inline uint8_t *put_u16(uint8_t *to, unsigned value) {
  *to++ = value >> 8;
  *to++ = value;
  return to;
}

static inline int put_connect(uint8_t *to, const char *client_id, int clean_session, int keep_alive) {
  int length = strlen(client_id);
  uint8_t *at = to;
  *at++ = 0x10;
  at += put_length(at, 12 + length);
  memcpy(at, "\0\4MQTT\4", 7);
  at[7] = clean_session ? 2 : 0;
  at = put_u16(put_u16(at + 8, keep_alive), length);
  memcpy(at, client_id, length);
  return at + length - to;
}

static inline int put_subscribe(uint8_t *to, const char *filter, unsigned packet_id, int qos) {
  int length = strlen(filter);
  uint8_t *at = to;
  *at++ = 0x82;
  at += put_length(at, 5 + length);
  at = put_u16(put_u16(at, packet_id), length);
  memcpy(at, filter, length);
  at[length] = qos;
  return at + length + 1 - to;
}

/* Writes a PUBLISH up to its payload. */
static inline int put_publish(uint8_t *to, const char *topic, int qos, int retain, unsigned packet_id,
                              uint32_t payload) {
  int length = strlen(topic);
  uint8_t *at = to;
  *at++ = 0x30 | qos << 1 | retain;
  at += put_length(at, 2 + length + (qos ? 2 : 0) + payload);
  at = put_u16(at, length);
  memcpy(at, topic, length);
  at += length;
  if (qos) at = put_u16(at, packet_id);
  return at - to;
}

static inline void raise_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
