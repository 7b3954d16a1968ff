/* Parts and values are in two tables. The digests are updated with each change. */
#include "haproxy/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/vault.h"

#define PREFIX_LENGTH (sizeof(VAULT_PREFIX) - 1)

struct bundle *bundle_new(void)
{
    struct bundle *b = xcalloc(1, sizeof(*b));
    map_init(&b->parts, true);
    map_init(&b->values, true);
    return b;
}

static void value_free(struct bundle_value *v)
{
    if (!v)
        return;
    explicit_bzero(v->bytes, v->length);
    free(v->bytes);
    free(v->secret);
    free(v->key);
    free(v);
}

struct bundle *bundle_free(struct bundle *b)
{
    struct map_slot *slot;
    if (!b)
        return NULL;
    for (size_t it = 0; (slot = map_next(&b->parts, &it));)
        fragment_unref(slot->value);
    for (size_t it = 0; (slot = map_next(&b->values, &it));)
        value_free(slot->value);
    map_done(&b->parts);
    map_done(&b->values);
    free(b);
    return NULL;
}

bool bundle_is_item(const struct contribution *c)
{
    return c->kind != CONTRIBUTION_STATUS && c->kind != CONTRIBUTION_EVENT && c->kind != CONTRIBUTION_WARNING;
}

struct digest bundle_part_digest(const struct fragment *part)
{
    struct digest sum = {0, 0};
    for (size_t i = 0; i < part->count; i++) {
        const struct contribution *c = &part->items[i];
        if (!bundle_is_item(c))
            continue;
        const int64_t numbers[] = {part->owner_created_s, c->kind, c->rank, c->order};
        const char *const parts[] = {(const char *)numbers,
                                     part->id,
                                     part->template_name,
                                     part->owner_kind,
                                     part->owner_id,
                                     c->scope,
                                     c->key,
                                     (const char *)&c->text->digest};
        const size_t lengths[] = {sizeof(numbers),          strlen(part->id),       strlen(part->template_name),
                                  strlen(part->owner_kind), strlen(part->owner_id), strlen(c->scope),
                                  strlen(c->key),           sizeof(c->text->digest)};
        sum = digest_add(sum, digest_of_parts(ARRAY_LEN(parts), parts, lengths));
    }
    return sum;
}

struct digest bundle_value_digest(const char *digits, const char *secret, const char *key, const char *bytes,
                                  size_t length)
{
    const char *const parts[] = {digits, secret, key, bytes};
    const size_t lengths[] = {strlen(digits), strlen(secret), strlen(key), length};
    return digest_of_parts(ARRAY_LEN(parts), parts, lengths);
}

void bundle_drop(struct bundle *b, const char *fragment_id)
{
    struct fragment *before = map_del(&b->parts, fragment_id);
    if (before)
        b->digest = digest_sub(b->digest, bundle_part_digest(before));
    fragment_unref(before);
}

static bool has_item(const struct fragment *part)
{
    for (size_t i = 0; i < part->count; i++)
        if (bundle_is_item(&part->items[i]))
            return true;
    return false;
}

void bundle_put(struct bundle *b, struct fragment *part)
{
    fragment_ref(part); /* it may be the same part that is replaced */
    bundle_drop(b, part->id);
    if (!has_item(part)) {
        fragment_unref(part);
        return;
    }
    b->digest = digest_add(b->digest, bundle_part_digest(part));
    (void)map_put(&b->parts, part->id, part);
}

void bundle_put_value(struct bundle *b, const char *digits, const char *secret, const char *key, const char *bytes,
                      size_t length)
{
    if (strlen(digits) != BUNDLE_DIGITS || map_get(&b->values, digits))
        return;
    struct bundle_value *v = xcalloc(1, sizeof(*v));
    memcpy(v->digits, digits, BUNDLE_DIGITS + 1);
    v->secret = xstrdup(secret);
    v->key = xstrdup(key);
    v->bytes = xmemdup0(bytes, length);
    v->length = length;
    b->values_digest = digest_add(b->values_digest, bundle_value_digest(digits, secret, key, bytes, length));
    (void)map_put(&b->values, v->digits, v);
}

static bool each_handle_in(const char *text, size_t length, void (*fn)(void *ctx, const char *digits), void *ctx)
{
    const char *end = text + length;
    bool whole = true;
    for (const char *at = text; (at = vault_find(at, (size_t)(end - at), &whole)); at += PREFIX_LENGTH) {
        char digits[BUNDLE_DIGITS + 1] = "";
        if (!whole)
            return false;
        memcpy(digits, at + PREFIX_LENGTH, BUNDLE_DIGITS);
        fn(ctx, digits);
    }
    return true;
}

bool bundle_each_handle(const struct fragment *part, void (*fn)(void *ctx, const char *digits), void *ctx)
{
    bool whole = true;
    for (size_t i = 0; i < part->count; i++) {
        const struct contribution *c = &part->items[i];
        if (bundle_is_item(c))
            whole = each_handle_in(c->key, strlen(c->key), fn, ctx) &&
                    each_handle_in(c->text->bytes, c->text->length, fn, ctx) && whole;
    }
    return whole;
}

struct lookup {
    const struct bundle *bundle;
    bool missing;
};

static void look_up(void *ctx, const char *digits)
{
    struct lookup *l = ctx;
    l->missing = l->missing || !map_get(&l->bundle->values, digits);
}

bool bundle_has_values(const struct bundle *b, const struct fragment *part)
{
    struct lookup l = {.bundle = b};
    return bundle_each_handle(part, look_up, &l) && !l.missing;
}
