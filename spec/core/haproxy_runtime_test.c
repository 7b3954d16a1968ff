/* Tests of runtime.c: framing against scripted peers (delivered whole and byte by byte), faults, and real HAProxy of
 * each series. */
#include "haproxy_support.h"

#include "haproxy/runtime.h"

#define SECOND NS_PER_S

/* --- a peer that plays a script --- */

struct peer {
    uv_pipe_t server, client;
    uv_timer_t pace;
    uv_write_t write;
    const char *script;
    size_t length, sent;
    bool byte_wise, close_after, connected;
    char path[108];
};

static void peer_alloc(uv_handle_t *handle UNUSED, size_t suggested UNUSED, uv_buf_t *ret)
{
    static char sink[65536];
    *ret = uv_buf_init(sink, sizeof(sink));
}

static void peer_wrote(uv_write_t *request, int status UNUSED)
{
    struct peer *p = request->data;
    if (p->sent == p->length && p->close_after && !uv_is_closing((uv_handle_t *)&p->client))
        uv_close((uv_handle_t *)&p->client, NULL);
}

static void peer_send(struct peer *p, size_t count)
{
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)(p->script + p->sent), (unsigned)count);
    p->sent += count;
    p->write.data = p;
    if (count == 0)
        peer_wrote(&p->write, 0);
    else
        assert_int_equal(uv_write(&p->write, (uv_stream_t *)&p->client, &bytes, 1, peer_wrote), 0);
}

static void peer_pace(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    uv_buf_t byte = uv_buf_init((char *)(uintptr_t)(p->script + p->sent), 1);
    if (p->sent < p->length && uv_try_write((uv_stream_t *)&p->client, &byte, 1) == 1)
        p->sent++;
    else
        uv_timer_stop(timer);
    p->write.data = p;
    if (p->sent == p->length)
        peer_wrote(&p->write, 0);
}

static void peer_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *chunk UNUSED)
{
    struct peer *p = stream->data;
    if (count < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, NULL);
        uv_timer_stop(&p->pace);
    } else if (p->sent == 0 && !uv_is_active((uv_handle_t *)&p->pace)) {
        if (p->byte_wise)
            uv_timer_start(&p->pace, peer_pace, 0, 1);
        else
            peer_send(p, p->length);
    }
}

static void peer_connection(uv_stream_t *server, int status)
{
    struct peer *p = server->data;
    assert_int_equal(status, 0);
    uv_pipe_init(server->loop, &p->client, 0);
    p->client.data = p;
    p->connected = true;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&p->client), 0);
    uv_read_start((uv_stream_t *)&p->client, peer_alloc, peer_read);
}

static void peer_start(struct peer *p, uv_loop_t *loop, const char *script)
{
    p->script = script;
    p->length = strlen(script);
    snprintf(p->path, sizeof(p->path), "/tmp/haptic-spec-%d-%p.sock", (int)getpid(), (void *)p);
    unlink(p->path);
    uv_pipe_init(loop, &p->server, 0);
    uv_timer_init(loop, &p->pace);
    p->server.data = p->pace.data = p;
    assert_int_equal(uv_pipe_bind(&p->server, p->path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->server, 4, peer_connection), 0);
}

static void peer_end(struct peer *p)
{
    uv_close((uv_handle_t *)&p->server, NULL);
    uv_close((uv_handle_t *)&p->pace, NULL);
    if (p->connected && !uv_is_closing((uv_handle_t *)&p->client))
        uv_close((uv_handle_t *)&p->client, NULL);
}

/* --- what came out --- */

struct outcome {
    bool told;
    struct err err;
    size_t count;
    VEC(char *) texts;
    size_t bytes;
};

static void outcome_take(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct outcome *o = ctx;
    assert_false(o->told);
    o->told = true;
    if (err)
        o->err = *err;
    o->count = count;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strlen(answers[i].text), answers[i].length);
        vec_push(&o->texts, xstrdup(answers[i].text));
        o->bytes += answers[i].length;
    }
}

static void outcome_done(struct outcome *o)
{
    for (size_t i = 0; i < o->texts.length; i++)
        free(o->texts.items[i]);
    vec_done(&o->texts);
    memset(o, 0, sizeof(*o));
}

