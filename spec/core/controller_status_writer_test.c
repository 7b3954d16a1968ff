/* When the status of an object is written: an API server that answers as each test says. */
#include "controller_support.h"
#include "kube_script.h"

#include "controller/status_manner.h"
#include "controller/status_writer.h"

struct world {
    struct script script;
    struct kube_client *client;
    struct metrics *metrics;
    struct store *store;
    struct store_kind *kind;
    struct status_writer *writer;
    bool may_write, settled;
    uint64_t accepted, live, requested, rendered;
    int log;
    /* the server */
    unsigned patches, gets, under_way, most, bad;
    int answer;       /* of each PATCH but those that are held */
    const char *only; /* the answer is for this object; others get 200 */
    const char *headers;
    bool holds; /* PATCHes are not answered */
    struct script_conn *held[64];
    size_t held_count;
    char last_target[2048], last_body[2048], got[2048];
};

static struct world *world;

static bool may_write(void *ctx)
{
    return ((struct world *)ctx)->may_write;
}

static int64_t write_end_ns(void *ctx)
{
    (void)ctx;
    return INT64_MAX;
}

static bool is_declared(void *ctx, const char *kind)
{
    (void)ctx;
    return strcmp(kind, "ingresses") == 0;
}

static bool exists(void *ctx, const char *fragment_id)
{
    (void)ctx;
    return strstr(fragment_id, "gone") == NULL;
}

static bool is_settled(void *ctx, const char *fragment_id)
{
    (void)fragment_id;
    return ((struct world *)ctx)->settled;
}

#define NUMBER(name) \
    static uint64_t name(void *ctx) \
    { \
        return ((struct world *)ctx)->name; \
    }
NUMBER(accepted)
NUMBER(live)
NUMBER(requested)
NUMBER(rendered)

static void on_request(struct script_conn *c)
{
    struct world *w = world;

    if (strcmp(c->method, "GET") == 0) {
        w->gets++;
        script_reply(c, 200, NULL, w->got);
        return;
    }
    w->patches++;
    w->under_way++;
    w->most = w->under_way > w->most ? w->under_way : w->most;
    snprintf(w->last_target, sizeof(w->last_target), "%s", c->target);
    snprintf(w->last_body, sizeof(w->last_body), "%s", c->body);
    if (w->holds) {
        w->held[w->held_count++] = c;
        return;
    }
    w->under_way--;
    bool meant = w->only == NULL || script_has(c, w->only);
    script_reply(c, meant ? w->answer : 200, meant ? w->headers : NULL, "{}");
}

static void begin(struct world *w)
{
    static const struct status_writer_ops ops = {.may_write = may_write,
                                                 .write_end_ns = write_end_ns,
                                                 .is_declared = is_declared,
                                                 .exists = exists,
                                                 .is_settled = is_settled,
                                                 .accepted = accepted,
                                                 .live = live,
                                                 .requested = requested,
                                                 .rendered = rendered};
    static const struct store_kind_spec spec = {
        .name = "ingresses", .api_version = "networking.k8s.io/v1", .resource = "ingresses"};
    struct err err;

    memset(w, 0, sizeof(*w));
    world = w;
    w->answer = 200;
    w->log = log_capture();
    w->may_write = w->settled = true;
    w->accepted = w->live = w->requested = w->rendered = 1;
    script_init(&w->script, on_request);
    w->client = script_client(&w->script);
    w->metrics = metrics_new();
    w->store = store_new(1 << 20, 1 << 28);
    assert_int_equal(store_add_kind(w->store, &spec, &w->kind, &err), 0);
    w->writer = status_writer_new(w->client, w->store, w->metrics, &status_manner, &ops, w);
}

static void end(struct world *w)
{
    status_writer_free(w->writer);
    kube_client_free(w->client);
    script_done(&w->script);
    store_free(w->store);
    metrics_free(w->metrics);
    log_set_fd(STDOUT_FILENO);
    close(w->log);
}

