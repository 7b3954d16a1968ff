/* lease_server.h — an API server that knows one Lease, on the test's own loop.
 * Thread:  loop thread only.
 * Owns:    its listening socket and connections.
 *
 * HTTP/1.1, one connection per request or watch in flight. It keeps resourceVersions, refuses updates of another
 * version or uid as the real one does, tells watchers, takes Events, and fails on request.
 */
#ifndef SPEC_LEASE_SERVER_H
#define SPEC_LEASE_SERVER_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"

#define LEASE_SERVER_CONNECTIONS 32

struct lease_server {
    uv_loop_t *loop;
    uv_tcp_t socket;
    int port;
    bool is_listening;
    struct lease_connection *connections[LEASE_SERVER_CONNECTIONS];
    char *lease; /* JSON; NULL: absent */
    int versions, uids;
    /* Faults. */
    bool hangs;
    int status; /* 0: none; else every request but a watch is answered with it */
    int retry_after_s;
    bool denies_watch, denies_events, denies_pods;
    const char *pod; /* JSON of the one Pod that there is; NULL: none */
    /* What was seen. */
    unsigned requests, updates;
    struct buf events;
};

struct lease_connection {
    uv_tcp_t socket;
    struct lease_server *server;
    struct buf in;
    bool is_watch, is_pod_watch, is_closing;
};

struct lease_write {
    uv_write_t request;
    char *text;
};

static inline void lease_write_done(uv_write_t *request, int status)
{
    (void)status;
    struct lease_write *w = request->data;
    free(w->text);
    free(w);
}

static inline void lease_server_send(struct lease_connection *c, char *text)
{
    struct lease_write *w = xcalloc(1, sizeof(*w));
    uv_buf_t b = uv_buf_init(text, (unsigned)strlen(text));
    w->text = text;
    w->request.data = w;
    if (uv_write(&w->request, (uv_stream_t *)&c->socket, &b, 1, lease_write_done) != 0)
        lease_write_done(&w->request, 0);
}

static inline void lease_connection_closed(uv_handle_t *handle)
{
    struct lease_connection *c = handle->data;
    buf_done(&c->in);
    free(c);
}

static inline void lease_connection_close(struct lease_connection *c)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    for (int i = 0; i < LEASE_SERVER_CONNECTIONS; i++)
        if (c->server->connections[i] == c)
            c->server->connections[i] = NULL;
    uv_close((uv_handle_t *)&c->socket, lease_connection_closed);
}

static inline void lease_server_answer(struct lease_connection *c, int status, const char *body)
{
    char retry[64] = "";
    if (status == 429 || status == 503)
        snprintf(retry, sizeof(retry), "Retry-After: %d\r\n", c->server->retry_after_s);
    lease_server_send(c, xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
                                   status, retry, strlen(body), body));
}

static inline void lease_server_refuse(struct lease_connection *c, int status)
{
    CLEANUP(free_ptr)
    char *body = xasprintf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
                           "\"message\":\"as the test wants it\",\"code\":%d}",
                           status);
    lease_server_answer(c, status, body);
}

static inline void lease_server_tell(struct lease_connection *c, const char *type, const char *lease)
{
    CLEANUP(free_ptr) char *line = xasprintf("{\"type\":\"%s\",\"object\":%s}\n", type, lease);
    lease_server_send(c, xasprintf("%zx\r\n%s\r\n", strlen(line), line));
}

static inline void lease_server_tell_all(struct lease_server *s, const char *type, const char *lease)
{
    for (int i = 0; i < LEASE_SERVER_CONNECTIONS; i++)
        if (s->connections[i] && s->connections[i]->is_watch && !s->hangs)
            lease_server_tell(s->connections[i], type, lease);
}

/* The Pod becomes this; NULL: it is deleted. */
static inline void lease_server_set_pod(struct lease_server *s, const char *pod)
{
    const char *type = !s->pod ? "ADDED" : pod ? "MODIFIED" : "DELETED", *told = pod ? pod : s->pod;
    for (int i = 0; i < LEASE_SERVER_CONNECTIONS; i++)
        if (s->connections[i] && s->connections[i]->is_pod_watch)
            lease_server_tell(s->connections[i], type, told);
    s->pod = pod;
}

static inline void lease_server_serve_pod(struct lease_connection *c, const char *head)
{
    struct lease_server *s = c->server;
    if (s->denies_pods) {
        lease_server_refuse(c, 403);
    } else if (strstr(head, "watch=1")) {
        c->is_pod_watch = true;
        lease_server_send(
            c, xstrdup("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"));
        if (s->pod)
            lease_server_tell(c, "ADDED", s->pod);
    } else if (s->pod) {
        lease_server_answer(c, 200, s->pod);
    } else {
        lease_server_refuse(c, 404);
    }
}

/* Store text as the next version; keep the uid or make a new one. */
static inline void lease_server_store(struct lease_server *s, const char *text, size_t length)
{
    yyjson_doc *read = yyjson_read(text, length, 0);
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(read, NULL);
    yyjson_mut_val *metadata = yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "metadata");
    bool is_new = s->lease == NULL;
    char version[16], uid[16];
    snprintf(version, sizeof(version), "%d", ++s->versions);
    snprintf(uid, sizeof(uid), "uid-%d", is_new ? ++s->uids : s->uids);
    yyjson_mut_obj_remove_key(metadata, "resourceVersion");
    yyjson_mut_obj_remove_key(metadata, "uid");
    yyjson_mut_obj_add_str(doc, metadata, "resourceVersion", version);
    yyjson_mut_obj_add_str(doc, metadata, "uid", uid);
    free(s->lease);
    s->lease = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(read);
    lease_server_tell_all(s, is_new ? "ADDED" : "MODIFIED", s->lease);
}

