/* request_case.h — a request of a test and what is expected of its answer, read and checked.
 * Thread:  loop thread only.
 * Owns:    all texts.
 * Errors:  ERR_INVALID with file, line and path of the field; docs/offline.md describes the fields.
 */
#ifndef HAPTIC_OFFLINE_REQUEST_CASE_H
#define HAPTIC_OFFLINE_REQUEST_CASE_H

#include "controller/config_read.h"
#include "net/exchange.h"
#include "offline/stand_in.h"

#define REQUEST_TIMES_MAX 100000

/* A text that is to be equal, or to have a match; or that is not to be there. */
struct expected_text {
    bool is_given, is_pattern, is_absent;
    char *text;
};

struct expected_header {
    char *name;
    struct expected_text value;
};
struct expected_headers {
    VEC(struct expected_header) items;
};

struct expected_share {
    char *name; /* of a backend, of a server, or "BACKEND/SERVER" */
    double percent;
};

struct request_case {
    size_t line;
    char *description; /* NULL: none; likewise below */
    char *host, *path, *method, *body, *sni, *source, *proxy_source, *certificate, *key, *http;
    struct config_strings headers; /* "Name: value"; ended by NULL, which length does not count */
    enum exchange_version version;
    bool tls, grpc;
    int64_t port, times; /* 0: not given */
    struct {
        bool is_given, closed, reaches_nobody;
        int64_t status; /* 0: not given */
        struct expected_text body, redirect, received_body, received_path;
        struct expected_headers headers, trailers, received_headers;
        char *backend, *server, *object, *certificate, *received_method, *received_source;
        char *received_sni, *received_certificate, *received_http;
        enum { TLS_ANY, TLS_YES, TLS_NO } received_tls;
        VEC(struct expected_share) shares;
    } expect;
};
struct request_cases {
    VEC(struct request_case) items;
};
/* How servers answer. Strings are owned. */
struct script_cases {
    VEC(struct stand_in_script) items;
};

/* FIELD_ANY readers of "requests" and "servers". */
int request_cases_read(struct reader *r, yyjson_val *value, struct request_cases *ret_cases) MUST_CHECK;
int script_cases_read(struct reader *r, yyjson_val *value, struct script_cases *ret_scripts) MUST_CHECK;
/* One request without expectations is fine here: for a prompt. */
int request_case_read(struct reader *r, yyjson_val *value, struct request_case *ret_case) MUST_CHECK;
void request_case_done(struct request_case *c);
void request_cases_done(struct request_cases *c);
void script_cases_done(struct script_cases *s);

#endif
