/* An admission beside a renderer that is watched: what denies a candidate, what only warns, what is not judged, and
 * that nothing of it reaches the store or the other renderer. Each request is answered exactly once. */
#include "renderer_world.h"

#include "controller/admission.h"
#include "data/json.h"

#define ANSWERS_MAX 400

struct answer {
    unsigned count, status;
    char text[3000];
};

struct world {
    struct watched *w;
    struct admission *a;
    struct config *config;
    struct answer answers[ANSWERS_MAX];
    size_t asked;
};

static const struct config *config_of(void *ctx)
{
    return ((struct world *)ctx)->config;
}

static void set_templates(struct world *world, int64_t deadline_ns)
{
    CLEANUP(free_ptr) char *quoted = json_quoted("prefix = 'the '\n" EACH_OBJECT);
    CLEANUP(free_ptr)
    char *program = xasprintf(
        "{\"kinds\":[{\"name\":\"other\",\"parts\":2},{\"name\":\"things\",\"parts\":2}],\"source\":%s}", quoted);
    const struct renderer_limits limits = {.deadline_ns = deadline_ns};

    admission_set_program(world->a, program, strlen(program), &limits);
}

static struct world *world_new(int64_t timeout_ns, bool fails_closed)
{
    struct world *world = xcalloc(1, sizeof(*world));
    struct config_kind things = {.name = xstrdup("things"),
                                 .api_version = xstrdup("example.org/v1"),
                                 .resource = xstrdup("things"),
                                 .label_selector = xstrdup("!ignored"),
                                 .is_reviewed = true};

    world->w = start_each(NULL);
    world->config = config_new_default();
    vec_push(&world->config->kinds, things);
    const struct admission_spec spec = {.loop = &world->w->loop,
                                        .store = world->w->store,
                                        .executable = "/proc/self/exe",
                                        .metrics = world->w->metrics,
                                        .timeout_ns = timeout_ns,
                                        .fails_closed = fails_closed,
                                        .config = config_of,
                                        .ctx = world};
    world->a = admission_new(&spec);
    watched_put(world->w, "things", "good", "one");
    watched_put(world->w, "things", "bad", "fail");
    watched_render(world->w);
    return world;
}

static void world_free(struct world *world)
{
    world->a = admission_free(world->a);
    for (size_t i = 0; i < world->asked; i++)
        assert_int_equal(world->answers[i].count, 1);
    watched_free(world->w);
    config_free(world->config);
    free(world);
}

static void on_answer(void *ctx, unsigned status, struct buf *body)
{
    struct answer *answer = ctx;

    answer->count++;
    answer->status = status;
    snprintf(answer->text, sizeof(answer->text), "%s", buf_str(body));
}

static struct answer *send_body(struct world *world, const char *body)
{
    struct answer *answer = &world->answers[world->asked++];

    assert_true(world->asked <= ANSWERS_MAX);
    admission_review(world->a, body, strlen(body), on_answer, answer);
    return answer;
}

/* metadata: more of it, with a comma before it; request: more of the request. */
static struct answer *send_review(struct world *world, const char *operation, const char *name, const char *text,
                                  const char *metadata, const char *request)
{
    CLEANUP(free_ptr)
    char *body = xasprintf(
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u-1\","
        "\"resource\":{\"group\":\"example.org\",\"version\":\"v1\",\"resource\":\"things\"},"
        "\"operation\":\"%s\",\"namespace\":\"default\",\"name\":\"%s\"%s,\"object\":{\"apiVersion\":\"v1\","
        "\"kind\":\"Thing\",\"metadata\":{\"namespace\":\"default\",\"name\":\"%s\","
        "\"creationTimestamp\":\"2024-01-02T03:04:05Z\"%s},\"spec\":{\"text\":\"%s\"}}}}",
        operation, name, request, name, metadata, text);

    return send_body(world, body);
}

