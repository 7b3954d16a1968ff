/* The first rendering's collections: how much they walk through in all, by number of objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <lua.h>

#include "engine/heap.h"

#define FIRST_BYTES ((size_t)64 << 10)
#define GARBAGE 4 /* tables that are left for each one that stays */

/* Bytes that were in use when collections began, all together. */
static size_t walked_bytes(int objects, int *ret_collections)
{
    struct heap heap;
    size_t walked = 0;
    lua_State *L = heap_open(&heap, 0);

    assert_non_null(L);
    heap.first_bytes = FIRST_BYTES;
    lua_newtable(L);
    heap_load_begin(&heap, L);
    heap_load_end(&heap, L);
    *ret_collections = 0;
    for (int i = 1; i <= objects; i++) {
        for (int k = 0; k < GARBAGE; k++) {
            lua_createtable(L, 50, 0);
            lua_pop(L, 1);
        }
        lua_createtable(L, 50, 0);
        lua_rawseti(L, -2, i);
        size_t live = heap.live_bytes, used = heap.used_bytes;
        heap_relieve(&heap, L);
        if (heap.live_bytes != live) {
            assert_true(heap.used_bytes < used);
            walked += used;
            ++*ret_collections;
        }
    }
    heap_first_end(&heap, L);
    heap_close(&heap, L);
    return walked;
}

/* After a fixed number of bytes it would be 64 times as much for 8 times the objects. */
static void collections_grow_with_the_objects(void **state)
{
    (void)state;
    int few, many;
    size_t small = walked_bytes(2000, &few), large = walked_bytes(16000, &many);

    assert_true(few > 5);
    assert_true(many > few && many < 4 * few);
    assert_true(large > 4 * small && large < 16 * small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(collections_grow_with_the_objects)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
