/* A configuration is one document, and the libraries that it names are others: each is read by the same tables into the
 * same configuration, in the order of libraryRefs, and the configuration's own fields last. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "controller/config.h"
#include "controller/config_read.h"
#include "controller/config_template.h"
#include "data/json.h"
#include "engine/embedded.h"

#define READ_BYTES ((size_t)65536)
#define REFS_MAX 50

/* ---- libraries ---- */

bool config_is_library(yyjson_val *document)
{
    const char *kind = json_str(document, "kind");

    return kind != NULL && strcmp(kind, CONFIG_LIBRARY_KIND) == 0;
}

yyjson_val *config_refs_of(yyjson_val *spec)
{
    yyjson_val *refs = yyjson_obj_get(spec, "libraryRefs");

    return refs != NULL ? refs : yyjson_obj_get(spec, "library_refs");
}

struct ref_raw {
    char *name, *revision;
};

static int read_ref(struct reader *r, yyjson_val *value)
{
    static const struct field fields[] = {
        {.name = "name", .type = FIELD_STRING, .required = true, .offset = offsetof(struct ref_raw, name)},
        {.name = "revision", .type = FIELD_STRING, .offset = offsetof(struct ref_raw, revision)},
        {0},
    };
    struct ref_raw raw = {0};
    int result = yyjson_is_obj(value) ? reader_object(r, value, fields, &raw)
                                      : reader_fail(r, value, "libraryRefs", "must be a list of objects with a name");

    for (size_t i = 0; result == 0 && i < r->config->refs.length; i++)
        if (strcmp(r->config->refs.items[i].name, raw.name) == 0)
            result = reader_fail(r, value, "libraryRefs", "has the same library twice");
    if (result < 0) {
        free(raw.name);
        free(raw.revision);
        return -1;
    }
    vec_push(&r->config->refs, ((struct config_ref){.name = raw.name, .revision = raw.revision}));
    return 0;
}

static const struct yaml_doc *find_library(const struct yaml_docs *docs, const char *name)
{
    for (size_t i = 0; i < docs->length; i++) {
        yyjson_val *root = yyjson_doc_get_root(docs->items[i].json);
        const char *found = config_is_library(root) ? json_str(root, "metadata", "name") : NULL;
        if (found != NULL && strcmp(found, name) == 0)
            return &docs->items[i];
    }
    return NULL;
}

/* The revision that the library has takes the place of the one that was asked for: they are the same, or there was
 * none. */
static int check_revision(struct reader *r, yyjson_val *at, struct config_ref *ref, const char *revision)
{
    CLEANUP(free_ptr) char *message = NULL;

    if (revision == NULL || *revision == '\0')
        message = xasprintf("library %.64s has no spec.revision", ref->name);
    else if (ref->revision != NULL && strcmp(ref->revision, revision) != 0)
        message = xasprintf("library %.64s has revision \"%.64s\", and \"%.64s\" is asked for", ref->name, revision,
                            ref->revision);
    if (message != NULL)
        return reader_fail(r, at, "libraryRefs", message);
    free(ref->revision);
    ref->revision = xstrdup(revision);
    return 0;
}

static int merge(struct reader *r, const struct yaml_docs *docs, yyjson_val *at, struct config_ref *ref)
{
    const struct yaml_doc *doc = find_library(docs, ref->name);
    struct reader of_library = *r;

    if (doc == NULL) {
        CLEANUP(free_ptr) char *message = xasprintf("there is no " CONFIG_LIBRARY_KIND " \"%.64s\"", ref->name);
        return reader_fail(r, at, "libraryRefs", message);
    }
    yyjson_val *spec = json_at(yyjson_doc_get_root(doc->json), "spec");
    if (check_revision(r, at, ref, json_str(spec, "revision")) < 0)
        return -1;
    CLEANUP(free_ptr) char *name = xasprintf(CONFIG_LIBRARY_KIND " %s", ref->name);
    of_library.doc = doc;
    of_library.path[0] = '\0';
    if (r->has_no_lines)
        of_library.file = name;
    return config_read_library(&of_library, ref->name, spec);
}

int config_merge_libraries(struct reader *r, const struct yaml_docs *docs, size_t main, yyjson_val *spec)
{
    yyjson_val *refs = config_refs_of(spec), *item;
    size_t i, n;

    if (refs != NULL && !yyjson_is_null(refs) && !yyjson_is_arr(refs))
        return reader_fail(r, refs, "libraryRefs", "must be a list of objects with a name");
    if (yyjson_arr_size(refs) > REFS_MAX)
        return reader_fail(r, refs, "libraryRefs", "has more than 50 entries");
    yyjson_arr_foreach(refs, i, n, item)
    {
        if (read_ref(r, item) < 0 || merge(r, docs, item, &r->config->refs.items[i]) < 0)
            return -1;
    }
    for (size_t j = 0; j < docs->length; j++) {
        const char *name = json_str(yyjson_doc_get_root(docs->items[j].json), "metadata", "name");
        bool named = j == main;
        for (size_t k = 0; !named && name != NULL && k < r->config->refs.length; k++)
            named = strcmp(r->config->refs.items[k].name, name) == 0;
        if (!named)
            vec_push(r->warnings, xasprintf("%s: library %s has no effect: libraryRefs does not name it", r->file,
                                            name != NULL ? name : "without a name"));
    }
    return 0;
}

/* ---- whole documents ---- */

