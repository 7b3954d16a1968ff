/* Server-side apply removes fields that were applied before and are not wanted any more. Fields that another writer
 * removed or changed are found by comparing, as in a status. */
#include "controller/owned_merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "controller/status_level.h"
#include "data/json.h"

#define OBJECT_MAX ((size_t)8 << 20)
#define OPTIONS "$options"
#define LABEL_MAX 63

typedef yyjson_mut_val mut;

static void mut_doc_done(yyjson_mut_doc **doc)
{
    yyjson_mut_doc_free(*doc);
}

static mut *table(yyjson_mut_doc *doc, mut *object, const char *name)
{
    mut *at = yyjson_mut_obj_get(object, name);

    return at != NULL ? at : yyjson_mut_obj_add_obj(doc, object, name);
}

static bool is_ours(const char *owner, yyjson_val *root)
{
    const char *label = json_str(root, "metadata", "labels", OWNED_LABEL);

    return label != NULL && strcmp(label, owner) == 0;
}

int owned_merge(const char *owner, const struct status_object *object, const struct write_wishes *wishes,
                struct write_body *ret_body, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *known = NULL;
    CLEANUP(json_doc_done) struct yyjson_doc *wish = NULL;
    CLEANUP(mut_doc_done) yyjson_mut_doc *doc = NULL;
    char applied[DIGEST_HEX_SIZE];
    size_t length = strlen(wishes->texts[0]);

    if (json_parse(wishes->texts[0], length, OBJECT_MAX, &wish, err) < 0 ||
        (object->json != NULL && json_parse(object->json, object->length, OBJECT_MAX, &known, err) < 0))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(known);
    if (root != NULL && !is_ours(owner, root))
        return err_set(err, ERR_DENIED,
                       "an object of this name exists, and it is not this controller's (label " OWNED_LABEL
                       "): remove it, or choose another name");
    doc = yyjson_doc_mut_copy(wish, NULL);
    mut *top = yyjson_mut_doc_get_root(doc);
    mut *options = yyjson_mut_obj_remove_key(top, OPTIONS);
    ret_body->force = yyjson_mut_get_bool(yyjson_mut_obj_get(options, "force"));
    digest_hex(digest_of(wishes->texts[0], length), applied);
    mut *metadata = table(doc, top, "metadata");
    yyjson_mut_obj_add_str(doc, table(doc, metadata, "labels"), OWNED_LABEL, owner);
    yyjson_mut_obj_add_str(doc, table(doc, metadata, "annotations"), OWNED_APPLIED, applied);
    ret_body->differs = root == NULL || !status_is_within(top, root, false);
    if (!ret_body->differs)
        return 0;
    /* Checks that it is not another object that was created with this name in the meantime. */
    if (root != NULL && json_str(root, "metadata", "uid") != NULL)
        yyjson_mut_obj_add_str(doc, metadata, "uid", json_str(root, "metadata", "uid"));
    char *text = yyjson_mut_write(doc, 0, &length);
    if (text == NULL)
        return err_set(err, ERR_INVALID, "the object is no valid UTF-8");
    int result = buf_try_add(&ret_body->text, text, length, err);
    free(text);
    return result;
}

bool owned_is_ours(const char *owner, const char *json, size_t length)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    return memmem(json, length, OWNED_LABEL, strlen(OWNED_LABEL)) != NULL &&
           json_parse(json, length, OBJECT_MAX, &doc, NULL) == 0 && is_ours(owner, yyjson_doc_get_root(doc));
}

char *owned_owner(const char *namespace, const char *lease)
{
    char *owner = xasprintf("%s.%s", namespace, lease);
    char hex[DIGEST_HEX_SIZE];

    if (strlen(owner) <= LABEL_MAX)
        return owner;
    digest_hex(digest_of(owner, strlen(owner)), hex);
    free(owner);
    return xstrdup(hex);
}
