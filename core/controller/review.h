/* review.h — an AdmissionReview of the API server: read and answered.
 * Thread:  any; pure functions of their arguments.
 * Owns:    a review borrows the document that it was read from; a verdict owns its texts.
 * Errors:  ERR_INVALID: it is no review that can be answered.
 * Source:  admission.k8s.io/v1; RFC 9110 (warnings travel in a header: no control characters).
 */
#ifndef HAPTIC_CONTROLLER_REVIEW_H
#define HAPTIC_CONTROLLER_REVIEW_H

#include <stdbool.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/vec.h"

/* The API server cuts warnings of more than 4096 bytes in all. */
#define REVIEW_WARNINGS_MAX 12
#define REVIEW_TEXT_MAX 2000

struct review {
    const char *uid;
    const char *group, *version, *resource;
    const char *subresource; /* "": the object itself */
    const char *operation;   /* "CREATE" */
    const char *namespace, *name;
    yyjson_val *object, *old_object; /* NULL: there is none */
};
int review_read(yyjson_val *document, struct review *ret_review, struct err *err) MUST_CHECK;
/* "networking.k8s.io/v1", "v1" */
bool review_has_version(const struct review *r, const char *api_version);

struct verdict {
    bool is_denied;
    unsigned code; /* of HTTP, in the status of a denied one */
    struct buf message;
    VEC(char *) warnings;
};
/* A warning; the first few count, each once. */
void verdict_warn(struct verdict *v, const char *text);
/* A reason to deny. Several are put together. */
void verdict_deny(struct verdict *v, unsigned code, const char *text);
void verdict_done(struct verdict *v);
/* The answer to the review of that uid. */
void review_answer(const char *uid, const struct verdict *v, struct buf *out);

#endif
