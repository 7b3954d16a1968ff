/* Everything is set up in the order in which the controller does it. A rendering ends with the first complete one: a
 * renderer that died meanwhile has been started anew and has reported everything again, without the fragment that
 * killed it.
 */

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "controller/ending.h"
#include "offline/template_place.h"
#include "offline/workbench_state.h"

/* The process ends with the command, so memory is not spared for the time after the first rendering. */
#define GARBAGE_BYTES ((size_t)64 << 20)

/* A fragment without output. */
struct failure {
    enum finding_code code;
    char *object, *message;
    bool is_trial; /* of templates that are being tried, or the first ones: they are about to be in force */
};

/* ---- what the renderer says ---- */

static void failure_free(struct failure *f)
{
    if (f == NULL)
        return;
    free(f->object);
    free(f->message);
    free(f);
}

/* Somebody ended a renderer: what waits for its namespace's rest is not waited for. */
static bool has_killer(const struct workbench *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->failures, &it));)
        if (((struct failure *)slot->value)->code == FINDING_RENDERER_KILLED)
            return true;
    return false;
}

static void failures_clear(struct workbench *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->failures, &it));)
        failure_free(slot->value);
    map_clear(&w->failures);
}

static void fragments_clear(struct workbench *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it));)
        fragment_unref(slot->value);
    map_clear(&w->fragments);
}

static void failure_put(struct workbench *w, enum finding_code code, const char *id, const char *owner_kind,
                        const char *owner_id, const char *message)
{
    struct failure *f = xmalloc(sizeof(*f));

    *f = (struct failure){
        .code = code, .object = workbench_object_name(owner_kind, owner_id), .message = xstrdup(message)};
    failure_free(map_put(&w->failures, id, f));
}

static void tell_change(struct workbench *w, const struct fragment *before, const struct fragment *now)
{
    if (w->changed != NULL)
        w->changed(w->changed_ctx, before, now);
}

static void on_fragment(void *ctx, struct fragment *f)
{
    struct workbench *w = ctx;
    struct fragment *before = map_put(&w->fragments, f->id, fragment_ref(f));

    tell_change(w, before, f);
    fragment_unref(before);
    failure_free(map_del(&w->failures, f->id));
    model_fragment_put(w->model, f);
}

static void on_gone(void *ctx, const char *fragment_id)
{
    struct workbench *w = ctx;

    struct fragment *before = map_del(&w->fragments, fragment_id);

    if (before != NULL)
        tell_change(w, before, NULL);
    fragment_unref(before);
    failure_free(map_del(&w->failures, fragment_id));
    model_fragment_drop(w->model, fragment_id);
}

/* Its turn comes with a later part of this rendering, unless nobody waits for that. */
static void on_waits(void *ctx, const char *fragment_id)
{
    struct workbench *w = ctx;

    model_fragment_await(w->model, fragment_id);
}

static void on_failed(void *ctx, const struct fragment_failure *f)
{
    struct workbench *w = ctx;
    const struct failure *known = map_get(&w->failures, f->id);

    model_fragment_keep(w->model, f->id);
    if (known == NULL || known->code != FINDING_RENDERER_KILLED) /* who killed it is reported as skipped afterwards */
        failure_put(w, FINDING_FRAGMENT_FAILED, f->id, f->owner_kind, f->owner_id, f->message);
}

/* Is more of it to come by itself? What has no room never comes. */
static bool is_partial(const struct workbench *w, const struct render_stats *stats)
{
    if (stats->unfinished)
        return true;
    for (size_t i = 0; i < stats->held_count; i++)
        if (stats->held[i].by_time > 0)
            return !has_killer(w);
    return false;
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct workbench *w = ctx;
    struct map_slot *slot;

    if (stats->complete) {
        model_replace_end(w->model);
        w->complete = true;
        for (size_t it = 0; (slot = map_next(&w->failures, &it));)
            ((struct failure *)slot->value)->is_trial = false;
    }
    model_replace_begin(w->model);
    if (w->replacing || !w->complete || stats->request < w->requested || is_partial(w, stats))
        return;
    w->stats = *stats;
    w->is_faulty = w->is_faulty || stats->held_count > 0 || w->failures.count > 0;
    w->rendering = RENDERING_DONE;
    uv_stop(w->loop);
}

/* Other templates: what they do not say no longer exists. What ended their renderer while they were tried is said by
 * nobody else. */
