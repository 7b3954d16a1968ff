/* The HTTP server over real sockets: what it answers, and who can keep whom out. */
#include "haproxy_support.h"

#include <arpa/inet.h>
#include <sys/resource.h>

#include "base/families.h"
#include "http/listen.h"
#include "http/server.h"

struct world {
    uv_loop_t loop;
    struct http_server *server;
    unsigned calls;
};

static void serve_hello(void *ctx, struct http_answer *answer)
{
    struct world *w = ctx;

    w->calls++;
    buf_puts(&answer->body, "hello\n");
}

static void serve_refusal(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    answer->status = 503;
    answer->content_type = "application/json";
    buf_puts(&answer->body, "{}\n");
}

static void serve_much(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    for (unsigned i = 0; i < 400000; i++)
        buf_puts(&answer->body, "0123456789\n");
}

static void begin(struct world *w)
{
    struct err err;

    memset(w, 0, sizeof(*w));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(http_server_new(&w->loop, "127.0.0.1", 0, &w->server, &err), 0);
    http_server_route(w->server, "/hello", "a greeting", serve_hello, w);
    http_server_route(w->server, "/no", "a refusal", serve_refusal, w);
    http_server_route(w->server, "/much", "a lot", serve_much, w);
}

static void end(struct world *w)
{
    http_server_free(w->server);
    loop_end(&w->loop);
}

/* A connection from 127.0.0.HOST. */
static int dial(struct world *w, int host)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + (unsigned)host)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(http_server_port(w->server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        assert_int_equal(errno, EINPROGRESS);
    return fd;
}

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    usleep(200);
}

static void say(struct world *w, int fd, const char *text)
{
    size_t length = strlen(text), done = 0;

    for (int i = 0; i < 20000 && done < length; i++) {
        ssize_t n = send(fd, text + done, length - done, MSG_NOSIGNAL);
        done += n > 0 ? (size_t)n : 0;
        if (n < 0 && errno != EAGAIN && errno != ENOTCONN)
            return;
        turn(w);
    }
}

/* Everything until the other side closes, at most seconds; "" when it closes at once. */
static char *hear(struct world *w, int fd, int seconds)
{
    struct buf out = {0};
    char chunk[65536];

    for (int64_t stop = clock_now_ns() + seconds * NS_PER_S; clock_now_ns() < stop;) {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n > 0)
            buf_add(&out, chunk, (size_t)n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        turn(w);
    }
    close(fd);
    return out.data ? buf_steal(&out) : xstrdup("");
}

static char *ask_from(struct world *w, int host, const char *request)
{
    int fd = dial(w, host);

    say(w, fd, request);
    return hear(w, fd, 5);
}

#define REQUEST(method, path) method " " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

static void assert_starts(const char *answer, const char *start)
{
    if (strncmp(answer, start, strlen(start)) != 0)
        fail_msg("\"%.200s\" does not start with \"%s\"", answer, start);
}

static void it_answers_get_and_head(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    CLEANUP(free_ptr) char *got = ask_from(&w, 1, REQUEST("GET", "/hello") "\r\n");
    assert_starts(got, "HTTP/1.1 200 ");
    assert_non_null(strstr(got, "\r\n\r\nhello\n"));
    assert_non_null(strstr(got, "X-Content-Type-Options: nosniff"));
    CLEANUP(free_ptr) char *head = ask_from(&w, 1, REQUEST("HEAD", "/hello") "\r\n");
    assert_starts(head, "HTTP/1.1 200 ");
    assert_non_null(strstr(head, "Content-Length: 6"));
    assert_null(strstr(head, "hello"));
    CLEANUP(free_ptr) char *query = ask_from(&w, 1, REQUEST("GET", "/hello?x=1") "\r\n");
    assert_starts(query, "HTTP/1.1 200 ");
    CLEANUP(free_ptr) char *no = ask_from(&w, 1, REQUEST("GET", "/no") "\r\n");
    assert_starts(no, "HTTP/1.1 503 ");
    assert_non_null(strstr(no, "Content-Type: application/json"));
    CLEANUP(free_ptr) char *much = ask_from(&w, 1, REQUEST("GET", "/much") "\r\n");
    assert_non_null(strstr(much, "Content-Length: 4400000"));
    assert_true(strlen(much) > 4400000);
    assert_int_equal(w.calls, 3);
    end(&w);
}

