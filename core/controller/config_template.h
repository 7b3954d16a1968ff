/* config_template.h — a template that stands in a file of its own, beside the configuration.
 * Thread:  loop thread only.
 * Owns:    nothing.
 * Errors:  ERR_INVALID with file, line and path of the field.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_TEMPLATE_H
#define HAPTIC_CONTROLLER_CONFIG_TEMPLATE_H

#include "controller/config_read.h"

/* Exactly one of text and file (as they were written; NULL: not given) is wanted; with a file, its text and its path
 * take their places. Owned by the caller, also after an error. */
int config_template_read(struct reader *r, yyjson_val *at, const char *key, char **text, char **file) MUST_CHECK;
/* Of a configuration's text and of the templates that are files of their own. */
struct digest config_template_digest(const struct config *c, const char *text, size_t length);

#endif
