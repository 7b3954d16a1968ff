/* The files stay parsed side by side and are never merged into one document: each question (current-context, the
 * context of that name, its cluster, its user) goes to the files in their order, and the first that has an answer
 * gives all of it. So every value keeps its file, for messages and relative paths. */
#include "kube/kubeconfig.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"
#include "data/yaml.h"
#include "kube/url.h"

#define FILES_MAX 64

struct file {
    char *path;
    struct kube_blob text;
    struct yaml_docs docs;
};

struct files {
    struct file items[FILES_MAX];
    size_t length;
};

/* An entry of clusters, users or contexts. */
struct entry {
    const struct file *file;
    const char *list; /* "clusters" */
    const char *name;
    yyjson_val *value; /* the object behind "cluster", "user" or "context" */
};

static void files_done(struct files *files)
{
    for (size_t i = 0; i < files->length; i++) {
        free(files->items[i].path);
        kube_blob_done(&files->items[i].text);
        yaml_docs_done(&files->items[i].docs);
    }
}

static yyjson_val *root_of(const struct file *f)
{
    return f->docs.length ? yyjson_doc_get_root(f->docs.items[0].json) : NULL;
}

static int wrong(const struct entry *e, const yyjson_val *at, struct err *err, const char *field, const char *want)
{
    size_t line = at ? yaml_line(&e->file->docs.items[0], at) : 0;
    char place[32] = "";
    if (line)
        snprintf(place, sizeof(place), ":%zu", line);
    return err_set(err, ERR_INVALID, "%s%s: %s \"%s\": %s: %s", e->file->path, place, e->list, e->name, field, want);
}

static int files_add(struct files *files, const char *path, bool may_be_absent, struct err *err)
{
    if (files->length == FILES_MAX)
        return err_set(err, ERR_LIMIT, "KUBECONFIG: more than %d files", FILES_MAX);
    struct file *f = &files->items[files->length];
    *f = (struct file){.path = xstrdup(path)};
    struct err why = {0};
    if (kube_blob_open(&f->text, path, &why) < 0) {
        free(f->path);
        kube_blob_done(&f->text);
        if (may_be_absent && ((why.kind == ERR_SYS && why.sys == ENOENT) || why.kind == ERR_INVALID))
            return 0;
        return err_set(err, why.kind, "kubeconfig: %s", why.text);
    }
    files->length++;
    if (yaml_parse(f->text.bytes, f->text.length, KUBE_BLOB_MAX, &f->docs, NULL, err) < 0)
        return err_wrap(err, "%s", path);
    if (!yyjson_is_obj(root_of(f)))
        return err_set(err, ERR_INVALID, "%s: not a kubeconfig (want a document with clusters, users and contexts)",
                       path);
    const char *kind = json_str(root_of(f), "kind");
    if (kind && strcmp(kind, "Config") != 0)
        return err_set(err, ERR_INVALID, "%s: kind is %s; a kubeconfig has kind: Config", path, kind);
    return 0;
}

static int files_load(struct files *files, const char *list, bool is_one, struct err *err)
{
    if (is_one)
        return files_add(files, list, false, err);
    for (const char *p = list; *p;) {
        size_t length = strcspn(p, ":");
        if (length > 0) {
            CLEANUP(free_ptr) char *path = xmemdup0(p, length);
            if (files_add(files, path, true, err) < 0)
                return -1;
        }
        p += length + (p[length] == ':');
    }
    if (files->length == 0)
        return err_set(err, ERR_NOTFOUND, "KUBECONFIG=%s: none of these files exists", list);
    return 0;
}

/* *ret_entry has value NULL when the entry is there but empty. */
static int find(const struct files *files, const char *list, const char *member, const char *name,
                struct entry *ret_entry, struct err *err)
{
    for (size_t i = 0; i < files->length; i++) {
        yyjson_val *item;
        yyjson_arr_iter it = yyjson_arr_iter_with(json_at(root_of(&files->items[i]), list));
        while ((item = yyjson_arr_iter_next(&it))) {
            const char *its_name = json_str(item, "name");
            if (its_name && strcmp(its_name, name) == 0) {
                *ret_entry = (struct entry){&files->items[i], list, its_name, json_at(item, member)};
                if (ret_entry->value && !yyjson_is_obj(ret_entry->value) && !yyjson_is_null(ret_entry->value))
                    return wrong(ret_entry, ret_entry->value, err, member, "want an object");
                return 0;
            }
        }
    }
    return err_set(err, ERR_NOTFOUND, "%s: no entry \"%s\" in %s", files->items[0].path, name, list);
}

