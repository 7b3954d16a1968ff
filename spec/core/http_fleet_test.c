/* What a controller believes of its members: real requests, and a member that says what the test wants. */
#include "api_world.h"

#include <curl/curl.h>

#include "controller/fleet.h"
#include "haproxy/proof.h"
#include "model_support.h"

struct world {
    struct api_world api;
    struct model *model;
    struct vault *vault;
    struct metrics *metrics;
    struct fleet *fleet;
    const char *haproxy; /* of the state, as JSON */
    bool is_old;         /* it does not know questions for a proof */
    unsigned asked, verifications, offers, settled;
    struct fleet_deployment deployment; /* the last one that has settled */
    enum { PROVES_NOTHING, PROVES_WRONGLY, PROVES } manner;
};

static bool may_write(void *ctx)
{
    (void)ctx;
    return true;
}

static void refused_stale(void *ctx, int64_t highest)
{
    (void)ctx;
    (void)highest;
}

static void settled(void *ctx, const struct fleet_deployment *deployment)
{
    struct world *w = ctx;
    if (!deployment)
        return;
    w->settled++;
    w->deployment = *deployment;
}

static void serve_state(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct world *w = ctx;
    struct buf answer = {0};
    char hex[DIGEST_HEX_SIZE];
    (void)body;
    (void)length;
    w->asked++;
    buf_printf(&answer,
               "{\"result\":\"state\",\"digest\":\"%s\",\"api\":3,\"version\":\"0\",\"ready\":true,\"is_open\":false,"
               "\"proves\":%s,\"haproxy\":%s}\n",
               digest_hex(model_digest(w->model, MODEL_ACCEPTED), hex), w->is_old ? "false" : "true", w->haproxy);
    api_answer(request, 200, "application/json", &answer);
}

/* It has taken everything, and its HAProxy does not serve it. */
static void serve_broken_state(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct world *w = ctx;
    struct buf answer = {0};
    char hex[DIGEST_HEX_SIZE];
    (void)body;
    (void)length;
    buf_printf(
        &answer,
        "{\"result\":\"state\",\"digest\":\"%s\",\"api\":3,\"version\":\"0\",\"ready\":false,\"problem\":\"HAProxy "
        "cannot be reached\",\"haproxy\":{}}\n",
        digest_hex(model_digest(w->model, MODEL_ACCEPTED), hex));
    api_answer(request, 200, "application/json", &answer);
}

/* It repeats the digest that it is told, whatever it has. */
static void serve_claim(struct world *w, struct api_request *request, const char *proof)
{
    struct buf answer = {0};
    char hex[DIGEST_HEX_SIZE];
    buf_printf(&answer, "{\"result\":\"applied\",\"digest\":\"%s\"%s%s%s}\n",
               digest_hex(model_digest(w->model, MODEL_ACCEPTED), hex), *proof ? ",\"proof\":\"" : "", proof,
               *proof ? "\"" : "");
    api_answer(request, 200, "application/json", &answer);
}

static void serve_apply(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct world *w = ctx;
    (void)body;
    (void)length;
    w->offers++;
    serve_claim(w, request, "");
}

static void serve_verify(void *ctx, struct api_request *request, const char *body, size_t length)
{
    struct world *w = ctx;
    char hex[DIGEST_HEX_SIZE] = "";
    struct digest proof;
    struct err err;
    w->verifications++;
    if (w->is_old)
        assert_int_equal(length, 0);
    else
        assert_int_equal(proof_answer(w->model, body, length, &proof, &err), 0);
    if (w->manner == PROVES_WRONGLY)
        proof.low++;
    if (w->manner != PROVES_NOTHING)
        digest_hex(proof, hex);
    serve_claim(w, request, hex);
}

static void begin(struct world *w)
{
    static const struct fleet_ops ops = {.may_write = may_write, .refused_stale = refused_stale, .settled = settled};
    const struct fleet_config config = {.version = "0",
                                        .agent_name = "haptic-agent",
                                        .haproxy = "3.4.0",
                                        .timeout_ns = 10 * NS_PER_S,
                                        .share_percent = 100};
    struct err err;
    memset(w, 0, sizeof(*w));
    api_world_begin(&w->api);
    api_server_route(w->api.server, "GET", "/v1/state", serve_state, w);
    api_server_route(w->api.server, "POST", "/v1/apply", serve_apply, w);
    api_server_route(w->api.server, "POST", "/v1/verify", serve_verify, w);
    w->model = model_new();
    model_put_base(w->model, 8000, "");
    model_check(w->model, true);
    w->vault = vault_new(1 << 20);
    w->metrics = metrics_new();
    w->haproxy = "{}";
    w->fleet = fleet_new(&w->api.loop, &config, w->model, w->vault, w->metrics, &ops, w);
    const struct peer_identity identity = api_world_client(&w->api);
    assert_int_equal(fleet_set_identity(w->fleet, &identity, &err), 0);
}

