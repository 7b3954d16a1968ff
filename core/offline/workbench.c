/* Everything is set up in the order in which the controller does it. A rendering ends with the first complete one: a
 * renderer that died meanwhile has been started anew and has reported everything again, without the fragment that
 * killed it.
 */
#include "offline/workbench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "controller/place.h"
#include "controller/validate.h"
#include "data/json.h"
#include "haproxy/scratch.h"
#include "offline/template_place.h"
#include "store/source_dir.h"
#include "store/vault.h"

/* The controller's own limits (controller/app.c). */
#define OBJECT_MAX ((size_t)8 << 20)
#define STORE_MAX ((size_t)2 << 30)
#define CHECK_OUTPUT_BYTES ((size_t)8 << 20)
#define PROGRESS_MS 2000

enum rendering { RENDERING_NONE, RENDERING_RUNS, RENDERING_DONE, RENDERING_REFUSED };

struct workbench {
    uv_loop_t *loop;
    struct findings *findings;
    struct workbench_options options; /* strings borrowed */
    struct config *config;
    struct haproxy_caps caps;
    struct store *store;
    struct source_dir *source;
    struct renderer *renderer;
    struct model *model;
    struct map fragments; /* id → struct fragment, referenced */
    struct map failures;  /* id → struct failure */
    enum rendering rendering;
    struct scratch stdin_copy;
    char *stdin_path;
    uv_timer_t progress;
    bool shows_progress;
    const char *doing;
    int64_t since_ns;
    bool complete;      /* every fragment has been reported */
    uint64_t requested; /* number of the rendering that is waited for */
    struct render_stats stats;
    workbench_changed *changed; /* NULL: nobody listens */
    void *changed_ctx;
    char *answer; /* of a prompt's question; NULL: not there yet */
    bool validated;
    char *with; /* the HAProxy of the check under way */
    unsigned questions;
};

/* A fragment without output. */
struct failure {
    enum finding_code code;
    char *object, *message;
};

/* ---- progress ---- */

static void on_progress(uv_timer_t *timer)
{
    struct workbench *w = timer->data;

    fprintf(stderr, "haptic: %s, %s so far\n", w->doing, log_duration(clock_now_ns() - w->since_ns));
}

static void begin(struct workbench *w, const char *doing)
{
    w->doing = doing;
    w->since_ns = clock_now_ns();
    if (w->shows_progress)
        uv_timer_start(&w->progress, on_progress, PROGRESS_MS, PROGRESS_MS);
}

static void end(struct workbench *w)
{
    uv_timer_stop(&w->progress);
}

/* ---- what the renderer says ---- */

static char *object_name(const char *owner_kind, const char *owner_id)
{
    return *owner_kind ? xasprintf("%s %s", owner_kind, owner_id) : NULL;
}

