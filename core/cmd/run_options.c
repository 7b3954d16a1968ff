/* One table of options serves the environment, the flags and the help. */
#include "cmd/run_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "controller/ownership.h"

enum option_id {
    OPT_CONFIG = 256,
    OPT_CONFIG_RESOURCE,
    OPT_SOURCE,
    OPT_HAPROXY,
    OPT_MEMBERS,
    OPT_MEMBER_SELECTOR,
    OPT_MEMBER_NAMESPACES,
    OPT_MEMBER_PORT,
    OPT_MEMBER_SHARE,
    OPT_AGENT_NAME,
    OPT_FLEET_SECRET,
    OPT_OWNERS,
    OPT_OWNED_SECRETS,
    OPT_FLEET_CA,
    OPT_FLEET_CERT,
    OPT_FLEET_KEY,
    OPT_HAPROXY_DIR,
    OPT_HAPROXY_BINARY,
    OPT_CHECK_READS,
    OPT_MASTER_SOCKET,
    OPT_RUNTIME_SOCKET,
    OPT_KEEP_HAPROXY,
    OPT_KUBECONFIG,
    OPT_CONTEXT,
    OPT_SERVER,
    OPT_NAMESPACE,
    OPT_POD_NAME,
    OPT_SET,
    OPT_METRICS_ADDRESS,
    OPT_METRICS_PORT,
    OPT_DEBUG_PORT,
    OPT_WEBHOOK_CERT_DIR,
    OPT_WEBHOOK_SECRET,
    OPT_WEBHOOK_SERVICE,
    OPT_WEBHOOK_CONFIGURATION,
    OPT_WEBHOOK_ADDRESS,
    OPT_WEBHOOK_PORT,
    OPT_WEBHOOK_TIMEOUT,
    OPT_WEBHOOK_POLICY,
    OPT_WEBHOOK_TOKEN,
    OPT_WEBHOOK_CONFIGURATION_TIMEOUT,
    OPT_LOG_LEVEL,
    OPT_GRACE,
    OPT_WATCH_STALL,
    OPT_HELP,
};

