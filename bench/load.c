/*
 * An SMTP load generator: one thread, epoll, lockstep clients from many source addresses.
 *
 * Every outcome is counted, by phase and reply code or error; a session that goes wrong is closed and the next begins.
 * Prints one JSON object at the end. Usage: see `options` below; every option takes a value.
 */
#define _GNU_SOURCE
#include "common.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>

enum phase { CONNECT, BANNER, EHLO, MAIL, RCPT, DATA, BODY, QUIT, PHASES };
static const char *const phase_names[PHASES] = {"connect", "banner", "ehlo", "mail", "rcpt", "data", "body", "quit"};

enum mode { DELIVER, REJECT, PIPELINED, IDLE, KNOCK };
static const char *const mode_names[] = {"deliver", "reject", "pipelined", "idle", "knock"};

/*
 * deliver    whole messages, each command when the reply to the last has come
 * reject     EHLO, MAIL, RCPT, which must be refused, QUIT
 * pipelined  MAIL, RCPT and DATA in one write together with the end of the message before (RFC 2920)
 * idle       EHLO, and then nothing until the input ends; says {"idle":N} when all are there
 * knock      closes at the banner, or at whatever else becomes of the connection
 */
static struct {
  const char *to, *mode, *sources, *rcpt;
  double seconds, warmup, rate;
  unsigned connections, messages, dots;
  uint64_t size, count, timeout_ms;
} options = {
    .mode = "deliver",
    .rcpt = "someone@example.net",
    .seconds = 1,
    .warmup = 0,
    .rate = 0, /* sessions per second; 0: the next when one is done */
    .connections = 50,
    .messages = 1, /* per connection */
    .dots = 0,     /* one line in so many begins with a dot */
    .size = 4096,
    .count = 0, /* end after so many sessions */
    .timeout_ms = 30000,
};

/* Log-linear: 64 steps for each doubling, from 1 µs; an error of 1.6 % at most. */
#define STEPS 64
#define BUCKETS (STEPS * 28)
typedef struct {
  uint64_t total, max_us;
  uint32_t buckets[BUCKETS];
} histogram;

static unsigned bucket_of(uint64_t us) {
  if (us < STEPS) return (unsigned)us;
  unsigned shift = 63 - (unsigned)__builtin_clzll(us) - 6;
  unsigned at = (shift + 1) * STEPS + (unsigned)((us >> shift) - STEPS);
  return at < BUCKETS ? at : BUCKETS - 1;
}

static double upper_ms(unsigned at) {
  if (at < STEPS) return (at + 1) / 1e3;
  unsigned shift = at / STEPS - 1;
  return (double)((uint64_t)(at % STEPS + STEPS + 1) << shift) / 1e3;
}

static void note(histogram *h, uint64_t ns) {
  uint64_t us = ns / 1000;
  h->total++;
  if (us > h->max_us) h->max_us = us;
  h->buckets[bucket_of(us)]++;
}

static double percentile(const histogram *h, double share) {
  uint64_t want = (uint64_t)(share * (double)h->total + 0.5), seen = 0;
  for (unsigned i = 0; i < BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen >= want && seen > 0) return upper_ms(i);
  }
  return 0;
}

typedef struct {
  int fd; /* -1: free */
  enum phase phase;
  unsigned messages_left;
  uint64_t began_ns;         /* the session, or when it was due */
  uint64_t message_began_ns; /* of the first message: the session's beginning */
  uint64_t sent_ns;          /* the last thing sent */
  const char *out;
  size_t out_left;
  const char *out_next; /* goes out behind `out`, in the same write */
  size_t out_next_left;
  char head[4]; /* of the reply line at hand */
  unsigned line_length;
  bool group_sent; /* pipelined: the next message's commands went out with this one's end */
  bool idle;
} client;

static struct {
  uint64_t started, sessions, messages, failed, in_window, bytes_read;
  uint64_t codes[PHASES][1000], unwanted[PHASES][1000];
  uint64_t errors[PHASES][140]; /* by errno; 0 is the far side's end of the connection */
  uint64_t timeouts[PHASES];
  uint64_t late; /* open loop: due, but all connections were in use */
  histogram message, phases[PHASES];
  uint64_t first_ns, last_ns; /* of accepted messages, or of refusals in `reject` */
} count;

