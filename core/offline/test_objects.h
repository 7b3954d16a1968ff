/* test_objects.h — the objects of a test: its fixtures and its contents of URLs, with those of _global.
 * Thread:  loop thread only.
 * Owns:    the list; values are the documents' of the tests.
 * Errors:  ERR_INVALID: the kind is not watched, or the object cannot be used.
 */
#ifndef HAPTIC_OFFLINE_TEST_OBJECTS_H
#define HAPTIC_OFFLINE_TEST_OBJECTS_H

#include "base/map.h"
#include "base/vec.h"
#include "offline/test_case.h"
#include "offline/workbench.h"

struct test_object {
    const char *kind;
    yyjson_val *value;
    size_t line;
};
struct test_objects {
    VEC(struct test_object) items;
    struct map places; /* kind, namespace and name → place in items, from 1 */
};

/* Add those of a test. Later ones take the place of earlier ones: gather _global first. */
void test_objects_gather(const struct test_case *test, struct test_objects *list);
void test_objects_done(struct test_objects *list);
int test_object_put(struct workbench *w, const struct test_object *ref, struct err *err) MUST_CHECK;

#endif
