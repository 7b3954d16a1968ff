/* The store fed by an API server: whole lists at once, one namespace of several, objects that cannot be taken over. */
#include "kube_script.h"
#include "object_text.h"

#include "store/source_kube.h"

static struct script server;
static struct kube_client *client;
static struct store *store;
static struct source_kube *source;
static struct metrics *metrics;
static struct buf told; /* what a listener of the store hears */
static unsigned changes, synced, reports, object_reports, recoveries, received;
static char last_report[1200];
static struct script_conn *held_a, *held_b;

#define RESOURCES \
    "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"things\",\"kind\":\"Thing\",\"namespaced\":true," \
    "\"verbs\":[\"list\"," \
    "\"watch\"]},{\"name\":\"classes\",\"kind\":\"Class\",\"namespaced\":false,\"verbs\":[\"list\",\"watch\"]}]}"
#define OBJECT(namespace, name, value) \
    "{\"metadata\":{\"name\":\"" name \
    "\",\"namespace\":\"" namespace "\",\"resourceVersion\":\"1\"},\"value\":\"" value "\"}"
#define EVENT(type, namespace, name, value) "{\"type\":\"" type "\",\"object\":" OBJECT(namespace, name, value) "}"
#define LISTED \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\",\"annotations\":{" \
    "\"k8s.io/initial-events-end\":\"true\"}}}}"
#define GONE "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}"

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                     struct object *before)
{
    (void)ctx;
    (void)kind;
    if (event == STORE_EVENT_SYNCED) {
        synced++;
        buf_puts(&told, "synced ");
        return;
    }
    changes++;
    received += source_kube_received_ns(source) > 0;
    buf_printf(&told, "%c%s ", event == STORE_EVENT_DELETE ? '-' : before ? '~' : '+', now ? now->id : before->id);
}

static void on_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    (void)ctx;
    (void)retry_in_ns;
    reports += err != NULL;
    object_reports += err && strcmp(reason, "object") == 0;
    recoveries += err == NULL;
    snprintf(last_report, sizeof(last_report), "%s %s: %s", kind, reason, err ? err->text : "well");
}

static void begin(void (*handle)(struct script_conn *c), const char *resource, const char *const *namespaces,
                  bool is_paged)
{
    struct store_kind_spec spec = {
        .name = "things", .api_version = "x/v1", .resource = resource, .namespaces = namespaces};
    struct source_kube_options options = {.max_object_bytes = 400, .no_streaming_list = is_paged};
    struct store_kind *kind;
    struct err err;
    buf_clear(&told);
    changes = synced = reports = object_reports = recoveries = received = 0;
    held_a = held_b = NULL;
    script_init(&server, handle);
    client = script_client(&server);
    metrics = options.metrics = metrics_new();
    store = store_new(1 << 20, 1 << 20);
    store_listen(store, on_store, NULL);
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    if (source_kube_new(client, store, &options, on_report, NULL, &source, &err) < 0)
        fail_msg("%s", err.text);
}

static void finish(void)
{
    source = source_kube_free(source);
    client = kube_client_free(client);
    store = store_free(store);
    metrics = metrics_free(metrics);
    script_done(&server);
    buf_done(&told);
}

static void expect(const char *want)
{
    if (strcmp(buf_str(&told), want) != 0)
        fail_msg("told \"%s\", want \"%s\" (%s)", buf_str(&told), want, last_report);
}

static double counter(const char *name, const char *label, const char *value)
{
    return metric_value(metric_counter(metrics, name, "", "kind", "things", label, value));
}

static bool discovered(struct script_conn *c)
{
    if (strcmp(c->target, "/apis/x/v1") != 0)
        return false;
    script_reply(c, 200, NULL, RESOURCES);
    return true;
}

static void one_watch(struct script_conn *c)
{
    if (discovered(c))
        return;
    script_open(c);
    held_a = c;
    if (c->script->requests == 2) {
        script_line(c, EVENT("ADDED", "a", "one", "1"));
        script_line(c, EVENT("ADDED", "b", "two", "1"));
    } else {
        script_line(c, EVENT("ADDED", "b", "two", "2"));
        script_line(c, EVENT("ADDED", "b", "three", "1"));
    }
    script_line(c, LISTED);
}

