/* A whole file is read and parsed. Then each of its objects is matched with the kinds of the store: by apiVersion and
 * the plural of its kind, then by namespaces and selectors, as the API server would apply them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "data/selector.h"
#include "store/source_dir_state.h"

struct filter {
    struct label_selector *labels;
    struct field_selector *fields;
};

/* ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

void dir_filters_clear(struct map *filters)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(filters, &it));) {
        struct filter *filter = slot->value;
        label_selector_free(filter->labels);
        field_selector_free(filter->fields);
        free(filter);
    }
    map_clear(filters);
}

int dir_filters_make(struct source_dir *d, struct err *err)
{
    struct map filters;

    map_init(&filters, false);
    for (size_t i = 0; i < store_kind_count(d->store); i++) {
        const struct store_kind_spec *spec = store_kind_spec(store_kind_at(d->store, i));
        struct filter *filter = xcalloc(1, sizeof(*filter));
        (void)map_put(&filters, spec->name, filter);
        if (label_selector_compile(spec->label_selector, &filter->labels, err) < 0 ||
            field_selector_compile(spec->field_selector, &filter->fields, err) < 0) {
            dir_filters_clear(&filters);
            return err_wrap(err, "watched resource \"%s\"", spec->name);
        }
    }
    dir_filters_clear(&d->filters);
    d->filters = filters;
    return 0;
}

static bool passes(const struct source_dir *d, const struct store_kind_spec *spec, const struct manifest_object *o)
{
    const struct filter *filter = map_get(&d->filters, spec->name);
    bool is_listed = !spec->namespaces || !spec->namespaces[0] || !*o->namespace;

    for (size_t i = 0; !is_listed && spec->namespaces[i]; i++)
        is_listed = strcmp(spec->namespaces[i], o->namespace) == 0;
    return is_listed && filter && label_selector_matches(filter->labels, json_at(o->value, "metadata", "labels")) &&
           field_selector_matches(filter->fields, o->value);
}

/* ── one file ────────────────────────────────────────────────────────────────────────────────────────────────────────── */

void dir_file_wrong(struct source_dir *d, struct dir_file *file, size_t line, const char *message)
{
    file->is_wrong = true;
    d->report(d->ctx, SOURCE_DIR_WRONG, file->path, line, message);
}

static int file_read(const char *path, struct buf *ret_text, struct stat *ret_stat, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return err_set_sys(err, errno, "cannot read the file");
    for (;;) {
        char *room = buf_room(ret_text, 65536, err);
        if (!room)
            return err_set(err, ERR_LIMIT, "the file has more than %zu MiB: divide it into several files",
                           SOURCE_DIR_FILE_BYTES_MAX >> 20);
        ssize_t length = read(fd, room, 65536);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return err_set_sys(err, errno, "cannot read the file");
        buf_grew(ret_text, (size_t)length);
        if (length == 0)
            return 0;
    }
}

static bool has_end(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);

    return length > end_length && strcasecmp(path + length - end_length, end) == 0;
}

bool dir_is_manifest(const char *path)
{
    return has_end(path, ".yaml") || has_end(path, ".yml") || has_end(path, ".json");
}

#define PARSE_BYTES (SOURCE_DIR_FILE_BYTES_MAX + 65536) /* the limit of texts held at a time; no file is longer */

/* Parse what was read. */
static void parse_read(struct manifest_text *texts, struct buf *read, struct dir_file *const *files, size_t count)
{
    manifest_parse_all(texts, count, SOURCE_DIR_FILE_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        files[i]->parsed = texts[i];
        buf_done(&read[i]);
    }
}

