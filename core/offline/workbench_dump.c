/* A workbench whose configuration and objects come from a dump (controller/dump.h) and not from files. */
#include <stdlib.h>
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

int workbench_dump_caps(struct workbench *w, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    size_t length;

    (void)next_line(w->options.dump, &length);
    if (parse_line(w->options.dump, length, &doc, err) < 0)
        return -1;
    const char *version = json_str(yyjson_doc_get_root(doc), "capabilities", "version");
    return version != NULL ? haproxy_version_parse(version, &w->caps, err) : 0;
}

/* Machine, HAProxy and settings are those of the controller; what the configuration says of a setting counts. */
int workbench_dump_adopt(const struct workbench *w, struct buf *program, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *running = NULL;
    CLEANUP(json_doc_done) struct yyjson_doc *own = NULL;
    size_t length;

    (void)next_line(w->options.dump, &length);
    if (parse_line(w->options.dump, length, &running, err) < 0 ||
        json_parse(buf_str(program), program->length, LINE_MAX_BYTES, &own, err) < 0)
        return -1;
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(own, NULL);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_val *theirs = yyjson_doc_get_root(running), *context = yyjson_obj_get(theirs, "extraContext"),
               *capabilities = yyjson_obj_get(theirs, "capabilities");
    if (capabilities != NULL)
        yyjson_mut_obj_put(root, yyjson_mut_str(doc, "capabilities"), yyjson_val_mut_copy(doc, capabilities));
    if (context != NULL)
        yyjson_mut_obj_put(root, yyjson_mut_str(doc, "extraContext"),
                           yyjson_merge_patch(doc, context, yyjson_obj_get(yyjson_doc_get_root(own), "extraContext")));
    char *json = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    if (json == NULL)
        return err_set(err, ERR_INVALID, "the settings of the dump cannot be merged");
    buf_clear(program);
    buf_puts(program, json);
    free(json);
    return 0;
}

int workbench_dump_config(struct workbench *w, struct err *err)
{
    size_t length;
    const char *line = w->options.dump, *next = next_line(line, &length);

    if (workbench_dump_caps(w, err) < 0)
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
            /* Another configuration need not watch what the controller does. */
            if (json == NULL || kind == NULL || (k == NULL && w->program != NULL))
                return err_set(err, ERR_INVALID, "this is no dump of a controller: line %zu", number);
            if (k != NULL && store_put_json(k, json, strlen(json), NULL, err) < 0)
                return -1;
        }
        line = next;
    }
    for (size_t i = 0; i < store_kind_count(w->store); i++)
        store_replace_commit(store_kind_at(w->store, i));
    return 0;
}