static void on_replaced(void *ctx)
{
    struct workbench *w = ctx;
    struct map kept = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->failures, &it));) {
        struct failure *f = slot->value;
        if (f->is_trial) {
            f->is_trial = false;
            map_putn(&kept, slot->key, slot->key_length, f);
            slot->value = NULL;
        }
    }
    w->replacing = false;
    model_replace_begin(w->model);
    fragments_clear(w);
    failures_clear(w);
    for (size_t it = 0; (slot = map_next(&kept, &it));)
        map_putn(&w->failures, slot->key, slot->key_length, slot->value);
    map_done(&kept);
    w->complete = false;
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct workbench *w = ctx;

    bool is_trial = death->is_trial || !w->complete;
    w->is_faulty = true;
    if (!death->is_trial) {
        model_replace_begin(w->model);
        fragments_clear(w);
        w->complete = false;
    }
    if (*death->fragment_id != '\0') {
        CLEANUP(free_ptr)
        char *why = ending_reason(death->reason, w->config->render_timeout_ns, w->config->render_memory_bytes);
        CLEANUP(free_ptr)
        char *message = xasprintf("%s: the renderer was ended while it ran this template: %s",
                                  *death->place != '\0' ? death->place : death->template_name,
                                  why != NULL ? why : death->reason);
        failure_put(w, FINDING_RENDERER_KILLED, death->fragment_id, death->owner_kind, death->owner_id, message);
        ((struct failure *)map_get(&w->failures, death->fragment_id))->is_trial = is_trial;
        return;
    }
    CLEANUP(free_ptr) char *message = xasprintf("the renderer ended: %s", death->reason);
    findings_add(w->findings, &(struct finding){.code = FINDING_RENDERER_KILLED, .message = message});
}

static void on_program_failed(void *ctx, const char *message)
{
    struct workbench *w = ctx;

    template_finding(w->config, w->findings, FINDING_PROGRAM, NULL, NULL, message);
    w->replacing = false;
    w->is_faulty = true;
    w->rendering = RENDERING_REFUSED;
    uv_stop(w->loop);
}

static const struct renderer_events renderer_events = {
    .fragment = on_fragment,
    .gone = on_gone,
    .waits = on_waits,
    .failed = on_failed,
    .rendered = on_rendered,
    .replaced = on_replaced,
    .died = on_died,
    .program_failed = on_program_failed,
};

static void report_failures(struct workbench *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->failures, &it));) {
        const struct failure *f = slot->value;
        template_finding(w->config, w->findings, f->code, f->object, NULL, f->message);
    }
}

bool workbench_render_only(struct workbench *w)
{
    w->has_news = false;
    if (w->requested == 0 && w->rendering == RENDERING_REFUSED)
        return false; /* the templates did not load, while objects were read */
    workbench_begin(w, "rendering");
    w->rendering = RENDERING_RUNS;
    w->requested = renderer_render(w->renderer);
    while (w->rendering == RENDERING_RUNS)
        uv_run(w->loop, UV_RUN_DEFAULT);
    workbench_end(w);
    return w->rendering == RENDERING_DONE;
}

bool workbench_render(struct workbench *w)
{
    bool done = workbench_render_only(w);
    if (done && !w->options.no_report) {
        report_failures(w);
        workbench_report_fragments(w);
        workbench_report_unfetched(w);
    }
    return done;
}

void workbench_listen(struct workbench *w, workbench_changed *changed, void *ctx)
{
    w->changed = changed;
    w->changed_ctx = ctx;
}

int workbench_reload(struct workbench *w, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};
    CLEANUP(config_cleanup) struct config *next = NULL;
    bool changed = false;

    if (w->options.config_file == NULL)
        return err_set(err, ERR_INVALID, "there is no configuration file: the prompt was started without --config");
    if (config_load(w->options.config_file, &next, err) < 0 ||
        config_program(next, &w->caps, w->default_certificate.handle, w->options.extra_context, &program, err) < 0 ||
        config_add_kinds(next, w->store, &changed, err) < 0)
        return -1;
    if (changed && source_dir_reload(w->source, err) < 0)
        return -1;
    struct config *former = w->config;
    w->config = STEAL(next);
    config_free(former);
    w->replacing = true;
    renderer_set_program(w->renderer, buf_str(&program), program.length);
    return 0;
}

/* ---- files ---- */

struct collecting {
    const struct model *model;
    enum model_state state;
    struct disk_files *files;
};

static void collect_map(void *ctx, const char *name)
{
    struct collecting *c = ctx;
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", name);

    if (!model_map_exists(c->model, c->state, name))
        return;
    model_write_map(c->model, c->state, name, &text);
    disk_files_add(c->files, path, buf_str(&text), text.length);
}

