/* A run is a loop of checks with a set of suspects. As long as HAProxy names whom it dislikes, those go into quarantine and the rest is
 * checked again. When it does not, all fragments with pending items become suspects: all are held back, which must pass, and are then
 * let in by halves; a half that fails is split until the culprits stand alone. */
#include "controller/validate.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"

#define CHECKS_MAX 40

struct suspects {
    VEC(char *) ids;
};

struct validator {
    uv_loop_t *loop;
    struct check_config config;
    struct model *model;
    struct validator_events events;
    void *ctx;
    struct check *check;
    struct model_lines lines;
    VEC(struct suspects) queue; /* bisection: sets to let in, one after another */
    struct suspects testing;    /* the set that the check under way lets in */
    bool bisecting;
    bool busy;
    unsigned checks;
    int64_t begun_ns;
    char problem[1100];
    struct metric *duration, *failures;
};

static void next_check(struct validator *v);

static void suspects_done(struct suspects *s)
{
    for (size_t i = 0; i < s->ids.length; i++)
        free(s->ids.items[i]);
    vec_done(&s->ids);
}

static void reset(struct validator *v)
{
    for (size_t i = 0; i < v->queue.length; i++)
        suspects_done(&v->queue.items[i]);
    vec_done(&v->queue);
    suspects_done(&v->testing);
    model_lines_done(&v->lines);
    v->bisecting = false;
}

struct validator *validator_new(uv_loop_t *loop, const struct check_config *config, struct model *model, struct metrics *metrics,
                                const struct validator_events *events, void *ctx)
{
    struct validator *v = xcalloc(1, sizeof(*v));

    v->loop = loop;
    v->config = *config;
    v->model = model;
    v->events = *events;
    v->ctx = ctx;
    v->duration = metric_histogram(metrics, "haptic_validation_duration_seconds", "Duration of one haproxy -c of a whole configuration.");
    v->failures = metric_counter(metrics, "haptic_validation_failures_total", "Configurations that haproxy -c refused.");
    return v;
}

struct validator *validator_free(struct validator *v)
{
    if (v == NULL)
        return NULL;
    if (v->check != NULL)
        check_cancel(v->check);
    reset(v);
    free(v);
    return NULL;
}

bool validator_busy(const struct validator *v)
{
    return v->busy;
}

static void finish(struct validator *v, bool accepted, bool inconclusive)
{
    struct validation result = {
        .accepted = accepted, .inconclusive = inconclusive, .problem = v->problem, .checks = v->checks, .duration_ns = clock_now_ns() - v->begun_ns};

    reset(v);
    v->busy = false;
    v->events.done(v->ctx, &result);
}

/* Quarantine the fragment behind an item. False when there is none to blame, or it has nothing to fall back on. */
static bool blame(struct validator *v, const struct item *item, unsigned line, const char *message)
{
    struct fragment *f = item->winner;

    if (f == NULL)
        return false;
    if (*f->owner_id == '\0' && item->accepted == NULL) {
        /* A part of the templates themselves: without it the configuration would be hollow. */
        snprintf(v->problem, sizeof(v->problem), "%s: %s", f->id, message);
        return false;
    }
    CLEANUP(free_ptr) char *id = xstrdup(f->id);
    struct fragment *held = fragment_ref(f);
    CLEANUP(free_ptr) char *scope = xstrdup(item->scope);
    CLEANUP(free_ptr) char *key = xstrdup(item->key);
    enum contribution_kind kind = item->kind;
    bool changed = model_quarantine(v->model, id, message);
    if (changed)
        v->events.quarantined(v->ctx, held, kind, scope, key, line, message);
    fragment_unref(held);
    return changed;
}

struct nth_entry {
    unsigned wanted, at;
    char *key;
};

static void nth_entry_visit(void *ctx, const char *key, const char *value)
{
    struct nth_entry *n = ctx;

    (void)value;
    if (++n->at == n->wanted)
        n->key = xstrdup(key);
}