void dir_files_parse(struct dir_file *const *files, size_t count)
{
    struct manifest_text *texts = xcalloc(count + 1, sizeof(*texts));
    struct buf *read = xcalloc(count + 1, sizeof(*read));
    VEC(struct dir_file *) ready = {0};
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        struct dir_file *file = files[i];
        struct buf text = {.max = PARSE_BYTES};
        if (file->is_gone || file->is_parsed)
            continue;
        file->is_parsed = true;
        file->parsed = (struct manifest_text){0};
        if (file_read(file->path, &text, &file->stat, &file->parsed.err) < 0) {
            file->parsed.result = -1;
            buf_done(&text);
            continue;
        }
        if (bytes > 0 && bytes + text.length > PARSE_BYTES) {
            parse_read(texts, read, ready.items, ready.length);
            vec_clear(&ready);
            bytes = 0;
        }
        bytes += text.length;
        read[ready.length] = text;
        texts[ready.length] = (struct manifest_text){
            .text = buf_str(&read[ready.length]), .length = text.length, .is_json = has_end(file->path, ".json")};
        vec_push(&ready, file);
    }
    parse_read(texts, read, ready.items, ready.length);
    vec_done(&ready);
    free(texts);
    free(read);
}

/* The result of dir_files_parse(), which is called here if it was not called before. */
static int file_parse(struct dir_file *file, struct json_position *at, struct manifest *ret_manifest, struct err *err)
{
    dir_files_parse(&file, 1);
    file->is_parsed = false;
    *at = file->parsed.at;
    if (file->parsed.result < 0) {
        *err = file->parsed.err;
        return -1;
    }
    *ret_manifest = file->parsed.manifest;
    file->parsed.manifest = (struct manifest){0};
    return 0;
}

static void file_add_entry(struct source_dir *d, struct dir_file *file, struct map *own, struct store_kind *kind,
                           size_t object)
{
    const struct manifest_object *o = &file->manifest.items[object];
    char *key = xasprintf("%s/%s%s%s", store_kind_spec(kind)->name, o->namespace, *o->namespace ? "/" : "", o->name);

    if (map_get(own, key)) {
        CLEANUP(free_ptr)
        char *message = xasprintf("%s %s/%s is defined twice in this file; the first one is used", o->kind,
                                  o->namespace, o->name);
        dir_file_wrong(d, file, o->line, message);
        free(key);
        return;
    }
    vec_push(&file->entries, ((struct dir_entry){kind, key, object}));
    (void)map_put(own, key, kind);
}

/* Reports what the API server would say about an object. True when it would accept the object. */
static bool file_judge(struct source_dir *d, struct dir_file *file, const struct manifest_object *o)
{
    bool is_taken = true;

    for (size_t i = 0; i < o->findings.length; i++) {
        const struct manifest_finding *f = &o->findings.items[i];
        CLEANUP(free_ptr)
        char *message = xasprintf("%s %s%s%s: %s", o->kind, o->namespace, *o->namespace ? "/" : "", o->name,
                                  f->message);
        size_t line = f->line ? f->line : o->line;
        if (f->is_error)
            dir_file_wrong(d, file, line, message);
        else
            d->report(d->ctx, SOURCE_DIR_WARNING, file->path, line, message);
        is_taken = is_taken && !f->is_error;
    }
    return is_taken;
}

/* Takes ownership of key. */
static void hold(struct dir_file *file, char *key)
{
    (void)map_put(&file->held, key, file);
    free(key);
}

/* The objects of one kind, or of all kinds. Takes ownership of beginning. */
static void hold_beginning(struct dir_file *file, char *beginning)
{
    for (size_t i = 0; i < file->held_beginnings.length; i++)
        if (strcmp(file->held_beginnings.items[i], beginning) == 0) {
            free(beginning);
            return;
        }
    vec_push(&file->held_beginnings, beginning);
}

