/* backends PORT: one web server for every pod of the benchmark: it listens on all addresses of its network, and answers
 * each request with 200 and the address it was asked at, as a pod would say which pod it is ("198.18.0.7\n").
 *
 * How it works: one epoll loop. A request of the benchmark has no body, so the empty line ends it; what has arrived of
 * one lies in a small buffer per connection. Answers are far smaller than a socket's buffer and are written at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

struct connection {
    int fd;
    size_t have, answer_length;
    char request[2048], answer[160];
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_everywhere(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4096) < 0)
        fail("backends: listen");
    return fd;
}

static void accept_all(int epoll, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct sockaddr_in me = {0};
        socklen_t size = sizeof(me);
        char address[INET_ADDRSTRLEN] = "";
        int one = 1;
        struct connection *c = calloc(1, sizeof(*c));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        if (c == NULL || getsockname(fd, (struct sockaddr *)&me, &size) < 0 ||
            inet_ntop(AF_INET, &me.sin_addr, address, sizeof(address)) == NULL)
            fail("backends: accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c->fd = fd;
        c->answer_length = (size_t)snprintf(c->answer, sizeof(c->answer),
                                            "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s\n", strlen(address) + 1,
                                            address);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            fail("backends: epoll_ctl");
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("backends: accept");
}

/* False: the connection has ended. */
static int serve(struct connection *c)
{
    ssize_t got = recv(c->fd, c->request + c->have, sizeof(c->request) - c->have, 0);
    char *end;

    if (got < 0 && errno == EAGAIN)
        return 1;
    if (got <= 0)
        return 0;
    c->have += (size_t)got;
    while ((end = memmem(c->request, c->have, "\r\n\r\n", 4)) != NULL) {
        size_t length = (size_t)(end + 4 - c->request);
        memmove(c->request, c->request + length, c->have - length);
        c->have -= length;
        if (send(c->fd, c->answer, c->answer_length, MSG_NOSIGNAL) != (ssize_t)c->answer_length)
            return 0;
    }
    return c->have < sizeof(c->request);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct epoll_event events[256];

    if (argc != 2) {
        fputs("usage: backends PORT\n", stderr);
        return 2;
    }
    /* Every kept connection of HAProxy ends here. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int listener = listen_everywhere((uint16_t)number_argument("the port", argv[1], 65535));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        fail("backends: epoll");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        if (n < 0 && errno != EINTR)
            fail("backends: epoll_wait");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(epoll, listener);
            } else if (!serve(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
