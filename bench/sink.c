/*
 * A smarthost that takes everything and keeps nothing: one thread, epoll, several connections and listeners.
 *
 * What a recipient's local part begins with says how it is treated, so that one sink serves every scenario through any
 * relay:
 *   refused        550 to RCPT
 *   waitN          the final reply comes N ms after the final dot
 *   slowN          the body is read at N KB/s
 *
 * On standard input: "stats" prints the counts as one JSON line, the end of it ends the program.
 * Usage: sink ADDRESS:PORT...
 */
#define _GNU_SOURCE
#include "common.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#define READ_BYTES (1 << 20)
#define SLOW_READ_BYTES (64 << 10)
#define LINE_BYTES 2100
#define OUT_BYTES 8192
#define MAX_FD 100000

typedef struct connection {
  int fd;
  bool in_data, paused, closing;
  /* of "\r\n.\r\n": how much of it the bytes so far end with; 2 at the start of a body */
  unsigned matched;
  /* octets of a chunk that are still to come */
  uint64_t chunk_left;
  unsigned wait_ms, slow_kbps;
  unsigned line_length;
  char line[LINE_BYTES];
  char out[OUT_BYTES];
  unsigned out_length;
  /* what had been read when the connection was paused */
  char *stash;
  size_t stash_length;
  uint64_t due_ns;
  bool final_reply_due;
  struct connection *earlier, *later;
} connection;

static int epoll_fd;
static char buffer[READ_BYTES];
static connection *connections[MAX_FD];
/* paused connections, by when they go on; almost always appended at the end */
static connection *first_due, *last_due;
static struct {
  uint64_t connections, open, messages, bytes, refused, stray, unanswered;
} count;

static void forget_due(connection *c) {
  if (c->earlier) c->earlier->later = c->later;
  else if (first_due == c) first_due = c->later;
  if (c->later) c->later->earlier = c->earlier;
  else if (last_due == c) last_due = c->earlier;
  c->earlier = c->later = NULL;
}

static void add_due(connection *c) {
  connection *before = last_due;
  while (before && before->due_ns > c->due_ns) before = before->earlier;
  c->earlier = before;
  c->later = before ? before->later : first_due;
  if (c->later) c->later->earlier = c;
  else last_due = c;
  if (before) before->later = c;
  else first_due = c;
}

static void drop(connection *c) {
  if (c->paused) {
    forget_due(c);
    if (c->final_reply_due) count.unanswered++;
  }
  connections[c->fd] = NULL;
  close(c->fd);
  free(c->stash);
  free(c);
  count.open--;
}

static void say(connection *c, const char *text) {
  size_t length = strlen(text);
  if (c->out_length + length > OUT_BYTES) {
    c->closing = true; /* asks more than it reads */
    return;
  }
  memcpy(c->out + c->out_length, text, length);
  c->out_length += (unsigned)length;
}

static void flush(connection *c) {
  while (c->out_length > 0) {
    ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) return;
      c->closing = true;
      return;
    }
    memmove(c->out, c->out + sent, c->out_length - (size_t)sent);
    c->out_length -= (unsigned)sent;
  }
}

