/* The wishes become one mutable document; the object is only read. The status is level when it contains everything that
 * is wanted. Fields of other writers do not count. */
#include "controller/status_merge.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "controller/status_level.h"
#include "controller/status_lists.h"
#include "data/json.h"
#include "store/vault.h"

#define OBJECT_MAX ((size_t)8 << 20)
#define ENTRIES_MAX 1000
#define OPTIONS "$options" /* no field of an object begins with "$" */
#define DEPTH_MAX 64
#define TIME_SIZE sizeof("2006-01-02T15:04:05Z")

typedef yyjson_mut_val mut;

/* ---- several wishes into one ---- */

static mut *find_condition(mut *list, const char *type)
{
    size_t i, n;
    mut *item;

    yyjson_mut_arr_foreach(list, i, n, item)
    {
        const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(item, "type"));
        if (name != NULL && type != NULL && strcmp(name, type) == 0)
            return item;
    }
    return NULL;
}

/* Lists become one list without equal elements. Of two conditions of one type the first one counts. */
static void add_elements(yyjson_mut_doc *doc, mut *to, yyjson_val *from, bool conditions)
{
    size_t i, n;
    yyjson_val *item;

    yyjson_arr_foreach(from, i, n, item)
    {
        mut *copy = yyjson_val_mut_copy(doc, item), *other;
        size_t j, m;
        bool known = conditions && find_condition(to, yyjson_get_str(yyjson_obj_get(item, "type"))) != NULL;
        yyjson_mut_arr_foreach(to, j, m, other) known = known || yyjson_mut_equals(other, copy);
        if (!known)
            yyjson_mut_arr_append(to, copy);
    }
}

static void add_fields(yyjson_mut_doc *doc, mut *to, yyjson_val *from, unsigned depth)
{
    size_t i, n;
    yyjson_val *key, *value;

    yyjson_obj_foreach(from, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        mut *there = yyjson_mut_obj_get(to, name);
        if (there == NULL)
            yyjson_mut_obj_add(to, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, value));
        else if (yyjson_mut_is_obj(there) && yyjson_is_obj(value) && depth < DEPTH_MAX)
            add_fields(doc, there, value, depth + 1);
        else if (yyjson_mut_is_arr(there) && yyjson_is_arr(value))
            add_elements(doc, there, value, strcmp(name, "conditions") == 0);
    }
}

static int add_wish(yyjson_mut_doc *doc, mut *to, const char *text, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *wish = NULL;

    if (strstr(text, VAULT_PREFIX) != NULL)
        return err_set(err, ERR_INVALID, "the value of a Secret cannot stand in a status");
    if (json_parse(text, strlen(text), STATUS_WISH_MAX, &wish, err) < 0)
        return err_wrap(err, "the status that a template wishes");
    if (!yyjson_is_obj(yyjson_doc_get_root(wish)))
        return err_set(err, ERR_INVALID, "the status that a template wishes is no object");
    add_fields(doc, to, yyjson_doc_get_root(wish), 0);
    return 0;
}

static int add_wishes(yyjson_mut_doc *doc, mut *to, const char *const *wishes, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (add_wish(doc, to, wishes[i], err) < 0)
            return -1;
    return 0;
}

static void mut_doc_done(yyjson_mut_doc **doc)
{
    yyjson_mut_doc_free(*doc);
}

static int write_text(mut *value, struct buf *out, struct err *err)
{
    size_t length = 0;
    CLEANUP(free_ptr) char *text = yyjson_mut_val_write(value, 0, &length);

    if (text == NULL)
        return err_set(err, ERR_INVALID, "the status that a template wishes is not UTF-8");
    return buf_try_add(out, text, length, err);
}

int status_merge_wishes(const char *const *wishes, size_t count, struct buf *out, struct err *err)
{
    CLEANUP(mut_doc_done) yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    mut *status = yyjson_mut_obj(doc);

    if (add_wishes(doc, status, wishes, count, err) < 0)
        return -1;
    (void)yyjson_mut_obj_remove_key(status, OPTIONS);
    return write_text(status, out, err);
}

/* ---- conditions ---- */

struct stamp {
    yyjson_mut_doc *doc;
    int64_t generation; /* 0: the object has none */
    char now[TIME_SIZE];
};

static void set_field(yyjson_mut_doc *doc, mut *object, const char *name, mut *value)
{
    yyjson_mut_obj_put(object, yyjson_mut_strcpy(doc, name), value);
}

