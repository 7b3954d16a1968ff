/* Requests against a server that answers as each test says. */
#include "kube_script.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube/status.h"

struct outcome {
    unsigned done, freed;
    long status;
    enum err_kind kind;
    char text[1024], body[4096];
    int64_t retry_after_ns;
};

static struct outcome outcome;
static struct script server;
static char token_path[64];

static void on_done(void *ctx, const struct kube_response *r, const struct err *err)
{
    struct outcome *o = ctx;
    o->done++;
    o->status = r->status;
    o->kind = err ? err->kind : ERR_NONE;
    snprintf(o->text, sizeof(o->text), "%s", err ? err->text : "");
    snprintf(o->body, sizeof(o->body), "%s", r->body);
    o->retry_after_ns = r->retry_after_ns;
}

static struct kube_call call_of(const char *path)
{
    return (struct kube_call){
        .what = "list ingresses.networking.k8s.io", .path = path, .done = on_done, .ctx = &outcome};
}

static void run(struct kube_client *c, struct kube_call call)
{
    memset(&outcome, 0, sizeof(outcome));
    assert_non_null(kube_request_start(c, &call));
    assert_int_equal(outcome.done, 0); /* never from inside */
    script_wait(&server, &outcome.done, 1);
}

static void echo(struct script_conn *c)
{
    CLEANUP(free_ptr) char *body = xasprintf("%s%s", c->headers, c->body);
    script_reply(c, 200, NULL, body);
}

static void a_request_carries_what_it_should(void **state)
{
    struct kube_config config = {.impersonate_user = xstrdup("jane")};
    const char *headers[] = {"X-Test: 1", NULL};
    struct kube_call call = call_of("/api/v1/x?a=b");
    (void)state;
    kube_blob_set(&config.token, "secret", 6);
    script_init(&server, echo);
    struct kube_client *c = script_client_of(&server, &config);
    call.method = "PATCH";
    call.body = "{\"a\":1}";
    call.body_length = 7;
    call.content_type = "application/merge-patch+json";
    call.headers = headers;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_NONE);
    const char *wanted[] = {"PATCH /api/v1/x?a=b HTTP/1.1\r\n",
                            "User-Agent: haptic/1.2.3 (linux/",
                            "Authorization: Bearer secret\r\n",
                            "Content-Type: application/merge-patch+json\r\n",
                            "Accept: application/json\r\n",
                            "Accept-Encoding: gzip\r\n",
                            "Impersonate-User: jane\r\n",
                            "X-Test: 1\r\n",
                            "\r\n\r\n{\"a\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_non_null(strstr(outcome.body, wanted[i]));
    assert_null(strstr(outcome.body, "Expect"));
    run(c, call);
    assert_int_equal(server.connections, 1); /* kept alive */
    kube_client_free(c);
    script_done(&server);
}

#define FORBIDDEN \
    "{\"kind\":\"Status\",\"code\":403,\"message\":\"ingresses.networking.k8s.io is forbidden: User " \
    "\\\"system:serviceaccount:ns:x\\\" cannot list resource \\\"ingresses\\\" in API group " \
    "\\\"networking.k8s.io\\\" at the cluster scope\"}"

static void refusals_say_what_to_do(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum err_kind kind;
        const char *text;
    } cases[] = {
        {403, FORBIDDEN, ERR_DENIED,
         "list ingresses: 403: the service account system:serviceaccount:ns:x may not list "
         "ingresses.networking.k8s.io at the cluster scope; add the verb \"list\" to its cluster role"},
        {403,
         "{\"message\":\"pods is forbidden: User \\\"jane\\\" cannot watch resource \\\"pods\\\" in API group "
         "\\\"\\\" in "
         "the namespace \\\"a\\\"\"}",
         ERR_DENIED,
         "list ingresses: 403: the user jane may not watch pods in the namespace \"a\"; add the verb \"watch\" to "
         "its role"},
        {403, "{\"message\":\"quota\"}", ERR_DENIED, "list ingresses: 403: quota"},
        {401, "{\"message\":\"Unauthorized\"}", ERR_DENIED,
         "list ingresses: 401: the API server does not accept the credentials (Unauthorized)"},
        {404, "404 page not found\n", ERR_NOTFOUND, "list ingresses: 404: 404 page not found"},
        {409, "{\"message\":\"changed\"}", ERR_CONFLICT, "list ingresses: 409: changed"},
        {410, "{\"message\":\"too old\"}", ERR_GONE, "list ingresses: 410: too old"},
        {413, "{\"message\":\"too big\"}", ERR_LIMIT, "list ingresses: 413: too big"},
        {422, "{\"message\":\"bad\"}", ERR_INVALID, "list ingresses: 422: bad"},
        {429, "{\"message\":\"busy\"}", ERR_IO, "list ingresses: 429: the API server asks to slow down: busy"},
        {500, "", ERR_IO, "list ingresses: 500: no message"},
        {503, "\x01\x02", ERR_IO, "list ingresses: 503: no message"},
        {504, "{\"message\":\"etcd\"}", ERR_TIMEOUT, "list ingresses: 504: timeout at the API server: etcd"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_int_equal(kube_status_err(&err, "list ingresses", cases[i].status, cases[i].body, strlen(cases[i].body)),
                         -1);
        assert_string_equal(err.text, cases[i].text);
        assert_int_equal(err.kind, cases[i].kind);
    }
}

