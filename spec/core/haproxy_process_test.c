/* Tests of process.c with real HAProxy: start, death, adoption after a controller's SIGKILL, failed starts, hung
 * masters, stops. */
#include "haproxy_support.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "haproxy/output.h"
#include "haproxy/process.h"

#define SECOND NS_PER_S

struct watch {
    uv_loop_t loop;
    struct process *process;
    char *directory, *socket, *binary;
    bool running, died, failed, stopped, adopted, hold;
    int prepared, lines, starts;
    char reason[128], output[8192];
};

static void on_prepare(void *ctx)
{
    struct watch *w = ctx;
    w->prepared++;
    if (!w->hold)
        process_continue(w->process);
}

static void on_running(void *ctx, const struct master_state *state, bool adopted)
{
    struct watch *w = ctx;
    assert_int_equal(state->workers.length, 1);
    assert_int_equal(state->master.pid, process_pid(w->process));
    w->running = true;
    w->adopted = adopted;
    w->starts++;
}

static void on_died(void *ctx, const char *reason)
{
    struct watch *w = ctx;
    w->died = true;
    snprintf(w->reason, sizeof(w->reason), "%s", reason);
}

static void on_failed(void *ctx, const char *reason, const char *output)
{
    struct watch *w = ctx;
    w->failed = true;
    snprintf(w->reason, sizeof(w->reason), "%s", reason);
    snprintf(w->output, sizeof(w->output), "%.8000s", output);
}

static void on_output(void *ctx, const char *line)
{
    struct watch *w = ctx;
    assert_null(strchr(line, '\n'));
    w->lines++;
}

static void on_stopped(void *ctx)
{
    ((struct watch *)ctx)->stopped = true;
}

static const struct process_events events = {
    .prepare = on_prepare, .running = on_running, .died = on_died, .start_failed = on_failed, .output = on_output};

static void watch_begin(struct watch *w, int64_t start_deadline_ns)
{
    struct err err = {0};
    uv_loop_init(&w->loop);
    struct process_config config = {.binary = w->binary,
                                    .directory = w->directory,
                                    .master_socket = w->socket,
                                    .start_deadline_ns = start_deadline_ns};
    w->process = process_new(&w->loop, &config, &events, w, &err);
    assert_string_equal(err.text, "");
    process_start(w->process);
}

static void watch_end(struct watch *w)
{
    w->process = process_free(w->process);
    loop_end(&w->loop);
}

static void stop(struct watch *w, int64_t grace_ns)
{
    w->stopped = false;
    process_stop(w->process, grace_ns, on_stopped, w);
    assert_true(loop_until(&w->loop, &w->stopped, 20));
    assert_int_equal(process_state(w->process), PROCESS_STOPPED);
    assert_int_equal(process_pid(w->process), 0);
}

static bool is_alive(int pid)
{
    CLEANUP(free_ptr) char *path = xasprintf("/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    char state = 'X';
    if (!f)
        return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    fclose(f);
    return state != 'Z' && state != 'X';
}

static struct watch directory_for(const char *series)
{
    struct watch w = {.binary = haproxy_binary(series)};
    if (!w.binary)
        return w;
    w.directory = directory_new();
    w.socket = xasprintf("%s/master.sock", w.directory);
    CLEANUP(free_ptr) char *maps = xasprintf("%s/maps", w.directory);
    CLEANUP(free_ptr) char *config = config_text(w.directory);
    assert_int_equal(mkdir(maps, 0700), 0);
    file_write(maps, "host.map", "");
    file_write(w.directory, "haproxy.cfg", config);
    return w;
}

static void directory_done(struct watch *w)
{
    directory_remove(w->directory);
    free(w->socket);
    free(w->binary);
}

static void lives_and_dies(const char *series)
{
    struct watch w = directory_for(series);
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_false(w.adopted);
    assert_int_equal(w.prepared, 1);
    int pid = process_pid(w.process);
    assert_int_equal(getsid(pid), pid);

    /* Death of the whole: the disk is brought level, then it starts again. */
    w.running = false;
    kill(pid, SIGKILL);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_true(w.died);
    assert_string_equal(w.reason, "signal 9 (Killed)");
    assert_int_equal(w.prepared, 2);
    assert_int_not_equal(process_pid(w.process), pid);
    assert_true(w.lines > 0);

    /* Let go of it: it runs on, and is adopted by the next one. */
    pid = process_pid(w.process);
    watch_end(&w);
    assert_true(is_alive(pid));
    w.running = false;
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_true(w.adopted);
    assert_int_equal(process_pid(w.process), pid);
    assert_int_equal(w.prepared, 2);

    /* An adopted one that dies is noticed too. */
    w.running = w.died = false;
    kill(pid, SIGKILL);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_true(w.died);
    assert_false(w.adopted);
    pid = process_pid(w.process);
    stop(&w, 5 * SECOND);
    assert_false(is_alive(pid));
    watch_end(&w);
    directory_done(&w);
}

static void each_series(void (*test)(const char *series))
{
    int found = 0;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        CLEANUP(free_ptr) char *binary = haproxy_binary(haproxy_series[i]);
        if (!binary)
            continue;
        print_message("HAProxy %s\n", haproxy_series[i]);
        found++;
        test(haproxy_series[i]);
    }
    if (!found)
        skip();
}

