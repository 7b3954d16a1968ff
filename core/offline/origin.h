/* origin.h — where a line of haproxy.cfg comes from, and what an object gives to the output.
 * Thread:  loop thread only; runs the loop until the renderer has answered.
 * Errors:  ERR_NOTFOUND: no such line or object; the text says what there is.
 */
#ifndef HAPTIC_OFFLINE_ORIGIN_H
#define HAPTIC_OFFLINE_ORIGIN_H

#include "base/buf.h"
#include "offline/workbench.h"

/* Line (from 1) of haproxy.cfg: its text, the section, the object, the template line. */
int origin_of_line(struct workbench *w, size_t line, struct buf *out, struct err *err) MUST_CHECK;
/* kind: the name of a watched kind or the kind of its objects ("ingresses", "Ingress"); id: "namespace/name". */
int origin_of_object(struct workbench *w, const char *kind, const char *id, struct buf *out, struct err *err)
    MUST_CHECK;

/* The template line that wrote a line of the assembled text: "ingress.lua:42", "" unknown. malloc'ed. */
char *origin_where(struct workbench *w, const struct model_origin *origin);

#endif
