/* Tests of master.c: the forms of `show proc`, and reloads of real HAProxy that succeed, fail, and cannot be asked
 * for. */
#include "haproxy_support.h"

#include "haproxy/master.h"
#include "haproxy/runtime.h"

#define SECOND NS_PER_S

static void states_are_read(void **state UNUSED)
{
    struct master_state s;
    assert_int_equal(
        master_state_parse("#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
                           "23085           master          3 [failed: 1]   1d02h03m04s     3.0.11-1+deb13u3\n"
                           "# workers\n"
                           "23087           worker          0               0d00h00m09s     3.0.11-1+deb13u3\n"
                           "# old workers\n"
                           "23080           worker          2               0d00h01m00s     3.0.11-1+deb13u3\n"
                           "23081           worker          1               0d00h00m30s     2.9\n"
                           "# programs\n",
                           &s, NULL),
        0);
    assert_int_equal(s.master.pid, 23085);
    assert_int_equal(s.master.reloads, 3);
    assert_int_equal(s.master.uptime_s, 86400 + 2 * 3600 + 3 * 60 + 4);
    assert_string_equal(s.master.version, "3.0.11-1+deb13u3");
    assert_true(s.last_reload_failed);
    assert_int_equal(s.workers.length, 1);
    assert_int_equal(s.workers.items[0].pid, 23087);
    assert_int_equal(s.workers.items[0].uptime_s, 9);
    assert_int_equal(s.old_workers.length, 2);
    assert_string_equal(s.old_workers.items[1].version, "2.9");
    master_state_done(&s);
}

static void worker_that_goes_on_is_current(void **state UNUSED)
{
    struct master_state s;
    assert_int_equal(
        master_state_parse(
            "#<PID> <type> <reloads> <uptime> <version>\n1 master 4 [failed: 1] 0d00h00m06s 3.4.7-1\n# workers\n# old workers\n"
            "7 worker 3 0d00h00m05s 3.4.7-1\n9 worker 1 0d00h00m02s 3.4.7-1\n",
            &s, NULL),
        0);
    assert_int_equal(s.workers.length, 1);
    assert_int_equal(s.workers.items[0].pid, 9);
    assert_int_equal(s.old_workers.length, 1);
    assert_int_equal(s.old_workers.items[0].pid, 7);
    master_state_done(&s);
}

static void lines_may_be_cut(void **state UNUSED)
{
    struct master_state s;
    assert_int_equal(master_state_parse("5 master 3 [failed: 17      worker  0", &s, NULL), 0);
    assert_int_equal(s.master.pid, 5);
    assert_int_equal(s.workers.length, 0);
    master_state_done(&s);
    assert_int_equal(master_state_parse("5 master 3", &s, NULL), 0);
    assert_string_equal(s.master.version, "");
    master_state_done(&s);
}

static void nonsense_is_refused(void **state UNUSED)
{
    static const char *const wrong[] = {
        "", "Unknown command", "# workers\n1 worker 0 0d00h00m00s x\n", "0 master 0 x", "-4 master 0", "\n\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct master_state s;
        struct err err;
        assert_int_equal(master_state_parse(wrong[i], &s, &err), -1);
        assert_int_equal(err.kind, ERR_IO);
    }
}

struct outcome {
    bool told;
    enum err_kind kind;
    char text[1100];
    char *log;
    int worker, master;
    unsigned old_workers;
    size_t workers;
};

static void take_reload(void *ctx, const struct master_reload_result *result)
{
    struct outcome *o = ctx;
    assert_false(o->told);
    o->told = true;
    o->kind = result->err ? result->err->kind : ERR_NONE;
    snprintf(o->text, sizeof(o->text), "%s", result->err ? result->err->text : "");
    o->log = xstrdup(result->log);
    o->worker = result->worker_pid;
    o->old_workers = result->old_workers;
}

static void take_state(void *ctx, const struct err *err, const struct master_state *s)
{
    struct outcome *o = ctx;
    assert_false(o->told);
    o->told = true;
    o->kind = err ? err->kind : ERR_NONE;
    if (s) {
        o->master = s->master.pid;
        o->workers = s->workers.length;
        o->worker = s->workers.length ? s->workers.items[0].pid : 0;
    }
}

