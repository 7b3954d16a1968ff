/* Facts of certificates beside the handles of a Secret: what the store keeps, and how it follows the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "certificates.h"
#include "data/json.h"
#include "object_text.h"
#include "store/password_facts.h"
#include "store/store.h"
#include "store/vault.h"

#define DAY 86400L

struct world {
    struct store *store;
    struct store_kind *secrets;
    unsigned told;
};

static void on_event(void *ctx, enum store_event event, struct store_kind *kind UNUSED, struct object *now UNUSED,
                     struct object *before UNUSED)
{
    ((struct world *)ctx)->told += event == STORE_EVENT_PUT;
}

static void world_init(struct world *w)
{
    struct err err;
    w->store = store_new(4 << 20, 64 << 20);
    w->told = 0;
    assert_int_equal(
        store_add_kind(w->store,
                       &(struct store_kind_spec){.name = "secrets", .api_version = "v1", .resource = "secrets"},
                       &w->secrets, &err),
        0);
    store_listen(w->store, on_event, w);
}

static char *json_text(const char *pem)
{
    struct buf out = {0};
    for (; *pem; pem++)
        buf_printf(&out, *pem == '\n' ? "\\n" : "%c", *pem);
    return buf_steal(&out);
}

static void put(struct world *w, const char *name, const char *chain, const char *key, const char *more)
{
    CLEANUP(free_ptr) char *chain_text = json_text(chain);
    CLEANUP(free_ptr) char *key_text = json_text(key);
    CLEANUP(free_ptr)
    char *json = xasprintf(
        "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"%s\",\"uid\":\"u\",\"resourceVersion\":\"1\"%s},"
        "\"type\":\"kubernetes.io/tls\",\"stringData\":{\"tls.crt\":\"%s\",\"tls.key\":\"%s\"}}",
        name, more, chain_text, key_text);
    struct err err;
    if (store_put_json(w->secrets, json, strlen(json), NULL, &err) < 0)
        fail_msg("%s", err.text);
}

/* A fact of an object, as JSON. */
static void assert_fact(struct world *w, const char *id, const char *fact, const char *expected)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    const struct object *o = store_get(w->secrets, id);
    assert_non_null(o);
    assert_int_equal(object_parse(o, 1 << 20, &doc, NULL), 0);
    CLEANUP(buf_done) struct buf text = {0};
    struct yyjson_val *value = json_at(json_at(yyjson_doc_get_root(doc), "x509"), fact);
    if (value)
        assert_int_equal(json_write(&text, value, NULL, NULL), 0);
    assert_string_equal(buf_str(&text), expected);
}

static bool has_text(struct world *w, const char *id, const char *wanted)
{
    CLEANUP(buf_done) struct buf text = {0};
    object_text(store_get(w->secrets, id), &text);
    return strstr(buf_str(&text), wanted) != NULL;
}

/* A Secret with a certificate for each type of keys: facts of each, and each follows the time. */
static void pairs_have_facts_each(void **state UNUSED)
{
    struct world w;
    struct made one = make_certificate("one", "DNS:a.example", NULL, 0, -DAY, DAY);
    struct made two = make_certificate("two", "DNS:b.example", NULL, 0, -DAY, 2 * DAY);
    CLEANUP(free_ptr) char *one_chain = json_text(one.chain), *one_key = json_text(one.secret);
    CLEANUP(free_ptr) char *two_chain = json_text(two.chain), *two_key = json_text(two.secret);
    CLEANUP(free_ptr)
    char *json = xasprintf(
        "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"pairs\"},\"type\":\"Opaque\",\"stringData\":{"
        "\"rsa.crt\":\"%s\",\"rsa.key\":\"%s\",\"ecdsa.crt\":\"%s\",\"ecdsa.key\":\"%s\"}}",
        one_chain, one_key, two_chain, two_key);
    CLEANUP(free_ptr)
    char *mixed = xasprintf(
        "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"mixed\"},\"type\":\"Opaque\",\"stringData\":{"
        "\"ecdsa.crt\":\"%s\",\"ecdsa.key\":\"%s\",\"rsa.key\":\"x\"}}",
        two_chain, one_key);
    struct err err;

    world_init(&w);
    assert_int_equal(store_put_json(w.secrets, json, strlen(json), NULL, &err), 0);
    assert_fact(&w, "shop/pairs", "stem", "\"rsa\"");
    assert_fact(&w, "shop/pairs", "names", "[\"a.example\"]");
    assert_true(has_text(&w, "shop/pairs", "\"pairs\":[{\"validity\":\"valid\""));
    assert_true(has_text(&w, "shop/pairs", "\"names\":[\"b.example\"]"));
    assert_true(has_text(&w, "shop/pairs", "\"stem\":\"ecdsa\""));
    /* The first one ends, then the second. */
    w.told = 0;
    store_refresh_dates(w.store, clock_wall_s() + DAY + DAY / 2);
    assert_int_equal(w.told, 1);
    assert_fact(&w, "shop/pairs", "validity", "\"ended\"");
    assert_true(has_text(&w, "shop/pairs", "\"pairs\":[{\"validity\":\"valid\""));
    store_refresh_dates(w.store, clock_wall_s() + 3 * DAY);
    assert_int_equal(w.told, 2);
    assert_true(has_text(&w, "shop/pairs", "\"pairs\":[{\"validity\":\"ended\""));
    /* Both at once are one change. */
    store_refresh_dates(w.store, clock_wall_s());
    assert_int_equal(w.told, 3);
    /* A key without a certificate is somebody else's; what is wrong is told by the names of the pair. */
    assert_int_equal(store_put_json(w.secrets, mixed, strlen(mixed), NULL, &err), 0);
    assert_fact(&w, "shop/mixed", "stem", "\"ecdsa\"");
    assert_fact(&w, "shop/mixed", "problem", "\"the key does not belong to the certificate\"");
    assert_fact(&w, "shop/mixed", "pairs", "");
    store_free(w.store);
    made_done(&one);
    made_done(&two);
}

