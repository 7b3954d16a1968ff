/* offer.h — what a writer wants one HAProxy to have, as bytes: everything, or what differs from a named state.
 * Thread:  loop thread only.
 * Owns:    an offer that was read owns its strings, changes and values; the values are wiped with it.
 * Errors:  -1 with ERR_INVALID or ERR_LIMIT; the text names the offset. Nothing of an offer is trusted.
 *
 * An offer is a row of frames (engine/frame.h):
 *
 *     O  head: "haptic offer", version, transitions, generation, holder, digest that it starts from ("": from nothing)
 *     v  value: digits of a handle, Secret, key, bytes               as in a sealed bundle
 *     f  items that are set, of one owner: as on the wire from the renderer, with the same limits and rules
 *     u  an item of this offer that is an open route which another fragment protects: kind, scope, key
 *     z  an item that goes: kind, scope, key
 *     E  end: digest of the result, number of its items (0 when it does not start from nothing)
 *
 * The digest is that of a model's accepted state (haproxy/model.h): a sum over its items, so that writer and receiver
 * compute it at the cost of what changes. It covers the items and their places, not their owners.
 */
#ifndef HAPTIC_HAPROXY_OFFER_H
#define HAPTIC_HAPROXY_OFFER_H

#include "base/buf.h"
#include "base/err.h"
#include "haproxy/bundle.h"
#include "haproxy/model_direct.h"
#include "store/vault.h"

#define OFFER_VERSION 1
#define OFFER_HOLDER_SIZE 320
#define OFFER_ITEMS_MAX 4000000

struct offer {
    int64_t transitions;
    uint64_t generation;
    char holder[OFFER_HOLDER_SIZE];
    char from[DIGEST_HEX_SIZE]; /* "": from nothing */
    struct digest result;
    size_t result_count;
    struct direct_changes changes;
    struct bundle *values; /* its values only */
};

/* The name of an item, kept for later: kind, scope, NUL, key. */
struct offer_name {
    char *bytes;
    size_t length;
};

/* The whole accepted state of a model. Returns the length of the beginning that has values of Secrets in it; 0: there
 * are none. */
size_t offer_write_whole(struct buf *out, const struct model *m, struct vault *vault, const struct offer *head);
/* What has become of the named items; from: head->from. Returns the same. */
size_t offer_write_delta(struct buf *out, const struct model *m, struct vault *vault, const struct offer *head,
                         const struct offer_name *names, size_t count);

/* Reads an offer. *ret_offer owns copies; the caller frees it by offer_done(). ERR_INVALID, ERR_LIMIT: *ret_offer is
 * empty. */
int offer_read(const char *bytes, size_t length, struct offer *ret_offer, struct err *err) MUST_CHECK;
/* The same of one that has everything. ERR_INVALID also: it is a delta, or its items do not have its digest. */
int offer_read_whole(const char *bytes, size_t length, struct offer *ret_offer, struct err *err) MUST_CHECK;
void offer_done(struct offer *o);
/* Make its values known, after its changes were made: the vault drops what no text refers to. */
void offer_take_values(const struct offer *o, struct vault *vault);

/* 32 lower-case hexadecimal digits. */
bool offer_digest_parse(const char *hex, struct digest *ret_digest);

#endif
