/* Level 1: three quarters of the gain for a tenth of the time. */
#include "net/packing.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"

#define GZIP (15 + 16) /* the largest window, with gzip's header */
#define MEMORY 8
#define CHUNK ((size_t)64 << 10)
#define LEVEL 1

struct unpacking {
    z_stream z;
    size_t in, out;
    bool ended;
    unsigned char chunk[CHUNK];
};

/* Give all input of this step to zlib. */
static void pack_step(z_stream *z, const char *bytes, size_t length, int flush, struct buf *out)
{
    unsigned char chunk[4096];
    const unsigned char *at = (const unsigned char *)bytes;
    do {
        size_t part = length < CHUNK ? length : CHUNK;
        z->next_in = (unsigned char *)(uintptr_t)at;
        z->avail_in = (unsigned)part;
        at += part;
        length -= part;
        do {
            z->next_out = chunk;
            z->avail_out = sizeof(chunk);
            (void)deflate(z, length > 0 ? Z_NO_FLUSH : flush);
            buf_add(out, (char *)chunk, sizeof(chunk) - z->avail_out);
        } while (z->avail_out == 0);
    } while (length > 0);
    explicit_bzero(chunk, sizeof(chunk));
}

/* zlib's window and buffers have had the text in them. */
static void *take_room(void *ctx, unsigned count, unsigned size)
{
    size_t *room = xcalloc(1, sizeof(size_t) * 2 + (size_t)count * size);
    (void)ctx;
    room[0] = (size_t)count * size;
    return room + 2;
}

static void wipe_room(void *ctx, void *address)
{
    size_t *room = (size_t *)address - 2;
    (void)ctx;
    explicit_bzero(address, room[0]);
    free(room);
}

void pack(const char *bytes, size_t length, size_t plain, struct buf *out)
{
    z_stream z = {.zalloc = take_room, .zfree = wipe_room};
    if (deflateInit2(&z, plain ? Z_NO_COMPRESSION : LEVEL, Z_DEFLATED, GZIP, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    if (plain) {
        pack_step(&z, bytes, plain, Z_FULL_FLUSH, out);
        z.next_out = NULL;
        z.avail_out = z.avail_in = 0;
        (void)deflateParams(&z, LEVEL, Z_DEFAULT_STRATEGY); /* nothing is pending */
    }
    pack_step(&z, bytes + plain, length - plain, Z_FINISH, out);
    deflateEnd(&z);
}

struct unpacking *unpacking_new(void)
{
    struct unpacking *u = xcalloc(1, sizeof(*u));
    u->z.zalloc = take_room;
    u->z.zfree = wipe_room;
    if (inflateInit2(&u->z, GZIP) != Z_OK)
        abort();
    return u;
}

struct unpacking *unpacking_free(struct unpacking *u)
{
    if (!u)
        return NULL;
    inflateEnd(&u->z);
    explicit_bzero(u->chunk, sizeof(u->chunk));
    free(u);
    return NULL;
}

int unpacking_add(struct unpacking *u, const char *bytes, size_t length, size_t max, struct buf *out, struct err *err)
{
    int code = Z_OK;
    u->in += length;
    u->z.next_in = (unsigned char *)(uintptr_t)bytes;
    u->z.avail_in = (unsigned)length;
    if (length > 0 && u->ended)
        return err_set(err, ERR_INVALID, "something stands behind the end of the packed body");
    do {
        u->z.next_out = u->chunk;
        u->z.avail_out = sizeof(u->chunk);
        code = inflate(&u->z, Z_NO_FLUSH);
        size_t made = sizeof(u->chunk) - u->z.avail_out;
        u->out += made;
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return err_set(err, ERR_INVALID, "the body is not gzip: %s", u->z.msg ? u->z.msg : "it cannot be read");
        if (u->out > max || u->out > PACKING_FREE + PACKING_RATIO * u->in)
            return err_set(err, ERR_LIMIT, "the packed body of %zu bytes unpacks to more than is allowed", u->in);
        if (buf_try_add(out, (char *)u->chunk, made, err) < 0)
            return -1;
    } while (code == Z_OK && u->z.avail_out == 0);
    u->ended = code == Z_STREAM_END;
    return u->ended && u->z.avail_in > 0
               ? err_set(err, ERR_INVALID, "something stands behind the end of the packed body")
               : 0;
}

int unpacking_end(const struct unpacking *u, struct err *err)
{
    return u->ended ? 0 : err_set(err, ERR_INVALID, "the packed body is cut off");
}
