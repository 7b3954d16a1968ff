/* check.h — ask HAProxy itself whether it would load a configuration: `haproxy -c` in a jail, beside the loop.
 * Thread:  loop thread; the files are written in libuv's thread pool.
 * Owns:    the temporary directory and the child, for the call.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  what HAProxy says about the configuration is not an error but the result: ok false and messages. err tells
 *          of the check itself: ERR_SYS (cannot run it), ERR_TIMEOUT (killed at the deadline), ERR_LIMIT (killed at a
 *          resource limit), ERR_HAPROXY (died or failed without a message).
 * Source:  HAProxy management guide, section 3 (-c); src/errors.c for the forms of messages.
 *
 * The child is confined (confine.h): it reads its own directory and the system's folders, changes nothing, reaches
 * nobody. Its environment is empty but for PATH, HAPTIC_DIR and what check_config says. When this process is root it
 * is a user of its own, which must be able to read what the configuration names outside of the directory. Host names
 * of servers are therefore not resolved while checking: configurations use `init-addr … none` or addresses.
 * Several checks may run at a time.
 *
 * Handles of Secrets in the files are replaced on the way to the temporary directory. One that cannot be is a complaint
 * like those of HAProxy, with file and line, and HAProxy is not asked. In what HAProxy says, values are replaced by
 * their handles.
 */
#ifndef HAPTIC_HAPROXY_CHECK_H
#define HAPTIC_HAPROXY_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/vec.h"
#include "haproxy/disk.h"
#include "store/vault.h"

enum check_severity { CHECK_NOTICE, CHECK_WARNING, CHECK_ALERT };

struct check_message {
    enum check_severity severity;
    unsigned line;       /* 1-based line of haproxy.cfg; 0: not told */
    const char *section; /* "backend", "frontend", "proxy", "defaults", …; NULL: not told. "proxy": any of them */
    const char *name;    /* of the section; NULL: not told */
    const char *server;  /* of the server; NULL: not told */
    const char *file;    /* another file it is about, relative to the directory ("maps/host.map"); NULL: not told */
    unsigned file_line;  /* line of that file; 0: not told */
    /* the message without prefix; one line, but with HAProxy's continuation lines joined by "; " */
    const char *text;
};

struct check_result {
    const struct err *err; /* the check could not be made; everything below is empty then, except output */
    bool ok;
    /* alerts, in HAProxy's order, those that only sum up left out unless they are the only ones */
    const struct check_message *messages;
    size_t count;
    /* only with check_config.tells_all: */
    const struct check_message *warnings; /* warnings and notices */
    size_t warning_count;
    const char *output; /* all HAProxy wrote, cut at the limit; else "" */
    int64_t duration_ns;
};
typedef void check_done(void *ctx, const struct check_result *result);

struct check_config {
    const char *binary;             /* haproxy executable */
    const char *temporary;          /* where directories are made; NULL: scratch_place() */
    const char *readable;           /* what else HAProxy may read there; see confine_spec */
    int64_t deadline_ns;            /* 0: 30 s */
    size_t memory_bytes;            /* RLIMIT_AS; 0: 4 GiB */
    size_t output_bytes;            /* 0: 1 MiB; HAProxy is killed past it */
    bool idle;                      /* only when nothing else wants a processor: it may end at the deadline */
    int niceness;                   /* by how much it gives way to others more than this process does */
    bool tells_all;                 /* the result also has what HAProxy wrote besides alerts */
    struct vault *vault;            /* whose handles the files have; NULL: none. Used until done is called */
    const char *const *environment; /* further "NAME=value", ended by NULL; NULL: none */
};

struct check;

/* Check the files, haproxy.cfg among them. files is taken over and left empty. done is called exactly once, never from
 * within this function. */
struct check *check_start(uv_loop_t *loop, const struct check_config *config, struct disk_files *files,
                          check_done *done, void *ctx);
/* The same for files that compose makes in the thread (with the values of Secrets, so there are no complaints about
 * handles). compose is called exactly once, also when the check is cancelled, and takes compose_ctx over. */
struct check *check_start_composed(uv_loop_t *loop, const struct check_config *config, disk_compose *compose,
                                   void *compose_ctx, check_done *done, void *ctx);
/* Abandon: kills the child; done is not called. The loop must run on until what it owned is released. */
void check_cancel(struct check *c);

/* The messages of an output of `haproxy -c` (or of a startup log, a reload's answer). directory: what paths are made
 * relative to; may be NULL. */
struct check_messages {
    VEC(struct check_message) alerts;
    VEC(struct check_message) warnings;
    char *strings; /* what the members point into */
};
void check_messages_parse(const char *output, const char *directory, struct check_messages *ret_messages);
void check_messages_done(struct check_messages *m);

#endif
