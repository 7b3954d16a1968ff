/* output.h — a file that another process appends its output to, followed and kept small.
 * Thread:  loop thread only.
 * Owns:    the descriptor, and a line not ended yet.
 * Errors:  ERR_SYS with the path.
 *
 * Unlike a pipe it neither blocks nor breaks when the follower is gone. The file occupies about a megabyte: space of
 * older output is given back, and reads as zeros.
 */
#ifndef HAPTIC_HAPROXY_OUTPUT_H
#define HAPTIC_HAPROXY_OUTPUT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct output {
    int fd;              /* -1: closed */
    int64_t read, start; /* offsets: followed so far; where the present process's output begins */
    int64_t dropped;     /* what had been followed when space was given back last */
    struct buf line;
};

/* What is in the file already is not followed. */
int output_open(struct output *o, const char *path, struct err *err) MUST_CHECK;
void output_done(struct output *o); /* also of one that could not be opened */
/* Hand over the lines that have come since the last time, without newline, cut at 4096 bytes. line may be NULL. */
void output_follow(struct output *o, void (*line)(void *ctx, const char *text), void *ctx);
/* From here on it is the output of a new process. */
void output_mark(struct output *o);
/* What the present process has written, the last 64 KiB of it; malloc'ed, never NULL. */
char *output_since_mark(const struct output *o);

#endif