static void stamp_condition(const struct stamp *s, mut *condition, yyjson_val *there)
{
    const char *status = yyjson_mut_get_str(yyjson_mut_obj_get(condition, "status"));
    const char *before = json_str(there, "status"), *since = json_str(there, "lastTransitionTime");
    bool stays = status != NULL && before != NULL && strcmp(status, before) == 0 && since != NULL;

    (void)yyjson_mut_obj_remove_key(condition, "observedGeneration");
    if (s->generation > 0)
        set_field(s->doc, condition, "observedGeneration", yyjson_mut_sint(s->doc, s->generation));
    set_field(s->doc, condition, "lastTransitionTime", yyjson_mut_strcpy(s->doc, stays ? since : s->now));
}

/* The element of a list that this one corresponds to: equal apart from conditions in it. */
static yyjson_val *element_there(yyjson_val *list, mut *wished)
{
    size_t i, n;
    yyjson_val *item;

    yyjson_arr_foreach(list, i, n, item) if (status_is_within(wished, item, true)) return item;
    return NULL;
}

static void stamp_all(const struct stamp *s, mut *wished, yyjson_val *there, unsigned depth)
{
    size_t i, n, j, m;
    mut *key, *value, *item;

    if (depth > DEPTH_MAX || !yyjson_mut_is_obj(wished))
        return;
    yyjson_mut_obj_foreach(wished, i, n, key, value)
    {
        const char *name = yyjson_mut_get_str(key);
        yyjson_val *at = yyjson_obj_get(there, name);
        bool conditions = strcmp(name, "conditions") == 0;
        if (yyjson_mut_is_obj(value))
            stamp_all(s, value, at, depth + 1);
        if (!yyjson_mut_is_arr(value))
            continue;
        yyjson_mut_arr_foreach(value, j, m, item)
        {
            const char *type = yyjson_mut_get_str(yyjson_mut_obj_get(item, "type"));
            if (conditions && type != NULL)
                stamp_condition(s, item, status_condition(at, type));
            else
                stamp_all(s, item, element_there(at, item), depth + 1);
        }
    }
}

/* ---- the list that all controllers share ---- */

/* The name of an entry: its address, or its host name. */
static const char *entry_name(yyjson_val *entry)
{
    const char *ip = json_str(entry, "ip");

    return ip != NULL ? ip : json_str(entry, "hostname");
}

static const char *wished_name(mut *entry)
{
    const char *ip = yyjson_mut_get_str(yyjson_mut_obj_get(entry, "ip"));

    return ip != NULL ? ip : yyjson_mut_get_str(yyjson_mut_obj_get(entry, "hostname"));
}

static bool is_wished(mut *list, const char *name)
{
    size_t i, n;
    mut *item;

    yyjson_mut_arr_foreach(list, i, n, item)
    {
        const char *other = wished_name(item);
        if (name != NULL && other != NULL && strcmp(name, other) == 0)
            return true;
    }
    return false;
}

/* True when the name is in this list of words, separated by commas. */
static bool is_noted(const char *note, const char *name)
{
    size_t length = name != NULL ? strlen(name) : 0;

    for (const char *at = note; at != NULL && length > 0;) {
        size_t word = strcspn(at, ",");
        if (word == length && memcmp(at, name, length) == 0)
            return true;
        at = at[word] == ',' ? at + word + 1 : NULL;
    }
    return false;
}

struct shared_list {
    mut *holder; /* the object that contains the list */
    mut *wished; /* our entries; may be empty */
    yyjson_val *there;
    const char *note; /* the annotation; NULL: none */
    struct buf noted; /* the wanted annotation */
    bool kept;        /* the list stays as it is */
};

/* True when all wanted entries exist, and no entry of ours that is not wanted any more. */
static bool shared_is_level(const struct shared_list *l)
{
    size_t i, n, j, m;
    yyjson_val *entry;
    mut *item;

    if (l->kept)
        return true;
    if (strcmp(l->note != NULL ? l->note : "", buf_str(&l->noted)) != 0)
        return false;
    yyjson_mut_arr_foreach(l->wished, j, m, item)
    {
        bool found = false;
        yyjson_arr_foreach(l->there, i, n, entry) found = found || status_is_within(item, entry, false);
        if (!found)
            return false;
    }
    yyjson_arr_foreach(l->there, i, n, entry)
    {
        const char *name = entry_name(entry);
        if (is_noted(l->note, name) && !is_wished(l->wished, name))
            return false;
    }
    return true;
}