static void file_match_kinds(struct source_dir *d, struct dir_file *file, struct map *own, size_t object)
{
    const struct manifest_object *o = &file->manifest.items[object];
    CLEANUP(free_ptr) char *resource = manifest_resource_of(o->kind);
    bool is_watched = false, is_taken = true;

    for (size_t i = 0; i < store_kind_count(d->store); i++) {
        struct store_kind *kind = store_kind_at(d->store, i);
        const struct store_kind_spec *spec = store_kind_spec(kind);
        if (!store_kind_spec_has_version(spec, o->api_version) || strcmp(spec->resource, resource) != 0 ||
            store_kind_is_own(kind))
            continue;
        if (!is_watched)
            is_taken = file_judge(d, file, o);
        is_watched = true;
        store_kind_set_object_kind(kind, o->kind);
        if (!is_taken) /* its last good version stays */
            hold(file, xasprintf("%s/%s%s%s", spec->name, o->namespace, *o->namespace ? "/" : "", o->name));
        else if (passes(d, spec, o))
            file_add_entry(d, file, own, kind, object);
    }
    if (!is_watched && log_enabled(LOG_DEBUG))
        log_debug("Object of a kind that is not watched", "file", file->path, "apiVersion", o->api_version, "kind",
                  o->kind, "name", o->name);
}

/* While something in the file is wrong, its former objects stay. */
static void file_hold(struct source_dir *d, struct dir_file *file, const struct manifest_object *o)
{
    if (o->hold == MANIFEST_HOLD_ALL)
        hold_beginning(file, xstrdup(""));
    if (o->hold != MANIFEST_HOLD_OBJECT && o->hold != MANIFEST_HOLD_KIND)
        return;
    CLEANUP(free_ptr) char *resource = manifest_resource_of(o->kind);
    for (size_t i = 0; i < store_kind_count(d->store); i++) {
        const struct store_kind_spec *spec = store_kind_spec(store_kind_at(d->store, i));
        if (strcmp(spec->resource, resource) != 0)
            continue;
        if (o->hold == MANIFEST_HOLD_KIND) {
            hold_beginning(file, xasprintf("%s/", spec->name));
            continue;
        }
        hold(file, xasprintf("%s/%s/%s", spec->name, o->namespace, o->name));
        hold(file, xasprintf("%s/%s", spec->name, o->name));
    }
}

bool dir_file_holds(const struct dir_file *file, const char *key)
{
    for (size_t i = 0; i < file->held_beginnings.length; i++)
        if (strncmp(key, file->held_beginnings.items[i], strlen(file->held_beginnings.items[i])) == 0)
            return true;
    return map_get(&file->held, key) != NULL;
}

static void held_clear(struct dir_file *file)
{
    map_done(&file->held);
    map_init(&file->held, false);
    dir_keys_clear(&file->held_beginnings);
}

bool dir_file_load(struct source_dir *d, struct dir_file *file)
{
    struct json_position at = {0};
    struct err err = {0};
    struct map own;

    file->is_wrong = file->is_whole = false;
    held_clear(file);
    if (file_parse(file, &at, &file->manifest, &err) < 0) {
        dir_file_wrong(d, file, at.line, err.text);
        return false;
    }
    file->is_fresh = file->is_whole = true;
    map_init(&own, true);
    for (size_t i = 0; i < file->manifest.length; i++) {
        const struct manifest_object *o = &file->manifest.items[i];
        if (o->problem) {
            dir_file_wrong(d, file, o->line, o->problem);
            file_hold(d, file, o);
        } else
            file_match_kinds(d, file, &own, i);
    }
    file->was_right = file->was_right || !file->is_wrong;
    map_done(&own);
    return true;
}

void dir_file_unload(struct dir_file *file)
{
    for (size_t i = 0; i < file->entries.length; i++)
        free(file->entries.items[i].key);
    vec_clear(&file->entries);
    held_clear(file);
    manifest_done(&file->manifest);
    file->is_fresh = false;
}

void dir_keys_clear(struct dir_keys *keys)
{
    for (size_t i = 0; i < keys->length; i++)
        free(keys->items[i]);
    vec_clear(keys);
}

void dir_file_free(struct dir_file *file)
{
    dir_file_unload(file);
    vec_done(&file->entries);
    vec_done(&file->held_beginnings);
    dir_keys_clear(&file->keys);
    vec_done(&file->keys);
    free(file->path);
    free(file);
}
