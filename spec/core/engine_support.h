/* engine_support.h — what the tests of core/engine share: a loop with a time limit, a store to fill, a renderer that
 * is watched.
 *
 * The test program is its own renderer: the core starts /proc/self/exe as "haptic renderer", and main() hands that to
 * worker_run(). Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_ENGINE_SUPPORT_H
#define SPEC_CORE_ENGINE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "engine/jail.h"
#include "engine/renderer.h"
#include "engine/worker.h"

#define PATIENCE_MS 60000

/* An engine that is a program's "source", run with no sandbox around it: (host, objects, skipped, on) → render
 * function. on.put and on.delete may be replaced. */
static UNUSED const char open_engine[] =
    "return function(host)\n"
    "  local cjson = require('cjson')\n"
    "  local E, on, objects, skipped, render = {}, {}, {}, {}, nil\n"
    "  function E.configure(json)\n"
    "    local program = cjson.decode(json)\n"
    "    local chunk, message = loadstring(program.source, '=program')\n"
    "    if not chunk then return message end\n"
    "    render = chunk(host, objects, skipped, on)\n"
    "    return ''\n"
    "  end\n"
    "  function on.put(kind, id, namespace, name, created, json, ...)\n"
    "    objects[kind .. '/' .. id] = {kind = kind, id = id, namespace = namespace, name = name,\n"
    "      created = created, json = json, parts = {...}}\n"
    "  end\n"
    "  function on.delete(kind, id) objects[kind .. '/' .. id] = nil end\n"
    "  function E.put(...) on.put(...) end\n"
    "  function E.delete(...) on.delete(...) end\n"
    "  function E.skip(id) skipped[id] = true end\n"
    "  function E.render() return render() end\n"
    "  function E.explain(...) return table.concat({...}, '|') end\n"
    "  return E\n"
    "end\n";

/* Everything a renderer said. */
struct watched {
    uv_loop_t loop;
    uv_timer_t patience;
    struct store *store;
    struct metrics *metrics;
    struct renderer *renderer;
    bool out_of_patience;

    struct map fragments; /* id → struct fragment *, referenced; what there is after all that was said */
    struct map failures;  /* id → message */
    struct map seen;      /* ids since the last `rendered` */
    unsigned fragments_told, renders, deaths, refusals;
    const char *waited_for; /* a fragment's id; then, whether it came, and whether that rendering lasts */
    bool seen_after, in_rendering;
    uint64_t held_by_size, held_by_time;
    struct render_stats stats;
    unsigned asked; /* whether new templates may take over */
    size_t asked_failures;
    char reason[300], at_hand[2049], owner[1025], place[100], refusal[17000], where[1000];
    bool explained;
};

static inline void watched_drop(struct watched *w, const char *id)
{
    fragment_unref(map_del(&w->fragments, id));
    free(map_del(&w->failures, id));
}

static inline void watch_fragment(void *ctx, struct fragment *f)
{
    struct watched *w = ctx;

    watched_drop(w, f->id);
    map_put(&w->fragments, f->id, fragment_ref(f));
    map_put(&w->seen, f->id, w);
    w->fragments_told++;
    w->in_rendering = true;
    w->seen_after = w->seen_after || (w->waited_for && strcmp(w->waited_for, f->id) == 0);
}

static inline void watch_gone(void *ctx, const char *id)
{
    watched_drop(ctx, id);
}

static inline void watch_waits(void *ctx, const char *id)
{
    struct watched *w = ctx;

    map_put(&w->seen, id, w);
}

static inline void watch_failed(void *ctx, const struct fragment_failure *failure)
{
    struct watched *w = ctx;

    watched_drop(w, failure->id);
    map_put(&w->failures, failure->id, xstrdup(failure->message));
    map_put(&w->seen, failure->id, w);
}

static inline void watch_rendered(void *ctx, const struct render_stats *stats)
{
    struct watched *w = ctx;
    struct map_slot *slot;

    if (stats->complete) {
        VEC(char *) unseen = {0};
        for (size_t it = 0; (slot = map_next(&w->fragments, &it));)
            if (!map_get(&w->seen, slot->key))
                vec_push(&unseen, xstrdup(slot->key));
        for (size_t i = 0; i < unseen.length; i++) {
            watched_drop(w, unseen.items[i]);
            free(unseen.items[i]);
        }
        vec_done(&unseen);
    }
    map_clear(&w->seen);
    w->stats = *stats;
    w->renders++;
    w->in_rendering = false;
    w->held_by_size = w->held_by_time = 0;
    for (size_t i = 0; i < stats->held_count; i++) {
        w->held_by_size += stats->held[i].by_size;
        w->held_by_time += stats->held[i].by_time;
    }
}

static inline void watch_died(void *ctx, const struct renderer_death *death)
{
    struct watched *w = ctx;

    w->deaths++;
    snprintf(w->reason, sizeof(w->reason), "%s", death->reason);
    snprintf(w->at_hand, sizeof(w->at_hand), "%s", death->fragment_id);
    snprintf(w->owner, sizeof(w->owner), "%s", death->owner_id);
    snprintf(w->place, sizeof(w->place), "%s", death->place);
}

