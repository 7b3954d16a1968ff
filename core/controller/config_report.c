/* The wanted status is kept as text. step() compares it with the resource as it was last seen, and applies it when they
 * differ. An Event is sent when the result changes. */
#include "controller/config_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/library_report.h"
#include "controller/status_manner.h"
#include "controller/status_merge.h"
#include "controller/status_writer.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/backoff.h"
#include "net/timer.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define REST_MIN_NS NS_PER_S
#define REST_MAX_NS (60 * NS_PER_S)
#define WARN_NS (10 * NS_PER_S)
#define WARN_MAX_NS (3600 * NS_PER_S)
#define MESSAGE_MAX 4096

struct config_report {
    struct kube_client *client;
    struct config_source *source;
    struct kube_events *events;
    bool (*may_write)(void *ctx);
    void *ctx;
    char *wish;       /* the wanted status; NULL: no result yet */
    char *told;       /* the text of the last Event */
    char *told_moved; /* the text of the last Event about overrides */
    struct kube_request *request;
    struct net_timer *timer;
    struct net_backoff backoff;
    struct log_repeat warned;
    struct library_report *libraries;
    bool again;
    bool compared, could_write; /* equal since the last comparison; may_write() at that time */
};

/* ---- the wanted status ---- */

static void put_condition(struct buf *out, const char *type, const struct config_condition *c)
{
    static const char *const words[] = {[CONFIG_UNKNOWN] = "Unknown", [CONFIG_TRUE] = "True", [CONFIG_FALSE] = "False"};
    size_t length = strnlen(c->message, MESSAGE_MAX);

    while (length > 0 && ((unsigned char)c->message[length] & 0xc0) == 0x80)
        length--;
    buf_printf(out, "{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":", type, words[c->status],
               c->reason);
    if (json_write_string(out, c->message, length, NULL) < 0)
        buf_puts(out, "\"\"");
    buf_putc(out, '}');
}

static char *wish_of(const struct config_findings *f)
{
    struct buf out = {0};

    buf_puts(&out, "{\"conditions\":[");
    put_condition(&out, "Accepted", &f->accepted);
    buf_putc(&out, ',');
    put_condition(&out, "TestsPassed", &f->tests);
    buf_putc(&out, ',');
    put_condition(&out, "Rendered", &f->rendered);
    buf_putc(&out, ',');
    put_condition(&out, "Deployed", &f->deployed);
    if (f->overrides.reason != NULL) {
        buf_putc(&out, ',');
        put_condition(&out, "OverridesCurrent", &f->overrides);
    }
    buf_puts(&out, "]}");
    return buf_steal(&out);
}

/* ---- Events ---- */

static void send_event(struct config_report *r, bool warning, const char *reason, const char *message)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct config_object object;

    if (r->events == NULL || !r->may_write(r->ctx) || !config_source_object(r->source, &object) ||
        json_parse(object.json, object.length, object.length + 1, &doc, NULL) < 0)
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct kube_event_object about = {.api_version = CONFIG_API_VERSION,
                                            .kind = CONFIG_KIND,
                                            .namespace = object.namespace,
                                            .name = object.name,
                                            .uid = json_str(root, "metadata", "uid"),
                                            .resource_version = json_str(root, "metadata", "resourceVersion")};
    kube_event_send(r->events, &about, warning ? "Warning" : "Normal", reason, "Configure", message);
}

/* Sent once for each set of overrides. Overrides do not keep the configuration from being in force. */
static void tell_moved(struct config_report *r, const struct config_condition *c)
{
    bool moved = c->reason != NULL && c->status == CONFIG_FALSE;

    if (moved && (r->told_moved == NULL || strcmp(r->told_moved, c->message) != 0))
        send_event(r, true, c->reason, c->message);
    free(r->told_moved);
    r->told_moved = moved ? xstrdup(c->message) : NULL;
}

static void tell(struct config_report *r, const struct config_findings *f)
{
    const struct config_condition *worst = f->accepted.status == CONFIG_FALSE   ? &f->accepted
                                           : f->tests.status == CONFIG_FALSE    ? &f->tests
                                           : f->rendered.status == CONFIG_FALSE ? &f->rendered
                                                                                : NULL;
    bool is_good = worst == NULL && f->deployed.status == CONFIG_TRUE;
    if (worst == NULL && !is_good)
        return;
    const char *reason = worst != NULL ? worst->reason : "ConfigurationDeployed",
               *message = worst != NULL ? worst->message : "the configuration is in force and live";
    CLEANUP(free_ptr) char *text = xasprintf("%s: %s", reason, message);
    bool first = r->told == NULL;
    if (!first && strcmp(r->told, text) == 0)
        return;
    free(r->told);
    r->told = STEAL(text);
    if (!first || worst != NULL)
        send_event(r, worst != NULL, reason, message);
}

