/* What was accepted is on disk as soon as it was, the file stays small, and a directory that cannot be written harms
 * nothing else. */
#include "model_support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/metric.h"
#include "controller/restore.h"
#include "controller/sealer.h"

struct world {
    uv_loop_t loop;
    char *directory;
    struct model *model;
    struct vault *vault;
    struct metrics *metrics;
    struct sealer *sealer;
    bool writes, is_newest;
};

static bool may_write(void *ctx)
{
    return ((struct world *)ctx)->writes;
}

static bool is_newest(void *ctx)
{
    return ((struct world *)ctx)->is_newest;
}

static struct bundle_stamp stamp(void *ctx)
{
    (void)ctx;
    return (struct bundle_stamp){.transitions = 3, .generation = 7};
}

static void begin(struct world *w)
{
    static const struct sealer_ops ops = {.may_write = may_write, .is_newest = is_newest, .stamp = stamp};
    *w = (struct world){.writes = true, .is_newest = true};
    uv_loop_init(&w->loop);
    w->directory = directory_new();
    w->model = model_new();
    w->vault = vault_new(1 << 20);
    w->metrics = metrics_new();
    w->sealer = sealer_new(&w->loop, w->directory, "3.2.1", w->model, w->vault, w->metrics, &ops, w);
    model_put_base(w->model, 8080, "");
}

static void end(struct world *w)
{
    sealer_free(w->sealer);
    loop_end(&w->loop);
    model_free(w->model);
    vault_free(w->vault);
    metrics_free(w->metrics);
    directory_remove(w->directory);
}

/* Does the file say what the model has accepted? */
static bool is_level(const struct world *w)
{
    struct model *m = model_new();
    struct vault *vault = vault_new(1 << 20);
    struct restored restored;
    struct err err;
    bool level = restore_accepted(w->directory, m, vault, &restored, &err) == 0 && restored.cut == 0 &&
                 digest_equal(model_digest(m, MODEL_ACCEPTED), model_digest(w->model, MODEL_ACCEPTED));
    model_free(m);
    vault_free(vault);
    return level;
}

