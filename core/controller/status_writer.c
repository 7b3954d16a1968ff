/* step() moves waiting entries that are live now to the queue. pump() takes entries from the queue while there are
 * tokens, free places and time, and compares and writes each of them. Every answer sets the timer, which runs the next
 * step. */
#include "controller/status_writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "controller/status_state.h"
#include "data/json.h"

#define BURST STATUS_RATE
#define MARGIN_NS NS_PER_S /* a write that could end with the term only is not begun */
#define SLICE_NS (2 * NS_PER_MS)
#define PAUSE_MIN_NS (500 * NS_PER_MS)
#define PAUSE_MAX_NS (30 * NS_PER_S)
#define PROGRESS_MIN 100 /* fewer writes are not worth a line of progress */
#define PROGRESS_NS (10 * NS_PER_S)
#define SCAN_NS (100 * NS_PER_MS) /* the minimum between two passes over a long list of waiting entries */
#define SCAN_LONG 100

/* ---- the room and the store ---- */

/* Something has changed: compare the entry again, unless this replica does not lead. */
static void touch(struct status_writer *w, struct status_entry *e)
{
    if (!w->leads)
        return;
    if (e->request != NULL)
        e->again = true;
    else if (e->state != STATUS_RESTS)
        status_wait(w, e);
}

static void on_wish(void *ctx, struct status_entry *e)
{
    struct status_writer *w = ctx;

    e->failures = 0;
    if (w->leads && e->state == STATUS_RESTS)
        status_wait(w, e);
    touch(w, e);
}

static void on_wish_gone(void *ctx, struct status_entry *e)
{
    struct status_writer *w = ctx;

    status_cancel(w, e);
    status_list_out(w, e);
    if (w->manner->unwished != NULL)
        w->manner->unwished(w->manner->ctx, e->kind, e->id);
}

static void on_store(void *ctx, enum store_event event, struct store_kind *kind, struct object *now,
                     struct object *before)
{
    struct status_writer *w = ctx;

    bool gone = event == STORE_EVENT_DELETE && w->manner->creates; /* the object is created again */
    if ((event != STORE_EVENT_PUT && !gone) || w->room.entries.count == 0)
        return;
    struct status_entry *e = status_room_find(&w->room, store_kind_spec(kind)->name, gone ? before->id : now->id);
    if (e == NULL)
        return;
    /* A rendering that is running may not know this version yet. */
    e->after = w->ops.requested(w->ctx) + 1;
    touch(w, e);
}

/* ---- what is due ---- */

static bool is_live(struct status_writer *w, struct status_entry *e)
{
    if (w->ops.rendered(w->ctx) < e->after)
        return false;
    for (uint32_t i = 0; e->generation == 0 && i < e->count; i++)
        if (!w->ops.is_settled(w->ctx, e->wishes[i].fragment->id))
            return false;
    if (e->generation == 0)
        e->generation = w->ops.accepted(w->ctx);
    uint64_t live = w->ops.live(w->ctx);
    return live != 0 && live >= e->generation;
}

/* Moves entries from the waiting list to the queue. This runs in each step, because a check by HAProxy can settle an
 * output without a change of what is accepted. */
static void scan(struct status_writer *w, int64_t now_ns)
{
    struct status_list *l = &w->lists[STATUS_WAITS];

    w->scan_due = l->items.length > SCAN_LONG && now_ns - w->scanned_ns < SCAN_NS;
    if (l->items.length == 0 || w->scan_due || w->ops.live(w->ctx) == 0)
        return;
    w->scanned_ns = now_ns;
    for (size_t i = l->items.length; i-- > 0;) {
        struct status_entry *e = l->items.items[i];
        if (is_live(w, e))
            status_move(w, e, status_is_echo(w, e) ? STATUS_LEVEL : STATUS_QUEUED);
    }
}

