/* fleet_keys.h — the certificates of a fleet, and which ones are due next.
 * Thread:  any; a pure function of what there is and the time.
 * Owns:    the texts; they are wiped.
 * Units:   *_s seconds since 1970.
 *
 * One authority follows another without a moment at which two members of the fleet do not know each other:
 *
 *     SIGNS ──(two thirds of its life)──► ANNOUNCED ──(a day)──► FOLLOWED ──(a day)──► SIGNS
 *            the next one is trusted, too        the next one signs,           the former one
 *                                                the former one is trusted      is forgotten
 *
 * A day is longer than any volume takes to show a Secret's new contents. Which state it is, is read off what there is.
 */
#ifndef HAPTIC_CONTROLLER_FLEET_KEYS_H
#define HAPTIC_CONTROLLER_FLEET_KEYS_H

#include <stdint.h>

#include "base/buf.h"

#define FLEET_KEYS_OVERLAP_S ((int64_t)86400)

/* CA_CRT: every authority that is trusted; the first one signs, and CA_KEY is its key. NEXT_*: announced. */
enum fleet_key { CA_CRT, CA_KEY, AGENT_CRT, AGENT_KEY, CONTROLLER_CRT, CONTROLLER_KEY, NEXT_CRT, NEXT_KEY, KEY_COUNT };

struct fleet_keys {
    struct buf values[KEY_COUNT]; /* PEM; empty: there is none */
};

const char *fleet_key_name(enum fleet_key key); /* in the Secret: "ca.crt" */
/* True: something is due; ret_keys: all that there is to be then, ret_why: for people. False: all is well. ret_keys
 * must be zeroed. -1: it cannot be made. */
int fleet_keys_next(const struct fleet_keys *now, const char *agent_name, int64_t now_s, struct fleet_keys *ret_keys,
                    const char **ret_why, struct err *err) MUST_CHECK;
void fleet_keys_done(struct fleet_keys *k); /* leaves it empty */

#endif
