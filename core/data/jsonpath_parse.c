/* By recursive descent: one function for each thing in the grammar, a cursor that only moves forward, and accept() for
 * a word that may be there. What is half made is freed by whoever holds the list that it is in.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "data/jsonpath_state.h"

struct parser {
    const char *text;
    size_t at;
    unsigned nesting;
    bool in_filter;
    struct err *err;
};

static void steps_done(struct steps *steps);

static void operand_done(struct operand *operand)
{
    steps_done(&operand->path);
    free((char *)(uintptr_t)operand->literal.string);
}

static void steps_done(struct steps *steps)
{
    for (size_t i = 0; i < steps->length; i++) {
        struct step *step = &steps->items[i];
        free(step->name);
        steps_done(&step->parts);
        operand_done(&step->left);
        operand_done(&step->right);
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
    struct scalar *literal = &operand->literal;

    skip_space(p);
    char c = p->text[p->at];
    if (c == '"' || c == '\'') {
        literal->kind = SCALAR_STRING;
        if (!(literal->string = parse_quoted(p)))
            return -1;
        literal->length = strlen(literal->string);
        return 0;
    }
    if (c == '-' || c == '+' || is_digit(c)) {
        literal->kind = SCALAR_NUMBER;
        return parse_number(p, &literal->number);
    }
    if (c == '@' || c == '$') {
        operand->kind = c == '$' ? OPERAND_PATH_FROM_ROOT : OPERAND_PATH;
        p->at++;
        return parse_steps(p, &operand->path);
    }
    size_t start = p->at;
    CLEANUP(free_ptr) char *word = parse_name(p);
    literal->kind = SCALAR_BOOL;
    literal->boolean = word && strcmp(word, "true") == 0;
    if (word && (literal->boolean || strcmp(word, "false") == 0))
        return 0;
    literal->kind = SCALAR_NULL;
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
    } else if (step->left.kind == OPERAND_LITERAL) {
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
        free(path);
    }
    return NULL;
}
