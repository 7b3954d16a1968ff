/* run.h — the subcommand `haptic run`: the controller. */
#ifndef HAPTIC_CMD_RUN_H
#define HAPTIC_CMD_RUN_H

/* argv[0] is "run". Returns the exit status: 0 after an orderly end, 1 when it cannot start, 2 for wrong usage. */
int cmd_run(int argc, char **argv);

#endif
