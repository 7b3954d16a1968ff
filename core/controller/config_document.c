/* A configuration is one document; each library that it names is another one. All are read by the same tables into the
 * same configuration: the libraries in the order of libraryRefs, then the configuration's own fields. Each of several
 * files may have such a document. The files are read in order, and a later field wins. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "controller/config.h"
#include "controller/config_paths.h"
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

/* A text with documents. */
struct part {
    const char *name; /* for messages */
    const char *text;
    size_t length;
    struct yaml_docs docs;
};

/* A document and the text that contains it. */
struct placed {
    const struct yaml_doc *doc;
    const struct part *part;
};
struct documents {
    VEC(struct placed) items;
};

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

static const struct placed *find_library(const struct documents *docs, const char *name)
{
    for (size_t i = 0; i < docs->items.length; i++) {
        yyjson_val *root = yyjson_doc_get_root(docs->items.items[i].doc->json);
        const char *found = config_is_library(root) ? json_str(root, "metadata", "name") : NULL;
        if (found != NULL && strcmp(found, name) == 0)
            return &docs->items.items[i];
    }
    return NULL;
}

/* Stores the revision of the library that was found. If a revision was requested, it is the same one. */
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

static int merge(struct reader *r, const struct documents *docs, yyjson_val *at, struct config_ref *ref)
{
    const struct placed *library = find_library(docs, ref->name);
    struct reader of_library = *r;

    if (library == NULL) {
        CLEANUP(free_ptr) char *message = xasprintf("there is no " CONFIG_LIBRARY_KIND " \"%.64s\"", ref->name);
        return reader_fail(r, at, "libraryRefs", message);
    }
    yyjson_val *spec = json_at(yyjson_doc_get_root(library->doc->json), "spec");
    if (check_revision(r, at, ref, json_str(spec, "revision")) < 0)
        return -1;
    CLEANUP(free_ptr) char *name = xasprintf(CONFIG_LIBRARY_KIND " %s", ref->name);
    of_library.doc = library->doc;
    of_library.file = library->part->name;
    of_library.path[0] = '\0';
    if (r->has_no_lines)
        of_library.file = name;
    return config_read_library(&of_library, ref->name, spec);
}

static int merge_libraries(struct reader *r, const struct documents *docs, yyjson_val *spec)
{
    yyjson_val *refs = config_refs_of(spec), *item;
    size_t i, n, before = r->config->refs.length;

    if (refs != NULL && !yyjson_is_null(refs) && !yyjson_is_arr(refs))
        return reader_fail(r, refs, "libraryRefs", "must be a list of objects with a name");
    if (yyjson_arr_size(refs) > REFS_MAX)
        return reader_fail(r, refs, "libraryRefs", "has more than 50 entries");
    yyjson_arr_foreach(refs, i, n, item)
    {
        if (read_ref(r, item) < 0 || merge(r, docs, item, &r->config->refs.items[before + i]) < 0)
            return -1;
    }
    return 0;
}

static void warn_of_libraries(struct config *c, const struct documents *docs)
{
    for (size_t i = 0; i < docs->items.length; i++) {
        yyjson_val *root = yyjson_doc_get_root(docs->items.items[i].doc->json);
        const char *name = json_str(root, "metadata", "name");
        bool named = !config_is_library(root);
        for (size_t k = 0; !named && name != NULL && k < c->refs.length; k++)
            named = strcmp(c->refs.items[k].name, name) == 0;
        if (!named)
            vec_push(&c->warnings, xasprintf("%s: library %s has no effect: libraryRefs does not name it",
                                             docs->items.items[i].part->name, name != NULL ? name : "without a name"));
    }
}

/* ---- whole documents ---- */

static char *unknown_library(const char *name)
{
    struct nearest nearest = {.word = name};
    VEC(char *) known = {0};

    for (size_t i = 0; i < embedded_count(); i++) {
        const char *path = embedded_at(i).name, *end = strstr(path, ".lua"), *prefix = "templates/";
        if (strncmp(path, prefix, strlen(prefix)) != 0 || end == NULL || strchr(path + strlen(prefix), '/') != NULL)
            continue;
        vec_push(&known, xmemdup0(path + strlen(prefix), (size_t)(end - path) - strlen(prefix)));
        nearest_offer(&nearest, known.items[known.length - 1]);
    }
    char *message = xasprintf("there is no library \"%.64s\"%s%s%s", name, nearest.found ? "; did you mean \"" : "",
                              nearest.found ? nearest.found : "", nearest.found ? "\"?" : "");
    for (size_t i = 0; i < known.length; i++)
        free(known.items[i]);
    vec_done(&known);
    return message;
}

