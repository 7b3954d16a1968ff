/* Texts in short forms: they come back, also after the dictionary has grown, and bytes that are no short form are
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "data/dictionary.h"

static void assert_unpacks(const struct dictionary *d, const struct buf *packed, const char *text, size_t length)
{
    size_t found = 0;

    assert_int_equal(dictionary_text_length(packed->data, packed->length, &found, NULL), 0);
    assert_int_equal(found, length);
    CLEANUP(free_ptr) char *room = xmalloc(length + 1);
    assert_int_equal(dictionary_unpack(d, packed->data, packed->length, room, NULL), 0);
    assert_memory_equal(room, text, length);
}

static char *service(int number)
{
    return xasprintf(
        "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"app-%d\",\"namespace\":\"shop\"},"
        "\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":8080}],\"sessionAffinity\":\"None\"}}",
        number);
}

static void similar_texts_are_short(void **state)
{
    struct dictionary *d = dictionary_new();
    (void)state;

    for (int i = 0; i < 100; i++) {
        CLEANUP(free_ptr) char *text = service(i);
        CLEANUP(buf_done) struct buf packed = {0};
        dictionary_pack(d, text, strlen(text), &packed);
        assert_unpacks(d, &packed, text, strlen(text));
        assert_true(packed.length < strlen(text) / 4);
    }
    dictionary_free(d);
}

/* The texts differ so much that each grows the dictionary, until it is full. All stay readable. */
static void the_dictionary_grows_and_former_forms_stay(void **state)
{
    enum { TEXTS = 40, LENGTH = 1500 };
    struct dictionary *d = dictionary_new();
    static char texts[TEXTS][LENGTH];
    struct buf packed[TEXTS] = {0};
    uint32_t random = 1;
    size_t longest = 0;
    (void)state;

    for (size_t i = 0; i < TEXTS; i++) {
        for (size_t j = 0; j < LENGTH; j++)
            texts[i][j] = (char)((random = random * 1664525 + 1013904223) >> 24);
        dictionary_pack(d, texts[i], LENGTH, &packed[i]);
        if (packed[i].length > longest)
            longest = packed[i].length;
    }
    assert_true(packed[0].length < LENGTH / 4); /* it is in the dictionary itself */
    assert_int_equal(longest, LENGTH + 4);      /* when that is full, a text of noise is kept as it is */
    for (size_t i = 0; i < TEXTS; i++) {
        assert_unpacks(d, &packed[i], texts[i], LENGTH);
        buf_done(&packed[i]);
    }
    dictionary_free(d);
}

static void any_length_comes_back(void **state)
{
    struct dictionary *d = dictionary_new();
    CLEANUP(free_ptr) char *text = xmalloc(200000);
    (void)state;

    for (size_t i = 0; i < 200000; i++)
        text[i] = (char)('a' + i % 23 * i % 7);
    for (size_t length = 0; length < 200000; length = length < 40 ? length + 1 : length * 3) {
        CLEANUP(buf_done) struct buf packed = {0};
        buf_puts(&packed, "before");
        dictionary_pack(d, text, length, &packed);
        buf_consume(&packed, strlen("before"));
        assert_unpacks(d, &packed, text, length);
    }
    dictionary_free(d);
}

static void other_bytes_are_refused(void **state)
{
    struct dictionary *d = dictionary_new();
    CLEANUP(free_ptr) char *text = service(1);
    CLEANUP(buf_done) struct buf packed = {0};
    CLEANUP(free_ptr) char *room = xmalloc(1 << 10);
    size_t length;
    struct err err;
    (void)state;

    dictionary_pack(d, text, strlen(text), &packed);
    for (size_t cut = 0; cut < packed.length; cut++) {
        if (cut < 4)
            assert_int_equal(dictionary_text_length(packed.data, cut, &length, &err), -1);
        assert_int_equal(dictionary_unpack(d, packed.data, cut, room, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    /* Nothing outside of the room and of the dictionary is touched, whatever the bytes are. */
    for (size_t at = 4; at < packed.length; at++)
        for (int byte = 0; byte < 256; byte += 5) {
            CLEANUP(free_ptr) char *other = xmemdup0(packed.data, packed.length);
            CLEANUP(free_ptr) char *exact = xmalloc(strlen(text));
            other[at] = (char)byte;
            if (dictionary_unpack(d, other, packed.length, exact, &err) < 0)
                assert_int_equal(err.kind, ERR_INVALID);
        }
    struct dictionary *empty = dictionary_new();
    assert_int_equal(dictionary_unpack(empty, packed.data, packed.length, room, &err), -1);
    dictionary_free(empty);
    dictionary_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(similar_texts_are_short),
        cmocka_unit_test(the_dictionary_grows_and_former_forms_stay),
        cmocka_unit_test(any_length_comes_back),
        cmocka_unit_test(other_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
