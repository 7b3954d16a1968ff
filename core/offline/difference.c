/* Fragments are matched by their names, in order. */
#include "offline/difference.h"

#include <stdlib.h>
#include <string.h>

#include "agent/forecast.h"
#include "base/alloc.h"
#include "data/json.h"
#include "offline/change.h"
#include "offline/concealed.h"
#include "offline/expanded.h"
#include "offline/origin.h"

/* ---- the verdict ---- */

static int expand_all(struct vault *vault, struct disk_files *files, struct err *err)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (expanded_file(vault, &files->items.items[i], err) < 0)
            return -1;
    return 0;
}

struct filling {
    struct vault *vault;
    struct err *err;
    int result;
};

static void fill_text(void *ctx, const char *bytes, size_t length)
{
    struct filling *f = ctx;

    if (f->result == 0)
        f->result = concealed_fill(f->vault, bytes, length, f->err);
}

/* What a dump conceals gets values in both states. */
static int fill_concealed(struct disk_files *before, struct vault *vault, const struct model *wanted, struct vault *own,
                          struct err *err)
{
    struct filling f = {.vault = vault, .err = err};

    for (size_t i = 0; i < before->items.length; i++)
        fill_text(&f, before->items.items[i].bytes, before->items.items[i].length);
    f.vault = own;
    model_each_text(wanted, fill_text, &f);
    return f.result;
}

/* The first line of a section that the other text has not, in the state that is wanted: where it was written. */
static char *place_of_section(const char *old, struct workbench *now, const char *section)
{
    CLEANUP(model_lines_done) struct model_lines lines = {0};
    CLEANUP(buf_done) struct buf text = {0};
    size_t number = 0, length = strlen(section);
    bool inside = false;

    model_write_config(workbench_model(now), MODEL_RENDERED, &text, &lines);
    for (const char *at = buf_str(&text); *at != '\0'; number++) {
        size_t end = strcspn(at, "\n");
        if (*at != ' ' && end > 0)
            inside = strncmp(at, section, length) == 0 && strchr(" \n", at[length]) != NULL;
        CLEANUP(free_ptr) char *line = xasprintf("\n%.*s\n", (int)end, at);
        if (inside && *at == ' ' && strstr(old, line) == NULL)
            return origin_where(now, &lines.lines.items[number]);
        at += end + (at[end] == '\n');
    }
    return xstrdup("");
}

struct naming {
    const char *reason;
    const char *found; /* the longest name with which the reason begins */
};

static void look_at_section(void *ctx, struct section *s)
{
    struct naming *n = ctx;
    size_t length = strlen(s->name);

    if (strncmp(n->reason, s->name, length) == 0 && (n->reason[length] == ' ' || n->reason[length] == ':') &&
        (n->found == NULL || length > strlen(n->found)))
        n->found = s->name;
}

static const char *config_of(const struct disk_files *files)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (strcmp(files->items.items[i].path, DISK_CONFIG) == 0)
            return files->items.items[i].bytes;
    return "";
}

int difference_forecast(struct disk_files *before, struct vault *vault, struct model *wanted, struct workbench *now,
                        const struct haproxy_caps *caps, struct difference *ret_difference, struct err *err)
{
    CLEANUP(free_ptr) char *old = xstrdup(config_of(before));
    struct vault *own = store_vault(workbench_store(now));
    struct plan plan = {0};

    if (workbench_is_concealed(now) && fill_concealed(before, vault, wanted, own, err) < 0)
        return -1;
    if (expand_all(vault, before, err) < 0)
        return -1;
    forecast_make(before, wanted, own, caps, &plan);
    *ret_difference = (struct difference){.operations = plan_count(&plan), .place = xstrdup("")};
    if (plan.reload != NULL) {
        struct naming naming = {.reason = plan.reload};
        CLEANUP(buf_done) struct buf clean = {0};
        vault_redact(own, plan.reload, strlen(plan.reload), &clean);
        ret_difference->reload = xstrdup(buf_str(&clean));
        model_each_section(wanted, look_at_section, &naming);
        if (naming.found != NULL) {
            free(ret_difference->place);
            ret_difference->place = place_of_section(old, now, naming.found);
        }
    }
    plan_done(&plan);
    return 0;
}

