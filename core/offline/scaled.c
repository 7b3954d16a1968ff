/* A Secret's values are taken from the vault, and wiped with the text that has them. */
#include "offline/scaled.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/json.h"
#include "haproxy/expand.h"
#include "store/secret.h"

#define COPY_MAX ((size_t)64 << 20)

struct scaling {
    struct workbench *from;
    struct store *to;
    size_t copy, count;
    int result;
    struct err *err;
};

static void count_object(void *ctx, struct object *o)
{
    *(size_t *)ctx += *o->namespace != '\0';
}

size_t scaled_count(struct workbench *from)
{
    const struct store *s = workbench_store(from);
    size_t count = 0;

    for (size_t i = 0; i < store_kind_count(s); i++)
        store_each(store_kind_at(s, i), count_object, &count);
    return count;
}

static bool is_host_key(const char *key)
{
    return strcmp(key, "host") == 0 || strcmp(key, "hosts") == 0 || strcmp(key, "hostname") == 0 ||
           strcmp(key, "hostnames") == 0;
}

/* "shop.test" → "c7.shop.test", "*.shop.test" → "*.c7.shop.test" */
static void change_host(yyjson_mut_doc *doc, yyjson_mut_val *value, size_t copy)
{
    const char *host = yyjson_mut_get_str(value);
    bool wildcard = strncmp(host, "*.", 2) == 0;
    CLEANUP(free_ptr)
    char *changed = xasprintf("%sc%zu.%s", wildcard ? "*." : "", copy, wildcard ? host + 2 : host);
    yyjson_mut_val *text = yyjson_mut_strcpy(doc, changed);

    yyjson_mut_set_str(value, yyjson_mut_get_str(text));
}

static void change_hosts(yyjson_mut_doc *doc, yyjson_mut_val *value, size_t copy, bool is_host)
{
    size_t i, max;
    yyjson_mut_val *key, *item;

    if (yyjson_mut_is_str(value) && is_host && *yyjson_mut_get_str(value) != '\0')
        change_host(doc, value, copy);
    if (yyjson_mut_is_arr(value))
        yyjson_mut_arr_foreach(value, i, max, item)
        {
            change_hosts(doc, item, copy, is_host);
        }
    if (yyjson_mut_is_obj(value))
        yyjson_mut_obj_foreach(value, i, max, key, item)
        {
            change_hosts(doc, item, copy, is_host_key(yyjson_mut_get_str(key)));
        }
}

static void set_base64(yyjson_mut_doc *doc, yyjson_mut_val *value, const struct buf *plain)
{
    char *text = xmalloc(plain->length / 3 * 4 + 5);
    int length = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)buf_str((struct buf *)(uintptr_t)plain),
                                 (int)plain->length);

    yyjson_mut_set_str(value, yyjson_mut_get_str(yyjson_mut_strncpy(doc, text, (size_t)length)));
    explicit_bzero(text, (size_t)length);
    free(text);
}

/* The stored Secret as it came: data has the values in base64 again. */
static int restore_secret(struct scaling *s, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    yyjson_mut_val *data = yyjson_mut_obj_get(root, "data"), *key, *value;
    size_t i, max;

    yyjson_mut_obj_foreach(data, i, max, key, value)
    {
        struct buf plain = {.max = COPY_MAX};
        const char *handle = yyjson_mut_get_str(value);
        int result = expand(store_vault(workbench_store(s->from)), EXPAND_FILE, handle, strlen(handle), &plain, NULL,
                            s->err);
        if (result == 0)
            set_base64(doc, value, &plain);
        expand_wipe(&plain);
        if (result < 0)
            return -1;
    }
    yyjson_mut_obj_remove_key(root, "x509");
    yyjson_mut_obj_remove_key(root, "users");
    yyjson_mut_obj_remove_key(root, "lengths");
    return 0;
}

static int change(struct scaling *s, const struct object *o, yyjson_mut_doc *doc)
{
    const struct store_kind_spec *spec = store_kind_spec(o->kind);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc), *metadata = yyjson_mut_obj_get(root, "metadata");
    CLEANUP(free_ptr) char *namespace = xasprintf("%s-%zu", o->namespace, s->copy);

    if (o->hold != NULL && restore_secret(s, doc, root) < 0)
        return -1;
    if (s->copy > 0 && *o->namespace != '\0') {
        yyjson_mut_obj_put(metadata, yyjson_mut_strcpy(doc, "namespace"), yyjson_mut_strcpy(doc, namespace));
        yyjson_mut_obj_remove_key(metadata, "uid");
        change_hosts(doc, root, s->copy, false);
    }
    char *json = yyjson_mut_write(doc, 0, NULL);
    int result = json ? store_put_json(store_kind_by_name(s->to, spec->name), json, strlen(json), NULL, s->err)
                      : err_set(s->err, ERR_INVALID, "it is no JSON");
    if (json != NULL)
        explicit_bzero(json, strlen(json));
    free(json);
    return result;
}

static void put_object(void *ctx, struct object *o)
{
    struct scaling *s = ctx;
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (s->result < 0 || (*o->namespace == '\0' && s->copy > 0))
        return;
    s->result = object_parse(o, COPY_MAX, &doc, s->err);
    if (s->result == 0) {
        yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
        s->result = change(s, o, copy);
        yyjson_mut_doc_free(copy);
    }
    if (s->result < 0)
        s->result = err_wrap(s->err, "a copy of %s %s", store_kind_spec(o->kind)->name, o->id);
    s->count += *o->namespace != '\0';
}

int scaled_put(struct workbench *from, struct workbench *to, size_t wanted, size_t *ret_count, struct err *err)
{
    struct scaling s = {.from = from, .to = workbench_store(to), .err = err};
    const struct store *store = workbench_store(from);

    do {
        for (size_t i = 0; i < store_kind_count(store) && s.result == 0; i++)
            store_each(store_kind_at(store, i), put_object, &s);
        s.copy++;
    } while (s.result == 0 && s.count > 0 && s.count < wanted);
    *ret_count = s.count;
    return s.result;
}
