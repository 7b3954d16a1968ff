/* Sockets are reached by a descriptor of their directory: a link that another user puts in the path is not followed. */
#include "haproxy_support.h"

#include <sys/socket.h>

#include "haproxy/runtime.h"
#include "haproxy/socket_path.h"

#define NOBODY 65534

static int listener(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s.sock", directory);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 10), 0);
    return fd;
}

static bool connects(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, path, strlen(path) + 1);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return ok;
}

static bool was_called(int fd)
{
    int peer = accept(fd, NULL, NULL);

    if (peer >= 0)
        close(peer);
    return peer >= 0;
}

static void the_directory_is_held(void **state)
{
    (void)state;
    char *ours = directory_new(), *theirs = directory_new();
    CLEANUP(free_ptr) char *path = xasprintf("%s/s.sock", ours), *aside = xasprintf("%s.aside", ours);
    int first = listener(ours), second = listener(theirs);
    struct socket_path held;
    struct err err;

    assert_int_equal(socket_path_open(path, &held, &err), 0);
    assert_int_equal(rename(ours, aside), 0);
    assert_int_equal(symlink(theirs, ours), 0);
    assert_true(connects(held.path));
    assert_true(was_called(first) && !was_called(second));
    socket_path_close(&held);
    /* A link of our own or root's is an administrator's. */
    assert_int_equal(socket_path_open(path, &held, &err), 0);
    socket_path_close(&held);
    assert_int_equal(unlink(ours), 0);
    assert_int_equal(rename(aside, ours), 0);
    close(first);
    close(second);
    directory_remove(ours);
    directory_remove(theirs);
}

struct told {
    bool done;
    struct err err;
};

static void on_told(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct told *t = ctx;

    (void)answers, (void)count;
    t->done = true;
    t->err = err ? *err : (struct err){0};
}

static void another_users_link_is_not_followed(void **state)
{
    (void)state;
    char *ours = directory_new(), *theirs = directory_new();
    CLEANUP(free_ptr)
    char *link = xasprintf("%s/run", ours), *path = xasprintf("%s/run/s.sock", ours),
         *last = xasprintf("%s/last.sock", ours), *target = xasprintf("%s/s.sock", theirs);
    const char *command = "show info";
    struct socket_path held;
    struct told told = {0};
    uv_loop_t loop;
    struct err err;

    if (geteuid() != 0) {
        print_message("    needs root, to make another user's link\n");
        skip();
    }
    int fd = listener(theirs);
    assert_true(symlink(theirs, link) == 0 && lchown(link, NOBODY, NOBODY) == 0);
    assert_true(symlink(target, last) == 0 && lchown(last, NOBODY, NOBODY) == 0);
    assert_int_equal(socket_path_open(path, &held, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(socket_path_open(last, &held, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    /* So nothing is said to it. */
    assert_int_equal(uv_loop_init(&loop), 0);
    runtime_run(&loop, path, &command, 1, 5 * NS_PER_S, 0, on_told, &told);
    assert_true(loop_until(&loop, &told.done, 10));
    assert_int_equal(told.err.kind, ERR_INVALID);
    assert_non_null(strstr(told.err.text, "a link of another user"));
    assert_false(was_called(fd));
    loop_end(&loop);
    close(fd);
    directory_remove(ours);
    directory_remove(theirs);
}

static void what_is_not_there(void **state)
{
    (void)state;
    char *ours = directory_new();
    CLEANUP(free_ptr) char *no_directory = xasprintf("%s/none/s.sock", ours), *no_socket = xasprintf("%s/s.sock", ours);
    struct socket_path held;
    struct err err;

    assert_int_equal(socket_path_open(no_directory, &held, &err), -1);
    assert_int_equal(err.kind, ERR_SYS);
    assert_int_equal(held.directory, -1);
    assert_int_equal(socket_path_open(no_socket, &held, &err), 0); /* connecting says it */
    assert_false(connects(held.path));
    socket_path_close(&held);
    directory_remove(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_directory_is_held),
        cmocka_unit_test(another_users_link_is_not_followed),
        cmocka_unit_test(what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
