/* A difference is one line: what, expected, actual. Who answered stands below, once. */
#include "offline/request_run.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "data/certificate.h"
#include "data/json.h"
#include "data/pattern.h"
#include "offline/owners.h"
#include "offline/test_target.h"

#define SHOWN_BYTES 300
/* A share is right when it is within so many standard deviations: one false alarm in a million. */
#define SHARE_DEVIATIONS 5.0
#define SHOWN_HEADERS 60
#define GRPC_FRAME 5

/* ---- the request ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* An address of a network, "10.0.0.0/8"; NULL: it is none. */
static char *random_source(const char *network, uint64_t *state)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    const char *slash = strchr(network, '/');
    CLEANUP(free_ptr) char *address = xmemdup0(network, (size_t)(slash - network));
    int family = strchr(address, ':') ? AF_INET6 : AF_INET, bits = family == AF_INET ? 32 : 128;
    char *end;
    long prefix = strtol(slash + 1, &end, 10);

    if (inet_pton(family, address, bytes) != 1 || end == slash + 1 || *end != '\0' || prefix < 0 || prefix > bits)
        return NULL;
    for (int bit = (int)prefix; bit < bits; bit++) {
        unsigned char mask = (unsigned char)(0x80 >> (bit % 8));
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] & ~mask);
        if (next_random(state) & 1)
            bytes[bit / 8] |= mask;
    }
    return xstrdup(inet_ntop(family, bytes, text, sizeof(text)));
}

static struct stage_request request_of(const struct request_case *c)
{
    return (struct stage_request){.host = c->host,
                                  .path = c->path,
                                  .method = c->method,
                                  .headers = (const char *const *)c->headers.items,
                                  .body = c->body,
                                  .version = c->version,
                                  .tls = c->tls,
                                  .port = (int)c->port,
                                  .sni = c->sni,
                                  .certificate = c->certificate,
                                  .key = c->key,
                                  .source = c->source,
                                  .proxy_source = c->proxy_source};
}

/* A message of gRPC is one byte, four of its length, and itself. */
static char *grpc_message(const char *text, size_t *ret_length)
{
    size_t length = strlen(text);
    char *message = xcalloc(1, GRPC_FRAME + length + 1);

    for (size_t i = 1; i < GRPC_FRAME; i++)
        message[i] = (char)(length >> (8 * (GRPC_FRAME - 1 - i)) & 0xff);
    memcpy(message + GRPC_FRAME, text, length);
    *ret_length = GRPC_FRAME + length;
    return message;
}

/* The text of a body, that of a message for gRPC. */
static const char *body_text(const struct request_case *c, const struct buf *body)
{
    const char *text = buf_str((struct buf *)(uintptr_t)body);

    return c->grpc && body->length >= GRPC_FRAME ? text + GRPC_FRAME : text;
}

static int ask(struct stage *s, const struct request_case *c, uint64_t *state, struct stage_answer *ret_answer,
               struct err *err)
{
    struct stage_request request = request_of(c);
    CLEANUP(free_ptr) char *source = NULL;
    CLEANUP(free_ptr) char *message = c->grpc ? grpc_message(c->body ? c->body : "", &request.body_length) : NULL;
    CLEANUP(free_ptr) const char **headers = xcalloc(c->headers.length + 3, sizeof(*headers));

    if (c->grpc) {
        headers[0] = "content-type: application/grpc";
        headers[1] = "te: trailers";
        for (size_t i = 0; i < c->headers.length; i++)
            headers[i + 2] = c->headers.items[i];
        request.headers = headers;
        request.body = message;
    }

    if (c->source != NULL && strchr(c->source, '/') != NULL) {
        request.source = source = random_source(c->source, state);
        if (source == NULL)
            return err_set(err, ERR_INVALID, "source: \"%.64s\" is no network; write one such as 10.0.0.0/8",
                           c->source);
    }
    return stage_ask(s, &request, ret_answer, err);
}

/* ---- differences ---- */

struct judging {
    const struct request_case *c;
    const struct stage_answer *a;
    struct buf *out;
    struct err *err;
    int result;
};

static void put_shown(struct buf *out, const char *text)
{
    size_t length = strlen(text);

    buf_printf(out, "\"%.*s\"%s", length > SHOWN_BYTES ? SHOWN_BYTES : (int)length, text,
               length > SHOWN_BYTES ? "…" : "");
}

/* NULL: nothing is there. */
static void put_value(struct buf *out, const char *text)
{
    if (text == NULL)
        buf_puts(out, "none");
    else
        put_shown(out, text);
}

static void differ(struct judging *j, const char *what, const char *expected, const char *actual)
{
    buf_printf(j->out, "\n  %s: expected ", what);
    put_value(j->out, expected);
    buf_puts(j->out, ", actual ");
    put_value(j->out, actual);
}