static const char *review(struct world *world, const char *operation, const char *name, const char *text)
{
    struct answer *answer = send_review(world, operation, name, text, "", "");

    WAIT_UNTIL(world->w, answer->count > 0);
    assert_int_equal(answer->status, 200);
    assert_non_null(strstr(answer->text, "\"uid\":\"u-1\""));
    return answer->text;
}

#define assert_allowed(text) \
    assert_string_equal( \
        text, \
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":\"u-1\",\"allowed\":true}}\n")
#define assert_says(text, part) \
    do { \
        const char *said_ = (text); \
        if (strstr(said_, (part)) == NULL) \
            fail_msg("%s is not in %s", (part), said_); \
    } while (0)

static void wait_judges(struct world *world)
{
    bool judges = false;

    for (int i = 0; i < 1000 && !judges; i++)
        judges = strstr(review(world, "CREATE", "probe", "fail"), "HT0202") != NULL;
    assert_true(judges);
}

static void test_only_what_is_wrong_with_the_candidate_denies_it(void **state)
{
    struct world *world = world_new(20 * NS_PER_S, false);
    (void)state;

    set_templates(world, 0);
    wait_judges(world);
    assert_allowed(review(world, "CREATE", "new", "two"));
    assert_says(review(world, "CREATE", "new", "fail"),
                "\"allowed\":false,\"status\":{\"code\":422,\"message\":\"HT0202: it failed. ");
    assert_says(review(world, "UPDATE", "good", "fail"), "\"allowed\":false");
    assert_allowed(review(world, "UPDATE", "good", "two"));
    assert_allowed(review(world, "UPDATE", "good", "one"));
    /* What fails already may be changed, and put right. */
    struct answer *labelled = send_review(world, "UPDATE", "bad", "fail", ",\"labels\":{\"a\":\"b\"}", "");
    WAIT_UNTIL(world->w, labelled->count > 0);
    assert_says(labelled->text, "\"allowed\":true,\"warnings\":[\"HT0202: this object fails as before: it failed\"]");
    assert_allowed(review(world, "UPDATE", "bad", "two"));
    /* A candidate is forgotten: the next one is not judged with it. */
    assert_says(review(world, "UPDATE", "bad", "fail"), "\"allowed\":true");
    world_free(world);
}

static void test_nothing_of_a_candidate_is_seen_elsewhere(void **state)
{
    struct world *world = world_new(20 * NS_PER_S, false);
    struct watched *w = world->w;
    (void)state;

    set_templates(world, 0);
    wait_judges(world);
    unsigned told = w->fragments_told, renders = w->renders;
    size_t bytes = store_kind_bytes(watched_kind(w, "things"));
    (void)review(world, "CREATE", "new", "two");
    (void)review(world, "UPDATE", "good", "two");
    assert_int_equal(store_kind_objects(watched_kind(w, "things")), 2);
    assert_int_equal(store_kind_bytes(watched_kind(w, "things")), bytes);
    assert_int_equal(w->renders, renders);
    watched_render(w);
    assert_int_equal(w->fragments_told, told);
    assert_string_equal(text_of(w, "things/default/good"), "the one");
    /* What the store gets afterwards is what counts, also where a candidate had the name. */
    watched_put(w, "things", "new", "fail");
    watched_render(w);
    assert_says(review(world, "UPDATE", "new", "fail"), "\"allowed\":true");
    struct answer *labelled = send_review(world, "UPDATE", "new", "fail", ",\"labels\":{\"a\":\"b\"}", "");
    WAIT_UNTIL(w, labelled->count > 0);
    assert_says(labelled->text, "fails as before");
    world_free(world);
}

