/* What is due first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/agenda.h"
#include "base/clock.h"

#define COUNT 200
#define STEPS 20000

static void compare(const struct agenda *a, const struct agenda_entry *entries)
{
    const struct agenda_entry *first = NULL;
    size_t count = 0;

    for (size_t i = 0; i < COUNT; i++) {
        if (entries[i].place == 0)
            continue;
        count++;
        if (first == NULL || entries[i].at_ns < first->at_ns)
            first = &entries[i];
    }
    assert_int_equal(a->entries.length, count);
    if (first == NULL)
        assert_null(agenda_first(a));
    else
        assert_int_equal(agenda_first(a)->at_ns, first->at_ns);
}

static void the_first_is_at_hand_whatever_changes(void **state)
{
    struct agenda a = {0};
    struct agenda_entry entries[COUNT] = {0};
    unsigned seed = (unsigned)clock_now_ns();

    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    for (size_t step = 0; step < STEPS; step++) {
        struct agenda_entry *entry = &entries[rand() % COUNT];
        if (rand() % 3 == 0)
            agenda_remove(&a, entry);
        else
            agenda_set(&a, entry, rand() % 50);
        compare(&a, entries);
    }
    int64_t before = INT64_MIN;
    for (struct agenda_entry *entry; (entry = agenda_first(&a)) != NULL; before = entry->at_ns) {
        assert_true(entry->at_ns >= before);
        agenda_remove(&a, entry);
        agenda_remove(&a, entry);
        compare(&a, entries);
    }
    agenda_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_is_at_hand_whatever_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