static inline void lease_server_delete(struct lease_server *s)
{
    char *gone = s->lease;
    s->lease = NULL;
    lease_server_tell_all(s, "DELETED", gone);
    free(gone);
}

static inline const char *lease_server_meta(yyjson_doc *doc, const char *field)
{
    const char *text = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "metadata"), field));
    return text ? text : "";
}

/* An update must name version and uid: without the uid the real server would create a Lease that is gone. */
static inline bool lease_server_may_update(struct lease_server *s, const char *body, size_t length)
{
    if (!s->lease)
        return false;
    yyjson_doc *is = yyjson_read(s->lease, strlen(s->lease), 0), *wanted = yyjson_read(body, length, 0);
    bool may = strcmp(lease_server_meta(is, "resourceVersion"), lease_server_meta(wanted, "resourceVersion")) == 0 &&
               strcmp(lease_server_meta(is, "uid"), lease_server_meta(wanted, "uid")) == 0;
    yyjson_doc_free(is);
    yyjson_doc_free(wanted);
    return may;
}

static inline void lease_server_serve(struct lease_connection *c, const char *head, const char *body, size_t length)
{
    struct lease_server *s = c->server;
    if (strstr(head, "/events")) {
        buf_add(&s->events, body, length);
        buf_putc(&s->events, '\n');
        if (s->denies_events)
            lease_server_refuse(c, 403);
        else
            lease_server_answer(c, 201, "{}");
        return;
    }
    if (strstr(head, "/pods")) {
        lease_server_serve_pod(c, head);
        return;
    }
    s->requests++;
    if (s->hangs)
        return;
    if (strstr(head, "watch=1") && s->denies_watch) {
        lease_server_refuse(c, 403);
    } else if (strstr(head, "watch=1")) {
        c->is_watch = true;
        lease_server_send(
            c, xstrdup("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"));
        if (s->lease)
            lease_server_tell(c, "ADDED", s->lease);
    } else if (s->status != 0) {
        lease_server_refuse(c, s->status);
    } else if (strncmp(head, "GET ", 4) == 0) {
        if (s->lease)
            lease_server_answer(c, 200, s->lease);
        else
            lease_server_refuse(c, 404);
    } else if (strncmp(head, "POST ", 5) == 0 ? !s->lease : lease_server_may_update(s, body, length)) {
        s->updates++;
        lease_server_store(s, body, length);
        lease_server_answer(c, 200, s->lease);
    } else {
        lease_server_refuse(c, 409);
    }
}

static inline void lease_server_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct lease_connection *c = stream->data;
    if (n > 0)
        buf_add(&c->in, b->base, (size_t)n);
    free(b->base);
    if (n < 0) {
        lease_connection_close(c);
        return;
    }
    for (char *end; c->in.length > 0 && (end = strstr(c->in.data, "\r\n\r\n"));) {
        char *field = strcasestr(c->in.data, "content-length:");
        size_t head = (size_t)(end - c->in.data) + 4, length = field && field < end ? strtoul(field + 15, NULL, 10) : 0;
        if (c->in.length < head + length)
            return;
        *end = '\0';
        lease_server_serve(c, c->in.data, c->in.data + head, length);
        buf_consume(&c->in, head + length);
    }
}

static inline void lease_server_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    (void)handle;
    *ret = uv_buf_init(xmalloc(size), (unsigned)size);
}

static inline void lease_server_accept(uv_stream_t *stream, int status)
{
    struct lease_server *s = stream->data;
    struct lease_connection *c = xcalloc(1, sizeof(*c));
    (void)status;
    c->server = s;
    uv_tcp_init(s->loop, &c->socket);
    c->socket.data = c;
    for (int i = 0; i < LEASE_SERVER_CONNECTIONS; i++)
        if (!s->connections[i]) {
            s->connections[i] = c;
            break;
        }
    if (uv_accept(stream, (uv_stream_t *)&c->socket) != 0)
        lease_connection_close(c);
    else
        uv_read_start((uv_stream_t *)&c->socket, lease_server_alloc, lease_server_read);
}

/* Listens on the port it had before, or on a free one. */
static inline void lease_server_listen(struct lease_server *s)
{
    struct sockaddr_in address;
    int length = sizeof(address);
    uv_ip4_addr("127.0.0.1", s->port, &address);
    uv_tcp_init(s->loop, &s->socket);
    s->socket.data = s;
    int result = uv_tcp_bind(&s->socket, (struct sockaddr *)&address, 0);
    assert(result == 0);
    result = uv_listen((uv_stream_t *)&s->socket, 32, lease_server_accept);
    assert(result == 0);
    uv_tcp_getsockname(&s->socket, (struct sockaddr *)&address, &length);
    s->port = ntohs(address.sin_port);
    s->is_listening = true;
}

/* Connections are refused from now on, and those there are end. */
static inline void lease_server_vanish(struct lease_server *s)
{
    for (int i = 0; i < LEASE_SERVER_CONNECTIONS; i++)
        if (s->connections[i])
            lease_connection_close(s->connections[i]);
    if (s->is_listening)
        uv_close((uv_handle_t *)&s->socket, NULL);
    s->is_listening = false;
}

static inline void lease_server_done(struct lease_server *s)
{
    lease_server_vanish(s);
    free(s->lease);
    s->lease = NULL;
    buf_done(&s->events);
}

#endif
