/* The model against a naive recomputation, over random edits, quarantines, acceptances and checks; then its rules one
 * by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "haproxy/model.h"
#include "haproxy/model_state.h"

struct emitted {
    enum contribution_kind kind;
    const char *scope, *key, *text;
    int32_t rank, order;
};

static struct fragment *make(const char *id, int64_t created_s, const struct emitted *e, size_t count)
{
    struct contribution_input *items = xcalloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct contribution_input){.kind = e[i].kind,
                                               .rank = e[i].rank,
                                               .order = e[i].order,
                                               .scope = e[i].scope,
                                               .scope_length = strlen(e[i].scope),
                                               .key = e[i].key,
                                               .key_length = strlen(e[i].key),
                                               .text = e[i].text,
                                               .text_length = strlen(e[i].text)};
    const struct fragment_head head = {
        .id = id, .template_name = "t.lua", .owner_kind = "k", .owner_id = id, .owner_created_s = created_s};
    struct fragment *f = fragment_new(&head, items, count);
    free(items);
    return f;
}

static void put(struct model *m, const char *id, int64_t created_s, const struct emitted *e, size_t count)
{
    struct fragment *f = make(id, created_s, e, count);
    model_fragment_put(m, f);
    fragment_unref(f);
}
#define PUT(m, id, created, ...) \
    put(m, id, created, (const struct emitted[]){__VA_ARGS__}, \
        sizeof((const struct emitted[]){__VA_ARGS__}) / sizeof(struct emitted))

static char *config(struct model *m, enum model_state state)
{
    struct buf b = {0};
    model_write_config(m, state, &b, NULL);
    return buf_steal(&b);
}

static char *map_text(struct model *m, enum model_state state, const char *name)
{
    struct buf b = {0};
    model_write_map(m, state, name, &b);
    return buf_steal(&b);
}

static void assert_map(struct model *m, enum model_state state, const char *name, const char *expected)
{
    CLEANUP(free_ptr) char *text = map_text(m, state, name);
    assert_string_equal(text, expected);
}

static void check(struct model *m, bool accepted)
{
    model_check_begin(m);
    model_check_end(m, accepted);
}

/* ---- the property ---- */

enum { FRAGMENTS = 12, ROUNDS = 3000 };

static unsigned random_state;
static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

/* What the naive side keeps of a fragment. */
struct shadow {
    struct fragment *newest, *good;
    bool quarantined, withdrawn;
};

static struct fragment *shadow_active(const struct shadow *s)
{
    return s->withdrawn ? NULL : s->quarantined ? s->good : s->newest;
}

static struct fragment *random_fragment(unsigned id)
{
    static const char *const sections[] = {"backend a", "backend b", "backend c", "defaults p", "defaults q", "global"};
    static const char *const texts[] = {"x\n", "y\nz\n", "balance random\n"};
    static const char *const hosts[] = {"h1", "h2", "h3", ""};
    static const char *const values[] = {"a", "b", "c", "elsewhere"};
    static const char *const profiles[] = {"p", "q"};
    struct emitted e[8];
    size_t n = 0;
    char name[16];
    snprintf(name, sizeof(name), "f%u", id);
    const char *section = sections[dice(6)];
    if (dice(4))
        e[n++] = (struct emitted){CONTRIBUTION_SECTION, section,          "body",
                                  texts[dice(3)],       (int32_t)dice(3), (int32_t)dice(2)};
    if (dice(2))
        e[n++] = (struct emitted){CONTRIBUTION_SECTION, section,          "more",
                                  texts[dice(3)],       (int32_t)dice(3), (int32_t)dice(2)};
    if (n && strncmp(section, "backend", 7) == 0 && dice(2))
        e[n++] = (struct emitted){CONTRIBUTION_SECTION_FROM, section, "from", profiles[dice(2)], 0, 0};
    if (dice(2))
        e[n++] = (struct emitted){CONTRIBUTION_MAP_ENTRY, "m.map", hosts[dice(4)], values[dice(4)], 0, 0};
    if (dice(3) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_FILE, "e.http", "", texts[dice(3)], 0, 0};
    if (dice(6) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_WARNING, "", "Reason", "message", 0, 0};
    return make(name, (int64_t)dice(3), e, n);
}

