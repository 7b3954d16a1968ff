/* The agent's API over real sockets: a client that does not go on with its handshake costs nothing meanwhile. */
#include "api_world.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#define TURNS_MAX 400 /* of the loop in half a second; one that does not sleep makes tens of thousands */

struct world {
    struct api_world api;
    uv_prepare_t counter;
    struct peers *peers;
    unsigned turns, answers;
    size_t answered_bytes;
};

static void on_turn(uv_prepare_t *prepare)
{
    ((struct world *)prepare->data)->turns++;
}

static void serve_hello(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct buf answer = {0};
    (void)ctx;
    buf_printf(&answer, "{\"length\":%zu}\n", length);
    (void)body;
    api_answer(request, 200, "application/json", &answer);
}

static void serve_large(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct buf answer = {0};
    (void)ctx;
    (void)body;
    (void)length;
    for (unsigned i = 0; i < 64 * 1024; i++)
        buf_puts(&answer, "0123456789abcde\n");
    api_answer(request, 200, "text/plain", &answer);
}

static void begin(struct world *w)
{
    struct err err;
    memset(w, 0, sizeof(*w));
    api_world_begin(&w->api);
    api_server_route(w->api.server, "GET", "/hello", serve_hello, w);
    api_server_route(w->api.server, "POST", "/hello", serve_hello, w);
    api_server_route(w->api.server, "GET", "/large", serve_large, w);
    w->peers = peers_new(&w->api.loop, "test", "haptic-agent");
    const struct peer_identity identity = api_world_client(&w->api);
    assert_int_equal(peers_set_identity(w->peers, &identity, &err), 0);
    uv_prepare_init(&w->api.loop, &w->counter);
    w->counter.data = w;
    uv_prepare_start(&w->counter, on_turn);
    uv_unref((uv_handle_t *)&w->counter);
}

static void end(struct world *w)
{
    peers_free(w->peers);
    uv_close((uv_handle_t *)&w->counter, NULL);
    api_world_end(&w->api);
}

static void on_answer(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct world *w = ctx;
    assert_null(err);
    assert_int_equal(answer->status, 200);
    w->answers++;
    w->answered_bytes = answer->length;
}

static void ask(struct world *w, const char *path, struct peer_body *body)
{
    const struct peer_address address = {.host = "127.0.0.1", .port = api_server_port(w->api.server)};
    const struct peer_call call = {.address = &address,
                                   .path = path,
                                   .body = body,
                                   .timeout_ns = 60 * NS_PER_S,
                                   .max_answer = (size_t)8 << 20,
                                   .done = on_answer,
                                   .ctx = w};
    peers_start(w->peers, &call);
}

static void run_until_answered(struct world *w, unsigned answers)
{
    int64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
    while (w->answers < answers && clock_now_ns() < end_ns)
        uv_run(&w->api.loop, UV_RUN_ONCE);
    assert_int_equal(w->answers, answers);
}

static unsigned turns_within(struct world *w, int64_t ms)
{
    unsigned before = w->turns;
    loop_sleep(&w->api.loop, ms);
    return w->turns - before;
}

static int dial(const struct world *w)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(api_server_port(w->api.server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* The first bytes of a record of a handshake, and no more. */
static void a_handshake_that_waits_costs_nothing(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    int silent = dial(&w), begun = dial(&w);
    assert_int_equal(write(begun, "\x16\x03\x01\x02\x00\x01", 6), 6);
    (void)turns_within(&w, 300);
    unsigned turns = turns_within(&w, 500);
    if (turns > TURNS_MAX)
        fail_msg("%u turns of the loop while two clients say nothing", turns);
    close(silent);
    close(begun);
    end(&w);
}

/* What others ask for meanwhile is answered, in one piece and in many. */
static void others_are_served_beside_a_handshake_that_waits(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    int silent = dial(&w);
    (void)turns_within(&w, 300);
    ask(&w, "/hello", NULL);
    run_until_answered(&w, 1);
    struct peer_body *body = peer_body_new();
    for (unsigned i = 0; i < 64 * 1024; i++)
        buf_puts(&body->bytes, "0123456789abcde\n");
    ask(&w, "/hello", body);
    peer_body_unref(body);
    run_until_answered(&w, 2);
    assert_int_equal(w.answered_bytes, strlen("{\"length\":1048576}\n"));
    ask(&w, "/large", NULL);
    run_until_answered(&w, 3);
    assert_int_equal(w.answered_bytes, 1 << 20);
    close(silent);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_that_waits_costs_nothing),
        cmocka_unit_test(others_are_served_beside_a_handshake_that_waits),
    };
    curl_global_init(CURL_GLOBAL_ALL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
