/* haptic diff: what would a change do to a running HAProxy, and who wrote what changed? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cmd/ask_agent.h"
#include "cmd/cluster.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "cmd/workbench_options.h"
#include "data/json.h"
#include "haproxy/expand.h"
#include "offline/difference.h"
#include "offline/served.h"
#include "offline/verdicts.h"

enum {
    DIFF_NEW_CONFIG = WORKBENCH_OWN,
    DIFF_FROM,
    DIFF_FLEET_CA,
    DIFF_FLEET_CERT,
    DIFF_FLEET_KEY,
    DIFF_AGENT_NAME,
    DIFF_FAIL_ON,
    DIFF_DETAILED
};

/* With --detailed-exitcode. */
enum { EXIT_ERROR = 1, EXIT_CHANGES = 2 };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {DIFF_NEW_CONFIG, 'C', "new-config", "FILE|DIR", NULL, NULL, "the configuration afterwards (that of --config)"},
    {DIFF_FROM, 0, "from", "URL", NULL, NULL,
     "BEFORE is the state of a running controller, from its debug port: http://127.0.0.1:9091 through kubectl "
     "port-forward; or that of one member: agent:HOST:PORT. AFTER: the configuration of --new-config on the "
     "controller's objects, or manifests"},
    {DIFF_FLEET_CA, 0, "fleet-ca", "FILE", "FLEET_CA", NULL, "agent: the authority of the agents' certificates (PEM)"},
    {DIFF_FLEET_CERT, 0, "fleet-cert", "FILE", "FLEET_CERT", NULL, "agent: the controller's certificate (PEM)"},
    {DIFF_FLEET_KEY, 0, "fleet-key", "FILE", "FLEET_KEY", NULL, "agent: the key of this certificate (PEM)"},
    {DIFF_AGENT_NAME, 0, "agent-name", "NAME", "AGENT_NAME", "haptic-agent",
     "agent: the DNS name in the agent's certificate"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the running HAProxy; may be repeated, for one verdict each (haproxy in PATH)"},
    {WORKBENCH_OUTPUT, 'o', "output", "FORMAT", NULL, "text",
     "text, or json: verdicts, changes and findings in one document; junit, sarif or github: the findings only"},
    WORKBENCH_ROW_STRICT,
    {DIFF_FAIL_ON, 0, "fail-on", "reload", NULL, NULL, "exit status 1 when one of them needs a reload"},
    {DIFF_DETAILED, 0, "detailed-exitcode", NULL, NULL, NULL, "exit status 0 no change, 1 error, 2 changes"},
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "diff",
    .arguments = "[BEFORE] [AFTER]",
    .text = "Renders two states, checks both with HAProxy, and shows what a running controller would do for this "
            "change: runtime commands, or\n"
            "a reload and its reason. Below are the fragments that are new (+), changed "
            "(~) and gone (-), with their lines.\nBEFORE, AFTER: manifests, as for the other commands; without AFTER "
            "the configuration alone changes.\n\n"
            "  haptic diff old-manifests new-manifests\n"
            "  haptic diff -c old.yaml -C new.yaml --fail-on reload examples/manifests\n"
            "  haptic diff --from http://127.0.0.1:9091 -C new.yaml\n"
            "  haptic diff --from agent:10.0.0.7:5555 --fleet-ca ca.pem --fleet-cert c.pem --fleet-key c.key snap\n\n"
            "Exit status: 0 compared, 1 findings or --fail-on, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct diff {
    struct workbench_command common;
    const char *new_config;
    const char *from;       /* NULL: no running controller */
    struct ask_agent agent; /* address NULL: no agent */
    struct buf dump;        /* what it gave: of a controller, or the state of an agent */
    struct buf bundle;      /* of an agent: what it serves, with values of Secrets */
    bool fail_on_reload, detailed;
    struct findings findings;
    size_t changes;
    bool reloads;
    struct buf verdicts; /* as JSON: one of each HAProxy */
    struct verdicts said;
    struct buf text; /* what changed, for the first HAProxy */
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct diff *d = ctx;

    switch (id) {
    case DIFF_NEW_CONFIG:
        d->new_config = value;
        return 0;
    case DIFF_FROM:
        d->from = value;
        if (strncmp(value, ASK_AGENT_PREFIX, strlen(ASK_AGENT_PREFIX)) == 0)
            d->agent.address = value + strlen(ASK_AGENT_PREFIX);
        return 0;
    case DIFF_FLEET_CA:
        d->agent.authority = value;
        return 0;
    case DIFF_FLEET_CERT:
        d->agent.certificate = value;
        return 0;
    case DIFF_FLEET_KEY:
        d->agent.key = value;
        return 0;
    case DIFF_AGENT_NAME:
        d->agent.name = value;
        return 0;
    case DIFF_FAIL_ON:
        if (strcmp(value, "reload") != 0)
            return err_set(err, ERR_INVALID, "\"%.32s\": only \"reload\" is known", value);
        d->fail_on_reload = true;
        return 0;
    case DIFF_DETAILED:
        d->detailed = true;
        return 0;
    default:
        return workbench_command_set(&d->common, id, value, err);
    }
}