static const struct run_row {
    const char *name, *argument, *environment, *fallback, *help;
    int id;
} option_rows[] = {
    {"config", "FILE", "CONFIG", NULL,
     "the configuration file: a YAML document with the fields of HAProxyTemplateConfig.spec; followed while "
     "running. Without it "
     "the built-in libraries serve Ingress",
     OPT_CONFIG},
    {"config-resource", "NAMESPACE/NAME", "CONFIG_RESOURCE", NULL,
     "configuration: the resource HAProxyTemplateConfig of that name, instead of a file; followed while running. "
     "While it "
     "is missing or wrong at the start, nothing is started",
     OPT_CONFIG_RESOURCE},
    {"source", "DIR", "SOURCE", NULL,
     "take the objects from a folder of manifests (*.yaml *.yml *.json) instead of an API server; followed while "
     "running",
     OPT_SOURCE},
    {"haproxy", "local|attach|fleet", "HAPROXY", "local",
     "local: start and supervise a HAProxy; attach: write to one that already runs on --haproxy-dir; fleet: deploy to "
     "the agents of a fleet",
     OPT_HAPROXY},
    {"members", "URLS", "MEMBERS", NULL,
     "fleet: the agents, https://HOST:PORT, separated by commas; without it, Pods are searched by labels", OPT_MEMBERS},
    {"member-selector", "SELECTOR", "MEMBER_SELECTOR", NULL,
     "fleet: labels of the Pods with an agent (podSelector of the configuration)", OPT_MEMBER_SELECTOR},
    {"member-namespaces", "NAMES", "MEMBER_NAMESPACES", NULL,
     "fleet: where these Pods are, separated by commas (the controller's own namespace)", OPT_MEMBER_NAMESPACES},
    {"member-share", "PERCENT", "MEMBER_SHARE", "25",
     "fleet: the share of members that get a change at the same time, if it may need a reload; one member gets it "
     "first",
     OPT_MEMBER_SHARE},
    {"member-port", "PORT", "MEMBER_PORT", "5555", "fleet: the port of the agent in these Pods", OPT_MEMBER_PORT},
    {"agent-name", "NAME", "AGENT_NAME", "haptic-agent", "fleet: the DNS name in the agents' certificates",
     OPT_AGENT_NAME},
    {"fleet-secret", "NAME", "FLEET_SECRET", NULL,
     "fleet: the Secret with the certificates, in the controller's namespace; the leader makes and renews them. "
     "Alternatively, give files:",
     OPT_FLEET_SECRET},
    {"owners", "LIST", "OWNERS", NULL,
     "objects of the controller's namespace, such as apps/v1/deployments/haptic-controller, separated by commas: "
     "the Lease "
     "and the Secrets that the controllers make are removed with the last of them",
     OPT_OWNERS},
    {"owned-secrets", "NAMES", "OWNED_SECRETS", NULL,
     "with --owners: further Secrets that are removed with them, if they have the label "
     "app.kubernetes.io/managed-by=haptic; separated by commas",
     OPT_OWNED_SECRETS},
    {"fleet-ca", "FILE", "FLEET_CA", NULL, "fleet: the authority of the agents' certificates (PEM)", OPT_FLEET_CA},
    {"fleet-cert", "FILE", "FLEET_CERT", NULL, "fleet: the controller's certificate (PEM); read again when it changes",
     OPT_FLEET_CERT},
    {"fleet-key", "FILE", "FLEET_KEY", NULL, "fleet: and its key", OPT_FLEET_KEY},
    {"haproxy-dir", "DIR", "HAPROXY_DIR", NULL,
     "the folder of haproxy.cfg, maps, certificates and sockets (/run/haptic, $XDG_RUNTIME_DIR/haptic)",
     OPT_HAPROXY_DIR},
    {"haproxy-binary", "FILE", "HAPROXY_BINARY", "haproxy", "the haproxy program, to run (local) and to validate with",
     OPT_HAPROXY_BINARY},
    {"check-reads", "PATHS", "CHECK_READS", NULL,
     "files and folders, separated by ':', that the configuration names outside of --haproxy-dir and the system's "
     "folders: the check may read them",
     OPT_CHECK_READS},
    {"master-socket", "PATH", "HAPROXY_MASTER_SOCKET", NULL, "HAProxy's master CLI (master.sock in --haproxy-dir)",
     OPT_MASTER_SOCKET},
    {"runtime-socket", "PATH", "HAPROXY_RUNTIME_SOCKET", NULL, "HAProxy's runtime API (runtime.sock in --haproxy-dir)",
     OPT_RUNTIME_SOCKET},
    {"keep-haproxy", NULL, NULL, NULL, "leave HAProxy running at the end; the next start takes it over",
     OPT_KEEP_HAPROXY},
    {"kubeconfig", "FILE", "KUBECONFIG", NULL,
     "how to reach the API server; without it and outside a pod ~/.kube/config", OPT_KUBECONFIG},
    {"context", "NAME", NULL, NULL, "context of the kubeconfig", OPT_CONTEXT},
    {"server", "URL", NULL, NULL, "address of the API server; overrides the kubeconfig", OPT_SERVER},
    {"namespace", "NAME", "POD_NAMESPACE", NULL, "namespace of this controller and of its Lease", OPT_NAMESPACE},
    {"pod-name", "NAME", "POD_NAME", NULL, "identity of this replica in the Lease", OPT_POD_NAME},
    {"set", "KEY=VALUE", NULL, NULL,
     "a setting (extraContext), such as http_port=8080, access_log=false; may be repeated", OPT_SET},
    {"metrics-address", "IP", "METRICS_ADDRESS", "*",
     "where /metrics, /healthz and /readyz are served; *: at all addresses", OPT_METRICS_ADDRESS},
    {"metrics-port", "PORT", "METRICS_PORT", "9090", "the port of these pages; 0: off", OPT_METRICS_PORT},
    {"debug-port", "PORT", "DEBUG_PORT", "0", "port on 127.0.0.1 for the debug pages; 0: off", OPT_DEBUG_PORT},
    {"webhook-cert-dir", "DIR", "WEBHOOK_CERT_DIR", NULL,
     "serve the admission webhook, with tls.crt and tls.key (PEM) of this folder; read again when they change",
     OPT_WEBHOOK_CERT_DIR},
    {"webhook-secret", "NAME", "WEBHOOK_SECRET", NULL,
     "the same with certificates in this Secret of the controller's namespace; the leader makes and renews them",
     OPT_WEBHOOK_SECRET},
    {"webhook-service", "NAME", "WEBHOOK_SERVICE", "haptic-webhook",
     "with --webhook-secret: the Service by which the API server reaches the webhook, in the same namespace",
     OPT_WEBHOOK_SERVICE},
    {"webhook-configuration", "NAME", "WEBHOOK_CONFIGURATION", NULL,
     "with --webhook-secret: the ValidatingWebhookConfiguration in which the leader keeps the authority of the "
     "certificates (caBundle)",
     OPT_WEBHOOK_CONFIGURATION},
    {"webhook-address", "IP", "WEBHOOK_ADDRESS", "*", "where the webhook is served; *: at all addresses",
     OPT_WEBHOOK_ADDRESS},
    {"webhook-port", "PORT", "WEBHOOK_PORT", "9443", "and on which port", OPT_WEBHOOK_PORT},
    {"webhook-resource-admission-timeout", "DURATION", "WEBHOOK_RESOURCE_ADMISSION_TIMEOUT", "4s",
     "time in which the webhook answers, 100ms to 29s; below timeoutSeconds of the ValidatingWebhookConfiguration",
     OPT_WEBHOOK_TIMEOUT},
    {"webhook-failure-policy", "Ignore|Fail", "WEBHOOK_FAILURE_POLICY", "Ignore",
     "the answer for an object that could not be checked in that time", OPT_WEBHOOK_POLICY},
    {"webhook-token-file", "FILE", "WEBHOOK_TOKEN_FILE", NULL,
     "also check the configuration resource and its libraries, at /validate-configuration/TOKEN; the file has the "
     "token, which only the API server may know",
     OPT_WEBHOOK_TOKEN},
    {"webhook-configuration-admission-timeout", "DURATION", "WEBHOOK_CONFIGURATION_ADMISSION_TIMEOUT", "29s",
     "time to check a configuration, 1s to 29s", OPT_WEBHOOK_CONFIGURATION_TIMEOUT},
    {"log-level", "LEVEL", "LOG_LEVEL", "INFO", "TRACE, DEBUG, INFO, WARN, ERROR", OPT_LOG_LEVEL},
    {"grace", "DURATION", "GRACE", "25s", "time for a graceful stop after SIGTERM", OPT_GRACE},
    {"watch-stall-timeout", "DURATION", "WATCH_STALL_TIMEOUT", "2m30s",
     "a watch that is silent for this time is closed and opened again, 1s to 10m; the API server sends something "
     "about once a minute",
     OPT_WATCH_STALL},
    {"help", NULL, NULL, NULL, "this text", OPT_HELP},
};

