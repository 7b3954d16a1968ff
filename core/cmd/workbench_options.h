/* workbench_options.h — the options that render, validate and repl share, and how they end.
 * Thread:  before and after the loop runs.
 * Owns:    what it had to make; strings of the command line are borrowed.
 * Errors:  ERR_INVALID, naming the flag.
 */
#ifndef HAPTIC_CMD_WORKBENCH_OPTIONS_H
#define HAPTIC_CMD_WORKBENCH_OPTIONS_H

#include "base/buf.h"
#include "cmd/options.h"
#include "offline/file_watch.h"
#include "offline/workbench.h"

/* Exit statuses of all commands that report findings. */
enum { EXIT_CLEAN = 0, EXIT_FINDINGS = 1, EXIT_USAGE = 2 };

enum {
    WORKBENCH_CONFIG = 1,
    WORKBENCH_SET,
    WORKBENCH_HAPROXY,
    WORKBENCH_VERSION,
    WORKBENCH_OUTPUT,
    WORKBENCH_STRICT,
    WORKBENCH_HELP,
    WORKBENCH_OWN, /* ids of a command's own options begin here */
};

#define WORKBENCH_ROW_CONFIG \
    { \
        WORKBENCH_CONFIG, 'c', "config", "FILE|DIR", "CONFIG", NULL, \
            "the configuration: an HAProxyTemplateConfig or its spec; a folder of them; may be repeated, later " \
            "values replace earlier ones. Without it, the built-in libraries serve Ingresses" \
    }
#define WORKBENCH_ROW_SET \
    { \
        WORKBENCH_SET, 0, "set", "KEY=VALUE", NULL, NULL, \
            "a value for extraContext, such as http_port=8080; may be repeated" \
    }
#define WORKBENCH_ROW_VERSION \
    { \
        WORKBENCH_VERSION, 0, "haproxy-version", "VERSION", NULL, NULL, \
            "render for that version, such as 3.2, without running HAProxy" \
    }
#define WORKBENCH_ROW_OUTPUT \
    { \
        WORKBENCH_OUTPUT, 'o', "output", "FORMAT", NULL, "text", \
            "form of the findings: text, json, junit, sarif or github" \
    }
#define WORKBENCH_ROW_STRICT \
    { \
        WORKBENCH_STRICT, 0, "strict", NULL, NULL, NULL, "warnings count as findings" \
    }
#define WORKBENCH_ROW_HELP \
    { \
        WORKBENCH_HELP, 'h', "help", NULL, NULL, NULL, "this text" \
    }

struct workbench_command {
    uv_loop_t loop;
    struct workbench_options options;
    struct option_arguments sources;
    VEC(char *) configs; /* --config, each time with what was given before */
    VEC(const char *) sets;
    VEC(const char *) binaries; /* --haproxy-binary, as often as given */
    enum finding_format format;
    bool strict, help;
    char executable[4096];
    struct findings findings;
    struct workbench *workbench;
};

/* One option of the shared ones; ERR_INVALID for another id. */
int workbench_command_set(struct workbench_command *c, int id, const char *value, struct err *err) MUST_CHECK;
/* After the options are read: everything but the workbench. */
void workbench_command_prepare(struct workbench_command *c);
/* The same, and make the workbench. False: ended already, with *ret_status. */
bool workbench_command_begin(struct workbench_command *c, const char *name, int *ret_status);
/* Print the findings to that stream; the exit status. quiet: nothing when there are none and the format is text. */
int workbench_command_report(struct workbench_command *c, FILE *to);
/* The report of a command that cannot go on: a text to standard error, a document to standard output. EXIT_FINDINGS. */
int workbench_command_refuse(struct workbench_command *c);
/* Watch the files that the configuration was read from; of a configuration that could not be used, those that it was
 * given as. */
int workbench_command_watch(const struct workbench_command *c, struct file_watch *watch, struct err *err) MUST_CHECK;
/* Read everything anew, with other findings. -1: it cannot be read, and there is no workbench. */
int workbench_command_again(struct workbench_command *c, struct err *err) MUST_CHECK;
void workbench_command_done(struct workbench_command *c);

#endif
