/* HAProxy searches a map for the longest prefix. Here each prefix that ends with "/" is looked up, the longest first,
 * so the cost is proportional to the length of the path. */
#include "haproxy/route.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

struct search {
    const struct model *m;
    enum model_state state;
    struct route *out;
};

const char *route_item_text(const struct item *item, enum model_state state)
{
    const struct text *text = state == MODEL_ACCEPTED                     ? item->accepted
                              : state == MODEL_CHECKING && item->in_check ? item->checking
                                                                          : item->rendered;

    return text ? text->bytes : NULL;
}

const struct fragment *route_item_owner(const struct item *item, enum model_state state)
{
    return state == MODEL_ACCEPTED ? item->accepted_by : item->winner;
}

static bool take(struct search *s, const char *map, const char *key)
{
    struct item *item = *key ? model_map_item(s->m, map, key) : NULL;
    const char *value = item ? route_item_text(item, s->state) : NULL;

    if (value == NULL)
        return false;
    size_t length = model_backend_length(value, strlen(value));
    CLEANUP(free_ptr) char *section = xasprintf("backend %.*s", (int)length, value);
    *s->out = (struct route){
        .entry = item, .value = value, .backend_length = length, .section = model_section(s->m, section)};
    return true;
}

static bool take_exact(struct search *s, const char *host, const char *path)
{
    CLEANUP(free_ptr) char *key = xasprintf("%s%s", host, path);

    return take(s, "path-exact.map", key);
}

static bool take_prefix(struct search *s, const char *host, const char *path)
{
    CLEANUP(free_ptr) char *key = xasprintf("%s%s/", host, path);

    for (size_t length = strlen(key); length > 0; length--) {
        if (key[length - 1] != '/')
            continue;
        key[length] = '\0';
        if (take(s, "path-prefix.map", key))
            return true;
    }
    return false;
}

/* "Shop.Example.:8080" → "shop.example" */
static char *host_of(const char *text)
{
    size_t length = *text == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
    char *host = xmemdup0(text, length < strlen(text) ? length : strlen(text));

    for (char *c = host; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    length = strlen(host);
    if (length > 0 && host[length - 1] == '.')
        host[length - 1] = '\0';
    return host;
}

/* Without the query, with "%2f" as "%2F", and "/" for an empty path. */
static char *path_of(const char *text)
{
    char *path = *text == '/' ? xmemdup0(text, strcspn(text, "?#")) : xstrdup("/");

    for (char *c = path; *c != '\0'; c++)
        if (*c == '%')
            for (int i = 1; i <= 2 && c[i] != '\0'; i++)
                if (c[i] >= 'a' && c[i] <= 'f')
                    c[i] = (char)toupper((unsigned char)c[i]);
    return path;
}

bool route_find(const struct model *m, enum model_state state, const char *host_text, const char *path_text,
                struct route *ret_route)
{
    static const char defaults[] = "default-backend.map";
    CLEANUP(free_ptr) char *host = host_of(host_text);
    CLEANUP(free_ptr) char *path = path_of(path_text);
    const char *dot = *host == '.' ? NULL : strchr(host, '.');
    CLEANUP(free_ptr) char *wildcard = xasprintf("*%s", dot ? dot : ".");
    struct search s = {.m = m, .state = state, .out = ret_route};

    *ret_route = (struct route){0};
    return take_exact(&s, host, path) || take_prefix(&s, host, path) || take_exact(&s, wildcard, path) ||
           take_prefix(&s, wildcard, path) || take_exact(&s, "", path) || take_prefix(&s, "", path) ||
           take(&s, defaults, host) || take(&s, defaults, wildcard) || take(&s, defaults, "*") ||
           take(&s, defaults, "**");
}
