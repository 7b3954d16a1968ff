/* A line names one certificate for each key type, and further files in its options. */
#include "agent/list_uses.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

size_t uses_of(const char *text, struct use uses[USES_MAX])
{
    const char *options = strchr(text, '['), *end = options ? options : text + strlen(text);
    size_t n = 0;
    for (const char *at = text; n < USES_MAX && (at += strspn(at, " ")) < end;) {
        size_t length = strcspn(at, " [");
        if (length == 0)
            break;
        uses[n++] = (struct use){.certificate = at,
                                 .certificate_length = length,
                                 .options = options ? options + 1 : "",
                                 .options_length = options ? strcspn(options + 1, "]") : 0};
        at += length;
    }
    return n;
}

/* "ca-file certs/a.ca.pem verify optional" */
void options_each_file(const struct naming *naming, const struct use *use)
{
    const char *end = use->options + use->options_length;
    enum ssl_file_kind kind = SSL_CERTIFICATE;
    for (const char *at = use->options; at < end;) {
        size_t length = strcspn(at, " ]");
        if (kind != SSL_CERTIFICATE)
            naming->fn(naming->ctx, kind, at, length);
        kind = length == 7 && memcmp(at, "ca-file", 7) == 0    ? SSL_AUTHORITIES
               : length == 8 && memcmp(at, "crl-file", 8) == 0 ? SSL_REVOCATIONS
                                                               : SSL_CERTIFICATE;
        at += length;
        at += strspn(at, " ");
        if (length == 0 && *at != ' ')
            break;
    }
}

static void item_each_file(const struct naming *naming, const struct item *item)
{
    struct use uses[USES_MAX];
    size_t n = item->accepted ? uses_of(item->accepted->bytes, uses) : 0;
    for (size_t i = 0; i < n; i++)
        naming->fn(naming->ctx, SSL_CERTIFICATE, uses[i].certificate, uses[i].certificate_length);
    if (n)
        options_each_file(naming, &uses[0]);
}

static void each_file_of_item(void *ctx, struct item *item)
{
    item_each_file(ctx, item);
}

void lists_item_files(const struct agent *a, const struct item *item,
                      void (*fn)(void *ctx, enum ssl_file_kind kind, const char *path, size_t length), void *ctx)
{
    const struct naming naming = {fn, ctx};
    CLEANUP(free_ptr) char *path = xasprintf("certs/%s", item->scope);
    const struct live_list *list = map_get(&a->live->lists, path);
    if (list && list->used)
        item_each_file(&naming, item);
}

void lists_each_file(const struct agent *a,
                     void (*fn)(void *ctx, enum ssl_file_kind kind, const char *path, size_t length), void *ctx)
{
    struct naming naming = {fn, ctx};
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->lists, &it));)
        if (((const struct live_list *)slot->value)->used)
            model_each_list_item(a->model, slot->key + strlen("certs/"), each_file_of_item, &naming);
}