static void failure_free(struct failure *f)
{
    if (f == NULL)
        return;
    free(f->object);
    free(f->message);
    free(f);
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

    *f = (struct failure){.code = code, .object = object_name(owner_kind, owner_id), .message = xstrdup(message)};
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

static void on_failed(void *ctx, const struct fragment_failure *f)
{
    struct workbench *w = ctx;
    const struct failure *known = map_get(&w->failures, f->id);

    model_fragment_keep(w->model, f->id);
    if (known == NULL || known->code != FINDING_RENDERER_KILLED) /* who killed it is reported as skipped afterwards */
        failure_put(w, FINDING_FRAGMENT_FAILED, f->id, f->owner_kind, f->owner_id, f->message);
}

static void on_rendered(void *ctx, const struct render_stats *stats)
{
    struct workbench *w = ctx;

    if (stats->complete) {
        model_replace_end(w->model);
        w->complete = true;
    }
    model_replace_begin(w->model);
    if (!w->complete || stats->request < w->requested)
        return;
    w->stats = *stats;
    w->rendering = RENDERING_DONE;
    uv_stop(w->loop);
}

/* Other templates: what they do not say no longer exists. */
static void on_replaced(void *ctx)
{
    struct workbench *w = ctx;

    model_replace_begin(w->model);
    fragments_clear(w);
    failures_clear(w);
    w->complete = false;
}

static void on_died(void *ctx, const struct renderer_death *death)
{
    struct workbench *w = ctx;

    model_replace_begin(w->model);
    fragments_clear(w);
    w->complete = false;
    if (*death->fragment_id != '\0') {
        CLEANUP(free_ptr)
        char *message = xasprintf("%s: the renderer was ended while it ran this template: %s", death->template_name,
                                  death->reason);
        failure_put(w, FINDING_RENDERER_KILLED, death->fragment_id, death->owner_kind, death->owner_id, message);
        return;
    }
    CLEANUP(free_ptr) char *message = xasprintf("the renderer ended: %s", death->reason);
    findings_add(w->findings, &(struct finding){.code = FINDING_RENDERER_KILLED, .message = message});
}

static void on_program_failed(void *ctx, const char *message)
{
    struct workbench *w = ctx;

    template_finding(w->config, w->findings, FINDING_PROGRAM, NULL, NULL, message);
    w->rendering = RENDERING_REFUSED;
    uv_stop(w->loop);
}

static const struct renderer_events renderer_events = {
    .fragment = on_fragment,
    .gone = on_gone,
    .failed = on_failed,
    .rendered = on_rendered,
    .replaced = on_replaced,
    .died = on_died,
    .program_failed = on_program_failed,
};

/* ---- findings of a rendering ---- */

struct contest {
    struct workbench *w;
    const struct item *item;
};

static void report_loser(void *ctx, const struct fragment *loser)
{
    const struct contest *c = ctx;
    const struct fragment *winner = c->item->winner;
    CLEANUP(free_ptr) char *object = object_name(loser->owner_kind, loser->owner_id);
    CLEANUP(free_ptr) char *other = winner ? object_name(winner->owner_kind, winner->owner_id) : NULL;
    CLEANUP(free_ptr)
    char *message = xasprintf("%s%s%s is also written by %s, which is older and wins", c->item->scope,
                              *c->item->key ? " " : "", c->item->key, other ? other : "a template of no object");

    findings_add(c->w->findings,
                 &(struct finding){
                     .code = FINDING_KEY_LOST, .file = loser->template_name, .object = object, .message = message});
}

static void report_contest(void *ctx, const struct item *item)
{
    model_each_loser(item, report_loser, &(struct contest){.w = ctx, .item = item});
}

static void report_fragments(struct workbench *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->failures, &it));) {
        const struct failure *f = slot->value;
        template_finding(w->config, w->findings, f->code, f->object, NULL, f->message);
    }
    for (size_t it = 0; (slot = map_next(&w->fragments, &it));) {
        const struct fragment *f = slot->value;
        for (size_t i = 0; i < f->count; i++) {
            if (f->items[i].kind != CONTRIBUTION_WARNING)
                continue;
            CLEANUP(free_ptr) char *object = object_name(f->owner_kind, f->owner_id);
            CLEANUP(free_ptr) char *message = xasprintf("%s: %s", f->items[i].key, f->items[i].text->bytes);
            findings_add(w->findings, &(struct finding){.code = FINDING_TEMPLATE_WARNS,
                                                        .file = f->template_name,
                                                        .object = object,
                                                        .message = message});
        }
    }
    model_take_contested(w->model, report_contest, w);
}

bool workbench_render(struct workbench *w)
{
    begin(w, "rendering");
    w->rendering = RENDERING_RUNS;
    w->requested = renderer_render(w->renderer);
    while (w->rendering == RENDERING_RUNS)
        uv_run(w->loop, UV_RUN_DEFAULT);
    end(w);
    if (w->rendering == RENDERING_DONE)
        report_fragments(w);
    return w->rendering == RENDERING_DONE;
}

void workbench_listen(struct workbench *w, workbench_changed *changed, void *ctx)
{
    w->changed = changed;
    w->changed_ctx = ctx;
}

/* ---- a prompt ---- */

static void on_answer(void *ctx, const char *answer)
{
    struct workbench *w = ctx;

    w->answer = xstrdup(answer);
    uv_stop(w->loop);
}

char *workbench_ask(struct workbench *w, const char *mode, const char *question)
{
    uv_run(w->loop, UV_RUN_NOWAIT); /* files may have changed */
    begin(w, "evaluating");
    renderer_ask(w->renderer, mode, question, on_answer, w);
    while (w->answer == NULL)
        uv_run(w->loop, UV_RUN_DEFAULT);
    end(w);
    return STEAL(w->answer);
}

char *workbench_where(struct workbench *w, const char *fragment_id, const struct contribution *c, unsigned line)
{
    renderer_explain(w->renderer, fragment_id, c->kind, c->scope, c->key, line, on_answer, w);
    while (w->answer == NULL)
        uv_run(w->loop, UV_RUN_DEFAULT);
    return STEAL(w->answer);
}

static int compare_ids(const void *left, const void *right)
{
    const struct fragment *const *a = left, *const *b = right;

    return strcmp((*a)->id, (*b)->id);
}

