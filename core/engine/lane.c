/* The life of a process:
 *
 *   started: program sent, objects stream ──configured──► objects sent ──► skips, then the first request ──rendered──► serving
 *
 * A request waits until all changes of the store are sent, so it is rendered with the newest state. At most one request
 * is running. The newest number that was requested in the meantime is next.
 *
 * When a process dies, the running fragment is blamed if a fragment can cause this kind of death. Every later process
 * is told the blamed fragments before its first request, until their owner changes. A process that was ended from
 * outside (SIGKILL) blames no fragment, unless the same fragment was running twice in a row.
 */
#include "engine/lane.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "engine/child.h"
#include "engine/feed.h"
#include "engine/intake.h"
#include "engine/needs.h"
#include "engine/penalties.h"
#include "engine/questions.h"
#include "engine/ration.h"
#include "engine/skips.h"
#include "net/backoff.h"

/* Bytes that are queued for a process, in its socket and before it. */
#define BACKLOG_BYTES ((size_t)256 << 10)
/* A replay continues in the next turn of the loop after this many times that limit. */
#define PUMP_ROUNDS 8
#define FIRST_FACTOR 10
#define RESTART_MIN_MS 100
#define RESTART_MAX_MS 5000
/* A process that has served this long proves that the problem is over. */
#define STEADY_NS (30 * NS_PER_S)
/* The number of processes in a row that a new program may end. */
#define TRIES_MAX 5
#define KINDS_MAX 256
#define LOG_INTERVAL_NS (NS_PER_S / 10)

struct lane {
    const struct lane_host *host;
    struct renderer_limits limits;    /* the renderer's limits when the lane began */
    const struct lane_events *events; /* NULL: the owner has discarded it */
    void *ctx;
    struct buf program;
    VEC(const char *) kinds;
    struct yyjson_doc *parsed; /* contains the names in kinds */
    uv_timer_t restart;
    struct skips skips;
    struct penalties penalties;
    struct intake intake;
    struct log_limit log_limit;
    bool established;
    unsigned deaths; /* in a row */
    uint64_t wanted;
    struct metric *durations, *runs; /* NULL before the first rendering */

    /* Of the process. */
    struct child *child; /* NULL: no process at the moment */
    struct feed feed;
    bool configured, first_done, rendering;
    bool unfinished; /* its last answer was incomplete */
    uint64_t answered, request;
    int64_t asked_ns, serving_since_ns;
    struct ration ration;
    struct questions questions;
    struct needs needs;
};

/* ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* True when a rendering is requested and nothing that the first rendering needs is missing. */
static bool is_render_due(const struct lane *lane)
{
    return (lane->wanted > lane->answered || lane->unfinished) && !needs_hold(&lane->needs);
}

/* Sets the deadline of the next answer. The first answer has ten times the time, since everything is new. */
static bool owes_answer(const struct lane *lane)
{
    return !lane->configured || lane->rendering || lane->questions.items.length || is_render_due(lane);
}

static void update_deadline(struct lane *lane)
{
    const struct renderer_limits *limits = &lane->limits;
    int64_t factor = lane->first_done ? 1 : FIRST_FACTOR;

    child_set_deadline(lane->child, owes_answer(lane) ? limits->deadline_ns * factor : 0, limits->deadline_ns);
}

static void send_render(struct lane *lane)
{
    struct buf *out = child_out(lane->child);

    if (!lane->first_done) {
        penalties_send(&lane->penalties, out, clock_now_ns());
        skips_send(&lane->skips, out);
    }
    size_t mark = frame_begin(out, FRAME_RENDER);
    frame_add_number(out, (int64_t)lane->wanted);
    frame_end(out, mark);
    lane->request = lane->wanted;
    lane->rendering = true;
    ration_rendering(&lane->ration);
    lane->unfinished = false;
    intake_held_clear(&lane->intake);
    lane->asked_ns = clock_now_ns();
    update_deadline(lane);
}

bool lane_has_news(const struct lane *lane)
{
    return lane->child && !feed_is_empty(&lane->feed) && child_backlog_bytes(lane->child) < BACKLOG_BYTES;
}

