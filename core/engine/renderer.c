/* Two lanes: the program in force, and the one that is being tried. The output of the second is held back until its
 * first render is done; then it takes the first one's place in one step, and a program that fails before that has
 * changed nothing.
 *
 *   set_program ──► trying ──configured, and rendered if ever asked to──► in force (the former one is discarded)
 *                      └──────refused──► program_failed; the former stays
 *
 * Changes of the store are sent at the end of the loop's turn, in which there may be many, or with the next request to
 * render, whichever is first.
 */
#include "engine/renderer.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/vec.h"
#include "engine/frame.h"
#include "engine/lane.h"
#include "store/ask.h"

#define MEMORY_INTERVAL_NS NS_PER_S

/* Output of a program that is being tried. */
struct held {
    struct fragment *fragment; /* or else a failure */
    struct fragment_failure failure;
    char *waits; /* or else the id of one whose turn has not come */
};

struct renderer {
    struct lane_host host;
    const struct renderer_events *events;
    void *ctx;
    struct lane *in_force, *trying; /* either may be NULL */
    VEC(struct held) held;
    uv_prepare_t prepare;
    uint64_t wanted;
    int64_t measured_ns;
};

static void held_clear(struct renderer *r)
{
    for (size_t i = 0; i < r->held.length; i++) {
        struct held *h = &r->held.items[i];
        fragment_unref(h->fragment);
        free((char *)(uintptr_t)h->failure.id);
        free((char *)(uintptr_t)h->failure.template_name);
        free((char *)(uintptr_t)h->failure.owner_kind);
        free((char *)(uintptr_t)h->failure.owner_id);
        free((char *)(uintptr_t)h->failure.message);
        free(h->waits);
    }
    vec_done(&r->held);
}

/* The first program of a command: its output is not held back. */
static bool is_first(const struct renderer *r)
{
    return r->host.limits.is_command && !r->in_force;
}

static bool is_held(const struct renderer *r, const struct lane *lane)
{
    return lane == r->trying && !is_first(r);
}

static void on_fragment(void *ctx, struct lane *lane, struct fragment *f)
{
    struct renderer *r = ctx;

    if (is_held(r, lane))
        vec_push(&r->held, ((struct held){.fragment = fragment_ref(f)}));
    else
        r->events->fragment(r->ctx, f);
}

static void on_gone(void *ctx, struct lane *lane, const char *fragment_id)
{
    struct renderer *r = ctx;

    if (!is_held(r, lane)) /* whoever hears of a complete render drops what is not in it */
        r->events->gone(r->ctx, fragment_id);
}

static void on_waits(void *ctx, struct lane *lane, const char *fragment_id)
{
    struct renderer *r = ctx;

    if (is_held(r, lane))
        vec_push(&r->held, ((struct held){.waits = xstrdup(fragment_id)}));
    else
        r->events->waits(r->ctx, fragment_id);
}

static void on_failed(void *ctx, struct lane *lane, const struct fragment_failure *failure)
{
    struct renderer *r = ctx;

    if (!is_held(r, lane)) {
        r->events->failed(r->ctx, failure);
        return;
    }
    struct fragment_failure copy = {
        .id = xstrdup(failure->id),
        .template_name = xstrdup(failure->template_name),
        .owner_kind = xstrdup(failure->owner_kind),
        .owner_id = xstrdup(failure->owner_id),
        .owner_created_s = failure->owner_created_s,
        .message = xstrdup(failure->message),
    };
    vec_push(&r->held, ((struct held){.failure = copy}));
}

/* Why the lane that is tried must not take over; NULL: it may. */
static char *objection(struct renderer *r)
{
    VEC(struct fragment_failure) failures = {0};
    char *why = NULL;

    if (!r->in_force || !r->events->objection)
        return NULL;
    for (size_t i = 0; i < r->held.length; i++)
        if (!r->held.items[i].fragment && !r->held.items[i].waits)
            vec_push(&failures, r->held.items[i].failure);
    if (failures.length)
        why = r->events->objection(r->ctx, failures.items, failures.length);
    vec_done(&failures);
    return why;
}