int difference_judge(struct workbench *before, struct workbench *now, const struct haproxy_caps *caps,
                     struct difference *ret_difference, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files running = {0};

    workbench_files(before, &running);
    return difference_forecast(&running, store_vault(workbench_store(before)), workbench_model(now), now, caps,
                               ret_difference, err);
}

void difference_put_text(const struct difference *d, struct buf *out)
{
    if (d->reload != NULL)
        buf_printf(out, "a reload: %s%s%s%s", d->reload, *d->place ? " (" : "", d->place, *d->place ? ")" : "");
    else if (d->operations > 0)
        buf_printf(out, "%zu runtime command%s, no reload", d->operations, d->operations == 1 ? "" : "s");
    else
        buf_puts(out, "nothing to do");
}

static void put_json(struct buf *out, const char *text)
{
    struct err err;

    if (json_write_string(out, text, strlen(text), &err) < 0)
        buf_puts(out, "\"\"");
}

void difference_put_json(const struct difference *d, const char *version, struct buf *out)
{
    buf_puts(out, "{\"haproxy\":");
    put_json(out, version);
    buf_printf(out, ",\"operations\":%zu,\"reload\":", d->reload != NULL ? (size_t)0 : d->operations);
    if (d->reload != NULL) {
        buf_puts(out, "{\"reason\":");
        put_json(out, d->reload);
        buf_puts(out, ",\"place\":");
        put_json(out, d->place);
        buf_putc(out, '}');
    } else {
        buf_puts(out, "null");
    }
    buf_putc(out, '}');
}

void difference_done(struct difference *d)
{
    free(d->reload);
    free(d->place);
}

/* ---- the lines ---- */

struct fragments {
    VEC(const char *) ids;
};

static void add_ids(struct fragments *all, const struct map *fragments)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(fragments, &it)) != NULL;)
        vec_push(&all->ids, ((const struct fragment *)slot->value)->id);
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool is_output(const struct contribution *c)
{
    return c->kind != CONTRIBUTION_STATUS && c->kind != CONTRIBUTION_EVENT && c->kind != CONTRIBUTION_WARNING &&
           !contribution_is_note(c->kind);
}

static bool has_output(const struct fragment *f)
{
    for (size_t i = 0; f != NULL && i < f->count; i++)
        if (is_output(&f->items[i]))
            return true;
    return false;
}

static bool differ(const struct fragment *a, const struct fragment *b)
{
    if (a == NULL || b == NULL)
        return has_output(a) || has_output(b);
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].kind != b->items[i].kind || strcmp(a->items[i].scope, b->items[i].scope) != 0 ||
            strcmp(a->items[i].key, b->items[i].key) != 0 || !text_equal(a->items[i].text, b->items[i].text))
            return true;
    return false;
}

size_t difference_write_fragments(const struct map *before, const struct map *now, bool as_json, struct buf *out)
{
    struct fragments all = {0};
    size_t count = 0;

    if (as_json)
        buf_putc(out, '[');

    add_ids(&all, before);
    add_ids(&all, now);
    if (all.ids.length > 1)
        qsort(all.ids.items, all.ids.length, sizeof(*all.ids.items), compare);
    for (size_t i = 0; i < all.ids.length; i++) {
        if (i > 0 && strcmp(all.ids.items[i], all.ids.items[i - 1]) == 0)
            continue;
        const struct fragment *a = map_get(before, all.ids.items[i]);
        const struct fragment *b = map_get(now, all.ids.items[i]);
        if (!differ(a, b))
            continue;
        if (as_json) {
            buf_puts(out, count > 0 ? ",\n" : "\n");
            change_write_json(a, b, out);
        } else {
            change_write(a, b, out);
        }
        count++;
    }
    if (as_json)
        buf_putc(out, ']');
    vec_done(&all.ids);
    return count;
}

size_t difference_write(struct workbench *before, struct workbench *now, bool as_json, struct buf *out)
{
    return difference_write_fragments(workbench_fragment_map(before), workbench_fragment_map(now), as_json, out);
}