static void write_token(const char *token)
{
    /* A projected token is replaced as a whole, by a rename. */
    CLEANUP(free_ptr) char *other = xasprintf("%s.new", token_path);
    FILE *f = fopen(other, "w");
    assert_non_null(f);
    fputs(token, f);
    fclose(f);
    assert_int_equal(rename(other, token_path), 0);
}

static void accept_new_token(struct script_conn *c)
{
    if (strstr(c->headers, "Bearer new\r\n"))
        script_reply(c, 200, NULL, "welcome");
    else
        script_reply(c, 401, NULL, "{\"message\":\"Unauthorized\"}");
}

static void a_refused_token_is_read_again(void **state)
{
    struct kube_config config = {0};
    (void)state;
    snprintf(token_path, sizeof(token_path), "/tmp/kube_client_test.%d", (int)getpid());
    write_token("old\n");
    assert_int_equal(kube_blob_open(&config.token, token_path, NULL), 0);
    script_init(&server, accept_new_token);
    struct kube_client *c = script_client_of(&server, &config);
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_DENIED);
    assert_int_equal(server.requests, 1); /* the same token again is no use */
    write_token("new\n");
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_NONE);
    assert_string_equal(outcome.body, "welcome");
    assert_int_equal(server.requests, 3);
    unlink(token_path);
    run(c, call_of("/x")); /* what was read stays in use */
    assert_int_equal(outcome.kind, ERR_NONE);
    kube_client_free(c);
    script_done(&server);
}

static void busy_twice(struct script_conn *c)
{
    if (c->script->requests <= 2)
        script_reply(c, c->script->requests == 1 ? 429 : 503, "Retry-After: 1\r\n", "{\"message\":\"busy\"}");
    else
        script_reply(c, 200, NULL, "ok");
}

static void retry_after_is_honoured(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    script_init(&server, busy_twice);
    struct kube_client *c = script_client(&server);
    run(c, call); /* without retries: the caller is told */
    assert_int_equal(outcome.status, 429);
    assert_int_equal(outcome.retry_after_ns, NS_PER_S);
    int64_t start = clock_now_ns();
    call.retries = 1;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_NONE);
    assert_true(clock_now_ns() - start >= NS_PER_S);
    server.requests = 0;
    call.retries = 5;
    call.deadline_ns = clock_now_ns() + 500 * NS_PER_MS; /* earlier than the retry would be */
    run(c, call);
    assert_int_equal(outcome.status, 429);
    kube_client_free(c);
    script_done(&server);
}

static void hang(struct script_conn *c)
{
    (void)c;
}

static void a_deadline_ends_a_request(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    script_init(&server, hang);
    struct kube_client *c = script_client(&server);
    int64_t start = clock_now_ns();
    call.deadline_ns = start + 200 * NS_PER_MS;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_TIMEOUT);
    assert_non_null(strstr(outcome.text, "timeout"));
    assert_in_range(clock_now_ns() - start, 150 * NS_PER_MS, 1000 * NS_PER_MS);
    kube_client_free(c);
    script_done(&server);
}

static void a_refused_connection_says_so(void **state)
{
    struct kube_config config = {0};
    (void)state;
    script_init(&server, hang);
    config.server = xstrdup("http://127.0.0.1:1");
    struct kube_client *c = script_client_of(&server, &config);
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_IO);
    assert_string_equal(outcome.text,
                        "list ingresses.networking.k8s.io: connect to http://127.0.0.1:1: connection refused");
    kube_client_free(c);
    script_done(&server);
}

/* NULL proxy_url: the environment's. */
static void run_through(const char *proxy_url, const char *environment)
{
    struct kube_config config = {.server = xstrdup("https://kube.invalid:6443"),
                                 .proxy_url = proxy_url ? xstrdup(proxy_url) : NULL};
    script_init(&server, hang);
    if (environment)
        setenv("HTTPS_PROXY", environment, 1);
    struct kube_client *c = script_client_of(&server, &config);
    run(c, call_of("/x"));
    unsetenv("HTTPS_PROXY");
    kube_client_free(c);
    script_done(&server);
    assert_int_equal(outcome.kind, ERR_IO);
    if (strstr(outcome.text, "SECRET") || strstr(outcome.text, "user:"))
        fail_msg("credentials in \"%s\"", outcome.text);
}