#define ABOUT \
    "Watches Kubernetes objects, renders HAProxy's configuration from them with Lua templates, checks it with " \
    "HAProxy itself,\n" \
    "and deploys it to HAProxy. Several replicas elect a leader by a Lease; only the leader deploys.\n\n" \
    "  haptic run --source examples/manifests        without a cluster: manifests from a folder, its own " \
    "HAProxy\n" \
    "  haptic run --kubeconfig ~/.kube/config        with a cluster"

static void print_wrapped(const char *text, size_t indent, size_t width)
{
    size_t column = indent;

    for (const char *word = text; *word != '\0';) {
        size_t length = strcspn(word, " ");
        if (column > indent && column + 1 + length > width) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, word);
        column += length;
        word += length + (word[length] == ' ');
    }
}

void run_options_print_help(void)
{
    printf("Usage: haptic run [OPTION…]\n\n" ABOUT
           "\n\nOptions (a flag has precedence over the environment variable in brackets):\n");
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++) {
        const struct run_row *o = &option_rows[i];
        int n = printf("  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        printf("%*s", n < 28 ? 28 - n : 1, "");
        print_wrapped(o->help, 28, 110);
        if (o->environment != NULL)
            printf(" [%s]", o->environment);
        if (o->fallback != NULL)
            printf(" (%s)", o->fallback);
        putchar('\n');
    }
    printf("\nSignals: SIGTERM and SIGINT stop gracefully (a second one at once); SIGHUP reads the configuration file "
           "again.\n");
}

static int parse_percent(const char *value, unsigned *ret_percent, struct err *err)
{
    char *end;
    unsigned long percent = strtoul(value, &end, 10);

    if (*end == '%')
        end++;
    if (end == value || *end != '\0' || percent < 1 || percent > 100)
        return err_set(err, ERR_INVALID, "--member-share %.64s: a number from 1 to 100", value);
    *ret_percent = (unsigned)percent;
    return 0;
}

