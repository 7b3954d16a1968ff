/* One apply at a time, whoever asks for it: an offer, a verification, or the member itself when something happened to
 * HAProxy. An offer that HAProxy refuses is taken back, and with it whatever waits for the same reload; then HAProxy is
 * compared with what it served before. What only failed to reach HAProxy stays wanted and is tried again.
 */
#include "member/member_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/fence.h"
#include "base/alloc.h"
#include "base/log.h"
#include "data/json.h"
#include "haproxy/proof.h"

#define VAULT_MAX ((size_t)256 << 20)
#define SWEEP_NS (60 * NS_PER_S)
#define RETRY_MIN_NS (500 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)
#define SOON_MS 1000 /* from a comparison that gave way to an offer until the next one */
#define WARN_NS (60 * NS_PER_S)

/* ---- answers ---- */

static void refuse(const struct member *m, unsigned status, const char *result, const char *message,
                   member_answer *answer, void *ctx)
{
    CLEANUP(buf_done) struct buf json = {0};
    member_begin_answer(m, &json, result);
    member_put_text(&json, "message", message);
    buf_puts(&json, "}\n");
    answer(ctx, status, &json);
}

static void refuse_stale(const struct member *m, const struct fence_record *highest, member_answer *answer, void *ctx)
{
    CLEANUP(buf_done) struct buf json = {0};
    member_begin_answer(m, &json, "stale");
    buf_printf(&json, ",\"highest_transitions\":%" PRId64 ",\"highest_generation\":%" PRIu64, highest->transitions,
               highest->generation);
    member_put_text(&json, "highest_holder", highest->holder);
    member_put_text(&json, "message", "a newer writer was here");
    buf_puts(&json, "}\n");
    answer(ctx, 409, &json);
}

/* Of what the model has, after HAProxy was compared with it. */
static void put_proof(struct member *m, struct buf *json)
{
    char hex[DIGEST_HEX_SIZE];
    struct digest proof;
    struct err err;
    if (m->question.length > 0 && proof_answer(m->model, buf_str(&m->question), m->question.length, &proof, &err) == 0)
        member_put_text(json, "proof", digest_hex(proof, hex));
    buf_clear(&m->question);
}

static void answer_result(struct member *m, const struct agent_result *r)
{
    CLEANUP(buf_done) struct buf json = {0};
    member_answer *answer = m->answer;
    m->answer = NULL;
    member_begin_answer(m, &json, r->reload_after_ns > 0 ? "waits" : "applied");
    buf_printf(&json, ",\"operations\":%u,\"reloaded\":%s,\"microseconds\":%" PRId64, r->operations,
               r->reloaded ? "true" : "false", r->duration_ns / 1000);
    member_put_text(&json, "reload_reason", r->reload_reason ? r->reload_reason : "");
    put_proof(m, &json);
    buf_puts(&json, "}\n");
    answer(m->answer_ctx, 200, &json);
}

static void answer_problem(struct member *m, unsigned status, const char *result, const char *message)
{
    member_answer *answer = m->answer;
    m->answer = NULL;
    if (answer)
        refuse(m, status, result, message, answer, m->answer_ctx);
}

/* ---- applying ---- */

static void compare(struct member *m, const char *why);
static void take_waiting(struct member *m);
static void on_drift(uv_timer_t *timer);

static void on_retry(uv_timer_t *timer)
{
    struct member *m = timer->data;
    if (m->due)
        compare(m, m->due);
}

static void try_later(struct member *m, const char *why)
{
    m->due = why;
    int64_t delay_ns = net_backoff_next(&m->backoff, 0);
    if (!m->stopping)
        uv_timer_start(&m->retry, on_retry, (uint64_t)(delay_ns / NS_PER_MS), 0);
}

/* The highest fence that the directory has seen: what the member does by itself is done in that writer's name. */
static void own_fence(struct member *m, struct fence_record *ret_record)
{
    const struct fence all = {.transitions = INT64_MAX, .generation = UINT64_MAX, .holder = ""};
    struct err err;
    if (fence_check(m->options.directory, &all, ret_record, &err) == 0 && ret_record->transitions != INT64_MIN)
        return;
    /* Nobody yet: any controller is newer. */
    *ret_record = (struct fence_record){.transitions = INT64_MIN + 1, .holder = "nobody"};
}

