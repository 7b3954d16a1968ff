/* crt_list.h — lists of certificates: the lines of HAProxy's language, and the table that they are made of.
 * Thread:  any; pure functions of their arguments.
 * Owns:    a list owns its lines.
 * Source:  HAProxy configuration manual, 5.1 (crt-list); management guide, 9.3 (show ssl crt-list).
 *
 * For templates, a list is a table: a name that clients ask for has certificates and options ("certs/a.pem certs/b.pem
 * [alpn h2]"). HAProxy wants lines of one certificate with its names, each of which costs it memory: names that have
 * the same become one line.
 */
#ifndef HAPTIC_HAPROXY_CRT_LIST_H
#define HAPTIC_HAPROXY_CRT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/vec.h"

/* What one line has at most, so that it can be the payload of a command, too. */
#define CRT_LIST_NAMES_MAX 100
/* Stands where a name would: no client can ask for it. A line without names would have those of its certificate. */
#define CRT_LIST_NOBODY "!*"

/* Append the lines of names that have the same text, which is "CERTIFICATE… [OPTIONS]". One name "" stands for
 * everybody that no other line is for; it has to come first in its list. */
void crt_list_write(struct buf *out, const char *text, const char *const *names, size_t count);

/* A name with its text, and where it stands. */
struct crt_list_name {
    const char *name, *text;
    int32_t order;
};
/* Append the lines of all of them, by order, then text, then name. The array is sorted. */
void crt_list_write_all(struct buf *out, struct crt_list_name *names, size_t count);

struct crt_list_line {
    char *certificate; /* "certs/a.pem" */
    char *options;     /* "alpn h2", words sorted, single blanks; "" none */
    VEC(char *) names; /* CRT_LIST_NOBODY included */
    unsigned number;   /* of HAProxy; in a file, the line's number */
};
struct crt_list {
    VEC(struct crt_list_line) lines;
};
/* Options as they are in a line: HAProxy tells them in an order of its own. malloc'ed. */
char *crt_list_options(const char *options, size_t length);
void crt_list_done(struct crt_list *list);
void crt_list_line_done(struct crt_list_line *line);
/* The lines of a file, or of `show ssl crt-list -n NAME`: those have ":NUMBER" behind the certificate. Appends. */
void crt_list_parse(struct crt_list *list, const char *text, size_t length, bool numbered);

#endif
