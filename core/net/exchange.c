/* libcurl speaks. The preamble goes out between the connection and whatever comes first on it: a handshake of TLS, or
 * the request. */
#include "net/exchange.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

#define BODY_MAX ((size_t)4 << 20)
#define HEADERS_MAX 1000
/* What the address of the request is called where no name is to be seen. */
#define NOBODY "127.0.0.1"

struct call {
    const struct exchange_request *request;
    struct exchange_answer *answer;
    CURL *easy;
    struct curl_slist *headers;
    int fd;
    bool has_begun, can_begin, over_limit, has_headers;
    char error_text[CURL_ERROR_SIZE];
};

/* ---- the connection ---- */

static bool send_all(int fd, const char *text)
{
    size_t length = strlen(text);

    while (length > 0) {
        ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose UNUSED, struct curl_sockaddr *address)
{
    struct call *c = ctx;

    c->fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return c->fd;
}

/* The connection is there, and nothing was sent yet. */
static bool begin(struct call *c)
{
    bool done = c->request->preamble == NULL || c->has_begun || send_all(c->fd, c->request->preamble);

    c->has_begun = true;
    return done;
}

static int on_connected(void *ctx, char *to_address UNUSED, char *from_address UNUSED, int to_port UNUSED,
                        int from_port UNUSED)
{
    return begin(ctx) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static CURLcode on_handshake(CURL *easy UNUSED, void *context UNUSED, void *ctx)
{
    return begin(ctx) ? CURLE_OK : CURLE_ABORTED_BY_CALLBACK;
}

/* ---- the answer ---- */

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct call *c = ctx;
    size_t length = size * count, end = length;

    while (end > 0 && (bytes[end - 1] == '\n' || bytes[end - 1] == '\r'))
        end--;
    if (end > 5 && strncmp(bytes, "HTTP/", 5) == 0) { /* another answer: the one before was provisional */
        for (size_t i = 0; i < c->answer->headers.length; i++)
            free(c->answer->headers.items[i]);
        vec_clear(&c->answer->headers);
        c->has_headers = false;
    } else if (end == 0) {
        c->has_headers = true;
    } else if (c->has_headers && c->answer->trailers.length < HEADERS_MAX) {
        vec_push(&c->answer->trailers, xmemdup0(bytes, end));
    } else if (!c->has_headers && c->answer->headers.length < HEADERS_MAX) {
        vec_push(&c->answer->headers, xmemdup0(bytes, end));
    }
    return length;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct call *c = ctx;
    struct err ignored;

    if (buf_try_add(&c->answer->body, bytes, size * count, &ignored) == 0)
        return size * count;
    c->over_limit = true;
    return 0;
}

static void take_certificate(struct call *c)
{
    struct curl_certinfo *chain = NULL;

    if (curl_easy_getinfo(c->easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == NULL || chain->num_of_certs < 1)
        return;
    for (struct curl_slist *line = chain->certinfo[0]; line != NULL; line = line->next)
        if (strncmp(line->data, "Cert:", 5) == 0 && c->answer->certificate == NULL)
            c->answer->certificate = xstrdup(line->data + 5);
}

/* ---- the request ---- */

static void add_header(struct call *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);

    if (longer != NULL)
        c->headers = longer;
}

static void set_headers(struct call *c)
{
    const struct exchange_request *r = c->request;
    CLEANUP(free_ptr) char *host = xasprintf("Host:%s%s", *r->host ? " " : "", r->host);

    add_header(c, host);
    add_header(c, "Accept:"); /* nothing but what was asked for */
    add_header(c, "Expect:");
    add_header(c, "Content-Type:");
    for (size_t i = 0; r->headers != NULL && r->headers[i] != NULL; i++) {
        const char *colon = strchr(r->headers[i], ':');
        if (colon != NULL && colon[1 + strspn(colon + 1, " ")] == '\0') { /* libcurl's form of an empty value */
            CLEANUP(free_ptr) char *empty = xasprintf("%.*s;", (int)(colon - r->headers[i]), r->headers[i]);
            add_header(c, empty);
        } else {
            add_header(c, r->headers[i]);
        }
    }
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
}

static void set_tls(struct call *c)
{
    const struct exchange_request *r = c->request;

    curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(c->easy, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(c->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    c->can_begin = curl_easy_setopt(c->easy, CURLOPT_SSL_CTX_FUNCTION, on_handshake) == CURLE_OK;
    curl_easy_setopt(c->easy, CURLOPT_SSL_CTX_DATA, c);
    if (r->certificate == NULL || r->key == NULL)
        return;
    struct curl_blob certificate = {(void *)(uintptr_t)r->certificate, strlen(r->certificate), CURL_BLOB_COPY};
    struct curl_blob key = {(void *)(uintptr_t)r->key, strlen(r->key), CURL_BLOB_COPY};
    curl_easy_setopt(c->easy, CURLOPT_SSLCERT_BLOB, &certificate);
    curl_easy_setopt(c->easy, CURLOPT_SSLKEY_BLOB, &key);
}

static long version_of(const struct exchange_request *r)
{
    switch (r->version) {
    case EXCHANGE_HTTP_1_0:
        return CURL_HTTP_VERSION_1_0;
    case EXCHANGE_HTTP_1_1:
        return CURL_HTTP_VERSION_1_1;
    case EXCHANGE_HTTP_2:
        return r->tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    }
    return CURL_HTTP_VERSION_1_1;
}

static void set_all(struct call *c)
{
    const struct exchange_request *r = c->request;
    CLEANUP(free_ptr)
    char *url = xasprintf("%s://%s/", r->tls ? "https" : "http", r->tls && r->sni && *r->sni ? r->sni : NOBODY);

    curl_easy_setopt(c->easy, CURLOPT_URL, url);
    curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, r->socket); /* no name is looked up */
    curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error_text);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)(r->timeout_ns / NS_PER_MS));
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, version_of(r));
    curl_easy_setopt(c->easy, CURLOPT_REQUEST_TARGET, r->target);
    if (r->body != NULL) {
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, (long)(r->body_length > 0 ? r->body_length : strlen(r->body)));
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, r->body);
    }
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, r->method);
    set_headers(c);
    if (r->tls)
        set_tls(c);
}

