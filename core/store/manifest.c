/* Documents are values of yyjson, which cannot be changed. An object that needs the namespace "default" is copied, and
 * its document is kept as well. Lists are unpacked to any depth that JSON can have, since a List may contain lists. */
#include "store/manifest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "data/encoding.h"
#include "store/manifest_cut.h"
#include "store/manifest_state.h"
#include "store/schema.h"

/* Cluster-scoped kinds that a folder of manifests may contain, with their groups. */
static const struct {
    const char *group, *kind;
} cluster_scoped[] = {
    {"", "Namespace"},
    {"", "Node"},
    {"", "PersistentVolume"},
    {"admissionregistration.k8s.io", "MutatingWebhookConfiguration"},
    {"admissionregistration.k8s.io", "ValidatingAdmissionPolicy"},
    {"admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"},
    {"admissionregistration.k8s.io", "ValidatingWebhookConfiguration"},
    {"apiextensions.k8s.io", "CustomResourceDefinition"},
    {"apiregistration.k8s.io", "APIService"},
    {"certificates.k8s.io", "CertificateSigningRequest"},
    {"certificates.k8s.io", "ClusterTrustBundle"},
    {"flowcontrol.apiserver.k8s.io", "FlowSchema"},
    {"flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"},
    {"gateway.networking.k8s.io", "GatewayClass"},
    {"networking.k8s.io", "IngressClass"},
    {"networking.k8s.io", "IPAddress"},
    {"networking.k8s.io", "ServiceCIDR"},
    {"node.k8s.io", "RuntimeClass"},
    {"rbac.authorization.k8s.io", "ClusterRole"},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding"},
    {"scheduling.k8s.io", "PriorityClass"},
    {"storage.k8s.io", "CSIDriver"},
    {"storage.k8s.io", "CSINode"},
    {"storage.k8s.io", "StorageClass"},
    {"storage.k8s.io", "VolumeAttachment"},
};

bool manifest_is_cluster_scoped(const char *api_version, const char *kind)
{
    const char *slash = strchr(api_version, '/');
    size_t length = slash ? (size_t)(slash - api_version) : 0;

    for (size_t i = 0; i < ARRAY_LEN(cluster_scoped); i++)
        if (strcmp(cluster_scoped[i].kind, kind) == 0 && strlen(cluster_scoped[i].group) == length &&
            strncmp(cluster_scoped[i].group, api_version, length) == 0)
            return true;
    return false;
}

static bool ends_with(const char *string, const char *end)
{
    size_t length = strlen(string), end_length = strlen(end);

    return length >= end_length && strcmp(string + length - end_length, end) == 0;
}

char *manifest_resource_of(const char *kind)
{
    CLEANUP(free_ptr) char *lower = xstrdup(kind);
    size_t length = strlen(lower);

    for (size_t i = 0; i < length; i++)
        lower[i] = (char)tolower((unsigned char)lower[i]);
    if (strcmp(lower, "endpoints") == 0)
        return xstrdup(lower);
    if (length > 1 && lower[length - 1] == 'y' && !strchr("aeiou", lower[length - 2]))
        return xasprintf("%.*sies", (int)(length - 1), lower);
    if (ends_with(lower, "s") || ends_with(lower, "x") || ends_with(lower, "z") || ends_with(lower, "ch") ||
        ends_with(lower, "sh"))
        return xasprintf("%ses", lower);
    return xasprintf("%ss", lower);
}

/* ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct yyjson_val *manifest_keep_copy(struct manifest *m, struct yyjson_doc *doc)
{
    if (m->copy_count == m->copy_capacity) {
        m->copy_capacity = m->copy_capacity ? m->copy_capacity * 2 : 8;
        m->copies = xreallocarray(m->copies, m->copy_capacity, sizeof(m->copies[0]));
    }
    m->copies[m->copy_count++] = doc;
    return yyjson_doc_get_root(doc);
}

/* The object with metadata.namespace: default. */
static struct yyjson_val *with_default_namespace(struct manifest *m, struct yyjson_val *value)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *copy = doc ? yyjson_val_mut_copy(doc, value) : NULL;
    yyjson_mut_val *metadata = yyjson_mut_obj_get(copy, "metadata");
    struct yyjson_doc *result = NULL;

    (void)yyjson_mut_obj_remove_key(metadata, "namespace");
    if (yyjson_mut_obj_add_str(doc, metadata, "namespace", "default"))
        result = yyjson_mut_val_imut_copy(copy, NULL);
    yyjson_mut_doc_free(doc);
    if (!result)
        abort(); /* no memory */
    return manifest_keep_copy(m, result);
}

