/* Tables of fields, as the configuration has them. */
#include "offline/request_case.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"

#define REQUESTS_MAX 10000
#define SCRIPTS_MAX 1000
#define TEXT_MAX ((size_t)1 << 20)

/* ---- texts ---- */

static int read_text(struct reader *r, yyjson_val *value, const char *key, bool may_be_absent,
                     struct expected_text *out)
{
    CLEANUP(buf_done) struct buf text = {.max = TEXT_MAX};
    yyjson_val *pattern = yyjson_is_obj(value) ? yyjson_obj_get(value, "match") : NULL;

    out->is_given = true;
    out->is_absent = yyjson_is_null(value);
    out->is_pattern = pattern != NULL;
    if (out->is_absent && may_be_absent)
        return 0;
    if (yyjson_is_obj(value) && (yyjson_obj_size(value) != 1 || !yyjson_is_str(pattern)))
        return reader_fail(r, value, key, "must be a text or {match: PATTERN}");
    if (yyjson_is_arr(value) || out->is_absent)
        return reader_fail(r, value, key, "must be a text or {match: PATTERN}");
    if (json_scalar_text(pattern ? pattern : value, &text, r->err) < 0)
        return -1;
    free(out->text);
    out->text = xstrdup(buf_str(&text));
    return 0;
}

static int read_expected_headers(struct reader *r, yyjson_val *value, const char *field, struct expected_headers *out)
{
    size_t i, max;
    yyjson_val *key, *item;

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, field,
                           "must have header names and values: a text, {match: PATTERN}, or null for none");
    yyjson_obj_foreach(value, i, max, key, item)
    {
        vec_push(&out->items, ((struct expected_header){.name = xstrdup(yyjson_get_str(key))}));
        if (read_text(r, item, field, true, &out->items.items[out->items.length - 1].value) < 0)
            return -1;
    }
    return 0;
}

/* A name that can stand before the colon. */
static bool is_header_name(const char *name)
{
    return *name != '\0' && name[strcspn(name, ": \t\r\n")] == '\0';
}

static int add_header(struct reader *r, yyjson_val *key, yyjson_val *value, struct config_strings *out)
{
    CLEANUP(buf_done) struct buf text = {.max = TEXT_MAX};
    const char *name = yyjson_get_str(key);

    if (!is_header_name(name))
        return reader_fail(r, key, "headers", "a name has neither blanks nor a colon");
    if (yyjson_is_obj(value) || yyjson_is_arr(value) || yyjson_is_null(value))
        return reader_fail(r, value, "headers", "must have names and texts, or a list of texts for several of a name");
    if (json_scalar_text(value, &text, r->err) < 0)
        return -1;
    if (strpbrk(buf_str(&text), "\r\n") != NULL)
        return reader_fail(r, value, "headers", "a value is one line");
    vec_push(out, xasprintf("%s: %s", name, buf_str(&text)));
    return 0;
}

/* {Name: value, Name: [value, value]} */
static int read_headers(struct reader *r, yyjson_val *value, struct config_strings *out)
{
    size_t i, max, j, count;
    yyjson_val *key, *item, *one;

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "headers", "must have header names and values");
    yyjson_obj_foreach(value, i, max, key, item)
    {
        if (!yyjson_is_arr(item)) {
            if (add_header(r, key, item, out) < 0)
                return -1;
            continue;
        }
        yyjson_arr_foreach(item, j, count, one)
        {
            if (add_header(r, key, one, out) < 0)
                return -1;
        }
    }
    vec_push(out, (char *)NULL);
    out->length--;
    return 0;
}

/* ---- what is expected ---- */

#define CASE ((struct request_case *)object)

static int read_body(struct reader *r, yyjson_val *value, void *object)
{
    return read_text(r, value, "body", false, &CASE->expect.body);
}

static int read_redirect(struct reader *r, yyjson_val *value, void *object)
{
    return read_text(r, value, "redirect", false, &CASE->expect.redirect);
}

static int read_answer_headers(struct reader *r, yyjson_val *value, void *object)
{
    return read_expected_headers(r, value, "headers", &CASE->expect.headers);
}

static int read_received_headers(struct reader *r, yyjson_val *value, void *object)
{
    return read_expected_headers(r, value, "headers", &CASE->expect.received_headers);
}

static int read_trailers(struct reader *r, yyjson_val *value, void *object)
{
    return read_expected_headers(r, value, "trailers", &CASE->expect.trailers);
}

static int read_received_tls(struct reader *r, yyjson_val *value, void *object)
{
    if (!yyjson_is_bool(value))
        return reader_fail(r, value, "tls", "must be true or false");
    CASE->expect.received_tls = yyjson_get_bool(value) ? TLS_YES : TLS_NO;
    return 0;
}

