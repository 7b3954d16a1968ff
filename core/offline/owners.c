/* Walks the model; for tests and questions of people, not for each change. */
#include "offline/owners.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct search {
    struct workbench *w;
    const char *backend;
    const char *map;
    struct owners *out;
};

static int compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void add(struct owners *o, const struct item *item)
{
    if (item == NULL || item->winner == NULL || *item->winner->owner_kind == '\0')
        return;
    CLEANUP(free_ptr) char *name = xasprintf("%s %s", item->winner->owner_kind, item->winner->owner_id);
    for (size_t i = 0; i < o->names.length; i++)
        if (strcmp(o->names.items[i], name) == 0)
            return;
    vec_push(&o->names, STEAL(name));
}

static void look_at_entry(void *ctx, const char *key, const char *value)
{
    struct search *s = ctx;

    size_t length = model_backend_length(value, strlen(value));

    if (strlen(s->backend) == length && strncmp(value, s->backend, length) == 0)
        add(s->out, model_map_item(workbench_model(s->w), s->map, key));
}

static void look_at_map(void *ctx, const char *name)
{
    struct search *s = ctx;

    s->map = name;
    model_each_map_entry(workbench_model(s->w), MODEL_RENDERED, name, look_at_entry, s);
}

void owners_of_backend(struct workbench *w, const char *backend, struct owners *ret_owners)
{
    CLEANUP(free_ptr) char *name = xasprintf("backend %s", backend);
    struct search s = {.w = w, .backend = backend, .out = ret_owners};

    if (*backend == '\0')
        return;
    const struct section *section = model_section(workbench_model(w), name);
    for (size_t i = 0; section != NULL && i < section->pieces.length; i++)
        add(ret_owners, section->pieces.items[i]);
    model_each_map(workbench_model(w), look_at_map, &s);
    if (ret_owners->names.length > 1)
        qsort(ret_owners->names.items, ret_owners->names.length, sizeof(char *), compare);
}

void owners_done(struct owners *o)
{
    for (size_t i = 0; i < o->names.length; i++)
        free(o->names.items[i]);
    vec_done(&o->names);
}

size_t owners_line_of_section(struct workbench *w, const char *section)
{
    CLEANUP(buf_done) struct buf text = {0};
    size_t length = strlen(section), number = 0;

    model_write_config(workbench_model(w), MODEL_RENDERED, &text, NULL);
    for (const char *at = buf_str(&text); *at != '\0';) {
        size_t end = strcspn(at, "\n");
        number++;
        if (strncmp(at, section, length) == 0 && strchr(" \n", at[length]) != NULL)
            return at[end] == '\n' && at[end + 1] == ' ' ? number + 1 : number;
        at += end + (at[end] == '\n');
    }
    return 0;
}
