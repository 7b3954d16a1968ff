/* Libraries of the configuration in force come from the source. A library that only the candidate names is fetched. */
#include "controller/candidate_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"

/* The limit of libraries in one configuration. */
#define LIBRARIES_MAX 50

/* ---- the candidate ---- */

static bool is_followed_library(const struct config_source *source, const char *name)
{
    struct config_object library;

    for (size_t i = 0; config_source_library(source, i, &library); i++)
        if (strcmp(library.name, name) == 0)
            return true;
    return false;
}

static bool is_same_spec(const struct review *review)
{
    return review->old_object != NULL &&
           yyjson_equals(yyjson_obj_get(review->object, "spec"), yyjson_obj_get(review->old_object, "spec"));
}

int candidate_text_init(struct candidate_text *t, const struct config_source *source, const struct review *review,
                        bool *ret_concerns, struct err *err)
{
    struct config_object own;
    bool is_library = strcmp(review->resource, CONFIG_LIBRARY_RESOURCE) == 0;

    *t = (struct candidate_text){.json = {.max = 2 * CONFIG_FILE_MAX}};
    *ret_concerns = false;
    if (!review_has_version(review, CONFIG_API_VERSION) || *review->subresource != '\0' || review->object == NULL ||
        (!is_library && strcmp(review->resource, CONFIG_RESOURCE) != 0) ||
        json_at(review->object, "metadata", "deletionTimestamp") != NULL)
        return 0;
    config_source_identity(source, &own);
    if (own.namespace == NULL || strcmp(review->namespace, own.namespace) != 0 ||
        !(is_library ? is_followed_library(source, review->name) : strcmp(review->name, own.name) == 0) ||
        is_same_spec(review))
        return 0;
    *ret_concerns = true;
    t->is_library = is_library;
    t->name = xstrdup(review->name);
    if (is_library)
        return json_write(&t->json, review->object, NULL, err);
    yyjson_val *spec = yyjson_obj_get(review->object, "spec");
    return yyjson_is_obj(spec) ? json_write(&t->json, spec, NULL, err)
                               : err_set(err, ERR_INVALID, "%s: spec: is missing", config_source_name(source));
}

void candidate_text_done(struct candidate_text *t)
{
    free(t->name);
    free(t->missing);
    buf_done(&t->json);
    for (size_t i = 0; i < t->fetched.length; i++) {
        free(t->fetched.items[i].name);
        buf_done(&t->fetched.items[i].json);
    }
    vec_done(&t->fetched);
    *t = (struct candidate_text){0};
}

void candidate_text_add(struct candidate_text *t, const char *name, const char *json, size_t length)
{
    struct candidate_library library = {.name = xstrdup(name)};

    if (json != NULL)
        buf_add(&library.json, json, length);
    vec_push(&t->fetched, library);
}

/* ---- the complete text ---- */

/* The text of a library; length 0 when there is no library of that name. Returns false when it is not known yet. */
static bool find_library(const struct candidate_text *t, const struct config_source *source, const char *name,
                         const char **ret_json, size_t *ret_length)
{
    struct config_object library;

    *ret_json = "";
    *ret_length = 0;
    if (t->is_library && strcmp(t->name, name) == 0) {
        *ret_json = buf_str(&t->json);
        *ret_length = t->json.length;
        return true;
    }
    for (size_t i = 0; config_source_library(source, i, &library); i++)
        if (strcmp(library.name, name) == 0 && library.length > 0) {
            *ret_json = library.json;
            *ret_length = library.length;
            return true;
        }
    for (size_t i = 0; i < t->fetched.length; i++)
        if (strcmp(t->fetched.items[i].name, name) == 0) {
            *ret_json = buf_str(&t->fetched.items[i].json);
            *ret_length = t->fetched.items[i].json.length;
            return true;
        }
    return false;
}

static int add_library(struct candidate_text *t, const struct config_source *source, const char *name, struct buf *out,
                       const char **ret_missing, struct err *err)
{
    const char *json;
    size_t length;

    if (!find_library(t, source, name, &json, &length)) {
        free(t->missing);
        *ret_missing = t->missing = xstrdup(name);
        return 0;
    }
    if (length > 0 && (buf_try_add(out, "\n---\n", 5, err) < 0 || buf_try_add(out, json, length, err) < 0))
        return err_wrap(err, "%s: its libraries", config_source_name(source));
    return 0;
}

int candidate_text_write(struct candidate_text *t, const struct config_source *source, struct buf *out,
                         const char **ret_missing, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct config_object own;
    yyjson_val *item;
    size_t i, n;

    *ret_missing = NULL;
    buf_clear(out);
    if (t->is_library && !config_source_object(source, &own))
        return err_set(err, ERR_NOTFOUND, "%s: it was not read yet", config_source_name(source));
    const char *json = t->is_library ? own.json : buf_str(&t->json);
    size_t length = t->is_library ? own.length : t->json.length;
    if (json_parse(json, length, 2 * CONFIG_FILE_MAX, &doc, err) < 0)
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc), *spec = t->is_library ? yyjson_obj_get(root, "spec") : root;
    if (json_write(out, spec, NULL, err) < 0)
        return -1;
    yyjson_arr_foreach(config_refs_of(spec), i, n, item)
    {
        const char *name = json_str(item, "name");
        if (name == NULL || *name == '\0' || strchr(name, '/') != NULL || i >= LIBRARIES_MAX)
            continue; /* the reader of the configuration reports the error */
        if (add_library(t, source, name, out, ret_missing, err) < 0)
            return -1;
        if (*ret_missing != NULL)
            return 0;
    }
    return 0;
}
