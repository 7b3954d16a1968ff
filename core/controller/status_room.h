/* status_room.h — which fragments wish what for the status of which objects.
 * Thread:  loop thread only.
 * Owns:    its entries, and references to the fragments that wish.
 *
 * A wish is a contribution of the room's kind: for the status of an object, or for the object as a whole. An entry is
 * an object that somebody has a wish for. The wishes' texts are the fragments' own. An entry without a wish goes: what
 * was written stays there.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_ROOM_H
#define HAPTIC_CONTROLLER_STATUS_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"
#include "engine/contribution.h"

/* What the writer is doing about an entry.
 *
 *        ┌────────────── the wish, or the object, is another one ──────────────┐
 *        ▼                                                                     │
 *   STATUS_WAITS ──live──► STATUS_QUEUED ──level─────────────────────────► STATUS_LEVEL
 *                            │  ▲    └─differs─► STATUS_WRITING ──written──────┘
 *                            │  │                  │  ▲    └─failed─► STATUS_RESTS ──its time──► STATUS_QUEUED
 *                            │  └─one pause of all─┘  │
 *                            │                   STATUS_READING (after a conflict) */
enum status_state {
    STATUS_LEVEL,   /* nothing to do, or this replica does not lead */
    STATUS_WAITS,   /* for what the fragments give to be live */
    STATUS_QUEUED,  /* to be compared */
    STATUS_WRITING, /* a PATCH is under way */
    STATUS_READING, /* a GET is */
    STATUS_RESTS,   /* until due_ns, after a failure or because somebody else changed it back */
};

struct status_wish {
    struct fragment *fragment; /* referenced */
    const struct contribution *contribution;
};

struct status_entry {
    const char *kind; /* name in watchedResources */
    const char *id;   /* "namespace/name" */
    struct status_wish *wishes;
    uint32_t count, slot; /* slot: place in the list of its state */
    enum status_state state;
    bool again;          /* something changed while a request was under way */
    bool anew;           /* other wishes than at the last write */
    uint8_t conflicts;   /* in a row */
    uint16_t failures;   /* in a row, or changes back by somebody else */
    uint64_t after;      /* the rendering that knows the newest version of the object */
    uint64_t generation; /* that has to be live; 0: not known yet */
    uint64_t wrote;      /* hash of what was written last; 0: nothing yet */
    uint64_t told;       /* hash of what its owner was told last; 0: nothing */
    uint64_t outvoted;   /* hash of who was told last that another wish counts; 0: nobody */
    int64_t wrote_ns, due_ns;
    struct kube_request *request;
    void *call;  /* the writer's, of the request */
    char name[]; /* kind, NUL, id, NUL */
};

struct status_room {
    enum contribution_kind kind; /* of the contributions that are wishes */
    struct map entries;          /* name up to its last NUL → struct status_entry */
    size_t wishes;
    /* An entry is new or has other wishes; it is about to go. */
    void (*changed)(void *ctx, struct status_entry *entry);
    void (*gone)(void *ctx, struct status_entry *entry);
    void *ctx;
};

void status_room_init(struct status_room *room, enum contribution_kind kind,
                      void (*changed)(void *ctx, struct status_entry *entry),
                      void (*gone)(void *ctx, struct status_entry *entry), void *ctx);
void status_room_done(struct status_room *room);

/* A fragment's newest output takes the place of the one before. Either may be NULL. */
void status_room_put(struct status_room *room, struct fragment *before, struct fragment *now);
/* Forget the wishes of fragments that are not there any more. */
void status_room_review(struct status_room *room, bool (*exists)(void *ctx, const char *fragment_id), void *ctx);
struct status_entry *status_room_find(const struct status_room *room, const char *kind, const char *id);

#endif
