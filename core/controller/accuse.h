/* accuse.h — whom do HAProxy's complaints about a checked configuration mean?
 * Thread:  loop thread only.
 * Owns:    copies of what was checked; accusations own their texts.
 *
 * A complaint names a line of haproxy.cfg, a file with or without a line, a section, or nothing. What was checked is
 * kept in words, since the model goes on while the check runs: a fragment is accused only when it still says what was
 * complained about.
 */
#ifndef HAPTIC_CONTROLLER_ACCUSE_H
#define HAPTIC_CONTROLLER_ACCUSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"
#include "haproxy/check.h"
#include "haproxy/disk.h"
#include "haproxy/model.h"

struct evidence_map {
    char *name, *text;
    VEC(const char *) starts; /* of its lines; made for the first complaint about one */
};

/* What a check was given. */
struct evidence {
    struct model_lines lines;
    struct evidence_map config;
    VEC(struct evidence_map) maps;
};

/* Write all files of the check that has begun (MODEL_CHECKING), and note what matters of them. e is zeroed or done. */
void evidence_collect(struct evidence *e, const struct model *m, struct disk_files *files);
void evidence_done(struct evidence *e);

struct accusation {
    char *fragment_id;
    enum contribution_kind kind; /* the contribution that is complained about */
    char *scope, *key;
    unsigned line; /* of its text, 0-based */
    char *message;
};
struct accusations {
    VEC(struct accusation) items; /* at most one of each fragment */
    bool superseded;              /* a complaint was about something that has changed since: ask again */
    size_t lines;                 /* that were looked for in a text: the work, at most one a fragment */
    size_t steps;                 /* through lines, maps, pending items and pieces to find what complaints mean */
};
/* Before model_check_end(). */
void accuse(struct evidence *e, const struct model *m, const struct check_message *messages, size_t count,
            struct accusations *ret_accusations);
void accusations_done(struct accusations *a);

#endif
