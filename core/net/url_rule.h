/* url_rule.h — which URLs may be fetched, and from which addresses.
 * Thread:  any; nothing is shared.
 * Owns:    the rules own their texts.
 * Errors:  ERR_INVALID: no URL that can be fetched, or no rule; ERR_DENIED: no rule allows it.
 * Source:  RFC 3986; addresses of metadata services as the clouds document them.
 *
 * A rule is the beginning of a URL: scheme, host and port are equal, and the path of the rule is the URL's own or ends
 * at a "/" in it. Addresses that belong to the machine or to its link, and those of metadata services, are refused even
 * when a name leads there, unless the rule's host is such an address itself (or "localhost").
 */
#ifndef HAPTIC_NET_URL_RULE_H
#define HAPTIC_NET_URL_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/vec.h"

#define URL_LENGTH_MAX 2048

struct url_rule {
    char *scheme, *host, *port, *path;
    char *authority; /* PEM that alone is trusted; NULL: the system's */
};
struct url_rules {
    VEC(struct url_rule) items;
};

/* authority: PEM; NULL: the system's. */
int url_rules_add(struct url_rules *rules, const char *beginning, const char *authority, struct err *err) MUST_CHECK;
void url_rules_done(struct url_rules *rules);
void url_rules_copy(const struct url_rules *rules, struct url_rules *ret_copy);
bool url_rule_equal(const struct url_rule *a, const struct url_rule *b);
/* The rule that allows a URL: the one with the longest path. NULL with *err. */
const struct url_rule *url_rules_find(const struct url_rules *rules, const char *url, struct err *err);
/* May a connection for that rule be made to this address? */
bool url_rule_may_connect(const struct url_rule *rule, const struct sockaddr *address);
/* Have both the same scheme, host and port? Credentials go no further. */
bool url_same_origin(const char *a, const char *b);
/* The URL without its query, which may have a secret: for messages. malloc'ed. */
char *url_shown(const char *url);

#endif
