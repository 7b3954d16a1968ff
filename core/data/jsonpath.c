/* A path is a list of steps; evaluation keeps the list of values found so far and applies one step to all of them.
 * Operands of a filter are lists of steps themselves. Leading plain names, which are nearly all paths that occur, are
 * followed without any list.
 */
#include <string.h>

#include "base/alloc.h"
#include "data/jsonpath_state.h"

/* Values touched in one evaluation, whatever filters and .. multiply to. */
#define WORK_MAX 4000000

struct evaluation {
    struct yyjson_val *root;
    size_t work;
    struct err *err;
};

void json_values_done(struct json_values *values)
{
    vec_done(values);
}

static int add(struct evaluation *e, struct json_values *values, struct yyjson_val *value)
{
    if (!value)
        return 0;
    if (values->length >= JSONPATH_RESULTS_MAX || ++e->work > WORK_MAX)
        return err_set(e->err, ERR_LIMIT, "a JSONPath that finds too much: the maximum is %d values",
                       JSONPATH_RESULTS_MAX);
    vec_push(values, value);
    return 0;
}

static int run(struct evaluation *e, const struct steps *steps, size_t from, struct json_values *values);

/* Walks an array's elements or an object's values. */
struct children {
    bool is_object;
    yyjson_obj_iter members;
    yyjson_arr_iter elements;
};

static struct children children_of(struct yyjson_val *value)
{
    struct children c = {.is_object = yyjson_is_obj(value)};

    if (c.is_object)
        yyjson_obj_iter_init(value, &c.members);
    else if (yyjson_is_arr(value))
        yyjson_arr_iter_init(value, &c.elements);
    return c;
}

static struct yyjson_val *children_next(struct children *c)
{
    return c->is_object ? yyjson_obj_iter_get_val(yyjson_obj_iter_next(&c->members))
                        : yyjson_arr_iter_next(&c->elements);
}

static int add_deep(struct evaluation *e, struct yyjson_val *value, struct json_values *out)
{
    struct children c = children_of(value);
    struct yyjson_val *child;

    if (add(e, out, value) < 0)
        return -1;
    while ((child = children_next(&c)))
        if (add_deep(e, child, out) < 0)
            return -1;
    return 0;
}

static int add_slice(struct evaluation *e, const struct step *step, struct yyjson_val *array, struct json_values *out)
{
    int64_t count = (int64_t)yyjson_arr_size(array), start = step->start, end = step->has_end ? step->end : count;
    yyjson_arr_iter it = {0};
    struct yyjson_val *item;

    if (start < 0)
        start += count;
    if (step->kind == STEP_INDEX)
        return start >= 0 && start < count ? add(e, out, yyjson_arr_get(array, (size_t)start)) : 0;
    if (end < 0)
        end += count;
    if (start < 0)
        start = 0;
    if (count == 0)
        return 0;
    yyjson_arr_iter_init(array, &it);
    for (int64_t i = 0; i < end && (item = yyjson_arr_iter_next(&it)); i++)
        if (i >= start && (i - start) % step->stride == 0 && add(e, out, item) < 0)
            return -1;
    return 0;
}

static struct scalar scalar_of(struct yyjson_val *value)
{
    struct scalar s = {.kind = SCALAR_NONE};

    if (yyjson_is_str(value))
        s = (struct scalar){.kind = SCALAR_STRING, .string = yyjson_get_str(value), .length = yyjson_get_len(value)};
    else if (yyjson_is_num(value))
        s = (struct scalar){.kind = SCALAR_NUMBER, .number = yyjson_get_num(value)};
    else if (yyjson_is_bool(value))
        s = (struct scalar){.kind = SCALAR_BOOL, .boolean = yyjson_get_bool(value)};
    else if (yyjson_is_null(value))
        s.kind = SCALAR_NULL;
    return s;
}

/* 1: has a value, 0: the path finds nothing, -1: limit. */
static int operand_value(struct evaluation *e, const struct operand *operand, struct yyjson_val *current,
                         struct scalar *ret_scalar)
{
    CLEANUP(json_values_done) struct json_values found = {0};

    if (operand->kind == OPERAND_LITERAL) {
        *ret_scalar = operand->literal;
        return 1;
    }
    if (add(e, &found, operand->kind == OPERAND_PATH_FROM_ROOT ? e->root : current) < 0 ||
        run(e, &operand->path, 0, &found) < 0)
        return -1;
    if (found.length == 0)
        return 0;
    *ret_scalar = scalar_of(found.items[0]);
    return 1;
}

static bool scalars_equal(const struct scalar *a, const struct scalar *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case SCALAR_STRING:
        return a->length == b->length && memcmp(a->string, b->string, a->length) == 0;
    case SCALAR_NUMBER:
        return a->number <= b->number && a->number >= b->number;
    case SCALAR_BOOL:
        return a->boolean == b->boolean;
    case SCALAR_NULL:
        return true;
    case SCALAR_NONE:
        break;
    }
    return false;
}