void workbench_each_of(struct workbench *w, const char *kind, const char *id,
                       void (*fn)(void *ctx, const struct fragment *f), void *ctx)
{
    VEC(const struct fragment *) own = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it));) {
        const struct fragment *f = slot->value;
        if (strcmp(f->owner_kind, kind) == 0 && strcmp(f->owner_id, id) == 0)
            vec_push(&own, f);
    }
    if (own.length > 1)
        qsort(own.items, own.length, sizeof(*own.items), compare_ids);
    for (size_t i = 0; i < own.length; i++)
        fn(ctx, own.items[i]);
    vec_done(&own);
}

int workbench_reload(struct workbench *w, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};
    CLEANUP(config_cleanup) struct config *next = NULL;
    bool changed = false;

    if (w->options.config_file == NULL)
        return err_set(err, ERR_INVALID, "there is no configuration file: the prompt was started without --config");
    if (config_load(w->options.config_file, &next, err) < 0 ||
        config_program(next, &w->caps, w->options.extra_context, &program, err) < 0 ||
        config_add_kinds(next, w->store, &changed, err) < 0)
        return -1;
    if (changed && source_dir_reload(w->source, err) < 0)
        return -1;
    struct config *former = w->config;
    w->config = STEAL(next);
    config_free(former);
    renderer_set_program(w->renderer, buf_str(&program), program.length);
    return 0;
}

/* ---- validation ---- */

struct question {
    struct workbench *w;
    char *object, *message;
};

/* Where the line was written has come: the finding has its place. */
static void on_explained(void *ctx, const char *where)
{
    struct question *q = ctx;
    struct workbench *w = q->w;
    CLEANUP(free_ptr)
    char *message = *where ? xasprintf("%s: %s", where, q->message) : xstrdup(q->message);

    template_finding(w->config, w->findings, q->object ? FINDING_REFUSED_OBJECT : FINDING_REFUSED, q->object, w->with,
                     message);
    free(q->object);
    free(q->message);
    free(q);
    w->questions--;
    uv_stop(w->loop);
}

static void on_quarantined(void *ctx, const struct conviction *c)
{
    struct workbench *w = ctx;
    struct question *q = xmalloc(sizeof(*q));

    *q = (struct question){
        .w = w, .object = object_name(c->fragment->owner_kind, c->fragment->owner_id), .message = xstrdup(c->message)};
    w->questions++;
    renderer_explain(w->renderer, c->fragment->id, c->kind, c->scope, c->key, c->line, on_explained, q);
}

static void on_validated(void *ctx, const struct validation *v)
{
    struct workbench *w = ctx;

    if (v->outcome == VALIDATION_REFUSED || v->outcome == VALIDATION_INCONCLUSIVE)
        template_finding(w->config, w->findings, v->outcome == VALIDATION_REFUSED ? FINDING_REFUSED : FINDING_UNCHECKED,
                         NULL, w->with, *v->problem ? v->problem : "the check did not end");
    w->validated = v->outcome != VALIDATION_UNFINISHED;
    uv_stop(w->loop);
}

static void release(void *ctx, const struct fragment *f, const char *reason)
{
    VEC(char *) *ids = ctx;

    (void)reason;
    vec_push(ids, xstrdup(f->id));
}

/* Another HAProxy judges everything again. */
static void release_all(struct workbench *w)
{
    VEC(char *) ids = {0};

    model_each_quarantined(w->model, release, &ids);
    for (size_t i = 0; i < ids.length; i++) {
        model_release(w->model, ids.items[i]);
        free(ids.items[i]);
    }
    vec_done(&ids);
}

int workbench_validate(struct workbench *w, const char *haproxy_binary, struct err *err)
{
    static const struct validator_events events = {.quarantined = on_quarantined, .done = on_validated};
    CLEANUP(free_ptr) char *binary = NULL;
    struct haproxy_caps caps;

    if (place_find_program(haproxy_binary, &binary, err) < 0 || place_probe(binary, &caps, err) < 0)
        return -1;
    release_all(w);
    w->with = xasprintf("HAProxy %s", caps.text);
    const struct check_config check = {
        .binary = binary, .vault = store_vault(w->store), .output_bytes = CHECK_OUTPUT_BYTES};
    struct metrics *metrics = metrics_new();
    struct validator *validator = validator_new(w->loop, &check, w->model, metrics, &events, w);

    begin(w, "checking with HAProxy");
    w->validated = false;
    while (!w->validated || w->questions > 0) {
        if (!w->validated && !validator_busy(validator))
            validator_run(validator);
        uv_run(w->loop, UV_RUN_DEFAULT);
    }
    end(w);
    validator_free(validator);
    metrics_free(metrics);
    free(w->with);
    w->with = NULL;
    return 0;
}

