/* What a member tells of itself. docs/agent-api.md describes it. */
#include <inttypes.h>

#include "base/alloc.h"
#include "data/json.h"
#include "member/member_parts.h"

#define ORDERS_MAX 200 /* in an answer */

/* ---- answers ---- */

void member_put_text(struct buf *json, const char *name, const char *text)
{
    buf_printf(json, ",\"%s\":", name);
    if (json_write_string(json, text, strlen(text), NULL) < 0)
        buf_puts(json, "null");
}

void member_begin_answer(const struct member *m, struct buf *json, const char *result)
{
    char hex[DIGEST_HEX_SIZE];
    buf_printf(json,
               "{\"result\":\"%s\",\"digest\":\"%s\",\"transitions\":%" PRId64 ",\"generation\":%" PRIu64
               ",\"nonce\":\"%s\"",
               result, replica_digest(m->replica, hex), replica_transitions(m->replica), replica_generation(m->replica),
               m->nonce.next);
}

/* ---- state ---- */

static const char *state_name(const struct member *m)
{
    switch (m->state) {
    case MEMBER_WAITING:
        return "waiting";
    case MEMBER_APPLYING:
        return "applying";
    case MEMBER_ROLLING_BACK:
        return "rolling_back";
    case MEMBER_LIVE:
        return "live";
    }
    return "";
}

bool member_may_start(const struct member *m)
{
    return m->may_start || m->options.binary != NULL;
}

bool member_is_ready(const struct member *m, struct buf *why)
{
    struct agent_status s;
    agent_status(m->agent, &s);
    if (replica_is_minimal(m->replica)) {
        buf_puts(why, "not configured\n");
        return false;
    }
    if (!s.serves) {
        buf_printf(why, "HAProxy does not serve the accepted configuration: %s\n",
                   *m->problem ? m->problem : "not compared yet");
        return false;
    }
    return true;
}

struct order_list {
    struct buf *json;
    size_t count;
};

static void put_order(void *ctx, const char *file, const char *reason)
{
    struct order_list *list = ctx;
    if (list->count++ >= ORDERS_MAX)
        return;
    buf_puts(list->json, list->count > 1 ? ",{\"state\":\"failing\"" : "{\"state\":\"failing\"");
    member_put_text(list->json, "file", file);
    member_put_text(list->json, "problem", reason);
    buf_putc(list->json, '}');
}

void member_describe(struct member *m, struct buf *json)
{
    CLEANUP(buf_done) struct buf why = {0};
    struct agent_status s;
    agent_status(m->agent, &s);
    member_begin_answer(m, json, "state");
    /* A controller takes it as proof. */
    bool ready = member_is_ready(m, &why) && !*m->problem;
    buf_printf(json,
               ",\"api\":3,\"encodings\":[\"gzip\"],\"proves\":true,\"version\":\"%s\",\"state\":\"%s\",\"ready\":%s",
               m->options.version, state_name(m), ready ? "true" : "false");
    buf_printf(json, ",\"configured\":%s,\"is_open\":%s", replica_is_minimal(m->replica) ? "false" : "true",
               replica_is_open(m->replica) ? "true" : "false");
    buf_printf(json,
               ",\"haproxy\":{\"running\":%s,\"version\":\"%s\",\"pid\":%d,\"live\":%s,\"reloads\":%" PRIu64
               ",\"restarts\":%" PRIu64 ",\"operations\":%" PRIu64 ",\"drift_repairs\":%" PRIu64
               ",\"old_workers\":%u,\"dynamic_servers\":%s,\"dynamic_backends\":%s}",
               s.running ? "true" : "false", s.caps.text, s.haproxy_pid, s.live ? "true" : "false", s.reloads,
               s.restarts, s.operations, s.drift_repairs, s.workers_old, s.caps.dynamic_servers ? "true" : "false",
               s.caps.dynamic_backends ? "true" : "false");
    struct order_list orders = {.json = json};
    buf_puts(json, ",\"orders\":[");
    agent_each_failing_order(m->agent, put_order, &orders);
    buf_putc(json, ']');
    member_put_text(json, "waits_for", m->waits_for);
    member_put_text(json, "problem", m->problem);
    member_put_text(json, "refused", m->refused);
    buf_puts(json, "}\n");
}

bool member_write_bundle(const struct member *m, struct buf *out)
{
    const struct offer head = {.transitions = replica_transitions(m->replica),
                               .generation = replica_generation(m->replica)};
    if (replica_is_minimal(m->replica))
        return false;
    offer_write_whole(out, m->model, m->vault, &head);
    return true;
}

void member_collect(struct member *m)
{
    struct agent_status s;
    CLEANUP(buf_done) struct buf why = {0};
    agent_status(m->agent, &s);
    metric_set(metric_gauge(m->metrics, "haptic_agent_ready", "1 when HAProxy serves the accepted configuration."),
               member_is_ready(m, &why));
    metric_set(metric_gauge(m->metrics, "haptic_agent_configured", "1 when there is a configuration."),
               !replica_is_minimal(m->replica));
    metric_set(metric_gauge(m->metrics, "haptic_agent_generation", "Generation of the newest accepted configuration."),
               (double)replica_generation(m->replica));
    metric_set(metric_counter(m->metrics, "haptic_agent_applies_total", "Applies, comparisons included."),
               (double)m->applies);
    metric_set(metric_counter(m->metrics, "haptic_agent_refused_total", "Offers that HAProxy refused."),
               (double)m->refusals);
}