/* A field that may be absent; its value belongs to the document. */
static int get_string(const struct entry *e, const char *field, const char **ret_value, struct err *err)
{
    yyjson_val *v = json_at(e->value, field);
    *ret_value = NULL;
    if (!v || yyjson_is_null(v))
        return 0;
    if (!json_str_of(v))
        return wrong(e, v, err, field, "want a string (quote it)");
    if (*json_str_of(v))
        *ret_value = json_str_of(v);
    return 0;
}

static int copy_string(const struct entry *e, const char *field, char **ret_copy, struct err *err)
{
    const char *value;
    if (get_string(e, field, &value, err) < 0)
        return -1;
    if (value) {
        free(*ret_copy);
        *ret_copy = xstrdup(value);
    }
    return 0;
}

static int get_bool(const struct entry *e, const char *field, bool *ret_value, struct err *err)
{
    yyjson_val *v = json_at(e->value, field);
    if (!v || yyjson_is_null(v))
        return 0;
    if (!yyjson_is_bool(v))
        return wrong(e, v, err, field, "want true or false");
    *ret_value = yyjson_get_bool(v);
    return 0;
}

/* path as seen from the folder of the file that it stands in. */
static char *resolve(const struct file *f, const char *path)
{
    const char *slash = strrchr(f->path, '/');
    if (path[0] == '/' || !slash)
        return xstrdup(path);
    return xasprintf("%.*s/%s", (int)(slash - f->path), f->path, path);
}

static int open_file(const struct entry *e, const char *field, const char *path, struct kube_blob *blob,
                     struct err *err)
{
    CLEANUP(free_ptr) char *full = resolve(e->file, path);
    if (kube_blob_open(blob, full, err) < 0)
        return err_wrap(err, "%s: %s \"%s\": %s", e->file->path, e->list, e->name, field);
    return 0;
}

/* FIELD-data (base64) or the file that FIELD names. */
static int get_blob(const struct entry *e, const char *field, const char *data_field, struct kube_blob *blob,
                    struct err *err)
{
    const char *data, *path;
    if (get_string(e, data_field, &data, err) < 0 || get_string(e, field, &path, err) < 0)
        return -1;
    if (data) {
        struct err why = {0};
        if (kube_blob_set_base64(blob, data, &why) < 0)
            return wrong(e, json_at(e->value, data_field), err, data_field, why.text);
        return 0;
    }
    return path ? open_file(e, field, path, blob, err) : 0;
}

static int get_exec(const struct entry *user, struct kube_config *c, struct err *err)
{
    yyjson_val *v = json_at(user->value, "exec"), *item;
    if (!v || yyjson_is_null(v))
        return 0;
    if (!yyjson_is_obj(v))
        return wrong(user, v, err, "exec", "want an object");
    struct entry e = {user->file, "users", user->name, v};
    struct kube_exec *x = c->exec = xcalloc(1, sizeof(*x));
    const char *interactive, *command;
    if (get_string(&e, "command", &command, err) < 0 || copy_string(&e, "apiVersion", &x->api_version, err) < 0 ||
        copy_string(&e, "installHint", &x->install_hint, err) < 0 ||
        get_string(&e, "interactiveMode", &interactive, err) < 0 ||
        get_bool(&e, "provideClusterInfo", &x->wants_cluster_info, err) < 0)
        return -1;
    if (!command)
        return wrong(&e, v, err, "exec.command", "missing");
    /* A name without a slash is looked for in PATH. */
    x->command = strchr(command, '/') ? resolve(user->file, command) : xstrdup(command);
    if (!x->api_version || (strcmp(x->api_version, "client.authentication.k8s.io/v1") != 0 &&
                            strcmp(x->api_version, "client.authentication.k8s.io/v1beta1") != 0))
        return wrong(&e, v, err, "exec.apiVersion", "want client.authentication.k8s.io/v1");
    if (interactive && strcmp(interactive, "Always") == 0)
        return wrong(&e, v, err, "exec.interactiveMode", "Always: nobody is here to answer the plugin");
    yyjson_arr_iter it = yyjson_arr_iter_with(json_at(v, "args"));
    while ((item = yyjson_arr_iter_next(&it))) {
        if (!json_str_of(item))
            return wrong(&e, item, err, "exec.args", "want strings (quote them)");
        vec_push(&x->args, xstrdup(json_str_of(item)));
    }
    it = yyjson_arr_iter_with(json_at(v, "env"));
    while ((item = yyjson_arr_iter_next(&it))) {
        const char *name = json_str(item, "name"), *value = json_str(item, "value");
        if (!name || !*name || strchr(name, '='))
            return wrong(&e, item, err, "exec.env", "want entries with name and value");
        vec_push(&x->env, xasprintf("%s=%s", name, value ? value : ""));
    }
    return 0;
}