static void facts_are_beside_handles(void **state UNUSED)
{
    struct world w;
    struct made root = make_certificate("root", NULL, NULL, 0, -DAY, DAY);
    struct made leaf = make_certificate("leaf", "DNS:b.example,DNS:a.example", &root, 0, -DAY, DAY);
    CLEANUP(free_ptr) char *wrong_order = xasprintf("%s%s", root.chain, leaf.chain);
    struct vault_value value;
    struct err err;

    world_init(&w);
    put(&w, "good", leaf.chain, leaf.secret, "");
    assert_fact(&w, "shop/good", "validity", "\"valid\"");
    assert_fact(&w, "shop/good", "names", "[\"a.example\",\"b.example\"]");
    assert_fact(&w, "shop/good", "usable", "true");
    assert_fact(&w, "shop/good", "problem", "");
    put(&w, "turned", wrong_order, leaf.secret, "");
    assert_fact(&w, "shop/turned", "reordered", "true");
    /* The value in order is one of its own. */
    const struct object *o = store_get(w.secrets, "shop/turned");
    const char *chain = strstr(text_of(o), "\"chain\":\"");
    assert_non_null(chain);
    assert_int_equal(vault_get(store_vault(w.store), chain + 9, &value, &err), 0);
    assert_int_equal(value.length, strlen(leaf.chain) + strlen(root.chain));
    assert_memory_equal(value.bytes, leaf.chain, strlen(leaf.chain));
    put(&w, "bad", leaf.chain, root.secret, "");
    assert_fact(&w, "shop/bad", "problem", "\"the key does not belong to the certificate\"");
    assert_fact(&w, "shop/bad", "usable", "false");
    assert_fact(&w, "shop/bad", "chain", "");
    assert_null(strstr(text_of(store_get(w.secrets, "shop/bad")), "BEGIN"));
    store_free(w.store);
    made_done(&root);
    made_done(&leaf);
}

static void validity_follows_the_time(void **state UNUSED)
{
    struct world w;
    struct made m = make_certificate("m", "DNS:a.example", NULL, 0, DAY, 3 * DAY);
    int64_t now_s = clock_wall_s();

    world_init(&w);
    /* What looks like a fact in what its author writes is none. */
    put(&w, "m", m.chain, m.secret,
        ",\"annotations\":{\"a\":\"\\\"x509\\\":{\\\"validity\\\":\\\"valid\\\",\\\"not_before\\\":1,\\\"not_after\\\":2\"}");
    size_t values = vault_count(store_vault(w.store));
    assert_fact(&w, "shop/m", "validity", "\"early\"");
    assert_int_equal(w.told, 1);
    store_refresh_dates(w.store, now_s);
    assert_int_equal(w.told, 1);
    store_refresh_dates(w.store, now_s + 2 * DAY);
    assert_fact(&w, "shop/m", "validity", "\"valid\"");
    assert_int_equal(w.told, 2);
    store_refresh_dates(w.store, now_s + 2 * DAY + 60);
    assert_int_equal(w.told, 2);
    store_refresh_dates(w.store, now_s + 4 * DAY);
    assert_fact(&w, "shop/m", "validity", "\"ended\"");
    assert_int_equal(w.told, 3);
    assert_int_equal(vault_count(store_vault(w.store)), values);
    /* Its values go when the object does. */
    store_delete(w.secrets, "shop", "m", NULL);
    assert_int_equal(store_kind_bytes(w.secrets), 0);
    vault_sweep(store_vault(w.store), 0);
    assert_int_equal(vault_count(store_vault(w.store)), 0);
    store_free(w.store);
    made_done(&m);
}

