/* cfg.h — what of haproxy.cfg has to be understood: words, server lines, the borders of sections.
 * Thread:  any.
 * Owns:    a server is one allocation; a backend owns its servers.
 * Errors:  0, or -1 with *err set (ERR_INVALID); ret_* written only on success.
 * Source:  HAProxy configuration manual, 2.2 (quoting and escaping), 5.2 (server).
 */
#ifndef HAPTIC_HAPROXY_CFG_H
#define HAPTIC_HAPROXY_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/vec.h"

/* Split one line into its words, each followed by a NUL, appended to out; a comment ends the line. *ret_plain is false
 * when a word depends on the environment ("$NAME" within double quotes). ERR_INVALID: a quote is not closed, or an
 * escape or NUL cannot be understood. */
int cfg_words(const char *line, size_t length, struct buf *out, size_t *ret_count, bool *ret_plain, struct err *err)
    MUST_CHECK;

/* State that an administrator (or the configuration's "disabled") gives a server. */
enum cfg_admin { CFG_READY, CFG_DRAIN, CFG_MAINT };

struct cfg_server {
    const char *name;
    const char *address; /* of an IP literal the canonical form, without brackets; else as written, without the port */
    const char *words;   /* what follows the address but for weight and disabled: each word with its NUL */
    size_t words_length;
    int32_t port;   /* 0: none */
    int32_t weight; /* 1 when the line has none */
    enum cfg_admin admin;
    bool literal;        /* the address is an IPv4 or IPv6 literal */
    bool plain;          /* no word depends on the environment; the port is a plain number */
    bool words_known;    /* false: found in the running HAProxy, made by whom is unknown */
    bool checked;        /* words have "check" */
    bool agent_checked;  /* words have "agent-check": weight and state are the agent's to change */
    bool seen;           /* live only: while answers are merged */
    bool leaving;        /* live only: in maintenance, to be deleted as soon as it has no connections */
    int64_t leave_by_ns; /* live only: its connections are shut down then */
};

/* Parse "server NAME ADDRESS[:PORT] words…". */
int cfg_server_parse(const char *line, size_t length, struct cfg_server **ret_server, struct err *err) MUST_CHECK;
/* A server of these properties with unknown words, as found in a running HAProxy. */
struct cfg_server *cfg_server_new(const char *name, const char *address, int32_t port);
/* The same words and state with another address (as cfg_server_new() takes it). */
struct cfg_server *cfg_server_copy(const struct cfg_server *s, const char *address, int32_t port);
struct cfg_server *cfg_server_free(struct cfg_server *s); /* NULL is fine */
bool cfg_server_same_words(const struct cfg_server *a, const struct cfg_server *b);
/* The words without what differs from server to server in any case (the value of cookie): a line of a shape that
 * HAProxy has accepted, with another name, literal address, port and weight, is accepted too. */
struct digest cfg_server_shape(const struct cfg_server *s, const char *profile);

/* Text of a section that may have servers. */
struct cfg_backend {
    char *from;                       /* "" when derived from nothing */
    struct digest other;              /* of all that is not a server */
    VEC(struct cfg_server *) servers; /* sorted by name */
    struct buf default_words;         /* words of its own default-server lines */
    bool
        /* it has something that forbids to change servers one by one (server-template, two servers of one name, a line
         * not understood) */
        by_hand;
};
/* Parse a section's text (lines without header; indentation, comments and empty lines do not count). The backend must
 * be zeroed. */
void cfg_backend_parse(const char *text, size_t length, const char *from, struct cfg_backend *ret_backend);
void cfg_backend_done(struct cfg_backend *b);
struct cfg_server *cfg_backend_server(const struct cfg_backend *b, const char *name); /* NULL when unknown */
/* Insert at its place, or take out (the caller's then). */
void cfg_backend_insert(struct cfg_backend *b, struct cfg_server *s);
struct cfg_server *cfg_backend_remove(struct cfg_backend *b, const char *name);

/* Digest of a text as HAProxy understands it: lines without indentation, comments and empty lines. */
struct digest cfg_text_digest(const char *text, size_t length);

/* Split a file that model_write_config() wrote: a line that is not indented begins a section. name: "backend x"; from:
 * "" or a name; text: the indented lines as they are. Strings are valid during the call. */
void cfg_split(const char *text, size_t length,
               void (*fn)(void *ctx, const char *name, const char *from, const char *text, size_t length), void *ctx);

#endif