void lane_pump(struct lane *lane)
{
    if (!lane->child)
        return;
    for (int round = 0; round < PUMP_ROUNDS; round++) {
        feed_pump(&lane->feed, child_out(lane->child), BACKLOG_BYTES);
        if (feed_is_empty(&lane->feed) && lane->configured && !lane->rendering && is_render_due(lane))
            send_render(lane);
        child_flush(lane->child);
        if (feed_is_empty(&lane->feed) || child_backlog_bytes(lane->child))
            return;
    }
    child_ask_drained(lane->child);
}

void lane_render(struct lane *lane, uint64_t number)
{
    bool owed = owes_answer(lane);

    lane->wanted = number;
    lane_pump(lane);
    if (lane->child && !owed && !lane->rendering) /* else the deadline began with the request */
        update_deadline(lane);
}

void lane_store_changed(struct lane *lane, const struct store_kind *kind, const struct object *o)
{
    if (lane->skips.items.length)
        skips_drop_owner(&lane->skips, store_kind_spec(kind)->name, o->id);
    feed_changed(&lane->feed, kind, o);
}

bool lane_pretend(struct lane *lane, struct object *o)
{
    if (!lane->child || !lane->first_done)
        return false;
    if (o && lane->skips.items.length)
        skips_drop_owner(&lane->skips, store_kind_spec(o->kind)->name, o->id);
    feed_pretend(&lane->feed, o);
    return true;
}

bool lane_is_unfinished(const struct lane *lane)
{
    return lane->unfinished;
}

size_t lane_open_needs(const struct lane *lane)
{
    return lane->needs.open;
}

void lane_answered(struct lane *lane, const char *kind, const char *id, const char *refusal)
{
    if (!lane->child || !needs_answer(&lane->needs, kind, id, refusal, &lane->feed))
        return;
    bool owed = owes_answer(lane);
    lane->unfinished = lane->unfinished || (lane->first_done && refusal != NULL);
    if (!owed)
        update_deadline(lane);
}

/* The frame of a question that begins at mark is complete except for its end. */
static void question_send(struct lane *lane, size_t mark, void (*done)(void *ctx, const char *answer), void *ctx)
{
    bool owed = owes_answer(lane);

    frame_end(child_out(lane->child), mark);
    questions_add(&lane->questions, done, ctx);
    if (!owed)
        update_deadline(lane);
    child_flush(lane->child);
}

bool lane_ask(struct lane *lane, const char *mode, const char *question, void (*done)(void *ctx, const char *answer),
              void *ctx)
{
    if (!lane->child || !lane->first_done)
        return false;
    struct buf *out = child_out(lane->child);
    size_t mark = frame_begin(out, FRAME_ASK);
    frame_add_number(out, (int64_t)questions_next(&lane->questions));
    frame_add_string(out, mode);
    frame_add_string(out, question);
    question_send(lane, mark, done, ctx);
    return true;
}

bool lane_explain(struct lane *lane, const char *fragment_id, enum contribution_kind kind, const char *scope,
                  const char *key, unsigned line, void (*done)(void *ctx, const char *where), void *ctx)
{
    if (!lane->child || !lane->first_done)
        return false;
    struct buf *out = child_out(lane->child);
    size_t mark = frame_begin(out, FRAME_EXPLAIN);
    frame_add_number(out, (int64_t)questions_next(&lane->questions));
    frame_add_string(out, fragment_id);
    frame_add_number(out, kind);
    frame_add_string(out, scope);
    frame_add_string(out, key);
    frame_add_number(out, line);
    question_send(lane, mark, done, ctx);
    return true;
}

/* ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int on_configured(struct lane *lane, struct frame *frame, struct err *err)
{
    const char *problem;
    if (lane->configured)
        return err_set(err, ERR_INVALID, "configured twice");
    if (intake_message(&lane->intake, frame, &problem, err) < 0)
        return -1;
    if (problem[0]) {
        lane->events->refused(lane->ctx, lane, problem);
        return 0;
    }
    lane->configured = true;
    update_deadline(lane);
    lane->events->configured(lane->ctx, lane);
    if (lane->events)
        lane_pump(lane);
    return 0;
}

static int on_output(struct lane *lane, struct frame *frame, size_t bytes, struct err *err)
{
    if (!lane->rendering)
        return err_set(err, ERR_INVALID, "output that nobody asked for");
    if (frame->type == FRAME_FRAGMENT) {
        struct fragment *f;
        if (intake_fragment(&lane->intake, frame, &f, err) < 0)
            return -1;
        if (ration_fragment(&lane->ration, f->id, ration_cost(bytes, f->count), err) < 0) {
            fragment_unref(f);
            return -1;
        }
        lane->events->fragment(lane->ctx, lane, f);
        fragment_unref(f);
    } else if (frame->type == FRAME_FAILED) {
        struct fragment_failure failure;
        if (intake_failure(&lane->intake, frame, &failure, err) < 0 ||
            ration_fragment(&lane->ration, failure.id, ration_cost(bytes, 0), err) < 0)
            return -1;
        lane->events->failed(lane->ctx, lane, &failure);
    } else {
        const char *id;
        if (intake_name(&lane->intake, frame, AT_HAND_ID_MAX, &id, err) < 0 ||
            (frame->type == FRAME_GONE && ration_gone(&lane->ration, id, err) < 0))
            return -1;
        if (frame->type == FRAME_GONE)
            lane->events->gone(lane->ctx, lane, id);
        else
            lane->events->waits(lane->ctx, lane, id);
    }
    return 0;
}

/* The rest of a blamed fragment is over. */
static void on_wake(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    bool owed = owes_answer(lane);

    lane->unfinished = true;
    if (!owed)
        update_deadline(lane);
    lane_pump(lane);
}

/* The timer of restarts is not needed while there is a process. */
static void wake_later(struct lane *lane, int64_t wait_ms)
{
    uv_timer_stop(&lane->restart);
    if (wait_ms < 0)
        return;
    uv_update_time(lane->host->loop);
    uv_timer_start(&lane->restart, on_wake, (uint64_t)wait_ms + 1, 0);
}

static int on_rendered(struct lane *lane, struct frame *frame, struct err *err)
{
    struct metrics *m = lane->host->metrics;
    struct render_stats stats;
    int64_t now = clock_now_ns(), wait_ms;

    if (intake_rendered(frame, &stats, &wait_ms, err) < 0)
        return -1;
    if (!lane->rendering || stats.request != lane->request)
        return err_set(err, ERR_INVALID, "an answer to a request that was not made");
    lane->rendering = false;
    if (!stats.complete && !lane->first_done && !stats.unfinished && needs_may_wait(&lane->needs)) {
        wake_later(lane, needs_wait(&lane->needs));
        update_deadline(lane);
        lane_pump(lane);
        return 0;
    }
    lane->needs.is_waiting = false;
    if (stats.complete == lane->first_done)
        return err_set(err, ERR_INVALID, "the first render of a process is complete, and no other");
    if (stats.duration_ns > now - lane->asked_ns)
        stats.duration_ns = now - lane->asked_ns;
    lane->answered = lane->request;
    if (!lane->first_done)
        lane->serving_since_ns = now;
    lane->first_done = true;
    lane->unfinished = stats.unfinished;
    lane->skips.suspect[0] = '\0';
    stats.held = lane->intake.held.items;
    stats.held_count = lane->intake.held.length;
    penalties_review(&lane->penalties, &stats, now);
    update_deadline(lane);
    wake_later(lane, wait_ms);
    if (m) {
        if (!lane->durations) {
            lane->durations = metric_histogram(m, "haptic_render_duration_seconds",
                                               "Time of one render in the renderer");
            lane->runs = metric_counter(m, "haptic_render_fragments_run_total", "Fragments executed by the renderer");
        }
        metric_observe_ns(lane->durations, stats.duration_ns);
        metric_add(lane->runs, (double)stats.fragments_run);
    }
    lane->events->rendered(lane->ctx, lane, &stats);
    if (lane->events)
        lane_pump(lane);
    return 0;
}

static int on_explained(struct lane *lane, struct frame *frame, struct err *err)
{
    int64_t number;
    const char *where;

    if (frame_number(frame, 0, INT64_MAX, &number, err) < 0 || intake_message(&lane->intake, frame, &where, err) < 0)
        return -1;
    if (!questions_answer(&lane->questions, (uint64_t)number, where))
        return err_set(err, ERR_INVALID, "an explanation that nobody asked for");
    if (lane->child)
        update_deadline(lane);
    return 0;
}