/* Run the commands against a peer with that script. */
static void play(struct outcome *o, const char *script, bool byte_wise, bool close_after, const char *const *commands,
                 size_t count, size_t max)
{
    uv_loop_t loop;
    struct peer peer = {.byte_wise = byte_wise, .close_after = close_after};
    assert_int_equal(uv_loop_init(&loop), 0);
    peer_start(&peer, &loop, script);
    runtime_run(&loop, peer.path, commands, count, SECOND, max, outcome_take, o);
    assert_false(o->told);
    assert_true(loop_until(&loop, &o->told, 10));
    peer_end(&peer);
    loop_end(&loop);
}

static const char *const three[] = {"show map", "set server a/b weight 1", "show version"};

static void answers_are_cut_at_prompts(void **state UNUSED)
{
    for (int byte_wise = 0; byte_wise < 2; byte_wise++) {
        struct outcome o = {0};
        play(&o, "\n> # id\n0 (a > b)\n x> y\n\n> \n> 3.0\n\n> ", byte_wise, false, three, 3, 0);
        assert_int_equal(o.err.kind, ERR_NONE);
        assert_int_equal(o.count, 3);
        assert_string_equal(o.texts.items[0], "# id\n0 (a > b)\n x> y");
        assert_string_equal(o.texts.items[1], "");
        assert_string_equal(o.texts.items[2], "3.0");
        outcome_done(&o);
    }
}

static void masters_prompt_is_learnt(void **state UNUSED)
{
    for (int byte_wise = 0; byte_wise < 2; byte_wise++) {
        struct outcome o = {0};
        play(&o,
             "master[ReloadFailed]> a\n> b\n\nmaster[ReloadFailed]> master[ReloadFailed]> c\nmaster[ReloadFailed]> ",
             byte_wise, false, three, 3, 0);
        assert_string_equal(o.err.text, "");
        assert_int_equal(o.count, 3);
        assert_string_equal(o.texts.items[0], "a\n> b");
        assert_string_equal(o.texts.items[1], "");
        assert_string_equal(o.texts.items[2], "c");
        outcome_done(&o);
    }
}

static void payload_prompts_are_left_out(void **state UNUSED)
{
    static const char *const commands[] = {"add map m <<\na b\nc d\n", "show version", "add map m <<\na b\nc d\n"};
    struct outcome o = {0};
    play(&o, "\n> + + + + + + \n> + 1\n\n> \n> ", true, false, commands, 3, 0);
    assert_int_equal(o.count, 3);
    assert_string_equal(o.texts.items[0], "");
    assert_string_equal(o.texts.items[1], "+ 1");
    assert_string_equal(o.texts.items[2], "");
    outcome_done(&o);
}

static void last_answer_may_end_with_the_connection(void **state UNUSED)
{
    static const char *const reload[] = {"reload"};
    struct outcome o = {0};
    play(&o, "master> Success=1\n--\nlog\n\n", false, true, reload, 1, 0);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_string_equal(o.texts.items[0], "Success=1\n--\nlog");
    outcome_done(&o);
    /* Not without the empty line: it may have been cut. */
    play(&o, "master> Success=1\n--\nlo", false, true, reload, 1, 0);
    assert_int_equal(o.err.kind, ERR_IO);
    assert_int_equal(o.count, 0);
    outcome_done(&o);
}

static void early_end_keeps_what_was_complete(void **state UNUSED)
{
    struct outcome o = {0};
    play(&o, "\n> one\n\n> tw", false, true, three, 3, 0);
    assert_int_equal(o.err.kind, ERR_IO);
    assert_non_null(strstr(o.err.text, "set server a/b weight 1"));
    assert_int_equal(o.count, 1);
    assert_string_equal(o.texts.items[0], "one");
    outcome_done(&o);
    play(&o, "", false, true, three, 3, 0);
    assert_int_equal(o.err.kind, ERR_IO);
    assert_int_equal(o.count, 0);
    outcome_done(&o);
}

static void nonsense_is_refused(void **state UNUSED)
{
    static const char *const scripts[] = {
        "HTTP/1.1 400 Bad request\r\n\r\n", "\n\n> ", "> x\n", "\x01\x02\x03\xff",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa> "};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct outcome o = {0};
        play(&o, scripts[i], i % 2, true, three, 3, 0);
        assert_int_equal(o.err.kind, ERR_IO);
        assert_int_equal(o.count, 0);
        outcome_done(&o);
    }
}