static void put_object(struct world *w, const char *name, const char *rest)
{
    CLEANUP(free_ptr)
    char *json = xasprintf("{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"namespace\":"
                           "\"shop\",\"name\":\"%s\",\"resourceVersion\":\"5\"%s}",
                           name, rest);
    struct err err;

    if (store_put_json(w->kind, json, strlen(json), NULL, &err) < 0)
        fail_msg("%s", err.text);
    w->requested++; /* it is rendered at once */
    w->rendered = w->requested;
}

static struct fragment *wish(const char *name, const char *address)
{
    CLEANUP(free_ptr) char *id = xasprintf("t.lua:x/ingresses/shop/%s", name), *owner = xasprintf("shop/%s", name);
    CLEANUP(free_ptr) char *text = xasprintf("{\"loadBalancer\":{\"ingress\":[{\"ip\":\"%s\"}]}}", address);
    const struct fragment_head head = {
        .id = id, .template_name = "t.lua", .owner_kind = "ingresses", .owner_id = owner, .owner_created_s = 1};
    const struct contribution_input c = {
        .kind = CONTRIBUTION_STATUS, .scope = "", .key = "", .text = text, .text_length = strlen(text)};
    return fragment_new(&head, &c, 1);
}

static void say(struct world *w, struct fragment **before, const char *name, const char *address)
{
    struct fragment *now = address ? wish(name, address) : NULL;

    status_writer_hear(w->writer, *before, now);
    fragment_unref(*before);
    *before = now;
    status_writer_step(w->writer);
}

static void pass(struct world *w, int ms)
{
    script_run_ms(&w->script, ms);
}

static void test_written_when_live(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    put_object(&w, "web", "}");
    w.settled = false;
    say(&w, &f, "web", "192.0.2.1");
    pass(&w, 30);
    assert_int_equal(w.patches, 0); /* its output is not accepted */
    w.settled = true;
    w.accepted = 2;
    status_writer_step(w.writer);
    pass(&w, 30);
    assert_int_equal(w.patches, 0); /* accepted, and not live */
    w.live = 2;
    status_writer_step(w.writer);
    script_wait(&w.script, &w.patches, 1);
    assert_string_equal(w.last_target, "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web/status?fieldManager="
                                       "haptic-status&force=true");
    assert_non_null(strstr(w.last_body, "\"ingress\":[{\"ip\":\"192.0.2.1\"}]"));
    assert_non_null(strstr(w.last_body, "\"resourceVersion\":\"5\""));
    /* What comes back by the watch is level. */
    put_object(&w, "web",
               ",\"annotations\":{\"haproxy-haptic.org/status-entries\":\"192.0.2.1\"}},\"status\":{"
               "\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\"}]}}");
    status_writer_step(w.writer);
    pass(&w, 50);
    assert_int_equal(w.patches, 1);
    /* No wish any more: it stays. */
    say(&w, &f, "web", NULL);
    pass(&w, 30);
    assert_int_equal(w.patches, 1);
    end(&w);
}

/* A check that accepts nothing new settles it all the same, and so does a quarantine that goes back to what was in
 * force: no number changes. */
static void test_written_when_settled_without_a_new_generation(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    put_object(&w, "web", "}");
    w.settled = false;
    say(&w, &f, "web", "192.0.2.1");
    pass(&w, 30);
    assert_int_equal(w.patches, 0);
    w.settled = true;
    status_writer_step(w.writer);
    script_wait(&w.script, &w.patches, 1);
    fragment_unref(f);
    end(&w);
}

static void test_not_before_the_newest_version_was_rendered(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    say(&w, &f, "web", "192.0.2.1");
    put_object(&w, "web", "}");
    w.rendered = w.requested - 1;
    status_writer_step(w.writer);
    pass(&w, 30);
    assert_int_equal(w.patches, 0);
    w.rendered = w.requested;
    status_writer_step(w.writer);
    script_wait(&w.script, &w.patches, 1);
    fragment_unref(f);
    end(&w);
}

