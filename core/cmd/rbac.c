/* haptic rbac: the rights that a controller needs for a configuration. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"

enum { RBAC_CONFIG, RBAC_NAME, RBAC_OUTPUT, RBAC_HELP };

static const struct option_row rows[] = {
    {RBAC_CONFIG, 'c', "config", "FILE|DIR", "CONFIG", NULL,
     "the configuration: an HAProxyTemplateConfig or its spec; a folder of them, or repeated: what is later counts. "
     "Without it: what the built-in libraries need"},
    {RBAC_NAME, 0, "name", "NAME", NULL, "haptic", "of the roles"},
    ROW_TEXT_OR_JSON(RBAC_OUTPUT, "text: YAML, with the reason of each rule; json: a List"),
    {RBAC_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "rbac",
    .arguments = NULL,
    .text = "Prints the roles that a controller needs for a configuration: a ClusterRole for kinds that are watched in "
            "all namespaces, and a Role in\neach namespace that an entry of watchedResources names. The chart has the "
            "bindings, and the permissions for the controller's own namespace.\n\n"
            "  haptic rbac -c my.yaml > roles.yaml\n\n"
            "Exit status: 0 done, 1 the configuration is wrong, 2 wrong usage or an unreadable configuration.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct rbac {
    struct given_config config;
    const char *name;
    enum finding_format format;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct rbac *c = ctx;

    switch (id) {
    case RBAC_CONFIG:
        given_config_set(&c->config, value);
        return 0;
    case RBAC_OUTPUT:
        return text_or_json(value, &c->format, err);
    case RBAC_NAME:
        c->name = value;
        return 0;
    default:
        c->help = true;
        return 0;
    }
}

static void put_rule(struct buf *out, const char *why, const char *api_version, const char *resource, const char *verbs)
{
    const char *slash = strchr(api_version, '/');
    int length = slash != NULL ? (int)(slash - api_version) : 0;

    buf_printf(out, "# %s\n- apiGroups: [\"%.*s\"]\n  resources: [\"%s\"]\n  verbs: [%s]\n", why, length, api_version,
               resource, verbs);
}

static void put_kind(struct buf *out, const struct config_kind *k)
{
    CLEANUP(free_ptr) char *why = xasprintf("watchedResources.%s", k->name);
    CLEANUP(free_ptr) char *status = xasprintf("%s/status", k->resource);
    size_t versions = k->api_versions.length;

    for (size_t i = 0; i < (versions > 0 ? versions : 1); i++) {
        const char *api_version = versions > 0 ? k->api_versions.items[i] : k->api_version;
        put_rule(out, why, api_version, k->resource,
                 k->is_owned ? "\"get\", \"list\", \"watch\", \"create\", \"patch\", \"delete\""
                             : "\"get\", \"list\", \"watch\"");
        if (k->status_patch)
            put_rule(out, why, api_version, status, "\"patch\"");
    }
}

static bool is_in(const struct config_kind *k, const char *namespace)
{
    for (size_t i = 0; namespace != NULL && i < k->namespaces.length; i++)
        if (strcmp(k->namespaces.items[i], namespace) == 0)
            return true;
    return namespace == NULL && k->namespaces.length == 0;
}

/* namespace NULL: the ClusterRole. */
static void put_role(const struct config *c, const char *name, const char *namespace, struct buf *out)
{
    bool selects = false;

    buf_printf(out, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n",
               namespace != NULL ? "Role" : "ClusterRole", name);
    if (namespace != NULL)
        buf_printf(out, "  namespace: %s\n", namespace);
    buf_puts(out, "rules:\n");
    for (size_t i = 0; i < c->kinds.length; i++) {
        const struct config_kind *k = &c->kinds.items[i];
        selects = selects || k->namespace_selector != NULL;
        if (config_is_fetched(k) || !is_in(k, namespace))
            continue;
        put_kind(out, k);
    }
    if (namespace == NULL && selects)
        put_rule(out, "namespaceSelector", "v1", "namespaces", "\"list\", \"watch\"");
    put_rule(out, "Events on objects that are wrong", "events.k8s.io/v1", "events", "\"create\"");
    if (namespace == NULL && c->leader_election)
        put_rule(out, "the election", "coordination.k8s.io/v1", "leases", "\"get\", \"create\", \"update\", \"watch\"");
}

static bool is_named_before(const struct config *c, size_t kind, size_t at)
{
    const char *namespace = c->kinds.items[kind].namespaces.items[at];

    for (size_t i = 0; i <= kind; i++)
        for (size_t j = 0; j < (i < kind ? c->kinds.items[i].namespaces.length : at); j++)
            if (strcmp(c->kinds.items[i].namespaces.items[j], namespace) == 0)
                return true;
    return false;
}

static void put_all(const struct config *c, const char *name, struct buf *out)
{
    put_role(c, name, NULL, out);
    for (size_t i = 0; i < c->kinds.length; i++)
        for (size_t j = 0; j < c->kinds.items[i].namespaces.length; j++)
            if (!is_named_before(c, i, j)) {
                buf_puts(out, "---\n");
                put_role(c, name, c->kinds.items[i].namespaces.items[j], out);
            }
}

static int print(const struct rbac *c)
{
    CLEANUP(buf_done) struct buf out = {0};
    int status;
    CLEANUP(config_cleanup) struct config *config = given_config_load(&c->config, "rbac", c->format, &status);

    if (config == NULL)
        return status;
    put_all(config, c->name, &out);
    return print_manifests("rbac", buf_str(&out), out.length, c->format);
}

int cmd_rbac(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct rbac c = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &c, &arguments, &err) < 0) {
        fprintf(stderr, "haptic rbac: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (c.help) {
        options_print_help(&table);
    } else {
        status = print(&c);
    }
    given_config_done(&c.config);
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_rbac_options(void)
{
    return &table;
}