/* A model made at once from what takes part now: the same output, the same hash. */
static struct model *rebuilt(struct shadow *shadows)
{
    struct model *m = model_new();
    for (unsigned i = FRAGMENTS; i-- > 0;) {
        struct fragment *f = shadow_active(&shadows[i]);
        if (!f)
            continue;
        struct contribution_input *items = xcalloc(f->count + 1, sizeof(*items));
        for (size_t k = 0; k < f->count; k++)
            items[k] = (struct contribution_input){
                f->items[k].kind,        f->items[k].rank,          f->items[k].order,
                f->items[k].scope,       strlen(f->items[k].scope), f->items[k].key,
                strlen(f->items[k].key), f->items[k].text->bytes,   f->items[k].text->length};
        const struct fragment_head head = {f->id, f->template_name, f->owner_kind, f->owner_id, f->owner_created_s};
        struct fragment *copy = fragment_new(&head, items, f->count);
        model_fragment_put(m, copy);
        fragment_unref(copy);
        free(items);
    }
    return m;
}

struct counting {
    size_t pending;
    struct shadow *shadows;
};

static void count_pending(void *ctx, struct item *item)
{
    struct counting *c = ctx;
    c->pending++;
    assert_true(item->pending);
    assert_false(text_equal(item->rendered, item->accepted) && item->rank == item->accepted_rank &&
                 item->order == item->accepted_order);
}

struct dangling {
    struct model *m;
    size_t count;
};

static void count_dangling(void *ctx, const char *key, const char *value)
{
    (void)key;
    struct dangling *d = ctx;
    char name[64];
    snprintf(name, sizeof(name), "backend %s", value);
    const struct section *s = model_section(d->m, name);
    d->count += s && s->rendered_pieces && !s->accepted_pieces;
}

/* Accepted map entries whose backend is rendered and not accepted. */
static size_t dangling(struct model *m)
{
    struct dangling d = {m, 0};
    model_each_map_entry(m, MODEL_ACCEPTED, "m.map", count_dangling, &d);
    return d.count;
}

static void section_is_consistent(void *ctx, struct section *s)
{
    uint32_t accepted = 0;
    (void)ctx;
    for (size_t i = 0; i < s->pieces.length; i++)
        accepted += s->pieces.items[i]->accepted != NULL;
    assert_int_equal(accepted, s->accepted_pieces);
}

static void compare(struct model *m, struct shadow *shadows)
{
    struct model *fresh = rebuilt(shadows);
    CLEANUP(free_ptr) char *have = config(m, MODEL_RENDERED);
    CLEANUP(free_ptr) char *want = config(fresh, MODEL_RENDERED);
    CLEANUP(free_ptr) char *have_map = map_text(m, MODEL_RENDERED, "m.map");
    CLEANUP(free_ptr) char *want_map = map_text(fresh, MODEL_RENDERED, "m.map");
    assert_string_equal(have, want);
    assert_string_equal(have_map, want_map);
    assert_true(digest_equal(model_digest(m, MODEL_RENDERED), model_digest(fresh, MODEL_RENDERED)));
    model_free(fresh);

    struct counting c = {.shadows = shadows};
    model_each_pending(m, count_pending, &c);
    assert_int_equal(c.pending, model_pending(m));
    if (!c.pending)
        assert_true(digest_equal(model_digest(m, MODEL_RENDERED), model_digest(m, MODEL_ACCEPTED)));
    model_each_section(m, section_is_consistent, NULL);
}

static bool is_accepted(const struct fragment *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        if (c->item && (!text_equal(c->text, c->item->accepted) || c->rank != c->item->accepted_rank ||
                        c->order != c->item->accepted_order))
            return false;
    }
    return true;
}

/* Which version a quarantine would go back to may change only to one that takes part and is accepted, or was in a good
 * check. */
