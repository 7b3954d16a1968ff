/* What a question for a proof asks, and who can answer it. */
#include "offer_support.h"

#include "engine/frame.h"
#include "haproxy/proof.h"

static struct digest answer(const struct model *m, const struct buf *question)
{
    struct digest proof;
    struct err err;
    if (proof_answer(m, buf_str(question), question->length, &proof, &err) < 0)
        fail_msg("%s", err.text);
    return proof;
}

static void receive(struct model *m, struct writer *w)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    struct direct_changes undo;
    struct offer o;
    struct err err;
    writer_whole(w, &bytes);
    assert_int_equal(offer_read(buf_str(&bytes), bytes.length, &o, &err), 0);
    assert_int_equal(model_direct_apply(m, &o.changes, true, o.result, o.result_count, &undo, &err), 0);
    direct_done(&undo);
    offer_done(&o);
}

static void the_receiver_of_an_offer_can_answer(void **state)
{
    struct writer w;
    struct model *m = model_new();
    (void)state;
    writer_begin(&w);
    for (int i = 0; i < 300; i++)
        writer_set(&w, i, 1);
    receive(m, &w);
    for (int i = 0; i < 50; i++) {
        CLEANUP(buf_done) struct buf question = {0};
        proof_ask(w.model, &question);
        assert_true(digest_equal(answer(w.model, &question), answer(m, &question)));
    }
    writer_end(&w);
    model_free(m);
}

/* No two answers are alike, and each text is asked for at some time. */
static void what_was_learned_before_does_not_help(void **state)
{
    struct writer w;
    struct model *m = model_new();
    unsigned found = 0;
    (void)state;
    writer_begin(&w);
    for (int i = 0; i < 300; i++)
        writer_set(&w, i, 1);
    receive(m, &w);
    writer_set(&w, 7, 2); /* it never gets this one */
    struct digest before = {0, 0};
    for (int i = 0; i < 2000; i++) {
        CLEANUP(buf_done) struct buf question = {0};
        proof_ask(w.model, &question);
        struct digest right = answer(w.model, &question);
        assert_false(digest_equal(right, before));
        before = right;
        found += !digest_equal(right, answer(m, &question));
    }
    assert_true(found > 0);
    assert_true(found < 2000);
    /* Who has nothing is found each time. */
    struct model *empty = model_new();
    for (int i = 0; i < 100; i++) {
        CLEANUP(buf_done) struct buf question = {0};
        proof_ask(w.model, &question);
        assert_false(digest_equal(answer(w.model, &question), answer(empty, &question)));
    }
    model_free(empty);
    writer_end(&w);
    model_free(m);
}

/* Whatever is cut off or put in: an error, or an answer. */
static void nothing_of_a_question_is_trusted(void **state)
{
    struct writer w;
    struct digest proof;
    struct err err;
    CLEANUP(buf_done) struct buf question = {0}, much = {0};
    (void)state;
    writer_begin(&w);
    proof_ask(w.model, &question);
    for (size_t length = 0; length < question.length; length++)
        (void)!proof_answer(w.model, buf_str(&question), length, &proof, &err);
    assert_int_equal(proof_answer(w.model, "", 0, &proof, &err), -1);
    assert_int_equal(proof_answer(w.model, "0123456789", 10, &proof, &err), -1);
    buf_add(&much, buf_str(&question), question.length);
    for (unsigned i = 0; i <= PROOF_ITEMS; i++) {
        size_t mark = frame_begin(&much, FRAME_PROOF_ITEM);
        frame_add_number(&much, 0);
        frame_add_string(&much, "a");
        frame_add_string(&much, "b");
        frame_end(&much, mark);
    }
    assert_int_equal(proof_answer(w.model, buf_str(&much), much.length, &proof, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    writer_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_receiver_of_an_offer_can_answer),
        cmocka_unit_test(what_was_learned_before_does_not_help),
        cmocka_unit_test(nothing_of_a_question_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