static int parse_port(const char *what, const char *text, uint16_t *ret_port, struct err *err)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || value > 65535)
        return err_set(err, ERR_INVALID, "%s: \"%.32s\" is not a port from 0 to 65535", what, text);
    *ret_port = (uint16_t)value;
    return 0;
}

/* Below the server's minute it only opens quiet watches again and again, which is cheap; below a second, it would do
 * nothing else. The server itself ends a watch after ten minutes at the latest. */
static int parse_watch_stall(const char *text, int64_t *ret_ns, struct err *err)
{
    int64_t value;

    if (duration_parse(text, &value, err) < 0)
        return err_wrap(err, "watch stall timeout");
    if (value < NS_PER_S || value > 600 * NS_PER_S)
        return err_set(err, ERR_INVALID, "watch stall timeout: %.32s is not from 1s to 10m", text);
    *ret_ns = value;
    return 0;
}

/* The API server waits for 30 s at most. */
static int parse_webhook_timeout(const char *what, const char *text, int64_t least_ns, int64_t *ret_ns, struct err *err)
{
    int64_t value;

    if (duration_parse(text, &value, err) < 0)
        return err_wrap(err, "%s", what);
    if (value < least_ns || value > 29 * NS_PER_S)
        return err_set(err, ERR_INVALID, "%s: %.32s is not from %s to 29s", what, text, log_duration(least_ns));
    *ret_ns = value;
    return 0;
}

