/* kube_script.h — an HTTP/1.1 server on the test's own loop that answers as the test says, down to where chunks are
 * cut.
 *
 * handle() is called for each whole request and answers at once or later, by script_reply() or, piece by piece, by
 * script_open(), script_chunk() and script_close(). script_cut() ends the connection in the middle of whatever it is.
 */
#ifndef HAPTIC_SPEC_KUBE_SCRIPT_H
#define HAPTIC_SPEC_KUBE_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "kube/client.h"

struct script;

struct script_conn {
    uv_tcp_t tcp;
    struct script *script;
    struct script_conn *next;
    struct buf in;
    bool is_closing;
    char method[16], target[2048];
    char *headers; /* of the request at hand */
    const char *body;
};

struct script {
    uv_loop_t loop;
    uv_tcp_t server;
    int port;
    void (*handle)(struct script_conn *c);
    struct script_conn *conns;
    unsigned requests;
    unsigned connections;
};

static inline void script_conn_closed(uv_handle_t *handle)
{
    struct script_conn *c = handle->data, **p = &c->script->conns;
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    buf_done(&c->in);
    free(c->headers);
    free(c);
}

static inline void script_cut(struct script_conn *c)
{
    if (!c->is_closing) {
        c->is_closing = true;
        uv_close((uv_handle_t *)&c->tcp, script_conn_closed);
    }
}

static inline void script_written(uv_write_t *w, int status)
{
    (void)status;
    free(w->data);
    free(w);
}

static inline void script_write(struct script_conn *c, const char *bytes, size_t length)
{
    uv_write_t *w = xcalloc(1, sizeof(*w));
    w->data = xmemdup0(bytes, length);
    uv_buf_t b = uv_buf_init(w->data, (unsigned)length);
    if (c->is_closing || uv_write(w, (uv_stream_t *)&c->tcp, &b, 1, script_written) != 0)
        script_written(w, -1);
}

static inline void script_reply(struct script_conn *c, int status, const char *headers, const char *body)
{
    CLEANUP(free_ptr)
    char *text = xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                           strlen(body), headers ? headers : "", body);
    script_write(c, text, strlen(text));
}

static inline void script_open(struct script_conn *c)
{
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    script_write(c, head, strlen(head));
}

static inline void script_chunk(struct script_conn *c, const char *bytes, size_t length)
{
    char head[32];
    snprintf(head, sizeof(head), "%zx\r\n", length);
    script_write(c, head, strlen(head));
    script_write(c, bytes, length);
    script_write(c, "\r\n", 2);
}

static inline void script_line(struct script_conn *c, const char *line)
{
    CLEANUP(free_ptr) char *text = xasprintf("%s\n", line);
    script_chunk(c, text, strlen(text));
}

static inline void script_close(struct script_conn *c)
{
    script_write(c, "0\r\n\r\n", 5);
}

static inline bool script_has(const struct script_conn *c, const char *text)
{
    return strstr(c->target, text) != NULL;
}

static inline void script_parse(struct script_conn *c)
{
    const char *end = strstr(buf_str(&c->in), "\r\n\r\n");
    if (!end)
        return;
    size_t head = (size_t)(end - c->in.data) + 4, length = 0;
    const char *header = strstr(c->in.data, "Content-Length: ");
    if (header && header < end)
        length = strtoul(header + 16, NULL, 10);
    if (c->in.length < head + length)
        return;
    free(c->headers);
    c->headers = xmemdup0(c->in.data, head);
    CLEANUP(free_ptr) char *body = xmemdup0(c->in.data + head, length);
    c->body = body;
    assert_int_equal(sscanf(c->headers, "%15s %2047s", c->method, c->target), 2);
    buf_consume(&c->in, head + length);
    c->script->requests++;
    c->script->handle(c);
    c->body = NULL;
}

static inline void script_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)handle;
    *ret = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

static inline void script_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct script_conn *c = stream->data;
    if (n > 0) {
        buf_add(&c->in, b->base, (size_t)n);
        script_parse(c);
    } else if (n < 0) {
        script_cut(c);
    }
    free(b->base);
}

static inline void script_accept(uv_stream_t *server, int status)
{
    struct script *s = server->data;
    struct script_conn *c = xcalloc(1, sizeof(*c));
    assert_int_equal(status, 0);
    c->script = s;
    c->next = s->conns;
    s->conns = c;
    s->connections++;
    uv_tcp_init(&s->loop, &c->tcp);
    c->tcp.data = c;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, script_room, script_read);
}

static inline void script_init(struct script *s, void (*handle)(struct script_conn *c))
{
    struct sockaddr_in address;
    int size = sizeof(address);
    memset(s, 0, sizeof(*s));
    s->handle = handle;
    assert_int_equal(uv_loop_init(&s->loop), 0);
    uv_tcp_init(&s->loop, &s->server);
    s->server.data = s;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&s->server, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->server, 16, script_accept), 0);
    uv_tcp_getsockname(&s->server, (struct sockaddr *)&address, &size);
    s->port = ntohs(address.sin_port);
}

/* Everything on the loop must be closed by its owner by then: that nothing is left open is part of each test. */
static inline void script_done(struct script *s)
{
    uv_close((uv_handle_t *)&s->server, NULL);
    for (struct script_conn *c = s->conns; c; c = c->next)
        script_cut(c);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static inline struct kube_client *script_client_of(struct script *s, struct kube_config *config)
{
    struct kube_client_options options = {.version = "1.2.3", .max_response_bytes = 1 << 20};
    if (!config->server)
        config->server = xasprintf("http://127.0.0.1:%d", s->port);
    if (!config->origin)
        config->origin = xstrdup("test");
    return kube_client_new(&s->loop, config, &options);
}

static inline struct kube_client *script_client(struct script *s)
{
    struct kube_config config = {0};
    return script_client_of(s, &config);
}

static inline void script_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Run the loop until *counter reaches wanted; fail after five seconds (or what seconds says). */
static inline void script_wait_for(struct script *s, const unsigned *counter, unsigned wanted, int seconds)
{
    int64_t end = clock_now_ns() + seconds * NS_PER_S;
    uv_timer_t tick;
    uv_timer_init(&s->loop, &tick);
    uv_timer_start(&tick, script_tick, 10, 10);
    while (*counter < wanted && clock_now_ns() < end)
        uv_run(&s->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&s->loop, UV_RUN_NOWAIT);
    if (*counter < wanted)
        fail_msg("waited %d s: %u of %u", seconds, *counter, wanted);
}

static inline void script_wait(struct script *s, const unsigned *counter, unsigned wanted)
{
    script_wait_for(s, counter, wanted, 5);
}

static inline void script_run_ms(struct script *s, int ms)
{
    int64_t end = clock_now_ns() + ms * NS_PER_MS;
    uv_timer_t tick;
    uv_timer_init(&s->loop, &tick);
    uv_timer_start(&tick, script_tick, 5, 5);
    while (clock_now_ns() < end)
        uv_run(&s->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&s->loop, UV_RUN_NOWAIT);
}

#endif
