/* How it works: the answers of this benchmark are short (the backends' 200 and HAProxy's own pages), so each is read
 * into one buffer on the stack until the length that its head tells. */
#include "http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

long number_argument(const char *what, const char *text, long max)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || value < 1 || value > max) {
        fprintf(stderr, "%s must be a number from 1 to %ld, not \"%s\"\n", what, max, text);
        exit(2);
    }
    return value;
}

int http_connect(uint16_t port, int timeout_s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = timeout_s};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int sys = errno;
        close(fd);
        errno = sys;
        return -1;
    }
    return fd;
}

/* The whole length of the answer whose head ends at `body`, or 0 when it cannot be told. */
static size_t answer_length(const char *head, const char *body)
{
    const char *field = strcasestr(head, "\r\ncontent-length:");

    if (field == NULL || field >= body)
        return 0;
    return (size_t)(body - head) + strtoul(field + strlen("\r\ncontent-length:"), NULL, 10);
}

int http_ask(int fd, const char *host, const char *path, struct http_answer *answer)
{
    char text[4096];
    size_t have = 0, want = 0;
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);

    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        return errno == EPIPE || errno == ECONNRESET ? 1 : -1;
    const char *body = NULL;
    while (body == NULL || have < want) {
        ssize_t got = recv(fd, text + have, sizeof(text) - 1 - have, 0);
        if (got <= 0) {
            if (have == 0 && (got == 0 || errno == ECONNRESET))
                return 1;
            if (got == 0)
                errno = ECONNRESET;
            return -1;
        }
        have += (size_t)got;
        text[have] = '\0';
        body = strstr(text, "\r\n\r\n");
        if (body != NULL) {
            body += 4;
            want = answer_length(text, body);
        }
        if (want >= sizeof(text) || (body != NULL && want == 0) || have == sizeof(text) - 1) {
            errno = EPROTO;
            return -1;
        }
    }
    if (have < 12 || strncmp(text, "HTTP/1.", 7) != 0) {
        errno = EPROTO;
        return -1;
    }
    answer->status = (int)strtol(text + 9, NULL, 10);
    snprintf(answer->body, sizeof(answer->body), "%.*s", (int)strcspn(body, "\r\n"), body);
    return 0;
}

void http_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}
