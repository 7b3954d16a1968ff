/* A sealed bundle from outside: whatever the bytes are, it is refused with a reason, or it is a bundle that seals to
 * bytes which mean the same. */
#include <assert.h>
#include <string.h>

#include "engine/contribution_check.h"
#include "haproxy/bundle_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const struct fragment *f)
{
    assert(f->id[0]);
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        struct contribution_input input = {
            .kind = c->kind,
            .scope = c->scope,
            .scope_length = strlen(c->scope),
            .key = c->key,
            .key_length = strlen(c->key),
            .text = c->text->bytes,
            .text_length = c->text->length,
        };
        assert(bundle_is_item(c) && !contribution_problem(&input));
    }
}

/* Frames are read only up to the last mark, which a mutation seldom leaves whole: here is one behind all. Its digest is
 * compared after everything before it was read. */
static void read_with_mark(const uint8_t *data, size_t size, struct buf *out)
{
    struct bundle *b = NULL;
    size_t cut;
    struct err err;
    struct bundle_stamp stamp = {.transitions = (int64_t)size, .generation = size};
    buf_add(out, data, size);
    seal_mark(out, &stamp, 0, (struct digest){0, 0}, (struct digest){0, 0});
    if (bundle_unseal(out->data, out->length, &b, &cut, &err) == 0)
        bundle_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL, *again = NULL;
    CLEANUP(buf_done) struct buf first = {0}, second = {0}, marked = {0};
    const struct map_slot *slot;
    struct err err = {0};
    size_t cut;

    read_with_mark(data, size, &marked);
    if (bundle_unseal((const char *)data, size, &b, &cut, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        return 0;
    }
    assert(cut <= size);
    for (size_t it = 0; (slot = map_next(&b->parts, &it));)
        check_part(slot->value);
    bundle_seal(b, &first);
    int result = bundle_unseal(first.data, first.length, &again, &cut, &err);
    assert(result == 0 && cut == 0);
    assert(digest_equal(b->digest, again->digest) && digest_equal(b->values_digest, again->values_digest));
    bundle_seal(again, &second);
    assert(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    return 0;
}
