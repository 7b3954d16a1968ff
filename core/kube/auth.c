/* A plugin's output is collected from a pipe to a limit; the process has a deadline and is killed past it. Exit status
 * and end of output come in any order, so the result is looked at when both are there. The run lives on its own until
 * libuv has closed its handles: auth can be freed at any moment and only has to let go of it. */
#include "kube/auth.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "net/timer.h"

#define EXEC_DEADLINE_NS (60 * NS_PER_S)
#define EXEC_OUTPUT_MAX ((size_t)1 << 20)
#define EXEC_EARLY_US INT64_C(30000000) /* renew so long before the end */
#define FILE_CHECK_NS NS_PER_S

/* One run of the plugin. */
struct exec_run {
    struct kube_auth *auth; /* NULL: nobody wants the result any more */
    uv_process_t process;
    uv_pipe_t pipe;
    struct net_timer *deadline;
    struct buf output;
    char chunk[4096];
    int64_t exit_status;
    int signal;
    bool has_exited, has_ended, is_late, is_too_long;
    int spawn_rc; /* of libuv; told in the loop's next turn, never to who asked in the middle of asking */
    unsigned open_handles;
};

struct kube_auth {
    uv_loop_t *loop;
    struct kube_config *config;
    void (*ready)(void *ctx, const struct err *err);
    void *ctx;
    int64_t checked_ns;
    struct exec_run *run;
    struct kube_blob token, certificate, key; /* the plugin's */
    int64_t expires_us;                       /* Unix; 0: never */
    bool has_result;
};

static void on_closed(uv_handle_t *handle)
{
    struct exec_run *r = handle->data;
    if (--r->open_handles == 0) {
        if (r->output.data)
            explicit_bzero(r->output.data, r->output.length);
        buf_done(&r->output);
        free(r);
    }
}

static void run_close(struct exec_run *r)
{
    r->deadline = net_timer_free(r->deadline);
    uv_close((uv_handle_t *)&r->pipe, on_closed);
    uv_close((uv_handle_t *)&r->process, on_closed);
}

static void take(struct kube_blob *blob, yyjson_val *status, const char *field)
{
    yyjson_val *v = yyjson_obj_get(status, field);
    if (yyjson_is_str(v) && yyjson_get_len(v) > 0)
        kube_blob_set(blob, yyjson_get_str(v), yyjson_get_len(v));
    else
        kube_blob_done(blob);
}

