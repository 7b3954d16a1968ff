/* The text is scanned for depth before yyjson sees it, so every later walk may recurse; the parsed values, which
 * yyjson keeps in one array in document order, are then scanned for equal keys. Writing is our own so that pruned
 * fields are skipped on the way: the paths still followed are bits of one word, and a word of zero means that nothing
 * below can be pruned. */
#include "data/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/map.h"
#include "data/jsonpath.h"

/* ── parsing ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void position_of(const char *bytes, size_t length, size_t offset, struct json_position *ret_at)
{
    size_t line = 1, start = 0;

    for (size_t i = 0; i < length && i < offset; i++)
        if (bytes[i] == '\n') {
            line++;
            start = i + 1;
        }
    ret_at->line = line;
    ret_at->column = offset - start + 1;
}

/* The offset of the bracket that nests too deep, or length. */
static size_t depth_scan(const char *bytes, size_t length)
{
    unsigned depth = 0;

    for (size_t i = 0; i < length; i++) {
        switch (bytes[i]) {
        case '"':
            for (i++; i < length && bytes[i] != '"'; i++)
                if (bytes[i] == '\\')
                    i++;
            break;
        case '[':
        case '{':
            if (++depth > JSON_DEPTH_MAX)
                return i;
            break;
        case ']':
        case '}':
            if (depth > 0)
                depth--;
            break;
        }
    }
    return length;
}

/* Up to this many keys are compared pair by pair, more go through a table. */
#define KEYS_PAIRWISE 16

static struct yyjson_val *object_equal_key(struct yyjson_val *object)
{
    struct yyjson_val *keys[KEYS_PAIRWISE], *key, *found = NULL;
    size_t count = yyjson_obj_size(object), seen = 0;
    yyjson_obj_iter it = yyjson_obj_iter_with(object);

    if (count <= KEYS_PAIRWISE) {
        while ((key = yyjson_obj_iter_next(&it))) {
            size_t length = yyjson_get_len(key);
            for (size_t i = 0; i < seen; i++)
                if (yyjson_get_len(keys[i]) == length &&
                    memcmp(yyjson_get_str(keys[i]), yyjson_get_str(key), length) == 0)
                    return key;
            keys[seen++] = key;
        }
        return NULL;
    }
    struct map table;
    map_init(&table, true);
    while (!found && (key = yyjson_obj_iter_next(&it)))
        if (map_putn(&table, yyjson_get_str(key), yyjson_get_len(key), key))
            found = key;
    map_done(&table);
    return found;
}

static int parse(const char *bytes, size_t length, size_t max_bytes, struct yyjson_doc **ret_doc,
                 struct json_position *ret_at, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    yyjson_read_err problem;

    *ret_at = (struct json_position){0};
    if (length > max_bytes)
        return err_set(err, ERR_LIMIT, "%zu bytes of JSON are more than the maximum of %zu", length, max_bytes);
    size_t deep = depth_scan(bytes, length);
    if (deep < length) {
        position_of(bytes, length, deep, ret_at);
        return err_set(err, ERR_LIMIT, "JSON nested deeper than %d levels", JSON_DEPTH_MAX);
    }
    /* Without YYJSON_READ_INSITU the input is not written to: the cast only serves the signature. */
    doc = yyjson_read_opts((char *)(uintptr_t)bytes, length, YYJSON_READ_BIGNUM_AS_RAW, NULL, &problem);
    if (!doc) {
        if (length > 0)
            position_of(bytes, length, problem.pos, ret_at);
        return err_set(err, ERR_INVALID, "%s", length > 0 ? problem.msg : "no JSON: the text is empty");
    }

    struct yyjson_val *values = yyjson_doc_get_root(doc);
    size_t count = yyjson_doc_get_val_count(doc);
    for (size_t i = 0; i < count; i++) {
        struct yyjson_val *key = yyjson_is_obj(&values[i]) ? object_equal_key(&values[i]) : NULL;
        if (key)
            return err_set(err, ERR_INVALID, "the key \"%.200s\" occurs twice in one object", yyjson_get_str(key));
    }
    *ret_doc = STEAL(doc);
    return 0;
}

int json_parse_at(const char *bytes, size_t length, size_t max_bytes, struct yyjson_doc **ret_doc,
                  struct json_position *ret_at, struct err *err)
{
    return parse(bytes, length, max_bytes, ret_doc, ret_at, err);
}

