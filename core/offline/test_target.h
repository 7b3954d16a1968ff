/* test_target.h — what an assertion looks at: a file of the rendering, or what went wrong.
 * Thread:  loop thread only.
 * Errors:  ERR_NOTFOUND names the nearest target, and those that there are.
 */
#ifndef HAPTIC_OFFLINE_TEST_TARGET_H
#define HAPTIC_OFFLINE_TEST_TARGET_H

#include "base/buf.h"
#include "offline/workbench.h"

/* target: "haproxy.cfg" or NULL, "map:NAME", "file:NAME", "cert:NAME", "crt-list:NAME", "rendering_error", "events", or
 * what test_wish.h describes.
 * *ret_config: it is haproxy.cfg. */
int test_target(struct workbench *w, const struct findings *findings, const char *target, struct buf *ret_text,
                bool *ret_config, struct err *err) MUST_CHECK;
/* "backend x, piece body, written by ingresses shop/web (ingress.lua:42)": who wrote a line (from 1) of haproxy.cfg; ""
 * unknown. */
void test_line_origin(struct workbench *w, size_t line, struct buf *out);
/* Append a line (from 1) of a text with three more before and behind it, each after a line end. */
void test_put_context(const char *text, size_t line, struct buf *out);

#endif
