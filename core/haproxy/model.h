/* model.h — the output as a set of items: pieces of sections, map entries, files.
 * Thread:  loop thread only.
 * Owns:    references to fragments and texts.
 *
 * Each item (kind, scope, key) has candidates: one per fragment that emits it. The candidate of the winning fragment
 * (fragment_compare) is the item's *rendered* text. What validation has accepted is its *accepted* text: only that is
 * deployed. Items whose rendered and accepted texts differ are *pending*.
 *
 *   fragment_put/drop ──► rendered ──(validation)──► accepted ──(deploy)──► HAProxy
 *
 * A quarantined fragment takes part with its last accepted contributions instead of its newest. Where others emit the
 * same piece of a section, theirs count then, unless they say what was refused.
 *
 * The version that a quarantined fragment goes back to is the last one of which every contribution was accepted, or
 * that took part in a check that ended well (also with contributions that lost to another fragment's, which that check
 * has not seen).
 *
 * Consistency: what refers to a section (a map entry whose value names a backend, alone or in front of an "@" and what
 * else a route has; the "from" of a section) is not
 * accepted while that section is rendered but not accepted, and the last piece of a section is not accepted as absent
 * while something accepted refers to it. model_accept() of such an item is carried out as soon as it can be. What the
 * templates themselves render and HAProxy accepts is taken as it is. A section that goes as a whole waits as a whole.
 *
 * A section is one unit where its "from" changes: the "from" is accepted together with every piece that is pending
 * beside it, or not at all, and what a check saw of a section counts only if nothing of it was accepted meanwhile. So
 * no accepted piece ever stands under a "from" that it was not rendered with.
 *
 * Guards: a fragment with a CONTRIBUTION_GUARD says that a fragment of its own object protects that object's routes
 * (entries of maps whose value names a backend). While nothing of the protecting fragment is in use, they lead to the
 * guard's backend instead. While an older version of it is in use, so do those that are not accepted already. A route
 * is opened only when everything that the protecting fragment gives is accepted, or becomes so by the same check.
 *
 * CONTRIBUTION_STATUS, _EVENT, _WARNING and _GUARD are not output and do not become items: read them from the
 * fragments.
 *
 * Items live until nothing is left of them and no check is under way; pointers from model_take_changes() and
 * model_lines stay valid until then, at least until the next call that changes the model after the check has ended.
 */
#ifndef HAPTIC_HAPROXY_MODEL_H
#define HAPTIC_HAPROXY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/map.h"
#include "base/vec.h"
#include "engine/contribution.h"

struct model;
struct section;

/* A fragment that emits an item, and the contribution by which it does. */
struct candidate {
    struct fragment *fragment; /* not referenced: the model's record of the fragment does that */
    struct contribution *contribution;
};

/* One piece, map entry, file, … */
struct item {
    enum contribution_kind kind;
    int32_t rank, order; /* of the rendered text */
    int32_t accepted_rank, accepted_order;
    int32_t checking_rank, checking_order;
    bool in_check, pending, changed; /* changed: accepted differs from what was last taken by model_take_changes() */
    bool guarded;                    /* model_direct_apply() said so */
    bool contested;                  /* it had losers when model_take_contested() was called last */
    bool wanted; /* model_accept() was called, and is carried out when what the item refers to allows it */
    const char *scope;
    const char *key;
    struct section *section;      /* of a CONTRIBUTION_SECTION or _FROM; else NULL */
    struct text *rendered;        /* NULL: nobody emits it */
    struct text *accepted;        /* NULL: not accepted, or accepted as absent */
    struct text *checking;        /* text in the check under way, NULL: absent; valid when in_check */
    struct text *refused;         /* of a piece of a section: what a quarantined fragment said last; NULL: nothing */
    struct candidate *candidates; /* a binary heap: the first wins */
    uint32_t candidate_count, candidate_capacity;
    struct fragment *winner;      /* candidates[0]; NULL when none */
    struct fragment *accepted_by; /* referenced; whose text was accepted */
    struct fragment *checking_by; /* referenced; whose text is in the check under way */

    /* The model's own: places in its lists (UINT32_MAX: not in it), the fragment that pending counts for. */
    struct record *charged, *refused_by;
    struct contribution *replacing;
    struct group *group;
    struct owner *open_for;      /* accepted as an open route of this object, which a fragment protects */
    struct section *waiting_for; /* wanted, and in this section's waiting list */
    uint32_t pending_slot, changed_slot, group_slot, idle_slot, waiting_slot, contested_slot;
    char name[]; /* kind, scope, NUL, key, NUL */
};

/* A section of the configuration: the pieces with one scope. */
struct section {
    const char *name;  /* "backend shop_web_80" */
    struct item *from; /* may be NULL */
    VEC(struct item *) pieces;

