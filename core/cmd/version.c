/* haptic version */
#include "cmd/version.h"

#include <stdio.h>

#include "cmd/cmd.h"

int cmd_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "haptic version: takes no arguments\n");
        return 2;
    }
    printf("haptic %s\n", HAPTIC_VERSION);
    return 0;
}