/* The item that a message is about; NULL when it names none. */
static struct item *accused(struct validator *v, const struct check_message *m, unsigned *ret_line)
{
    *ret_line = 0;
    if (m->file != NULL && strncmp(m->file, "maps/", 5) == 0 && m->file_line > 0) {
        struct nth_entry n = {.wanted = m->file_line};
        model_each_map_entry(v->model, MODEL_CHECKING, m->file + 5, nth_entry_visit, &n);
        struct item *item = n.key ? model_map_item(v->model, m->file + 5, n.key) : NULL;
        free(n.key);
        if (item != NULL)
            return item;
    }
    if (m->line > 0 && m->line <= v->lines.lines.length) {
        const struct model_origin *origin = &v->lines.lines.items[m->line - 1];
        if (origin->item != NULL) {
            *ret_line = origin->line;
            return origin->item;
        }
    }
    static const char *const types[] = {"backend", "frontend", "listen", "defaults"};
    for (size_t i = 0; m->name != NULL && i < ARRAY_LEN(types); i++) {
        char name[512];
        if (m->section != NULL && strcmp(m->section, "proxy") != 0 && strcmp(m->section, types[i]) != 0)
            continue;
        snprintf(name, sizeof(name), "%s %s", types[i], m->name);
        const struct section *s = model_section(v->model, name);
        for (size_t j = 0; s != NULL && j < s->pieces.length; j++)
            if (s->pieces.items[j]->pending && s->pieces.items[j]->winner != NULL)
                return s->pieces.items[j];
    }
    return NULL;
}

static void add_suspect(void *ctx, struct item *item)
{
    struct map *seen = ctx;

    if (item->winner != NULL && *item->winner->owner_id != '\0' && map_get(seen, item->winner->id) == NULL)
        map_put(seen, item->winner->id, seen);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Nobody was named: hold back every fragment with something pending, and let them in by halves later. False when there are none. */
static bool bisect_begin(struct validator *v, const char *message)
{
    struct map seen;
    struct suspects all = {0};
    const struct map_slot *slot;

    map_init(&seen, false);
    model_each_pending(v->model, add_suspect, &seen);
    for (size_t it = 0; (slot = map_next(&seen, &it)) != NULL;)
        vec_push(&all.ids, xstrdup(slot->key));
    map_done(&seen);
    if (all.ids.length == 0)
        return false;
    qsort(all.ids.items, all.ids.length, sizeof(*all.ids.items), compare_ids);
    for (size_t i = 0; i < all.ids.length; i++)
        (void)!model_quarantine(v->model, all.ids.items[i], message);
    vec_push(&v->queue, all);
    v->bisecting = true;
    return true;
}

static void split(struct validator *v, struct suspects *set)
{
    struct suspects half = {0};

    for (size_t i = set->ids.length / 2; i < set->ids.length; i++)
        vec_push(&half.ids, set->ids.items[i]);
    set->ids.length /= 2;
    vec_push(&v->queue, half);
    vec_push(&v->queue, *set);
    *set = (struct suspects){0};
}

/* The set let in by the last check was refused. */
static void bisect_refused(struct validator *v, const char *message)
{
    struct suspects *set = &v->testing;

    for (size_t i = 0; i < set->ids.length; i++)
        (void)!model_quarantine(v->model, set->ids.items[i], message);
    if (set->ids.length > 1) {
        split(v, set);
        return;
    }
    const struct fragment *f = model_fragment(v->model, set->ids.items[0]);
    if (f != NULL)
        v->events.quarantined(v->ctx, f, f->count > 0 ? f->items[0].kind : CONTRIBUTION_SECTION, f->count > 0 ? f->items[0].scope : "",
                              f->count > 0 ? f->items[0].key : "", 0, message);
    suspects_done(set);
}

static void on_check(void *ctx, const struct check_result *result)
{
    struct validator *v = ctx;

    v->check = NULL;
    metric_observe_ns(v->duration, result->duration_ns);
    if (result->err != NULL) {
        snprintf(v->problem, sizeof(v->problem), "haproxy -c: %s", result->err->text);
        model_check_end(v->model, false);
        finish(v, false, true);
        return;
    }
    if (result->ok) {
        model_check_end(v->model, true);
        suspects_done(&v->testing);
        if (v->queue.length > 0)
            next_check(v);
        else
            finish(v, true, false);
        return;
    }
    metric_add(v->failures, 1);
    const char *message = result->count > 0 ? result->messages[0].text : "haproxy -c failed without a message";
    bool progress = false;
    v->problem[0] = '\0';
    if (v->testing.ids.length > 0) {
        model_check_end(v->model, false);
        bisect_refused(v, message);
        progress = true;
    } else {
        /* Look at all accused before the first quarantine: it changes what the lines mean. */
        struct accusation {
            struct item *item;
            unsigned line;
            const char *text;
        };
        VEC(struct accusation) accusations = {0};
        for (size_t i = 0; i < result->count; i++) {
            struct accusation a = {.text = result->messages[i].text};
            a.item = accused(v, &result->messages[i], &a.line);
            if (a.item != NULL)
                vec_push(&accusations, a);
        }
        model_check_end(v->model, false);
        for (size_t i = 0; i < accusations.length; i++) {
            const struct accusation *a = &accusations.items[i];
            progress = blame(v, a->item, a->line, a->text) || progress;
        }
        vec_done(&accusations);
        if (!progress && !v->bisecting && v->problem[0] == '\0')
            progress = bisect_begin(v, message);
    }
    if (v->problem[0] == '\0')
        snprintf(v->problem, sizeof(v->problem), "%s", message);
    if (!progress) {
        /* Even without the suspects it is refused: they are not to blame. */
        for (size_t i = 0; i < v->queue.length; i++)
            for (size_t j = 0; j < v->queue.items[i].ids.length; j++)
                model_release(v->model, v->queue.items[i].ids.items[j]);
        finish(v, false, false);
        return;
    }
    next_check(v);
}

struct file_ctx {
    struct disk_files *files;
};

static void add_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct file_ctx *f = ctx;
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", kind == CONTRIBUTION_FILE ? "files" : "certs", name);

    disk_files_add(f->files, path, bytes, length);
}

