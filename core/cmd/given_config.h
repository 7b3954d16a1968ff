/* given_config.h — the configuration that --config names, for commands without a workbench.
 * Thread:  main thread.
 * Owns:    the joined paths and the findings.
 * Errors:  printed: findings about a wrong configuration, a sentence about an unreadable one.
 */
#ifndef HAPTIC_CMD_GIVEN_CONFIG_H
#define HAPTIC_CMD_GIVEN_CONFIG_H

#include "cmd/options.h"
#include "controller/config.h"
#include "offline/finding.h"

/* The forms of commands that print no findings but those. */
#define ROW_TEXT_OR_JSON(id, help) \
    { \
        id, 'o', "output", "text|json", NULL, "text", help \
    }
/* ERR_INVALID: neither text nor json. */
int text_or_json(const char *value, enum finding_format *ret_format, struct err *err) MUST_CHECK;

struct given_config {
    const char *variable; /* CONFIG: used where the option is not given */
    char *files;          /* NULL: the option is not given */
};

/* A value of the option; it may come several times. */
void given_config_set(struct given_config *g, const char *value);
/* Was one given, by the option or the variable? */
bool given_config_exists(const struct given_config *g);
/* Read it; the built-in one when none is given. NULL: *ret_status is EXIT_FINDINGS or EXIT_USAGE, and it was printed
 * why: to standard output when the format is JSON, else to standard error. Warnings go to standard error. */
struct config *given_config_load(const struct given_config *g, const char *command, enum finding_format format,
                                 int *ret_status);
void given_config_done(struct given_config *g);

/* Print YAML documents as they are, or as one List in JSON. 0; EXIT_USAGE: standard output cannot be written. */
int print_manifests(const char *command, const char *yaml, size_t length, enum finding_format format);

#endif
