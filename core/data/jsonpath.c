/* A path is a list of steps; evaluation keeps the list of values found so far and applies one step to all of them.
 * Operands of a filter are lists of steps themselves. Leading plain names, which are nearly all paths that occur, are
 * followed without any list. */
#include "data/jsonpath.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

/* Values touched in one evaluation, whatever filters and .. multiply to. */
#define WORK_MAX 4000000

enum step_kind { STEP_FIELD, STEP_WILDCARD, STEP_INDEX, STEP_SLICE, STEP_DEEP, STEP_UNION, STEP_FILTER };

struct step;
struct steps {
    struct step *items;
    size_t length, capacity;
};

enum operand_kind { OPERAND_NONE, OPERAND_PATH, OPERAND_STRING, OPERAND_NUMBER, OPERAND_BOOL, OPERAND_NULL };

struct scalar {
    enum operand_kind kind; /* not PATH; NONE: not comparable */
    const char *string;
    size_t length;
    double number;
    bool boolean;
};

struct operand {
    enum operand_kind kind;
    bool from_root; /* $ and not @ */
    struct steps path;
    char *string;
    double number;
    bool boolean;
};

enum comparison { COMPARE_EXISTS, COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE };

struct step {
    enum step_kind kind;
    char *name; /* FIELD */
    size_t name_length;
    int64_t start, end, stride; /* INDEX: start */
    bool has_end;
    struct steps parts; /* UNION */
    enum comparison comparison;
    struct operand left, right; /* FILTER */
};

struct jsonpath {
    char *text;
    struct steps steps;
};

/* ── compilation ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct parser {
    const char *text;
    size_t at;
    unsigned nesting;
    bool in_filter;
    struct err *err;
};

static void steps_done(struct steps *steps)
{
    for (size_t i = 0; i < steps->length; i++) {
        struct step *step = &steps->items[i];
        free(step->name);
        steps_done(&step->parts);
        steps_done(&step->left.path);
        steps_done(&step->right.path);
        free(step->left.string);
        free(step->right.string);
    }
    vec_done(steps);
}

static int fail(const struct parser *p, const char *expected)
{
    char found = p->text[p->at];

    if (!found)
        return err_set(p->err, ERR_INVALID, "JSONPath \"%.200s\": at the end: expected %s", p->text, expected);
    return err_set(p->err, ERR_INVALID, "JSONPath \"%.200s\": at character %zu ('%c'): expected %s", p->text, p->at + 1,
                   found >= 0x20 && found < 0x7f ? found : '?', expected);
}

static void skip_space(struct parser *p)
{
    while (p->text[p->at] == ' ' || p->text[p->at] == '\t')
        p->at++;
}

static bool accept(struct parser *p, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(p->text + p->at, word, length) != 0)
        return false;
    p->at += length;
    return true;
}

static bool ends_name(const struct parser *p, char c)
{
    if (strchr(".,[]{}$@ \t\r\n", c)) /* the NUL, too */
        return true;
    return p->in_filter && strchr("()=!<>", c);
}

static char *parse_name(struct parser *p)
{
    CLEANUP(buf_done) struct buf name = {0};

    while (!ends_name(p, p->text[p->at])) {
        if (p->text[p->at] == '\\' && p->text[p->at + 1])
            p->at++;
        buf_putc(&name, p->text[p->at++]);
    }
    return name.length ? buf_steal(&name) : NULL;
}