static void follow_good(struct model *m, struct shadow *shadows, struct fragment *const *checked,
                        const struct fragment *proven)
{
    for (unsigned i = 0; i < FRAGMENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        struct record *r = map_get(&m->records, name);
        if (!r || r->good == shadows[i].good)
            continue;
        assert_true((checked && r->good == checked[i]) || (proven && r->good == proven) ||
                    (r->good == shadow_active(&shadows[i]) && is_accepted(r->good)));
        fragment_ref(r->good);
        fragment_unref(shadows[i].good);
        shadows[i].good = r->good;
    }
}

static void shadow_put(struct shadow *s, struct fragment *f);

/* What is replaced may be proven good at that moment. */
static struct fragment *proven(const struct shadow *s)
{
    struct fragment *active = shadow_active(s);
    return active && is_accepted(active) ? fragment_ref(active) : NULL;
}

static void edit(struct model *m, struct shadow *shadows, struct shadow *s, struct fragment *f)
{
    struct fragment *before = proven(s);
    model_fragment_put(m, f);
    shadow_put(s, f);
    follow_good(m, shadows, NULL, before);
    fragment_unref(before);
}

struct accepting {
    struct model *m;
    struct shadow *shadows;
};

static void accept_some(void *ctx, struct item *item)
{
    struct accepting *c = ctx;
    if (dice(2))
        model_accept(c->m, item);
    follow_good(c->m, c->shadows, NULL, NULL);
}

static void shadow_put(struct shadow *s, struct fragment *f)
{
    bool same = s->newest && s->newest->count == f->count;
    for (size_t i = 0; same && i < f->count; i++) {
        const struct contribution *x = &s->newest->items[i], *y = &f->items[i];
        same = x->kind == y->kind && x->rank == y->rank && x->order == y->order && !strcmp(x->scope, y->scope) &&
               !strcmp(x->key, y->key) && text_equal(x->text, y->text);
    }
    if (!same)
        s->quarantined = s->withdrawn = false;
    fragment_unref(s->newest);
    s->newest = f;
}

static void shadow_clear(struct shadow *s)
{
    fragment_unref(s->newest);
    fragment_unref(s->good);
    memset(s, 0, sizeof(*s));
}

static void test_equals_a_naive_recomputation(void **state)
{
    (void)state;
    struct shadow shadows[FRAGMENTS] = {0};
    struct model *m = model_new();
    const char *seed = getenv("SPEC_SEED");
    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    struct model_changes changes = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned id = dice(FRAGMENTS);
        struct shadow *s = &shadows[id];
        char name[16];
        snprintf(name, sizeof(name), "f%u", id);
        switch (dice(12)) {
        case 0:
            model_fragment_drop(m, name);
            shadow_clear(s);
            break;
        case 1:
            if (!s->newest)
                break;
            {
                bool expected = !(s->quarantined && !shadow_active(s));
                struct fragment *active = shadow_active(s);
                bool again = s->quarantined || active == s->good || (active && is_accepted(active));
                assert_int_equal(model_quarantine(m, name, "because"), expected);
                if (!expected)
                    break;
                s->quarantined = true;
                if (again)
                    s->good = fragment_unref(s->good);
                assert_string_equal(model_quarantine_reason(m, name), "because");
            }
            break;
        case 2:
            if (s->quarantined) {
                struct fragment *before = proven(s);
                model_release(m, name);
                s->quarantined = false;
                follow_good(m, shadows, NULL, before);
                fragment_unref(before);
            }
            break;
        case 3: {
            size_t before = dangling(m);
            struct accepting c = {m, shadows};
            model_each_pending(m, accept_some, &c);
            assert_true(dangling(m) <= before);
            break;
        }
        case 4: {
            /* A check of what is rendered now, while one fragment changes. */
            bool accepted = dice(3) != 0;
            struct fragment *seen[FRAGMENTS];
            for (unsigned i = 0; i < FRAGMENTS; i++)
                seen[i] = fragment_ref(shadow_active(&shadows[i]));
            CLEANUP(free_ptr) char *before = config(m, MODEL_RENDERED);
            model_check_begin(m);
            CLEANUP(free_ptr) char *checking = config(m, MODEL_CHECKING);
            assert_string_equal(before, checking);
            bool meanwhile = dice(2);
            if (meanwhile) {
                edit(m, shadows, s, random_fragment(id));
            }
            size_t dangled = dangling(m);
            model_check_end(m, accepted);
            assert_true(dangling(m) <= dangled);
            follow_good(m, shadows, accepted ? seen : NULL, NULL);
            for (unsigned i = 0; i < FRAGMENTS; i++) {
                if (accepted && !meanwhile && seen[i] && !shadows[i].quarantined)
                    assert_ptr_equal(shadows[i].good, seen[i]);
                fragment_unref(seen[i]);
            }
            if (accepted && !meanwhile)
                assert_int_equal(model_pending(m), 0);
            break;
        }
        case 5:
            model_take_changes(m, &changes);
            vec_clear(&changes.items);
            break;
        default:
            edit(m, shadows, s, random_fragment(id));
            break;
        }
        follow_good(m, shadows, NULL, NULL);
        compare(m, shadows);
    }
    for (unsigned i = 0; i < FRAGMENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        model_fragment_drop(m, name);
        shadow_clear(&shadows[i]);
    }
    check(m, true);
    assert_true(model_is_empty(m, MODEL_RENDERED));
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_changes_done(&changes);
    model_free(m);
}