static int on_log(struct lane *lane, struct frame *frame, struct err *err)
{
    int64_t level;
    const char *message;
    uint64_t suppressed;

    if (frame_number(frame, LOG_TRACE, LOG_ERROR, &level, err) < 0 ||
        intake_message(&lane->intake, frame, &message, err) < 0 || ration_log(&lane->ration, clock_now_ns(), err) < 0)
        return -1;
    if (log_enabled((enum log_level)level) && log_limit_pass(&lane->log_limit, LOG_INTERVAL_NS, &suppressed))
        log_write((enum log_level)level, "Renderer", "text", message, "suppressed", log_int((int64_t)suppressed), NULL);
    return 0;
}

static int on_frame(void *ctx, struct frame *frame, struct err *err)
{
    struct lane *lane = ctx;
    size_t bytes = (size_t)(frame->end - frame->at);

    if (frame->type != FRAME_FRAGMENT && bytes > FRAME_MESSAGE_MAX)
        return err_set(err, ERR_LIMIT, "frame %d of %zu bytes", frame->type, bytes);
    switch (frame->type) {
    case FRAME_CONFIGURED:
        return on_configured(lane, frame, err);
    case FRAME_FRAGMENT:
    case FRAME_FAILED:
    case FRAME_GONE:
    case FRAME_WAITS:
        return on_output(lane, frame, bytes, err);
    case FRAME_HELD:
        if (!lane->rendering)
            return err_set(err, ERR_INVALID, "namespaces that wait, and nobody asked");
        return intake_held(&lane->intake, frame, err);
    case FRAME_NEED:
        return needs_take(&lane->needs, frame, &lane->feed, err);
    case FRAME_RENDERED:
        return on_rendered(lane, frame, err);
    case FRAME_EXPLAINED:
        return on_explained(lane, frame, err);
    case FRAME_LOG:
        return on_log(lane, frame, err);
    default:
        return err_set(err, ERR_INVALID, "a frame of unknown type %d", frame->type);
    }
}

static void on_drained(void *ctx)
{
    lane_pump(ctx);
}

/* ── life and death ──────────────────────────────────────────────────────────────────────────────────────────────────── */

static void start(struct lane *lane);

static void on_restart(uv_timer_t *timer)
{
    start(timer->data);
}

/* The first restart is immediate. After each death of the new process, the next one waits longer. */
static void restart_later(struct lane *lane)
{
    int64_t delay_ms = lane->deaths > 1 ? net_backoff_step(RESTART_MIN_MS, RESTART_MAX_MS, lane->deaths - 2) : 0;

    uv_update_time(lane->host->loop);
    uv_timer_start(&lane->restart, on_restart, (uint64_t)delay_ms, 0);
}

static void count_restart(struct lane *lane, const char *reason)
{
    char label[32];

    if (!lane->host->metrics)
        return;
    snprintf(label, sizeof(label), "%.*s", (int)strcspn(reason, ": "), reason);
    metric_add(metric_counter(lane->host->metrics, "haptic_renderer_restarts_total",
                              "Renderer processes that ended and were replaced", "reason", label),
               1);
}

static void end_process(struct lane *lane)
{
    lane->child = NULL;
    needs_end(&lane->needs);
    feed_done(&lane->feed);
    intake_held_clear(&lane->intake);
    lane->configured = lane->first_done = lane->rendering = lane->unfinished = false;
    lane->answered = 0;
}

static void on_exited(void *ctx, const char *reason)
{
    struct lane *lane = ctx;
    struct at_hand at_hand;
    bool was_configured = lane->configured;

    child_at_hand(lane->child, &at_hand);
    if (lane->first_done && clock_now_ns() - lane->serving_since_ns >= STEADY_NS)
        lane->deaths = 0;
    lane->deaths++;
    end_process(lane);
    bool blamed = skips_blame(&lane->skips, reason, at_hand.id);
    if (blamed) {
        skips_add(&lane->skips, &at_hand);
        penalties_add(&lane->penalties, at_hand.owner_id, lane->limits.deadline_ns, clock_now_ns());
    }
    count_restart(lane, reason);
    questions_drop(&lane->questions);
    if (!lane->events)
        return;
    /* A process that ends in another way may have ended at another line than that of the last sample. */
    const char *place = strcmp(reason, "deadline") == 0 ? at_hand.place : "";
    if (!was_configured && strcmp(reason, "memory") == 0) { /* the same template, perhaps at a later line */
        at_hand.place[strcspn(at_hand.place, ":")] = '\0';
        place = at_hand.place;
    }
    bool loading_kills = !was_configured && (strcmp(reason, "deadline") == 0 || strcmp(reason, "memory") == 0);
    if (!lane->established && (loading_kills || (!blamed && lane->deaths >= TRIES_MAX))) {
        CLEANUP(free_ptr)
        char *message = xasprintf("%s%sthe renderer ended while it %s: %s", place, *place != '\0' ? ": " : "",
                                  was_configured ? "rendered with the program" : "loaded the program", reason);
        lane->events->refused(lane->ctx, lane, message);
        return;
    }
    struct renderer_death death = {.reason = reason,
                                   .fragment_id = at_hand.id,
                                   .template_name = at_hand.template_name,
                                   .owner_kind = at_hand.owner_kind,
                                   .owner_id = at_hand.owner_id,
                                   .place = place};
    restart_later(lane);
    lane->events->died(lane->ctx, lane, &death);
}

