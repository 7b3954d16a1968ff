/* The first line of the input is a JSONPath, the rest a document: both hostile. The first result is the first of
 * all. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"
#include "data/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char document[] =
        "{\"a\":{\"b.c\":[{\"x\":1,\"y\":\"z\"},{\"x\":2.5},[1,[2,[3]]],null,true]},\"x\":\"y\"}";
    const char *text = (const char *)data, *end = memchr(text, '\n', size);
    size_t length = end ? (size_t)(end - text) : size;
    CLEANUP(free_ptr) char *expression = xmemdup0(text, length);
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    CLEANUP(json_values_done) struct json_values values = {0};
    struct jsonpath *path = NULL;
    struct err err = {0};

    if (jsonpath_compile(expression, &path, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        return 0;
    }
    if (!end || json_parse(end + 1, size - length - 1, 1 << 16, &doc, &err) < 0) {
        int result = json_parse(document, sizeof(document) - 1, 1 << 16, &doc, &err);
        assert(result == 0);
    }
    struct yyjson_val *root = yyjson_doc_get_root(doc);
    if (jsonpath_all(path, root, &values, &err) == 0)
        assert(jsonpath_first(path, root) == (values.length ? values.items[0] : NULL));
    else
        assert(err.kind == ERR_LIMIT);
    jsonpath_free(path);
    return 0;
}
