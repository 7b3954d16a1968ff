/* leader_words.h — what the log says about an election, and what an answer means to it.
 * Thread:  any.
 */
#ifndef HAPTIC_CONTROLLER_LEADER_WORDS_H
#define HAPTIC_CONTROLLER_LEADER_WORDS_H

#include "kube/client.h"
#include "kube/elector.h"

/* Why leadership was lost (ELECTOR_LOST); failure: the words of the last failed request. The caller frees. */
char *leader_loss_reason(const struct elector_news *news, const char *identity, int64_t renew_deadline_ns,
                         const char *failure);

/* "get", "acquire", "renew", "release" */
const char *leader_purpose_name(enum elector_purpose purpose);

/* An answer's meaning for the elector; err NULL: it succeeded. */
enum elector_status leader_status_of(const struct kube_response *response, const struct err *err);

#endif
