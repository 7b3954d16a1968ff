/* A request whose answer takes time is suspended, and its connection resumed when the answer is there. A client that
 * goes away meanwhile is noticed by libmicrohttpd when the connection is resumed.
 */
#include "http/api.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "data/json.h"
#include "http/body.h"
#include "http/crowd.h"
#include "http/listen.h"
#include "http/pump.h"

/* Some are shut already and not yet noticed. */
#define CONNECTIONS_MAX (2 * CROWD_MAX)
#define IDLE_S 15U
#define CONNECTION_BYTES ((size_t)16 << 10) /* libmicrohttpd clears all of it after each request */
/* Without groups of finite fields: the largest costs the server 0.4 s of computation, before the client is known. */
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-DH-ALL"

struct api_route {
    const char *method, *path;
    api_handler *handler;
    void *ctx;
};

struct api_server {
    struct pump pump;
    struct identity *identity;
    size_t max_body;
    VEC(struct api_route) routes;
    VEC(struct api_request *) bodies; /* that are being received, the oldest first */
    unsigned bodies_max;
    int64_t body_ns, patience_ns;
    uint64_t refused;
    bool is_draining;
    struct crowd crowd;
};

enum request_state {
    REQUEST_RECEIVING, /* its body */
    REQUEST_REFUSED,   /* the rest of its body is not wanted */
    REQUEST_HANDLED,   /* the handler has it, suspended */
    REQUEST_ANSWERED,  /* to be queued when libmicrohttpd asks */
    REQUEST_QUEUED
};

struct api_request {
    struct api_server *server;
    struct MHD_Connection *connection;
    enum request_state state;
    bool has_body, suspended;
    int64_t begun_ns;
    struct body body;
    struct err why; /* it is refused */
    unsigned status;
    const char *content_type;
    struct buf answer;
};

static struct identity *the_identity;

static int on_certificate(gnutls_session_t session, const gnutls_datum_t *names, int count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **ret_chain,
                          unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    (void)names;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    return identity_serve(the_identity, session, ret_chain, ret_length, ret_key);
}

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

void api_answer(struct api_request *request, unsigned status, const char *content_type, struct buf *body)
{
    request->status = status;
    request->content_type = content_type;
    request->answer = *body;
    *body = (struct buf){0};
    request->state = REQUEST_ANSWERED;
    if (!request->suspended)
        return;
    request->suspended = false;
    request->server->pump.moving++;
    MHD_resume_connection(request->connection);
    pump_wake(&request->server->pump);
}

const char *api_header(const struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void answer_text(struct api_request *request, unsigned status, const char *text)
{
    struct buf body = {0};
    buf_puts(&body, "{\"result\":\"invalid\",\"message\":");
    if (json_write_string(&body, text, strlen(text), NULL) < 0)
        buf_puts(&body, "null");
    buf_puts(&body, "}\n");
    api_answer(request, status, "application/json", &body);
}

/* Answers may have values of Secrets in them. */
static void free_answer(void *ctx)
{
    wipe(ctx);
    free(ctx);
}

static enum MHD_Result queue(struct api_request *request)
{
    struct buf *answer = xcalloc(1, sizeof(*answer));
    *answer = request->answer;
    request->answer = (struct buf){0};
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        answer->length, (void *)(uintptr_t)buf_str(answer), free_answer, answer);
    if (!response) {
        free_answer(answer);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", request->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (request->server->is_draining)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    request->state = REQUEST_QUEUED;
    return result;
}

static void release_body(struct api_request *request)
{
    struct api_server *s = request->server;
    for (size_t i = 0; request->has_body && i < s->bodies.length; i++)
        if (s->bodies.items[i] == request) {
            memmove(s->bodies.items + i, s->bodies.items + i + 1, (--s->bodies.length - i) * sizeof(*s->bodies.items));
            break;
        }
    request->has_body = false;
    body_done(&request->body);
}

/* The path of a route may have a token in it: the time of the comparison does not tell how much of it is right. */
static bool is_path_of(const struct api_route *route, const char *path)
{
    size_t length = strlen(route->path);
    return strlen(path) == length && gnutls_memcmp(route->path, path, length) == 0;
}

static void handle(struct api_request *request, const char *method, const char *path)
{
    struct api_server *s = request->server;
    bool is_path = false;
    for (size_t i = 0; i < s->routes.length; i++) {
        const struct api_route *route = &s->routes.items[i];
        if (!is_path_of(route, path))
            continue;
        is_path = true;
        if (strcmp(route->method, method) != 0)
            continue;
        request->state = REQUEST_HANDLED;
        route->handler(route->ctx, request, buf_str(&request->body.bytes), request->body.bytes.length);
        release_body(request);
        return;
    }
    answer_text(request, is_path ? 405 : 404, is_path ? "another method is needed" : "there is no such path");
}

/* The rest of the body is not wanted. */
static void refuse(struct api_request *request)
{
    release_body(request);
    request->server->refused += request->why.kind == ERR_LIMIT || request->why.kind == ERR_TIMEOUT;
    request->state = REQUEST_REFUSED;
    request->status = request->why.kind == ERR_LIMIT      ? 413
                      : request->why.kind == ERR_NOTFOUND ? 415
                      : request->why.kind == ERR_TIMEOUT  ? 503
                                                          : 400;
}

/* Whoever sends slowly makes room for others. */
static void make_room(struct api_server *s)
{
    if (s->bodies.length < s->bodies_max || s->patience_ns == 0)
        return;
    struct api_request *oldest = s->bodies.items[0];
    if (clock_now_ns() - oldest->begun_ns < s->patience_ns)
        return;
    (void)err_set(&oldest->why, ERR_TIMEOUT, "the body came too slowly");
    refuse(oldest);
}

static int begin_body(struct api_request *request)
{
    struct api_server *s = request->server;
    const char *encoding = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                       MHD_HTTP_HEADER_CONTENT_ENCODING);
    make_room(s);
    if (s->bodies.length >= s->bodies_max)
        return err_set(&request->why, ERR_TIMEOUT, "too many bodies");
    vec_push(&s->bodies, request);
    request->has_body = true;
    return body_begin(&request->body, s->max_body, encoding, &request->why);
}

