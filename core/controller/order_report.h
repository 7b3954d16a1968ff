/* order_report.h — whom certificates concern that HAProxy orders and does not get, and that they are told.
 * Thread:  loop thread only.
 * Owns:    copies of all texts. Borrows the model.
 *
 * Every HAProxy tells which of its orders fail. The owner of an order's line in "crt-store" is told once for each
 * reason, and when no HAProxy's order of it fails any more.
 */
#ifndef HAPTIC_CONTROLLER_ORDER_REPORT_H
#define HAPTIC_CONTROLLER_ORDER_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "haproxy/model.h"

struct order_report;

typedef void order_tell(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                        const char *message);

struct order_report *order_report_new(const struct model *model, order_tell *tell, void *ctx);
struct order_report *order_report_free(struct order_report *r); /* NULL is fine; always returns NULL */

/* All that fails at one HAProxy now, in place of what it told before. member: its name, "" for that of this process. */
void order_report_begin(struct order_report *r, const char *member);
void order_report_add(struct order_report *r, const char *file, const char *reason);
void order_report_end(struct order_report *r);

#endif
