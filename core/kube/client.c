/* A request waits (for credentials, for libcurl to return, for Retry-After), runs, and is done. Callbacks never run
 * from inside kube_request_start(): a request is queued there and begun in the loop's next turn or when libcurl has
 * returned. Cancelled while libcurl is busy, it is marked, refuses further data, and is swept afterwards. */
#include "kube/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "kube/auth.h"
#include "kube/status.h"
#include "kube/transport.h"
#include "kube/url.h"
#include "net/multi.h"
#include "net/timer.h"

#define CONNECT_TIMEOUT_NS (10 * NS_PER_S)
#define RESPONSE_MAX ((size_t)64 << 20)
#define ERROR_BODY_MAX ((size_t)64 << 10)
#define RETRY_AFTER_MAX_NS (300 * NS_PER_S)
#define DEAD_PEER_MS 10000

enum state { WAITING, RUNNING, SLEEPING, ENDED };

struct kube_request {
    struct kube_client *client;
    struct kube_request *next, *prev;
    enum state state;
    bool is_cancelled, has_reauthenticated;
    char *what, *method, *path, *body, *content_type, *accept;
    VEC(char *) headers;
    size_t body_length, max_response_bytes;
    int64_t deadline_ns;
    unsigned retries;
    void (*opened)(void *ctx);
    void (*data)(void *ctx, const char *bytes, size_t length, int64_t received_ns);
    kube_done *done;
    void *ctx;
    void (*free_ctx)(void *ctx);
    CURL *easy; /* while RUNNING */
    struct curl_slist *header_list, *connect_to;
    struct buf response;
    long status; /* known with the first bytes of a body */
    bool is_over_limit, has_bytes;
    int64_t received_ns;
    char error_text[CURL_ERROR_SIZE];
    struct net_timer *timer; /* made when first needed */
};

struct kube_client {
    uv_loop_t *loop;
    struct kube_config config;
    struct kube_auth *auth;
    struct multi *multi;
    struct kube_request *requests; /* all, doubly linked */
    struct net_timer *kick;        /* begins what waits */
    char *user_agent, *connect_to, *base_url, *host_header;
    int64_t connect_timeout_ns;
    size_t max_response_bytes;
    bool http1_only, is_loopback, is_authenticating;
    bool wants_fresh_connection; /* the last answer never came: do not wait on the same connection again */
    struct metrics *metrics;
};

static void request_free(struct kube_request *r)
{
    struct kube_client *c = r->client;
    *(r->prev ? &r->prev->next : &c->requests) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    net_timer_free(r->timer);
    if (r->free_ctx)
        r->free_ctx(r->ctx);
    if (r->easy)
        curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->header_list);
    curl_slist_free_all(r->connect_to);
    buf_done(&r->response);
    char *strings[] = {r->what, r->method, r->path, r->body, r->content_type, r->accept};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    for (size_t i = 0; i < r->headers.length; i++)
        free(r->headers.items[i]);
    vec_done(&r->headers);
    free(r);
}

/* ---- one transfer ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct kube_request *r = ctx;
    size_t length = size * count;
    r->received_ns = clock_now_ns();
    r->has_bytes = true;
    if (r->is_cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (r->status == 0)
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->status);
    bool is_good = r->status >= 200 && r->status < 300;
    if (is_good && r->data) {
        r->data(r->ctx, bytes, length, r->received_ns);
        return r->is_cancelled ? CURL_WRITEFUNC_ERROR : length;
    }
    if (!is_good) {
        /* An error page can have any length; its beginning says what there is to say. */
        size_t room = ERROR_BODY_MAX - r->response.length;
        buf_add(&r->response, bytes, length < room ? length : room);
        return length;
    }
    if (length > r->max_response_bytes - r->response.length) {
        r->is_over_limit = true;
        return CURL_WRITEFUNC_ERROR;
    }
    buf_add(&r->response, bytes, length);
    return length;
}

/* The empty line ends a head; those of 1xx answers and of redirects are not meant. */
static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct kube_request *r = ctx;
    size_t length = size * count;
    long status = 0;
    if (length == 0 || !strchr("\r\n", bytes[0]) || !r->opened)
        return length;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!r->is_cancelled && status >= 200 && status < 300)
        r->opened(r->ctx);
    return r->is_cancelled ? CURL_WRITEFUNC_ERROR : length;
}

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    int ms = DEAD_PEER_MS;
    (void)ctx;
    (void)purpose;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    return CURL_SOCKOPT_OK;
}

static void add_header(struct kube_request *r, const char *name, const char *value)
{
    CLEANUP(free_ptr) char *line = xasprintf("%s: %s", name, value);
    struct curl_slist *list = curl_slist_append(r->header_list, line);
    if (!list)
        abort();
    r->header_list = list;
    explicit_bzero(line, strlen(line));
}

