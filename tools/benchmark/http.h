/* http.h — the benchmark's HTTP/1.1 client: one blocking GET on 127.0.0.1, without anything that would cost time.
 * Units:   *_ns CLOCK_MONOTONIC nanoseconds (int64_t).
 * Errors:  -1 with errno set. */
#ifndef HAPTIC_BENCHMARK_HTTP_H
#define HAPTIC_BENCHMARK_HTTP_H

#include <stddef.h>
#include <stdint.h>

struct http_answer {
    int status;
    char body[64]; /* its first line, cut */
};

int64_t now_ns(void);
/* A number of 1 … max from the command line, or the program ends. */
long number_argument(const char *what, const char *text, long max);

/* A connection to that port of this machine; timeout for each later read and write, in seconds. */
int http_connect(uint16_t port, int timeout_s);
/* Asks for a path of a host. 0: the answer is there; 1: the connection had ended before its first byte; -1: failed. */
int http_ask(int fd, const char *host, const char *path, struct http_answer *answer);
/* Ends the connection by a reset, so that no port stays in TIME_WAIT: thousands are made in a second. */
void http_reset(int fd);

#endif
