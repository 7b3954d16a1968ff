/* A writer that is stopped between its look at the fence and its write: what it writes arrives in a bounded time or
 * never, and its successor looks once more after that time. */
#include "agent_support.h"

#include <sys/inotify.h>

#include "agent/fence.h"

/* A process of its own that deletes the route of a.example: it is stopped in its gate, and goes on when it gets
 * SIGCONT. It ends with 0 when HAProxy has answered, with 3 when the connection was gone. */
static int stop_here(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    raise(SIGSTOP);
    return 0;
}

struct stale {
    bool done, answered;
};

static void stale_done(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct stale *s = ctx;
    (void)answers;
    s->done = true;
    s->answered = !err && count == 1;
}

static pid_t stale_writer(const struct world *w, const char *command)
{
    CLEANUP(free_ptr) char *socket = xasprintf("%s/runtime.sock", w->directory);
    pid_t pid = fork();
    if (pid == 0) {
        uv_loop_t loop;
        struct stale s = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        if (uv_loop_init(&loop))
            _exit(2);
        runtime_run_gated(&loop, socket, &command, 1, 60 * NS_PER_S, 0, stop_here, stale_done, &s);
        while (!s.done)
            uv_run(&loop, UV_RUN_ONCE);
        _exit(s.answered ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    return pid;
}

static int writer_ends(pid_t pid)
{
    int status = 0;
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void stale_command(struct world *w, const char *series)
{
    (void)series;
    pid_t early = stale_writer(w, "del map maps/host.map a.example");
    pid_t late = stale_writer(w, "del map maps/host.map a.example");
    /* The successor takes over and has compared everything. */
    world_agent_end(w, false);
    w->transitions++;
    world_agent_with(w, (struct agent_config){.predecessor_ns = RUNTIME_IDLE_NS + NS_PER_S});
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_answer(w, "a.example", "a");
    w->changed[0] = '\0';
    /* It lands behind the fence. */
    assert_int_equal(writer_ends(early), 0);
    char body[64];
    assert_int_equal(http_get(w->port, "a.example", body, sizeof(body)), 503);
    expect_change(w, "the last commands of the writer before have ended");
    world_apply(w, true);
    assert_int_equal(w->operations, 1);
    assert_false(w->reloaded);
    assert_answer(w, "a.example", "a");
    /* From now on none can land any more. */
    assert_int_equal(writer_ends(late), 3);
    assert_answer(w, "a.example", "a");
    /* The same writer goes on: nobody to wait for. */
    w->changed[0] = '\0';
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_string_equal(w->changed, "");
}

static void test_stale_command(void **state)
{
    (void)state;
    each_series(stale_command, NULL);
}

/* The fence is read again right before each part of what is written. */
static void overtaken(struct world *w, const char *series)
{
    (void)series;
    struct model_changes changes = {0};
    const struct fence fence = {.transitions = w->transitions, .generation = ++w->generation, .holder = "test"};
    const struct fence newer = {.transitions = w->transitions + 1, .generation = 1, .holder = "other"};
    struct fence_record highest;
    struct err err;
    CLEANUP(free_ptr) char *moved = server_line("s1", 1, "check inter 500ms weight 10");
    edit(w, "a.example", "app", moved);
    model_take_changes(w->model, &changes);
    w->applied = false;
    /* It has looked at the fence before this returns, and writes after it. */
    assert_true(agent_apply(w->agent, &changes, &fence, world_on_applied, w));
    model_changes_done(&changes);
    assert_int_equal(fence_raise(w->directory, &newer, &highest, &err), 0);
    assert_true(w->applied || loop_until(&w->loop, &w->applied, 40));
    assert_true(w->failed);
    assert_int_equal(w->err.kind, ERR_STALE);
    assert_int_equal(w->highest_transitions, newer.transitions);
    assert_answer(w, "a.example", "a");
}

static void test_overtaken_before_the_write(void **state)
{
    (void)state;
    each_series(overtaken, NULL);
}

/* Thousands of commands, more than one part: all of them are answered, in order. */
static void parts(struct world *w, const char *series)
{
    (void)series;
    for (int i = 0; i < 3000; i++) {
        CLEANUP(free_ptr) char *host = xasprintf("host-%d.a-rather-long-domain-name.example", i);
        const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", host, "app", 0, 0}};
        model_put(w->model, host, entry, ARRAY_LEN(entry));
    }
    model_check(w->model, true);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 3000);
    assert_answer(w, "host-2999.a-rather-long-domain-name.example", "a");
}

static void test_many_commands(void **state)
{
    (void)state;
    each_series(parts, NULL);
}

/* How often a file was opened since the last call. Equal events in a row are one, so closing is told as well. */
static unsigned opens(int watch)
{
    char events[65536] __attribute__((aligned(8)));
    unsigned count = 0;
    ssize_t length;
    while ((length = read(watch, events, sizeof(events))) > 0)
        for (ssize_t at = 0; at < length; at += (ssize_t)sizeof(struct inotify_event)) {
            const struct inotify_event *event = (const struct inotify_event *)(events + at);
            assert_int_equal(event->len, 0); /* of a file there is no name */
            count += (event->mask & IN_OPEN) != 0;
        }
    return count;
}

/* The fence is raised once for an apply, and read before groups of commands that do not go out in the same moment: not
 * for each command, and never not at all. */
static void fence_reads(struct world *w, const char *series)
{
    (void)series;
    CLEANUP(free_ptr) char *fence = xasprintf("%s/fence", w->directory);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, fence, IN_OPEN | IN_CLOSE) >= 0);
    for (int upstream = 1; upstream >= 0; upstream--) {
        opens(watch);
        route(w, "a.example", "app", upstream);
        world_apply(w, false);
        /* Raised; and read before the commands, unless they go out at once; also for what leaves, and before HAProxy is
         * asked once more whether a change is done. */
        assert_in_range(opens(watch), 1, 16);
    }
    for (int i = 0; i < 300; i++) {
        CLEANUP(free_ptr) char *host = xasprintf("more-%d.example", i);
        const struct emitted entry[] = {{CONTRIBUTION_MAP_ENTRY, "host.map", host, "app", 0, 0}};
        model_put(w->model, host, entry, ARRAY_LEN(entry));
    }
    model_check(w->model, true);
    opens(watch);
    world_apply(w, false);
    assert_int_equal(w->operations, 300);
    assert_in_range(opens(watch), 1, 16);
    close(watch);
}

static void test_fence_reads(void **state)
{
    (void)state;
    each_series(fence_reads, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fence_reads),
        cmocka_unit_test(test_stale_command),
        cmocka_unit_test(test_overtaken_before_the_write),
        cmocka_unit_test(test_many_commands),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
