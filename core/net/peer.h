/* peer.h — requests to agents, over TLS 1.3 with a certificate on both sides.
 * Thread:  loop thread only; callbacks come from the loop, never from inside a call.
 * Owns:    connections, and a copy of the identity; a body is shared by reference and wiped with the last one; answers
 *          are wiped.
 * Units:   *_ns nanoseconds.
 * Errors:  IO (no connection, no answer, the wrong certificate), TIMEOUT, LIMIT (the answer is too large).
 *
 * An agent is known by one name in its certificate, whatever its address: the name is not looked up.
 */
#ifndef HAPTIC_NET_PEER_H
#define HAPTIC_NET_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"

#define PEER_HOST_SIZE 256

struct peers;
struct peer_request;

struct peer_address {
    char host[PEER_HOST_SIZE]; /* a name or an IP address, without brackets */
    uint16_t port;
};

struct peer_identity {
    const char *authority, *certificate, *key; /* PEM */
};

struct peer_body {
    unsigned refs;
    bool packed; /* bytes are gzip (packing.h) */
    struct buf bytes;
};
struct peer_body *peer_body_new(void); /* with one reference, empty */
struct peer_body *peer_body_ref(struct peer_body *b);
struct peer_body *peer_body_unref(struct peer_body *b); /* NULL is fine; always returns NULL */

/* "https://HOST:PORT". */
int peer_address_parse(const char *url, struct peer_address *ret_address, struct err *err) MUST_CHECK;

/* user_agent and agent_name are copied. */
struct peers *peers_new(uv_loop_t *loop, const char *user_agent, const char *agent_name);
struct peers *peers_free(struct peers *p); /* cancels every request; not from inside a callback */
/* For connections that are made from now on. Copied. Refused: the one before stays in force. */
int peers_set_identity(struct peers *p, const struct peer_identity *identity, struct err *err) MUST_CHECK;
bool peers_have_identity(const struct peers *p);
void peers_keep(struct peers *p, size_t members); /* so many connections stay open */

struct peer_answer {
    long status;      /* HTTP; 0: none */
    const char *body; /* NUL at its end; valid during the callback */
    size_t length;
    size_t sent; /* bytes of the body */
};
struct peer_call {
    const struct peer_address *address; /* copied */
    const char *path;                   /* "/v1/state"; copied */
    struct peer_body *body;             /* NULL: GET; a reference is taken */
    const char *header;                 /* of a request with a body: "Name: value"; copied; NULL: none */
    int64_t timeout_ns;
    size_t max_answer; /* bytes; 0: 1 MiB */
    void (*done)(void *ctx, const struct peer_answer *answer, const struct err *err);
    void *ctx;
};
/* The request is gone when done is called. */
struct peer_request *peers_start(struct peers *p, const struct peer_call *call);
/* done is not called. NULL is fine; always returns NULL. */
struct peer_request *peer_cancel(struct peer_request *r);

#endif