/* At the opening quote. A backslash takes the next character as it is. */
static char *parse_quoted(struct parser *p)
{
    CLEANUP(buf_done) struct buf string = {0};
    char quote = p->text[p->at++];

    while (p->text[p->at] && p->text[p->at] != quote) {
        if (p->text[p->at] == '\\' && p->text[p->at + 1])
            p->at++;
        buf_putc(&string, p->text[p->at++]);
    }
    if (!p->text[p->at]) {
        (void)fail(p, quote == '"' ? "a closing \"" : "a closing '");
        return NULL;
    }
    p->at++;
    return buf_steal(&string);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* An optional integer; 0 when there is none, -1 on error. */
static int parse_int(struct parser *p, int64_t *ret_number, bool *ret_there)
{
    bool negative = accept(p, "-");
    int64_t number = 0;

    *ret_there = is_digit(p->text[p->at]);
    if (negative && !*ret_there)
        return fail(p, "a digit");
    while (is_digit(p->text[p->at])) {
        number = number * 10 + (p->text[p->at] - '0');
        if (number > INT32_MAX)
            return fail(p, "an index below 2147483648");
        p->at++;
    }
    if (*ret_there)
        *ret_number = negative ? -number : number;
    return 0;
}

static int parse_slice(struct parser *p, struct step *step)
{
    bool has_start = false, has_stride = false;

    step->kind = STEP_INDEX;
    step->stride = 1;
    if (parse_int(p, &step->start, &has_start) < 0)
        return -1;
    skip_space(p);
    if (p->text[p->at] != ':')
        return has_start ? 0 : fail(p, "an index, a slice, *, a quoted name or ?( )");
    p->at++;
    step->kind = STEP_SLICE;
    if (parse_int(p, &step->end, &step->has_end) < 0)
        return -1;
    if (accept(p, ":")) {
        if (parse_int(p, &step->stride, &has_stride) < 0)
            return -1;
        if (step->stride <= 0)
            return fail(p, "a stride above 0 before this");
    }
    return 0;
}

static int parse_steps(struct parser *p, struct steps *steps);

static int parse_number(struct parser *p, double *ret_number)
{
    char copy[64];
    size_t length = 0;

    while (length < sizeof(copy) - 1 && p->text[p->at + length] && strchr("+-.0123456789eE", p->text[p->at + length]))
        length++;
    memcpy(copy, p->text + p->at, length);
    copy[length] = '\0';
    yyjson_val value;
    const char *rest = yyjson_read_number(copy, &value, YYJSON_READ_NOFLAG, NULL, NULL);
    if (!rest || *rest)
        return fail(p, "a number");
    *ret_number = yyjson_get_num(&value);
    p->at += length;
    return 0;
}

static int parse_operand(struct parser *p, struct operand *operand)
{
    skip_space(p);
    char c = p->text[p->at];
    if (c == '"' || c == '\'') {
        operand->kind = OPERAND_STRING;
        return (operand->string = parse_quoted(p)) ? 0 : -1;
    }
    if (c == '-' || c == '+' || is_digit(c)) {
        operand->kind = OPERAND_NUMBER;
        return parse_number(p, &operand->number);
    }
    if (c == '@' || c == '$') {
        operand->kind = OPERAND_PATH;
        operand->from_root = c == '$';
        p->at++;
        return parse_steps(p, &operand->path);
    }
    size_t start = p->at;
    CLEANUP(free_ptr) char *word = parse_name(p);
    operand->kind = OPERAND_BOOL;
    operand->boolean = word && strcmp(word, "true") == 0;
    if (word && (operand->boolean || strcmp(word, "false") == 0))
        return 0;
    operand->kind = OPERAND_NULL;
    if (word && (strcmp(word, "null") == 0 || strcmp(word, "nil") == 0))
        return 0;
    p->at = start;
    return fail(p, "@, $, a quoted string, a number, true, false or null");
}

/* After "?(". */
static int parse_filter(struct parser *p, struct step *step)
{
    static const struct {
        const char *word;
        enum comparison comparison;
    } operators[] = {{"==", COMPARE_EQ}, {"!=", COMPARE_NE}, {"<=", COMPARE_LE},
                     {">=", COMPARE_GE}, {"<", COMPARE_LT},  {">", COMPARE_GT}};
    bool outer = p->in_filter;
    size_t i;

    step->kind = STEP_FILTER;
    p->in_filter = true;
    if (parse_operand(p, &step->left) < 0)
        return -1;
    skip_space(p);
    for (i = 0; i < ARRAY_LEN(operators); i++)
        if (accept(p, operators[i].word))
            break;
    if (i < ARRAY_LEN(operators)) {
        step->comparison = operators[i].comparison;
        if (parse_operand(p, &step->right) < 0)
            return -1;
        skip_space(p);
    } else if (step->left.kind != OPERAND_PATH) {
        return fail(p, "== != < <= > or >=");
    }
    p->in_filter = outer;
    return accept(p, ")") ? 0 : fail(p, i < ARRAY_LEN(operators) ? ")" : "== != < <= > >= or )");
}

static int parse_element(struct parser *p, struct step *step)
{
    skip_space(p);
    if (p->text[p->at] == '\'' || p->text[p->at] == '"') {
        step->kind = STEP_FIELD;
        step->name = parse_quoted(p);
        if (!step->name)
            return -1;
        step->name_length = strlen(step->name);
    } else if (accept(p, "*")) {
        step->kind = STEP_WILDCARD;
    } else if (accept(p, "?(")) {
        if (parse_filter(p, step) < 0)
            return -1;
    } else if (parse_slice(p, step) < 0) {
        return -1;
    }
    skip_space(p);
    return 0;
}

/* After "[". */
static int parse_bracket(struct parser *p, struct steps *steps)
{
    struct steps parts = {0};
    int result = -1;

    if (++p->nesting > JSONPATH_NESTING_MAX)
        return err_set(p->err, ERR_LIMIT, "JSONPath \"%.200s\": brackets nested deeper than %d", p->text,
                       JSONPATH_NESTING_MAX);
    do {
        vec_push(&parts, (struct step){0});
        if (parts.length > JSONPATH_STEPS_MAX) {
            (void)err_set(p->err, ERR_LIMIT, "JSONPath \"%.200s\": a union of more than %d", p->text,
                          JSONPATH_STEPS_MAX);
            goto out;
        }
        if (parse_element(p, &parts.items[parts.length - 1]) < 0)
            goto out;
    } while (accept(p, ","));
    if (!accept(p, "]")) {
        (void)fail(p, "] or ,");
        goto out;
    }
    if (parts.length == 1) {
        vec_push(steps, parts.items[0]);
        parts.length = 0;
    } else {
        vec_push(steps, ((struct step){.kind = STEP_UNION, .parts = parts}));
        parts = (struct steps){0};
    }
    p->nesting--;
    result = 0;
out:
    steps_done(&parts);
    return result;
}

/* A name or *; the dot is behind us. */
static int parse_field(struct parser *p, struct steps *steps)
{
    size_t start = p->at;
    char *name = parse_name(p);

    if (!name)
        return fail(p, "a name, * or [");
    if (strcmp(name, "*") == 0 && p->text[start] == '*') {
        free(name);
        vec_push(steps, (struct step){.kind = STEP_WILDCARD});
    } else {
        vec_push(steps, ((struct step){.kind = STEP_FIELD, .name = name, .name_length = strlen(name)}));
    }
    return 0;
}

static int parse_steps(struct parser *p, struct steps *steps)
{
    for (;;) {
        if (steps->length >= JSONPATH_STEPS_MAX)
            return err_set(p->err, ERR_LIMIT, "JSONPath \"%.200s\": more than %d steps", p->text, JSONPATH_STEPS_MAX);
        if (accept(p, "..")) {
            if (p->text[p->at] == '.')
                return fail(p, "a name, * or [");
            vec_push(steps, (struct step){.kind = STEP_DEEP});
            if (p->text[p->at] != '[' && parse_field(p, steps) < 0)
                return -1;
        } else if (accept(p, ".")) {
            if (p->text[p->at] == '[')
                continue;
            /* "." alone is the value itself */
            if (steps->length == 0 && (ends_name(p, p->text[p->at])))
                return 0;
            if (parse_field(p, steps) < 0)
                return -1;
        } else if (accept(p, "[")) {
            if (parse_bracket(p, steps) < 0)
                return -1;
        } else {
            return 0;
        }
    }
}

static int parse_path(struct parser *p, struct steps *steps)
{
    skip_space(p);
    bool braces = accept(p, "{");
    skip_space(p);
    if (!accept(p, "$") && !accept(p, "@") && !ends_name(p, p->text[p->at]) && parse_field(p, steps) < 0)
        return -1;
    if (!braces && steps->length == 0 && !p->text[p->at] && p->at == 0)
        return fail(p, "a path");
    if (parse_steps(p, steps) < 0)
        return -1;
    skip_space(p);
    if (braces && !accept(p, "}"))
        return fail(p, "}, . or [");
    skip_space(p);
    return p->text[p->at] ? fail(p, braces ? "nothing more" : ". or [") : 0;
}

int jsonpath_compile(const char *text, struct jsonpath **ret_path, struct err *err)
{
    struct parser p = {.text = text, .err = err};

    if (strlen(text) > JSONPATH_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a JSONPath of %zu bytes; the maximum is %d", strlen(text), JSONPATH_BYTES_MAX);
    struct jsonpath *path = xcalloc(1, sizeof(*path));
    path->text = xstrdup(text);
    if (parse_path(&p, &path->steps) < 0) {
        jsonpath_free(path);
        return -1;
    }
    *ret_path = path;
    return 0;
}

struct jsonpath *jsonpath_free(struct jsonpath *path)
{
    if (path) {
        steps_done(&path->steps);
        free(path->text);
        free(path);
    }
    return NULL;
}

const char *jsonpath_text(const struct jsonpath *path)
{
    return path->text;
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

/* ── evaluation ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

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
    struct scalar s = {.kind = OPERAND_NONE};

    if (yyjson_is_str(value))
        s = (struct scalar){.kind = OPERAND_STRING, .string = yyjson_get_str(value), .length = yyjson_get_len(value)};
    else if (yyjson_is_num(value))
        s = (struct scalar){.kind = OPERAND_NUMBER, .number = yyjson_get_num(value)};
    else if (yyjson_is_bool(value))
        s = (struct scalar){.kind = OPERAND_BOOL, .boolean = yyjson_get_bool(value)};
    else if (yyjson_is_null(value))
        s.kind = OPERAND_NULL;
    return s;
}

/* 1: has a value, 0: the path finds nothing, -1: limit. */
static int operand_value(struct evaluation *e, const struct operand *operand, struct yyjson_val *current,
                         struct scalar *ret_scalar)
{
    CLEANUP(json_values_done) struct json_values found = {0};

    if (operand->kind != OPERAND_PATH) {
        *ret_scalar = (struct scalar){.kind = operand->kind,
                                      .string = operand->string,
                                      .length = operand->string ? strlen(operand->string) : 0,
                                      .number = operand->number,
                                      .boolean = operand->boolean};
        return 1;
    }
    if (add(e, &found, operand->from_root ? e->root : current) < 0 || run(e, &operand->path, 0, &found) < 0)
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
    case OPERAND_STRING:
        return a->length == b->length && memcmp(a->string, b->string, a->length) == 0;
    case OPERAND_NUMBER:
        return a->number <= b->number && a->number >= b->number;
    case OPERAND_BOOL:
        return a->boolean == b->boolean;
    case OPERAND_NULL:
        return true;
    case OPERAND_NONE:
    case OPERAND_PATH:
        break;
    }
    return false;
}

/* Only strings and numbers have an order. */
static bool scalars_less(const struct scalar *a, const struct scalar *b)
{
    if (a->kind == OPERAND_NUMBER && b->kind == OPERAND_NUMBER)
        return a->number < b->number;
    if (a->kind != OPERAND_STRING || b->kind != OPERAND_STRING)
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
