/* agent_options.h — what `haptic agent` is told.
 * Thread:  before the loop runs.
 * Errors:  ERR_INVALID, naming flag or variable.
 */
#ifndef HAPTIC_CMD_AGENT_OPTIONS_H
#define HAPTIC_CMD_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct agent_endpoint {
    char address[64];
    uint16_t port; /* 0: nowhere */
};

struct agent_options {
    const char *directory, *binary, *master_socket, *runtime_socket, *minimal_bind;
    bool attach, keep_haproxy, help;
    struct agent_endpoint listen, status;
    const char *certificate, *key, *client_authority;
    int64_t min_reload_interval_ns, drift_interval_ns, grace_ns;
    enum log_level log_level;
};

/* Fills *o from defaults, environment and flags; the strings are borrowed from argv and the environment. With --help,
 * o->help is set, and nothing else is required. */
int agent_options_parse(struct agent_options *o, int argc, char **argv, struct err *err) MUST_CHECK;
/* Writes the flags and their defaults to standard output. */
void agent_options_print_help(void);

#endif
