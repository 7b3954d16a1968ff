/* proof.h — does a receiver have what it says? A question about some items, which only their texts can answer.
 * Thread:  loop thread only.
 * Errors:  -1 with ERR_INVALID or ERR_LIMIT; nothing of a question is trusted.
 *
 * A digest can be repeated by whoever was told it. So the writer asks for items of its choice, at most PROOF_ITEMS of
 * them, with a random number that makes each answer another one. What the answer proves is that the receiver has these
 * texts now. It does not prove that HAProxy serves them: that is the receiver's word.
 *
 *     O  "haptic proof", a random number     q  kind, scope, key     …
 */
#ifndef HAPTIC_HAPROXY_PROOF_H
#define HAPTIC_HAPROXY_PROOF_H

#include "base/buf.h"
#include "base/digest.h"
#include "haproxy/model.h"

#define PROOF_ITEMS 64U
#define PROOF_QUESTION_MAX ((size_t)1 << 20)

/* A question about accepted items of the model, drawn at random; what is right is proof_answer() of the same model.
 * Appends. Work: that of the items. */
void proof_ask(const struct model *m, struct buf *question);
int proof_answer(const struct model *m, const char *question, size_t length, struct digest *ret_proof, struct err *err)
    MUST_CHECK;

#endif
