/* stage_text.h — haproxy.cfg, moved to a place of its own: it listens at Unix sockets of a folder, its servers are
 * those of a test, and it writes nothing outside.
 * Thread:  any; a pure function of its arguments.
 * Owns:    the moved text and what was found in it.
 * Errors:  ERR_INVALID: a quote is not closed; ERR_LIMIT: too many listeners or servers.
 * Source:  HAProxy configuration manual, 2.2, 3.1, 4.2, 5.1, 5.2.
 *
 * Everything else stays word for word. What is changed:
 *
 *   bind           FOLDER/lN and the PROXY protocol, by which a test says who a client is. Options of TCP sockets go.
 *                  Where a server of the same file leads there, it listens at FOLDER/iN as well, as it was.
 *   server         the address becomes 127.64.0.0 + number, at one port. What HAProxy checks elsewhere goes. TLS and
 *                  HTTP/2 stay; a server whose certificate is not the test's own is not verified.
 *   stats socket   FOLDER/aN
 *   log            standard error, for anything but stdout, stderr, global and rings
 *   global         what would change the process goes: daemon, user, group, chroot, pidfile, unix-bind, …
 *   frontend, listen  one line more: an answer says in HAPTIC_STAGE_HEADER which proxy it is from
 */
#ifndef HAPTIC_OFFLINE_STAGE_TEXT_H
#define HAPTIC_OFFLINE_STAGE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* "FRONTEND/BACKEND/SERVER/LINE", the line of the moved text, where HAProxy knows it. */
#define STAGE_HEADER "haptic-test-route"
/* The first server's address: number 0. */
#define STAGE_SERVER_BASE UINT32_C(0x7f400000)

struct stage_listener {
    char *proxy;   /* "frontend http" */
    char *address; /* as it was written */
    char *socket;  /* path */
    int port;      /* 0: none */
    bool tls;
    bool own_proxy_protocol; /* it expects the PROXY protocol in production, too */
    bool internal;           /* a server of the same file leads there */
    size_t line;
};

struct stage_server {
    char *proxy, *name; /* "backend shop_web_80", "web-0" */
    bool sends_proxy;
    size_t line;
};

struct stage_text {
    struct buf text;
    VEC(size_t) lines; /* of the moved text → of the original, both from 1; index: line - 1 */
    VEC(struct stage_listener) listeners;
    VEC(struct stage_server) servers; /* index: number */
    bool needs_h2;                    /* a server may be spoken to with HTTP/2 */
};

struct stage_place {
    const char *folder; /* absolute */
    uint16_t port;      /* where the servers of the test listen */
    /* Does this server ("backend web", "web-0") show a certificate of the test's own? NULL: none does. */
    bool (*shows_own)(void *ctx, const char *proxy, const char *server);
    void *ctx;
};

/* Rewrites a configuration for a test: it listens at sockets in place->folder, and its servers are those of the test.
 * The caller frees *ret_text by stage_text_done(), also after an error. Errors name the line that cannot be
 * rewritten. */
int stage_text_make(const char *config, const struct stage_place *place, struct stage_text *ret_text, struct err *err)
    MUST_CHECK;
void stage_text_done(struct stage_text *t);

#endif
