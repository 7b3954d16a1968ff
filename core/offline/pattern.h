/* pattern.h — regular expressions of people's tests, with limits.
 * Thread:  any.
 * Errors:  ERR_INVALID with the position; ERR_LIMIT when a search takes too many steps.
 * Source:  PCRE2; the syntax of Go's regexp is a part of it.
 */
#ifndef HAPTIC_OFFLINE_PATTERN_H
#define HAPTIC_OFFLINE_PATTERN_H

#include <stddef.h>

#include "base/err.h"

struct pattern;

int pattern_new(const char *text, struct pattern **ret_pattern, struct err *err) MUST_CHECK;
struct pattern *pattern_free(struct pattern *p); /* NULL is fine */
/* The first match at or after from. 1: found, 0: none, -1: error. */
int pattern_find(const struct pattern *p, const char *subject, size_t length, size_t from, size_t *ret_start,
                 size_t *ret_end, struct err *err) MUST_CHECK;

#endif