    /* The model's own. */
    uint32_t rendered_pieces;     /* pieces with a rendered text */
    uint32_t accepted_pieces;     /* pieces with an accepted text */
    uint32_t pending_pieces;      /* pieces that are pending */
    uint32_t wanted_pieces;       /* and wanted */
    uint32_t refused_pieces;      /* pieces with a refused text */
    bool disturbed;               /* an item of it was accepted beside the check under way */
    bool visited;                 /* its part of a good check was looked at */
    bool held;                    /* nothing is left of it; to be freed by model_release_parts() */
    uint32_t accepted_references; /* accepted map entries and "from"s that name this section */
    uint32_t rendered_references; /* rendered ones */
    struct record *left_by;       /* the fragment that gave it is gone, and something leads to it */
    VEC(struct item *)
    waiting; /* wanted items that wait for this section to be accepted, or for its references to go */
    char storage[];
};

struct model *model_new(void);
struct model *model_free(struct model *m);

/* Take over a fragment's newest output (a reference is taken). Releases a quarantine when the output differs from the
 * one that was quarantined. */
void model_fragment_put(struct model *m, struct fragment *f);
/* The fragment no longer exists. A backend that it alone gave stays as it was accepted last as long as an entry of a
 * map leads to it: the fragment of that entry may fail, or be quarantined, and so not know that it goes on asking for
 * it. */
void model_fragment_drop(struct model *m, const char *fragment_id);
/* Look again at those that stay so, where something has changed for them. Before and after model_accept() for all that
 * is pending; a check looks by itself. */
void model_review_gone(struct model *m);
/* Drop all fragments that were not put since the matching begin (after a renderer's restart). */
void model_replace_begin(struct model *m);
void model_replace_end(struct model *m);
/* It exists but could not be rendered: its contributions so far stay, also across model_replace_end(); in a section
 * that others emit too, theirs count. */
void model_fragment_keep(struct model *m, const char *fragment_id);
/* It exists and was not rendered yet: what there is of it stays as it is. */
void model_fragment_await(struct model *m, const char *fragment_id);
/* newest; NULL: unknown, or gone and without effect */
struct fragment *model_fragment(const struct model *m, const char *fragment_id);

/* Use the last accepted contributions of this fragment (none, if it never had any) until its output changes.
 * Again for a quarantined fragment (its last accepted contributions are refused as well): leave it out altogether.
 * reason is copied. False when nothing changes: it is left out already, or unknown. */
bool model_quarantine(struct model *m, const char *fragment_id, const char *reason);
/* The same for a fragment that emits an item which HAProxy refuses. If that is a piece of a section, what it says is
 * refused of everybody until the quarantine ends; and other fragments' newest texts of pieces that the fragment shares
 * with them come before its last accepted ones. */
bool model_convict(struct model *m, const char *fragment_id, enum contribution_kind kind, const char *scope,
                   const char *key, const char *reason);
/* Let its newest contributions take part again. */
void model_release(struct model *m, const char *fragment_id);
/* What model_quarantine() would leave in use of a fragment. */
enum model_hold {
    MODEL_HOLD_GOOD, /* its last accepted contributions */
    MODEL_HOLD_NEW,  /* nothing, as it never had any */
    /* nothing, though what is in use of it was accepted once; or it is unknown, or left out already */
    MODEL_HOLD_NOTHING,
};
enum model_hold model_hold(struct model *m, const char *fragment_id);
const char *model_quarantine_reason(const struct model *m, const char *fragment_id); /* NULL: not quarantined */
size_t model_quarantined(const struct model *m);
void model_each_quarantined(const struct model *m, void (*fn)(void *ctx, const struct fragment *f, const char *reason),
                            void *ctx);

/* Pending items, and the fragments they come from. */
size_t model_pending(const struct model *m);
void model_each_pending(const struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx);

/* Accept item's rendered text now, or as soon as consistency allows (it was shown to be harmless without a check by
 * HAProxy). Call it for all items that were judged together, and again while one of them is pending. */
void model_accept(struct model *m, struct item *item);
/* A check of everything rendered begins: note each pending item's text. End it: accepted → the noted texts become
 * accepted. */
void model_check_begin(struct model *m);
void model_check_end(struct model *m, bool accepted);
bool model_checking(const struct model *m); /* between begin and end */

/* Which state to read. */
enum model_state { MODEL_RENDERED, MODEL_ACCEPTED, MODEL_CHECKING };

/* A line's origin, from the assembled text: which item, which line of its text (0-based). A header line ("backend x
 * from y") has any item of its section; an empty line between sections has NULL. */
struct model_origin {
    struct item *item;
    uint32_t line;
    bool header;
};
struct model_lines {
    VEC(struct model_origin) lines; /* index: line number - 1 */
};
void model_lines_done(struct model_lines *lines);

/* Write the whole haproxy.cfg of a state, in canonical order (rank, then section name; pieces by order, then key).
 * lines may be NULL. */
void model_write_config(const struct model *m, enum model_state state, struct buf *out, struct model_lines *lines);
/* One section's text without header and indentation, and what it is derived from (NULL: nothing). False when the
 * section has no piece in that state. */
bool model_section_text(const struct model *m, const struct section *section, enum model_state state, struct buf *out,
                        const char **ret_from);
struct section *model_section(const struct model *m, const char *name); /* NULL when unknown */
void model_each_section(const struct model *m, void (*fn)(void *ctx, struct section *s), void *ctx);