static void on_live(struct member *m, const struct agent_result *r)
{
    m->state = MEMBER_LIVE;
    m->prepared = false;
    m->may_start = true;
    m->problem[0] = '\0';
    net_backoff_reset(&m->backoff);
    snprintf(m->waits_for, sizeof(m->waits_for), "%s",
             r->reload_after_ns > 0 ? (r->reload_reason ? r->reload_reason : "a reload") : "");
    if (r->reload_after_ns == 0 && !replica_is_minimal(m->replica))
        replica_commit(m->replica);
    if (r->reloaded)
        log_info("HAProxy was reloaded", "reason", r->reload_reason ? r->reload_reason : "", "generation",
                 log_int((int64_t)replica_generation(m->replica)), "duration", log_duration(r->duration_ns));
    if (m->answer)
        answer_result(m, r);
}

static void on_refused(struct member *m, const struct err *err)
{
    m->refusals++;
    snprintf(m->refused, sizeof(m->refused), "%s", err->text);
    log_error("HAProxy refuses the offered configuration; restoring the previous one", "error", err->text, "generation",
              log_int((int64_t)replica_generation(m->replica)));
    replica_roll_back(m->replica);
    m->waits_for[0] = '\0';
    answer_problem(m, 422, "refused", err->text);
    m->state = MEMBER_ROLLING_BACK;
    compare(m, "the last offer was refused");
}

static void on_unreachable(struct member *m, const struct err *err)
{
    uint64_t similar;
    struct agent_status s;
    agent_status(m->agent, &s);
    m->state = MEMBER_WAITING;
    if (log_limit_pass(&m->limit, WARN_NS, &similar))
        log_warn("HAProxy does not serve the accepted configuration; it is tried again", "error", err->text, "similar",
                 log_int((int64_t)similar));
    answer_problem(m, 503, "not_live", err->text);
    try_later(m, "the last apply failed");
    /* An attached HAProxy that does not run can only be started with what is on disk. */
    struct digest digest = model_digest(m->model, MODEL_ACCEPTED);
    if (!s.running && !(m->prepared && digest_equal(digest, m->prepared_digest)) && agent_prepare(m->agent)) {
        m->prepared = true;
        m->prepared_digest = digest;
    }
}

static void on_applied(void *ctx, const struct agent_result *r)
{
    struct member *m = ctx;
    m->applies++;
    if (m->stopping) {
        answer_problem(m, 503, "stopping", "the agent is being stopped");
        take_waiting(m);
        return;
    }
    if (r->gave_way) {
        m->state = MEMBER_LIVE;
        uv_timer_start(&m->drift, on_drift, SOON_MS, (uint64_t)(m->options.drift_interval_ns / NS_PER_MS));
    } else if (!r->err) {
        on_live(m, r);
    } else {
        snprintf(m->problem, sizeof(m->problem), "%s", r->err->text);
        if (r->err->kind == ERR_HAPROXY && replica_is_open(m->replica))
            on_refused(m, r->err);
        else
            on_unreachable(m, r->err);
    }
    if (!agent_busy(m->agent))
        take_waiting(m);
    if (m->due && !agent_busy(m->agent) && !uv_is_active((uv_handle_t *)&m->retry))
        compare(m, m->due);
}

static void compare(struct member *m, const char *why)
{
    struct fence_record record;
    if (m->stopping)
        return;
    m->due = why;
    if (agent_busy(m->agent))
        return; /* on_applied() comes back to it */
    own_fence(m, &record);
    const struct fence fence = {
        .transitions = record.transitions, .generation = record.generation, .holder = record.holder};
    struct model_changes dropped = {0};
    model_take_changes(m->model, &dropped);
    model_changes_done(&dropped);
    log_debug("Comparing everything with HAProxy", "why", why);
    uv_timer_stop(&m->retry);
    m->due = NULL;
    if (m->state != MEMBER_ROLLING_BACK)
        m->state = MEMBER_APPLYING;
    (void)agent_apply(m->agent, NULL, &fence, on_applied, m);
}

static void on_agent_changed(void *ctx, const char *what)
{
    struct member *m = ctx;
    net_backoff_reset(&m->backoff);
    m->may_start = m->may_start || m->prepared;
    compare(m, what);
}

static void on_drift(uv_timer_t *timer)
{
    compare(timer->data, "drift interval");
}

/* ---- offers ---- */