static void test_only_the_leader_writes(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    w.may_write = false;
    put_object(&w, "web", "}");
    say(&w, &f, "web", "192.0.2.1");
    pass(&w, 30);
    assert_int_equal(w.patches, 0);
    w.may_write = w.holds = true;
    status_writer_step(w.writer);
    script_wait(&w.script, &w.patches, 1);
    /* The term ends: what is under way is given up, and written anew in the next one. */
    w.may_write = w.holds = false;
    status_writer_step(w.writer);
    pass(&w, 30);
    w.may_write = true;
    status_writer_step(w.writer);
    script_wait(&w.script, &w.patches, 2);
    pass(&w, 30);
    assert_int_equal(w.patches, 2);
    fragment_unref(f);
    end(&w);
}

static void test_a_conflict_is_read_and_merged(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    put_object(&w, "web", "}");
    w.answer = 409;
    snprintf(w.got, sizeof(w.got),
             "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"namespace\":\"shop\","
             "\"name\":\"web\",\"resourceVersion\":\"6\"},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":"
             "\"203.0.113.9\"}]}}}");
    say(&w, &f, "web", "192.0.2.1");
    script_wait(&w.script, &w.gets, 1);
    w.answer = 200;
    script_wait(&w.script, &w.patches, 2);
    assert_non_null(strstr(w.last_body, "\"resourceVersion\":\"6\""));
    assert_non_null(strstr(w.last_body, "\"ingress\":[{\"ip\":\"203.0.113.9\"},{\"ip\":\"192.0.2.1\"}]"));
    pass(&w, 30);
    assert_int_equal(log_count(w.log, "cannot be written"), 0);
    fragment_unref(f);
    end(&w);
}

static void test_failures_rest_alone(void **state)
{
    static const int answers[] = {422, 500, 404, 400, 403};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct world w;
        struct fragment *f = NULL, *g = NULL;
        begin(&w);
        put_object(&w, "bad", "}");
        put_object(&w, "good", "}");
        w.answer = answers[i];
        w.only = "/bad/";
        say(&w, &f, "bad", "192.0.2.1");
        script_wait(&w.script, &w.patches, 1);
        script_run_ms(&w.script, 20);
        say(&w, &g, "good", "192.0.2.1");
        script_wait(&w.script, &w.patches, 2);
        assert_non_null(strstr(w.last_target, "/good/")); /* it does not wait for the other one */
        script_wait(&w.script, &w.patches, 3);
        assert_int_equal(metric_value(metric_counter(w.metrics, "haptic_status_writes_total", "", "result", "written")),
                         1);
        pass(&w, 300);
        assert_in_range(w.patches, 3, 3); /* the next one comes after two more seconds */
        assert_int_equal(log_count(w.log, "cannot be written"), 1);
        w.answer = 200;
        script_wait(&w.script, &w.patches, 4);
        fragment_unref(f);
        fragment_unref(g);
        end(&w);
    }
}

/* A right that is missing for all objects is not asked about for each of them at once. */
static void test_many_denied_pause_all(void **state)
{
    struct world w;
    struct fragment *f[30] = {NULL};
    (void)state;

    begin(&w);
    w.answer = 403;
    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        char name[16];
        snprintf(name, sizeof(name), "i%zu", i);
        put_object(&w, name, "}");
        say(&w, &f[i], name, "192.0.2.1");
    }
    script_wait(&w.script, &w.patches, STATUS_IN_FLIGHT);
    pass(&w, 200);
    assert_in_range(w.patches, STATUS_IN_FLIGHT, 2 * STATUS_IN_FLIGHT);
    w.answer = 200;
    script_wait(&w.script, &w.patches, (int)ARRAY_LEN(f) + STATUS_IN_FLIGHT);
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        fragment_unref(f[i]);
    end(&w);
}

