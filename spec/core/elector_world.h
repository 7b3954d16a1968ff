/* elector_world.h — one elector and a hand-driven world: a clock, and the Lease as the server has it.
 *
 * A test gets a world from WORLD_TEST and begins it with lead() or follow(), also several times. */
#ifndef HAPTIC_SPEC_ELECTOR_WORLD_H
#define HAPTIC_SPEC_ELECTOR_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "kube/elector.h"

#define S NS_PER_S
#define MS NS_PER_MS

struct world {
    struct elector *elector;
    int64_t now_ns;
    struct elector_output out;
    struct elector_record lease;
    unsigned versions;
};

static inline struct elector_config config(void)
{
    struct elector_config c;
    elector_config_defaults(&c);
    c.identity = "me";
    c.namespace = "ns";
    return c;
}

static inline void init(struct world *w)
{
    struct elector_config c = config();
    elector_free(w->elector);
    memset(w, 0, sizeof(*w));
    w->elector = elector_new(&c);
    w->now_ns = 1000 * S;
}

static inline void step(struct world *w, struct elector_input in)
{
    in.now_ns = w->now_ns;
    in.wall_us = w->now_ns / 1000;
    elector_step(w->elector, &in, &w->out);
}

static inline void answer(struct world *w, enum elector_status status, const struct elector_record *record)
{
    step(w, (struct elector_input){
                .kind = ELECTOR_ANSWER, .request = w->out.request.id, .status = status, .record = record});
}

static inline void wake(struct world *w)
{
    w->now_ns = w->out.wake_ns;
    step(w, (struct elector_input){.kind = ELECTOR_WAKE});
}

static inline void start(struct world *w)
{
    step(w, (struct elector_input){.kind = ELECTOR_START});
}

/* record: NULL when the Lease was deleted. */
static inline void watched(struct world *w, const struct elector_record *record)
{
    step(w, (struct elector_input){.kind = ELECTOR_WATCHED, .record = record});
}

/* A receiver of writes has seen transitions. */
static inline void refused(struct world *w, int64_t transitions)
{
    step(w, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = transitions});
}

static inline void stop(struct world *w)
{
    step(w, (struct elector_input){.kind = ELECTOR_STOP, .release = true});
}

/* Store what the elector asks for and give the answer a good server gives. */
static inline void succeed(struct world *w)
{
    assert_true(w->out.send);
    if (w->out.request.verb != ELECTOR_GET) {
        if (w->out.request.verb == ELECTOR_UPDATE)
            assert_string_equal(w->out.request.record.version, w->lease.version);
        w->lease = w->out.request.record;
        snprintf(w->lease.version, sizeof(w->lease.version), "%u", ++w->versions);
    }
    answer(w, ELECTOR_OK, &w->lease);
}

static inline void set_lease(struct world *w, const char *holder, int64_t duration_s, int64_t transitions)
{
    memset(&w->lease, 0, sizeof(w->lease));
    snprintf(w->lease.holder, sizeof(w->lease.holder), "%s", holder);
    snprintf(w->lease.version, sizeof(w->lease.version), "%u", ++w->versions);
    w->lease.duration_s = duration_s;
    w->lease.transitions = transitions;
    w->lease.acquire_us = w->lease.renew_us = 77;
}

static inline const struct elector_news *news(const struct world *w, enum elector_news_kind kind)
{
    for (size_t i = 0; i < w->out.news_count; i++)
        if (w->out.news[i].kind == kind)
            return &w->out.news[i];
    return NULL;
}

static inline struct elector_state state_of(const struct world *w)
{
    struct elector_state s;
    elector_get_state(w->elector, &s);
    return s;
}

/* A leader with transitions 1 of a Lease it created; its last request was sent at now_ns. */
static inline void lead(struct world *w)
{
    init(w);
    start(w);
    answer(w, ELECTOR_NOTFOUND, NULL);
    succeed(w);
    assert_non_null(news(w, ELECTOR_BECAME));
}

/* A follower that has just seen the Lease held by another. */
static inline void follow(struct world *w, int64_t duration_s, int64_t transitions)
{
    init(w);
    set_lease(w, "other", duration_s, transitions);
    start(w);
    succeed(w);
    assert_string_equal(news(w, ELECTOR_NEW_LEADER)->holder, "other");
}

static inline int world_set_up(void **state)
{
    *state = xcalloc(1, sizeof(struct world));
    return 0;
}

static inline int world_tear_down(void **state)
{
    struct world *w = *state;
    elector_free(w->elector);
    free(w);
    return 0;
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, world_set_up, world_tear_down)

#endif
