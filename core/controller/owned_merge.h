/* owned_merge.h — an object that templates want to exist, and what is applied for it.
 * Thread:  any.
 * Owns:    nothing.
 * Errors:  ERR_DENIED: an object of that name exists and is not this controller's; ERR_INVALID.
 */
#ifndef HAPTIC_CONTROLLER_OWNED_MERGE_H
#define HAPTIC_CONTROLLER_OWNED_MERGE_H

#include "controller/config.h"
#include "controller/write_manner.h"

#define OWNED_LABEL CONFIG_OWNED_LABEL
#define OWNED_APPLIED "haproxy-haptic.org/applied" /* annotation: digest of what was applied last */
#define OWNED_MANAGER "haptic-owned"

/* owner: the label's value. The first wish counts. The object is level when it was applied by this very wish and still
 * has its fields. */
int owned_merge(const char *owner, const struct status_object *object, const struct write_wishes *wishes,
                struct write_body *ret_body, struct err *err) MUST_CHECK;
/* Is an object of the store this controller's? Most are told from others without being parsed. */
bool owned_is_ours(const char *owner, const char *json, size_t length);
/* The label's value for a controller: NAMESPACE.LEASE, or a digest of it when it is too long for a label. malloc'ed. */
char *owned_owner(const char *namespace, const char *lease);

#endif