static void judge_text(struct judging *j, const char *what, const struct expected_text *e, const char *actual)
{
    struct pattern *pattern = NULL;
    size_t start, end;

    if (!e->is_given || j->result < 0)
        return;
    if (e->is_absent) {
        if (actual != NULL)
            differ(j, what, NULL, actual);
        return;
    }
    if (!e->is_pattern) {
        if (actual == NULL || strcmp(actual, e->text) != 0)
            differ(j, what, e->text, actual);
        return;
    }
    if (pattern_new(e->text, &pattern, j->err) < 0) {
        j->result = err_wrap(j->err, "%s", what);
        return;
    }
    int found = actual == NULL ? 0 : pattern_find(pattern, actual, strlen(actual), 0, &start, &end, j->err);
    pattern_free(pattern);
    if (found < 0)
        j->result = err_wrap(j->err, "%s", what);
    if (found != 0)
        return;
    buf_printf(j->out, "\n  %s: expected a match of /%s/, actual ", what, e->text);
    put_value(j->out, actual);
}

static void judge_word(struct judging *j, const char *what, const char *expected, const char *actual)
{
    if (expected != NULL && strcmp(expected, actual ? actual : "") != 0)
        differ(j, what, *expected ? expected : NULL, actual && *actual ? actual : NULL);
}

/* Several headers of one name: one of them has to be right; none may be there when it is to be absent. */
static const char *header_of(const struct exchange_answer *a, const struct expected_header *e)
{
    size_t length = strlen(e->name);

    for (size_t i = 0; !e->value.is_pattern && !e->value.is_absent && i < a->headers.length; i++) {
        const char *line = a->headers.items[i];
        if (strncasecmp(line, e->name, length) == 0 && line[length] == ':' &&
            strcmp(line + length + 1 + strspn(line + length + 1, " \t"), e->value.text) == 0)
            return e->value.text;
    }
    return exchange_header(a, e->name);
}

static void judge_headers(struct judging *j)
{
    for (size_t i = 0; i < j->c->expect.headers.items.length; i++) {
        const struct expected_header *e = &j->c->expect.headers.items.items[i];
        CLEANUP(free_ptr) char *what = xasprintf("header %s", e->name);
        judge_text(j, what, &e->value, header_of(&j->a->http, e));
    }
}

static void judge_trailers(struct judging *j)
{
    for (size_t i = 0; i < j->c->expect.trailers.items.length; i++) {
        const struct expected_header *e = &j->c->expect.trailers.items.items[i];
        CLEANUP(free_ptr) char *what = xasprintf("trailer %s", e->name);
        judge_text(j, what, &e->value, exchange_trailer(&j->a->http, e->name));
    }
}

/* One of a certificate's names. */
static void judge_names(struct judging *j, const char *what, const char *wanted, const char *pem)
{
    CLEANUP(certificate_facts_done) struct certificate_facts facts = {0};
    CLEANUP(buf_done) struct buf names = {0}, chain = {0};

    if (wanted == NULL || (*wanted == '\0' && pem == NULL))
        return;
    if (pem != NULL) /* without its key it has a problem, and names */
        certificate_read("tls", pem, strlen(pem), NULL, 0, &facts, &chain);
    for (size_t i = 0; i < facts.names.length; i++) {
        if (strcmp(facts.names.items[i], wanted) == 0)
            return;
        buf_printf(&names, "%s%s", i ? ", " : "", facts.names.items[i]);
    }
    differ(j, what, *wanted ? wanted : NULL, pem != NULL ? buf_str(&names) : NULL);
}

/* The last one that came: earlier ones are those of retries. */
static const struct stand_in_record *received_of(const struct stage_answer *a)
{
    return a->received.items.length > 0 ? &a->received.items.items[a->received.items.length - 1] : NULL;
}

static bool expects_received(const struct request_case *c)
{
    return c->expect.received_method || c->expect.received_source || c->expect.received_sni ||
           c->expect.received_certificate || c->expect.received_http || c->expect.received_tls != TLS_ANY ||
           c->expect.received_body.is_given || c->expect.received_path.is_given ||
           c->expect.received_headers.items.length > 0;
}

