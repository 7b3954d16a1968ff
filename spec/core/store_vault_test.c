/* Values of Secrets: handles, what keeps a value, redaction; and that a store shows nothing of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "object_text.h"
#include "store/store.h"
#include "store/vault.h"
#include "store/vault_filter.h"

#define HANDLE_SIZE (VAULT_HANDLE_LENGTH + 1)

static void put(struct vault *v, struct vault_hold **hold, const char *uid, const char *version, const char *key,
                const char *bytes, char *ret_handle)
{
    struct err err;
    const struct vault_name name = {"shop", "users", uid, version, key};
    if (vault_put(v, hold, &name, bytes, strlen(bytes), ret_handle, &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_value(struct vault *v, const char *handle, const char *bytes)
{
    struct vault_value value;
    struct err err;
    if (vault_get(v, handle, &value, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(value.length, strlen(bytes));
    assert_memory_equal(value.bytes, bytes, value.length);
    assert_string_equal(value.secret, "shop/users");
}

static void assert_gone(struct vault *v, const char *handle)
{
    struct vault_value value;
    struct err err;
    assert_int_equal(vault_get(v, handle, &value, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
}

static void handles_are_equal_on_replicas(void **state)
{
    struct vault *a = vault_new(1 << 20), *b = vault_new(1 << 20);
    struct vault_hold *in_a = NULL, *in_b = NULL;
    char first[HANDLE_SIZE], same[HANDLE_SIZE], other[HANDLE_SIZE];
    bool whole = false;
    (void)state;

    put(a, &in_a, "uid", "1", "password", "geheim", first);
    put(b, &in_b, "uid", "1", "password", "geheim", same);
    assert_string_equal(first, same);
    assert_ptr_equal(vault_find(first, VAULT_HANDLE_LENGTH, &whole), first);
    assert_true(whole);
    assert_int_equal(strspn(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                     VAULT_HANDLE_LENGTH);
    /* Another version, key or object has another handle, with the same content as well. */
    put(a, &in_a, "uid", "2", "password", "geheim", other);
    assert_string_not_equal(first, other);
    put(a, &in_a, "uid", "1", "passwort", "geheim", other);
    assert_string_not_equal(first, other);
    put(a, &in_a, "diu", "1", "password", "geheim", other);
    assert_string_not_equal(first, other);
    /* Two contents under one version do not share a handle. */
    put(a, &in_a, "uid", "1", "password", "anders", other);
    assert_string_not_equal(first, other);
    assert_value(a, first, "geheim");
    assert_value(a, other, "anders");
    /* Without a version the content counts, and the process. */
    put(a, &in_a, "", "", "password", "geheim", first);
    put(a, &in_a, "", "", "password", "geheim", same);
    put(a, &in_a, "", "", "password", "anders", other);
    assert_string_equal(first, same);
    assert_string_not_equal(first, other);
    put(b, &in_b, "", "", "password", "geheim", other);
    assert_string_not_equal(first, other);
    vault_release(in_a);
    vault_release(in_b);
    vault_free(a);
    vault_free(b);
}

