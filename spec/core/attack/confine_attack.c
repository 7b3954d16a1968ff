/* What a program in the jail of the check may try, one line of output each: "NAME 0" when it succeeded, else the
 * error's number. Run by haproxy_confine_test in the jail and, to see that each attempt is a real one, outside of it.
 *
 *     confine_attack FOLDER     FOLDER/victim is a file, FOLDER/secret another
 *
 * Each attempt on the parent leaves it as it was, each on the victim too, but for the last one, which removes it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *folder;
static pid_t parent;

static const char *in_folder(const char *name)
{
    static char paths[2][4096];
    static int turn;
    char *path = paths[turn ^= 1];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static const char *of_parent(const char *name)
{
    static char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)parent, name);
    return path;
}

static long do_kill(void)
{
    return kill(parent, 0);
}
static long do_tkill(void)
{
    return syscall(SYS_tkill, parent, 0);
}
static long do_tgkill(void)
{
    return syscall(SYS_tgkill, parent, parent, 0);
}
static long do_kill_all(void)
{
    return kill(-1, 0);
}

static long do_sigqueue(void)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    return syscall(SYS_rt_sigqueueinfo, parent, 0, &info);
}

static long do_tgsigqueue(void)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    return syscall(SYS_rt_tgsigqueueinfo, parent, parent, 0, &info);
}

static long do_pidfd_open(void)
{
    return syscall(SYS_pidfd_open, parent, 0);
}

static long do_pidfd_signal(void)
{
    int fd = (int)syscall(SYS_pidfd_open, parent, 0);
    /* A folder of /proc serves as well. */
    if (fd < 0)
        fd = open(of_parent(""), O_RDONLY | O_DIRECTORY);
    return fd < 0 ? -1 : syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
}

static long do_setown(void)
{
    return fcntl(socket(AF_INET, SOCK_DGRAM, 0), F_SETOWN, parent);
}

static long do_setown_ioctl(void)
{
    int pid = parent;
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), FIOSETOWN, &pid);
}

static long do_prlimit(void)
{
    struct rlimit now;
    return prlimit(parent, RLIMIT_CORE, NULL, &now) < 0 ? -1 : prlimit(parent, RLIMIT_CORE, &now, NULL);
}

static long do_setpriority(void)
{
    return setpriority(PRIO_PROCESS, (id_t)parent, getpriority(PRIO_PROCESS, (id_t)parent));
}

static long do_affinity(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) < 0 ? -1 : sched_setaffinity(parent, sizeof(set), &set);
}

static long do_scheduler(void)
{
    return sched_setscheduler(parent, SCHED_OTHER, &(struct sched_param){0});
}
static long do_ioprio(void)
{
    return syscall(SYS_ioprio_set, 1, parent, 2 << 13 | 4);
}
static long do_attach(void)
{
    return ptrace(PTRACE_SEIZE, parent, NULL, NULL);
}

static long do_read_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)&parent, 1};
    long n = process_vm_readv(parent, &here, 1, &there, 1, 0);
    return n < 0 && errno == EFAULT ? 0 : n; /* let in, nothing there */
}

static long read_file(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY);
    return fd < 0 ? -1 : read(fd, &byte, 1);
}

static long do_read_environ(void)
{
    return read_file(of_parent("environ"));
}
static long do_read_cmdline(void)
{
    return read_file(of_parent("cmdline"));
}
static long do_read_secret(void)
{
    return read_file(in_folder("secret"));
}
static long do_list(void)
{
    return open(folder, O_RDONLY | O_DIRECTORY);
}

static long do_truncate(void)
{
    return truncate(in_folder("victim"), 6);
}
static long do_open_truncate(void)
{
    return open(in_folder("fresh"), O_RDONLY | O_CREAT | O_TRUNC, 0600);
}
static long do_open_create(void)
{
    return open(in_folder("fresh"), O_WRONLY | O_CREAT, 0600);
}
static long do_open_nameless(void)
{
    return open(folder, O_RDWR | O_TMPFILE, 0600);
}
static long do_create_here(void)
{
    return open("files/fresh", O_WRONLY | O_CREAT, 0600);
}

static long do_write(void)
{
    int fd = open(in_folder("victim"), O_RDWR);
    signal(SIGXFSZ, SIG_IGN);
    return fd < 0 ? -1 : write(fd, "victim", 6);
}

static long do_write_here(void)
{
    int fd = open("haproxy.cfg", O_RDWR);
    return fd < 0 ? -1 : write(fd, "x", 1);
}

static long do_write_mapped(void)
{
    int fd = open(in_folder("victim"), O_RDWR);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? -1 : 0;
}

static long do_write_mapped_validated(void)
{
    int fd = open(in_folder("victim"), O_RDWR);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, fd, 0);
    return at == MAP_FAILED ? -1 : 0;
}

static long do_chmod(void)
{
    return chmod(in_folder("victim"), 0600);
}

static long do_fchmod(void)
{
    int fd = open(in_folder("victim"), O_RDONLY);
    return fd < 0 ? -1 : fchmod(fd, 0600);
}