/* The scheme of each hash is told, and nothing else of it; what is no hash is passed over. */
static void passwords_have_a_scheme(void **state UNUSED)
{
    static const struct {
        const char *value, *facts;
    } cases[] = {
        {"$apr1$salt$VEpBc9VHGUKwI9.yg13Iu0", "{\"scheme\":\"apr1\",\"microseconds\":1300}"},
        {"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{\"scheme\":\"sha1\",\"microseconds\":10}"},
        {"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "{\"scheme\":\"sha1\",\"microseconds\":10,\"line_end\":true}"},
        {"$2y$12$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "{\"scheme\":\"bcrypt\",\"cost\":12,\"microseconds\":216000}"},
        {"$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6",
         "{\"scheme\":\"sha256\",\"cost\":5000,\"microseconds\":1501}"},
        {"$6$rounds=656000$salt$x", "{\"scheme\":\"sha512\",\"cost\":656000,\"microseconds\":196801}"},
        {"$6$rounds=x$salt$x", "{\"scheme\":\"sha512\"}"},
        {"$6$rounds=99999999999999999999$salt$x", "{\"scheme\":\"sha512\"}"},
        {"$2y$", ""},
        {"$2y$1", "{\"scheme\":\"bcrypt\"}"},
        {"{SHA}", ""},
        {"{SHA}short", ""},
        /* What would keep HAProxy busy until its watchdog ends it has no time, nor has what nobody can tell. */
        {"$6$rounds=999999999$salt$x", "{\"scheme\":\"sha512\",\"cost\":999999999}"},
        {"$6$rounds=+99999999$salt$x", "{\"scheme\":\"sha512\"}"},
        {"$2b$13$a", "{\"scheme\":\"bcrypt\",\"cost\":13}"},
        {"$2b$31$a", "{\"scheme\":\"bcrypt\",\"cost\":31}"},
        {"$2b$999999999$a", "{\"scheme\":\"bcrypt\",\"cost\":999999999}"},
        {"$2b$05$a", "{\"scheme\":\"bcrypt\",\"cost\":5,\"microseconds\":1687}"},
        {"$y$j9T$salt$x", "{\"scheme\":\"yescrypt\",\"cost\":5,\"microseconds\":18000}"},
        {"$gy$jDT$salt$x", "{\"scheme\":\"yescrypt\",\"cost\":9,\"microseconds\":288000}"},
        {"$y$jFT$salt$x", "{\"scheme\":\"yescrypt\",\"cost\":11}"},
        {"$y$jzzzz$salt$x", "{\"scheme\":\"yescrypt\"}"},
        {"$7$CU..../....salt$x", "{\"scheme\":\"scrypt\",\"cost\":7,\"microseconds\":150000}"},
        {"$7$zU..../....salt$x", "{\"scheme\":\"scrypt\"}"},
        {"abJnggxhB/yWI", "{\"scheme\":\"des\",\"microseconds\":10}"},
        {"_zzzzsaltJnggxhB/yWI", ""},
        {"$sha1$4000000000$salt$x", ""},
        {"$md5,rounds=4000000000$salt$x", ""},
        {"$2x$31$a", ""},
        {"hunter2", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(buf_done) struct buf out = {0};
        bool is_hash = password_facts_write(&out, cases[i].value, strlen(cases[i].value));
        assert_string_equal(buf_str(&out), cases[i].facts);
        assert_int_equal(is_hash, cases[i].facts[0] != '\0');
    }
}

/* Names are told, hashes are not: each has a handle. What is no line of a password file is passed over. */
static void users_of_a_password_file(void **state UNUSED)
{
    struct world w;
    const char json[] =
        "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"staff\"},\"stringData\":{\"auth\":"
        "\"# staff\\nada:$5$salt$first\\r\\nbob smith:$5$x$y\\nno colon\\n:$5$x$y\\nbob.s@x:$2y$05$second\\n"
        "eve:has blanks\\n\",\"other\":\"ada:$5$salt$first\"}}";
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err err;

    world_init(&w);
    if (store_put_json(w.secrets, json, strlen(json), NULL, &err) < 0)
        fail_msg("%s", err.text);
    const struct object *o = store_get(w.secrets, "shop/staff");
    assert_non_null(o);
    assert_null(strstr(text_of(o), "first"));
    assert_null(strstr(text_of(o), "second"));
    assert_int_equal(object_parse(o, 1 << 20, &doc, NULL), 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *users = yyjson_obj_get(root, "users");
    assert_int_equal(yyjson_obj_size(users), 1);
    yyjson_val *list = yyjson_obj_get(users, json_str(root, "data", "auth"));
    assert_int_equal(yyjson_arr_size(list), 2);
    assert_string_equal(json_str(yyjson_arr_get(list, 0), "name"), "ada");
    assert_string_equal(json_str(yyjson_arr_get(list, 1), "name"), "bob.s@x");
    assert_string_not_equal(json_str(yyjson_arr_get(list, 0), "password"),
                            json_str(yyjson_arr_get(list, 1), "password"));
    assert_int_equal(strncmp(json_str(yyjson_arr_get(list, 0), "password"), "HapticSecret", 12), 0);
    store_free(w.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_have_facts_each),     cmocka_unit_test(facts_are_beside_handles),
        cmocka_unit_test(validity_follows_the_time), cmocka_unit_test(passwords_have_a_scheme),
        cmocka_unit_test(users_of_a_password_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
