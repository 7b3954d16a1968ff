/* What yaml_parse() accepts is JSON with a line for each value; what it refuses has a place inside the text. */
#include <assert.h>

#include "data/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t lines_of(const uint8_t *data, size_t size)
{
    size_t lines = 1;

    /* YAML also ends lines with CR, NEL, LS and PS; each has at least one byte of its own */
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r' || data[i] >= 0x80;
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    struct json_position at;
    struct err err = {0};
    size_t lines = lines_of(data, size);

    if (yaml_parse((const char *)data, size, 1 << 20, &docs, &at, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        assert(at.line <= lines + 1);
        return 0;
    }
    for (size_t i = 0; i < docs.length; i++) {
        CLEANUP(buf_done) struct buf out = {0};
        struct yyjson_val *root = yyjson_doc_get_root(docs.items[i].json);
        for (size_t k = 0; k < yyjson_doc_get_val_count(docs.items[i].json); k++) {
            size_t line = yaml_line(&docs.items[i], root + k);
            assert(line >= 1 && line <= lines + 1);
        }
        int result = json_write(&out, root, NULL, &err);
        assert(result == 0);
    }
    return 0;
}
