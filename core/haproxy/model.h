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
 * Quarantine: the last accepted contributions of a quarantined fragment are used instead of its newest ones. If other
 * fragments emit the same piece of a section, theirs are used then, unless they have the refused text. The last
 * accepted version is the last one of which every contribution was accepted, or that was part of a successful check
 * (even if some contributions lost to another fragment's and were not in that check).
 *
 * Consistency: some items refer to a section: map entries whose value names a backend (alone, or before "@"), and the
 * "from" of a section. Such an item is not accepted while that section is rendered but not accepted. The last piece of
 * a section is not accepted as absent while an accepted item refers to it. model_accept() of such an item is carried
 * out as soon as possible. Output that belongs to no object is accepted unchanged. A section that is removed as a whole
 * waits as a whole.
 *
 * When the "from" of a section changes, the section is one unit: the "from" is accepted together with all pending
 * pieces, or not at all. The result of a check counts for a section only if nothing of it was accepted during the
 * check. So no piece is ever accepted under a "from" with which it was not rendered.
 *
 * Guards: a CONTRIBUTION_GUARD declares that a fragment protects the routes of its object (map entries whose value
 * names a backend). While no version of the protecting fragment is in use, these routes lead to the guard's backend
 * instead. While an older version is in use, routes that are not accepted yet do so too. A route is opened only when
 * the whole output of the protecting fragment is accepted, or becomes accepted by the same check.
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
    bool in_check, pending, changed; /* changed: accepted differs from the text at the last model_take_changes() */
    bool guarded;                    /* set by model_direct_apply() */
    bool contested;                  /* it had losers when model_take_contested() was called last */
    bool wanted; /* model_accept() was called, and is carried out when the section that the item refers to allows it */
    const char *scope;
    const char *key;
    struct section *section;      /* of a CONTRIBUTION_SECTION or _FROM; else NULL */
    struct text *rendered;        /* NULL: no fragment emits it */
    struct text *accepted;        /* NULL: not accepted, or accepted as absent */
    struct text *checking;        /* text in the check under way, NULL: absent; valid when in_check */
    struct text *refused;         /* of a piece of a section: the last text of a quarantined fragment; NULL: none */
    struct candidate *candidates; /* a binary heap: the first wins */
    uint32_t candidate_count, candidate_capacity;
    struct fragment *winner;      /* candidates[0]; NULL when none */
    struct fragment *accepted_by; /* referenced; the fragment of the accepted text */
    struct fragment *checking_by; /* referenced; the fragment of the text in the running check */

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
    bool disturbed;               /* an item of it was accepted during the running check */
    bool visited;                 /* its part of a good check was looked at */
    bool held;                    /* it is empty; to be freed by model_release_parts() */
    uint32_t accepted_references; /* accepted map entries and "from"s that name this section */
    uint32_t rendered_references; /* rendered ones */
    struct record *left_by;       /* the fragment that gave it was removed, but something still leads to it */
    VEC(struct item *)
    waiting; /* wanted items that wait for this section's acceptance, or for the end of its references */
    char storage[];
};

struct model *model_new(void);
struct model *model_free(struct model *m);

/* Set a fragment's newest output (a reference is taken). Ends a quarantine when the output differs from the quarantined
 * one. */
void model_fragment_put(struct model *m, struct fragment *f);
/* The fragment no longer exists. If only this fragment gave a backend, the backend keeps its last accepted text as long
 * as a map entry leads to it: the fragment of that entry may fail or be quarantined, and still need the backend. */
void model_fragment_drop(struct model *m, const char *fragment_id);
/* Check such backends again, if something has changed for them. Call it before and after model_accept() for all pending
 * items; a check does this itself. */
void model_review_gone(struct model *m);
/* Drop all fragments that were not put since the matching begin (after a renderer's restart). */
void model_replace_begin(struct model *m);
void model_replace_end(struct model *m);
/* It exists but could not be rendered: its contributions stay, also across model_replace_end(). In a section that other
 * fragments also emit, theirs are used. */
void model_fragment_keep(struct model *m, const char *fragment_id);
/* It exists and was not rendered yet: its contributions stay unchanged. */
void model_fragment_await(struct model *m, const char *fragment_id);
/* newest; NULL: unknown, or removed and without effect */
struct fragment *model_fragment(const struct model *m, const char *fragment_id);

/* Use the last accepted contributions of this fragment (none, if it never had any) until its output changes.
 * Again for a quarantined fragment (its last accepted contributions are refused as well): leave it out altogether.
 * reason is copied. False when nothing changes: it is already left out, or unknown. */