static void wake_rested(struct status_writer *w, int64_t now_ns)
{
    struct status_list *l = &w->lists[STATUS_RESTS];

    for (size_t i = l->items.length; i-- > 0;)
        if (l->items.items[i]->due_ns <= now_ns)
            status_wait(w, l->items.items[i]);
}

static int64_t next_rested_ns(const struct status_writer *w)
{
    const struct status_list *l = &w->lists[STATUS_RESTS];
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < l->items.length; i++)
        if (l->items.items[i]->due_ns < next)
            next = l->items.items[i]->due_ns;
    return next;
}

static void refill(struct status_writer *w, int64_t now_ns)
{
    w->tokens_ns += now_ns - w->refilled_ns;
    w->refilled_ns = now_ns;
    if (w->tokens_ns > BURST * STATUS_TOKEN_NS)
        w->tokens_ns = BURST * STATUS_TOKEN_NS;
}

static void tell_progress(struct status_writer *w, int64_t now_ns)
{
    size_t left = status_queued(w) + w->in_flight;

    if (w->began_ns == 0 && left >= PROGRESS_MIN) {
        w->began_ns = w->told_ns = now_ns;
        w->began_written = w->written;
    }
    if (w->began_ns == 0)
        return;
    uint64_t written = w->written - w->began_written;
    if (left == 0) {
        if (written >= PROGRESS_MIN)
            log_info(w->manner->wrote, "written", log_int((int64_t)written), "duration",
                     log_duration(now_ns - w->began_ns));
        w->began_ns = 0;
    } else if (now_ns - w->told_ns >= PROGRESS_NS) {
        w->told_ns = now_ns;
        log_info(w->manner->writing, "written", log_int((int64_t)written), "left", log_int((int64_t)left));
    }
}

/* Sets the timer for work that no answer and no step starts. */
static void set_timer(struct status_writer *w, int64_t now_ns)
{
    int64_t next = next_rested_ns(w);

    if (status_queued(w) > 0 && w->in_flight < STATUS_IN_FLIGHT) {
        int64_t due = now_ns + (w->tokens_ns >= STATUS_TOKEN_NS ? 1 : STATUS_TOKEN_NS - w->tokens_ns);
        due = due < w->paused_ns ? w->paused_ns : due;
        next = due < next ? due : next;
    }
    if (w->scan_due && w->ops.live(w->ctx) != 0 && w->scanned_ns + SCAN_NS < next)
        next = w->scanned_ns + SCAN_NS;
    if (next == INT64_MAX)
        net_timer_stop(w->timer);
    else
        /* The delay is never 0: a timer that sets itself for now would keep the loop from all other work. */
        net_timer_start(w->timer, next - now_ns > NS_PER_MS ? next - now_ns : NS_PER_MS);
}

static void pump(struct status_writer *w)
{
    int64_t now = clock_now_ns(), end = now + SLICE_NS;

    if (!w->leads || w->stopped)
        return;
    refill(w, now);
    while (w->in_flight < STATUS_IN_FLIGHT && w->tokens_ns >= STATUS_TOKEN_NS && now >= w->paused_ns && now < end) {
        struct status_entry *e = status_queue_take(w);
        if (e == NULL)
            break;
        if (w->ops.write_end_ns(w->ctx) - now < MARGIN_NS) {
            status_move(w, e, STATUS_QUEUED);
            w->paused_ns = now + MARGIN_NS;
            break;
        }
        status_compare(w, e);
        now = clock_now_ns();
    }
    tell_progress(w, now);
    set_timer(w, now);
}

static void on_timer(void *ctx)
{
    status_writer_step(ctx);
}

/* ---- leading ---- */

static void begin(struct status_writer *w)
{
    struct map_slot *slot;

    w->leads = true;
    w->refilled_ns = clock_now_ns();
    for (size_t it = 0; (slot = map_next(&w->room.entries, &it)) != NULL;) {
        struct status_entry *e = slot->value;
        e->failures = 0;
        e->conflicts = 0;
        e->wrote = 0; /* another leader may have written in the meantime */
        status_wait(w, e);
    }
}

