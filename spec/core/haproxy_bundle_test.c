/* A sealed bundle gives back what was put in, in whatever order it came about; what is cut is read up to its last mark,
 * what is damaged is refused, and a model that reads it has accepted what the other had. */
#include <time.h>

#include "model_support.h"

#include "engine/frame.h"
#include "haproxy/bundle_seal.h"

#define STEPS 400

static unsigned spec_seed(void)
{
    const char *given = getenv("SPEC_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", seed);
    return seed;
}

static struct bundle *unsealed(const struct buf *bytes, size_t *ret_cut)
{
    struct bundle *b = NULL;
    struct err err;
    if (bundle_unseal(buf_str(bytes), bytes->length, &b, ret_cut, &err) < 0)
        fail_msg("%s", err.text);
    return b;
}

static struct fragment *route(int number, int version)
{
    CLEANUP(free_ptr) char *id = xasprintf("r%d", number);
    CLEANUP(free_ptr) char *host = xasprintf("h%d", number);
    CLEANUP(free_ptr) char *section = xasprintf("backend b%d", number);
    CLEANUP(free_ptr) char *lines = xasprintf("server s 127.0.0.%d:80\n", version);
    const struct emitted emitted[] = {
        {CONTRIBUTION_SECTION, section, "body", lines, 30, version},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 30, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, section + 8, 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "", "", 0, 0},
        {CONTRIBUTION_FILE, "page", "", lines, 0, 0},
        {CONTRIBUTION_WARNING, "", "Odd", "a message", 0, 0},
    };
    return fragment_make(id, id, number, emitted, ARRAY_LEN(emitted));
}

static void put(struct bundle *b, int number, int version)
{
    struct fragment *f = route(number, version);
    bundle_put(b, f);
    fragment_unref(f);
}

static void the_digest_does_not_depend_on_history(void **state)
{
    (void)state;
    unsigned seed = spec_seed();
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new(), *direct = bundle_new();
    int versions[20] = {0};
    for (int i = 0; i < STEPS; i++) {
        int number = rand_r(&seed) % 20;
        versions[number] = rand_r(&seed) % 4; /* 0: gone */
        CLEANUP(free_ptr) char *id = xasprintf("r%d", number);
        if (versions[number])
            put(b, number, versions[number]);
        else
            bundle_drop(b, id);
    }
    for (int i = 19; i >= 0; i--)
        if (versions[i])
            put(direct, i, versions[i]);
    assert_true(digest_equal(b->digest, direct->digest));
    CLEANUP(buf_done) struct buf one = {0}, other = {0};
    bundle_seal(b, &one);
    bundle_seal(direct, &other);
    assert_int_equal(one.length, other.length);
    assert_memory_equal(one.data, other.data, one.length);
    put(direct, 5, 99);
    assert_false(digest_equal(b->digest, direct->digest));
}

static void what_is_sealed_comes_back(void **state)
{
    (void)state;
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    CLEANUP(buf_done) struct buf bytes = {0}, again = {0};
    size_t cut;
    for (int i = 0; i < 10; i++)
        put(b, i, 1 + i);
    bundle_put_value(b, "0123456789abcdef0123456789abcdef", "shop/tls", "tls.key", "a\0b\n", 4);
    b->stamp = (struct bundle_stamp){.transitions = 17, .generation = 4031};
    snprintf(b->haproxy, sizeof(b->haproxy), "3.2.1");
    bundle_seal(b, &bytes);
    CLEANUP(bundle_cleanup) struct bundle *read = unsealed(&bytes, &cut);
    assert_int_equal(cut, 0);
    assert_int_equal(read->parts.count, 10);
    assert_int_equal(read->stamp.transitions, 17);
    assert_int_equal(read->stamp.generation, 4031);
    assert_string_equal(read->haproxy, "3.2.1");
    const struct fragment *part = map_get(&read->parts, "r3");
    assert_int_equal(part->count, 5); /* no message */
    assert_string_equal(part->owner_kind, "things");
    assert_int_equal(part->owner_created_s, 3);
    assert_int_equal(part->items[0].order, 4);
    const struct bundle_value *v = map_get(&read->values, "0123456789abcdef0123456789abcdef");
    assert_int_equal(v->length, 4);
    assert_memory_equal(v->bytes, "a\0b\n", 4);
    assert_string_equal(v->secret, "shop/tls");
    bundle_seal(read, &again);
    assert_int_equal(again.length, bytes.length);
    assert_memory_equal(again.data, bytes.data, bytes.length);
}

