/* Parsing YAML is the slowest part of reading manifests, so all processors do it. The parts of a text are used when all
 * of them could be parsed. Otherwise the whole text is parsed again, so that errors have the right place.
 */
#include "store/manifest_texts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "base/vec.h"
#include "store/manifest_split.h"
#include "store/manifest_state.h"

#define PART_BYTES ((size_t)128 << 10)
#define THREADS_FROM (2 * PART_BYTES) /* less text is not worth a thread */
#define THREADS_MAX 4

/* The head of a List, which applies to all its parts. */
struct list {
    struct yaml_docs docs;
    const char *api_version;
    char *kind;      /* of items that have none themselves */
    bool is_plain;   /* "kind: List" */
    bool is_unusual; /* something else than a List around items */
};

/* A part of a text, or the whole. */
struct job {
    struct manifest_text *text;
    const struct manifest_parts *parts; /* NULL: the whole text */
    size_t part;
    const struct list *list; /* NULL: the part contains documents */
    struct manifest manifest;
    bool is_wrong;
};

static bool has_end(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static void list_read(const struct manifest_parts *parts, size_t max_bytes, struct list *ret_list)
{
    struct list list = {.is_unusual = true};
    struct json_position at;
    struct err err;

    if (yaml_parse(parts->list, parts->list_length, max_bytes, &list.docs, &at, &err) == 0 && list.docs.length == 1 &&
        list.docs.expanded == 0) {
        struct yyjson_val *root = yyjson_doc_get_root(list.docs.items[0].json);
        const char *kind = json_str(root, "kind");
        if (kind != NULL && has_end(kind, "List") && yyjson_is_null(json_at(root, "items"))) {
            list.api_version = json_str(root, "apiVersion");
            list.kind = xmemdup0(kind, strlen(kind) - strlen("List"));
            list.is_plain = *list.kind == '\0';
            list.is_unusual = false;
        }
    }
    *ret_list = list;
}

static void list_done(struct list *list)
{
    yaml_docs_done(&list->docs);
    free(list->kind);
}

static void part_parse(struct job *j)
{
    const struct manifest_part *part = &j->parts->items.items[j->part];
    struct manifest *m = &j->manifest;
    struct json_position at;
    struct yyjson_val *item;
    struct err err;

    if (yaml_parse_part(part->text, part->length, part->length, part->lines_before, &m->docs, &at, &err) < 0) {
        j->is_wrong = true;
        return;
    }
    if (j->list == NULL) {
        manifest_add_documents(m);
        return;
    }
    struct yyjson_val *root = m->docs.length == 1 ? yyjson_doc_get_root(m->docs.items[0].json) : NULL;
    yyjson_arr_iter it = {0};
    j->is_wrong = !yyjson_arr_iter_init(root, &it);
    while (!j->is_wrong && (item = yyjson_arr_iter_next(&it)))
        manifest_add_value(m, &m->docs.items[0], item, j->list->is_plain ? NULL : j->list->api_version,
                           j->list->is_plain ? NULL : j->list->kind);
}

struct jobs {
    VEC(struct job) items;
    size_t max_bytes;
};

static void whole_parse(struct manifest_text *t, size_t max_bytes)
{
    t->result = manifest_parse(t->text, t->length, t->is_json, max_bytes, &t->manifest, &t->at, &t->err);
}

static void job_do(void *ctx, size_t i)
{
    struct jobs *jobs = ctx;
    struct job *j = &jobs->items.items[i];

    if (j->parts != NULL)
        part_parse(j);
    else
        whole_parse(j->text, jobs->max_bytes);
}

#define move_all(to, from) \
    do { \
        for (size_t i_ = 0; i_ < (from)->length; i_++) \
            vec_push(to, (from)->items[i_]); \
        vec_done(from); \
    } while (0)

/* Values point into documents, and not into the lists of documents. */
static void manifest_move(struct manifest *to, struct manifest *from)
{
    move_all(to, from);
    to->docs.expanded += from->docs.expanded;
    move_all(&to->docs, &from->docs);
    for (size_t i = 0; i < from->copy_count; i++)
        (void)manifest_keep_copy(to, from->copies[i]);
    free(from->copies);
    *from = (struct manifest){0};
}

/* The jobs of one text are adjacent. Returns their number. */
static size_t text_finish(struct job *jobs, size_t count, size_t max_bytes)
{
    struct manifest_text *t = jobs[0].text;
    bool is_wrong = false;
    size_t n = 0, expanded = 0;

    for (; n < count && jobs[n].text == t; n++) {
        is_wrong = is_wrong || jobs[n].is_wrong;
        expanded += jobs[n].manifest.docs.expanded;
    }
    if (jobs[0].parts == NULL)
        return n;
    for (size_t i = 0; i < n; i++)
        manifest_move(&t->manifest, &jobs[i].manifest);
    if (is_wrong || expanded > YAML_EXPANSION_MAX) {
        manifest_done(&t->manifest);
        t->manifest = (struct manifest){0};
        whole_parse(t, max_bytes);
    }
    return n;
}

void manifest_parse_all(struct manifest_text *texts, size_t count, size_t max_bytes)
{
    struct jobs jobs = {.max_bytes = max_bytes};
    struct manifest_parts *parts = xcalloc(count + 1, sizeof(*parts));
    struct list *lists = xcalloc(count + 1, sizeof(*lists));
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        struct manifest_text *t = &texts[i];
        bytes += t->length;
        bool is_cut = !t->is_json && t->length <= max_bytes &&
                      manifest_split(t->text, t->length, PART_BYTES, &parts[i]);
        if (is_cut && parts[i].list != NULL) {
            list_read(&parts[i], max_bytes, &lists[i]);
            is_cut = !lists[i].is_unusual;
        }
        for (size_t part = 0; part < (is_cut ? parts[i].items.length : 1); part++)
            vec_push(&jobs.items, ((struct job){.text = t,
                                                .parts = is_cut ? &parts[i] : NULL,
                                                .part = part,
                                                .list = parts[i].list != NULL ? &lists[i] : NULL}));
    }
    parallel_each(jobs.items.length, bytes < THREADS_FROM ? 1 : THREADS_MAX, job_do, &jobs);
    for (size_t i = 0; i < jobs.items.length;)
        i += text_finish(&jobs.items.items[i], jobs.items.length - i, max_bytes);
    for (size_t i = 0; i < count; i++) {
        list_done(&lists[i]);
        manifest_parts_done(&parts[i]);
    }
    vec_done(&jobs.items);
    free(parts);
    free(lists);
}
