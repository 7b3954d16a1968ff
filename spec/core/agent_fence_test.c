/* Who may write: the order of fences, and the file that remembers the highest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/fence.h"

static char directory[] = "/tmp/haptic-fence-XXXXXX";
static char path[sizeof(directory) + 8];

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof(path), "%s/fence", directory);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(path);
    return rmdir(directory);
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_file(const char *text)
{
    char got[1024];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(got, text);
}

#define VERSION "# version 2: lease transitions, generation, holder\n"

/* 0, or the kind of error. */
static int use(int64_t transitions, uint64_t generation, const char *holder, struct fence_record *ret_highest)
{
    const struct fence fence = {.transitions = transitions, .generation = generation, .holder = holder};
    struct err err = {0};
    int checked = fence_check(directory, &fence, ret_highest, &err);
    int raised = fence_raise(directory, &fence, ret_highest, &err);
    assert_int_equal(checked, raised); /* raising and checking agree */
    return raised == 0 ? 0 : (int)err.kind;
}

static void orders_by_transitions_then_generation_of_one_holder(void **unused)
{
    (void)unused;
    static const struct {
        int64_t transitions;
        uint64_t generation;
        const char *holder;
        bool is_stale;
    } cases[] = {
        {3, 8, "a", false},
        {3, 7, "a", false},
        {3, 6, "a", true},
        {3, 7, "b", true},
        {3, 9, "b", true},
        {2, 9, "a", true},
        {4, 1, "b", false},
        {4, 0, "a", false},
        {4, 0, "", false},
        {3, 9, "", true},
        {3, 9, "a since 2026-07-04T16:22:01.123456Z", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fence_record highest;
        put("3 7 a\n" VERSION);
        int result = use(cases[i].transitions, cases[i].generation, cases[i].holder, &highest);
        if (result != (cases[i].is_stale ? (int)ERR_STALE : 0))
            fail_msg("case %zu: %d", i, result);
        if (!cases[i].is_stale)
            continue;
        assert_int_equal(highest.transitions, 3);
        assert_int_equal(highest.generation, 7);
        assert_string_equal(highest.holder, "a");
        assert_file("3 7 a\n" VERSION);
    }
}

static void two_processes_of_one_name_are_two_holders(void **unused)
{
    (void)unused;
    struct fence_record highest;
    put("");
    assert_int_equal(use(3, 900, "pod since 2026-07-04T16:22:01.000001Z", &highest), 0);
    assert_file("3 900 pod since 2026-07-04T16:22:01.000001Z\n" VERSION);
    assert_int_equal(use(3, 901, "pod since 2026-07-04T16:22:01.000002Z", &highest), ERR_STALE);
    assert_int_equal(use(3, 901, "pod since 2026-07-04T16:22:01.000001Z", &highest), 0);
    assert_int_equal(use(4, 1, "pod since 2026-07-04T16:22:01.000002Z", &highest), 0);
    assert_file("4 1 pod since 2026-07-04T16:22:01.000002Z\n" VERSION);
}

static void reads_files_of_version_1(void **unused)
{
    (void)unused;
    struct fence_record highest;
    put("3 7 old-pod\n");
    assert_int_equal(use(3, 8, "old-pod since 2026-07-04T16:22:01.000001Z", &highest), ERR_STALE);
    assert_string_equal(highest.holder, "old-pod");
    assert_int_equal(use(3, 8, "old-pod", &highest), 0);
    put("3 7\n");
    assert_int_equal(use(3, 8, "a", &highest), ERR_STALE);
    assert_int_equal(highest.transitions, 3);
    assert_int_equal(use(4, 0, "a", &highest), 0);
}

static void nothing_and_nonsense_refuse_nobody(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"", "\n", "nonsense\n", "7\n", "7 x\n"};
    struct fence_record highest;
    unlink(path);
    assert_int_equal(use(0, 0, "a", &highest), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put(texts[i]);
        assert_int_equal(use(0, 0, "a", &highest), 0);
        assert_file("0 0 a\n" VERSION);
    }
}

static void cut_and_broken_holders_are_still_themselves(void **unused)
{
    (void)unused;
    struct fence_record highest;
    char name[2 * FENCE_HOLDER_SIZE];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    put("");
    assert_int_equal(use(1, 1, name, &highest), 0);
    assert_int_equal(use(1, 2, name, &highest), 0);
    assert_int_equal(use(2, 1, "two\nlines", &highest), 0);
    assert_file("2 1 two\n" VERSION);
    assert_int_equal(use(2, 2, "two\nlines", &highest), 0);
}

static void shorter_text_leaves_nothing_of_a_longer_one(void **unused)
{
    (void)unused;
    struct fence_record highest;
    put("1 1 a-name-that-was-here-before-and-is-longer-than-all-that-comes-after-it\n" VERSION);
    assert_int_equal(use(2, 1, "b", &highest), 0);
    assert_file("2 1 b\n" VERSION);
}

static void a_lock_that_is_held_is_not_waited_for_long(void **unused)
{
    (void)unused;
    const struct fence fence = {.transitions = 9, .generation = 1, .holder = "a"};
    struct fence_record highest;
    struct err err = {0};
    put("3 7 a\n");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(flock(fileno(file), LOCK_SH), 0);
    assert_int_equal(fence_raise(directory, &fence, &highest, &err), -1);
    assert_int_equal(err.kind, ERR_TIMEOUT);
    fclose(file);
    assert_int_equal(fence_raise(directory, &fence, &highest, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_by_transitions_then_generation_of_one_holder),
        cmocka_unit_test(two_processes_of_one_name_are_two_holders),
        cmocka_unit_test(reads_files_of_version_1),
        cmocka_unit_test(nothing_and_nonsense_refuse_nobody),
        cmocka_unit_test(cut_and_broken_holders_are_still_themselves),
        cmocka_unit_test(shorter_text_leaves_nothing_of_a_longer_one),
        cmocka_unit_test(a_lock_that_is_held_is_not_waited_for_long),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
