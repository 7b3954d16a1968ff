/* config_tests.h — the validationTests of a configuration, run before it comes into force.
 * Thread:  loop thread; the tests run in a process of their own.
 * Owns:    the process and a temporary directory, until it is done.
 * Units:   *_ns nanoseconds.
 * Errors:  what the tests find is no error but the outcome.
 *
 * The process is `haptic trial`, that is, `haptic test` in a jail: it has no environment, reads only the system's
 * folders, and has a limit of time and of memory. When memory is short the kernel ends it before this process.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_TESTS_H
#define HAPTIC_CONTROLLER_CONFIG_TESTS_H

#include <uv.h>

#include "controller/config.h"

struct config_tests;

enum config_tests_outcome {
    CONFIG_TESTS_PASSED,
    CONFIG_TESTS_FAILED,
    CONFIG_TESTS_NOT_RUN, /* they did not end: time, memory, or the machine's fault */
};

struct config_tests_spec {
    const char *executable;           /* this program */
    const char *haproxy_binary;       /* "haproxy": looked up in PATH */
    const char *const *extra_context; /* "key=value", ended by NULL; may be NULL */
    const char *name;                 /* of the configuration, for messages */
    const char *path; /* the file of the configuration, which may name others; NULL: the text is all there is */
    const char *text; /* the whole document; not read with path */
    size_t length;
    bool has_lines;      /* they mean something to whoever wrote it */
    int64_t deadline_ns; /* 0: 60 s */
};

/* message: "12 tests passed", or the first failures; borrowed for the call. Called once, never from inside
 * config_tests_start(); everything is released afterwards. */
typedef void config_tests_done(void *ctx, enum config_tests_outcome outcome, const char *message);

/* NULL with err: they cannot be started. */
struct config_tests *config_tests_start(uv_loop_t *loop, const struct config_tests_spec *spec, config_tests_done *done,
                                        void *ctx, struct err *err);
/* End them; done is not called. NULL is fine; always returns NULL. Run the loop until it is empty afterwards. */
struct config_tests *config_tests_cancel(struct config_tests *t);

#endif
