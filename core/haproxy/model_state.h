/* model_state.h — what a model consists of, for the model*.c files only; those that write or list it change nothing.
 * Thread:  loop thread only.
 *
 *   model.c         fragments come and go, quarantine, checks, life
 *   model_gone.c    what stays of a fragment that is gone
 *   model_keep.c    what a fragment keeps of its last good version
 *   model_direct.c  an accepted state that is put in directly
 *   model_accept.c  from rendered to accepted
 *   model_review.c  routes follow what protects them
 *   model_record.c  the versions of a fragment
 *   model_item.c    the candidates of an item, and what it has rendered
 *   model_guard.c   what protects a route, and what that allows
 *   model_index.c   what there is by name
 *
 * Each calls only those below it. model_kept.c lists versions that were kept.
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
    struct item *refused;    /* what it says of this one is refused of everybody; NULL: nothing */
    uint32_t pending;        /* pending items that this fragment wins */
    struct owner *owner;     /* the object's; NULL: none, or nothing is guarded at all */
    size_t owner_slot;       /* in owner.records */
    uint32_t unsettled_slot; /* in model.unsettled; UINT32_MAX when active is good */
    struct fragment *kept;   /* good at the last model_take_kept() */
    uint32_t unkept_slot;    /* in model.unkept; UINT32_MAX when kept is good */
    unsigned epoch;
    bool gone; /* there is no such fragment; newest is what stays of it while something leads to that */
    bool due;  /* in model.due */
};

/* Items of one kind and scope that are written together: a map, a file, a certificate, a crt-list. */
struct group {
    enum contribution_kind kind;
    VEC(struct item *) items;
    char name[]; /* kind, scope, NUL */
};

/* How far the routes of an object are open. */
enum guard_level {
    GUARD_OPEN,
    GUARD_HELD,   /* what protects them is in force in an older version: what is accepted stays */
    GUARD_CLOSED, /* nothing that protects them is in use */
};

struct guard {
    const struct record *by; /* who declares it */
    char *guardian;          /* id of the fragment that protects */
    struct text *closed;     /* name of the backend that closed routes lead to */
};

/* An object with the records of its fragments. Only when something is guarded at all. */
struct owner {
    VEC(struct record *) records;
    VEC(struct guard) guards;
    enum guard_level level;
    size_t open_routes; /* accepted ones */
    unsigned asked;     /* the check at whose end it was asked whether what protects is accepted: the answer */
    bool ready;
    size_t key_length;
    char key[];
};

