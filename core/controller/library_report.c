/* One write at a time: step() writes the first library whose status differs, and runs again after the answer. */
#include "controller/library_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
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
#define MANAGER_MAX 128

struct library_report {
    struct kube_client *client;
    struct config_source *source;
    bool (*may_write)(void *ctx);
    void *ctx;
    bool is_set;
    enum library_verdict verdict;
    char *message;
    VEC(char *) written; /* names whose status has our fields */
    struct kube_request *request;
    struct net_timer *timer;
    struct net_backoff backoff;
    struct log_repeat warned;
};

/* True when a message concerns that library, and not one whose name only begins with the same characters. */
static bool names_library(const char *message, const char *name)
{
    CLEANUP(free_ptr) char *words = xasprintf(CONFIG_LIBRARY_KIND " %s", name);

    for (const char *at = message; (at = strstr(at, words)) != NULL; at++) {
        char next = at[strlen(words)];
        if (next == '\0' || next == ':' || next == ' ' || next == '"' || next == ',')
            return true;
    }
    return false;
}

static char *wish_of(const struct library_report *r, const struct config_object *config,
                     const struct config_object *library)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct buf out = {0};
    const char *status = "True", *reason = "Valid", *message = "the library is in force", *revision = NULL;

    if (r->verdict == LIBRARY_REFUSED) {
        bool is_named = names_library(r->message, library->name);
        status = is_named ? "False" : "Unknown";
        reason = is_named ? "Refused" : "ConfigurationRefused";
        message = r->message;
    }
    size_t length = strnlen(message, MESSAGE_MAX);
    while (length > 0 && ((unsigned char)message[length] & 0xc0) == 0x80)
        length--;
    buf_printf(&out, "{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":", status,
               reason);
    if (json_write_string(&out, message, length, NULL) < 0)
        buf_puts(&out, "\"\"");
    buf_puts(&out, "}],\"usedBy\":{");
    if (json_write_string(&out, config->name, strlen(config->name), NULL) < 0)
        buf_puts(&out, "\"\"");
    if (json_parse(library->json, library->length, library->length + 1, &doc, NULL) == 0)
        revision = json_str(yyjson_doc_get_root(doc), "spec", "revision");
    buf_puts(&out, ":{\"revision\":");
    if (json_write_string(&out, revision ? revision : "", revision ? strlen(revision) : 0, NULL) < 0)
        buf_puts(&out, "\"\"");
    buf_puts(&out, "}}}");
    return buf_steal(&out);
}

/* ---- writing ---- */

static void step(struct library_report *r);

static void on_written(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct library_report *r = ctx;
    uint64_t similar;

    r->request = NULL;
    if (err == NULL || err->kind == ERR_NOTFOUND) {
        net_backoff_reset(&r->backoff);
        net_timer_start(r->timer, NS_PER_S / 10); /* by then the watch has seen the write */
        return;
    }
    if (log_repeat_pass(&r->warned, WARN_NS, WARN_MAX_NS, &similar))
        log_warn("The status of a library cannot be written; it is tried again", "config",
                 config_source_name(r->source), "error", err->text, "similar", log_int((int64_t)similar));
    net_timer_start(r->timer, net_backoff_next(&r->backoff, response->retry_after_ns));
}

static void write_status(struct library_report *r, const struct config_object *config, const char *name,
                         const char *body)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *manager = xasprintf(STATUS_MANAGER "-%s", config->name);

    if (strlen(manager) > MANAGER_MAX)
        manager[MANAGER_MAX] = '\0';
    kube_path_add(&path, CONFIG_API_VERSION, config->namespace, CONFIG_LIBRARY_RESOURCE, name);
    buf_puts(&path, "/status");
    kube_path_add_query(&path, "fieldManager", manager);
    kube_path_add_query(&path, "force", "true");
    const struct kube_call call = {.what = "write the status of a library",
                                   .method = "PATCH",
                                   .path = buf_str(&path),
                                   .body = body,
                                   .body_length = strlen(body),
                                   .content_type = "application/apply-patch+yaml",
                                   .deadline_ns = clock_now_ns() + DEADLINE_NS,
                                   .done = on_written,
                                   .ctx = r};
    r->request = kube_request_start(r->client, &call);
}

