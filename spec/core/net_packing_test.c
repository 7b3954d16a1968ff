/* What is packed is what is unpacked, in whatever parts it comes; what is no gzip, cut off, continued, or too much is
 * refused; the size of what is packed tells nothing about its plain beginning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/packing.h"

#define MAX ((size_t)64 << 20)

static int unpack(const char *bytes, size_t length, size_t step, size_t max, struct buf *out, struct err *err)
{
    struct unpacking *u = unpacking_new();
    int result = 0;
    for (size_t at = 0; at < length && result == 0; at += step)
        result = unpacking_add(u, bytes + at, length - at < step ? length - at : step, max, out, err);
    if (result == 0)
        result = unpacking_end(u, err);
    unpacking_free(u);
    return result;
}

/* Lines as of a configuration: half of it repeats. */
static void write_text(struct buf *out, size_t lines)
{
    for (size_t i = 0; i < lines; i++)
        buf_printf(out, "server s%zu 10.0.%d.%d:80 weight %d\n", i, rand() % 256, rand() % 256, rand() % 100);
}

static void round_trip(void **state)
{
    (void)state;
    srand(20261130);
    for (size_t i = 0; i < 40; i++) {
        CLEANUP(buf_done) struct buf text = {0}, packed = {0}, again = {0};
        struct err err;
        write_text(&text, (size_t)(rand() % 3000));
        size_t plain = text.length ? (size_t)rand() % (text.length + 1) : 0;
        pack(buf_str(&text), text.length, i % 2 ? plain : 0, &packed);
        assert_int_equal(unpack(packed.data, packed.length, i % 3 ? 1 + (size_t)rand() % 9000 : 1, MAX, &again, &err),
                         0);
        assert_int_equal(again.length, text.length);
        assert_memory_equal(buf_str(&again), buf_str(&text), text.length);
        if (i % 2 == 0 && text.length > 10000)
            assert_true(packed.length * 2 < text.length);
    }
}

/* A guess that stands behind the secret does not make the body shorter when it is right. */
static void the_size_tells_nothing_about_the_plain_beginning(void **state)
{
    size_t sizes[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(buf_done) struct buf text = {0}, packed = {0};
        buf_puts(&text, i ? "password=hunter2-hunter2-hunter2" : "password=Qm9ieVRhYmxlc0lzQW4x000");
        size_t plain = text.length;
        buf_puts(&text, "server guess password=hunter2-hunter2-hunter2\n");
        pack(text.data, text.length, plain, &packed);
        assert_non_null(memmem(packed.data, packed.length, text.data, plain)); /* stored as it is */
        sizes[i] = packed.length;
    }
    assert_int_equal(sizes[0], sizes[1]);
}

static void a_bomb_is_refused(void **state)
{
    CLEANUP(buf_done) struct buf zeros = {0}, packed = {0}, out = {0};
    struct err err;
    char *room = buf_room(&zeros, MAX, NULL);
    (void)state;
    memset(room, 0, MAX);
    buf_grew(&zeros, MAX);
    pack(zeros.data, zeros.length, 0, &packed);
    assert_true(packed.length < MAX / 150);
    assert_int_equal(unpack(packed.data, packed.length, 4096, MAX, &out, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_true(out.length <= PACKING_FREE + PACKING_RATIO * packed.length);
    /* A small one that passes the maximum. */
    buf_clear(&packed);
    buf_clear(&out);
    pack(zeros.data, 100000, 0, &packed);
    assert_int_equal(unpack(packed.data, packed.length, 4096, 99999, &out, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_true(out.length <= 99999);
}

static void what_is_damaged_is_refused(void **state)
{
    CLEANUP(buf_done) struct buf text = {0}, packed = {0};
    struct err err;
    (void)state;
    srand(20261130);
    write_text(&text, 500);
    pack(text.data, text.length, 0, &packed);
    for (size_t cut = 0; cut < packed.length; cut += 37) {
        CLEANUP(buf_done) struct buf out = {0};
        assert_int_equal(unpack(packed.data, cut, 1000, MAX, &out, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(buf_done) struct buf out = {0};
        CLEANUP(buf_done) struct buf more = {0};
        buf_add(&more, packed.data, packed.length);
        buf_puts(&more, "x");
        assert_int_equal(unpack(more.data, more.length, i ? 1 : more.length, MAX, &out, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    CLEANUP(buf_done) struct buf out = {0};
    assert_int_equal(unpack("no gzip at all", 14, 14, MAX, &out, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    packed.data[packed.length - 6] ^= 1; /* its checksum */
    assert_int_equal(unpack(packed.data, packed.length, 1000, MAX, &out, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(the_size_tells_nothing_about_the_plain_beginning),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(what_is_damaged_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
