/* Elements of other writers are copied in their order. The write names the resourceVersion that they were read from. */
#include "controller/status_lists.h"

#include <string.h>

#include "controller/status_level.h"
#include "data/json.h"

typedef yyjson_mut_val mut;

static bool is_same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static const char *word_of(mut *options, const char *name)
{
    return yyjson_mut_get_str(yyjson_mut_obj_get(options, name));
}

static mut *find_wished(const struct status_shared *l, const char *value)
{
    size_t i, n;
    mut *item;

    yyjson_mut_arr_foreach(l->wished, i, n, item) if (is_same(word_of(item, l->field), value)) return item;
    return NULL;
}

static int check(const struct status_shared *l, struct err *err)
{
    size_t i, n;
    mut *item;

    if (!yyjson_mut_is_arr(l->wished) || yyjson_mut_arr_size(l->wished) > STATUS_ELEMENTS_MAX)
        return err_set(err, ERR_INVALID, "status.%s is no list of at most %d elements", l->name, STATUS_ELEMENTS_MAX);
    yyjson_mut_arr_foreach(l->wished, i, n, item)
    {
        const char *value = word_of(item, l->field);
        if (value == NULL || (l->owner != NULL && strcmp(value, l->owner) != 0))
            return err_set(err, ERR_INVALID, "an element of status.%s has no %s%s%s", l->name, l->field,
                           l->owner != NULL ? " " : "", l->owner != NULL ? l->owner : "");
        if (l->owner == NULL && find_wished(l, value) != item)
            return err_set(err, ERR_INVALID, "status.%s has two elements with the %s %s", l->name, l->field, value);
    }
    return 0;
}

static int take(struct status_shared *l, yyjson_mut_doc *doc, mut *options, mut *status, yyjson_val *there,
                struct err *err)
{
    const char *owner = word_of(options, "owner"), *key = word_of(options, "key");

    l->owner = owner != NULL ? word_of(options, "value") : NULL;
    l->field = owner != NULL ? owner : key;
    if (l->field == NULL || (owner != NULL && l->owner == NULL))
        return err_set(err, ERR_INVALID, "status.%s is shared: say {owner =, value =} or {key =}", l->name);
    l->wished = yyjson_mut_obj_remove_key(status, l->name);
    /* In Lua, an empty list and an empty object are the same table. */
    if (l->wished == NULL || (yyjson_mut_is_obj(l->wished) && yyjson_mut_obj_size(l->wished) == 0))
        l->wished = yyjson_mut_arr(doc);
    l->there = yyjson_obj_get(there, l->name);
    return check(l, err);
}

int status_lists_take(struct status_lists *lists, yyjson_mut_doc *doc, mut *options, mut *status, yyjson_val *there,
                      struct err *err)
{
    size_t i, n;
    mut *key, *value, *shared = yyjson_mut_obj_get(options, "shared");

    lists->count = 0;
    yyjson_mut_obj_foreach(shared, i, n, key, value)
    {
        if (lists->count == STATUS_LISTS_MAX)
            return err_set(err, ERR_INVALID, "a status has more than %d shared lists", STATUS_LISTS_MAX);
        struct status_shared *l = &lists->items[lists->count++];
        *l = (struct status_shared){.name = yyjson_mut_get_str(key)};
        if (take(l, doc, value, status, there, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_ours(const struct status_shared *l, yyjson_val *element)
{
    const char *value = json_str(element, l->field);

    return l->owner != NULL ? is_same(value, l->owner) : find_wished(l, value) != NULL;
}

/* An element that contains everything that is wanted; NULL when there is none. */
static yyjson_val *find_there(const struct status_shared *l, mut *wished)
{
    size_t i, n;
    yyjson_val *element;

    yyjson_arr_foreach(l->there, i, n, element)
    {
        if (is_same(json_str(element, l->field), word_of(wished, l->field)) && status_is_within(wished, element, false))
            return element;
    }
    return NULL;
}

static bool is_level(const struct status_shared *l)
{
    size_t i, n, ours = 0;
    mut *item;
    yyjson_val *element;

    yyjson_arr_foreach(l->there, i, n, element) ours += is_ours(l, element);
    if (ours != yyjson_mut_arr_size(l->wished))
        return false;
    yyjson_mut_arr_foreach(l->wished, i, n, item) if (find_there(l, item) == NULL) return false;
    return true;
}

bool status_lists_are_level(const struct status_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++)
        if (!is_level(&lists->items[i]))
            return false;
    return true;
}

/* Elements of other writers keep their places; with a key, our elements that exist already do as well. */
static mut *merge(const struct status_shared *l, yyjson_mut_doc *doc)
{
    mut *merged = yyjson_mut_arr(doc), *item;
    size_t i, n, j, m;
    yyjson_val *element;

    yyjson_arr_foreach(l->there, i, n, element)
    {
        mut *ours = l->owner == NULL ? find_wished(l, json_str(element, l->field)) : NULL;
        if (ours != NULL)
            yyjson_mut_arr_append(merged, yyjson_mut_val_mut_copy(doc, ours));
        else if (!is_ours(l, element))
            yyjson_mut_arr_append(merged, yyjson_val_mut_copy(doc, element));
    }
    yyjson_mut_arr_foreach(l->wished, i, n, item)
    {
        bool placed = false;
        yyjson_arr_foreach(l->there, j, m, element)
            placed = placed || (l->owner == NULL && is_same(json_str(element, l->field), word_of(item, l->field)));
        if (!placed)
            yyjson_mut_arr_append(merged, yyjson_mut_val_mut_copy(doc, item));
    }
    return merged;
}

void status_lists_put(const struct status_lists *lists, yyjson_mut_doc *doc, mut *status)
{
    for (size_t i = 0; i < lists->count; i++) {
        mut *merged = merge(&lists->items[i], doc);
        /* Server-side apply removes a field that is not applied any more. */
        if (yyjson_mut_arr_size(merged) > 0)
            yyjson_mut_obj_put(status, yyjson_mut_strcpy(doc, lists->items[i].name), merged);
    }
}
