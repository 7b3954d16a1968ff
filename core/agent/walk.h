/* walk.h — a comparison of everything that is wanted with everything that is live, for the files of core/agent only.
 * Thread:  loop thread only.
 * Owns:    the names of its stage.
 *
 * The model may accept changes during a walk. The walk passes them over, because the next apply brings them. So if
 * everything was believed to be live, each difference that a walk finds is drift: another program changed HAProxy.
 */
#ifndef HAPTIC_AGENT_WALK_H
#define HAPTIC_AGENT_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"

struct agent;

enum walk_stage {
    WALK_SECTIONS,     /* wanted or live */
    WALK_FILES,        /* wanted ones; at the end, those that are only live */
    WALK_ENTRIES,      /* wanted ones of the map at hand */
    WALK_LIVE_ENTRIES, /* and those that are only live; then the next map */
    WALK_ENDED
};

struct walk {
    struct agent *a;
    enum walk_stage stage;
    VEC(char *) names; /* of this stage */
    size_t next;       /* of names, or place in the table of live entries */
    size_t maps;       /* place in the table of live maps */
    struct live_map *map;
    const char *map_name;
    struct map seen; /* paths of files; keys of the map */
};

/* Differences go into the plan of the agent's apply. The walk must end before that apply does. */
void walk_begin(struct agent *a, struct walk *w);
/* budget_ns: when it returns, a little late. True: everything was compared. */
bool walk_step(struct walk *w, int64_t budget_ns);
void walk_done(struct walk *w); /* also before its end; again is fine */
/* After it has ended: counts and logs what was found, if that is drift. */
void walk_note_drift(struct agent *a);

#endif
