/* kube_watch_world.h — a watch, the server that it talks to, and what it told, as a line of words:
 *     "[ n/a:1  n/b:2 ] ~n/a:6 -n/b:7 <closed> (watch) "
 * is a list of two objects with their versions, a change, a deletion, a connection opened anew, an error. "[x " is a
 * list that did not end; "+" an object that is new, "!" one that cannot be read.
 *
 * One watch at a time: begin() … finish(). */
#ifndef HAPTIC_SPEC_KUBE_WATCH_WORLD_H
#define HAPTIC_SPEC_KUBE_WATCH_WORLD_H

#include "kube_script.h"

#include "data/json.h"
#include "kube/watch.h"

static struct script server;
static struct kube_client *client;
static struct kube_discovery *discovery;
static struct kube_watch *watch;
static struct buf told;
static unsigned lists, put_count, errors, follows, silences;
static char last_error[1024];
static int64_t last_received_ns, last_retry_ns;
static struct script_conn *held; /* a stream that is open */
static unsigned streams, list_requests;
static void (*answer)(struct script_conn *c);
static bool is_discoverable; /* false: the CRD is missing */

static const char resources[] =
    "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"ingresses\",\"kind\":\"Ingress\","
    "\"namespaced\":true,\"verbs\":"
    "[\"list\",\"watch\"]},{\"name\":\"classes\",\"kind\":\"Class\",\"namespaced\":false,\"verbs\":[\"list\","
    "\"watch\"]},"
    "{\"name\":\"reviews\",\"kind\":\"Review\",\"namespaced\":true,\"verbs\":[\"create\"]}]}";

static inline void on_list_begin(void *ctx)
{
    (void)ctx;
    buf_puts(&told, "[");
}

static inline void on_list_end(void *ctx, bool is_complete)
{
    (void)ctx;
    lists += is_complete;
    buf_puts(&told, is_complete ? "] " : "x ");
}

static inline void on_put(void *ctx, const struct kube_watch_event *e)
{
    static const char signs[] = {' ', '+', '~', '-'};
    (void)ctx;
    const char *version = json_str(e->object, "metadata", "resourceVersion");
    buf_printf(&told, "%c%s%s%s:%s ", signs[e->type], e->namespace, *e->namespace ? "/" : "", e->name,
               version ? version : "");
    assert_true(e->received_ns > 0 && e->received_ns <= clock_now_ns());
    last_received_ns = e->received_ns;
    put_count++;
}

static inline void on_unreadable(void *ctx, const char *namespace, const char *name, const struct err *err)
{
    (void)ctx;
    assert_int_equal(err->kind, ERR_LIMIT);
    buf_printf(&told, "!%s/%s ", namespace, name);
    snprintf(last_error, sizeof(last_error), "%s", err->text);
    errors++;
}

static inline void on_error(void *ctx, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    (void)ctx;
    assert_true(retry_in_ns > 0);
    last_retry_ns = retry_in_ns;
    buf_printf(&told, "(%s) ", reason);
    snprintf(last_error, sizeof(last_error), "%s", err->text);
    errors++;
}

static inline void on_followed(void *ctx)
{
    (void)ctx;
    follows++;
}

static inline void on_silent(void *ctx, int64_t every_ns)
{
    (void)ctx;
    assert_true(every_ns > 0);
    buf_puts(&told, "{silent} ");
    silences++;
}

static inline void on_restart(void *ctx, const char *reason)
{
    (void)ctx;
    buf_printf(&told, "<%s> ", reason);
}

static const struct kube_watch_ops watch_ops = {.list_begin = on_list_begin,
                                                .list_end = on_list_end,
                                                .put = on_put,
                                                .del = on_put,
                                                .unreadable = on_unreadable,
                                                .error = on_error,
                                                .followed = on_followed,
                                                .restart = on_restart,
                                                .silent = on_silent};

/* Every test's server answers discovery in the same way; everything else is the test's matter. */
static inline void serve(struct script_conn *c)
{
    if (script_has(c, "/ingresses") || script_has(c, "/classes") || script_has(c, "/reviews")) {
        answer(c);
        return;
    }
    assert_string_equal(c->target, "/apis/net/v1");
    if (is_discoverable)
        script_reply(c, 200, NULL, resources);
    else
        script_reply(c, 404, NULL, "404 page not found");
}

static inline void begin_spec(void (*handle)(struct script_conn *c), const struct kube_watch_spec *spec)
{
    struct err err;
    buf_clear(&told);
    lists = put_count = errors = follows = silences = streams = list_requests = 0;
    last_retry_ns = 0;
    last_error[0] = '\0';
    held = NULL;
    answer = handle;
    is_discoverable = true;
    script_init(&server, serve);
    client = script_client(&server);
    discovery = kube_discovery_new(client);
    if (kube_watch_new(client, discovery, spec, &watch_ops, NULL, &watch, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void begin(void (*handle)(struct script_conn *c), bool no_streaming_list)
{
    struct kube_watch_spec spec = {.selection = {.api_version = "net/v1",
                                                 .resource = "ingresses",
                                                 .max_object_bytes = 300,
                                                 .label_selector = "a in (b,c)"},
                                   .no_streaming_list = no_streaming_list,
                                   .stall_ns = 300 * NS_PER_MS,
                                   .backoff_base_ns = 20 * NS_PER_MS,
                                   .backoff_cap_ns = 100 * NS_PER_MS};
    begin_spec(handle, &spec);
}

static inline void finish(void)
{
    watch = kube_watch_free(watch);
    discovery = kube_discovery_free(discovery);
    client = kube_client_free(client);
    script_done(&server);
    buf_done(&told);
}

static inline void expect(const char *want)
{
    if (strcmp(buf_str(&told), want) != 0)
        fail_msg("told \"%s\", want \"%s\" (last error: %s)", buf_str(&told), want, last_error);
}

#define OBJECT(name, version) \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}"
#define BOOKMARK(version) "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}"
#define LISTED(version) \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version \
    "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}"
#define GONE \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}"
#define LIST(version, next, items) \
    "{\"kind\":\"IngressList\",\"apiVersion\":\"net/v1\",\"metadata\":{\"resourceVersion\":\"" version \
    "\",\"continue\":\"" next "\"},\"items\":[" items "]}"

static inline bool is_stream(struct script_conn *c)
{
    if (!script_has(c, "watch=1"))
        return false;
    assert_true(script_has(c, "allowWatchBookmarks=true") && script_has(c, "timeoutSeconds="));
    assert_true(script_has(c, "labelSelector=a%20in%20%28b%2Cc%29"));
    streams++;
    held = c;
    return true;
}

static inline bool is_streamed_list(struct script_conn *c)
{
    return script_has(c, "sendInitialEvents=true") && script_has(c, "resourceVersionMatch=NotOlderThan");
}

/* For servers that only stream: the lines of the first connection, and of every later one, which must ask for version
 * (NULL: for a streamed list again). */
struct played {
    const char *first[8], *version, *later[4];
};
static struct played played;

static inline void play(struct script_conn *c)
{
    assert_true(is_stream(c));
    if (streams > 1 && played.version)
        assert_true(script_has(c, played.version) && !is_streamed_list(c));
    else
        assert_true(is_streamed_list(c));
    script_open(c);
    for (const char *const *line = streams == 1 ? played.first : played.later; *line; line++)
        script_line(c, *line);
}

#endif
