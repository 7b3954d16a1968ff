/* The model and settle.c under random fragments, endpoint changes, acceptances, quarantines and checks: whatever comes
 * when, an accepted piece never stands under a "from" that it was not rendered with. */
#include "model_support.h"

#include <time.h>

#include "controller/settle.h"

enum { FRAGMENTS = 10, BACKENDS = 5, ROUNDS = 4000 };

static unsigned random_state;
static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

/* One backend with a profile of its own choice, and a route to it. The body says which profile it was rendered with;
 * "servers" change more often than that. Several fragments may give the same backend. */
static void put_random(struct model *m, unsigned id)
{
    char name[16], section[32], body[64], profile[16], defaults[32], host[16];
    unsigned backend = dice(3) ? id % BACKENDS : dice(BACKENDS), p = dice(3);
    struct emitted e[5];
    size_t n = 0;

    snprintf(name, sizeof(name), "f%u", id);
    snprintf(section, sizeof(section), "backend b%u", backend);
    snprintf(profile, sizeof(profile), "p%u", p);
    snprintf(defaults, sizeof(defaults), "defaults p%u", p);
    snprintf(body, sizeof(body), "under p%u\nserver s%u\n", p, dice(4));
    snprintf(host, sizeof(host), "h%u", id);
    if (dice(8)) {
        e[n++] = (struct emitted){CONTRIBUTION_SECTION, section, "body", body, 400, 0};
        e[n++] = (struct emitted){CONTRIBUTION_SECTION_FROM, section, "from", profile, 400, 0};
        e[n++] = (struct emitted){CONTRIBUTION_SECTION, defaults, "body", profile, 250, 0};
        e[n++] = (struct emitted){CONTRIBUTION_SECTION_FROM, defaults, "from", "base", 250, 0};
    }
    if (dice(3))
        e[n++] = (struct emitted){CONTRIBUTION_MAP_ENTRY, "m.map", host, strchr(section, ' ') + 1, 0, 0};
    model_put_owned(m, name, name, (int64_t)(id % 4), e, n);
}

static void section_is_sound(void *ctx, struct section *s)
{
    const unsigned *round = ctx;
    for (size_t i = 0; strncmp(s->name, "backend ", 8) == 0 && i < s->pieces.length; i++) {
        const struct text *body = s->pieces.items[i]->accepted;
        if (!body)
            continue;
        const struct text *from = s->from ? s->from->accepted : NULL;
        CLEANUP(free_ptr) char *wanted = xasprintf("under %s\n", from ? from->bytes : "nothing");
        if (strncmp(body->bytes, wanted, strlen(wanted)) != 0)
            fail_msg("round %u: %s is accepted as '%s' from %s", *round, s->name, body->bytes,
                     from ? from->bytes : "nothing");
    }
    if (s->from && s->from->accepted && !s->accepted_pieces)
        fail_msg("round %u: %s has a \"from\" and no piece", *round, s->name);
}

/* What is accepted beside a check may be anything that is judged as a whole. */
static bool judge(const void *ctx, struct item *const *items, size_t count)
{
    (void)ctx;
    (void)items;
    (void)count;
    return dice(2);
}

static void accept_one(void *ctx, struct item *item)
{
    if (dice(4) == 0)
        model_accept(ctx, item);
}

static void convict_one(struct model *m, const char *name)
{
    const struct fragment *f = model_fragment(m, name);
    if (f && f->count) {
        const struct contribution *c = &f->items[dice((unsigned)f->count)];
        (void)!model_convict(m, name, c->kind, c->scope, c->key, "because");
    }
}

static void an_accepted_piece_has_the_from_it_was_rendered_with(void **state)
{
    const struct emitted base[] = {{CONTRIBUTION_SECTION, "defaults base", "body", "mode http\n", 200, 0}};
    const char *seed = getenv("SPEC_SEED"), *rounds = getenv("SPEC_ROUNDS");
    unsigned end = rounds ? (unsigned)strtoul(rounds, NULL, 10) : ROUNDS, accepted_checks = 0, settled_groups = 0;
    struct model *m = model_new();
    struct settled settled;
    (void)state;

    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    model_put_owned(m, "base", "", 0, base, ARRAY_LEN(base));
    model_check(m, true);
    for (unsigned round = 0; round < end; round++) {
        unsigned id = dice(FRAGMENTS);
        char name[16];
        snprintf(name, sizeof(name), "f%u", id);
        switch (dice(16)) {
        case 0:
            model_fragment_drop(m, name);
            break;
        case 1:
            (void)!model_quarantine(m, name, "because");
            break;
        case 2:
            convict_one(m, name);
            break;
        case 3:
            model_release(m, name);
            break;
        case 4:
            model_fragment_keep(m, name);
            break;
        case 5:
        case 6:
            model_check_begin(m);
            break;
        case 7:
        case 8:
            if (model_checking(m)) {
                bool good = dice(4) != 0;
                accepted_checks += good;
                model_check_end(m, good);
            }
            break;
        case 9:
        case 10:
            (void)settle_structural(m, judge, NULL, &settled);
            settled_groups += settled.groups;
            break;
        case 11:
            model_each_pending(m, accept_one, m);
            break;
        default:
            put_random(m, id);
            break;
        }
        model_each_section(m, section_is_sound, &round);
    }
    /* It did happen what this is about, and everything that is rendered can be accepted in the end. */
    assert_true(accepted_checks > end / 100 && settled_groups > end / 100);
    for (unsigned i = 0; i < FRAGMENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        model_release(m, name);
    }
    model_check(m, true);
    assert_int_equal(model_pending(m), 0);
    assert_true(digest_equal(model_digest(m, MODEL_RENDERED), model_digest(m, MODEL_ACCEPTED)));
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_accepted_piece_has_the_from_it_was_rendered_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
