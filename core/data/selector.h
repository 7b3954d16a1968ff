/* selector.h — label and field selectors, for sources that have no API server to evaluate them.
 * Thread:  any; a compiled selector is not changed by matching.
 * Errors:  0, or -1 with *err set (ERR_INVALID names the position, ERR_LIMIT); ret_* written only on success.
 * Source:  kubernetes.io "Labels and Selectors", "Field Selectors"; apimachinery pkg/labels, pkg/fields.
 *
 * Labels:  a=b  a==b  a!=b  a in (x,y)  a notin (x,y)  a  !a  a>5  a<5, joined by commas; != and notin pass where the
 *          label is absent.
 * Fields:  path=value  path==value  path!=value, joined by commas; the path is a JSONPath; an absent field is "".
 */
#ifndef HAPTIC_DATA_SELECTOR_H
#define HAPTIC_DATA_SELECTOR_H

#include <stdbool.h>
#include <yyjson.h>

#include "base/err.h"

#define SELECTOR_BYTES_MAX 16384

/* text may be NULL or empty: everything passes. */
struct label_selector;
int label_selector_compile(const char *text, struct label_selector **ret_selector, struct err *err) MUST_CHECK;
struct label_selector *label_selector_free(struct label_selector *s); /* NULL is fine; always returns NULL */
/* labels: the object's metadata.labels; NULL when it has none. */
bool label_selector_matches(const struct label_selector *s, struct yyjson_val *labels);

struct field_selector;
/* text as in the head of this file; NULL or empty: everything passes. The caller frees *ret_selector. */
int field_selector_compile(const char *text, struct field_selector **ret_selector, struct err *err) MUST_CHECK;
struct field_selector *field_selector_free(struct field_selector *s);
/* object: the whole object. */
bool field_selector_matches(const struct field_selector *s, struct yyjson_val *object);

#endif
