/* What a Pod says about the process that took the Lease. */
#include "kube_script.h"

#include "controller/holder.h"

static struct script server;
static struct kube_client *client;
static struct holder *holder;
static struct script_conn *stream;
static unsigned watches, ends, denials, asked;
static bool is_denied, exists;
static char end[2048], last_watch[2100];

static void on_gone(void *ctx, const char *name, int64_t acquire_us, const char *why)
{
    (void)ctx;
    snprintf(end, sizeof(end), "%s %lld: %s", name, (long long)acquire_us, why);
    ends++;
}

static void on_denied(void *ctx, const struct err *err)
{
    (void)ctx;
    snprintf(end, sizeof(end), "%s", err->text);
    denials++;
}

static const struct holder_ops ops = {.gone = on_gone, .denied = on_denied};

static void serve(struct script_conn *c)
{
    if (!script_has(c, "watch=1")) {
        asked++;
        script_reply(c, exists ? 200 : 404, NULL, "{\"metadata\":{\"name\":\"pod-a\"}}");
        return;
    }
    snprintf(last_watch, sizeof(last_watch), "%s", c->target);
    watches++;
    stream = c;
    if (is_denied)
        script_reply(c, 403, NULL,
                     "{\"message\":\"pods is forbidden: User \\\"u\\\" cannot watch resource \\\"pods\\\" in API group "
                     "\\\"\\\" in the namespace \\\"ns\\\"\"}");
    else
        script_open(c);
}

static void begin(void)
{
    watches = ends = denials = asked = 0;
    is_denied = false;
    exists = true;
    end[0] = last_watch[0] = '\0';
    script_init(&server, serve);
    client = script_client(&server);
    holder = holder_new(client, "ns", "pod-me", &ops, NULL);
}

static void finish(void)
{
    holder = holder_free(holder);
    client = kube_client_free(client);
    script_done(&server);
}

#define POD(annotations, status) \
    "{\"metadata\":{\"name\":\"pod-a\",\"uid\":\"u1\",\"annotations\":{" annotations "}},\"status\":" status "}"
#define LINE(type, pod) "{\"type\":\"" type "\",\"object\":" pod "}"
#define CONTAINER(name, state, last) "{\"name\":\"" name "\",\"state\":{" state "},\"lastState\":{" last "}}"
#define STATUSES(list) "{\"phase\":\"Running\",\"containerStatuses\":[" list "]}"
#define RUNNING(at) "\"running\":{\"startedAt\":\"" at "\"}"
#define ENDED(at) "\"terminated\":{\"reason\":\"OOMKilled\",\"finishedAt\":\"" at "\"}"
#define WAITING "\"waiting\":{\"reason\":\"CrashLoopBackOff\"}"

/* The Lease was taken at 2026-01-02T03:00:10.5Z. */
#define TAKEN_US INT64_C(1767322810500000)

static const struct {
    const char *pod, *why; /* NULL: not the end */
} pods[] = {
    {POD("", "{\"phase\":\"Pending\"}"), NULL},
    {POD("", "{\"phase\":\"Failed\",\"reason\":\"Evicted\"}"), "its Pod's phase is Failed (Evicted)"},
    {POD("", "{\"phase\":\"Succeeded\"}"), "its Pod's phase is Succeeded"},
    {POD("", STATUSES(CONTAINER("x", RUNNING("2026-01-02T03:00:10Z"), ""))), NULL},
    {POD("", STATUSES(CONTAINER("x", RUNNING("2026-01-02T02:00:00Z"), ENDED("2026-01-02T01:00:00Z")))), NULL},
    {POD("", STATUSES(CONTAINER("x", RUNNING("2026-01-02T03:00:11Z"), ENDED("2026-01-02T03:00:10Z")))),
     "its container was started again"},
    {POD("", STATUSES(CONTAINER("x", ENDED("2026-01-02T03:00:10Z"), ""))), "its container has ended: OOMKilled"},
    {POD("", STATUSES(CONTAINER("x", ENDED("2026-01-02T03:00:09Z"), ""))), NULL}, /* one before took it; this is late */
    {POD("", STATUSES(CONTAINER("x", WAITING, ENDED("2026-01-02T03:00:20Z")))), "its container has ended: OOMKilled"},
    {POD("", STATUSES(CONTAINER("x", WAITING, ""))), NULL},
    {POD("", STATUSES(CONTAINER("x", ENDED("no time"), ""))), NULL},
    /* Of several containers only the controller's counts. */
    {POD("", STATUSES(CONTAINER("x", ENDED("2026-01-02T03:00:20Z"),
                                "") "," CONTAINER("y", RUNNING("2026-01-02T03:00:00Z"), ""))),
     NULL},
    {POD("\"kubectl.kubernetes.io/default-container\":\"y\"",
         STATUSES(CONTAINER("x", ENDED("2026-01-02T03:00:20Z"), "") "," CONTAINER("y", RUNNING("2026-01-02T03:00:00Z"),
                                                                                  ""))),
     NULL},
    {POD("\"kubectl.kubernetes.io/default-container\":\"x\"",
         STATUSES(CONTAINER("x", ENDED("2026-01-02T03:00:20Z"), "") "," CONTAINER("y", RUNNING("2026-01-02T03:00:00Z"),
                                                                                  ""))),
     "its container has ended: OOMKilled"},
};

