/* An offer brings a receiver to the writer's state, whole or as a delta, at the same digest; what it replaced can be
 * put back; what is wrong about it changes nothing. */
#include <time.h>

#include "offer_support.h"

#include "engine/frame.h"

#define STEPS 300
#define ROUTES 12

static unsigned spec_seed(void)
{
    const char *given = getenv("SPEC_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", seed);
    return seed;
}

static int receive(struct model *m, const struct buf *bytes, struct direct_changes *ret_undo, struct err *err)
{
    struct offer o;
    if (offer_read(buf_str(bytes), bytes->length, &o, err) < 0)
        return -1;
    int result = model_direct_apply(m, &o.changes, !*o.from, o.result, o.result_count, ret_undo, err);
    offer_done(&o);
    return result;
}

static void receive_well(struct model *m, const struct buf *bytes)
{
    struct direct_changes undo;
    struct err err;
    if (receive(m, bytes, &undo, &err) < 0)
        fail_msg("%s", err.text);
    direct_done(&undo);
}

static void test_random_changes_arrive_and_can_be_undone(void **state)
{
    struct writer w;
    struct model *m = model_new();
    char hex[DIGEST_HEX_SIZE];
    (void)state;
    srand(spec_seed());
    writer_begin(&w);
    for (int step = 0; step < STEPS; step++) {
        CLEANUP(buf_done) struct buf bytes = {0};
        struct digest before = model_digest(m, MODEL_ACCEPTED);
        struct direct_changes undo;
        struct err err;
        for (int k = rand() % 4; k >= 0; k--)
            writer_set(&w, rand() % ROUTES, rand() % 5);
        if (step == 0 || rand() % 10 == 0)
            writer_whole(&w, &bytes);
        else
            writer_delta(&w, digest_hex(before, hex), &bytes);
        if (receive(m, &bytes, &undo, &err) < 0)
            fail_msg("step %d: %s", step, err.text);
        assert_same_state(w.model, m);
        assert_int_equal(model_pending(m), 0);
        if (rand() % 3 == 0) { /* back, and again */
            model_direct_undo(m, &undo);
            assert_true(digest_equal(model_digest(m, MODEL_ACCEPTED), before));
            direct_done(&undo);
            if (receive(m, &bytes, &undo, &err) < 0)
                fail_msg("again: %s", err.text);
            assert_same_state(w.model, m);
        }
        direct_done(&undo);
        struct model_changes changes = {0};
        model_take_changes(m, &changes);
        model_changes_done(&changes);
    }
    assert_int_equal(model_accepted_count(w.model), model_accepted_count(m));
    model_free(m);
    writer_end(&w);
}

/* A change of one route costs its own size on the wire. */
static void test_a_delta_is_small(void **state)
{
    CLEANUP(buf_done) struct buf whole = {0}, delta = {0};
    char hex[DIGEST_HEX_SIZE];
    struct writer w;
    (void)state;
    writer_begin(&w);
    for (int i = 0; i < 200; i++)
        writer_set(&w, i, 1);
    writer_whole(&w, &whole);
    digest_hex(model_digest(w.model, MODEL_ACCEPTED), hex);
    writer_set(&w, 7, 2);
    writer_delta(&w, hex, &delta);
    assert_true(whole.length > 20000);
    assert_true(delta.length < 512);
    writer_end(&w);
}

static void test_owners_arrive(void **state)
{
    CLEANUP(buf_done) struct buf whole = {0};
    struct writer w;
    struct model *m = model_new();
    (void)state;
    writer_begin(&w);
    writer_set(&w, 1, 1);
    writer_whole(&w, &whole);
    receive_well(m, &whole);
    const struct item *item = model_map_item(m, "host.map", "h1");
    assert_non_null(item);
    assert_string_equal(item->accepted_by->owner_id, "r1");
    assert_string_equal(item->accepted_by->owner_kind, "things");
    model_free(m);
    writer_end(&w);
}

/* However it is cut, it is refused, and nothing has changed. */
static void test_a_cut_offer_changes_nothing(void **state)
{
    CLEANUP(buf_done) struct buf whole = {0};
    struct writer w;
    struct model *m = model_new();
    (void)state;
    writer_begin(&w);
    writer_set(&w, 1, 1);
    writer_whole(&w, &whole);
    for (size_t length = 0; length < whole.length; length++) {
        struct buf cut = {.data = whole.data, .length = length};
        struct direct_changes undo;
        struct err err;
        assert_int_equal(receive(m, &cut, &undo, &err), -1);
        assert_true(err.text[0] != '\0');
    }
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_free(m);
    writer_end(&w);
}

static void test_a_wrong_digest_changes_nothing(void **state)
{
    CLEANUP(buf_done) struct buf first = {0}, delta = {0};
    char hex[DIGEST_HEX_SIZE];
    struct direct_changes undo;
    struct err err;
    struct writer w;
    struct model *m = model_new();
    (void)state;
    writer_begin(&w);
    writer_set(&w, 1, 1);
    writer_whole(&w, &first);
    receive_well(m, &first);
    struct digest before = model_digest(m, MODEL_ACCEPTED);
    /* A delta that leaves something out. */
    writer_set(&w, 2, 1);
    writer_whole(&w, &delta);
    buf_clear(&delta);
    writer_set(&w, 3, 1);
    writer_delta(&w, digest_hex(before, hex), &delta);
    assert_int_equal(receive(m, &delta, &undo, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "digest"));
    assert_true(digest_equal(before, model_digest(m, MODEL_ACCEPTED)));
    model_free(m);
    writer_end(&w);
}

