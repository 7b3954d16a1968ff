/* The model against a naive recomputation, over random edits, quarantines, acceptances and checks. */
#include "model_support.h"

#include <time.h>

#include "haproxy/model_state.h"

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
    struct emitted e[9];
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
    /* Who has an entry of a map does not stay when it is dropped (haproxy_model_gone_test). */
    e[n++] = (struct emitted){CONTRIBUTION_MAP_ENTRY, "own.map", name, "1", 0, 0};
    return fragment_make(name, name, (int64_t)dice(3), e, n);
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
    CLEANUP(free_ptr) char *have = model_config(m, MODEL_RENDERED);
    CLEANUP(free_ptr) char *want = model_config(fresh, MODEL_RENDERED);
    CLEANUP(free_ptr) char *have_map = model_map(m, MODEL_RENDERED, "m.map");
    CLEANUP(free_ptr) char *want_map = model_map(fresh, MODEL_RENDERED, "m.map");
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

/* Whatever the order of events was: who is accepted is told so, and after the last pending item everybody is. */
static void all_accepted_are_settled(const struct model *m, const struct shadow *shadows)
{
    for (unsigned i = 0; i < FRAGMENTS; i++) {
        const struct fragment *f = shadows[i].newest;
        if (f && f == shadow_active(&shadows[i]) && (is_accepted(f) || model_pending(m) == 0))
            assert_true(model_is_settled(m, f->id));
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
            CLEANUP(free_ptr) char *before = model_config(m, MODEL_RENDERED);
            model_check_begin(m);
            CLEANUP(free_ptr) char *checking = model_config(m, MODEL_CHECKING);
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
        all_accepted_are_settled(m, shadows);
        compare(m, shadows);
    }
    for (unsigned i = 0; i < FRAGMENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        model_fragment_drop(m, name);
        shadow_clear(&shadows[i]);
    }
    model_check(m, true);
    assert_true(model_is_empty(m, MODEL_RENDERED));
    assert_true(model_is_empty(m, MODEL_ACCEPTED));
    model_changes_done(&changes);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_a_naive_recomputation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