static void end(struct world *w)
{
    fleet_free(w->fleet);
    api_world_end(&w->api);
    metrics_free(w->metrics);
    vault_free(w->vault);
    model_free(w->model);
}

/* One member that answers, and as many as wanted that are away. */
static void set_members(struct world *w, size_t away)
{
    struct fleet_seat seats[4] = {
        {.name = "here", .address = {.host = "127.0.0.1", .port = api_server_port(w->api.server)}}};
    static const char *const names[] = {"away1", "away2", "away3"};
    for (size_t i = 0; i < away; i++)
        seats[1 + i] = (struct fleet_seat){.name = names[i], .address = {.host = "127.0.0.1", .port = 1}};
    fleet_set_members(w->fleet, seats, 1 + away);
}

static void offer(struct world *w)
{
    const struct fence fence = {.transitions = 1, .generation = 1, .holder = "test"};
    fleet_offer(w->fleet, NULL, false, &fence);
}

static void run_until_asked(struct world *w, unsigned times)
{
    int64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
    struct fleet_status status = {0};
    while ((w->asked < times || status.verified == 0) && clock_now_ns() < end_ns) {
        uv_run(&w->api.loop, UV_RUN_ONCE);
        fleet_status(w->fleet, &status);
    }
    assert_true(w->asked >= times);
    assert_int_equal(status.verified, 1);
}

/* A new backend goes live without a check only when each member can take it without a reload. */
static void a_member_that_has_not_told_its_version_can_do_nothing(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    assert_false(fleet_takes_backends(w.fleet)); /* there is nobody */
    set_members(&w, 0);
    w.haproxy = "{\"version\":\"3.4.0\",\"dynamic_backends\":true}";
    assert_false(fleet_takes_backends(w.fleet));
    offer(&w);
    run_until_asked(&w, 1);
    assert_true(fleet_takes_backends(w.fleet));
    set_members(&w, 2);
    assert_false(fleet_takes_backends(w.fleet));
    set_members(&w, 0);
    assert_true(fleet_takes_backends(w.fleet));
    end(&w);
}

static void an_old_haproxy_decides_for_all(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    set_members(&w, 0);
    w.haproxy = "{\"version\":\"3.2.0\",\"dynamic_backends\":false}";
    offer(&w);
    run_until_asked(&w, 1);
    assert_false(fleet_takes_backends(w.fleet));
    end(&w);
}

static void run_until(struct world *w, size_t verified, unsigned verifications)
{
    int64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
    struct fleet_status status = {0};
    do {
        uv_run(&w->api.loop, UV_RUN_ONCE);
        fleet_status(w->fleet, &status);
    } while ((w->verifications < verifications || status.verified != verified) && clock_now_ns() < end_ns);
    assert_true(w->verifications >= verifications);
    assert_int_equal(status.verified, verified);
}

static double disproved(struct world *w)
{
    fleet_collect(w->fleet);
    return metric_value(metric_counter(w->metrics, "haptic_member_disproved_total", "", "member", "here"));
}

/* A digest is only what it was told. It gets everything anew, and counts when it can prove that it has it. */
static void a_member_that_lies_about_its_digest_is_not_believed(void **state)
{
    (void)state;
    for (int manner = PROVES_NOTHING; manner <= PROVES_WRONGLY; manner++) {
        struct world w;
        begin(&w);
        w.manner = manner;
        set_members(&w, 0);
        offer(&w);
        run_until(&w, 1, 0); /* by its word */
        fleet_verify(w.fleet);
        run_until(&w, 0, 1);
        assert_true(disproved(&w) >= 1);
        run_until(&w, 0, 2); /* it says that it has taken it, and is asked at once */
        assert_true(w.offers >= 1);
        w.manner = PROVES;
        run_until(&w, 1, 3);
        fleet_verify(w.fleet);
        run_until(&w, 1, 4);
        end(&w);
    }
}

