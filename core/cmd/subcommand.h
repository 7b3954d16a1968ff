/* subcommand.h — a row of the table of commands, and what is made from the whole table: shell completion, manual pages.
 * Thread:  main thread.
 */
#ifndef HAPTIC_CMD_SUBCOMMAND_H
#define HAPTIC_CMD_SUBCOMMAND_H

#include <stddef.h>

#include "cmd/options.h"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    const struct option_table *(*options)(void); /* NULL: it has none */
};

/* haptic completion bash|zsh|fish: a script for that shell. 0, or 2 for wrong usage. */
int completion_print(const struct subcommand *commands, size_t count, int argc, char **argv);
/* haptic man [COMMAND]: a manual page in roff; --list: the commands that have one. */
int manual_print(const struct subcommand *commands, size_t count, int argc, char **argv);

#endif
