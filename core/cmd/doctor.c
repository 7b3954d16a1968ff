/* haptic doctor: the state of an installation, what is wrong with it, and a bundle for somebody who helps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cmd/cmd.h"
#include "cmd/doctor_ask.h"
#include "cmd/given_config.h"
#include "cmd/version.h"

enum {
    DOCTOR_CONFIG,
    DOCTOR_RESOURCE,
    DOCTOR_NAMESPACE,
    DOCTOR_CONTROLLERS,
    DOCTOR_MEMBERS,
    DOCTOR_CONTROLLER_PORT,
    DOCTOR_MEMBER_PORT,
    DOCTOR_ADDRESS,
    DOCTOR_NO_CLUSTER,
    DOCTOR_BUNDLE,
    DOCTOR_OUTPUT,
    DOCTOR_STRICT,
    DOCTOR_HELP
};

static const struct option_row rows[] = {
    {DOCTOR_CONFIG, 'c', "config", "FILE|DIR", NULL, NULL,
     "the configuration that the controllers have; a folder, or repeated: what is later counts"},
    {DOCTOR_RESOURCE, 0, "config-resource", "NAMESPACE/NAME", NULL, NULL,
     "the same as a resource HAProxyTemplateConfig of the cluster"},
    {DOCTOR_NAMESPACE, 'n', "namespace", "NAME", NULL, NULL, "where the controllers are (the kubeconfig's)"},
    {DOCTOR_CONTROLLERS, 0, "controller-selector", "SELECTOR", NULL,
     "app.kubernetes.io/name=haptic,app.kubernetes.io/component=controller", "labels of the controllers' Pods"},
    {DOCTOR_MEMBERS, 0, "member-selector", "SELECTOR", NULL, NULL,
     "labels of the Pods with an agent (podSelector of the configuration, or those of the chart)"},
    {DOCTOR_CONTROLLER_PORT, 0, "controller-port", "PORT", NULL, "9090",
     "where controllers serve /readyz and /metrics"},
    {DOCTOR_MEMBER_PORT, 0, "member-port", "PORT", NULL, "5557", "where agents serve them"},
    {DOCTOR_ADDRESS, 0, "address", "URL", NULL, NULL,
     "a controller's metrics or debug port, such as http://127.0.0.1:9091 through kubectl port-forward; may be "
     "repeated"},
    {DOCTOR_NO_CLUSTER, 0, "no-cluster", NULL, NULL, NULL, "ask the addresses only"},
    {DOCTOR_BUNDLE, 0, "bundle", "FILE", NULL, NULL,
     "write a support bundle (.tar.gz): a snapshot with fakes in place of Secrets, logs, metrics, and this report"},
    CLUSTER_ROWS,
    {DOCTOR_OUTPUT, 'o', "output", "FORMAT", NULL, "text", "text or json; junit, sarif or github: the findings only"},
    {DOCTOR_STRICT, 0, "strict", NULL, NULL, NULL, "warnings count as findings"},
    {DOCTOR_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "doctor",
    .text = "Checks an installation: the Pods of controllers and members, the Lease, and /readyz and /metrics of each "
            "Pod. Pods are asked through\nthe API server, which needs the verb \"get\" on pods and pods/proxy. Each "
            "finding has a code and a remedy; haptic explain CODE says more.\n\n"
            "  haptic doctor -n haptic\n"
            "  haptic doctor -n haptic --config-resource haptic/haptic-config --bundle support.tar.gz\n"
            "  haptic doctor --no-cluster --address http://127.0.0.1:9090\n\n"
            "Exit status: 0 clean, 1 findings, 2 wrong usage, or the cluster cannot be asked.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct doctor_command {
    struct cluster cluster;
    struct doctor_places places;
    struct given_config config;
    const char *resource, *bundle;
    VEC(const char *) addresses;
    enum finding_format format;
    bool no_cluster, strict, help;
    struct doctor facts;
    struct findings findings;
};

static int set_port(const char *value, uint16_t *ret_port, struct err *err)
{
    char *end;
    unsigned long port = strtoul(value, &end, 10);

    if (*value == '\0' || *end != '\0' || port == 0 || port > 65535)
        return err_set(err, ERR_INVALID, "\"%.32s\" is not a port from 1 to 65535", value);
    *ret_port = (uint16_t)port;
    return 0;
}

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct doctor_command *c = ctx;

    if (cluster_set(&c->cluster, id, value))
        return 0;
    switch (id) {
    case DOCTOR_CONFIG:
        given_config_set(&c->config, value);
        return 0;
    case DOCTOR_RESOURCE:
        c->resource = value;
        return 0;
    case DOCTOR_NAMESPACE:
        c->places.namespace = value;
        return 0;
    case DOCTOR_CONTROLLERS:
        c->places.controllers = value;
        return 0;
    case DOCTOR_MEMBERS:
        c->places.members = value;
        return 0;
    case DOCTOR_CONTROLLER_PORT:
        return set_port(value, &c->places.controller_port, err);
    case DOCTOR_MEMBER_PORT:
        return set_port(value, &c->places.member_port, err);
    case DOCTOR_ADDRESS:
        vec_push(&c->addresses, value);
        return 0;
    case DOCTOR_NO_CLUSTER:
        c->no_cluster = true;
        return 0;
    case DOCTOR_BUNDLE:
        c->bundle = value;
        return 0;
    case DOCTOR_OUTPUT:
        return finding_format_parse(value, &c->format, err);
    case DOCTOR_STRICT:
        c->strict = true;
        return 0;
    default:
        c->help = true;
        return 0;
    }
}

/* ---- the report ---- */

