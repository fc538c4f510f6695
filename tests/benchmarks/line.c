/* A long line between two network namespaces, so that real TCP meets delay, a rate and loss where the kernel has no netem.

   line FIRST SECOND NAMESPACE MBIT DELAY_MS LOSS_PERMILLE: makes the tun device FIRST here and SECOND in the namespace
   (a path, as /run/netns/NAME), says "ready", and carries packets between them until it is ended. Rate and delay are
   of one way, the loss of each packet; what would wait longer than QUEUE at the rate is dropped, as by a router. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 16384 /* packets on their way, each direction */
#define MTU 1500
#define QUEUE 50000000L /* ns */

struct packet {
    long due; /* ns */
    int size;
    char bytes[MTU];
};

struct way {
    int from, to;
    unsigned first, count; /* of the ring's packets */
    long free_at;          /* ns; when the line can take the next one */
    struct packet *ring;
};

static unsigned long noise = 88172645463325252ul; /* xorshift: the same losses in each run, packet by packet */

static unsigned long dice(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    return noise ^= noise << 17;
}

static long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int tun(const char *name)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    check(fd, "/dev/net/tun");
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    check(ioctl(fd, TUNSETIFF, &request), name);
    return fd;
}

static void take(struct way *way, double ns_a_byte, long delay, unsigned long loss)
{
    while (way->count < SLOTS) {
        struct packet *packet = &way->ring[(way->first + way->count) % SLOTS];
        packet->size = read(way->from, packet->bytes, MTU);
        if (packet->size <= 0)
            return;
        long now = now_ns(), begins = way->free_at > now ? way->free_at : now;
        if (begins - now > QUEUE || dice() % 100000 < loss)
            continue;
        way->free_at = begins + (long)(packet->size * ns_a_byte);
        packet->due = way->free_at + delay;
        way->count++;
    }
}

static void deliver(struct way *way)
{
    for (long now = now_ns(); way->count && way->ring[way->first].due <= now; way->count--) {
        struct packet *packet = &way->ring[way->first];
        if (write(way->to, packet->bytes, packet->size) < 0 && errno != EAGAIN && errno != EIO)
            check(-1, "write");
        way->first = (way->first + 1) % SLOTS;
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    int here = tun(argv[1]), namespace = open(argv[3], O_RDONLY);
    check(namespace, argv[3]);
    check(setns(namespace, CLONE_NEWNET), "setns");
    int there = tun(argv[2]);
    double ns_a_byte = 8000.0 / atof(argv[4]);
    long delay = (long)(atof(argv[5]) * 1e6);
    unsigned long loss = (unsigned long)(atof(argv[6]) * 100);
    struct way ways[2] = {{.from = here, .to = there}, {.from = there, .to = here}};
    for (int i = 0; i < 2; i++)
        ways[i].ring = calloc(SLOTS, sizeof(struct packet));
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd wanted[2] = {{here, POLLIN, 0}, {there, POLLIN, 0}};
        long next = now_ns() + 1000000000L;
        for (int i = 0; i < 2; i++)
            if (ways[i].count && ways[i].ring[ways[i].first].due < next)
                next = ways[i].ring[ways[i].first].due;
        long wait = next - now_ns();
        struct timespec patience = {wait > 0 ? wait / 1000000000L : 0, wait > 0 ? wait % 1000000000L : 0};
        check(ppoll(wanted, 2, &patience, NULL), "poll");
        for (int i = 0; i < 2; i++) {
            take(&ways[i], ns_a_byte, delay, loss);
            deliver(&ways[i]);
        }
    }
}