static void set_headers(struct kube_request *r)
{
    const struct kube_config *c = &r->client->config;
    const char *token = kube_auth_token(r->client->auth);
    add_header(r, "Accept", r->accept);
    if (r->body)
        add_header(r, "Content-Type", r->content_type);
    add_header(r, "Expect", "");
    if (r->client->host_header)
        add_header(r, "Host", r->client->host_header);
    if (token) {
        CLEANUP(free_ptr) char *value = xasprintf("Bearer %.*s", (int)strcspn(token, "\r\n"), token);
        add_header(r, "Authorization", value);
        explicit_bzero(value, strlen(value));
    }
    if (c->impersonate_user)
        add_header(r, "Impersonate-User", c->impersonate_user);
    if (c->impersonate_uid)
        add_header(r, "Impersonate-Uid", c->impersonate_uid);
    for (size_t i = 0; i < c->impersonate_groups.length; i++)
        add_header(r, "Impersonate-Group", c->impersonate_groups.items[i]);
    for (size_t i = 0; i < r->headers.length; i++) {
        struct curl_slist *list = curl_slist_append(r->header_list, r->headers.items[i]);
        if (!list)
            abort();
        r->header_list = list;
    }
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->header_list);
}

static void set_blob(CURL *easy, CURLoption option, const struct kube_blob *blob)
{
    if (blob->bytes) {
        struct curl_blob b = {.data = blob->bytes, .len = blob->length, .flags = CURL_BLOB_COPY};
        curl_easy_setopt(easy, option, &b);
    }
}

static void set_tls(struct kube_request *r)
{
    const struct kube_client *c = r->client;
    if (c->config.ca.bytes) {
        /* The cluster's authority and no other: the system's folder of authorities would be looked at as well. */
        curl_easy_setopt(r->easy, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(r->easy, CURLOPT_CAPATH, NULL);
        set_blob(r->easy, CURLOPT_CAINFO_BLOB, &c->config.ca);
    }
    if (c->config.insecure_skip_tls_verify) {
        curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(r->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    set_blob(r->easy, CURLOPT_SSLCERT_BLOB, kube_auth_certificate(c->auth));
    set_blob(r->easy, CURLOPT_SSLKEY_BLOB, kube_auth_key(c->auth));
}

/* Milliseconds until the deadline, at least 1 (0 would mean none). */
static long remaining_ms(const struct kube_request *r)
{
    int64_t left = r->deadline_ns - clock_now_ns();
    return left > NS_PER_MS ? (long)(left / NS_PER_MS) : 1;
}

static void begin(struct kube_request *r)
{
    struct kube_client *c = r->client;
    CURL *easy = r->easy = curl_easy_init();
    if (!easy)
        abort();
    if (r->timer)
        net_timer_stop(r->timer);
    r->state = RUNNING;
    r->status = 0;
    r->is_over_limit = r->has_bytes = false;
    r->error_text[0] = '\0';
    buf_clear(&r->response);
    CLEANUP(free_ptr) char *url = xasprintf("%s%s", c->base_url, r->path);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error_text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, c->user_agent);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long)(c->http1_only ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    if (!c->config.disable_compression && !r->data)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's 200 is not the server's */
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 15L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(c->connect_timeout_ns / NS_PER_MS));
    if (r->deadline_ns)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, remaining_ms(r));
    if (c->wants_fresh_connection) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        c->wants_fresh_connection = false;
    }
    if (r->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->body);
    }
    if (strcmp(r->method, "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
    if (c->config.proxy_url) {
        curl_easy_setopt(easy, CURLOPT_PROXY, c->config.proxy_url);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* it is for this server: the environment has no say */
    } else if (c->is_loopback) {
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    }
    if (c->connect_to) {
        r->connect_to = curl_slist_append(NULL, c->connect_to);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, r->connect_to);
    }
    if (c->config.username) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, c->config.username);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, c->config.password ? c->config.password : "");
    }
    set_tls(r);
    set_headers(r);
    multi_add(c->multi, easy);
}

static void forget_transfer(struct kube_request *r)
{
    curl_easy_cleanup(r->easy);
    r->easy = NULL;
    curl_slist_free_all(r->header_list);
    curl_slist_free_all(r->connect_to);
    r->header_list = r->connect_to = NULL;
}

/* ---- how it ended ---- */

static void count(const struct kube_client *c, const struct kube_request *r)
{
    if (!c->metrics)
        return;
    char code[16];
    snprintf(code, sizeof(code), "%ld", r->status);
    metric_add(metric_counter(c->metrics, "haptic_kube_requests_total",
                              "Requests to the API server by method and HTTP status; 0: no answer.", "method",
                              r->method, "code", r->status ? code : "0"),
               1);
}