struct map_ctx {
    struct validator *v;
    struct disk_files *files;
};

static void add_map(void *ctx, const char *map_name)
{
    struct map_ctx *m = ctx;
    struct buf text = {0};
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", map_name);

    model_write_map(m->v->model, MODEL_CHECKING, map_name, &text);
    size_t length = text.length;
    disk_files_take(m->files, path, buf_steal(&text), length);
}

static void next_check(struct validator *v)
{
    struct disk_files files = {0};
    struct buf text = {0};

    if (v->checks >= CHECKS_MAX) {
        snprintf(v->problem, sizeof(v->problem), "gave up after %d checks; the objects still suspected stay in quarantine", CHECKS_MAX);
        finish(v, false, false);
        return;
    }
    suspects_done(&v->testing);
    /* The first check of a bisection holds everybody back: only when that passes are the sets let in. */
    if (v->bisecting && v->checks > 0 && v->queue.length > 0 && model_pending(v->model) == 0) {
        v->testing = v->queue.items[--v->queue.length];
        for (size_t i = 0; i < v->testing.ids.length; i++)
            model_release(v->model, v->testing.ids.items[i]);
    }
    v->checks++;
    model_check_begin(v->model);
    model_lines_done(&v->lines);
    model_write_config(v->model, MODEL_CHECKING, &text, &v->lines);
    size_t length = text.length;
    disk_files_take(&files, DISK_CONFIG, buf_steal(&text), length);
    model_each_map(v->model, add_map, &(struct map_ctx){.v = v, .files = &files});
    model_each_file(v->model, MODEL_CHECKING, add_file, &(struct file_ctx){.files = &files});
    v->check = check_start(v->loop, &v->config, &files, on_check, v);
}

void validator_run(struct validator *v)
{
    v->busy = true;
    v->checks = 0;
    v->begun_ns = clock_now_ns();
    v->problem[0] = '\0';
    reset(v);
    next_check(v);
}
