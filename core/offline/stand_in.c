/* One thread accepts, reads the PROXY protocol where a server is sent it, and hands the connection to libmicrohttpd,
 * which has a thread for each. */
#include "offline/stand_in.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "offline/stage_text.h"

#define BODY_MAX ((size_t)1 << 20)
#define RECORDS_MAX 100000
#define PROXY_WAIT_MS 2000
#define BACKLOG 1024

struct stand_in {
    int listen_fd, stop_fd;
    uint16_t port;
    pthread_t thread;
    bool has_thread;
    struct MHD_Daemon *daemon;
    const struct stand_in_server *servers;
    const struct stand_in_script *scripts;
    size_t count, script_count;
    pthread_mutex_t lock; /* for the records and the sources */
    struct stand_in_records records;
    struct {
        char text[64];
    } sources[1024]; /* by descriptor: what the PROXY protocol said */
};

/* A request while it comes in. */
struct arriving {
    struct stand_in_record record;
    bool too_large;
};

static void record_done(struct stand_in_record *r)
{
    free(r->method);
    free(r->target);
    for (size_t i = 0; i < r->headers.length; i++)
        free(r->headers.items[i]);
    vec_done(&r->headers);
    buf_done(&r->body);
}

void stand_in_records_done(struct stand_in_records *r)
{
    for (size_t i = 0; i < r->items.length; i++)
        record_done(&r->items.items[i]);
    vec_done(&r->items);
}

const char *stand_in_header(const struct stand_in_record *r, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < r->headers.length; i++)
        if (strncasecmp(r->headers.items[i], name, length) == 0 && r->headers.items[i][length] == ':')
            return r->headers.items[i] + length + 2;
    return NULL;
}

/* ---- answers ---- */

static const struct stand_in_script *script_of(const struct stand_in *s, const struct stand_in_server *server)
{
    CLEANUP(free_ptr) char *whole = xasprintf("%s/%s", server->backend, server->name);
    const struct stand_in_script *found = NULL;

    for (size_t i = 0; i < s->script_count; i++) { /* that of the server before that of its backend */
        if (strcmp(s->scripts[i].where, whole) == 0)
            return &s->scripts[i];
        if (strcmp(s->scripts[i].where, server->backend) == 0)
            found = &s->scripts[i];
    }
    return found;
}

static enum MHD_Result keep_header(void *ctx, enum MHD_ValueKind kind UNUSED, const char *name, const char *value)
{
    struct stand_in_record *r = ctx;

    vec_push(&r->headers, xasprintf("%s: %s", name, value ? value : ""));
    return MHD_YES;
}

/* Which server the connection is meant for: the address at which it came. */
static size_t server_of(const struct stand_in *s, int fd)
{
    struct sockaddr_in here = {0};
    socklen_t length = sizeof(here);

    if (getsockname(fd, (struct sockaddr *)&here, &length) < 0 || here.sin_family != AF_INET)
        return SIZE_MAX;
    uint32_t number = ntohl(here.sin_addr.s_addr) - STAGE_SERVER_BASE;
    return number < s->count ? number : SIZE_MAX;
}