static char *object_problem(struct manifest_object *o, struct yyjson_val *value)
{
    if (!yyjson_is_obj(value))
        return xstrdup("not a Kubernetes object: a mapping with apiVersion, kind and metadata is expected");
    if (!o->api_version || !*o->api_version)
        return xasprintf("%s without apiVersion", o->kind && *o->kind ? o->kind : "an object");
    if (!o->kind || !*o->kind)
        return xstrdup("an object without kind");
    struct yyjson_val *name = json_at(value, "metadata", "name");
    o->name = json_str_of(name);
    if (name && !o->name) /* "name: 12", "name: y" */
        return xasprintf("%s: metadata.name is not a string; put it into quotes", o->kind);
    if (!o->name || !*o->name)
        return xasprintf("%s without metadata.name", o->kind);
    struct yyjson_val *namespace = json_at(value, "metadata", "namespace");
    o->namespace = json_str_of(namespace);
    if (namespace && !yyjson_is_null(namespace) && !o->namespace)
        return xasprintf("%s %s: metadata.namespace is not a string; put it into quotes", o->kind, o->name);
    bool has_namespace = o->namespace && *o->namespace;
    if (has_namespace && manifest_is_cluster_scoped(o->api_version, o->kind))
        return xasprintf("%s %s: this kind is cluster-scoped: remove metadata.namespace", o->kind, o->name);
    return NULL;
}

/* An object with a generated name has no name yet. A text without metadata was probably cut off. */
static enum manifest_hold hold_of(struct manifest_object *o, struct yyjson_val *value)
{
    struct yyjson_val *metadata = json_at(value, "metadata");

    if (metadata == NULL)
        return MANIFEST_HOLD_ALL;
    if (o->kind == NULL || *o->kind == '\0')
        return MANIFEST_HOLD_ALL;
    if (o->name == NULL)
        o->name = json_str(metadata, "name");
    if (o->namespace == NULL)
        o->namespace = json_str(metadata, "namespace");
    if (o->name == NULL || *o->name == '\0')
        return json_at(metadata, "generateName") != NULL ? MANIFEST_HOLD_NOTHING : MANIFEST_HOLD_KIND;
    if (o->namespace == NULL || *o->namespace == '\0')
        o->namespace = o->api_version && manifest_is_cluster_scoped(o->api_version, o->kind) ? "" : "default";
    return MANIFEST_HOLD_OBJECT;
}

struct judged {
    struct manifest_object *o;
    const struct yaml_doc *doc;
};

static void on_found(void *ctx, bool is_error, struct yyjson_val *at, const char *path, const char *message)
{
    struct judged *j = ctx;

    vec_push(&j->o->findings, ((struct manifest_finding){.is_error = is_error,
                                                         .line = j->doc ? yaml_line(j->doc, at) : 0,
                                                         .message = xasprintf("%s: %s", path, message)}));
}

static void add_object(struct manifest *m, const struct yaml_doc *doc, struct yyjson_val *value,
                       const char *api_version, const char *kind, size_t line)
{
    struct manifest_object o = {
        .line = line, .api_version = api_version ? xstrdup(api_version) : NULL, .kind = kind ? xstrdup(kind) : NULL};

    o.problem = object_problem(&o, value);
    if (o.problem) {
        o.hold = hold_of(&o, value);
    } else {
        schema_check(o.api_version, o.kind, value, on_found, &(struct judged){&o, doc});
        if (!(o.namespace && *o.namespace) && !manifest_is_cluster_scoped(o.api_version, o.kind)) {
            value = with_default_namespace(m, value);
            o.name = json_str(value, "metadata", "name");
            o.namespace = "default";
        } else if (!o.namespace) {
            o.namespace = "";
        }
        o.value = value;
    }
    vec_push(m, o);
}

