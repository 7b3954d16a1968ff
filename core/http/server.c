/* libmicrohttpd with its own epoll descriptor, which the loop polls (pump.h): no thread, no lock. A request whose
 * answer takes time is suspended; a client that goes away meanwhile is noticed afterwards. Its limits of connections
 * turn the newest away, whoever that is; so they are set beyond ours (crowd.h). */
#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "http/crowd.h"
#include "http/listen.h"
#include "http/loopback.h"
#include "http/pump.h"

/* Some are shut already and not yet noticed. */
#define CONNECTIONS_MAX (2 * CROWD_MAX)
#define IDLE_S 15U
#define CONNECTION_BYTES ((size_t)16 << 10) /* for the head of a request */

static int request_seen; /* its address stands for a request whose head was read */

struct route {
    const char *path, *summary;
    http_handler *handler;
    void *ctx;
};

/* An answer that takes time. */
struct http_later {
    struct http_server *server; /* NULL: closed meanwhile */
    struct MHD_Connection *connection;
    struct http_answer answer;
    bool is_given, is_suspended;
};

struct http_server {
    struct pump pump;
    VEC(struct http_later *) waiting;
    VEC(struct route) routes;
    bool is_local;
    struct crowd crowd;
};

static enum MHD_Result respond(struct MHD_Connection *connection, struct http_answer *answer)
{
    size_t length = answer->body.length;
    struct MHD_Response *response = MHD_create_response_from_buffer(length, buf_steal(&answer->body),
                                                                    MHD_RESPMEM_MUST_FREE);

    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (answer->policy != NULL)
        MHD_add_response_header(response, "Content-Security-Policy", answer->policy);
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static void answer_index(const struct http_server *s, struct http_answer *answer)
{
    for (size_t i = 0; i < s->routes.length; i++)
        buf_printf(&answer->body, "%-24s %s\n", s->routes.items[i].path, s->routes.items[i].summary);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **guest,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = ctx;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        crowd_leave(&s->crowd, STEAL(*guest));
        return;
    }
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *guest = crowd_enter(&s->crowd, fd, info ? info->client_addr : NULL);
}

