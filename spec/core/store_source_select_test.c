/* A kind of the namespaces that have certain labels: those that come, go, or change their labels. */
#include "kube_script.h"

#include "store/source_kube.h"

static struct script server;
static struct kube_client *client;
static struct store *store;
static struct source_kube *source;
static struct buf told;
static unsigned synced, changes, reports, recoveries;
static char last_report[1200];
static struct script_conn *held; /* of namespaces */
static const char *first;        /* namespaces of the first list, "a b" */
static bool is_denied, is_cluster_scoped;

#define LISTED \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\",\"annotations\":{" \
    "\"k8s.io/initial-events-end\":\"true\"}}}}"
#define RESOURCE(name, kind, namespaced) \
    "{\"name\":\"" name "\",\"kind\":\"" kind "\",\"namespaced\":" namespaced ",\"verbs\":[\"list\",\"watch\"]}"

static void namespace_event(struct script_conn *c, const char *type, const char *name)
{
    CLEANUP(free_ptr)
    char *line = xasprintf("{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"6\"}}}",
                           type, name);
    script_line(c, line);
}

static void serve(struct script_conn *c)
{
    char namespace[64];
    if (strcmp(c->target, "/api/v1") == 0) {
        script_reply(c, 200, NULL, "{\"resources\":[" RESOURCE("namespaces", "Namespace", "false") "]}");
    } else if (strcmp(c->target, "/apis/x/v1") == 0) {
        script_reply(c, 200, NULL,
                     is_cluster_scoped ? "{\"resources\":[" RESOURCE("things", "Thing", "false") "]}"
                                       : "{\"resources\":[" RESOURCE("things", "Thing", "true") "]}");
    } else if (script_has(c, "/api/v1/namespaces?")) {
        assert_true(script_has(c, "labelSelector=team%3Da"));
        if (is_denied) {
            script_reply(
                c, 403, NULL,
                "{\"message\":\"namespaces is forbidden: User \\\"u\\\" cannot list resource \\\"namespaces\\\" in "
                "API group \\\"\\\" at the cluster scope\"}");
            return;
        }
        script_open(c);
        held = c;
        for (const char *at = first; *at; at += 1 + (at[1] == ' '))
            namespace_event(c, "ADDED", (char[]){*at, '\0'});
        script_line(c, LISTED);
    } else {
        assert_int_equal(sscanf(c->target, "/apis/x/v1/namespaces/%63[a-z]/things", namespace), 1);
        CLEANUP(free_ptr)
        char *line = xasprintf("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"one\",\"namespace\":\"%s\","
                               "\"resourceVersion\":\"1\"}}}",
                               namespace);
        script_open(c);
        script_line(c, line);
        script_line(c, LISTED);
    }
}

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                     struct object *before)
{
    (void)ctx;
    (void)kind;
    synced += event == STORE_EVENT_SYNCED;
    changes += event != STORE_EVENT_SYNCED;
    if (event == STORE_EVENT_SYNCED)
        buf_puts(&told, "synced ");
    else
        buf_printf(&told, "%c%s ", event == STORE_EVENT_DELETE ? '-' : before ? '~' : '+', now ? now->id : before->id);
}

static void on_report(void *ctx, const char *kind, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    (void)ctx;
    (void)retry_in_ns;
    reports += err != NULL;
    recoveries += err == NULL;
    snprintf(last_report, sizeof(last_report), "%s %s: %s", kind, reason, err ? err->text : "well");
}

static void begin(const char *namespaces)
{
    struct store_kind_spec spec = {
        .name = "things", .api_version = "x/v1", .resource = "things", .namespace_selector = "team=a"};
    struct store_kind *kind;
    struct err err;
    buf_clear(&told);
    synced = changes = reports = recoveries = 0;
    held = NULL;
    first = namespaces;
    is_denied = is_cluster_scoped = false;
    script_init(&server, serve);
    client = script_client(&server);
    store = store_new(1 << 20, 1 << 20);
    store_listen(store, on_store, NULL);
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    if (source_kube_new(client, store, NULL, on_report, NULL, &source, &err) < 0)
        fail_msg("%s", err.text);
}

static void finish(void)
{
    source = source_kube_free(source);
    client = kube_client_free(client);
    store = store_free(store);
    script_done(&server);
    buf_done(&told);
}

static void expect(const char *want)
{
    if (strcmp(buf_str(&told), want) != 0)
        fail_msg("told \"%s\", want \"%s\" (%s)", buf_str(&told), want, last_report);
}

static void namespaces_are_followed_by_their_labels(void **state)
{
    (void)state;
    begin("a b");
    script_wait(&server, &synced, 1);
    expect("+a/one +b/one synced ");
    namespace_event(held, "ADDED", "c"); /* its labels fit now */
    script_wait(&server, &changes, 3);
    namespace_event(held, "MODIFIED", "c"); /* something else of it changed */
    namespace_event(held, "DELETED", "a");  /* they do not fit any more */
    script_wait(&server, &changes, 4);
    expect("+a/one +b/one synced +c/one -a/one ");
    first = "b d"; /* a list anew: c is gone, d has come */
    script_line(held, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}");
    script_wait_for(&server, &changes, 6, 10);
    assert_null(store_get(store_kind_at(store, 0), "c/one"));
    assert_non_null(store_get(store_kind_at(store, 0), "b/one"));
    assert_non_null(store_get(store_kind_at(store, 0), "d/one"));
    assert_int_equal(store_kind_objects(store_kind_at(store, 0)), 2);
    finish();
}

static void no_namespace_that_fits_is_an_empty_kind(void **state)
{
    (void)state;
    begin("");
    script_wait(&server, &synced, 1);
    expect("synced ");
    namespace_event(held, "ADDED", "a");
    script_wait(&server, &changes, 1);
    expect("synced +a/one ");
    finish();
}

static void a_missing_right_to_namespaces_is_told(void **state)
{
    struct source_kube_status status;
    (void)state;
    begin("a");
    is_denied = true;
    script_wait(&server, &reports, 1);
    assert_string_equal(
        last_report, "things list: namespaceSelector: list namespaces: 403: the user u may not list namespaces at the "
                     "cluster scope; add the verb \"list\" to its cluster role");
    assert_true(source_kube_status(source, "things", &status));
    assert_true(!status.is_synced && status.is_denied && status.unfollowed_ns > 0);
    finish();
}

static void what_has_no_namespace_cannot_be_selected(void **state)
{
    (void)state;
    begin("a b");
    is_cluster_scoped = true;
    script_wait(&server, &synced, 1);
    expect("synced ");
    assert_string_equal(
        last_report, "things discovery: watched resource \"things\": things have no namespace that namespaceSelector "
                     "could select: remove it, or select by labelSelector");
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_are_followed_by_their_labels),
        cmocka_unit_test(no_namespace_that_fits_is_an_empty_kind),
        cmocka_unit_test(a_missing_right_to_namespaces_is_told),
        cmocka_unit_test(what_has_no_namespace_cannot_be_selected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