/* ---- rules ---- */

static const struct item *conflict_item;
static const char *conflict_loser;
static void note_conflict(void *ctx, const struct item *item, const struct fragment *loser)
{
    (*(unsigned *)ctx)++;
    conflict_item = item;
    conflict_loser = loser->id;
}

static void test_the_older_owner_wins(void **state)
{
    (void)state;
    struct model *m = model_new();
    unsigned conflicts = 0;
    PUT(m, "young", 20, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "young", 0, 0});
    PUT(m, "old", 10, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "old", 0, 0});
    assert_map(m, MODEL_RENDERED, "m.map", "k old\n");
    model_each_conflict(m, note_conflict, &conflicts);
    assert_int_equal(conflicts, 1);
    assert_string_equal(conflict_loser, "young");
    PUT(m, "static", 0, {CONTRIBUTION_MAP_ENTRY, "m.map", "k", "static", 0, 0});
    assert_map(m, MODEL_RENDERED, "m.map", "k static\n");
    model_fragment_drop(m, "static");
    model_fragment_drop(m, "old");
    assert_map(m, MODEL_RENDERED, "m.map", "k young\n");
    conflicts = 0;
    model_each_conflict(m, note_conflict, &conflicts);
    assert_int_equal(conflicts, 0);
    model_free(m);
}

static void test_canonical_text_and_origin_of_lines(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "b", 1, {CONTRIBUTION_SECTION, "backend b", "body", "one\ntwo\n", 5, 0},
        {CONTRIBUTION_SECTION_FROM, "backend b", "from", "base", 0, 0});
    PUT(m, "a", 1, {CONTRIBUTION_SECTION, "backend a", "z", "last\n", 5, 1},
        {CONTRIBUTION_SECTION, "backend a", "y", "first\n", 5, 0});
    PUT(m, "g", 0, {CONTRIBUTION_SECTION, "global", "body", "maxconn 1\n", 0, 0});
    struct buf b = {0};
    struct model_lines lines = {0};
    model_write_config(m, MODEL_RENDERED, &b, &lines);
    assert_string_equal(
        b.data, "global\n    maxconn 1\n\nbackend a\n    first\n    last\n\nbackend b from base\n    one\n    two\n");
    assert_int_equal(lines.lines.length, 10);
    assert_string_equal(lines.lines.items[9].item->winner->id, "b");
    assert_int_equal(lines.lines.items[9].line, 1);
    assert_true(lines.lines.items[7].header);
    assert_ptr_equal(lines.lines.items[6].item, NULL);
    model_lines_done(&lines);
    buf_done(&b);
    model_free(m);
}