/* Checks that concern several fields. */
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
            CLEANUP(free_ptr) char *message = unknown_library(c->libraries.items[i]);
            return reader_fail(r, spec, "templatingSettings.libraries", message);
        }
    }
    return 0;
}

/* "_global" has what all tests share; it is no test. */
static bool has_tests(yyjson_val *spec)
{
    yyjson_val *tests = yyjson_obj_get(spec, "validationTests");

    if (tests == NULL)
        tests = yyjson_obj_get(spec, "validation_tests");
    return yyjson_obj_size(tests) > (yyjson_obj_get(tests, "_global") != NULL ? 1 : 0);
}

static int parse_part(struct part *part, struct documents *docs, struct err *err)
{
    struct json_position at = {0};
    size_t mains = 0, line = 1;

    if (yaml_parse(part->text, part->length, CONFIG_FILE_MAX, &part->docs, &at, err) < 0) {
        CLEANUP(free_ptr) char *why = xstrdup(err->text);
        return err_set(err, err->kind, "%s:%zu:%zu: %s", part->name, at.line, at.column, why);
    }
    for (size_t i = 0; i < part->docs.length; i++) {
        vec_push(&docs->items, ((struct placed){.doc = &part->docs.items[i], .part = part}));
        yyjson_val *root = yyjson_doc_get_root(part->docs.items[i].json);
        mains += !config_is_library(root);
        line = mains == 2 ? yaml_line(&part->docs.items[i], root) : line;
    }
    if (mains > 1)
        return err_set(err, ERR_INVALID,
                       "%s:%zu: must hold one YAML document besides those of " CONFIG_LIBRARY_KIND ", not %zu",
                       part->name, line, mains);
    return 0;
}

/* Reads the fields of a resource, or of its spec alone. */
static int spec_of(struct reader *r, yyjson_val **ret_spec)
{
    yyjson_val *spec = yyjson_doc_get_root(r->doc->json);

    if (!yyjson_is_obj(spec))
        return err_set(r->err, ERR_INVALID, "%s:1: must be an object with the fields of HAProxyTemplateConfig.spec",
                       r->file);
    if (yyjson_obj_get(spec, "kind") != NULL || yyjson_obj_get(spec, "spec") != NULL) {
        const char *kind = json_str(spec, "kind");
        if (kind == NULL || strcmp(kind, "HAProxyTemplateConfig") != 0) {
            CLEANUP(free_ptr)
            char *message = xasprintf("must be HAProxyTemplateConfig%s%.64s%s", kind ? ", not \"" : "",
                                      kind ? kind : "", kind ? "\"" : "");
            return reader_fail(r, reader_key(spec, "kind"), "kind", message);
        }
        yyjson_val *inner = yyjson_obj_get(spec, "spec");
        if (!yyjson_is_obj(inner))
            return reader_fail(r, spec, "spec", "is missing or not an object");
        spec = inner;
    }
    *ret_spec = spec;
    return 0;
}

/* name is that of the first part. */
static int read_documents(struct config *c, const char *name, const struct documents *docs, bool is_resource,
                          struct err *err)
{
    struct reader r = {.config = c, .warnings = &c->warnings, .err = err, .has_no_lines = is_resource};
    yyjson_val *spec = NULL;

    for (size_t i = 0; i < docs->items.length; i++) {
        const struct placed *p = &docs->items.items[i];
        if (config_is_library(yyjson_doc_get_root(p->doc->json)))
            continue;
        r.doc = p->doc;
        r.file = p->part->name;
        r.path[0] = '\0';
        if (spec_of(&r, &spec) < 0 || merge_libraries(&r, docs, spec) < 0 || config_read_part(&r, spec) < 0)
            return -1;
    }
    if (spec == NULL)
        return err_set(err, ERR_INVALID,
                       "%s:1: there is no configuration here: write an HAProxyTemplateConfig, or the fields of its "
                       "spec",
                       name);
    warn_of_libraries(c, docs);
    return config_read_end(&r, spec) < 0 || check_whole(&r, spec) < 0 ? -1 : 0;
}