static void a_member_that_proves_what_it_has_is_believed(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    w.manner = PROVES;
    set_members(&w, 0);
    offer(&w);
    run_until(&w, 1, 0);
    for (unsigned i = 1; i <= 3; i++) {
        fleet_verify(w.fleet);
        run_until(&w, 1, i);
    }
    assert_int_equal(w.offers, 0);
    assert_true(disproved(&w) == 0);
    end(&w);
}

/* An agent of the version before is asked nothing that it does not know. */
static void an_older_agent_is_taken_at_its_word(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    w.is_old = true;
    set_members(&w, 0);
    offer(&w);
    run_until(&w, 1, 0);
    fleet_verify(w.fleet);
    run_until(&w, 1, 1);
    assert_int_equal(w.offers, 0);
    end(&w);
}

static double read_back_at(struct world *w)
{
    fleet_collect(w->fleet);
    return metric_value(metric_gauge(w->metrics, "haptic_member_read_back_timestamp_seconds", "", "member", "here"));
}

/* A comparison is due while the member takes a change, or while it is not connected: it is made afterwards. */
static void a_comparison_is_not_left_out(void **state)
{
    struct world w;
    int64_t began_s = clock_wall_s();
    (void)state;
    begin(&w);
    w.manner = PROVES;
    set_members(&w, 0);
    offer(&w);
    fleet_verify(w.fleet); /* it has not answered yet */
    assert_true(read_back_at(&w) == 0);
    run_until(&w, 1, 1);
    for (int i = 1; i <= 3; i++) {
        model_put_base(w.model, 8000 + i, "");
        model_check(w.model, true);
        offer(&w);
        fleet_verify(w.fleet);
        run_until(&w, 1, 1 + (unsigned)i);
        assert_int_equal(w.offers, i);
    }
    for (int64_t end_ns = clock_now_ns() + 60 * NS_PER_S; read_back_at(&w) == 0 && clock_now_ns() < end_ns;)
        uv_run(&w.api.loop, UV_RUN_ONCE); /* the last answer is on its way */
    assert_true(read_back_at(&w) >= (double)began_s);
    end(&w);
}

/* Its word is not what was read back. */
static void a_member_that_cannot_prove_it_was_not_read_back(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    w.manner = PROVES_NOTHING;
    set_members(&w, 0);
    offer(&w);
    run_until(&w, 1, 0);
    fleet_verify(w.fleet);
    run_until(&w, 0, 2);
    assert_true(read_back_at(&w) == 0);
    end(&w);
}

/* The status of objects waits for a deployment to settle: not for ever because of one member. */
static void a_member_that_stays_divergent_is_not_waited_for(void **state)
{
    struct world w;
    struct api_server *broken;
    struct err err;
    (void)state;
    begin(&w);
    fleet_set_timeout(w.fleet, NS_PER_S);
    assert_int_equal(api_server_new(&w.api.loop, "127.0.0.1", 0, w.api.identity, (size_t)8 << 20, &broken, &err), 0);
    api_server_route(broken, "GET", "/v1/state", serve_broken_state, &w);
    api_server_route(broken, "POST", "/v1/apply", serve_apply, &w);
    const struct fleet_seat seats[] = {
        {.name = "here", .address = {.host = "127.0.0.1", .port = api_server_port(w.api.server)}},
        {.name = "broken", .address = {.host = "127.0.0.1", .port = api_server_port(broken)}}};
    fleet_set_members(w.fleet, seats, ARRAY_LEN(seats));
    for (unsigned i = 1; i <= 2; i++) {
        model_put_base(w.model, 8000 + (int)i, "");
        model_check(w.model, true);
        offer(&w);
        for (int64_t end_ns = clock_now_ns() + 60 * NS_PER_S; w.settled < i && clock_now_ns() < end_ns;)
            uv_run(&w.api.loop, UV_RUN_ONCE);
        assert_int_equal(w.settled, i);
        assert_int_equal(w.deployment.verified, 1);
        assert_int_equal(w.deployment.members, 2);
    }
    api_server_free(broken);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_stays_divergent_is_not_waited_for),
        cmocka_unit_test(a_comparison_is_not_left_out),
        cmocka_unit_test(a_member_that_cannot_prove_it_was_not_read_back),
        cmocka_unit_test(a_member_that_has_not_told_its_version_can_do_nothing),
        cmocka_unit_test(an_old_haproxy_decides_for_all),
        cmocka_unit_test(a_member_that_lies_about_its_digest_is_not_believed),
        cmocka_unit_test(a_member_that_proves_what_it_has_is_believed),
        cmocka_unit_test(an_older_agent_is_taken_at_its_word),
    };
    curl_global_init(CURL_GLOBAL_ALL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
