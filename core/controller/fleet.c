/* The fleet has the fence and the log of changes. An offer for a member is computed when the member can receive it. */
#include "controller/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/fleet_pace.h"
#include "data/json.h"

#define BACKOFF_BASE_NS (250 * NS_PER_MS)
#define BACKOFF_CAP_NS (10 * NS_PER_S)
#define REFUSED_AGAIN_NS (60 * NS_PER_S)

static void on_timer(void *ctx)
{
    struct seat *s = ctx;
    if (s->state == SEAT_REFUSED) /* the HAProxy may be another one now */
        s->offered = (struct digest){0};
    seat_step(s);
}

static void on_pacer(void *ctx)
{
    struct fleet *f = ctx;
    for (size_t i = 0; i < f->seats.length; i++)
        seat_step(f->seats.items[i]);
}

static struct seat *seat_new(struct fleet *f, const struct fleet_seat *from)
{
    struct seat *s = xcalloc(1, sizeof(*s));
    s->fleet = f;
    s->name = xstrdup(from->name);
    s->address = from->address;
    s->timer = net_timer_new(f->loop, on_timer, s);
    s->backoff = (struct net_backoff){.base_ns = BACKOFF_BASE_NS, .cap_ns = BACKOFF_CAP_NS};
    return s;
}

static void drop_metrics(struct seat *s)
{
    struct metrics *m = s->fleet->metrics;
    metric_set(metric_gauge(m, "haptic_member_connected", "1 when the member's agent has answered.", "member", s->name),
               0);
    metric_set(metric_gauge(m, "haptic_member_verified", "1 when the member serves the accepted configuration.",
                            "member", s->name),
               0);
}

static void seat_free(struct seat *s)
{
    seat_forget(s);
    drop_metrics(s);
    net_timer_free(s->timer);
    free(s->name);
    free(s);
}

struct fleet *fleet_new(uv_loop_t *loop, const struct fleet_config *config, struct model *model, struct vault *vault,
                        struct metrics *metrics, const struct fleet_ops *ops, void *ctx)
{
    struct fleet *f = xcalloc(1, sizeof(*f));
    CLEANUP(free_ptr) char *agent = xasprintf("haptic/%s", config->version);
    f->loop = loop;
    f->config = *config;
    f->model = model;
    f->vault = vault;
    f->metrics = metrics;
    f->ops = *ops;
    f->ctx = ctx;
    f->peers = peers_new(loop, agent, config->agent_name);
    f->pacer = net_timer_new(loop, on_pacer, f);
    f->duration = metric_histogram(
        metrics, "haptic_deployment_duration_seconds",
        "Time from the first offer of a change until every member that can be reached serves it.");
    return f;
}

struct fleet *fleet_free(struct fleet *f)
{
    if (!f)
        return NULL;
    for (size_t i = 0; i < f->seats.length; i++)
        seat_free(f->seats.items[i]);
    vec_done(&f->seats);
    offers_forget(f);
    net_timer_free(f->pacer);
    peers_free(f->peers);
    change_log_done(&f->log);
    free(f);
    return NULL;
}

/* ---- the members ---- */

static struct seat *seat_of(const struct fleet *f, const struct fleet_seat *wanted)
{
    for (size_t i = 0; i < f->seats.length; i++) {
        struct seat *s = f->seats.items[i];
        if (strcmp(s->name, wanted->name) == 0 && strcmp(s->address.host, wanted->address.host) == 0 &&
            s->address.port == wanted->address.port)
            return s;
    }
    return NULL;
}

static void drop_unlisted(struct fleet *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->seats.length; i++) {
        struct seat *s = f->seats.items[i];
        if (s->listed) {
            f->seats.items[kept++] = s;
            continue;
        }
        log_info("Member left", "member", s->name);
        if (f->ops.orders)
            f->ops.orders(f->ctx, s->name, NULL);
        seat_free(s);
    }
    f->seats.length = kept;
}

void fleet_set_members(struct fleet *f, const struct fleet_seat *seats, size_t count)
{
    for (size_t i = 0; i < f->seats.length; i++)
        f->seats.items[i]->listed = false;
    for (size_t i = 0; i < count; i++) {
        struct seat *s = seat_of(f, &seats[i]);
        if (!s) {
            s = seat_new(f, &seats[i]);
            vec_push(&f->seats, s);
            log_info("Member joined", "member", s->name, "address", s->address.host);
        }
        s->listed = true;
    }
    drop_unlisted(f);
    peers_keep(f->peers, f->seats.length);
    for (size_t i = 0; i < f->seats.length; i++)
        seat_step(f->seats.items[i]);
}

void fleet_set_timeout(struct fleet *f, int64_t timeout_ns)
{
    f->config.timeout_ns = timeout_ns;
}

int fleet_set_identity(struct fleet *f, const struct peer_identity *identity, struct err *err)
{
    if (peers_set_identity(f->peers, identity, err) < 0)
        return -1;
    for (size_t i = 0; i < f->seats.length; i++)
        seat_step(f->seats.items[i]);
    return 0;
}

/* ---- offers ---- */

static bool is_another_term(const struct fleet *f, const struct fence *fence)
{
    return !f->writing || f->transitions != fence->transitions || strcmp(f->holder, fence->holder) != 0;
}

static void begin_term(struct fleet *f, const struct fence *fence)
{
    f->writing = true;
    f->transitions = fence->transitions;
    snprintf(f->holder, sizeof(f->holder), "%s", fence->holder);
    for (size_t i = 0; i < f->seats.length; i++)
        seat_forget(f->seats.items[i]);
}

