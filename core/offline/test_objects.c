/* Fixtures and contents of URLs are one list. */
#include "offline/test_objects.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "controller/fetch_wish.h"
#include "data/json.h"

/* One of the same kind, namespace and name is replaced. */
static void gather_one(struct test_objects *list, struct test_object ref)
{
    const char *namespace = json_str(ref.value, "metadata", "namespace"),
               *name = json_str(ref.value, "metadata", "name");
    CLEANUP(free_ptr) char *key = xasprintf("%s\n%s\n%s", ref.kind, namespace ? namespace : "", name ? name : "");
    uintptr_t known = (uintptr_t)map_get(&list->places, key); /* from 1 */

    if (known > 0) {
        list->items.items[known - 1] = ref;
        return;
    }
    vec_push(&list->items, ref);
    (void)map_put(&list->places, key, (void *)(uintptr_t)list->items.length);
}

void test_objects_gather(const struct test_case *test, struct test_objects *list)
{
    size_t i, max, j, count;
    yyjson_val *key, *objects, *object;

    yyjson_obj_foreach(test->fixtures, i, max, key, objects)
    {
        if (strcmp(yyjson_get_str(key), TEST_FIXTURE_PODS) == 0)
            continue;
        if (yyjson_arr_size(objects) == 0) /* the kind is looked for all the same */
            vec_push(&list->items,
                     ((struct test_object){.kind = yyjson_get_str(key), .line = yaml_line(test->doc, key)}));
        yyjson_arr_foreach(objects, j, count, object)
        {
            gather_one(list, (struct test_object){
                                 .kind = yyjson_get_str(key), .value = object, .line = yaml_line(test->doc, object)});
        }
    }
    objects = yyjson_doc_get_root(test->http);
    yyjson_arr_foreach(objects, j, count, object)
    {
        gather_one(list, (struct test_object){.kind = FETCH_KIND, .value = object, .line = test->line});
    }
}

void test_objects_done(struct test_objects *list)
{
    vec_done(&list->items);
    map_done(&list->places);
}

int test_object_put(struct workbench *w, const struct test_object *ref, struct err *err)
{
    struct store_kind *kind = store_kind_by_name(workbench_store(w), ref->kind);

    if (kind == NULL) {
        const struct config *config = workbench_config(w);
        struct nearest nearest = {.word = ref->kind};
        if (strcmp(ref->kind, FETCH_KIND) == 0)
            return err_set(err, ERR_INVALID, "httpResources: templatingSettings.httpFetch.allow allows no URL");
        for (size_t i = 0; i < config->kinds.length; i++)
            nearest_offer(&nearest, config->kinds.items[i].name);
        return err_set(err, ERR_INVALID, "fixtures.%.64s (line %zu): no entry of watchedResources has this name%s%s%s",
                       ref->kind, ref->line, nearest.found ? "; did you mean \"" : "",
                       nearest.found ? nearest.found : "", nearest.found ? "\"?" : "");
    }
    if (ref->value != NULL && store_put_value(kind, ref->value, NULL, err) < 0)
        return err_wrap(err, "fixtures.%.64s (line %zu)", ref->kind, ref->line);
    return 0;
}