static int fail(const struct call *c, CURLcode code, struct err *err)
{
    const char *text = *c->error_text ? c->error_text : curl_easy_strerror(code);

    if (c->over_limit)
        return err_set(err, ERR_LIMIT, "the answer has more than %zu bytes", BODY_MAX);
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, "no answer within %.1f s", (double)c->request->timeout_ns / (double)NS_PER_S);
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return err_set(err, ERR_INVALID, "the request cannot be made: %s", text);
    default:
        return err_set(err, ERR_IO, "%s", text);
    }
}

int exchange(const struct exchange_request *r, struct exchange_answer *ret_answer, struct err *err)
{
    struct call c = {.request = r, .answer = ret_answer, .easy = curl_easy_init(), .fd = -1, .can_begin = true};

    *ret_answer = (struct exchange_answer){.body = {.max = BODY_MAX}};
    if (c.easy == NULL)
        return err_set(err, ERR_INTERNAL, "libcurl cannot be used");
    set_all(&c);
    if (!c.can_begin && r->preamble != NULL) {
        curl_easy_cleanup(c.easy);
        curl_slist_free_all(c.headers);
        return err_set(err, ERR_INTERNAL, "this libcurl cannot tell of a handshake: it is not made with OpenSSL");
    }
    CURLcode code = curl_easy_perform(c.easy);
    curl_easy_getinfo(c.easy, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    take_certificate(&c);
    int result = code == CURLE_OK ? 0 : fail(&c, code, err);
    curl_easy_cleanup(c.easy);
    curl_slist_free_all(c.headers);
    return result;
}

void exchange_answer_done(struct exchange_answer *a)
{
    for (size_t i = 0; i < a->headers.length; i++)
        free(a->headers.items[i]);
    for (size_t i = 0; i < a->trailers.length; i++)
        free(a->trailers.items[i]);
    vec_done(&a->headers);
    vec_done(&a->trailers);
    buf_done(&a->body);
    free(a->certificate);
    a->certificate = NULL;
}

static const char *find(char *const *lines, size_t count, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < count; i++)
        if (strncasecmp(lines[i], name, length) == 0 && lines[i][length] == ':')
            return lines[i] + length + 1 + strspn(lines[i] + length + 1, " \t");
    return NULL;
}

const char *exchange_header(const struct exchange_answer *a, const char *name)
{
    return find(a->headers.items, a->headers.length, name);
}

const char *exchange_trailer(const struct exchange_answer *a, const char *name)
{
    return find(a->trailers.items, a->trailers.length, name);
}
