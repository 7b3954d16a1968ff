/* Lease records keep what they do not know; the calls and the watch say what the server says. Events, too. */
#include "kube_script.h"

#include "kube/event.h"
#include "kube/event_share.h"
#include "kube/lease.h"

static struct script server;
static struct kube_client *client;

#define LEASE(version, holder) \
    "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"haptic-leader\"," \
    "\"namespace\":\"ns\"," \
    "\"resourceVersion\":\"" version "\",\"annotations\":{\"a\":\"b\"}},\"spec\":{\"holderIdentity\":\"" holder \
    "\",\"leaseDurationSeconds\":60,\"acquireTime\":\"2026-01-02T03:04:05.000006Z\"," \
    "\"renewTime\":\"2026-01-02T03:04:06.5Z\"," \
    "\"leaseTransitions\":7,\"strategy\":\"OldestEmulationVersion\"}}"

static void a_record_keeps_what_it_does_not_know(void **state)
{
    CLEANUP(lease_record_done) struct lease_record r = {0}, copy = {0}, again = {0};
    struct err err = {0};
    (void)state;
    assert_int_equal(lease_record_parse(&r, LEASE("11", "pod-a"), sizeof(LEASE("11", "pod-a")) - 1, &err), 0);
    assert_string_equal(r.holder, "pod-a");
    assert_string_equal(r.resource_version, "11");
    assert_int_equal(r.lease_duration_s, 60);
    assert_int_equal(r.transitions, 7);
    assert_int_equal(r.acquire_time_us % 1000000, 6);
    assert_int_equal(r.renew_time_us - r.acquire_time_us, 1499994);
    lease_record_copy(&copy, &r);
    free(copy.holder);
    copy.holder = xstrdup("pod \"b\"");
    copy.transitions++;
    copy.renew_time_us += 1;
    CLEANUP(free_ptr) char *text = lease_record_write(&copy, "ns", "haptic-leader");
    assert_non_null(strstr(text, "\"strategy\":\"OldestEmulationVersion\""));
    assert_non_null(strstr(text, "\"annotations\":{\"a\":\"b\"}"));
    assert_non_null(strstr(text, "\"renewTime\":\"2026-01-02T03:04:06.500001Z\""));
    assert_int_equal(lease_record_parse(&again, text, strlen(text), &err), 0);
    assert_string_equal(again.holder, "pod \"b\"");
    assert_int_equal(again.transitions, 8);
    assert_int_equal(again.renew_time_us, copy.renew_time_us);
}

static void a_record_made_by_hand_is_a_whole_lease(void **state)
{
    struct lease_record r = {.holder = "pod-a", .lease_duration_s = 15, .renew_time_us = 1};
    (void)state;
    CLEANUP(free_ptr) char *text = lease_record_write(&r, "ns", "l");
    assert_string_equal(text,
                        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\","
                        "\"namespace\":\"ns\"},"
                        "\"spec\":{\"holderIdentity\":\"pod-a\",\"leaseDurationSeconds\":15,\"leaseTransitions\":0,"
                        "\"acquireTime\":null,\"renewTime\":\"1970-01-01T00:00:00.000001Z\"}}");
}

static void what_is_no_lease_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "{}", "[]", "{\"metadata\":{}}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"yesterday\"}}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct lease_record r = {0};
        struct err err = {0};
        assert_int_equal(lease_record_parse(&r, bad[i], strlen(bad[i]), &err), -1);
        assert_null(r.holder);
    }
}

static unsigned answers;
static enum err_kind kind;
static char text[1024], holder[64];

static void on_lease(void *ctx, const struct lease_record *record, const struct kube_response *response,
                     const struct err *err)
{
    (void)ctx;
    assert_true(!record != !err);
    assert_true(err || response->status / 100 == 2);
    answers++;
    kind = err ? err->kind : ERR_NONE;
    snprintf(text, sizeof(text), "%s", err ? err->text : "");
    snprintf(holder, sizeof(holder), "%s", record ? record->holder : "");
}

