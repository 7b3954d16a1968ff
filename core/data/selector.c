/* A label selector is a list of requirements, each with its set of values; a field selector a list of compiled paths
 * and values. All must hold. Both are read by hand in one pass, because their grammars have no nesting. */
#include "data/selector.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/jsonpath.h"

/* ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

enum label_operator { LABEL_EXISTS, LABEL_ABSENT, LABEL_IN, LABEL_NOT_IN, LABEL_GREATER, LABEL_LESS };

struct requirement {
    enum label_operator operator;
    char *key;
    VEC(char *) values;
    int64_t number; /* GREATER, LESS */
};

struct label_selector {
    VEC(struct requirement) requirements;
};

struct label_parser {
    const char *text;
    size_t at;
    struct err *err;
};

static int fail(const struct label_parser *p, const char *expected)
{
    if (!p->text[p->at])
        return err_set(p->err, ERR_INVALID, "label selector \"%.200s\": at the end: expected %s", p->text, expected);
    return err_set(p->err, ERR_INVALID, "label selector \"%.200s\": at character %zu: expected %s", p->text, p->at + 1,
                   expected);
}

static void skip_space(struct label_parser *p)
{
    while (p->text[p->at] && strchr(" \t\r\n", p->text[p->at]))
        p->at++;
}

static bool accept(struct label_parser *p, const char *symbol)
{
    size_t length = strlen(symbol);

    skip_space(p);
    if (strncmp(p->text + p->at, symbol, length) != 0)
        return false;
    p->at += length;
    return true;
}

static char *parse_word(struct label_parser *p)
{
    skip_space(p);
    size_t length = strcspn(p->text + p->at, " \t\r\n,()=!<>");
    char *word = xmemdup0(p->text + p->at, length);
    p->at += length;
    return word;
}