static void take_offer(struct member *m, const struct offer *o, const char *bytes, size_t length, member_answer *answer,
                       void *ctx)
{
    const struct fence fence = {.transitions = o->transitions, .generation = o->generation, .holder = o->holder};
    struct fence_record highest = {0};
    struct err err;
    if (fence_check(m->options.directory, &fence, &highest, &err) < 0) {
        if (err.kind == ERR_STALE)
            refuse_stale(m, &highest, answer, ctx);
        else
            refuse(m, 503, "not_live", err.text, answer, ctx);
        return;
    }
    bool is_first = replica_is_minimal(m->replica);
    if (replica_take(m->replica, o, bytes, length, &err) < 0) {
        refuse(m, err.kind == ERR_CONFLICT ? 409 : 422, err.kind == ERR_CONFLICT ? "unknown_baseline" : "invalid",
               err.text, answer, ctx);
        return;
    }
    if (is_first)
        agent_reload_at_once(m->agent);
    m->answer = answer;
    m->answer_ctx = ctx;
    m->refused[0] = '\0';
    m->state = MEMBER_APPLYING;
    uv_timer_stop(&m->retry);
    struct model_changes changes = {0};
    model_take_changes(m->model, &changes);
    bool all = m->due != NULL || *m->problem;
    m->due = NULL;
    (void)agent_apply(m->agent, all ? NULL : &changes, &fence, on_applied, m);
    model_changes_done(&changes);
}

/* It does not name the next nonce. A writer that is behind learns that. */
static void refuse_replayed(struct member *m, const struct offer *o, const char *why, member_answer *answer, void *ctx)
{
    const struct fence fence = {.transitions = o->transitions, .generation = o->generation, .holder = o->holder};
    struct fence_record highest = {0};
    struct err err;
    if (fence_check(m->options.directory, &fence, &highest, &err) < 0 && err.kind == ERR_STALE)
        refuse_stale(m, &highest, answer, ctx);
    else
        refuse(m, 409, "replayed", why, answer, ctx);
}

/* Take it, now or when the member's own comparison has ended. */
static void take_or_wait(struct member *m, const struct offer *o, const char *bytes, size_t length,
                         member_answer *answer, void *ctx)
{
    if (agent_busy(m->agent)) {
        m->waiting.bytes = xmemdup0(bytes, length);
        m->waiting.length = length;
        m->waiting.answer = answer;
        m->waiting.ctx = ctx;
        agent_give_way(m->agent);
    } else {
        take_offer(m, o, bytes, length, answer, ctx);
    }
}

void member_offer(struct member *m, const char *nonce, const char *bytes, size_t length, member_answer *answer,
                  void *ctx)
{
    struct offer o;
    struct err err;
    if (m->stopping || m->answer || m->waiting.bytes) {
        refuse(m, 503, "busy", "another apply is under way; ask again", answer, ctx);
        return;
    }
    if (offer_read(bytes, length, &o, &err) < 0) {
        refuse(m, 400, "invalid", err.text, answer, ctx);
        return;
    }
    if (nonce_use(&m->nonce, nonce, o.transitions, &err) < 0)
        refuse_replayed(m, &o, err.text, answer, ctx);
    else
        take_or_wait(m, &o, bytes, length, answer, ctx);
    offer_done(&o);
}

/* The member's own comparison has ended. */
static void take_waiting(struct member *m)
{
    char *bytes = m->waiting.bytes;
    struct offer o;
    struct err err;
    if (!bytes)
        return;
    m->waiting.bytes = NULL;
    if (m->stopping) {
        refuse(m, 503, "busy", "another apply is under way; ask again", m->waiting.answer, m->waiting.ctx);
    } else if (offer_read(bytes, m->waiting.length, &o, &err) < 0) {
        refuse(m, 400, "invalid", err.text, m->waiting.answer, m->waiting.ctx);
    } else {
        take_or_wait(m, &o, bytes, m->waiting.length, m->waiting.answer, m->waiting.ctx);
        offer_done(&o);
    }
    explicit_bzero(bytes, m->waiting.length);
    free(bytes);
}

void member_verify(struct member *m, const char *question, size_t length, member_answer *answer, void *ctx)
{
    struct digest proof;
    struct err err;
    if (m->stopping || agent_busy(m->agent) || m->answer) {
        refuse(m, 503, "busy", "another apply is under way; ask again", answer, ctx);
        return;
    }
    if (length > 0 && proof_answer(m->model, question, length, &proof, &err) < 0) {
        refuse(m, 400, "invalid", err.text, answer, ctx);
        return;
    }
    buf_clear(&m->question);
    buf_add(&m->question, question, length);
    m->answer = answer;
    m->answer_ctx = ctx;
    compare(m, "a verification was asked for");
}

