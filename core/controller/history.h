/* history.h — the last generations and messages, for people who look afterwards.
 * Thread:  loop thread only.
 * Owns:    its entries; as many as HISTORY_GENERATIONS and HISTORY_EVENTS.
 * Units:   *_ns nanoseconds of duration; *_us Unix microseconds.
 *
 * A generation is a state that was accepted. What HAProxy refuses is an entry, too: with the number of the generation
 * that stays in force. The trigger of a state is the first change that its rendering had and the one before had not.
 */
#ifndef HAPTIC_CONTROLLER_HISTORY_H
#define HAPTIC_CONTROLLER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define HISTORY_GENERATIONS 50
#define HISTORY_EVENTS 100
#define HISTORY_TEXT 300

enum history_verdict { HISTORY_ACCEPTED, HISTORY_REFUSED };
enum history_deployment {
    HISTORY_OPEN,   /* not tried, or it was part of a later one */
    HISTORY_LIVE,   /* HAProxy, or every member that can be reached, has it */
    HISTORY_FAILED, /* and is tried again */
};

struct history_generation {
    uint64_t generation;
    int64_t time_us;
    char trigger[HISTORY_TEXT];
    uint64_t changes;       /* of objects, with the trigger */
    uint64_t fragments_run; /* for its rendering */
    uint64_t items;         /* that were accepted */
    int64_t render_ns, check_ns, deploy_ns;
    unsigned checks; /* runs of haproxy -c; 0: accepted by structure */
    enum history_verdict verdict;
    char problem[HISTORY_TEXT];
    enum history_deployment deployment;
    bool reloaded;
    unsigned operations;
};

struct history_event {
    int64_t time_us;
    bool warning;
    char object[HISTORY_TEXT], reason[64], message[HISTORY_TEXT];
};

struct history {
    struct history_generation generations[HISTORY_GENERATIONS];
    uint64_t generation_count; /* ever */
    struct history_event *events;
    uint64_t event_count;
    /* What is under way: changes that no rendering has been asked for, and those of the one that was. */
    char trigger[HISTORY_TEXT], asked[HISTORY_TEXT];
    uint64_t changes, asked_changes;
    uint64_t fragments_run;
    int64_t render_ns;
    uint64_t pending; /* items, when the rendering came */
};

void history_init(struct history *h);
void history_done(struct history *h);

/* Something is to be rendered for this reason: kind and id of an object, or a word and "". */
void history_trigger(struct history *h, const char *kind, const char *namespace, const char *name);
void history_asked(struct history *h); /* a rendering with all of that was asked for */
void history_rendered(struct history *h, uint64_t fragments_run, int64_t render_ns, uint64_t pending);
/* pending: items that are not accepted. checks 0: by structure. */
void history_accepted(struct history *h, uint64_t generation, uint64_t pending, unsigned checks, int64_t check_ns);
void history_refused(struct history *h, uint64_t generation, unsigned checks, int64_t check_ns, const char *problem);
void history_live(struct history *h, uint64_t generation, bool reloaded, unsigned operations, int64_t deploy_ns);
void history_failed(struct history *h, uint64_t generation, const char *problem);
void history_event(struct history *h, bool warning, const char *kind, const char *id, const char *reason,
                   const char *message);

/* JSON, the newest first. docs/operations/running.md has the shapes. */
void history_write_generations(const struct history *h, struct buf *out);
void history_write_events(const struct history *h, struct buf *out);

#endif
