/*
 * The least a server of datagrams can do one by one: level-triggered epoll, and for each wait as
 * many recvfrom, each with its sendto, as there are datagrams.
 *
 *     raw_udp PORT [udp|udp-count]
 *
 * udp echoes; udp-count counts, and answers "?" with the number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[65536];
static unsigned long long count;
static int counts;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void answer(int fd, const char *data, size_t length, struct sockaddr_in *to)
{
    /* As a datagram on its way, one that cannot be sent is lost. */
    sendto(fd, data, length, 0, (struct sockaddr *)to, sizeof *to);
}

static void readable(int fd)
{
    for (;;) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &size);
        if (got < 0) {
            if (errno == EAGAIN)
                return;
            if (errno != EINTR && errno != ECONNREFUSED)
                die("recvfrom");
        } else if (!counts) {
            answer(fd, buffer, got, &from);
        } else if (got == 1 && buffer[0] == '?') {
            char number[32];
            answer(fd, number, snprintf(number, sizeof number, "%llu", count), &from);
        } else {
            count++;
        }
    }
}

static int bind_to(int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, length) != 0)
        die("bind");
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    printf("listening on udp:127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: raw_udp PORT [udp|udp-count]\n");
        return 2;
    }
    counts = argc > 2 && !strcmp(argv[2], "udp-count");
    int fd = bind_to(atoi(argv[1]));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll");
    for (;;) {
        int ready = epoll_wait(epoll, &event, 1, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        if (ready > 0)
            readable(fd);
    }
}
