/* Restored parts go into the model like any rendering, and are accepted together without a check: they passed a check
 * before they were written to the file. The values come after the parts, because the vault drops values that no text
 * refers to. */
#include "controller/restore.h"

#include <stdlib.h>
#include <string.h>

#include "controller/sealer.h"
#include "haproxy/bundle_seal.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"
#include "haproxy/offer_parts.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)

static void take_values(const struct bundle *b, struct vault *vault)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&b->values, &it)) != NULL;) {
        const struct bundle_value *v = slot->value;
        /* Without the value, the check refuses the parts that need it. */
        (void)!vault_restore(vault, v->digits, v->secret, v->key, v->bytes, v->length, NULL);
    }
}

struct taking {
    struct model *model;
    const struct bundle *values;
    struct restored *restored;
};

static void take_part(void *ctx, struct fragment *part)
{
    struct taking *t = ctx;

    if (!bundle_has_values(t->values, part)) {
        t->restored->left_out++;
        return;
    }
    model_fragment_put(t->model, part);
    t->restored->parts++;
}

static int read_bundle(const char *directory, struct bundle **ret_bundle, size_t *ret_cut, struct err *err)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};

    if (disk_read_file(directory, SEALER_FILE, FILE_MAX_BYTES, &bytes, err) < 0)
        return -1;
    if (bundle_unseal(buf_str(&bytes), bytes.length, ret_bundle, ret_cut, err) < 0)
        return err_wrap(err, "%s/" SEALER_FILE, directory);
    return 0;
}

int restore_accepted(const char *directory, struct model *model, struct vault *vault, struct restored *ret_restored,
                     struct err *err)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    const struct map_slot *slot;

    *ret_restored = (struct restored){0};
    if (read_bundle(directory, &b, &ret_restored->cut, err) < 0)
        return -1;
    struct taking t = {.model = model, .values = b, .restored = ret_restored};
    for (size_t it = 0; (slot = map_next(&b->parts, &it)) != NULL;)
        take_part(&t, slot->value);
    take_values(b, vault);
    model_accept_all(model);
    ret_restored->stamp = b->stamp;
    memcpy(ret_restored->haproxy, b->haproxy, sizeof(ret_restored->haproxy));
    return 0;
}

int restore_stamp(const char *directory, struct bundle_stamp *ret_stamp, struct err *err)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    size_t cut;

    if (read_bundle(directory, &b, &cut, err) < 0)
        return -1;
    *ret_stamp = b->stamp;
    return 0;
}

int restore_offer(const char *bytes, size_t length, struct model *model, struct vault *vault,
                  struct restored *ret_restored, struct err *err)
{
    struct offer o;

    *ret_restored = (struct restored){0};
    if (offer_read_whole(bytes, length, &o, err) < 0)
        return -1;
    struct taking t = {.model = model, .values = o.values, .restored = ret_restored};
    offer_each_part(&o, take_part, &t);
    offer_take_values(&o, vault);
    model_accept_all(model);
    ret_restored->stamp = (struct bundle_stamp){.transitions = o.transitions, .generation = o.generation};
    offer_done(&o);
    return 0;
}
