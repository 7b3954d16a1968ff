/* haptic version */
#include "cmd/version.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

int cmd_version(int argc, char **argv)
{
    bool named = argc == 3 && (strcmp(argv[1], "-o") == 0 || strcmp(argv[1], "--output") == 0);
    const char *format = named                                                ? argv[2]
                         : argc == 2 && strncmp(argv[1], "--output=", 9) == 0 ? argv[1] + 9
                         : argc > 1                                           ? ""
                                                                              : "text";

    if (strcmp(format, "json") == 0) {
        printf("{\"version\":\"%s\"}\n", HAPTIC_VERSION);
        return 0;
    }
    if (strcmp(format, "text") == 0) {
        printf("haptic %s\n", HAPTIC_VERSION);
        return 0;
    }
    fprintf(stderr, "haptic version: write haptic version [-o text|json]\n");
    return 2;
}