static void test_too_many_requests_pause_all(void **state)
{
    struct world w;
    struct fragment *f = NULL, *g = NULL;
    (void)state;

    begin(&w);
    put_object(&w, "a", "}");
    put_object(&w, "b", "}");
    w.answer = 429;
    w.headers = "Retry-After: 1\r\n";
    say(&w, &f, "a", "192.0.2.1");
    script_wait(&w.script, &w.patches, 1);
    pass(&w, 20);
    w.answer = 200;
    w.headers = NULL;
    say(&w, &g, "b", "192.0.2.1");
    pass(&w, 500);
    assert_int_equal(w.patches, 1);
    script_wait(&w.script, &w.patches, 3);
    fragment_unref(f);
    fragment_unref(g);
    end(&w);
}

/* Somebody else undoes it: not faster than that. */
static void test_an_undone_write(void **state)
{
    struct world w;
    struct fragment *f = NULL;
    (void)state;

    begin(&w);
    put_object(&w, "web", "}");
    say(&w, &f, "web", "192.0.2.1");
    script_wait(&w.script, &w.patches, 1);
    for (int i = 0; i < 20; i++) {
        CLEANUP(free_ptr) char *label = xasprintf(",\"labels\":{\"n\":\"%d\"}}", i);
        put_object(&w, "web", label);
        status_writer_step(w.writer);
        pass(&w, 10);
    }
    assert_int_equal(w.patches, 1);
    script_wait(&w.script, &w.patches, 2);
    fragment_unref(f);
    end(&w);
}

static void test_many_are_bounded(void **state)
{
    enum { COUNT = 10000 };
    static struct fragment *fragments[COUNT];
    struct world w;
    int64_t longest = 0;
    (void)state;

    begin(&w);
    for (int i = 0; i < COUNT; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("i%d", i);
        put_object(&w, name, "}");
        fragments[i] = wish(name, "192.0.2.1");
        status_writer_hear(w.writer, NULL, fragments[i]);
    }
    int64_t began = clock_now_ns();
    status_writer_step(w.writer);
    while (clock_now_ns() - began < 2 * NS_PER_S) {
        int64_t turn = clock_now_ns();
        uv_run(&w.script.loop, UV_RUN_ONCE);
        longest = clock_now_ns() - turn > longest ? clock_now_ns() - turn : longest;
    }
    /* A burst, and the rate. */
    assert_in_range(w.patches, STATUS_RATE, 4 * STATUS_RATE);
    assert_in_range(w.most, 1, STATUS_IN_FLIGHT);
    CLEANUP(buf_done) struct buf text = {0};
    status_writer_describe(w.writer, &text);
    assert_non_null(strstr(text.data, "\"objects\":10000"));
    for (int i = 0; i < COUNT; i++)
        fragment_unref(fragments[i]);
    end(&w);
}

static void test_wishes_of_fragments_that_are_gone(void **state)
{
    struct world w;
    struct fragment *f = wish("gone", "192.0.2.1");
    (void)state;

    begin(&w);
    w.live = 0;
    put_object(&w, "gone", "}");
    status_writer_hear(w.writer, NULL, f);
    status_writer_review(w.writer);
    w.live = 1;
    status_writer_step(w.writer);
    pass(&w, 30);
    assert_int_equal(w.patches, 0);
    fragment_unref(f);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_when_live),
        cmocka_unit_test(test_written_when_settled_without_a_new_generation),
        cmocka_unit_test(test_not_before_the_newest_version_was_rendered),
        cmocka_unit_test(test_only_the_leader_writes),
        cmocka_unit_test(test_a_conflict_is_read_and_merged),
        cmocka_unit_test(test_failures_rest_alone),
        cmocka_unit_test(test_many_denied_pause_all),
        cmocka_unit_test(test_too_many_requests_pause_all),
        cmocka_unit_test(test_an_undone_write),
        cmocka_unit_test(test_many_are_bounded),
        cmocka_unit_test(test_wishes_of_fragments_that_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
