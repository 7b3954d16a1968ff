/* fill.h — what Ingresses name and is not there, invented: Services, EndpointSlices, certificates.
 * Thread:  loop thread only.
 * Owns:    nothing; what is invented is put into the store of the workbench.
 * Errors:  ERR_SYS, ERR_INVALID: something cannot be invented; the text says for which object.
 *
 * For drafts: an Ingress can be rendered before its Service exists. Names and addresses are the same in each run; a
 * certificate is another one each time, but its handle in the output is not.
 */
#ifndef HAPTIC_OFFLINE_FILL_H
#define HAPTIC_OFFLINE_FILL_H

#include "base/buf.h"
#include "offline/workbench.h"

/* Before workbench_render(). Each thing is said in a line of ret_said: "Service shop/web with port 80, for Ingress
 * shop/web". */
int fill_missing(struct workbench *w, struct buf *ret_said, struct err *err) MUST_CHECK;

#endif
