/* Servers whose address is a name: their addresses outlive a reload and a restart, and another name needs none. */
#include "agent_support.h"

#include <arpa/inet.h>

/* A name server: 127.0.0.1 for every name, unless it is silent. */
struct names {
    pthread_t thread;
    int fd, port;
    atomic_bool silent;
    atomic_uint asked;
};

static void answer(struct names *n, unsigned char *question, size_t length, const struct sockaddr_in *peer)
{
    size_t end = 12;
    while (end < length && question[end])
        end += question[end] + 1U;
    if (end + 5 > length || atomic_load(&n->silent))
        return;
    unsigned char out[600];
    bool is_a = question[end + 2] == 1;
    memcpy(out, question, end + 5);
    memcpy(out + 2, "\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00", 10);
    out[7] = is_a;
    length = end + 5;
    if (is_a) {
        memcpy(out + length, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x7f\x00\x00\x01", 16);
        length += 16;
    }
    (void)!sendto(n->fd, out, length, 0, (const struct sockaddr *)peer, sizeof(*peer));
}

static void *names_run(void *ctx)
{
    struct names *n = ctx;
    unsigned char question[512];
    struct sockaddr_in peer;
    socklen_t size = sizeof(peer);
    ssize_t length;
    while ((length = recvfrom(n->fd, question, sizeof(question), 0, (struct sockaddr *)&peer, &size)) > 0) {
        atomic_fetch_add(&n->asked, 1);
        answer(n, question, (size_t)length, &peer);
        size = sizeof(peer);
    }
    return NULL;
}

static void names_start(struct names *n)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(n, 0, sizeof(*n));
    n->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(n->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(n->fd, (struct sockaddr *)&address, &size), 0);
    n->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&n->thread, NULL, names_run, n), 0);
}

static void names_end(struct names *n)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)n->port)};
    assert_int_equal(sendto(n->fd, "", 0, 0, (struct sockaddr *)&address, sizeof(address)), 0);
    pthread_join(n->thread, NULL);
    close(n->fd);
}

static char *name_line(const char *name, const char *more)
{
    return xasprintf("server external %s:%d resolvers names init-addr last,none%s\n", name, upstreams.ports[0], more);
}

static void names(struct world *w, const char *series)
{
    (void)series;
    struct names n;
    struct agent_status status;
    names_start(&n);
    CLEANUP(free_ptr)
    char *resolvers = xasprintf("nameserver n 127.0.0.1:%d\nresolve_retries 1\ntimeout resolve 1s\n"
                                "timeout retry 1s\nhold timeout 60s\nhold other 60s\n",
                                n.port);
    CLEANUP(free_ptr) char *state = xasprintf("server-state-file %s/servers.state\n", w->directory);
    const struct emitted more[] = {
        {CONTRIBUTION_SECTION, "resolvers names", "body", resolvers, 5, 0},
        {CONTRIBUTION_SECTION, "global", "state", state, 0, 10},
        {CONTRIBUTION_SECTION, "defaults base", "state", "load-server-state-from-file global\n", 10, 10},
    };
    model_put_owned(w->model, "names", "", 0, more, ARRAY_LEN(more));
    CLEANUP(free_ptr) char *first = name_line("one.test", "");
    edit(w, "name.example", "named", first);
    world_apply(w, false);
    assert_true(w->reloaded);
    char body[64];
    WORLD_UNTIL(w, http_get(w->port, "name.example", body, sizeof(body)) == 200);
    /* A reload while nobody answers. */
    atomic_store(&n.silent, true);
    model_put_base(w->model, w->port, "http-request set-header X-A b\n");
    model_check(w->model, true);
    world_apply(w, false);
    assert_true(w->reloaded);
    assert_answer(w, "name.example", "a");
    /* And a death. */
    agent_status(w->agent, &status);
    w->changed[0] = '\0';
    kill(status.haproxy_pid, SIGKILL);
    expect_change(w, "HAProxy was started");
    world_apply(w, true);
    assert_answer(w, "name.example", "a");
    /* Another name: no reload. Its address is not taken for the next one's. */
    int pid = world_worker_pid(w);
    CLEANUP(free_ptr) char *second = name_line("two.test", "");
    edit(w, "name.example", "named", second);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_true(w->operations > 0);
    assert_int_equal(world_worker_pid(w), pid);
    assert_true(world_shows(w, "show servers state named", " two.test "));
    atomic_store(&n.silent, false);
    unsigned asked = atomic_load(&n.asked);
    WORLD_UNTIL(w, atomic_load(&n.asked) > asked + 2);
    WORLD_UNTIL(w, http_get(w->port, "name.example", body, sizeof(body)) == 200);
    world_sleep(w, 300);
    CLEANUP(free_ptr) char *config = file_read(w->directory, "haproxy.cfg");
    assert_non_null(strstr(config, "two.test"));
    CLEANUP(free_ptr) char *kept = file_read(w->directory, "servers.state");
    assert_null(strstr(kept, "one.test"));
    /* A successor knows the name. */
    world_agent_end(w, false);
    w->transitions++;
    world_agent(w, true);
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    names_end(&n);
}

static void test_names(void **state)
{
    (void)state;
    each_series(names, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
