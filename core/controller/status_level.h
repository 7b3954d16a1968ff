/* status_level.h — is what is wished for a status there already?
 * Thread:  any; it has no state.
 * Owns:    nothing.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_LEVEL_H
#define HAPTIC_CONTROLLER_STATUS_LEVEL_H

#include <stdbool.h>
#include <yyjson.h>

/* Does each wished field stand there? Of lists called "conditions" each wished type is looked for; any other list has
 * to be equal. but_conditions: lists of conditions may differ. */
bool status_is_within(yyjson_mut_val *wished, yyjson_val *there, bool but_conditions);
/* The condition of a type in a list; NULL: there is none. */
yyjson_val *status_condition(yyjson_val *list, const char *type);

#endif
