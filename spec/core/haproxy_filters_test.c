/* The two filters of system calls as the kernel sees them: programs in BPF, run here by an interpreter on calls by
 * number. So it is tested what the numbers of this machine's kind mean, also where a program of another kind is only
 * emulated. */
#include "haproxy_support.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "engine/jail.h"
#include "haproxy/confine_filter.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif

#define CALLS 1024U /* more numbers than any kernel has; none has a meaning beyond */
#define REFUSED (SECCOMP_RET_ERRNO | EACCES)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

static const char executable[] = "/usr/sbin/haproxy";

/* What the program answers to a call. Any step that is not one of libseccomp's is a failure. */
static uint32_t run(const struct buf *program, const struct seccomp_data *data)
{
    const struct sock_filter *code = (const struct sock_filter *)(const void *)program->data;
    size_t count = program->length / sizeof(*code);
    uint32_t a = 0, word;

    for (size_t at = 0; at < count; at++) {
        const struct sock_filter *step = &code[at];
        switch (step->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(step->k + sizeof(word) <= sizeof(*data));
            memcpy(&word, (const char *)data + step->k, sizeof(word));
            a = word;
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= step->k;
            break;
        case BPF_JMP | BPF_JA:
            at += step->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += a == step->k ? step->jt : step->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            at += a >= step->k ? step->jt : step->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            at += a > step->k ? step->jt : step->jf;
            break;
        case BPF_RET | BPF_K:
            return step->k;
        default:
            fail_msg("step %zu has the code %u", at, step->code);
        }
    }
    fail_msg("the program has no end");
    return 0;
}

static uint32_t ask(const struct buf *program, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    const struct seccomp_data data = {.nr = (int)number, .arch = OWN_ARCH, .args = {a0, a1, a2, a3}};

    return run(program, &data);
}

static void check_program(struct buf *program)
{
    struct err err;
    assert_int_equal(confine_filter_build(executable, program, &err), 0);
}

static void renderer_program(struct buf *program)
{
    struct err err;
    CLEANUP(close_fd) int fd = memfd_create("filter", MFD_CLOEXEC);
    assert_int_equal(jail_filter_write(fd, &err), 0);
    off_t size = lseek(fd, 0, SEEK_END);
    char *room = buf_room(program, (size_t)size, &err);
    assert_int_equal(pread(fd, room, (size_t)size, 0), size);
    buf_grew(program, (size_t)size);
}

static bool is_among(long number, const long *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == number)
            return true;
    return false;
}