static void what_is_not_there_and_what_is_not_allowed(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    CLEANUP(free_ptr) char *index = ask_from(&w, 1, REQUEST("GET", "/") "\r\n");
    assert_starts(index, "HTTP/1.1 200 ");
    assert_non_null(strstr(index, "/hello                   a greeting\n"));
    static const char *const missing[] = {"/hell", "/hello/", "/hello/../hello", "//hello", "/etc/passwd"};
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        CLEANUP(free_ptr)
        char *request = xasprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", missing[i]);
        CLEANUP(free_ptr) char *got = ask_from(&w, 1, request);
        if (strncmp(got, "HTTP/1.1 404 ", 13) != 0 && strncmp(got, "HTTP/1.1 400 ", 13) != 0)
            fail_msg("%s: %.80s", missing[i], got);
    }
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        CLEANUP(free_ptr)
        char *request = xasprintf(
            "%s /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", methods[i]);
        CLEANUP(free_ptr) char *got = ask_from(&w, 1, request);
        assert_starts(got, "HTTP/1.1 405 ");
        assert_non_null(strstr(got, "Allow: GET, HEAD"));
    }
    assert_int_equal(w.calls, 0);
    /* A body without end gets its answer before it ends. */
    int fd = dial(&w, 1);
    say(&w, fd, "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    CLEANUP(free_ptr) char *early = hear(&w, fd, 5);
    assert_starts(early, "HTTP/1.1 405 ");
    end(&w);
}

static void nonsense_harms_nobody(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    static const char *const nonsense[] = {"\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x01", "GET / HTTP/9.9\r\n\r\n",
                                           "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        int fd = dial(&w, 2);
        say(&w, fd, nonsense[i]);
        for (int t = 0; t < 20; t++)
            turn(&w);
        close(fd);
    }
    /* A head that does not end. */
    CLEANUP(free_ptr) char *long_line = xcalloc(1, 200001);
    memset(long_line, 'a', 200000);
    int fd = dial(&w, 2);
    say(&w, fd, "GET /");
    say(&w, fd, long_line);
    CLEANUP(free_ptr) char *refused = hear(&w, fd, 5);
    assert_true(*refused == '\0' || strncmp(refused, "HTTP/1.1 4", 10) == 0);
    CLEANUP(free_ptr) char *got = ask_from(&w, 1, REQUEST("GET", "/hello") "\r\n");
    assert_starts(got, "HTTP/1.1 200 ");
    end(&w);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* 200 connections of one address that say nothing, or read nothing: others are answered, and nothing turns in
 * circles. */
static void who_holds_connections_open_keeps_out_only_himself(void **state)
{
    struct world w;
    int fds[200];
    (void)state;

    begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(&w, 2);
        turn(&w);
        if (i % 2)
            (void)!send(fds[i], "GET /much HTTP/1.1\r\n", 20, MSG_NOSIGNAL);
        if (i % 4 == 3)
            (void)!send(fds[i], "Host: x\r\n\r\n", 11, MSG_NOSIGNAL);
    }
    CLEANUP(free_ptr) char *got = ask_from(&w, 1, REQUEST("GET", "/hello") "\r\n");
    assert_starts(got, "HTTP/1.1 200 ");
    double before = cpu_seconds();
    bool over = false;
    (void)!loop_until(&w.loop, &over, 1);
    assert_true(cpu_seconds() - before < 0.5);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    for (int i = 0; i < 100; i++)
        turn(&w);
    /* And he himself, once he has let go. */
    CLEANUP(free_ptr) char *again = ask_from(&w, 2, REQUEST("GET", "/hello") "\r\n");
    assert_starts(again, "HTTP/1.1 200 ");
    end(&w);
}

