/* They are named by their URL, so that a test's own takes the place of that of _global. */
#include "offline/test_http.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "controller/fetch_wish.h"
#include "data/json.h"

struct resource_raw {
    char *url, *content, *description;
    bool pending;
};

static const struct field resource_fields[] = {
    {.name = "url", .type = FIELD_STRING, .required = true, .offset = offsetof(struct resource_raw, url)},
    {.name = "content", .type = FIELD_STRING, .offset = offsetof(struct resource_raw, content)},
    {.name = "pending", .type = FIELD_BOOL, .offset = offsetof(struct resource_raw, pending)},
    {.name = "description", .type = FIELD_STRING, .offset = offsetof(struct resource_raw, description)},
    {0},
};

static void put(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct resource_raw *raw)
{
    char hex[DIGEST_HEX_SIZE];
    yyjson_mut_val *object = yyjson_mut_arr_add_obj(doc, list);

    yyjson_mut_obj_add_str(doc, object, "apiVersion", FETCH_API_VERSION);
    yyjson_mut_obj_add_str(doc, object, "kind", FETCH_OBJECT_KIND);
    yyjson_mut_val *metadata = yyjson_mut_obj_add_obj(doc, object, "metadata");
    yyjson_mut_obj_add_strcpy(doc, metadata, "name", digest_hex(digest_of(raw->url, strlen(raw->url)), hex));
    yyjson_mut_obj_add_strcpy(doc, object, "url", raw->url);
    if (raw->pending)
        yyjson_mut_obj_add_str(doc, object, "message", "not fetched yet");
    else
        yyjson_mut_obj_add_strcpy(doc, object, "content", raw->content);
}

int test_http_read(struct reader *r, yyjson_val *value, struct yyjson_doc **ret_objects)
{
    yyjson_val *item;
    size_t i, n;
    int result = 0;

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, "httpResources", "must be a list of {url, content}");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    yyjson_mut_doc_set_root(doc, list);
    yyjson_arr_foreach(value, i, n, item)
    {
        struct resource_raw raw = {0};
        if (result == 0)
            result = yyjson_is_obj(item) ? reader_object(r, item, resource_fields, &raw)
                                         : reader_fail(r, item, "httpResources", "must be a list of {url, content}");
        if (result == 0 && (raw.content != NULL) == raw.pending)
            result = reader_fail(r, item, "httpResources", "an entry has either content, or pending: true");
        if (result == 0)
            put(doc, list, &raw);
        free(raw.url);
        free(raw.content);
        free(raw.description);
    }
    if (result == 0) {
        yyjson_doc_free(*ret_objects);
        *ret_objects = yyjson_mut_doc_imut_copy(doc, NULL);
    }
    yyjson_mut_doc_free(doc);
    return result;
}
