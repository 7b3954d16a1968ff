/* Tests of disk.c: what is written, what is left alone, what a crash or a failure leaves behind. */
#include "haproxy_support.h"

#include <sys/resource.h>

#include "haproxy/disk.h"

struct outcome {
    bool told;
    struct err err;
    unsigned written, removed, altered;
    char first_altered[300];
};

static void take(void *ctx, const struct disk_result *result)
{
    struct outcome *o = ctx;
    assert_false(o->told);
    o->told = true;
    if (result->err)
        o->err = *result->err;
    o->written = result->written;
    o->removed = result->removed;
    o->altered = result->altered;
    snprintf(o->first_altered, sizeof(o->first_altered), "%s", result->first_altered);
}

static void add(struct disk_files *files, const char *path, const char *text)
{
    disk_files_add(files, path, text, strlen(text));
}

static struct outcome write_files(uv_loop_t *loop, struct disk *d, struct disk_files *files, bool whole)
{
    struct outcome o = {0};
    assert_true(disk_write(d, files, whole, take, &o));
    assert_int_equal(files->items.length, 0);
    assert_false(o.told);
    assert_true(disk_busy(d));
    struct disk_files more = {0};
    add(&more, "haproxy.cfg", "x");
    assert_false(disk_write(d, &more, false, take, &o));
    assert_int_equal(more.items.length, 1);
    disk_files_done(&more);
    assert_true(loop_until(loop, &o.told, 20));
    assert_false(disk_busy(d));
    return o;
}

static void same(const char *directory, const char *name, const char *wanted)
{
    CLEANUP(free_ptr) char *text = file_read(directory, name);
    if (!wanted) {
        assert_null(text);
        return;
    }
    assert_non_null(text);
    assert_string_equal(text, wanted);
}

static mode_t mode_of(const char *directory, const char *name)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", directory, name);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void only_changes_are_written(void **state UNUSED)
{
    uv_loop_t loop;
    struct err err = {0};
    char *parent = directory_new();
    CLEANUP(free_ptr) char *directory = xasprintf("%s/haproxy", parent);
    uv_loop_init(&loop);
    umask(0);
    struct disk *d = disk_open(&loop, directory, &err);
    assert_non_null(d);
    struct disk_files files = {0};
    add(&files, "haproxy.cfg", "global\n");
    add(&files, "maps/host.map", "a b\n");
    add(&files, "maps/empty.map", "");
    add(&files, "certs/x.pem", "secret");
    struct outcome o = write_files(&loop, d, &files, true);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(o.written, 4);
    same(directory, "haproxy.cfg", "global\n");
    same(directory, "maps/empty.map", "");
    assert_int_equal(mode_of(directory, "."), 0700);
    assert_int_equal(mode_of(directory, "certs"), 0700);
    assert_int_equal(mode_of(directory, "certs/x.pem"), 0600);
    assert_int_equal(mode_of(directory, "haproxy.cfg"), 0600);

    /* Opened anew: the same content is not written again; what is gone from the set is removed, if the set is whole. */
    disk_free(d);
    d = disk_open(&loop, directory, &err);
    add(&files, "haproxy.cfg", "global\n");
    add(&files, "maps/host.map", "a c\n");
    o = write_files(&loop, d, &files, false);
    assert_int_equal(o.written, 1);
    assert_int_equal(o.removed, 0);
    same(directory, "certs/x.pem", "secret");
    add(&files, "haproxy.cfg", "global\n");
    add(&files, "maps/host.map", "a c\n");
    o = write_files(&loop, d, &files, true);
    assert_int_equal(o.written, 0);
    assert_int_equal(o.removed, 2);
    same(directory, "certs/x.pem", NULL);
    same(directory, "maps/empty.map", NULL);
    same(directory, "maps/host.map", "a c\n");

    /* The content that was removed is written again when it comes back. */
    add(&files, "maps/empty.map", "");
    o = write_files(&loop, d, &files, false);
    assert_int_equal(o.written, 1);
    disk_free(d);
    loop_end(&loop);
    directory_remove(parent);
}

