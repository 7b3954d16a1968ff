/* Everything is read as the controller does it: the configuration first, then its kinds, then the objects. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "controller/config_paths.h"
#include "controller/place.h"
#include "data/json.h"
#include "offline/template_place.h"
#include "offline/workbench_state.h"
#include "store/vault.h"

/* The controller's own limits (controller/app.c). */
#define OBJECT_MAX ((size_t)8 << 20)
#define STORE_MAX ((size_t)2 << 30)
/* Objects that are read between two turns of the loop. */
#define OBJECTS_PER_TURN 256

static void on_file_report(void *ctx, enum source_dir_news news, const char *file, size_t line, const char *message)
{
    struct workbench *w = ctx;

    w->is_faulty = true;
    workbench_note_news(w);
    if (news == SOURCE_DIR_RIGHT)
        return;
    bool is_stdin = w->stdin_path != NULL && strcmp(file, w->stdin_path) == 0;
    file_finding(w->findings, news == SOURCE_DIR_WARNING ? FINDING_MANIFEST_WARNING : FINDING_MANIFEST,
                 is_stdin ? "stdin" : file, file, line, NULL, message);
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
            return err_set(err, ERR_LIMIT, "standard input has more than %zu MiB: give a folder of several files",
                           SOURCE_DIR_FILE_BYTES_MAX >> 20);
        if (write(fd, chunk, (size_t)n) != n)
            return err_set_sys(err, errno, "%s", w->stdin_path);
    }
    return 0;
}

static int read_sources(struct workbench *w, struct err *err)
{
    const char *const *sources = w->options.sources;
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
static int load_config(struct workbench *w, bool *ret_usable, struct err *err)
{
    const char *file = w->options.config_file;
    struct err why;

    *ret_usable = true;
    if (file == NULL) {
        w->config = config_new_default();
        return 0;
    }
    if (config_paths_check(file, err) < 0)
        return -1;
    if (config_load(file, &w->config, &why) < 0) {
        place_finding(w->findings, FINDING_CONFIG, why.text);
        *ret_usable = false;
        return 0;
    }
    for (size_t i = 0; i < w->config->warnings.length; i++)
        place_finding(w->findings, FINDING_FIELD_IGNORED, w->config->warnings.items[i]);
    return 0;
}

int workbench_read_caps(struct workbench *w, struct err *err)
{
    const struct workbench_options *o = &w->options;
    CLEANUP(free_ptr) char *binary = NULL;

    if (o->dump != NULL)
        return 0; /* those of the controller's HAProxy */
    if (o->haproxy_version != NULL) {
        if (haproxy_version_parse(o->haproxy_version, &w->caps, err) < 0)
            return err_wrap(err, "--haproxy-version");
        return 0;
    }
    if (place_find_program(o->haproxy_binary, &binary, err) < 0)
        return err_wrap(err, "what HAProxy can do is not known (--haproxy-version 3.2 renders without a program)");
    if (place_probe(binary, &w->caps, err) < 0)
        return -1;
    w->probed = STEAL(binary);
    return 0;
}

int workbench_make_store(struct workbench *w, struct err *err)
{
    VEC(const char *) ignored = {0};
    bool changed;

    w->store = store_new(OBJECT_MAX, STORE_MAX);
    vault_fix_handles(store_vault(w->store));
    if (default_certificate_init(&w->default_certificate, NULL, store_vault(w->store), err) < 0)
        return -1;
    if (w->options.default_certificate != NULL)
        snprintf(w->default_certificate.handle, sizeof(w->default_certificate.handle), "%s",
                 w->options.default_certificate);
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

int workbench_read_config(struct workbench *w, bool *ret_usable, struct err *err)
{
    *ret_usable = true;
    if (w->options.dump != NULL && w->options.config_file == NULL)
        return workbench_dump_config(w, err);
    if (w->options.dump != NULL && workbench_dump_caps(w, err) < 0)
        return -1;
    if (load_config(w, ret_usable, err) < 0)
        return -1;
    for (size_t i = 0; *ret_usable && w->options.contexts != NULL && w->options.contexts[i] != NULL; i++)
        if (merge_context(w->config, w->options.contexts[i], err) < 0)
            return -1;
    return 0;
}

/* The renderer loads the templates and gets objects while others are still being read. */
static void on_store_event(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                           struct object *before)
{
    struct workbench *w = ctx;

    (void)event, (void)kind, (void)now, (void)before;
    if (++w->objects_put % OBJECTS_PER_TURN == 0)
        uv_run(w->loop, UV_RUN_NOWAIT);
}

int workbench_read_objects(struct workbench *w, struct err *err)
{
    uv_run(w->loop, UV_RUN_NOWAIT); /* the renderer starts */
    store_listen(w->store, on_store_event, w);
    int result = w->options.dump != NULL ? workbench_dump_objects(w, err) : read_sources(w, err);
    store_unlisten(w->store, on_store_event, w);
    workbench_follow(w);
    return result;
}
