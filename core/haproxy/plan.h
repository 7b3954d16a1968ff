/* plan.h — from what is live to what is wanted: runtime commands in a safe order, or "reload, because …".
 * Thread:  any; pure functions of their arguments.
 * Owns:    a plan owns its commands.
 * Source:  HAProxy management guide, 9.3 (add server, del server, set server, set map, add backend, publish backend).
 *
 * Order: what is referred to appears before, and goes after, what refers to it, so that no request meets a backend
 * that is not there:
 *
 *   PLAN_CERTIFY certificates, then lines of crt-lists that are added
 *   PLAN_APPEAR  backends, servers, changes of servers; servers that go where another one serves all the while
 *   PLAN_ROUTE   map entries added and changed
 *   PLAN_UNROUTE map entries removed, lines of crt-lists removed
 *   PLAN_VANISH  the other servers removed, backends and certificates removed
 *
 * A stage is to be run only when every operation of the one before went well.
 */
#ifndef HAPTIC_HAPROXY_PLAN_H
#define HAPTIC_HAPROXY_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"
#include "haproxy/cfg.h"
#include "haproxy/ssl_file.h"
#include "haproxy/version.h"

enum plan_stage { PLAN_CERTIFY, PLAN_APPEAR, PLAN_ROUTE, PLAN_UNROUTE, PLAN_VANISH, PLAN_STAGES };

enum plan_op_type {
    PLAN_BACKEND_ADD,
    PLAN_BACKEND_PUBLISH,
    PLAN_BACKEND_UNPUBLISH,
    PLAN_BACKEND_DEL,
    PLAN_SERVER_ADD,
    PLAN_SERVER_STATE,
    PLAN_SERVER_CHECK, /* enable health, enable agent */
    PLAN_SERVER_ADDRESS,
    PLAN_SERVER_WEIGHT,
    PLAN_SERVER_REPLACE, /* del server of one that is added again with other words: must succeed at once */
    PLAN_SERVER_DEL,
    PLAN_SERVER_SHUTDOWN,
    PLAN_MAP_ADD,
    PLAN_MAP_SET,
    PLAN_MAP_DEL,
    PLAN_CERTIFICATE_ABORT,
    PLAN_CERTIFICATE_NEW,
    PLAN_CERTIFICATE_SET,
    PLAN_CERTIFICATE_ADD, /* more authorities, to a transaction */
    PLAN_CERTIFICATE_COMMIT,
    PLAN_CERTIFICATE_DEL,
    PLAN_LIST_ADD,
    PLAN_LIST_DEL,
};
#define PLAN_OP_TYPES (PLAN_LIST_DEL + 1)
/* "backend_add", …: a label value. */
const char *plan_op_name(enum plan_op_type type);

struct plan_op {
    enum plan_op_type type;
    char *command;
};

struct plan {
    VEC(struct plan_op) ops[PLAN_STAGES];
    char *reload;             /* NULL: the operations do it; else why they do not */
    const char *reload_class; /* short form of it, from a fixed set: a label value */
    unsigned reloads;         /* how many reasons there were */
};
void plan_done(struct plan *p);
size_t plan_count(const struct plan *p);
/* Its first command, or the reason to reload: for a log line. "" when it is empty. */
const char *plan_first(const struct plan *p);

/* Only a reload can do it. The first reason stays. */
void plan_reload(struct plan *p, const char *reload_class, const char *format, ...) PRINTF_LIKE(3, 4);

/* Bring one backend from live to wanted. wanted NULL: it is to go; live NULL: it is to be made. default_words: of the
 * default-server lines of the defaults sections it is derived from. listen: it is a "listen" section. The live view is
 * the caller's to change once the operations have succeeded; a server with connections is then leaving. */
void plan_backend(struct plan *p, const struct haproxy_caps *caps, const char *name, bool listen,
                  const struct cfg_backend *wanted, const struct cfg_backend *live, const struct buf *default_words);

/* One key of a map, by the name HAProxy knows the map by ("maps/host.map"). NULL: absent. */
void plan_map_entry(struct plan *p, const char *map, const char *key, const char *wanted, const char *live);
/* One of several entries with the same key, by its reference ("0x7f…") from `show map`. */
void plan_map_duplicate(struct plan *p, const char *map, const char *reference);

/* Delete a leaving server; shut its connections down first when its time is over. */
void plan_server_leave(struct plan *p, const char *backend, const char *server, bool shutdown);

/* Delete an unpublished backend without servers. */
void plan_backend_leave(struct plan *p, const char *backend);
/* Publish a backend that was on its way out and is wanted again. */
void plan_publish(struct plan *p, const char *backend);

enum plan_verdict {
    PLAN_OK,
    PLAN_LATER,   /* a server or backend that still has connections */
    PLAN_SURPRISE /* anything else */
};

/* An operation's command. One that is longer than HAProxy takes is a reason to reload; nothing is added to a plan that
 * has one. */
void plan_add(struct plan *p, enum plan_stage stage, enum plan_op_type type, const char *format, ...) PRINTF_LIKE(4, 5);

/* plan_certificate.c: a file for TLS, of each kind. path: "certs/a.pem"; pem: its blocks, without empty lines.
 * is_there: HAProxy has loaded it. */
void plan_certificate(struct plan *p, const struct haproxy_caps *caps, enum ssl_file_kind kind, const char *path,
                      const char *pem, bool is_there);
void plan_certificate_remove(struct plan *p, enum ssl_file_kind kind, const char *path);
/* End a transaction that was left open. */
void plan_certificate_abort(struct plan *p, enum ssl_file_kind kind, const char *path);
/* A line of a crt-list, with its end. */
void plan_list_add(struct plan *p, const char *list, const char *line, size_t length);
void plan_list_remove(struct plan *p, const char *list, const char *certificate, unsigned number);

/* plan_judge.c: the answer to an operation's command. */
enum plan_verdict plan_judge(enum plan_op_type type, const char *answer);

/* Does a running server look as wanted? What its agent check may change does not count. */
bool plan_server_matches(const struct cfg_server *wanted, const struct cfg_server *live);

/* Append word as one word of a command: blanks, ";" and "\" escaped. False when it cannot be one (control characters,
 * empty). */
bool plan_word(struct buf *out, const char *word);

#endif
