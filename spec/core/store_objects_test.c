/* The store: identity, pruning, indexes, limits, relists; and a random walk in which it must agree with a plain
 * list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/dictionary.h"
#include "object_text.h"
#include "store/store.h"

static struct store_kind *add_kind(struct store *s, const char *name, const char *const *index_by)
{
    struct store_kind *kind = NULL;
    struct err err = {0};
    struct store_kind_spec spec = {.name = name, .api_version = "v1", .resource = name, .index_by = index_by};

    if (store_add_kind(s, &spec, &kind, &err) < 0)
        fail_msg("%s", err.text);
    return kind;
}

static bool put(struct store_kind *kind, const char *json)
{
    bool changed = false;
    struct err err = {0};

    if (store_put_json(kind, json, strlen(json), &changed, &err) < 0)
        fail_msg("%s", err.text);
    return changed;
}

static void note(void *ctx, enum store_event event, struct store_kind *kind, struct object *now, struct object *before)
{
    struct buf *out = ctx;

    switch (event) {
    case STORE_EVENT_PUT:
        buf_printf(out, "%s%s %s;", before ? "change " : "put ", store_kind_spec(kind)->name, now->id);
        assert_ptr_equal(store_get(kind, now->id), now);
        break;
    case STORE_EVENT_DELETE:
        buf_printf(out, "delete %s %s;", store_kind_spec(kind)->name, before->id);
        assert_null(store_get(kind, before->id));
        assert_null(now);
        break;
    case STORE_EVENT_SYNCED:
        buf_printf(out, "synced %s;", store_kind_spec(kind)->name);
        break;
    }
}

static void keeps_identity_and_pruned_bytes(void **state)
{
    (void)state;
    struct store *s = store_new(4096, 1 << 20);
    static const char *const ignored[] = {"metadata.annotations['x/y']", NULL};
    static const char *const index[] = {"metadata.labels['a/b']", "spec.port", "spec.on", "spec.list", NULL};
    assert_int_equal(store_set_ignored_fields(s, ignored, NULL), 0);
    struct store_kind *kind = add_kind(s, "things", index);

    assert_true(put(
        kind,
        "{\"spec\":{\"port\":80.0,\"on\":true,\"list\":[1]},\"metadata\":{\"namespace\":\"ns\",\"name\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"7\","
        "\"creationTimestamp\":\"2024-01-02T03:04:05Z\",\"labels\":{\"a/b\":\"l\"},\"annotations\":{\"x/y\":\"1\",\"z\":\"2\"},"
        "\"managedFields\":[1]},\"kind\":\"Thing\"}"));
    struct object *o = store_get(kind, "ns/n");
    assert_non_null(o);
    assert_string_equal(o->namespace, "ns");
    assert_string_equal(o->name, "n");
    assert_string_equal(o->uid, "u");
    assert_string_equal(o->resource_version, "7");
    assert_int_equal(o->created_s, 1704164645);
    assert_int_equal(o->index_count, 4);
    assert_string_equal(o->index[0], "l");
    assert_string_equal(o->index[1], "80");
    assert_string_equal(o->index[2], "true");
    assert_string_equal(o->index[3], "");
    assert_string_equal(
        text_of(o),
        "{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"spec\":{\"port\":80.0,\"on\":true,\"list\":[1]},\"metadata\":{\"namespace\":\"ns\","
        "\"name\":\"n\",\"uid\":\"u\",\"creationTimestamp\":\"2024-01-02T03:04:05Z\",\"labels\":{\"a/b\":\"l\"},\"annotations\":{\"z\":\"2\"}}}");
    assert_int_equal(o->text_length, strlen(text_of(o)));

    store_kind_set_object_kind(kind, "Thing");
    assert_true(put(kind, "{\"metadata\":{\"name\":\"cluster\"}}"));
    o = store_get(kind, "cluster");
    assert_string_equal(o->namespace, "");
    assert_string_equal(o->index[0], "");
    assert_string_equal(text_of(o), "{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"cluster\"}}");
    /* The same object as a watch would send it. */
    assert_false(put(
        kind,
        "{\"kind\":\"Thing\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"cluster\",\"resourceVersion\":\"9\"}}"));
    assert_string_equal(store_get(kind, "cluster")->resource_version, "9");
    assert_int_equal(store_kind_objects(kind), 2);
    store_free(s);
}

