/* model_direct.h — a model whose accepted state is set from outside, item by item: that of a receiver.
 * Thread:  loop thread only.
 * Owns:    a list of changes owns references to its texts and owners.
 * Errors:  -1 with ERR_INVALID (an item twice, a digest that is not the promised one); the model is as it was then.
 *
 * Such a model has no fragments and no candidates: what it is given was judged elsewhere, so it is rendered and
 * accepted at once. An item knows its owner as in any model. All changes of a list are made, or none; what they
 * replaced comes back as a list, which undoes them.
 */
#ifndef HAPTIC_HAPROXY_MODEL_DIRECT_H
#define HAPTIC_HAPROXY_MODEL_DIRECT_H

#include "base/err.h"
#include "haproxy/model.h"

struct direct_change {
    enum contribution_kind kind;
    char *scope, *key;
    struct text *text; /* NULL: the item goes */
    int32_t rank, order;
    struct fragment *owner; /* NULL with text NULL */
    bool guarded;           /* an open route that another fragment protects */
};
struct direct_changes {
    VEC(struct direct_change) items;
    struct map places; /* kind, scope, NUL, key → place + 1 */
};

void direct_init(struct direct_changes *d);
void direct_done(struct direct_changes *d);
/* References are taken. ERR_INVALID when the item is in the list already. */
int direct_put(struct direct_changes *d, const struct direct_change *change, struct err *err) MUST_CHECK;
/* The change of an item in the list; NULL: there is none. Valid until the next put. */
struct direct_change *direct_find(const struct direct_changes *d, enum contribution_kind kind, const char *scope,
                                  const char *key);

/* The digest that the list gives when it is all there is. */
struct digest direct_digest(const struct direct_changes *d);
/* Make the changes, if the accepted state has the promised digest and number of items afterwards. whole: every item
 * that is not in the list goes. ret_undo is filled (initialised by this call). */
int model_direct_apply(struct model *m, const struct direct_changes *d, bool whole, struct digest promised,
                       size_t promised_count, struct direct_changes *ret_undo, struct err *err) MUST_CHECK;
/* Undo: the list that an apply gave back. */
void model_direct_undo(struct model *m, const struct direct_changes *undo);
/* Every accepted item, as a change that sets it; its references are borrowed for the call. */
void model_each_accepted(const struct model *m, void (*fn)(void *ctx, const struct item *item), void *ctx);
size_t model_accepted_count(const struct model *m);
/* At most max of them, from a place of the table on that the number names. */
void model_some_accepted(const struct model *m, size_t place, size_t max,
                         void (*fn)(void *ctx, const struct item *item), void *ctx);
/* NULL when unknown. */
struct item *model_item(const struct model *m, enum contribution_kind kind, const char *scope, const char *key);

#endif
