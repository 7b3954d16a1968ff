/* haptic crds: the definitions of this program's resources, printed or applied. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/options.h"
#include "cmd/version.h"
#include "data/json.h"
#include "engine/embedded.h"
#include "kube/client.h"
#include "kube/path.h"

#define FOLDER "core/cmd/crds/"
#define API_VERSION "apiextensions.k8s.io/v1"
#define DEADLINE_NS (30 * NS_PER_S)

enum { CRDS_KUBECONFIG, CRDS_CONTEXT, CRDS_SERVER, CRDS_OUTPUT, CRDS_HELP };

static const struct option_row rows[] = {
    {CRDS_KUBECONFIG, 0, "kubeconfig", "FILE", NULL, NULL,
     "apply: how to reach the API server (KUBECONFIG, ~/.kube/config, or the pod's service account)"},
    {CRDS_CONTEXT, 0, "context", "NAME", NULL, NULL, "apply: context of the kubeconfig"},
    {CRDS_SERVER, 0, "server", "URL", NULL, NULL, "apply: address of the API server; overrides the kubeconfig"},
    ROW_TEXT_OR_JSON(CRDS_OUTPUT, "text: YAML; json: a List. apply: the definitions that were applied or refused"),
    {CRDS_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "crds",
    .arguments = "[apply]",
    .text = "Prints the CustomResourceDefinitions of this program; apply: applies them to the cluster, as the field "
            "manager haptic-crds.\n\n"
            "  haptic crds | kubectl apply --server-side -f -\n"
            "  haptic crds apply\n\n"
            "Exit status: 0 done, 1 the API server refuses, 2 wrong usage.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct crds {
    struct kube_overrides kube;
    enum finding_format format;
    bool help;
    struct buf answers; /* apply, as JSON: one of each */
    struct kube_client *client;
    size_t left;
    int status;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct crds *c = ctx;

    switch (id) {
    case CRDS_OUTPUT:
        return text_or_json(value, &c->format, err);
    case CRDS_KUBECONFIG:
        c->kube.kubeconfig = value;
        break;
    case CRDS_CONTEXT:
        c->kube.context = value;
        break;
    case CRDS_SERVER:
        c->kube.server = value;
        break;
    default:
        c->help = true;
    }
    return 0;
}

static bool is_definition(const struct embedded_file *file)
{
    return strncmp(file->name, FOLDER, strlen(FOLDER)) == 0;
}

static int print_all(const struct crds *c)
{
    CLEANUP(buf_done) struct buf text = {0};

    for (size_t i = 0; i < embedded_count(); i++) {
        struct embedded_file file = embedded_at(i);
        if (!is_definition(&file))
            continue;
        if (text.length > 0)
            buf_puts(&text, "---\n");
        buf_add(&text, file.bytes, file.length);
    }
    return print_manifests("crds", buf_str(&text), text.length, c->format);
}

/* ---- apply ---- */

struct application {
    struct crds *crds;
    char *name;
};

static void application_free(void *ctx)
{
    struct application *a = ctx;

    free(a->name);
    free(a);
}

static void put_answer(struct crds *c, const char *name, const char *refused)
{
    struct err err;

    buf_printf(&c->answers, "%s\n{\"name\":\"%s\"", c->answers.length > 0 ? "," : "", name);
    if (refused != NULL) {
        buf_puts(&c->answers, ",\"error\":");
        if (json_write_string(&c->answers, refused, strlen(refused), &err) < 0)
            buf_puts(&c->answers, "\"\"");
    }
    buf_putc(&c->answers, '}');
}

static void on_applied(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct application *a = ctx;

    (void)response;
    if (err != NULL)
        a->crds->status = 1;
    if (a->crds->format == FINDING_JSON)
        put_answer(a->crds, a->name, err != NULL ? err->text : NULL);
    else if (err != NULL)
        fprintf(stderr, "haptic crds: %s\n", err->text);
    else
        printf("customresourcedefinition/%s applied\n", a->name);
    a->crds->left--;
}

/* A file is called as the plural that it defines, all of one group. */
static void apply(struct crds *c, const struct embedded_file *file)
{
    CLEANUP(buf_done) struct buf path = {0};
    const char *base = file->name + strlen(FOLDER);
    struct application *a = xcalloc(1, sizeof(*a));

    a->crds = c;
    a->name = xasprintf("%.*s.haproxy-haptic.org", (int)strcspn(base, "."), base);
    kube_path_add(&path, API_VERSION, NULL, "customresourcedefinitions", a->name);
    kube_path_add_query(&path, "fieldManager", "haptic-crds");
    kube_path_add_query(&path, "force", "true");
    CLEANUP(free_ptr) char *what = xasprintf("apply customresourcedefinition %s", a->name);
    const struct kube_call call = {.what = what,
                                   .method = "PATCH",
                                   .path = buf_str(&path),
                                   .body = file->bytes,
                                   .body_length = file->length,
                                   .content_type = "application/apply-patch+yaml",
                                   .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                   .done = on_applied,
                                   .ctx = a,
                                   .free_ctx = application_free};
    c->left++;
    (void)kube_request_start(c->client, &call);
}

static int apply_all(struct crds *c)
{
    const struct kube_client_options options = {.version = HAPTIC_VERSION};
    struct kube_config config;
    struct err err;
    uv_loop_t loop;

    if (kube_config_load(&config, &c->kube, &err) < 0) {
        fprintf(stderr, "haptic crds: %s\n", err.text);
        return 2;
    }
    uv_loop_init(&loop);
    c->client = kube_client_new(&loop, &config, &options);
    for (size_t i = 0; i < embedded_count(); i++) {
        struct embedded_file file = embedded_at(i);
        if (is_definition(&file))
            apply(c, &file);
    }
    while (c->left > 0)
        uv_run(&loop, UV_RUN_ONCE);
    if (c->format == FINDING_JSON)
        printf("{\"customresourcedefinitions\":[%s\n]}\n", buf_str(&c->answers));
    buf_done(&c->answers);
    kube_client_free(c->client);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return c->status;
}

int cmd_crds(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct crds c = {0};
    struct err err;
    int status = 0;

    if (options_parse(&table, argc, argv, set, &c, &arguments, &err) < 0) {
        fprintf(stderr, "haptic crds: %s\n", err.text);
        status = 2;
    } else if (c.help) {
        options_print_help(&table);
    } else if (arguments.items.length == 0) {
        status = print_all(&c);
    } else if (arguments.items.length == 1 && strcmp(arguments.items.items[0], "apply") == 0) {
        status = apply_all(&c);
    } else {
        fprintf(stderr, "haptic crds: unexpected argument \"%.64s\"; see haptic crds --help\n",
                arguments.items.items[0]);
        status = 2;
    }
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_crds_options(void)
{
    return &table;
}
