/* A workbench whose configuration and objects come from a dump (controller/dump.h) and not from files. */
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"
#include "offline/workbench_state.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)

static int parse_line(const char *line, size_t length, struct yyjson_doc **ret_doc, struct err *err)
{
    if (json_parse(line, length, LINE_MAX_BYTES, ret_doc, err) < 0)
        return err_wrap(err, "this is no dump of a controller");
    return 0;
}

static const char *next_line(const char *line, size_t *ret_length)
{
    *ret_length = strcspn(line, "\n");
    return line + *ret_length + (line[*ret_length] == '\n');
}

/* The second line is the beginning of a configuration without libraries: their scripts are in the program. */
static int read_kinds(struct workbench *w, const char *line, size_t length, struct err *err)
{
    CLEANUP(buf_done) struct buf spec = {0};

    if (length < 2 || line[length - 1] != '}')
        return err_set(err, ERR_INVALID, "this is no dump of a controller");
    buf_add(&spec, line, length - 1);
    buf_puts(&spec, ",\"templatingSettings\":{\"libraries\":[]}}");
    return config_parse_resource("the dump", buf_str(&spec), spec.length, &w->config, err);
}

int workbench_dump_config(struct workbench *w, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    size_t length;
    const char *line = w->options.dump, *next = next_line(line, &length);

    if (parse_line(line, length, &doc, err) < 0)
        return -1;
    const char *version = json_str(yyjson_doc_get_root(doc), "capabilities", "version");
    if (version != NULL && haproxy_version_parse(version, &w->caps, err) < 0)
        return -1;
    w->program = xmemdup0(line, length);
    line = next;
    (void)next_line(line, &length);
    return read_kinds(w, line, length, err);
}

int workbench_dump_objects(struct workbench *w, struct err *err)
{
    size_t length;
    const char *line = w->options.dump;

    store_take_concealed(w->store);
    for (size_t i = 0; i < store_kind_count(w->store); i++)
        store_replace_begin(store_kind_at(w->store, i));
    for (size_t number = 1; *line != '\0'; number++) {
        const char *next = next_line(line, &length);
        CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
        if (number > 2) {
            if (parse_line(line, length, &doc, err) < 0)
                return -1;
            struct yyjson_val *root = yyjson_doc_get_root(doc);
            const char *kind = json_str(root, "kind"), *json = json_str(root, "json");
            struct store_kind *k = kind ? store_kind_by_name(w->store, kind) : NULL;
            if (k == NULL || json == NULL)
                return err_set(err, ERR_INVALID, "this is no dump of a controller: line %zu", number);
            if (store_put_json(k, json, strlen(json), NULL, err) < 0)
                return -1;
        }
        line = next;
    }
    for (size_t i = 0; i < store_kind_count(w->store); i++)
        store_replace_commit(store_kind_at(w->store, i));
    return 0;
}