/* Every number that is not in the list ends the process. */
static void test_renderer_has_these_calls_only(void **state)
{
    static const long allowed[] = {
        SYS_read,
        SYS_write,
        SYS_ppoll,
        SYS_restart_syscall,
        SYS_brk,
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_futex,
        SYS_clock_gettime,
        SYS_exit,
        SYS_exit_group,
        SYS_rt_sigprocmask,
        SYS_rt_sigaction,
        SYS_rt_sigreturn,
        SYS_getpid,
        SYS_gettid,
#ifdef SYS_poll
        SYS_poll,
#endif
#if JAIL_SANITIZED
        SYS_sigaltstack,
        SYS_sched_yield,
        SYS_getrandom,
#endif
    };
    CLEANUP(buf_done) struct buf program = {0};
    (void)state;

    renderer_program(&program);
    for (long number = 0; number < (long)CALLS; number++) {
        uint32_t wanted = is_among(number, allowed, ARRAY_LEN(allowed)) ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
        uint32_t found = ask(&program, number, 0, 0, 0, 0);
        if (found != wanted)
            fail_msg("call %ld: %#x, not %#x", number, found, wanted);
    }
    assert_int_equal(ask(&program, SYS_madvise, 0, 0, MADV_DONTNEED, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(&program, SYS_madvise, 0, 0, MADV_REMOVE, 0), SECCOMP_RET_KILL_PROCESS);
    assert_int_equal(ask(&program, SYS_tgkill, (uint64_t)getpid(), 0, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ask(&program, SYS_tgkill, (uint64_t)getpid() + 1, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

/* What the C library and HAProxy need to begin with, by the numbers that exist here. */
static void test_check_can_begin(void **state)
{
    const struct {
        long number;
        uint64_t a0, a1, a2, a3;
    } calls[] = {
        {SYS_execve, (uint64_t)(uintptr_t)executable, 0, 0, 0},
        {SYS_openat, (uint64_t)AT_FDCWD, 0, O_RDONLY | O_CLOEXEC, 0},
        {SYS_openat, (uint64_t)AT_FDCWD, 0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0},
        {SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE},
        {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS},
        {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS},
        {SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0},
        {SYS_prlimit64, 0, 0, 0, 0},
        {SYS_fcntl, 3, F_SETFD, FD_CLOEXEC, 0},
        {SYS_ioctl, 3, 0x5401 /* TCGETS */, 0, 0},
        {SYS_socket, AF_INET6, SOCK_STREAM, 0, 0},
        {SYS_read, 0, 0, 0, 0},
        {SYS_write, 0, 0, 0, 0},
        {SYS_writev, 0, 0, 0, 0},
        {SYS_close, 0, 0, 0, 0},
        {SYS_newfstatat, 0, 0, 0, 0},
        {SYS_faccessat, 0, 0, 0, 0},
        {SYS_readlinkat, 0, 0, 0, 0},
        {SYS_getdents64, 0, 0, 0, 0},
        {SYS_brk, 0, 0, 0, 0},
        {SYS_munmap, 0, 0, 0, 0},
        {SYS_mprotect, 0, 0, 0, 0},
        {SYS_futex, 0, 0, 0, 0},
        {SYS_set_robust_list, 0, 0, 0, 0},
        {SYS_set_tid_address, 0, 0, 0, 0},
        {SYS_rseq, 0, 0, 0, 0},
        {SYS_rt_sigaction, 0, 0, 0, 0},
        {SYS_rt_sigprocmask, 0, 0, 0, 0},
        {SYS_rt_sigreturn, 0, 0, 0, 0},
        {SYS_getrandom, 0, 0, 0, 0},
        {SYS_exit_group, 0, 0, 0, 0},
        {SYS_exit, 0, 0, 0, 0},
        {SYS_dup3, 0, 0, 0, 0},
        {SYS_pipe2, 0, 0, 0, 0},
        {SYS_ppoll, 0, 0, 0, 0},
        {SYS_pselect6, 0, 0, 0, 0},
        {SYS_epoll_create1, 0, 0, 0, 0},
        {SYS_epoll_ctl, 0, 0, 0, 0},
        {SYS_epoll_pwait, 0, 0, 0, 0},
        {SYS_eventfd2, 0, 0, 0, 0},
        {SYS_sched_getaffinity, 0, 0, 0, 0},
        {SYS_uname, 0, 0, 0, 0},
        {SYS_clock_gettime, 0, 0, 0, 0},
        {SYS_clock_nanosleep, 0, 0, 0, 0},
    };
    CLEANUP(buf_done) struct buf program = {0};
    (void)state;

    check_program(&program);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (ask(&program, calls[i].number, calls[i].a0, calls[i].a1, calls[i].a2, calls[i].a3) != SECCOMP_RET_ALLOW)
            fail_msg("call %ld (no. %zu) is not allowed", calls[i].number, i);
}

/* What reaches others or changes files, in every form that this kind of machine has. */
static void test_check_reaches_nobody(void **state)
{
    const struct {
        long number;
        uint64_t a0, a1, a2, a3;
        uint32_t wanted;
    } calls[] = {
        {SYS_execve, (uint64_t)(uintptr_t)executable + 1, 0, 0, 0, ABSENT},
        {SYS_execveat, 0, 0, 0, 0, REFUSED},
        {SYS_clone, SIGCHLD, 0, 0, 0, REFUSED},
        {SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, REFUSED},
        {SYS_clone3, 0, 0, 0, 0, ABSENT},
        {SYS_openat, (uint64_t)AT_FDCWD, 0, O_WRONLY | O_CREAT, 0, REFUSED},
        {SYS_openat, (uint64_t)AT_FDCWD, 0, O_WRONLY | O_TRUNC, 0, ABSENT},
        {SYS_openat, (uint64_t)AT_FDCWD, 0, O_RDWR | O_TMPFILE, 0, ABSENT},
        {SYS_openat2, (uint64_t)AT_FDCWD, 0, 0, 0, ABSENT},
        {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ABSENT},
        {SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, ABSENT},
        {SYS_prlimit64, 1, 0, 0, 0, ABSENT},
        {SYS_fcntl, 3, F_SETOWN, 0, 0, ABSENT},
        {SYS_fcntl, 3, F_SETLK, 0, 0, ABSENT},
        {SYS_ioctl, 3, 0x5412 /* TIOCSTI */, 0, 0, ABSENT},
        {SYS_socket, AF_NETLINK, 0, 0, 0, ABSENT},
        {SYS_socket, AF_PACKET, 0, 0, 0, ABSENT},
        {SYS_socketpair, AF_UNIX, 0, 0, 0, ABSENT},
        {SYS_connect, 0, 0, 0, 0, REFUSED},
        {SYS_bind, 0, 0, 0, 0, REFUSED},
        {SYS_sendto, 0, 0, 0, 0, REFUSED},
        {SYS_sendmsg, 0, 0, 0, 0, REFUSED},
        {SYS_kill, 0, 0, 0, 0, REFUSED},
        {SYS_tgkill, 0, 0, 0, 0, REFUSED},
        {SYS_ptrace, 0, 0, 0, 0, REFUSED},
        {SYS_process_vm_writev, 0, 0, 0, 0, REFUSED},
        {SYS_unlinkat, 0, 0, 0, 0, REFUSED},
        {SYS_mkdirat, 0, 0, 0, 0, REFUSED},
        {SYS_renameat2, 0, 0, 0, 0, REFUSED},
        {SYS_linkat, 0, 0, 0, 0, REFUSED},
        {SYS_symlinkat, 0, 0, 0, 0, REFUSED},
        {SYS_mknodat, 0, 0, 0, 0, REFUSED},
        {SYS_fchmod, 0, 0, 0, 0, REFUSED},
        {SYS_fchmodat, 0, 0, 0, 0, REFUSED},
        {SYS_fchownat, 0, 0, 0, 0, REFUSED},
        {SYS_utimensat, 0, 0, 0, 0, REFUSED},
        {SYS_ftruncate, 0, 0, 0, 0, REFUSED},
        {SYS_io_uring_setup, 0, 0, 0, 0, REFUSED},
        {SYS_bpf, 0, 0, 0, 0, REFUSED},
        {SYS_unshare, 0, 0, 0, 0, ABSENT},
        {SYS_setns, 0, 0, 0, 0, ABSENT},
        {SYS_seccomp, 0, 0, 0, 0, ABSENT},
        {SYS_prctl, 1 /* PR_SET_PDEATHSIG */, 0, 0, 0, ABSENT},
        {SYS_setuid, 0, 0, 0, 0, ABSENT},
        {SYS_memfd_create, 0, 0, 0, 0, ABSENT},
    };
    CLEANUP(buf_done) struct buf program = {0};
    (void)state;

    check_program(&program);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint32_t found = ask(&program, calls[i].number, calls[i].a0, calls[i].a1, calls[i].a2, calls[i].a3);
        if (found != calls[i].wanted)
            fail_msg("call %ld (no. %zu): %#x, not %#x", calls[i].number, i, found, calls[i].wanted);
    }
}

/* The numbers of another kind of machine that the same kernel serves mean other calls. */
static void test_other_kinds_of_calls_end_the_process(void **state)
{
    struct buf programs[2] = {{0}, {0}};
    (void)state;

    check_program(&programs[0]);
    renderer_program(&programs[1]);
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        for (unsigned number = 0; number < CALLS; number++) {
            const struct seccomp_data other = {.nr = (int)number, .arch = OTHER_ARCH};
            uint32_t answer = run(&programs[i], &other);
            assert_true(answer == SECCOMP_RET_KILL_PROCESS || answer == SECCOMP_RET_KILL_THREAD);
#if defined(__x86_64__)
            const struct seccomp_data x32 = {.nr = (int)(0x40000000U + number), .arch = OWN_ARCH};
            assert_int_not_equal(run(&programs[i], &x32), SECCOMP_RET_ALLOW);
#endif
        }
    buf_done(&programs[0]);
    buf_done(&programs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renderer_has_these_calls_only),
        cmocka_unit_test(test_check_can_begin),
        cmocka_unit_test(test_check_reaches_nobody),
        cmocka_unit_test(test_other_kinds_of_calls_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
