/* Everything here happens once, before the loop runs. */
#include "controller/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"

#define PROBE_NS (5 * NS_PER_S)

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int place_find_program(const char *name, char **ret_path, struct err *err)
{
    const char *path = getenv("PATH");
    char resolved[PATH_MAX];

    if (strchr(name, '/') != NULL) {
        if (realpath(name, resolved) == NULL)
            return err_set_sys(err, errno, "%s (give another --haproxy-binary)", name);
        *ret_path = xstrdup(resolved);
        return 0;
    }
    for (const char *at = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"; *at != '\0';) {
        size_t length = strcspn(at, ":");
        CLEANUP(free_ptr) char *candidate = xasprintf("%.*s/%s", (int)length, at, name);
        if (is_program(candidate) && realpath(candidate, resolved) != NULL) {
            *ret_path = xstrdup(resolved);
            return 0;
        }
        at += length + (at[length] == ':');
    }
    /* a usual place that is not in the PATH of ordinary users */
    CLEANUP(free_ptr) char *usual = xasprintf("/usr/sbin/%s", name);
    if (is_program(usual)) {
        *ret_path = STEAL(usual);
        return 0;
    }
    return err_set(err, ERR_NOTFOUND,
                   "there is no program \"%s\": install HAProxy 2.6 or newer, or give --haproxy-binary", name);
}

/* Reads until the end of the file; false when the time is over. */
static bool read_all(int fd, char *text, size_t size)
{
    int64_t end = clock_now_ns() + PROBE_NS;
    size_t length = 0;

    text[0] = '\0';
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left = end - clock_now_ns();
        if (left <= 0)
            return false;
        if (poll(&ready, 1, (int)(left / NS_PER_MS) + 1) <= 0)
            continue;
        char chunk[512];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        size_t room = size - 1 - length, taken = (size_t)n < room ? (size_t)n : room;
        memcpy(text + length, chunk, taken);
        length += taken;
        text[length] = '\0';
    }
}

int place_probe(const char *program, struct haproxy_caps *ret_caps, struct err *err)
{
    posix_spawn_file_actions_t actions;
    char *const argv[] = {(char *)(uintptr_t)program, (char[]){"-vv"}, NULL};
    char text[32768];
    int fds[2], status = 0;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_sys(err, errno, "pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    int failed = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    bool ended = failed != 0 || read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    if (!ended)
        kill(pid, SIGKILL);
    if (failed == 0)
        (void)waitpid(pid, &status, 0);
    if (!ended)
        return err_set(err, ERR_TIMEOUT, "%s -vv does not end: is it HAProxy? (give another --haproxy-binary)",
                       program);
    if (failed != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
        return err_set_sys(err, failed ? failed : ENOENT, "run %s -vv (give another --haproxy-binary)", program);
    if (haproxy_version_parse(text, ret_caps, err) < 0)
        return err_wrap(err, "%s -vv (give another --haproxy-binary)", program);
    return 0;
}

/* The content of this directory is trusted: a configuration to load, sockets of an HAProxy to adopt. So only this user
 * and root may be able to write it. A volume that root has made for the containers of a pod may be writable for all of
 * them. */
static int check_owner(const char *path, const char *resolved, struct err *err)
{
    struct stat link, dir;

    if (lstat(path, &link) < 0 || stat(resolved, &dir) < 0)
        return err_set_sys(err, errno, "%s", path);
    if ((link.st_uid != 0 && link.st_uid != geteuid()) || (dir.st_uid != 0 && dir.st_uid != geteuid()))
        return err_set(
            err, ERR_INVALID,
            "%s belongs to another user (%u), who could put a configuration there (choose another --haproxy-dir)", path,
            (unsigned)(dir.st_uid != 0 && dir.st_uid != geteuid() ? dir.st_uid : link.st_uid));
    if ((dir.st_mode & S_IWOTH) && dir.st_uid != 0)
        return err_set(err, ERR_INVALID, "%s may be written by everybody (chmod o-w, or choose another --haproxy-dir)",
                       path);
    return 0;
}

/* Like realpath(), for a folder that may not exist yet. */
int place_make_directory(const char *path, char **ret_path, struct err *err)
{
    char resolved[PATH_MAX];

    for (const char *slash = path; (slash = strchr(slash + 1, '/')) != NULL;) {
        CLEANUP(free_ptr) char *parent = xmemdup0(path, (size_t)(slash - path));
        (void)!mkdir(parent, 0755);
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_sys(err, errno, "make %s (choose another --haproxy-dir)", path);
    if (realpath(path, resolved) == NULL)
        return err_set_sys(err, errno, "%s", path);
    if (check_owner(path, resolved, err) < 0)
        return -1;
    *ret_path = xstrdup(resolved);
    return 0;
}