/* One object under each of several values. */
static void an_expression_finds_several_values(void **state)
{
    static const char *const index[] = {"spec.parents[*].name", "metadata.name", NULL};
    struct store *s = store_new(65536, 1 << 20);
    struct store_kind *kind = add_kind(s, "routes", index);
    char json[16384];
    struct err err;

    (void)state;
    assert_true(
        put(kind,
            "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"parents\":[{\"name\":\"b\"},{\"name\":\"a\"},{\"x\":1},"
            "{\"name\":\"b\"},{\"name\":\"ab\"},{\"name\":\"x\\u001fy\"},{\"name\":\"n\\u0000ul\"},{\"name\":{}}]}}"));
    assert_string_equal(store_get(kind, "r")->index[0], "b\x1f"
                                                        "a\x1f"
                                                        "ab");
    assert_string_equal(store_get(kind, "r")->index[1], "r");
    assert_true(put(kind, "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"parents\":[]}}"));
    assert_string_equal(store_get(kind, "r")->index[0], "");
    assert_true(put(kind, "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"parents\":[{\"name\":\"only\"}]}}"));
    assert_string_equal(store_get(kind, "r")->index[0], "only");

    /* Of one value, a separator is no more a key than a NUL. */
    assert_true(put(kind, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"parents\":[{\"name\":\"x\\u001fy\"}]}}"));
    assert_string_equal(store_get(kind, "s")->index[0], "");

    for (int count = 64; count <= 65; count++) {
        size_t n = (size_t)snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"parents\":[");
        for (int i = 0; i < count; i++)
            n += (size_t)snprintf(json + n, sizeof(json) - n, "%s{\"name\":\"p%d\"}", i ? "," : "", i);
        n += (size_t)snprintf(json + n, sizeof(json) - n, "]}}");
        int result = store_put_json(kind, json, n, NULL, &err);
        assert_int_equal(result, count == 64 ? 0 : -1);
    }
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(err.text, "routes m: spec.parents[*].name of indexBy finds more than 64 values");
    store_free(s);
}

static void refuses_what_has_no_identity(void **state)
{
    (void)state;
    struct store *s = store_new(200, 1 << 20);
    struct store_kind *kind = add_kind(s, "things", NULL);
    static const struct {
        const char *json;
        enum err_kind error;
        const char *message;
    } cases[] = {
        {"[]", ERR_INVALID, "things: an object without"},
        {"{}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":1}}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":\"\"}}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":\"a/b\"}}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":\"a\\nb\"}}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":\"a\\u0000b\"}}", ERR_INVALID, "metadata.name"},
        {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b/c\"}}", ERR_INVALID, "metadata.namespace"},
        {"{\"metadata\":{\"name\":\"a\"},\"metadata\":{\"name\":\"b\"}}", ERR_INVALID, "occurs twice"},
        {"{", ERR_INVALID, "things: line 1"},
        {"{\"metadata\":{\"name\":\"a\"},\"x\":\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"}",
         ERR_LIMIT, "things"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_int_equal(store_put_json(kind, cases[i].json, strlen(cases[i].json), NULL, &err), -1);
        assert_int_equal(err.kind, cases[i].error);
        if (!strstr(err.text, cases[i].message))
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].message);
    }
    assert_int_equal(store_kind_objects(kind), 0);
    assert_int_equal(store_kind_bytes(kind), 0);
    store_free(s);
}

