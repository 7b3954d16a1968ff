/* The texts are those that `haptic render -t objects` and `-t status` print. */
#include "offline/test_wish.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/nearest.h"
#include "engine/embedded.h"

#define OBJECTS "k8s:"
#define STATUS "status:"
#define LISTED_BYTES 600

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* "objects/ingresses/shop/web.json" → "ingresses/shop/web" */
static char *name_of(const struct disk_file *file)
{
    const char *name = strchr(file->path, '/') + 1;

    return xmemdup0(name, strlen(name) - strlen(".json"));
}

static int fail_unknown(const struct disk_files *files, const char *prefix, const char *word, struct err *err)
{
    CLEANUP(buf_done) struct buf list = {0};
    CLEANUP(free_ptr) char *near = NULL;
    struct nearest nearest = {.word = word};

    for (size_t i = 0; i < files->items.length; i++) {
        CLEANUP(free_ptr) char *name = name_of(&files->items.items[i]);
        nearest_offer(&nearest, name);
        if (nearest.found == name) {
            free(near);
            near = xstrdup(name);
            nearest.found = near;
        }
        if (list.length < LISTED_BYTES)
            buf_printf(&list, "%s%s%s", list.length > 0 ? ", " : "", prefix, name);
    }
    return err_set(err, ERR_NOTFOUND, "there is no target \"%s%.100s\"%s%s%s%s; there are: %s", prefix, word,
                   nearest.found ? "; did you mean \"" : "", nearest.found ? prefix : "",
                   nearest.found ? nearest.found : "", nearest.found ? "\"?" : "",
                   list.length > 0 ? buf_str(&list) : "none");
}

/* ---- objects that templates want ---- */

struct search {
    const char *template_name;
    struct map wanted; /* "ingresses/shop/web" of the objects that it wants; values are not used */
};

static void look_at(void *ctx, const struct fragment *f)
{
    struct search *s = ctx;

    for (size_t i = 0; strcmp(f->template_name, s->template_name) == 0 && i < f->count; i++) {
        if (f->items[i].kind != CONTRIBUTION_OBJECT)
            continue;
        CLEANUP(free_ptr) char *name = xasprintf("%s/%s", f->items[i].scope, f->items[i].key);
        map_put(&s->wanted, name, s);
    }
}

static bool is_template(const struct workbench *w, const char *name)
{
    const struct config *c = workbench_config(w);
    CLEANUP(free_ptr) char *path = xasprintf("templates/%s", name);
    struct embedded_file file;

    for (size_t i = 0; i < c->snippets.items.length; i++)
        if (strcmp(c->snippets.items.items[i].name, name) == 0)
            return true;
    return embedded_find(path, &file);
}

static int put_objects(struct workbench *w, const char *word, struct buf *out, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files files = {0};
    struct search s = {.template_name = word};
    bool all = *word == '\0', of_template = !all && is_template(w, word), found = false;

    map_init(&s.wanted, true);
    workbench_objects(w, &files);
    workbench_each_fragment(w, look_at, &s);
    for (size_t i = 0; i < files.items.length; i++) {
        const struct disk_file *f = &files.items.items[i];
        CLEANUP(free_ptr) char *name = name_of(f);
        if (!all && !(of_template ? map_get(&s.wanted, name) != NULL : strcmp(name, word) == 0))
            continue;
        buf_add(out, f->bytes, f->length);
        found = true;
    }
    map_done(&s.wanted);
    return all || of_template || found ? 0 : fail_unknown(&files, OBJECTS, word, err);
}

/* ---- status ---- */

/* Cut off the state at the end of the reference's form, which says when a status is written. */
static int cut_state(char *word, struct err *err)
{
    static const char *const known[] = {"rendered", "deployed"}, *const failures[] = {"renderFailed", "deployFailed"};
    char *colon = strrchr(word, ':');

    for (size_t i = 0; colon != NULL && i < ARRAY_LEN(known); i++)
        if (strcmp(colon + 1, known[i]) == 0) {
            *colon = '\0';
            return 0;
        }
    for (size_t i = 0; colon != NULL && i < ARRAY_LEN(failures); i++)
        if (strcmp(colon + 1, failures[i]) == 0)
            return err_set(err, ERR_NOTFOUND,
                           "there is no target \"" STATUS "%.100s\": a template wishes one status, which is written "
                           "when its rendering is live, and a failure leaves it as it is. Write target: "
                           "rendering_error, or events",
                           word);
    return 0;
}

/* How many kinds have an object of that name: "ingresses/shop/web" where it is one. */
static size_t find_object(struct workbench *w, const char *word, char **ret_name)
{
    struct store *store = workbench_store(w);
    size_t count = 0;

    for (size_t i = 0; i < store_kind_count(store); i++) {
        const struct store_kind *kind = store_kind_at(store, i);
        const char *name = store_kind_spec(kind)->name;
        size_t length = strlen(name);
        const char *id = strncmp(word, name, length) == 0 && word[length] == '/' ? word + length + 1 : word;
        if (store_get(kind, id) == NULL)
            continue;
        free(*ret_name);
        *ret_name = xasprintf("%s/%s", name, id);
        count++;
    }
    return count;
}

static int put_status(struct workbench *w, const char *given, struct buf *out, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files files = {0};
    CLEANUP(free_ptr) char *word = xstrdup(given), *name = NULL;
    size_t found = 0, count;

    if (cut_state(word, err) < 0)
        return -1;
    count = find_object(w, word, &name);
    workbench_status(w, &files);
    for (size_t i = 0; i < files.items.length; i++) {
        const struct disk_file *f = &files.items.items[i];
        CLEANUP(free_ptr) char *full = name_of(f);
        const char *id = strchr(full, '/') + 1;
        if (strcmp(full, word) != 0 && strcmp(id, word) != 0)
            continue;
        if (++found > 1)
            return err_set(err, ERR_NOTFOUND,
                           "target \"" STATUS "%.100s\" is of several kinds; write the kind in front of it: \"" STATUS
                           "%s\"",
                           word, full);
        buf_add(out, f->bytes, f->length);
    }
    return found > 0 || count > 0 ? 0 : fail_unknown(&files, STATUS, word, err);
}

int test_wish(struct workbench *w, const char *target, struct buf *ret_text, bool *ret_is_wish, struct err *err)
{
    *ret_is_wish = begins(target, OBJECTS) || begins(target, STATUS);
    if (begins(target, OBJECTS))
        return put_objects(w, target + strlen(OBJECTS), ret_text, err);
    return *ret_is_wish ? put_status(w, target + strlen(STATUS), ret_text, err) : 0;
}