static void silence_ends_at_the_deadline(void **state UNUSED)
{
    struct outcome o = {0};
    int64_t start = clock_now_ns();
    play(&o, "\n> one\n\n> half of", false, false, three, 3, 0);
    assert_int_equal(o.err.kind, ERR_TIMEOUT);
    assert_int_equal(o.count, 1);
    assert_in_range(clock_now_ns() - start, SECOND - 100 * NS_PER_MS, 5 * SECOND);
    outcome_done(&o);
}

static void answers_have_a_limit(void **state UNUSED)
{
    char *script = xcalloc(1, 300001);
    memset(script, 'x', 300000);
    memcpy(script, "\n> ", 3);
    struct outcome o = {0};
    play(&o, script, false, false, three, 3, 100000);
    assert_int_equal(o.err.kind, ERR_LIMIT);
    outcome_done(&o);
    free(script);
}

static void what_is_no_command_is_refused(void **state UNUSED)
{
    static const char *const wrong[] = {
        "",         "\n",           "show map\n",         "show map\nshow version", "add map m <<\na b",
        "<\na b\n", "add m <<\n\n", "add m <<\na\n\nb\n", "add map x\n<<\na b\n"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uv_loop_t loop;
        struct outcome o = {0};
        uv_loop_init(&loop);
        runtime_run(&loop, "/nowhere", &wrong[i], 1, SECOND, 0, outcome_take, &o);
        assert_false(o.told);
        assert_true(loop_until(&loop, &o.told, 5));
        assert_int_equal(o.err.kind, ERR_INVALID);
        loop_end(&loop);
    }
}

static void connecting_can_fail(void **state UNUSED)
{
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *paths[] = {"/nonexistent/haptic.sock", longest};
    const enum err_kind kinds[] = {ERR_SYS, ERR_INVALID};
    for (size_t i = 0; i < 2; i++) {
        uv_loop_t loop;
        struct outcome o = {0};
        uv_loop_init(&loop);
        runtime_run(&loop, paths[i], three, 3, SECOND, 0, outcome_take, &o);
        assert_false(o.told);
        assert_true(loop_until(&loop, &o.told, 5));
        assert_int_equal(o.err.kind, kinds[i]);
        if (kinds[i] == ERR_SYS)
            assert_int_equal(o.err.sys, ENOENT);
        loop_end(&loop);
    }
}

static void nothing_to_run_is_done_at_once(void **state UNUSED)
{
    uv_loop_t loop;
    struct outcome o = {0};
    uv_loop_init(&loop);
    runtime_run(&loop, "/nowhere", NULL, 0, SECOND, 0, outcome_take, &o);
    assert_true(loop_until(&loop, &o.told, 5));
    assert_int_equal(o.err.kind, ERR_NONE);
    loop_end(&loop);
}

static void cancelled_calls_are_silent(void **state UNUSED)
{
    for (int turns = 0; turns < 6; turns++) {
        uv_loop_t loop;
        struct outcome o = {0};
        struct peer peer = {.byte_wise = true};
        uv_loop_init(&loop);
        peer_start(&peer, &loop, "\n> one\n\n> two\n\n> three\n\n> ");
        struct runtime_call *call = runtime_run(&loop, peer.path, three, 3, SECOND, 0, outcome_take, &o);
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        runtime_cancel(call);
        for (int i = 0; i < 20; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        assert_false(o.told);
        peer_end(&peer);
        loop_end(&loop);
    }
}

/* Nobody is told of a connection that was expected and is lost; its slot is empty then. */
static void expected_connections_end(void **state UNUSED)
{
    for (int how = 0; how < 4; how++) {
        uv_loop_t loop;
        struct runtime_call *slot = NULL;
        struct peer peer = {.close_after = how == 0};
        uv_loop_init(&loop);
        peer_start(&peer, &loop, how == 1 ? "what is this\n" : "\n> \n> ");
        runtime_expect(&loop, how == 2 ? "/nonexistent/haptic.sock" : peer.path, how == 3 ? NS_PER_MS : 60 * SECOND,
                       &slot);
        assert_non_null(slot);
        bool is_over = false;
        for (int64_t end = clock_now_ns() + 10 * SECOND; !is_over && clock_now_ns() < end;) {
            uv_run(&loop, UV_RUN_NOWAIT);
            is_over = slot == NULL;
        }
        assert_true(is_over);
        peer_end(&peer);
        loop_end(&loop);
    }
}

/* --- real HAProxy --- */

static void run(struct outcome *o, const char *path, const char *const *commands, size_t count)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    runtime_run(&loop, path, commands, count, 200 * SECOND, 0, outcome_take, o);
    assert_true(loop_until(&loop, &o->told, 220));
    loop_end(&loop);
    if (o->err.kind)
        print_message("%s\n", o->err.text);
}