/* One state, rendered for a HAProxy and checked by it. False: findings say why not; or -1 in *ret_result. */
static bool make(struct diff *d, const char *config, const char *source, const char *binary,
                 struct workbench **ret_workbench, int *ret_result, struct err *err)
{
    const char *const sources[] = {source, NULL};
    struct workbench_options options = d->common.options;

    options.config_file = config;
    options.sources = sources;
    options.haproxy_binary = binary;
    *ret_result = workbench_new(&d->common.loop, &options, &d->findings, ret_workbench, err);
    if (*ret_result < 0 || *ret_workbench == NULL || !workbench_render(*ret_workbench))
        return false;
    *ret_result = workbench_validate(*ret_workbench, binary, err);
    return *ret_result == 0 && findings_count(&d->findings, FINDING_ERROR) == 0;
}

/* A state with everything that a controller has, or that comes after it: HAProxy is not asked, as it would need the
 * values of Secrets. dump NULL: the sources of the command line, for the HAProxy of that version. */
static bool make_concealed(struct diff *d, const char *config, const char *dump, const char *version,
                           struct workbench **ret_workbench, int *ret_result, struct err *err)
{
    struct workbench_options options = d->common.options;

    options.config_file = config;
    options.sources = d->common.sources.items.items;
    options.dump = dump;
    options.haproxy_version = version;
    *ret_result = workbench_new(&d->common.loop, &options, &d->findings, ret_workbench, err);
    if (*ret_result < 0 || *ret_workbench == NULL || !workbench_render(*ret_workbench))
        return false;
    workbench_accept(*ret_workbench);
    return findings_count(&d->findings, FINDING_ERROR) == 0;
}

static bool make_both_concealed(struct diff *d, struct workbench **ret_before, struct workbench **ret_now,
                                int *ret_result, struct err *err)
{
    const char *dump = buf_str(&d->dump), *config = d->new_config ? d->new_config : d->common.options.config_file;
    bool has_sources = d->common.sources.items.length > 0;

    return make_concealed(d, NULL, dump, NULL, ret_before, ret_result, err) &&
           make_concealed(d, config, has_sources ? NULL : dump, workbench_caps(*ret_before)->text, ret_now, ret_result,
                          err);
}

static bool is_json(const struct diff *d)
{
    return d->common.format == FINDING_JSON;
}

static void print_said(const struct diff *d)
{
    CLEANUP(buf_done) struct buf text = {0};

    verdicts_put(&d->said, &text);
    fwrite(buf_str(&text), 1, text.length, stdout);
    if (d->from != NULL)
        printf(
            "(Secrets are concealed: they are compared by their versions, and HAProxy did not check the new state.)\n");
}

