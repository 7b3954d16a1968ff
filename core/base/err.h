/* err.h — an error with a kind to branch on and a text to act on.
 * Thread:  any; the object lives on the caller's stack.
 * Errors:  err_set() and err_wrap() return -1 so that a failure is one statement: return err_set(err, ...).
 *
 * A message names the object and what to do about it. Callers branch on kind, never on text. err may be NULL where the
 * caller does not care.
 */
#ifndef HAPTIC_BASE_ERR_H
#define HAPTIC_BASE_ERR_H

#include "base/cleanup.h"

enum err_kind {
    ERR_NONE = 0,
    ERR_INVALID,  /* the input is wrong; trying again with the same input is useless */
    ERR_LIMIT,    /* the input is larger than a configured maximum */
    ERR_SYS,      /* a system call failed; sys holds errno */
    ERR_IO,       /* a peer hung up, timed out or answered nonsense; trying again may help */
    ERR_DENIED,   /* the peer refused: 401, 403 */
    ERR_NOTFOUND, /* the thing asked for does not exist: 404 */
    ERR_CONFLICT, /* somebody else changed it first: 409 */
    ERR_GONE,     /* the resourceVersion is too old: 410 */
    ERR_STALE,    /* fencing: a newer writer was seen */
    ERR_TIMEOUT,  /* a deadline passed */
    ERR_TEMPLATE, /* a template failed; the text names file, line and object */
    ERR_HAPROXY,  /* HAProxy refused a configuration or a command */
    ERR_INTERNAL, /* a rule of our own was broken */
};

struct err {
    enum err_kind kind;
    int sys;
    char text[1024];
};

/* Set the error; a text that does not fit is cut at a UTF-8 border. Always returns -1. */
int err_set(struct err *err, enum err_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same with errno's text appended and kept in sys. */
int err_set_sys(struct err *err, int sys, const char *format, ...) PRINTF_LIKE(3, 4);

/* Prefix an error that a callee has set: "prefix: text". Keeps kind and sys. Always returns -1. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* "invalid", "limit", ...: a label value for logs and metrics. */
const char *err_kind_name(enum err_kind kind);

#endif
