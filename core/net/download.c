/* A redirect is a transfer of its own: each place is looked up in the rules before anything is sent there. Transfers
 * begin in the loop's next turn, so that no callback comes from inside a call. */
#include "net/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/multi.h"
#include "net/timer.h"

#define CONNECT_NS (10 * NS_PER_S)
#define HEADER_MAX 512 /* of an ETag or a date that is kept */
#define RETRY_AFTER_MAX_S 86400

struct download {
    struct downloads *downloads;
    struct download *next, *prev;
    const struct url_rules *rules;
    const struct url_rule *rule; /* of the URL at hand */
    char *url, *first_url, *bearer, *user_password, *known_etag, *known_modified;
    size_t max_bytes;
    int64_t timeout_ns, begun_ns;
    void (*done)(void *ctx, const struct download_answer *answer, const struct err *err);
    void *ctx;
    CURL *easy; /* NULL: it has not begun */
    struct curl_slist *headers;
    struct buf body;
    char etag[HEADER_MAX + 1], modified[HEADER_MAX + 1];
    unsigned redirects;
    bool is_over_limit, is_forbidden;
    char error_text[CURL_ERROR_SIZE];
};

struct downloads {
    struct multi *multi;
    struct net_timer *starter;
    struct download *transfers;
    char *user_agent;
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void headers_done(struct download *t)
{
    for (struct curl_slist *h = t->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data)); /* one of them may be Authorization */
    curl_slist_free_all(t->headers);
    t->headers = NULL;
}

static void download_free(struct download *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        t->downloads->transfers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    if (t->easy)
        curl_easy_cleanup(t->easy);
    headers_done(t);
    buf_done(&t->body);
    wipe(t->bearer);
    wipe(t->user_password);
    free(t->known_etag);
    free(t->known_modified);
    free(t->url);
    free(t->first_url);
    free(t);
}

struct download *download_cancel(struct download *t)
{
    if (!t)
        return NULL;
    if (t->easy)
        multi_remove(t->downloads->multi, t->easy);
    download_free(t);
    return NULL;
}

/* ---- libcurl's callbacks ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct download *t = ctx;

    if (buf_try_add(&t->body, bytes, size * count, NULL) == 0)
        return size * count;
    t->is_over_limit = true;
    return 0;
}

/* A line "Name: value\r\n"; another answer begins with a status line. */
static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    static const char etag[] = "etag:", modified[] = "last-modified:";
    struct download *t = ctx;
    size_t length = size * count, begin = 0;
    char *to = NULL;

    if (length > 5 && strncasecmp(bytes, "HTTP/", 5) == 0)
        t->etag[0] = t->modified[0] = '\0';
    if (length > sizeof(etag) && strncasecmp(bytes, etag, sizeof(etag) - 1) == 0)
        to = t->etag, begin = sizeof(etag) - 1;
    else if (length > sizeof(modified) && strncasecmp(bytes, modified, sizeof(modified) - 1) == 0)
        to = t->modified, begin = sizeof(modified) - 1;
    if (!to)
        return length;
    size_t end = length;
    while (begin < end && (bytes[begin] == ' ' || bytes[begin] == '\t'))
        begin++;
    while (end > begin && (unsigned char)bytes[end - 1] <= ' ')
        end--;
    *to = '\0';
    for (size_t i = begin; i < end; i++)
        if ((unsigned char)bytes[i] < ' ' || (unsigned char)bytes[i] >= 0x7f)
            return length; /* it would have to be sent back */
    if (end - begin <= HEADER_MAX) {
        memcpy(to, bytes + begin, end - begin);
        to[end - begin] = '\0';
    }
    return length;
}

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct download *t = ctx;

    (void)purpose;
    if (!url_rule_may_connect(t->rule, &address->addr)) {
        t->is_forbidden = true;
        errno = EACCES;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- one request ---- */

static void add_header(struct download *t, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    char *line = xasprintf("%s: %s", name, value);
    t->headers = curl_slist_append(t->headers, line);
    wipe(line);
}

static void set_tls(CURL *easy, const char *authority)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!authority)
        return;
    struct curl_blob blob = {.data = (void *)(uintptr_t)authority, .len = strlen(authority), .flags = CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
}

static void begin(struct download *t)
{
    int64_t left_ns = t->timeout_ns - (clock_now_ns() - t->begun_ns);
    CURL *easy = t->easy = curl_easy_init();

    if (!easy)
        abort();
    buf_clear(&t->body);
    t->etag[0] = t->modified[0] = t->error_text[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_URL, t->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error_text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, t->downloads->user_agent);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->max_bytes);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L); /* a connection belongs to the rule that allowed it */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(CONNECT_NS / NS_PER_MS));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ns > NS_PER_MS ? (long)(left_ns / NS_PER_MS) : 1L);
    set_tls(easy, t->rule->authority);
    headers_done(t);
    add_header(t, "If-None-Match", t->known_etag);
    if (!*t->known_etag)
        add_header(t, "If-Modified-Since", t->known_modified);
    if (url_same_origin(t->url, t->first_url)) {
        if (t->bearer)
            add_header(t, "Authorization", t->bearer);
        if (t->user_password) {
            curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
            curl_easy_setopt(easy, CURLOPT_USERPWD, t->user_password);
        }
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    multi_add(t->downloads->multi, easy);
}

/* ---- the end ---- */

