/* The subcommand table. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"

static const struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} subcommands[] = {
    {"run", cmd_run, "the controller: watch, render, validate, deploy"},
    {"agent", cmd_agent, "beside an HAProxy: its only writer, told by the controller what to serve"},
    {"render", cmd_render, "offline: what the templates make of a folder of manifests"},
    {"validate", cmd_validate, "offline: the same, checked by HAProxy, with findings"},
    {"test", cmd_test, "offline: the validationTests of a configuration"},
    {"repl", cmd_repl, "offline: a Lua prompt in the renderer's jail"},
    {"crds", cmd_crds, "the definitions of the controller's resources: print them, or apply them to a cluster"},
    {"diff", cmd_diff, "offline: what a change would do to a running HAProxy, and who wrote what changed"},
    {"explain", cmd_explain, "what the code of a finding means, and what to do"},
    {"version", cmd_version, "the program's version"},
    {"renderer", cmd_renderer, "the jailed process that runs the templates; started by other commands"},
};

static void print_help(FILE *to)
{
    fprintf(to, "usage: haptic COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
        fprintf(to, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] += strlen("--");
    for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "haptic: there is no command \"%s\"; haptic --help lists them\n", argv[1]);
    return 2;
}
