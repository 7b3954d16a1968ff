/* Requests begin in the loop's next turn, so that no callback comes from inside a call and libcurl is never asked from
 * one of its own. libcurl's handles are used again: to make one costs as much as a short request.
 */
#include "net/peer.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/vec.h"
#include "net/credentials.h"
#include "net/multi.h"
#include "net/timer.h"

#define ANSWER_MAX ((size_t)1 << 20)
#define CONNECT_NS (5 * NS_PER_S)
/* libcurl allocates these for each request. Most bodies and answers are shorter than a kilobyte. */
#define UPLOAD_BUFFER_BYTES 16384L /* its minimum */
#define ANSWER_BUFFER_BYTES 4096L
#define IDLE_MIN 32

struct peer_request {
    struct peers *peers;
    struct peer_request *next, *prev;
    struct peer_address address;
    char *path, *url;
    struct peer_body *body;
    int64_t timeout_ns;
    void (*done)(void *ctx, const struct peer_answer *answer, const struct err *err);
    void *ctx;
    CURL *easy; /* NULL: it has not begun */
    struct curl_slist *connect_to, *headers;
    struct buf answer;
    bool is_over_limit;
    char error_text[CURL_ERROR_SIZE];
};

struct peers {
    struct multi *multi;
    struct net_timer *starter;
    struct peer_request *requests;
    VEC(CURL *) idle; /* at most so many as there are members */
    size_t idle_max;
    char *user_agent, *agent_name;
    struct credentials *credentials; /* NULL: none yet */
};

/* ---- bodies, addresses ---- */

struct peer_body *peer_body_new(void)
{
    struct peer_body *b = xcalloc(1, sizeof(*b));
    b->refs = 1;
    return b;
}

struct peer_body *peer_body_ref(struct peer_body *b)
{
    b->refs++;
    return b;
}

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->capacity);
    buf_done(b);
}

struct peer_body *peer_body_unref(struct peer_body *b)
{
    if (!b || --b->refs > 0)
        return NULL;
    wipe(&b->bytes);
    free(b);
    return NULL;
}

static int part_of(CURLU *url, CURLUPart part, char *to, size_t size)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK)
        return -1;
    size_t length = strlen(text);
    bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
    int n = snprintf(to, size, "%.*s", (int)(bracketed ? length - 2 : length), text + bracketed);
    curl_free(text);
    return n >= 0 && (size_t)n < size ? 0 : -1;
}

int peer_address_parse(const char *text, struct peer_address *ret_address, struct err *err)
{
    char scheme[16], path[16], port[16];
    CURLU *url = curl_url();
    memset(ret_address, 0, sizeof(*ret_address));
    bool good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                part_of(url, CURLUPART_SCHEME, scheme, sizeof(scheme)) == 0 && strcmp(scheme, "https") == 0 &&
                part_of(url, CURLUPART_HOST, ret_address->host, sizeof(ret_address->host)) == 0 &&
                part_of(url, CURLUPART_PATH, path, sizeof(path)) == 0 && strcmp(path, "/") == 0 &&
                part_of(url, CURLUPART_PORT, port, sizeof(port)) == 0;
    curl_url_cleanup(url);
    if (!good)
        return err_set(err, ERR_INVALID, "\"%.100s\" is not the address of an agent: write https://HOST:PORT", text);
    ret_address->port = (uint16_t)strtoul(port, NULL, 10);
    return 0;
}

/* ---- requests ---- */

static void handle_give_back(struct peers *p, CURL *easy)
{
    if (p->idle.length >= p->idle_max) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, NULL);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    vec_push(&p->idle, easy);
}

static void request_free(struct peer_request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        r->peers->requests = r->next;
    if (r->next)
        r->next->prev = r->prev;
    if (r->easy)
        handle_give_back(r->peers, r->easy);
    curl_slist_free_all(r->connect_to);
    curl_slist_free_all(r->headers);
    peer_body_unref(r->body);
    wipe(&r->answer);
    free(r->path);
    free(r->url);
    free(r);
}

struct peer_request *peer_cancel(struct peer_request *r)
{
    if (!r)
        return NULL;
    if (r->easy)
        multi_remove(r->peers->multi, r->easy);
    request_free(r);
    return NULL;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct peer_request *r = ctx;
    if (buf_try_add(&r->answer, bytes, size * count, NULL) == 0)
        return size * count;
    r->is_over_limit = true;
    return 0;
}

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *ctx)
{
    const struct peers *p = ctx;
    (void)easy;
    return credentials_use(p->credentials, ssl_ctx) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

static void set_tls(struct peers *p, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, p);
}

/* One with everything that all requests have in common. */
static CURL *handle_take(struct peers *p)
{
    if (p->idle.length > 0)
        return p->idle.items[--p->idle.length];
    CURL *easy = curl_easy_init();
    if (!easy)
        abort();
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, p->user_agent);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(CONNECT_NS / NS_PER_MS));
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, ANSWER_BUFFER_BYTES);
    set_tls(p, easy);
    return easy;
}

