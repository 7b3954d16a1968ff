#include "http/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static bool is_port(const char *text)
{
    return *text == '\0' || (*text == ':' && strspn(text + 1, "0123456789") == strlen(text + 1));
}

static bool is_ipv6(const char *host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t length = strcspn(host, "]");

    if (host[length] != ']' || length >= sizeof(text) || !is_port(host + length + 1))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1 &&
           (IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127));
}

bool loopback_is_host(const char *host)
{
    static const char name[] = "localhost";
    char text[INET_ADDRSTRLEN];
    struct in_addr address;

    if (!host)
        return true;
    if (host[0] == '[')
        return is_ipv6(host + 1);
    size_t length = strcspn(host, ":");
    if (!is_port(host + length))
        return false;
    size_t without_dot = length > 0 && host[length - 1] == '.' ? length - 1 : length;
    if (without_dot == strlen(name) && strncasecmp(host, name, without_dot) == 0)
        return true;
    if (length >= sizeof(text))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}
