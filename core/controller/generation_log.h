/* generation_log.h — the last generations and messages, for people who look afterwards.
 * Thread:  loop thread only.
 * Owns:    its entries; as many as GENERATION_LOG_GENERATIONS and GENERATION_LOG_EVENTS.
 * Units:   *_ns nanoseconds of duration; *_us Unix microseconds.
 *
 * A generation is a state that was accepted. What HAProxy refuses is an entry, too: with the number of the generation
 * that stays in force. The trigger of a state is the first change that its rendering had and the one before had not.
 */
#ifndef HAPTIC_CONTROLLER_GENERATION_LOG_H
#define HAPTIC_CONTROLLER_GENERATION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define GENERATION_LOG_GENERATIONS 50
#define GENERATION_LOG_EVENTS 100
#define GENERATION_LOG_TEXT 300

enum generation_verdict { GENERATION_LOG_ACCEPTED, GENERATION_LOG_REFUSED };
enum generation_deployment {
    GENERATION_LOG_OPEN,   /* not tried, or it was part of a later one */
    GENERATION_LOG_LIVE,   /* HAProxy, or every member that can be reached, has it */
    GENERATION_LOG_FAILED, /* and is tried again */
};

struct generation_entry {
    uint64_t generation;
    int64_t time_us;
    char trigger[GENERATION_LOG_TEXT];
    uint64_t changes;       /* of objects, with the trigger */
    uint64_t fragments_run; /* for its rendering */
    uint64_t items;         /* that were accepted */
    int64_t render_ns, check_ns, deploy_ns;
    unsigned checks; /* runs of haproxy -c; 0: accepted by structure */
    enum generation_verdict verdict;
    char problem[GENERATION_LOG_TEXT];
    enum generation_deployment deployment;
    bool reloaded;
    unsigned operations;
};

struct generation_message {
    int64_t time_us;
    bool warning;
    char object[GENERATION_LOG_TEXT], reason[64], message[GENERATION_LOG_TEXT];
};

struct generation_log {
    struct generation_entry generations[GENERATION_LOG_GENERATIONS];
    uint64_t generation_count; /* ever */
    struct generation_message *events;
    uint64_t event_count;
    /* What is under way: changes that no rendering has been asked for, and those of the one that was. */
    char trigger[GENERATION_LOG_TEXT], asked[GENERATION_LOG_TEXT];
    uint64_t changes, asked_changes;
    uint64_t fragments_run;
    int64_t render_ns;
    uint64_t pending; /* items, when the rendering came */
};

void generation_log_init(struct generation_log *h);
void generation_log_done(struct generation_log *h);

/* Something is to be rendered for this reason: kind and id of an object, or a word and "". */
void generation_log_trigger(struct generation_log *h, const char *kind, const char *namespace, const char *name);
void generation_log_asked(struct generation_log *h); /* a rendering with all of that was asked for */
void generation_log_rendered(struct generation_log *h, uint64_t fragments_run, int64_t render_ns, uint64_t pending);
/* pending: items that are not accepted. checks 0: by structure. */
void generation_log_accepted(struct generation_log *h, uint64_t generation, uint64_t pending, unsigned checks,
                             int64_t check_ns);
void generation_log_refused(struct generation_log *h, uint64_t generation, unsigned checks, int64_t check_ns,
                            const char *problem);
/* Of what is accepted up to this generation and not live yet: the trigger of its first state; the changes, and the
 * times, of all. */
struct generation_sum {
    char trigger[GENERATION_LOG_TEXT];
    uint64_t changes;
    int64_t render_ns, check_ns;
};
void generation_log_sum(const struct generation_log *h, uint64_t generation, struct generation_sum *ret_sum);
void generation_log_live(struct generation_log *h, uint64_t generation, bool reloaded, unsigned operations,
                         int64_t deploy_ns);
void generation_log_failed(struct generation_log *h, uint64_t generation, const char *problem);
void generation_log_tell(struct generation_log *h, bool warning, const char *kind, const char *id, const char *reason,
                         const char *message);

/* JSON, the newest first. docs/operations/running.md has the shapes. */
void generation_log_write_generations(const struct generation_log *h, struct buf *out);
void generation_log_write_events(const struct generation_log *h, struct buf *out);

#endif
