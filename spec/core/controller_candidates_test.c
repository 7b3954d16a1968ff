/* Configurations that wait for a verdict: which reviews concern the source, that each is answered exactly once,
 * whatever the API server does about the libraries, and in which order. Nothing is in force here, so a candidate is
 * read only; rendering and tests are in spec/e2e/candidate_spec.lua. */
#include "kube_script.h"

#include "controller/candidates.h"
#include "data/json.h"

#define ANSWERS_MAX 8
#define PATIENT_NS (60 * NS_PER_S)

struct answer {
    unsigned count, status;
    char text[2000];
};

struct world {
    struct script script;
    struct kube_client *client;
    struct config_source *source;
    struct metrics *metrics;
    struct candidates *c;
    struct answer answers[ANSWERS_MAX];
    size_t asked;
    unsigned answered;
};

/* The status of the server's answer for a library, and its body if the status is 200. 0: it never answers. */
static int library_status;
static const char *library_text;
static unsigned libraries_asked;

static void handle(struct script_conn *c)
{
    if (script_has(c, "haproxytemplatelibraries/")) {
        libraries_asked++;
        if (library_status != 0)
            script_reply(c, library_status, NULL,
                         library_status == 200 ? library_text
                                               : "{\"kind\":\"Status\",\"message\":\"the server is ill\"}");
    } else if (script_has(c, "watch=")) {
        script_open(c);
    } else {
        script_reply(c, 200, NULL,
                     "{\"apiVersion\":\"" CONFIG_API_VERSION "\",\"kind\":\"HAProxyTemplateConfigList\","
                     "\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}");
    }
}

static void ignore(void *ctx)
{
    (void)ctx;
}

static void ignore_missing(void *ctx, const char *why)
{
    (void)ctx, (void)why;
}

static bool nothing_in_force(void *ctx, struct candidate_render_spec *ret_spec)
{
    (void)ctx, (void)ret_spec;
    return false;
}

static int no_program(void *ctx, const struct config *config, struct buf *out, struct err *err)
{
    (void)ctx, (void)config, (void)out;
    return err_set(err, ERR_INVALID, "there is nothing to render on");
}

static struct world *world_new(int64_t timeout_ns, bool fails_closed)
{
    static const struct config_source_ops ops = {.changed = ignore, .missing = ignore_missing};
    struct world *w = xcalloc(1, sizeof(*w));

    library_status = 200;
    library_text = "";
    libraries_asked = 0;
    script_init(&w->script, handle);
    w->client = script_client(&w->script);
    w->source = config_source_resource(w->client, "haptic", "main", &ops, w);
    w->metrics = metrics_new();
    const struct candidates_spec spec = {.loop = &w->script.loop,
                                         .metrics = w->metrics,
                                         .client = w->client,
                                         .source = w->source,
                                         .executable = "/proc/self/exe",
                                         .haproxy_binary = "haproxy",
                                         .timeout_ns = timeout_ns,
                                         .fails_closed = fails_closed,
                                         .base = nothing_in_force,
                                         .program = no_program,
                                         .ctx = w};
    w->c = candidates_new(&spec);
    return w;
}

static void world_free(struct world *w)
{
    w->c = candidates_free(w->c);
    assert_int_equal(w->answered, w->asked);
    for (size_t i = 0; i < w->asked; i++)
        assert_int_equal(w->answers[i].count, 1);
    w->source = config_source_free(w->source);
    kube_client_free(w->client);
    script_done(&w->script);
    metrics_free(w->metrics);
    free(w);
}

struct asking {
    struct world *w;
    struct answer *answer;
};

static void on_answer(void *ctx, unsigned status, struct buf *body)
{
    struct asking *a = ctx;

    a->answer->count++;
    a->answer->status = status;
    snprintf(a->answer->text, sizeof(a->answer->text), "%s", buf_str(body));
    a->w->answered++;
    free(a);
}

static struct answer *ask_text(struct world *w, const char *review)
{
    struct asking *a = xmalloc(sizeof(*a));

    assert_true(w->asked < ANSWERS_MAX);
    *a = (struct asking){w, &w->answers[w->asked++]};
    struct answer *answer = a->answer;
    candidates_review(w->c, review, strlen(review), on_answer, a);
    return answer;
}

/* old: "null", or the spec of before. */
static struct answer *ask_about(struct world *w, const char *resource, const char *name, const char *spec,
                                const char *old)
{
    CLEANUP(free_ptr)
    char *before = strcmp(old, "null") == 0 ? xstrdup(old) : xasprintf("{\"spec\":%s}", old);
    CLEANUP(free_ptr)
    char *review = xasprintf(
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u%zu\","
        "\"resource\":{\"group\":\"haproxy-haptic.org\",\"version\":\"v1alpha1\",\"resource\":\"%s\"},"
        "\"operation\":\"UPDATE\",\"namespace\":\"haptic\",\"name\":\"%s\",\"object\":{\"apiVersion\":\"" CONFIG_API_VERSION
        "\",\"kind\":\"X\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"haptic\"}%s%s},\"oldObject\":%s}}",
        w->asked, resource, name, name, *spec != '\0' ? ",\"spec\":" : "", spec, before);

    return ask_text(w, review);
}

static struct answer *ask(struct world *w, const char *spec)
{
    return ask_about(w, CONFIG_RESOURCE, "main", spec, "null");
}

static void assert_says(const struct answer *answer, bool allowed, const char *text)
{
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->status, 200);
    if ((strstr(answer->text, "\"allowed\":true") != NULL) != allowed || strstr(answer->text, text) == NULL)
        fail_msg("not %s with \"%s\": %s", allowed ? "allowed" : "denied", text, answer->text);
}

