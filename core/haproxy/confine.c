/* How it works: everything that allocates or may fail (the filter, the Landlock rules) is made before; then vfork, so
 * that neither the size of this program nor its other threads matter; the child makes system calls only, and tells a
 * failure through the memory it still shares until it execs. All signals are blocked around that, so that no handler
 * of ours runs in the child.
 */
#include "haproxy/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"

/* What happens in the child, in shared memory. */
struct stage {
    const struct confine_spec *spec;
    int null_fd, landlock_fd;
    const struct sock_fprog *filter;
    sigset_t signals;            /* to be unblocked */
    const char *volatile failed; /* what failed; NULL: nothing */
    volatile int sys;
};

static int filter_build(struct buf *out, struct err *err)
{
    static const int refused[] = {SCMP_SYS(connect), SCMP_SYS(bind),     SCMP_SYS(listen),        SCMP_SYS(sendto),
                                  SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(fork),          SCMP_SYS(vfork),
                                  SCMP_SYS(ptrace),  SCMP_SYS(kill),     SCMP_SYS(tgkill),        SCMP_SYS(mount),
                                  SCMP_SYS(keyctl),  SCMP_SYS(bpf),      SCMP_SYS(io_uring_setup)};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return err_set(err, ERR_INTERNAL, "seccomp_init failed");
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(refused) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    if (rc == 0) /* processes; threads are fine */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (rc == 0) /* its flags are out of a filter's sight; the C library falls back to clone */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    CLEANUP(close_fd) int fd = memfd_create("haptic-filter", MFD_CLOEXEC);
    if (rc == 0 && fd >= 0)
        rc = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    if (rc != 0 || fd < 0)
        return err_set_sys(err, rc != 0 ? -rc : errno, "cannot make the system call filter");
    off_t size = lseek(fd, 0, SEEK_END);
    char *room = size > 0 ? buf_room(out, (size_t)size, err) : NULL;
    if (!room || pread(fd, room, (size_t)size, 0) != size)
        return err_set_sys(err, errno, "cannot read the system call filter");
    buf_grew(out, (size_t)size);
    return 0;
}

/* Rules that permit writing below cwd and to /dev only; -1 where the kernel has no Landlock. */
static int landlock_build(const char *cwd)
{
    const __u64 writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                          LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                          LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                          LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
    struct landlock_ruleset_attr attribute = {.handled_access_fs = writing};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attribute, sizeof(attribute), 0);
    if (ruleset < 0)
        return -1;
    const struct {
        const char *path;
        __u64 access;
    } rules[] = {{cwd, writing}, {"/dev", LANDLOCK_ACCESS_FS_WRITE_FILE}};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        CLEANUP(close_fd) int fd = open(rules[i].path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = {.allowed_access = rules[i].access, .parent_fd = fd};
        if (fd < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) {
            close(ruleset);
            return -1;
        }
    }
    return ruleset;
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

/* In the child: system calls only, nothing that allocates or locks. */
__attribute__((noreturn, noinline)) static void child_main(struct stage *s)
{
    const struct confine_spec *spec = s->spec;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &plain, NULL); /* KILL, STOP and the C library's own refuse */
    if (setsid() < 0)
        child_fail(s, "setsid");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        child_fail(s, "prctl");
    if (dup2(s->null_fd, 0) < 0 || dup2(spec->output_fd, 1) < 0 || dup2(spec->output_fd, 2) < 0)
        child_fail(s, "dup2");
    if (chdir(spec->cwd) < 0)
        child_fail(s, "chdir");
    (void)unshare(CLONE_NEWNET); /* needs a capability; the filter forbids the network in any case */
    if (s->landlock_fd >= 0 && syscall(SYS_landlock_restrict_self, s->landlock_fd, 0) < 0)
        child_fail(s, "landlock");
    (void)syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_CPU, spec->cpu_s) || !limit(RLIMIT_FSIZE, spec->file_bytes) ||
        !limit(RLIMIT_AS, spec->memory_bytes) || !limit(RLIMIT_NOFILE, spec->descriptors))
        child_fail(s, "setrlimit");
    if (sigprocmask(SIG_SETMASK, &s->signals, NULL) < 0)
        child_fail(s, "sigprocmask");
    if (spec->idle) /* a wish; the last one, since the thread that started us waits for the exec */
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, s->filter, 0, 0) < 0)
        child_fail(s, "seccomp");
    execve(spec->arguments[0], (char *const *)(uintptr_t)spec->arguments, (char *const *)(uintptr_t)spec->environment);
    child_fail(s, "exec");
}

/* Nothing but the fork: what lives in this frame is shared with the child. Returns the child's id, or -1 with errno. */
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
    if (filter_build(&program, err) < 0)
        return -1;
    struct sock_fprog filter = {.len = (unsigned short)(program.length / sizeof(struct sock_filter)),
                                .filter = (struct sock_filter *)(void *)program.data};
    CLEANUP(close_fd) int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int landlock_fd = landlock_build(spec->cwd);
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