static const struct child_events child_events = {.frame = on_frame, .drained = on_drained, .exited = on_exited};

static void start(struct lane *lane)
{
    struct err err;

    if (child_start(lane->host->loop, lane->host->executable, &lane->limits, &child_events, lane, &lane->child, &err) <
        0) {
        char reason[300];
        lane->child = NULL;
        lane->deaths++;
        snprintf(reason, sizeof(reason), "setup: %.250s", err.text);
        restart_later(lane);
        lane->events->died(lane->ctx, lane, &(struct renderer_death){reason, "", "", "", "", "", false});
        return;
    }
    ration_begin(&lane->ration, lane->limits.output_bytes);
    struct buf *out = child_out(lane->child);
    size_t mark = frame_begin(out, FRAME_CONFIGURE);
    frame_add(out, lane->program.data, lane->program.length);
    frame_end(out, mark);
    feed_begin(&lane->feed, lane->host->store, lane->kinds.items, lane->kinds.length);
    update_deadline(lane);
    lane_pump(lane);
}

/* Collects the names of the program's kinds. The renderer complains about errors in them. */
static void read_kinds(struct lane *lane)
{
    size_t i, max;
    yyjson_val *kind;

    lane->parsed = yyjson_read(lane->program.data, lane->program.length, 0);
    yyjson_val *kinds = yyjson_obj_get(yyjson_doc_get_root(lane->parsed), "kinds");
    yyjson_arr_foreach(kinds, i, max, kind)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(kind, "name"));
        if (name && lane->kinds.length < KINDS_MAX)
            vec_push(&lane->kinds, name);
    }
}

struct lane *lane_new(const struct lane_host *host, const char *json, size_t length, uint64_t wanted,
                      const struct lane_events *events, void *ctx)
{
    struct lane *lane = xcalloc(1, sizeof(*lane));

    lane->host = host;
    lane->limits = host->limits;
    lane->events = events;
    lane->ctx = ctx;
    lane->wanted = wanted;
    lane->intake.declares = true;
    buf_add(&lane->program, json, length);
    read_kinds(lane);
    needs_init(&lane->needs, store_asks(host->store), yyjson_obj_get(yyjson_doc_get_root(lane->parsed), "kinds"));
    lane->restart.data = lane;
    uv_timer_init(host->loop, &lane->restart);
    uv_timer_start(&lane->restart, on_restart, 0, 0);
    return lane;
}

static void on_restart_closed(uv_handle_t *handle)
{
    struct lane *lane = handle->data;

    buf_done(&lane->program);
    vec_done(&lane->kinds);
    yyjson_doc_free(lane->parsed);
    skips_done(&lane->skips);
    penalties_done(&lane->penalties);
    intake_done(&lane->intake);
    ration_done(&lane->ration);
    vec_done(&lane->questions.items);
    map_done(&lane->needs.names);
    free(lane);
}

struct lane *lane_discard(struct lane *lane)
{
    if (!lane || !lane->events)
        return NULL;
    lane->events = NULL;
    child_discard(lane->child);
    end_process(lane);
    questions_drop(&lane->questions);
    uv_close((uv_handle_t *)&lane->restart, on_restart_closed);
    return NULL;
}

void lane_establish(struct lane *lane)
{
    lane->established = true;
}

int lane_pid(const struct lane *lane)
{
    return lane->child ? child_pid(lane->child) : 0;
}