static void judge_received(struct judging *j)
{
    const struct stand_in_record *r = received_of(j->a);
    const struct request_case *c = j->c;

    if (c->expect.reaches_nobody && r != NULL)
        differ(j, "received", NULL, r->target);
    if (!expects_received(c))
        return;
    if (r == NULL) {
        buf_puts(j->out, "\n  received: no server got the request");
        return;
    }
    judge_word(j, "received.method", c->expect.received_method, r->method);
    judge_word(j, "received.source", c->expect.received_source, r->source);
    judge_text(j, "received.path", &c->expect.received_path, r->target);
    judge_word(j, "received.http", c->expect.received_http, r->version);
    judge_word(j, "received.sni", c->expect.received_sni, r->sni);
    if (c->expect.received_tls != TLS_ANY && r->tls != (c->expect.received_tls == TLS_YES))
        differ(j, "received.tls", r->tls ? "false" : "true", r->tls ? "true" : "false");
    judge_names(j, "received.certificate", c->expect.received_certificate, r->certificate);
    judge_text(j, "received.body", &c->expect.received_body, body_text(c, &r->body));
    for (size_t i = 0; i < c->expect.received_headers.items.length; i++) {
        const struct expected_header *e = &c->expect.received_headers.items.items[i];
        CLEANUP(free_ptr) char *what = xasprintf("received.headers.%s", e->name);
        judge_text(j, what, &e->value, stand_in_header(r, e->name));
    }
}

static void judge_object(struct judging *j, struct workbench *w)
{
    CLEANUP(owners_done) struct owners owners = {0};
    CLEANUP(buf_done) struct buf names = {0};

    if (j->c->expect.object == NULL)
        return;
    owners_of_backend(w, j->a->backend, &owners);
    for (size_t i = 0; i < owners.names.length; i++) {
        if (strcmp(owners.names.items[i], j->c->expect.object) == 0)
            return;
        buf_printf(&names, "%s%s", i ? ", " : "", owners.names.items[i]);
    }
    differ(j, "object", j->c->expect.object, names.length > 0 ? buf_str(&names) : NULL);
}

static void judge(struct judging *j, struct workbench *w)
{
    const struct request_case *c = j->c;
    const struct stage_answer *a = j->a;
    bool is_closed = a->http.status == 0;

    if (is_closed != c->expect.closed) {
        if (is_closed)
            buf_printf(j->out, "\n  no answer: %s", a->closed);
        else
            buf_printf(j->out, "\n  closed: expected no answer, actual status %ld", a->http.status);
        return;
    }
    if (c->expect.status != 0 && a->http.status != c->expect.status)
        buf_printf(j->out, "\n  status: expected %ld, actual %ld", (long)c->expect.status, a->http.status);
    judge_word(j, "backend", c->expect.backend, a->backend);
    judge_word(j, "server", c->expect.server, a->server);
    judge_object(j, w);
    judge_text(j, "redirect", &c->expect.redirect, exchange_header(&a->http, "location"));
    judge_headers(j);
    judge_trailers(j);
    judge_text(j, "body", &c->expect.body, body_text(c, &a->http.body));
    judge_names(j, "certificate", c->expect.certificate, a->http.certificate);
    judge_received(j);
}

/* ---- shares ---- */

static bool is_share_of(const struct expected_share *share, const struct stage_answer *a)
{
    size_t length = strlen(a->backend);

    return strcmp(share->name, a->backend) == 0 || strcmp(share->name, a->server) == 0 ||
           (strncmp(share->name, a->backend, length) == 0 && share->name[length] == '/' &&
            strcmp(share->name + length + 1, a->server) == 0);
}

static void judge_shares(struct judging *j, const size_t *counts)
{
    double n = (double)j->c->times;

    for (size_t i = 0; i < j->c->expect.shares.length; i++) {
        const struct expected_share *share = &j->c->expect.shares.items[i];
        double p = share->percent / 100, allowed = SHARE_DEVIATIONS * sqrt(n * p * (1 - p)) + 1;
        if (fabs((double)counts[i] - n * p) > (p <= 0 || p >= 1 ? 0 : allowed))
            buf_printf(j->out,
                       "\n  share of %s: expected %g %% of %ld, actual %.1f %% (%zu; %.0f to %.0f are expected)",
                       share->name, share->percent, (long)j->c->times, 100 * (double)counts[i] / n, counts[i],
                       fmax(0, n * p - allowed), fmin(n, n * p + allowed));
    }
}

/* ---- who answered ---- */

/* The line of haproxy.cfg that decided, or the backend's first; 0: not known. */
static size_t deciding_line(struct workbench *w, const struct stage_answer *a)
{
    if (a->line > 0)
        return a->line;
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", a->backend);
    return owners_line_of_section(w, section);
}

static void put_answerer(struct workbench *w, const struct stage_answer *a, struct buf *out)
{
    CLEANUP(buf_done) struct buf origin = {0}, text = {0};

    if (*a->frontend == '\0' && *a->backend == '\0')
        return;
    if (*a->server != '\0')
        buf_printf(out, "\n  answered by: server %s of backend %s", a->server, a->backend);
    else if (*a->backend != '\0')
        buf_printf(out, "\n  answered by: HAProxy in backend %s", a->backend);
    else
        buf_puts(out, "\n  answered by: HAProxy before a backend was chosen");
    if (*a->frontend != '\0')
        buf_printf(out, ", frontend %s", a->frontend);
    size_t line = deciding_line(w, a);
    if (line == 0)
        return;
    model_write_config(workbench_model(w), MODEL_RENDERED, &text, NULL);
    test_put_context(buf_str(&text), line, out);
    test_line_origin(w, line, &origin);
    if (origin.length > 0)
        buf_printf(out, "\n  from: %s", buf_str(&origin));
}