static void a_list_is_swapped_in_whole(void **state)
{
    struct source_kube_status status;
    (void)state;
    begin(one_watch, "things", NULL, false);
    assert_false(store_is_synced(store));
    script_wait(&server, &synced, 1);
    expect("+a/one +b/two synced ");
    script_line(held_a, EVENT("MODIFIED", "a", "one", "2"));
    script_line(held_a, EVENT("DELETED", "a", "one", "2"));
    script_wait(&server, &changes, 4);
    assert_int_equal(received, 2);
    script_line(held_a, GONE);
    script_wait(&server, &changes, 6);
    expect("+a/one +b/two synced ~a/one -a/one +b/three ~b/two ");
    assert_true(source_kube_status(source, "things", &status));
    assert_true(status.is_synced && status.last_event_ns > 0 && !status.last_error);
    assert_false(source_kube_status(source, "others", &status));
    assert_true(counter("haptic_watch_events_total", "type", "listed") == 4);
    assert_true(counter("haptic_watch_events_total", "type", "modified") == 1);
    assert_true(counter("haptic_watch_events_total", "type", "deleted") == 1);
    assert_true(counter("haptic_watch_restarts_total", "reason", "gone") == 1);
    finish();
}

static bool is_slow;

static void two_watches(struct script_conn *c)
{
    if (discovered(c))
        return;
    script_open(c);
    if (script_has(c, "/namespaces/a/")) {
        bool is_first = held_a == NULL;
        held_a = c;
        script_line(c, is_first ? EVENT("ADDED", "a", "one", "1") : EVENT("ADDED", "a", "new", "1"));
        script_line(c, LISTED);
    } else {
        held_b = c;
        script_line(c, EVENT("ADDED", "b", "two", "1"));
        if (!is_slow)
            script_line(c, LISTED);
    }
}

static const char *const two_namespaces[] = {"a", "b", NULL};

static void several_namespaces_are_synced_together(void **state)
{
    (void)state;
    is_slow = true;
    begin(two_watches, "things", two_namespaces, false);
    script_run_ms(&server, 100);
    assert_non_null(held_b);
    script_line(held_a, EVENT("ADDED", "a", "gone-soon", "1"));
    script_line(held_a, EVENT("ADDED", "a", "late", "1"));
    script_line(held_a, EVENT("DELETED", "a", "gone-soon", "1"));
    script_run_ms(&server, 50);
    expect("");
    script_line(held_b, LISTED);
    script_wait(&server, &synced, 1);
    expect("+a/late +a/one +b/two synced ");
    buf_clear(&told);
    is_slow = false;
    script_line(held_b, EVENT("ADDED", "b", "three", "1"));
    script_wait(&server, &changes, 4);
    script_line(held_a, GONE); /* a list of one namespace leaves the other alone */
    script_wait(&server, &changes, 7);
    assert_int_equal(store_kind_objects(store_kind_at(store, 0)), 3);
    assert_non_null(store_get(store_kind_at(store, 0), "a/new"));
    assert_non_null(store_get(store_kind_at(store, 0), "b/two"));
    assert_non_null(store_get(store_kind_at(store, 0), "b/three"));
    finish();
}

static void cluster_scoped(struct script_conn *c)
{
    if (discovered(c))
        return;
    assert_non_null(strstr(c->target, "/apis/x/v1/classes?"));
    script_open(c);
    held_a = c;
    script_line(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"1\"}}}");
    script_line(c, LISTED);
}

static void what_has_no_namespace_is_watched_once(void **state)
{
    (void)state;
    begin(cluster_scoped, "classes", two_namespaces, false);
    script_wait(&server, &synced, 1);
    expect("+c synced ");
    assert_int_equal(server.requests, 2);
    finish();
}

static void grows(struct script_conn *c)
{
    CLEANUP(free_ptr) char *filler = xmalloc(501);
    memset(filler, 'x', 500);
    filler[500] = '\0';
    if (discovered(c))
        return;
    bool is_first = held_a == NULL;
    held_a = c;
    script_open(c);
    CLEANUP(free_ptr)
    char *line = xasprintf(
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"one\",\"namespace\":\"a\"},\"x\":\"%s\"}}", filler);
    script_line(c, is_first ? EVENT("ADDED", "a", "one", "small") : line);
    script_line(c, EVENT("ADDED", "a", "two", "1"));
    script_line(c, LISTED);
}

static void what_cannot_be_read_keeps_its_last_version(void **state)
{
    (void)state;
    for (int several = 0; several < 2; several++) {
        const char *const namespaces[] = {"a", several ? "a2" : NULL, NULL};
        struct source_kube_status status;
        begin(grows, "things", namespaces, false);
        if (several)
            server.handle = grows;
        script_run_ms(&server, 100);
        if (several) {
            /* Both namespaces are given the same by this server; what counts is the first's list. */
            script_wait(&server, &synced, 1);
        }
        assert_int_equal(synced, 1);
        script_line(held_a, GONE);
        script_wait(&server, &reports, 1);
        script_run_ms(&server, 100);
        struct object *o = store_get(store_kind_at(store, 0), "a/one");
        assert_non_null(o);
        assert_non_null(strstr(text_of(o), "small"));
        assert_non_null(strstr(last_report, "a/one: the object is larger than the limit of 400 bytes"));
        assert_true(source_kube_status(source, "things", &status) && status.last_error);
        assert_true(counter("haptic_watch_errors_total", "reason", "object") >= 1);
        finish();
    }
}

