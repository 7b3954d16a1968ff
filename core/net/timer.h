/* timer.h — a one-shot timer whose owner can go away at any moment.
 * Thread:  loop thread only.
 * Owns:    its libuv handle. net_timer_free() returns at once; the memory goes when the loop has closed the handle,
 *          so the loop must run once more after the last free.
 */
#ifndef HAPTIC_NET_TIMER_H
#define HAPTIC_NET_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct net_timer;

struct net_timer *net_timer_new(uv_loop_t *loop, void (*fire)(void *ctx), void *ctx);
struct net_timer *net_timer_free(struct net_timer *t); /* NULL is fine; always returns NULL */
/* Fire once, delay_ns from now (rounded up to a millisecond); replaces what was set before. */
void net_timer_start(struct net_timer *t, int64_t delay_ns);
void net_timer_stop(struct net_timer *t);
bool net_timer_is_set(const struct net_timer *t);

#endif