static int parse_name(const char *option, const char *value, const char **ret_name, struct err *err)
{
    if (*value == '\0' || strlen(value) > 253 || value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.")] != '\0')
        return err_set(err, ERR_INVALID, "--%s %.64s: not the name of an object", option, value);
    *ret_name = value;
    return 0;
}

static int set_option(struct run_options *o, int id, const char *value, bool from_flag, struct err *err)
{
    struct app_options *app = &o->app;

    switch ((enum option_id)id) {
    case OPT_CONFIG:
        app->config_file = value;
        return 0;
    case OPT_CONFIG_RESOURCE:
        app->config_resource = value;
        return 0;
    case OPT_SOURCE:
        app->source_dir = value;
        return 0;
    case OPT_HAPROXY:
        if (strcmp(value, "local") != 0 && strcmp(value, "attach") != 0 && strcmp(value, "fleet") != 0)
            return err_set(err, ERR_INVALID, "--haproxy %.64s: write local, attach or fleet", value);
        app->attach = strcmp(value, "attach") == 0;
        app->fleet = strcmp(value, "fleet") == 0;
        return 0;
    case OPT_MEMBERS:
        app->members = value;
        return 0;
    case OPT_MEMBER_SELECTOR:
        app->member_selector = value;
        return 0;
    case OPT_MEMBER_NAMESPACES:
        app->member_namespaces = value;
        return 0;
    case OPT_MEMBER_PORT:
        return parse_port("member port", value, &app->member_port, err);
    case OPT_MEMBER_SHARE:
        return parse_percent(value, &app->member_share, err);
    case OPT_AGENT_NAME:
        app->agent_name = value;
        return 0;
    case OPT_FLEET_SECRET:
        if (*value == '\0' || value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.")] != '\0')
            return err_set(err, ERR_INVALID, "--fleet-secret %.64s: not the name of a Secret", value);
        app->fleet_secret = value;
        return 0;
    case OPT_OWNERS:
        if (ownership_check(value, err) < 0)
            return err_wrap(err, "--owners");
        app->owners = value;
        return 0;
    case OPT_OWNED_SECRETS:
        if (value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.,")] != '\0')
            return err_set(err, ERR_INVALID, "--owned-secrets %.64s: not names of Secrets", value);
        app->owned_secrets = value;
        return 0;
    case OPT_FLEET_CA:
        app->fleet_authority = value;
        return 0;
    case OPT_FLEET_CERT:
        app->fleet_certificate = value;
        return 0;
    case OPT_FLEET_KEY:
        app->fleet_key = value;
        return 0;
    case OPT_HAPROXY_DIR:
        app->haproxy_dir = value;
        return 0;
    case OPT_HAPROXY_BINARY:
        app->haproxy_binary = value;
        return 0;
    case OPT_CHECK_READS:
        if (value[0] != '/')
            return err_set(err, ERR_INVALID, "--check-reads %.64s: absolute paths, separated by ':'", value);
        app->check_reads = value;
        return 0;
    case OPT_MASTER_SOCKET:
        app->master_socket = value;
        return 0;
    case OPT_RUNTIME_SOCKET:
        app->runtime_socket = value;
        return 0;
    case OPT_KEEP_HAPROXY:
        app->keep_haproxy = true;
        return 0;
    case OPT_KUBECONFIG:
        if (from_flag) /* the variable is a list of files; kube_config_load() reads it by itself */
            app->kube.kubeconfig = value;
        return 0;
    case OPT_CONTEXT:
        app->kube.context = value;
        return 0;
    case OPT_SERVER:
        app->kube.server = value;
        return 0;
    case OPT_NAMESPACE:
        app->pod_namespace = value;
        return 0;
    case OPT_POD_NAME:
        app->pod_name = value;
        return 0;
    case OPT_SET:
        if (strchr(value, '=') == NULL || *value == '=')
            return err_set(err, ERR_INVALID, "--set %.64s: write KEY=VALUE", value);
        vec_push(&o->sets, value);
        return 0;
    case OPT_METRICS_ADDRESS:
        o->metrics_address = value;
        return 0;
    case OPT_METRICS_PORT:
        return parse_port("metrics port", value, &o->metrics_port, err);
    case OPT_DEBUG_PORT:
        return parse_port("debug port", value, &o->debug_port, err);
    case OPT_WEBHOOK_CERT_DIR:
        o->webhook_directory = *value != '\0' ? value : NULL;
        return 0;
    case OPT_WEBHOOK_SECRET:
        return parse_name("webhook-secret", value, &app->webhook_secret, err);
    case OPT_WEBHOOK_SERVICE:
        return parse_name("webhook-service", value, &app->webhook_service, err);
    case OPT_WEBHOOK_CONFIGURATION:
        return parse_name("webhook-configuration", value, &app->webhook_configuration, err);
    case OPT_WEBHOOK_ADDRESS:
        o->webhook_address = value;
        return 0;
    case OPT_WEBHOOK_PORT:
        return parse_port("webhook port", value, &o->webhook_port, err);
    case OPT_WEBHOOK_TIMEOUT:
        return parse_webhook_timeout("webhook resource admission timeout", value, NS_PER_S / 10,
                                     &app->webhook_timeout_ns, err);
    case OPT_WEBHOOK_POLICY:
        app->webhook_fails_closed = strcmp(value, "Fail") == 0;
        return app->webhook_fails_closed || strcmp(value, "Ignore") == 0
                   ? 0
                   : err_set(err, ERR_INVALID, "--webhook-failure-policy %.64s: write Ignore or Fail", value);
    case OPT_WEBHOOK_TOKEN:
        o->webhook_token_file = *value != '\0' ? value : NULL;
        return 0;
    case OPT_WEBHOOK_CONFIGURATION_TIMEOUT:
        return parse_webhook_timeout("webhook configuration admission timeout", value, NS_PER_S,
                                     &o->webhook_configuration_ns, err);
    case OPT_LOG_LEVEL:
        app->log_level_fixed = true;
        return log_level_parse(value, &o->log_level, err);
    case OPT_GRACE:
        return duration_parse(value, &app->grace_ns, err);
    case OPT_WATCH_STALL:
        return parse_watch_stall(value, &app->watch_stall_ns, err);
    case OPT_HELP:
        o->help = true;
        return 0;
    }
    return err_set(err, ERR_INVALID, "unknown option; see haptic run --help");
}

/* Kubernetes gives each container METRICS_PORT=tcp://10.0.0.1:80 when there is a Service "metrics" in its namespace. */
static bool is_service_link(int id, const char *value)
{
    return (id == OPT_METRICS_PORT || id == OPT_DEBUG_PORT || id == OPT_WEBHOOK_PORT) &&
           strncmp(value, "tcp://", 6) == 0;
}

static void warn_of_doubles(const struct run_options *o)
{
    for (size_t i = 0; i < o->sets.length; i++) {
        size_t length = strcspn(o->sets.items[i], "=") + 1;
        for (size_t j = i + 1; j < o->sets.length; j++)
            if (strncmp(o->sets.items[i], o->sets.items[j], length) == 0) {
                CLEANUP(free_ptr) char *name = xmemdup0(o->sets.items[i], length - 1);
                log_warn("A setting is given twice with --set; the last one is used", "setting", name);
                break;
            }
    }
}

int run_options_parse(struct run_options *o, int argc, char **argv, struct err *err)
{
    struct option longs[ARRAY_LEN(option_rows) + 1] = {0};
    int id;

    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++) {
        const struct run_row *row = &option_rows[i];
        const char *value = row->environment ? getenv(row->environment) : NULL;
        bool fallback = value == NULL || *value == '\0' || is_service_link(row->id, value);
        longs[i] = (struct option){
            .name = row->name, .has_arg = row->argument ? required_argument : no_argument, .val = row->id};
        if (fallback)
            value = row->fallback;
        if (value != NULL && set_option(o, row->id, value, false, err) < 0)
            return fallback ? -1 : err_wrap(err, "environment variable %s", row->environment);
        if (fallback && row->id == OPT_LOG_LEVEL)
            o->app.log_level_fixed = false;
    }
    opterr = 0;
    optind = 1;
    while ((id = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (id == ':')
            return err_set(err, ERR_INVALID, "%s needs a value; see haptic run --help", argv[optind - 1]);
        if (id == '?')
            return err_set(err, ERR_INVALID, "unknown option %s; see haptic run --help", argv[optind - 1]);
        if (set_option(o, id, optarg, true, err) < 0)
            return -1;
    }
    if (optind < argc)
        return err_set(err, ERR_INVALID, "unexpected argument \"%.64s\"; see haptic run --help", argv[optind]);
    if (o->app.config_resource != NULL && (o->app.config_file != NULL || o->app.source_dir != NULL))
        return err_set(err, ERR_INVALID, "--config-resource and %s exclude each other",
                       o->app.config_file != NULL ? "--config" : "--source");
    if (o->webhook_directory != NULL && o->app.webhook_secret != NULL)
        return err_set(err, ERR_INVALID, "--webhook-cert-dir and --webhook-secret exclude each other");
    o->app.has_webhook = o->app.webhook_secret != NULL;
    if (o->webhook_directory != NULL) {
        o->app.has_webhook = true;
        o->webhook_certificate = xasprintf("%s/tls.crt", o->webhook_directory);
        o->webhook_key = xasprintf("%s/tls.key", o->webhook_directory);
    }
    if (o->webhook_token_file != NULL) {
        if (!o->app.has_webhook || o->app.config_resource == NULL)
            return err_set(err, ERR_INVALID,
                           "--webhook-token-file needs a webhook (--webhook-secret or --webhook-cert-dir) and "
                           "--config-resource: only that resource is judged");
        o->app.webhook_configuration_ns = o->webhook_configuration_ns;
    }
    warn_of_doubles(o);
    /* Who writes the folder runs this program; the example's backends are on this machine. The last one counts: a flag
     * of the user comes after it. */
    if (o->app.source_dir != NULL) {
        vec_push(&o->sets, NULL);
        memmove(o->sets.items + 1, o->sets.items, (o->sets.length - 1) * sizeof(*o->sets.items));
        o->sets.items[0] = "local_endpoints=true";
    }
    vec_push(&o->sets, NULL);
    o->app.extra_context = o->sets.items;
    if (o->app.haproxy_dir == NULL) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        o->default_dir = geteuid() == 0                       ? xstrdup("/run/haptic")
                         : runtime != NULL && *runtime == '/' ? xasprintf("%s/haptic", runtime)
                                                              : xasprintf("/tmp/haptic-%u", (unsigned)geteuid());
        o->app.haproxy_dir = o->default_dir;
    }
    return 0;
}

void run_options_done(struct run_options *o)
{
    free(o->default_dir);
    free(o->webhook_certificate);
    free(o->webhook_key);
    vec_done(&o->sets);
}

const struct option_table *cmd_run_options(void)
{
    static struct option_row rows[ARRAY_LEN(option_rows)];
    static const struct option_table table = {.command = "run", .text = ABOUT, .rows = rows, .count = ARRAY_LEN(rows)};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct run_row *o = &option_rows[i];
        rows[i] = (struct option_row){.id = o->id,
                                      .name = o->name,
                                      .argument = o->argument,
                                      .environment = o->environment,
                                      .fallback = o->fallback,
                                      .help = o->help};
    }
    return &table;
}
