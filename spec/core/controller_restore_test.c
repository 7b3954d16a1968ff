/* A controller that has lost its memory takes up what a receiver serves: every item, with its owner, as a part that a
 * later rendering replaces. */
#include "offer_support.h"

#include "controller/restore.h"

#define ROUTES 40

static void serve(struct writer *w, struct model *member, struct buf *bytes)
{
    struct direct_changes undo;
    struct offer o;
    struct err err;

    if (offer_read(buf_str(bytes), bytes->length, &o, &err) < 0 ||
        model_direct_apply(member, &o.changes, *o.from == '\0', o.result, o.result_count, &undo, &err) < 0)
        fail_msg("%s", err.text);
    direct_done(&undo);
    offer_done(&o);
    buf_done(bytes);
    assert_same_state(w->model, member);
}

/* The member's state has come in many offers, so an owner's items have come in several. */
static void fill(struct writer *w, struct model *member)
{
    struct buf bytes = {0};
    char hex[DIGEST_HEX_SIZE];

    for (int i = 0; i < ROUTES; i++)
        writer_set(w, i, 1);
    writer_whole(w, &bytes);
    serve(w, member, &bytes);
    for (int i = 0; i < ROUTES; i += 3) {
        digest_hex(model_digest(member, MODEL_ACCEPTED), hex);
        writer_set(w, i, 2);
        writer_delta(w, hex, &bytes);
        serve(w, member, &bytes);
    }
}

static void test_what_a_member_serves_is_taken_up(void **state)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    struct model *member = model_new(), *fresh = model_new();
    const struct offer head = {.transitions = 7, .generation = 9};
    struct restored restored;
    struct writer w;
    struct err err;
    (void)state;

    writer_begin(&w);
    fill(&w, member);
    offer_write_whole(&bytes, member, w.vault, &head);
    if (restore_offer(buf_str(&bytes), bytes.length, fresh, w.vault, &restored, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(restored.stamp.transitions, 7);
    assert_int_equal(restored.stamp.generation, 9);
    assert_int_equal(restored.parts, ROUTES + 1); /* one more has the global section */
    assert_int_equal(restored.left_out, 0);
    assert_same_state(w.model, fresh);
    assert_int_equal(model_pending(fresh), 0);
    model_free(fresh);
    model_free(member);
    writer_end(&w);
}

static void test_what_is_no_whole_state_changes_nothing(void **state)
{
    CLEANUP(buf_done) struct buf whole = {0}, delta = {0};
    struct model *member = model_new(), *fresh = model_new();
    const struct offer head = {.transitions = 7, .generation = 9};
    struct restored restored;
    char hex[DIGEST_HEX_SIZE];
    struct writer w;
    struct err err;
    (void)state;

    writer_begin(&w);
    fill(&w, member);
    offer_write_whole(&whole, member, w.vault, &head);
    digest_hex(model_digest(member, MODEL_ACCEPTED), hex);
    writer_set(&w, 1, 3);
    writer_delta(&w, hex, &delta);
    assert_int_equal(restore_offer(buf_str(&delta), delta.length, fresh, w.vault, &restored, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    for (size_t cut = 0; cut < whole.length; cut += 97)
        assert_int_equal(restore_offer(buf_str(&whole), cut, fresh, w.vault, &restored, &err), -1);
    assert_true(model_is_empty(fresh, MODEL_ACCEPTED));
    model_free(fresh);
    model_free(member);
    writer_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_member_serves_is_taken_up),
        cmocka_unit_test(test_what_is_no_whole_state_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
