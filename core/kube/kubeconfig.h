/* kubeconfig.h — kubeconfig files, merged.
 * Thread:  loop thread only (it reads small local files).
 * Errors:  ERR_SYS, ERR_INVALID, ERR_LIMIT; the text names file, context and field.
 * Source:  kubeconfig v1; client-go's loading rules.
 */
#ifndef HAPTIC_KUBE_KUBECONFIG_H
#define HAPTIC_KUBE_KUBECONFIG_H

#include "kube/config.h"

/* files: one path, or (is_one false) several separated by colons, of which those that do not exist are passed over.
 * Fills what the chosen context says into an empty config. */
int kubeconfig_load(struct kube_config *c, const char *files, bool is_one, const struct kube_overrides *overrides,
                    struct err *err) MUST_CHECK;

#endif