static void put_request(const struct request_case *c, struct buf *out)
{
    buf_printf(out, "%s %s://%s%s",
               c->method            ? c->method
               : c->body || c->grpc ? "POST"
                                    : "GET",
               c->tls ? "https" : "http", c->host ? c->host : "", c->path ? c->path : "/");
    if (c->source != NULL)
        buf_printf(out, " from %s", c->source);
    if (c->description != NULL)
        buf_printf(out, " (%s)", c->description);
}

int request_run(struct stage *s, struct workbench *w, const struct request_case *c, uint64_t seed,
                struct coverage *coverage, struct buf *ret_message, struct err *err)
{
    CLEANUP(free_ptr) size_t *counts = xcalloc(c->expect.shares.length + 1, sizeof(*counts));
    CLEANUP(stage_answer_done) struct stage_answer worst = {0};
    CLEANUP(buf_done) struct buf differences = {0};
    int64_t times = c->times > 0 ? c->times : 1;
    struct judging j = {.c = c, .out = &differences, .err = err};

    for (int64_t i = 0; i < times && differences.length == 0 && j.result == 0; i++) {
        stage_answer_done(&worst);
        if (ask(s, c, &seed, &worst, err) < 0)
            return -1;
        j.a = &worst;
        if (coverage != NULL)
            coverage_count_request(coverage, w, c->host ? c->host : "", c->path ? c->path : "/", worst.backend);
        judge(&j, w);
        for (size_t k = 0; k < c->expect.shares.length; k++)
            counts[k] += is_share_of(&c->expect.shares.items[k], &worst);
        if (differences.length > 0 && times > 1)
            buf_printf(&differences, "\n  in request %ld of %ld", (long)i + 1, (long)times);
    }
    if (j.result < 0)
        return -1;
    if (differences.length == 0)
        judge_shares(&j, counts);
    if (differences.length == 0)
        return 0;
    put_request(c, ret_message);
    buf_add(ret_message, buf_str(&differences), differences.length);
    put_answerer(w, &worst, ret_message);
    return 0;
}

/* {"status":200,"backend":"shop_web_80"} */
static void put_expected(const struct stage_answer *a, struct buf *out)
{
    const char *location = exchange_header(&a->http, "location");
    struct err ignored;

    if (a->http.status == 0) {
        buf_puts(out, "{\"closed\":true}");
        return;
    }
    buf_printf(out, "{\"status\":%ld", a->http.status);
    buf_puts(out, ",\"backend\":");
    if (json_write_string(out, a->backend, strlen(a->backend), &ignored) < 0)
        buf_puts(out, "\"\"");
    size_t before = out->length;
    buf_puts(out, ",\"redirect\":");
    if (location == NULL || json_write_string(out, location, strlen(location), &ignored) < 0)
        out->length = before;
    buf_putc(out, '}');
}

int request_show(struct stage *s, struct workbench *w, const struct request_case *c, struct buf *out,
                 struct buf *ret_expected, struct err *err)
{
    CLEANUP(stage_answer_done) struct stage_answer a = {0};
    uint64_t state = 0;

    if (ask(s, c, &state, &a, err) < 0)
        return -1;
    put_expected(&a, ret_expected);
    if (a.http.status == 0)
        buf_printf(out, "no answer: %s", a.closed);
    else
        buf_printf(out, "status: %ld", a.http.status);
    for (size_t i = 0; i < a.http.headers.length && i < SHOWN_HEADERS; i++)
        if (strncmp(a.http.headers.items[i], "HTTP/", 5) != 0)
            buf_printf(out, "\n  %s", a.http.headers.items[i]);
    if (a.http.body.length > 0) {
        buf_puts(out, "\n  body: ");
        put_shown(out, buf_str(&a.http.body));
    }
    const struct stand_in_record *r = received_of(&a);
    if (r != NULL) {
        buf_printf(out, "\n  received: %s %s", r->method, r->target);
        for (size_t i = 0; i < r->headers.length && i < SHOWN_HEADERS; i++)
            buf_printf(out, "\n    %s", r->headers.items[i]);
    }
    put_answerer(w, &a, out);
    CLEANUP(owners_done) struct owners owners = {0};
    owners_of_backend(w, a.backend, &owners);
    for (size_t i = 0; i < owners.names.length; i++)
        buf_printf(out, "%s%s", i ? ", " : "\n  objects: ", owners.names.items[i]);
    return 0;
}