static int fill_cluster(struct kube_config *c, const struct entry *e, struct err *err)
{
    if (get_bool(e, "insecure-skip-tls-verify", &c->insecure_skip_tls_verify, err) < 0 ||
        get_bool(e, "disable-compression", &c->disable_compression, err) < 0 ||
        copy_string(e, "server", &c->server, err) < 0 ||
        copy_string(e, "tls-server-name", &c->tls_server_name, err) < 0 ||
        copy_string(e, "proxy-url", &c->proxy_url, err) < 0)
        return -1;
    const char *wants = c->proxy_url ? kube_url_proxy_wants(c->proxy_url) : NULL;
    if (wants)
        return wrong(e, json_at(e->value, "proxy-url"), err, "proxy-url", wants);
    return get_blob(e, "certificate-authority", "certificate-authority-data", &c->ca, err);
}

static int fill_user(struct kube_config *c, const struct entry *e, struct err *err)
{
    const char *token, *token_file;
    if (get_blob(e, "client-certificate", "client-certificate-data", &c->certificate, err) < 0 ||
        get_blob(e, "client-key", "client-key-data", &c->key, err) < 0 || get_string(e, "token", &token, err) < 0 ||
        get_string(e, "tokenFile", &token_file, err) < 0 || copy_string(e, "username", &c->username, err) < 0 ||
        copy_string(e, "password", &c->password, err) < 0 || copy_string(e, "as", &c->impersonate_user, err) < 0 ||
        copy_string(e, "as-uid", &c->impersonate_uid, err) < 0)
        return -1;
    if (token_file) {
        if (open_file(e, "tokenFile", token_file, &c->token, err) < 0)
            return -1;
    } else if (token) {
        kube_blob_set(&c->token, token, strlen(token));
    }
    yyjson_val *group;
    yyjson_arr_iter it = yyjson_arr_iter_with(json_at(e->value, "as-groups"));
    while ((group = yyjson_arr_iter_next(&it))) {
        if (!json_str_of(group))
            return wrong(e, group, err, "as-groups", "want strings (quote them)");
        vec_push(&c->impersonate_groups, xstrdup(json_str_of(group)));
    }
    if (json_at(e->value, "auth-provider"))
        return wrong(e, json_at(e->value, "auth-provider"), err, "auth-provider",
                     "no longer exists; use an exec plugin");
    return get_exec(e, c, err);
}

int kubeconfig_load(struct kube_config *c, const char *list, bool is_one, const struct kube_overrides *o,
                    struct err *err)
{
    CLEANUP(files_done) struct files files = {.length = 0};
    if (files_load(&files, list, is_one, err) < 0)
        return -1;
    const char *context = o->context, *cluster = o->cluster, *user = o->user, *namespace = NULL;
    for (size_t i = 0; i < files.length && !context; i++) {
        yyjson_val *v = json_at(root_of(&files.items[i]), "current-context");
        const char *current = json_str_of(v);
        if (v && !current && !yyjson_is_null(v))
            return err_set(err, ERR_INVALID, "%s: current-context: want a string (quote it)", files.items[i].path);
        if (current && *current)
            context = current;
    }
    const char *first = files.items[0].path;
    if (context) {
        struct entry e;
        const char *its_cluster, *its_user;
        if (find(&files, "contexts", "context", context, &e, err) < 0 ||
            get_string(&e, "cluster", &its_cluster, err) < 0 || get_string(&e, "user", &its_user, err) < 0 ||
            get_string(&e, "namespace", &namespace, err) < 0)
            return -1;
        if (!its_cluster && !cluster)
            return wrong(&e, e.value, err, "cluster", "missing");
        cluster = cluster ? cluster : its_cluster;
        user = user ? user : its_user;
        c->origin = xasprintf("%s: context \"%s\"", e.file->path, context);
    } else if (cluster || o->server) {
        c->origin = xstrdup(first);
    } else {
        return err_set(err, ERR_INVALID, "%s: no current-context; choose one with --context", first);
    }
    if (namespace)
        c->namespace = xstrdup(namespace);
    struct entry e;
    if (cluster && (find(&files, "clusters", "cluster", cluster, &e, err) < 0 || fill_cluster(c, &e, err) < 0))
        return -1;
    if (user && (find(&files, "users", "user", user, &e, err) < 0 || fill_user(c, &e, err) < 0))
        return -1;
    return 0;
}
