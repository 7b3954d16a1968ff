/* pattern.h — regular expressions of configurations and tests, with limits.
 * Thread:  any.
 * Errors:  ERR_INVALID with the position; ERR_LIMIT when a search takes too many steps.
 * Source:  PCRE2; the syntax of Go's regexp is a part of it.
 */
#ifndef HAPTIC_DATA_PATTERN_H
#define HAPTIC_DATA_PATTERN_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct pattern;

int pattern_new(const char *text, struct pattern **ret_pattern, struct err *err) MUST_CHECK;
struct pattern *pattern_free(struct pattern *p); /* NULL is fine */
/* How much one search may cost; without it, what tests may. */
void pattern_limit(struct pattern *p, unsigned steps);
/* The first match at or after from. 1: found, 0: none, -1: error. */
int pattern_find(const struct pattern *p, const char *subject, size_t length, size_t from, size_t *ret_start,
                 size_t *ret_end, struct err *err) MUST_CHECK;
/* The subject with each match replaced, into out, which is cleared before: $1, ${1}, ${name} stand for groups, $$ for a
 * dollar. ERR_LIMIT also when the result is larger than out may be. */
int pattern_replace(const struct pattern *p, const char *subject, size_t length, const char *replacement,
                    struct buf *out, struct err *err) MUST_CHECK;

#endif