bool model_quarantine(struct model *m, const char *fragment_id, const char *reason);
/* The same for a fragment that emits an item which HAProxy refuses. If the item is a piece of a section, its text is
 * refused from every fragment until the quarantine ends. In shared pieces, the newest texts of other fragments are used
 * before the last accepted text of this one. */
bool model_convict(struct model *m, const char *fragment_id, enum contribution_kind kind, const char *scope,
                   const char *key, const char *reason);
/* Let its newest contributions take part again. */
void model_release(struct model *m, const char *fragment_id);
/* The contributions of a fragment that model_quarantine() would leave in use. */
enum model_hold {
    MODEL_HOLD_GOOD, /* its last accepted contributions */
    MODEL_HOLD_NEW,  /* none, because it never had accepted ones */
    /* none, although they were accepted once; or it is unknown, or already left out */
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

/* Accept item's rendered text now, or as soon as consistency allows: it is known to be harmless without a check by
 * HAProxy. Call it for all items that were judged together, and again while one of them is pending. */
void model_accept(struct model *m, struct item *item);
/* A check of everything rendered begins: note each pending item's text. End it: accepted → the noted texts become
 * accepted. */
void model_check_begin(struct model *m);
void model_check_end(struct model *m, bool accepted);
/* A check that accepts everything: it was made elsewhere, or nobody needs it. */
void model_accept_all(struct model *m);
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
/* Has an item of it changed since the changes were taken last? */
bool model_file_is_changed(const struct model *m, enum contribution_kind kind, const char *name);
/* The content of one of those files; false when it has none in this state. Appends. */
bool model_file_text(const struct model *m, enum model_state state, enum contribution_kind kind, const char *name,
                     struct buf *out);
/* Files, certificates, crt-lists of any state: (kind, name), sorted. */
void model_each_file_name(const struct model *m, void (*fn)(void *ctx, enum contribution_kind kind, const char *name),
                          void *ctx);
/* The same of one state: (kind, name, content). */
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
bool model_has_changes(const struct model *m); /* there are such items */
void model_changes_done(struct model_changes *c);
/* The same items, without clearing them. */
void model_each_changed(const struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx);

/* Keep all items and sections allocated, also empty ones, and call fn for each item whose accepted text changes, until
 * model_release_parts(). One holder at a time. */
void model_hold_parts(struct model *m, void (*fn)(void *ctx, struct item *item), void *ctx);
void model_release_parts(struct model *m);
bool model_parts_are_held(const struct model *m);

/* Kept versions: the last accepted version of each fragment. A restart of the controller must restore them. While they
 * are tracked, the model remembers which of them changed. When tracking begins, every fragment with such a version
 * counts as changed. */
void model_track_kept(struct model *m, bool track);
/* Report the changes since the last call: all removed fragments, and at most max others. Returns how many are left.
 * before: the version that was reported last; now: the present one. Either may be NULL: there is none. The versions are
 * valid during the call. */
size_t model_take_kept(struct model *m, size_t max,
                       void (*fn)(void *ctx, const struct fragment *before, const struct fragment *now), void *ctx);
/* Has a kept version changed since the last call? */
bool model_has_unkept(const struct model *m);
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

/* Every text that the model may still output (rendered, accepted, being checked, or restored by a quarantine) and every
 * key. A text may be reported more than once. */
void model_each_text(const struct model *m, void (*fn)(void *ctx, const char *bytes, size_t length), void *ctx);

/* Nothing is rendered, or accepted. */
bool model_is_empty(const struct model *m, enum model_state state);

/* Canonical hash of a state: independent of its history; equal on replicas with equal output.
 * O(1). That of MODEL_CHECKING is what MODEL_RENDERED had when the check began. */
struct digest model_digest(const struct model *m, enum model_state state);

/* Is it an open route that a fragment protects? It must not be live before its protection. */
bool model_is_guarded(const struct model *m, const struct item *item);

/* Equal keys. An item's losers are the fragments with another text than the winner's, whose template does not fail and
 * whose text is not refused. */
void model_each_loser(const struct item *item, void (*fn)(void *ctx, const struct fragment *loser), void *ctx);
/* Items whose losers or winner may have changed since the last call. Items without a candidate are reported once more,
 * without losers. Cost: the candidates of contested items, and of items whose candidates changed. */
void model_take_contested(struct model *m, void (*fn)(void *ctx, const struct item *item), void *ctx);
/* The text by which a fragment declares a map; NULL: none, or an empty one. */
const char *model_map_declaration(const struct model *m, const char *map_name);

#endif