int json_parse(const char *bytes, size_t length, size_t max_bytes, struct yyjson_doc **ret_doc, struct err *err)
{
    struct json_position at;

    if (parse(bytes, length, max_bytes, ret_doc, &at, err) == 0)
        return 0;
    return at.line ? err_wrap(err, "line %zu, column %zu", at.line, at.column) : -1;
}

void json_doc_done(struct yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
    *doc = NULL;
}

/* ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct yyjson_val *json_walk(struct yyjson_val *value, ...)
{
    const char *key;
    va_list keys;

    va_start(keys, value);
    while (value && (key = va_arg(keys, const char *)))
        value = yyjson_obj_get(value, key);
    va_end(keys);
    return value;
}

const char *json_str_of(struct yyjson_val *value)
{
    const char *string = yyjson_get_str(value);

    return string && strlen(string) == yyjson_get_len(value) ? string : NULL;
}

int64_t json_int_of(struct yyjson_val *value, int64_t fallback)
{
    if (yyjson_is_uint(value))
        return yyjson_get_uint(value) <= INT64_MAX ? (int64_t)yyjson_get_uint(value) : fallback;
    if (yyjson_is_sint(value))
        return yyjson_get_sint(value);
    if (yyjson_is_real(value)) {
        double real = yyjson_get_real(value);
        if (fabs(real) < 9007199254740992.0 && floor(real) == real)
            return (int64_t)real;
    }
    return fallback;
}

bool json_bool_of(struct yyjson_val *value, bool fallback)
{
    return yyjson_is_bool(value) ? yyjson_get_bool(value) : fallback;
}

/* ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Most pieces fit; the buffer is asked only when they do not. */
static inline int put(struct buf *out, const char *bytes, size_t length, struct err *err)
{
    size_t max = out->max ? out->max : BUF_MAX_DEFAULT;

    if (out->capacity > out->length && out->capacity - out->length > length && max - out->length >= length) {
        memcpy(out->data + out->length, bytes, length);
        out->length += length;
        out->data[out->length] = '\0';
        return 0;
    }
    return buf_try_add(out, bytes, length, err);
}

int json_write_string(struct buf *out, const char *bytes, size_t length, struct err *err)
{
    size_t start = 0;

    if (put(out, "\"", 1, err) < 0)
        return -1;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char escape[8];
        size_t escape_length = 2;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        escape[0] = '\\';
        switch (c) {
        case '"':
        case '\\':
            escape[1] = (char)c;
            break;
        case '\n':
            escape[1] = 'n';
            break;
        case '\t':
            escape[1] = 't';
            break;
        case '\r':
            escape[1] = 'r';
            break;
        case '\b':
            escape[1] = 'b';
            break;
        case '\f':
            escape[1] = 'f';
            break;
        default:
            memcpy(escape + 1, "u00", 3);
            escape[4] = (char)('0' + (c >> 4));
            escape[5] = "0123456789abcdef"[c & 15];
            escape_length = 6;
        }
        if (put(out, bytes + start, i - start, err) < 0 || put(out, escape, escape_length, err) < 0)
            return -1;
        start = i + 1;
    }
    if (put(out, bytes + start, length - start, err) < 0)
        return -1;
    return put(out, "\"", 1, err);
}

static int write_uint(struct buf *out, uint64_t number, bool negative, struct err *err)
{
    char digits[24];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    if (negative)
        digits[--at] = '-';
    return put(out, digits + at, sizeof(digits) - at, err);
}

static int write_number(struct buf *out, struct yyjson_val *value, struct err *err)
{
    if (yyjson_is_uint(value))
        return write_uint(out, yyjson_get_uint(value), false, err);
    if (yyjson_is_sint(value)) {
        int64_t number = yyjson_get_sint(value);
        return number < 0 ? write_uint(out, 0 - (uint64_t)number, true, err)
                          : write_uint(out, (uint64_t)number, false, err);
    }
    size_t length = 0;
    CLEANUP(free_ptr) char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &length);
    if (!text)
        return err_set(err, ERR_INVALID, "a number that JSON cannot hold");
    return put(out, text, length, err);
}

static int write_scalar(struct buf *out, struct yyjson_val *value, struct err *err)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_STR:
        return json_write_string(out, yyjson_get_str(value), yyjson_get_len(value), err);
    case YYJSON_TYPE_RAW:
        return put(out, yyjson_get_raw(value), yyjson_get_len(value), err);
    case YYJSON_TYPE_NUM:
        return write_number(out, value, err);
    case YYJSON_TYPE_BOOL:
        return yyjson_get_bool(value) ? put(out, "true", 4, err) : put(out, "false", 5, err);
    default:
        return put(out, "null", 4, err);
    }
}