static void end(struct kube_request *r, const struct err *err, int64_t retry_after_ns)
{
    struct kube_response response = {.status = r->status,
                                     .body = buf_str(&r->response),
                                     .length = r->response.length,
                                     .retry_after_ns = retry_after_ns,
                                     .received_ns = r->received_ns};
    r->state = ENDED;
    if (!r->is_cancelled)
        r->done(r->ctx, &response, err);
    request_free(r);
}

static void on_wake(void *ctx)
{
    struct kube_request *r = ctx;
    r->state = WAITING; /* or was already: its deadline came while it waited for credentials */
    net_timer_start(r->client->kick, 0);
}

/* Try again? True when it will be. */
static bool retry(struct kube_request *r, int64_t retry_after_ns)
{
    struct kube_client *c = r->client;
    if (r->status == 401 && !r->has_reauthenticated) {
        bool is_new;
        r->has_reauthenticated = true;
        if (kube_auth_refused(c->auth, &is_new) == AUTH_PENDING)
            c->is_authenticating = true;
        if (is_new) {
            r->state = WAITING;
            net_timer_start(c->kick, 0);
        }
        return is_new;
    }
    bool may = r->retries > 0 && retry_after_ns > 0 && (r->status == 429 || r->status >= 500);
    if (!may || (r->deadline_ns && clock_now_ns() + retry_after_ns >= r->deadline_ns))
        return false;
    r->retries--;
    if (!r->timer)
        r->timer = net_timer_new(c->loop, on_wake, r);
    r->state = SLEEPING;
    net_timer_start(r->timer, retry_after_ns);
    return true;
}

static void on_finished(void *ctx, CURL *easy, CURLcode result)
{
    struct kube_client *c = ctx;
    struct kube_request *r = NULL;
    struct err err = {0};
    curl_off_t after_s = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &r);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &r->status);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &after_s);
    int64_t retry_after_ns = after_s <= 0                              ? 0
                             : after_s < RETRY_AFTER_MAX_NS / NS_PER_S ? after_s * NS_PER_S
                                                                       : RETRY_AFTER_MAX_NS;
    bool is_failed = true;
    if (r->is_cancelled) {
        request_free(r);
        return;
    }
    if (r->received_ns == 0)
        r->received_ns = clock_now_ns();
    count(c, r);
    if (result != CURLE_OK && !(r->status >= 300 && r->response.length > 0)) {
        if (result == CURLE_OPERATION_TIMEDOUT && !r->has_bytes)
            c->wants_fresh_connection = true;
        if (r->is_over_limit)
            err_set(&err, ERR_LIMIT, "%s: the answer is larger than %zu bytes", r->what, r->max_response_bytes);
        else
            transport_err(&err, r->what, &c->config, easy, result,
                          r->error_text[0] ? r->error_text : curl_easy_strerror(result));
    } else if (r->status < 200 || r->status > 299) {
        forget_transfer(r);
        if (retry(r, retry_after_ns))
            return;
        kube_status_err(&err, r->what, r->status, buf_str(&r->response), r->response.length);
        if (r->status == 401)
            kube_auth_name_credentials(c->auth, &err);
    } else {
        is_failed = false;
    }
    end(r, is_failed ? &err : NULL, retry_after_ns);
}

/* ---- the queue ---- */

/* The deadline counts while the plugin runs, too. */
static void wait_for_credentials(struct kube_request *r)
{
    struct err err;
    if (!r->deadline_ns)
        return;
    if (clock_now_ns() >= r->deadline_ns) {
        err_set(&err, ERR_TIMEOUT, "%s: timeout while the exec plugin %s was running", r->what,
                r->client->config.exec->command);
        end(r, &err, 0);
        return;
    }
    if (!r->timer)
        r->timer = net_timer_new(r->client->loop, on_wake, r);
    net_timer_start(r->timer, r->deadline_ns - clock_now_ns());
}

static void pump(void *ctx)
{
    struct kube_client *c = ctx;
    struct kube_request *next;
    if (multi_is_busy(c->multi))
        return; /* settle comes */
    for (struct kube_request *r = c->requests; r; r = next) {
        next = r->next;
        if (r->is_cancelled) {
            if (r->state == RUNNING)
                multi_remove(c->multi, r->easy);
            request_free(r);
        } else if (r->state == WAITING) {
            if (!c->is_authenticating && kube_auth_refresh(c->auth) == AUTH_PENDING)
                c->is_authenticating = true;
            if (c->is_authenticating)
                wait_for_credentials(r);
            else
                begin(r);
        }
    }
}

/* The plugin may have given a credential that is about to expire: what waited for it is begun with it all the same.
 * done() may cancel and start requests, so the list is walked anew after each. */
