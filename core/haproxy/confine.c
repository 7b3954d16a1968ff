/* All that allocates or can fail (the filter, the Landlock rules) is prepared first. Then vfork() is used, so that
 * neither the size of this program nor its other threads matter. The child makes system calls only. It reports a
 * failure through the memory that it shares with the parent until exec. All signals are blocked during this time, so
 * that no handler of this program runs in the child.
 */
#include "haproxy/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/capability.h"
#include "base/landlock.h"
#include "haproxy/confine_filter.h"

/* What happens in the child, in shared memory. */
struct stage {
    const struct confine_spec *spec;
    int null_fd, landlock_fd;
    const struct sock_fprog *filter;
    sigset_t signals;            /* to be unblocked */
    const char *volatile failed; /* the step that failed; NULL: none */
    volatile int sys;
};

/* Files that a program on this system may need: libraries, settings of OpenSSL and of the resolver, users and groups,
 * time zones, properties of the machine. Files of /proc about a process are not among them. */
static const char *const readable[] = {
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc",
    "/opt",
    "/nix/store",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/sys/devices/system",
    "/sys/kernel/mm",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
};

/* The folder of a program outside the system's folders, for the libraries beside it. Only the program itself when its
 * folder is directly below the root, because that is the folder of everything else. */
static int allow_program(int ruleset, const char *program)
{
    CLEANUP(free_ptr) char *path = realpath(program, NULL);
    if (!path)
        return 0; /* exec will fail and report it */
    char *slash = strrchr(path, '/');
    if (slash > path && memchr(path + 1, '/', (size_t)(slash - path - 1)))
        *slash = '\0';
    return landlock_allow_reading(ruleset, path);
}

/* The paths of a list that is separated by colons. */
static int allow_list(int ruleset, const char *list)
{
    CLEANUP(free_ptr) char *copy = xstrdup(list);
    char *rest = copy;
    for (char *path; (path = strsep(&rest, ":"));)
        if (path[0] == '/' && landlock_allow_reading(ruleset, path) < 0)
            return -1;
    return 0;
}

/* Rules that permit reading the paths of above and below cwd; *ret_fd is -1 when the kernel has no Landlock. */
static int ruleset_build(const struct confine_spec *spec, int *ret_fd, struct err *err)
{
    CLEANUP(close_fd) int ruleset = landlock_new();
    *ret_fd = -1;
    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : err_set_sys(err, errno, "cannot make a Landlock ruleset");
    int rc = landlock_allow_reading(ruleset, spec->cwd);
    if (rc == 0)
        rc = landlock_allow_writing(ruleset, "/dev/null");
    for (size_t i = 0; i < ARRAY_LEN(readable) && rc == 0; i++)
        rc = landlock_allow_reading(ruleset, readable[i]);
    if (rc == 0)
        rc = allow_program(ruleset, spec->arguments[0]);
    if (rc == 0 && spec->readable)
        rc = allow_list(ruleset, spec->readable);
    if (rc < 0)
        return err_set_sys(err, errno, "cannot make a Landlock rule");
    *ret_fd = steal_fd(&ruleset);
    return 0;
}

int confine_files(const char *const *programs, const char *directory, bool *ret_done, struct err *err)
{
    CLEANUP(close_fd) int ruleset = landlock_new_for_files();

    *ret_done = false;
    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : err_set_sys(err, errno, "cannot make a Landlock ruleset");
    int rc = landlock_allow_everything(ruleset, directory);
    if (rc == 0)
        rc = landlock_allow_writing(ruleset, "/dev/null");
    if (rc == 0)
        rc = landlock_allow_reading(ruleset, "/proc");
    for (size_t i = 0; i < ARRAY_LEN(readable) && rc == 0; i++)
        rc = landlock_allow_reading(ruleset, readable[i]);
    for (; rc == 0 && *programs != NULL; programs++)
        rc = allow_program(ruleset, *programs);
    if (rc < 0)
        return err_set_sys(err, errno, "cannot make a Landlock rule");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || landlock_enforce(ruleset) < 0)
        return err_set_sys(err, errno, "cannot enforce Landlock");
    *ret_done = true;
    return 0;
}

static bool limit(int resource, rlim_t value)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return false;
    if (now.rlim_max != RLIM_INFINITY && value > now.rlim_max)
        value = now.rlim_max;
    struct rlimit wanted = {.rlim_cur = value, .rlim_max = value};
    return setrlimit((__rlimit_resource_t)resource, &wanted) == 0;
}

