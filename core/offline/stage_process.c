/* HAProxy runs in the foreground and is killed at the end. */
#include "offline/stage_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Between fork and exec: only what a signal handler may do. */
static void become(const char *folder, char *const *arguments, char *const *environment, int log_fd, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || setsid() < 0 || chdir(folder) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(127);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    execve(arguments[0], arguments, environment);
    _exit(127);
}

int stage_process_start(const char *binary, const char *folder, const char *config, const char *log, pid_t *ret_pid,
                        struct err *err)
{
    CLEANUP(free_ptr) char *directory = xasprintf("HAPTIC_DIR=%s", folder);
    CLEANUP(free_ptr) char *log_path = xasprintf("%s/%s", folder, log);
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *const environment[] = {path, directory, NULL};
    char *arguments[] = {(char *)(uintptr_t)binary, "-db", "-dr", "-f", (char *)(uintptr_t)config, NULL};
    CLEANUP(close_fd) int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t parent = getpid();

    if (log_fd < 0)
        return err_set_sys(err, errno, "%s", log_path);
    *ret_pid = fork();
    if (*ret_pid == 0)
        become(folder, arguments, environment, log_fd, parent);
    if (*ret_pid < 0) {
        *ret_pid = 0;
        return err_set_sys(err, errno, "starting %s", binary);
    }
    return 0;
}

void stage_process_end(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    *pid = 0;
}

bool stage_process_answers(const char *socket_path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(socket_path) >= sizeof(to.sun_path))
        return false;
    memcpy(to.sun_path, socket_path, strlen(socket_path));
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}
