/* An offer from outside: whatever the bytes are, it is refused with a reason, or its changes are made as a whole, can
 * be undone, and what the model then has is offered to another one that reaches the same digest. */
#include <assert.h>
#include <string.h>

#include "haproxy/model_direct.h"
#include "haproxy/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void offer_again(struct model *m, struct vault *vault)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    struct model *other = model_new();
    struct offer head = {.transitions = 1, .generation = 1}, o;
    struct direct_changes undo;
    struct err err;
    offer_write_whole(&bytes, m, vault, &head);
    int result = offer_read(bytes.data, bytes.length, &o, &err);
    assert(result == 0);
    result = model_direct_apply(other, &o.changes, true, o.result, o.result_count, &undo, &err);
    assert(result == 0);
    assert(digest_equal(model_digest(m, MODEL_ACCEPTED), model_digest(other, MODEL_ACCEPTED)));
    offer_done(&o);
    direct_done(&undo);
    model_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct direct_changes undo;
    struct offer o;
    struct err err = {0};

    if (offer_read((const char *)data, size, &o, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        return 0;
    }
    struct model *m = model_new();
    struct vault *vault = vault_new(1 << 20);
    /* A mutation has no right digest: here it is the one that the changes give. */
    int result = model_direct_apply(m, &o.changes, true, direct_digest(&o.changes), o.changes.items.length, &undo,
                                    &err);
    assert(result == 0);
    offer_take_values(&o, vault);
    offer_again(m, vault);
    model_direct_undo(m, &undo);
    assert(model_is_empty(m, MODEL_ACCEPTED));
    direct_done(&undo);
    offer_done(&o);
    model_free(m);
    vault_free(vault);
    return 0;
}