static void test_quarantine_keeps_what_was_accepted(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "good\n", 0, 0});
    check(m, true);
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "bad\n", 0, 0});
    PUT(m, "new", 1, {CONTRIBUTION_SECTION, "backend new", "body", "bad too\n", 0, 0});
    check(m, false);
    assert_int_equal(model_pending(m), 2);
    assert_true(model_quarantine(m, "x", "line 1"));
    assert_true(model_quarantine(m, "new", "line 2"));
    assert_int_equal(model_pending(m), 0);
    assert_int_equal(model_quarantined(m), 2);
    CLEANUP(free_ptr) char *kept = config(m, MODEL_RENDERED);
    assert_string_equal(kept, "backend x\n    good\n");
    /* the same output again: still; another: released */
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "bad\n", 0, 0});
    assert_string_equal(model_quarantine_reason(m, "x"), "line 1");
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "better\n", 0, 0});
    assert_null(model_quarantine_reason(m, "x"));
    CLEANUP(free_ptr) char *released = config(m, MODEL_RENDERED);
    assert_string_equal(released, "backend x\n    better\n");
    /* blamed, and blamed again for what was good before: nothing of it */
    assert_true(model_quarantine(m, "x", "again"));
    assert_true(model_quarantine(m, "x", "and again"));
    assert_false(model_quarantine(m, "x", "nothing is left"));
    CLEANUP(free_ptr) char *nothing = config(m, MODEL_RENDERED);
    assert_string_equal(nothing, "");
    model_free(m);
}

struct finding {
    enum contribution_kind kind;
    const char *scope, *key;
    struct item *found;
};
static void find_item(void *ctx, struct item *item)
{
    struct finding *f = ctx;
    if (item->kind == f->kind && strcmp(item->scope, f->scope) == 0 && strcmp(item->key, f->key) == 0)
        f->found = item;
}
static struct item *pending_item(struct model *m, enum contribution_kind kind, const char *scope, const char *key)
{
    struct finding f = {kind, scope, key, NULL};
    model_each_pending(m, find_item, &f);
    assert_non_null(f.found);
    return f.found;
}

static void test_a_route_is_never_accepted_before_its_backend(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "s\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "h", "x", 0, 0});
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    assert_map(m, MODEL_ACCEPTED, "m.map", "h x\n");
    /* the other way round when it goes */
    model_fragment_drop(m, "x");
    model_accept(m, pending_item(m, CONTRIBUTION_SECTION, "backend x", "body"));
    CLEANUP(free_ptr) char *still = config(m, MODEL_ACCEPTED);
    assert_string_equal(still, "backend x\n    s\n");
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_free(m);
}

static void test_a_check_does_not_take_a_backend_from_a_route_accepted_meanwhile(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "x", 1, {CONTRIBUTION_SECTION, "backend x", "body", "s\n", 0, 0});
    check(m, true);
    model_fragment_drop(m, "x");
    model_check_begin(m);
    PUT(m, "r", 1, {CONTRIBUTION_SECTION, "backend x", "body", "t\n", 0, 0},
        {CONTRIBUTION_MAP_ENTRY, "m.map", "h", "x", 0, 0});
    model_accept(m, pending_item(m, CONTRIBUTION_MAP_ENTRY, "m.map", "h"));
    model_check_end(m, true);
    CLEANUP(free_ptr) char *kept = config(m, MODEL_ACCEPTED);
    assert_string_equal(kept, "backend x\n    s\n");
    assert_int_equal(model_pending(m), 1);
    model_free(m);
}

static void test_replacing_drops_what_is_not_seen(void **state)
{
    (void)state;
    struct model *m = model_new();
    PUT(m, "a", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "a", "1", 0, 0});
    PUT(m, "b", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "b", "1", 0, 0});
    PUT(m, "c", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "c", "1", 0, 0});
    model_replace_begin(m);
    PUT(m, "b", 1, {CONTRIBUTION_MAP_ENTRY, "m.map", "b", "2", 0, 0});
    model_fragment_keep(m, "c");
    model_replace_end(m);
    assert_map(m, MODEL_RENDERED, "m.map", "b 2\nc 1\n");
    model_free(m);
}

