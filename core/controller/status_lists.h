/* status_lists.h — lists of a status that several controllers write and the server exchanges as a whole.
 * Thread:  any; it has no state.
 * Owns:    nothing; values belong to the document.
 * Errors:  ERR_INVALID: the wish names no such list, or an element of it has not the field.
 * Source:  Kubernetes API concepts: server-side apply, atomic lists; Gateway API, status.parents.
 *
 * A wish says which they are: {"shared":{"parents":{"owner":"controllerName","value":"example.com/x"},
 * "conditions":{"key":"type"}}}. With an owner, elements whose field has that value are ours: those that are not wished
 * go. With a key, an element takes the place of the one with the same key, and all others stay.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_LISTS_H
#define HAPTIC_CONTROLLER_STATUS_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "base/err.h"

#define STATUS_LISTS_MAX 8
#define STATUS_ELEMENTS_MAX 1000

struct status_lists {
    struct status_shared {
        const char *name, *field;
        const char *owner;      /* NULL: the field is a key */
        yyjson_mut_val *wished; /* a list */
        yyjson_val *there;      /* NULL: none */
    } items[STATUS_LISTS_MAX];
    size_t count;
};

/* Take the lists out of the wished status; options: what the wish says of them, may be NULL. */
int status_lists_take(struct status_lists *lists, yyjson_mut_doc *doc, yyjson_mut_val *options, yyjson_mut_val *status,
                      yyjson_val *there, struct err *err) MUST_CHECK;
/* Does all of ours stand there, and nothing of ours that is not wished? */
bool status_lists_are_level(const struct status_lists *lists);
/* Put them back, with what others have there. */
void status_lists_put(const struct status_lists *lists, yyjson_mut_doc *doc, yyjson_mut_val *status);

#endif
