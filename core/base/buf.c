/* A growing buffer in the manner of curl's dynbuf: one maximum, set at init, checked in one place. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static size_t limit_of(const struct buf *b)
{
    return b->max ? b->max : BUF_MAX_DEFAULT;
}

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *b)
{
    if (b == NULL)
        return;
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->length = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

/* Room for length more bytes and the NUL. */
static int reserve(struct buf *b, size_t length, struct err *err)
{
    size_t max = limit_of(b);

    if (length > max || b->length > max - length)
        return err_set(err, ERR_LIMIT, "more than %zu bytes", max);
    size_t wanted = b->length + length + 1;
    if (wanted > b->capacity) {
        size_t capacity = b->capacity ? b->capacity : 64;
        while (capacity < wanted)
            capacity *= 2;
        b->data = xrealloc(b->data, capacity);
        b->capacity = capacity;
        /* Room may be asked for and never filled: what is read then is "". */
        b->data[b->length] = '\0';
    }
    return 0;
}

int buf_try_add(struct buf *b, const void *bytes, size_t length, struct err *err)
{
    if (reserve(b, length, err) < 0)
        return -1;
    if (length > 0)
        memcpy(b->data + b->length, bytes, length);
    buf_grew(b, length);
    return 0;
}

char *buf_room(struct buf *b, size_t length, struct err *err)
{
    return reserve(b, length, err) < 0 ? NULL : b->data + b->length;
}

void buf_grew(struct buf *b, size_t length)
{
    b->length += length;
    b->data[b->length] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t length)
{
    struct err err;

    if (buf_try_add(b, bytes, length, &err) < 0) {
        fprintf(stderr, "buffer: %s\n", err.text);
        abort();
    }
}

void buf_puts(struct buf *b, const char *string)
{
    buf_add(b, string, strlen(string));
}

void buf_putc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    char small[256];
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof(small)) {
        buf_add(b, small, (size_t)length);
    } else if (length >= 0) {
        struct err err;
        if (reserve(b, (size_t)length, &err) < 0) {
            fprintf(stderr, "buffer: %s\n", err.text);
            abort();
        }
        vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        buf_grew(b, (size_t)length);
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t length)
{
    if (length == 0)
        return;
    memmove(b->data, b->data + length, b->length - length);
    b->length -= length;
    b->data[b->length] = '\0';
}

char *buf_steal(struct buf *b)
{
    char *data = b->data ? b->data : xstrdup("");

    *b = (struct buf){.max = b->max};
    return data;
}
