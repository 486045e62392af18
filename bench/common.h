/* What load.c, sink.c and syn.c share: the clock, addresses, and where they may connect at all. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(2);
}

typedef struct {
  struct sockaddr_storage at;
  socklen_t length;
} address;

/* "192.0.2.1", "2001:db8::1", with a port "192.0.2.1:25", "[2001:db8::1]:25". Anything else ends the program. */
static address parse_address(const char *text) {
  address out = {0};
  char host[64];
  unsigned port = 0;
  const char *close = text[0] == '[' ? strchr(text, ']') : NULL;
  const char *colon = strchr(text, ':');
  size_t length = strlen(text);
  const char *begin = text;
  if (close) {
    begin = text + 1;
    length = (size_t)(close - begin);
    if (close[1] == ':') port = (unsigned)atoi(close + 2);
  } else if (colon && !strchr(colon + 1, ':')) {
    length = (size_t)(colon - text);
    port = (unsigned)atoi(colon + 1);
  }
  if (length >= sizeof host || port > 65535) die("not an address: %s", text);
  memcpy(host, begin, length);
  host[length] = 0;
  struct sockaddr_in *v4 = (struct sockaddr_in *)&out.at;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out.at;
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    out.length = sizeof *v4;
  } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    out.length = sizeof *v6;
  } else {
    die("not an address: %s", text);
  }
  return out;
}

/* Loopback and the ranges set aside for documentation (RFC 5737, RFC 3849): nothing that anybody could own. */
static bool is_for_tests(const address *a) {
  if (a->at.ss_family == AF_INET) {
    uint32_t ip = ntohl(((const struct sockaddr_in *)&a->at)->sin_addr.s_addr);
    uint32_t net = ip >> 8;
    return ip >> 24 == 127 || net == 0xC00002 || net == 0xC63364 || net == 0xCB0071;
  }
  const struct in6_addr *ip = &((const struct sockaddr_in6 *)&a->at)->sin6_addr;
  static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
  return IN6_IS_ADDR_LOOPBACK(ip) || memcmp(ip, documentation, 4) == 0;
}

static address test_address(const char *text) {
  address a = parse_address(text);
  if (!is_for_tests(&a)) die("%s: only loopback and the documentation ranges are allowed", text);
  return a;
}

static inline void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

#endif