static void wait_ns(int64_t ns)
{
    struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

static enum MHD_Result answer(const struct stand_in *s, struct MHD_Connection *connection,
                              const struct stand_in_record *r)
{
    const struct stand_in_server *server = &s->servers[r->server];
    const struct stand_in_script *script = script_of(s, server);
    CLEANUP(free_ptr)
    char *usual = xasprintf("%s/%s %s %s\n", server->backend, server->name, r->method, r->target);
    const char *body = script && script->body ? script->body : usual;

    if (script != NULL && script->delay_ns > 0)
        wait_ns(script->delay_ns);
    if (script != NULL && script->reset)
        return MHD_NO;
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(body), (void *)(uintptr_t)body,
                                                                    MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, "content-type", "text/plain");
    for (size_t i = 0; script != NULL && script->headers != NULL && script->headers[i] != NULL; i++) {
        const char *line = script->headers[i], *colon = strchr(line, ':');
        CLEANUP(free_ptr) char *name = xmemdup0(line, (size_t)(colon - line));
        if (strcasecmp(name, "content-type") == 0)
            MHD_del_response_header(response, "content-type", "text/plain");
        MHD_add_response_header(response, name, colon + 1 + strspn(colon + 1, " "));
    }
    enum MHD_Result result = MHD_queue_response(connection, script && script->status ? script->status : 200, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *target, const char *method,
                                  const char *version UNUSED, const char *data, size_t *size, void **state)
{
    struct stand_in *s = ctx;
    struct arriving *a = *state;

    if (a == NULL)
        return MHD_NO; /* on_uri() makes it */
    if (a->record.method == NULL) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        a->record.method = xstrdup(method);
        if (a->record.target == NULL)
            a->record.target = xstrdup(target);
        a->record.server = server_of(s, fd);
        MHD_get_connection_values(connection, MHD_HEADER_KIND, keep_header, &a->record);
        pthread_mutex_lock(&s->lock);
        if (fd >= 0 && (size_t)fd < ARRAY_LEN(s->sources))
            memcpy(a->record.source, s->sources[fd].text, sizeof(a->record.source));
        pthread_mutex_unlock(&s->lock);
        return a->record.server < s->count ? MHD_YES : MHD_NO;
    }
    if (*size > 0) {
        struct err ignored;
        if (buf_try_add(&a->record.body, data, *size, &ignored) < 0)
            return MHD_NO;
        *size = 0;
        return MHD_YES;
    }
    /* recorded before the answer goes out: whoever has the answer finds the record */
    struct stand_in_record record = a->record;
    enum MHD_Result result = answer(s, connection, &record);
    a->record = (struct stand_in_record){0};
    pthread_mutex_lock(&s->lock);
    if (s->records.items.length < RECORDS_MAX)
        vec_push(&s->records.items, record);
    else
        record_done(&record);
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* The target as it came: libmicrohttpd takes it apart afterwards. */
static void *on_uri(void *ctx UNUSED, const char *uri, struct MHD_Connection *connection UNUSED)
{
    struct arriving *a = xcalloc(1, sizeof(*a));

    a->record.target = xstrdup(uri);
    buf_init(&a->record.body, BODY_MAX);
    return a;
}

static void on_completed(void *ctx UNUSED, struct MHD_Connection *connection UNUSED, void **state,
                         enum MHD_RequestTerminationCode code UNUSED)
{
    struct arriving *a = *state;

    if (a == NULL)
        return;
    record_done(&a->record);
    free(a);
    *state = NULL;
}

/* ---- connections ---- */

/* Bytes of the connection, left in it. -1: not there in time. */
static ssize_t peek(int fd, char *to, size_t wanted, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t until = clock_now_ns() + PROXY_WAIT_MS * NS_PER_MS;

    for (ssize_t n = 0; clock_now_ns() < until;) {
        if (poll(&p, 1, PROXY_WAIT_MS) <= 0)
            return -1;
        ssize_t got = recv(fd, to, size, MSG_PEEK | MSG_DONTWAIT);
        if (got <= 0)
            return -1;
        if ((size_t)got >= wanted || memchr(to, '\n', (size_t)got) != NULL)
            return got;
        if (got == n)
            wait_ns(NS_PER_MS);
        n = got;
    }
    return -1;
}

static bool take(int fd, char *bytes, size_t length)
{
    return recv(fd, bytes, length, MSG_WAITALL) == (ssize_t)length;
}

/* Read the header and tell whom it is from. False: there is none. */
static bool read_proxy(int fd, char source[64])
{
    static const unsigned char signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
    unsigned char bytes[108];
    ssize_t n = peek(fd, (char *)bytes, 16, sizeof(bytes));

    *source = '\0';
    if (n >= 16 && memcmp(bytes, signature, sizeof(signature)) == 0) {
        unsigned char rest[1024];
        size_t length = (size_t)bytes[14] << 8 | bytes[15];
        if (length > sizeof(rest) || !take(fd, (char *)bytes, 16) || !take(fd, (char *)rest, length))
            return false;
        int family = bytes[13] >> 4 == 1 ? AF_INET : AF_INET6;
        if ((bytes[13] >> 4 == 1 && length >= 12) || (bytes[13] >> 4 == 2 && length >= 36))
            inet_ntop(family, rest, source, 64);
        return true;
    }
    if (n < 8 || memcmp(bytes, "PROXY ", 6) != 0)
        return false;
    const unsigned char *end = memchr(bytes, '\n', (size_t)n);
    if (end == NULL || !take(fd, (char *)bytes, (size_t)(end - bytes) + 1))
        return false;
    char line[109] = "";
    memcpy(line, bytes, (size_t)(end - bytes));
    if (sscanf(line, "PROXY TCP%*c %63s", source) != 1)
        *source = '\0';
    return true;
}

static void take_connection(struct stand_in *s)
{
    struct sockaddr_in from = {0};
    socklen_t length = sizeof(from);
    char source[64] = "";
    CLEANUP(close_fd) int fd = accept4(s->listen_fd, (struct sockaddr *)&from, &length, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    size_t server = server_of(s, fd);
    if (ntohl(from.sin_addr.s_addr) >> 24 != 127 || server == SIZE_MAX) /* nobody else's business */
        return;
    if (s->servers[server].sends_proxy && !read_proxy(fd, source))
        return;
    pthread_mutex_lock(&s->lock);
    if ((size_t)fd < ARRAY_LEN(s->sources))
        memcpy(s->sources[fd].text, source, sizeof(source));
    pthread_mutex_unlock(&s->lock);
    /* libmicrohttpd closes it, also when it refuses it */
    (void)MHD_add_connection(s->daemon, steal_fd(&fd), (struct sockaddr *)&from, length);
}

static void *accept_all(void *ctx)
{
    struct stand_in *s = ctx;
    struct pollfd polled[] = {{.fd = s->listen_fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};

    while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
        if (polled[1].revents != 0)
            break;
        if (polled[0].revents != 0)
            take_connection(s);
    }
    return NULL;
}

static int listen_on_loopback(struct stand_in *s, struct err *err)
{
    static const char loopback[] = "lo";
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_ANY)}};
    socklen_t length = sizeof(here);

    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0)
        return err_set_sys(err, errno, "socket");
    /* Where the kernel does not permit this, take_connection() refuses whoever is not on this machine. */
    (void)setsockopt(s->listen_fd, SOL_SOCKET, SO_BINDTODEVICE, loopback, sizeof(loopback));
    if (bind(s->listen_fd, (struct sockaddr *)&here, length) < 0 || listen(s->listen_fd, BACKLOG) < 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&here, &length) < 0)
        return err_set_sys(err, errno, "listening on the loopback interface");
    s->port = ntohs(here.sin_port);
    return 0;
}

