/* One thread accepts. Each connection has a thread that reads the PROXY protocol where a server is sent it, and looks
 * how it begins: HTTP/1.1 goes to libmicrohttpd as it is, TLS through a pair of sockets, HTTP/2 to the gateway, whose
 * HTTP/1.1 comes back at another port. What is known of a connection stands in a table by its descriptor. */
#include "offline/stand_in.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/certificate_make.h"
#include "offline/stage_text.h"
#include "offline/stand_in_answer.h"
#include "offline/stand_in_tls.h"

#define BODY_MAX ((size_t)1 << 20)
#define RECORDS_MAX 100000
#define PROXY_WAIT_MS 2000
#define BACKLOG 1024
#define PEERS_MAX 4096
/* A connection's number at the gateway: its descriptor, above the ports that mean something. */
#define PEER_BASE 10000
#define PREFACE "PRI * HTTP/2.0"

/* What is known of a connection before a request comes by it. */
struct peer {
    bool is_known, is_h2, is_tls;
    size_t server;
    char source[64]; /* of the PROXY protocol */
    char sni[256];
    char *certificate;
};

struct stand_in {
    int listen_fd, gateway_fd, stop_fd;
    uint16_t port, gateway_port;
    pthread_t thread;
    bool has_thread;
    struct MHD_Daemon *daemon;
    const struct stand_in_server *servers;
    const struct stand_in_script *scripts;
    size_t count, script_count;
    SSL_CTX *usual;             /* a certificate that nobody has signed */
    VEC(SSL_CTX *) own;         /* by script; NULL: it has none */
    char *gateway;              /* socket */
    VEC(pthread_t) connections; /* of the accepting thread */
    pthread_mutex_t lock;       /* for the records and the peers */
    struct stand_in_records records;
    struct peer peers[PEERS_MAX]; /* by descriptor */
};

/* A connection that came. */
struct connection {
    struct stand_in *stand_in;
    int fd;
    size_t server;
    struct sockaddr_in from;
};

/* A request while it comes in. */
struct arriving {
    struct stand_in_record record;
    bool too_large;
};

/* ---- requests ---- */

static enum MHD_Result keep_header(void *ctx, enum MHD_ValueKind kind UNUSED, const char *name, const char *value)
{
    struct stand_in_record *r = ctx;

    if (strcasecmp(name, STAND_IN_PEER_HEADER) == 0)
        return MHD_YES;
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

/* What is known of the connection: of this one, or of the one that was taken apart. */
static void take_peer(struct stand_in *s, struct MHD_Connection *connection, int fd, struct stand_in_record *r)
{
    const char *number = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, STAND_IN_PEER_HEADER);
    long at = number ? strtol(number, NULL, 10) - PEER_BASE : fd;

    r->server = server_of(s, fd);
    pthread_mutex_lock(&s->lock);
    if (at >= 0 && at < PEERS_MAX && s->peers[at].is_known) {
        const struct peer *p = &s->peers[at];
        r->server = p->server;
        r->tls = p->is_tls;
        memcpy(r->source, p->source, sizeof(r->source));
        memcpy(r->sni, p->sni, sizeof(r->sni));
        r->certificate = p->certificate ? xstrdup(p->certificate) : NULL;
        if (p->is_h2)
            r->version = "2";
    }
    pthread_mutex_unlock(&s->lock);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *target, const char *method,
                                  const char *version, const char *data, size_t *size, void **state)
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
        a->record.version = strcmp(version, "HTTP/1.0") == 0 ? "1.0" : "1.1";
        MHD_get_connection_values(connection, MHD_HEADER_KIND, keep_header, &a->record);
        take_peer(s, connection, fd, &a->record);
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
    const struct stand_in_server *server = &s->servers[record.server];
    enum MHD_Result result = stand_in_answer(
        connection, server, stand_in_script_of(s->scripts, s->script_count, server->backend, server->name), &record);
    a->record = (struct stand_in_record){0};
    pthread_mutex_lock(&s->lock);
    if (s->records.items.length < RECORDS_MAX)
        vec_push(&s->records.items, record);
    else
        stand_in_record_done(&record);
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
    stand_in_record_done(&a->record);
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

