/* fetcher_state.h — what a fetcher consists of, for its two files only.
 * Thread:  loop thread only.
 * Units:   *_ns clock_now_ns() nanoseconds, *_bytes bytes.
 */
#ifndef HAPTIC_CONTROLLER_FETCHER_STATE_H
#define HAPTIC_CONTROLLER_FETCHER_STATE_H

#include "base/log_lasting.h"
#include "base/map.h"
#include "controller/fetch_wish.h"
#include "controller/fetcher.h"
#include "net/backoff.h"
#include "net/download.h"
#include "net/timer.h"

enum fetch_state { FETCH_WAITS, FETCH_RUNS, FETCH_REFUSED };

/* A fragment that wants the content. */
struct fetch_ask {
    char *fragment_id;
    int64_t interval_ns, timeout_ns;
    size_t max_bytes;
};

struct fetch_entry {
    struct fetcher *fetcher;
    char *id;
    struct fetch_wish how; /* of its URL and credentials; the rest is that of the asks */
    VEC(struct fetch_ask) asks;
    enum fetch_state state;
    struct download *transfer;
    struct object *object; /* what the store has; NULL: nothing */
    bool has_content, was_tried;
    size_t bytes;
    char *etag, *modified, *problem;
    long status;
    int64_t due_ns, good_ns;
    struct net_backoff backoff;
    struct log_lasting lasting;
};

struct fetcher {
    struct store *store;
    struct metrics *metrics;
    struct fetcher_ops ops;
    void *ctx;
    struct downloads *downloads;
    struct net_timer *timer;
    struct url_rules rules;
    struct map entries; /* id → struct fetch_entry */
    size_t bytes;       /* of all contents */
    unsigned running;
    bool reviewed, settled, stopped;
    int64_t first_ns; /* the first wish */
};

#endif
