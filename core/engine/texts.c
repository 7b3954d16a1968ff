/* A short form begins with the number of its kind, so its holder need not know the kind. */
#include "engine/texts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define NUMBER_BYTES sizeof(uint16_t)
/* A larger result is freed before the next one. */
#define KEEP_BYTES ((size_t)1 << 20)

void texts_done(struct texts *t)
{
    for (size_t i = 0; i < t->dictionaries.length; i++)
        dictionary_free(t->dictionaries.items[i]);
    vec_done(&t->dictionaries);
    map_done(&t->numbers);
    buf_done(&t->packed);
    free(t->text);
}

static int reserve(struct texts *t, size_t length, struct err *err)
{
    if (t->text_size >= length && t->text_size <= KEEP_BYTES)
        return 0;
    free(t->text);
    t->text = malloc(length); /* not xmalloc: a large object must not end the process */
    t->text_size = t->text ? length : 0;
    return t->text || length == 0 ? 0 : err_set(err, ERR_LIMIT, "no memory");
}

/* 0 when there are too many kinds. */
static uint16_t number_of(struct texts *t, struct field kind)
{
    uintptr_t number = (uintptr_t)map_getn(&t->numbers, kind.bytes, kind.length);

    if (number == 0 && t->dictionaries.length < UINT16_MAX) {
        vec_push(&t->dictionaries, dictionary_new());
        number = t->dictionaries.length;
        (void)map_putn(&t->numbers, kind.bytes, kind.length, (void *)number);
    }
    return (uint16_t)number;
}

int texts_pack(struct texts *t, struct field kind, struct field text, struct field *ret_packed, struct err *err)
{
    *ret_packed = text;
    if (text.length == 0)
        return 0;
    uint16_t number = number_of(t, kind);
    if (number == 0)
        return err_set(err, ERR_LIMIT, "more than %d kinds of objects", UINT16_MAX);
    if (t->packed.capacity > KEEP_BYTES)
        buf_done(&t->packed);
    buf_clear(&t->packed);
    buf_add(&t->packed, &number, NUMBER_BYTES);
    dictionary_pack(t->dictionaries.items[number - 1], text.bytes, text.length, &t->packed);
    *ret_packed = (struct field){.bytes = t->packed.data, .length = t->packed.length};
    return 0;
}

int texts_unpack(struct texts *t, struct field packed, struct field *ret_text, struct err *err)
{
    uint16_t number = 0;
    size_t length;

    if (packed.length >= NUMBER_BYTES)
        memcpy(&number, packed.bytes, NUMBER_BYTES);
    if (number == 0 || number > t->dictionaries.length)
        return err_set(err, ERR_INVALID, "not the text of an object");
    packed.bytes += NUMBER_BYTES, packed.length -= NUMBER_BYTES;
    if (dictionary_text_length(packed.bytes, packed.length, &length, err) < 0 || reserve(t, length, err) < 0 ||
        dictionary_unpack(t->dictionaries.items[number - 1], packed.bytes, packed.length, t->text, err) < 0)
        return -1;
    *ret_text = (struct field){.bytes = t->text, .length = length};
    return 0;
}
