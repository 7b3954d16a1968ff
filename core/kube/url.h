/* url.h — URLs that people write, which may hold a user name and a password, and what may be shown of them.
 * Thread:  any.
 * Errors:  none of its own: the texts are returned, and never quote the URL.
 */
#ifndef HAPTIC_KUBE_URL_H
#define HAPTIC_KUBE_URL_H

#include <stdbool.h>

/* For messages: the URL without user name and password. Cut at its last '@', wherever that is: an unescaped '/', '?'
 * or '#' in a password makes it look like a path. The caller frees. */
char *kube_url_shown(const char *url);

/* NULL: libcurl will take it as a proxy. Otherwise what is wanted instead. */
const char *kube_url_proxy_wants(const char *url);

#endif