static void the_password_of_a_proxy_is_not_told(void **state)
{
    static const char *const unusable[] = {"http://user:SE CRET@127.0.0.1:1", "ftp://user:SECRET@127.0.0.1:1",
                                           "http://user:pa/ssSECRET@127.0.0.1:1", "user:SECRET@127.0.0.1:port"};
    static const char *const names[] = {"https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    for (size_t i = 0; i < ARRAY_LEN(unusable); i++) {
        run_through(NULL, unusable[i]);
        assert_non_null(strstr(outcome.text, "the URL of the proxy that the environment names is not one"));
        assert_non_null(strstr(outcome.text, "https://kube.invalid:6443"));
        run_through(unusable[i], NULL);
        assert_non_null(strstr(outcome.text, "the URL of the proxy that proxy-url names is not one"));
    }
    run_through("http://user:SECRET@127.0.0.1:1", NULL);
    assert_non_null(strstr(outcome.text, "connect to the proxy http://127.0.0.1:1, on the way to"));
    /* What libcurl takes for a path is the rest of a password. */
    run_through("http://127.0.0.1:1/SECRET@proxy.example:3128", NULL);
    assert_non_null(strstr(outcome.text, "connect to the proxy http://proxy.example:3128, on the way to"));
    run_through(NULL, "http://SECRET.invalid@proxy.invalid:1");
    assert_non_null(strstr(outcome.text, "(a proxy that the environment names)"));
}

static void large(struct script_conn *c)
{
    script_open(c);
    CLEANUP(free_ptr) char *bytes = xcalloc(1, 1000);
    memset(bytes, 'x', 1000);
    for (int i = 0; i < 10; i++)
        script_chunk(c, bytes, 1000);
    script_close(c);
}

static void a_large_answer_is_an_error(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    script_init(&server, large);
    struct kube_client *c = script_client(&server);
    call.max_response_bytes = 9999;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_LIMIT);
    call.max_response_bytes = 10000;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_NONE);
    kube_client_free(c);
    script_done(&server);
}

/* 20 000 times "y". */
static void compressed(struct script_conn *c)
{
    static const unsigned char packed[] = {
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x00, 0xc2,
        0xa0, 0xdc, 0x6b, 0x6f, 0x0d, 0x0f, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x78, 0x30, 0x4e, 0x2a, 0x9f, 0x2a, 0x20, 0x4e, 0x00, 0x00};
    CLEANUP(free_ptr)
    char *head = xasprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", sizeof(packed));
    script_write(c, head, strlen(head));
    script_write(c, (const char *)packed, sizeof(packed));
}

static void the_limit_is_of_what_is_unpacked(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    script_init(&server, compressed);
    struct kube_client *c = script_client(&server);
    call.max_response_bytes = 20000;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_NONE);
    assert_int_equal(outcome.body[4000], 'y');
    call.max_response_bytes = 19999;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_LIMIT);
    kube_client_free(c);
    script_done(&server);
}

static void half(struct script_conn *c)
{
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf a page";
    script_write(c, text, strlen(text));
    c->script->handle = echo;
    script_cut(c);
}

static void half_a_page_is_no_page(void **state)
{
    (void)state;
    script_init(&server, half);
    struct kube_client *c = script_client(&server);
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_IO);
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_NONE);
    kube_client_free(c);
    script_done(&server);
}

static struct kube_request *victim;
static unsigned bytes_seen, frees;

static void cancel_it(void *ctx, const char *bytes, size_t length, int64_t received_ns)
{
    (void)ctx;
    (void)bytes;
    (void)length;
    assert_true(received_ns > 0 && received_ns <= clock_now_ns());
    bytes_seen++;
    victim = kube_request_cancel(victim);
}

static void count_free(void *ctx)
{
    (void)ctx;
    frees++;
}

static void a_cancelled_request_is_silent(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    memset(&outcome, 0, sizeof(outcome));
    bytes_seen = frees = 0;
    script_init(&server, large);
    struct kube_client *c = script_client(&server);
    call.free_ctx = count_free;
    call.data = cancel_it;
    victim = kube_request_start(c, &call); /* cancelled from its own data */
    script_wait(&server, &frees, 1);
    assert_int_equal(bytes_seen, 1);
    victim = kube_request_cancel(kube_request_start(c, &call)); /* before it began */
    script_wait(&server, &frees, 2);
    server.handle = hang;
    victim = kube_request_start(c, &call);
    unsigned before = server.requests;
    script_wait(&server, &server.requests, before + 1);
    kube_request_cancel(victim); /* while it waits */
    script_wait(&server, &frees, 3);
    victim = kube_request_start(c, &call);
    kube_client_free(c); /* with a request under way */
    assert_int_equal(frees, 4);
    assert_int_equal(outcome.done, 0);
    script_done(&server);
}