static enum mode mode;
static int epoll_fd;
static client *clients;
static unsigned *free_clients, free_count;
static address to;
static address *sources;
static unsigned source_count, next_source;
static char ehlo[] = "EHLO host.example.org\r\n", quit[] = "QUIT\r\n", data[] = "DATA\r\n";
static char mail[] = "MAIL FROM:<sender@example.org>\r\n";
static char rcpt[300], group[800], *message;
static size_t message_length;
static uint64_t start_ns, window_ns, stop_ns;
static bool stopping;
static unsigned idle_count; /* idle sessions that are still there */

static void make_message(void) {
  static const char header[] =
      "From: Sender <sender@example.org>\r\nTo: Someone <someone@example.net>\r\nSubject: A message of a set size\r\n"
      "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <load@host.example.org>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=us-ascii\r\n\r\n";
  static const char text[] = "The quick brown fox jumps over the lazy dog and 0123456789 other words. ";
  size_t want = options.size > sizeof header ? options.size : sizeof header;
  message = malloc(want + 200);
  memcpy(message, header, sizeof header - 1);
  message_length = sizeof header - 1;
  for (unsigned line = 1; message_length < want; line++) {
    if (options.dots > 0 && line % options.dots == 0) message_length += (size_t)sprintf(message + message_length, "..");
    size_t left = want - message_length, length = sizeof text - 1 < left ? sizeof text - 1 : left;
    memcpy(message + message_length, text, length);
    message_length += length;
    message_length += (size_t)sprintf(message + message_length, "\r\n");
  }
  message_length += (size_t)sprintf(message + message_length, ".\r\n");
}

static void close_client(client *c) {
  close(c->fd);
  c->fd = -1;
  free_clients[free_count++] = (unsigned)(c - clients);
}

static void fail(client *c) {
  count.failed++;
  if (c->idle) idle_count--;
  close_client(c);
}

/* Writes what there is; false when the connection is gone. */
static bool push(client *c) {
  while (c->out_left > 0) {
    struct iovec parts[2] = {{(void *)c->out, c->out_left}, {(void *)c->out_next, c->out_next_left}};
    struct msghdr what = {.msg_iov = parts, .msg_iovlen = c->out_next_left > 0 ? 2 : 1};
    ssize_t sent = sendmsg(c->fd, &what, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) return true;
      count.errors[c->phase][errno]++;
      fail(c);
      return false;
    }
    size_t of_first = (size_t)sent < c->out_left ? (size_t)sent : c->out_left;
    c->out += of_first;
    c->out_left -= of_first;
    c->out_next += (size_t)sent - of_first;
    c->out_next_left -= (size_t)sent - of_first;
    if (c->out_left == 0) {
      c->out = c->out_next;
      c->out_left = c->out_next_left;
      c->out_next_left = 0;
    }
  }
  return true;
}

static bool send_text(client *c, enum phase phase, const char *text, size_t length, uint64_t now) {
  c->phase = phase;
  c->out = text;
  c->out_left = length;
  c->sent_ns = now;
  return push(c);
}

