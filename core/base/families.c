/* A socket that is bound to port 0 shows whether an address can be listened at. Connecting a datagram socket looks for
 * a route and sends nothing; the addresses are those of documentation, which only a default route leads to.
 */
#include "base/families.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISCARD_PORT 9

static struct sockaddr_in6 address_v6(const char *text, in_port_t port)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    (void)inet_pton(AF_INET6, text, &at.sin6_addr);
    return at;
}

static bool can_bind_v6(const char *text)
{
    struct sockaddr_in6 at = address_v6(text, 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    bool can = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return can;
}

static bool has_route(int family, const struct sockaddr *at, socklen_t length)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    bool has = connect(fd, at, length) == 0;
    close(fd);
    return has;
}

struct families families_of_machine(void)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
    struct sockaddr_in6 in6 = address_v6("2001:db8::1", DISCARD_PORT);

    (void)inet_pton(AF_INET, "192.0.2.1", &in4.sin_addr);
    return (struct families){
        .ipv6 = can_bind_v6("::"),
        .ipv6_loopback = can_bind_v6("::1"),
        .ipv4_route = has_route(AF_INET, (const struct sockaddr *)&in4, sizeof(in4)),
        .ipv6_route = has_route(AF_INET6, (const struct sockaddr *)&in6, sizeof(in6)),
    };
}
