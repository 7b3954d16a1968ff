/* Each look at HAProxy's certificates is compared with the former look. Between the end of an attempt and its next
 * step, a certificate may be due for a moment while no order is running. So an order counts as given up only after two
 * such looks in a row.
 */
#include "agent/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "net/backoff.h"

#define PREFIX "acme: "
#define RETRYING ", retrying in "
#define SUCCESS "Successful update"
#define BEGINNING "Starting update"
#define ABORTING "Aborting."
/* A single failure may be an accident. */
#define FAILURES_MIN 2
#define IDLE_LOOKS_MIN 2
#define RETRY_MAX_NS (6 * 3600 * NS_PER_S)
#define REASON_MAX 300
#define GIVEN_UP_REASON "HAProxy has given it up"

enum order_state { ORDER_GOOD, ORDER_UNDER_WAY, ORDER_FAILING, ORDER_GIVEN_UP };

struct order {
    enum order_state state;
    char *reason;        /* of the last failure; NULL: not known */
    char *heard;         /* the same, from the messages that were read last */
    unsigned failures;   /* of the attempts of one order */
    unsigned idle_looks; /* consecutive looks at which it was due and not running */
    int64_t retry_ns;    /* GIVEN_UP: when to begin again */
    struct net_backoff backoff;
    bool is_seen; /* found by the running look */
};

void orders_init(struct orders *o, int64_t retry_ns)
{
    map_init(&o->by_path, false);
    o->retry_ns = retry_ns;
    o->has_changed = false;
}

static void order_free(struct order *order)
{
    free(order->reason);
    free(order->heard);
    free(order);
}

void orders_done(struct orders *o)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&o->by_path, &it)) != NULL;)
        order_free(slot->value);
    map_done(&o->by_path);
}

static void set(char **text, char *to)
{
    free(*text);
    *text = to;
}

static bool is_failing(const struct order *order)
{
    return order->state == ORDER_FAILING || order->state == ORDER_GIVEN_UP;
}

static void move(struct orders *o, struct order *order, enum order_state state)
{
    bool was_failing = is_failing(order);

    order->state = state;
    o->has_changed = o->has_changed || is_failing(order) != was_failing;
}

/* ---- messages ---- */

/* The authority's text may contain any bytes. */
static char *printable(const char *text, size_t length)
{
    char *reason = xmemdup0(text, length < REASON_MAX ? length : REASON_MAX);
    size_t n = strlen(reason);

    for (char *c = reason; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
    while (n > 0 && strchr(" .,:", reason[n - 1]) != NULL)
        reason[--n] = '\0';
    return reason;
}

/* "PATH: REASON, retrying in 9s (2/5 retries)...", "PATH: REASON Aborting. (5/5)" */
static void hear_line(struct orders *o, const char *line, size_t length)
{
    CLEANUP(free_ptr) char *text = xmemdup0(line, length);
    char *message = strstr(text, ": ");

    if (message == NULL)
        return;
    *message = '\0';
    message += 2;
    struct order *order = map_get(&o->by_path, text);
    if (order == NULL)
        return;
    const char *retrying = strstr(message, RETRYING), *aborting = strstr(message, ABORTING);
    unsigned attempt = 0;
    if (strncmp(message, SUCCESS, strlen(SUCCESS)) == 0 || strncmp(message, BEGINNING, strlen(BEGINNING)) == 0) {
        order->failures = 0;
        set(&order->heard, NULL);
    } else if (retrying != NULL && sscanf(retrying, RETRYING "%*[0-9]s (%u", &attempt) == 1) {
        order->failures = attempt;
        set(&order->heard, printable(message, (size_t)(retrying - message)));
    } else if (aborting != NULL) {
        order->failures = FAILURES_MIN;
        set(&order->heard, printable(message, (size_t)(aborting - message)));
    }
}

void orders_hear(struct orders *o, const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, PREFIX, strlen(PREFIX)) == 0)
            hear_line(o, line + strlen(PREFIX), length - strlen(PREFIX));
        line += length + (line[length] == '\n');
    }
}

/* ---- states ---- */

static void give_up(struct orders *o, struct order *order, int64_t now_ns)
{
    move(o, order, ORDER_GIVEN_UP);
    order->retry_ns = now_ns + net_backoff_next(&order->backoff, 0);
}

static void take_reason(struct orders *o, struct order *order)
{
    if (order->heard == NULL || (order->reason != NULL && strcmp(order->heard, order->reason) == 0))
        return;
    set(&order->reason, xstrdup(order->heard));
    o->has_changed = o->has_changed || is_failing(order);
}

void orders_see(struct orders *o, const struct order_sight *sight, int64_t now_s, int64_t now_ns)
{
    struct order *order = map_get(&o->by_path, sight->path);

    if (order == NULL) {
        order = xcalloc(1, sizeof(*order));
        order->backoff = (struct net_backoff){.base_ns = o->retry_ns, .cap_ns = RETRY_MAX_NS};
        map_put(&o->by_path, sight->path, order);
    }
    order->is_seen = true;
    if (!sight->is_running && sight->due_s > now_s) {
        move(o, order, ORDER_GOOD);
        set(&order->reason, NULL);
        order->failures = order->idle_looks = 0;
        net_backoff_reset(&order->backoff);
        return;
    }
    take_reason(o, order);
    order->idle_looks = sight->is_running ? 0 : order->idle_looks + 1;
    switch (order->state) {
    case ORDER_GOOD:
    case ORDER_UNDER_WAY:
        move(o, order, order->failures >= FAILURES_MIN ? ORDER_FAILING : ORDER_UNDER_WAY);
        break;
    case ORDER_FAILING:
        break;
    case ORDER_GIVEN_UP:
        if (sight->is_running) /* HAProxy has started again by itself */
            move(o, order, ORDER_FAILING);
        return;
    }
    if (order->idle_looks >= IDLE_LOOKS_MIN)
        give_up(o, order, now_ns);
}

bool orders_look_end(struct orders *o)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&o->by_path, &it)) != NULL;) {
        struct order *order = slot->value;
        if (order->is_seen) {
            order->is_seen = false;
            continue;
        }
        o->has_changed = o->has_changed || is_failing(order);
        order_free(map_deln(&o->by_path, slot->key, slot->key_length));
    }
    bool has_changed = o->has_changed;
    o->has_changed = false;
    return has_changed;
}

const char *orders_next(struct orders *o, int64_t now_ns)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&o->by_path, &it)) != NULL;) {
        struct order *order = slot->value;
        if (order->state != ORDER_GIVEN_UP || order->retry_ns > now_ns)
            continue;
        move(o, order, ORDER_FAILING);
        order->idle_looks = 0;
        return slot->key;
    }
    return NULL;
}

void orders_each_failing(const struct orders *o, void (*fn)(void *ctx, const char *path, const char *reason), void *ctx)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&o->by_path, &it)) != NULL;) {
        const struct order *order = slot->value;
        if (is_failing(order))
            fn(ctx, slot->key, order->reason != NULL ? order->reason : GIVEN_UP_REASON);
    }
}

size_t orders_failing(const struct orders *o)
{
    struct map_slot *slot;
    size_t count = 0;

    for (size_t it = 0; (slot = map_next(&o->by_path, &it)) != NULL;)
        count += is_failing(slot->value);
    return count;
}