/* ---- life ---- */

static void mark_text(void *ctx, const char *bytes, size_t length)
{
    vault_mark(ctx, bytes, length);
}

static void mark_all(void *ctx, struct vault *vault)
{
    const struct member *m = ctx;
    model_each_text(m->model, mark_text, vault);
}

static void on_sweep(uv_timer_t *timer)
{
    struct member *m = timer->data;
    if (!replica_is_open(m->replica)) /* what is open may have to go back to values that no text names now */
        vault_sweep(m->vault, SWEEP_NS);
}

static void complain(const char *file, const struct err *err)
{
    log_error("The saved configuration cannot be used", "file", file, "error", err->text);
}

static void restore(struct member *m)
{
    struct replica_restored restored;
    if (replica_restore(m->replica, &restored, complain)) {
        log_info("Serving the configuration that was accepted before the start", "file", restored.file, "items",
                 log_int((int64_t)restored.items), "transitions", log_int(restored.transitions), "generation",
                 log_int((int64_t)restored.generation), "age", log_duration(restored.age_s * NS_PER_S));
        if (restored.cut > 0)
            log_warn("The last change in the saved file is incomplete; using the state before it", "file",
                     restored.file, "bytes", log_int((int64_t)restored.cut));
        return;
    }
    replica_set_minimal(m->replica, m->options.minimal_bind);
    log_info("There is no configuration yet; HAProxy answers \"not configured\"", "address", m->options.minimal_bind);
}

static void timer_open(struct member *m, uv_timer_t *timer)
{
    uv_timer_init(m->loop, timer);
    timer->data = m;
    m->open_handles++;
}

struct member *member_new(uv_loop_t *loop, const struct member_options *options, struct metrics *metrics,
                          struct err *err)
{
    struct member *m = xcalloc(1, sizeof(*m));
    m->loop = loop;
    m->options = *options;
    m->metrics = metrics;
    m->backoff = (struct net_backoff){.base_ns = RETRY_MIN_NS, .cap_ns = RETRY_MAX_NS};
    nonce_init(&m->nonce);
    m->model = model_new();
    m->vault = vault_new(VAULT_MAX);
    vault_set_referee(m->vault, mark_all, m);
    m->replica = replica_new(options->directory, m->model, m->vault, metrics);
    restore(m);
    const struct agent_config config = {.vault = m->vault,
                                        .binary = options->binary,
                                        .directory = options->directory,
                                        .master_socket = options->master_socket,
                                        .runtime_socket = options->runtime_socket,
                                        .supervise = options->binary != NULL,
                                        .min_reload_interval_ns = options->min_reload_interval_ns};
    m->agent = agent_new(loop, &config, m->model, metrics, on_agent_changed, m, err);
    if (!m->agent)
        return NULL;
    timer_open(m, &m->retry);
    timer_open(m, &m->drift);
    timer_open(m, &m->sweep);
    uint64_t drift_ms = (uint64_t)(options->drift_interval_ns / NS_PER_MS);
    uv_timer_start(&m->drift, on_drift, drift_ms, drift_ms);
    uv_timer_start(&m->sweep, on_sweep, SWEEP_NS / NS_PER_MS / 2, SWEEP_NS / NS_PER_MS / 2);
    compare(m, "start");
    return m;
}

void member_stop(struct member *m, bool stop_haproxy, int64_t grace_ns, void (*stopped)(void *ctx), void *ctx)
{
    m->stopping = true;
    uv_timer_stop(&m->retry);
    uv_timer_stop(&m->drift);
    uv_timer_stop(&m->sweep);
    agent_stop(m->agent, stop_haproxy, grace_ns, stopped, ctx);
}

static void on_closed(uv_handle_t *handle)
{
    struct member *m = handle->data;
    if (--m->open_handles == 0)
        free(m);
}

struct member *member_free(struct member *m)
{
    if (!m)
        return NULL;
    m->agent = agent_free(m->agent);
    m->replica = replica_free(m->replica);
    vault_set_referee(m->vault, NULL, NULL);
    m->model = model_free(m->model);
    m->vault = vault_free(m->vault);
    uv_close((uv_handle_t *)&m->retry, on_closed);
    uv_close((uv_handle_t *)&m->drift, on_closed);
    uv_close((uv_handle_t *)&m->sweep, on_closed);
    return NULL;
}