static void kinds_are_by_name(void **state)
{
    (void)state;
    struct store *s = store_new(4096, 1 << 20);
    struct store_kind *kind = NULL;
    struct err err = {0};
    static const char *const five[] = {"a", "b", "c", "d", "e", NULL}, *const wrong[] = {"a[", NULL};

    add_kind(s, "services", NULL);
    add_kind(s, "ingresses", NULL);
    add_kind(s, "secrets", NULL);
    assert_int_equal(store_kind_count(s), 3);
    assert_string_equal(store_kind_spec(store_kind_at(s, 0))->name, "ingresses");
    assert_string_equal(store_kind_spec(store_kind_at(s, 1))->name, "secrets");
    assert_string_equal(store_kind_spec(store_kind_at(s, 2))->name, "services");
    assert_null(store_kind_by_name(s, "pods"));
    assert_int_equal(
        store_add_kind(s, &(struct store_kind_spec){.name = "secrets", .api_version = "v1", .resource = "secrets"},
                       &kind, &err),
        -1);
    assert_non_null(strstr(err.text, "declared twice"));
    assert_int_equal(store_add_kind(s, &(struct store_kind_spec){.name = "x", .api_version = "v1"}, &kind, &err), -1);
    assert_int_equal(
        store_add_kind(s,
                       &(struct store_kind_spec){.name = "x", .api_version = "v1", .resource = "x", .index_by = five},
                       &kind, &err),
        -1);
    assert_int_equal(
        store_add_kind(s,
                       &(struct store_kind_spec){.name = "x", .api_version = "v1", .resource = "x", .index_by = wrong},
                       &kind, &err),
        -1);
    assert_non_null(strstr(err.text, "watched resource \"x\": index: JSONPath"));
    store_remove_kind(s, store_kind_by_name(s, "secrets"));
    assert_null(store_kind_by_name(s, "secrets"));
    assert_int_equal(store_kind_count(s), 2);
    store_free(s);
}

static void relist_tells_only_differences(void **state)
{
    (void)state;
    struct store *s = store_new(4096, 1 << 20);
    struct store_kind *kind = add_kind(s, "k", NULL);
    CLEANUP(buf_done) struct buf told = {0};
    store_listen(s, note, &told);

    store_replace_begin(kind);
    put(kind, "{\"metadata\":{\"name\":\"b\"}}");
    put(kind, "{\"metadata\":{\"name\":\"a\"}}");
    assert_string_equal(buf_str(&told), "");
    assert_int_equal(store_kind_objects(kind), 0);
    assert_false(store_is_synced(s));
    store_replace_commit(kind);
    assert_string_equal(told.data, "put k a;put k b;synced k;");
    assert_true(store_is_synced(s));

    buf_clear(&told);
    put(kind, "{\"metadata\":{\"name\":\"c\"}}");
    struct object *a = store_get(kind, "a");
    store_replace_begin(kind);
    assert_false(put(kind, "{\"metadata\":{\"name\":\"a\"}}"));
    assert_true(put(kind, "{\"metadata\":{\"name\":\"b\"},\"x\":1}"));
    assert_true(put(kind, "{\"metadata\":{\"name\":\"d\"}}"));
    assert_true(put(kind, "{\"metadata\":{\"name\":\"e\"}}"));
    bool existed = false;
    store_delete(kind, NULL, "e", &existed);
    assert_true(existed);
    store_delete(kind, NULL, "c", &existed); /* live, not staged */
    assert_false(existed);
    assert_non_null(store_get(kind, "c"));
    store_replace_commit(kind);
    assert_string_equal(told.data, "put k c;change k b;put k d;delete k c;");
    assert_ptr_equal(store_get(kind, "a"), a);

    buf_clear(&told);
    store_replace_begin(kind);
    put(kind, "{\"metadata\":{\"name\":\"z\"}}");
    store_replace_abort(kind);
    store_replace_begin(kind);
    put(kind, "{\"metadata\":{\"name\":\"y\"}}");
    store_replace_begin(kind);
    for (const char *const *n = (const char *const[]){"a", "b", "d", NULL}; *n; n++) {
        struct object *o = store_get(kind, *n);
        assert_int_equal(store_put_json(kind, text_of(o), o->text_length, NULL, NULL), 0);
    }
    store_replace_commit(kind);
    assert_string_equal(buf_str(&told), "");

    struct object *kept = object_ref(store_get(kind, "b"));
    store_remove_kind(s, kind);
    assert_string_equal(told.data, "delete k a;delete k b;delete k d;");
    assert_string_equal(store_kind_spec(kept->kind)->name, "k"); /* an object outlives its kind and the store */
    store_unlisten(s, note, &told);
    store_free(s);
    assert_string_equal(text_of(kept), "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"b\"},\"x\":1}");
    object_unref(kept);
}