static void note_written(struct library_report *r, const char *name)
{
    for (size_t i = 0; i < r->written.length; i++)
        if (strcmp(r->written.items[i], name) == 0)
            return;
    vec_push(&r->written, xstrdup(name));
}

/* Removes our fields from a library that is no longer named. True while such a write is running. */
static bool clear_one(struct library_report *r, const struct config_object *config)
{
    struct config_object library;

    for (size_t i = 0; i < r->written.length; i++) {
        bool is_named = false;
        for (size_t j = 0; config_source_library(r->source, j, &library); j++)
            is_named = is_named || strcmp(library.name, r->written.items[i]) == 0;
        if (is_named)
            continue;
        CLEANUP(free_ptr) char *name = r->written.items[i];
        vec_swap_remove(&r->written, i);
        CLEANUP(free_ptr)
        char *body = xasprintf("{\"apiVersion\":\"" CONFIG_API_VERSION "\",\"kind\":\"" CONFIG_LIBRARY_KIND
                               "\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"}}",
                               name, config->namespace);
        write_status(r, config, name, body);
        return true;
    }
    return false;
}

static void step(struct library_report *r)
{
    struct config_object config, library;
    struct err err;

    if (!r->is_set || r->request != NULL || net_timer_is_set(r->timer) || !r->may_write(r->ctx) ||
        !config_source_object(r->source, &config) || clear_one(r, &config))
        return;
    for (size_t i = 0; config_source_library(r->source, i, &library); i++) {
        CLEANUP(buf_done) struct buf body = {0};
        bool differs = false;
        if (library.length == 0)
            continue; /* it does not exist */
        CLEANUP(free_ptr) char *wish = wish_of(r, &config, &library);
        const char *wishes = wish;
        const struct status_object about = {.api_version = CONFIG_API_VERSION,
                                            .resource = CONFIG_LIBRARY_RESOURCE,
                                            .json = library.json,
                                            .length = library.length};
        note_written(r, library.name);
        if (status_merge(&about, NULL, &wishes, 1, false, clock_wall_s(), &differs, &body, &err) < 0) {
            log_error("The status of a library cannot be made", "library", library.name, "error", err.text);
        } else if (differs) {
            write_status(r, &config, library.name, buf_str(&body));
            return;
        }
    }
}

/* ---- life ---- */

void library_report_set(struct library_report *r, enum library_verdict verdict, const char *message)
{
    if (!r->is_set || r->verdict != verdict || strcmp(r->message, message) != 0) {
        r->is_set = true;
        r->verdict = verdict;
        free(r->message);
        r->message = xstrdup(message);
    }
    step(r);
}

void library_report_see(struct library_report *r)
{
    step(r);
}

static void on_timer(void *ctx)
{
    step(ctx);
}

struct library_report *library_report_new(struct kube_client *client, struct config_source *source,
                                          bool (*may_write)(void *ctx), void *ctx)
{
    struct library_report *r = xcalloc(1, sizeof(*r));

    *r = (struct library_report){.client = client,
                                 .source = source,
                                 .may_write = may_write,
                                 .ctx = ctx,
                                 .message = xstrdup(""),
                                 .backoff = {.base_ns = REST_MIN_NS, .cap_ns = REST_MAX_NS}};
    r->timer = net_timer_new(kube_client_loop(client), on_timer, r);
    return r;
}

struct library_report *library_report_free(struct library_report *r)
{
    if (r == NULL)
        return NULL;
    kube_request_cancel(r->request);
    net_timer_free(r->timer);
    for (size_t i = 0; i < r->written.length; i++)
        free(r->written.items[i]);
    vec_done(&r->written);
    free(r->message);
    free(r);
    return NULL;
}
