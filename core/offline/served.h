/* served.h — what a member of a fleet serves, as one side of a comparison: an offer of everything (haproxy/offer.h).
 * Thread:  loop thread only.
 * Owns:    a model, and references to its fragments. No values of Secrets: handles stand for them.
 * Errors:  ERR_INVALID, ERR_LIMIT: it is no such offer, or does not have the digest that it says.
 *
 * An offer has the items that count, by their owners. So a rendering is compared in the same form: what an older object
 * has taken away, warnings and the order within a fragment are in neither.
 */
#ifndef HAPTIC_OFFLINE_SERVED_H
#define HAPTIC_OFFLINE_SERVED_H

#include "base/map.h"
#include "offline/difference.h"
#include "offline/workbench.h"
#include "store/vault.h"

struct served {
    struct model *model;
    struct map fragments; /* id → struct fragment, referenced */
};

/* Reads a whole offer. The caller frees *ret_served by served_done(). */
int served_read(const char *bytes, size_t length, struct served *ret_served, struct err *err) MUST_CHECK;
/* The accepted output of a workbench. */
int served_of(struct workbench *w, struct served *ret_served, struct err *err) MUST_CHECK;
void served_done(struct served *s);
/* The handle of the default certificate that a controller has made; "": it serves another one. Every controller makes
 * its own, so another rendering has to be told. */
void served_default_certificate(const struct served *s, char ret_handle[VAULT_HANDLE_LENGTH + 1]);

/* The operations that bring a HAProxy from `before` to the accepted output of `now`. Equal handles stand for equal
 * values. */
int served_judge(struct served *before, struct workbench *now, const struct haproxy_caps *caps,
                 struct difference *ret_difference, struct err *err) MUST_CHECK;
/* As difference_write(). */
size_t served_write(const struct served *before, const struct served *now, bool as_json, struct buf *out);

#endif
