/* Packed bytes begin with a number of four bytes: the text's length, and in its lowest bit whether an LZ4 block follows
 * or the text itself, which is shorter. The table of positions that LZ4 makes of the dictionary is kept, and copied for
 * each text: 16 KiB, which takes less time than making it again.
 */
#include "data/dictionary.h"

#include <lz4.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define HEADER_BYTES sizeof(uint32_t)
/* Of one text, at most so much becomes part of the dictionary. */
#define PIECE_MAX (DICTIONARY_MAX / 2)
/* A text is new to the dictionary when its block is longer than this part of it. */
#define NEW_PART 2

struct dictionary {
    char *text;
    size_t length;
    LZ4_stream_t table;
};

struct dictionary *dictionary_new(void)
{
    struct dictionary *d = xcalloc(1, sizeof(*d));

    LZ4_initStream(&d->table, sizeof(d->table));
    return d;
}

struct dictionary *dictionary_free(struct dictionary *d)
{
    if (d)
        free(d->text);
    free(d);
    return NULL;
}

static void grow(struct dictionary *d, const char *text, size_t length)
{
    size_t piece = length < PIECE_MAX ? length : PIECE_MAX, room = DICTIONARY_MAX - d->length;

    if (piece > room)
        piece = room;
    char *grown = xmalloc(piece + d->length);
    memcpy(grown, text, piece);
    if (d->length)
        memcpy(grown + piece, d->text, d->length);
    free(d->text);
    d->text = grown;
    d->length += piece;
    LZ4_loadDict(&d->table, d->text, (int)d->length);
}

/* The length of the block; 0: it would be longer than max. */
static size_t compress(const struct dictionary *d, const char *text, size_t length, char *block, size_t max)
{
    LZ4_stream_t table = d->table;

    return (size_t)LZ4_compress_fast_continue(&table, text, block, (int)length, (int)max, 1);
}

static void write_header(char *header, size_t length, bool is_block)
{
    uint32_t number = (uint32_t)length << 1 | is_block;

    memcpy(header, &number, HEADER_BYTES);
}

void dictionary_pack(struct dictionary *d, const char *text, size_t length, struct buf *out)
{
    char *room = buf_room(out, HEADER_BYTES + length, NULL);

    if (!room)
        abort();
    size_t size = compress(d, text, length, room + HEADER_BYTES, length);
    if ((size == 0 || size > length / NEW_PART) && d->length < DICTIONARY_MAX && length > 0) {
        grow(d, text, length);
        size = compress(d, text, length, room + HEADER_BYTES, length);
    }
    write_header(room, length, size > 0);
    if (size == 0)
        memcpy(room + HEADER_BYTES, text, length);
    buf_grew(out, HEADER_BYTES + (size > 0 ? size : length));
}

int dictionary_text_length(const char *packed, size_t length, size_t *ret_length, struct err *err)
{
    uint32_t number;

    if (length < HEADER_BYTES)
        return err_set(err, ERR_INVALID, "%zu bytes are no packed text", length);
    memcpy(&number, packed, HEADER_BYTES);
    *ret_length = number >> 1;
    return 0;
}

int dictionary_unpack(const struct dictionary *d, const char *packed, size_t length, char *room, struct err *err)
{
    size_t text_length;

    if (dictionary_text_length(packed, length, &text_length, err) < 0)
        return -1;
    bool is_block = packed[0] & 1;
    packed += HEADER_BYTES, length -= HEADER_BYTES;
    if (is_block && length <= INT32_MAX &&
        LZ4_decompress_safe_usingDict(packed, room, (int)length, (int)text_length, d->text, (int)d->length) ==
            (int)text_length)
        return 0;
    if (is_block || length != text_length)
        return err_set(err, ERR_INVALID, "not packed with this dictionary");
    memcpy(room, packed, length);
    return 0;
}