static void assert_described(struct world *w, const char *text)
{
    CLEANUP(buf_done) struct buf out = {0};

    candidates_describe(w->c, &out);
    if (strstr(buf_str(&out), text) == NULL)
        fail_msg("\"%s\" is not in %s", text, buf_str(&out));
}

#define NAMES_A_LIBRARY "{\"libraryRefs\":[{\"name\":\"shared\"}]}"
#define LIBRARY(spec) \
    "{\"apiVersion\":\"" CONFIG_API_VERSION \
    "\",\"kind\":\"HAProxyTemplateLibrary\",\"metadata\":{\"name\":\"shared\"," \
    "\"namespace\":\"haptic\"},\"spec\":" spec "}"

static void only_what_concerns_the_source_is_judged(void **state)
{
    (void)state;
    struct world *w = world_new(PATIENT_NS, true);

    assert_says(ask_about(w, CONFIG_RESOURCE, "other", "{\"no\":1}", "null"), true, "\"uid\":\"u0\"");
    assert_says(ask_about(w, "configmaps", "main", "{\"no\":1}", "null"), true, "\"uid\":\"u1\"");
    assert_says(ask_about(w, CONFIG_LIBRARY_RESOURCE, "nobody", "{\"no\":1}", "null"), true, "\"uid\":\"u2\"");
    assert_says(ask_about(w, CONFIG_RESOURCE, "main", "{\"no\":1}", "{\"no\":1}"), true, "\"uid\":\"u3\"");
    assert_described(w, "\"allowed\":0,\"denied\":0,\"unjudged\":0,\"last\":null");
    assert_says(ask_about(w, CONFIG_RESOURCE, "main", "", "null"), false, "spec: is missing");
    struct answer *malformed = ask_text(w, "{\"kind\":\"AdmissionReview\"}");
    assert_int_equal(malformed->count, 1);
    assert_int_equal(malformed->status, 400);
    world_free(w);
}

static void what_is_wrong_is_named_and_what_is_right_is_taken(void **state)
{
    (void)state;
    struct world *w = world_new(PATIENT_NS, true);

    struct answer *bad = ask(w, "{\"templateSnippets\":{\"a\":{\"templat\":\"x\"}}}");
    assert_says(bad, false, "HT0103");
    assert_says(bad, false, "templateSnippets.a");
    assert_described(w, "\"denied\":1");
    assert_says(ask(w, "{\"logging\":{\"level\":\"INFO\"}}"), true, "read and tested only");
    assert_described(w, "{\"state\":\"resting\",\"waiting\":0,\"allowed\":1,\"denied\":1,\"unjudged\":0");
    assert_int_equal(libraries_asked, 0);
    world_free(w);
}

static void libraries_are_fetched_first(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
        bool allowed;
        const char *says;
    } cases[] = {
        {200, LIBRARY("{\"revision\":\"1\"}"), true, "read and tested only"},
        {200, LIBRARY("{\"revision\":\"1\",\"templateSnippets\":{\"a\":{\"templat\":\"x\"}}}"), false, "HT0103"},
        {404, "", false, "there is no HAProxyTemplateLibrary \\\"shared\\\""},
        {500, "", false, "the configuration could not be checked ("}, /* it fails closed */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = world_new(PATIENT_NS, true);
        library_status = cases[i].status;
        library_text = cases[i].text;
        struct answer *answer = ask(w, NAMES_A_LIBRARY);
        assert_int_equal(answer->count, 0);
        assert_described(w, "\"state\":\"fetching libraries\",\"waiting\":1");
        script_wait(&w->script, &w->answered, 1);
        assert_int_equal(libraries_asked, 1);
        assert_says(answer, cases[i].allowed, cases[i].says);
        assert_described(w, "\"state\":\"resting\",\"waiting\":0");
        world_free(w);
    }
}

/* A server that never answers: the queue has a maximum, and what waits is answered in its order, without a verdict. */
static void what_waits_too_long_is_answered_in_order(void **state)
{
    (void)state;
    struct world *w = world_new(NS_PER_S / 2, false);
    struct answer *answers[5];

    library_status = 0;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        answers[i] = ask(w, NAMES_A_LIBRARY);
    assert_says(answers[4], true, "not checked (too many configurations wait)");
    assert_int_equal(w->answered, 1);
    assert_described(w, "\"waiting\":4");
    script_wait(&w->script, &w->answered, 2);
    assert_says(answers[0], true, "not checked (its libraries were not read in time)");
    script_wait(&w->script, &w->answered, 5);
    for (size_t i = 1; i < 4; i++)
        assert_says(answers[i], true, "not checked (");
    assert_described(w, "\"waiting\":0,\"allowed\":0,\"denied\":0,\"unjudged\":5");
    /* The next one is judged as if nothing had been. */
    assert_says(ask(w, "{}"), true, "read and tested only");
    world_free(w);
}

/* The end of the controller is an answer as well (world_free() looks). */
static void open_requests_are_answered_at_the_end(void **state)
{
    (void)state;
    struct world *w = world_new(PATIENT_NS, true);

    library_status = 0;
    struct answer *first = ask(w, NAMES_A_LIBRARY), *second = ask(w, NAMES_A_LIBRARY);
    assert_int_equal(w->answered, 0);
    w->c = candidates_free(w->c);
    assert_says(first, false, "the configuration could not be checked (the controller stops)");
    assert_says(second, false, "the configuration could not be checked (the controller stops)");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_concerns_the_source_is_judged),
        cmocka_unit_test(what_is_wrong_is_named_and_what_is_right_is_taken),
        cmocka_unit_test(libraries_are_fetched_first),
        cmocka_unit_test(what_waits_too_long_is_answered_in_order),
        cmocka_unit_test(open_requests_are_answered_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