static void know(struct stand_in *s, int fd, const struct peer *peer)
{
    pthread_mutex_lock(&s->lock);
    if (fd >= 0 && fd < PEERS_MAX) {
        free(s->peers[fd].certificate);
        s->peers[fd] = *peer;
        s->peers[fd].is_known = true;
        s->peers[fd].certificate = peer->certificate ? xstrdup(peer->certificate) : NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

/* libmicrohttpd closes it, also when it refuses it. */
static void serve_http(struct connection *c, int fd, const struct peer *peer)
{
    know(c->stand_in, fd, peer);
    (void)MHD_add_connection(c->stand_in->daemon, fd, (struct sockaddr *)&c->from, sizeof(c->from));
}

/* Wait for the first bytes, which stay. 0: there are none, or everything ends. */
static size_t first_bytes(struct stand_in *s, int fd, SSL *ssl, char *to, size_t size)
{
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};

    if (ssl == NULL || SSL_pending(ssl) == 0)
        while (poll(p, 2, -1) < 0 && errno == EINTR)
            continue;
    if (p[1].revents != 0)
        return 0;
    ssize_t n = ssl ? SSL_peek(ssl, to, (int)size) : recv(fd, to, size, MSG_PEEK);
    return n > 0 ? (size_t)n : 0;
}

static bool is_preface(const char *bytes, size_t length)
{
    size_t wanted = strlen(PREFACE) < length ? strlen(PREFACE) : length;

    return length >= 3 && strncmp(bytes, PREFACE, wanted) == 0;
}

static int connect_gateway(const struct stand_in *s, const struct connection *c)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char address[INET_ADDRSTRLEN], line[108];
    struct in_addr server = {htonl(STAGE_SERVER_BASE + (uint32_t)c->server)};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(s->gateway) >= sizeof(to.sun_path))
        return fd;
    memcpy(to.sun_path, s->gateway, strlen(s->gateway));
    int length = snprintf(line, sizeof(line), "PROXY TCP4 127.0.0.1 %s %d %u\r\n",
                          inet_ntop(AF_INET, &server, address, sizeof(address)), PEER_BASE + c->fd, s->gateway_port);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && send(fd, line, (size_t)length, MSG_NOSIGNAL) == length)
        return fd;
    close(fd);
    return -1;
}

static void serve_h2(struct connection *c, SSL *ssl, struct peer *peer)
{
    CLEANUP(close_fd) int inner = -1;

    if (c->fd >= PEERS_MAX)
        return;
    peer->is_h2 = true;
    know(c->stand_in, c->fd, peer);
    inner = connect_gateway(c->stand_in, c);
    if (inner >= 0)
        stand_in_tls_pump(ssl, c->fd, inner, c->stand_in->stop_fd);
}

static SSL_CTX *context_of(const struct stand_in *s, size_t server)
{
    const struct stand_in_server *at = &s->servers[server];
    const struct stand_in_script *script = stand_in_script_of(s->scripts, s->script_count, at->backend, at->name);
    SSL_CTX *own = script ? s->own.items[script - s->scripts] : NULL;

    return own ? own : s->usual;
}

static void serve_tls(struct connection *c, struct peer *peer)
{
    struct stand_in_hello hello;
    char bytes[16];
    int pair[2];
    SSL *ssl = stand_in_tls_accept(context_of(c->stand_in, c->server), c->fd, &hello);

    if (ssl == NULL)
        return;
    peer->is_tls = true;
    memcpy(peer->sni, hello.sni, sizeof(peer->sni));
    peer->certificate = hello.certificate;
    size_t length = hello.h2 ? 0 : first_bytes(c->stand_in, c->fd, ssl, bytes, sizeof(bytes));
    if (hello.h2 || is_preface(bytes, length)) {
        serve_h2(c, ssl, peer);
    } else if (length > 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
        serve_http(c, pair[1], peer);
        stand_in_tls_pump(ssl, c->fd, pair[0], c->stand_in->stop_fd);
        close(pair[0]);
    }
    stand_in_tls_end(ssl);
    free(hello.certificate);
}

static void *serve(void *ctx)
{
    struct connection *c = ctx;
    struct peer peer = {.server = c->server};
    char bytes[16];

    if (!c->stand_in->servers[c->server].sends_proxy || read_proxy(c->fd, peer.source)) {
        size_t length = first_bytes(c->stand_in, c->fd, NULL, bytes, sizeof(bytes));
        if (length > 0 && bytes[0] == 0x16)
            serve_tls(c, &peer);
        else if (is_preface(bytes, length))
            serve_h2(c, NULL, &peer);
        else if (length > 0)
            serve_http(c, steal_fd(&c->fd), &peer);
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c);
    return NULL;
}