/* 200 letters that nobody has had, so that no other text helps to write them. */
static const char *noise(void)
{
    static char letters[201];
    static uint32_t random = 1;

    for (size_t i = 0; i < sizeof(letters) - 1; i++)
        letters[i] = (char)('a' + ((random = random * 1664525 + 1013904223) >> 24) % 26);
    return letters;
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct store *s = store_new(4096, 50000);
    struct store_kind *kind = add_kind(s, "k", NULL), *other = add_kind(s, "other", NULL);
    struct err err = {0};
    char json[300];
    int count = 0;

    put(other, "{\"metadata\":{\"name\":\"x\"}}");
    /* The kind's dictionary is full from here on, so that all objects are about as long. */
    for (size_t i = 0; i < DICTIONARY_MAX / 200 + 1; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"first\"},\"x\":\"%s\"}", noise());
        assert_true(put(kind, json));
    }
    store_delete(kind, "", "first", NULL);
    assert_int_equal(store_kind_bytes(kind), 0);
    for (;; count++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"n%d\"},\"x\":\"%s\"}", count, noise());
        if (store_put_json(kind, json, strlen(json), NULL, &err) < 0)
            break;
    }
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_non_null(strstr(err.text, "k n"));
    assert_true(count > 100 && count < 160);
    assert_true(store_kind_bytes(kind) + store_kind_bytes(other) <= 50000);
    assert_int_equal(store_kind_objects(kind), count);
    /* A relist of the same size fits, though both versions are there for a while. */
    store_replace_begin(kind);
    for (int i = 0; i < count; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"n%d\"},\"x\":\"%s\"}", i, noise());
        assert_true(put(kind, json));
    }
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"more\"},\"x\":\"%s%s\"}", noise(), "more");
    assert_int_equal(store_put_json(kind, json, strlen(json), NULL, &err), -1);
    store_replace_commit(kind);
    assert_int_equal(store_kind_objects(kind), count);
    for (int i = 0; i < count; i++) {
        snprintf(json, sizeof(json), "n%d", i);
        store_delete(kind, "", json, NULL);
    }
    assert_int_equal(store_kind_bytes(kind), 0);
    store_free(s);
}

/* ── the random walk ─────────────────────────────────────────────────────────────────────────────────────────────────── */

#define IDS 40

/* Both the model and the listener's copy: a value for each id, -1 for none. */
struct model {
    int model[IDS], heard[IDS], staged[IDS];
    unsigned events;
};

static int value_of(const struct object *o)
{
    int value = -1;

    assert_int_equal(sscanf(strstr(text_of(o), "\"value\":"), "\"value\":%d", &value), 1);
    assert_int_equal(strtol(o->index[1], NULL, 10), value % 5);
    return value;
}

static void hear(void *ctx, enum store_event event, struct store_kind *kind, struct object *now, struct object *before)
{
    struct model *m = ctx;
    struct object *o = now ? now : before;

    (void)kind;
    if (event == STORE_EVENT_SYNCED)
        return;
    int id = (int)strtol(o->name, NULL, 10);
    m->events++;
    assert_int_equal(m->heard[id], before ? value_of(before) : -1);
    assert_int_not_equal(m->heard[id], now ? value_of(now) : -1);
    m->heard[id] = now ? value_of(now) : -1;
}

struct walk {
    const struct model *model;
    char last[64];
    size_t count;
};

static void visit(void *ctx, struct object *o)
{
    struct walk *w = ctx;

    assert_true(strcmp(w->last, o->id) < 0);
    snprintf(w->last, sizeof(w->last), "%s", o->id);
    assert_int_equal(w->model->model[strtol(o->name, NULL, 10)], value_of(o));
    w->count++;
}

static void agree(struct store_kind *kind, const struct model *m)
{
    struct walk w = {.model = m};
    size_t count = 0;

    store_each(kind, visit, &w);
    for (int i = 0; i < IDS; i++) {
        count += m->model[i] >= 0;
        assert_int_equal(m->model[i], m->heard[i]);
    }
    assert_int_equal(w.count, count);
    assert_int_equal(store_kind_objects(kind), count);
    assert_true((store_kind_bytes(kind) == 0) == (count == 0));
}

