/* Fixtures and contents of URLs are one list. */
#include "offline/test_objects.h"

#include <string.h>

#include "base/nearest.h"
#include "controller/fetch_wish.h"
#include "data/json.h"

static bool same_object(yyjson_val *a, yyjson_val *b)
{
    const char *na = json_str(a, "metadata", "name"), *nb = json_str(b, "metadata", "name");
    const char *sa = json_str(a, "metadata", "namespace"), *sb = json_str(b, "metadata", "namespace");

    return strcmp(na ? na : "", nb ? nb : "") == 0 && strcmp(sa ? sa : "", sb ? sb : "") == 0;
}

static void gather_one(struct test_objects *list, struct test_object ref)
{
    size_t at = 0;

    while (at < list->items.length &&
           !(strcmp(list->items.items[at].kind, ref.kind) == 0 && same_object(list->items.items[at].value, ref.value)))
        at++;
    if (at < list->items.length)
        list->items.items[at] = ref;
    else
        vec_push(&list->items, ref);
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
