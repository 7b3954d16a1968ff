#include "controller/dump.h"

#include <string.h>

#include "data/json.h"

static void put_string(struct buf *out, const char *before, const char *text, size_t length)
{
    buf_puts(out, before);
    if (json_write_string(out, text, length, NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

static void put_kinds(const struct config *c, struct buf *out)
{
    buf_puts(out, "{\"watchedResources\":{");
    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        put_string(out, i > 0 ? "," : "", k->name, strlen(k->name));
        if (k->api_versions.length == 0)
            put_string(out, ":{\"apiVersion\":", k->api_version, strlen(k->api_version));
        for (size_t j = 0; j < k->api_versions.length; j++)
            put_string(out, j > 0 ? "," : ":{\"apiVersions\":[", k->api_versions.items[j],
                       strlen(k->api_versions.items[j]));
        buf_puts(out, k->api_versions.length > 0 ? "]" : "");
        put_string(out, ",\"resources\":", k->resource, strlen(k->resource));
        for (size_t j = 0; j < k->index_by.length; j++)
            put_string(out, j > 0 ? "," : ",\"indexBy\":[", k->index_by.items[j], strlen(k->index_by.items[j]));
        buf_puts(out, k->index_by.length > 0 ? "]}" : "}");
    }
    buf_puts(out, "}}\n");
}

static void put_object(void *ctx, struct object *o)
{
    struct buf *out = ctx;
    const char *kind = store_kind_spec(o->kind)->name;

    if (o->text_length == 0)
        return; /* its text was not requested */
    put_string(out, "{\"kind\":", kind, strlen(kind));
    buf_printf(out, ",\"created\":%lld", (long long)o->created_s);
    put_string(out, ",\"id\":", o->id, strlen(o->id));
    CLEANUP(buf_done) struct buf text = {0};
    object_text(o, &text);
    put_string(out, ",\"json\":", text.data, text.length);
    for (size_t i = 0; i < o->index_count; i++)
        put_string(out, i > 0 ? "," : ",\"index\":[", o->index[i], strlen(o->index[i]));
    buf_puts(out, o->index_count > 0 ? "]}\n" : ",\"index\":[]}\n");
}

int dump_write(const struct config *c, const struct store *store, const struct buf *program, struct buf *out,
               struct err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < store_kind_count(store); i++)
        bytes += store_kind_bytes(store_kind_at(store, i));
    if (bytes > DUMP_OBJECTS_MAX)
        return err_set(err, ERR_LIMIT, "the objects have more than %zu bytes: take a snapshot instead",
                       DUMP_OBJECTS_MAX);
    buf_add(out, buf_str(program), program->length);
    buf_putc(out, '\n');
    put_kinds(c, out);
    for (size_t i = 0; i < store_kind_count(store); i++)
        store_each(store_kind_at(store, i), put_object, out);
    return 0;
}