static void paged(struct script_conn *c)
{
    if (discovered(c))
        return;
    if (script_has(c, "watch=1"))
        script_open(c);
    else
        script_reply(c, 200, NULL,
                     "{\"kind\":\"ThingList\",\"apiVersion\":\"x/v1\",\"metadata\":{\"resourceVersion\":\"1\"},"
                     "\"items\":[" OBJECT("a", "one", "1") "]}");
}

static void an_object_is_the_same_from_list_and_watch(void **state)
{
    (void)state;
    begin(paged, "things", NULL, true);
    script_wait(&server, &synced, 1);
    CLEANUP(free_ptr) char *from_list = xstrdup(text_of(store_get(store_kind_at(store, 0), "a/one")));
    assert_non_null(strstr(from_list, "\"kind\":\"Thing\""));
    finish();
    begin(one_watch, "things", NULL, false);
    script_wait(&server, &synced, 1);
    assert_string_equal(text_of(store_get(store_kind_at(store, 0), "a/one")), from_list);
    finish();
}

static unsigned refused;

static void refuses(struct script_conn *c)
{
    if (discovered(c))
        return;
    refused++;
    script_reply(c, refused < 5 ? 403 : 500, NULL, "{\"message\":\"no\"}");
}

static void what_goes_on_is_told_once(void **state)
{
    (void)state;
    refused = 0;
    begin(refuses, "things", NULL, false);
    script_wait_for(&server, &refused, 6, 60);
    script_wait(&server, &reports, 2);
    assert_int_equal(reports, 2);
    assert_non_null(strstr(last_report, "500"));
    assert_true(counter("haptic_watch_errors_total", "reason", "list") > 2);
    finish();
}

/* Too large for the limit of begin(). */
static void send_large(struct script_conn *c, const char *type)
{
    CLEANUP(free_ptr)
    char *line = xasprintf(
        "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"one\",\"namespace\":\"a\"},\"x\":\"%0500d\"}}", type, 0);
    script_line(c, line);
}

static const char *status_error(void)
{
    struct source_kube_status status;
    assert_true(source_kube_status(source, "things", &status));
    assert_true(!status.last_error == !status.last_error_ns);
    return status.last_error;
}

static void an_object_that_breaks_again_is_told_again(void **state)
{
    (void)state;
    for (int several = 0; several < 2; several++) {
        begin(several ? two_watches : one_watch, "things", several ? two_namespaces : NULL, false);
        is_slow = false;
        script_wait(&server, &synced, 1);
        unsigned before = changes;
        send_large(held_a, "MODIFIED");
        send_large(held_a, "MODIFIED");
        script_run_ms(&server, 50);
        assert_int_equal(reports, 1);
        assert_non_null(strstr(status_error(), "a/one: the object is larger"));
        script_line(held_a, EVENT("MODIFIED", "a", "one", "2")); /* repaired */
        script_wait(&server, &changes, before + 1);
        assert_null(status_error());
        send_large(held_a, "MODIFIED");
        script_wait(&server, &reports, 2);
        assert_non_null(status_error());
        script_line(held_a, EVENT("DELETED", "a", "one", "3"));
        script_wait(&server, &changes, before + 2);
        assert_null(status_error());
        send_large(held_a, "ADDED");
        script_wait(&server, &reports, 3);
        script_line(held_a, GONE); /* a list without it */
        script_wait(&server, &changes, before + 3);
        script_run_ms(&server, 50);
        assert_null(status_error());
        assert_int_equal(reports, 3);
        assert_int_equal(recoveries, 0); /* that is what watches do */
        assert_true(counter("haptic_watch_errors_total", "reason", "object") == 4);
        finish();
    }
}

static void a_list_tells_a_failing_object_once(void **state)
{
    (void)state;
    begin(grows, "things", NULL, false);
    script_wait(&server, &synced, 1);
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = server.requests;
        script_line(held_a, GONE);
        script_wait_for(&server, &server.requests, before + 1, 30);
        script_run_ms(&server, 50);
        assert_int_equal(object_reports, 1); /* that lists are given up one after the other is told, too */
        assert_non_null(status_error());
    }
    finish();
}

