/* A list of allowed system calls: reading files, memory, threads, signals within the process, unconnected sockets
 * (HAProxy opens them to find out what the kernel supports), and information about the process. Calls that programs try
 * but do not need, and calls that would affect other processes, return EACCES, so that messages say "permission
 * denied". All other calls return ENOSYS, as on a kernel without them. The C library then uses an older call, even if
 * it is newer than this list.
 */
#include "haproxy/confine_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Names that older or newer headers may lack. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define O_TMPFILE_BIT 020000000 /* without O_DIRECTORY */

#define LOW32 UINT64_C(0xffffffff)

/* Allowed with any arguments. */
static const int allowed[] = {
    /* reading */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getdents),
    SCMP_SYS(getdents64),
    SCMP_SYS(getcwd),
    SCMP_SYS(chdir),
    SCMP_SYS(fchdir),
    SCMP_SYS(umask),
    SCMP_SYS(fadvise64),
    /* the files that are open for writing are the output and the process's own pipes */
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(mincore),
    SCMP_SYS(membarrier),
    /* threads and signals within the process */
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(rseq),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(getcpu),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* time and random numbers */
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(times),
    SCMP_SYS(getrandom),
    /* identity and environment of the process */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getpgrp),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getresuid),
    SCMP_SYS(getresgid),
    SCMP_SYS(getgroups),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit),
    SCMP_SYS(setrlimit),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    /* sockets without a connection */
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(shutdown),
};

static const int forbidden[] = {
    /* the network */
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    /* other processes */
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(execveat),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(setpriority),
    SCMP_SYS(ioprio_set),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setattr),
    SCMP_SYS(sched_setparam),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(setpgid),
    /* files */
    SCMP_SYS(creat),
    SCMP_SYS(truncate),
    SCMP_SYS(ftruncate),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(utimensat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(flock),
    /* the system */
    SCMP_SYS(mount),
    SCMP_SYS(keyctl),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
};

/* A call that is allowed when some bits of one argument, selected by the mask, have a value. */
struct conditional {
    int call;
    unsigned argument;
    uint64_t mask, value;
};

/* Without F_SETOWN and similar operations, which make the kernel send signals to others; without locks. */
static const int fcntl_commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL};
static const unsigned long ioctl_commands[] = {FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS};
/* Without PR_SET_PDEATHSIG, which would let the process outlive its parent, and without PR_SET_DUMPABLE. */
static const int prctl_options[] = {PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_GET_DUMPABLE, PR_SET_VMA};
static const int socket_families[] = {AF_UNIX, AF_INET, AF_INET6};
/* Opening a file with the creation or truncation of it. HAProxy opens /dev/null for writing. Another file that was
 * opened in this way cannot be written: no permitted call maps it shared for writing, and its size is limited to zero
 * (RLIMIT_FSIZE). Where the kernel has Landlock, it refuses to open the file. */
#define OPEN_CHANGES ((uint64_t)(O_CREAT | O_TRUNC | O_TMPFILE_BIT))
#define MAP_KINDS ((uint64_t)(MAP_SHARED | MAP_PRIVATE))

static int add(scmp_filter_ctx filter, struct conditional c)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, c.call, 1,
                            SCMP_CMP(c.argument, SCMP_CMP_MASKED_EQ, (scmp_datum_t)c.mask, (scmp_datum_t)c.value));
}

/* 0, or -errno. */
static int rules_add(scmp_filter_ctx filter, const char *executable)
{
    const struct conditional conditionals[] = {
        {SCMP_SYS(open), 1, OPEN_CHANGES, 0},
        {SCMP_SYS(openat), 2, OPEN_CHANGES, 0},
        {SCMP_SYS(mmap), 3, MAP_KINDS, MAP_PRIVATE},
        {SCMP_SYS(mmap), 3, MAP_ANONYMOUS, MAP_ANONYMOUS},
        {SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD},
        {SCMP_SYS(prlimit64), 0, LOW32, 0}, /* for the process itself */
        {SCMP_SYS(execve), 0, UINT64_MAX, (uint64_t)(uintptr_t)executable},
    };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(allowed) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < ARRAY_LEN(forbidden) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), forbidden[i], 0);
    for (size_t i = 0; i < ARRAY_LEN(conditionals) && rc == 0; i++)
        rc = add(filter, conditionals[i]);
    for (size_t i = 0; i < ARRAY_LEN(fcntl_commands) && rc == 0; i++)
        rc = add(filter, (struct conditional){SCMP_SYS(fcntl), 1, LOW32, (uint64_t)fcntl_commands[i]});
    for (size_t i = 0; i < ARRAY_LEN(ioctl_commands) && rc == 0; i++)
        rc = add(filter, (struct conditional){SCMP_SYS(ioctl), 1, LOW32, ioctl_commands[i]});
    for (size_t i = 0; i < ARRAY_LEN(prctl_options) && rc == 0; i++)
        rc = add(filter, (struct conditional){SCMP_SYS(prctl), 0, LOW32, (uint64_t)prctl_options[i]});
    for (size_t i = 0; i < ARRAY_LEN(socket_families) && rc == 0; i++)
        rc = add(filter, (struct conditional){SCMP_SYS(socket), 0, LOW32, (uint64_t)socket_families[i]});
    if (rc == 0) /* a file to be made, and a process: told as what they are */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1,
                              SCMP_CMP(2, SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

int confine_filter_build(const char *executable, struct buf *out, struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return err_set(err, ERR_INTERNAL, "seccomp_init failed");
    int rc = rules_add(filter, executable);
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