static int take_result(struct kube_auth *a, const struct exec_run *r, struct err *err)
{
    const struct kube_exec *e = a->config->exec;
    if (r->spawn_rc)
        return err_set(err, ERR_SYS, "%s%s%s", uv_strerror(r->spawn_rc), e->install_hint ? "; " : "",
                       e->install_hint ? e->install_hint : "");
    if (r->is_late)
        return err_set(err, ERR_TIMEOUT, "timeout after %d s", (int)(EXEC_DEADLINE_NS / NS_PER_S));
    if (r->is_too_long)
        return err_set(err, ERR_LIMIT, "more than %zu bytes of output", EXEC_OUTPUT_MAX);
    if (r->signal || r->exit_status)
        return err_set(err, ERR_IO, "ended with %s %d; what it wrote to standard error says why",
                       r->signal ? "signal" : "status", r->signal ? r->signal : (int)r->exit_status);
    yyjson_doc *doc = yyjson_read(buf_str(&r->output), r->output.length, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *status = yyjson_obj_get(root, "status");
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion"));
    const char *expires = yyjson_get_str(yyjson_obj_get(status, "expirationTimestamp"));
    int64_t expires_us = 0;
    int rc = -1;
    if (!yyjson_is_obj(status) || !version) {
        err_set(err, ERR_INVALID, "its output is no ExecCredential with a status");
    } else if (strcmp(version, e->api_version) != 0) {
        err_set(err, ERR_INVALID, "it answered with apiVersion %s; the kubeconfig says %s", version, e->api_version);
    } else if (!expires || clock_parse_rfc3339(expires, &expires_us, err) == 0) {
        take(&a->token, status, "token");
        take(&a->certificate, status, "clientCertificateData");
        take(&a->key, status, "clientKeyData");
        a->expires_us = expires_us;
        rc = 0;
        if (!a->certificate.bytes != !a->key.bytes || (!a->token.bytes && !a->certificate.bytes))
            rc = err_set(err, ERR_INVALID, "it gave neither a token nor a client certificate with its key");
        else if (a->token.bytes && strpbrk(a->token.bytes, "\r\n"))
            rc = err_set(err, ERR_INVALID, "its token has a line break");
    }
    yyjson_doc_free(doc);
    return rc;
}

static void run_check_end(struct exec_run *r)
{
    if (!r->has_exited || !r->has_ended)
        return;
    struct kube_auth *a = r->auth;
    if (a) {
        struct err err = {0};
        int rc = take_result(a, r, &err);
        if (rc < 0)
            err_wrap(&err, "%s: exec plugin %s", a->config->origin, a->config->exec->command);
        a->has_result = rc == 0;
        a->run = NULL;
        run_close(r);
        a->ready(a->ctx, rc < 0 ? &err : NULL);
    } else {
        run_close(r);
    }
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct exec_run *r = process->data;
    r->has_exited = true;
    r->exit_status = status;
    r->signal = signal;
    run_check_end(r);
}

static void run_end_output(struct exec_run *r)
{
    if (!r->has_ended) {
        r->has_ended = true;
        uv_read_stop((uv_stream_t *)&r->pipe);
        run_check_end(r);
    }
}

static void want_chunk(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct exec_run *r = handle->data;
    (void)suggested;
    *ret_buf = uv_buf_init(r->chunk, sizeof(r->chunk));
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *chunk)
{
    struct exec_run *r = stream->data;
    if (n > 0 && buf_try_add(&r->output, chunk->base, (size_t)n, NULL) < 0) {
        r->is_too_long = true;
        uv_process_kill(&r->process, SIGKILL);
        n = -1;
    }
    if (n < 0)
        run_end_output(r);
}

static void on_deadline(void *ctx)
{
    struct exec_run *r = ctx;
    if (r->spawn_rc) {
        r->has_exited = true;
    } else {
        r->is_late = true;
        uv_process_kill(&r->process, SIGKILL);
    }
    /* A child of the plugin may keep the pipe open. */
    run_end_output(r);
}

/* The environment of the plugin: ours, its own, and what the protocol tells it. */
static char **environment_of(const struct kube_config *c)
{
    VEC(char *) env = {0};
    for (char **e = environ; *e; e++) {
        if (strncmp(*e, "KUBERNETES_EXEC_INFO=", 21) != 0)
            vec_push(&env, xstrdup(*e));
    }
    for (size_t i = 0; i < c->exec->env.length; i++) {
        const char *own = c->exec->env.items[i];
        size_t name = strcspn(own, "=") + 1;
        for (size_t j = 0; j < env.length; j++) {
            if (strncmp(env.items[j], own, name) == 0) {
                free(env.items[j]);
                vec_swap_remove(&env, j);
                j--;
            }
        }
        vec_push(&env, xstrdup(own));
    }
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *spec = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "apiVersion", c->exec->api_version);
    yyjson_mut_obj_add_str(doc, root, "kind", "ExecCredential");
    yyjson_mut_obj_add_val(doc, root, "spec", spec);
    yyjson_mut_obj_add_bool(doc, spec, "interactive", false);
    if (c->exec->wants_cluster_info) {
        yyjson_mut_val *cluster = yyjson_mut_obj(doc);
        yyjson_mut_obj_add_str(doc, cluster, "server", c->server);
        if (c->tls_server_name)
            yyjson_mut_obj_add_str(doc, cluster, "tls-server-name", c->tls_server_name);
        if (c->proxy_url)
            yyjson_mut_obj_add_str(doc, cluster, "proxy-url", c->proxy_url);
        if (c->insecure_skip_tls_verify)
            yyjson_mut_obj_add_bool(doc, cluster, "insecure-skip-tls-verify", true);
        if (c->ca.bytes) {
            CLEANUP(free_ptr) char *encoded = kube_base64_encode(c->ca.bytes, c->ca.length);
            yyjson_mut_obj_add_strcpy(doc, cluster, "certificate-authority-data", encoded);
        }
        yyjson_mut_obj_add_val(doc, spec, "cluster", cluster);
    }
    char *json = yyjson_mut_write(doc, 0, NULL);
    vec_push(&env, xasprintf("KUBERNETES_EXEC_INFO=%s", json ? json : "{}"));
    vec_push(&env, NULL);
    free(json);
    yyjson_mut_doc_free(doc);
    return env.items;
}

static void run_start(struct kube_auth *a)
{
    const struct kube_exec *e = a->config->exec;
    struct exec_run *r = xcalloc(1, sizeof(*r));
    r->auth = a;
    r->open_handles = 2;
    buf_init(&r->output, EXEC_OUTPUT_MAX);
    r->deadline = net_timer_new(a->loop, on_deadline, r);
    uv_pipe_init(a->loop, &r->pipe, 0);
    r->pipe.data = r;
    VEC(char *) args = {0};
    vec_push(&args, e->command);
    for (size_t i = 0; i < e->args.length; i++)
        vec_push(&args, e->args.items[i]);
    vec_push(&args, NULL);
    char **env = environment_of(a->config);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE), .data.stream = (uv_stream_t *)&r->pipe},
        {.flags = UV_INHERIT_FD, .data.fd = 2}};
    uv_process_options_t options = {.file = e->command,
                                    .args = args.items,
                                    .env = env,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .exit_cb = on_process_exit};
    r->spawn_rc = uv_spawn(a->loop, &r->process, &options);
    r->process.data = r;
    for (char **p = env; *p; p++)
        free(*p);
    free(env);
    vec_done(&args);
    a->run = r;
    if (r->spawn_rc == 0)
        uv_read_start((uv_stream_t *)&r->pipe, want_chunk, on_output);
    net_timer_start(r->deadline, r->spawn_rc == 0 ? EXEC_DEADLINE_NS : 0);
}

