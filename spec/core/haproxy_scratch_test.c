/* Directories of checks: whose they are while their process lives, and what is swept when it was killed. */
#include "haproxy_support.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "haproxy/check.h"
#include "haproxy/scratch.h"

static char *in(const char *place, const char *name)
{
    return xasprintf("%s/%s", place, name);
}

static bool exists(const char *place, const char *name)
{
    CLEANUP(free_ptr) char *path = in(place, name);
    struct stat status;
    return lstat(path, &status) == 0;
}

/* A directory as a check makes it, with two files. */
static void leave(const char *place, const char *name)
{
    CLEANUP(free_ptr) char *path = in(place, name);
    CLEANUP(free_ptr) char *maps = in(path, "maps");
    assert_int_equal(mkdir(path, 0700) | mkdir(maps, 0700), 0);
    file_write(path, "haproxy.cfg", "global\n");
    file_write(maps, "a.map", "a b\n");
}

static void what_nobody_has_locked_is_swept_and_nothing_else(void **state)
{
    char *place = directory_new();
    CLEANUP(free_ptr) char *link = in(place, "haptic-check-linked");
    CLEANUP(free_ptr) char *locked = in(place, "haptic-check-locked"), *alien = in(place, "haptic-check-aliena");
    struct err err;
    struct scratch mine;
    (void)state;

    leave(place, "haptic-check-leftov");
    leave(place, "haptic-check-locked");
    leave(place, "haptic-check-too-long");
    leave(place, "haptic-check-");
    leave(place, "another");
    leave(place, "haptic-check-aliena");
    bool is_root = chown(alien, 1234, 1234) == 0;
    CLEANUP(free_ptr) char *another = in(place, "another");
    assert_int_equal(symlink(another, link), 0);
    file_write(place, "haptic-check-filefi", "");
    CLEANUP(close_fd) int fd = open(locked, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(scratch_make(place, &mine, &err), 0);
    CLEANUP(free_ptr) char *mine_path = xstrdup(mine.path);

    assert_int_equal(scratch_sweep(place), is_root ? 1 : 2);
    assert_false(exists(place, "haptic-check-leftov"));
    assert_int_equal(exists(place, "haptic-check-aliena/haproxy.cfg"), is_root);
    assert_true(exists(place, "haptic-check-locked/maps/a.map") && exists(place, "another/maps/a.map"));
    assert_true(exists(place, "haptic-check-too-long/haproxy.cfg") && exists(place, "haptic-check-/haproxy.cfg"));
    assert_true(exists(place, "haptic-check-linked") && exists(place, "haptic-check-filefi"));
    assert_int_equal(access(mine_path, F_OK), 0);
    scratch_remove(&mine);
    assert_int_equal(access(mine_path, F_OK), -1);
    assert_int_equal(scratch_sweep(place), 0);
    /* The lock goes with who had it. */
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(scratch_sweep(place), 1);
    assert_false(exists(place, "haptic-check-locked"));
    assert_int_equal(scratch_sweep("/nonexistent"), 0);
    directory_remove(place);
}

/* A maker finds a place for itself while another process sweeps all the time. */
static void a_sweep_takes_nothing_from_who_is_making_one(void **state)
{
    char *place = directory_new();
    struct scratch s;
    struct err err;
    (void)state;

    pid_t sweeper = fork();
    if (sweeper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;)
            (void)scratch_sweep(place);
    }
    for (unsigned i = 0; i < 2000; i++) {
        if (scratch_make(place, &s, &err) < 0)
            fail_msg("%s", err.text);
        file_write(s.path, "haproxy.cfg", "global\n");
        CLEANUP(free_ptr) char *path = in(s.path, "haproxy.cfg");
        assert_int_equal(access(path, F_OK), 0);
        scratch_remove(&s);
    }
    kill(sweeper, SIGKILL);
    assert_int_equal(waitpid(sweeper, NULL, 0), sweeper);
    directory_remove(place);
}

static void take(void *ctx, const struct check_result *result)
{
    (void)result;
    *(bool *)ctx = true;
}

/* In a process of its own: a check that does not end by itself. */
static void check_for_ever(const char *place, const char *binary)
{
    static const char text[] = "global\n  lua-load files/loop.lua\n", lua[] = "while true do end\n";
    const struct check_config config = {.binary = binary, .temporary = place, .deadline_ns = 60 * NS_PER_S};
    struct disk_files files = {0};
    uv_loop_t loop;
    bool told = false;

    disk_files_add(&files, DISK_CONFIG, text, strlen(text));
    disk_files_add(&files, "files/loop.lua", lua, strlen(lua));
    uv_loop_init(&loop);
    check_start(&loop, &config, &files, take, &told);
    uv_run(&loop, UV_RUN_DEFAULT);
}

/* The name of the one directory of a check that is written already; "" when there is none. */
static void find_one(const char *place, char name[static 256])
{
    DIR *dir = opendir(place);
    name[0] = '\0';
    for (struct dirent *entry; (entry = readdir(dir));) {
        CLEANUP(free_ptr) char *loop = xasprintf("%s/files/loop.lua", entry->d_name);
        if (strncmp(entry->d_name, "haptic-check-", 13) == 0 && exists(place, loop))
            snprintf(name, 256, "%s", entry->d_name);
    }
    closedir(dir);
}

static void what_a_killed_process_has_left_is_swept_and_not_before(void **state)
{
    CLEANUP(free_ptr) char *binary = haproxy_any_binary();
    char name[256] = "";
    (void)state;

    if (binary == NULL)
        skip();
    char *place = directory_new();
    pid_t process = fork();
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        check_for_ever(place, binary);
        _exit(1);
    }
    for (unsigned i = 0; i < 3000 && name[0] == '\0'; i++) {
        usleep(10000);
        find_one(place, name);
    }
    assert_string_not_equal(name, "");
    assert_int_equal(scratch_sweep(place), 0);
    kill(process, SIGKILL);
    assert_int_equal(waitpid(process, NULL, 0), process);
    assert_true(exists(place, name));
    /* A child that was just being started has the lock until it is HAProxy, or dead. */
    unsigned swept = 0;
    for (unsigned i = 0; i < 3000 && (swept = scratch_sweep(place)) == 0; i++)
        usleep(10000);
    assert_int_equal(swept, 1);
    assert_false(exists(place, name));
    directory_remove(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_has_locked_is_swept_and_nothing_else),
        cmocka_unit_test(a_sweep_takes_nothing_from_who_is_making_one),
        cmocka_unit_test(what_a_killed_process_has_left_is_swept_and_not_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
