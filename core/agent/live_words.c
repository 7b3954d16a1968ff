/* Words of the texts: names that something may refer to, and files of authorities that servers keep. */
#include <string.h>

#include "agent/live.h"
#include "base/alloc.h"

/* The characters in names of sections; "/" is for paths of files. */
static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == ':' || c == '-' || c == '/';
}

/* Copies the next word at or after *at, without quotes and backslashes, into word; false at the end. */
static bool word_next(const char **at, const char *end, struct buf *word)
{
    buf_clear(word);
    for (; *at < end; ++*at) {
        if (is_word(**at))
            buf_putc(word, **at);
        else if (word->length && !strchr("\"'\\", **at))
            return true;
    }
    return word->length > 0;
}

/* Calls fn for a word, and for each of its parts between "/": "track app/s1" names a backend. True when fn returns
 * true. */
static bool each_part(const struct buf *word, bool (*fn)(void *ctx, const char *part, size_t length), void *ctx)
{
    const char *at = word->data, *end = at + word->length;
    if (fn(ctx, at, word->length))
        return true;
    if (!memchr(at, '/', word->length))
        return false;
    while (at < end) {
        const char *slash = memchr(at, '/', (size_t)(end - at)), *stop = slash ? slash : end;
        if (stop > at && fn(ctx, at, (size_t)(stop - at)))
            return true;
        at = stop + 1;
    }
    return false;
}

static bool is_name(void *ctx, const char *part, size_t length)
{
    const char *name = ctx;
    return strlen(name) == length && memcmp(part, name, length) == 0;
}

bool live_text_refers(const char *text, size_t length, const char *name)
{
    CLEANUP(buf_done) struct buf word = {0};
    const char *end = text + length;
    while (word_next(&text, end, &word))
        if (each_part(&word, is_name, (void *)(uintptr_t)name))
            return true;
    return false;
}

bool live_refers(const struct live *l, const char *name)
{
    return map_get(&l->words, name) != NULL;
}

static bool note_part(void *ctx, const char *part, size_t length)
{
    struct live *l = ctx;
    map_putn(&l->words, part, length, l);
    return false;
}

/* A server line refers to another section only when it tracks another server. */
void live_note_words(struct live *l, const char *text, size_t length)
{
    CLEANUP(buf_done) struct buf word = {0};
    const char *end = text + length;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop ? stop : end;
        while (text < stop && (*text == ' ' || *text == '\t'))
            text++;
        size_t n = (size_t)(stop - text);
        if (n < 7 || memcmp(text, "server ", 7) != 0 || memmem(text, n, "track", 5))
            while (word_next(&text, stop, &word))
                (void)each_part(&word, note_part, l);
        text = stop + (stop < end);
    }
}

/* ---- authorities of servers ---- */

static const char *word_behind(const char *words, size_t length, const char *wanted)
{
    for (const char *w = words, *end = words + length; w < end; w += strlen(w) + 1)
        if (strcmp(w, wanted) == 0)
            return w + strlen(w) + 1 < end ? w + strlen(w) + 1 : "";
    return NULL;
}

void live_note_trusted(struct live *l, const char *words, size_t length)
{
    static const char *const options[] = {"ca-file", "crl-file"};
    if (length == 0 || !memmem(words, length, "-file", 5) || word_behind(words, length, "crt"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const char *path = word_behind(words, length, options[i]);
        if (path && *path)
            map_put(&l->trusted, path, l);
    }
}

bool live_is_trusted(const struct live *l, const char *path)
{
    return map_get(&l->trusted, path) != NULL;
}
