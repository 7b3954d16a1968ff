/* Ready means: the master answers and lists a worker, and this worker answers through the master. A worker that is
 * still loading a large configuration answers only afterwards.
 *
 * An HAProxy that does not answer is found by the kernel's information about listening processes, or by the pid in
 * haproxy.pid.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "haproxy/disk.h"
#include "haproxy/process_internal.h"
#include "haproxy/socket_path.h"

#define PID_FILE "haproxy.pid"
#define ASK_NS NS_PER_S /* one question while adopting or starting */

/* The pid is stored beside the configuration, because before 3.1 no process listens on the master's socket while the
 * master loads a configuration. */
void process_pid_keep(const struct process *p)
{
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(p->directory, &at, NULL) < 0)
        return;
    CLEANUP(close_fd) int fd = openat(at, PID_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || dprintf(fd, "%d\n", (int)p->pid) < 0)
        (void)unlinkat(at, PID_FILE, 0); /* no file is better than a wrong one */
}

/* The process with that pid, if it still works in this directory; 0: none. */
static pid_t pid_kept(const struct process *p)
{
    CLEANUP(close_fd) int at = -1;
    if (disk_directory_open(p->directory, &at, NULL) < 0)
        return 0;
    CLEANUP(close_fd) int fd = openat(at, PID_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[16] = "", link[32];
    struct stat ours, its;
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return 0;
    long pid = strtol(text, NULL, 10);
    snprintf(link, sizeof(link), "/proc/%ld/cwd", pid);
    bool same = pid > 1 && stat(link, &its) == 0 && fstat(at, &ours) == 0 && its.st_dev == ours.st_dev &&
                its.st_ino == ours.st_ino;
    return same ? (pid_t)pid : 0;
}

/* The process that listens on the master socket, from the kernel; 0: none. For a master that does not answer. */
static pid_t listener_pid(const struct process *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    struct socket_path path;
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || socket_path_open(p->master_socket, &path, NULL) < 0)
        return 0;
    memcpy(address.sun_path, path.path, sizeof(address.sun_path));
    bool known = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
    socket_path_close(&path);
    return known ? peer.pid : 0;
}

pid_t process_find(const struct process *p)
{
    pid_t pid = listener_pid(p);

    return pid ? pid : pid_kept(p);
}

static void on_worker_answer(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct process *p = ctx;

    p->ask_worker = NULL;
    p->told(p, !err && count == 1 && strstr(answers[0].text, "\nPid: ") ? PROCESS_TOLD_WORKER : PROCESS_TOLD_NOTHING);
}

static void on_master_answer(void *ctx, const struct err *err, const struct master_state *state)
{
    struct process *p = ctx;

    p->ask = NULL;
    if (err && p->state == PROCESS_ADOPTING && err->kind == ERR_SYS && pid_kept(p) == 0) {
        p->told(p, PROCESS_TOLD_NOBODY);
        return;
    }
    if (err || state->workers.length == 0 || (p->state == PROCESS_STARTING && state->master.pid != p->pid)) {
        p->told(p, PROCESS_TOLD_NOTHING);
        return;
    }
    master_state_done(&p->answer);
    p->answer = (struct master_state){.master = state->master, .last_reload_failed = state->last_reload_failed};
    for (size_t i = 0; i < state->workers.length; i++)
        vec_push(&p->answer.workers, state->workers.items[i]);
    for (size_t i = 0; i < state->old_workers.length; i++)
        vec_push(&p->answer.old_workers, state->old_workers.items[i]);
    p->told(p, PROCESS_TOLD_MASTER);
}

void process_ask_worker(struct process *p)
{
    char command[64];
    const char *commands[] = {command};
    int64_t left = p->start_deadline_ns - (clock_now_ns() - p->since_ns);

    snprintf(command, sizeof(command), "@!%d show info", p->answer.workers.items[0].pid);
    p->ask_worker = runtime_run(p->loop, p->master_socket, commands, 1, left > ASK_NS ? left : ASK_NS, 0,
                                on_worker_answer, p);
}

void process_ask(struct process *p, void (*told)(struct process *p, enum process_told told))
{
    assert(!p->ask && !p->ask_worker);
    p->told = told;
    p->ask = master_show_proc(p->loop, p->master_socket, ASK_NS, on_master_answer, p);
}

void process_ask_cancel(struct process *p)
{
    if (p->ask)
        master_cancel(p->ask);
    if (p->ask_worker)
        runtime_cancel(p->ask_worker);
    p->ask = NULL;
    p->ask_worker = NULL;
}
