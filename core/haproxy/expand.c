/* In haproxy.cfg a value is written between single quotes, in which no character is special; a single quote in it is
 * written as '\''. Outside of quotes and between double quotes, the quoted value is a piece of the word ("…"'value'"…"
 * is one word). Between single quotes the value is written as it is. So the open quotes at a handle must be known: the
 * line is parsed from its beginning by the rules of HAProxy's parser.
 */
#include "haproxy/expand.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define BLANKS " \t"

enum quoting { PLAIN, WEAK, STRONG, COMMENT };

/* The open quotes at `at`, parsed from `from` on. False when `at` itself is escaped. */
static bool quoting_advance(enum quoting *state, const char *from, const char *at)
{
    const char *c = from;
    for (; c < at; c++) {
        if (*c == '\n') {
            *state = PLAIN;
        } else if (*state == COMMENT) {
            continue;
        } else if (*c == '\\' && *state != STRONG) {
            c++;
        } else if (*c == '\'' && *state != WEAK) {
            *state = *state == STRONG ? PLAIN : STRONG;
        } else if (*c == '"' && *state != STRONG) {
            *state = *state == WEAK ? PLAIN : WEAK;
        } else if (*c == '#' && *state == PLAIN) {
            *state = COMMENT;
        }
    }
    return c == at;
}

/* The beginning of the line that contains `at`, as HAProxy parses it. In haproxy.cfg an escaped newline does not end a
 * line. */
static const char *line_begin(enum expand_as as, const char *text, const char *at)
{
    while (at > text && !(at[-1] == '\n' && (as != EXPAND_CONFIG || at - 1 == text || at[-2] != '\\')))
        at--;
    return at;
}

static bool has_any(const struct vault_value *value, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memchr(value->bytes, bytes[i], value->length))
            return true;
    return false;
}

static int refuse(const struct vault_value *value, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "Secret %s, key %s: the value %s", value->secret, value->key, why);
}

/* Appends the value in the form that the handle asks for. */
static void put_byte(struct buf *out, const struct vault_value *value, char c)
{
    if (value->form == VAULT_FORMAT && c == '%')
        buf_putc(out, '%');
    if (value->form == VAULT_REGEX && c && strchr("^$.[]|()?*+{}\\/-", c))
        buf_putc(out, '\\');
    buf_putc(out, c);
}

static void put_bytes(struct buf *out, const struct vault_value *value)
{
    if (value->form == VAULT_PLAIN) {
        buf_add(out, value->bytes, value->length);
        return;
    }
    for (size_t i = 0; i < value->length; i++)
        put_byte(out, value, value->bytes[i]);
}

static void put_strong(struct buf *out, const struct vault_value *value)
{
    for (size_t i = 0; i < value->length; i++)
        if (value->bytes[i] == '\'')
            buf_puts(out, "'\\''");
        else
            put_byte(out, value, value->bytes[i]);
}

static int put_in_config(struct buf *out, enum quoting state, const struct vault_value *value, struct err *err)
{
    if (has_any(value, "\0\n\r", 3))
        return refuse(value, "has a line end or a NUL, which no word of haproxy.cfg can have", err);
    if (state != STRONG)
        buf_puts(out, state == WEAK ? "\"'" : "'");
    put_strong(out, value);
    if (state != STRONG)
        buf_puts(out, state == WEAK ? "'\"" : "'");
    return 0;
}

static int put_in_key(struct buf *out, bool first, bool alone, const struct vault_value *value, struct err *err)
{
    if (has_any(value, "\0\n\r \t", 5))
        return refuse(value, "has a blank, a line end or a NUL, which no key of a map can have", err);
    if (alone && value->length == 0)
        return refuse(value, "is empty, which no key of a map can be", err);
    if (first && value->length && value->bytes[0] == '#')
        return refuse(value, "begins with \"#\", which makes a comment of a map's line", err);
    put_bytes(out, value);
    return 0;
}

