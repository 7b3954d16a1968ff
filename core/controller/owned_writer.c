/* The writer applies objects; this file deletes them. A table has all objects that may have to be deleted, and each
 * step goes through it:
 *
 *   (labelled, and not wanted) ──► WAITS ──the output without it is live──► DELETES ──► gone from the table
 *                                    ▲                                         │
 *                                    └────────── RESTS ◄──── failed ───────────┘
 */
#include "controller/owned_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "controller/owned_merge.h"
#include "data/json.h"
#include "kube/path.h"
#include "net/backoff.h"
#include "net/timer.h"

#define DELETIONS_IN_FLIGHT 4
#define DEADLINE_NS (10 * NS_PER_S)
#define MARGIN_NS NS_PER_S
#define REST_MIN_NS NS_PER_S
#define REST_MAX_NS (300 * NS_PER_S)
#define LOOK_NS NS_PER_S

enum doomed_state { DOOMED_WAITS, DOOMED_DELETES, DOOMED_RESTS };

struct doomed {
    struct owned_writer *writer;
    char *key, *kind, *id; /* key: "kind id" */
    bool was_wanted;       /* by a fragment that this process has heard */
    enum doomed_state state;
    uint64_t generation; /* that has to be live; 0: not known yet */
    int64_t due_ns;
    struct net_backoff backoff;
    struct kube_request *request;
};

struct owned_writer {
    struct kube_client *client;
    struct store *store;
    struct metrics *metrics;
    char *owner;
    struct owned_ops ops;
    void *ctx;
    struct write_manner manner;
    struct status_writer *writer;
    struct map doomed; /* key → struct doomed */
    struct net_timer *timer;
    unsigned deleting;
    bool led, stopped;
    uint64_t deleted;
    struct log_repeat warned;
    char error[1000];
};

/* ---- candidates for deletion ---- */

static void doom(struct owned_writer *w, const char *kind, const char *id, bool was_wanted)
{
    CLEANUP(free_ptr) char *key = xasprintf("%s %s", kind, id);
    struct doomed *d = map_get(&w->doomed, key);

    if (d == NULL) {
        d = xcalloc(1, sizeof(*d));
        d->writer = w;
        d->key = STEAL(key);
        d->kind = xstrdup(kind);
        d->id = xstrdup(id);
        d->backoff = (struct net_backoff){.base_ns = REST_MIN_NS, .cap_ns = REST_MAX_NS};
        (void)map_put(&w->doomed, d->key, d);
    }
    d->was_wanted = d->was_wanted || was_wanted;
    d->generation = 0;
}

static void doomed_free(struct doomed *d)
{
    if (d->request != NULL) {
        d->writer->deleting--;
        d->request = kube_request_cancel(d->request);
    }
    free(d->key);
    free(d->kind);
    free(d->id);
    free(d);
}

static void spare(struct doomed *d)
{
    (void)map_del(&d->writer->doomed, d->key);
    doomed_free(d);
}

static void on_unwished(void *ctx, const char *kind, const char *id)
{
    struct owned_writer *w = ctx;

    if (w->stopped || !status_writer_leads(w->writer))
        return; /* a new leader goes through all objects */
    doom(w, kind, id, true);
    net_timer_start(w->timer, 0);
}

static bool is_ours(const struct owned_writer *w, const struct object *o)
{
    CLEANUP(buf_done) struct buf text = {0};

    object_text(o, &text);
    return owned_is_ours(w->owner, buf_str(&text), text.length);
}

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                     struct object *before)
{
    struct owned_writer *w = ctx;
    const char *name = store_kind_spec(kind)->name;

    (void)before;
    if (event != STORE_EVENT_PUT || !status_writer_leads(w->writer) || !w->ops.writer.is_declared(w->ctx, name) ||
        !is_ours(w, now) || status_writer_has_wish(w->writer, name, now->id))
        return;
    doom(w, name, now->id, false);
    net_timer_start(w->timer, LOOK_NS);
}

struct scan {
    struct owned_writer *writer;
    const char *kind;
};

static void look_at(void *ctx, struct object *o)
{
    const struct scan *s = ctx;

    if (is_ours(s->writer, o) && !status_writer_has_wish(s->writer->writer, s->kind, o->id))
        doom(s->writer, s->kind, o->id, false);
}