static long do_chown(void)
{
    return chown(in_folder("victim"), getuid(), (gid_t)-1);
}
static long do_setxattr(void)
{
    return setxattr(in_folder("victim"), "user.haptic", "x", 1, 0);
}
static long do_utimes(void)
{
    return utimensat(AT_FDCWD, in_folder("victim"), NULL, 0);
}
static long do_lock(void)
{
    return fcntl(open(in_folder("victim"), O_RDONLY), F_SETLK, &(struct flock){.l_type = F_RDLCK});
}
static long do_link(void)
{
    return link(in_folder("victim"), in_folder("linked"));
}
static long do_symlink(void)
{
    return symlink("victim", in_folder("symbolic"));
}
static long do_mkdir(void)
{
    return mkdir(in_folder("made"), 0700);
}
static long do_mkfifo(void)
{
    return mkfifo(in_folder("fifo"), 0600);
}

static long do_rename(void)
{
    const char *here = in_folder("victim"), *there = in_folder("renamed");
    return rename(here, there) < 0 ? -1 : rename(there, here);
}

static long do_unlink(void)
{
    return unlink(in_folder("victim"));
}

static long do_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}

static long do_spawn(void)
{
    FILE *p = popen("true", "r"); /* vfork or clone3 */
    return p && pclose(p) == 0 ? 0 : (errno = errno ? errno : EACCES, -1);
}

/* An exec that fails since there is nothing at the path was let through. */
static long do_exec(void)
{
    return syscall(SYS_execve, "/nonexistent", NULL, NULL) < 0 && errno == ENOENT ? 0 : -1;
}

static long do_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static long do_send(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
}

static long do_bind(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to));
}

static long do_bind_abstract(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "\0haptic-attack"};
    return bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&to, sizeof(to));
}

static long do_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long do_outlive(void)
{
    return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}
static long do_shm(void)
{
    return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
}
static long do_msg(void)
{
    return msgget(IPC_PRIVATE, IPC_CREAT | 0600);
}
static long do_keys(void)
{
    return syscall(SYS_add_key, "user", "haptic", "x", 1, -2 /* of the process */);
}

static long do_io_uring(void)
{
    struct io_uring_params params = {0};
    return syscall(SYS_io_uring_setup, 4, &params);
}

static long do_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}
static long do_user(void)
{
    return setuid(getuid());
}

static const struct attempt {
    const char *name;
    long (*attempt)(void);
} attempts[] = {
    {"kill", do_kill},
    {"tkill", do_tkill},
    {"tgkill", do_tgkill},
    {"kill_all", do_kill_all},
    {"rt_sigqueueinfo", do_sigqueue},
    {"rt_tgsigqueueinfo", do_tgsigqueue},
    {"pidfd_open", do_pidfd_open},
    {"pidfd_send_signal", do_pidfd_signal},
    {"F_SETOWN", do_setown},
    {"FIOSETOWN", do_setown_ioctl},
    {"prlimit", do_prlimit},
    {"setpriority", do_setpriority},
    {"sched_setaffinity", do_affinity},
    {"sched_setscheduler", do_scheduler},
    {"ioprio_set", do_ioprio},
    {"process_vm_readv", do_read_memory},
    {"read_environ", do_read_environ},
    {"read_cmdline", do_read_cmdline},
    {"read_secret", do_read_secret},
    {"list", do_list},
    {"truncate", do_truncate},
    {"open_truncate", do_open_truncate},
    {"open_create", do_open_create},
    {"open_nameless", do_open_nameless},
    {"create_here", do_create_here},
    {"write", do_write},
    {"write_here", do_write_here},
    {"write_mapped", do_write_mapped},
    {"write_mapped_validated", do_write_mapped_validated},
    {"chmod", do_chmod},
    {"fchmod", do_fchmod},
    {"chown", do_chown},
    {"setxattr", do_setxattr},
    {"utimes", do_utimes},
    {"lock", do_lock},
    {"link", do_link},
    {"symlink", do_symlink},
    {"mkdir", do_mkdir},
    {"mkfifo", do_mkfifo},
    {"rename", do_rename},
    {"fork", do_fork},
    {"spawn", do_spawn},
    {"exec", do_exec},
    {"connect", do_connect},
    {"send", do_send},
    {"bind", do_bind},
    {"bind_abstract", do_bind_abstract},
    {"netlink", do_netlink},
    {"outlive", do_outlive},
    {"shmget", do_shm},
    {"msgget", do_msg},
    {"add_key", do_keys},
    {"io_uring", do_io_uring},
    {"setuid", do_user},
    {"ptrace", do_attach},
    {"namespace", do_namespace},
    {"unlink", do_unlink},
};

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    folder = argv[1];
    parent = getppid();
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        errno = 0;
        long result = attempts[i].attempt();
        printf("%s %d\n", attempts[i].name, result >= 0 ? 0 : errno ? errno : -1);
        fflush(stdout);
    }
    printf("end %d\n", (int)geteuid());
    return 0;
}
