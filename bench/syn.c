/*
 * Sends SYNs from many sources at a set rate through one interface, with nothing behind them: neither socket nor answer.
 * Usage: syn INTERFACE ITS-MAC NEXT-HOP-MAC TARGET:PORT SOURCES-FILE RATE SECONDS; IPv4.
 * Prints {"offered":N,"seconds":S}.
 */
#define _GNU_SOURCE
#include "common.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>

#define BATCH 64
#define FRAME_BYTES (14 + 20 + 24)

static uint8_t frames[BATCH][FRAME_BYTES];

static uint32_t sum_words(const uint8_t *bytes, size_t length, uint32_t sum) {
  for (size_t i = 0; i + 1 < length; i += 2) sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
  return sum;
}

static uint16_t folded(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

static void parse_mac(const char *text, uint8_t *out) {
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", out, out + 1, out + 2, out + 3, out + 4, out + 5) != 6)
    die("not a hardware address: %s", text);
}

static uint32_t *read_sources(const char *path, unsigned *count) {
  FILE *file = fopen(path, "r");
  char line[100];
  if (!file) die("%s: %s", path, strerror(errno));
  uint32_t *out = NULL;
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (!*line) continue;
    address a = test_address(line);
    if (a.at.ss_family != AF_INET) die("%s: IPv4 only", line);
    if (*count % 1024 == 0) out = realloc(out, (*count + 1024) * sizeof *out);
    out[(*count)++] = ((struct sockaddr_in *)&a.at)->sin_addr.s_addr;
  }
  fclose(file);
  if (*count == 0) die("%s: no sources", path);
  return out;
}

static void fill(uint8_t *frame, uint32_t from, const struct sockaddr_in *to, uint64_t n) {
  struct iphdr *ip = (struct iphdr *)(frame + 14);
  struct tcphdr *tcp = (struct tcphdr *)(frame + 34);
  memset(ip, 0, 44);
  ip->version = 4;
  ip->ihl = 5;
  ip->tot_len = htons(44);
  ip->id = htons((uint16_t)n);
  ip->ttl = 64;
  ip->protocol = IPPROTO_TCP;
  ip->saddr = from;
  ip->daddr = to->sin_addr.s_addr;
  ip->check = folded(sum_words((uint8_t *)ip, 20, 0));
  tcp->source = htons((uint16_t)(1024 + n % 60000));
  tcp->dest = to->sin_port;
  tcp->seq = htonl((uint32_t)(n * 2654435761u));
  tcp->doff = 6;
  tcp->syn = 1;
  tcp->window = htons(64240);
  static const uint8_t segment_size[4] = {2, 4, 0x05, 0xb4};
  memcpy(tcp + 1, segment_size, 4);
  tcp->check = folded(sum_words((uint8_t *)tcp, 24, sum_words((uint8_t *)&ip->saddr, 8, IPPROTO_TCP + 24)));
}

int main(int argc, char **argv) {
  if (argc != 8) die("usage: syn INTERFACE ITS-MAC NEXT-HOP-MAC TARGET:PORT SOURCES-FILE RATE SECONDS");
  address to = test_address(argv[4]);
  if (to.at.ss_family != AF_INET) die("IPv4 only");
  unsigned source_count = 0;
  uint32_t *sources = read_sources(argv[5], &source_count);
  double rate = atof(argv[6]), seconds = atof(argv[7]);
  for (int i = 0; i < BATCH; i++) {
    parse_mac(argv[3], frames[i]);
    parse_mac(argv[2], frames[i] + 6);
    frames[i][12] = ETHERTYPE_IP >> 8;
    frames[i][13] = ETHERTYPE_IP & 0xff;
  }
  int fd = socket(AF_PACKET, SOCK_RAW, 0);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
  if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
    die("%s: %s", argv[1], strerror(errno));
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){frames[i], FRAME_BYTES};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  uint64_t start = now_ns(), sent = 0;
  double elapsed = 0;
  while ((elapsed = (double)(now_ns() - start) / 1e9) < seconds) {
    uint64_t due = (uint64_t)(elapsed * rate);
    if (due <= sent) {
      /* A batch's worth of time, but no shorter than the kernel sleeps anyway. */
      double pause = BATCH / rate;
      struct timespec wait = {.tv_sec = (time_t)pause, .tv_nsec = (long)((pause - (double)(time_t)pause) * 1e9)};
      nanosleep(&wait, NULL);
      continue;
    }
    unsigned batch = due - sent < BATCH ? (unsigned)(due - sent) : BATCH;
    for (unsigned i = 0; i < batch; i++)
      fill(frames[i], sources[(sent + i) % source_count], (struct sockaddr_in *)&to.at, (sent + i) / source_count);
    int done = sendmmsg(fd, messages, batch, 0);
    if (done < 0 && errno != ENOBUFS && errno != EAGAIN) die("sendmmsg: %s", strerror(errno));
    if (done > 0) sent += (uint64_t)done;
  }
  printf("{\"offered\":%lu,\"seconds\":%.3f}\n", sent, elapsed);
  return 0;
}
