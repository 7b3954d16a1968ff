/* config_fetch.h — templatingSettings.httpFetch: which URLs templates may have fetched.
 * Thread:  loop thread only.
 * Errors:  ERR_INVALID with file, line and path of the field.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_FETCH_H
#define HAPTIC_CONTROLLER_CONFIG_FETCH_H

#include "controller/config_read.h"

/* Reads the value of httpFetch into the struct config at object; a field reader (config_read.h). */
int config_fetch_read(struct reader *r, yyjson_val *value, void *object) MUST_CHECK;
/* When everything is read: where URLs may be fetched, their contents are a kind. */
int config_fetch_add_kind(struct reader *r, yyjson_val *spec) MUST_CHECK;

#endif
