/* default_certificate.h — what clients get that ask for a name nobody has a certificate for: one of our own, for no
 * name that exists.
 * Thread:  loop thread; before the loop runs.
 * Owns:    its value in the vault.
 * Errors:  0, or -1 with *err set.
 *
 * It is made at the first start and kept beside haproxy.cfg (default.pem, mode 600), so that clients who have accepted
 * it see the same one again. Nothing in templates is random: they get a handle of it.
 */
#ifndef HAPTIC_CONTROLLER_DEFAULT_CERTIFICATE_H
#define HAPTIC_CONTROLLER_DEFAULT_CERTIFICATE_H

#include "store/vault.h"

#define DEFAULT_CERTIFICATE_FILE "default.pem"

struct default_certificate {
    char handle[VAULT_HANDLE_LENGTH + 1]; /* of the certificate and its key as one PEM text; "" none */
    struct vault_hold *hold;
};
/* directory NULL: the one of this process, the same at each call, with a handle that is the same in every process. */
int default_certificate_init(struct default_certificate *d, const char *directory, struct vault *v, struct err *err)
    MUST_CHECK;
void default_certificate_done(struct default_certificate *d);

#endif