/* ---- files ---- */

struct collecting {
    struct workbench *w;
    struct disk_files *files;
};

static void collect_map(void *ctx, const char *name)
{
    struct collecting *c = ctx;
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", name);

    if (!model_map_exists(c->w->model, MODEL_RENDERED, name))
        return;
    model_write_map(c->w->model, MODEL_RENDERED, name, &text);
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

void workbench_files(struct workbench *w, struct disk_files *ret_files)
{
    struct collecting c = {.w = w, .files = ret_files};
    CLEANUP(buf_done) struct buf config = {0};

    model_write_config(w->model, MODEL_RENDERED, &config, NULL);
    disk_files_add(ret_files, DISK_CONFIG, buf_str(&config), config.length);
    model_each_map(w->model, collect_map, &c);
    model_each_file(w->model, MODEL_RENDERED, collect_file, &c);
    qsort(ret_files->items.items, ret_files->items.length, sizeof(*ret_files->items.items), compare_paths);
}

/* ---- reading ---- */

static void on_file_report(void *ctx, const char *file, size_t line, const char *message)
{
    struct workbench *w = ctx;

    if (message == NULL)
        return;
    bool is_stdin = w->stdin_path != NULL && strcmp(file, w->stdin_path) == 0;
    findings_add(w->findings,
                 &(struct finding){
                     .code = FINDING_MANIFEST, .file = is_stdin ? "stdin" : file, .line = line, .message = message});
}

/* Standard input is read as a file of its own, so that there is one way to read objects. */
static int copy_stdin(struct workbench *w, struct err *err)
{
    char chunk[65536];
    size_t total = 0;
    ssize_t n;

    if (scratch_make(scratch_place(), &w->stdin_copy, err) < 0)
        return -1;
    w->stdin_path = xasprintf("%s/stdin.yaml", w->stdin_copy.path);
    CLEANUP(close_fd) int fd = open(w->stdin_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_sys(err, errno, "%s", w->stdin_path);
    while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "standard input");
        total += (size_t)n;
        if (total > SOURCE_DIR_FILE_BYTES_MAX)
            return err_set(err, ERR_LIMIT, "standard input has more than %zu bytes", SOURCE_DIR_FILE_BYTES_MAX);
        if (write(fd, chunk, (size_t)n) != n)
            return err_set_sys(err, errno, "%s", w->stdin_path);
    }
    return 0;
}

static int read_objects(struct workbench *w, const char *const *sources, struct err *err)
{
    VEC(const char *) paths = {0};
    int result = 0;

    for (size_t i = 0; sources[i] != NULL && result == 0; i++) {
        if (strcmp(sources[i], "-") != 0) {
            vec_push(&paths, sources[i]);
        } else if (w->stdin_path == NULL) {
            result = copy_stdin(w, err);
            vec_push(&paths, w->stdin_path);
        }
    }
    if (paths.length == 0 && result == 0) { /* a folder without anything: every kind is an empty list */
        result = scratch_make(scratch_place(), &w->stdin_copy, err);
        vec_push(&paths, w->stdin_copy.path);
    }
    vec_push(&paths, NULL);
    if (result == 0)
        result = source_dir_open(w->loop, w->store, paths.items, on_file_report, w, &w->source, err);
    vec_done(&paths);
    return result;
}

/* Without a configuration, or with one that a finding tells about: false in *ret_usable. */
static int read_config(struct workbench *w, const char *file, bool *ret_usable, struct err *err)
{
    struct err why;

    *ret_usable = true;
    if (file == NULL) {
        w->config = config_new_default();
        return 0;
    }
    if (access(file, R_OK) < 0)
        return err_set_sys(err, errno, "configuration %s", file);
    if (config_load(file, &w->config, &why) < 0) {
        place_finding(w->findings, FINDING_CONFIG, why.text);
        *ret_usable = false;
        return 0;
    }
    for (size_t i = 0; i < w->config->warnings.length; i++)
        place_finding(w->findings, FINDING_FIELD_IGNORED, w->config->warnings.items[i]);
    return 0;
}

