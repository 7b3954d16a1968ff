/* concealed.h — values in the place of Secrets that a dump of a running controller conceals.
 * Thread:  loop thread only.
 * Owns:    nothing; the values are the vault's.
 *
 * A handle stands for one version of one value. So each handle gets a text of its own: equal handles are equal values,
 * and others are different ones. That is enough to compare two states, and not to have a HAProxy check one.
 */
#ifndef HAPTIC_OFFLINE_CONCEALED_H
#define HAPTIC_OFFLINE_CONCEALED_H

#include <stddef.h>

#include "store/vault.h"

/* Each whole handle in the text that the vault does not know. ERR_LIMIT. */
int concealed_fill(struct vault *v, const char *text, size_t length, struct err *err) MUST_CHECK;

#endif
