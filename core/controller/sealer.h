/* sealer.h — keeps DIRECTORY/accepted level with what the model has accepted, for the next start of a controller.
 * Thread:  loop thread only; a new file is synced in libuv's thread pool.
 * Owns:    DIRECTORY/accepted and, while it is made, DIRECTORY/.accepted.tmp.
 * Units:   *_ns nanoseconds.
 * Errors:  a directory that is full or cannot be written is a warning and a metric. Nothing else waits for it.
 *
 * The file is a sealed bundle (haproxy/bundle_seal.h). Each change of a fragment's kept version (haproxy/model.h) is
 * appended, so the cost follows the change; writing takes at most a twentieth of the time. When as much was appended as
 * the file had, a new one is made beside it in slices, synced, and renamed. The same happens when this replica begins
 * to write, as the file may be another one's, and a minute after values of Secrets in it went out of use.
 */
#ifndef HAPTIC_CONTROLLER_SEALER_H
#define HAPTIC_CONTROLLER_SEALER_H

#include <stdbool.h>
#include <uv.h>

#include "base/metric.h"
#include "haproxy/bundle.h"
#include "haproxy/model.h"
#include "store/vault.h"

#define SEALER_FILE "accepted"

struct sealer;

struct sealer_ops {
    /* May this replica write towards HAProxy now? */
    bool (*may_write)(void *ctx);
    /* Is no newer writer known to the directory? Asked before a new file takes the place of the old one. */
    bool (*is_newest)(void *ctx);
    struct bundle_stamp (*stamp)(void *ctx);
};

/* directory, vault and model must outlive it. haproxy: the version that judges; copied. */
struct sealer *sealer_new(uv_loop_t *loop, const char *directory, const char *haproxy, struct model *model,
                          struct vault *vault, struct metrics *metrics, const struct sealer_ops *ops, void *ctx);
/* Look again: something may have been accepted, or leadership has changed. */
void sealer_step(struct sealer *s);
/* Write what is due now, without regard to its cost; nothing is written afterwards. */
void sealer_stop(struct sealer *s);
struct sealer *sealer_free(struct sealer *s); /* NULL is fine; its handles close on the loop */

#endif
