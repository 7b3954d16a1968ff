/* store.h — newest version of each watched object, by kind.
 * Thread:  loop thread only.
 * Owns:    its kinds, and a reference to every object in it.
 * Units:   *_bytes bytes.
 * Errors:  0, or -1 with *err set (ERR_INVALID, ERR_LIMIT); ret_* written only on success.
 * Source:  Kubernetes API concepts: resourceVersion is opaque.
 *
 * Sources (an API server, a folder) put and delete; listeners (the renderer) hear of each change after it happened. An
 * object is kept as pruned JSON text with the identity and the index values taken out once; the text is packed with a
 * dictionary of the kind (data/dictionary.h). It begins with
 * apiVersion and kind, whether the source sent them or not (items of a list come without), and holds no
 * metadata.managedFields, no metadata.resourceVersion and no copy of kubectl's: an update that changes nothing else
 * changes nothing. Of Secrets (v1, secrets) the values are in the vault and the text holds handles (store/secret.h);
 * an object of another kind that has the text of a handle is refused, so that nobody gets at a Secret by naming it.
 */
#ifndef HAPTIC_STORE_STORE_H
#define HAPTIC_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

struct asks;
struct store;
struct store_kind;
struct vault;
struct vault_hold;

/* What the configuration says of one entry of watchedResources. The store copies it. */
struct store_kind_spec {
    const char *name;        /* the key in watchedResources: the name in templates */
    const char *api_version; /* "v1", "networking.k8s.io/v1" */
    const char *resource;    /* plural: "ingresses" */
    /* JSONPath expressions, NULL-terminated; NULL or empty: metadata.namespace, metadata.name */
    const char *const *index_by;
    const char *label_selector; /* sent to the server; NULL: all */
    const char *field_selector;
    const char *const *namespaces; /* NULL-terminated; NULL or empty: all */
    /* Candidates, of which api_version is the first: the source uses the first one that the server has.
     * NULL-terminated; NULL: no others. */
    const char *const *api_versions;
    const char *namespace_selector; /* of labels of namespaces, in the place of namespaces; NULL: none */
    bool is_optional;               /* that the server does not have the kind is no failure */
    /* Of its objects only what finds them is kept, and of those that are asked for the text, too (store/ask.h); all
     * texts where nobody serves the kind. */
    bool is_on_demand;
    bool is_referenced; /* only objects that are asked for by name (store/ask.h) are kept */
};

#define STORE_INDEX_PARTS_MAX 4
/* Values of one expression that finds several, and ways to combine those of all expressions of one object. */
#define STORE_INDEX_VALUES_MAX 64
#define STORE_INDEX_KEYS_MAX 256
/* Stands between the values of such an expression; no value has it. */
#define STORE_INDEX_SEPARATOR '\x1f'

struct object {
    unsigned refs;
    struct store_kind *kind;
    const char *id;        /* "namespace/name", or "name" for a cluster-scoped object */
    const char *namespace; /* "" for a cluster-scoped object */
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t created_s; /* creationTimestamp, Unix seconds; 0 when absent */
    size_t index_count;
    /* values of index_by: strings, numbers and booleans as text; "" where the field is absent, null, a list or an
     * object. Of an expression that finds several: each one once, in document order. */
    const char *index[STORE_INDEX_PARTS_MAX];
    size_t text_length; /* of its JSON text; 0: only what is above is kept (is_on_demand) */
    const char *packed; /* the text, pruned, minified, in the short form of the kind's dictionary */
    size_t packed_length;
    struct vault_hold *hold; /* the values of a Secret; else NULL */
};

struct object *object_ref(struct object *o);
struct object *object_unref(struct object *o); /* NULL is fine; always returns NULL */
/* Append its JSON text (text_length bytes). Aborts when that passes the buffer's maximum. */
void object_text(const struct object *o, struct buf *out);
/* Its JSON text as a document; the caller frees it. max_bytes: of the text. */
struct yyjson_doc;
int object_parse(const struct object *o, size_t max_bytes, struct yyjson_doc **ret_doc, struct err *err) MUST_CHECK;

/* max_object_bytes: of one object's text before pruning (put as a value: after); max_bytes: of all objects with what
 * keeping them costs. */
struct store *store_new(size_t max_object_bytes, size_t max_bytes);
struct store *store_free(struct store *s);
/* Secrets come from another store, with handles in the place of values: they are kept as they are. Nobody here can say
 * what a handle stands for. Before the first object. */
void store_take_concealed(struct store *s);
/* The values of its Secrets. Borrowed: nobody asks for one after store_free(). */
struct vault *store_vault(const struct store *s);
/* The objects that templates ask for, of kinds that are not read whole. Borrowed. */
struct asks *store_asks(const struct store *s);