/* Ten thousand routes with one profile: the time of an edit must not depend on how many there are. */
static int64_t edits_ns(unsigned routes, unsigned edits)
{
    static const char profile[] = "mode http\nbalance random\noption httpchk\ntimeout server 10s\n";
    struct model *m = model_new();
    char id[32], scope[48], text[128];
    int64_t start = 0;
    for (unsigned i = 0; i < routes + edits; i++) {
        if (i == routes) {
            check(m, true);
            start = clock_now_ns();
        }
        snprintf(id, sizeof(id), "r%u", i % routes);
        snprintf(scope, sizeof(scope), "backend b%u", i % routes);
        snprintf(text, sizeof(text), "server s1 192.0.2.1:%u\nserver s2 192.0.2.2:80\nserver s3 192.0.2.3:80\n", i);
        PUT(m, id, 1, {CONTRIBUTION_SECTION, "defaults p", "body", profile, 1, 0},
            {CONTRIBUTION_SECTION, scope, "body", text, 2, 0}, {CONTRIBUTION_SECTION_FROM, scope, "from", "p", 2, 0},
            {CONTRIBUTION_MAP_ENTRY, "m.map", id, scope + 8, 0, 0});
        if (i >= routes)
            assert_int_equal(model_pending(m), i - routes + 1);
    }
    int64_t took = clock_now_ns() - start;
    model_free(m);
    return took;
}

static void test_cost_of_an_edit_does_not_grow(void **state)
{
    (void)state;
    int64_t small = edits_ns(100, 100), large = edits_ns(10000, 100);
    print_message("    100 edits: %lld us at 100 routes, %lld us at 10000\n", (long long)small / 1000,
                  (long long)large / 1000);
    assert_true(large < small * 5 + 5 * NS_PER_MS);
}

/* Two objects route to one service; the older one's template fails from now on. */
static void test_failed_fragment_holds_nobody_back(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct emitted was = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.1:80\n", 400, 500};
    const struct emitted is = {CONTRIBUTION_SECTION, "backend b", "body", "server s 192.0.2.2:80\n", 400, 500};
    const struct emitted older_route = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "b", 0, 0};
    const struct emitted younger_route = {CONTRIBUTION_MAP_ENTRY, "m.map", "h/", "c", 0, 0};

    PUT(m, "older", 1, was, older_route);
    PUT(m, "younger", 2, was, younger_route);
    check(m, true);
    model_fragment_keep(m, "older");
    CLEANUP(free_ptr) char *before = config(m, MODEL_RENDERED);
    assert_string_equal(before, "backend b\n    server s 192.0.2.1:80\n");
    PUT(m, "younger", 2, is, younger_route);
    CLEANUP(free_ptr) char *now = config(m, MODEL_RENDERED);
    assert_string_equal(now, "backend b\n    server s 192.0.2.2:80\n");
    assert_map(m, MODEL_RENDERED, "m.map", "h/ b\n"); /* its route stays its own */
    model_fragment_drop(m, "younger");
    CLEANUP(free_ptr) char *alone = config(m, MODEL_RENDERED);
    assert_string_equal(alone, "backend b\n    server s 192.0.2.1:80\n");
    PUT(m, "younger", 2, is);
    PUT(m, "older", 1, was, older_route); /* it works again */
    CLEANUP(free_ptr) char *again = config(m, MODEL_RENDERED);
    assert_string_equal(again, "backend b\n    server s 192.0.2.1:80\n");
    check(m, true);
    assert_int_equal(model_pending(m), 0);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_fragment_holds_nobody_back),
        cmocka_unit_test(test_equals_a_naive_recomputation),
        cmocka_unit_test(test_the_older_owner_wins),
        cmocka_unit_test(test_canonical_text_and_origin_of_lines),
        cmocka_unit_test(test_quarantine_keeps_what_was_accepted),
        cmocka_unit_test(test_a_route_is_never_accepted_before_its_backend),
        cmocka_unit_test(test_a_check_does_not_take_a_backend_from_a_route_accepted_meanwhile),
        cmocka_unit_test(test_replacing_drops_what_is_not_seen),
        cmocka_unit_test(test_cost_of_an_edit_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
