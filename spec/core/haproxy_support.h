/* haproxy_support.h — what the tests of core/haproxy share: a loop with a time limit, temporary directories, real
 * HAProxy processes.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_HAPROXY_SUPPORT_H
#define SPEC_CORE_HAPROXY_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/vec.h"

static UNUSED const char *const haproxy_series[] = {"2.6", "3.0", "3.2", "3.4"};

/* The executable of a series: HAPROXY_2_6=… in the environment, else what tools/testenv has cached, else the system's
 * own when it is of that series. NULL when there is none: the test is skipped then. Free it. */
static UNUSED char *haproxy_binary(const char *series)
{
    char name[32];
    snprintf(name, sizeof(name), "HAPROXY_%c_%c", series[0], series[2]);
    const char *set = getenv(name);
    if (set && access(set, X_OK) == 0)
        return xstrdup(set);
    const char *home = getenv("HOME"), *cache = getenv("HAPTIC_TOOLS_CACHE");
    CLEANUP(free_ptr) char *root = cache ? xstrdup(cache) : xasprintf("%s/.cache/haptic-tools", home ? home : "");
    char *path = xasprintf("%s/haproxy-%s/haproxy", root, series);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    CLEANUP(free_ptr)
    char *command = xasprintf("haproxy -v 2>/dev/null | grep -q 'version %s\\.' && command -v haproxy", series);
    FILE *p = popen(command, "r");
    char line[256] = "";
    if (p) {
        if (!fgets(line, sizeof(line), p))
            line[0] = '\0';
        pclose(p);
    }
    line[strcspn(line, "\n")] = '\0';
    return line[0] ? xstrdup(line) : NULL;
}

/* The first of the series that is here; NULL when there is none. Free it. */
static UNUSED char *haproxy_any_binary(void)
{
    char *binary = NULL;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series) && !binary; i++)
        binary = haproxy_binary(haproxy_series[i]);
    return binary;
}

static UNUSED void wait_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static UNUSED void wait_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

/* Run the loop until *flag, at most so long. False when the time is over. */
static UNUSED bool loop_until_ms(uv_loop_t *loop, const bool *flag, uint64_t ms)
{
    bool over = false, closed = false;
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    timer.data = &over;
    uv_update_time(loop);
    uv_timer_start(&timer, wait_over, ms, 0);
    while (!*flag && !over)
        uv_run(loop, UV_RUN_ONCE);
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, wait_closed);
    while (!closed)
        uv_run(loop, UV_RUN_NOWAIT);
    return *flag;
}

static UNUSED bool loop_until(uv_loop_t *loop, const bool *flag, int seconds)
{
    return loop_until_ms(loop, flag, (uint64_t)seconds * 1000);
}

/* Run the loop for so long. */
static UNUSED void loop_sleep(uv_loop_t *loop, int64_t ms)
{
    static const bool never = false;
    loop_until_ms(loop, &never, (uint64_t)ms);
}

/* Let everything that was closed go, and the loop with it: leaks of handles fail here. */
static UNUSED void loop_end(uv_loop_t *loop)
{
    for (int i = 0; i < 1000 && uv_loop_alive(loop); i++)
        uv_run(loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(loop), 0);
}

/* A directory of its own under TMPDIR; remove with directory_remove(). */
static UNUSED char *directory_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/haptic-spec-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static UNUSED void directory_remove(char *path)
{
    CLEANUP(free_ptr) char *command = xasprintf("rm -rf '%s'", path);
    assert_int_equal(pclose(popen(command, "r")), 0);
    free(path);
}

static UNUSED void file_write(const char *directory, const char *name, const char *text)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static UNUSED char *file_read(const char *directory, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", directory, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *text = xcalloc(1, 1 << 20);
    size_t length = fread(text, 1, (1 << 20) - 1, f);
    text[length] = '\0';
    fclose(f);
    return text;
}

/* A TCP port that nobody listens on right now. */
static UNUSED int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Starts a program in a process group of its own; log: where its output goes, in the directory; NULL: nowhere. It ends
 * when the test does, so that a test that fails leaves none behind. */
static UNUSED pid_t process_spawn(const char *directory, const char *log, const char *const *argv)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (chdir(directory) == 0) {
        dup2(open("/dev/null", O_RDONLY), 0);
        int out = open(log ? log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(out, 1);
        dup2(out, 2);
        execv(argv[0], (char *const *)(uintptr_t)argv);
    }
    _exit(127);
}

static UNUSED void process_end(pid_t pid)
{
    kill(-pid, SIGTERM);
    for (int i = 0; i < 300 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        usleep(10000);
    kill(-pid, SIGKILL);
}

/* A configuration with a worker socket, one frontend, backends one and two, a map, a defaults section. */
static UNUSED char *config_text(const char *directory)
{
    return xasprintf("global\n"
                     "  stats socket %s/runtime.sock mode 600 level admin\n"
                     "  default-path config\n"
                     "  maxconn 100\n"
                     "defaults base\n"
                     "  mode http\n"
                     "  timeout client 5s\n"
                     "  timeout server 5s\n"
                     "  timeout connect 1s\n"
                     "frontend http from base\n"
                     "  bind 127.0.0.1:%d\n"
                     "  use_backend %%[req.hdr(host),lower,map(maps/host.map)]\n"
                     "  default_backend one\n"
                     "backend one from base\n"
                     "  server s1 127.0.0.1:9001\n"
                     "backend two from base\n"
                     "  server s1 127.0.0.1:9002\n",
                     directory, free_port());
}

/* Start a real HAProxy on a new directory; false when that series is not here. */
struct haproxy {
    char *directory;
    char *runtime_socket, *master_socket;
    pid_t pid;
};

/* Does somebody answer there? A socket that accepts is not enough: up to 3.0 the master binds its own once more after
 * it has started. */
static UNUSED bool is_answering(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 1};
    char answer[16];
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
           send(fd, "show version\n", 13, MSG_NOSIGNAL) == 13 && recv(fd, answer, sizeof(answer), 0) > 0;
}

static UNUSED bool haproxy_start(struct haproxy *h, const char *series)
{
    CLEANUP(free_ptr) char *binary = haproxy_binary(series);
    if (!binary)
        return false;
    h->directory = directory_new();
    h->runtime_socket = xasprintf("%s/runtime.sock", h->directory);
    h->master_socket = xasprintf("%s/master.sock", h->directory);
    CLEANUP(free_ptr) char *maps = xasprintf("%s/maps", h->directory);
    CLEANUP(free_ptr) char *master = xasprintf("%s,mode,600", h->master_socket);
    CLEANUP(free_ptr) char *config = config_text(h->directory);
    assert_int_equal(mkdir(maps, 0700), 0);
    file_write(maps, "host.map", "a.example one\n");
    file_write(h->directory, "haproxy.cfg", config);
    /* the log is for who looks into a failure */
    h->pid = process_spawn(h->directory, "haproxy.log",
                           (const char *const[]){binary, "-W", "-S", master, "-f", "haproxy.cfg", NULL});
    for (int i = 0; i < 1000 && (!is_answering(h->runtime_socket) || !is_answering(h->master_socket)); i++)
        usleep(10000);
    assert_true(is_answering(h->runtime_socket) && is_answering(h->master_socket));
    return true;
}

static UNUSED void haproxy_end(struct haproxy *h)
{
    process_end(h->pid);
    free(h->runtime_socket);
    free(h->master_socket);
    directory_remove(h->directory);
}

#endif
