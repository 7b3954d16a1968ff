/* The values of Secrets in an offer are wiped and dropped at once. */
#include "offline/served.h"

#include <stdint.h>
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

    *ret_served = (struct served){0};
    if (offer_read_whole(bytes, length, &o, err) < 0)
        return -1;
    ret_served->model = model_new();
    offer_each_part(&o, take_part, ret_served);
    model_accept_all(ret_served->model);
    offer_done(&o);
    return 0;
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

/* Does the other side lack it? An item that both have may be another owner's: where several give the same text, one of
 * them counts. */
static bool is_own(void *ctx, const struct contribution *c)
{
    const struct served *other = ctx;
    const struct item *item = model_item(other->model, c->kind, c->scope, c->key);

    return item == NULL || item->accepted == NULL || !text_equal(item->accepted, c->text);
}

/* The fragments with those of their items that the other side does not have. */
static void put_own(const struct served *s, const struct served *other, struct map *out)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&s->fragments, &it)) != NULL;) {
        struct fragment *own = fragment_copy(slot->value, is_own, (void *)(uintptr_t)other);
        if (own->count > 0 || map_get(&other->fragments, own->id) != NULL)
            (void)map_put(out, own->id, own);
        else
            fragment_unref(own);
    }
}

size_t served_write(const struct served *before, const struct served *now, bool as_json, struct buf *out)
{
    CLEANUP(drop_all) struct map gone = {0}, come = {0};

    put_own(before, now, &gone);
    put_own(now, before, &come);
    return difference_write_fragments(&gone, &come, as_json, out);
}
