/* config.h — where the API server is and how to speak to it: from flags, kubeconfig files, or the pod we run in.
 * Thread:  loop thread only (it reads small local files).
 * Owns:    all its strings and bytes.
 * Errors:  ERR_INVALID, ERR_SYS, ERR_LIMIT, ERR_NOTFOUND; the text names file, context and field.
 * Source:  client-go's loading rules: the first file that sets a value or a map's key wins; a path in a file is
 *          relative to it; inline data win over files; a token file wins over a token.
 */
#ifndef HAPTIC_KUBE_CONFIG_H
#define HAPTIC_KUBE_CONFIG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/vec.h"
#include "kube/blob.h"

/* What the command line says; NULL: nothing. */
struct kube_overrides {
    const char *kubeconfig; /* this file and no other */
    const char *context, *cluster, *user;
    const char *namespace;
    const char *server;
    const char *token, *token_file;
    const char *certificate_authority;
    const char *tls_server_name;
    bool insecure_skip_tls_verify;
    const char *service_account_dir; /* default KUBE_SERVICE_ACCOUNT_DIR */
};

#define KUBE_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* A program that prints credentials (client.authentication.k8s.io). */
struct kube_exec {
    char *api_version;
    char *command; /* a path, or a name to be found in PATH */
    VEC(char *) args;
    VEC(char *) env; /* NAME=value */
    char *install_hint;
    bool wants_cluster_info;
};

struct kube_config {
    char *origin; /* for messages: "/home/u/.kube/config: context \"prod\"", "in-cluster" */
    char *server; /* https://host:port, no slash at the end */
    char *namespace;
    bool namespace_is_default; /* nobody named one: "default" out of nothing */
    char *tls_server_name;     /* NULL: the server's host */
    char *proxy_url;           /* NULL: as the environment says */
    bool insecure_skip_tls_verify;
    bool disable_compression;
    struct kube_blob ca; /* nothing: the system's authorities */
    struct kube_blob certificate, key;
    struct kube_blob token;
    char *username, *password;
    char *impersonate_user, *impersonate_uid;
    VEC(char *) impersonate_groups;
    struct kube_exec *exec; /* NULL: none */
};

/* In this order: overrides->kubeconfig; the files in KUBECONFIG; ~/.kube/config; the pod's service account. overrides
 * may be NULL. */
int kube_config_load(struct kube_config *ret_config, const struct kube_overrides *overrides, struct err *err)
    MUST_CHECK;
void kube_config_done(struct kube_config *c); /* NULL is fine; wipes credentials */

/* For kube_config_load: what the pod's environment and service account say. */
int kube_config_from_pod(struct kube_config *c, const char *service_account_dir, struct err *err) MUST_CHECK;

#endif