static void watch(connection *c, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void pause_for(connection *c, uint64_t ns) {
  c->paused = true;
  c->due_ns = now_ns() + ns;
  add_due(c);
  watch(c, EPOLLRDHUP);
}

static bool is(const connection *c, const char *verb) { return strncasecmp(c->line, verb, strlen(verb)) == 0; }

static void on_command(connection *c) {
  if (is(c, "EHLO")) {
    say(c, "250-sink.example.net\r\n250-PIPELINING\r\n250-SIZE 1073741824\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 8BITMIME\r\n");
  } else if (is(c, "HELO")) {
    say(c, "250 sink.example.net\r\n");
  } else if (is(c, "MAIL")) {
    c->wait_ms = c->slow_kbps = 0;
    say(c, "250 2.1.0 Ok\r\n");
  } else if (is(c, "RCPT")) {
    const char *local = strchr(c->line, '<');
    local = local ? local + 1 : "";
    if (strncmp(local, "refused", 7) == 0) {
      count.refused++;
      say(c, "550 5.1.1 No such mailbox\r\n");
      return;
    }
    if (strncmp(local, "wait", 4) == 0) c->wait_ms = (unsigned)atoi(local + 4);
    if (strncmp(local, "slow", 4) == 0) c->slow_kbps = (unsigned)atoi(local + 4);
    say(c, "250 2.1.5 Ok\r\n");
  } else if (is(c, "DATA")) {
    c->in_data = true;
    c->matched = 2;
    say(c, "354 End data with <CR><LF>.<CR><LF>\r\n");
  } else if (is(c, "BDAT")) {
    /* RFC 3030; the whole message as one last chunk is all that is asked for here. */
    c->in_data = true;
    c->chunk_left = strtoull(c->line + 4, NULL, 10);
  } else if (is(c, "RSET") || is(c, "NOOP")) {
    say(c, "250 2.0.0 Ok\r\n");
  } else if (is(c, "QUIT")) {
    say(c, "221 2.0.0 Bye\r\n");
    c->closing = true;
  } else {
    count.stray++;
    say(c, "502 5.5.2 Not here\r\n");
  }
}

static void final_reply(connection *c) {
  count.messages++;
  say(c, "250 2.0.0 Ok: taken\r\n");
}

/* How far the body goes in these bytes: the place behind its final dot, or NULL. */
static const char *end_of_body(connection *c, const char *at, const char *end) {
  static const char mark[] = "\r\n.\r\n";
  /* The first few bytes may end what an earlier read began. */
  while (c->matched > 0 && at < end) {
    if (*at == mark[c->matched]) {
      at++;
      if (++c->matched == 5) {
        c->matched = 0;
        return at;
      }
    } else if (*at == '\r') {
      c->matched = 1;
      at++;
    } else {
      c->matched = 0;
    }
  }
  for (const char *from = at; from < end;) {
    const char *dot = memchr(from, '.', (size_t)(end - from));
    if (!dot) break;
    if (dot - at >= 2 && dot[-1] == '\n' && dot[-2] == '\r' && end - dot >= 3 && dot[1] == '\r' && dot[2] == '\n')
      return dot + 3;
    from = dot + 1;
  }
  /* What the mark may begin with at the end of these bytes. */
  size_t left = (size_t)(end - at);
  for (unsigned length = left < 4 ? (unsigned)left : 4; length > 0; length--) {
    if (memcmp(end - length, mark, length) == 0) {
      c->matched = length;
      break;
    }
  }
  return NULL;
}

/* The same for the octets of a chunk. */
static const char *end_of_chunk(connection *c, const char *at, const char *end) {
  uint64_t there = (uint64_t)(end - at);
  uint64_t part = there < c->chunk_left ? there : c->chunk_left;
  c->chunk_left -= part;
  return c->chunk_left == 0 ? at + part : NULL;
}

/* Handles bytes until there are none or the connection is paused; returns how many were handled. */
static size_t take(connection *c, const char *bytes, size_t length) {
  const char *at = bytes, *end = bytes + length;
  while (at < end && !c->closing && !c->paused) {
    if (c->in_data) {
      const char *after = c->chunk_left > 0 ? end_of_chunk(c, at, end) : end_of_body(c, at, end);
      count.bytes += (uint64_t)((after ? after : end) - at);
      at = after ? after : end;
      if (!after) break;
      c->in_data = false;
      if (c->wait_ms > 0) {
        c->final_reply_due = true;
        pause_for(c, (uint64_t)c->wait_ms * 1000000u);
      } else {
        final_reply(c);
      }
      continue;
    }
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t part = (size_t)((newline ? newline + 1 : end) - at);
    if (c->line_length + part >= LINE_BYTES) {
      c->closing = true;
      break;
    }
    memcpy(c->line + c->line_length, at, part);
    c->line_length += (unsigned)part;
    at += part;
    if (!newline) break;
    c->line[c->line_length] = 0;
    on_command(c);
    c->line_length = 0;
  }
  return (size_t)(at - bytes);
}

static void handle(connection *c, const char *bytes, size_t length) {
  size_t used = take(c, bytes, length);
  if (c->paused && used < length) {
    size_t left = length - used;
    char *kept = malloc(left);
    memcpy(kept, bytes + used, left);
    free(c->stash);
    c->stash = kept;
    c->stash_length = left;
  }
  flush(c);
  if (c->closing) drop(c);
}

static void on_readable(connection *c) {
  size_t most = c->in_data && c->slow_kbps > 0 ? SLOW_READ_BYTES : READ_BYTES;
  ssize_t got = recv(c->fd, buffer, most, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    drop(c);
    return;
  }
  bool slow = c->in_data && c->slow_kbps > 0;
  unsigned kbps = c->slow_kbps;
  int fd = c->fd;
  handle(c, buffer, (size_t)got);
  if (slow && connections[fd] == c && !c->paused && c->in_data)
    pause_for(c, (uint64_t)got * 1000000u / kbps);
}

static void go_on(connection *c) {
  forget_due(c);
  c->paused = false;
  if (c->final_reply_due) {
    c->final_reply_due = false;
    final_reply(c);
  }
  watch(c, EPOLLIN);
  char *stash = c->stash;
  size_t length = c->stash_length;
  c->stash = NULL;
  c->stash_length = 0;
  handle(c, stash ? stash : "", length);
  free(stash);
}

static void on_listener(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (fd >= MAX_FD) {
      close(fd);
      continue;
    }
    no_delay(fd);
    connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    connections[fd] = c;
    count.connections++;
    count.open++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    say(c, "220 sink.example.net ESMTP\r\n");
    flush(c);
  }
}