/* Changes are appended; each mark makes a whole. Whatever the length, what is read is the state at the last mark. */
static void what_is_cut_is_read_up_to_its_last_mark(void **state)
{
    (void)state;
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    CLEANUP(buf_done) struct buf bytes = {0};
    size_t ends[6];
    struct digest digests[6];
    put(b, 0, 1);
    bundle_seal(b, &bytes);
    ends[0] = bytes.length;
    digests[0] = b->digest;
    for (int i = 1; i < 6; i++) {
        struct fragment *f = route(i % 3, i);
        if (i == 4) {
            seal_gone(&bytes, "r1");
            bundle_drop(b, "r1");
        } else {
            seal_part(&bytes, f);
            bundle_put(b, f);
        }
        fragment_unref(f);
        seal_mark(&bytes, &b->stamp, b->parts.count, b->digest, b->values_digest);
        ends[i] = bytes.length;
        digests[i] = b->digest;
    }
    for (size_t length = ends[0]; length <= bytes.length; length++) {
        size_t cut, last = 0;
        struct buf part = {.data = bytes.data, .length = length};
        CLEANUP(bundle_cleanup) struct bundle *read = unsealed(&part, &cut);
        while (last < 5 && ends[last + 1] <= length)
            last++;
        assert_true(digest_equal(read->digest, digests[last]));
        assert_int_equal(cut, length - ends[last]);
    }
    /* What a machine without power leaves: allocated, not written. */
    size_t whole = bytes.length, cut;
    for (int i = 0; i < 4096; i++)
        buf_putc(&bytes, '\0');
    CLEANUP(bundle_cleanup) struct bundle *read = unsealed(&bytes, &cut);
    assert_int_equal(cut, bytes.length - whole);
    assert_true(digest_equal(read->digest, digests[5]));
}

/* Each single changed byte is noticed, or is in the length of a frame that now reaches beyond the end: then nothing, or
 * what was sealed before it, is read. */
static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    CLEANUP(buf_done) struct buf bytes = {0};
    for (int i = 0; i < 3; i++)
        put(b, i, 1 + i);
    bundle_put_value(b, "0123456789abcdef0123456789abcdef", "shop/tls", "tls.key", "secret", 6);
    snprintf(b->haproxy, sizeof(b->haproxy), "3.2.1");
    bundle_seal(b, &bytes);
    size_t mark = bytes.length - 120; /* the mark's numbers tell who made it and are not part of the digest */
    for (size_t at = 0; at < mark; at++) {
        struct bundle *read = NULL;
        size_t cut;
        struct err err;
        bytes.data[at] ^= 0x15;
        int result = bundle_unseal(bytes.data, bytes.length, &read, &cut, &err);
        bytes.data[at] ^= 0x15;
        /* The head's version of HAProxy is information. */
        if (result == 0 && strcmp(read->haproxy, "3.2.1") == 0)
            fail_msg("byte %zu of %zu was changed, and nobody noticed", at, bytes.length);
        if (result < 0)
            assert_true(err.text[0]);
        bundle_free(read);
    }
}

static void another_program_s_file_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "global\n    maxconn 1\n", "{\"a\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct bundle *b = NULL;
        size_t cut;
        struct err err;
        assert_int_equal(bundle_unseal(texts[i], strlen(texts[i]), &b, &cut, &err), -1);
        assert_true(err.kind == ERR_INVALID || err.kind == ERR_LIMIT);
    }
    CLEANUP(buf_done) struct buf newer = {0};
    struct bundle *b = NULL;
    size_t cut;
    struct err err;
    size_t mark = frame_begin(&newer, FRAME_SEAL_HEAD);
    frame_add_string(&newer, "haptic bundle");
    frame_add_number(&newer, BUNDLE_VERSION + 1);
    frame_add_string(&newer, "3.2.1");
    frame_end(&newer, mark);
    seal_mark(&newer, &(struct bundle_stamp){0}, 0, (struct digest){0, 0}, (struct digest){0, 0});
    assert_int_equal(bundle_unseal(newer.data, newer.length, &b, &cut, &err), -1);
    assert_non_null(strstr(err.text, "version 2"));
}

/* ---- with a model ---- */

static void note(void *ctx, const struct fragment *before, const struct fragment *now)
{
    struct bundle *b = ctx;
    if (now)
        bundle_put(b, (struct fragment *)(uintptr_t)now);
    else
        bundle_drop(b, before->id);
}