static void start_client(uint64_t due) {
  client *c = &clients[free_clients[--free_count]];
  memset(c, 0, sizeof *c);
  count.started++;
  c->began_ns = c->message_began_ns = c->sent_ns = due;
  c->messages_left = options.messages;
  c->phase = CONNECT;
  c->fd = socket(to.at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket: %s", strerror(errno));
  no_delay(c->fd);
  if (source_count > 0) {
    const address *from = &sources[next_source++ % source_count];
    int one = 1; /* the port is chosen at connect, so that each source has all of them for each target */
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (const struct sockaddr *)&from->at, from->length) < 0) die("bind: %s", strerror(errno));
  }
  if (connect(c->fd, (struct sockaddr *)&to.at, to.length) < 0 && errno != EINPROGRESS) {
    count.errors[CONNECT][errno]++;
    fail(c);
    return;
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

/* The phase after which a session is as it was wanted, and what its reply is. */
static bool is_wanted(enum phase phase, unsigned code) {
  switch (phase) {
    case BANNER: return code == 220;
    case RCPT: return mode == REJECT ? code == 550 : code == 250;
    case DATA: return code == 354;
    case QUIT: return code == 221;
    default: return code == 250;
  }
}

static void message_done(client *c, uint64_t now) {
  count.messages++;
  if (count.first_ns == 0) count.first_ns = c->message_began_ns;
  count.last_ns = now;
  if (now >= window_ns && now < stop_ns) {
    count.in_window++;
    note(&count.message, now - c->message_began_ns);
  }
}

/* One whole reply. False when the client is gone. */
static bool on_reply(client *c, unsigned code, uint64_t now) {
  count.codes[c->phase][code]++;
  if (c->sent_ns >= window_ns) note(&count.phases[c->phase], now - c->sent_ns);
  if (!is_wanted(c->phase, code)) {
    count.unwanted[c->phase][code]++;
    if (mode == KNOCK) close_client(c);
    else fail(c);
    return false;
  }
  bool last = c->messages_left <= 1 || stopping;
  switch (c->phase) {
    case BANNER:
      if (mode == KNOCK) {
        count.sessions++;
        close_client(c);
        return false;
      }
      return send_text(c, EHLO, ehlo, sizeof ehlo - 1, now);
    case EHLO:
      if (mode == IDLE) {
        c->idle = true;
        idle_count++;
        return true;
      }
      if (mode == PIPELINED) return send_text(c, MAIL, group, strlen(group), now);
      return send_text(c, MAIL, mail, sizeof mail - 1, now);
    case MAIL:
      if (mode == PIPELINED) {
        c->phase = RCPT;
        return true;
      }
      return send_text(c, RCPT, rcpt, strlen(rcpt), now);
    case RCPT:
      if (mode == REJECT) {
        message_done(c, now);
        return send_text(c, QUIT, quit, sizeof quit - 1, now);
      }
      if (mode == PIPELINED) {
        c->phase = DATA;
        return true;
      }
      return send_text(c, DATA, data, sizeof data - 1, now);
    case DATA:
      c->group_sent = mode == PIPELINED && !last;
      if (c->group_sent) {
        c->out_next = group;
        c->out_next_left = strlen(group);
      }
      return send_text(c, BODY, message, message_length, now);
    case BODY:
      message_done(c, now);
      c->message_began_ns = now;
      c->messages_left--;
      if (c->group_sent) {
        c->phase = MAIL;
        c->sent_ns = now;
        return true;
      }
      if (last || mode == PIPELINED) return send_text(c, QUIT, quit, sizeof quit - 1, now);
      return send_text(c, MAIL, mail, sizeof mail - 1, now);
    case QUIT:
      count.sessions++;
      close_client(c);
      return false;
    default: return true;
  }
}

static bool on_bytes(client *c, const char *bytes, size_t length, uint64_t now) {
  count.bytes_read += length;
  for (const char *at = bytes, *end = bytes + length; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    for (; at < stop && c->line_length < 4; at++) c->head[c->line_length++] = *at;
    at = newline ? newline + 1 : end;
    if (!newline) break;
    unsigned seen = c->line_length;
    c->line_length = 0;
    if (seen == 4 && c->head[3] == '-') continue;
    unsigned code = 0;
    for (int i = 0; i < 3 && seen >= 3; i++) code = code * 10 + (unsigned)(c->head[i] - '0') % 10;
    if (!on_reply(c, code, now)) return false;
  }
  return true;
}

static void on_event(client *c, uint32_t events) {
  static char buffer[65536];
  if (c->phase == CONNECT) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      count.errors[CONNECT][error]++;
      fail(c);
      return;
    }
    uint64_t now = now_ns();
    if (c->sent_ns >= window_ns) note(&count.phases[CONNECT], now - c->sent_ns);
    c->phase = BANNER;
  }
  if ((events & EPOLLOUT) && !push(c)) return;
  if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
  for (;;) {
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      count.errors[c->phase][got < 0 ? errno : 0]++;
      fail(c);
      return;
    }
    if (!on_bytes(c, buffer, (size_t)got, now_ns())) return;
    if ((size_t)got < sizeof buffer && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
  }
}

