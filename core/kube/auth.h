/* auth.h — the credentials that requests carry, kept fresh.
 * Thread:  loop thread only.
 * Owns:    what the exec plugin gave, and its process while it runs. Borrows the configuration and refreshes its files.
 * Errors:  ERR_SYS, ERR_IO, ERR_TIMEOUT, ERR_INVALID; the text names the file or the plugin's command.
 * Source:  client.authentication.k8s.io/v1 ExecCredential.
 *
 * Files (token, CA, certificate, key) are looked at no more than once a second and read again when they are others.
 * The plugin runs when there is no credential, when it expires within half a minute, and when the server refused it.
 */
#ifndef HAPTIC_KUBE_AUTH_H
#define HAPTIC_KUBE_AUTH_H

#include <uv.h>

#include "base/buf.h"
#include "kube/config.h"

struct kube_auth;

/* ready: an AUTH_PENDING has ended, well (err NULL) or not. */
struct kube_auth *kube_auth_new(uv_loop_t *loop, struct kube_config *config,
                                void (*ready)(void *ctx, const struct err *err), void *ctx);
struct kube_auth *kube_auth_free(struct kube_auth *a); /* ends the plugin; its handles close in the loop's next turn */

enum kube_auth_state {
    AUTH_READY,   /* use it */
    AUTH_PENDING, /* the plugin runs; ready() will be called */
};
/* Bring the credentials up to date. An unreadable file is no error while what was read from it before is still
 * there. */
enum kube_auth_state kube_auth_refresh(struct kube_auth *a);
/* The server refused them: read the files now, run the plugin again. *ret_is_new: there is something else to try (also
 * when AUTH_PENDING). */
enum kube_auth_state kube_auth_refused(struct kube_auth *a, bool *ret_is_new);

/* NULL or empty when there is none. Valid until the loop turns. */
const char *kube_auth_token(const struct kube_auth *a);
const struct kube_blob *kube_auth_certificate(const struct kube_auth *a);
const struct kube_blob *kube_auth_key(const struct kube_auth *a);

/* For whoever is refused: "shown was the token in /path", "… the client certificate in /path, which expired on
 * 2026-01-31". Nothing secret. */
void kube_auth_describe(const struct kube_auth *a, struct buf *out);
/* The credentials were refused: add to the message what was shown. */
void kube_auth_name_credentials(const struct kube_auth *a, struct err *err);

#endif