void manifest_add_value(struct manifest *m, const struct yaml_doc *doc, struct yyjson_val *value,
                        const char *list_api_version, const char *item_kind)
{
    const char *api_version = json_str(value, "apiVersion"), *kind = json_str(value, "kind");
    struct yyjson_val *items = json_at(value, "items"), *item;
    size_t line = doc ? yaml_line(doc, value) : 0;

    if (!api_version)
        api_version = list_api_version;
    if (!kind)
        kind = item_kind;
    if (!kind || !ends_with(kind, "List") || !yyjson_is_arr(items)) {
        add_object(m, doc, value, api_version, kind, line);
        return;
    }
    CLEANUP(free_ptr) char *singular = xmemdup0(kind, strlen(kind) - strlen("List"));
    bool is_plain = *singular == '\0';
    yyjson_arr_iter it = {0};
    yyjson_arr_iter_init(items, &it);
    while ((item = yyjson_arr_iter_next(&it)))
        manifest_add_value(m, doc, item, is_plain ? NULL : api_version, is_plain ? NULL : singular);
}

/* A document that cannot be read: its last good objects stay, if its text shows which objects they are. */
static void add_broken(struct manifest *m, const struct manifest_cut *cut, size_t line, const char *problem)
{
    struct manifest_object o = {.line = line, .problem = xstrdup(problem), .hold = MANIFEST_HOLD_ALL};

    if (*cut->kind != '\0' && *cut->name != '\0') {
        yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
        yyjson_mut_val *names = yyjson_mut_arr(doc);
        yyjson_mut_doc_set_root(doc, names);
        yyjson_mut_arr_add_strcpy(doc, names, cut->name);
        yyjson_mut_arr_add_strcpy(doc, names, *cut->namespace != '\0' ? cut->namespace : "default");
        struct yyjson_val *kept = manifest_keep_copy(m, yyjson_mut_doc_imut_copy(doc, NULL));
        yyjson_mut_doc_free(doc);
        o.kind = xstrdup(cut->kind);
        o.name = json_str_of(yyjson_arr_get(kept, 0));
        o.namespace = json_str_of(yyjson_arr_get(kept, 1));
        o.hold = MANIFEST_HOLD_OBJECT;
    }
    vec_push(m, o);
}

void manifest_add_documents(struct manifest *m)
{
    for (size_t i = 0; i < m->docs.length; i++) {
        struct yyjson_val *root = yyjson_doc_get_root(m->docs.items[i].json);
        if (!yyjson_is_null(root))
            manifest_add_value(m, &m->docs.items[i], root, NULL, NULL);
    }
}

int manifest_parse(const char *text, size_t length, bool is_json, size_t max_bytes, struct manifest *ret_manifest,
                   struct json_position *ret_at, struct err *err)
{
    struct manifest m = {0};

    if (is_json) {
        struct yyjson_doc *doc = NULL;
        CLEANUP(buf_done) struct buf copy = {0};
        text = encoding_without_marks(text, &length, &copy);
        if (encoding_is_utf16(text, length))
            return err_set(err, ERR_INVALID, "the text is UTF-16; JSON is UTF-8");
        if (json_parse_at(text, length, max_bytes, &doc, ret_at, err) < 0)
            return -1;
        manifest_add_value(&m, NULL, manifest_keep_copy(&m, doc), NULL, NULL);
        *ret_manifest = m;
        return 0;
    }
    struct manifest_cut cut = {0};
    int result;
    while ((result = yaml_parse(cut.text ? cut.text : text, length, max_bytes, &m.docs, ret_at, err)) < 0)
        if (err->kind != ERR_INVALID || !manifest_cut_document(&cut, text, length, ret_at->line))
            break;
        else
            add_broken(&m, &cut, ret_at->line, err->text);
    manifest_cut_done(&cut);
    if (result < 0) {
        manifest_done(&m);
        return -1;
    }
    manifest_add_documents(&m);
    *ret_manifest = m;
    return 0;
}

void manifest_done(struct manifest *m)
{
    for (size_t i = 0; i < m->length; i++) {
        free(m->items[i].api_version);
        free(m->items[i].kind);
        free(m->items[i].problem);
        for (size_t j = 0; j < m->items[i].findings.length; j++)
            free(m->items[i].findings.items[j].message);
        vec_done(&m->items[i].findings);
    }
    vec_done(m);
    yaml_docs_done(&m->docs);
    for (size_t i = 0; i < m->copy_count; i++)
        yyjson_doc_free(m->copies[i]);
    free(m->copies);
    m->copies = NULL;
    m->copy_count = m->copy_capacity = 0;
}