static void write_report(struct doctor_command *c, enum finding_format format, bool colour, struct buf *out)
{
    CLEANUP(buf_done) struct buf findings = {0};

    findings_write(&c->findings, format, colour, HAPTIC_VERSION, &findings);
    if (format == FINDING_JSON) {
        doctor_write_json(&c->facts, out);
        buf_printf(out, ",\"report\":%s}\n", buf_str(&findings));
        return;
    }
    if (format == FINDING_TEXT)
        doctor_write_text(&c->facts, out);
    buf_add(out, buf_str(&findings), findings.length);
}

/* ---- the bundle ---- */

struct bundling {
    struct archive *archive;
    struct snapshot *snapshot;
};

static int add_clean(struct bundling *b, const char *name, const char *bytes, size_t length, struct err *err)
{
    CLEANUP(buf_done) struct buf clean = {0};

    snapshot_redact(b->snapshot, bytes, length, &clean);
    return archive_add(b->archive, name, buf_str(&clean), clean.length, err);
}

static int add_snapshot_file(void *ctx, const char *name, const char *bytes, size_t length, struct err *err)
{
    CLEANUP(free_ptr) char *path = xasprintf("snapshot/%s", name);

    return archive_add(((struct bundling *)ctx)->archive, path, bytes, length, err);
}

