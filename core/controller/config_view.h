/* config_view.h — a configuration as one document: what it says, with its libraries merged in and what is built in.
 * Thread:  any.
 * Errors:  ERR_INVALID: a text that is not UTF-8; ERR_LIMIT.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_VIEW_H
#define HAPTIC_CONTROLLER_CONFIG_VIEW_H

#include "controller/config.h"

/* JSON, which is YAML, too, and is a configuration again, but for the rules of httpFetch. */
int config_view(const struct config *c, struct buf *out, struct err *err) MUST_CHECK;

#endif
