/* A document begins at the first line, behind a line "---" or "...", and at a line "---" itself (files that were put
 * together may have a mark before it). A mark anywhere else is a character like others. */
#include "data/encoding.h"

#include <string.h>

#define MARK "\xef\xbb\xbf"
#define MARK_BYTES 3

static bool has_mark(const char *at, const char *end)
{
    return end - at >= MARK_BYTES && memcmp(at, MARK, MARK_BYTES) == 0;
}

static bool is_divider(const char *at, const char *end)
{
    if (end - at < 3 || (memcmp(at, "---", 3) != 0 && memcmp(at, "...", 3) != 0))
        return false;
    return end - at == 3 || strchr(" \t\r\n", at[3]) != NULL;
}

const char *encoding_without_marks(const char *text, size_t *length, struct buf *copy)
{
    const char *end = text + *length;

    if (has_mark(text, end)) {
        text += MARK_BYTES;
        *length -= MARK_BYTES;
    }
    if (memmem(text, *length, MARK, MARK_BYTES) == NULL)
        return text;
    bool behind_divider = false;
    for (const char *at = text; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *next = newline ? newline + 1 : end;
        if (has_mark(at, end) && (behind_divider || is_divider(at + MARK_BYTES, end)))
            at += MARK_BYTES;
        behind_divider = is_divider(at, end);
        buf_add(copy, at, (size_t)(next - at));
        at = next;
    }
    *length = copy->length;
    return buf_str(copy);
}

bool encoding_is_utf16(const char *text, size_t length)
{
    return length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}
