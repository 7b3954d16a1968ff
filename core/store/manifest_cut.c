/* Documents are separated by "---" lines. In YAML such a line ends everything that is open. An error that is found only
 * at such a line belongs to the document before it. */
#include "store/manifest_cut.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static bool is_divider(const char *line, const char *end)
{
    return end - line >= 3 && memcmp(line, "---", 3) == 0 && (end - line == 3 || strchr(" \t\r\n", line[3]) != NULL);
}

static const char *next_line(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));

    return newline ? newline + 1 : end;
}

static bool is_blank(const char *from, const char *to)
{
    while (from < to && isspace((unsigned char)*from))
        from++;
    return from == to;
}

/* The value of "key: value" at the beginning of a line, without quotes and comment. */
static bool value_of(const char *line, const char *end, const char *key, char *ret_value)
{
    size_t length = strlen(key), n = 0;

    if ((size_t)(end - line) <= length || memcmp(line, key, length) != 0 || line[length] != ':')
        return false;
    for (line += length + 1; line < end && (*line == ' ' || *line == '"' || *line == '\''); line++)
        ;
    while (line + n < end && n + 1 < MANIFEST_CUT_NAME_MAX &&
           (isalnum((unsigned char)line[n]) || line[n] == '-' || line[n] == '.')) {
        ret_value[n] = line[n];
        n++;
    }
    ret_value[n] = '\0';
    return true;
}

/* Kind and name in block style: "kind:" without indentation, "name:" and "namespace:" in the first level below
 * "metadata:". */
static void note_identity(struct manifest_cut *cut, const char *from, const char *to)
{
    bool in_metadata = false;
    size_t level = 0;

    *cut->kind = *cut->namespace = *cut->name = '\0';
    for (const char *line = from; line < to; line = next_line(line, to)) {
        const char *end = next_line(line, to);
        size_t indent = strspn(line, " ");
        if (indent == 0) {
            (void)value_of(line, end, "kind", cut->kind);
            in_metadata = end - line >= 9 && memcmp(line, "metadata:", 9) == 0;
            level = 0;
            continue;
        }
        if (!in_metadata || line[indent] == '#' || line[indent] == '\n')
            continue;
        level = level == 0 ? indent : level;
        if (indent == level && !value_of(line + indent, end, "name", cut->name))
            (void)value_of(line + indent, end, "namespace", cut->namespace);
    }
}

bool manifest_cut_document(struct manifest_cut *cut, const char *text, size_t length, size_t line)
{
    if (line == 0 || cut->count == MANIFEST_CUTS_MAX)
        return false;
    if (cut->text == NULL)
        cut->text = xmemdup0(text, length);
    const char *end = cut->text + length, *from = cut->text, *before = cut->text, *before_end = NULL, *at = cut->text;
    size_t number = 1, dividers = 0;
    bool is_at_divider = false;

    for (; at < end && number <= line; number++, at = next_line(at, end)) {
        is_at_divider = is_divider(at, end);
        if (!is_at_divider)
            continue;
        dividers++;
        before = from;
        before_end = at;
        from = next_line(at, end);
    }
    const char *to = at > from ? at : from;
    while (to < end && !is_divider(to, end))
        to = next_line(to, end);
    if (is_at_divider && before_end != NULL && !is_blank(before, before_end)) {
        from = before;
        to = before_end;
    }
    if ((dividers == 0 && to == end) || is_blank(from, to))
        return false;
    note_identity(cut, from, to);
    for (char *c = cut->text + (from - cut->text); c < to; c++)
        if (*c != '\n')
            *c = ' ';
    cut->count++;
    return true;
}

void manifest_cut_done(struct manifest_cut *cut)
{
    free(cut->text);
    cut->text = NULL;
}
