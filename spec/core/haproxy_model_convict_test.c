/* Who gives a piece of a section that several objects share, when one of them is convicted for it or for another. */
#include "model_support.h"

#include "haproxy/model_state.h"

#define SHARED "backend shared"
#define PIECE(words) ((struct emitted){CONTRIBUTION_SECTION, SHARED, "body", words, 0, 0})

static void put_piece(struct model *m, const char *id, int64_t created_s, const char *words)
{
    const struct emitted piece = PIECE(words);
    model_put_owned(m, id, id, created_s, &piece, 1);
}

static void put_both(struct model *m, const char *id, int64_t created_s, const char *shared, const char *own)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend own-%s", id);
    const struct emitted pieces[] = {PIECE(shared), {CONTRIBUTION_SECTION, section, "body", own, 0, 0}};
    model_put_owned(m, id, id, created_s, pieces, 2);
}

static void assert_shared(struct model *m, const char *expected)
{
    const struct item *item = item_find(m, CONTRIBUTION_SECTION, SHARED, "body");
    const char *found = item && item->rendered ? item->rendered->bytes : "";
    assert_string_equal(found, expected);
}

static bool convict(struct model *m, const char *id, const char *section)
{
    return model_convict(m, id, CONTRIBUTION_SECTION, section, "body", "refused");
}

static void others_go_on(void **state)
{
    struct model *m = model_new();
    (void)state;
    put_both(m, "older", 1, "one\n", "good\n");
    put_piece(m, "younger", 2, "one\n");
    model_check(m, true);
    /* Convicted for what is its own: what it shares follows the other. */
    put_both(m, "older", 1, "two\n", "bad\n");
    put_piece(m, "younger", 2, "two\n");
    assert_true(convict(m, "older", "backend own-older"));
    assert_shared(m, "two\n");
    put_piece(m, "younger", 2, "three\n");
    assert_shared(m, "three\n");
    /* Its own stays as it was. */
    assert_string_equal(item_find(m, CONTRIBUTION_SECTION, "backend own-older", "body")->rendered->bytes, "good\n");
    put_both(m, "older", 1, "four\n", "repaired\n");
    assert_shared(m, "four\n");
    assert_int_equal(model_quarantined(m), 0);
    model_free(m);
}

static void what_is_refused_is_refused_of_all(void **state)
{
    struct model *m = model_new();
    (void)state;
    put_piece(m, "older", 1, "good\n");
    put_piece(m, "younger", 2, "good\n");
    put_piece(m, "youngest", 3, "good\n");
    model_check(m, true);
    put_piece(m, "older", 1, "bad\n");
    put_piece(m, "younger", 2, "bad\n");
    put_piece(m, "youngest", 3, "bad\n");
    assert_true(convict(m, "older", SHARED));
    assert_shared(m, "good\n");
    assert_int_equal(model_quarantined(m), 1);
    /* One that says something else is heard. */
    put_piece(m, "youngest", 3, "better\n");
    assert_shared(m, "better\n");
    model_fragment_drop(m, "youngest");
    assert_shared(m, "good\n");
    /* The end of the quarantine ends it. */
    model_fragment_drop(m, "older");
    assert_shared(m, "bad\n");
    model_fragment_drop(m, "younger");
    assert_shared(m, "");
    model_check(m, true);
    put_piece(m, "last", 1, "bad\n");
    assert_shared(m, "bad\n");
    model_free(m);
}

static void a_suspect_is_not_convicted(void **state)
{
    struct model *m = model_new();
    (void)state;
    put_piece(m, "older", 1, "one\n");
    put_piece(m, "younger", 2, "one\n");
    model_check(m, true);
    put_piece(m, "older", 1, "two\n");
    put_piece(m, "younger", 2, "two\n");
    assert_true(model_quarantine(m, "older", "held back"));
    assert_shared(m, "one\n");
    model_release(m, "older");
    assert_shared(m, "two\n");
    model_free(m);
}

/* ---- against a naive recomputation ---- */

#define FRAGMENTS 7
#define ROUNDS 20000

static unsigned random_state;

static unsigned dice(unsigned sides)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % sides;
}

static int class_of(const struct item *item, const struct candidate *c)
{
    bool refused = item->refused && text_equal(item->refused, c->contribution->text);
    return c->fragment->stale ? 1 : refused ? 2 : 0;
}

static void assert_consistent(struct model *m)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->items, &it));) {
        const struct item *item = slot->value;
        const struct candidate *best = NULL;
        for (size_t i = 0; i < item->candidate_count; i++) {
            const struct candidate *c = &item->candidates[i];
            assert_int_equal(c->contribution->slot, i);
            if (!best || class_of(item, c) < class_of(item, best) ||
                (class_of(item, c) == class_of(item, best) && fragment_compare(c->fragment, best->fragment) < 0))
                best = c;
        }
        assert_ptr_equal(item->winner, best ? best->fragment : NULL);
        assert_true(best ? text_equal(item->rendered, best->contribution->text) : !item->rendered);
        if (item->refused) {
            assert_non_null(item->refused_by->reason);
            assert_ptr_equal(item->refused_by->refused, item);
        }
    }
    for (size_t it = 0; (slot = map_next(&m->records, &it));) {
        const struct record *r = slot->value;
        assert_true(!r->reason || r->active == r->good || !r->active);
        if (r->active && r->active == r->newest && !r->reason)
            assert_false(r->refused);
    }
}

static void random_put(struct model *m, const char *id, unsigned number)
{
    static const char *const texts[] = {"a\n", "b\n", "c\n"};
    struct emitted pieces[3];
    size_t count = 0;
    for (unsigned i = 0; i < 3; i++)
        if (dice(3))
            pieces[count++] = (struct emitted){
                CONTRIBUTION_SECTION, i == 2 ? "backend other" : SHARED, i ? "body" : "top", texts[dice(3)], 0, 0};
    model_put_owned(m, id, id, number % 3, pieces, count);
}

static void random_edits_equal_a_naive_recomputation(void **state)
{
    struct model *m = model_new();
    const char *seed = getenv("SPEC_SEED");
    (void)state;
    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)clock_now_ns();
    print_message("    SPEC_SEED=%u\n", random_state);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned number = dice(FRAGMENTS);
        CLEANUP(free_ptr) char *id = xasprintf("f%u", number);
        switch (dice(8)) {
        case 0:
            model_fragment_drop(m, id);
            break;
        case 1:
        case 2:
            (void)model_convict(m, id, CONTRIBUTION_SECTION, dice(2) ? SHARED : "backend other", "body", "refused");
            break;
        case 3:
            if (dice(2))
                (void)model_quarantine(m, id, "held back");
            else
                model_release(m, id);
            break;
        case 4:
            model_fragment_keep(m, id);
            break;
        case 5:
            model_check(m, dice(2));
            break;
        default:
            random_put(m, id, number);
        }
        assert_consistent(m);
    }
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_go_on),
        cmocka_unit_test(what_is_refused_is_refused_of_all),
        cmocka_unit_test(a_suspect_is_not_convicted),
        cmocka_unit_test(random_edits_equal_a_naive_recomputation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