static void on_authenticated(void *ctx, const struct err *err)
{
    struct kube_client *c = ctx;
    struct kube_request *r;
    c->is_authenticating = false;
    for (;;) {
        for (r = c->requests; r && (r->state != WAITING || r->is_cancelled);)
            r = r->next;
        if (!r || c->is_authenticating)
            return;
        if (err) {
            struct err why = *err;
            err_wrap(&why, "%s", r->what);
            end(r, &why, 0);
        } else {
            begin(r);
        }
    }
}

static const struct multi_ops ops = {.finished = on_finished, .settle = pump};

struct kube_request *kube_request_start(struct kube_client *c, const struct kube_call *call)
{
    struct kube_request *r = xcalloc(1, sizeof(*r));
    r->client = c;
    r->what = xstrdup(call->what);
    r->method = xstrdup(call->method ? call->method : "GET");
    r->path = xstrdup(call->path);
    if (call->body) {
        r->body = xmemdup0(call->body, call->body_length);
        r->body_length = call->body_length;
    }
    r->content_type = xstrdup(call->content_type ? call->content_type : "application/json");
    r->accept = xstrdup(call->accept ? call->accept : "application/json");
    for (const char *const *h = call->headers; h && *h; h++)
        vec_push(&r->headers, xstrdup(*h));
    r->deadline_ns = call->deadline_ns;
    r->retries = call->retries;
    r->max_response_bytes = call->max_response_bytes ? call->max_response_bytes : c->max_response_bytes;
    buf_init(&r->response, r->max_response_bytes > ERROR_BODY_MAX ? r->max_response_bytes : ERROR_BODY_MAX);
    r->opened = call->opened;
    r->data = call->data;
    r->done = call->done;
    r->ctx = call->ctx;
    r->free_ctx = call->free_ctx;
    r->next = c->requests;
    if (r->next)
        r->next->prev = r;
    c->requests = r;
    net_timer_start(c->kick, 0);
    return r;
}

struct kube_request *kube_request_cancel(struct kube_request *r)
{
    if (!r || r->is_cancelled || r->state == ENDED)
        return NULL;
    r->is_cancelled = true;
    net_timer_start(r->client->kick, 0);
    return NULL;
}

/* ---- the client ---- */

/* With tls-server-name the URL names that host, for SNI and verification, and the connection goes to the real one. */
static void set_address(struct kube_client *c)
{
    CLEANUP(kube_url_done) struct kube_url url = {0};
    struct in_addr address;
    kube_url_split(c->config.server, &url);
    c->is_loopback = strcmp(url.host, "localhost") == 0 || strcmp(url.host, "[::1]") == 0 ||
                     (inet_pton(AF_INET, url.host, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127);
    if (!c->config.tls_server_name) {
        c->base_url = xstrdup(c->config.server);
        return;
    }
    const char *colon = *url.port ? ":" : "";
    c->base_url = xasprintf("https://%s%s%s%s", c->config.tls_server_name, colon, url.port, url.path);
    c->connect_to = xasprintf("::%s:%s", url.host, url.port);
    c->host_header = xasprintf("%s%s%s", url.host, colon, url.port);
}

struct kube_client *kube_client_new(uv_loop_t *loop, struct kube_config *config,
                                    const struct kube_client_options *options)
{
    struct kube_client *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->config = *config;
    *config = (struct kube_config){0};
    set_address(c);
    c->user_agent = xasprintf("haptic/%s (linux/%s)", options->version ? options->version : "unknown",
#if defined(__aarch64__)
                              "arm64"
#else
                              "amd64"
#endif
    );
    c->metrics = options->metrics;
    c->connect_timeout_ns = options->connect_timeout_ns ? options->connect_timeout_ns : CONNECT_TIMEOUT_NS;
    c->max_response_bytes = options->max_response_bytes ? options->max_response_bytes : RESPONSE_MAX;
    c->http1_only = options->http1_only;
    c->kick = net_timer_new(loop, pump, c);
    c->auth = kube_auth_new(loop, &c->config, on_authenticated, c);
    c->multi = multi_new(loop, &ops, c);
    return c;
}

struct kube_client *kube_client_free(struct kube_client *c)
{
    if (!c)
        return NULL;
    while (c->requests) {
        if (c->requests->state == RUNNING)
            multi_remove(c->multi, c->requests->easy);
        request_free(c->requests);
    }
    multi_free(c->multi);
    kube_auth_free(c->auth);
    net_timer_free(c->kick);
    kube_config_done(&c->config);
    free(c->user_agent);
    free(c->connect_to);
    free(c->base_url);
    free(c->host_header);
    free(c);
    return NULL;
}

void kube_client_distrust(struct kube_client *c)
{
    c->wants_fresh_connection = true;
}

uv_loop_t *kube_client_loop(const struct kube_client *c)
{
    return c->loop;
}

const struct kube_config *kube_client_config(const struct kube_client *c)
{
    return &c->config;
}