static struct outcome check(uv_loop_t *loop, struct disk *d, bool deep)
{
    struct outcome o = {0};
    assert_true(disk_check(d, deep, take, &o));
    assert_false(disk_check(d, deep, take, &o));
    assert_true(loop_until(loop, &o.told, 20));
    return o;
}

static void add_all(struct disk_files *files)
{
    add(files, "haproxy.cfg", "global\n");
    add(files, "maps/host.map", "a b\n");
    add(files, "certs/x.pem", "secret");
}

static void expect_altered(uv_loop_t *loop, struct disk *d, const char *directory, const char *first, unsigned altered)
{
    struct disk_files files = {0};
    struct outcome o = check(loop, d, false);
    assert_int_equal(o.altered, altered);
    if (first)
        assert_string_equal(o.first_altered, first);
    add_all(&files);
    o = write_files(loop, d, &files, true);
    assert_int_equal(o.err.kind, ERR_NONE);
    same(directory, "haproxy.cfg", "global\n");
    same(directory, "maps/host.map", "a b\n");
    same(directory, "certs/x.pem", "secret");
    assert_int_equal(check(loop, d, true).altered, 0);
}

/* Whatever somebody does to the directory is found, and put right by the next write. */
static void altered_files(void **state UNUSED)
{
    uv_loop_t loop;
    char *parent = directory_new();
    CLEANUP(free_ptr) char *directory = xasprintf("%s/haproxy", parent);
    CLEANUP(free_ptr) char *config = xasprintf("%s/haproxy.cfg", directory);
    CLEANUP(free_ptr) char *map = xasprintf("%s/maps/host.map", directory);
    CLEANUP(free_ptr) char *moved = xasprintf("%s/moved", parent);
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    struct disk_files files = {0};
    add_all(&files);
    assert_int_equal(write_files(&loop, d, &files, true).err.kind, ERR_NONE);
    assert_int_equal(check(&loop, d, false).altered, 0);

    /* The same content at another time is the same file. */
    file_write(directory, "maps/host.map", "a b\n");
    assert_int_equal(check(&loop, d, false).altered, 0);
    /* Of the same length, with the time put back: the time of the change of the inode tells. */
    struct stat before;
    assert_int_equal(stat(map, &before), 0);
    file_write(directory, "maps/host.map", "a c\n");
    assert_int_equal(utimensat(AT_FDCWD, map, (const struct timespec[]){before.st_atim, before.st_mtim}, 0), 0);
    expect_altered(&loop, d, directory, "maps/host.map", 1);
    assert_int_equal(unlink(config), 0);
    expect_altered(&loop, d, directory, "haproxy.cfg", 1);
    assert_int_equal(chmod(map, 0644), 0);
    expect_altered(&loop, d, directory, "maps/host.map", 1);
    assert_int_equal(mode_of(directory, "maps/host.map"), 0600);
    assert_int_equal(unlink(config), 0);
    assert_int_equal(symlink("maps/host.map", config), 0);
    expect_altered(&loop, d, directory, "haproxy.cfg", 1);
    file_write(directory, "certs/other.pem", "x");
    expect_altered(&loop, d, directory, "certs/other.pem", 1);
    same(directory, "certs/other.pem", NULL);
    /* The directory is gone, another one is in its place. */
    assert_int_equal(rename(directory, moved), 0);
    expect_altered(&loop, d, directory, NULL, 3);
    disk_remove(directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    expect_altered(&loop, d, directory, NULL, 6); /* three files, three directories */

    /* A write finds it without a check before. */
    file_write(directory, "haproxy.cfg", "nonsense\n");
    add_all(&files);
    struct outcome o = write_files(&loop, d, &files, true);
    assert_int_equal(o.altered, 1);
    assert_string_equal(o.first_altered, "haproxy.cfg");
    same(directory, "haproxy.cfg", "global\n");
    disk_free(d);
    loop_end(&loop);
    directory_remove(parent);
}

static void other_files_stay(void **state UNUSED)
{
    uv_loop_t loop;
    char *directory = directory_new();
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    assert_int_equal(disk_write_now(d, "fence", "3 7\n", 4, NULL), 0);
    struct disk_files files = {0};
    add(&files, "haproxy.cfg", "global\n");
    struct outcome o = write_files(&loop, d, &files, true);
    assert_int_equal(o.removed, 0);
    CLEANUP(buf_done) struct buf text = {0};
    struct err err = {0};
    assert_int_equal(disk_read(d, "fence", 100, &text, &err), 0);
    assert_string_equal(buf_str(&text), "3 7\n");
    buf_clear(&text);
    assert_int_equal(disk_read(d, "fence", 2, &text, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_int_equal(disk_read(d, "none", 2, &text, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    assert_int_equal(disk_read(d, "maps", 2, &text, &err), -1);
    assert_int_equal(disk_write_now(d, "maps/x", "", 0, &err), -1);
    assert_int_equal(disk_write_now(d, "haproxy.cfg", "", 0, &err), -1);
    disk_free(d);
    loop_end(&loop);
    directory_remove(directory);
}

static void count_name(void *ctx, const char *name)
{
    assert_string_equal(name, "a.pem");
    ++*(int *)ctx;
}

/* Of what HAProxy has obtained nothing is compared with what was written, nor removed. */
static void obtained_files_stay(void **state UNUSED)
{
    uv_loop_t loop;
    int count = 0;
    char *directory = directory_new();
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    struct disk_files files = {0};
    add(&files, "acme/a.pem", "one");
    struct outcome o = write_files(&loop, d, &files, false);
    assert_int_equal(o.written, 1);
    assert_int_equal(mode_of(directory, "acme"), 0700);
    assert_int_equal(mode_of(directory, "acme/a.pem"), 0600);
    same(directory, "acme/a.pem", "one");
    disk_each_saved(d, count_name, &count);
    assert_int_equal(count, 1);
    struct outcome seen = {0};
    file_write(directory, "acme/a.pem", "two");
    assert_true(disk_check(d, true, take, &seen));
    assert_true(loop_until(&loop, &seen.told, 20));
    assert_int_equal(seen.altered, 0);
    add(&files, "haproxy.cfg", "global\n");
    o = write_files(&loop, d, &files, true);
    assert_int_equal(o.removed, 0);
    same(directory, "acme/a.pem", "two");
    disk_remove_saved(d, "haproxy.cfg");
    disk_remove_saved(d, "acme/../haproxy.cfg");
    same(directory, "haproxy.cfg", "global\n");
    disk_remove_saved(d, "acme/a.pem");
    same(directory, "acme/a.pem", NULL);
    disk_free(d);
    loop_end(&loop);
    directory_remove(directory);
}

static void paths_stay_inside(void **state UNUSED)
{
    static const char *const good[] = {"haproxy.cfg", "maps/host.map", "certs/a_b-c.d+e@f:g=h,i~.pem", "a"};
    static const char *const bad[] = {"",        "/",     "/etc/passwd", "../x", "maps/../x", "maps/", "maps//x", ".x",
                                      "maps/.x", "a/b/c", "a b",         "a\nb", "a\\b",      "ä",     "a/"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(disk_path_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(disk_path_valid(bad[i]));
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    longest[251] = '\0';
    assert_false(disk_path_valid(longest));
    longest[250] = '\0';
    assert_true(disk_path_valid(longest));

    uv_loop_t loop;
    char *directory = directory_new();
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    struct disk_files files = {0};
    add(&files, "maps/fine", "x");
    add(&files, "../escape", "x");
    struct outcome o = write_files(&loop, d, &files, true);
    assert_int_equal(o.err.kind, ERR_INVALID);
    same(directory, "maps/fine", NULL);
    /* A symbolic link where a file is to be is replaced, not followed. */
    CLEANUP(free_ptr) char *link = xasprintf("%s/maps/link", directory);
    assert_int_equal(symlink("/nonexistent/target", link), 0);
    add(&files, "maps/link", "text");
    o = write_files(&loop, d, &files, false);
    assert_int_equal(o.err.kind, ERR_NONE);
    same(directory, "maps/link", "text");
    disk_free(d);
    loop_end(&loop);
    directory_remove(directory);
}

static void failures_leave_the_old_file(void **state UNUSED)
{
    uv_loop_t loop;
    char *directory = directory_new();
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    struct disk_files files = {0};
    add(&files, "haproxy.cfg", "old\n");
    add(&files, "maps/a.map", "old\n");
    write_files(&loop, d, &files, true);

    /* No room: a limit of the file size stands in for a full disk. */
    struct rlimit before, small = {.rlim_cur = 1000};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    char large[4000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    setrlimit(RLIMIT_FSIZE, &small);
    add(&files, "haproxy.cfg", "new\n");
    add(&files, "maps/a.map", large);
    struct outcome o = write_files(&loop, d, &files, true);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(o.err.kind, ERR_SYS);
    assert_int_equal(o.err.sys, EFBIG);
    assert_non_null(strstr(o.err.text, "maps/a.map"));
    same(directory, "maps/a.map", "old\n");
    same(directory, "haproxy.cfg", "old\n"); /* it comes last */
    same(directory, "maps/.a.map.tmp", NULL);

    /* The same again succeeds, and is not taken for written. */
    add(&files, "haproxy.cfg", "new\n");
    add(&files, "maps/a.map", large);
    o = write_files(&loop, d, &files, true);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(o.written, 2);
    same(directory, "haproxy.cfg", "new\n");

    /* What a crash leaves half-written goes at the next start; somebody's directory is left alone. */
    disk_free(d);
    CLEANUP(free_ptr) char *maps = xasprintf("%s/maps", directory);
    CLEANUP(free_ptr) char *foreign = xasprintf("%s/maps/foreign", directory);
    file_write(maps, ".b.map.tmp", "half");
    assert_int_equal(mkdir(foreign, 0700), 0);
    d = disk_open(&loop, directory, NULL);
    same(directory, "maps/.b.map.tmp", NULL);
    add(&files, "haproxy.cfg", "new\n");
    o = write_files(&loop, d, &files, true);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(o.removed, 1);
    assert_int_equal(access(foreign, F_OK), 0);

    /* The directory is made anew when somebody has removed it; its files are then missing until they change or the
     * disk is opened again. */
    disk_free(d);
    disk_remove(directory);
    assert_int_not_equal(access(directory, F_OK), 0);
    d = disk_open(&loop, directory, NULL);
    add(&files, "haproxy.cfg", "new\n");
    o = write_files(&loop, d, &files, true);
    assert_int_equal(o.written, 1);
    disk_free(d);
    loop_end(&loop);
    directory_remove(directory);
}

static void wrong_places_are_told(void **state UNUSED)
{
    uv_loop_t loop;
    struct err err = {0};
    uv_loop_init(&loop);
    assert_null(disk_open(&loop, "/nonexistent/a/b", &err));
    assert_int_equal(err.kind, ERR_SYS);
    assert_null(disk_open(&loop, "/dev/null", &err));
    assert_null(disk_free(NULL));
    disk_remove("/nonexistent/a");
    loop_end(&loop);
}

/* HAProxy refuses a configuration that names a file which is not there. So it is there, whatever the set has. */
static void what_is_named_exists(void **state UNUSED)
{
    static const char config[] =
        "frontend f\n    http-request deny if { req.hdr(host),map(maps/m.map,none) -f files/list }\n"
        "    bind :1 ssl crt certs/x.pem\n    # /etc/maps/other.map and maps/sub/x are none\n";
    uv_loop_t loop;
    char *parent = directory_new();
    CLEANUP(free_ptr) char *directory = xasprintf("%s/haproxy", parent);
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, NULL);
    struct disk_files files = {0};
    add(&files, "haproxy.cfg", config);
    add(&files, "maps/m.map", "a b\n");
    add(&files, "maps/other.map", "a b\n");
    add(&files, "certs/x.pem", "secret");
    assert_int_equal(write_files(&loop, d, &files, true).err.kind, ERR_NONE);
    same(directory, "maps/m.map", "a b\n");
    same(directory, "files/list", "");

    /* Nobody gives them any more: a map and a file are empty, a certificate stays as it was. */
    add(&files, "haproxy.cfg", config);
    assert_int_equal(write_files(&loop, d, &files, true).err.kind, ERR_NONE);
    same(directory, "maps/m.map", "");
    same(directory, "files/list", "");
    same(directory, "certs/x.pem", "secret");
    same(directory, "maps/other.map", NULL);
    assert_int_equal(check(&loop, d, true).altered, 0);

    /* A part of the files is written: what is there stays, what is not is made. */
    file_write(directory, "maps/m.map", "a b\n");
    CLEANUP(free_ptr) char *list = xasprintf("%s/files/list", directory);
    assert_int_equal(unlink(list), 0);
    add(&files, "haproxy.cfg", config);
    assert_int_equal(write_files(&loop, d, &files, false).err.kind, ERR_NONE);
    same(directory, "maps/m.map", "a b\n");
    same(directory, "files/list", "");

    add(&files, "haproxy.cfg", "global\n");
    assert_int_equal(write_files(&loop, d, &files, true).err.kind, ERR_NONE);
    same(directory, "maps/m.map", NULL);
    same(directory, "files/list", NULL);
    same(directory, "certs/x.pem", NULL);
    disk_free(d);
    loop_end(&loop);
    directory_remove(parent);
}

/* More than are written before the first is put into its place; one of them cannot be. */
static void many_files(void **state UNUSED)
{
    uv_loop_t loop;
    struct err err = {0};
    char *directory = directory_new();
    uv_loop_init(&loop);
    struct disk *d = disk_open(&loop, directory, &err);
    CLEANUP(free_ptr) char *obstacle = xasprintf("%s/certs/200.pem", directory);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    for (size_t round = 0; round < 2; round++) {
        struct disk_files files = {0};
        for (size_t i = 0; i < 300; i++) {
            CLEANUP(free_ptr) char *path = xasprintf("certs/%zu.pem", i);
            add(&files, path, path);
        }
        add(&files, "haproxy.cfg", "global\n");
        struct outcome o = write_files(&loop, d, &files, true);
        for (size_t i = 0; i < 300; i++) {
            CLEANUP(free_ptr) char *path = xasprintf("certs/%zu.pem", i);
            CLEANUP(free_ptr) char *temporary = xasprintf("certs/.%zu.pem.tmp", i);
            if (round == 1 || i < 200)
                same(directory, path, path);
            same(directory, temporary, NULL);
        }
        if (round == 0) {
            assert_int_equal(o.err.kind, ERR_SYS);
            assert_non_null(strstr(o.err.text, "certs/200.pem"));
            assert_int_equal(o.written, 200);
            same(directory, "haproxy.cfg", NULL); /* it comes last */
            assert_int_equal(rmdir(obstacle), 0);
        } else {
            assert_int_equal(o.err.kind, ERR_NONE);
            assert_int_equal(o.written, 101); /* what is in its place is not written again */
        }
    }
    disk_free(d);
    loop_end(&loop);
    directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_changes_are_written),
        cmocka_unit_test(many_files),
        cmocka_unit_test(altered_files),
        cmocka_unit_test(what_is_named_exists),
        cmocka_unit_test(other_files_stay),
        cmocka_unit_test(paths_stay_inside),
        cmocka_unit_test(failures_leave_the_old_file),
        cmocka_unit_test(wrong_places_are_told),
        cmocka_unit_test(obtained_files_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