static int read_received_body(struct reader *r, yyjson_val *value, void *object)
{
    return read_text(r, value, "body", false, &CASE->expect.received_body);
}

static int read_received_path(struct reader *r, yyjson_val *value, void *object)
{
    return read_text(r, value, "path", false, &CASE->expect.received_path);
}

static const struct field received_fields[] = {
    {.name = "method", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.received_method)},
    {.name = "source", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.received_source)},
    {.name = "sni", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.received_sni)},
    {.name = "certificate", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.received_certificate)},
    {.name = "http", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.received_http)},
    {.name = "tls", .type = FIELD_ANY, .read = read_received_tls},
    {.name = "path", .type = FIELD_ANY, .read = read_received_path},
    {.name = "headers", .type = FIELD_ANY, .read = read_received_headers},
    {.name = "body", .type = FIELD_ANY, .read = read_received_body},
    {0},
};

/* false: no server is reached */
static int read_received(struct reader *r, yyjson_val *value, void *object)
{
    size_t length = strlen(r->path);

    if (yyjson_is_bool(value) && !yyjson_get_bool(value)) {
        CASE->expect.reaches_nobody = true;
        return 0;
    }
    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "received",
                           "must have method, path, headers, body, source, http, tls, sni or certificate; or be false");
    snprintf(r->path + length, sizeof(r->path) - length, "received.");
    int result = reader_object(r, value, received_fields, object);
    r->path[length] = '\0';
    return result;
}

static int read_shares(struct reader *r, yyjson_val *value, void *object)
{
    size_t i, max;
    yyjson_val *key, *item;

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "shares", "must have percentages by names of backends or servers");
    yyjson_obj_foreach(value, i, max, key, item)
    {
        double percent = yyjson_is_num(item) ? yyjson_get_num(item) : -1;
        if (!(percent >= 0 && percent <= 100))
            return reader_fail(r, item, "shares", "must have percentages by names of backends or servers");
        vec_push(&CASE->expect.shares,
                 ((struct expected_share){.name = xstrdup(yyjson_get_str(key)), .percent = percent}));
    }
    return 0;
}

static const struct field expect_fields[] = {
    {.name = "status",
     .type = FIELD_INT,
     .offset = offsetof(struct request_case, expect.status),
     .min = 100,
     .max = 599},
    {.name = "headers", .type = FIELD_ANY, .read = read_answer_headers},
    {.name = "trailers", .type = FIELD_ANY, .read = read_trailers},
    {.name = "body", .type = FIELD_ANY, .read = read_body},
    {.name = "redirect", .type = FIELD_ANY, .read = read_redirect},
    {.name = "backend", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.backend)},
    {.name = "server", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.server)},
    {.name = "object", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.object)},
    {.name = "certificate", .type = FIELD_STRING, .offset = offsetof(struct request_case, expect.certificate)},
    {.name = "received", .type = FIELD_ANY, .read = read_received},
    {.name = "shares", .type = FIELD_ANY, .read = read_shares},
    {.name = "closed", .type = FIELD_BOOL, .offset = offsetof(struct request_case, expect.closed)},
    {0},
};

static int read_expect(struct reader *r, yyjson_val *value, void *object)
{
    CASE->expect.is_given = yyjson_obj_size(value) > 0;
    return reader_object(r, value, expect_fields, object);
}

/* ---- the request ---- */

static int read_request_headers(struct reader *r, yyjson_val *value, void *object)
{
    return read_headers(r, value, &CASE->headers);
}

static const struct field certificate_fields[] = {
    {.name = "cert", .type = FIELD_STRING, .offset = offsetof(struct request_case, certificate)},
    {.name = "key", .type = FIELD_STRING, .offset = offsetof(struct request_case, key)},
    {0},
};

static const struct field proxy_fields[] = {
    {.name = "source", .type = FIELD_STRING, .offset = offsetof(struct request_case, proxy_source)},
    {0},
};

