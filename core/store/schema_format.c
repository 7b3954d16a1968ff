/* One small function for each form. They share the functions for labels and for qualified names. */
#include "store/schema_format.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define SUBDOMAIN_MAX 253
#define LABEL_MAX 63
#define CONTROLLER_MAX 250
#define PORT_NAME_MAX 15

static bool is_small(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alphanumeric(char c)
{
    return is_small(c) || (c >= 'A' && c <= 'Z');
}

/* RFC 1123: labels of lower-case letters, digits and "-", joined by dots where dots are allowed. */
static bool is_dns_name(const char *name, size_t length, size_t max, bool dots)
{
    if (length == 0 || length > max)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool is_edge = i == 0 || i + 1 == length || name[i - 1] == '.' || name[i + 1] == '.';
        if (name[i] == '.' ? is_edge || !dots : !is_small(name[i]) && (name[i] != '-' || is_edge))
            return false;
    }
    return true;
}

static bool is_subdomain(const char *text)
{
    return is_dns_name(text, strlen(text), SUBDOMAIN_MAX, true);
}

const char *schema_format_subdomain(const char *text)
{
    return is_subdomain(text) ? NULL : "must be a DNS name in small letters";
}

const char *schema_format_optional_name(const char *text)
{
    return *text ? schema_format_subdomain(text) : NULL;
}

const char *schema_format_label(const char *text)
{
    return is_dns_name(text, strlen(text), LABEL_MAX, false) ? NULL
                                                             : "must be at most 63 small letters, digits and \"-\"";
}

const char *schema_format_optional_label(const char *text)
{
    return *text ? schema_format_label(text) : NULL;
}

const char *schema_format_service(const char *text)
{
    return is_dns_name(text, strlen(text), LABEL_MAX, false) && !isdigit((unsigned char)*text)
               ? NULL
               : "must be at most 63 small letters, digits and \"-\", a letter first";
}

const char *schema_format_tls_host(const char *text)
{
    if (strchr(text, '*'))
        return text[0] == '*' && text[1] == '.' && is_subdomain(text + 2)
                   ? NULL
                   : "must be a DNS name in small letters, with \"*.\" in front of it at most";
    return schema_format_subdomain(text);
}

const char *schema_format_host(const char *text)
{
    if (*text == '\0')
        return NULL;
    if (!schema_format_ipv4(text) || !schema_format_ipv6(text))
        return "must be a DNS name, not an IP address";
    return schema_format_tls_host(text);
}

const char *schema_format_port_name(const char *text)
{
    size_t length = strlen(text);
    bool has_letter = false, is_good = length <= PORT_NAME_MAX;
    for (size_t i = 0; i < length; i++) {
        bool is_hyphen = text[i] == '-';
        has_letter = has_letter || islower((unsigned char)text[i]);
        is_good = is_good && (is_hyphen ? i > 0 && i + 1 < length && text[i + 1] != '-' : is_small(text[i]));
    }
    return length == 0 || (is_good && has_letter)
               ? NULL
               : "must be at most 15 small letters, digits and single \"-\", with a letter";
}

/* Letters, digits, "-", "_" and ".", with a letter or digit at both ends. */
static bool is_name(const char *text, size_t length)
{
    if (length == 0 || length > LABEL_MAX || !is_alphanumeric(text[0]) || !is_alphanumeric(text[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(text[i]) && !strchr("-_.", text[i]))
            return false;
    return true;
}

/* The API server compares the key of an annotation in lower case. */
static bool is_qualified(const char *text, bool any_case)
{
    char prefix[SUBDOMAIN_MAX + 1];
    const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
    size_t length = slash ? (size_t)(slash - text) : 0;
    if (slash && (length == 0 || length > SUBDOMAIN_MAX || strchr(name, '/')))
        return false;
    for (size_t i = 0; i < length; i++)
        prefix[i] = any_case ? (char)tolower((unsigned char)text[i]) : text[i];
    return (!slash || is_dns_name(prefix, length, SUBDOMAIN_MAX, true)) && is_name(name, strlen(name));
}

#define QUALIFIED \
    "must be a name of at most 63 letters, digits, \"-\", \"_\" and \".\", with a DNS name and \"/\" before it at most"

const char *schema_format_label_key(const char *text)
{
    return is_qualified(text, false) ? NULL : QUALIFIED;
}

const char *schema_format_annotation_key(const char *text)
{
    return is_qualified(text, true) ? NULL : QUALIFIED;
}

const char *schema_format_label_value(const char *text)
{
    return *text == '\0' || is_name(text, strlen(text))
               ? NULL
               : "must be at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends";
}

const char *schema_format_controller(const char *text)
{
    const char *slash = strchr(text, '/');
    bool is_good = slash && slash[1] && strlen(text) <= CONTROLLER_MAX &&
                   is_dns_name(text, (size_t)(slash - text), SUBDOMAIN_MAX, true);
    for (const char *c = slash; is_good && *c; c++)
        is_good = is_alphanumeric(*c) || strchr("/-._~%!$&'()*+,;=:", *c);
    return is_good ? NULL : "must be a domain and a path, such as example.com/controller";
}

const char *schema_format_data_key(const char *text)
{
    size_t length = strlen(text);
    bool is_good = length > 0 && length <= SUBDOMAIN_MAX && strcmp(text, ".") != 0 && strncmp(text, "..", 2) != 0;
    for (size_t i = 0; is_good && i < length; i++)
        is_good = is_alphanumeric(text[i]) || strchr("-_.", text[i]);
    return is_good ? NULL : "must be at most 253 letters, digits, \"-\", \"_\" and \".\"";
}

const char *schema_format_ipv4(const char *text)
{
    struct in_addr address;
    return inet_pton(AF_INET, text, &address) == 1 ? NULL : "must be an IPv4 address";
}

const char *schema_format_ipv6(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, text, &address) == 1 ? NULL : "must be an IPv6 address";
}

const char *schema_format_external(const char *text)
{
    size_t length = strlen(text);
    if (length > 1 && text[length - 1] == '.')
        length--;
    return is_dns_name(text, length, SUBDOMAIN_MAX, true) ? NULL : "must be a DNS name in small letters";
}

const char *schema_format_fqdn(const char *text)
{
    size_t length = strlen(text);
    if (length > 1 && text[length - 1] == '.')
        length--;
    return is_dns_name(text, length, SUBDOMAIN_MAX, true) && memchr(text, '.', length)
               ? NULL
               : "must be a DNS name of two labels or more";
}
