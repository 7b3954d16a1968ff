/* Groups that depend on each other: how many are judged how often. */
#include "controller_support.h"

#include "controller/settle.h"

/* Harmless: a backend, and a route to a backend that is accepted. Each object's backend is in one fragment with the
 * route to the next object's. */
struct judging {
    const struct model *model;
    size_t judged;
};

static bool judge(const void *ctx, struct item *const *items, size_t count)
{
    struct judging *j = (struct judging *)(uintptr_t)ctx;

    j->judged++;
    for (size_t i = 0; i < count; i++) {
        if (items[i]->kind != CONTRIBUTION_MAP_ENTRY || items[i]->rendered == NULL)
            continue;
        CLEANUP(free_ptr) char *name = xasprintf("backend %s", items[i]->rendered->bytes);
        const struct section *s = model_section(j->model, name);
        if (s == NULL || s->accepted_pieces == 0)
            return false;
    }
    return true;
}

enum order { FORWARD, BACKWARD, MIXED };

static unsigned place(unsigned i, unsigned length, enum order order)
{
    return order == FORWARD ? i : order == BACKWARD ? length - 1 - i : i * 7919u % length;
}

/* A chain of so many objects, the last of which leads nowhere; what is judged, and what is left. */
static size_t judged(unsigned length, enum order order, bool *ret_left)
{
    struct model *m = model_new();
    struct settled settled;

    for (unsigned i = 0; i < length; i++) {
        unsigned at = place(i, length, order);
        CLEANUP(free_ptr) char *id = xasprintf("o%u", at), *section = xasprintf("backend b%u", at);
        CLEANUP(free_ptr) char *next = xasprintf("b%u", at + 1);
        const struct emitted chained[] = {
            {CONTRIBUTION_SECTION, section, "body", "", 400, 0},
            {CONTRIBUTION_MAP_ENTRY, "host.map", id, next, 0, 0},
        };
        model_put(m, id, chained, at + 1 < length ? 2 : 1);
    }
    struct judging j = {.model = m};
    *ret_left = settle_structural(m, judge, &j, &settled);
    model_free(m);
    return j.judged;
}

static void a_chain_is_not_gone_through_once_for_each_of_its_parts(void **state)
{
    bool left;
    (void)state;

    for (unsigned length = 1000; length <= 2000; length *= 2) {
        size_t forward = judged(length, FORWARD, &left);
        assert_false(left);
        assert_true(forward <= 3 * length);
        size_t backward = judged(length, BACKWARD, &left);
        assert_false(left);
        assert_true(backward <= 3 * length);
        assert_true(judged(length, MIXED, &left) <= 8 * length); /* the rest is for HAProxy to judge */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_not_gone_through_once_for_each_of_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