static char plugin_path[64];

static void write_plugin(const char *script)
{
    snprintf(plugin_path, sizeof(plugin_path), "/tmp/kube_client_test_plugin.%d", (int)getpid());
    FILE *f = fopen(plugin_path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    assert_int_equal(chmod(plugin_path, 0700), 0);
}

static struct kube_client *client_with_plugin(const char *script)
{
    struct kube_config config = {0};
    if (script)
        write_plugin(script);
    config.exec = xcalloc(1, sizeof(*config.exec));
    config.exec->api_version = xstrdup("client.authentication.k8s.io/v1");
    config.exec->command = xstrdup(script ? plugin_path : "/nonexistent/plugin");
    config.exec->install_hint = xstrdup("install it");
    vec_push(&config.exec->args, xstrdup("new"));
    vec_push(&config.exec->env, xstrdup("PLUGIN_RUNS=/dev/null"));
    return script_client_of(&server, &config);
}

#define CREDENTIAL \
    "echo \"{\\\"apiVersion\\\":\\\"client.authentication.k8s.io/v1\\\",\\\"kind\\\":\\\"ExecCredential\\\"," \
    "\\\"status\\\":{\\\"token\\\":\\\"$1\\\",\\\"expirationTimestamp\\\":\\\"2999-01-01T00:00:00Z\\\"}}\""

static void a_plugin_gives_the_token(void **state)
{
    (void)state;
    script_init(&server, accept_new_token);
    struct kube_client *c = client_with_plugin(
        "case $KUBERNETES_EXEC_INFO in *ExecCredential*interactive*) ;; *) exit 9;; esac\n"
        "[ \"$PLUGIN_RUNS\" = /dev/null ] || exit 8\n" CREDENTIAL);
    run(c, call_of("/x"));
    assert_string_equal(outcome.text, "");
    assert_int_equal(outcome.kind, ERR_NONE);
    write_plugin("exit 7"); /* it has not expired: not asked again */
    run(c, call_of("/x"));
    assert_int_equal(outcome.kind, ERR_NONE);
    kube_client_free(c);
    script_done(&server);
    unlink(plugin_path);
}

static void a_plugin_that_fails_is_named(void **state)
{
    static const struct {
        const char *script, *text;
    } cases[] = {
        {"exit 7", "ended with status 7"},
        {"echo nonsense", "no ExecCredential"},
        {"echo '{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"x\"}}'", "v1beta1"},
        {"echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{}}'", "neither a token"},
        {"head -c 3000000 /dev/zero 2>/dev/null", "bytes of output"},
        {NULL, "no such file or directory; install it"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        script_init(&server, accept_new_token);
        struct kube_client *c = client_with_plugin(cases[i].script);
        run(c, call_of("/x"));
        if (!strstr(outcome.text, cases[i].text) || !strstr(outcome.text, "exec plugin /"))
            fail_msg("%s", outcome.text);
        assert_int_equal(server.requests, 0);
        kube_client_free(c);
        script_done(&server);
    }
    unlink(plugin_path);
}

static void a_slow_plugin_does_not_hold_up_a_deadline(void **state)
{
    struct kube_call call = call_of("/x");
    (void)state;
    script_init(&server, accept_new_token);
    struct kube_client *c = client_with_plugin("exec sleep 20");
    call.deadline_ns = clock_now_ns() + 200 * NS_PER_MS;
    run(c, call);
    assert_int_equal(outcome.kind, ERR_TIMEOUT);
    kube_client_free(c); /* kills it */
    script_done(&server);
    unlink(plugin_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_carries_what_it_should),
        cmocka_unit_test(refusals_say_what_to_do),
        cmocka_unit_test(a_refused_token_is_read_again),
        cmocka_unit_test(retry_after_is_honoured),
        cmocka_unit_test(a_deadline_ends_a_request),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(the_password_of_a_proxy_is_not_told),
        cmocka_unit_test(a_large_answer_is_an_error),
        cmocka_unit_test(the_limit_is_of_what_is_unpacked),
        cmocka_unit_test(half_a_page_is_no_page),
        cmocka_unit_test(a_cancelled_request_is_silent),
        cmocka_unit_test(a_plugin_gives_the_token),
        cmocka_unit_test(a_plugin_that_fails_is_named),
        cmocka_unit_test(a_slow_plugin_does_not_hold_up_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