static void note(struct diff *d, const struct difference *difference, const char *version)
{
    if (!is_json(d))
        verdicts_add(&d->said, difference, version);
    if (is_json(d) && d->verdicts.length > 0)
        buf_putc(&d->verdicts, ',');
    if (is_json(d))
        difference_put_json(difference, version, &d->verdicts);
    d->reloads |= difference->reload != NULL;
}

/* A member's state as one side: what the configuration makes of the manifests, rendered for its HAProxy, is the
 * other. */
static int compare_with_agent(struct diff *d, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *state = NULL;
    CLEANUP(served_done) struct served before = {0}, after = {0};
    struct workbench *now = NULL;
    struct difference difference = {0};
    int result = 0;

    if (json_parse(buf_str(&d->dump), d->dump.length, d->dump.length + 1, &state, err) < 0 ||
        served_read(buf_str(&d->bundle), d->bundle.length, &before, err) < 0)
        return err_wrap(err, "%s", d->from);
    const char *version = json_str(yyjson_doc_get_root(state), "haproxy", "version");
    const char *config = d->new_config ? d->new_config : d->common.options.config_file;
    char certificate[VAULT_HANDLE_LENGTH + 1];
    served_default_certificate(&before, certificate);
    d->common.options.default_certificate = *certificate != '\0' ? certificate : NULL;
    if (make_concealed(d, config, NULL, version, &now, &result, err)) {
        result = served_of(now, &after, err);
        if (result == 0)
            result = served_judge(&before, now, workbench_caps(now), &difference, err);
        if (result == 0) {
            note(d, &difference, workbench_caps(now)->text);
            d->changes = served_write(&before, &after, is_json(d), &d->text);
        }
        difference_done(&difference);
    }
    workbench_free(now);
    d->common.options.default_certificate = NULL;
    return result;
}

static int compare_for(struct diff *d, const char *binary, struct err *err)
{
    const char *const *what = d->common.sources.items.items;
    const char *config = d->common.options.config_file, *new_config = d->new_config ? d->new_config : config;
    struct workbench *before = NULL, *now = NULL;
    CLEANUP(buf_done) struct buf text = {0};
    struct difference difference = {0};
    int result = 0;

    if (d->from != NULL ? make_both_concealed(d, &before, &now, &result, err)
                        : make(d, config, what[0], binary, &before, &result, err) &&
                              make(d, new_config, d->common.sources.items.length > 1 ? what[1] : what[0], binary, &now,
                                   &result, err)) {
        result = difference_judge(before, now, workbench_caps(now), &difference, err);
        size_t count = result == 0 ? difference_write(before, now, is_json(d), &text) : 0;
        if (result == 0)
            note(d, &difference, workbench_caps(now)->text);
        if (d->text.length == 0)
            buf_add(&d->text, buf_str(&text), text.length);
        d->changes = count > d->changes ? count : d->changes;
        difference_done(&difference);
    }
    workbench_free(before);
    workbench_free(now);
    return result;
}

/* Where the two states could be compared: what was found. Else, or as another format: the findings. */
static void print(struct diff *d, bool compared)
{
    CLEANUP(buf_done) struct buf findings = {0};
    enum finding_format format = d->common.format;
    bool colour = terminal_has_colour(stdout);

    findings_write(&d->findings, format, colour, HAPTIC_VERSION, &findings);
    if (format == FINDING_JSON) {
        printf("{\"verdicts\":[%s],\n\"changes\":%s,\n\"report\":%s}\n", compared ? buf_str(&d->verdicts) : "",
               compared ? buf_str(&d->text) : "[]", buf_str(&findings));
        return;
    }
    if (compared && format == FINDING_TEXT) {
        print_said(d);
        fwrite(buf_str(&d->text), 1, d->text.length, stdout);
    }
    if (!compared || format != FINDING_TEXT || d->common.strict)
        fwrite(buf_str(&findings), 1, findings.length, stdout);
}