static void receive(struct api_request *request, const char *bytes, size_t length)
{
    if (request->state != REQUEST_RECEIVING)
        return;
    if ((!request->has_body && begin_body(request) < 0) || body_add(&request->body, bytes, length, &request->why) < 0)
        refuse(request);
}

/* A body that says how long it is need not be received to be refused. */
static bool announces_too_much(const struct api_server *s, struct MHD_Connection *connection)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return text && strtoull(text, NULL, 10) > s->max_body;
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **guest,
                          enum MHD_ConnectionNotificationCode code)
{
    struct api_server *s = ctx;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        crowd_leave(&s->crowd, STEAL(*guest));
        return;
    }
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *guest = crowd_enter(&s->crowd, fd, info ? info->client_addr : NULL);
}

/* Whoever asks has a certificate: it is not the one that has to leave. */
static void stir(struct api_server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info && info->socket_context)
        crowd_stir(&s->crowd, info->socket_context);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct api_server *s = ctx;
    struct api_request *request = *state;
    (void)version;
    if (!request) {
        request = xcalloc(1, sizeof(*request));
        *request = (struct api_request){.server = s, .connection = connection, .begun_ns = clock_now_ns()};
        *state = request;
        s->pump.moving++;
        stir(s, connection);
        if (!announces_too_much(s, connection))
            return MHD_YES;
        s->refused++;
        answer_text(request, 413, "the body is too large");
        return queue(request);
    }
    if (*upload_size > 0) {
        size_t length = *upload_size;
        *upload_size = 0;
        if (clock_now_ns() - request->begun_ns > s->body_ns) {
            s->refused += request->state == REQUEST_RECEIVING;
            return MHD_NO;
        }
        receive(request, upload, length);
        return MHD_YES;
    }
    if (request->state == REQUEST_RECEIVING && body_end(&request->body, &request->why) < 0)
        refuse(request);
    if (request->state == REQUEST_REFUSED)
        answer_text(request, request->status, request->why.text);
    if (request->state == REQUEST_RECEIVING)
        handle(request, method, url);
    if (request->state == REQUEST_ANSWERED)
        return queue(request);
    if (request->state == REQUEST_HANDLED && !request->suspended) {
        request->suspended = true;
        s->pump.moving--;
        MHD_suspend_connection(connection);
    }
    return MHD_YES;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct api_request *request = *state;
    (void)ctx;
    (void)connection;
    (void)code;
    if (!request)
        return;
    request->server->pump.moving -= !request->suspended;
    release_body(request);
    wipe(&request->answer);
    free(request);
    *state = NULL;
}

/* NULL with errno set. */
static struct MHD_Daemon *listen_at(struct api_server *s, const struct listen_address *at, uint16_t port)
{
    errno = 0;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | at->flags, port, NULL, NULL, on_request, s,
        MHD_OPTION_SOCK_ADDR, &at->at.any, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_HTTPS_CERT_CALLBACK, on_certificate,
        MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES, MHD_OPTION_END);
    if (!daemon && errno == 0)
        errno = EADDRINUSE;
    return daemon;
}

int api_server_new(uv_loop_t *loop, const char *address, uint16_t port, struct identity *identity, size_t max_body,
                   struct api_server **ret_server, struct err *err)
{
    struct listen_address at;
    if (listen_address(address, port, &at, err) < 0)
        return -1;
    struct api_server *s = xcalloc(1, sizeof(*s));
    s->identity = the_identity = identity;
    s->max_body = max_body;
    s->bodies_max = API_BODIES_MAX;
    s->body_ns = API_BODY_NS;
    struct MHD_Daemon *daemon = listen_at(s, &at, port);
    if (!daemon) {
        free(s);
        return err_set_sys(err, errno, "listen on %s port %u", address, port);
    }
    pump_begin(&s->pump, loop, daemon, &s->crowd);
    *ret_server = s;
    return 0;
}

void api_server_route(struct api_server *s, const char *method, const char *path, api_handler *handler, void *ctx)
{
    vec_push(&s->routes, ((struct api_route){.method = method, .path = path, .handler = handler, .ctx = ctx}));
}

void api_server_limit_bodies(struct api_server *s, unsigned bodies, int64_t body_ns, int64_t patience_ns)
{
    s->bodies_max = bodies;
    s->body_ns = body_ns;
    s->patience_ns = patience_ns;
}

uint64_t api_server_refused(const struct api_server *s)
{
    return s->refused;
}

void api_server_drain(struct api_server *s)
{
    s->is_draining = true;
}

uint16_t api_server_port(const struct api_server *s)
{
    return MHD_get_daemon_info(s->pump.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

static void on_closed(void *ctx)
{
    struct api_server *s = ctx;
    MHD_stop_daemon(s->pump.daemon);
    vec_done(&s->routes);
    vec_done(&s->bodies);
    free(s);
}

struct api_server *api_server_free(struct api_server *s)
{
    if (s)
        pump_end(&s->pump, on_closed, s);
    return NULL;
}
