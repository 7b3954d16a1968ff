/* timer.h — a one-shot timer whose owner can go away at any moment.
 * Thread:  loop thread only.
 * Owns:    its libuv handle. kube_timer_free() returns at once; the memory goes when the loop has closed the handle,
 *          so the loop must run once more after the last free.
 */
#ifndef HAPTIC_KUBE_TIMER_H
#define HAPTIC_KUBE_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct kube_timer;

struct kube_timer *kube_timer_new(uv_loop_t *loop, void (*fire)(void *ctx), void *ctx);
struct kube_timer *kube_timer_free(struct kube_timer *t); /* NULL is fine; always returns NULL */
/* Fire once, delay_ns from now (rounded up to a millisecond); replaces what was set before. */
void kube_timer_start(struct kube_timer *t, int64_t delay_ns);
void kube_timer_stop(struct kube_timer *t);
bool kube_timer_is_set(const struct kube_timer *t);

#endif
