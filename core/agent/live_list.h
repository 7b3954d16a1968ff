/* live_list.h — the lines of a crt-list as the running HAProxy has them, found by name.
 * Thread:  loop thread only.
 * Owns:    its lines.
 *
 * HAProxy numbers the lines of a list by a counter: those of the file first, then each line that is added. It tells a
 * number only in an answer that has all lines. So the number of a line that is added is predicted when the counter is
 * known (is_counted): since the start of HAProxy with a known file, or since an added line was read back. The number is
 * proved later.
 */
#ifndef HAPTIC_AGENT_LIVE_LIST_H
#define HAPTIC_AGENT_LIVE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "base/vec.h"
#include "haproxy/crt_list.h"

struct live_line {
    struct crt_list_line line;
    uint64_t seen; /* hash of what HAProxy has told of it; 0: nothing yet */
    bool goes;     /* while a plan is made */
};

/* The lines that have a name, one after another. */
struct live_link {
    struct live_line *line;
    struct live_link *next;
};

struct live_list {
    char *path;                    /* "certs/https.list" */
    VEC(struct live_line *) lines; /* by number */
    struct map names;              /* name → struct live_link; CRT_LIST_NOBODY included */
    struct map shapes;             /* certificate, newline, options → how many lines there are, as size_t */
    bool used;                     /* HAProxy has loaded it */
    unsigned count;                /* HAProxy's counter, when is_counted; else the lines of the file that was read */
    bool is_counted;               /* the counter is known */
    int64_t unproved_ns;           /* since when it has changes that were not seen in HAProxy; 0: it has none */
};

struct live_list *live_list_new(const char *path);
void live_list_free(struct live_list *list); /* NULL is fine */

/* All lines anew: of a file, or (numbered) of `show ssl crt-list -n`. */
void live_list_read(struct live_list *list, const char *text, size_t length, bool numbered);
/* HAProxy is started with the file that was read last, so its counter begins after the last line of that file.
 * Source: HAProxy, src/ssl_crtlist.c: crtlist_parse_file() sets linecount, and a line that is added gets
 * ++linecount. */
void live_list_starts(struct live_list *list);
/* A line that HAProxy has added with the next number. Takes what line has. */
void live_list_add(struct live_list *list, struct crt_list_line *line);
/* HAProxy has removed the line of this number. */
void live_list_remove(struct live_list *list, unsigned number);
/* Does HAProxy tell exactly what is known? Compares whole lines; only those that are new are read. -1: no, and which
 * one it is. */
int live_list_prove(struct live_list *list, const char *text, size_t length, struct err *err) MUST_CHECK;

/* HAProxy was asked whatever may have happened: as live_list_prove(), and what differs is read anew. */
void live_list_merge(struct live_list *list, const char *text, size_t length);

/* The lines of a name, or NULL. */
struct live_link *live_list_named(const struct live_list *list, const char *name);
/* Is there a line of this certificate with these options (as crt_list_options() writes them), for whatever names? */
bool live_list_has(const struct live_list *list, const char *certificate, size_t length, const char *options);

#endif
