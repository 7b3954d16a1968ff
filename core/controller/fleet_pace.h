/* fleet_pace.h — who of a fleet may take now what had to be checked, and so may need a reload.
 * Thread:  loop thread only.
 * Units:   percent of the members.
 *
 *   FREE ──(a change that was checked)──► FIRST ──(one member has taken it)──► REST ──(all are level)──► FREE
 *
 * One member goes first; then as many at a time as the share allows, at least one. A member that does not answer keeps
 * its place for PACE_HOLD_NS, so that it does not hold up the others. What was not checked goes to all at once.
 */
#ifndef HAPTIC_CONTROLLER_FLEET_PACE_H
#define HAPTIC_CONTROLLER_FLEET_PACE_H

#include "controller/fleet_state.h"

#define PACE_HOLD_NS (5 * NS_PER_S)

/* Is the member at what is accepted? */
bool seat_is_level(const struct seat *s);

/* A change that was checked is to be offered. */
void pace_begin(struct fleet *f);
/* May this member be offered it now? If not, pace_next() comes back to it. */
bool pace_allows(struct fleet *f, const struct seat *s);
/* A member's offer has an outcome; taken: it serves it, or waits for its reload only. */
void pace_next(struct fleet *f, bool taken);

#endif
