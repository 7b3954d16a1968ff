/* status_state.h — what a writer of status consists of, for its files only.
 * Thread:  loop thread only.
 *
 *   status_writer.c  life, when what is due
 *   status_write.c   one entry: compare, write, read again, what the answers mean
 *   status_queue.c   the lists of entries by state
 *
 * Each calls only those below it.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_STATE_H
#define HAPTIC_CONTROLLER_STATUS_STATE_H

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "controller/status_room.h"
#include "controller/status_writer.h"
#include "net/backoff.h"
#include "net/timer.h"

#define STATUS_TOKEN_NS (NS_PER_S / STATUS_RATE)
#define STATUS_STATES (STATUS_RESTS + 1)

struct status_list {
    VEC(struct status_entry *) items;
};

struct status_writer {
    struct kube_client *client;
    struct store *store;
    struct metrics *metrics;
    const struct write_manner *manner;
    struct status_writer_ops ops;
    void *ctx;
    struct status_room room;
    struct status_list lists[STATUS_STATES];
    size_t head; /* of the queue: those before it were taken */
    struct net_timer *timer;
    bool leads, stopped;
    size_t in_flight;
    int64_t tokens_ns; /* time that may be spent on writes, a token each */
    int64_t refilled_ns, paused_ns, scanned_ns;
    bool scan_due; /* the list of those that wait is to be looked at */
    struct net_backoff pause;
    unsigned failures; /* in a row, of any object */
    struct log_repeat warned;
    char error[600];
    uint64_t written, began_written;
    int64_t began_ns, told_ns; /* of a row of writes worth telling */
};

/* status_queue.c */
void status_list_out(struct status_writer *w, struct status_entry *e);
void status_move(struct status_writer *w, struct status_entry *e, enum status_state state);
/* It waits to be live; what that means is found out again. */
void status_wait(struct status_writer *w, struct status_entry *e);
struct status_entry *status_queue_take(struct status_writer *w); /* the first one; NULL: none */
size_t status_queued(const struct status_writer *w);

/* status_write.c */
void status_compare(struct status_writer *w, struct status_entry *e); /* with what the store has; writes */
/* Is it our own write that came back, and level? Then there is nothing to queue it for. */
bool status_is_echo(struct status_writer *w, const struct status_entry *e);
void status_cancel(struct status_writer *w, struct status_entry *e);
void status_well(struct status_writer *w); /* nothing fails at the moment */

#endif
