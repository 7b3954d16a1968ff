/* regression.h — new templates that would take from objects what they have.
 * Thread:  loop thread only.
 */
#ifndef HAPTIC_CONTROLLER_REGRESSION_H
#define HAPTIC_CONTROLLER_REGRESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "controller/problems.h"
#include "engine/renderer.h"
#include "haproxy/model.h"

/* Do new templates fail where those in force do not, for fragments or objects that have accepted output? why: template
 * line, number and names of the objects, for people. What fails with the templates in force as well is not the new
 * ones' fault: a bad object must not keep a configuration out. */
bool regression_find(const struct model *model, const struct problems *problems,
                     const struct fragment_failure *failures, size_t count, struct buf *why);

#endif
