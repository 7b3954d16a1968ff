/* One table of options serves flags, variables and help. */
#include "cmd/agent_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/options.h"

enum option_id {
    OPT_DIRECTORY,
    OPT_ATTACH,
    OPT_BINARY,
    OPT_MASTER_SOCKET,
    OPT_RUNTIME_SOCKET,
    OPT_KEEP_HAPROXY,
    OPT_LISTEN,
    OPT_CERTIFICATE,
    OPT_KEY,
    OPT_CLIENT_AUTHORITY,
    OPT_STATUS,
    OPT_MINIMAL_BIND,
    OPT_RELOADS,
    OPT_DRIFT,
    OPT_GRACE,
    OPT_LOG_LEVEL,
    OPT_HELP
};

static const struct option_row rows[] = {
    {OPT_DIRECTORY, 0, "directory", "DIR", "AGENT_DIRECTORY", "/run/haptic",
     "the folder of haproxy.cfg, maps, certificates, sockets and the saved configuration; only the agent writes there"},
    {OPT_ATTACH, 0, "attach", NULL, NULL, NULL,
     "another container runs HAProxy: write the directory, and reload HAProxy by the master socket"},
    {OPT_BINARY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", "haproxy",
     "the haproxy program to start and supervise; not used with --attach"},
    {OPT_MASTER_SOCKET, 0, "master-socket", "PATH", "HAPROXY_MASTER_SOCKET", NULL,
     "HAProxy's master CLI (master.sock in --directory)"},
    {OPT_RUNTIME_SOCKET, 0, "runtime-socket", "PATH", "HAPROXY_RUNTIME_SOCKET", NULL,
     "HAProxy's runtime API (runtime.sock in --directory)"},
    {OPT_KEEP_HAPROXY, 0, "keep-haproxy", NULL, NULL, NULL,
     "leave HAProxy running at the end; the next start takes it over"},
    {OPT_LISTEN, 0, "listen", "ADDRESS:PORT", "AGENT_LISTEN", "*:5555",
     "where controllers are served, by TLS 1.3 with a client certificate"},
    {OPT_CERTIFICATE, 0, "tls-cert", "FILE", "AGENT_TLS_CERT", NULL,
     "the agent's certificate (PEM); read again when it changes"},
    {OPT_KEY, 0, "tls-key", "FILE", "AGENT_TLS_KEY", NULL, "and its key"},
    {OPT_CLIENT_AUTHORITY, 0, "client-ca", "FILE", "AGENT_CLIENT_CA", NULL,
     "the authority of the controllers' certificates (PEM)"},
    {OPT_STATUS, 0, "status-listen", "ADDRESS:PORT", "AGENT_STATUS_LISTEN", "*:5557",
     "where /healthz, /startz, /readyz and /metrics are served, without TLS; port 0: off"},
    {OPT_MINIMAL_BIND, 0, "minimal-bind", "ADDRESS:PORT", "AGENT_MINIMAL_BIND", "*:8404",
     "where HAProxy answers 503 \"not configured\" while there is no configuration"},
    {OPT_RELOADS, 0, "min-reload-interval", "DURATION", "AGENT_MIN_RELOAD_INTERVAL", "2s",
     "minimum time between two reloads; other changes do not wait"},
    {OPT_DRIFT, 0, "drift-interval", "DURATION", "AGENT_DRIFT_INTERVAL", "60s",
     "how often everything is compared with HAProxy"},
    {OPT_GRACE, 0, "grace", "DURATION", "GRACE", "25s", "time for a graceful stop after SIGTERM"},
    {OPT_LOG_LEVEL, 0, "log-level", "LEVEL", "LOG_LEVEL", "INFO", "TRACE, DEBUG, INFO, WARN, ERROR"},
    {OPT_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "agent",
    .text = "Runs beside one HAProxy and writes its configuration. At the start, HAProxy serves its last "
            "configuration from the agent's\n"
            "directory, without any controller. The agent then gets changes from the leader of the controllers.\n\n"
            "  haptic agent --tls-cert agent.pem --tls-key agent.key --client-ca ca.pem            starts HAProxy\n"
            "  haptic agent --attach --directory /run/haptic …                                     sidecar of HAProxy",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

/* "127.0.0.1:5555", "[::1]:5555", "*:5555". */
static int parse_endpoint(const char *text, struct agent_endpoint *ret_endpoint, struct err *err)
{
    const char *colon = strrchr(text, ':'), *begin = text, *stop = colon;
    char *end;

    if (colon == NULL)
        return err_set(err, ERR_INVALID, "\"%.64s\": write ADDRESS:PORT", text);
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] == '\0' || *end != '\0' || errno != 0 || port > 65535)
        return err_set(err, ERR_INVALID, "\"%.64s\": the port is not one from 0 to 65535", text);
    if (*begin == '[' && stop > begin && stop[-1] == ']') {
        begin++;
        stop--;
    }
    if (stop <= begin || (size_t)(stop - begin) >= sizeof(ret_endpoint->address))
        return err_set(err, ERR_INVALID, "\"%.64s\": write ADDRESS:PORT", text);
    memset(ret_endpoint, 0, sizeof(*ret_endpoint));
    memcpy(ret_endpoint->address, begin, (size_t)(stop - begin));
    ret_endpoint->port = (uint16_t)port;
    return 0;
}

