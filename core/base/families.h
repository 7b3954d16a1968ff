/* families.h — which of IPv4 and IPv6 this machine (or pod) has.
 * Thread:  any; asks the kernel at each call and sends nothing.
 */
#ifndef HAPTIC_BASE_FAMILIES_H
#define HAPTIC_BASE_FAMILIES_H

#include <stdbool.h>

struct families {
    bool ipv6;          /* a socket can listen at [::] */
    bool ipv6_loopback; /* and at [::1] */
    bool ipv4_route;    /* there is a way to IPv4 addresses of the world */
    bool ipv6_route;
};

/* Opens sockets to find out; a question that fails counts as false. */
struct families families_of_machine(void);

#endif
