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

/* A server's URL; a part that is not there is "". An IPv6 address keeps its brackets. */
struct kube_url {
    char *host, *port, *path; /* path: what stands before that of a request: no "/" alone */
};

/* All parts are "" where it is no URL: libcurl will say so. */
void kube_url_split(const char *text, struct kube_url *ret_url);
void kube_url_done(struct kube_url *url);

#endif
