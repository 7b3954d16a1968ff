/* Only wanted fields and conditions are compared; those of other writers are ignored. */
#include "controller/status_level.h"

#include <string.h>

#include "base/cleanup.h"
#include "data/json.h"

#define DEPTH_MAX 64

typedef yyjson_mut_val mut;

static bool is_within(mut *wished, yyjson_val *there, bool but_conditions, unsigned depth);

yyjson_val *status_condition(yyjson_val *list, const char *type)
{
    size_t i, n;
    yyjson_val *item;

    yyjson_arr_foreach(list, i, n, item)
    {
        const char *name = json_str(item, "type");
        if (name != NULL && type != NULL && strcmp(name, type) == 0)
            return item;
    }
    return NULL;
}

static bool scalar_is(mut *wished, yyjson_val *there)
{
    CLEANUP(free_ptr) char *a = yyjson_mut_val_write(wished, 0, NULL);
    CLEANUP(free_ptr) char *b = yyjson_val_write(there, 0, NULL);

    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static bool list_is_within(mut *wished, yyjson_val *there, bool conditions, bool but_conditions, unsigned depth)
{
    size_t i, n;
    mut *item;

    if (!yyjson_is_arr(there) || (!conditions && yyjson_mut_arr_size(wished) != yyjson_arr_size(there)))
        return false;
    yyjson_mut_arr_foreach(wished, i, n, item)
    {
        const char *type = conditions ? yyjson_mut_get_str(yyjson_mut_obj_get(item, "type")) : NULL;
        yyjson_val *other = type != NULL ? status_condition(there, type) : yyjson_arr_get(there, i);
        if (other == NULL || !is_within(item, other, but_conditions, depth + 1))
            return false;
    }
    return true;
}

/* but_conditions: lists of conditions may differ. */
static bool is_within(mut *wished, yyjson_val *there, bool but_conditions, unsigned depth)
{
    size_t i, n;
    mut *key, *value;

    if (depth > DEPTH_MAX)
        return false;
    if (!yyjson_mut_is_obj(wished))
        return yyjson_mut_is_arr(wished) ? list_is_within(wished, there, false, but_conditions, depth)
                                         : there != NULL && scalar_is(wished, there);
    if (!yyjson_is_obj(there))
        return false;
    yyjson_mut_obj_foreach(wished, i, n, key, value)
    {
        const char *name = yyjson_mut_get_str(key);
        yyjson_val *at = yyjson_obj_get(there, name);
        bool conditions = strcmp(name, "conditions") == 0 && yyjson_mut_is_arr(value);
        if (conditions && but_conditions)
            continue;
        if (conditions ? !list_is_within(value, at, true, but_conditions, depth + 1)
                       : !is_within(value, at, but_conditions, depth + 1))
            return false;
    }
    return true;
}

bool status_is_within(mut *wished, yyjson_val *there, bool but_conditions)
{
    return is_within(wished, there, but_conditions, 0);
}