/* Fields that are removed from every object before it is kept: dotted or bracketed paths
 * ("metadata.annotations['a/b']"). metadata.managedFields and kubectl's copy of the object
 * always are. Call before the first object. */
int store_set_ignored_fields(struct store *s, const char *const *paths, struct err *err) MUST_CHECK;

int store_add_kind(struct store *s, const struct store_kind_spec *spec, struct store_kind **ret_kind, struct err *err)
    MUST_CHECK;
/* Forget a kind and all its objects (listeners hear of each). */
void store_remove_kind(struct store *s, struct store_kind *kind);
/* Which of its apiVersions the source uses from now on: for objects that come without, and in its spec. */
void store_kind_set_api_version(struct store_kind *kind, const char *api_version);
bool store_kind_spec_has_version(const struct store_kind_spec *spec, const char *api_version);
/* Of what a source has to know; not of the apiVersion in use. */
struct digest store_kind_spec_digest(const struct store_kind_spec *spec);
/* The kind field of its objects ("Ingress"), once the source knows it; for objects that come without. */
void store_kind_set_object_kind(struct store_kind *kind, const char *object_kind);
/* The program itself puts its objects: no source looks for them, and the kind is synced. */
void store_kind_set_own(struct store_kind *kind);
bool store_kind_is_own(const struct store_kind *kind);
struct store_kind *store_kind_by_name(const struct store *s, const char *name); /* NULL when unknown */
size_t store_kind_count(const struct store *s);
struct store_kind *store_kind_at(const struct store *s, size_t i); /* in the order of their names */

const struct store_kind_spec *store_kind_spec(const struct store_kind *kind);
size_t store_kind_objects(const struct store_kind *kind);
size_t store_kind_bytes(const struct store_kind *kind);

/* Put an object from its JSON text or (so that a watch event is parsed once) from a parsed value. *ret_changed is
 * false when what is kept is the same already; ret_changed may be NULL. The value must come from json_parse() or
 * yaml_parse(). */
struct yyjson_val;
int store_put_json(struct store_kind *kind, const char *json, size_t length, bool *ret_changed, struct err *err)
    MUST_CHECK;
int store_put_value(struct store_kind *kind, struct yyjson_val *value, bool *ret_changed, struct err *err) MUST_CHECK;
/* What would be kept of a value: pruned, a Secret with handles. Nothing is put, and nobody hears of it; the caller
 * drops the reference. */
int store_make_object(struct store_kind *kind, struct yyjson_val *value, struct object **ret_object, struct err *err)
    MUST_CHECK;
/* Do both say the same, but for the resourceVersion? */
bool object_equal(const struct object *a, const struct object *b);
/* The text of an object is not asked for any more. Listeners do not hear of it. */
void store_drop_text(struct store_kind *kind, const char *id);
/* Certificates of Secrets have become valid, or have ended, by the time: those objects change (store/secret_facts.h).
 * now_s: Unix seconds. Work: all Secrets. */
void store_refresh_dates(struct store *s, int64_t now_s);
/* Delete by identity. ret_existed may be NULL. */
void store_delete(struct store_kind *kind, const char *namespace, const char *name, bool *ret_existed);
struct object *store_get(const struct store_kind *kind, const char *id); /* borrowed; NULL when absent */
/* Objects in the order of their ids (by bytes). fn must not change the store. */
void store_each(const struct store_kind *kind, void (*fn)(void *ctx, struct object *o), void *ctx);

/* A complete list takes the place of the kind's objects at once: between begin and commit, puts and deletes go aside,
 * store_get() sees the old objects and listeners hear nothing; commit swaps, then tells of what differs in the order
 * of ids, deletions last; abort forgets what was put aside, and so does a second begin. Commit marks the kind
 * synced. */
void store_replace_begin(struct store_kind *kind);
void store_replace_commit(struct store_kind *kind);
void store_replace_abort(struct store_kind *kind);

/* A kind is synced after one complete list (an absent CRD counts as an empty list). */
bool store_kind_is_synced(const struct store_kind *kind);
bool store_is_synced(const struct store *s); /* every kind is */

enum store_event {
    STORE_EVENT_PUT,    /* now is the new version, before the old one or NULL */
    STORE_EVENT_DELETE, /* before is what was deleted; now is NULL */
    STORE_EVENT_SYNCED, /* kind became synced; both NULL */
};
/* Called after the change. A listener keeps an object by taking a reference, and does not change the store. */
typedef void store_listener(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                            struct object *before);
void store_listen(struct store *s, store_listener *listener, void *ctx);
void store_unlisten(struct store *s, store_listener *listener, void *ctx);

#endif
