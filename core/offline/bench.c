/* Two workbenches: one is timed as it runs in production, the other one notes what each fragment costs, which itself
 * takes time. */
#include "offline/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "data/json.h"
#include "offline/scaled.h"

#define CHANGES 15

static int compare_numbers(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;

    return *a < *b ? -1 : *a > *b;
}

static void take_first(void *ctx, struct object *o)
{
    struct object **first = ctx;

    if (*first == NULL && *o->namespace != '\0' && o->hold == NULL)
        *first = o;
}

/* An object that templates read: of the kind with the most objects in namespaces, the first one. */
static struct object *object_to_change(struct workbench *w)
{
    const struct store *s = workbench_store(w);
    struct object *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < store_kind_count(s); i++) {
        struct object *first = NULL;
        store_each(store_kind_at(s, i), take_first, &first);
        if (first != NULL && store_kind_objects(first->kind) > most) {
            most = store_kind_objects(first->kind);
            best = first;
        }
    }
    return best;
}

static int change_once(struct object *o, int number, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    CLEANUP(free_ptr) char *value = xasprintf("%d", number);
    CLEANUP(free_ptr) char *json = NULL;

    if (object_parse(o, SIZE_MAX, &doc, err) < 0)
        return -1;
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
    yyjson_mut_val *metadata = yyjson_mut_obj_get(yyjson_mut_doc_get_root(copy), "metadata");
    yyjson_mut_val *labels = yyjson_mut_obj_get(metadata, "labels");
    if (labels == NULL)
        labels = yyjson_mut_obj_add_obj(copy, metadata, "labels");
    yyjson_mut_obj_put(labels, yyjson_mut_str(copy, "bench"), yyjson_mut_str(copy, value));
    json = yyjson_mut_write(copy, 0, NULL);
    yyjson_mut_doc_free(copy);
    return json ? store_put_json(o->kind, json, strlen(json), NULL, err) : err_set(err, ERR_INVALID, "no JSON");
}

static int time_changes(struct workbench *w, struct bench_run *r, struct err *err)
{
    struct object *o = object_ref(object_to_change(w));
    int64_t times[CHANGES];
    int result = 0;

    if (o == NULL)
        return 0;
    for (int i = 0; i < CHANGES && result == 0; i++) {
        int64_t begun = clock_now_ns();
        result = change_once(o, i, err);
        (void)workbench_render_only(w);
        times[i] = clock_now_ns() - begun;
    }
    object_unref(o);
    qsort(times, CHANGES, sizeof(times[0]), compare_numbers);
    r->incremental_ns = times[CHANGES / 2];
    return result;
}

/* A workbench with the objects; NULL: findings say why. */
static int make(uv_loop_t *loop, struct workbench *from, const struct workbench_options *options, size_t objects,
                struct findings *findings, struct workbench **ret_w, size_t *ret_count, struct err *err)
{
    static const char *const none[] = {NULL};
    struct workbench_options own = *options;

    own.sources = none;
    if (workbench_new(loop, &own, findings, ret_w, err) < 0)
        return -1;
    return *ret_w == NULL ? 0 : scaled_put(from, *ret_w, objects, ret_count, err);
}

static int measure(struct workbench *w, const char *binary, struct bench_run *r, bool *ret_usable, struct err *err)
{
    int64_t begun = clock_now_ns();

    *ret_usable = workbench_render(w);
    r->render_ns = clock_now_ns() - begun;
    r->fragments = workbench_fragments(w);
    if (!*ret_usable)
        return 0;
    begun = clock_now_ns();
    if (workbench_validate(w, binary, err) < 0)
        return -1;
    r->validate_ns = clock_now_ns() - begun;
    return time_changes(w, r, err);
}

static int measure_fragments(struct workbench *w, struct bench_run *r)
{
    if (!workbench_render(w))
        return 0;
    timings_take(&r->timings, w);
    for (size_t i = 0; i < r->timings.items.length; i++)
        r->allocated_bytes += r->timings.items.items[i].bytes;
    return 0;
}

int bench_run(uv_loop_t *loop, struct workbench *from, const struct workbench_options *options, size_t objects,
              struct findings *findings, struct bench_run *ret_run, bool *ret_usable, struct err *err)
{
    struct workbench_options timed = *options;
    struct workbench *w = NULL;

    *ret_run = (struct bench_run){0};
    *ret_usable = false;
    int result = make(loop, from, options, objects, findings, &w, &ret_run->objects, err);
    if (result == 0 && w != NULL)
        result = measure(w, options->haproxy_binary, ret_run, ret_usable, err);
    w = workbench_free(w);
    if (result < 0 || !*ret_usable)
        return result;
    timed.timings = true;
    result = make(loop, from, &timed, objects, findings, &w, &ret_run->objects, err);
    if (result == 0 && w != NULL)
        result = measure_fragments(w, ret_run);
    workbench_free(w);
    return result;
}

void bench_run_done(struct bench_run *r)
{
    timings_done(&r->timings);
}

double bench_exponent(double small_cost, double large_cost, size_t small, size_t large)
{
    if (!(small_cost > 0 && large_cost > 0) || small == 0 || large <= small)
        return 0;
    return log(large_cost / small_cost) / log((double)large / (double)small);
}