static void real_commands(struct haproxy *h)
{
    static const char *const commands[] = {"show map",
                                           "add map maps/host.map <<\nb.example one; > \\ \"x\n> two\nc.example one\n",
                                           "set server one/s1 weight 7",
                                           "show map maps/host.map",
                                           "get weight one/s1",
                                           "haptic-nonsense",
                                           "add server one/s9 127.0.0.1:1",
                                           "clear map maps/host.map",
                                           "show map maps/host.map"};
    struct outcome o = {0};
    run(&o, h->runtime_socket, commands, ARRAY_LEN(commands));
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(o.count, ARRAY_LEN(commands));
    assert_non_null(strstr(o.texts.items[0], "(maps/host.map)"));
    assert_string_equal(o.texts.items[1], "");
    assert_string_equal(o.texts.items[2], "");
    assert_non_null(strstr(o.texts.items[3], " b.example one; > \\ \"x\n"));
    assert_non_null(strstr(o.texts.items[3], " > two\n"));
    assert_string_equal(o.texts.items[4], "7 (initial 1)");
    assert_int_equal(strncmp(o.texts.items[5], "Unknown command", 15), 0);
    assert_string_equal(o.texts.items[6], "New server registered.");
    assert_string_equal(o.texts.items[7], "");
    assert_string_equal(o.texts.items[8], "");
    outcome_done(&o);

    static const char *const master[] = {"show proc", "show version"};
    run(&o, h->master_socket, master, 2);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(strncmp(o.texts.items[0], "#<PID>", 6), 0);
    outcome_done(&o);
}

struct gated {
    struct outcome o; /* first: the gate and done have the same ctx */
    unsigned asked;
    bool refuses;
};

static int count_gate(void *ctx, struct err *err)
{
    struct gated *g = ctx;
    g->asked++;
    return g->refuses ? err_set(err, ERR_STALE, "not now") : 0;
}

/* The commands may come at any moment of the connection's life: before it is made, while HAProxy answers,
 * afterwards. */
static void real_expected(struct haproxy *h)
{
    static const char *const commands[] = {"set server one/s1 weight 9", "get weight one/s1"};
    static const char *const refused[] = {"set server one/s1 weight 3"};
    for (int turns = 0; turns < 40; turns++) {
        uv_loop_t loop;
        struct gated g = {.refuses = turns % 4 == 3};
        struct runtime_call *slot = NULL;
        uv_loop_init(&loop);
        runtime_expect(&loop, h->runtime_socket, 60 * SECOND, &slot);
        for (int i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            if (turns > 20)
                usleep(200);
        }
        assert_non_null(slot);
        if (turns % 5 == 4) {
            runtime_cancel(slot);
            assert_null(slot);
            loop_end(&loop);
            continue;
        }
        runtime_run_expected(STEAL(slot), g.refuses ? refused : commands, g.refuses ? 1 : 2, 10 * SECOND, 0, count_gate,
                             outcome_take, &g);
        assert_false(g.o.told);
        assert_true(loop_until(&loop, &g.o.told, 20));
        assert_int_equal(g.asked, 1);
        assert_int_equal(g.o.err.kind, g.refuses ? ERR_STALE : ERR_NONE);
        assert_int_equal(g.o.count, g.refuses ? 0 : 2);
        if (!g.refuses)
            assert_string_equal(g.o.texts.items[1], "9 (initial 1)");
        outcome_done(&g.o);
        loop_end(&loop);
    }
}

