/* Fragments are matched by their names, in order. */
#include "offline/difference.h"

#include <stdlib.h>
#include <string.h>

#include "agent/forecast.h"
#include "base/alloc.h"
#include "offline/change.h"
#include "offline/expanded.h"
#include "offline/origin.h"

/* ---- the verdict ---- */

static int expand_files(struct workbench *w, struct disk_files *files, struct err *err)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (expanded_file(store_vault(workbench_store(w)), &files->items.items[i], err) < 0)
            return -1;
    return 0;
}

/* The first line of a section that the other text has not, in the state that is wanted: where it was written. */
static char *place_of_section(struct workbench *before, struct workbench *now, const char *section)
{
    CLEANUP(model_lines_done) struct model_lines lines = {0};
    CLEANUP(buf_done) struct buf old = {0}, text = {0};
    size_t number = 0, length = strlen(section);
    bool inside = false;

    model_write_config(workbench_model(before), MODEL_RENDERED, &old, NULL);
    model_write_config(workbench_model(now), MODEL_RENDERED, &text, &lines);
    for (const char *at = buf_str(&text); *at != '\0'; number++) {
        size_t end = strcspn(at, "\n");
        if (*at != ' ' && end > 0)
            inside = strncmp(at, section, length) == 0 && strchr(" \n", at[length]) != NULL;
        CLEANUP(free_ptr) char *line = xasprintf("\n%.*s\n", (int)end, at);
        if (inside && *at == ' ' && strstr(buf_str(&old), line) == NULL)
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

int difference_judge(struct workbench *before, struct workbench *now, struct difference *ret_difference,
                     struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files running = {0};
    struct plan plan = {0};

    workbench_files(before, &running);
    if (expand_files(before, &running, err) < 0)
        return -1;
    forecast_make(&running, workbench_model(now), store_vault(workbench_store(now)), workbench_caps(now), &plan);
    *ret_difference = (struct difference){.operations = plan_count(&plan), .place = xstrdup("")};
    if (plan.reload != NULL) {
        struct naming naming = {.reason = plan.reload};
        CLEANUP(buf_done) struct buf clean = {0};
        vault_redact(store_vault(workbench_store(now)), plan.reload, strlen(plan.reload), &clean);
        ret_difference->reload = xstrdup(buf_str(&clean));
        model_each_section(workbench_model(now), look_at_section, &naming);
        if (naming.found != NULL) {
            free(ret_difference->place);
            ret_difference->place = place_of_section(before, now, naming.found);
        }
    }
    plan_done(&plan);
    return 0;
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

static void add_id(void *ctx, const struct fragment *f)
{
    vec_push(&((struct fragments *)ctx)->ids, f->id);
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

size_t difference_write(struct workbench *before, struct workbench *now, struct buf *out)
{
    struct fragments all = {0};
    size_t count = 0;

    workbench_each_fragment(before, add_id, &all);
    workbench_each_fragment(now, add_id, &all);
    if (all.ids.length > 1)
        qsort(all.ids.items, all.ids.length, sizeof(*all.ids.items), compare);
    for (size_t i = 0; i < all.ids.length; i++) {
        if (i > 0 && strcmp(all.ids.items[i], all.ids.items[i - 1]) == 0)
            continue;
        const struct fragment *a = workbench_fragment(before, all.ids.items[i]);
        const struct fragment *b = workbench_fragment(now, all.ids.items[i]);
        if (!differ(a, b))
            continue;
        change_write(a, b, out);
        count++;
    }
    vec_done(&all.ids);
    return count;
}