__attribute__((noreturn)) static void child_fail(struct stage *s, const char *what)
{
    s->sys = errno;
    s->failed = what;
    _exit(127);
}

static bool can_open(const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Changes to a separate user, if the program and its folder are accessible for that user. The functions of the C
 * library would change all threads of the parent too, so these are direct system calls. */
static bool user_change(const struct confine_spec *spec)
{
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, spec->user, spec->user, spec->user) < 0)
        return false;
    (void)syscall(SYS_setfsuid, spec->user);
    bool reaches = can_open(spec->arguments[0]) && can_open(spec->cwd);
    (void)syscall(SYS_setfsuid, 0);
    return !reaches || syscall(SYS_setresuid, spec->user, spec->user, spec->user) == 0;
}

/* Runs in the child: system calls only, without allocation or locks. */
__attribute__((noreturn, noinline)) static void child_main(struct stage *s)
{
    const struct confine_spec *spec = s->spec;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &plain, NULL); /* fails for KILL, STOP and signals of the C library */
    if (setsid() < 0)
        child_fail(s, "setsid");
    if (dup2(s->null_fd, 0) < 0 || dup2(spec->output_fd, 1) < 0 || dup2(spec->output_fd, 2) < 0)
        child_fail(s, "dup2");
    if (chdir(spec->cwd) < 0)
        child_fail(s, "chdir");
    (void)unshare(CLONE_NEWNET); /* needs a capability; the filter forbids the network in any case */
    if (capability_bound_none() < 0)
        child_fail(s, "capabilities");
    if (spec->user && !user_change(spec))
        child_fail(s, "change of user");
    if (capability_drop_all() < 0)
        child_fail(s, "capabilities");
    /* After the change of user, which resets it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        child_fail(s, "prctl");
    if (s->landlock_fd >= 0 && landlock_enforce(s->landlock_fd) < 0)
        child_fail(s, "landlock");
    (void)syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_CPU, spec->cpu_s) || !limit(RLIMIT_FSIZE, 0) ||
        !limit(RLIMIT_AS, spec->memory_bytes) || !limit(RLIMIT_NOFILE, spec->descriptors))
        child_fail(s, "setrlimit");
    if (sigprocmask(SIG_SETMASK, &s->signals, NULL) < 0)
        child_fail(s, "sigprocmask");
    if (spec->niceness > 0)
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + spec->niceness);
    if (spec->idle) /* a wish; last, because the parent's thread waits for the exec */
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, s->filter, 0, 0) < 0)
        child_fail(s, "seccomp");
    execve(spec->arguments[0], (char *const *)(uintptr_t)spec->arguments, (char *const *)(uintptr_t)spec->environment);
    child_fail(s, "exec");
}

/* Contains the fork only, because the variables of this frame are shared with the child. Returns the child's pid, or -1
 * with errno. */
__attribute__((noinline)) static pid_t child_fork(struct stage *s)
{
    pid_t pid = vfork();
    if (pid == 0)
        child_main(s);
    return pid;
}

int confine_spawn(const struct confine_spec *spec, pid_t *ret_pid, struct err *err)
{
    CLEANUP(buf_done) struct buf program = {0};
    CLEANUP(close_fd) int landlock_fd = -1;
    if (confine_filter_build(spec->arguments[0], &program, err) < 0 || ruleset_build(spec, &landlock_fd, err) < 0)
        return -1;
    struct sock_fprog filter = {.len = (unsigned short)(program.length / sizeof(struct sock_filter)),
                                .filter = (struct sock_filter *)(void *)program.data};
    CLEANUP(close_fd) int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct stage stage = {.spec = spec, .null_fd = null_fd, .landlock_fd = landlock_fd, .filter = &filter};
    sigset_t all, before;
    sigfillset(&all);
    sigemptyset(&stage.signals);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = child_fork(&stage);
    int failure = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return err_set_sys(err, failure, "cannot start %s", spec->arguments[0]);
    if (stage.failed) {
        (void)syscall(SYS_wait4, pid, NULL, 0, NULL);
        return err_set_sys(err, stage.sys, "cannot start %s: %s", spec->arguments[0], stage.failed);
    }
    *ret_pid = pid;
    return 0;
}

uid_t confine_user(void)
{
    const uint32_t needed = 1U << CAP_CHOWN | 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_KILL;
    return geteuid() == 0 && capability_has(needed) ? CONFINE_USER : 0;
}