/* One connection serves call after call until one is refused or its time is over. */
static void real_kept(struct haproxy *h)
{
    static const char *const commands[] = {"set server one/s1 weight 9", "add map maps/host.map <<\nkept.example one\n",
                                           "get map maps/host.map kept.example", "clear map maps/host.map",
                                           "get weight one/s1"};
    uv_loop_t loop;
    struct runtime_call *slot = NULL, *first = NULL;
    uv_loop_init(&loop);
    for (int turn = 0; turn < 8; turn++) {
        struct gated g = {.refuses = turn == 6};
        size_t count = turn % 2 ? ARRAY_LEN(commands) : 1;
        struct runtime_call *call = slot ? runtime_run_expected(STEAL(slot), commands, count, 10 * SECOND, 0,
                                                                count_gate, outcome_take, &g)
                                         : runtime_run_gated(&loop, h->runtime_socket, commands, count, 10 * SECOND, 0,
                                                             count_gate, outcome_take, &g);
        runtime_keep(call, turn == 7 ? 0 : 60 * SECOND, &slot);
        assert_true(loop_until(&loop, &g.o.told, 20));
        assert_int_equal(g.asked, 1);
        assert_int_equal(g.o.err.kind, g.refuses ? ERR_STALE : ERR_NONE);
        assert_int_equal(g.o.count, g.refuses ? 0 : count);
        if (count > 1) {
            assert_non_null(strstr(g.o.texts.items[2], "kept.example"));
            assert_string_equal(g.o.texts.items[4], "9 (initial 1)");
        }
        outcome_done(&g.o);
        first = first ? first : call;
        /* The refused one ended its connection; the last one was not to be kept. */
        assert_ptr_equal(slot, turn < 6 ? first : NULL);
        usleep(1000);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    loop_end(&loop);
}

/* Both directions full: some MB of commands whose answers are tens of MB. */
static void real_flood(struct haproxy *h)
{
    VEC(char *) commands = {0};
    for (int i = 0; i < 90; i++) { /* what HAProxy 2.6 needs for them grows with the square */
        struct buf payload = {0};
        buf_puts(&payload, "add map maps/host.map <<\n");
        for (int k = 0; payload.length < 12000; k++)
            buf_printf(&payload, "host-%d-%d.example.org one\n", i, k);
        vec_push(&commands, buf_steal(&payload));
        vec_push(&commands, xstrdup(i % 10 == 0 ? "show map maps/host.map" : "show map"));
        for (int k = 0; k < 10; k++)
            vec_push(&commands, xasprintf("set map maps/host.map host-%d-%d.example.org two", i, k));
    }
    struct outcome o = {0};
    int64_t start = clock_now_ns();
    run(&o, h->runtime_socket, (const char *const *)commands.items, commands.length);
    assert_int_equal(o.err.kind, ERR_NONE);
    assert_int_equal(o.count, commands.length);
    assert_true(o.bytes > 5u << 20);
    print_message("  %zu commands, %zu bytes of answers: %d ms\n", o.count, o.bytes,
                  (int)((clock_now_ns() - start) / NS_PER_MS));
    for (size_t i = 0; i < commands.length; i++) {
        if (i % 12 != 1)
            assert_string_equal(o.texts.items[i], "");
        free(commands.items[i]);
    }
    vec_done(&commands);
    outcome_done(&o);
}

static void real_haproxy(void **state UNUSED)
{
    int found = 0;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        struct haproxy h;
        if (!haproxy_start(&h, haproxy_series[i]))
            continue;
        print_message("HAProxy %s\n", haproxy_series[i]);
        found++;
        real_commands(&h);
        real_expected(&h);
        real_kept(&h);
        real_flood(&h);
        haproxy_end(&h);
    }
    if (!found)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_cut_at_prompts),        cmocka_unit_test(masters_prompt_is_learnt),
        cmocka_unit_test(payload_prompts_are_left_out),      cmocka_unit_test(last_answer_may_end_with_the_connection),
        cmocka_unit_test(early_end_keeps_what_was_complete), cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(silence_ends_at_the_deadline),      cmocka_unit_test(answers_have_a_limit),
        cmocka_unit_test(what_is_no_command_is_refused),     cmocka_unit_test(connecting_can_fail),
        cmocka_unit_test(nothing_to_run_is_done_at_once),    cmocka_unit_test(cancelled_calls_are_silent),
        cmocka_unit_test(expected_connections_end),          cmocka_unit_test(real_haproxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