static int serve(struct diff *d)
{
    static const char *const usual[] = {"haproxy"};
    const char *const *binaries = d->common.binaries.length > 0 ? d->common.binaries.items : usual;
    size_t count = d->common.binaries.length > 0 ? d->common.binaries.length : 1;
    int wrong = d->detailed ? EXIT_ERROR : EXIT_FINDINGS;
    struct err err;

    bool compared = true;
    for (size_t i = 0; compared && i < count; i++) {
        if ((d->agent.address != NULL ? compare_with_agent(d, &err) : compare_for(d, binaries[i], &err)) < 0) {
            fprintf(stderr, "haptic diff: %s\n", err.text);
            return d->detailed ? EXIT_ERROR : EXIT_USAGE;
        }
        compared = findings_count(&d->findings, FINDING_ERROR) == 0;
    }
    print(d, compared);
    if (findings_count(&d->findings, d->common.strict ? FINDING_WARNING : FINDING_ERROR) > 0 ||
        (d->fail_on_reload && d->reloads))
        return wrong;
    return d->detailed && d->changes > 0 ? EXIT_CHANGES : EXIT_CLEAN;
}

static int fetch(struct diff *d, struct err *err)
{
    struct cluster c = {0};

    (void)cluster_open_alone(&c);
    int result = 0;
    if (d->agent.address == NULL)
        result = cluster_fetch(&c, d->from, "/debug/dump", &d->dump, err);
    else if (ask_agent(&c.loop, &d->agent, "/v1/state", &d->dump, err) < 0 ||
             ask_agent(&c.loop, &d->agent, "/v1/bundle", &d->bundle, err) < 0)
        result = err->kind == ERR_NOTFOUND ? err_wrap(err, "it serves nothing yet") : -1;
    cluster_close(&c);
    return result;
}

/* NULL: the words of the command line fit together. */
static const char *wrong_usage(const struct diff *d)
{
    size_t sources = d->common.sources.items.length;

    if (d->from != NULL && (sources > 1 || d->common.binaries.length > 0))
        return "with --from, BEFORE is what runs and its HAProxy the one that is compared for: give AFTER or "
               "--new-config only";
    if (d->agent.address != NULL && sources == 0)
        return "an agent knows no objects: give manifests or a snapshot as AFTER";
    if (d->from != NULL && sources == 0 && d->new_config == NULL && d->common.options.config_file == NULL)
        return "compared with what? give --new-config FILE, or manifests";
    if (d->from == NULL && (sources < 1 || sources > 2))
        return "which manifests? write haptic diff BEFORE [AFTER]";
    return NULL;
}

int cmd_diff(int argc, char **argv)
{
    struct diff d = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &d, &d.common.sources, &err) < 0) {
        fprintf(stderr, "haptic diff: %s\n", err.text);
        status = d.detailed ? EXIT_ERROR : EXIT_USAGE;
    } else if (d.common.help) {
        options_print_help(&table);
    } else if (wrong_usage(&d) != NULL) {
        fprintf(stderr, "haptic diff: %s\n", wrong_usage(&d));
        status = d.detailed ? EXIT_ERROR : EXIT_USAGE;
    } else if (d.from != NULL && fetch(&d, &err) < 0) {
        fprintf(stderr, "haptic diff: %s\n", err.text);
        status = d.detailed ? EXIT_ERROR : EXIT_USAGE;
    } else {
        workbench_command_prepare(&d.common);
        status = serve(&d);
    }
    workbench_command_done(&d.common);
    findings_done(&d.findings);
    buf_done(&d.verdicts);
    buf_done(&d.dump);
    expand_wipe(&d.bundle);
    verdicts_done(&d.said);
    buf_done(&d.text);
    return status;
}

const struct option_table *cmd_diff_options(void)
{
    return &table;
}