/* gateway: what was taken apart already. */
static void take_connection(struct stand_in *s, int listen_fd, bool gateway)
{
    struct connection *c = xcalloc(1, sizeof(*c));
    socklen_t length = sizeof(c->from);
    pthread_t thread;

    c->stand_in = s;
    c->fd = accept4(listen_fd, (struct sockaddr *)&c->from, &length, SOCK_CLOEXEC);
    c->server = c->fd >= 0 ? server_of(s, c->fd) : SIZE_MAX;
    bool is_meant = c->server != SIZE_MAX && ntohl(c->from.sin_addr.s_addr) >> 24 == 127; /* nobody else's business */
    if (is_meant && gateway) {
        serve_http(c, steal_fd(&c->fd), &(struct peer){.server = c->server});
    } else if (is_meant && pthread_create(&thread, NULL, serve, c) == 0) {
        vec_push(&s->connections, thread);
        return;
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

static void *accept_all(void *ctx)
{
    struct stand_in *s = ctx;
    struct pollfd polled[] = {{.fd = s->listen_fd, .events = POLLIN},
                              {.fd = s->gateway_fd, .events = POLLIN},
                              {.fd = s->stop_fd, .events = POLLIN}};

    while (poll(polled, ARRAY_LEN(polled), -1) >= 0 || errno == EINTR) {
        if (polled[2].revents != 0)
            break;
        if (polled[0].revents != 0)
            take_connection(s, s->listen_fd, false);
        if (polled[1].revents != 0)
            take_connection(s, s->gateway_fd, true);
    }
    for (size_t i = 0; i < s->connections.length; i++)
        pthread_join(s->connections.items[i], NULL);
    return NULL;
}

static int listen_on_loopback(int *ret_fd, uint16_t *ret_port, struct err *err)
{
    static const char loopback[] = "lo";
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_ANY)}};
    socklen_t length = sizeof(here);

    int fd = *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_sys(err, errno, "socket");
    /* Where the kernel does not permit this, take_connection() refuses whoever is not on this machine. */
    (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, loopback, sizeof(loopback));
    if (bind(fd, (struct sockaddr *)&here, length) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&here, &length) < 0)
        return err_set_sys(err, errno, "listening on the loopback interface");
    *ret_port = ntohs(here.sin_port);
    return 0;
}

int stand_in_new(struct stand_in **ret_stand_in, struct err *err)
{
    struct stand_in *s = xcalloc(1, sizeof(*s));

    s->listen_fd = s->gateway_fd = s->stop_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    if (listen_on_loopback(&s->listen_fd, &s->port, err) < 0 ||
        listen_on_loopback(&s->gateway_fd, &s->gateway_port, err) < 0)
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
    if (s->gateway_fd >= 0)
        close(s->gateway_fd);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    stand_in_records_done(&s->records);
    for (size_t i = 0; i < PEERS_MAX; i++)
        free(s->peers[i].certificate);
    for (size_t i = 0; i < s->own.length; i++)
        stand_in_tls_free(s->own.items[i]);
    vec_done(&s->own);
    vec_done(&s->connections);
    stand_in_tls_free(s->usual);
    free(s->gateway);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

uint16_t stand_in_port(const struct stand_in *s)
{
    return s->port;
}

uint16_t stand_in_gateway_port(const struct stand_in *s)
{
    return s->gateway_port;
}

static int make_contexts(struct stand_in *s, struct err *err)
{
    static const char *const names[] = {"stand-in.test", NULL};
    CLEANUP(buf_done) struct buf chain = {0}, key = {0};

    if (certificate_make(names, &chain, &key, err) < 0 ||
        stand_in_tls_new(buf_str(&chain), buf_str(&key), &s->usual, err) < 0)
        return -1;
    for (size_t i = 0; i < s->script_count; i++) {
        const struct stand_in_script *script = &s->scripts[i];
        SSL_CTX *own = NULL;
        if (script->certificate != NULL && stand_in_tls_new(script->certificate, script->key, &own, err) < 0)
            return err_wrap(err, "servers.%.100s", script->where);
        vec_push(&s->own, own);
    }
    return 0;
}

int stand_in_cast(struct stand_in *s, const struct stand_in_server *servers, size_t count,
                  const struct stand_in_script *scripts, size_t script_count, const char *gateway, struct err *err)
{
    s->servers = servers;
    s->count = count;
    s->scripts = scripts;
    s->script_count = script_count;
    s->gateway = xstrdup(gateway);
    if (make_contexts(s, err) < 0)
        return -1;
    s->has_thread = pthread_create(&s->thread, NULL, accept_all, s) == 0;
    return s->has_thread ? 0 : err_set(err, ERR_SYS, "the servers of the test cannot be started");
}

void stand_in_take(struct stand_in *s, struct stand_in_records *ret_records)
{
    pthread_mutex_lock(&s->lock);
    *ret_records = s->records;
    s->records = (struct stand_in_records){0};
    pthread_mutex_unlock(&s->lock);
}
