/* stand_in.h — the applications behind HAProxy in a test: one small HTTP server that stands in for all of them.
 * Thread:  calls from one thread; connections are served by threads of libmicrohttpd.
 * Owns:    its socket and threads, scripts, records.
 * Errors:  ERR_SYS.
 * Source:  libmicrohttpd; PROXY protocol, versions 1 and 2.
 *
 * It listens on the loopback interface at every address of 127.0.0.0/8, so that the address at which a connection
 * arrives says which server it is meant for. Where nothing else is scripted, it answers 200 with "BACKEND/SERVER METHOD
 * TARGET". Where a connection begins with a hello of TLS it speaks TLS, and HTTP/2 where that is offered, or spoken
 * without TLS. A call of gRPC is answered with such a message and the trailer grpc-status: 0.
 */
#ifndef HAPTIC_OFFLINE_STAND_IN_H
#define HAPTIC_OFFLINE_STAND_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* Which connection of HAProxy a request came by, in a request that was taken apart. */
#define STAND_IN_PEER_HEADER "haptic-test-peer"

struct stand_in;

/* Which server it is at 127.64.0.0 + index. */
struct stand_in_server {
    const char *backend, *name;
    bool sends_proxy; /* a connection begins with the PROXY protocol */
};

struct stand_in_script {
    const char *where;           /* "BACKEND" or "BACKEND/SERVER" */
    unsigned status;             /* 0: 200 */
    const char *const *headers;  /* "Name: value", ended by NULL; may be NULL */
    const char *body;            /* NULL: the usual one */
    const char *const *trailers; /* as headers, behind the body; may be NULL */
    /* PEM: what it shows where it is spoken to with TLS; NULL: one that nobody has signed */
    const char *certificate, *key;
    int64_t delay_ns;
    bool reset; /* close the connection instead of an answer */
};

/* A request that arrived. */
struct stand_in_record {
    size_t server; /* index */
    char *method, *target;
    VEC(char *) headers; /* "Name: value" */
    struct buf body;
    char source[64];     /* of the PROXY protocol; "" without */
    const char *version; /* of HTTP: "1.0", "1.1", "2" */
    bool tls;
    char sni[256];     /* "" none */
    char *certificate; /* PEM of the client's; NULL: it showed none */
};
struct stand_in_records {
    VEC(struct stand_in_record) items;
};

int stand_in_new(struct stand_in **ret_stand_in, struct err *err) MUST_CHECK;
struct stand_in *stand_in_free(struct stand_in *s); /* NULL is fine; waits for its threads */
uint16_t stand_in_port(const struct stand_in *s);
/* The port at which who takes HTTP/2 apart reaches the same servers, with STAND_IN_PEER_HEADER. */
uint16_t stand_in_gateway_port(const struct stand_in *s);
/* Before the first connection. The arrays and strings are borrowed for the stand-in's life. gateway: the socket of who
 * takes HTTP/2 apart; its connections begin with a line of the PROXY protocol whose source port is to come back in the
 * header. ERR_INVALID: a script's certificate cannot be used. */
int stand_in_cast(struct stand_in *s, const struct stand_in_server *servers, size_t count,
                  const struct stand_in_script *scripts, size_t script_count, const char *gateway, struct err *err)
    MUST_CHECK;
/* That of the server before that of its backend; NULL: neither has one. */
const struct stand_in_script *stand_in_script_of(const struct stand_in_script *scripts, size_t count,
                                                 const char *backend, const char *server);
/* Hand out what has arrived since the last call. */
void stand_in_take(struct stand_in *s, struct stand_in_records *ret_records);
void stand_in_record_done(struct stand_in_record *r);
void stand_in_records_done(struct stand_in_records *r);
const char *stand_in_header(const struct stand_in_record *r, const char *name); /* NULL: none */

#endif