static const struct field request_fields[] = {
    {.name = "description", .type = FIELD_STRING, .offset = offsetof(struct request_case, description)},
    {.name = "host", .type = FIELD_STRING, .offset = offsetof(struct request_case, host)},
    {.name = "path", .type = FIELD_STRING, .offset = offsetof(struct request_case, path)},
    {.name = "method", .type = FIELD_STRING, .offset = offsetof(struct request_case, method)},
    {.name = "headers", .type = FIELD_ANY, .read = read_request_headers},
    {.name = "body", .type = FIELD_STRING, .offset = offsetof(struct request_case, body)},
    {.name = "http", .type = FIELD_STRING, .offset = offsetof(struct request_case, http)},
    {.name = "tls", .type = FIELD_BOOL, .offset = offsetof(struct request_case, tls)},
    {.name = "grpc", .type = FIELD_BOOL, .offset = offsetof(struct request_case, grpc)},
    {.name = "sni", .type = FIELD_STRING, .offset = offsetof(struct request_case, sni)},
    {.name = "clientCertificate", .type = FIELD_TABLE, .table = certificate_fields},
    {.name = "port", .type = FIELD_INT, .offset = offsetof(struct request_case, port), .min = 1, .max = 65535},
    {.name = "source", .type = FIELD_STRING, .offset = offsetof(struct request_case, source)},
    {.name = "proxyProtocol", .type = FIELD_TABLE, .table = proxy_fields},
    {.name = "times",
     .type = FIELD_INT,
     .offset = offsetof(struct request_case, times),
     .min = 1,
     .max = REQUEST_TIMES_MAX},
    {.name = "expect", .type = FIELD_OBJECT, .read = read_expect},
    {0},
};

static bool is_line(const char *text)
{
    return text == NULL || text[strcspn(text, " \t\r\n")] == '\0';
}

static int check(struct reader *r, yyjson_val *value, struct request_case *c)
{
    static const struct {
        const char *name;
        enum exchange_version version;
    } versions[] = {{"1.0", EXCHANGE_HTTP_1_0}, {"1.1", EXCHANGE_HTTP_1_1}, {"2", EXCHANGE_HTTP_2}};
    size_t at = 0;

    while (c->http != NULL && at < ARRAY_LEN(versions) && strcmp(c->http, versions[at].name) != 0)
        at++;
    if (at == ARRAY_LEN(versions))
        return reader_fail(r, value, "http", "must be \"1.0\", \"1.1\" or \"2\", in quotes");
    if (c->http != NULL)
        c->version = versions[at].version;
    if (c->grpc &&
        (c->http != NULL ? c->version != EXCHANGE_HTTP_2 : c->method != NULL && strcmp(c->method, "POST") != 0))
        return reader_fail(r, value, "grpc", "is a POST by HTTP/2");
    if (c->grpc)
        c->version = EXCHANGE_HTTP_2;
    if (!is_line(c->method) || (c->method != NULL && *c->method == '\0'))
        return reader_fail(r, value, "method", "is one word");
    if (!is_line(c->path) || (c->path != NULL && *c->path == '\0'))
        return reader_fail(r, value, "path", "has no blanks; write %20");
    if (!is_line(c->host))
        return reader_fail(r, value, "host", "has no blanks");
    if ((c->certificate == NULL) != (c->key == NULL))
        return reader_fail(r, value, "clientCertificate", "needs cert and key");
    if ((c->certificate != NULL || c->sni != NULL) && !c->tls)
        return reader_fail(r, value, c->sni ? "sni" : "clientCertificate", "needs tls: true");
    if (c->expect.shares.length > 0 && c->times < 2)
        return reader_fail(r, value, "expect.shares", "needs times: how many requests are made");
    return 0;
}

int request_case_read(struct reader *r, yyjson_val *value, struct request_case *ret_case)
{
    *ret_case = (struct request_case){.line = yaml_line(r->doc, value), .version = EXCHANGE_HTTP_1_1};
    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "requests", "must be an object such as {host: shop.test, expect: {status: 200}}");
    return reader_object(r, value, request_fields, ret_case) < 0 ? -1 : check(r, value, ret_case);
}

int request_cases_read(struct reader *r, yyjson_val *value, struct request_cases *ret_cases)
{
    size_t i, max, length = strlen(r->path);
    yyjson_val *item;

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, "requests", "must be a list");
    if (yyjson_arr_size(value) > REQUESTS_MAX)
        return reader_fail(r, value, "requests", "has too many entries");
    yyjson_arr_foreach(value, i, max, item)
    {
        struct request_case c;
        snprintf(r->path + length, sizeof(r->path) - length, "requests[%zu].", i);
        int result = request_case_read(r, item, &c);
        vec_push(&ret_cases->items, c);
        if (result == 0 && !c.expect.is_given)
            result = reader_fail(r, item, "expect", "is missing or empty: a request that expects nothing cannot fail");
        r->path[length] = '\0';
        if (result < 0)
            return -1;
    }
    return 0;
}

/* ---- scripts ---- */

struct script_fields {
    int64_t status, delay_ns;
    bool reset;
    char *body, *certificate, *key;
    struct config_strings headers, trailers;
};

static int read_script_trailers(struct reader *r, yyjson_val *value, void *object)
{
    return read_headers(r, value, &((struct script_fields *)object)->trailers);
}

static int read_script_headers(struct reader *r, yyjson_val *value, void *object)
{
    return read_headers(r, value, &((struct script_fields *)object)->headers);
}

