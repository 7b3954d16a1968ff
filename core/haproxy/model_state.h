/* model_state.h — what a model consists of, for model.c (changes it) and model_write.c (reads it) only.
 * Thread:  loop thread only.
 */
#ifndef HAPTIC_HAPROXY_MODEL_STATE_H
#define HAPTIC_HAPROXY_MODEL_STATE_H

#include "haproxy/model.h"

/* What the model knows of one fragment id. */
struct record {
    struct fragment *newest; /* as put last */
    struct fragment *active; /* whose contributions are candidates: newest, or good while quarantined; NULL: none */
    struct fragment *good;   /* last version that counted as accepted; NULL: never */
    struct fragment
        *checking;           /* active when the check under way began; NULL when there is none or it was good already */
    char *reason;            /* of the quarantine; NULL: none */
    uint32_t pending;        /* pending items that this fragment wins */
    uint32_t unsettled_slot; /* in model.unsettled; UINT32_MAX when active is good */
    unsigned epoch;
};

/* Items of one kind and scope that are written together: a map, a file, a certificate, a crt-list. */
struct group {
    enum contribution_kind kind;
    VEC(struct item *) items;
    char name[]; /* kind, scope, NUL */
};

struct model {
    struct map records;  /* fragment id → struct record */
    struct map items;    /* item.name → struct item, keys borrowed */
    struct map sections; /* name → struct section, keys borrowed */
    struct map groups;   /* group.name → struct group, keys borrowed */
    VEC(struct item *) pending;
    VEC(struct item *) changed;
    VEC(struct item *) shared; /* with two candidates or more */
    VEC(struct item *) idle;   /* nothing is left of them: freed when nobody can hold a pointer any more */
    VEC(struct item *) checking;
    VEC(struct record *) unsettled; /* active is not good */
    struct digest rendered_digest, accepted_digest, checking_digest;
    size_t quarantined;
    bool check_running;
    unsigned epoch;
    struct buf scratch; /* for keys of look-ups */
};

static inline struct text *item_text(const struct item *item, enum model_state state)
{
    switch (state) {
    case MODEL_RENDERED:
        return item->rendered;
    case MODEL_ACCEPTED:
        return item->accepted;
    case MODEL_CHECKING:
        return item->in_check ? item->checking : item->accepted;
    }
    return NULL;
}

static inline int32_t item_rank(const struct item *item, enum model_state state)
{
    if (state == MODEL_RENDERED)
        return item->rank;
    return state == MODEL_CHECKING && item->in_check ? item->checking_rank : item->accepted_rank;
}

static inline int32_t item_order(const struct item *item, enum model_state state)
{
    if (state == MODEL_RENDERED)
        return item->order;
    return state == MODEL_CHECKING && item->in_check ? item->checking_order : item->accepted_order;
}

#endif