static void put_value(struct store_kind *kind, int id, int value, int version)
{
    char json[200];

    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"namespace\":\"ns%d\",\"name\":\"%d\",\"resourceVersion\":\"%d\"},\"value\":%d,\"group\":%d}",
        id % 3, id, version, value, value % 5);
    (void)put(kind, json);
}

static void agrees_with_a_plain_list(void **state)
{
    (void)state;
    static const char *const index[] = {"metadata.name", "group", NULL};
    unsigned seed = (unsigned)time(NULL);
    struct store *s = store_new(4096, 1 << 20);
    struct store_kind *kind = add_kind(s, "k", index);
    struct model m;

    print_message("seed %u\n", seed);
    memset(&m, 0xff, sizeof(m));
    store_listen(s, hear, &m);
    for (int step = 0; step < 20000; step++) {
        int id = rand_r(&seed) % IDS, value = rand_r(&seed) % 8, action = rand_r(&seed) % 100;
        char namespace[8], name[8];
        snprintf(namespace, sizeof(namespace), "ns%d", id % 3);
        snprintf(name, sizeof(name), "%d", id);
        if (action < 60) {
            put_value(kind, id, value, step);
            m.model[id] = value;
        } else if (action < 95) {
            bool existed = false;
            store_delete(kind, namespace, name, &existed);
            assert_int_equal(existed, m.model[id] >= 0);
            m.model[id] = -1;
        } else {
            int fate = rand_r(&seed) % 4, before = (int)m.events;
            memset(m.staged, 0xff, sizeof(m.staged));
            store_replace_begin(kind);
            for (int i = 0; i < IDS; i++) {
                int pick = rand_r(&seed) % 4;
                if (pick == 0)
                    continue;
                m.staged[i] = pick == 1 || m.model[i] < 0 ? rand_r(&seed) % 8 : m.model[i];
                put_value(kind, i, m.staged[i], rand_r(&seed) % 2 ? step : 0);
            }
            assert_int_equal((int)m.events, before);
            if (fate == 0) {
                store_replace_abort(kind);
            } else {
                store_replace_commit(kind);
                memcpy(m.model, m.staged, sizeof(m.model));
            }
        }
        if (step % 7 == 0)
            agree(kind, &m);
    }
    agree(kind, &m);
    assert_true(m.events > 5000);
    store_free(s);
}

/* One change among many objects must not cost more than one among few. */
static void a_change_does_not_cost_by_number(void **state)
{
    (void)state;
    int64_t took[2];
    static const int counts[2] = {500, 20000};

    for (int round = 0; round < 2; round++) {
        struct store *s = store_new(4096, (size_t)1 << 30);
        struct store_kind *kind = add_kind(s, "k", NULL);
        char json[200];
        for (int i = 0; i < counts[round]; i++) {
            snprintf(json, sizeof(json), "{\"metadata\":{\"namespace\":\"a\",\"name\":\"n%d\"},\"value\":%d}", i, i);
            put(kind, json);
        }
        int64_t start = clock_now_ns();
        for (int i = 0; i < 2000; i++) {
            snprintf(json, sizeof(json), "n%d", i % 400);
            store_delete(kind, "a", json, NULL);
            snprintf(json, sizeof(json), "{\"metadata\":{\"namespace\":\"a\",\"name\":\"n%d\"},\"value\":%d}", i % 400,
                     -i);
            put(kind, json);
        }
        took[round] = clock_now_ns() - start;
        store_free(s);
    }
    print_message("2 000 deletes and puts: %d us among 500, %d us among 20 000\n", (int)(took[0] / 1000),
                  (int)(took[1] / 1000));
    assert_true(took[1] < 8 * took[0] + 20 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_identity_and_pruned_bytes), cmocka_unit_test(an_expression_finds_several_values),
        cmocka_unit_test(refuses_what_has_no_identity),    cmocka_unit_test(kinds_are_by_name),
        cmocka_unit_test(relist_tells_only_differences),   cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(agrees_with_a_plain_list),        cmocka_unit_test(a_change_does_not_cost_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
