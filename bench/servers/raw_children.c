/*
 * The least that a parent of child processes can do: posix_spawn, which copies no memory, a pidfd
 * that tells of a child's end, and level-triggered epoll with one read or write of at most 64 KiB
 * per event.
 *
 *     raw_children spawn COUNT PARALLEL MEGABYTES FILES DIRECTORY PROGRAM [ARGUMENT...]
 *     raw_children exits LIVE ENDING PROGRAM [ARGUMENT...]
 *     raw_children read|write BYTES PROGRAM [ARGUMENT...]
 *
 * bench/README.md says what these do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How many children end before those that are measured. */
#define WARM 10
#define SETTLED 20

extern char **environ;

/* The first three are the child's standard streams. */
enum part { IN, OUT, ERR, END, PARTS };

struct child {
    int fds[PARTS];
    /* Of the ends of OUT and ERR and that of the child itself: how many are to come. */
    int missing;
};

static char buffer[65536];
static struct child *children;
static char **command;
static const char *directory;
static int epoll;
/* Children that are to be made and that run. */
static int to_start, running;
static unsigned long long to_write, received;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int slot, enum part part, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)slot * PARTS + part};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, children[slot].fds[part], &event) != 0)
        die("epoll_ctl");
}

static pid_t start(const int theirs[3])
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (posix_spawn_file_actions_init(&actions) != 0)
        die("posix_spawn_file_actions_init");
    for (int number = 0; number < 3; number++)
        posix_spawn_file_actions_adddup2(&actions, theirs[number], number);
    if (directory)
        posix_spawn_file_actions_addchdir_np(&actions, directory);
    errno = posix_spawn(&pid, command[0], &actions, NULL, command, environ);
    if (errno != 0)
        die("posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void spawn(int slot)
{
    struct child *child = &children[slot];
    int theirs[3];
    for (int number = 0; number < 3; number++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0)
            die("pipe2");
        int own = number == IN;
        child->fds[number] = ends[own];
        theirs[number] = ends[!own];
        if (fcntl(ends[own], F_SETFL, O_NONBLOCK) != 0)
            die("fcntl");
    }
    pid_t pid = start(theirs);
    for (int number = 0; number < 3; number++)
        close(theirs[number]);
    /* Nobody but this program waits for it, so that the number is still its own. */
    child->fds[END] = syscall(SYS_pidfd_open, pid, 0);
    if (child->fds[END] < 0)
        die("pidfd_open");
    child->missing = 3;
    watch(slot, OUT, EPOLLIN);
    watch(slot, ERR, EPOLLIN);
    watch(slot, END, EPOLLIN);
    running++;
}

static void drop(struct child *child, enum part part)
{
    if (child->fds[part] >= 0)
        close(child->fds[part]);
    child->fds[part] = -1;
}

static void part_ended(int slot, enum part part)
{
    struct child *child = &children[slot];
    drop(child, part);
    if (--child->missing > 0)
        return;
    drop(child, IN);
    running--;
    if (to_start > 0) {
        to_start--;
        spawn(slot);
    }
}

static void has_ended(int slot)
{
    siginfo_t how = {.si_pid = 0};
    if (waitid(P_PIDFD, children[slot].fds[END], &how, WEXITED | WNOHANG) != 0)
        die("waitid");
    if (how.si_pid == 0)
        return;
    if (how.si_code != CLD_EXITED || how.si_status != 0) {
        fprintf(stderr, "a child ended with %d\n", how.si_status);
        exit(1);
    }
    part_ended(slot, END);
}

static void readable(int slot, enum part part)
{
    ssize_t got = read(children[slot].fds[part], buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0)
        die("read");
    if (got == 0) {
        part_ended(slot, part);
        return;
    }
    received += got;
}

static void writable(int slot)
{
    size_t length = to_write < sizeof buffer ? to_write : sizeof buffer;
    ssize_t sent = write(children[slot].fds[IN], buffer, length);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        die("write");
    if (sent > 0)
        to_write -= sent;
    if (to_write == 0)
        drop(&children[slot], IN);
}

