/* validate_world.h — a validator with a model and the real `haproxy -c`, and what came of its last run. */
#ifndef HAPTIC_SPEC_VALIDATE_WORLD_H
#define HAPTIC_SPEC_VALIDATE_WORLD_H

#include "controller_support.h"

#include "controller/validate.h"

struct world {
    uv_loop_t loop;
    char *binary;
    struct metrics *metrics;
    struct model *model;
    struct validator *validator;
    bool done, waits;
    enum validation_outcome outcome;
    char problem[1100];
    unsigned checks;
    char convicted[4096]; /* "name(key:line) name!…": ! left out */
    char message[1100];
    void (*meanwhile)(struct world *w); /* called in the turn after a check has begun */
    uv_timer_t turn;
};

static UNUSED void on_quarantined(void *ctx, const struct conviction *c)
{
    struct world *w = ctx;
    size_t n = strlen(w->convicted);

    snprintf(w->convicted + n, sizeof(w->convicted) - n, "%s%s%s", n ? " " : "", c->fragment->id,
             c->left_out ? "!" : "");
    snprintf(w->message, sizeof(w->message), "%s:%s:%u: %s", c->scope, c->key, c->line, c->message);
}

static UNUSED void on_done(void *ctx, const struct validation *v)
{
    struct world *w = ctx;

    w->done = true;
    w->outcome = v->outcome;
    w->checks = v->checks;
    snprintf(w->problem, sizeof(w->problem), "%s", v->problem);
}

static UNUSED bool must_wait(void *ctx)
{
    return ((struct world *)ctx)->waits;
}

/* How the next begin_with() makes HAProxy refuse: refusal/refusal.c. Its library and its file are in a directory that
 * the check's user can reach. */
static struct {
    char *preload, *way, *directory;
} refusal;

static UNUSED void refuse_as(const char *directory, const char *way)
{
    file_write(directory, "way", way);
}

/* The HAProxy to begin with, which refuses that way. */
static UNUSED char *refusing(const char *directory, const char *way)
{
    const char *library = getenv("HAPTIC_REFUSAL");
    char *binary = haproxy_any_binary();

    if (binary == NULL)
        skip();
    assert_non_null(library); /* ctest sets it */
    CLEANUP(free_ptr) char *copy = xasprintf("cp '%s' '%s/refusal.so'", library, directory);
    assert_int_equal(pclose(popen(copy, "r")), 0);
    chmod(directory, 0755);
    refuse_as(directory, way);
    free(refusal.preload);
    free(refusal.way);
    free(refusal.directory);
    refusal.preload = xasprintf("LD_PRELOAD=%s/refusal.so", directory);
    refusal.way = xasprintf("HAPTIC_SPEC_REFUSAL=%s/way", directory);
    refusal.directory = xstrdup(directory);
    return binary;
}

static UNUSED void begin_with(struct world *w, const char *series, const char *binary)
{
    static const struct validator_events events = {
        .quarantined = on_quarantined, .done = on_done, .must_wait = must_wait};

    memset(w, 0, sizeof(*w));
    w->binary = binary ? xstrdup(binary) : haproxy_binary(series);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->metrics = metrics_new();
    w->model = model_new();
    static const char *environment[3];

    environment[0] = refusal.preload;
    environment[1] = refusal.way;
    const struct check_config config = {.binary = w->binary ? w->binary : "",
                                        .deadline_ns = 20 * NS_PER_S,
                                        .readable = refusal.directory,
                                        .environment = refusal.preload ? environment : NULL};
    w->validator = validator_new(&w->loop, &config, w->model, w->metrics, &events, w);
    uv_timer_init(&w->loop, &w->turn);
    w->turn.data = w;
}

/* The newest HAProxy there is. */
static UNUSED void begin(struct world *w)
{
    const char *found = NULL;

    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        CLEANUP(free_ptr) char *binary = haproxy_binary(haproxy_series[i]);
        found = binary ? haproxy_series[i] : found;
    }
    if (found == NULL)
        skip();
    begin_with(w, found, NULL);
}

static UNUSED void end(struct world *w)
{
    validator_free(w->validator);
    uv_close((uv_handle_t *)&w->turn, NULL);
    loop_end(&w->loop);
    model_free(w->model);
    metrics_free(w->metrics);
    free(w->binary);
}

static UNUSED void on_turn(uv_timer_t *timer)
{
    struct world *w = timer->data;

    if (w->meanwhile != NULL)
        w->meanwhile(w);
}

static UNUSED void run(struct world *w)
{
    w->done = false;
    w->convicted[0] = '\0';
    if (w->meanwhile != NULL)
        uv_timer_start(&w->turn, on_turn, 0, 1);
    validator_run(w->validator);
    assert_true(loop_until(&w->loop, &w->done, 60));
    uv_timer_stop(&w->turn);
    w->meanwhile = NULL;
}

static UNUSED void run_expecting(struct world *w, enum validation_outcome outcome)
{
    run(w);
    if (w->outcome != outcome)
        fail_msg("outcome %d instead of %d after %u checks: %s", (int)w->outcome, (int)outcome, w->checks, w->problem);
}

#define GOOD "server s1 127.0.0.1:9001\n"
#define BAD "no-such-directive at all\nserver s1 127.0.0.1:9001\n"

#endif
