/* prober PORT [PATH]: asks HAProxy for PATH ("/") without pause and says when an answer changed. Commands on stdin,
 * one answer each on stdout:
 *
 *   first HOST WANTED TIMEOUT_MS   asks one host, each time on a new connection, each 0.3 ms, until the backend WANTED
 *                                  answers ("*": until anybody does with 200)
 *      → started                   the first request was answered somehow; from here on nothing is missed
 *      → found NS ASKED            CLOCK_MONOTONIC when that answer was there, and how many requests it took
 *   all N TIMEOUT_MS               asks h0.bench … h(N-1).bench on a kept connection, each until it is answered by 200
 *      → found NS ASKED            when the last host that did not answer at once began to; all N have answered since
 *   redirected HOST TIMEOUT_MS     asks one host for "/", until it leads elsewhere by 301
 *      → found NS ASKED            CLOCK_MONOTONIC when that answer was there
 *   each → timeout LAST ASKED      LAST: the last status (0: none)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

#define NS_PER_MS 1000000
#define PAUSE_NS 300000
#define WAITING_NS 1000000 /* between questions to a host that does not answer yet */

static void sleep_until(int64_t when_ns)
{
    struct timespec t = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void say_timeout(int status, long asked)
{
    printf("timeout %d %ld\n", status, asked);
}

static const char *path = "/"; /* that is asked for */

static void find_redirect(uint16_t port, const char *host, int64_t deadline_ns)
{
    struct http_answer answer = {0};

    for (long asked = 1;; asked++) {
        int64_t begun_ns = now_ns();
        int fd = http_connect(port, 2);
        if (fd < 0 || http_ask(fd, host, "/", &answer) != 0)
            answer.status = 0;
        int64_t end_ns = now_ns();
        if (fd >= 0)
            http_reset(fd);
        if (answer.status == 301) {
            printf("found %lld %ld\n", (long long)end_ns, asked);
            return;
        }
        if (end_ns > deadline_ns) {
            say_timeout(answer.status, asked);
            return;
        }
        sleep_until(begun_ns + PAUSE_NS);
    }
}

static void find_first(uint16_t port, const char *host, const char *wanted, int64_t deadline_ns)
{
    struct http_answer answer = {0};

    for (long asked = 1;; asked++) {
        int64_t begun_ns = now_ns();
        int fd = http_connect(port, 2);
        int result = fd < 0 ? -1 : http_ask(fd, host, path, &answer);
        int64_t end_ns = now_ns();

        if (fd >= 0)
            http_reset(fd);
        if (result != 0)
            answer.status = 0;
        if (asked == 1)
            puts("started");
        if (answer.status == 200 && (strcmp(wanted, "*") == 0 || strcmp(wanted, answer.body) == 0)) {
            printf("found %lld %ld\n", (long long)end_ns, asked);
            return;
        }
        if (end_ns > deadline_ns) {
            say_timeout(answer.status, asked);
            return;
        }
        sleep_until(begun_ns + PAUSE_NS);
    }
}

static void find_all(uint16_t port, long hosts, int64_t deadline_ns)
{
    struct http_answer answer = {0};
    int64_t found_ns = now_ns();
    int fd = -1;
    int waited = 0;
    long asked = 0;

    for (long i = 0; i < hosts;) {
        char host[32];
        snprintf(host, sizeof(host), "h%ld.bench", i);
        if (fd < 0)
            fd = http_connect(port, 2);
        asked++;
        if (fd >= 0 && http_ask(fd, host, path, &answer) == 0 && answer.status == 200) {
            if (waited)
                found_ns = now_ns();
            waited = 0;
            i++;
            continue;
        }
        if (fd < 0)
            answer.status = 0;
        waited = 1;
        if (now_ns() > deadline_ns) {
            say_timeout(answer.status, asked);
            break;
        }
        if (fd >= 0)
            http_reset(fd);
        fd = -1;
        sleep_until(now_ns() + WAITING_NS);
    }
    if (fd >= 0)
        http_reset(fd);
    if (!waited)
        printf("found %lld %ld\n", (long long)found_ns, asked);
}

int main(int argc, char **argv)
{
    char line[512], host[256], wanted[64];
    long number, timeout_ms;

    if (argc != 2 && argc != 3) {
        fputs("usage: prober PORT [PATH]\n", stderr);
        return 2;
    }
    if (argc == 3)
        path = argv[2];
    uint16_t port = (uint16_t)number_argument("the port", argv[1], 65535);
    prctl(PR_SET_TIMERSLACK, 1UL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "first %255s %63s %ld", host, wanted, &timeout_ms) == 3) {
            find_first(port, host, wanted, now_ns() + timeout_ms * NS_PER_MS);
        } else if (sscanf(line, "redirected %255s %ld", host, &timeout_ms) == 2) {
            find_redirect(port, host, now_ns() + timeout_ms * NS_PER_MS);
        } else if (sscanf(line, "all %ld %ld", &number, &timeout_ms) == 2) {
            find_all(port, number, now_ns() + timeout_ms * NS_PER_MS);
        } else {
            fprintf(stderr, "prober: what is \"%.*s\"?\n", (int)strcspn(line, "\n"), line);
            return 2;
        }
    }
    return 0;
}
