/* manifest.h — Kubernetes objects out of manifest text, as kubectl would read it.
 * Thread:  any.
 * Owns:    struct manifest owns everything in it: CLEANUP(manifest_done) struct manifest m = {0}.
 * Errors:  0, or -1 with *err set (ERR_INVALID, ERR_LIMIT) when the text as a whole cannot be read; ret_* written only
 *          on success.
 *
 * Several documents, kind: List and typed lists (IngressList) become single objects; empty documents are skipped. An
 * object of a namespaced kind that names no namespace is in "default". A document that is no object, or that cannot be
 * read, is in the list with its problem; the others count.
 */
#ifndef HAPTIC_STORE_MANIFEST_H
#define HAPTIC_STORE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "base/err.h"
#include "data/json.h"
#include "data/yaml.h"

/* What may have stood where something is wrong now: what the file said of it before stays. */
enum manifest_hold {
    MANIFEST_HOLD_NOTHING, /* no object of ours can have stood there */
    MANIFEST_HOLD_OBJECT,  /* this one: kind, namespace and name are known */
    MANIFEST_HOLD_KIND,    /* one of this kind */
    MANIFEST_HOLD_ALL,     /* any */
};

/* What the API server would say of an object (schema.h). */
struct manifest_finding {
    bool is_error;
    size_t line;
    char *message; /* "spec.rules[0].host: must be a string; …" */
};

struct manifest_object {
    struct yyjson_val *value; /* with metadata.name */
    char *api_version, *kind; /* those of its list where it has none */
    const char *namespace, *name;
    size_t line;   /* 0: unknown */
    char *problem; /* NULL, or why this is no object; then all but line may be NULL */
    enum manifest_hold hold;
    struct {
        struct manifest_finding *items;
        size_t length, capacity;
    } findings;
};

struct manifest {
    struct manifest_object *items;
    size_t length, capacity;
    struct yaml_docs docs;
    struct yyjson_doc **copies;
    size_t copy_count, copy_capacity;
};

/* is_json: the text is one JSON document and not YAML. ret_at: place of an error of the whole. */
int manifest_parse(const char *text, size_t length, bool is_json, size_t max_bytes, struct manifest *ret_manifest,
                   struct json_position *ret_at, struct err *err) MUST_CHECK;
void manifest_done(struct manifest *m);

/* The resource of a kind: "Ingress" → "ingresses", "NetworkPolicy" → "networkpolicies", "Gateway" → "gateways". The
 * caller frees it. */
char *manifest_resource_of(const char *kind);
/* Whether objects of a well-known kind have no namespace; kinds not known have one. */
bool manifest_is_cluster_scoped(const char *api_version, const char *kind);

#endif