static void it_is_kept_running(void **state UNUSED)
{
    each_series(lives_and_dies);
}

/* A controller that is killed: its HAProxy must not notice. */
static void survives(const char *series)
{
    struct watch w = directory_for(series);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t controller = fork();
    if (controller == 0) {
        watch_begin(&w, 0);
        bool up = loop_until(&w.loop, &w.running, 20);
        int pid = up ? process_pid(w.process) : 0;
        if (write(ends[1], &pid, sizeof(pid)) == sizeof(pid))
            for (;;)
                uv_run(&w.loop, UV_RUN_ONCE);
        _exit(1);
    }
    int pid = 0;
    assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
    close(ends[0]);
    close(ends[1]);
    assert_true(pid > 0);
    kill(controller, SIGKILL);
    waitpid(controller, NULL, 0);
    usleep(300000);
    assert_true(is_alive(pid));
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_true(w.adopted);
    assert_int_equal(process_pid(w.process), pid);
    stop(&w, 0);
    assert_false(is_alive(pid));
    watch_end(&w);
    directory_done(&w);
}

static void it_survives_its_controller(void **state UNUSED)
{
    each_series(survives);
}

static void fails(const char *series)
{
    struct watch w = directory_for(series);
    CLEANUP(free_ptr) char *good = file_read(w.directory, "haproxy.cfg");
    file_write(w.directory, "haproxy.cfg", "global\n  bogus\n");
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.failed, 20));
    assert_string_equal(w.reason, "exit 1");
    assert_non_null(strstr(w.output, "bogus"));
    assert_int_equal(process_state(w.process), PROCESS_WAITING);
    /* Again, by itself, with only the new output. */
    w.failed = false;
    file_write(w.directory, "haproxy.cfg", "global\n  dubious\n");
    assert_true(loop_until(&w.loop, &w.failed, 20));
    assert_non_null(strstr(w.output, "dubious"));
    assert_null(strstr(w.output, "bogus"));
    file_write(w.directory, "haproxy.cfg", good);
    int64_t start = clock_now_ns();
    process_retry_now(w.process);
    assert_true(loop_until(&w.loop, &w.running, 20));
    assert_true(clock_now_ns() - start < 10 * SECOND);
    stop(&w, SECOND);
    watch_end(&w);
    directory_done(&w);
}

static void failed_starts_are_told(void **state UNUSED)
{
    each_series(fails);
}

static void hangs(const char *series)
{
    struct watch w = directory_for(series);
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    int pid = process_pid(w.process);
    watch_end(&w);
    kill(pid, SIGSTOP);
    w.running = false;
    watch_begin(&w, 2 * SECOND);
    assert_true(loop_until(&w.loop, &w.running, 30));
    assert_false(w.adopted);
    assert_int_not_equal(process_pid(w.process), pid);
    assert_false(is_alive(pid));
    /* One whose socket is gone is not joined by a second one. */
    pid = process_pid(w.process);
    watch_end(&w);
    assert_int_equal(unlink(w.socket), 0);
    w.running = false;
    watch_begin(&w, SECOND);
    assert_true(loop_until(&w.loop, &w.running, 30));
    assert_false(w.adopted);
    assert_false(is_alive(pid));
    /* One that does not heed signals is ended all the same. */
    pid = process_pid(w.process);
    kill(pid, SIGSTOP);
    stop(&w, SECOND / 5);
    assert_false(is_alive(pid));
    watch_end(&w);
    directory_done(&w);
}

