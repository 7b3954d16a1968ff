/* options.h — one table of options serves the flags, their variables and the help of a command.
 * Thread:  before the loop runs.
 * Owns:    nothing; strings of the command line and the environment are borrowed.
 * Errors:  ERR_INVALID, naming flag or variable.
 */
#ifndef HAPTIC_CMD_OPTIONS_H
#define HAPTIC_CMD_OPTIONS_H

#include <stddef.h>

#include "base/err.h"
#include "base/vec.h"

/* A flag. argument NULL: it takes none. environment, fallback: NULL when there is none. letter: 0, or its short
 * form. */
struct option_row {
    int id;
    char letter;
    const char *name, *argument, *environment, *fallback, *help;
};

struct option_table {
    const char *command;   /* "render" */
    const char *arguments; /* what may follow the flags: "[SOURCE…]"; NULL: nothing */
    const char *text;      /* what the command does, and examples: printed between usage and flags */
    const struct option_row *rows;
    size_t count;
};

struct option_arguments {
    VEC(const char *) items; /* ended by NULL, which length does not count */
};

/* Call set for each value: fallbacks and variables first, then flags in their order. Other arguments go into
 * ret_arguments, flags and arguments may be mixed. */
int options_parse(const struct option_table *table, int argc, char **argv,
                  int (*set)(void *ctx, int id, const char *value, struct err *err), void *ctx,
                  struct option_arguments *ret_arguments, struct err *err) MUST_CHECK;
void options_print_help(const struct option_table *table);

#endif
