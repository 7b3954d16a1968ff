/* "haptic renderer": the sandboxed process that runs the templates. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "engine/worker.h"

int cmd_renderer(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "haptic renderer: no arguments are taken, %s is one too many\n", argv[1]);
        return WORKER_EXIT_USAGE;
    }
    worker_run(&(struct vm_options){0});
}
