/* run_options.h — what `haptic run` is told: flags over environment over built-in values.
 * Thread:  before the loop runs.
 * Owns:    what it had to make; strings of the command line and the environment are borrowed.
 * Errors:  ERR_INVALID, naming flag or variable.
 */
#ifndef HAPTIC_CMD_RUN_OPTIONS_H
#define HAPTIC_CMD_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/vec.h"
#include "controller/app.h"

struct run_options {
    struct app_options app;
    const char *metrics_address;
    uint16_t metrics_port, debug_port;
    const char *webhook_address, *webhook_directory; /* directory NULL: no webhook */
    char *webhook_certificate, *webhook_key;         /* files in it */
    uint16_t webhook_port;
    const char *webhook_token_file; /* NULL: configurations are not judged */
    int64_t webhook_configuration_ns;
    enum log_level log_level;
    bool help;
    VEC(const char *) sets; /* app.extra_context, ended by NULL */
    char *default_dir;
};

/* ret_options: zeroed, but for what the table does not say (app.version, app.executable). To be done with also after
 * an error. */
int run_options_parse(struct run_options *ret_options, int argc, char **argv, struct err *err) MUST_CHECK;
void run_options_done(struct run_options *o);
void run_options_print_help(void);

#endif