int json_scalar_text(struct yyjson_val *value, struct buf *out, struct err *err)
{
    if (yyjson_is_str(value))
        return put(out, yyjson_get_str(value), yyjson_get_len(value), err);
    if (!value || yyjson_is_null(value) || yyjson_is_ctn(value))
        return 0;
    if (yyjson_is_real(value)) {
        int64_t whole = json_int_of(value, INT64_MIN);
        if (whole != INT64_MIN)
            return write_uint(out, whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole, whole < 0, err);
    }
    return write_scalar(out, value, err);
}

/* Which of the active paths go on through this key (NULL: an array's element); true when one of them ends here. */
static bool prune_step(const struct json_prune *prune, uint64_t active, size_t depth, struct yyjson_val *key,
                       uint64_t *ret_next)
{
    *ret_next = 0;
    for (uint64_t rest = active; rest; rest &= rest - 1) {
        size_t i = (size_t)__builtin_ctzll(rest);
        const char *name = NULL;
        bool last = false;

        if (!jsonpath_plain_step(prune->paths[i], depth, &name, &last))
            continue;
        if (name && (!key || !yyjson_equals_str(key, name)))
            continue;
        if (last)
            return true;
        *ret_next |= UINT64_C(1) << i;
    }
    return false;
}

static int write_value(struct buf *out, struct yyjson_val *value, const struct json_prune *prune, uint64_t active,
                       size_t depth, struct err *err)
{
    bool first = true, is_object = yyjson_is_obj(value);
    struct yyjson_val *key = NULL, *item;
    yyjson_obj_iter members = {0};
    yyjson_arr_iter elements = {0};

    if (!yyjson_is_ctn(value))
        return write_scalar(out, value, err);
    if (depth > JSON_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "JSON nested deeper than %d levels", JSON_DEPTH_MAX);
    if (is_object)
        yyjson_obj_iter_init(value, &members);
    else
        yyjson_arr_iter_init(value, &elements);

    if (put(out, is_object ? "{" : "[", 1, err) < 0)
        return -1;
    for (;;) {
        uint64_t next = 0;
        if (is_object) {
            key = yyjson_obj_iter_next(&members);
            item = key ? yyjson_obj_iter_get_val(key) : NULL;
        } else {
            item = yyjson_arr_iter_next(&elements);
        }
        if (!item)
            break;
        if (active && prune_step(prune, active, depth, key, &next))
            continue;
        if (!first && put(out, ",", 1, err) < 0)
            return -1;
        first = false;
        if (key &&
            (json_write_string(out, yyjson_get_str(key), yyjson_get_len(key), err) < 0 || put(out, ":", 1, err) < 0))
            return -1;
        if (write_value(out, item, prune, next, depth + 1, err) < 0)
            return -1;
    }
    return put(out, is_object ? "}" : "]", 1, err);
}

int json_write(struct buf *out, struct yyjson_val *value, const struct json_prune *prune, struct err *err)
{
    uint64_t active = 0;

    if (prune && prune->count)
        active = UINT64_MAX >> (JSON_PRUNE_MAX - prune->count);
    return write_value(out, value, prune, active, 0, err);
}

/* ── pruning ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

int json_prune_add(struct json_prune *prune, const char *path, struct err *err)
{
    struct jsonpath *compiled = NULL;
    bool last = false;

    if (prune->count == JSON_PRUNE_MAX)
        return err_set(err, ERR_LIMIT, "more than %d ignored fields", JSON_PRUNE_MAX);
    if (jsonpath_compile(path, &compiled, err) < 0)
        return err_wrap(err, "ignored field \"%.200s\"", path);
    for (size_t i = 0; !last; i++) {
        const char *name;
        if (!jsonpath_plain_step(compiled, i, &name, &last)) {
            jsonpath_free(compiled);
            return err_set(err, ERR_INVALID, "ignored field \"%.200s\": only names and [*] can be used in the path",
                           path);
        }
    }
    prune->paths[prune->count++] = compiled;
    return 0;
}

void json_prune_done(struct json_prune *prune)
{
    for (size_t i = 0; i < prune->count; i++)
        jsonpath_free(prune->paths[i]);
    prune->count = 0;
}
