/* libcurl takes URLs apart, so that what is compared is what is asked for. What servers read differently (encoded dots
 * and slashes in a path) is refused. */
#include "net/url_rule.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL, *copy = NULL;

    if (curl_url_get(url, part, &text, flags) == CURLUE_OK)
        copy = xstrdup(text);
    curl_free(text);
    return copy;
}

static void parts_done(struct url_rule *r)
{
    free(r->scheme);
    free(r->host);
    free(r->port);
    free(r->path);
    free(r->authority);
    *r = (struct url_rule){0};
}

static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || (unsigned char)*text >= 0x7f || *text == '\\')
            return false;
    return true;
}

static bool has_encoded(const char *path)
{
    static const char *const codes[] = {"%2e", "%2f", "%5c", "%00"};

    for (const char *at = path; (at = strchr(at, '%')) != NULL; at++)
        for (size_t i = 0; i < ARRAY_LEN(codes); i++)
            if (strncasecmp(at, codes[i], 3) == 0)
                return true;
    return false;
}

static void lower(char *text)
{
    for (; *text != '\0'; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static int parse(const char *text, struct url_rule *ret_parts, struct err *err)
{
    CLEANUP(free_ptr) char *shown = NULL, *fragment = NULL;

    *ret_parts = (struct url_rule){0};
    if (strlen(text) > URL_LENGTH_MAX)
        return err_set(err, ERR_INVALID, "a URL of more than %d bytes", URL_LENGTH_MAX);
    if (!is_plain(text))
        return err_set(err, ERR_INVALID, "a URL with blanks or characters that have to be encoded");
    shown = url_shown(text);
    CURLU *url = curl_url();
    bool good = url && curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK;
    if (good) {
        ret_parts->scheme = part_of(url, CURLUPART_SCHEME, 0);
        ret_parts->host = part_of(url, CURLUPART_HOST, 0);
        ret_parts->port = part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        ret_parts->path = part_of(url, CURLUPART_PATH, 0);
        fragment = part_of(url, CURLUPART_FRAGMENT, 0);
    }
    curl_url_cleanup(url);
    good = ret_parts->scheme && ret_parts->host && ret_parts->port && ret_parts->path && !fragment &&
           (strcmp(ret_parts->scheme, "https") == 0 || strcmp(ret_parts->scheme, "http") == 0);
    if (!good) {
        parts_done(ret_parts);
        return err_set(err, ERR_INVALID,
                       "\"%.200s\" is no URL that can be fetched: write https://HOST/PATH, without user and \"#\"",
                       shown);
    }
    lower(ret_parts->host);
    if (has_encoded(ret_parts->path)) {
        parts_done(ret_parts);
        return err_set(err, ERR_INVALID, "\"%.200s\" has an encoded dot, slash or NUL in its path", shown);
    }
    return 0;
}

int url_rules_add(struct url_rules *rules, const char *beginning, const char *authority, struct err *err)
{
    struct url_rule rule;

    if (strchr(beginning, '?'))
        return err_set(err, ERR_INVALID, "the beginning of a URL has no \"?\"");
    if (parse(beginning, &rule, err) < 0)
        return -1;
    rule.authority = authority ? xstrdup(authority) : NULL;
    vec_push(&rules->items, rule);
    return 0;
}

void url_rules_done(struct url_rules *rules)
{
    for (size_t i = 0; i < rules->items.length; i++)
        parts_done(&rules->items.items[i]);
    vec_done(&rules->items);
}

void url_rules_copy(const struct url_rules *rules, struct url_rules *ret_copy)
{
    *ret_copy = (struct url_rules){0};
    for (size_t i = 0; i < rules->items.length; i++) {
        const struct url_rule *r = &rules->items.items[i];
        struct url_rule copy = {.scheme = xstrdup(r->scheme),
                                .host = xstrdup(r->host),
                                .port = xstrdup(r->port),
                                .path = xstrdup(r->path),
                                .authority = r->authority ? xstrdup(r->authority) : NULL};
        vec_push(&ret_copy->items, copy);
    }
}

static bool begins_with(const char *path, const char *beginning)
{
    size_t length = strlen(beginning);

    return strncmp(path, beginning, length) == 0 &&
           (beginning[length - 1] == '/' || path[length] == '/' || path[length] == '\0');
}

static bool same_host(const struct url_rule *a, const struct url_rule *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

bool url_rule_equal(const struct url_rule *a, const struct url_rule *b)
{
    return same_host(a, b) && strcmp(a->path, b->path) == 0 && !a->authority == !b->authority &&
           (!a->authority || strcmp(a->authority, b->authority) == 0);
}

const struct url_rule *url_rules_find(const struct url_rules *rules, const char *url, struct err *err)
{
    const struct url_rule *found = NULL;
    struct url_rule parts;

    if (parse(url, &parts, err) < 0)
        return NULL;
    for (size_t i = 0; i < rules->items.length; i++) {
        const struct url_rule *rule = &rules->items.items[i];
        if (same_host(rule, &parts) && begins_with(parts.path, rule->path) &&
            (!found || strlen(rule->path) > strlen(found->path)))
            found = rule;
    }
    parts_done(&parts);
    if (!found) {
        CLEANUP(free_ptr) char *shown = url_shown(url);
        (void)err_set(err, ERR_DENIED, "%s may not be fetched: add its beginning to templatingSettings.httpFetch.allow",
                      shown);
    }
    return found;
}

/* ---- addresses ---- */

/* Networks that belong to the machine, to its link, or to what a cloud tells its machines: the list of
 * templates/ingress/addresses.lua. carries: the byte at which an IPv4 address begins that is judged instead. */
struct network {
    unsigned char prefix[16];
    unsigned bits, carries;
};

static const struct network networks_v4[] = {
    {.prefix = {0}, .bits = 8},
    {.prefix = {127}, .bits = 8},
    {.prefix = {169, 254}, .bits = 16},           /* link; metadata of most clouds */
    {.prefix = {100, 100, 100, 200}, .bits = 32}, /* Alibaba Cloud */
    {.prefix = {168, 63, 129, 16}, .bits = 32},   /* Azure */
    {.prefix = {192, 0, 0, 192}, .bits = 32},     /* Oracle Cloud */
    {.prefix = {224}, .bits = 3},                 /* groups, reserved, broadcast */
};

static const struct network networks_v6[] = {
    {.prefix = {[15] = 1}, .bits = 128},
    {.prefix = {0}, .bits = 96},                                       /* unspecified; IPv4-compatible */
    {.prefix = {[10] = 0xff, [11] = 0xff}, .bits = 96, .carries = 12}, /* IPv4-mapped */
    {.prefix = {[8] = 0xff, [9] = 0xff}, .bits = 96, .carries = 12},   /* IPv4-translated */
    {.prefix = {0x00, 0x64, 0xff, 0x9b}, .bits = 96, .carries = 12},
    {.prefix = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, .bits = 48}, /* translation of local use */
    {.prefix = {0x20, 0x01, 0x00, 0x00}, .bits = 32},             /* Teredo */
    {.prefix = {0x20, 0x02}, .bits = 16, .carries = 2},           /* 6to4 */
    {.prefix = {0xfd, 0x00, 0x0e, 0xc2}, .bits = 64},             /* Amazon */
    {.prefix = {0xfd, 0x20, 0x00, 0xce}, .bits = 64},             /* Google */
    {.prefix = {0xfe, 0x80}, .bits = 10},                         /* link */
    {.prefix = {0xfe, 0xc0}, .bits = 10},                         /* site */
    {.prefix = {0xff}, .bits = 8},                                /* groups */
};

static bool is_in(const struct network *n, const unsigned char *bytes)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    return memcmp(bytes, n->prefix, whole) == 0 &&
           (rest == 0 || ((bytes[whole] ^ n->prefix[whole]) & (0xff00 >> rest) & 0xff) == 0);
}

static bool is_local_v4(const unsigned char *bytes)
{
    for (size_t i = 0; i < ARRAY_LEN(networks_v4); i++)
        if (is_in(&networks_v4[i], bytes))
            return true;
    return false;
}

static bool is_local_v6(const unsigned char *bytes)
{
    for (size_t i = 0; i < ARRAY_LEN(networks_v6); i++)
        if (is_in(&networks_v6[i], bytes))
            return networks_v6[i].carries == 0 || is_local_v4(bytes + networks_v6[i].carries);
    return false;
}

static bool is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    return address->sa_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
                                         : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* Is that the address which the rule's host is? */
static bool is_named(const struct url_rule *rule, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN + 2] = "";
    size_t length = strlen(rule->host);
    bool bracketed = rule->host[0] == '[' && length > 2 && length < sizeof(text);
    unsigned char bytes[sizeof(struct in6_addr)];

    if (strcmp(rule->host, "localhost") == 0)
        return is_loopback(address);
    if (address->sa_family == AF_INET)
        return inet_pton(AF_INET, rule->host, bytes) == 1 &&
               memcmp(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, sizeof(struct in_addr)) ==
                   0;
    if (!bracketed)
        return false;
    memcpy(text, rule->host + 1, length - 2);
    return inet_pton(AF_INET6, text, bytes) == 1 &&
           memcmp(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof(struct in6_addr)) ==
               0;
}

bool url_rule_may_connect(const struct url_rule *rule, const struct sockaddr *address)
{
    bool local = true;

    if (address->sa_family == AF_INET)
        local = is_local_v4((const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    else if (address->sa_family == AF_INET6)
        local = is_local_v6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    else
        return false;
    return !local || is_named(rule, address);
}

bool url_same_origin(const char *a, const char *b)
{
    struct url_rule one, other;

    if (parse(a, &one, NULL) < 0)
        return false;
    bool same = parse(b, &other, NULL) == 0 && same_host(&one, &other);
    parts_done(&one);
    parts_done(&other);
    return same;
}

char *url_shown(const char *url)
{
    size_t length = strcspn(url, "?");

    return url[length] == '?' ? xasprintf("%.*s?…", (int)length, url) : xstrdup(url);
}