static struct outcome reload(const char *path)
{
    uv_loop_t loop;
    struct outcome o = {0};
    uv_loop_init(&loop);
    master_reload(&loop, path, 10 * SECOND, take_reload, &o);
    assert_false(o.told);
    assert_true(loop_until(&loop, &o.told, 20));
    loop_end(&loop);
    return o;
}

static struct outcome show(const char *path)
{
    uv_loop_t loop;
    struct outcome o = {0};
    uv_loop_init(&loop);
    master_show_proc(&loop, path, 10 * SECOND, take_state, &o);
    assert_true(loop_until(&loop, &o.told, 20));
    loop_end(&loop);
    return o;
}

static void take_pid(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    if (err)
        fail_msg("%s", err->text);
    assert_int_equal(count, 1);
    const char *pid = strstr(answers[0].text, "\nPid: ");
    assert_non_null(pid);
    *(int *)ctx = (int)strtol(pid + 6, NULL, 10);
}

static int pid_behind(const char *runtime_socket)
{
    uv_loop_t loop;
    int pid = 0;
    const char *ask = "show info";
    uv_loop_init(&loop);
    runtime_run(&loop, runtime_socket, &ask, 1, SECOND, 0, take_pid, &pid);
    uv_run(&loop, UV_RUN_DEFAULT);
    loop_end(&loop);
    return pid;
}

static void reloads_of(struct haproxy *h, bool reports)
{
    struct outcome before = show(h->master_socket);
    assert_int_equal(before.kind, ERR_NONE);
    assert_int_equal(before.master, h->pid);
    assert_int_equal(before.workers, 1);

    /* Every reload that is told done is followed at once by connections: none may reach a former worker. */
    int last = before.worker;
    for (int i = 0; i < 10; i++) {
        struct outcome good = reload(h->master_socket);
        assert_string_equal(good.text, "");
        assert_true(good.worker > 0 && good.worker != last);
        for (int k = 0; k < 5; k++)
            assert_int_equal(pid_behind(h->runtime_socket), good.worker);
        if (reports)
            assert_non_null(strstr(good.log, "Loading success"));
        last = good.worker;
        free(good.log);
    }

    CLEANUP(free_ptr) char *text = file_read(h->directory, "haproxy.cfg");
    CLEANUP(free_ptr) char *broken = xasprintf("%s  bogus \"a\\nmaster> b\"\n", text);
    file_write(h->directory, "haproxy.cfg", broken);
    for (int i = 0; i < 2; i++) {
        struct outcome bad = reload(h->master_socket);
        assert_int_equal(bad.kind, ERR_HAPROXY);
        if (reports)
            assert_non_null(strstr(bad.log, "bogus"));
        free(bad.log);
        assert_int_equal(pid_behind(h->runtime_socket), last);
        struct outcome still = show(h->master_socket);
        assert_int_equal(still.workers, 1);
        assert_int_equal(still.worker, last);
    }

    file_write(h->directory, "haproxy.cfg", text);
    struct outcome again = reload(h->master_socket);
    assert_int_equal(again.kind, ERR_NONE);
    assert_int_equal(pid_behind(h->runtime_socket), again.worker);
    free(again.log);
}

static void real_reloads(void **state UNUSED)
{
    int found = 0;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct haproxy h;
        if (!haproxy_start(&h, haproxy_series[i]))
            continue;
        print_message("HAProxy %s\n", haproxy_series[i]);
        found++;
        reloads_of(&h, strcmp(haproxy_series[i], "2.6") != 0);
        /* A master that is gone, or stopped, is an error in time. */
        kill(h.pid, SIGSTOP);
        uv_loop_t loop;
        struct outcome o = {0};
        uv_loop_init(&loop);
        master_reload(&loop, h.master_socket, SECOND / 2, take_reload, &o);
        assert_true(loop_until(&loop, &o.told, 5));
        assert_int_equal(o.kind, ERR_TIMEOUT);
        free(o.log);
        struct master_call *call = master_reload(&loop, h.master_socket, SECOND, take_reload, NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
        master_cancel(call);
        loop_end(&loop);
        kill(h.pid, SIGCONT);
        kill(-h.pid, SIGKILL);
        waitpid(h.pid, NULL, 0);
        struct outcome gone = reload(h.master_socket);
        assert_int_equal(gone.kind, ERR_SYS);
        free(gone.log);
        haproxy_end(&h);
    }
    if (!found)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_read),  cmocka_unit_test(worker_that_goes_on_is_current),
        cmocka_unit_test(lines_may_be_cut), cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(real_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