static void put_part(struct model *m, const struct bundle *b)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&b->parts, &it));)
        model_fragment_put(m, slot->value);
    model_check(m, true);
}

static void put_random(struct model *m, unsigned *seed)
{
    int number = rand_r(seed) % 12, shared = rand_r(seed) % 4;
    CLEANUP(free_ptr) char *object = xasprintf("o%02d", number);
    CLEANUP(free_ptr) char *host = xasprintf("host%d", rand_r(seed) % 16);
    CLEANUP(free_ptr) char *backend = xasprintf("b%d", shared);
    CLEANUP(free_ptr) char *lines = xasprintf("server s 127.0.0.%d:80\n", 1 + rand_r(seed) % 2);
    model_put_route(m, object, host, backend, lines);
}

/* A second model that reads what the first one keeps has the same accepted state, whenever everything is accepted; and
 * the bundle that follows the changes is the one that is made from scratch. */
static void a_model_comes_back(void **state)
{
    (void)state;
    unsigned seed = spec_seed();
    struct model *m = model_new();
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    model_track_kept(m, true);
    model_put_base(m, 8080, "");
    for (int i = 0; i < STEPS; i++) {
        CLEANUP(free_ptr) char *object = xasprintf("o%02d", rand_r(&seed) % 12);
        switch (rand_r(&seed) % 6) {
        case 0:
            model_fragment_drop(m, object);
            break;
        case 1:
            (void)model_quarantine(m, object, "bad");
            break;
        case 2:
            model_release(m, object);
            break;
        default:
            put_random(m, &seed);
        }
        if (rand_r(&seed) % 3 == 0)
            model_check(m, rand_r(&seed) % 4 > 0);
        if (rand_r(&seed) % 4 > 0)
            continue;
        model_check(m, true);
        while (model_take_kept(m, 3, note, b) > 0)
            continue;
        CLEANUP(buf_done) struct buf bytes = {0};
        size_t cut;
        bundle_seal(b, &bytes);
        CLEANUP(bundle_cleanup) struct bundle *read = unsealed(&bytes, &cut);
        assert_true(digest_equal(read->digest, b->digest));
        struct model *other = model_new();
        put_part(other, read);
        CLEANUP(free_ptr) char *wanted = model_config(m, MODEL_ACCEPTED), *got = model_config(other, MODEL_ACCEPTED);
        assert_string_equal(got, wanted);
        CLEANUP(free_ptr)
        char *map = model_map(m, MODEL_ACCEPTED, "host.map"), *map_got = model_map(other, MODEL_ACCEPTED, "host.map");
        assert_string_equal(map_got, map);
        assert_true(digest_equal(model_digest(m, MODEL_ACCEPTED), model_digest(other, MODEL_ACCEPTED)));
        model_free(other);
    }
    model_free(m);
}

static void after_a_restart(void **state)
{
    (void)state;
    struct model *m = model_new();
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    model_track_kept(m, true);
    model_put_base(m, 8080, "");
    model_put_route(m, "kept", "kept.example", "kept", "server s 127.0.0.1:80\n");
    model_put_route(m, "gone", "gone.example", "gone", "server s 127.0.0.2:80\n");
    model_put_route(m, "bad", "bad.example", "bad", "server s 127.0.0.3:80\n");
    model_check(m, true);
    (void)model_take_kept(m, SIZE_MAX, note, b);
    model_free(m);

    m = model_new();
    put_part(m, b);
    model_replace_begin(m);
    model_put_base(m, 8080, "");
    model_fragment_keep(m, "kept"); /* its template fails */
    model_put_route(m, "bad", "bad.example", "bad", "no such line\n");
    model_replace_end(m);
    assert_accepted(m, "127.0.0.2:80"); /* until its absence is checked */
    model_check_begin(m);
    model_check_end(m, false);
    assert_true(model_convict(m, "bad", CONTRIBUTION_SECTION, "backend bad", "body", "refused"));
    model_check(m, true);
    assert_accepted(m, "127.0.0.1:80");
    assert_accepted(m, "127.0.0.3:80");
    assert_not_accepted(m, "127.0.0.2:80");
    assert_not_accepted(m, "no such line");
    assert_true(model_has_good(m, "kept"));
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_does_not_depend_on_history),
        cmocka_unit_test(what_is_sealed_comes_back),
        cmocka_unit_test(what_is_cut_is_read_up_to_its_last_mark),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(another_program_s_file_is_refused_by_name),
        cmocka_unit_test(a_model_comes_back),
        cmocka_unit_test(after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