/* Sessions that have waited too long for a reply; a body still being read is given the time as well. */
static void end_overdue(uint64_t now) {
  for (unsigned i = 0; i < options.connections; i++) {
    client *c = &clients[i];
    if (c->fd < 0 || (c->idle && mode == IDLE)) continue;
    if (now < c->sent_ns + options.timeout_ms * 1000000u) continue;
    count.timeouts[c->phase]++;
    fail(c);
  }
}

static void print_histogram(const char *name, const histogram *h) {
  printf("\"%s\":{\"count\":%lu,\"p50Ms\":%.3f,\"p90Ms\":%.3f,\"p99Ms\":%.3f,\"maxMs\":%.3f}", name, h->total,
         percentile(h, 0.5), percentile(h, 0.9), percentile(h, 0.99), (double)h->max_us / 1e3);
}

static void print_result(double window_s) {
  double whole_s = count.last_ns > count.first_ns ? (double)(count.last_ns - count.first_ns) / 1e9 : 0;
  printf("{\"started\":%lu,\"sessions\":%lu,\"messages\":%lu,\"failed\":%lu,\"late\":%lu,\"messageBytes\":%lu,",
         count.started, count.sessions, count.messages, count.failed, count.late, message_length);
  printf("\"rate\":%.3f,\"rateToEnd\":%.3f,", window_s > 0 ? (double)count.in_window / window_s : 0,
         whole_s > 0 ? (double)count.messages / whole_s : 0);
  print_histogram("message", &count.message);
  printf(",\"phases\":{");
  for (int p = 0; p < PHASES; p++) {
    if (p > 0) printf(",");
    print_histogram(phase_names[p], &count.phases[p]);
  }
  printf("},\"replies\":{");
  const char *comma = "";
  for (int p = 0; p < PHASES; p++)
    for (int code = 0; code < 1000; code++)
      if (count.codes[p][code] > 0) {
        printf("%s\"%s %03d\":%lu", comma, phase_names[p], code, count.codes[p][code]);
        comma = ",";
      }
  printf("},\"errors\":{");
  comma = "";
  for (int p = 0; p < PHASES; p++) {
    for (int error = 0; error < 140; error++)
      if (count.errors[p][error] > 0) {
        printf("%s\"%s: %s\":%lu", comma, phase_names[p], error == 0 ? "closed by the far side" : strerror(error),
               count.errors[p][error]);
        comma = ",";
      }
    for (int code = 0; code < 1000; code++)
      if (count.unwanted[p][code] > 0) {
        printf("%s\"%s: %03d\":%lu", comma, phase_names[p], code, count.unwanted[p][code]);
        comma = ",";
      }
    if (count.timeouts[p] > 0) {
      printf("%s\"%s: no reply\":%lu", comma, phase_names[p], count.timeouts[p]);
      comma = ",";
    }
  }
  printf("}}\n");
  fflush(stdout);
}

static void read_sources(const char *path) {
  FILE *file = fopen(path, "r");
  char line[100];
  if (!file) die("%s: %s", path, strerror(errno));
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (!*line) continue;
    if (source_count % 1024 == 0) sources = realloc(sources, (source_count + 1024) * sizeof *sources);
    sources[source_count++] = test_address(line);
  }
  fclose(file);
}

static void read_options(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *name = argv[i], *value = argv[i + 1];
    if (!strcmp(name, "--to")) options.to = value;
    else if (!strcmp(name, "--mode")) options.mode = value;
    else if (!strcmp(name, "--sources")) options.sources = value;
    else if (!strcmp(name, "--rcpt")) options.rcpt = value;
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--warmup")) options.warmup = atof(value);
    else if (!strcmp(name, "--rate")) options.rate = atof(value);
    else if (!strcmp(name, "--connections")) options.connections = (unsigned)atoi(value);
    else if (!strcmp(name, "--messages")) options.messages = (unsigned)atoi(value);
    else if (!strcmp(name, "--dots")) options.dots = (unsigned)atoi(value);
    else if (!strcmp(name, "--size")) options.size = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--count")) options.count = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--timeout-ms")) options.timeout_ms = strtoull(value, NULL, 10);
    else die("unknown option %s", name);
  }
  if (argc % 2 == 0 || !options.to) die("usage: load --to ADDRESS:PORT [--OPTION VALUE]...");
  to = test_address(options.to);
  if (options.sources) read_sources(options.sources);
  for (mode = DELIVER; strcmp(options.mode, mode_names[mode]) != 0;)
    if (++mode > KNOCK) die("unknown mode %s", options.mode);
  if (mode == IDLE) options.count = options.connections;
  if (options.connections == 0 || strlen(options.rcpt) > 250) die("nothing to do");
  snprintf(rcpt, sizeof rcpt, "RCPT TO:<%s>\r\n", options.rcpt);
  snprintf(group, sizeof group, "%s%s%s", mail, rcpt, data);
}