/* Joins all texts, for the digest and for the process that runs the tests. */
static void join_texts(const struct part *parts, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_puts(out, "\n---\n");
        buf_add(out, parts[i].text, parts[i].length);
    }
}

static int parse(struct part *parts, size_t count, bool is_resource, struct config **ret_config, struct err *err)
{
    CLEANUP(config_cleanup) struct config *c = config_new_default();
    CLEANUP(buf_done) struct buf whole = {0};
    struct documents docs = {0};
    int result = 0;

    for (size_t i = 0; i < count && result == 0; i++)
        result = parse_part(&parts[i], &docs, err);
    if (result == 0)
        result = read_documents(c, parts[0].name, &docs, is_resource, err);
    if (result == 0) {
        join_texts(parts, count, &whole);
        c->digest = config_template_digest(c, buf_str(&whole), whole.length);
        for (size_t i = 0; i < docs.items.length; i++) {
            yyjson_val *root = yyjson_doc_get_root(docs.items.items[i].doc->json);
            c->has_tests = c->has_tests || has_tests(root) || has_tests(yyjson_obj_get(root, "spec"));
        }
        if (c->has_tests) {
            c->tested_length = whole.length;
            c->tested_text = buf_steal(&whole);
        }
        *ret_config = STEAL(c);
    }
    for (size_t i = 0; i < count; i++)
        yaml_docs_done(&parts[i].docs);
    vec_done(&docs.items);
    return result;
}

int config_parse(const char *name, const char *text, size_t length, struct config **ret_config, struct err *err)
{
    struct part part = {.name = name, .text = text, .length = length};

    return parse(&part, 1, false, ret_config, err);
}

int config_parse_resource(const char *name, const char *spec, size_t length, struct config **ret_config,
                          struct err *err)
{
    struct part part = {.name = name, .text = spec, .length = length};

    return parse(&part, 1, true, ret_config, err);
}

static int read_file(const char *path, struct buf *text, struct err *err)
{
    /* Opening a FIFO must not wait for its other end. */
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_sys(err, errno, "configuration %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "configuration %s: must be a regular file", path);
    for (;;) {
        char *room = buf_room(text, READ_BYTES, err);
        if (room == NULL)
            return err_set(err, ERR_LIMIT, "configuration %s is larger than %zu bytes", path, CONFIG_FILE_MAX);
        ssize_t n = read(fd, room, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "configuration %s", path);
        if (n == 0)
            return 0;
        buf_grew(text, (size_t)n);
    }
}

static int load(const struct config_strings *files, struct config **ret_config, struct err *err)
{
    VEC(struct buf) texts = {0};
    VEC(struct part) parts = {0};
    int result = 0;

    for (size_t i = 0; i < files->length && result == 0; i++) {
        struct buf text;
        buf_init(&text, CONFIG_FILE_MAX);
        result = read_file(files->items[i], &text, err);
        vec_push(&texts, text);
        vec_push(&parts, ((struct part){.name = files->items[i], .text = buf_str(&text), .length = text.length}));
    }
    if (result == 0)
        result = parse(parts.items, parts.length, false, ret_config, err);
    vec_done(&parts);
    for (size_t i = 0; i < texts.length; i++)
        buf_done(&texts.items[i]);
    vec_done(&texts);
    return result;
}

int config_load_file(const char *path, struct config **ret_config, struct err *err)
{
    struct config_strings files = {0};

    vec_push(&files, xstrdup(path));
    int result = load(&files, ret_config, err);
    config_paths_done(&files);
    return result;
}

int config_load(const char *path, struct config **ret_config, struct err *err)
{
    struct config_strings files = {0};
    int result = config_paths(path, &files, err);

    if (result == 0)
        result = load(&files, ret_config, err);
    config_paths_done(&files);
    return result;
}

void config_warn(const struct config *c)
{
    if (c->moved.length > 0)
        log_warn("The original of an override has changed; check that the override is still right", "overrides",
                 buf_str(&c->moved));
    for (size_t i = 0; i < c->warnings.length; i++)
        log_warn("Configuration", "warning", c->warnings.items[i]);
}