static void cut_handles_are_found(void **state)
{
    static const struct {
        const char *text;
        int found; /* 0: no, 1: cut, 2: whole */
    } cases[] = {
        {"", 0},
        {"HapticSecret", 0},
        {"HapticSecretary", 0},
        {"HapticSecretdeadbee", 0},
        {"HapticSecretdeadbeef", 1},
        {"xHapticSecret0123456789abcdef0123456789abcdefEnd", 2},
        {"HapticSecret0123456789abcdef0123456789abcdefFmty", 2},
        {"HapticSecret0123456789abcdef0123456789abcdefRgx", 2},
        {"HapticSecret0123456789abcdef0123456789abcdefEn", 1},
        {"HapticSecret0123456789abcdef0123456789abcdefend", 1},
        {"HapticSecret0123456789abcdef0123456789abcdeEnd", 1},
        {"HapticSecretHapticSecret0123456789abcdef0123456789abcdefEnd", 2},
        {"hapticsecret0123456789abcdef0123456789abcdefend", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool whole = false;
        const char *at = vault_find(cases[i].text, strlen(cases[i].text), &whole);
        assert_int_equal(at ? 1 + whole : 0, cases[i].found);
    }
}

struct referee {
    const char *text;
    int asked;
};

static void mark(void *ctx, struct vault *v)
{
    struct referee *r = ctx;
    r->asked++;
    vault_mark(v, r->text, strlen(r->text));
}

static void values_stay_while_needed(void **state)
{
    struct vault *v = vault_new(1 << 20);
    struct vault_hold *one = NULL, *two = NULL;
    char handle[HANDLE_SIZE], other[HANDLE_SIZE];
    (void)state;

    put(v, &one, "uid", "1", "password", "geheim", handle);
    put(v, &two, "uid", "1", "password", "geheim", handle);
    put(v, &two, "uid", "1", "other", "anderes", other);
    CLEANUP(free_ptr) char *text = xasprintf("    user a password %s\n", handle);
    struct referee referee = {.text = text};
    vault_set_referee(v, mark, &referee);

    vault_release(one);
    vault_sweep(v, 0);
    assert_int_equal(referee.asked, 0); /* nothing was released */
    vault_release(two);
    vault_sweep(v, INT64_C(3600) * 1000000000);
    assert_value(v, other, "anderes"); /* too young to go */
    vault_sweep(v, 0);
    assert_int_equal(referee.asked, 1);
    assert_value(v, handle, "geheim");
    assert_gone(v, other);
    referee.text = "";
    vault_sweep(v, 0);
    assert_gone(v, handle);
    assert_int_equal(vault_count(v), 0);
    assert_int_equal(vault_bytes(v), 0);
    vault_free(v);
}

static void the_maximum_holds(void **state)
{
    struct vault *v = vault_new(100000);
    struct vault_hold *held = NULL, *released = NULL;
    struct err err;
    char handle[HANDLE_SIZE], kept[HANDLE_SIZE];
    CLEANUP(free_ptr) char *bytes = xcalloc(1, 60000);
    const struct vault_name name = {"shop", "users", "uid", "9", "big"};
    (void)state;

    memset(bytes, 'x', 59999);
    put(v, &held, "uid", "1", "password", "geheim", kept);
    assert_int_equal(vault_put(v, &held, &name, bytes, 59999, handle, &err), 0);
    const struct vault_name next = {"shop", "users", "uid", "10", "big"};
    assert_int_equal(vault_put(v, &released, &next, bytes, 59999, handle, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_null(released);
    /* What was released makes room at once. */
    vault_release(held);
    assert_int_equal(vault_put(v, &released, &next, bytes, 59999, handle, &err), 0);
    assert_gone(v, kept);
    vault_release(released);
    vault_free(v);
}

static void a_hold_may_outlive_the_vault(void **state)
{
    struct vault *v = vault_new(1 << 20);
    struct vault_hold *hold = NULL;
    char handle[HANDLE_SIZE];
    (void)state;
    put(v, &hold, "uid", "1", "password", "geheim", handle);
    vault_free(v);
    vault_release(hold);
}

/* ---- redaction ---- */

static void assert_redacted(struct vault *v, const char *text, const char *wanted)
{
    CLEANUP(buf_done) struct buf out = {0};
    vault_redact(v, text, strlen(text), &out);
    assert_string_equal(buf_str(&out), wanted);
}

static void texts_are_redacted(void **state)
{
    struct vault *v = vault_new(1 << 20);
    struct vault_hold *hold = NULL;
    struct vault_value value;
    char h[HANDLE_SIZE], s[HANDLE_SIZE], tiny[HANDLE_SIZE], quoted[HANDLE_SIZE];
    (void)state;

    put(v, &hold, "uid", "1", "long", "correct horse battery", h);
    put(v, &hold, "uid", "1", "short", "abcd", s);
    put(v, &hold, "uid", "1", "tiny", "abc", tiny);
    put(v, &hold, "uid", "1", "quoted", "a'b'c'd'e", quoted);
    assert_redacted(v, "has correct horse battery", "has correct horse battery"); /* nobody was given it */
    for (const char *const *each = (const char *const[]){h, s, tiny, quoted, NULL}; *each; each++)
        assert_int_equal(vault_get(v, *each, &value, NULL), 0);

    CLEANUP(free_ptr) char *both = xasprintf("'%s' and %s!", h, s);
    assert_redacted(v, "'correct horse battery' and abcd!", both);
    /* A part is enough, and as a command line writes it. */
    CLEANUP(free_ptr) char *part = xasprintf("unknown word 'horse %s in abc", h);
    assert_redacted(v, "one horse, 1 bat, abc", "one horse, 1 bat, abc");
    assert_redacted(v, "unknown word 'horse rse batte in abc", part);
    CLEANUP(free_ptr) char *escaped = xasprintf("add map x %s", h);
    assert_redacted(v, "add map x correct\\ horse\\ battery", escaped);
    CLEANUP(free_ptr) char *strong = xasprintf("parsing %s", quoted);
    assert_redacted(v, "parsing a'\\''b'\\''c'\\''d'\\''e", strong);
    CLEANUP(free_ptr) char *cut = xasprintf("refused: %s", h);
    assert_redacted(v, "refused: corre", cut);
    assert_redacted(v, "", "");
    assert_redacted(NULL, "correct horse battery", "correct horse battery");

    struct err err;
    (void)err_set(&err, ERR_HAPROXY, "no: correct horse battery");
    vault_redact_err(v, &err);
    assert_null(strstr(err.text, "horse"));
    assert_int_equal(err.kind, ERR_HAPROXY);
    vault_release(hold);
    vault_free(v);
}

/* No part of 8 bytes of any value that was given out is left, whatever text there is around. */
static void random_texts_are_redacted(void **state)
{
    struct vault *v = vault_new(1 << 20);
    struct vault_hold *hold = NULL;
    struct vault_value value;
    char values[8][64], handles[8][HANDLE_SIZE], key[16];
    (void)state;

    srand(7);
    for (size_t i = 0; i < 8; i++) {
        size_t length = 8 + (size_t)rand() % 40;
        for (size_t k = 0; k < length; k++)
            values[i][k] = "ab' \\%x"[rand() % 7];
        values[i][length] = '\0';
        snprintf(key, sizeof(key), "k%zu", i);
        put(v, &hold, "uid", "1", key, values[i], handles[i]);
        assert_int_equal(vault_get(v, handles[i], &value, NULL), 0);
    }
    for (int round = 0; round < 2000; round++) {
        CLEANUP(buf_done) struct buf text = {0}, out = {0};
        for (int piece = rand() % 6; piece >= 0; piece--) {
            const char *from = values[rand() % 8];
            size_t length = strlen(from), start = (size_t)rand() % length;
            buf_add(&text, from + start, 1 + (size_t)rand() % (length - start));
            buf_puts(&text, piece % 2 ? "|" : "");
        }
        vault_redact(v, buf_str(&text), text.length, &out);
        for (size_t i = 0; i < 8; i++)
            for (size_t at = 0; at + 8 <= strlen(values[i]); at++)
                assert_null(memmem(buf_str(&out), out.length, values[i] + at, 8));
    }
    vault_release(hold);
    vault_free(v);
}

/* ---- the store ---- */

static struct store_kind *kind_add(struct store *s, const char *name, const char *resource, const char *const *index_by)
{
    struct store_kind *kind = NULL;
    struct err err = {0};
    const struct store_kind_spec spec = {.name = name, .api_version = "v1", .resource = resource, .index_by = index_by};
    if (store_add_kind(s, &spec, &kind, &err) < 0)
        fail_msg("%s", err.text);
    return kind;
}

static void take_handle(const struct object *o, const char *key, char *ret_handle)
{
    CLEANUP(free_ptr) char *member = xasprintf("\"%s\":\"" VAULT_PREFIX, key);
    const char *at = strstr(text_of(o), member);
    assert_non_null(at);
    memcpy(ret_handle, at + strlen(member) - strlen(VAULT_PREFIX), VAULT_HANDLE_LENGTH);
    ret_handle[VAULT_HANDLE_LENGTH] = '\0';
}

static void store_shows_handles_only(void **state)
{
    static const char *const by_value[] = {"data.password", NULL};
    struct store *s = store_new(1 << 20, 1 << 20);
    struct store_kind *kind = kind_add(s, "passwords", "secrets", by_value);
    struct err err = {0};
    bool changed = false;
    char handle[HANDLE_SIZE], again[HANDLE_SIZE];
    static const char *const bytes[] = {"geheim", "Z2VoZWlt", "klartext", "verirrt"};
    (void)state;

    store_kind_set_object_kind(kind, "Secret");
    const char *text =
        "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"users\",\"uid\":\"u\",\"resourceVersion\":\"1\","
        "\"labels\":{\"a\":\"b\"},"
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"Z2VoZWlt\",\"keep\":\"me\"}},"
        "\"type\":\"Opaque\","
        "\"stringdata\":{\"x\":\"verirrt\"},"
        "\"data\":{\"password\":\"Z2VoZWlt\",\"empty\":\"\",\"none\":null,\"plain\":\"Z2VoZWlt\"},"
        "\"stringData\":{\"plain\":\"klartext\"}}";
    if (store_put_json(kind, text, strlen(text), &changed, &err) < 0)
        fail_msg("%s", err.text);
    struct object *o = store_get(kind, "shop/users");
    /* The object is one block that ends with its packed text. */
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
        assert_null(memmem(o, (size_t)(o->packed - (const char *)o) + o->packed_length, bytes[i], strlen(bytes[i])));
        assert_null(strstr(text_of(o), bytes[i]));
    }
    take_handle(o, "password", handle);
    assert_value(store_vault(s), handle, "geheim");
    take_handle(o, "plain", again);
    assert_value(store_vault(s), again, "klartext");
    take_handle(o, "empty", again);
    assert_value(store_vault(s), again, "");
    assert_non_null(strstr(text_of(o), "\"lengths\":{\"password\":6,\"empty\":0,\"plain\":8}"));
    assert_non_null(strstr(text_of(o), "\"keep\":\"me\""));
    assert_non_null(strstr(text_of(o), "\"type\":\"Opaque\""));
    assert_non_null(strstr(text_of(o), "\"kind\":\"Secret\""));
    assert_string_equal(o->index[0], handle);

    /* The same again changes nothing; another version has another handle, and the old value waits for a sweep. */
    if (store_put_json(kind, text, strlen(text), &changed, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(changed);
    CLEANUP(free_ptr) char *newer = xstrdup(text);
    memcpy(strstr(newer, "resourceVersion\":\"1") + strlen("resourceVersion\":\""), "2", 1);
    if (store_put_json(kind, newer, strlen(newer), &changed, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(changed);
    take_handle(store_get(kind, "shop/users"), "password", again);
    assert_string_not_equal(again, handle);
    assert_value(store_vault(s), handle, "geheim");
    vault_sweep(store_vault(s), 0);
    assert_gone(store_vault(s), handle);
    store_delete(kind, "shop", "users", NULL);
    vault_sweep(store_vault(s), 0);
    assert_int_equal(vault_count(store_vault(s)), 0);
    store_free(s);
}

static void wrong_secrets_are_refused(void **state)
{
    static const struct {
        const char *rest, *message;
    } cases[] = {
        {"\"data\":{\"password\":\"Z2Vo*WltABCD\"}", "key password: not base64"},
        {"\"data\":{\"password\":\"Z2VoZ\"}", "key password: not base64"},
        {"\"data\":{\"password\":7}", "key password: the value is not a string"},
        {"\"data\":[\"Z2VoZWlt\"]", "data is not an object"},
        {"\"stringData\":{\"a b\":\"geheim\"}", "a key that is not of letters"},
        {"\"type\":\"HapticSecret0123456789abcdef0123456789abcdefEnd\"", "the text of a handle"},
    };
    struct store *s = store_new(1 << 20, 1 << 20);
    struct store_kind *kind = kind_add(s, "secrets", "secrets", NULL);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        CLEANUP(free_ptr)
        char *text = xasprintf("{\"metadata\":{\"namespace\":\"shop\",\"name\":\"users\"},%s}", cases[i].rest);
        assert_int_equal(store_put_json(kind, text, strlen(text), NULL, &err), -1);
        assert_non_null(strstr(err.text, cases[i].message));
        assert_non_null(strstr(err.text, "secrets shop/users"));
        assert_null(strstr(err.text, "geheim"));
        assert_null(strstr(err.text, "Z2Vo"));
    }
    assert_int_equal(vault_count(store_vault(s)), 0);
    store_free(s);
}

/* Whoever can write an object must not get at a Secret by naming its handle. */
static void handles_in_other_objects_are_refused(void **state)
{
    struct store *s = store_new(1 << 20, 1 << 20);
    struct store_kind *kind = kind_add(s, "services", "services", NULL);
    struct err err = {0};
    const char *text = "{\"metadata\":{\"namespace\":\"a\",\"name\":\"b\","
                       "\"annotations\":{\"x\":\"\\u0048apticSecret0123456789abcdef0123456789abcdefEnd\"}}}";
    (void)state;
    assert_int_equal(store_put_json(kind, text, strlen(text), NULL, &err), -1);
    assert_non_null(strstr(err.text, "services a/b"));
    assert_int_equal(store_kind_objects(kind), 0);
    store_free(s);
}

/* Each part of eight bytes of each of many values, also of those that came after the first redaction, as it is and as
 * it is quoted; what has none of them stays. */
static void parts_of_many_values_are_redacted(void **state)
{
    enum { VALUES = 400, LENGTH = 40 };
    static const char *const quotings[][2] = {{"", ""}, {"'", "'\\'"}, {" ;\\", "\\"}, {"%", "%"}};
    struct vault *v = vault_new(1 << 22);
    struct vault_hold *hold = NULL;
    struct vault_value value;
    static char values[VALUES][LENGTH + 1], handles[VALUES][HANDLE_SIZE];
    char key[16];
    (void)state;

    srand(11);
    for (size_t i = 0; i < VALUES; i++) {
        for (size_t k = 0; k < LENGTH; k++)
            values[i][k] = "abcdefghijklmnop'; %\\"[rand() % (i % 2 ? 16 : 21)];
        snprintf(key, sizeof(key), "k%zu", i);
        put(v, &hold, "uid", "1", key, values[i], handles[i]);
        assert_int_equal(vault_get(v, handles[i], &value, NULL), 0);
        if (i % 7)
            continue;
        for (size_t round = 0; round < 40; round++) {
            size_t which = (size_t)rand() % (i + 1), at = (size_t)rand() % (LENGTH - 8 + 1);
            const char *const *quoting = quotings[(size_t)rand() % 4];
            CLEANUP(buf_done) struct buf text = {0}, out = {0};
            buf_puts(&text, "QQ");
            for (size_t k = 0; k < 8; k++)
                buf_printf(&text, "%s%c", *quoting[0] && strchr(quoting[0], values[which][at + k]) ? quoting[1] : "",
                           values[which][at + k]);
            buf_puts(&text, "QQ");
            vault_redact(v, buf_str(&text), text.length, &out);
            if (!strstr(buf_str(&out), "HapticSecret"))
                fail_msg("'%s' of value %zu at %zu is not redacted among %zu", buf_str(&text), which, at, i + 1);
        }
        assert_redacted(v, "QQ RRRRRRRRRRRRRRRRRRRR QQ 0123456789", "QQ RRRRRRRRRRRRRRRRRRRR QQ 0123456789");
    }
    vault_release(hold);
    vault_free(v);
}

/* Values of four to seven bytes among many long ones, and the beginnings of all of them at the end of a text. With and
 * without values of four bytes, because the filter is asked differently then. */
static void short_values_and_ends_are_redacted(void **state)
{
    enum { VALUES = 300 };
    struct vault_value value;
    static char values[VALUES][16], handles[VALUES][HANDLE_SIZE];
    char key[16];
    (void)state;

    srand(17);
    for (size_t shortest = 4; shortest <= 8; shortest++) {
        struct vault *v = vault_new(1 << 22);
        struct vault_hold *hold = NULL;
        for (size_t i = 0; i < VALUES; i++) {
            size_t length = i % 10 ? 15 : shortest + i / 10 % (9 - shortest);
            for (size_t k = 0; k < length; k++)
                values[i][k] = (char)('a' + rand() % 26);
            values[i][length] = '\0';
            snprintf(key, sizeof(key), "k%zu", i);
            put(v, &hold, "uid", "1", key, values[i], handles[i]);
            assert_int_equal(vault_get(v, handles[i], &value, NULL), 0);
        }
        for (size_t i = 0; i < VALUES; i++) {
            size_t length = strlen(values[i]), cut = 4 + (size_t)rand() % 4;
            CLEANUP(free_ptr) char *whole = xasprintf("QQ%sQQ", values[i]);
            CLEANUP(free_ptr) char *wanted = xasprintf("QQ%sQQ", handles[i]);
            assert_redacted(v, whole, wanted);
            CLEANUP(free_ptr) char *end = xasprintf("QQ%.*s", (int)(cut < length ? cut : length), values[i]);
            CLEANUP(free_ptr) char *hidden = xasprintf("QQ%s", handles[i]);
            assert_redacted(v, end, hidden);
            CLEANUP(free_ptr) char *inside = xasprintf("QQ%.3s %.*s.", values[i], length < 8 ? 3 : 7, values[i]);
            assert_redacted(v, inside, inside);
        }
        vault_release(hold);
        vault_free(v);
    }
}

/* It never says no where it has to say yes, and mostly says no. */
static void filters_find_parts(void **state)
{
    struct vault_filter f = {0};
    char bytes[4001];
    size_t mistakes = 0;
    (void)state;

    srand(13);
    assert_false(vault_filter_may_have(&f, "whatever it is", 14));
    vault_filter_begin(&f, 4000, 77);
    for (size_t i = 0; i < 4000; i++)
        bytes[i] = (char)('a' + rand() % 26);
    assert_true(vault_filter_add(&f, bytes, 4000));
    for (size_t i = 0; i + VAULT_FILTER_PART <= 4000; i++)
        assert_true(vault_filter_may_have(&f, bytes + i, VAULT_FILTER_PART));
    for (size_t i = 0; i < 2000; i++) {
        char text[13];
        snprintf(text, sizeof(text), "%012d", rand());
        mistakes += vault_filter_may_have(&f, text, 12);
    }
    assert_true(mistakes < 20);
    while (vault_filter_add(&f, bytes, 4000)) /* it is full some time */
        ;
    vault_filter_begin(&f, 4000, 77);
    assert_false(vault_filter_may_have(&f, bytes, 4000));
    vault_filter_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handles_are_equal_on_replicas),
        cmocka_unit_test(cut_handles_are_found),
        cmocka_unit_test(values_stay_while_needed),
        cmocka_unit_test(the_maximum_holds),
        cmocka_unit_test(a_hold_may_outlive_the_vault),
        cmocka_unit_test(texts_are_redacted),
        cmocka_unit_test(random_texts_are_redacted),
        cmocka_unit_test(store_shows_handles_only),
        cmocka_unit_test(short_values_and_ends_are_redacted),
        cmocka_unit_test(filters_find_parts),
        cmocka_unit_test(parts_of_many_values_are_redacted),
        cmocka_unit_test(wrong_secrets_are_refused),
        cmocka_unit_test(handles_in_other_objects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