static void hung_ones_are_replaced(void **state UNUSED)
{
    each_series(hangs);
}

static void graceful(const char *series)
{
    struct watch w = directory_for(series);
    int port = free_port();
    CLEANUP(free_ptr)
    char *config = xasprintf(
        "global\n  maxconn 50\ndefaults\n  mode tcp\n  timeout client 9s\n  timeout server 9s\n  timeout connect 9s\n"
        "frontend f\n  mode http\n  bind 127.0.0.1:%d\n  http-request return status 200\n",
        port);
    file_write(w.directory, "haproxy.cfg", config);
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(client, "GET / HTTP/1.1\r\n", 16), 16);
    usleep(100000);
    /* The request under way is finished within the grace time. */
    w.stopped = false;
    process_stop(w.process, 8 * SECOND, on_stopped, &w);
    assert_false(loop_until(&w.loop, &w.stopped, 3)); /* it is told more than once */
    assert_int_equal(write(client, "Host: x\r\n\r\n", 11), 11);
    char answer[64] = "";
    assert_true(read(client, answer, sizeof(answer) - 1) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200", 12), 0);
    close(client);
    assert_true(loop_until(&w.loop, &w.stopped, 20));
    watch_end(&w);
    directory_done(&w);
}

static void stopping_is_graceful(void **state UNUSED)
{
    each_series(graceful);
}

/* Its master loses what it is told while it loads itself anew. */
static void stops_while_it_reloads(const char *series)
{
    struct watch w = directory_for(series);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.running, 20));
    CLEANUP(close_fd) int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(w.socket) < sizeof(address.sun_path));
    memcpy(address.sun_path, w.socket, strlen(w.socket) + 1);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(client, "reload\n", 7), 7);
    usleep(10000);
    w.stopped = false;
    process_stop(w.process, 120 * SECOND, on_stopped, &w);
    assert_true(loop_until(&w.loop, &w.stopped, 60));
    watch_end(&w);
    directory_done(&w);
}

static void a_reload_does_not_hold_up_the_end(void **state UNUSED)
{
    each_series(stops_while_it_reloads);
}

