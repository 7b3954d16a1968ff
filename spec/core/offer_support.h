/* offer_support.h — what tests of offers share: a model that writes them, and changes of it.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_OFFER_SUPPORT_H
#define SPEC_CORE_OFFER_SUPPORT_H

#include "model_support.h"

#include "haproxy/model_direct.h"
#include "haproxy/offer.h"

struct writer {
    struct model *model;
    struct vault *vault;
    uint64_t generation;
};

static UNUSED void writer_begin(struct writer *w)
{
    *w = (struct writer){.model = model_new(), .vault = vault_new(1 << 20)};
    model_put_base(w->model, 8000, "");
    model_check(w->model, true);
}

static UNUSED void writer_end(struct writer *w)
{
    model_free(w->model);
    vault_free(w->vault);
}

/* One route more, or another version of it; version 0: none. */
static UNUSED void writer_set(struct writer *w, int number, int version)
{
    CLEANUP(free_ptr) char *id = xasprintf("r%d", number);
    CLEANUP(free_ptr) char *host = xasprintf("h%d", number);
    CLEANUP(free_ptr) char *backend = xasprintf("b%d", number);
    CLEANUP(free_ptr) char *lines = xasprintf("server s 127.0.0.%d:80\n", version);
    if (version)
        model_put_route(w->model, id, host, backend, lines);
    else
        model_fragment_drop(w->model, id);
    model_check(w->model, true);
}

static UNUSED void writer_head(struct writer *w, const char *from, struct offer *ret_head)
{
    *ret_head = (struct offer){.transitions = 3, .generation = ++w->generation};
    snprintf(ret_head->holder, sizeof(ret_head->holder), "test");
    snprintf(ret_head->from, sizeof(ret_head->from), "%s", from);
}

static UNUSED void writer_whole(struct writer *w, struct buf *out)
{
    struct offer head;
    struct model_changes changes = {0};
    model_take_changes(w->model, &changes);
    model_changes_done(&changes);
    writer_head(w, "", &head);
    offer_write_whole(out, w->model, w->vault, &head);
}

/* What has changed since the last offer. */
static UNUSED void writer_delta(struct writer *w, const char *from, struct buf *out)
{
    struct offer head;
    struct model_changes changes = {0};
    VEC(struct offer_name) names = {0};
    model_take_changes(w->model, &changes);
    for (size_t i = 0; i < changes.items.length; i++) {
        const struct item *item = changes.items.items[i];
        size_t length = (size_t)(item->key - item->name) + strlen(item->key);
        vec_push(&names, ((struct offer_name){xmemdup0(item->name, length), length}));
    }
    model_changes_done(&changes);
    writer_head(w, from, &head);
    offer_write_delta(out, w->model, w->vault, &head, names.items, names.length);
    for (size_t i = 0; i < names.length; i++)
        free(names.items[i].bytes);
    vec_done(&names);
}

static UNUSED void assert_same_state(struct model *a, struct model *b)
{
    CLEANUP(free_ptr) char *config_a = model_config(a, MODEL_ACCEPTED), *config_b = model_config(b, MODEL_ACCEPTED);
    CLEANUP(free_ptr)
    char *map_a = model_map(a, MODEL_ACCEPTED, "host.map"), *map_b = model_map(b, MODEL_ACCEPTED, "host.map");
    assert_string_equal(config_a, config_b);
    assert_string_equal(map_a, map_b);
    assert_true(digest_equal(model_digest(a, MODEL_ACCEPTED), model_digest(b, MODEL_ACCEPTED)));
}

#endif