static void wait_level(struct world *w)
{
    int64_t end = clock_now_ns() + 20 * NS_PER_S;
    sealer_step(w->sealer);
    while (!is_level(w)) {
        assert_true(clock_now_ns() < end);
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static size_t file_bytes(const struct world *w)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/" SEALER_FILE, w->directory);
    struct stat status;
    return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

static void put(struct world *w, const char *object, int version)
{
    CLEANUP(free_ptr) char *lines = xasprintf("server s 127.0.%d.%d:80\n", version / 250, version % 250);
    model_put_route(w->model, object, object, object, lines);
}

static double metric_of(const struct world *w, const char *name)
{
    CLEANUP(buf_done) struct buf text = {0};
    metric_expose(w->metrics, &text);
    const char *at = buf_str(&text);
    while ((at = strstr(at, name)) && at != text.data && at[-1] != '\n')
        at++;
    return at ? strtod(at + strlen(name), NULL) : -1;
}

static void changes_are_appended(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    for (int i = 0; i < 50; i++) {
        char object[16];
        snprintf(object, sizeof(object), "o%d", i);
        put(&w, object, i);
    }
    model_check(w.model, true);
    wait_level(&w);
    size_t whole = file_bytes(&w);
    for (int i = 0; i < 10; i++) {
        put(&w, "o7", 100 + i);
        model_check(w.model, true);
        wait_level(&w);
    }
    model_fragment_drop(w.model, "o7");
    model_check(w.model, true);
    wait_level(&w);
    size_t grown = file_bytes(&w) - whole;
    assert_in_range(grown, 1, 11 * 1000);
    CLEANUP(free_ptr) char *path = xasprintf("%s/" SEALER_FILE, w.directory);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    end(&w);
}

static void the_file_stays_small(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    for (int i = 0; i < 20000; i++) {
        put(&w, "o", i);
        model_check(w.model, true);
        sealer_step(w.sealer);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        if (i % 4000 == 0) {
            wait_level(&w);
            assert_true(file_bytes(&w) < (3U << 20));
        }
    }
    wait_level(&w);
    end(&w);
}

static void a_step_without_a_change_sets_no_timer(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    put(&w, "o1", 1);
    model_check(w.model, true);
    wait_level(&w);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    put(&w, "o1", 2);
    model_check(w.model, true);
    sealer_step(w.sealer); /* writes, or sets a timer */
    uv_run(&w.loop, UV_RUN_DEFAULT);
    sealer_step(w.sealer); /* soon after a write */
    assert_false(uv_loop_alive(&w.loop));
    assert_true(is_level(&w));
    end(&w);
}

static void who_stops_has_written_everything(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    put(&w, "o1", 1);
    model_check(w.model, true);
    sealer_step(w.sealer); /* the first file is being made */
    put(&w, "o1", 2);
    model_check(w.model, true);
    sealer_stop(w.sealer);
    assert_true(is_level(&w));
    put(&w, "o1", 3);
    model_check(w.model, true);
    sealer_step(w.sealer);
    assert_false(is_level(&w));
    end(&w);
}

static void who_may_not_write_does_not(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    w.writes = false;
    put(&w, "o1", 1);
    model_check(w.model, true);
    sealer_step(w.sealer);
    sealer_stop(w.sealer);
    assert_int_equal(file_bytes(&w), 0);
    end(&w);
    begin(&w);
    put(&w, "o1", 1);
    model_check(w.model, true);
    wait_level(&w);
    w.writes = false;
    put(&w, "o1", 2);
    model_check(w.model, true);
    sealer_step(w.sealer);
    assert_false(is_level(&w));
    w.writes = true; /* leads again: a file of its own */
    wait_level(&w);
    end(&w);
}

static void a_newer_writer_s_file_stays(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    file_write(w.directory, SEALER_FILE, "another's");
    w.is_newest = false;
    put(&w, "o1", 1);
    model_check(w.model, true);
    for (int i = 0; i < 100; i++) {
        sealer_step(w.sealer);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    CLEANUP(free_ptr) char *text = file_read(w.directory, SEALER_FILE);
    assert_string_equal(text, "another's");
    end(&w);
}

/* Writing fails at any byte: what is on disk is an earlier whole state, and when there is room it follows again. */
static void a_full_disk_harms_nothing(void **state)
{
    (void)state;
    struct world w;
    struct rlimit before, limit;
    begin(&w);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    put(&w, "o1", 1);
    put(&w, "o2", 1);
    model_check(w.model, true);
    wait_level(&w);
    limit = before;
    limit.rlim_cur = file_bytes(&w) + 100; /* in the midst of the next change */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put(&w, "o1", 2);
    model_check(w.model, true);
    for (int i = 0; i < 200 && metric_of(&w, "haptic_seal_failures_total ") < 1; i++) {
        sealer_step(w.sealer);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_true(metric_of(&w, "haptic_seal_failures_total ") >= 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    struct model *m = model_new();
    struct restored restored;
    struct err err;
    assert_int_equal(restore_accepted(w.directory, m, w.vault, &restored, &err), 0);
    assert_int_equal(restored.cut, 0);
    assert_accepted(m, "127.0.0.1:80");
    assert_int_equal(restored.stamp.transitions, 3);
    assert_string_equal(restored.haproxy, "3.2.1");
    model_free(m);
    wait_level(&w);
    end(&w);
}

/* Somebody puts a link in the place of the directory: nothing is written or removed behind it. */
static void a_directory_that_becomes_a_link(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    put(&w, "a", 1);
    model_check(w.model, true);
    wait_level(&w);
    CLEANUP(free_ptr) char *aside = xasprintf("%s.aside", w.directory);
    char *trap = directory_new();
    file_write(trap, ".accepted.tmp", "theirs");
    assert_int_equal(rename(w.directory, aside), 0);
    assert_int_equal(symlink(trap, w.directory), 0);
    w.writes = false; /* a new term begins a new file */
    sealer_step(w.sealer);
    w.writes = true;
    put(&w, "b", 1);
    model_check(w.model, true);
    sealer_step(w.sealer);
    loop_sleep(&w.loop, 50);
    assert_true(metric_of(&w, "haptic_seal_failures_total ") >= 1);
    CLEANUP(free_ptr) char *kept = file_read(trap, ".accepted.tmp");
    assert_string_equal(kept, "theirs");
    assert_null(file_read(trap, SEALER_FILE));
    assert_int_equal(unlink(w.directory), 0);
    assert_int_equal(rename(aside, w.directory), 0);
    wait_level(&w);
    directory_remove(trap);
    end(&w);
}

static void a_directory_that_is_gone(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    put(&w, "o1", 1);
    model_check(w.model, true);
    CLEANUP(free_ptr) char *moved = xasprintf("%s.moved", w.directory);
    assert_int_equal(rename(w.directory, moved), 0);
    sealer_step(w.sealer);
    assert_true(metric_of(&w, "haptic_seal_failures_total ") == 1);
    assert_int_equal(rename(moved, w.directory), 0);
    wait_level(&w);
    end(&w);
}

static void values_are_there_for_who_uses_them(void **state)
{
    (void)state;
    static const char value[] = "s3cret-value\n\0x";
    struct world w;
    struct vault_hold *hold = NULL;
    char handle[VAULT_HANDLE_LENGTH + 1], unused[VAULT_HANDLE_LENGTH + 1];
    struct err err;
    begin(&w);
    const struct vault_name name = {"shop", "tls", "u-1", "17", "key"}, other = {"shop", "other", "u-2", "17", "key"};
    assert_int_equal(vault_put(w.vault, &hold, &name, value, sizeof(value), handle, &err), 0);
    assert_int_equal(vault_put(w.vault, &hold, &other, "not-needed", 10, unused, &err), 0);
    const struct emitted emitted[] = {{CONTRIBUTION_FILE, "key.pem", "", handle, 0, 0}};
    model_put(w.model, "secret", emitted, ARRAY_LEN(emitted));
    model_check(w.model, true);
    wait_level(&w);
    struct model *m = model_new();
    struct vault *vault = vault_new(1 << 20);
    struct restored restored;
    struct vault_value got;
    assert_int_equal(restore_accepted(w.directory, m, vault, &restored, &err), 0);
    assert_int_equal(vault_get(vault, handle, &got, &err), 0);
    assert_int_equal(got.length, sizeof(value));
    assert_memory_equal(got.bytes, value, sizeof(value));
    assert_string_equal(got.secret, "shop/tls");
    assert_int_equal(vault_count(vault), 1);
    CLEANUP(free_ptr) char *bytes = file_read(w.directory, SEALER_FILE);
    assert_null(memmem(bytes, file_bytes(&w), "not-needed", 10));
    model_free(m);
    vault_free(vault);
    vault_release(hold);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_appended),
        cmocka_unit_test(the_file_stays_small),
        cmocka_unit_test(a_step_without_a_change_sets_no_timer),
        cmocka_unit_test(who_stops_has_written_everything),
        cmocka_unit_test(who_may_not_write_does_not),
        cmocka_unit_test(a_newer_writer_s_file_stays),
        cmocka_unit_test(a_full_disk_harms_nothing),
        cmocka_unit_test(a_directory_that_becomes_a_link),
        cmocka_unit_test(a_directory_that_is_gone),
        cmocka_unit_test(values_are_there_for_who_uses_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
