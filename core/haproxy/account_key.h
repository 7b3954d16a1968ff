/* account_key.h — keys of accounts with authorities (sections "acme"), for directories that HAProxy may not write.
 * Thread:  any.
 * Owns:    nothing; the keys belong to the set of files.
 *
 * HAProxy makes such a key when it loads a configuration that names one that is not there. It cannot where it only
 * checks the configuration.
 */
#ifndef HAPTIC_HAPROXY_ACCOUNT_KEY_H
#define HAPTIC_HAPROXY_ACCOUNT_KEY_H

#include "base/err.h"
#include "haproxy/disk.h"

/* Add a new key for each file in acme/ that haproxy.cfg names as an account's and the set has not. */
int account_keys_complete(struct disk_files *files, struct err *err) MUST_CHECK;

#endif