static void put_head(struct buf *out)
{
    size_t mark = frame_begin(out, FRAME_OFFER_HEAD);
    frame_add_string(out, "haptic offer");
    frame_add_number(out, 1);
    frame_add_number(out, 1);
    frame_add_number(out, 1);
    frame_add_string(out, "test");
    frame_add_string(out, "");
    frame_end(out, mark);
}

static void put_end(struct buf *out)
{
    size_t mark = frame_begin(out, FRAME_OFFER_END);
    frame_add_string(out, "00000000000000000000000000000000");
    frame_add_number(out, 0);
    frame_end(out, mark);
}

static void put_item(struct buf *out, int kind, const char *scope, const char *key, const char *text)
{
    size_t mark = frame_begin(out, FRAME_FRAGMENT);
    frame_add_string(out, "x");
    frame_add_string(out, "x.lua");
    frame_add_string(out, "");
    frame_add_string(out, "");
    frame_add_number(out, 0);
    frame_add_number(out, kind);
    frame_add_number(out, 0);
    frame_add_number(out, 0);
    frame_add_string(out, scope);
    frame_add_string(out, key);
    frame_add_string(out, text);
    frame_end(out, mark);
}

/* Names that lead out of the directory, items that are none, the same item twice. */
static void test_what_no_writer_says_is_refused(void **state)
{
    static const struct {
        int kind;
        const char *scope, *key, *text;
    } items[] = {
        {CONTRIBUTION_FILE, "../../etc/passwd", "", "x"},
        {CONTRIBUTION_FILE, "/etc/passwd", "", "x"},
        {CONTRIBUTION_FILE, "a/b", "", "x"},
        {CONTRIBUTION_FILE, "..", "", "x"},
        {CONTRIBUTION_FILE, ".hidden", "", "x"},
        {CONTRIBUTION_FILE, "", "", "x"},
        {CONTRIBUTION_CERTIFICATE, "../haproxy.cfg", "", "x"},
        {CONTRIBUTION_CRT_LIST, "../x", "k", "x"},
        {CONTRIBUTION_MAP_ENTRY, "../fence", "k", "v"},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "k", "v\nw"},
        {CONTRIBUTION_SECTION, "global\nfrontend x", "k", "v\n"},
        {CONTRIBUTION_SECTION, "global", "k", "no end of line"},
        {CONTRIBUTION_SECTION_FROM, "frontend x", "other", "base"},
        {CONTRIBUTION_WARNING, "", "Reason", "message"},
        {CONTRIBUTION_GUARD, "", "x", "backend"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        CLEANUP(buf_done) struct buf bytes = {0};
        struct offer o;
        struct err err;
        put_head(&bytes);
        put_item(&bytes, items[i].kind, items[i].scope, items[i].key, items[i].text);
        put_end(&bytes);
        if (offer_read(bytes.data, bytes.length, &o, &err) == 0)
            fail_msg("item %zu (\"%s\") was taken", i, items[i].scope);
    }
    CLEANUP(buf_done) struct buf twice = {0}, behind = {0};
    struct offer o;
    struct err err;
    put_head(&twice);
    put_item(&twice, CONTRIBUTION_MAP_ENTRY, "host.map", "k", "v");
    put_item(&twice, CONTRIBUTION_MAP_ENTRY, "host.map", "k", "w");
    put_end(&twice);
    assert_int_equal(offer_read(twice.data, twice.length, &o, &err), -1);
    assert_non_null(strstr(err.text, "twice"));
    put_head(&behind);
    put_end(&behind);
    put_end(&behind);
    assert_int_equal(offer_read(behind.data, behind.length, &o, &err), -1);
}

static void test_values_travel_with_what_needs_them(void **state)
{
    CLEANUP(buf_done) struct buf whole = {0};
    char handle[VAULT_HANDLE_LENGTH + 1];
    const struct vault_name name = {"default", "tls", "uid", "1", "key"};
    struct vault_hold *hold = NULL;
    struct vault_value value;
    struct vault *mine = vault_new(1 << 20);
    struct model *m = model_new();
    struct direct_changes undo;
    struct writer w;
    struct offer o;
    struct err err;
    (void)state;
    writer_begin(&w);
    assert_int_equal(vault_put(w.vault, &hold, &name, "very secret", 11, handle, &err), 0);
    const struct emitted file[] = {{CONTRIBUTION_FILE, "secret.txt", "", handle, 0, 0}};
    model_put(w.model, "s", file, 1);
    model_check(w.model, true);
    writer_whole(&w, &whole);
    assert_int_equal(offer_read(whole.data, whole.length, &o, &err), 0);
    assert_int_equal(model_direct_apply(m, &o.changes, true, o.result, o.result_count, &undo, &err), 0);
    offer_take_values(&o, mine);
    assert_int_equal(vault_get(mine, handle, &value, &err), 0);
    assert_int_equal(value.length, 11);
    assert_memory_equal(value.bytes, "very secret", 11);
    offer_done(&o);
    direct_done(&undo);
    vault_release(hold);
    model_free(m);
    vault_free(mine);
    writer_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_arrive_and_can_be_undone),
        cmocka_unit_test(test_a_delta_is_small),
        cmocka_unit_test(test_owners_arrive),
        cmocka_unit_test(test_a_cut_offer_changes_nothing),
        cmocka_unit_test(test_a_wrong_digest_changes_nothing),
        cmocka_unit_test(test_what_no_writer_says_is_refused),
        cmocka_unit_test(test_values_travel_with_what_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