/* Maps and files of a state. A map's text has its entries in the order of their keys, "key value\n". */
void model_each_map(const struct model *m, void (*fn)(void *ctx, const char *map_name), void *ctx);
/* A map exists in a state when it has an entry there or is declared. */
bool model_map_exists(const struct model *m, enum model_state state, const char *map_name);
void model_write_map(const struct model *m, enum model_state state, const char *map_name, struct buf *out);
void model_each_map_entry(const struct model *m, enum model_state state, const char *map_name,
                          void (*fn)(void *ctx, const char *key, const char *value), void *ctx);
struct item *model_map_item(const struct model *m, const char *map_name, const char *key); /* NULL when unknown */
/* Length of the name of a backend in the value of a map entry: the value ends, or goes on with "@". */
size_t model_backend_length(const char *value, size_t length);
struct item *model_file_item(const struct model *m, enum contribution_kind kind, const char *name); /* likewise */
/* The accepted names of a crt-list ("https.list"); NULL when unknown. */
struct item *model_list_item(const struct model *m, const char *list, const char *name);
void model_each_list_item(const struct model *m, const char *list, void (*fn)(void *ctx, struct item *item), void *ctx);
/* Has one of those files a content in this state? */
bool model_file_exists(const struct model *m, enum model_state state, enum contribution_kind kind, const char *name);
/* The content of one of those files; false when it has none in this state. Appends. */
bool model_file_text(const struct model *m, enum model_state state, enum contribution_kind kind, const char *name,
                     struct buf *out);
/* Files, certificates, crt-lists: (kind, name, content). */
void model_each_file(const struct model *m, enum model_state state,
                     void (*fn)(void *ctx, enum contribution_kind kind, const char *name, const char *bytes,
                                size_t length),
                     void *ctx);

/* Items whose accepted text changed since the last take; cleared by it. The pointers are valid until the next change
 * of the model: use them at once. */
struct model_changes {
    VEC(struct item *) items;
};
void model_take_changes(struct model *m, struct model_changes *ret_changes);
void model_changes_done(struct model_changes *c);
/* The same items, left as they are. */
void model_each_changed(const struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx);

/* Keep all items and sections allocated, also those of which nothing is left, and call fn for each item whose accepted
 * text changes, until model_release_parts(). Name, key, scope and kind do not change, so another thread may read them.
 * One holder at a time. */
void model_hold_parts(struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx);
void model_release_parts(struct model *m);

/* Kept versions: of each fragment the last one that counted as accepted, which is what a restart of the controller has
 * to bring back. While they are tracked the model remembers which of them changed. Tracking begins with nothing taken:
 * every fragment that has such a version counts as changed. */
void model_track_kept(struct model *m, bool track);
/* Report changes since the last take, at most max of them besides fragments that are gone, and return how many are
 * left. before: the version that was reported last; now: the present one. Either is NULL where there is none; the
 * versions are valid during the call. */
size_t model_take_kept(struct model *m, size_t max,
                       void (*fn)(void *ctx, const struct fragment *before, const struct fragment *now), void *ctx);
/* All kept versions that were taken and have not changed since. */
void model_each_kept(const struct model *m, void (*fn)(void *ctx, struct fragment *f), void *ctx);
/* Is this one of them? */
bool model_is_kept(const struct model *m, const struct fragment *f);
/* All versions that counted as accepted, tracked or not. */
void model_each_good(const struct model *m, void (*fn)(void *ctx, const struct fragment *f), void *ctx);
/* Has this fragment a version that counted as accepted? Tracked or not. */
bool model_has_good(const struct model *m, const char *fragment_id);
/* Is all of its newest version accepted, or something else in its place: another fragment's, which comes first, or (in
 * quarantine) a former version? */
bool model_is_settled(const struct model *m, const char *fragment_id);

/* Every text that the model may still put out (rendered, accepted, being checked, or what a quarantine would go back
 * to) and every key. A text may come more than once. */
void model_each_text(const struct model *m, void (*fn)(void *ctx, const char *bytes, size_t length), void *ctx);

/* Nothing is rendered, or accepted. */
bool model_is_empty(const struct model *m, enum model_state state);

/* Canonical hash of a state: independent of the order in which it came about; equal on replicas with equal output.
 * O(1). That of MODEL_CHECKING is what MODEL_RENDERED had when the check began. */
struct digest model_digest(const struct model *m, enum model_state state);

/* Is it an open route that a fragment protects? It must not be live before what protects it. */
bool model_is_guarded(const struct model *m, const struct item *item);

/* Equal keys. An item's losers are the fragments that give it another text than the winner, though nothing else is
 * wrong with them: neither does their template fail, nor is that text refused. */
void model_each_loser(const struct item *item, void (*fn)(void *ctx, const struct fragment *loser), void *ctx);
/* Items whose losers or winner may be others than at the last call. Items without a candidate come once more, as they
 * have no losers. Work: the candidates of items that are contested, and whose candidates changed. */
void model_take_contested(struct model *m, void (*fn)(void *ctx, const struct item *item), void *ctx);
/* The text by which somebody declares a map; NULL: nobody does, or with an empty one. */
const char *model_map_declaration(const struct model *m, const char *map_name);

#endif