int stand_in_new(struct stand_in **ret_stand_in, struct err *err)
{
    struct stand_in *s = xcalloc(1, sizeof(*s));

    s->listen_fd = s->stop_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    if (listen_on_loopback(s, err) < 0)
        goto failed;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    s->daemon = MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET | MHD_USE_THREAD_PER_CONNECTION |
                                     MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC,
                                 0, NULL, NULL, on_request, s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_END);
    if (s->stop_fd < 0 || s->daemon == NULL) {
        err_set(err, ERR_SYS, "the servers of the test cannot be started");
        goto failed;
    }
    *ret_stand_in = s;
    return 0;
failed:
    stand_in_free(s);
    return -1;
}

struct stand_in *stand_in_free(struct stand_in *s)
{
    if (s == NULL)
        return NULL;
    if (s->has_thread) {
        uint64_t one = 1;
        if (write(s->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
            pthread_join(s->thread, NULL);
    }
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    stand_in_records_done(&s->records);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

uint16_t stand_in_port(const struct stand_in *s)
{
    return s->port;
}

void stand_in_cast(struct stand_in *s, const struct stand_in_server *servers, size_t count,
                   const struct stand_in_script *scripts, size_t script_count)
{
    s->servers = servers;
    s->count = count;
    s->scripts = scripts;
    s->script_count = script_count;
    s->has_thread = pthread_create(&s->thread, NULL, accept_all, s) == 0;
}

void stand_in_take(struct stand_in *s, struct stand_in_records *ret_records)
{
    pthread_mutex_lock(&s->lock);
    *ret_records = s->records;
    s->records = (struct stand_in_records){0};
    pthread_mutex_unlock(&s->lock);
}
