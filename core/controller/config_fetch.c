/* A rule is parsed by the code that applies it, so that an error has the rule's line. */
#include "controller/config_fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/fetch_wish.h"

#define RULES_MAX 100

struct rule_raw {
    char *url, *ca;
};

static const struct field rule_fields[] = {
    {.name = "url", .type = FIELD_STRING, .required = true, .offset = offsetof(struct rule_raw, url)},
    {.name = "ca", .type = FIELD_STRING, .offset = offsetof(struct rule_raw, ca)},
    {0},
};

static int read_rule(struct reader *r, yyjson_val *value, struct config *c)
{
    struct rule_raw raw = {0};
    struct err why;
    int result = yyjson_is_obj(value) ? reader_object(r, value, rule_fields, &raw)
                                      : reader_fail(r, value, "allow", "must be a list of objects with \"url\"");

    if (result == 0 && raw.ca != NULL && strstr(raw.ca, "-----BEGIN CERTIFICATE-----") == NULL)
        result = reader_fail(r, value, "ca", "must be certificates as PEM");
    if (result == 0 && url_rules_add(&c->fetch_rules, raw.url, raw.ca, &why) < 0)
        result = reader_fail(r, value, "url", why.text);
    free(raw.url);
    free(raw.ca);
    return result;
}

static int read_allow(struct reader *r, yyjson_val *value, void *object)
{
    struct config *c = object;
    yyjson_val *item;
    size_t i, n;

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, "allow", "must be a list of objects with \"url\"");
    if (yyjson_arr_size(value) > RULES_MAX)
        return reader_fail(r, value, "allow", "has more than 100 entries");
    url_rules_done(&c->fetch_rules);
    yyjson_arr_foreach(value, i, n, item)
    {
        if (read_rule(r, item, c) < 0)
            return -1;
    }
    return 0;
}

int config_fetch_read(struct reader *r, yyjson_val *value, void *object)
{
    static const struct field fields[] = {{.name = "allow", .type = FIELD_ANY, .read = read_allow}, {0}};

    return reader_object(r, value, fields, object);
}

bool config_is_fetched(const struct config_kind *k)
{
    return strcmp(k->api_version, FETCH_API_VERSION) == 0 && strcmp(k->resource, FETCH_RESOURCE) == 0;
}

int config_fetch_add_kind(struct reader *r, yyjson_val *spec)
{
    struct config *c = r->config;

    if (c->fetch_rules.items.length == 0)
        return 0;
    for (size_t i = 0; i < c->kinds.length; i++)
        if (strcmp(c->kinds.items[i].name, FETCH_KIND) == 0)
            return reader_fail(r, reader_key(spec, "watchedResources"), "watchedResources." FETCH_KIND,
                               "is the name of what httpFetch brings; choose another one");
    struct config_kind kind = {
        .name = xstrdup(FETCH_KIND), .api_version = xstrdup(FETCH_API_VERSION), .resource = xstrdup(FETCH_RESOURCE)};
    vec_push(&kind.index_by, xstrdup("url"));
    vec_push(&c->kinds, kind);
    return 0;
}