/* This replica becomes leader: finds objects that a former leader made and that nothing wants. */
static void scan_all(struct owned_writer *w)
{
    for (size_t i = 0; i < store_kind_count(w->store); i++) {
        struct store_kind *kind = store_kind_at(w->store, i);
        const char *name = store_kind_spec(kind)->name;
        if (w->ops.writer.is_declared(w->ctx, name))
            store_each(kind, look_at, &(struct scan){w, name});
    }
}

/* ---- deletion ---- */

static void count(struct owned_writer *w, const char *result)
{
    if (w->metrics != NULL)
        metric_add(metric_counter(w->metrics, "haptic_owned_deletions_total",
                                  "Deletions of objects that templates no longer want, by result.", "result", result),
                   1);
}

static void look(struct owned_writer *w);

static void on_deleted(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct doomed *d = ctx;
    struct owned_writer *w = d->writer;
    uint64_t similar;

    d->request = NULL;
    w->deleting--;
    d->state = DOOMED_WAITS;
    if (err == NULL || err->kind == ERR_NOTFOUND || err->kind == ERR_CONFLICT) { /* or another object has this name */
        count(w, err == NULL ? "deleted" : "gone");
        w->deleted += err == NULL;
        spare(d);
    } else {
        count(w, "failed");
        snprintf(w->error, sizeof(w->error), "%.60s %.300s: %.600s", d->kind, d->id, err->text);
        if (log_repeat_pass(&w->warned, 10 * NS_PER_S, 3600 * NS_PER_S, &similar))
            log_warn("An object that templates no longer want cannot be deleted; it is tried again", "object_kind",
                     d->kind, "object", d->id, "error", err->text, "similar", log_int((int64_t)similar));
        d->state = DOOMED_RESTS;
        d->due_ns = clock_now_ns() + net_backoff_next(&d->backoff, response->retry_after_ns);
    }
    look(w);
}

static void delete_object(struct owned_writer *w, struct doomed *d, const struct store_kind *kind,
                          const struct object *o)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(buf_done) struct buf body = {0};
    const struct store_kind_spec *spec = store_kind_spec(kind);
    int64_t deadline_ns = clock_now_ns() + DEADLINE_NS, end_ns = w->ops.writer.write_end_ns(w->ctx);

    kube_path_add(&path, spec->api_version, *o->namespace ? o->namespace : NULL, spec->resource, o->name);
    buf_puts(&body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":\"Background\"");
    if (*o->uid != '\0') {
        buf_puts(&body, ",\"preconditions\":{\"uid\":");
        if (json_write_string(&body, o->uid, strlen(o->uid), NULL) < 0)
            return;
        buf_putc(&body, '}');
    }
    buf_putc(&body, '}');
    CLEANUP(free_ptr) char *what = xasprintf("delete object %s %s", d->kind, d->id);
    const struct kube_call call = {.what = what,
                                   .method = "DELETE",
                                   .path = buf_str(&path),
                                   .body = buf_str(&body),
                                   .body_length = body.length,
                                   .deadline_ns = deadline_ns < end_ns ? deadline_ns : end_ns,
                                   .done = on_deleted,
                                   .ctx = d};
    d->state = DOOMED_DELETES;
    w->deleting++;
    log_info("Deleting an object that templates no longer want", "object_kind", d->kind, "object", d->id);
    d->request = kube_request_start(w->client, &call);
}

/* True when the rendering without the object is live. */
static bool may_go(struct owned_writer *w, struct doomed *d)
{
    uint64_t live = w->ops.writer.live(w->ctx);

    if (live == 0 || w->ops.writer.rendered(w->ctx) < w->ops.writer.requested(w->ctx) ||
        (!d->was_wanted && w->ops.failing(w->ctx) > 0))
        return false;
    if (d->generation == 0)
        d->generation = w->ops.writer.accepted(w->ctx);
    return live >= d->generation;
}

static void look(struct owned_writer *w)
{
    const struct map_slot *slot;
    int64_t now = clock_now_ns();

    if (w->stopped || !status_writer_leads(w->writer))
        return;
    for (size_t it = 0; (slot = map_next(&w->doomed, &it)) != NULL;) {
        struct doomed *d = slot->value;
        const struct store_kind *kind = store_kind_by_name(w->store, d->kind);
        const struct object *o = kind != NULL ? store_get(kind, d->id) : NULL;
        if (d->state == DOOMED_DELETES)
            continue;
        if (o == NULL || !w->ops.writer.is_declared(w->ctx, d->kind) ||
            status_writer_has_wish(w->writer, d->kind, d->id) || !is_ours(w, o)) {
            spare(d);
            continue;
        }
        if ((d->state == DOOMED_RESTS && d->due_ns > now) || w->deleting >= DELETIONS_IN_FLIGHT || !may_go(w, d) ||
            w->ops.writer.write_end_ns(w->ctx) - now < MARGIN_NS)
            continue;
        delete_object(w, d, kind, o);
    }
    if (w->doomed.count > w->deleting)
        net_timer_start(w->timer, LOOK_NS);
}