static bool may_start(uint64_t now) {
  return !stopping && free_count > 0 && (mode == IDLE || now < stop_ns) &&
         (options.count == 0 || count.started < options.count);
}

/* Starts what is due. Returns when the next is, or 0 if nothing is to be waited for. */
static uint64_t start_due(uint64_t now) {
  static uint64_t scheduled;
  if (options.rate <= 0) {
    /* Idle connections come in portions: what is measured is holding them, not a burst of them. */
    unsigned most = mode == IDLE ? 64 : options.connections;
    while (most-- > 0 && may_start(now)) start_client(now_ns());
    return 0;
  }
  for (;;) {
    uint64_t due = start_ns + (uint64_t)((double)scheduled * 1e9 / options.rate);
    if (due >= stop_ns || stopping) return 0;
    if (due > now) return due;
    if (free_count == 0) {
      count.late++;
      return 0; /* tried again at the next event; its time counts from when it was due */
    }
    if (!may_start(now)) return 0;
    scheduled++;
    start_client(due);
  }
}

static void hold_idle(void) {
  printf("{\"idle\":%u}\n", idle_count);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  /* What was closed meanwhile is found now. */
  struct epoll_event events[256];
  for (int ready; (ready = epoll_wait(epoll_fd, events, 256, 0)) > 0;)
    for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
  printf("{\"idle\":%u}\n", idle_count);
  for (unsigned i = 0; i < options.connections; i++)
    if (clients[i].fd >= 0 && clients[i].idle) send_text(&clients[i], QUIT, quit, sizeof quit - 1, now_ns());
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  make_message();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  clients = calloc(options.connections, sizeof *clients);
  free_clients = calloc(options.connections, sizeof *free_clients);
  for (unsigned i = 0; i < options.connections; i++) {
    clients[i].fd = -1;
    free_clients[free_count++] = i;
  }
  start_ns = now_ns();
  window_ns = start_ns + (uint64_t)(options.warmup * 1e9);
  stop_ns = window_ns + (uint64_t)(options.seconds * 1e9);
  uint64_t next_look = start_ns;
  bool held = false;
  struct epoll_event events[256];
  for (;;) {
    uint64_t now = now_ns();
    if (mode != IDLE && now >= stop_ns) stopping = true;
    uint64_t due = start_due(now);
    if (now >= next_look) {
      end_overdue(now);
      next_look = now + 500000000u;
    }
    if (free_count == options.connections && (stopping || held || (options.count > 0 && count.started >= options.count)))
      break;
    if (mode == IDLE && !held && count.started == options.count && idle_count + count.failed >= options.count) {
      hold_idle();
      held = true;
      mode = DELIVER;
      continue;
    }
    uint64_t until = due > 0 && due < next_look ? due : next_look;
    if (!stopping && mode != IDLE && until > stop_ns) until = stop_ns;
    if (mode == IDLE && may_start(now)) until = now;
    uint64_t ns = until > now ? until - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    int ready = epoll_pwait2(epoll_fd, events, 256, &wait, NULL);
    for (int i = 0; i < ready; i++) {
      client *c = events[i].data.ptr;
      if (c->fd >= 0) on_event(c, events[i].events);
    }
  }
  double window_s = ((double)(stop_ns - window_ns)) / 1e9;
  if (options.count > 0 && count.last_ns > 0 && count.last_ns < stop_ns && count.last_ns > window_ns)
    window_s = (double)(count.last_ns - window_ns) / 1e9;
  print_result(window_s);
  return 0;
}
