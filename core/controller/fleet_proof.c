/* A question concerns what is accepted at that time. An answer counts only while the accepted state is still the same.
 */
#include <string.h>

#include "controller/fleet_state.h"
#include "haproxy/proof.h"

struct peer_body *proof_question(struct seat *s)
{
    const struct model *m = s->fleet->model;
    struct peer_body *body = peer_body_new();
    struct err err;
    s->proof.is_asked = false;
    if (!s->proves && !s->doubted)
        return body;
    proof_ask(m, &body->bytes);
    s->proof.digest = model_digest(m, MODEL_ACCEPTED);
    s->proof.is_asked = proof_answer(m, buf_str(&body->bytes), body->bytes.length, &s->proof.right, &err) == 0;
    return body;
}

bool proof_fails(struct seat *s, const char *answer)
{
    char right[DIGEST_HEX_SIZE];
    bool counts = s->proof.is_asked && digest_equal(s->proof.digest, model_digest(s->fleet->model, MODEL_ACCEPTED));
    s->proof.is_asked = false;
    if (!counts)
        return false;
    s->doubted = !answer || strcmp(answer, digest_hex(s->proof.right, right)) != 0;
    return s->doubted;
}