/* The entries of other writers in their order, then ours. */
static mut *shared_merge(yyjson_mut_doc *doc, const struct shared_list *l)
{
    mut *merged = yyjson_mut_arr(doc), *item;
    size_t i, n;
    yyjson_val *entry;

    yyjson_arr_foreach(l->there, i, n, entry)
    {
        const char *name = entry_name(entry);
        if (!is_noted(l->note, name) && !is_wished(l->wished, name))
            yyjson_mut_arr_append(merged, yyjson_val_mut_copy(doc, entry));
    }
    yyjson_mut_arr_foreach(l->wished, i, n, item) yyjson_mut_arr_append(merged, yyjson_mut_val_mut_copy(doc, item));
    return merged;
}

/* For wishes without this list: applies our entries again, because server-side apply would remove them otherwise. */
static mut *shared_keep(yyjson_mut_doc *doc, yyjson_val *there, const char *note)
{
    mut *list = yyjson_mut_arr(doc);
    size_t i, n;
    yyjson_val *entry;

    yyjson_arr_foreach(there, i, n, entry) if (is_noted(note, entry_name(entry)))
        yyjson_mut_arr_append(list, yyjson_val_mut_copy(doc, entry));
    return list;
}

/* True when the list has an entry of another writer. */
static bool shared_has_others(yyjson_val *there, const char *note, mut *wished)
{
    size_t i, n;
    yyjson_val *entry;

    yyjson_arr_foreach(there, i, n, entry)
    {
        const char *name = entry_name(entry);
        if (!is_noted(note, name) && !is_wished(wished, name))
            return true;
    }
    return false;
}

/* False when the wishes have no such list and none of its entries is ours. With alone, the list stays as it is while it
 * has entries of other writers. */
static bool shared_find(const struct status_object *object, yyjson_mut_doc *doc, mut *status, yyjson_val *root,
                        bool alone, struct shared_list *ret_list)
{
    if (strcmp(object->api_version, "networking.k8s.io/v1") != 0 || strcmp(object->resource, "ingresses") != 0)
        return false;
    mut *holder = yyjson_mut_obj_get(status, "loadBalancer"), *list = yyjson_mut_obj_get(holder, "ingress");
    const char *note = json_str(root, "metadata", "annotations", STATUS_ENTRIES);
    yyjson_val *there = json_at(root, "status", "loadBalancer", "ingress");
    if (list == NULL && note == NULL)
        return false;
    bool kept = alone && list != NULL && shared_has_others(there, note, list);
    if (list == NULL || kept)
        list = shared_keep(doc, there, note);
    /* In Lua, an empty list and an empty object are the same table. */
    bool is_empty = yyjson_mut_is_obj(list) && yyjson_mut_obj_size(list) == 0;
    *ret_list = (struct shared_list){
        .holder = holder, .wished = is_empty ? yyjson_mut_arr(doc) : list, .there = there, .note = note, .kept = kept};
    size_t i, n;
    mut *item;
    yyjson_mut_arr_foreach(ret_list->wished, i, n, item)
    {
        const char *name = wished_name(item);
        if (name != NULL)
            buf_printf(&ret_list->noted, "%s%s", ret_list->noted.length > 0 ? "," : "", name);
    }
    return true;
}

static int shared_check(const struct shared_list *l, struct err *err)
{
    size_t i, n;
    mut *item;

    if (!yyjson_mut_is_arr(l->wished) || yyjson_mut_arr_size(l->wished) > ENTRIES_MAX)
        return err_set(err, ERR_INVALID, "status.loadBalancer.ingress is no list of at most %d entries", ENTRIES_MAX);
    yyjson_mut_arr_foreach(l->wished, i, n, item)
    {
        const char *name = wished_name(item);
        if (name == NULL || *name == '\0' || strpbrk(name, ", \t\n") != NULL)
            return err_set(err, ERR_INVALID, "an entry of status.loadBalancer.ingress has no ip and no hostname");
    }
    return 0;
}

