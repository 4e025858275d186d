/*
 * The least a server can do: level-triggered epoll, one recv and one send per event, a 64 KiB
 * buffer on the stack, no epoll_ctl in the steady state, no timers and no callbacks. The other
 * servers are compared with it.
 *
 *     raw_epoll PORT [echo|sink|source|unix]
 *
 * unix is the echo at a path of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum mode { ECHO, SINK, SOURCE, UNIX };

/* What a send left over; only while a peer does not read. */
struct pending {
    char *data;
    size_t start, end;
};

static char buffer[65536];
static struct pending *pending;
static size_t limit;
static int epoll;
static enum mode mode;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void interest(int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, op, fd, &event) != 0)
        die("epoll_ctl");
}

static void drop(int fd)
{
    free(pending[fd].data);
    pending[fd].data = NULL;
    close(fd);
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
                return;
            die("accept4");
        }
        if ((size_t)fd >= limit) {
            close(fd);
            continue;
        }
        int one = 1;
        if (mode != UNIX)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        interest(EPOLL_CTL_ADD, fd, mode == SOURCE ? EPOLLOUT : EPOLLIN);
    }
}

/* Returns how much was sent, or -1 after closing the connection. */
static ssize_t try_send(int fd, const char *data, size_t length)
{
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return 0;
        drop(fd);
    }
    return sent;
}

static void readable(int fd)
{
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    if (mode == SINK)
        return;
    ssize_t sent = try_send(fd, buffer, got);
    if (sent < 0 || sent == got)
        return;
    /* The peer does not read: keep the rest, and read no more until it is sent. */
    struct pending *rest = &pending[fd];
    rest->data = malloc(sizeof buffer);
    if (rest->data == NULL)
        die("malloc");
    rest->start = 0;
    rest->end = got - sent;
    memcpy(rest->data, buffer + sent, rest->end);
    interest(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void writable(int fd)
{
    struct pending *rest = &pending[fd];
    if (mode == SOURCE) {
        try_send(fd, buffer, sizeof buffer);
        return;
    }
    ssize_t sent = try_send(fd, rest->data + rest->start, rest->end - rest->start);
    if (sent < 0)
        return;
    rest->start += sent;
    if (rest->start == rest->end) {
        free(rest->data);
        rest->data = NULL;
        interest(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

static int listen_on(int port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener < 0)
        die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, length) != 0)
        die("bind");
    if (listen(listener, 1024) != 0)
        die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int listen_at_path(void)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *directory = getenv("TMPDIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (listener < 0)
        die("socket");
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/raw-epoll-%d",
                          directory ? directory : "/tmp", (int)getpid());
    if (length >= (int)sizeof address.sun_path) {
        fprintf(stderr, "TMPDIR is too long\n");
        exit(1);
    }
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0)
        die("bind");
    if (listen(listener, 1024) != 0)
        die("listen");
    printf("listening on unix:%s\n", address.sun_path);
    fflush(stdout);
    return listener;
}

static enum mode mode_called(const char *name)
{
    static const char *const names[] = {"echo", "sink", "source", "unix"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i]))
            return i;
    fprintf(stderr, "no mode is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: raw_epoll PORT [echo|sink|source|unix]\n");
        return 2;
    }
    if (argc > 2)
        mode = mode_called(argv[2]);
    /* What the client expects of a source. */
    memset(buffer, 'x', sizeof buffer);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    limit = files.rlim_cur < 100000 ? files.rlim_cur : 100000;
    pending = calloc(limit, sizeof *pending);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (pending == NULL || epoll < 0)
        die("start");
    int listener = mode == UNIX ? listen_at_path() : listen_on(atoi(argv[1]));
    interest(EPOLL_CTL_ADD, listener, EPOLLIN);

    struct epoll_event events[1024];
    for (;;) {
        int count = epoll_wait(epoll, events, 1024, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (events[i].events & EPOLLOUT)
                writable(fd);
            else
                readable(fd);
        }
    }
}
