/* Before the controller has a configuration there is nobody to judge: 503, and failurePolicy decides. */
#include "cmd/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "controller/admission.h"
#include "controller/app.h"
#include "controller/candidates.h"
#include "http/api.h"

#define TOKEN_MIN 16U
#define TOKEN_MAX 256U
#define CONFIGURATIONS "/validate-configuration/"

struct webhook {
    struct app *app;
    struct metrics *metrics;
    struct identity *identity;
    struct api_server *api;
    char *configurations; /* their path; NULL: they are not judged */
    uint64_t refused;     /* that was counted */
};

static void answer(void *ctx, unsigned status, struct buf *body)
{
    api_answer(ctx, status, status == 200 ? "application/json" : "text/plain", body);
}

static void count_refused(struct webhook *w)
{
    uint64_t now = api_server_refused(w->api);

    metric_add(metric_counter(w->metrics, "haptic_webhook_refused_total",
                              "Requests to the webhook that were too large, too slow, or too many at a time."),
               (double)(now - w->refused));
    w->refused = now;
}

static void serve_validate(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct webhook *w = ctx;
    struct admission *admission = app_admission(w->app);
    struct buf text = {0};

    count_refused(w);
    if (admission != NULL) {
        admission_review(admission, body, length, answer, request);
        return;
    }
    buf_puts(&text, "there is no configuration yet\n");
    answer(request, 503, &text);
}

static void serve_configuration(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct webhook *w = ctx;

    count_refused(w);
    candidates_review(app_candidates(w->app), body, length, answer, request);
}

static void serve_healthz(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct buf text = {0};

    (void)body;
    (void)length;
    count_refused(ctx);
    buf_puts(&text, "ok\n");
    answer(request, 200, &text);
}

/* The path of configurations; a blank or a line's end after the token does not count. */
static int read_token(const char *file, char **ret_path, struct err *err)
{
    char token[TOKEN_MAX + 2];
    FILE *f = fopen(file, "re");

    if (f == NULL)
        return err_set_sys(err, errno, "--webhook-token-file %s", file);
    size_t length = fread(token, 1, sizeof(token) - 1, f);
    fclose(f);
    token[length] = '\0';
    while (length > 0 && strchr(" \r\n", token[length - 1]) != NULL)
        token[--length] = '\0';
    if (length < TOKEN_MIN || length > TOKEN_MAX ||
        strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != length)
        return err_set(err, ERR_INVALID, "--webhook-token-file %s: write %u to %u letters, digits, - and _ into it",
                       file, TOKEN_MIN, TOKEN_MAX);
    *ret_path = xasprintf(CONFIGURATIONS "%s", token);
    explicit_bzero(token, sizeof(token));
    return 0;
}

int webhook_new(uv_loop_t *loop, const struct run_options *o, struct app *app, struct metrics *metrics,
                struct webhook **ret_webhook, struct err *err)
{
    const struct identity_files files = {.certificate = o->webhook_certificate, .key = o->webhook_key};
    struct webhook *w = xcalloc(1, sizeof(*w));

    w->app = app;
    w->metrics = metrics;
    if (o->webhook_token_file != NULL && read_token(o->webhook_token_file, &w->configurations, err) < 0) {
        free(w);
        return -1;
    }
    if (identity_new(&files, &w->identity, err) < 0) {
        webhook_free(w);
        return err_wrap(err, "--webhook-cert-dir");
    }
    if (api_server_new(loop, o->webhook_address, o->webhook_port, w->identity, ADMISSION_BODY_MAX, &w->api, err) < 0) {
        webhook_free(w);
        return err_wrap(err, "webhook (choose another --webhook-port or --webhook-address)");
    }
    api_server_limit_bodies(w->api, WEBHOOK_BODIES, WEBHOOK_BODY_NS, WEBHOOK_PATIENCE_NS);
    api_server_route(w->api, "POST", "/validate", serve_validate, w);
    if (w->configurations != NULL)
        api_server_route(w->api, "POST", w->configurations, serve_configuration, w);
    api_server_route(w->api, "GET", "/healthz", serve_healthz, w);
    count_refused(w);
    *ret_webhook = w;
    return 0;
}

void webhook_certify(struct webhook *w, const char *certificate, const char *key)
{
    struct err err;

    if (identity_put(w->identity, certificate, key, &err) < 0)
        log_error("The certificates of the webhook cannot be used; the previous ones stay in use", "error", err.text);
    else
        log_info("The webhook has its certificates");
}

bool webhook_drain(struct webhook *w)
{
    if (w != NULL)
        api_server_drain(w->api);
    return w != NULL;
}

void webhook_stop(struct webhook *w)
{
    if (w != NULL)
        w->api = api_server_free(w->api);
}

struct webhook *webhook_free(struct webhook *w)
{
    if (w != NULL) {
        identity_free(w->identity);
        free(w->configurations);
    }
    free(w);
    return NULL;
}
