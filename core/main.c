/* The subcommand table. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "cmd/cmd.h"
#include "cmd/subcommand.h"

static const struct subcommand subcommands[] = {
    {"run", cmd_run, "the controller: watch, render, validate, deploy", cmd_run_options},
    {"agent", cmd_agent, "beside an HAProxy: writes its configuration, which a controller sends", cmd_agent_options},
    {"render", cmd_render, "offline: render manifests", cmd_render_options},
    {"validate", cmd_validate, "offline: render manifests and check the result with HAProxy", cmd_validate_options},
    {"test", cmd_test, "offline: run the validationTests of a configuration", cmd_test_options},
    {"bench", cmd_bench, "offline: measure what templates cost with many objects", cmd_bench_options},
    {"repl", cmd_repl, "offline: a Lua prompt with everything that templates see", cmd_repl_options},
    {"config", cmd_config, "print the complete configuration, with libraries and defaults", cmd_config_options},
    {"crds", cmd_crds, "the definitions of the controller's resources: print them, or apply them to a cluster",
     cmd_crds_options},
    {"rbac", cmd_rbac, "print the roles that a controller needs for a configuration", cmd_rbac_options},
    {"diff", cmd_diff, "offline: show what a change would do to a running HAProxy", cmd_diff_options},
    {"explain", cmd_explain, "explain a finding, a line of haproxy.cfg, an object or a request", cmd_explain_options},
    {"annotations", cmd_annotations, "offline: list the declared annotations, also as JSON", cmd_annotations_options},
    {"policy", cmd_policy, "offline: an admission policy that refuses annotations with wrong values",
     cmd_policy_options},
    {"snapshot", cmd_snapshot, "read the objects of a cluster, with fakes in place of Secrets", cmd_snapshot_options},
    {"doctor", cmd_doctor, "check an installation, and write a bundle for support", cmd_doctor_options},
    {"version", cmd_version, "the program's version", cmd_version_options},
    {"trial", cmd_trial, "the sandboxed process that runs the tests of a new configuration; started by run", NULL},
    {"renderer", cmd_renderer, "the sandboxed process that runs the templates; started by other commands", NULL},
};

static void print_help(FILE *to)
{
    fprintf(to, "usage: haptic COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
        fprintf(to, "  %-11s %s\n", subcommands[i].name, subcommands[i].help);
    fprintf(to, "  %-11s %s\n  %-11s %s\n", "completion", "a completion script for bash, zsh or fish", "man",
            "a manual page of a command, in roff");
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
    if (strcmp(argv[1], "completion") == 0)
        return completion_print(subcommands, ARRAY_LEN(subcommands), argc - 1, argv + 1);
    if (strcmp(argv[1], "man") == 0)
        return manual_print(subcommands, ARRAY_LEN(subcommands), argc - 1, argv + 1);
    struct nearest nearest = {.word = argv[1]};
    for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
        nearest_offer(&nearest, subcommands[i].name);
    fprintf(stderr, "haptic: there is no command \"%s\"%s%s%s; haptic --help lists them\n", argv[1],
            nearest.found ? "; did you mean \"" : "", nearest.found ? nearest.found : "", nearest.found ? "\"?" : "");
    return 2;
}