/* ---- writing ---- */

static void on_written(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct config_report *r = ctx;
    uint64_t similar;

    r->request = NULL;
    if (err == NULL) {
        net_backoff_reset(&r->backoff);
        if (r->again)
            net_timer_start(r->timer, NS_PER_MS);
        return;
    }
    if (log_repeat_pass(&r->warned, WARN_NS, WARN_MAX_NS, &similar))
        log_warn("The status of the configuration cannot be written; it is tried again", "config",
                 config_source_name(r->source), "error", err->text, "similar", log_int((int64_t)similar));
    net_timer_start(r->timer, net_backoff_next(&r->backoff, response->retry_after_ns));
}

static void write_status(struct config_report *r, const struct config_object *object, const struct buf *body)
{
    CLEANUP(buf_done) struct buf path = {0};

    kube_path_add(&path, CONFIG_API_VERSION, object->namespace, CONFIG_RESOURCE, object->name);
    buf_puts(&path, "/status");
    kube_path_add_query(&path, "fieldManager", STATUS_MANAGER);
    kube_path_add_query(&path, "force", "true");
    const struct kube_call call = {.what = "write the status of the configuration",
                                   .method = "PATCH",
                                   .path = buf_str(&path),
                                   .body = buf_str(body),
                                   .body_length = body->length,
                                   .content_type = "application/apply-patch+yaml",
                                   .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                   .done = on_written,
                                   .ctx = r};
    r->again = false;
    r->request = kube_request_start(r->client, &call);
}

static void config_report_step(struct config_report *r)
{
    CLEANUP(buf_done) struct buf body = {0};
    struct config_object object;
    struct err err;
    bool differs = false;

    if (r == NULL || r->wish == NULL)
        return;
    bool may = r->may_write(r->ctx);
    if (r->compared && may == r->could_write)
        return;
    r->could_write = may;
    r->again = r->again || r->request != NULL;
    if (r->request != NULL || net_timer_is_set(r->timer))
        return;
    r->compared = true;
    if (!may || !config_source_object(r->source, &object))
        return;
    const struct status_object about = {
        .api_version = CONFIG_API_VERSION, .resource = CONFIG_RESOURCE, .json = object.json, .length = object.length};
    const char *wish = r->wish;
    if (status_merge(&about, NULL, &wish, 1, false, clock_wall_s(), &differs, &body, &err) < 0)
        log_error("The status of the configuration cannot be made", "error", err.text);
    else if (differs)
        write_status(r, &object, &body);
}

void config_report_set(struct config_report *r, const struct config_findings *findings)
{
    if (r == NULL)
        return;
    if (findings == NULL) {
        free(STEAL(r->wish));
        return;
    }
    CLEANUP(free_ptr) char *wish = wish_of(findings);
    bool same = r->wish != NULL && strcmp(r->wish, wish) == 0;
    if (!same) {
        free(r->wish);
        r->wish = STEAL(wish);
        r->compared = false;
        tell(r, findings);
        tell_moved(r, &findings->overrides);
    }
    config_report_step(r);
    if (findings->accepted.status == CONFIG_FALSE)
        library_report_set(r->libraries, LIBRARY_REFUSED, findings->accepted.message);
    else if (findings->accepted.status == CONFIG_TRUE && findings->tests.status == CONFIG_FALSE)
        library_report_set(r->libraries, LIBRARY_REFUSED, findings->tests.message);
    else if (findings->accepted.status == CONFIG_TRUE)
        library_report_set(r->libraries, LIBRARY_IN_FORCE, "");
}

/* ---- life ---- */

static void on_timer(void *ctx)
{
    config_report_see(ctx);
}

void config_report_see(struct config_report *r)
{
    if (r == NULL)
        return;
    r->compared = false;
    config_report_step(r);
    library_report_see(r->libraries);
}

struct config_report *config_report_new(struct kube_client *client, struct config_source *source,
                                        struct kube_events *events, bool (*may_write)(void *ctx), void *ctx)
{
    struct config_report *r = xcalloc(1, sizeof(*r));

    r->client = client;
    r->source = source;
    r->events = events;
    r->may_write = may_write;
    r->ctx = ctx;
    r->backoff = (struct net_backoff){.base_ns = REST_MIN_NS, .cap_ns = REST_MAX_NS};
    r->timer = net_timer_new(kube_client_loop(client), on_timer, r);
    r->libraries = library_report_new(client, source, may_write, ctx);
    return r;
}

struct config_report *config_report_free(struct config_report *r)
{
    if (r == NULL)
        return NULL;
    kube_request_cancel(r->request);
    net_timer_free(r->timer);
    library_report_free(r->libraries);
    free(r->wish);
    free(r->told);
    free(r->told_moved);
    free(r);
    return NULL;
}