/* The lane that was tried takes over. Its output is told as if it had come just now. */
static void take_over(struct renderer *r)
{
    bool is_new = !is_first(r);

    lane_discard(r->in_force);
    r->in_force = r->trying;
    r->trying = NULL;
    lane_establish(r->in_force);
    if (r->events->replaced && is_new)
        r->events->replaced(r->ctx);
    for (size_t i = 0; i < r->held.length; i++) {
        struct held *h = &r->held.items[i];
        if (h->fragment)
            r->events->fragment(r->ctx, h->fragment);
        else if (h->waits)
            r->events->waits(r->ctx, h->waits);
        else
            r->events->failed(r->ctx, &h->failure);
    }
    held_clear(r);
}

static void on_configured(void *ctx, struct lane *lane)
{
    struct renderer *r = ctx;

    if (lane == r->trying && r->wanted == 0 && !is_first(r))
        take_over(r);
}

static void measure_memory(struct renderer *r)
{
    int64_t now = clock_now_ns();

    if (!r->host.metrics || (r->measured_ns && now - r->measured_ns < MEMORY_INTERVAL_NS))
        return;
    r->measured_ns = now;
    metric_set(metric_gauge(r->host.metrics, "haptic_renderer_memory_bytes", "Resident memory of the renderer process"),
               (double)renderer_memory_bytes(r));
}

static void on_rendered(void *ctx, struct lane *lane, const struct render_stats *stats)
{
    struct renderer *r = ctx;

    if (lane == r->trying) {
        CLEANUP(free_ptr) char *why = objection(r);
        if (why) {
            r->trying = lane_discard(lane);
            held_clear(r);
            r->events->program_failed(r->ctx, why);
            return;
        }
        take_over(r);
    }
    measure_memory(r);
    r->events->rendered(r->ctx, stats);
}

static void on_died(void *ctx, struct lane *lane, const struct renderer_death *death)
{
    struct renderer *r = ctx;

    if (lane != r->trying) {
        r->events->died(r->ctx, death);
        return;
    }
    held_clear(r);
    struct renderer_death trial = *death;
    trial.is_trial = r->in_force != NULL;
    r->events->died(r->ctx, &trial);
}

static void on_refused(void *ctx, struct lane *lane, const char *message)
{
    struct renderer *r = ctx;
    CLEANUP(free_ptr) char *copy = xstrdup(message); /* it belongs to the lane */

    if (lane == r->trying) {
        r->trying = lane_discard(lane);
        held_clear(r);
    } else {
        r->in_force = lane_discard(lane);
    }
    r->events->program_failed(r->ctx, copy);
}

static const struct lane_events lane_events = {
    .configured = on_configured,
    .fragment = on_fragment,
    .gone = on_gone,
    .waits = on_waits,
    .failed = on_failed,
    .rendered = on_rendered,
    .died = on_died,
    .refused = on_refused,
};

static void on_prepare(uv_prepare_t *prepare)
{
    struct renderer *r = prepare->data;

    uv_prepare_stop(prepare);
    if (r->in_force)
        lane_pump(r->in_force);
    if (r->trying)
        lane_pump(r->trying);
}

static void on_store_event(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                           struct object *before)
{
    struct renderer *r = ctx;
    bool news = false;

    if (event == STORE_EVENT_SYNCED)
        return;
    struct lane *lanes[] = {r->in_force, r->trying};
    for (size_t i = 0; i < ARRAY_LEN(lanes); i++)
        if (lanes[i]) {
            lane_store_changed(lanes[i], kind, now ? now : before);
            news = lane_has_news(lanes[i]) || news;
        }
    if (news)
        uv_prepare_start(&r->prepare, on_prepare);
}

static void on_answer(void *ctx, const char *kind, const char *id, const char *refusal)
{
    struct renderer *r = ctx;

    if (r->in_force)
        lane_answered(r->in_force, kind, id, refusal);
    if (r->trying)
        lane_answered(r->trying, kind, id, refusal);
    uv_prepare_start(&r->prepare, on_prepare);
}