static int listen_on(const char *text) {
  address a = test_address(text);
  int fd = socket(a.at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a.at, a.length) < 0 || listen(fd, 4096) < 0) die("%s: %s", text, strerror(errno));
  return fd;
}

/* false at the end of the input */
static bool on_input(void) {
  char text[256];
  ssize_t got = read(0, text, sizeof text);
  if (got <= 0) return false;
  printf("{\"connections\":%lu,\"open\":%lu,\"messages\":%lu,\"bytes\":%lu,\"refused\":%lu,\"stray\":%lu,\"unanswered\":%lu}\n",
         count.connections, count.open, count.messages, count.bytes, count.refused, count.stray, count.unanswered);
  fflush(stdout);
  return true;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 17) die("usage: sink ADDRESS:PORT...");
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  /* Listeners and the input are told from connections by a pointer into this array. */
  static int listeners[17];
  listeners[0] = 0;
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = &listeners[0]};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input);
  for (int i = 1; i < argc; i++) {
    listeners[i] = listen_on(argv[i]);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listeners[i], &event);
  }
  printf("listening\n");
  fflush(stdout);
  struct epoll_event events[256];
  for (;;) {
    struct timespec wait, *until = NULL;
    if (first_due) {
      uint64_t now = now_ns();
      uint64_t ns = first_due->due_ns > now ? first_due->due_ns - now : 0;
      wait = (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
      until = &wait;
    }
    int ready = epoll_pwait2(epoll_fd, events, 256, until, NULL);
    for (int i = 0; i < ready; i++) {
      int *listener = events[i].data.ptr;
      if (listener >= listeners && listener < listeners + 17) {
        if (listener == listeners) {
          if (!on_input()) return 0;
        } else {
          on_listener(*listener);
        }
        continue;
      }
      connection *c = events[i].data.ptr;
      if (c->paused) {
        if (events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) drop(c);
      } else {
        on_readable(c);
      }
    }
    for (uint64_t now = now_ns(); first_due && first_due->due_ns <= now;) go_on(first_due);
  }
}