/* Only strings and numbers have an order. */
static bool scalars_less(const struct scalar *a, const struct scalar *b)
{
    if (a->kind == SCALAR_NUMBER && b->kind == SCALAR_NUMBER)
        return a->number < b->number;
    if (a->kind != SCALAR_STRING || b->kind != SCALAR_STRING)
        return false;
    int order = memcmp(a->string, b->string, a->length < b->length ? a->length : b->length);
    return order < 0 || (order == 0 && a->length < b->length);
}

static int filter_passes(struct evaluation *e, const struct step *step, struct yyjson_val *current)
{
    struct scalar left, right;
    int there = operand_value(e, &step->left, current, &left);

    if (there <= 0 || step->comparison == COMPARE_EXISTS)
        return there;
    there = operand_value(e, &step->right, current, &right);
    if (there <= 0)
        return there;
    switch (step->comparison) {
    case COMPARE_EQ:
        return scalars_equal(&left, &right);
    case COMPARE_NE:
        return !scalars_equal(&left, &right);
    case COMPARE_LT:
        return scalars_less(&left, &right);
    case COMPARE_LE:
        return scalars_less(&left, &right) || scalars_equal(&left, &right);
    case COMPARE_GT:
        return scalars_less(&right, &left);
    case COMPARE_GE:
        return scalars_less(&right, &left) || scalars_equal(&left, &right);
    case COMPARE_EXISTS:
        break;
    }
    return 0;
}

static int apply(struct evaluation *e, const struct step *step, struct yyjson_val *value, struct json_values *out)
{
    struct children c;
    struct yyjson_val *child;

    switch (step->kind) {
    case STEP_FIELD:
        return add(e, out, yyjson_obj_getn(value, step->name, step->name_length));
    case STEP_INDEX:
    case STEP_SLICE:
        return yyjson_is_arr(value) ? add_slice(e, step, value, out) : 0;
    case STEP_DEEP:
        return add_deep(e, value, out);
    case STEP_UNION:
        for (size_t i = 0; i < step->parts.length; i++)
            if (apply(e, &step->parts.items[i], value, out) < 0)
                return -1;
        return 0;
    case STEP_WILDCARD:
    case STEP_FILTER:
        c = children_of(value);
        while ((child = children_next(&c))) {
            int passes = step->kind == STEP_FILTER ? filter_passes(e, step, child) : 1;
            if (passes < 0 || (passes && add(e, out, child) < 0))
                return -1;
        }
        return 0;
    }
    return 0;
}

/* Replace the values by what the steps make of them. */
static int run(struct evaluation *e, const struct steps *steps, size_t from, struct json_values *values)
{
    for (size_t i = from; i < steps->length && values->length; i++) {
        CLEANUP(json_values_done) struct json_values out = {0};
        for (size_t k = 0; k < values->length; k++)
            if (apply(e, &steps->items[i], values->items[k], &out) < 0)
                return -1;
        struct json_values before = *values;
        *values = out;
        out = before;
    }
    return 0;
}

static struct yyjson_val *follow_names(const struct jsonpath *path, struct yyjson_val *value, size_t *ret_steps)
{
    size_t i = 0;

    for (; value && i < path->steps.length && path->steps.items[i].kind == STEP_FIELD; i++)
        value = yyjson_obj_getn(value, path->steps.items[i].name, path->steps.items[i].name_length);
    *ret_steps = i;
    return value;
}

int jsonpath_all(const struct jsonpath *path, struct yyjson_val *root, struct json_values *ret_values, struct err *err)
{
    CLEANUP(json_values_done) struct json_values values = {0};
    struct evaluation e = {.root = root, .err = err};
    size_t from;

    if (add(&e, &values, follow_names(path, root, &from)) < 0 || run(&e, &path->steps, from, &values) < 0)
        return -1;
    *ret_values = values;
    values = (struct json_values){0};
    return 0;
}

struct yyjson_val *jsonpath_first(const struct jsonpath *path, struct yyjson_val *root)
{
    CLEANUP(json_values_done) struct json_values values = {0};
    size_t steps;
    struct yyjson_val *value = follow_names(path, root, &steps);

    if (!value || steps == path->steps.length)
        return value;
    if (jsonpath_all(path, root, &values, NULL) < 0 || values.length == 0)
        return NULL;
    return values.items[0];
}

bool jsonpath_is_plural(const struct jsonpath *path)
{
    for (size_t i = 0; i < path->steps.length; i++)
        if (path->steps.items[i].kind != STEP_FIELD && path->steps.items[i].kind != STEP_INDEX)
            return true;
    return false;
}

bool jsonpath_plain_step(const struct jsonpath *path, size_t i, const char **ret_name, bool *ret_last)
{
    if (i >= path->steps.length)
        return false;
    const struct step *step = &path->steps.items[i];
    if (step->kind != STEP_FIELD && step->kind != STEP_WILDCARD)
        return false;
    *ret_name = step->name;
    *ret_last = i + 1 == path->steps.length;
    return true;
}
