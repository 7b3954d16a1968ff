/* restore.h — what the last controller had accepted, read back before anything is rendered.
 * Thread:  loop thread; blocking, for the start.
 * Owns:    nothing.
 * Errors:  -1 with ERR_NOTFOUND (there is no file), ERR_INVALID or ERR_LIMIT (it is damaged, or another program's),
 *          ERR_SYS. The model and the vault are as they were then.
 */
#ifndef HAPTIC_CONTROLLER_RESTORE_H
#define HAPTIC_CONTROLLER_RESTORE_H

#include "base/err.h"
#include "haproxy/bundle.h"
#include "haproxy/model.h"
#include "store/vault.h"

struct restored {
    size_t parts;    /* fragments whose output is accepted again */
    size_t left_out; /* fragments that need a value of a Secret which is not there */
    size_t cut;      /* bytes at the end of the file that were not written to their end */
    struct bundle_stamp stamp;
    char haproxy[BUNDLE_HAPROXY_SIZE];
};

/* Read DIRECTORY/accepted into an empty model: everything in it is rendered and accepted afterwards. */
int restore_accepted(const char *directory, struct model *model, struct vault *vault, struct restored *ret_restored,
                     struct err *err) MUST_CHECK;
/* Who made that file. */
int restore_stamp(const char *directory, struct bundle_stamp *ret_stamp, struct err *err) MUST_CHECK;
/* The same from what a member of the fleet serves: an offer of everything (haproxy/offer.h). */
int restore_offer(const char *bytes, size_t length, struct model *model, struct vault *vault,
                  struct restored *ret_restored, struct err *err) MUST_CHECK;

#endif