void fleet_offer(struct fleet *f, struct model_changes *changes, bool checked, const struct fence *fence)
{
    struct digest digest = model_digest(f->model, MODEL_ACCEPTED);
    bool begins = is_another_term(f, fence);
    if (begins)
        begin_term(f, fence);
    if (begins || checked)
        pace_begin(f);
    f->generation = fence->generation;
    if (begins || !changes)
        change_log_reset(&f->log, digest);
    else
        change_log_add(&f->log, changes, digest);
    if (changes)
        vec_clear(&changes->items);
    if (!f->unsettled) {
        f->unsettled = true;
        f->began_ns = clock_now_ns();
        f->operations = f->reloads = 0;
        f->sent = 0;
    }
    for (size_t i = 0; i < f->seats.length; i++)
        seat_step(f->seats.items[i]);
    fleet_look(f);
}

struct peers *fleet_peers(const struct fleet *f)
{
    return f->peers;
}

bool fleet_takes_backends(const struct fleet *f)
{
    for (size_t i = 0; i < f->seats.length; i++)
        if (!f->seats.items[i]->takes_backends)
            return false;
    return f->seats.length > 0;
}

void fleet_rest(struct fleet *f)
{
    if (!f->writing)
        return;
    f->writing = f->unsettled = false;
    f->pace = PACE_FREE;
    net_timer_stop(f->pacer);
    offers_forget(f);
    for (size_t i = 0; i < f->seats.length; i++)
        seat_forget(f->seats.items[i]);
}

void fleet_verify(struct fleet *f)
{
    for (size_t i = 0; i < f->seats.length; i++) {
        struct seat *s = f->seats.items[i];
        s->verify_due = true; /* a member that cannot be asked now is asked later */
        seat_step(s);
    }
}

/* ---- reports ---- */

static void put_text(struct buf *json, const char *before, const char *text)
{
    buf_puts(json, before);
    if (json_write_string(json, text, strlen(text), NULL) < 0)
        buf_puts(json, "null");
}

void fleet_describe(const struct fleet *f, struct buf *json)
{
    buf_putc(json, '[');
    for (size_t i = 0; i < f->seats.length; i++) {
        const struct seat *s = f->seats.items[i];
        char hex[DIGEST_HEX_SIZE];
        put_text(json, i > 0 ? ",{\"member\":" : "{\"member\":", s->name);
        put_text(json, ",\"address\":", s->address.host);
        buf_printf(json,
                   ",\"port\":%u,\"state\":\"%s\",\"connected\":%s,\"digest\":\"%s\",\"applies\":%" PRIu64
                   ",\"reloads\":%" PRIu64 ",\"operations\":%u,\"microseconds\":%" PRId64,
                   s->address.port, seat_state_name(s->state), s->connected ? "true" : "false",
                   is_nowhere(s->digest) ? "" : digest_hex(s->digest, hex), s->applies, s->reloads, s->operations,
                   s->applied_ns / 1000);
        put_text(json, ",\"version\":", s->version);
        put_text(json, ",\"haproxy\":", s->haproxy);
        put_text(json, ",\"reload_reason\":", s->reload_reason);
        buf_printf(json, ",\"proves\":%s,\"doubted\":%s,\"read_back\":%" PRId64, s->proves ? "true" : "false",
                   s->doubted ? "true" : "false", s->read_back_s);
        put_text(json, ",\"problem\":", s->problem);
        buf_putc(json, '}');
    }
    buf_putc(json, ']');
}

void fleet_collect(struct fleet *f)
{
    struct fleet_status status;
    fleet_status(f, &status);
    metric_set(metric_gauge(f->metrics, "haptic_members", "Members of the fleet."), (double)status.members);
    metric_set(metric_gauge(f->metrics, "haptic_members_verified", "Members that serve the accepted configuration."),
               (double)status.verified);
    metric_set(
        metric_gauge(f->metrics, "haptic_members_refused", "Members whose HAProxy refuses the accepted configuration."),
        (double)status.refused);
    size_t differing = 0;
    for (size_t i = 0; i < f->seats.length; i++)
        differing += f->seats.items[i]->haproxy_differs;
    metric_set(metric_gauge(f->metrics, "haptic_members_of_another_version",
                            "Members whose HAProxy has another version than the one that checks configurations."),
               (double)differing);
    for (size_t i = 0; i < f->seats.length; i++) {
        const struct seat *s = f->seats.items[i];
        metric_set(metric_gauge(f->metrics, "haptic_member_connected", "1 when the member's agent has answered.",
                                "member", s->name),
                   s->connected);
        metric_set(metric_gauge(f->metrics, "haptic_member_verified",
                                "1 when the member serves the accepted configuration.", "member", s->name),
                   s->state == SEAT_VERIFIED && seat_is_level(s));
        metric_set(metric_counter(f->metrics, "haptic_member_applies_total", "Offers that the member has accepted.",
                                  "member", s->name),
                   (double)s->applies);
        metric_set(metric_counter(f->metrics, "haptic_member_reloads_total", "Reloads of the member's HAProxy.",
                                  "member", s->name),
                   (double)s->reloads);
        metric_set(metric_counter(f->metrics, "haptic_member_disproved_total",
                                  "Times that the member could not prove that it has the accepted configuration.",
                                  "member", s->name),
                   (double)s->lies);
        metric_set(
            metric_gauge(
                f->metrics, "haptic_member_read_back_timestamp_seconds",
                "When everything was last read back at the member and equal to the accepted configuration; 0: not yet.",
                "member", s->name),
            (double)s->read_back_s);
        metric_set(
            metric_gauge(f->metrics, "haptic_member_apply_seconds", "How long the last offer took.", "member", s->name),
            (double)s->applied_ns / (double)NS_PER_S);
    }
}
