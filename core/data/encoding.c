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

/* Bytes of the character that begins there; 0: it is none. */
static size_t character_length(const unsigned char *at)
{
    /* The least and the greatest second byte decide about forms that are too long, surrogates and the end. */
    static const struct {
        unsigned char first, last, least, greatest;
        size_t length;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

    if (*at < 0x80)
        return (*at >= 0x20 && *at != 0x7f) || *at == '\t' || *at == '\n';
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (*at < forms[i].first || *at > forms[i].last)
            continue;
        if (at[1] < forms[i].least || at[1] > forms[i].greatest)
            return 0;
        for (size_t j = 2; j < forms[i].length; j++)
            if ((at[j] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

void encoding_repair(char *text)
{
    while (*text != '\0') {
        size_t length = character_length((const unsigned char *)text);
        if (length == 0)
            *text = '?';
        text += length > 0 ? length : 1;
    }
}
