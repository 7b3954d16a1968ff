/* haptic trial: `haptic test` as the controller starts it, confined before it reads anything. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "cmd/cmd.h"
#include "controller/place.h"
#include "engine/jail.h"
#include "haproxy/confine.h"
#include "haproxy/scratch.h"

/* Of address space, for each process. */
#define MEMORY_BYTES ((rlim_t)4 << 30)
#define NICENESS 10
#define EXIT_CONFINED 3

/* When the container's memory ends it is this process that goes. A wish: without /proc it stays as it is. */
static void offer_to_the_kernel(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!write(fd, "1000", 4);
        close(fd);
    }
}

static int limit(int resource, rlim_t value, struct err *err)
{
    struct rlimit now;

    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return err_set_sys(err, errno, "getrlimit");
    now.rlim_cur = now.rlim_max = value < now.rlim_max ? value : now.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &now) < 0 ? err_set_sys(err, errno, "setrlimit") : 0;
}

static const char *option_of(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static int confine(int argc, char **argv, bool *ret_confined, struct err *err)
{
    CLEANUP(free_ptr) char *haproxy = NULL;
    char executable[4096];
    size_t size = sizeof(executable);
    const char *directory = getenv(SCRATCH_VARIABLE);

    if (directory == NULL || uv_exepath(executable, &size) != 0)
        return err_set(err, ERR_INVALID, "it is started by `haptic run` only; use `haptic test`");
    const char *binary = option_of(argc, argv, "--haproxy-binary"), *config = option_of(argc, argv, "--config");
    if (place_find_program(binary != NULL ? binary : "haproxy", &haproxy, err) < 0)
        return -1;
    /* Beside the configuration may be files that it names. */
    const char *programs[] = {executable, haproxy, config, NULL};
    offer_to_the_kernel();
    if (limit(RLIMIT_CORE, 0, err) < 0 || (!JAIL_SANITIZED && limit(RLIMIT_AS, MEMORY_BYTES, err) < 0))
        return -1;
    if (setpriority(PRIO_PROCESS, 0, NICENESS) < 0)
        return err_set_sys(err, errno, "setpriority");
    return confine_files(programs, directory, ret_confined, err);
}

int cmd_trial(int argc, char **argv)
{
    bool confined = false;
    struct err err;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (confine(argc, argv, &confined, &err) < 0) {
        fprintf(stderr, "haptic trial: %s\n", err.text);
        return EXIT_CONFINED;
    }
    if (confined)
        return cmd_test(argc, argv);
    /* A HAProxy that runs with the configuration could read what this user can: none is started. */
    VEC(char *) arguments = {0};
    for (int i = 0; i < argc; i++)
        vec_push(&arguments, argv[i]);
    vec_push(&arguments, (char[]){"--without-requests"});
    vec_push(&arguments, NULL);
    int status = cmd_test((int)arguments.length - 1, arguments.items);
    vec_done(&arguments);
    return status;
}