static int put_in_value(struct buf *out, bool first, const struct vault_value *value, struct err *err)
{
    if (has_any(value, "\0\n\r", 3))
        return refuse(value, "has a line end or a NUL, which no value of a map can have", err);
    if (first && (value->length == 0 || strchr(BLANKS, value->bytes[0])))
        return refuse(value, "is empty or begins with a blank, which no value of a map can", err);
    put_bytes(out, value);
    return 0;
}

/* For a map's line: the key ends at the first blank. */
static int put_in_map(struct buf *out, const char *line, const char *at, const char *end,
                      const struct vault_value *value, struct err *err)
{
    const char *key = line + strspn(line, BLANKS), *blank = key;
    while (blank < at && !strchr(BLANKS, *blank))
        blank++;
    if (blank < at)
        return put_in_value(out, blank + strspn(blank, BLANKS) == at, value, err);
    const char *after = at + VAULT_HANDLE_LENGTH;
    return put_in_key(out, key == at, key == at && (after == end || strchr(BLANKS "\n", *after)), value, err);
}

static int put(struct buf *out, enum expand_as as, const char *text, const char *at, const char *end,
               enum quoting state, const struct vault_value *value, struct err *err)
{
    switch (as) {
    case EXPAND_CONFIG:
        return put_in_config(out, state, value, err);
    case EXPAND_MAP:
        return put_in_map(out, line_begin(as, text, at), at, end, value, err);
    case EXPAND_MAP_KEY:
        return put_in_key(out, at == text, at == text && at + VAULT_HANDLE_LENGTH == end, value, err);
    case EXPAND_MAP_VALUE:
        return put_in_value(out, at == text, value, err);
    case EXPAND_FILE:
        put_bytes(out, value);
        return 0;
    }
    return 0;
}

int expand(struct vault *v, enum expand_as as, const char *text, size_t length, struct buf *out, size_t *ret_at,
           struct err *err)
{
    const char *end = text + length, *done = text, *read = text;
    enum quoting state = PLAIN;
    bool whole;

    for (const char *at = text; (at = vault_find(at, (size_t)(end - at), &whole));) {
        bool escaped = false;
        if (ret_at)
            *ret_at = (size_t)(at - text);
        if (as == EXPAND_CONFIG) {
            const char *line = line_begin(as, read, at);
            if (line > read) {
                state = PLAIN;
                read = line;
            }
            escaped = !quoting_advance(&state, read, at);
        }
        if (state == COMMENT) {
            at += sizeof(VAULT_PREFIX) - 1;
            read = at;
            continue;
        }
        struct vault_value value;
        if (!whole || escaped)
            return err_set(err, ERR_NOTFOUND, "the handle of a Secret's value was %s: emit it as it is",
                           escaped ? "put behind a backslash" : "cut");
        if (vault_get(v, at, &value, err) < 0)
            return -1;
        size_t most = (size_t)(end - done) + 4 * value.length + 8, max = out->max ? out->max : BUF_MAX_DEFAULT;
        if (most > max || out->length > max - most)
            return err_set(err, ERR_LIMIT, "with the values of Secrets in it a text would have more than %zu bytes",
                           max);
        buf_add(out, done, (size_t)(at - done));
        if (put(out, as, text, at, end, state, &value, err) < 0)
            return -1;
        at += VAULT_HANDLE_LENGTH;
        done = read = at;
    }
    buf_add(out, done, (size_t)(end - done));
    return 0;
}

int expand_buf(struct vault *v, enum expand_as as, struct buf *text, bool *ret_expanded, struct err *err)
{
    struct buf out = {.max = text->max};
    bool any = text->length && vault_is_in(text->data, text->length);

    if (ret_expanded)
        *ret_expanded = any;
    if (!any)
        return 0;
    if (expand(v, as, text->data, text->length, &out, NULL, err) < 0) {
        expand_wipe(&out);
        return -1;
    }
    buf_done(text);
    *text = out;
    return 0;
}

void expand_wipe(struct buf *text)
{
    if (text->data)
        explicit_bzero(text->data, text->capacity);
    buf_done(text);
}
