/* test_http.h — what a test says of URLs (httpResources), as the objects that templates read.
 * Thread:  loop thread only.
 * Owns:    the document that is made.
 * Errors:  ERR_INVALID with file, line and path of the field.
 */
#ifndef HAPTIC_OFFLINE_TEST_HTTP_H
#define HAPTIC_OFFLINE_TEST_HTTP_H

#include "controller/config_read.h"

/* A list of {url, content} or {url, pending: true}; *ret_objects: an array of objects of the kind `fetched`. */
int test_http_read(struct reader *r, yyjson_val *value, struct yyjson_doc **ret_objects) MUST_CHECK;

#endif
