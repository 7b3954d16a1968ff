/* Members with the same digest get the same bytes. They are compressed once, for the first member that can decompress
 * them. Values of Secrets are not compressed, so that the size on the wire tells nothing about them.
 */
#include <stdio.h>
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

static bool is_made(const struct fleet *f, const struct made_offer *made, const char *from, struct digest result)
{
    return made->body && strcmp(made->from, from) == 0 && digest_equal(made->result, result) &&
           made->transitions == f->transitions && made->generation == f->generation;
}

static void make(struct fleet *f, struct made_offer *made, const char *from, const struct offer_name *names,
                 size_t count)
{
    struct offer head = {.transitions = f->transitions, .generation = f->generation};
    memcpy(head.holder, f->holder, sizeof(head.holder));
    snprintf(head.from, sizeof(head.from), "%s", from);
    made_forget(made);
    *made = (struct made_offer){.result = model_digest(f->model, MODEL_ACCEPTED),
                                .transitions = f->transitions,
                                .generation = f->generation,
                                .body = peer_body_new()};
    snprintf(made->from, sizeof(made->from), "%s", from);
    made->plain = *from ? offer_write_delta(&made->body->bytes, f->model, f->vault, &head, names, count)
                        : offer_write_whole(&made->body->bytes, f->model, f->vault, &head);
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

struct peer_body *offer_body(struct fleet *f, const char *from, const struct offer_name *names, size_t count,
                             bool may_pack)
{
    struct made_offer *made = *from ? &f->delta : &f->whole;
    if (!is_made(f, made, from, model_digest(f->model, MODEL_ACCEPTED)))
        make(f, made, from, names, count);
    return may_pack && made->body->bytes.length >= PACK_MIN ? packed(made) : made->body;
}