static const struct field script_certificate_fields[] = {
    {.name = "cert", .type = FIELD_STRING, .offset = offsetof(struct script_fields, certificate)},
    {.name = "key", .type = FIELD_STRING, .offset = offsetof(struct script_fields, key)},
    {0},
};

static const struct field script_fields[] = {
    {.name = "status", .type = FIELD_INT, .offset = offsetof(struct script_fields, status), .min = 200, .max = 599},
    {.name = "headers", .type = FIELD_ANY, .read = read_script_headers},
    {.name = "body", .type = FIELD_STRING, .offset = offsetof(struct script_fields, body)},
    {.name = "trailers", .type = FIELD_ANY, .read = read_script_trailers},
    {.name = "certificate", .type = FIELD_TABLE, .table = script_certificate_fields},
    {.name = "delay", .type = FIELD_DURATION, .offset = offsetof(struct script_fields, delay_ns)},
    {.name = "reset", .type = FIELD_BOOL, .offset = offsetof(struct script_fields, reset)},
    {0},
};

int script_cases_read(struct reader *r, yyjson_val *value, struct script_cases *ret_scripts)
{
    size_t i, max, length = strlen(r->path);
    yyjson_val *key, *item;

    if (!yyjson_is_obj(value) || yyjson_obj_size(value) > SCRIPTS_MAX)
        return reader_fail(r, value, "servers", "must have answers by BACKEND or BACKEND/SERVER");
    yyjson_obj_foreach(value, i, max, key, item)
    {
        struct script_fields f = {0};
        snprintf(r->path + length, sizeof(r->path) - length, "servers.%.64s.", yyjson_get_str(key));
        int result = yyjson_is_obj(item)
                         ? reader_object(r, item, script_fields, &f)
                         : reader_fail(r, item, "",
                                       "must have status, headers, body, trailers, certificate, delay or reset");
        vec_push(&ret_scripts->items, ((struct stand_in_script){.where = xstrdup(yyjson_get_str(key)),
                                                                .status = (unsigned)f.status,
                                                                .headers = (const char *const *)f.headers.items,
                                                                .body = f.body,
                                                                .trailers = (const char *const *)f.trailers.items,
                                                                .certificate = f.certificate,
                                                                .key = f.key,
                                                                .delay_ns = f.delay_ns,
                                                                .reset = f.reset}));
        if (result == 0 && (f.certificate == NULL) != (f.key == NULL))
            result = reader_fail(r, item, "certificate", "needs cert and key");
        r->path[length] = '\0';
        if (result < 0)
            return -1;
    }
    return 0;
}

/* ---- life ---- */

static void headers_done(struct expected_headers *h)
{
    for (size_t i = 0; i < h->items.length; i++) {
        free(h->items.items[i].name);
        free(h->items.items[i].value.text);
    }
    vec_done(&h->items);
}

void request_case_done(struct request_case *c)
{
    char *const texts[] = {c->description,
                           c->host,
                           c->path,
                           c->method,
                           c->body,
                           c->sni,
                           c->source,
                           c->proxy_source,
                           c->certificate,
                           c->key,
                           c->http,
                           c->expect.body.text,
                           c->expect.redirect.text,
                           c->expect.received_body.text,
                           c->expect.received_path.text,
                           c->expect.backend,
                           c->expect.server,
                           c->expect.object,
                           c->expect.certificate,
                           c->expect.received_method,
                           c->expect.received_source,
                           c->expect.received_sni,
                           c->expect.received_certificate,
                           c->expect.received_http};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < c->headers.length; i++)
        free(c->headers.items[i]);
    vec_done(&c->headers);
    headers_done(&c->expect.headers);
    headers_done(&c->expect.trailers);
    headers_done(&c->expect.received_headers);
    for (size_t i = 0; i < c->expect.shares.length; i++)
        free(c->expect.shares.items[i].name);
    vec_done(&c->expect.shares);
}

void request_cases_done(struct request_cases *c)
{
    for (size_t i = 0; i < c->items.length; i++)
        request_case_done(&c->items.items[i]);
    vec_done(&c->items);
}

static void lines_done(const char *const *lines)
{
    for (size_t i = 0; lines != NULL && lines[i] != NULL; i++)
        free((char *)(uintptr_t)lines[i]);
    free((void *)(uintptr_t)lines);
}

void script_cases_done(struct script_cases *s)
{
    for (size_t i = 0; i < s->items.length; i++) {
        struct stand_in_script *script = &s->items.items[i];
        lines_done(script->headers);
        lines_done(script->trailers);
        free((char *)(uintptr_t)script->certificate);
        free((char *)(uintptr_t)script->key);
        free((char *)(uintptr_t)script->where);
        free((char *)(uintptr_t)script->body);
    }
    vec_done(&s->items);
}