static void end(struct status_writer *w)
{
    struct map_slot *slot;

    w->leads = false;
    net_timer_stop(w->timer);
    for (size_t it = 0; (slot = map_next(&w->room.entries, &it)) != NULL;) {
        status_cancel(w, slot->value);
        status_move(w, slot->value, STATUS_LEVEL);
    }
    vec_clear(&w->lists[STATUS_QUEUED].items);
    w->head = 0;
    w->began_ns = w->paused_ns = 0;
    status_well(w);
}

void status_writer_step(struct status_writer *w)
{
    if (w == NULL || w->stopped)
        return;
    bool may = w->ops.may_write(w->ctx);
    if (may && !w->leads)
        begin(w);
    else if (!may && w->leads)
        end(w);
    if (!w->leads)
        return;
    int64_t now = clock_now_ns();
    wake_rested(w, now);
    scan(w, now);
    pump(w);
}

/* ---- calls of the owner ---- */

struct status_writer *status_writer_new(struct kube_client *client, struct store *store, struct metrics *metrics,
                                        const struct write_manner *manner, const struct status_writer_ops *ops,
                                        void *ctx)
{
    struct status_writer *w = xcalloc(1, sizeof(*w));

    w->client = client;
    w->store = store;
    w->metrics = metrics;
    w->manner = manner;
    w->ops = *ops;
    w->ctx = ctx;
    w->pause = (struct net_backoff){.base_ns = PAUSE_MIN_NS, .cap_ns = PAUSE_MAX_NS};
    w->tokens_ns = BURST * STATUS_TOKEN_NS;
    w->timer = net_timer_new(kube_client_loop(client), on_timer, w);
    status_room_init(&w->room, manner->wish, on_wish, on_wish_gone, w);
    store_listen(store, on_store, w);
    return w;
}

struct status_writer *status_writer_free(struct status_writer *w)
{
    if (w == NULL)
        return NULL;
    status_writer_stop(w);
    store_unlisten(w->store, on_store, w);
    net_timer_free(w->timer);
    status_room_done(&w->room);
    for (size_t i = 0; i < STATUS_STATES; i++)
        vec_done(&w->lists[i].items);
    free(w);
    return NULL;
}

void status_writer_hear(struct status_writer *w, struct fragment *before, struct fragment *now)
{
    if (w != NULL)
        status_room_put(&w->room, before, now);
}

static bool exists(void *ctx, const char *fragment_id)
{
    const struct status_writer *w = ctx;

    return w->ops.exists(w->ctx, fragment_id);
}

void status_writer_review(struct status_writer *w)
{
    if (w != NULL)
        status_room_review(&w->room, exists, w);
}

void status_writer_stop(struct status_writer *w)
{
    if (w == NULL || w->stopped)
        return;
    if (w->leads)
        end(w);
    w->stopped = true;
}

bool status_writer_has_wish(const struct status_writer *w, const char *kind, const char *id)
{
    return status_room_find(&w->room, kind, id) != NULL;
}

bool status_writer_leads(const struct status_writer *w)
{
    return w->leads && !w->stopped;
}

void status_writer_describe(const struct status_writer *w, struct buf *out)
{
    if (w == NULL) {
        buf_puts(out, "null");
        return;
    }
    buf_printf(out,
               "{\"objects\":%zu,\"wait_to_be_live\":%zu,\"queued\":%zu,\"under_way\":%zu,\"rest\":%zu,"
               "\"written\":%" PRIu64 ",\"error\":",
               w->room.entries.count, w->lists[STATUS_WAITS].items.length, status_queued(w), w->in_flight,
               w->lists[STATUS_RESTS].items.length, w->written);
    if (json_write_string(out, w->error, strlen(w->error), NULL) < 0)
        buf_puts(out, "null");
    buf_putc(out, '}');
}
