/* orders.h — what has become of the certificates that HAProxy orders by itself.
 * Thread:  none of its own.
 * Owns:    copies of paths and reasons.
 * Units:   *_s Unix seconds; *_ns clock_now_ns().
 * Source:  HAProxy management guide, "acme status", "acme renew"; messages of HAProxy's ACME client in its log.
 *
 * HAProxy repeats a failed order some times within minutes and then gives it up, until its scheduler runs again or
 * HAProxy is restarted. The agent reports at regular intervals what it saw, and asks here which orders to begin again.
 *
 *   GOOD ──(a certificate is due)──► UNDER_WAY ──(failed twice)──► FAILING ──┐
 *    ▲                                  │                            ▲  │    │
 *    │                                  └─(HAProxy has given it up)──┼──┴────┼──► GIVEN_UP
 *    │                                                               └─(begun again)─┘
 *    └──(a certificate that is not due is there)── each of the others
 */
#ifndef HAPTIC_AGENT_ORDERS_H
#define HAPTIC_AGENT_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

struct orders {
    struct map by_path; /* struct order */
    int64_t retry_ns;   /* before an order is begun again for the first time */
    bool has_changed;   /* which fail, or why */
};

void orders_init(struct orders *o, int64_t retry_ns);
void orders_done(struct orders *o);

/* One look: HAProxy's messages, a line for each, oldest first; then each of its certificates; then the end, after which
 * certificates that were not seen are forgotten. */
void orders_hear(struct orders *o, const char *text);
struct order_sight {
    const char *path;
    bool is_running;
    int64_t due_s; /* when HAProxy has to have another one */
};
void orders_see(struct orders *o, const struct order_sight *sight, int64_t now_s, int64_t now_ns);
/* True when other orders fail than before the look, or for another reason. */
bool orders_look_end(struct orders *o);

/* An order that is to be begun again now, and counts as begun; NULL: none. Valid until the next look. */
const char *orders_next(struct orders *o, int64_t now_ns);

/* reason: HAProxy's words, printable. */
void orders_each_failing(const struct orders *o, void (*fn)(void *ctx, const char *path, const char *reason),
                         void *ctx);
size_t orders_failing(const struct orders *o);

#endif