/* What is told of new templates before they take over. */
static inline char *watch_objection(void *ctx, const struct fragment_failure *failures, size_t count)
{
    struct watched *w = ctx;

    for (size_t i = 0; i < count; i++)
        if (!failures[i].id || !failures[i].message || !failures[i].owner_kind || !failures[i].owner_id)
            fail_msg("a failure without a name, the %zuth of %zu", i + 1, count);
    w->asked += 1;
    w->asked_failures = count;
    return NULL;
}

static inline void watch_refused(void *ctx, const char *message)
{
    struct watched *w = ctx;

    w->refusals++;
    snprintf(w->refusal, sizeof(w->refusal), "%s", message);
}

static inline void watch_explained(void *ctx, const char *where)
{
    struct watched *w = ctx;

    w->explained = true;
    snprintf(w->where, sizeof(w->where), "%s", where);
}

static inline void on_patience(uv_timer_t *timer)
{
    struct watched *w = timer->data;

    w->out_of_patience = true;
}

/* limits may be NULL. */
static inline struct watched *watched_new(const struct renderer_limits *limits)
{
    static const struct renderer_events events = {
        .fragment = watch_fragment,
        .gone = watch_gone,
        .waits = watch_waits,
        .failed = watch_failed,
        .rendered = watch_rendered,
        .died = watch_died,
        .program_failed = watch_refused,
        .objection = watch_objection,
    };
    struct watched *w = xcalloc(1, sizeof(*w));

    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;
    w->store = store_new((size_t)16 << 20, (size_t)1 << 30);
    w->metrics = metrics_new();
    w->renderer = renderer_new(&w->loop, w->store, "/proc/self/exe", limits ? limits : &(struct renderer_limits){0},
                               &events, w, w->metrics);
    return w;
}

static inline void watched_free(struct watched *w)
{
    struct map_slot *slot;

    renderer_free(w->renderer);
    uv_close((uv_handle_t *)&w->patience, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    store_free(w->store);
    metrics_free(w->metrics);
    for (size_t it = 0; (slot = map_next(&w->fragments, &it));)
        fragment_unref(slot->value);
    for (size_t it = 0; (slot = map_next(&w->failures, &it));)
        free(slot->value);
    map_done(&w->fragments);
    map_done(&w->failures);
    map_done(&w->seen);
    free(w);
}

/* Run the loop until the condition holds; the test fails when that takes too long. */
#define WAIT_UNTIL(w, condition) \
    do { \
        (w)->out_of_patience = false; \
        uv_update_time(&(w)->loop); \
        uv_timer_start(&(w)->patience, on_patience, PATIENCE_MS, 0); \
        while (!(condition) && !(w)->out_of_patience) \
            uv_run(&(w)->loop, UV_RUN_ONCE); \
        uv_timer_stop(&(w)->patience); \
        if ((w)->out_of_patience) \
            fail_msg("%s did not come true; died %u times (%s), refused: %s", #condition, (w)->deaths, (w)->reason, \
                     (w)->refusal); \
    } while (0)

static inline struct store_kind *watched_kind(struct watched *w, const char *name)
{
    struct store_kind *kind = store_kind_by_name(w->store, name);
    struct store_kind_spec spec = {.name = name, .api_version = "v1", .resource = name};
    struct err err;

    if (!kind && store_add_kind(w->store, &spec, &kind, &err) < 0)
        fail_msg("%s", err.text);
    return kind;
}

/* Put an object "default/name" whose spec.text is text. */
static inline void watched_put(struct watched *w, const char *kind, const char *name, const char *text)
{
    CLEANUP(free_ptr)
    char *json = xasprintf(
        "{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"metadata\":{\"namespace\":\"default\",\"name\":\"%s\","
        "\"creationTimestamp\":\"2024-01-02T03:04:05Z\"},\"spec\":{\"text\":\"%s\"}}",
        name, text);
    struct err err;
    bool changed;

    if (store_put_json(watched_kind(w, kind), json, strlen(json), &changed, &err) < 0)
        fail_msg("%s", err.text);
}

/* Make a JSON string of Lua source. */
static inline char *json_quoted(const char *source)
{
    struct buf b = {0};

    buf_putc(&b, '"');
    for (; *source; source++) {
        if (*source == '"' || *source == '\\')
            buf_putc(&b, '\\');
        if (*source == '\n')
            buf_puts(&b, "\\n");
        else
            buf_putc(&b, *source);
    }
    buf_putc(&b, '"');
    return buf_steal(&b);
}

static inline void watched_render(struct watched *w)
{
    uint64_t request = renderer_render(w->renderer);

    WAIT_UNTIL(w, w->stats.request >= request);
}

/* The text of a fragment's first contribution, or "" when there is none. */
static inline const char *text_of(const struct watched *w, const char *id)
{
    const struct fragment *f = map_get(&w->fragments, id);

    return f && f->count ? f->items[0].text->bytes : "";
}

static inline size_t resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");

    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%lu %lu", &pages, &resident), 2);
    fclose(statm);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Resident memory is less than more_mib above what it was. Sanitizers keep what is freed. */
static inline void assert_grew_less(size_t before_bytes, size_t more_mib)
{
    if (!JAIL_SANITIZED)
        assert_true(resident_bytes() < before_bytes + (more_mib << 20));
}

#endif
