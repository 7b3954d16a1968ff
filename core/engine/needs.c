#include "engine/needs.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/shared_page.h"

/* Templates never read more than this, and the engine has a limit of its own. */
#define NEEDS_MAX 100000
/* The engine waits fewer times than this (lua/haptic/asking.lua). */
#define ROUNDS_MAX 20
/* When an API server does not answer for one object, the others do not wait longer than this. docs/libraries.md names
 * it. */
#define WAIT_MAX_NS (10 * NS_PER_S)

static char is_open, is_known; /* what names' values point to */

void needs_init(struct needs *n, struct asks *asks, yyjson_val *kinds)
{
    *n = (struct needs){.asks = asks, .kinds = kinds};
    map_init(&n->names, false);
}

void needs_end(struct needs *n)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&n->names, &it));) {
        const char *newline = strchr(slot->key, '\n');
        CLEANUP(free_ptr) char *kind = xmemdup0(slot->key, (size_t)(newline - slot->key));
        asks_remove(n->asks, kind, newline + 1);
    }
    map_done(&n->names);
    map_init(&n->names, false);
    n->open = n->rounds = 0;
    n->is_waiting = false;
}

static bool is_lazy(const struct needs *n, const char *name)
{
    size_t i, max;
    yyjson_val *kind;

    yyjson_arr_foreach(n->kinds, i, max, kind)
    {
        const char *known = yyjson_get_str(yyjson_obj_get(kind, "name"));
        if (known != NULL && strcmp(known, name) == 0)
            return yyjson_is_true(yyjson_obj_get(kind, "lazy"));
    }
    return false;
}

int needs_take(struct needs *n, struct frame *frame, struct feed *feed, struct err *err)
{
    struct field kind_field, id_field;
    int64_t wanted;

    if (frame_name(frame, AT_HAND_OWNER_KIND_MAX, &kind_field, err) < 0 ||
        frame_name(frame, AT_HAND_OWNER_ID_MAX, &id_field, err) < 0 || frame_number(frame, 0, 1, &wanted, err) < 0 ||
        frame_finish(frame, err) < 0)
        return -1;
    CLEANUP(free_ptr) char *kind = xmemdup0(kind_field.bytes, kind_field.length);
    CLEANUP(free_ptr) char *id = xmemdup0(id_field.bytes, id_field.length);
    CLEANUP(free_ptr) char *key = xasprintf("%s\n%s", kind, id);
    const char *before = map_get(&n->names, key);
    if (!is_lazy(n, kind) || (wanted != 0) == (before != NULL))
        return err_set(err, ERR_INVALID, "an object that is %s", wanted ? "asked for twice" : "not asked for");
    if (!wanted) {
        n->open -= before == &is_open;
        map_del(&n->names, key);
        asks_remove(n->asks, kind, id);
        return 0;
    }
    if (n->names.count == NEEDS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d objects that are asked for", NEEDS_MAX);
    /* The answer may come within the call. */
    map_put(&n->names, key, &is_open);
    n->open++;
    asks_add(n->asks, kind, id);
    const char *refusal = asks_refusal(n->asks, kind, id);
    if (refusal != NULL && map_get(&n->names, key) == &is_open)
        (void)needs_answer(n, kind, id, refusal, feed);
    return 0;
}

bool needs_answer(struct needs *n, const char *kind, const char *id, const char *refusal, struct feed *feed)
{
    CLEANUP(free_ptr) char *key = xasprintf("%s\n%s", kind, id);
    const char *before = map_get(&n->names, key);

    if (before == NULL)
        return false;
    n->open -= before == &is_open;
    n->open += refusal == NULL;
    map_put(&n->names, key, refusal != NULL ? &is_known : &is_open);
    feed_answer(feed, kind, id, refusal);
    return true;
}

bool needs_may_wait(const struct needs *n)
{
    return n->names.count > 0 && n->rounds < ROUNDS_MAX;
}

int64_t needs_wait(struct needs *n)
{
    n->rounds++;
    n->is_waiting = true;
    n->waiting_since_ns = clock_now_ns();
    return WAIT_MAX_NS / NS_PER_MS;
}

bool needs_hold(const struct needs *n)
{
    return n->is_waiting && n->open > 0 && clock_now_ns() - n->waiting_since_ns < WAIT_MAX_NS;
}
