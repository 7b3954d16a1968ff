/* webhook.h — the admission webhook's listener over TLS 1.3: POST /validate, POST /validate-configuration/TOKEN, GET
 *             /healthz.
 * Thread:  loop thread only.
 * Owns:    the listener and its certificates. Borrows the app.
 * Errors:  ERR_INVALID, ERR_SYS with the option to change.
 *
 * The API server shows no certificate unless it is told to, so whoever reaches the port may ask. Each request is
 * bounded (3 MiB, WEBHOOK_BODIES at a time, each within WEBHOOK_BODY_NS), and the answer says no more than what the
 * template says of the object that was sent. A configuration brings its own templates, which read all objects: only who
 * knows the token, that is, the API server, may have one judged.
 */
#ifndef HAPTIC_CMD_WEBHOOK_H
#define HAPTIC_CMD_WEBHOOK_H

#include <uv.h>

#include "base/clock.h"
#include "base/metric.h"
#include "cmd/run_options.h"

#define WEBHOOK_BODIES 16U
#define WEBHOOK_BODY_NS (10 * NS_PER_S)
#define WEBHOOK_PATIENCE_NS NS_PER_S
#define WEBHOOK_DRAIN_NS (2 * NS_PER_S)

struct webhook;

int webhook_new(uv_loop_t *loop, const struct run_options *o, struct app *app, struct metrics *metrics,
                struct webhook **ret_webhook, struct err *err) MUST_CHECK;
/* The certificates that the app has, in the place of files (PEM). */
void webhook_certify(struct webhook *w, const char *certificate, const char *key);
/* The process will end soon: the API server's connections end with their next answers. True: leave it that time. */
bool webhook_drain(struct webhook *w); /* NULL is fine: false */
/* After app_free(), which has every request answered: close the listener. NULL is fine. */
void webhook_stop(struct webhook *w);
struct webhook *webhook_free(struct webhook *w); /* after the loop has ended; NULL is fine */

#endif