static void begin(struct peer_request *r)
{
    struct peers *p = r->peers;
    bool v6 = strchr(r->address.host, ':') != NULL;
    CLEANUP(free_ptr)
    char *to = xasprintf("%s:%u:%s%s%s:%u", p->agent_name, r->address.port, v6 ? "[" : "", r->address.host,
                         v6 ? "]" : "", r->address.port);
    CURL *easy = r->easy = handle_take(p);
    r->url = xasprintf("https://%s:%u%s", p->agent_name, r->address.port, r->path);
    r->connect_to = curl_slist_append(NULL, to);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_URL, r->url);
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, r->connect_to);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error_text);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(r->timeout_ns / NS_PER_MS));
    if (r->body) {
        r->headers = curl_slist_append(r->headers, "Content-Type: application/octet-stream");
        r->headers = curl_slist_append(r->headers, "Expect:");
        if (r->body->packed)
            r->headers = curl_slist_append(r->headers, "Content-Encoding: gzip");
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body->bytes.length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, buf_str(&r->body->bytes));
    }
    multi_add(p->multi, easy);
}

static void on_start(void *ctx)
{
    struct peers *p = ctx;
    for (struct peer_request *r = p->requests; r; r = r->next)
        if (!r->easy)
            begin(r);
}

struct peer_request *peers_start(struct peers *p, const struct peer_call *call)
{
    struct peer_request *r = xcalloc(1, sizeof(*r));
    r->peers = p;
    r->address = *call->address;
    r->path = xstrdup(call->path);
    r->body = call->body ? peer_body_ref(call->body) : NULL;
    r->headers = call->header ? curl_slist_append(NULL, call->header) : NULL;
    r->timeout_ns = call->timeout_ns;
    r->done = call->done;
    r->ctx = call->ctx;
    buf_init(&r->answer, call->max_answer ? call->max_answer : ANSWER_MAX);
    r->next = p->requests;
    if (r->next)
        r->next->prev = r;
    p->requests = r;
    net_timer_start(p->starter, 0);
    return r;
}

static int transfer_err(struct err *err, const struct peer_request *r, CURLcode result)
{
    const char *words = *r->error_text ? r->error_text : curl_easy_strerror(result);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "agent %s port %u: timeout: %s", r->address.host, r->address.port, words);
    if (r->is_over_limit)
        return err_set(err, ERR_LIMIT, "agent %s port %u: its answer is too large", r->address.host, r->address.port);
    return err_set(err, ERR_IO, "agent %s port %u: %s", r->address.host, r->address.port, words);
}

static void on_finished(void *ctx, CURL *easy, CURLcode result)
{
    struct peer_request *r;
    struct peer_answer answer = {0};
    struct err err;
    curl_off_t sent = 0;
    (void)ctx;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    answer.body = buf_str(&r->answer);
    answer.length = r->answer.length;
    answer.sent = (size_t)sent;
    if (result != CURLE_OK)
        (void)transfer_err(&err, r, result);
    /* Whoever is told may cancel others, and start one at once. */
    struct buf kept = r->answer;
    r->answer = (struct buf){0};
    void (*done)(void *, const struct peer_answer *, const struct err *) = r->done;
    void *done_ctx = r->ctx;
    request_free(r);
    done(done_ctx, &answer, result == CURLE_OK ? NULL : &err);
    wipe(&kept);
}

static void on_settle(void *ctx)
{
    (void)ctx;
}

/* ---- life ---- */

struct peers *peers_new(uv_loop_t *loop, const char *user_agent, const char *agent_name)
{
    static const struct multi_ops ops = {.finished = on_finished, .settle = on_settle};
    struct peers *p = xcalloc(1, sizeof(*p));
    p->user_agent = xstrdup(user_agent);
    p->agent_name = xstrdup(agent_name);
    p->multi = multi_new(loop, &ops, p);
    p->starter = net_timer_new(loop, on_start, p);
    p->idle_max = IDLE_MIN;
    return p;
}

int peers_set_identity(struct peers *p, const struct peer_identity *identity, struct err *err)
{
    struct credentials *c;
    if (credentials_new(identity->authority, identity->certificate, identity->key, &c, err) < 0)
        return -1;
    credentials_free(p->credentials);
    p->credentials = c;
    return 0;
}

bool peers_have_identity(const struct peers *p)
{
    return p->credentials != NULL;
}

void peers_keep(struct peers *p, size_t members)
{
    multi_keep(p->multi, members < 16 ? 32L : (long)members * 2);
    p->idle_max = members > IDLE_MIN ? members : IDLE_MIN;
}

struct peers *peers_free(struct peers *p)
{
    if (!p)
        return NULL;
    for (struct peer_request *r = p->requests, *next; r; r = next) {
        next = r->next;
        peer_cancel(r);
    }
    for (size_t i = 0; i < p->idle.length; i++)
        curl_easy_cleanup(p->idle.items[i]);
    vec_done(&p->idle);
    multi_free(p->multi);
    net_timer_free(p->starter);
    credentials_free(p->credentials);
    free(p->user_agent);
    free(p->agent_name);
    free(p);
    return NULL;
}
