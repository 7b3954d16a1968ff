/* loopback.h — is a Host header one of this machine itself?
 * Thread:  any.
 *
 * A page of the web can give its own name the address 127.0.0.1 and have a browser ask our port for it; the browser
 * then sends that name. So what listens on a loopback address answers to names and addresses of the loopback only.
 */
#ifndef HAPTIC_HTTP_LOOPBACK_H
#define HAPTIC_HTTP_LOOPBACK_H

#include <stdbool.h>

/* host: "localhost", "127.0.0.1:9091", "[::1]:9091"; NULL, as of HTTP/1.0, is none that a browser sends, and fine. */
bool loopback_is_host(const char *host);

#endif