static void stops_in_any_state(void **state UNUSED)
{
    struct watch w = directory_for("2.6");
    if (!w.binary)
        skip();
    /* Just begun; the caller still preparing; just spawned; waiting. */
    watch_begin(&w, 0);
    stop(&w, SECOND);
    watch_end(&w);
    w.hold = true;
    watch_begin(&w, 0);
    for (int i = 0; i < 200 && process_state(w.process) != PROCESS_PREPARING; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(process_state(w.process), PROCESS_PREPARING);
    stop(&w, SECOND);
    process_continue(w.process); /* too late: nothing starts */
    assert_int_equal(process_state(w.process), PROCESS_STOPPED);
    watch_end(&w);
    w.hold = false;
    watch_begin(&w, 0);
    for (int i = 0; i < 200 && process_state(w.process) != PROCESS_STARTING; i++)
        uv_run(&w.loop, UV_RUN_ONCE);
    int pid = process_pid(w.process);
    stop(&w, SECOND);
    assert_false(is_alive(pid));
    watch_end(&w);
    free(w.binary);
    w.binary = xstrdup("/nonexistent/haproxy");
    watch_begin(&w, 0);
    assert_true(loop_until(&w.loop, &w.failed, 5));
    assert_non_null(strstr(w.reason, "/nonexistent/haproxy"));
    stop(&w, SECOND);
    watch_end(&w);
    directory_done(&w);
}

struct lines {
    int count;
    size_t longest;
    char last[64];
};

static void count_line(void *ctx, const char *text)
{
    struct lines *l = ctx;
    l->count++;
    l->longest = strlen(text) > l->longest ? strlen(text) : l->longest;
    snprintf(l->last, sizeof(l->last), "%.60s", text);
}

/* What the file occupies, in bytes. */
static int64_t occupied(int fd)
{
    struct stat status;

    assert_int_equal(fstat(fd, &status), 0);
    return (int64_t)status.st_blocks * 512;
}

static void output_is_followed_and_kept_small(void **state UNUSED)
{
    char *directory = directory_new();
    CLEANUP(free_ptr) char *path = xasprintf("%s/log", directory);
    struct output o;
    struct lines l = {0};
    file_write(directory, "log", "old\n");
    assert_int_equal(output_open(&o, path, NULL), 0);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    dprintf(fd, "one\n\ntwo\nthr");
    output_follow(&o, count_line, &l);
    assert_int_equal(l.count, 2);
    dprintf(fd, "ee\n");
    output_mark(&o);
    dprintf(fd, "four\n");
    CLEANUP(free_ptr) char *since = output_since_mark(&o);
    assert_string_equal(since, "ee\nfour\n");
    output_follow(&o, count_line, &l);
    assert_int_equal(l.count, 4);
    /* A line without end is cut, not kept; space of older output is given back. */
    char *large = xcalloc(1, 2000001);
    memset(large, 'x', 2000000);
    assert_int_equal(write(fd, large, 2000000), 2000000);
    output_follow(&o, count_line, &l);
    assert_true(occupied(fd) < 200000);
    dprintf(fd, "\nfive\n");
    output_follow(&o, count_line, &l);
    assert_int_equal(l.count, 6);
    assert_int_equal(l.longest, 4096);
    assert_string_equal(l.last, "five");
    free(large);
    close(fd);
    output_done(&o);
    directory_remove(directory);
}

/* HAProxy takes O_APPEND away from its standard output with its first line of log. */
static void output_of_a_writer_that_does_not_append_is_followed(void **state UNUSED)
{
    char *directory = directory_new();
    CLEANUP(free_ptr) char *path = xasprintf("%s/log", directory);
    struct output o;
    struct lines l = {0};
    char line[1001], last[32];

    file_write(directory, "log", "");
    assert_int_equal(output_open(&o, path, NULL), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    memset(line, 'x', 1000);
    line[999] = '\n';
    for (int i = 0; i < 6000; i++) {
        snprintf(last, sizeof(last), "%d", i);
        memcpy(line, last, strlen(last));
        assert_int_equal(write(fd, line, 1000), 1000);
        if (i % 100 == 99)
            output_follow(&o, count_line, &l);
        assert_true(occupied(fd) < 1500000);
    }
    /* Each line once, none of zeros, and nothing is read twice. */
    assert_int_equal(l.count, 6000);
    assert_int_equal(l.longest, 999);
    assert_memory_equal(l.last, "5999x", 5);
    assert_int_equal(o.read, 6000000);
    CLEANUP(free_ptr) char *since = output_since_mark(&o);
    assert_int_equal(strlen(since), 65536);
    /* Somebody empties the file: a writer that appends begins at 0. */
    assert_int_equal(ftruncate(fd, 0), 0);
    output_follow(&o, count_line, &l);
    assert_int_equal(o.read, 0);
    assert_int_equal(pwrite(fd, "new\n", 4, 0), 4);
    output_follow(&o, count_line, &l);
    assert_int_equal(l.count, 6001);
    assert_string_equal(l.last, "new");
    close(fd);
    output_done(&o);
    directory_remove(directory);
}

static void long_paths_are_refused(void **state UNUSED)
{
    uv_loop_t loop;
    struct err err;
    char path[120];
    uv_loop_init(&loop);
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    struct process_config config = {.binary = "x", .directory = "/tmp", .master_socket = path};
    assert_null(process_new(&loop, &config, &events, NULL, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    config.master_socket = "relative.sock";
    assert_null(process_new(&loop, &config, &events, NULL, &err));
    config.master_socket = "/tmp/x.sock";
    config.directory = "/nonexistent";
    assert_null(process_new(&loop, &config, &events, NULL, &err));
    assert_int_equal(err.kind, ERR_SYS);
    loop_end(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_kept_running),
        cmocka_unit_test(it_survives_its_controller),
        cmocka_unit_test(failed_starts_are_told),
        cmocka_unit_test(hung_ones_are_replaced),
        cmocka_unit_test(stopping_is_graceful),
        cmocka_unit_test(a_reload_does_not_hold_up_the_end),
        cmocka_unit_test(stops_in_any_state),
        cmocka_unit_test(output_is_followed_and_kept_small),
        cmocka_unit_test(output_of_a_writer_that_does_not_append_is_followed),
        cmocka_unit_test(long_paths_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
