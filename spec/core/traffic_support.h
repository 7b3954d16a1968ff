/* traffic_support.h — upstreams for tests, requests, and a prober with a thread of its own.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_TRAFFIC_SUPPORT_H
#define SPEC_CORE_TRAFFIC_SUPPORT_H

#include "haproxy_support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

static UNUSED int tcp_connect(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* GET / with this Host; the status, 0 when there was no answer. */
static UNUSED int http_get(int port, const char *host, char *body, size_t size)
{
    char text[4096], *at;
    size_t length = 0;
    ssize_t n;
    int status = 0;
    body[0] = '\0';
    CLEANUP(close_fd) int fd = tcp_connect(port);
    if (fd < 0)
        return 0;
    int out = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    if (send(fd, text, (size_t)out, MSG_NOSIGNAL) != out)
        return 0;
    while (length < sizeof(text) - 1 && (n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    if (sscanf(text, "HTTP/1.1 %d", &status) != 1)
        return 0;
    at = strstr(text, "\r\n\r\n");
    snprintf(body, size, "%s", at ? at + 4 : "");
    return status;
}

/* ---- upstreams: a HAProxy that answers on ports of its own with "a", "b", "c", "d" ---- */

struct upstreams {
    pid_t pid;
    char *directory;
    int ports[4];
};

static UNUSED void upstreams_start(struct upstreams *u, const char *binary)
{
    u->directory = directory_new();
    /* Idle connections end soon: HAProxy 2.6 keeps a server that leaves for as long as it has some. */
    char *text = xasprintf("defaults\n  mode http\n  timeout client 60s\n  timeout http-keep-alive 1s\n"
                           "  timeout server 5s\n  timeout connect 5s\n");
    for (int i = 0; i < 4; i++) {
        u->ports[i] = free_port();
        char *more = xasprintf(
            "%sfrontend u%d\n  bind 127.0.0.1:%d\n  http-request wait-for-body time 5s if { path /slow }\n"
            "  http-request return status 200 content-type text/plain string %c\n",
            text, i, u->ports[i], 'a' + i);
        free(text);
        text = more;
    }
    file_write(u->directory, "haproxy.cfg", text);
    free(text);
    u->pid = process_spawn(u->directory, NULL, (const char *const[]){binary, "-db", "-f", "haproxy.cfg", NULL});
    char body[64];
    for (int i = 0; i < 500 && http_get(u->ports[3], "x", body, sizeof(body)) != 200; i++)
        usleep(10000);
}

static UNUSED void upstreams_end(struct upstreams *u)
{
    process_end(u->pid);
    directory_remove(u->directory);
}

/* ---- a prober ---- */

/* Asks again and again, each time on a new connection, until it is stopped. */
struct prober {
    pthread_t thread;
    int port;
    const char *host;
    atomic_bool stop;
    atomic_uint requests, failures;
    atomic_int last_bad;
};

static UNUSED void *prober_run(void *ctx)
{
    struct prober *p = ctx;
    char body[256];
    while (!atomic_load(&p->stop)) {
        int status = http_get(p->port, p->host, body, sizeof(body));
        atomic_fetch_add(&p->requests, 1);
        if (status != 200) {
            atomic_fetch_add(&p->failures, 1);
            atomic_store(&p->last_bad, status);
        }
        usleep(300);
    }
    return NULL;
}

static UNUSED void prober_start(struct prober *p, int port, const char *host)
{
    memset(p, 0, sizeof(*p));
    p->port = port;
    p->host = host;
    assert_int_equal(pthread_create(&p->thread, NULL, prober_run, p), 0);
}

/* It has asked some more times after what came last, all well. */
static UNUSED void prober_end(struct prober *p)
{
    unsigned wanted = atomic_load(&p->requests) + 11;
    for (int i = 0; i < 10000 && atomic_load(&p->requests) < wanted; i++)
        usleep(1000);
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    if (atomic_load(&p->failures))
        fail_msg("%u of %u requests failed, the last with %d", atomic_load(&p->failures), atomic_load(&p->requests),
                 atomic_load(&p->last_bad));
    assert_true(atomic_load(&p->requests) >= wanted);
}

#endif
