/* Looks at each line by itself. A line that sets variables or chooses a backend is a step: a set of names that a value
 * comes from, and a set of names that it goes to. Names are "maps/NAME" and "txn.NAME"; the choice of a backend is the
 * name "". Equal steps are stored once, so ten thousand backends with the same rules have only a few steps.
 */
#include "agent/map_uses.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

#define FOLDER "maps/"
#define CHOICE ""

/* ---- single uses ---- */

/* True for a character that ends the name of a map. */
static bool is_stop(char c)
{
    return strchr("), \t\n\"'", c) != NULL;
}

/* Look-ups that accept any text as a key, without the suffix for the type of values. */
static const char *const lookups[] = {"map", "map_str", "map_beg", "map_sub", "map_end", "map_dir", "map_dom"};
enum { LOOKUPS_BY_KEY = 3 }; /* the first ones match a key exactly; the others match parts */

/* "map_beg_int": base is "map_beg", and the values are integers. */
static void lookup_read(const char *word, size_t length, struct map_use *use)
{
    static const char *const types[] = {"_str", "_int", "_ip"};
    for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
        size_t base = strlen(lookups[i]), rest = length - base;
        if (length < base || memcmp(word, lookups[i], base) != 0)
            continue;
        for (size_t t = 0; t <= ARRAY_LEN(types); t++) {
            const char *type = t == 0 ? "" : types[t - 1];
            /* "map_str" is a look-up by itself; "map_int" has integers as keys. */
            if (rest != strlen(type) || memcmp(word + base, type, rest) != 0 || (i == 0 && t > 0))
                continue;
            use->any_key = true;
            use->by_key = i < LOOKUPS_BY_KEY;
            use->integers = t == 2;
            use->addresses = t == 3;
        }
    }
}

bool map_use_next(const char **at, const char *end, struct map_use *ret_use)
{
    const char *folder = memmem(*at, (size_t)(end - *at), FOLDER, strlen(FOLDER));
    if (!folder)
        return false;
    const char *name = folder + strlen(FOLDER), *stop = name, *word;
    while (stop < end && !is_stop(*stop))
        stop++;
    *ret_use = (struct map_use){.name = name, .name_length = (size_t)(stop - name)};
    if (folder > *at && folder[-1] == '(') {
        word = folder - 1;
        while (word > *at && (word[-1] == '_' || (word[-1] >= 'a' && word[-1] <= 'z')))
            word--;
        lookup_read(word, (size_t)(folder - 1 - word), ret_use);
    }
    *at = stop;
    return true;
}

/* ---- steps ---- */

struct map_step {
    VEC(char *) from;
    VEC(char *) to;
};

static void step_free(struct map_step *s)
{
    for (size_t i = 0; i < s->from.length; i++)
        free(s->from.items[i]);
    for (size_t i = 0; i < s->to.length; i++)
        free(s->to.items[i]);
    vec_done(&s->from);
    vec_done(&s->to);
    free(s);
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-' || c == '/';
}

static bool begins(const char *word, size_t length, const char *with)
{
    return length > strlen(with) && memcmp(word, with, strlen(with)) == 0;
}

/* The variable that a word names; NULL: none. "ptxn.a" is "txn.a" of the parent stream. Where the parent has set it is
 * unknown, so it counts as the same variable. */
static const char *variable_of(const char *word, size_t length)
{
    static const char *const scopes[] = {"txn.", "req.", "res.", "sess.", "proc.", "check."};
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        if (begins(word, length, scopes[i]))
            return word;
        if (*word == 'p' && begins(word + 1, length - 1, scopes[i]))
            return word + 1;
    }
    return NULL;
}

static bool is_word(const char *word, size_t length, const char *other)
{
    return length == strlen(other) && memcmp(word, other, length) == 0;
}

/* Collects the variables that a line sets (set-var, set-var-fmt), whether it chooses a backend, and the maps and
 * variables that these values come from. A line can read a variable that it sets. */
static struct map_step *step_read(const char *line, const char *end)
{
    struct map_step *s = xcalloc(1, sizeof(*s));
    bool sets = false, first = true;
    for (const char *at = line; at < end;) {
        if (!is_name(*at)) {
            at++;
            continue;
        }
        const char *word = at;
        while (at < end && (is_name(*at) || (begins(word, (size_t)(at - word) + 1, FOLDER) && !is_stop(*at))))
            at++;
        size_t length = (size_t)(at - word);
        if (first && (is_word(word, length, "use_backend") || is_word(word, length, "use-server") ||
                      is_word(word, length, "default_backend")))
            vec_push(&s->to, xstrdup(CHOICE));
        first = false;
        const char *variable = variable_of(word, length), *name = variable ? variable : word;
        if (sets)
            vec_push(&s->to, xmemdup0(name, length - (size_t)(name - word)));
        else if (variable || begins(word, length, FOLDER))
            vec_push(&s->from, xmemdup0(name, length - (size_t)(name - word)));
        sets = at < end && *at == '(' && (is_word(word, length, "set-var") || is_word(word, length, "set-var-fmt"));
    }
    return s;
}

/* "maps/a txn.b > txn.c " */
static void step_write(struct buf *out, const struct map_step *s)
{
    buf_clear(out);
    for (size_t i = 0; i < s->from.length; i++)
        buf_printf(out, "%s ", s->from.items[i]);
    buf_puts(out, "> ");
    for (size_t i = 0; i < s->to.length; i++)
        buf_printf(out, "%s ", s->to.items[i]);
}

void map_flow_see(struct map_flow *flow, const char *text, size_t length)
{
    CLEANUP(buf_done) struct buf names = {0};
    const char *end = text + length;
    if (!memmem(text, length, "set-var", 7) && !memmem(text, length, "use_backend", 11) &&
        !memmem(text, length, "use-server", 10) && !memmem(text, length, "default_backend", 15))
        return;
    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        struct map_step *s = step_read(line, stop);
        step_write(&names, s);
        if (!s->to.length || !s->from.length || map_get(&flow->steps, buf_str(&names)))
            step_free(s);
        else
            map_put(&flow->steps, buf_str(&names), s);
        line = stop + (stop < end);
    }
}

static bool leads(const struct map *leading, const struct map_step *s)
{
    for (size_t i = 0; i < s->to.length; i++)
        if (map_get(leading, s->to.items[i]))
            return true;
    return false;
}

void map_flow_each(struct map_flow *flow, void (*fn)(void *ctx, const char *map_name), void *ctx)
{
    struct map leading = {0};
    struct map_slot *slot;
    size_t before;
    map_put(&leading, CHOICE, flow);
    do { /* backwards from the choice until nothing is added: at most one round for each step of the longest way */
        before = leading.count;
        for (size_t it = 0; (slot = map_next(&flow->steps, &it));) {
            const struct map_step *s = slot->value;
            if (!leads(&leading, s))
                continue;
            for (size_t i = 0; i < s->from.length; i++)
                map_put(&leading, s->from.items[i], flow);
        }
    } while (leading.count > before);
    for (size_t it = 0; (slot = map_next(&leading, &it));)
        if (begins(slot->key, slot->key_length, FOLDER))
            fn(ctx, slot->key + strlen(FOLDER));
    map_done(&leading);
}

void map_flow_done(struct map_flow *flow)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&flow->steps, &it));)
        step_free(slot->value);
    map_done(&flow->steps);
}