static bool needs_run(const struct kube_auth *a)
{
    return !a->has_result || (a->expires_us && clock_wall_us() > a->expires_us - EXEC_EARLY_US);
}

static bool refresh_files(struct kube_auth *a)
{
    struct kube_blob *files[] = {&a->config->token, &a->config->ca, &a->config->certificate, &a->config->key};
    bool has_changed = false;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        bool is_other;
        /* While a rotation is under way a file may be missing or empty: the bytes read before stay in use. */
        if (kube_blob_refresh(files[i], &is_other, NULL) == 0 && is_other)
            has_changed = true;
    }
    a->checked_ns = clock_now_ns();
    return has_changed;
}

enum kube_auth_state kube_auth_refresh(struct kube_auth *a)
{
    if (clock_now_ns() - a->checked_ns >= FILE_CHECK_NS)
        refresh_files(a);
    if (!a->config->exec || a->config->token.bytes || !needs_run(a))
        return AUTH_READY;
    if (!a->run)
        run_start(a);
    return AUTH_PENDING;
}

enum kube_auth_state kube_auth_refused(struct kube_auth *a, bool *ret_is_new)
{
    bool has_changed = refresh_files(a);
    *ret_is_new = has_changed;
    if (!a->config->exec || a->config->token.bytes)
        return AUTH_READY;
    *ret_is_new = true;
    a->has_result = false;
    if (!a->run)
        run_start(a);
    return AUTH_PENDING;
}

const char *kube_auth_token(const struct kube_auth *a)
{
    return a->config->token.bytes ? a->config->token.bytes : a->token.bytes;
}

const struct kube_blob *kube_auth_certificate(const struct kube_auth *a)
{
    return a->certificate.bytes ? &a->certificate : &a->config->certificate;
}

const struct kube_blob *kube_auth_key(const struct kube_auth *a)
{
    return a->key.bytes ? &a->key : &a->config->key;
}

/* Only what keeps it from being accepted: its validity. */
static void describe_validity(const struct kube_blob *certificate, struct buf *out)
{
    BIO *bio = BIO_new_mem_buf(certificate->bytes, (int)certificate->length);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const ASN1_TIME *end = x ? X509_get0_notAfter(x) : NULL, *start = x ? X509_get0_notBefore(x) : NULL;
    struct tm t;
    if (end && X509_cmp_current_time(end) < 0 && ASN1_TIME_to_tm(end, &t))
        buf_printf(out, ", which expired on %04d-%02d-%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
    else if (start && X509_cmp_current_time(start) > 0 && ASN1_TIME_to_tm(start, &t))
        buf_printf(out, ", which begins to be valid on %04d-%02d-%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
    X509_free(x);
    BIO_free(bio);
}

static void describe_blob(const struct kube_auth *a, const char *name, const struct kube_blob *blob, struct buf *out)
{
    const struct kube_config *c = a->config;
    if (blob == &a->token || blob == &a->certificate)
        buf_printf(out, "shown was the %s of the exec plugin %s", name, c->exec->command);
    else
        buf_printf(out, "shown was the %s in %s", name, blob->path ? blob->path : c->origin);
}

void kube_auth_describe(const struct kube_auth *a, struct buf *out)
{
    const struct kube_config *c = a->config;
    const struct kube_blob *certificate = kube_auth_certificate(a);
    if (kube_auth_token(a)) {
        describe_blob(a, "token", c->token.bytes ? &c->token : &a->token, out);
    } else if (certificate->bytes) {
        describe_blob(a, "client certificate", certificate, out);
        describe_validity(certificate, out);
    } else if (c->username) {
        buf_printf(out, "shown were the user name and password in %s", c->origin);
    } else {
        buf_printf(out, "%s has none", c->origin);
    }
}

struct kube_auth *kube_auth_new(uv_loop_t *loop, struct kube_config *config,
                                void (*ready)(void *ctx, const struct err *err), void *ctx)
{
    struct kube_auth *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->config = config;
    a->ready = ready;
    a->ctx = ctx;
    a->checked_ns = clock_now_ns();
    return a;
}

struct kube_auth *kube_auth_free(struct kube_auth *a)
{
    if (!a)
        return NULL;
    if (a->run) {
        a->run->auth = NULL;
        if (a->run->spawn_rc)
            a->run->has_exited = true;
        else
            uv_process_kill(&a->run->process, SIGKILL);
        run_end_output(a->run);
    }
    kube_blob_done(&a->token);
    kube_blob_done(&a->certificate);
    kube_blob_done(&a->key);
    free(a);
    return NULL;
}

/* Who is refused should not have to guess what was shown. */
void kube_auth_name_credentials(const struct kube_auth *a, struct err *err)
{
    struct err refusal = *err;
    CLEANUP(buf_done) struct buf shown = {0};
    kube_auth_describe(a, &shown);
    err_set(err, refusal.kind, "%s; %s", refusal.text, buf_str(&shown));
}
