/* The parts go the way of any rendering into the model, and are accepted together as after a check that went well: they
 * went through one when they were noted. The values come after the parts, since the vault drops what no text refers to.
 */
#include "controller/restore.h"

#include <stdlib.h>
#include <string.h>

#include "controller/sealer.h"
#include "haproxy/bundle_seal.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)

static void take_values(const struct bundle *b, struct vault *vault)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&b->values, &it)) != NULL;) {
        const struct bundle_value *v = slot->value;
        /* Without it the check refuses what needs it, by name. */
        (void)!vault_restore(vault, v->digits, v->secret, v->key, v->bytes, v->length, NULL);
    }
}

int restore_accepted(const char *directory, struct model *model, struct vault *vault, struct restored *ret_restored,
                     struct err *err)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    const struct map_slot *slot;

    *ret_restored = (struct restored){0};
    if (disk_read_file(directory, SEALER_FILE, FILE_MAX_BYTES, &bytes, err) < 0)
        return -1;
    if (bundle_unseal(buf_str(&bytes), bytes.length, &b, &ret_restored->cut, err) < 0)
        return err_wrap(err, "%s/" SEALER_FILE, directory);
    for (size_t it = 0; (slot = map_next(&b->parts, &it)) != NULL;) {
        struct fragment *part = slot->value;
        if (!bundle_has_values(b, part)) {
            ret_restored->left_out++;
            continue;
        }
        model_fragment_put(model, part);
        ret_restored->parts++;
    }
    take_values(b, vault);
    model_check_begin(model);
    model_check_end(model, true);
    ret_restored->stamp = b->stamp;
    memcpy(ret_restored->haproxy, b->haproxy, sizeof(ret_restored->haproxy));
    return 0;
}