/* Everybody sits there: as many as there may be, from as many addresses as it takes, all of them idle or half-way in a
 * request. Who asks is answered, from a new address and from one of theirs, again and again. */
static void idle_connections_make_room(void **state)
{
    struct world w;
    int fds[512];
    (void)state;

    begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(&w, 2 + (int)i / 64);
        turn(&w);
        if (i % 2)
            (void)!send(fds[i], "GET /hello HTTP/1.1\r\nHost: x\r\nX: ", 33, MSG_NOSIGNAL);
    }
    for (int i = 0; i < 20; i++) {
        CLEANUP(free_ptr) char *stranger = ask_from(&w, 100, REQUEST("GET", "/hello") "\r\n");
        assert_starts(stranger, "HTTP/1.1 200 ");
        CLEANUP(free_ptr) char *neighbour = ask_from(&w, 9, REQUEST("GET", "/hello") "\r\n");
        assert_starts(neighbour, "HTTP/1.1 200 ");
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    end(&w);
}

/* A connection that is used is not the one that leaves, though it is the oldest. */
static void who_asks_stays(void **state)
{
    struct world w;
    int fds[100];
    char chunk[4096];
    (void)state;

    begin(&w);
    int steady = dial(&w, 3);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        ssize_t n = -1;
        fds[i] = dial(&w, 3);
        turn(&w);
        say(&w, steady, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        for (int t = 0; t < 20000 && n < 0; t++) {
            n = recv(steady, chunk, sizeof(chunk), 0);
            turn(&w);
        }
        assert_true(n > 0);
        assert_int_equal(memcmp(chunk, "HTTP/1.1 200 ", 13), 0);
    }
    assert_int_equal(w.calls, ARRAY_LEN(fds));
    /* The first of the idle ones has left. */
    assert_int_equal(recv(fds[0], chunk, sizeof(chunk), 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    close(steady);
    end(&w);
}

/* A page whose name was given the address 127.0.0.1. */
static void a_local_server_answers_to_local_names(void **state)
{
    static const struct {
        const char *host;
        bool is_local;
    } cases[] = {{"localhost", true},
                 {"LocalHost:9091", true},
                 {"localhost.", true},
                 {"127.0.0.1", true},
                 {"127.0.0.1:9091", true},
                 {"127.8.9.10:1", true},
                 {"[::1]", true},
                 {"[::1]:9091", true},
                 {"[::ffff:127.0.0.1]", true},
                 {"evil.example", false},
                 {"evil.example:9091", false},
                 {"10.0.0.1", false},
                 {"localhost.evil.example", false},
                 {"127.0.0.1.evil.example", false},
                 {"127.0.0.1@evil.example", false},
                 {"[::2]", false},
                 {"[::1", false},
                 {"localhost:x", false},
                 {"xlocalhost", false},
                 {"0.0.0.0", false},
                 {"127.1", false},
                 {"", false},
                 {".", false}};
    struct world w;
    (void)state;

    begin(&w);
    http_server_local(w.server);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr)
        char *request = xasprintf("GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", cases[i].host);
        CLEANUP(free_ptr) char *got = ask_from(&w, 1, request);
        bool answered = strncmp(got, "HTTP/1.1 200 ", 13) == 0;
        if (answered != cases[i].is_local || (!answered && strncmp(got, "HTTP/1.1 4", 10) != 0) ||
            (!answered && strstr(got, "hello\n")))
            fail_msg("\"%s\": %.100s", cases[i].host, got);
    }
    CLEANUP(free_ptr) char *old = ask_from(&w, 1, "GET /hello HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(old, " 200 "));
    CLEANUP(free_ptr) char *index = ask_from(&w, 1, REQUEST("GET", "/") "\r\n");
    assert_starts(index, "HTTP/1.1 421 ");
    end(&w);
}

/* As many at once as there may be, all of them answered. */
static void many_at_once_are_answered(void **state)
{
    struct world w;
    int fds[200];
    unsigned answered = 0;
    (void)state;

    begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(&w, 1 + (int)i % 5);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        say(&w, fds[i], REQUEST("GET", "/hello") "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        CLEANUP(free_ptr) char *got = hear(&w, fds[i], 5);
        answered += strstr(got, "\r\n\r\nhello\n") != NULL;
    }
    assert_int_equal(answered, ARRAY_LEN(fds));
    end(&w);
}

static void a_slow_reader_gets_everything(void **state)
{
    struct world w;
    char chunk[16384];
    size_t length = 0;
    (void)state;

    begin(&w);
    int fd = dial(&w, 1);
    say(&w, fd, REQUEST("GET", "/much") "\r\n");
    for (int64_t stop = clock_now_ns() + 20 * NS_PER_S; clock_now_ns() < stop;) {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n == 0)
            break;
        length += n > 0 ? (size_t)n : 0;
        turn(&w);
        usleep(500);
    }
    close(fd);
    assert_true(length > 4400000);
    end(&w);
}