static int add_targets(struct doctor_command *c, struct bundling *b, struct err *err)
{
    for (size_t i = 0; i < c->facts.targets.length; i++) {
        const struct doctor_target *t = &c->facts.targets.items[i];
        CLEANUP(free_ptr) char *name = xstrdup(t->phase != NULL ? strchr(t->name, '/') + 1 : t->name);
        for (char *at = name; *at != '\0'; at++)
            *at = *at == '/' || *at == ':' ? '_' : *at;
        const struct {
            const char *file;
            const struct buf *text;
        } files[] = {{"readyz.txt", &t->ready}, {"metrics.txt", &t->metrics}, {"state.json", &t->state}};
        for (size_t j = 0; j < ARRAY_LEN(files); j++) {
            CLEANUP(free_ptr) char *path = xasprintf("pods/%s/%s", name, files[j].file);
            if (files[j].text->length > 0 && add_clean(b, path, buf_str(files[j].text), files[j].text->length, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int add_everything(struct doctor_command *c, struct bundling *b, const struct buf *config_object,
                          struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0}, json = {0};

    write_report(c, FINDING_TEXT, false, &text);
    write_report(c, FINDING_JSON, false, &json);
    if (add_clean(b, "doctor.txt", buf_str(&text), text.length, err) < 0 ||
        add_clean(b, "doctor.json", buf_str(&json), json.length, err) < 0 || add_targets(c, b, err) < 0)
        return -1;
    if (config_object->length > 0 &&
        add_clean(b, "config.json", buf_str(config_object), config_object->length, err) < 0)
        return -1;
    return snapshot_each_file(b->snapshot, add_snapshot_file, b, err) < 0 ||
                   doctor_archive_logs(&c->cluster, &c->facts, b->snapshot, b->archive, err) < 0
               ? -1
               : 0;
}

/* Without the values of the Secrets nothing may be written: what says one could not be recognised. */
static int write_bundle(struct doctor_command *c, const struct config *config, const struct buf *config_object,
                        struct err *err)
{
    struct bundling b = {0};
    struct snapshot s = {0};

    if (snapshot_take(&c->cluster.loop, c->cluster.client, config, true, &s, err) < 0)
        return err_wrap(err, "the bundle is not written");
    doctor_learn_secrets(&c->cluster, c->places.namespace, &s);
    b.snapshot = &s;
    int result = archive_new(c->bundle, &b.archive, err);
    if (result == 0) {
        result = add_everything(c, &b, config_object, err);
        if (result == 0)
            result = archive_end(b.archive, err);
        else
            b.archive = archive_free(b.archive);
        if (result < 0)
            (void)unlink(c->bundle);
    }
    snapshot_done(&s);
    return result;
}

/* ---- all of it ---- */

static int look(struct doctor_command *c, struct config **ret_config, struct buf *config_object, struct err *err)
{
    struct doctor_places *p = &c->places;

    if ((c->no_cluster ? cluster_open_alone(&c->cluster) : cluster_open(&c->cluster, err)) < 0 ||
        (c->resource != NULL && cluster_config(&c->cluster, c->resource, ret_config, config_object, err) < 0))
        return -1;
    for (size_t i = 0; i < c->addresses.length; i++)
        if (doctor_ask_address(&c->cluster, c->addresses.items[i], &c->facts, err) < 0)
            return -1;
    if (c->no_cluster)
        return 0;
    if (p->namespace == NULL)
        p->namespace = kube_client_config(c->cluster.client)->namespace;
    if (p->members == NULL)
        p->members = (*ret_config)->pod_selector != NULL
                         ? (*ret_config)->pod_selector
                         : "app.kubernetes.io/name=haptic,app.kubernetes.io/component=loadbalancer";
    p->lease = (*ret_config)->lease_name;
    c->facts.lease.is_wanted = (*ret_config)->leader_election;
    if (doctor_ask_pods(&c->cluster, p, DOCTOR_CONTROLLER, &c->facts, err) < 0 ||
        doctor_ask_pods(&c->cluster, p, DOCTOR_MEMBER, &c->facts, err) < 0)
        return -1;
    doctor_ask_lease(&c->cluster, p, &c->facts);
    return 0;
}

static int examine(struct doctor_command *c)
{
    CLEANUP(config_cleanup) struct config *config = NULL;
    CLEANUP(buf_done) struct buf object = {0}, report = {0};
    struct err err;

    if (c->resource == NULL) {
        int status;
        config = given_config_load(&c->config, "doctor", c->format, &status);
        if (config == NULL)
            return status;
    }
    if (look(c, &config, &object, &err) < 0) {
        fprintf(stderr, "haptic doctor: %s\n", err.text);
        return 2;
    }
    doctor_judge(&c->facts, clock_wall_us(), &c->findings);
    write_report(c, c->format, terminal_has_colour(stdout), &report);
    fwrite(buf_str(&report), 1, report.length, stdout);
    if (c->bundle != NULL && write_bundle(c, config, &object, &err) < 0) {
        fprintf(stderr, "haptic doctor: %s\n", err.text);
        return 2;
    }
    return findings_count(&c->findings, c->strict ? FINDING_WARNING : FINDING_ERROR) > 0 ? 1 : 0;
}

int cmd_doctor(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct doctor_command c = {0};
    struct err err;
    int status;

    log_set_fd(STDERR_FILENO);
    log_set_level(LOG_ERROR);
    if (options_parse(&table, argc, argv, set, &c, &arguments, &err) < 0) {
        fprintf(stderr, "haptic doctor: %s\n", err.text);
        status = 2;
    } else if (c.help) {
        options_print_help(&table);
        status = 0;
    } else if (given_config_exists(&c.config) && c.resource != NULL) {
        fprintf(stderr, "haptic doctor: --config or --config-resource, not both\n");
        status = 2;
    } else if (c.no_cluster && (c.addresses.length == 0 || c.resource != NULL || c.bundle != NULL)) {
        fprintf(stderr, "haptic doctor: --no-cluster needs --address, and neither --config-resource nor --bundle\n");
        status = 2;
    } else {
        status = examine(&c);
    }
    cluster_close(&c.cluster);
    given_config_done(&c.config);
    doctor_done(&c.facts);
    findings_done(&c.findings);
    vec_done(&c.addresses);
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_doctor_options(void)
{
    return &table;
}