static void test_others_are_let_in_unseen(void **state)
{
    struct world *world = world_new(20 * NS_PER_S, false);
    (void)state;

    set_templates(world, 0);
    wait_judges(world);
    assert_allowed(review(world, "DELETE", "good", "fail"));
    static const char *const more[][2] = {
        {",\"deletionTimestamp\":\"2024-01-02T03:04:05Z\"", ""},
        {",\"labels\":{\"ignored\":\"yes\"}", ""},
        {"", ",\"subResource\":\"status\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct answer *answer = send_review(world, "UPDATE", "good", "fail", more[i][0], more[i][1]);
        assert_int_equal(answer->count, 1);
        assert_allowed(answer->text);
    }
    world->config->kinds.items[world->config->kinds.length - 1].is_reviewed = false;
    assert_allowed(review(world, "CREATE", "new", "fail"));
    world_free(world);
}

static void test_what_is_no_review_is_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        "[",
        "{}",
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}",
        "{\"apiVersion\":\"admission.k8s.io/v1beta1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\"}}",
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":7,\"operation\":[]}}",
    };
    struct world *world = world_new(20 * NS_PER_S, false);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        assert_int_equal(send_body(world, bodies[i])->status, 400);
    world_free(world);
}

static void test_a_template_that_hangs_is_not_judged(void **state)
{
    struct world *world = world_new(2 * NS_PER_S, false);
    (void)state;

    set_templates(world, 0);
    wait_judges(world);
    assert_says(review(world, "CREATE", "new", "hang"), "\"allowed\":true,\"warnings\":[\"not checked (");
    wait_judges(world);
    assert_int_equal(world->w->deaths, 0);
    world_free(world);
}

static void test_a_template_that_hangs_is_denied_when_it_would_hang_there_too(void **state)
{
    struct world *world = world_new(4 * NS_PER_S, false);
    (void)state;

    set_templates(world, NS_PER_S / 2);
    wait_judges(world);
    assert_says(review(world, "CREATE", "new", "hang"),
                "\"allowed\":false,\"status\":{\"code\":422,\"message\":\"HT0203: ");
    world_free(world);
}

static void test_what_cannot_be_judged_is_denied_where_it_is_told_so(void **state)
{
    struct world *world = world_new(2 * NS_PER_S, true);
    (void)state;

    assert_says(review(world, "CREATE", "new", "two"), "\"allowed\":false,\"status\":{\"code\":503");
    set_templates(world, 0);
    wait_judges(world);
    assert_says(review(world, "CREATE", "new", "hang"), "\"allowed\":false,\"status\":{\"code\":503");
    world_free(world);
}

static void test_what_waits_is_bounded(void **state)
{
    struct world *world = world_new(3 * NS_PER_S, false);
    unsigned queue = 0, rate = 0;
    (void)state;

    set_templates(world, 0);
    wait_judges(world);
    size_t first = world->asked;
    (void)send_review(world, "CREATE", "new", "hang", "", "");
    for (int i = 0; i < 220; i++)
        (void)send_review(world, "CREATE", "other", "two", "", "");
    for (size_t i = first; i < world->asked; i++) {
        queue += strstr(world->answers[i].text, "too many objects wait") != NULL;
        rate += strstr(world->answers[i].text, "too many requests") != NULL;
    }
    /* Which of the two limits is passed first depends on how fast this machine asks. */
    assert_int_equal(queue + rate, 221 - 64);
    for (size_t i = first; i < world->asked; i++)
        WAIT_UNTIL(world->w, world->answers[i].count > 0);
    wait_judges(world);
    /* The end answers who waits. */
    (void)send_review(world, "CREATE", "new", "hang", "", "");
    world_free(world);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_wrong_with_the_candidate_denies_it),
        cmocka_unit_test(test_nothing_of_a_candidate_is_seen_elsewhere),
        cmocka_unit_test(test_others_are_let_in_unseen),
        cmocka_unit_test(test_what_is_no_review_is_refused),
        cmocka_unit_test(test_a_template_that_hangs_is_not_judged),
        cmocka_unit_test(test_a_template_that_hangs_is_denied_when_it_would_hang_there_too),
        cmocka_unit_test(test_what_cannot_be_judged_is_denied_where_it_is_told_so),
        cmocka_unit_test(test_what_waits_is_bounded),
    };

    RENDERER_MAIN(argc, argv, tests);
}
