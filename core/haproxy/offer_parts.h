/* offer_parts.h — the items of an offer as what their owners have given.
 * Thread:  any.
 * Owns:    nothing.
 *
 * A writer that has lost its memory asks a receiver for what it serves, as an offer. In it only the items that count
 * are there: of two owners with an equal key, the winner's.
 */
#ifndef HAPTIC_HAPROXY_OFFER_PARTS_H
#define HAPTIC_HAPROXY_OFFER_PARTS_H

#include "haproxy/offer.h"

/* Call fn with a fragment for each owner, in the order of ids, with its items in the order of their kinds and names;
 * its reference is borrowed for the call. */
void offer_each_part(const struct offer *o, void (*fn)(void *ctx, struct fragment *part), void *ctx);

#endif
