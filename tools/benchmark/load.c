/* load PORT HOSTS RATE [PATH]: asks random hosts of h0.bench … RATE times a second until SIGTERM, in turn on a kept
 * connection and on a new one, and then prints one line:
 *
 *   asked N failed N again N p50_us N p99_us N max_us N
 *
 * A request failed when it was not answered with 200 within 5 s. A server may close an idle connection at any moment: a
 * request on a kept connection that ended before the first byte of an answer is sent again, once, on a new connection,
 * and counted as `again`. The first failures are told on stderr.
 *
 * How it works: one request at a time, so that a late answer delays the next: lost time is caught up in a burst. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

#define TIMEOUT_S 5
#define MAX_REQUESTS (1L << 22)
#define FAILURES_TOLD 5

struct load {
    uint16_t port;
    const char *path;
    int kept;
    long asked, failed, again;
    uint32_t *us;
};

/* Sleeps until then. True: SIGTERM came, now or before; it is blocked elsewhere, so it never cuts a request short. */
static int sleep_or_stop(const sigset_t *signals, int64_t until_ns)
{
    int64_t left_ns = until_ns - now_ns();
    struct timespec left = {0};

    if (left_ns > 0)
        left = (struct timespec){.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    return sigtimedwait(signals, NULL, &left) > 0;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33);
}

/* As http_ask(), on a connection that is kept for the next one, or not. */
static int ask(struct load *l, const char *host, int keep, struct http_answer *answer)
{
    int had_one = keep && l->kept >= 0;
    int fd = had_one ? l->kept : http_connect(l->port, TIMEOUT_S);
    int result = fd < 0 ? -1 : http_ask(fd, host, l->path, answer);

    if (keep)
        l->kept = result == 0 ? fd : -1;
    if (fd >= 0 && (!keep || result != 0)) {
        int sys = errno;
        http_reset(fd);
        errno = sys;
    }
    if (result == 1 && had_one) {
        l->again++;
        return ask(l, host, keep, answer);
    }
    return result;
}

static void request(struct load *l, const char *host)
{
    struct http_answer answer = {0};
    int64_t begun_ns = now_ns();
    int result = ask(l, host, l->asked % 2 == 0, &answer);

    l->us[l->asked++] = (uint32_t)((now_ns() - begun_ns) / 1000);
    if (result != 0 || answer.status != 200) {
        if (++l->failed <= FAILURES_TOLD)
            fprintf(stderr, "load: %s: %s %d %s\n", host,
                    result < 0    ? strerror(errno)
                    : result == 1 ? "closed"
                                  : "status",
                    answer.status, answer.body);
    }
}

int main(int argc, char **argv)
{
    sigset_t signals;
    struct load l = {.kept = -1};
    uint64_t random = 1;

    if (argc != 4 && argc != 5) {
        fputs("usage: load PORT HOSTS RATE [PATH]\n", stderr);
        return 2;
    }
    l.path = argc == 5 ? argv[4] : "/";
    l.port = (uint16_t)number_argument("the port", argv[1], 65535);
    long hosts = number_argument("the number of hosts", argv[2], 1000000);
    int64_t interval_ns = 1000000000 / number_argument("the rate", argv[3], 100000);
    l.us = malloc(MAX_REQUESTS * sizeof(*l.us));
    if (l.us == NULL)
        return 1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_TIMERSLACK, 1UL);
    for (int64_t due_ns = now_ns(); l.asked < MAX_REQUESTS && !sleep_or_stop(&signals, due_ns); due_ns += interval_ns) {
        char host[32];
        snprintf(host, sizeof(host), "h%ld.bench", (long)next_random(&random) % hosts);
        request(&l, host);
    }
    if (l.asked == 0) {
        free(l.us);
        return 1;
    }
    qsort(l.us, (size_t)l.asked, sizeof(*l.us), compare);
    printf("asked %ld failed %ld again %ld p50_us %u p99_us %u max_us %u\n", l.asked, l.failed, l.again,
           l.us[(l.asked - 1) / 2], l.us[(l.asked - 1) * 99 / 100], l.us[l.asked - 1]);
    free(l.us);
    return 0;
}
