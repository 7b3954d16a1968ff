/* bundle.h — the whole configuration of one HAProxy, as a value: items with their owners, and the values they need.
 * Thread:  any, one at a time; it shares nothing with a model.
 * Owns:    references to its parts; copies of its values, wiped when dropped.
 * Errors:  none; bundle_seal.h reads input from outside.
 *
 * A *part* is the output of one owner (a fragment of the templates, and so an object): pieces of sections, map entries
 * and declared maps, files, certificates, lines of crt-lists; each with rank and order. A part is a struct fragment
 * without messages. If two parts have an item of the same kind, scope and key, the equal-key rule (fragment_compare)
 * decides which one is used; the other one stays in reserve until the first is removed.
 *
 * A bundle has no candidates, no versions and no pending state: those belong to a model. Texts contain handles of
 * Secrets; the values of these handles are stored separately. The digest is a sum over the parts: it does not depend
 * on the history of the bundle, and one changed part costs one subtraction and one addition.
 */
#ifndef HAPTIC_HAPROXY_BUNDLE_H
#define HAPTIC_HAPROXY_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/map.h"
#include "engine/contribution.h"

#define BUNDLE_DIGITS 32 /* of a handle */
#define BUNDLE_HAPROXY_SIZE 64

/* The writer. */
struct bundle_stamp {
    int64_t transitions; /* of the lease */
    uint64_t generation;
};

/* The value of a handle. */
struct bundle_value {
    char digits[BUNDLE_DIGITS + 1];
    char *secret, *key; /* "namespace/name" */
    char *bytes;
    size_t length;
};

struct bundle {
    struct map parts;                    /* fragment id → struct fragment; keys borrowed */
    struct map values;                   /* digits → struct bundle_value; keys borrowed */
    struct digest digest, values_digest; /* sums over the parts, over the values */
    struct bundle_stamp stamp;
    char haproxy[BUNDLE_HAPROXY_SIZE]; /* version of the HAProxy that has checked it; "" unknown */
};

struct bundle *bundle_new(void);
struct bundle *bundle_free(struct bundle *b); /* NULL is fine; always returns NULL */

/* Does HAProxy get it? Messages are not for HAProxy. */
bool bundle_is_item(const struct contribution *c);
/* The hash of a part: of its owner and of its items in any order. 0: it has no item. */
struct digest bundle_part_digest(const struct fragment *part);
struct digest bundle_value_digest(const char *digits, const char *secret, const char *key, const char *bytes,
                                  size_t length);

/* Replace the owner's part. A reference is taken. A part without items is removed. */
void bundle_put(struct bundle *b, struct fragment *part);
void bundle_drop(struct bundle *b, const char *fragment_id);
/* bytes are copied. The first value under some digits stays. */
void bundle_put_value(struct bundle *b, const char *digits, const char *secret, const char *key, const char *bytes,
                      size_t length);
/* Call fn with the digits of each handle in the items of a part; false: a handle there is cut or changed. */
bool bundle_each_handle(const struct fragment *part, void (*fn)(void *ctx, const char *digits), void *ctx);
/* Are the values of all handles of a part here? */
bool bundle_has_values(const struct bundle *b, const struct fragment *part);

static inline void bundle_cleanup(struct bundle **b)
{
    *b = bundle_free(*b);
}

#endif