static void on_timer(void *ctx)
{
    look(ctx);
}

/* ---- callbacks of the writer ---- */

static int merge(void *ctx, const struct status_object *object, const char *resource_version,
                 const struct write_wishes *wishes, struct write_body *ret_body, struct err *err)
{
    const struct owned_writer *w = ctx;

    (void)resource_version;
    return owned_merge(w->owner, object, wishes, ret_body, err);
}

static void refused(void *ctx, const struct fragment *fragment, const char *reason, const char *message)
{
    const struct owned_writer *w = ctx;

    w->ops.tell(w->ctx, fragment, reason, message);
}

/* ---- life ---- */

struct owned_writer *owned_writer_new(struct kube_client *client, struct store *store, struct metrics *metrics,
                                      const char *owner, const struct owned_ops *ops, void *ctx)
{
    struct owned_writer *w = xcalloc(1, sizeof(*w));

    w->client = client;
    w->store = store;
    w->metrics = metrics;
    w->owner = xstrdup(owner);
    w->ops = *ops;
    w->ctx = ctx;
    w->manner = (struct write_manner){
        .wish = CONTRIBUTION_OBJECT,
        .manager = OWNED_MANAGER,
        .subresource = "",
        .metric = "haptic_owned_writes_total",
        .metric_help = "Writes of objects that templates want, by what became of them.",
        .noun = "object",
        .failed = "An object that templates want cannot be written; it is tried again",
        .writing = "Writing objects that templates want",
        .wrote = "Wrote objects that templates want",
        .creates = true,
        .one_counts = true,
        .merge = merge,
        .refused = refused,
        .unwished = on_unwished,
        .ctx = w,
    };
    map_init(&w->doomed, true);
    w->timer = net_timer_new(kube_client_loop(client), on_timer, w);
    w->writer = status_writer_new(client, store, metrics, &w->manner, &w->ops.writer, ctx);
    store_listen(store, on_store, w);
    return w;
}

static void forget_doomed(struct owned_writer *w)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->doomed, &it)) != NULL;)
        doomed_free(slot->value);
    map_clear(&w->doomed);
}

void owned_writer_stop(struct owned_writer *w)
{
    if (w == NULL || w->stopped)
        return;
    w->stopped = true;
    net_timer_stop(w->timer);
    forget_doomed(w);
    status_writer_stop(w->writer);
}

struct owned_writer *owned_writer_free(struct owned_writer *w)
{
    if (w == NULL)
        return NULL;
    owned_writer_stop(w);
    store_unlisten(w->store, on_store, w);
    status_writer_free(w->writer);
    forget_doomed(w);
    map_done(&w->doomed);
    net_timer_free(w->timer);
    free(w->owner);
    free(w);
    return NULL;
}

void owned_writer_hear(struct owned_writer *w, struct fragment *before, struct fragment *now)
{
    if (w != NULL)
        status_writer_hear(w->writer, before, now);
}

void owned_writer_review(struct owned_writer *w)
{
    if (w != NULL)
        status_writer_review(w->writer);
}

void owned_writer_step(struct owned_writer *w)
{
    if (w == NULL || w->stopped)
        return;
    status_writer_step(w->writer);
    bool leads = status_writer_leads(w->writer);
    if (leads && !w->led && w->ops.writer.live(w->ctx) != 0) {
        scan_all(w);
        w->led = true;
    } else if (!leads && w->led) {
        w->led = false;
        forget_doomed(w);
    }
    if (w->doomed.count > w->deleting)
        look(w);
}

void owned_writer_describe(const struct owned_writer *w, struct buf *out)
{
    if (w == NULL) {
        buf_puts(out, "null");
        return;
    }
    buf_puts(out, "{\"wanted\":");
    status_writer_describe(w->writer, out);
    buf_printf(out, ",\"to_be_deleted\":%zu,\"deleted\":%" PRIu64 ",\"error\":", w->doomed.count, w->deleted);
    if (json_write_string(out, w->error, strlen(w->error), NULL) < 0)
        buf_puts(out, "null");
    buf_putc(out, '}');
}
