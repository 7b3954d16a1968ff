/* This file writes answers in the form of HAProxy's command line, so that the same reader handles real and predicted
 * answers. */
#include "agent/forecast.h"

#include <stdint.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

#define NO_BUDGET_NS (INT64_C(3600) * NS_PER_S)

static const struct disk_file *file_of(const struct disk_files *files, const char *path)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (strcmp(files->items.items[i].path, path) == 0)
            return &files->items.items[i];
    return NULL;
}

static void load_config(struct live *live, const struct disk_files *files)
{
    const struct disk_file *config = file_of(files, DISK_CONFIG);
    struct map_slot *slot;

    if (config != NULL)
        live_load_config(live, config->bytes, config->length);
    for (size_t it = 0; (slot = map_next(&live->maps, &it));)
        ((struct live_map *)slot->value)->used = true;
}

/* The kind of a file, from the place in the configuration that names it; SSL_FILE_KINDS when no place names it. */
static enum ssl_file_kind kind_of(const struct live *live, const struct disk_file *f)
{
    enum ssl_file_kind kind = ssl_file_kind_of(f->bytes, f->length);
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&live->lists, &it));) {
        const struct live_list *list = slot->value;
        for (size_t i = 0; live_refers(live, list->path) && i < list->lines.length; i++) {
            const struct crt_list_line *line = &list->lines.items[i]->line;
            if (strcmp(line->certificate, f->path) == 0)
                return SSL_CERTIFICATE;
            if (*line->options && live_text_refers(line->options, strlen(line->options), f->path))
                return kind == SSL_REVOCATIONS ? kind : SSL_AUTHORITIES;
        }
    }
    if (!live_refers(live, f->path))
        return SSL_FILE_KINDS;
    return kind;
}

static void load_certificates(struct live *live, const struct disk_files *files)
{
    struct buf names[SSL_FILE_KINDS + 1] = {0}; /* the last one: files without a kind */
    const char *answers[SSL_FILE_KINDS];
    CLEANUP(buf_done) struct buf lists = {0};

    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *f = &files->items.items[i];
        if (strncmp(f->path, "certs/", 6) != 0)
            continue;
        if (!live_path_is_list(f->path))
            buf_printf(&names[kind_of(live, f)], "%s\n", f->path);
        else if (live_refers(live, f->path))
            buf_printf(&lists, "%s\n", f->path);
    }
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++)
        answers[kind] = buf_str(&names[kind]);
    live_merge_certificates(live, answers, buf_str(&lists));
    for (int kind = 0; kind <= SSL_FILE_KINDS; kind++)
        buf_done(&names[kind]);
}

static void load(struct live *live, const struct disk_files *files)
{
    load_config(live, files);
    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *f = &files->items.items[i];
        if (strncmp(f->path, "maps/", 5) == 0)
            live_load_map(live, f->path + 5, f->bytes, f->length);
        else if (strcmp(f->path, DISK_CONFIG) != 0)
            live_load_file(live, f->path, f->bytes, f->length);
    }
    load_certificates(live, files);
}

void forecast_make(const struct disk_files *running, struct model *wanted, struct vault *vault,
                   const struct haproxy_caps *caps, struct plan *ret_plan)
{
    struct agent *a = xcalloc(1, sizeof(*a));
    struct model_changes news = {0};

    model_take_changes(wanted, &news); /* a full comparison ignores the list of changes */
    model_changes_done(&news);
    a->model = wanted;
    a->config.vault = vault;
    a->caps = *caps;
    a->caps_known = a->known = true;
    a->live = live_new();
    load(a->live, running);
    walk_begin(a, &a->apply.walk);
    while (!walk_step(&a->apply.walk, NO_BUDGET_NS))
        continue;
    *ret_plan = a->apply.plan;
    walk_done(&a->apply.walk);
    touched_done(&a->apply.touched);
    map_done(&a->apply.touched.appearing);
    pace_done(a);
    live_free(a->live);
    free(a);
}