struct model {
    struct map records;  /* fragment id → struct record */
    struct map items;    /* item.name → struct item, keys borrowed */
    struct map sections; /* name → struct section, keys borrowed */
    struct map groups;   /* group.name → struct group, keys borrowed */
    VEC(struct item *) pending;
    VEC(struct item *) changed;
    VEC(struct item *) contested; /* losers or winner may have changed */
    VEC(struct item *) idle;      /* nothing is left of them: freed when nobody can hold a pointer any more */
    VEC(struct item *) checking;
    VEC(struct section *) disturbed;
    VEC(struct record *) unsettled; /* active is not good */
    VEC(struct record *) settling;  /* something of them was accepted: to be settled when all of it is */
    VEC(struct record *) due;       /* gone: what leads to what they left has changed */
    struct digest rendered_digest, accepted_digest, checking_digest;
    /* model_kept.c */
    bool tracks_kept;
    VEC(struct record *) unkept;
    VEC(struct fragment *) kept_gone; /* kept versions of records that no longer exist */
    size_t quarantined;
    struct map owners;    /* owner.key → struct owner, keys borrowed */
    bool has_guards;      /* there has been one: owners is kept */
    size_t closed_owners; /* with a level other than GUARD_OPEN */
    struct text *closed;  /* model_guard.c: the text of a closed route that was asked for last */
    unsigned checks_ended;
    bool check_running;
    bool check_ending; /* what it saw is being accepted */
    unsigned epoch;
    struct buf scratch; /* for keys of look-ups */
    /* model_hold_parts(): who is told of accepted items; NULL: nobody holds anything */
    void (*on_accepted)(void *ctx, struct item *item);
    void *on_accepted_ctx;
    VEC(struct section *) held; /* sections of which nothing is left */
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

#define NOWHERE UINT32_MAX

/* Lists whose members know their place: O(1) in and out, order does not matter. */
#define list_add(list, member, slot) \
    do { \
        if ((member)->slot == NOWHERE) { \
            (member)->slot = (uint32_t)(list)->length; \
            vec_push(list, member); \
        } \
    } while (0)
#define list_remove(list, member, slot) \
    do { \
        if ((member)->slot != NOWHERE) { \
            (list)->items[(list)->length - 1]->slot = (member)->slot; \
            vec_swap_remove(list, (member)->slot); \
            (member)->slot = NOWHERE; \
        } \
    } while (0)

/* model_index.c */
/* Can several fragments give it the same content? */
static inline bool item_is_shareable(const struct item *item)
{
    return item->kind == CONTRIBUTION_SECTION || item->kind == CONTRIBUTION_SECTION_FROM;
}
/* May its text name a section? That of a map's declaration does not. */
static inline bool item_refers(const struct item *item)
{
    return item->kind == CONTRIBUTION_SECTION_FROM || (item->kind == CONTRIBUTION_MAP_ENTRY && item->key[0]);
}
/* Named by a text; create: made when nothing is known of it. NULL when it names none. */
struct section *section_find(struct model *m, enum contribution_kind kind, const struct text *text, bool create);
/* Free it when nothing is left of it. */
void section_release(struct model *m, struct section *s);
/* Has it any item? */
bool section_is_known(const struct section *s);
/* Does a contribution of this kind become an item? */
bool kind_is_output(enum contribution_kind kind);
/* NULL when unknown. */
struct item *item_find(const struct model *m, enum contribution_kind kind, const char *scope, const char *key);
/* Made when unknown. */
struct item *item_get(struct model *m, enum contribution_kind kind, const char *scope, const char *key);
void item_free(struct model *m, struct item *item);
/* Nothing is left of it but perhaps a pointer in somebody's hands. */
bool item_is_idle(const struct item *item);
/* The section that a text refers to, NULL when it refers to none, or to one that nothing is known of. */
struct section *section_referred(struct model *m, enum contribution_kind kind, const struct text *text);
/* It is to be accepted; false: no longer. */
void item_set_wanted(struct item *item, bool wanted);
/* Its rendered text is not the accepted one. */
void item_set_pending(struct item *item, bool pending);
/* It waits for this section to be accepted or to lose its references; NULL: no longer. */
void item_wait_for(struct item *item, struct section *s);
/* What leads to this section, or gives it, has changed: who left it is looked at again. */
void gone_note(struct model *m, const struct section *s);

/* model_item.c */
/* Free what became idle before the call that changes the model now. */
void model_reap(struct model *m);
/* What an item with this text adds to the digest of a state. */
struct digest item_digest(const struct item *item, const struct text *text, int32_t rank, int32_t order);
/* After its rendered or accepted text changed. */
void item_update_pending(struct model *m, struct item *item);
/* Bring the rendered text level with the candidates. */
void item_settle(struct model *m, struct item *item);

/* model_write.c */
/* Smallest rank of the section's pieces in a state; false when none has a text. */
bool section_rank(const struct section *s, enum model_state state, int32_t *ret_rank);
/* The section with its header, and an empty line before it unless out is empty. It has a piece in that state. */
void section_write(const struct section *s, enum model_state state, struct buf *out, struct model_lines *lines);
/* A line of a map. */
void map_entry_write(struct buf *out, const char *key, const char *value);

/* model_accept.c */
/* Accept this text, NULL: absent; and whatever waited for it. */
void item_set_accepted(struct model *m, struct item *item, struct text *text, int32_t rank, int32_t order,
                       struct fragment *by);
/* Accept the rendered text of a wanted item, with what has to be accepted together with it, unless something forbids
 * it: then it waits. */
void item_try_accept(struct model *m, struct item *item);
/* Accept what the check under way saw, as far as what was accepted meanwhile allows. */
void check_accept(struct model *m);

/* model_item.c */
/* Put a candidate at a place of the heap; move the one at a place to where it belongs. */
/* Candidates of a lower class come first, whoever emits them. */
int candidate_class(const struct item *item, const struct fragment *f, const struct contribution *c);
void candidate_place(struct item *item, size_t at, struct candidate c);
/* What a quarantined fragment said of it, refused of everybody; NULL: no longer. */
void item_refuse(struct model *m, struct item *item, struct text *text, struct record *by);
void candidate_sift(struct item *item, size_t at);
void candidate_add(struct model *m, struct item *item, struct fragment *f, struct contribution *c);
void candidate_remove(struct model *m, struct item *item, struct contribution *c);
/* Its losers or its winner may have changed. */
void item_mark_contested(struct model *m, struct item *item);

/* model_keep.c: the record's new version, with what it asks to keep of its last good one in it; a reference. */
struct fragment *model_resolve_kept(struct model *m, struct record *record, struct fragment *f);

/* model_kept.c: after its good version changed; before it is freed. */
void record_note_kept(struct model *m, struct record *r);
void record_drop_kept(struct model *m, struct record *r);

/* model_guard.c */
/* What a contribution's text is in the rendering: itself, or that of a closed route. */
struct text *guard_text(const struct model *m, const struct item *item, struct text *text);
/* A record has another newest version, or is new. */
void guard_note(struct model *m, struct record *r);
/* It is about to be freed: its object, which may be left by all now; NULL: none. */
struct owner *guard_leave(struct record *r);
/* Free it when nothing is left of it. */
void owner_release(struct model *m, struct owner *o);
/* A piece of a frontend that has routes as lines. */
bool guard_is_line_route(const struct item *item, const struct text *text);
/* May an item be a route? Its text decides. */
bool guard_is_of_routes(const struct item *item);
/* Another text of it is accepted. */
void guard_note_accepted(struct model *m, struct item *item);
/* May the item go, as far as guards are concerned? Not while it protects an open route. */
bool guard_releases(const struct model *m, const struct item *item);
/* May the item's rendered text (after a good check: what that saw) be accepted, as far as guards are concerned? */
bool guard_allows(struct model *m, const struct item *item, bool checked);
/* Is it a route that a fragment other than its own protects? */
bool guard_protects(const struct model *m, const struct item *item, bool checked);

/* model_review.c */
/* Which version of a record is in use may have changed: close or open the routes of its object. */
void guard_review(struct model *m, const struct record *r);
/* It is about to be freed. */
void guard_forget(struct model *m, struct record *r);

/* model_gone.c */
/* The fragment of a record does not exist any more. False: nothing of it has to stay, the record is to be dropped. */
bool gone_begin(struct model *m, struct record *r);
/* It exists again, or is dropped. */
void gone_end(struct model *m, struct record *r);
/* Nothing of it stays. */
void record_drop(struct model *m, struct record *r);

/* model_record.c */
/* Let a version of it be what takes part; NULL: none. */
void record_activate(struct model *m, struct record *r, struct fragment *now);
/* A version of which everything is accepted is the one to go back to. */
void record_settle(struct model *m, struct record *r);
void record_set_good(struct model *m, struct record *r, struct fragment *good);
/* What a quarantined version said is refused of nobody any more; nor is it in quarantine. */
void record_pardon(struct model *m, struct record *r);
void record_end_quarantine(struct model *m, struct record *r);
void record_free(struct record *r);
/* What it says is no longer of today: what others say comes first. */
void fragment_yield(struct model *m, struct fragment *f);

#endif
