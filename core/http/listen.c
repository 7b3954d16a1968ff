/* The C library parses the text; libmicrohttpd has to be told the family. */
#include "http/listen.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <string.h>

#include "base/families.h"

/* "[::1]" is "::1". */
static const char *without_brackets(const char *address, char buffer[INET6_ADDRSTRLEN])
{
    size_t length = strlen(address);

    if (length < 3 || length - 2 >= INET6_ADDRSTRLEN || address[0] != '[' || address[length - 1] != ']')
        return address;
    memcpy(buffer, address + 1, length - 2);
    buffer[length - 2] = '\0';
    return buffer;
}

int listen_address(const char *address, uint16_t port, struct listen_address *ret, struct err *err)
{
    char buffer[INET6_ADDRSTRLEN];
    struct in_addr in4;
    struct in6_addr in6;
    const char *plain = strcmp(address, LISTEN_EVERYWHERE) != 0 ? without_brackets(address, buffer)
                        : families_of_machine().ipv6            ? "::"
                                                                : "0.0.0.0";

    *ret = (struct listen_address){0};
    if (inet_pton(AF_INET, plain, &in4) == 1) {
        ret->at.in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = in4};
    } else if (inet_pton(AF_INET6, plain, &in6) == 1) {
        ret->at.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6};
        ret->flags = MHD_USE_IPv6 | (IN6_IS_ADDR_UNSPECIFIED(&in6) ? MHD_USE_DUAL_STACK : 0);
    } else {
        return err_set(err, ERR_INVALID, "\"%s\" is not an IP address to listen on", address);
    }
    return 0;
}