/* Runs until no more than so many children do. */
static void run(int left)
{
    struct epoll_event events[1024];
    while (running > left) {
        int count = epoll_wait(epoll, events, 1024, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int slot = events[i].data.u64 / PARTS;
            enum part part = events[i].data.u64 % PARTS;
            /* A child that is just being born has our descriptors for a moment after we go on, so
               that one that is closed meanwhile stays in the epoll set, and may speak up again. */
            if (children[slot].fds[part] < 0)
                continue;
            if (part == END)
                has_ended(slot);
            else if (part == IN)
                writable(slot);
            else
                readable(slot, part);
        }
    }
}

static void allow(int count)
{
    children = calloc(count, sizeof *children);
    if (children == NULL)
        die("calloc");
}

/* Says what was printed and waits to be told to go on. */
static void rendezvous(void)
{
    fflush(stdout);
    while (getchar() != '\n')
        if (feof(stdin))
            exit(0);
}

static void ready(void)
{
    puts("ready");
    rendezvous();
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void report(const char *what, unsigned long long number, double begun)
{
    printf("{\"%s\": %llu, \"seconds\": %.6f}\n", what, number, now() - begun);
    rendezvous();
}

static void spawn_all(int count, int parallel)
{
    to_start = count > parallel ? count - parallel : 0;
    for (int slot = 0; slot < parallel && slot < count; slot++)
        spawn(slot);
    run(0);
}

static void spawns(char **arguments)
{
    int count = atoi(arguments[0]), parallel = atoi(arguments[1]);
    size_t size = strtoull(arguments[2], NULL, 10) * 1000000;
    char *memory = malloc(size);
    if (memory == NULL && size > 0)
        die("malloc");
    memset(memory, 'x', size);
    for (int files = atoi(arguments[3]); files > 0; files--)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            die("open");
    directory = *arguments[4] ? arguments[4] : NULL;
    command = arguments + 5;
    allow(parallel);
    spawn_all(count / SETTLED + 1, parallel);
    ready();
    double begun = now();
    spawn_all(count, parallel);
    report("operations", count, begun);
    free(memory);
}

/* Ends `count` children one after the other, beginning with the `first`-th of an order that is
   none. 7919 is a prime. */
static void end_each(int first, int count, int made)
{
    for (int number = first; number < first + count; number++) {
        drop(&children[(long long)number * 7919 % made], IN);
        run(running - 1);
    }
}

static void exits(char **arguments)
{
    int ending = atoi(arguments[1]), made = atoi(arguments[0]) + WARM;
    command = arguments + 2;
    allow(made);
    for (int slot = 0; slot < made; slot++)
        spawn(slot);
    end_each(0, WARM, made);
    ready();
    double begun = now();
    end_each(WARM, ending, made);
    report("operations", ending, begun);
    for (int slot = 0; slot < made; slot++)
        drop(&children[slot], IN);
    run(0);
    puts("done");
}

/* Runs the command with the number of bytes as one more argument. */
static void move(int writes, unsigned long long bytes, char **arguments, int count)
{
    char number[32];
    char *all[count + 2];
    snprintf(number, sizeof number, "%llu", bytes);
    memcpy(all, arguments, count * sizeof *all);
    all[count] = number;
    all[count + 1] = NULL;
    command = all;
    received = 0;
    to_write = writes ? bytes : 0;
    spawn(0);
    if (writes)
        watch(0, IN, EPOLLOUT);
    run(0);
}

static void moves(int writes, int count, char **arguments)
{
    unsigned long long bytes = strtoull(arguments[0], NULL, 10);
    allow(1);
    move(writes, bytes / SETTLED, arguments + 1, count - 1);
    ready();
    double begun = now();
    move(writes, bytes, arguments + 1, count - 1);
    report("bytes", writes ? bytes : received, begun);
}

int main(int argc, char **argv)
{
    /* What a child that reads expects. */
    memset(buffer, 'x', sizeof buffer);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    if (argc > 7 && !strcmp(argv[1], "spawn"))
        spawns(argv + 2);
    else if (argc > 4 && !strcmp(argv[1], "exits"))
        exits(argv + 2);
    else if (argc > 3 && !strcmp(argv[1], "read"))
        moves(0, argc - 2, argv + 2);
    else if (argc > 3 && !strcmp(argv[1], "write"))
        moves(1, argc - 2, argv + 2);
    else {
        fprintf(stderr, "usage: raw_children spawn|exits|read|write NUMBER... PROGRAM...\n");
        return 2;
    }
}