static int read_caps(struct workbench *w, const struct workbench_options *o, struct err *err)
{
    CLEANUP(free_ptr) char *binary = NULL;

    if (o->haproxy_version != NULL) {
        if (haproxy_version_parse(o->haproxy_version, &w->caps, err) < 0)
            return err_wrap(err, "--haproxy-version");
        return 0;
    }
    if (place_find_program(o->haproxy_binary, &binary, err) < 0)
        return err_wrap(err, "what HAProxy can do is not known (--haproxy-version 3.2 renders without a program)");
    return place_probe(binary, &w->caps, err);
}

static int make_store(struct workbench *w, struct err *err)
{
    VEC(const char *) ignored = {0};
    bool changed;

    w->store = store_new(OBJECT_MAX, STORE_MAX);
    vault_fix_handles(store_vault(w->store));
    for (size_t i = 0; i < w->config->ignore_fields.length; i++)
        vec_push(&ignored, w->config->ignore_fields.items[i]);
    vec_push(&ignored, NULL);
    int result = store_set_ignored_fields(w->store, ignored.items, err);
    vec_done(&ignored);
    if (result < 0)
        return err_wrap(err, "watchedResourcesIgnoreFields");
    return config_add_kinds(w->config, w->store, &changed, err);
}

/* RFC 7386: objects are merged, anything else takes the place of what was there, null removes. */
static int merge_context(struct config *config, const char *context, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *base = NULL;
    CLEANUP(json_doc_done) struct yyjson_doc *patch = NULL;

    if (json_parse(config->extra_context, strlen(config->extra_context), CONFIG_FILE_MAX, &base, err) < 0 ||
        json_parse(context, strlen(context), CONFIG_FILE_MAX, &patch, err) < 0)
        return err_wrap(err, "extraContext");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(doc, yyjson_merge_patch(doc, yyjson_doc_get_root(base), yyjson_doc_get_root(patch)));
    char *merged = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    if (merged == NULL)
        return err_set(err, ERR_INVALID, "extraContext cannot be merged");
    free(config->extra_context);
    config->extra_context = merged;
    return 0;
}

static int make_renderer(struct workbench *w, const struct workbench_options *o, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};
    const struct renderer_limits limits = {.deadline_ns = w->config->render_timeout_ns,
                                           .memory_bytes = (size_t)w->config->render_memory_bytes};

    for (size_t i = 0; o->contexts != NULL && o->contexts[i] != NULL; i++)
        if (merge_context(w->config, o->contexts[i], err) < 0)
            return -1;
    if (workbench_program(w, &program, err) < 0)
        return -1;
    w->model = model_new();
    model_replace_begin(w->model);
    w->renderer = renderer_new(w->loop, w->store, o->executable, &limits, &renderer_events, w, NULL);
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
    if (read_config(w, o->config_file, &usable, err) < 0)
        goto failed;
    if (!usable) {
        workbench_free(w);
        return 0;
    }
    begin(w, "reading objects");
    if (read_caps(w, o, err) < 0 || make_store(w, err) < 0 || read_objects(w, o->sources, err) < 0 ||
        make_renderer(w, o, err) < 0)
        goto failed;
    end(w);
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

struct workbench *workbench_free(struct workbench *w)
{
    if (w == NULL)
        return NULL;
    w->source = source_dir_free(w->source);
    if (w->renderer != NULL)
        w->renderer = renderer_free(w->renderer);
    fragments_clear(w);
    failures_clear(w);
    map_done(&w->fragments);
    map_done(&w->failures);
    w->model = model_free(w->model);
    w->store = w->store ? store_free(w->store) : NULL;
    w->config = config_free(w->config);
    scratch_remove(&w->stdin_copy);
    free(w->stdin_path);
    uv_close((uv_handle_t *)&w->progress, on_closed);
    return NULL;
}

/* ---- for readers ---- */

const struct haproxy_caps *workbench_caps(const struct workbench *w)
{
    return &w->caps;
}

const struct config *workbench_config(const struct workbench *w)
{
    return w->config;
}

int workbench_program(const struct workbench *w, struct buf *out, struct err *err)
{
    return config_program(w->config, &w->caps, w->options.extra_context, out, err);
}

void workbench_set_findings(struct workbench *w, struct findings *findings)
{
    w->findings = findings;
}

struct model *workbench_model(struct workbench *w)
{
    return w->model;
}

struct store *workbench_store(struct workbench *w)
{
    return w->store;
}

struct renderer *workbench_renderer(struct workbench *w)
{
    return w->renderer;
}

const struct render_stats *workbench_stats(const struct workbench *w)
{
    return &w->stats;
}

size_t workbench_fragments(const struct workbench *w)
{
    return w->fragments.count;
}