void renderer_set_limits(struct renderer *r, const struct renderer_limits *limits)
{
    struct renderer_limits *l = &r->host.limits;

    *l = *limits;
    l->deadline_ns = l->deadline_ns ? l->deadline_ns : 10 * NS_PER_S;
    l->memory_bytes = l->memory_bytes ? l->memory_bytes : (size_t)1 << 30;
    l->output_bytes = l->output_bytes ? l->output_bytes : (size_t)256 << 20;
    l->fragment_bytes = l->fragment_bytes ? l->fragment_bytes : (size_t)4 << 20;
}

struct renderer *renderer_new(uv_loop_t *loop, struct store *store, const char *executable,
                              const struct renderer_limits *limits, const struct renderer_events *events, void *ctx,
                              struct metrics *metrics)
{
    struct renderer *r = xcalloc(1, sizeof(*r));

    r->host = (struct lane_host){.loop = loop, .store = store, .executable = xstrdup(executable), .metrics = metrics};
    renderer_set_limits(r, limits);
    r->events = events;
    r->ctx = ctx;
    r->prepare.data = r;
    uv_prepare_init(loop, &r->prepare);
    store_listen(store, on_store_event, r);
    asks_listen(store_asks(store), on_answer, r);
    return r;
}

static void on_prepare_closed(uv_handle_t *handle)
{
    struct renderer *r = handle->data;

    free((char *)(uintptr_t)r->host.executable);
    free(r);
}

struct renderer *renderer_free(struct renderer *r)
{
    if (!r)
        return NULL;
    store_unlisten(r->host.store, on_store_event, r);
    asks_unlisten(store_asks(r->host.store), on_answer, r);
    r->in_force = lane_discard(r->in_force);
    r->trying = lane_discard(r->trying);
    held_clear(r);
    uv_close((uv_handle_t *)&r->prepare, on_prepare_closed);
    return NULL;
}

void renderer_set_program(struct renderer *r, const char *json, size_t length)
{
    r->trying = lane_discard(r->trying);
    held_clear(r);
    if (length > FRAME_TO_RENDERER_MAX / 2) {
        r->events->program_failed(r->ctx, "the program (all templates together) is too large");
        return;
    }
    r->trying = lane_new(&r->host, json, length, r->wanted, &lane_events, r);
}

uint64_t renderer_render(struct renderer *r)
{
    r->wanted++;
    if (r->in_force)
        lane_render(r->in_force, r->wanted);
    if (r->trying)
        lane_render(r->trying, r->wanted);
    return r->wanted;
}

bool renderer_pretend(struct renderer *r, struct object *o)
{
    return r->in_force && lane_pretend(r->in_force, o);
}

bool renderer_is_unfinished(const struct renderer *r)
{
    return r->in_force && lane_is_unfinished(r->in_force);
}

size_t renderer_open_needs(const struct renderer *r)
{
    return r->in_force ? lane_open_needs(r->in_force) : 0;
}

void renderer_explain(struct renderer *r, const char *fragment_id, enum contribution_kind kind, const char *scope,
                      const char *key, unsigned line, void (*done)(void *ctx, const char *where), void *ctx)
{
    if (!r->in_force || !lane_explain(r->in_force, fragment_id, kind, scope, key, line, done, ctx))
        done(ctx, "");
}

void renderer_ask(struct renderer *r, const char *mode, const char *question,
                  void (*done)(void *ctx, const char *answer), void *ctx)
{
    if (!r->in_force || !lane_ask(r->in_force, mode, question, done, ctx))
        done(ctx, "");
}

int renderer_pid(const struct renderer *r)
{
    return r->in_force ? lane_pid(r->in_force) : r->trying ? lane_pid(r->trying) : 0;
}

uint64_t renderer_memory_bytes(const struct renderer *r)
{
    unsigned long pages, resident = 0;
    char path[40];
    int pid = renderer_pid(r);

    if (pid == 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *statm = fopen(path, "re");
    if (!statm)
        return 0;
    if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    fclose(statm);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
