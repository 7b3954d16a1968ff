/* The values in an offer are dropped at once, wiped. */
#include "offline/served.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "controller/default_certificate.h"
#include "haproxy/expand.h"
#include "haproxy/model_direct.h"
#include "haproxy/offer.h"
#include "haproxy/offer_parts.h"
#include "offline/concealed.h"

static void take_part(void *ctx, struct fragment *part)
{
    struct served *s = ctx;
    struct fragment *kept = fragment_ref(part);

    model_fragment_put(s->model, kept);
    (void)map_put(&s->fragments, kept->id, kept);
}

int served_read(const char *bytes, size_t length, struct served *ret_served, struct err *err)
{
    struct offer o;
    int result = 0;

    *ret_served = (struct served){0};
    if (offer_read(bytes, length, &o, err) < 0)
        return -1;
    if (*o.from != '\0' || !digest_equal(direct_digest(&o.changes), o.result))
        result = err_set(err, ERR_INVALID, "what it serves does not have the digest that it says");
    if (result == 0) {
        ret_served->model = model_new();
        offer_each_part(&o, take_part, ret_served);
        model_check_begin(ret_served->model);
        model_check_end(ret_served->model, true);
    }
    offer_done(&o);
    return result;
}

int served_of(struct workbench *w, struct served *ret_served, struct err *err)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};
    const struct offer head = {.holder = "diff"};

    (void)offer_write_whole(&bytes, workbench_model(w), store_vault(workbench_store(w)), &head);
    return served_read(buf_str(&bytes), bytes.length, ret_served, err);
}

static void drop_all(struct map *fragments)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(fragments, &it)) != NULL;)
        fragment_unref(slot->value);
    map_done(fragments);
}

void served_done(struct served *s)
{
    s->model = model_free(s->model);
    drop_all(&s->fragments);
}

void served_default_certificate(const struct served *s, char ret_handle[VAULT_HANDLE_LENGTH + 1])
{
    const struct item *item = model_file_item(s->model, CONTRIBUTION_CERTIFICATE, DEFAULT_CERTIFICATE_FILE);
    bool whole = false;

    *ret_handle = '\0';
    if (item == NULL || item->accepted == NULL)
        return;
    const char *text = item->accepted->bytes;
    size_t length = strcspn(text, "\n");
    if (length == VAULT_HANDLE_LENGTH && vault_find(text, length, &whole) == text && whole)
        memcpy(ret_handle, text, length + 1);
    ret_handle[VAULT_HANDLE_LENGTH] = '\0';
}

int served_judge(struct served *before, struct workbench *now, const struct haproxy_caps *caps,
                 struct difference *ret_difference, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files running = {0};
    struct vault *vault = store_vault(workbench_store(now));

    workbench_model_files(before->model, MODEL_ACCEPTED, &running);
    for (size_t i = 0; i < running.items.length; i++)
        if (concealed_fill(vault, running.items.items[i].bytes, running.items.items[i].length, err) < 0)
            return -1;
    return difference_forecast(&running, vault, workbench_model(now), now, caps, ret_difference, err);
}

/* ---- the lines ---- */

/* An item that both have may be another owner's: where several give the same text, one of them counts. */
static bool has(const struct served *s, const struct contribution *c)
{
    const struct item *item = model_item(s->model, c->kind, c->scope, c->key);

    return item != NULL && item->accepted != NULL && text_equal(item->accepted, c->text);
}

/* The fragments with those of their items that the other side does not have. */
static void put_own(const struct served *s, const struct served *other, struct map *out)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&s->fragments, &it)) != NULL;) {
        const struct fragment *f = slot->value;
        VEC(struct contribution_input) inputs = {0};
        const struct fragment_head head = {.id = f->id,
                                           .template_name = f->template_name,
                                           .owner_kind = f->owner_kind,
                                           .owner_id = f->owner_id,
                                           .owner_created_s = f->owner_created_s};
        for (size_t i = 0; i < f->count; i++) {
            const struct contribution *c = &f->items[i];
            if (!has(other, c))
                vec_push(&inputs, contribution_input_of(c->kind, c->rank, c->order, c->scope, c->key, c->text));
        }
        if (inputs.length > 0 || map_get(&other->fragments, f->id) != NULL) {
            struct fragment *own = fragment_new(&head, inputs.items, inputs.length);
            (void)map_put(out, own->id, own);
        }
        vec_done(&inputs);
    }
}

size_t served_write(const struct served *before, const struct served *now, bool as_json, struct buf *out)
{
    CLEANUP(drop_all) struct map gone = {0}, come = {0};

    put_own(before, now, &gone);
    put_own(now, before, &come);
    return difference_write_fragments(&gone, &come, as_json, out);
}
