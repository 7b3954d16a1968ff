/* What json_parse() accepts must survive writing and reading again, byte for byte, and pruning must only take away. */
#include <assert.h>
#include <string.h>

#include "data/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL, *again = NULL;
    CLEANUP(json_prune_done) struct json_prune prune = {0};
    CLEANUP(buf_done) struct buf first = {0}, second = {0}, pruned = {0};
    struct err err = {0};

    if (json_parse((const char *)data, size, 1 << 20, &doc, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        return 0;
    }
    struct yyjson_val *root = yyjson_doc_get_root(doc);
    int result = json_write(&first, root, NULL, &err);
    assert(result == 0);
    result = json_parse(first.data, first.length, SIZE_MAX, &again, &err);
    assert(result == 0);
    result = json_write(&second, yyjson_doc_get_root(again), NULL, &err);
    assert(result == 0);
    assert(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);

    result = json_prune_add(&prune, "metadata.managedFields", &err) | json_prune_add(&prune, "a[*].b", &err) |
             json_prune_add(&prune, "*.c", &err);
    assert(result == 0);
    result = json_write(&pruned, root, &prune, &err);
    assert(result == 0 && pruned.length <= first.length);
    return 0;
}
