/* server.h — a small HTTP server on the loop: health, metrics, debug.
 * Thread:  loop thread only; libmicrohttpd runs in its external mode, so handlers are called on the loop.
 * Owns:    the listening socket, its connections, the routes.
 * Errors:  ERR_INVALID for an address that is none, ERR_SYS with the address when it cannot be bound.
 *
 * Read-only: GET and HEAD. A connection is dropped after 15 s without progress; there are at most 256, and of one
 * address at most 64. Beyond that the quietest has to leave (crowd.h), so that the kubelet gets through when somebody
 * else holds connections open, from one address or many.
 */
#ifndef HAPTIC_HTTP_SERVER_H
#define HAPTIC_HTTP_SERVER_H

#include <stdint.h>
#include <uv.h>

#include "base/buf.h"

struct http_server;
struct http_later;

struct http_answer {
    unsigned status;          /* 200 when the handler is called */
    const char *content_type; /* text/plain */
    struct buf body;
    const char *rest;         /* of a route whose path ends in "/": what the client's path has behind it; else "" */
    const char *policy;       /* Content-Security-Policy; NULL: none */
    struct http_later *later; /* not NULL: the answer is given by http_later_answer() */
    void *connection;         /* for http_argument() */
};
typedef void http_handler(void *ctx, struct http_answer *answer);

/* address: as listen.h has it; port 0: any (see http_server_port). */
int http_server_new(uv_loop_t *loop, const char *address, uint16_t port, struct http_server **ret_server,
                    struct err *err) MUST_CHECK;
/* path is compared in whole, unless it ends in "/": then it is a beginning. summary is for the index at "/". Both are
 * borrowed. */
void http_server_route(struct http_server *s, const char *path, const char *summary, http_handler *handler, void *ctx);
/* The value of an argument behind "?", decoded; NULL: it is not there. Valid during the handler's call. */
const char *http_argument(const struct http_answer *answer, const char *name);
/* For a handler that cannot answer at once: the rest of *answer is filled by one call of http_later_answer(), which may
 * come from inside the handler. body: taken, left empty. */
struct http_later *http_answer_later(struct http_answer *answer);
void http_later_answer(struct http_later *later, unsigned status, const char *content_type, struct buf *body);
/* Answer only requests whose Host is a loopback name or address (421 to others). */
void http_server_local(struct http_server *s);
uint16_t http_server_port(const struct http_server *s);
/* Close everything; NULL is fine. Run the loop once more before closing it. */
struct http_server *http_server_free(struct http_server *s);

#endif