/* The text becomes a word of a configuration. */
static int parse_bind(const char *text, const char **ret_bind, struct err *err)
{
    if (*text == '\0' || text[strspn(text, "0123456789abcdefABCDEF.:*[]")] != '\0')
        return err_set(err, ERR_INVALID, "\"%.64s\": write ADDRESS:PORT", text);
    *ret_bind = text;
    return 0;
}

static int set_option(void *ctx, int id, const char *value, struct err *err)
{
    struct agent_options *o = ctx;

    switch ((enum option_id)id) {
    case OPT_DIRECTORY:
        o->directory = value;
        return 0;
    case OPT_ATTACH:
        o->attach = true;
        return 0;
    case OPT_BINARY:
        o->binary = value;
        return 0;
    case OPT_MASTER_SOCKET:
        o->master_socket = value;
        return 0;
    case OPT_RUNTIME_SOCKET:
        o->runtime_socket = value;
        return 0;
    case OPT_KEEP_HAPROXY:
        o->keep_haproxy = true;
        return 0;
    case OPT_LISTEN:
        return parse_endpoint(value, &o->listen, err);
    case OPT_CERTIFICATE:
        o->certificate = value;
        return 0;
    case OPT_KEY:
        o->key = value;
        return 0;
    case OPT_CLIENT_AUTHORITY:
        o->client_authority = value;
        return 0;
    case OPT_STATUS:
        return parse_endpoint(value, &o->status, err);
    case OPT_MINIMAL_BIND:
        return parse_bind(value, &o->minimal_bind, err);
    case OPT_RELOADS:
        return duration_parse(value, &o->min_reload_interval_ns, err);
    case OPT_DRIFT:
        if (duration_parse(value, &o->drift_interval_ns, err) < 0)
            return -1;
        return o->drift_interval_ns >= NS_PER_S ? 0 : err_set(err, ERR_INVALID, "%.32s is less than 1s", value);
    case OPT_GRACE:
        return duration_parse(value, &o->grace_ns, err);
    case OPT_LOG_LEVEL:
        return log_level_parse(value, &o->log_level, err);
    case OPT_HELP:
        o->help = true;
        return 0;
    }
    return err_set(err, ERR_INVALID, "unknown option; see haptic agent --help");
}

int agent_options_parse(struct agent_options *o, int argc, char **argv, struct err *err)
{
    struct option_arguments none = {0};
    int result = options_parse(&table, argc, argv, set_option, o, &none, err);

    vec_done(&none.items);
    if (result < 0 || o->help)
        return result;
    if (o->certificate == NULL || o->key == NULL || o->client_authority == NULL)
        return err_set(
            err, ERR_INVALID,
            "--tls-cert, --tls-key and --client-ca are needed: only a controller with a certificate may write");
    if (o->min_reload_interval_ns == 0)
        o->min_reload_interval_ns = 1; /* 0 would be the agent's own idea of it */
    return 0;
}

void agent_options_print_help(void)
{
    options_print_help(&table);
}

const struct option_table *cmd_agent_options(void)
{
    return &table;
}