/* Letters, digits, - _ . inside; a key may have a prefix and a slash. */
static bool is_label_word(const char *word, bool is_key)
{
    static const char inner[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *slash = is_key ? strchr(word, '/') : NULL, *name = slash ? slash + 1 : word;

    if (slash && (slash == word || slash - word > 253 || (size_t)(slash - word) != strspn(word, inner)))
        return false;
    if (strlen(name) > 63 || name[strspn(name, inner)])
        return false;
    return is_key ? *name != '\0' : true;
}

static bool parse_int64(const char *word, int64_t *ret_number)
{
    char *end;

    long long number = strtoll(word, &end, 10);
    *ret_number = number;
    return *word && !*end;
}

static int parse_value(struct label_parser *p, struct requirement *requirement)
{
    skip_space(p);
    size_t start = p->at;
    char *value = parse_word(p);

    vec_push(&requirement->values, value);
    if (is_label_word(value, false))
        return 0;
    p->at = start;
    return fail(p, "a label value: at most 63 letters, digits, '-', '_' and '.'");
}

static int parse_set(struct label_parser *p, struct requirement *requirement)
{
    if (!accept(p, "("))
        return fail(p, "(");
    do {
        if (parse_value(p, requirement) < 0)
            return -1;
    } while (accept(p, ","));
    return accept(p, ")") ? 0 : fail(p, ", or )");
}

static int parse_operator(struct label_parser *p, struct requirement *requirement)
{
    skip_space(p);
    if (!p->text[p->at] || p->text[p->at] == ',') {
        requirement->operator= LABEL_EXISTS;
        return 0;
    }
    if (accept(p, "!=")) {
        requirement->operator= LABEL_NOT_IN;
        return parse_value(p, requirement);
    }
    if (accept(p, "==") || accept(p, "=")) {
        requirement->operator= LABEL_IN;
        return parse_value(p, requirement);
    }
    if (p->text[p->at] == '<' || p->text[p->at] == '>') {
        requirement->operator= p->text[p->at++] == '<' ? LABEL_LESS : LABEL_GREATER;
        skip_space(p);
        size_t start = p->at;
        CLEANUP(free_ptr) char *word = parse_word(p);
        if (parse_int64(word, &requirement->number))
            return 0;
        p->at = start;
        return fail(p, "an integer");
    }
    size_t start = p->at;
    CLEANUP(free_ptr) char *word = parse_word(p);
    requirement->operator= strcmp(word, "in") == 0 ? LABEL_IN : LABEL_NOT_IN;
    if (requirement->operator== LABEL_IN || strcmp(word, "notin") == 0)
        return parse_set(p, requirement);
    p->at = start;
    return fail(p, "=, ==, !=, in, notin, <, > or ,");
}

static int parse_requirement(struct label_parser *p, struct label_selector *s)
{
    vec_push(&s->requirements, (struct requirement){0});
    struct requirement *requirement = &s->requirements.items[s->requirements.length - 1];
    bool negated = accept(p, "!");

    skip_space(p);
    size_t start = p->at;
    requirement->key = parse_word(p);
    if (!is_label_word(requirement->key, true)) {
        p->at = start;
        return fail(p, "a label key");
    }
    requirement->operator= LABEL_ABSENT;
    return negated ? 0 : parse_operator(p, requirement);
}

int label_selector_compile(const char *text, struct label_selector **ret_selector, struct err *err)
{
    struct label_parser p = {.text = text ? text : "", .err = err};

    if (strlen(p.text) > SELECTOR_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a label selector of more than %d bytes", SELECTOR_BYTES_MAX);
    struct label_selector *s = xcalloc(1, sizeof(*s));
    skip_space(&p);
    if (p.text[p.at]) {
        int result;
        do
            result = parse_requirement(&p, s);
        while (result == 0 && accept(&p, ","));
        skip_space(&p);
        if (result == 0 && p.text[p.at])
            result = fail(&p, ", or the end");
        if (result < 0) {
            label_selector_free(s);
            return -1;
        }
    }
    *ret_selector = s;
    return 0;
}

struct label_selector *label_selector_free(struct label_selector *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->requirements.length; i++) {
        struct requirement *requirement = &s->requirements.items[i];
        for (size_t k = 0; k < requirement->values.length; k++)
            free(requirement->values.items[k]);
        vec_done(&requirement->values);
        free(requirement->key);
    }
    vec_done(&s->requirements);
    free(s);
    return NULL;
}

static bool requirement_holds(const struct requirement *requirement, const char *value)
{
    int64_t number;

    switch (requirement->operator) {
    case LABEL_EXISTS:
        return value != NULL;
    case LABEL_ABSENT:
        return value == NULL;
    case LABEL_IN:
    case LABEL_NOT_IN:
        for (size_t i = 0; value && i < requirement->values.length; i++)
            if (strcmp(value, requirement->values.items[i]) == 0)
                return requirement->operator== LABEL_IN;
        return requirement->operator== LABEL_NOT_IN;
    case LABEL_GREATER:
        return value && parse_int64(value, &number) && number > requirement->number;
    case LABEL_LESS:
        return value && parse_int64(value, &number) && number < requirement->number;
    }
    return false;
}

bool label_selector_matches(const struct label_selector *s, struct yyjson_val *labels)
{
    for (size_t i = 0; i < s->requirements.length; i++)
        if (!requirement_holds(&s->requirements.items[i], json_str(labels, s->requirements.items[i].key)))
            return false;
    return true;
}

/* ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct term {
    struct jsonpath *path;
    char *value;
    bool equal;
};

struct field_selector {
    VEC(struct term) terms;
};

/* Up to an unescaped comma; value's \\ \, \= are unescaped. */
static int parse_term(const char **text, struct field_selector *s, struct err *err)
{
    const char *start = *text, *sign = start;
    CLEANUP(buf_done) struct buf value = {0};
    int brackets = 0;

    /* The path may hold = in a filter, which only occurs in brackets. */
    for (; *sign && (brackets > 0 || (*sign != '=' && *sign != '!' && *sign != ',')); sign++) {
        if (*sign == '\\' && sign[1])
            sign++;
        else if (*sign == '[')
            brackets++;
        else if (*sign == ']')
            brackets--;
    }
    bool equal = *sign == '=';
    size_t sign_length = equal ? 1 + (sign[1] == '=') : 2;
    if (!equal && !(*sign == '!' && sign[1] == '='))
        return err_set(err, ERR_INVALID, "field selector: \"%.200s\": expected path=value or path!=value", start);

    vec_push(&s->terms, ((struct term){.equal = equal}));
    struct term *term = &s->terms.items[s->terms.length - 1];
    CLEANUP(free_ptr) char *path = xmemdup0(start, (size_t)(sign - start));
    if (jsonpath_compile(path, &term->path, err) < 0)
        return err_wrap(err, "field selector");
    const char *at = sign + sign_length;
    for (; *at && *at != ','; at++) {
        if (*at == '\\' && at[1] && strchr("\\,=", at[1]))
            at++;
        buf_putc(&value, *at);
    }
    term->value = buf_steal(&value);
    *text = at;
    return 0;
}

int field_selector_compile(const char *text, struct field_selector **ret_selector, struct err *err)
{
    if (text && strlen(text) > SELECTOR_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a field selector of more than %d bytes", SELECTOR_BYTES_MAX);
    struct field_selector *s = xcalloc(1, sizeof(*s));
    while (text && *text) {
        if (parse_term(&text, s, err) < 0) {
            field_selector_free(s);
            return -1;
        }
        if (*text == ',')
            text++;
    }
    *ret_selector = s;
    return 0;
}

struct field_selector *field_selector_free(struct field_selector *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->terms.length; i++) {
        jsonpath_free(s->terms.items[i].path);
        free(s->terms.items[i].value);
    }
    vec_done(&s->terms);
    free(s);
    return NULL;
}

bool field_selector_matches(const struct field_selector *s, struct yyjson_val *object)
{
    for (size_t i = 0; i < s->terms.length; i++) {
        CLEANUP(buf_done) struct buf text = {0};
        const struct term *term = &s->terms.items[i];
        bool readable = json_scalar_text(jsonpath_first(term->path, object), &text, NULL) == 0;
        bool equal = readable && text.length == strlen(term->value) &&
                     memcmp(buf_str(&text), term->value, text.length) == 0;
        if (equal != term->equal)
            return false;
    }
    return true;
}