static void serve(struct script_conn *c)
{
    if (strcmp(c->method, "GET") == 0) {
        assert_string_equal(c->target, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/haptic-leader");
        script_reply(c, 200, NULL, LEASE("11", "pod-a"));
    } else if (strcmp(c->method, "PUT") == 0) {
        assert_string_equal(c->target, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/haptic-leader");
        if (strstr(c->body, "\"resourceVersion\":\"11\""))
            script_reply(c, 200, NULL, LEASE("12", "pod-b"));
        else
            script_reply(c, 409, NULL, "{\"message\":\"the object has been modified\"}");
    } else {
        assert_string_equal(c->method, "POST");
        assert_string_equal(c->target, "/apis/coordination.k8s.io/v1/namespaces/ns/leases");
        script_reply(c, 201, NULL, LEASE("1", "pod-a"));
    }
}

static void hang(struct script_conn *c)
{
    (void)c;
}

static void calls_have_outcomes(void **state)
{
    struct lease_record r = {0};
    int64_t deadline = clock_now_ns() + 5 * NS_PER_S;
    (void)state;
    answers = 0;
    script_init(&server, serve);
    client = script_client(&server);
    lease_get(client, "ns", "haptic-leader", deadline, on_lease, NULL);
    script_wait(&server, &answers, 1);
    assert_string_equal(holder, "pod-a");
    assert_int_equal(lease_record_parse(&r, LEASE("11", "pod-a"), sizeof(LEASE("11", "pod-a")) - 1, NULL), 0);
    lease_update(client, "ns", "haptic-leader", &r, deadline, on_lease, NULL);
    script_wait(&server, &answers, 2);
    assert_string_equal(holder, "pod-b");
    memcpy(r.resource_version, "10", 3);
    lease_update(client, "ns", "haptic-leader", &r, deadline, on_lease, NULL);
    script_wait(&server, &answers, 3);
    assert_int_equal(kind, ERR_CONFLICT);
    lease_create(client, "ns", "haptic-leader", &r, deadline, on_lease, NULL);
    script_wait(&server, &answers, 4);
    assert_int_equal(kind, ERR_NONE);
    server.handle = hang;
    lease_update(client, "ns", "haptic-leader", &r, clock_now_ns() + 100 * NS_PER_MS, on_lease, NULL);
    script_wait(&server, &answers, 5);
    assert_int_equal(kind, ERR_TIMEOUT);
    assert_non_null(strstr(text, "lease update ns/haptic-leader: timeout"));
    kube_request_cancel(lease_get(client, "ns", "haptic-leader", deadline, on_lease, NULL));
    script_run_ms(&server, 30);
    assert_int_equal(answers, 5);
    lease_record_done(&r);
    client = kube_client_free(client);
    script_done(&server);
}

static struct script_conn *stream;
static unsigned changes, deletions, denials, opened;
static bool is_denied;

static void on_changed(void *ctx, const struct lease_record *record)
{
    (void)ctx;
    changes++;
    deletions += record == NULL;
    snprintf(holder, sizeof(holder), "%s", record ? record->holder : "");
}

static void on_denied(void *ctx, const struct err *err)
{
    (void)ctx;
    assert_int_equal(err->kind, ERR_DENIED);
    denials++;
}

static void serve_watch(struct script_conn *c)
{
    opened++;
    assert_true(script_has(c, "/namespaces/ns/leases?watch=1") &&
                script_has(c, "fieldSelector=metadata.name%3Dhaptic-leader"));
    assert_false(script_has(c, "resourceVersion"));
    if (is_denied) {
        script_reply(c, 403, NULL, "{\"message\":\"no\"}");
        return;
    }
    stream = c;
    script_open(c);
    script_line(c, "{\"type\":\"ADDED\",\"object\":" LEASE("11", "pod-a") "}");
}

static void the_watch_tells_each_change(void **state)
{
    (void)state;
    changes = deletions = denials = opened = 0;
    is_denied = false;
    script_init(&server, serve_watch);
    client = script_client(&server);
    struct lease_watch *w = lease_watch(client, "ns", "haptic-leader", on_changed, on_denied, NULL);
    script_wait(&server, &changes, 1);
    assert_string_equal(holder, "pod-a");
    script_line(stream, "{\"type\":\"MODIFIED\",\"object\":" LEASE("12", "") "}");
    script_wait(&server, &changes, 2);
    assert_string_equal(holder, "");
    script_line(stream, "{\"type\":\"DELETED\",\"object\":" LEASE("13", "") "}");
    script_wait(&server, &deletions, 1);
    script_cut(stream);
    script_wait(&server, &changes, 4); /* comes back with the present state */
    script_line(stream, "nonsense");
    script_wait(&server, &changes, 5);
    is_denied = true;
    script_cut(stream);
    script_wait(&server, &denials, 1);
    assert_int_equal(opened, 4);
    lease_watch_free(w);
    client = kube_client_free(client);
    script_done(&server);
}

static struct buf bodies;
static unsigned posts;
static int event_status;

static void serve_events(struct script_conn *c)
{
    posts++;
    buf_puts(&bodies, c->target);
    buf_puts(&bodies, c->body);
    script_reply(c, strstr(c->target, "events.k8s.io") ? event_status : 201, NULL, "{\"message\":\"no\"}");
}

static void events_are_sent_once_and_not_too_many(void **state)
{
    struct kube_event_object o = {
        .api_version = "coordination.k8s.io/v1", .kind = "Lease", .namespace = "ns", .name = "l", .uid = "u"};
    (void)state;
    posts = 0;
    event_status = 201;
    script_init(&server, serve_events);
    client = script_client(&server);
    struct kube_events *e = kube_events_new(client, "haptic.example/controller", "pod-a", NULL);
    kube_event_send(e, &o, "Normal", "LeaderElection", "Elect", "pod-a became leader");
    kube_event_send(e, &o, "Normal", "LeaderElection", "Elect", "pod-a became leader");
    script_wait(&server, &posts, 1);
    script_run_ms(&server, 30);
    assert_int_equal(posts, 1);
    assert_int_equal(kube_events_sent(e), 1);
    assert_int_equal(kube_events_dropped(e), 1);
    const char *wanted[] = {
        "/apis/events.k8s.io/v1/namespaces/ns/events{", "\"note\":\"pod-a became leader\"",
        ("\"regarding\":{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"namespace\":\"ns\","
         "\"name\":\"l\",\"uid\":\"u\"}"),
        "\"reportingInstance\":\"pod-a\"", "\"type\":\"Normal\""};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_non_null(strstr(buf_str(&bodies), wanted[i]));
    event_status = 403; /* the next goes to the core group */
    kube_event_send(e, &o, "Normal", "A", "Elect", "denied");
    script_wait(&server, &posts, 2);
    script_run_ms(&server, 30);
    buf_clear(&bodies);
    kube_event_send(e, &o, "Normal", "B", "Elect", "core");
    script_wait(&server, &posts, 3);
    assert_non_null(strstr(buf_str(&bodies), "/api/v1/namespaces/ns/events{"));
    assert_non_null(strstr(buf_str(&bodies), "\"message\":\"core\""));
    script_run_ms(&server, 30);
    /* 1024 bytes at most, no part of a character, and a sign that it is not all. */
    char full[1025], longer[1200];
    memset(full, 'f', sizeof(full) - 1);
    full[sizeof(full) - 1] = '\0';
    memset(longer, 'l', sizeof(longer));
    memcpy(longer + 1019, "\xf0\x9f\x98\x80", 4);
    longer[sizeof(longer) - 1] = '\0';
    buf_clear(&bodies);
    kube_event_send(e, &o, "Normal", "C", "Elect", full);
    script_wait(&server, &posts, 4);
    script_run_ms(&server, 30);
    kube_event_send(e, &o, "Normal", "D", "Elect", longer);
    script_wait(&server, &posts, 5);
    script_run_ms(&server, 30);
    CLEANUP(free_ptr) char *whole = xasprintf("\"message\":\"%s\"", full);
    CLEANUP(free_ptr) char *cut = xasprintf("\"message\":\"%.1019s…\"", longer);
    assert_non_null(strstr(buf_str(&bodies), whole));
    assert_non_null(strstr(buf_str(&bodies), cut));
    for (int i = 0; i < 100; i++) {
        CLEANUP(free_ptr) char *note = xasprintf("%d", i);
        kube_event_send(e, &o, "Warning", "Many", "Test", note);
        if (i % 10 == 9)
            script_run_ms(&server, 10);
    }
    script_run_ms(&server, 50);
    assert_in_range(posts, 20, 29);
    struct kube_event_object theirs = o;
    theirs.namespace = "other"; /* its owner is told all the same, however many come at once */
    unsigned before = posts;
    for (int i = 0; i < 20; i++) {
        CLEANUP(free_ptr) char *note = xasprintf("%d", i);
        kube_event_send(e, &theirs, "Warning", "Many", "Test", note);
    }
    script_run_ms(&server, 100);
    assert_int_equal(posts, before + 20);
    kube_event_send(e, &theirs, "Warning", "Last", "Test", "under way when all is freed");
    kube_events_free(e);
    client = kube_client_free(client);
    script_done(&server);
    buf_done(&bodies);
}

static void shares_of_events_are_of_namespaces_and_of_all(void **state)
{
    struct event_shares s;
    unsigned noisy = 0, all = 0;
    (void)state;
    event_shares_begin(&s, 0);
    for (int i = 0; i < 1000; i++)
        noisy += event_shares_take(&s, "noisy", 0);
    assert_int_equal(noisy, EVENT_SHARE_BURST);
    assert_true(event_shares_take(&s, "quiet", 0));
    assert_true(event_shares_take(&s, "noisy", NS_PER_S));
    assert_false(event_shares_take(&s, "noisy", NS_PER_S));
    event_shares_begin(&s, 0);
    for (int i = 0; i < 1000; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("n%d", i);
        all += event_shares_take(&s, name, 0);
    }
    assert_int_equal(all, EVENT_SHARE_BURST_ALL);
    assert_true(event_shares_take(&s, "n0", NS_PER_S / 4));
    assert_false(event_shares_take(&s, "n1", NS_PER_S / 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_keeps_what_it_does_not_know),
        cmocka_unit_test(shares_of_events_are_of_namespaces_and_of_all),
        cmocka_unit_test(a_record_made_by_hand_is_a_whole_lease),
        cmocka_unit_test(what_is_no_lease_is_refused),
        cmocka_unit_test(calls_have_outcomes),
        cmocka_unit_test(the_watch_tells_each_change),
        cmocka_unit_test(events_are_sent_once_and_not_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