static void an_address_that_cannot_be_had_is_an_error(void **state)
{
    struct world w;
    struct http_server *other = NULL;
    struct err err;
    (void)state;

    begin(&w);
    assert_int_equal(http_server_new(&w.loop, "localhost", 0, &other, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(http_server_new(&w.loop, "127.0.0.1", http_server_port(w.server), &other, &err), -1);
    CLEANUP(free_ptr) char *place = xasprintf("listen on 127.0.0.1 port %u", http_server_port(w.server));
    assert_non_null(strstr(err.text, place));
    assert_int_equal(http_server_new(&w.loop, "203.0.113.1", 0, &other, &err), -1);
    if (http_server_new(&w.loop, "::1", 0, &other, &err) == 0)
        http_server_free(other);
    end(&w);
}

static bool can_connect(int family, const struct sockaddr *at, socklen_t length)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can = fd >= 0 && connect(fd, at, length) == 0;

    if (fd >= 0)
        close(fd);
    return can;
}

static void it_listens_on_both_families(void **state)
{
    static const char *const everywhere[] = {LISTEN_EVERYWHERE, "::", "[::]"};
    struct families families = families_of_machine();
    struct world w;
    struct err err;
    (void)state;

    begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(everywhere); i++) {
        struct http_server *s = NULL;
        if (i > 0 && !families.ipv6)
            continue; /* an address of IPv6 cannot be had */
        assert_int_equal(http_server_new(&w.loop, everywhere[i], 0, &s, &err), 0);
        struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(http_server_port(s))};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(http_server_port(s))};
        in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in6.sin6_addr = in6addr_loopback;
        assert_true(can_connect(AF_INET, (const struct sockaddr *)&in4, sizeof(in4)));
        assert_int_equal(can_connect(AF_INET6, (const struct sockaddr *)&in6, sizeof(in6)), families.ipv6_loopback);
        http_server_free(s);
    }
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_get_and_head),
        cmocka_unit_test(what_is_not_there_and_what_is_not_allowed),
        cmocka_unit_test(nonsense_harms_nobody),
        cmocka_unit_test(who_holds_connections_open_keeps_out_only_himself),
        cmocka_unit_test(idle_connections_make_room),
        cmocka_unit_test(who_asks_stays),
        cmocka_unit_test(a_local_server_answers_to_local_names),
        cmocka_unit_test(many_at_once_are_answered),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(an_address_that_cannot_be_had_is_an_error),
        cmocka_unit_test(it_listens_on_both_families),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
