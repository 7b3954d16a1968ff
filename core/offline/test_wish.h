/* test_wish.h — targets of assertions that are no files: the objects that templates want, and the status that they wish
 * for objects.
 * Thread:  loop thread only.
 * Errors:  ERR_NOTFOUND: no such object or template; the text says what there is, or what to write.
 */
#ifndef HAPTIC_OFFLINE_TEST_WISH_H
#define HAPTIC_OFFLINE_TEST_WISH_H

#include "base/buf.h"
#include "offline/workbench.h"

/* "k8s:" all objects that templates want, a line of JSON for each; "k8s:TEMPLATE" those that this template wants;
 * "k8s:KIND/NAMESPACE/NAME" one.
 * "status:KIND/NAMESPACE/NAME" what is wished for its status, as JSON; KIND may be left out where the name is of one
 * kind only; ":rendered" or ":deployed" may follow. "" when nothing is wished for an object that exists.
 * False in *ret_is_wish: the target is something else. */
int test_wish(struct workbench *w, const char *target, struct buf *ret_text, bool *ret_is_wish, struct err *err)
    MUST_CHECK;

#endif
