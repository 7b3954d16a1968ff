/* listen.h — the address that a server listens on.
 * Thread:  any.
 */
#ifndef HAPTIC_HTTP_LISTEN_H
#define HAPTIC_HTTP_LISTEN_H

#include <netinet/in.h>
#include <stdint.h>

#include "base/err.h"

/* All addresses of the machine, IPv6 where there is any. */
#define LISTEN_EVERYWHERE "*"

struct listen_address {
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } at;
    unsigned flags; /* of libmicrohttpd */
};

/* address: LISTEN_EVERYWHERE, "127.0.0.1", "::1", "[::]" …; "::" serves IPv4, too. ERR_INVALID names what is no
 * address. */
int listen_address(const char *address, uint16_t port, struct listen_address *ret, struct err *err) MUST_CHECK;

#endif