static void a_pod_says_whether_its_process_has_ended(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pods); i++) {
        begin();
        holder_see(holder, "pod-a", TAKEN_US);
        script_wait(&server, &watches, 1);
        assert_non_null(strstr(last_watch, "/api/v1/namespaces/ns/pods?"));
        assert_non_null(strstr(last_watch, "fieldSelector=metadata.name%3Dpod-a"));
        CLEANUP(free_ptr) char *line = xasprintf("{\"type\":\"ADDED\",\"object\":%s}", pods[i].pod);
        CLEANUP(free_ptr) char *want = xasprintf("pod-a %lld: %s", (long long)TAKEN_US, pods[i].why ? pods[i].why : "");
        script_line(stream, line);
        if (pods[i].why)
            script_wait(&server, &ends, 1);
        script_line(stream, line); /* said again, told once */
        script_run_ms(&server, 20);
        if (ends != (pods[i].why != NULL) || (ends && strcmp(end, want) != 0))
            fail_msg("row %zu: %u ends, \"%s\"", i, ends, end);
        finish();
    }
}

static void a_deleted_pod_has_ended(void **state)
{
    const char *alive = LINE("ADDED", POD("", STATUSES(CONTAINER("x", RUNNING("2026-01-02T03:00:00Z"), ""))));
    (void)state;
    begin();
    holder_see(holder, "pod-a", TAKEN_US);
    script_wait(&server, &watches, 1);
    script_line(stream, alive);
    script_line(stream, LINE("DELETED", POD("", "{}")));
    script_wait(&server, &ends, 1);
    assert_non_null(strstr(end, "its Pod was deleted"));
    /* Another Pod of that name takes the Lease: the deletion is not its. */
    holder_see(holder, "pod-a", TAKEN_US + 60000000);
    script_run_ms(&server, 20);
    assert_int_equal(ends, 1);
    script_line(stream, LINE("ADDED", POD("", STATUSES(CONTAINER("x", RUNNING("2026-01-02T03:01:00Z"), "")))));
    script_run_ms(&server, 20);
    assert_int_equal(ends, 1);
    /* It goes while the watch is away. */
    exists = false;
    script_cut(stream);
    script_wait(&server, &ends, 2);
    finish();
}

static void a_name_without_a_pod_says_nothing(void **state)
{
    (void)state;
    begin();
    exists = false;
    holder_see(holder, "pod-a", TAKEN_US);
    script_wait(&server, &asked, 1);
    script_run_ms(&server, 20);
    assert_int_equal(ends, 0);
    finish();
}

static void nobodys_our_own_and_no_pods_names_are_not_looked_for(void **state)
{
    static const char *const names[] = {"", "pod-me", "host_4711", "Pod-A", "pod-", "../pod"};
    (void)state;
    begin();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        holder_see(holder, names[i], TAKEN_US);
    script_run_ms(&server, 30);
    assert_int_equal(server.requests, 0);
    /* A holder, then another: one watch at a time. */
    holder_see(holder, "pod-a", TAKEN_US);
    script_wait(&server, &watches, 1);
    holder_see(holder, "pod-b", TAKEN_US);
    script_wait(&server, &watches, 2);
    assert_non_null(strstr(last_watch, "metadata.name%3Dpod-b"));
    holder_see(holder, "pod-b", TAKEN_US + 1);
    script_run_ms(&server, 20);
    assert_int_equal(watches, 2);
    finish();
}

static void a_missing_permission_is_told_once(void **state)
{
    (void)state;
    begin();
    is_denied = true;
    holder_see(holder, "pod-a", TAKEN_US);
    script_wait(&server, &denials, 1);
    assert_non_null(strstr(end, "may not watch pods in the namespace \"ns\"; add the verb \"watch\""));
    holder_see(holder, "pod-b", TAKEN_US);
    script_wait(&server, &watches, 2);
    script_run_ms(&server, 20);
    assert_int_equal(denials, 1);
    assert_int_equal(ends, 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_says_whether_its_process_has_ended),
        cmocka_unit_test(a_deleted_pod_has_ended),
        cmocka_unit_test(a_name_without_a_pod_says_nothing),
        cmocka_unit_test(nobodys_our_own_and_no_pods_names_are_not_looked_for),
        cmocka_unit_test(a_missing_permission_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