/* Rules across fields. */
static int check_whole(struct reader *r, yyjson_val *spec)
{
    struct config *c = r->config;
    struct elector_config elector;
    struct err why;

    elector_config_defaults(&elector);
    elector.lease_name = c->lease_name;
    elector.namespace = elector.identity = "x";
    elector.lease_duration_ns = c->lease_duration_ns;
    elector.renew_deadline_ns = c->renew_deadline_ns;
    elector.retry_period_ns = c->retry_period_ns;
    yyjson_val *controller = yyjson_obj_get(spec, "controller");
    if (c->leader_election && elector_config_check(&elector, &why) < 0)
        return reader_fail(r, controller ? controller : spec, "controller.leaderElection", why.text);
    if (c->kinds.length == 0)
        return reader_fail(r, spec, "watchedResources", "must name at least one resource");
    for (size_t i = 0; i < c->libraries.length; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("templates/%s.lua", c->libraries.items[i]);
        struct embedded_file file;
        if (!embedded_find(name, &file)) {
            CLEANUP(free_ptr) char *message = xasprintf("there is no library \"%s\"", c->libraries.items[i]);
            return reader_fail(r, spec, "templatingSettings.libraries", message);
        }
    }
    return 0;
}

/* "_global" is what the tests share, and none of them. */
static bool has_tests(yyjson_val *spec)
{
    yyjson_val *tests = yyjson_obj_get(spec, "validationTests");

    if (tests == NULL)
        tests = yyjson_obj_get(spec, "validation_tests");
    return yyjson_obj_size(tests) > (yyjson_obj_get(tests, "_global") != NULL ? 1 : 0);
}

/* The one document that is no library. */
static int find_main(const struct yaml_docs *docs, const char *name, size_t *ret_main, struct err *err)
{
    size_t count = 0;

    for (size_t i = 0; i < docs->length; i++)
        if (!config_is_library(yyjson_doc_get_root(docs->items[i].json))) {
            *ret_main = i;
            count++;
        }
    if (count == 1)
        return 0;
    return err_set(err, ERR_INVALID,
                   "%s: must hold one YAML document besides those of " CONFIG_LIBRARY_KIND ", not %zu", name, count);
}

static int parse(const char *name, const char *text, size_t length, bool is_resource, struct config **ret_config,
                 struct err *err)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    CLEANUP(config_cleanup) struct config *c = config_new_default();
    struct json_position at = {0};

    if (yaml_parse(text, length, CONFIG_FILE_MAX, &docs, &at, err) < 0) {
        CLEANUP(free_ptr) char *why = xstrdup(err->text);
        return err_set(err, err->kind, "%s:%zu: %s", name, at.line, why);
    }
    size_t main = 0;
    if (find_main(&docs, name, &main, err) < 0)
        return -1;
    struct reader r = {.config = c, .warnings = &c->warnings, .doc = &docs.items[main], .file = name, .err = err};
    r.has_no_lines = is_resource;
    yyjson_val *spec = yyjson_doc_get_root(r.doc->json);
    if (!yyjson_is_obj(spec))
        return err_set(err, ERR_INVALID, "%s:1: must be an object with the fields of HAProxyTemplateConfig.spec", name);
    if (yyjson_obj_get(spec, "kind") != NULL || yyjson_obj_get(spec, "spec") != NULL) {
        const char *kind = json_str(spec, "kind");
        if (kind == NULL || strcmp(kind, "HAProxyTemplateConfig") != 0)
            return reader_fail(&r, spec, "kind", "must be HAProxyTemplateConfig");
        yyjson_val *inner = yyjson_obj_get(spec, "spec");
        if (!yyjson_is_obj(inner))
            return reader_fail(&r, spec, "spec", "is missing or not an object");
        spec = inner;
    }
    if (config_merge_libraries(&r, &docs, main, spec) < 0 || config_read_spec(&r, spec) < 0)
        return -1;
    if (check_whole(&r, spec) < 0)
        return -1;
    c->digest = config_template_digest(c, text, length);
    c->has_tests = has_tests(spec);
    for (size_t i = 0; i < docs.length; i++)
        c->has_tests = c->has_tests || has_tests(yyjson_obj_get(yyjson_doc_get_root(docs.items[i].json), "spec"));
    if (c->has_tests) {
        c->tested_text = xmemdup0(text, length);
        c->tested_length = length;
    }
    *ret_config = STEAL(c);
    return 0;
}

int config_parse(const char *name, const char *text, size_t length, struct config **ret_config, struct err *err)
{
    return parse(name, text, length, false, ret_config, err);
}

int config_parse_resource(const char *name, const char *spec, size_t length, struct config **ret_config,
                          struct err *err)
{
    return parse(name, spec, length, true, ret_config, err);
}

int config_load(const char *path, struct config **ret_config, struct err *err)
{
    /* Not to wait for the other end of a FIFO. */
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    CLEANUP(buf_done) struct buf text;
    struct stat st;

    buf_init(&text, CONFIG_FILE_MAX);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_sys(err, errno, "configuration %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "configuration %s: must be a regular file", path);
    for (;;) {
        char *room = buf_room(&text, READ_BYTES, err);
        if (room == NULL)
            return err_set(err, ERR_LIMIT, "configuration %s is larger than %zu bytes", path, CONFIG_FILE_MAX);
        ssize_t n = read(fd, room, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "configuration %s", path);
        if (n == 0)
            break;
        buf_grew(&text, (size_t)n);
    }
    return config_parse(path, buf_str(&text), text.length, ret_config, err);
}

void config_warn(const struct config *c)
{
    if (c->moved.length > 0)
        log_warn("What an override was made against has changed; look whether it is still right", "overrides",
                 buf_str(&c->moved));
    for (size_t i = 0; i < c->warnings.length; i++)
        log_warn("Configuration", "warning", c->warnings.items[i]);
}