static void put_shared(yyjson_mut_doc *doc, mut *status, mut *merged)
{
    mut *holder = yyjson_mut_obj_get(status, "loadBalancer");

    if (yyjson_mut_arr_size(merged) == 0)
        return; /* server-side apply removes a field that is not applied any more */
    if (holder == NULL) {
        holder = yyjson_mut_obj(doc);
        yyjson_mut_obj_add_val(doc, status, "loadBalancer", holder);
    }
    yyjson_mut_obj_add_val(doc, holder, "ingress", merged);
}

/* ---- the whole status ---- */

static void format_time(int64_t now_s, char ret_text[TIME_SIZE])
{
    time_t seconds = (time_t)now_s;
    struct tm parts;

    if (gmtime_r(&seconds, &parts) == NULL || strftime(ret_text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(ret_text, TIME_SIZE, "1970-01-01T00:00:00Z");
}

static void add_text(yyjson_mut_doc *doc, mut *object, const char *name, const char *text)
{
    if (text != NULL && *text != '\0')
        yyjson_mut_obj_add_strcpy(doc, object, name, text);
}

static int write_body(yyjson_mut_doc *doc, yyjson_val *root, const char *api_version, const char *resource_version,
                      const char *note, mut *status, struct buf *body, struct err *err)
{
    mut *top = yyjson_mut_obj(doc), *metadata = yyjson_mut_obj(doc);
    const char *own = json_str(root, "apiVersion");

    add_text(doc, top, "apiVersion", own != NULL ? own : api_version);
    add_text(doc, top, "kind", json_str(root, "kind"));
    yyjson_mut_obj_add_val(doc, top, "metadata", metadata);
    add_text(doc, metadata, "namespace", json_str(root, "metadata", "namespace"));
    add_text(doc, metadata, "name", json_str(root, "metadata", "name"));
    add_text(doc, metadata, "uid", json_str(root, "metadata", "uid"));
    add_text(doc, metadata, "resourceVersion", resource_version);
    if (note != NULL && *note != '\0') {
        mut *annotations = yyjson_mut_obj(doc);
        add_text(doc, annotations, STATUS_ENTRIES, note);
        yyjson_mut_obj_add_val(doc, metadata, "annotations", annotations);
    }
    yyjson_mut_obj_add_val(doc, top, "status", status);
    return write_text(top, body, err);
}

int status_merge(const struct status_object *object, const char *resource_version, const char *const *wishes,
                 size_t count, bool anew, int64_t now_s, bool *ret_differs, struct buf *body, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *known = NULL;
    CLEANUP(mut_doc_done) yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    mut *status = yyjson_mut_obj(doc);
    struct shared_list list = {0};
    struct status_lists lists = {0};
    struct stamp stamp = {.doc = doc};

    if (json_parse(object->json, object->length, OBJECT_MAX, &known, err) < 0 ||
        add_wishes(doc, status, wishes, count, err) < 0)
        return -1;
    yyjson_val *root = yyjson_doc_get_root(known), *there = yyjson_obj_get(root, "status");
    stamp.generation = json_int_or(0, root, "metadata", "generation");
    format_time(now_s, stamp.now);
    mut *options = yyjson_mut_obj_remove_key(status, OPTIONS);
    stamp_all(&stamp, status, there, 0);
    if (status_lists_take(&lists, doc, options, status, there, err) < 0)
        return -1;
    bool shared = shared_find(object, doc, status, root, yyjson_mut_get_bool(yyjson_mut_obj_get(options, "alone")),
                              &list);
    int result = shared ? shared_check(&list, err) : 0;
    bool level = status_lists_are_level(&lists) && (!shared || (result == 0 && shared_is_level(&list)));
    if (result == 0 && shared) {
        /* This list has a comparison of its own. */
        (void)yyjson_mut_obj_remove_key(list.holder, "ingress");
        if (yyjson_mut_obj_size(list.holder) == 0)
            (void)yyjson_mut_obj_remove_key(status, "loadBalancer");
    }
    bool within = yyjson_mut_obj_size(status) == 0 || status_is_within(status, there, false);
    *ret_differs = result == 0 && (!level || !within || (anew && !shared));
    if (*ret_differs && shared)
        put_shared(doc, status, shared_merge(doc, &list));
    if (*ret_differs) {
        status_lists_put(&lists, doc, status);
        result = write_body(doc, root, object->api_version, shared || lists.count > 0 ? resource_version : NULL,
                            buf_str(&list.noted), status, body, err);
    }
    buf_done(&list.noted);
    return result;
}
