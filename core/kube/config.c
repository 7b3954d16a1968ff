/* The files are read by kubeconfig.c; here is the choice between them and the pod, and what flags change afterwards. */
#include "kube/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "kube/kubeconfig.h"

void kube_config_done(struct kube_config *c)
{
    if (!c)
        return;
    kube_blob_done(&c->ca);
    kube_blob_done(&c->certificate);
    kube_blob_done(&c->key);
    kube_blob_done(&c->token);
    if (c->password)
        explicit_bzero(c->password, strlen(c->password));
    char *strings[] = {c->origin,   c->server,   c->namespace,        c->tls_server_name, c->proxy_url,
                       c->username, c->password, c->impersonate_user, c->impersonate_uid};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    for (size_t i = 0; i < c->impersonate_groups.length; i++)
        free(c->impersonate_groups.items[i]);
    vec_done(&c->impersonate_groups);
    if (c->exec) {
        for (size_t i = 0; i < c->exec->args.length; i++)
            free(c->exec->args.items[i]);
        for (size_t i = 0; i < c->exec->env.length; i++)
            free(c->exec->env.items[i]);
        vec_done(&c->exec->args);
        vec_done(&c->exec->env);
        free(c->exec->api_version);
        free(c->exec->command);
        free(c->exec->install_hint);
        free(c->exec);
    }
    *c = (struct kube_config){0};
}

static void set_string(char **field, const char *value)
{
    if (value) {
        free(*field);
        *field = xstrdup(value);
    }
}

int kube_config_from_pod(struct kube_config *c, const char *dir, struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port)
        return err_set(err, ERR_NOTFOUND,
                       "no API server: give --kubeconfig FILE, set KUBECONFIG, or run in a pod "
                       "(KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)");
    CLEANUP(free_ptr) char *token = xasprintf("%s/token", dir);
    CLEANUP(free_ptr) char *ca = xasprintf("%s/ca.crt", dir);
    CLEANUP(free_ptr) char *namespace = xasprintf("%s/namespace", dir);
    if (kube_blob_open(&c->token, token, err) < 0 || kube_blob_open(&c->ca, ca, err) < 0)
        return err_wrap(err, "in-cluster configuration (is automountServiceAccountToken off?)");
    set_string(&c->origin, "in-cluster");
    free(c->server);
    c->server = xasprintf(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    CLEANUP(kube_blob_done) struct kube_blob text = {0};
    if (kube_blob_open(&text, namespace, NULL) == 0) {
        text.bytes[strcspn(text.bytes, " \t\r\n")] = '\0';
        if (text.bytes[0])
            set_string(&c->namespace, text.bytes);
    }
    return 0;
}

static int apply_overrides(struct kube_config *c, const struct kube_overrides *o, struct err *err)
{
    set_string(&c->server, o->server);
    set_string(&c->namespace, o->namespace);
    set_string(&c->tls_server_name, o->tls_server_name);
    if (o->insecure_skip_tls_verify) {
        c->insecure_skip_tls_verify = true;
        kube_blob_done(&c->ca);
    }
    if (o->certificate_authority && kube_blob_open(&c->ca, o->certificate_authority, err) < 0)
        return err_wrap(err, "--certificate-authority");
    if (o->token)
        kube_blob_set(&c->token, o->token, strlen(o->token));
    if (o->token_file && kube_blob_open(&c->token, o->token_file, err) < 0)
        return err_wrap(err, "--token-file");
    return 0;
}

/* What is wrong whatever it came from. */
static int check(struct kube_config *c, struct err *err)
{
    if (!c->server || !*c->server)
        return err_set(err, ERR_INVALID, "%s: cluster.server is empty", c->origin);
    /* It is named in messages, and libcurl would send what it holds as a password. */
    if (strchr(c->server, '@'))
        return err_set(err, ERR_INVALID,
                       "%s: cluster.server: want https://HOST:PORT without user name and password; who asks is said "
                       "by the user's entry (token, username and password, ...)",
                       c->origin);
    if (!strstr(c->server, "://")) {
        char *with_scheme = xasprintf("https://%s", c->server);
        free(c->server);
        c->server = with_scheme;
    }
    if (strncmp(c->server, "https://", 8) != 0 && strncmp(c->server, "http://", 7) != 0)
        return err_set(err, ERR_INVALID, "%s: server \"%s\": want an https:// or http:// URL", c->origin, c->server);
    for (size_t n = strlen(c->server); n > 0 && c->server[n - 1] == '/'; n--)
        c->server[n - 1] = '\0';
    if (c->insecure_skip_tls_verify && c->ca.bytes)
        return err_set(err, ERR_INVALID, "%s: a certificate authority and insecure-skip-tls-verify exclude each other",
                       c->origin);
    if (!c->certificate.bytes != !c->key.bytes)
        return err_set(err, ERR_INVALID, "%s: %s is given without %s", c->origin,
                       c->certificate.bytes ? "client-certificate" : "client-key",
                       c->certificate.bytes ? "client-key" : "client-certificate");
    /* Requests carry the token in a header line. */
    if (c->token.bytes && !c->token.path && strpbrk(c->token.bytes, "\r\n"))
        return err_set(err, ERR_INVALID, "%s: the token has a line break", c->origin);
    c->namespace_is_default = !c->namespace || !*c->namespace;
    if (c->namespace_is_default)
        set_string(&c->namespace, "default");
    return 0;
}

static int load_unchecked(struct kube_config *c, const struct kube_overrides *o, struct err *err)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    const char *dir = o->service_account_dir ? o->service_account_dir : KUBE_SERVICE_ACCOUNT_DIR;
    if (o->kubeconfig)
        return kubeconfig_load(c, o->kubeconfig, true, o, err);
    if (list && *list)
        return kubeconfig_load(c, list, false, o, err);
    CLEANUP(free_ptr) char *file = xasprintf("%s/.kube/config", home ? home : "");
    struct stat st;
    if (home && *home && stat(file, &st) == 0)
        return kubeconfig_load(c, file, true, o, err);
    if (o->server && !getenv("KUBERNETES_SERVICE_HOST")) {
        set_string(&c->origin, "--server");
        return 0;
    }
    return kube_config_from_pod(c, dir, err);
}

int kube_config_load(struct kube_config *ret_config, const struct kube_overrides *overrides, struct err *err)
{
    struct kube_overrides none = {0};
    CLEANUP(kube_config_done) struct kube_config c = {0};
    if (!overrides)
        overrides = &none;
    if (load_unchecked(&c, overrides, err) < 0 || apply_overrides(&c, overrides, err) < 0 || check(&c, err) < 0)
        return -1;
    *ret_config = c;
    c = (struct kube_config){0};
    return 0;
}
