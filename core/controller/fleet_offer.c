/* Members with the same digest get the same bytes. They are compressed once, for the first member that can decompress
 * them. Values of Secrets are not compressed, so that the size on the wire tells nothing about them.
 */
#include <string.h>

#include "controller/fleet_state.h"
#include "net/packing.h"

/* Compressing a change of one object costs more than it saves. */
#define PACK_MIN ((size_t)4 << 10)

static void made_forget(struct made_offer *made)
{
    peer_body_unref(made->body);
    peer_body_unref(made->packed);
    *made = (struct made_offer){0};
}

void offers_forget(struct fleet *f)
{
    made_forget(&f->whole);
    made_forget(&f->delta);
}

static bool is_made(const struct fleet *f, const struct made_offer *made, struct digest from, struct digest result)
{
    return made->body && digest_equal(made->from, from) && digest_equal(made->result, result) &&
           made->transitions == f->transitions && made->generation == f->generation;
}

static void make(struct fleet *f, struct made_offer *made, struct digest from, const struct offer_name *names,
                 size_t count)
{
    struct offer head = {.transitions = f->transitions, .generation = f->generation};
    memcpy(head.holder, f->holder, sizeof(head.holder));
    made_forget(made);
    *made = (struct made_offer){.from = from,
                                .result = model_digest(f->model, MODEL_ACCEPTED),
                                .transitions = f->transitions,
                                .generation = f->generation,
                                .body = peer_body_new()};
    if (!is_nowhere(from)) {
        digest_hex(from, head.from);
        made->plain = offer_write_delta(&made->body->bytes, f->model, f->vault, &head, names, count);
    } else {
        made->plain = offer_write_whole(&made->body->bytes, f->model, f->vault, &head);
    }
}

static struct peer_body *packed(struct made_offer *made)
{
    const struct buf *bytes = &made->body->bytes;
    if (!made->packed) {
        made->packed = peer_body_new();
        made->packed->packed = true;
        pack(buf_str(bytes), bytes->length, made->plain, &made->packed->bytes);
    }
    return made->packed;
}

struct peer_body *offer_body(struct fleet *f, struct digest from, const struct offer_name *names, size_t count,
                             bool may_pack)
{
    struct made_offer *made = is_nowhere(from) ? &f->whole : &f->delta;
    if (!is_made(f, made, from, model_digest(f->model, MODEL_ACCEPTED)))
        make(f, made, from, names, count);
    return may_pack && made->body->bytes.length >= PACK_MIN ? packed(made) : made->body;
}
