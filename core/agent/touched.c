/* One row for each kind of thing that commands can change. Each kind has a file of its own. It plans what commands can
 * do (the touch_ functions), and has these four functions for the end of an apply.
 */
#include "agent/agent_state.h"

static const struct thing {
    /* Adds the commands that read back what was touched. */
    void (*add_reads)(struct touched *t, struct batch *b);
    /* True when HAProxy's answers show the wanted state. */
    int (*verify)(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                  struct err *err);
    /* Moves the touched state into the live view. */
    void (*commit)(struct agent *a, struct touched *t, const struct runtime_answer *answers);
    void (*done)(struct touched *t);
} things[] = {
    {backends_add_reads, backends_verify, backends_commit, backends_done},
    {certificates_add_reads, certificates_verify, certificates_commit, certificates_done},
    {lists_add_reads, lists_verify, lists_commit, lists_done},
    {entries_add_reads, entries_verify, entries_commit, entries_done},
};

void touched_add_reads(struct touched *t, struct batch *b)
{
    for (size_t i = 0; i < ARRAY_LEN(things); i++)
        things[i].add_reads(t, b);
}

int touched_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                   struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(things); i++)
        if (things[i].verify(a, t, answers, err) < 0)
            return -1;
    return 0;
}

void touched_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < ARRAY_LEN(things); i++)
        things[i].commit(a, t, answers);
}

void touched_done(struct touched *t)
{
    for (size_t i = 0; i < ARRAY_LEN(things); i++)
        things[i].done(t);
}