static bool is_a_allowed, is_b_allowed;
static unsigned refused_a, refused_b;

static void refuses_namespaces(struct script_conn *c)
{
    if (discovered(c))
        return;
    bool is_a = script_has(c, "/namespaces/a/");
    if (is_a ? is_a_allowed : is_b_allowed) {
        /* The right can come between the refused stream and the page that is asked for next. */
        if (script_has(c, "watch=1"))
            two_watches(c);
        else
            script_reply(c, 200, NULL,
                         "{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"4\"},\"items\":[]}");
        return;
    }
    *(is_a ? &refused_a : &refused_b) += 1;
    script_reply(c, 403, NULL, is_a ? "{\"message\":\"not in a\"}" : "{\"message\":\"not in b\"}");
}

static void each_namespace_fails_by_itself(void **state)
{
    (void)state;
    is_slow = is_a_allowed = is_b_allowed = false;
    refused_a = refused_b = 0;
    begin(refuses_namespaces, "things", two_namespaces, false);
    script_wait_for(&server, &refused_a, 3, 60);
    script_wait_for(&server, &refused_b, 3, 60);
    assert_int_equal(reports, 2);
    assert_non_null(strstr(status_error(), "not in a"));
    is_a_allowed = true;
    for (int n = 0; !strstr(status_error(), "not in b") && n < 600; n++)
        script_run_ms(&server, 50);
    assert_non_null(strstr(status_error(), "not in b"));
    assert_int_equal(recoveries, 0);
    is_b_allowed = true;
    script_wait_for(&server, &recoveries, 1, 60);
    assert_null(status_error());
    assert_int_equal(reports, 2);
    finish();
}

static bool is_there;

static void optional_kind(struct script_conn *c)
{
    if (strcmp(c->target, "/apis/x/v1") == 0) {
        script_reply(c, is_there ? 200 : 404, NULL, is_there ? RESOURCES : "404 page not found");
        return;
    }
    script_open(c);
    script_line(c, EVENT("ADDED", "a", "one", "1"));
    script_line(c, LISTED);
}

static void an_optional_kind_may_be_absent(void **state)
{
    struct source_kube_status status;
    struct store_kind_spec spec = {.name = "things", .api_version = "x/v1", .resource = "things", .is_optional = true};
    struct store_kind *kind;
    struct err err;

    (void)state;
    is_there = false;
    begin(optional_kind, "classes", NULL, false);
    store_remove_kind(store, store_kind_at(store, 0));
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    assert_int_equal(source_kube_reload(source, &err), 0);
    script_wait(&server, &synced, 1);
    script_run_ms(&server, 50);
    assert_int_equal(reports, 1);
    assert_string_equal(last_report, "things optional: things in x/v1 is not served (is its CRD installed?)");
    assert_true(source_kube_status(source, "things", &status));
    assert_true(status.is_synced && !status.last_error && status.unfollowed_ns == 0);
    is_there = true;
    script_wait_for(&server, &changes, 1, 10);
    expect("synced +a/one ");
    finish();
}

static void kinds_come_and_go(void **state)
{
    struct store_kind_spec spec = {.name = "more", .api_version = "x/v1", .resource = "things"};
    struct store_kind *kind;
    struct err err;
    (void)state;
    begin(one_watch, "things", NULL, false);
    script_wait(&server, &synced, 1);
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    assert_int_equal(source_kube_reload(source, &err), 0);
    script_wait(&server, &synced, 2);
    assert_int_equal(store_kind_objects(kind), 2);
    unsigned requests = server.requests;
    store_remove_kind(store, kind);
    assert_int_equal(source_kube_reload(source, &err), 0);
    script_run_ms(&server, 50);
    assert_int_equal(server.requests, requests);
    spec.api_version = "X";
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    assert_int_equal(source_kube_reload(source, &err), -1);
    assert_non_null(strstr(err.text, "watched resource \"more\": api_version \"X\""));
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_swapped_in_whole),
        cmocka_unit_test(several_namespaces_are_synced_together),
        cmocka_unit_test(what_has_no_namespace_is_watched_once),
        cmocka_unit_test(what_cannot_be_read_keeps_its_last_version),
        cmocka_unit_test(an_object_is_the_same_from_list_and_watch),
        cmocka_unit_test(what_goes_on_is_told_once),
        cmocka_unit_test(an_object_that_breaks_again_is_told_again),
        cmocka_unit_test(a_list_tells_a_failing_object_once),
        cmocka_unit_test(each_namespace_fails_by_itself),
        cmocka_unit_test(an_optional_kind_may_be_absent),
        cmocka_unit_test(kinds_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