static void finish(struct download *t, long status, const struct err *err)
{
    curl_off_t retry_s = 0;

    if (t->easy)
        curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_s);
    if (retry_s > RETRY_AFTER_MAX_S)
        retry_s = RETRY_AFTER_MAX_S;
    struct buf body = t->body;
    t->body = (struct buf){0};
    char etag[sizeof(t->etag)], modified[sizeof(t->modified)];
    memcpy(etag, t->etag, sizeof(etag));
    memcpy(modified, t->modified, sizeof(modified));
    const struct download_answer answer = {.status = status,
                                           .body = buf_str(&body),
                                           .length = body.length,
                                           .etag = etag,
                                           .modified = modified,
                                           .retry_after_ns = (int64_t)retry_s * NS_PER_S};
    void (*done)(void *, const struct download_answer *, const struct err *) = t->done;
    void *ctx = t->ctx;
    download_free(t);
    done(ctx, &answer, err);
    buf_done(&body);
}

static int transfer_err(const struct download *t, CURLcode result, struct err *err)
{
    CLEANUP(free_ptr) char *shown = url_shown(t->url);

    if (t->is_forbidden)
        return err_set(err, ERR_DENIED,
                       "%s: its name leads to an address of this machine, its link, or a metadata service", shown);
    if (t->is_over_limit || result == CURLE_FILESIZE_EXCEEDED)
        return err_set(err, ERR_LIMIT, "%s: larger than the %zu bytes of max_bytes", shown, t->max_bytes);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "%s: no whole answer in time", shown);
    return err_set(err, ERR_IO, "%s: %s", shown, *t->error_text ? t->error_text : curl_easy_strerror(result));
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* -1: the place may not be asked. */
static int redirect(struct download *t, struct err *err)
{
    CLEANUP(free_ptr) char *shown = url_shown(t->url);
    char *place = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &place);
    if (!place)
        return err_set(err, ERR_INVALID, "%s: a redirect to nowhere", shown);
    if (++t->redirects > DOWNLOAD_REDIRECTS_MAX)
        return err_set(err, ERR_INVALID, "%s: more than %d redirects", shown, DOWNLOAD_REDIRECTS_MAX);
    const struct url_rule *rule = url_rules_find(t->rules, place, err);
    if (!rule)
        return err_wrap(err, "%s: redirected", shown);
    char *url = xstrdup(place);
    curl_easy_cleanup(STEAL(t->easy));
    free(t->url);
    t->url = url;
    t->rule = rule;
    begin(t);
    return 0;
}

static void on_finished(void *ctx, CURL *easy, CURLcode result)
{
    struct download *t;
    struct err err;
    long status = 0;

    (void)ctx;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (result == CURLE_OK && is_redirect(status) && redirect(t, &err) == 0)
        return;
    if (result == CURLE_OK && (status == 200 || status == 304)) {
        finish(t, status, NULL);
        return;
    }
    if (result != CURLE_OK) {
        (void)transfer_err(t, result, &err);
    } else if (!is_redirect(status)) {
        CLEANUP(free_ptr) char *shown = url_shown(t->url);
        (void)err_set(&err, status == 401 || status == 403 ? ERR_DENIED : ERR_IO, "%s: the server answers %ld", shown,
                      status);
    }
    finish(t, status, &err);
}

static void on_settle(void *ctx)
{
    (void)ctx;
}

static void on_start(void *ctx)
{
    struct downloads *d = ctx;
    struct err err;

    for (struct download *t = d->transfers, *next; t; t = next) {
        next = t->next;
        if (t->easy)
            continue;
        t->rule = url_rules_find(t->rules, t->url, &err);
        if (t->rule)
            begin(t);
        else {
            finish(t, 0, &err); /* may start or cancel others */
            net_timer_start(d->starter, 0);
            return;
        }
    }
}

/* ---- life ---- */

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

struct download *downloads_start(struct downloads *d, const struct download_call *call)
{
    struct download *t = xcalloc(1, sizeof(*t));

    t->downloads = d;
    t->rules = call->rules;
    t->url = xstrdup(call->url);
    t->first_url = xstrdup(call->url);
    t->bearer = call->bearer ? xasprintf("Bearer %s", call->bearer) : NULL;
    t->user_password = call->username ? xasprintf("%s:%s", call->username, call->password ? call->password : "") : NULL;
    t->known_etag = copy_of(call->etag ? call->etag : "");
    t->known_modified = copy_of(call->modified ? call->modified : "");
    t->max_bytes = call->max_bytes;
    t->timeout_ns = call->timeout_ns;
    t->begun_ns = clock_now_ns();
    t->done = call->done;
    t->ctx = call->ctx;
    buf_init(&t->body, call->max_bytes);
    t->next = d->transfers;
    if (t->next)
        t->next->prev = t;
    d->transfers = t;
    net_timer_start(d->starter, 0);
    return t;
}

struct downloads *downloads_new(uv_loop_t *loop, const char *user_agent)
{
    static const struct multi_ops ops = {.finished = on_finished, .settle = on_settle};
    struct downloads *d = xcalloc(1, sizeof(*d));

    d->user_agent = xstrdup(user_agent);
    d->multi = multi_new(loop, &ops, d);
    d->starter = net_timer_new(loop, on_start, d);
    return d;
}

struct downloads *downloads_free(struct downloads *d)
{
    if (!d)
        return NULL;
    for (struct download *t = d->transfers, *next; t; t = next) {
        next = t->next;
        download_cancel(t);
    }
    multi_free(d->multi);
    net_timer_free(d->starter);
    free(d->user_agent);
    free(d);
    return NULL;
}