static void collect_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct collecting *c = ctx;
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", kind == CONTRIBUTION_FILE ? "files" : "certs", name);

    disk_files_add(c->files, path, bytes, length);
}

static int compare_paths(const void *left, const void *right)
{
    const struct disk_file *a = left, *b = right;

    return strcmp(a->path, b->path);
}

void workbench_model_files(const struct model *m, enum model_state state, struct disk_files *ret_files)
{
    struct collecting c = {.model = m, .state = state, .files = ret_files};
    CLEANUP(buf_done) struct buf config = {0};

    model_write_config(m, state, &config, NULL);
    disk_files_add(ret_files, DISK_CONFIG, buf_str(&config), config.length);
    model_each_map(m, collect_map, &c);
    model_each_file(m, state, collect_file, &c);
    qsort(ret_files->items.items, ret_files->items.length, sizeof(*ret_files->items.items), compare_paths);
}

void workbench_files(struct workbench *w, struct disk_files *ret_files)
{
    workbench_model_files(w->model, MODEL_RENDERED, ret_files);
}

/* ---- life ---- */

static int make_renderer(struct workbench *w, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};
    const struct renderer_limits limits = {.deadline_ns = w->config->render_timeout_ns,
                                           .memory_bytes = (size_t)w->config->render_memory_bytes,
                                           .output_bytes = (size_t)w->config->render_output_bytes,
                                           .garbage_bytes = GARBAGE_BYTES,
                                           .is_command = true};

    if (workbench_program(w, &program, err) < 0)
        return -1;
    program.length--; /* keys more, before the closing brace */
    buf_printf(&program, ",\"coverage\":%s,\"timings\":%s}", w->options.coverage ? "true" : "false",
               w->options.timings ? "true" : "false");
    w->model = model_new();
    model_replace_begin(w->model);
    w->renderer = renderer_new(w->loop, w->store, w->options.executable, &limits, &renderer_events, w, NULL);
    renderer_set_program(w->renderer, buf_str(&program), program.length);
    return 0;
}

int workbench_new(uv_loop_t *loop, const struct workbench_options *o, struct findings *findings,
                  struct workbench **ret_workbench, struct err *err)
{
    struct workbench *w = xcalloc(1, sizeof(*w));
    bool usable;

    w->loop = loop;
    w->findings = findings;
    w->options = *o;
    w->shows_progress = o->progress;
    w->stdin_copy.lock_fd = -1;
    map_init(&w->fragments, false);
    map_init(&w->failures, false);
    uv_timer_init(loop, &w->progress);
    w->progress.data = w;
    *ret_workbench = NULL;
    if (workbench_read_config(w, &usable, err) < 0)
        goto failed;
    if (!usable) {
        workbench_free(w);
        return 0;
    }
    workbench_begin(w, "reading objects");
    if (workbench_read_caps(w, err) < 0 || workbench_make_store(w, err) < 0 || make_renderer(w, err) < 0 ||
        workbench_read_objects(w, err) < 0)
        goto failed;
    workbench_end(w);
    *ret_workbench = w;
    return 0;
failed:
    workbench_free(w);
    return -1;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Its memory grows with the objects. */
static void free_contents(struct workbench *w)
{
    fragments_clear(w);
    map_done(&w->fragments);
    w->model = model_free(w->model);
    w->store = w->store ? store_free(w->store) : NULL;
}

/* Ends the processes and frees all but the objects and the model. Call it while the renderer's store exists. */
static void end_work(struct workbench *w)
{
    free(w->program);
    free(w->probed);
    w->source = source_dir_free(w->source);
    if (w->renderer != NULL)
        w->renderer = renderer_free(w->renderer);
    failures_clear(w);
    map_done(&w->failures);
    default_certificate_done(&w->default_certificate);
    scratch_remove(&w->stdin_copy);
    free(w->stdin_path);
}

static struct workbench *close_all(struct workbench *w)
{
    w->config = config_free(w->config);
    uv_close((uv_handle_t *)&w->progress, on_closed);
    return NULL;
}

struct workbench *workbench_free(struct workbench *w)
{
    if (w == NULL)
        return NULL;
    end_work(w);
    free_contents(w);
    return close_all(w);
}

struct workbench *workbench_leave(struct workbench *w)
{
    static struct workbench left; /* for those who look for memory that nobody knows of */

    if (w == NULL || left.loop != NULL)
        return workbench_free(w);
    end_work(w);
    left = *w;
    return close_all(w);
}
