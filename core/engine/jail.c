/* Several independent barriers: no descriptors, resource limits of zero, Landlock (no file, no TCP port, no signal to
 * other processes; where the kernel has it), and a seccomp list of allowed calls. The list is short because libraries
 * were loaded and initialised before. Reading and writing are not limited to a descriptor, because there is only one,
 * and no allowed call can make another.
 */
#include "engine/jail.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/capability.h"
#include "base/landlock.h"

/* LuaJIT limits the depth of calls from Lua to C and back by its own stack. This is the size of C's stack that such a
 * depth can need. */
#define STACK_BYTES ((rlim_t)64 << 20)

static int close_others(int fd, struct err *err)
{
    /* A sanitizer reports on standard error. */
    unsigned lowest = JAIL_SANITIZED ? 3 : 0;

    if ((unsigned)fd > lowest && close_range(lowest, (unsigned)fd - 1, 0) < 0)
        return err_set_sys(err, errno, "close descriptors");
    if (close_range((unsigned)fd + 1, ~0U, 0) < 0)
        return err_set_sys(err, errno, "close descriptors");
    return 0;
}

static int limit_resources(size_t memory_bytes, struct err *err)
{
    const struct {
        int resource;
        rlim_t value;
        const char *name;
    } limits[] = {
        {RLIMIT_AS, memory_bytes && !JAIL_SANITIZED ? memory_bytes : RLIM_INFINITY, "RLIMIT_AS"},
        {RLIMIT_STACK, STACK_BYTES, "RLIMIT_STACK"},
        {RLIMIT_CORE, 0, "RLIMIT_CORE"},
        {RLIMIT_FSIZE, 0, "RLIMIT_FSIZE"},
        {RLIMIT_NPROC, 0, "RLIMIT_NPROC"},
        {RLIMIT_NOFILE, 1, "RLIMIT_NOFILE"}, /* poll() accepts no more descriptors than this; open ones stay open */
        {RLIMIT_MEMLOCK, 0, "RLIMIT_MEMLOCK"},
        {RLIMIT_MSGQUEUE, 0, "RLIMIT_MSGQUEUE"},
        {RLIMIT_SIGPENDING, 0, "RLIMIT_SIGPENDING"},
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)limits[i].resource, &limit) < 0)
            return err_set_sys(err, errno, "%s", limits[i].name);
        limit.rlim_max = limits[i].value < limit.rlim_max ? limits[i].value : limit.rlim_max;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit((__rlimit_resource_t)limits[i].resource, &limit) < 0)
            return err_set_sys(err, errno, "%s", limits[i].name);
    }
    return 0;
}

/* A ruleset that allows nothing: no file, no TCP port, no signal to other processes. Linux before 5.13 does not have
 * it, and it can be switched off. seccomp alone also denies all of this. */
static int deny_files(struct err *err)
{
    CLEANUP(close_fd) int ruleset = landlock_new();

    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : err_set_sys(err, errno, "landlock_create_ruleset");
    return landlock_enforce(ruleset) < 0 ? err_set_sys(err, errno, "landlock_restrict_self") : 0;
}

/* The filter, not loaded yet; NULL on failure. */
static scmp_filter_ctx filter_new(struct err *err)
{
    static const int allowed[] = {
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(poll),
        SCMP_SYS(ppoll),
        SCMP_SYS(restart_syscall),
        /* memory: the allocators, and machine code of LuaJIT */
        SCMP_SYS(brk),
        SCMP_SYS(mmap),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(mprotect),
        SCMP_SYS(futex),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        /* for abort(), so that it can be distinguished from a forbidden call */
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(getpid),
        SCMP_SYS(gettid),
    };
    /* What the allocators ask for. */
    static const int advices[] = {MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE};
    static const int sanitizer[] = {SCMP_SYS(sigaltstack), SCMP_SYS(sched_yield), SCMP_SYS(getrandom)};
    static const int sanitizer_advices[] = {MADV_NOHUGEPAGE, MADV_DONTDUMP};
    const struct scmp_arg_cmp to_itself = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)getpid()};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int failed = filter ? 0 : -ENOSYS; /* a kernel whose filter cannot end a process is too old */

    for (size_t i = 0; i < ARRAY_LEN(allowed) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < ARRAY_LEN(advices) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 1,
                                  SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)advices[i], 0));
    for (size_t i = 0; JAIL_SANITIZED && i < ARRAY_LEN(sanitizer_advices) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 1,
                                  SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)sanitizer_advices[i], 0));
    for (size_t i = 0; JAIL_SANITIZED && i < ARRAY_LEN(sanitizer) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, sanitizer[i], 0);
    if (!failed)
        failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &to_itself);
    if (!failed)
        return filter;
    if (filter)
        seccomp_release(filter);
    err_set_sys(err, -failed, "seccomp");
    return NULL;
}

static int filter_calls(struct err *err)
{
    scmp_filter_ctx filter = filter_new(err);
    int rc;

    if (!filter)
        return -1;
    rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc < 0 ? err_set_sys(err, -rc, "seccomp") : 0;
}

int jail_filter_write(int fd, struct err *err)
{
    scmp_filter_ctx filter = filter_new(err);
    int rc;

    if (!filter)
        return -1;
    rc = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    return rc < 0 ? err_set_sys(err, -rc, "seccomp") : 0;
}

int jail_enter(int fd, size_t memory_bytes, struct err *err)
{
    pid_t parent = getppid();

    if (close_others(fd, err) < 0)
        return -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_sys(err, errno, "prctl");
    if (getppid() != parent)
        return err_set(err, ERR_IO, "the parent is gone");
    if (capability_drop_all() < 0)
        return err_set_sys(err, errno, "give up capabilities");
    if (deny_files(err) < 0 || limit_resources(memory_bytes, err) < 0)
        return -1;
    return filter_calls(err);
}
