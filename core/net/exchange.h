/* exchange.h — one HTTP request to a Unix socket and its answer, as a client of a proxy would make it.
 * Thread:  any; blocks until the answer is there.
 * Owns:    an answer owns its texts.
 * Units:   *_ns nanoseconds.
 * Errors:  ERR_IO: no answer came (the connection was closed, the handshake failed); ERR_TIMEOUT; ERR_LIMIT: the answer
 *          is too large; ERR_INVALID: the request cannot be made.
 * Source:  libcurl; PROXY protocol, version 1.
 */
#ifndef HAPTIC_NET_EXCHANGE_H
#define HAPTIC_NET_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

enum exchange_version { EXCHANGE_HTTP_1_1, EXCHANGE_HTTP_1_0, EXCHANGE_HTTP_2 };

struct exchange_request {
    const char *socket;          /* path */
    const char *preamble;        /* sent before everything else, such as a PROXY line; NULL: none */
    const char *method, *target; /* the target is sent as it is */
    const char *host;            /* "" for a request without one */
    const char *const *headers;  /* "Name: value", ended by NULL; may be NULL */
    const char *body;            /* NULL: none */
    size_t body_length;          /* 0: up to its NUL */
    enum exchange_version version;
    bool tls;
    const char *sni;               /* "": none. Certificates are not verified */
    const char *certificate, *key; /* PEM, for the server; NULL: none */
    int64_t timeout_ns;
};

struct exchange_answer {
    long status;
    VEC(char *) headers;  /* "Name: value", in their order */
    VEC(char *) trailers; /* the same behind the body */
    struct buf body;
    char *certificate; /* PEM of the server's own; NULL: none */
};

/* Sends the request and waits for the whole answer. On success the caller frees *ret_answer by
 * exchange_answer_done(). */
int exchange(const struct exchange_request *request, struct exchange_answer *ret_answer, struct err *err) MUST_CHECK;
void exchange_answer_done(struct exchange_answer *a);
/* The value of the first header of that name; NULL: none. */
const char *exchange_header(const struct exchange_answer *a, const char *name);
const char *exchange_trailer(const struct exchange_answer *a, const char *name);

#endif