const char *http_argument(const struct http_answer *answer, const char *name)
{
    return MHD_lookup_connection_value(answer->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- answers that take time ---- */

struct http_later *http_answer_later(struct http_answer *answer)
{
    answer->later = xcalloc(1, sizeof(*answer->later));
    return answer->later;
}

static void stop_waiting(struct http_server *s, struct http_later *later)
{
    for (size_t i = 0; i < s->waiting.length; i++)
        if (s->waiting.items[i] == later) {
            vec_swap_remove(&s->waiting, i);
            return;
        }
}

void http_later_answer(struct http_later *later, unsigned status, const char *content_type, struct buf *body)
{
    struct http_server *s = later->server;

    if (later->is_suspended && s == NULL) {
        buf_done(body);
        free(later);
        return;
    }
    later->answer.status = status;
    later->answer.content_type = content_type;
    later->answer.body = *body;
    *body = (struct buf){0};
    later->is_given = true;
    if (!later->is_suspended)
        return;
    stop_waiting(s, later);
    later->is_suspended = false;
    MHD_resume_connection(later->connection);
    pump_wake(&s->pump);
}

static enum MHD_Result respond_later(struct http_server *s, struct MHD_Connection *connection,
                                     struct http_answer *answer, void **request)
{
    struct http_later *later = answer->later;

    if (later->is_given) {
        enum MHD_Result result = respond(connection, &later->answer);
        free(later);
        return result;
    }
    later->server = s;
    later->connection = connection;
    later->is_suspended = true;
    vec_push(&s->waiting, later);
    *request = later;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

/* A client that is gone when its answer comes. */
static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    (void)connection;
    (void)code;
    if (*request == NULL || *request == &request_seen)
        return;
    struct http_later *later = *request;
    *request = NULL;
    if (later->is_suspended) /* the server ends: who was asked frees it */
        return;
    buf_done(&later->answer.body);
    free(later);
}

static bool fits(const char *path, const char *url, const char **ret_rest)
{
    size_t length = strlen(path);

    if (strcmp(path, url) == 0)
        return true;
    if (length < 2 || path[length - 1] != '/' || strncmp(path, url, length) != 0)
        return false;
    *ret_rest = url + length;
    return true;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **request)
{
    struct http_server *s = ctx;
    struct http_answer answer = {
        .status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8", .rest = "", .connection = connection};

    (void)version;
    (void)upload;
    if (*request != NULL && *request != &request_seen) { /* its answer is there */
        struct http_later *later = *request;
        *request = &request_seen;
        enum MHD_Result result = respond(connection, &later->answer);
        free(later);
        return result;
    }
    if (*request == NULL) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        if (info && info->socket_context)
            crowd_stir(&s->crowd, info->socket_context);
    }
    if (s->is_local &&
        !loopback_is_host(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST))) {
        answer.status = MHD_HTTP_MISDIRECTED_REQUEST;
        buf_puts(&answer.body, "only asked as localhost, 127.0.0.1 or [::1]\n");
        return respond(connection, &answer);
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        /* At once, whatever body may follow. */
        answer.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        buf_puts(&answer.body, "only GET and HEAD\n");
        return respond(connection, &answer);
    }
    if (*request == NULL) {
        *request = &request_seen; /* the first call only announces the headers */
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0; /* a body is read past and ignored */
        return MHD_YES;
    }
    for (size_t i = 0; i < s->routes.length; i++) {
        if (fits(s->routes.items[i].path, url, &answer.rest)) {
            s->routes.items[i].handler(s->routes.items[i].ctx, &answer);
            return answer.later ? respond_later(s, connection, &answer, request) : respond(connection, &answer);
        }
    }
    if (strcmp(url, "/") != 0)
        answer.status = MHD_HTTP_NOT_FOUND;
    answer_index(s, &answer);
    return respond(connection, &answer);
}

/* NULL with errno set. */
static struct MHD_Daemon *listen_at(struct http_server *s, const struct listen_address *at, uint16_t port)
{
    errno = 0;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | at->flags, port, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
        &at->at.any, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_END);
    if (daemon == NULL && errno == 0)
        errno = EADDRINUSE;
    return daemon;
}

int http_server_new(uv_loop_t *loop, const char *address, uint16_t port, struct http_server **ret_server,
                    struct err *err)
{
    struct listen_address at;

    if (listen_address(address, port, &at, err) < 0)
        return -1;
    struct http_server *s = xcalloc(1, sizeof(*s));
    struct MHD_Daemon *daemon = listen_at(s, &at, port);
    if (daemon == NULL) {
        free(s);
        return err_set_sys(err, errno, "listen on %s port %u", address, port);
    }
    pump_begin(&s->pump, loop, daemon, NULL); /* without TLS */
    *ret_server = s;
    return 0;
}

void http_server_route(struct http_server *s, const char *path, const char *summary, http_handler *handler, void *ctx)
{
    vec_push(&s->routes, ((struct route){.path = path, .summary = summary, .handler = handler, .ctx = ctx}));
}

void http_server_local(struct http_server *s)
{
    s->is_local = true;
}

uint16_t http_server_port(const struct http_server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->pump.daemon, MHD_DAEMON_INFO_BIND_PORT);

    return info->port;
}

static void on_closed(void *ctx)
{
    struct http_server *s = ctx;

    for (size_t i = 0; i < s->waiting.length; i++) {
        s->waiting.items[i]->server = NULL;
        MHD_resume_connection(s->waiting.items[i]->connection);
    }
    vec_done(&s->waiting);
    MHD_stop_daemon(s->pump.daemon);
    vec_done(&s->routes);
    free(s);
}

struct http_server *http_server_free(struct http_server *s)
{
    if (s != NULL)
        pump_end(&s->pump, on_closed, s);
    return NULL;
}
