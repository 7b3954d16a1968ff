/* seat_step() looks at the state and begins the one request that is due. Every answer calls it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/fleet_pace.h"
#include "data/json.h"

#define STATE_TIMEOUT_NS (5 * NS_PER_S)
#define LOOK_NS (5 * NS_PER_S)     /* a verified member is asked again */
#define DIVERGENT_LOOK_NS NS_PER_S /* one that is not level */
#define REFUSED_LOOK_NS (60 * NS_PER_S)
#define CLAIM_NS (30 * NS_PER_S) /* a member is believed to have seen a newer leader once in this time */
#define WARN_NS (30 * NS_PER_S)
#define WARN_MAX_NS (600 * NS_PER_S)
#define ANSWER_MAX ((size_t)1 << 20)

const char *seat_state_name(enum seat_state state)
{
    static const char *const names[] = {
        [SEAT_CONNECT] = "connect",   [SEAT_COMPARE] = "compare",     [SEAT_APPLY] = "apply",
        [SEAT_VERIFIED] = "verified", [SEAT_DIVERGENT] = "divergent", [SEAT_REFUSED] = "refused"};
    return names[state];
}

static void set_problem(struct seat *s, const char *text)
{
    snprintf(s->problem, sizeof(s->problem), "%s", text);
}

static void complain(struct seat *s, const char *what, const char *text)
{
    uint64_t similar;
    set_problem(s, text);
    if (log_repeat_pass(&s->repeat, WARN_NS, WARN_MAX_NS, &similar))
        log_warn(what, "member", s->name, "error", text, "similar", log_int((int64_t)similar));
}

static void look_again(struct seat *s, int64_t after_ns)
{
    net_timer_start(s->timer, after_ns);
}

static void lose(struct seat *s, const char *what, const char *text)
{
    s->state = SEAT_CONNECT;
    s->connected = false;
    complain(s, what, text);
    look_again(s, net_backoff_next(&s->backoff, 0));
    fleet_look(s->fleet);
}

/* ---- answers ---- */

static void copy_string(yyjson_val *root, const char *name, char *to, size_t size)
{
    const char *text = yyjson_get_str(yyjson_obj_get(root, name));
    snprintf(to, size, "%s", text ? text : "");
}

/* An answer that cannot be parsed counts as no answer. */
static bool read_answer(struct seat *s, const struct peer_answer *answer, struct yyjson_doc **ret_doc)
{
    struct digest digest = {0};
    if (json_parse(answer->body, answer->length, ANSWER_MAX, ret_doc, NULL) < 0)
        return false;
    yyjson_val *root = yyjson_doc_get_root(*ret_doc);
    const char *hex = yyjson_get_str(yyjson_obj_get(root, "digest"));
    if (!hex || (*hex && !offer_digest_parse(hex, &digest)) || !yyjson_get_str(yyjson_obj_get(root, "result")))
        return false;
    s->digest = digest;
    copy_string(root, "nonce", s->nonce, sizeof(s->nonce));
    s->nonce[strspn(s->nonce, "0123456789abcdef")] = '\0';
    return true;
}

static void become_verified(struct seat *s)
{
    bool was_verified = s->state == SEAT_VERIFIED;
    struct fleet *f = s->fleet;
    if (!was_verified && s->repeat.seen_ns)
        log_info("Member serves the accepted configuration again", "member", s->name);
    s->state = SEAT_VERIFIED;
    s->astray_ns = 0;
    s->repeat = (struct log_repeat){0};
    s->problem[0] = '\0';
    net_backoff_reset(&s->backoff);
    look_again(s, LOOK_NS);
    fleet_look(f);
    /* All other members had settled without this one, or there was no other member. */
    if (!was_verified && !f->unsettled)
        f->ops.settled(f->ctx, NULL);
}

static void go_astray(struct seat *s)
{
    s->state = SEAT_DIVERGENT;
    if (s->astray_ns == 0)
        s->astray_ns = clock_now_ns();
}

static void become_divergent(struct seat *s, const char *text)
{
    go_astray(s);
    complain(s, "Member does not serve the accepted configuration yet", text);
    look_again(s, DIVERGENT_LOOK_NS);
    fleet_look(s->fleet);
}

/* The member gets the whole configuration again, and has to prove that it has it. */
static void disbelieve(struct seat *s)
{
    s->lies++;
    s->needs_whole = true;
    s->digest = (struct digest){0};
    go_astray(s);
    complain(s, "Member cannot prove that it has the accepted configuration",
             "its proof is wrong or missing; it gets the whole configuration again");
    look_again(s, net_backoff_next(&s->backoff, 0));
    fleet_look(s->fleet);
}

/* Only the proof counts before the member is verified. */
static void ask_for_proof(struct seat *s)
{
    s->verify_due = true;
    s->state = SEAT_COMPARE;
    seat_step(s);
}

/* True for "3.4.7-1" and "3.4.2", for example. */
static bool same_series(const char *a, const char *b)
{
    size_t first = strcspn(a, "."), length = first + (a[first] == '.' ? 1 + strcspn(a + first + 1, ".-") : 0);
    return strncmp(a, b, length) == 0 && (b[length] == '\0' || b[length] == '.' || b[length] == '-');
}

static bool has_word(yyjson_val *list, const char *word)
{
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(list, i, max, item) if (yyjson_equals_str(item, word)) return true;
    return false;
}

/* Versions one older and one newer are supported, too: the state says what a version adds. */
static bool speaks(struct seat *s, yyjson_val *root)
{
    char text[160];
    int64_t version = yyjson_get_sint(yyjson_obj_get(root, "api"));
    if (version >= FLEET_API - 1 && version <= FLEET_API + 1)
        return true;
    snprintf(text, sizeof(text), "its API has version %" PRId64 ", and this controller speaks %d to %d", version,
             FLEET_API - 1, FLEET_API + 1);
    lose(s, "Member speaks another version of the API; update it or the controller", text);
    return false;
}

static void note_state(struct seat *s, yyjson_val *root)
{
    yyjson_val *haproxy = yyjson_obj_get(root, "haproxy");
    copy_string(root, "version", s->version, sizeof(s->version));
    copy_string(haproxy, "version", s->haproxy, sizeof(s->haproxy));
    s->takes_backends = yyjson_get_bool(yyjson_obj_get(haproxy, "dynamic_backends"));
    s->reloads = yyjson_get_uint(yyjson_obj_get(haproxy, "reloads"));
    if (s->fleet->ops.orders)
        s->fleet->ops.orders(s->fleet->ctx, s->name, yyjson_obj_get(root, "orders"));
    s->proves = yyjson_get_bool(yyjson_obj_get(root, "proves"));
    s->unpacks = has_word(yyjson_obj_get(root, "encodings"), "gzip");
    bool differs = *s->haproxy && !same_series(s->haproxy, s->fleet->config.haproxy);
    if (differs && !s->haproxy_differs)
        log_warn(
            "A member's HAProxy has another version than the one that checks configurations; it may refuse an accepted configuration",
            "member", s->name, "haproxy", s->haproxy, "checked_by", s->fleet->config.haproxy);
    s->haproxy_differs = differs;
}

static void on_state(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct seat *s = ctx;
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    s->request = NULL;
    if (err) {
        lose(s, "Member cannot be reached", err->text);
        return;
    }
    if (answer->status != 200 || !read_answer(s, answer, &doc)) {
        lose(s, "Member sends an invalid answer", "its state cannot be read");
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!speaks(s, root))
        return;
    s->connected = true;
    note_state(s, root);
    bool is_ready = yyjson_get_bool(yyjson_obj_get(root, "ready"));
    bool is_open = yyjson_get_bool(yyjson_obj_get(root, "is_open"));
    if (!seat_is_level(s)) {
        if (s->state != SEAT_REFUSED || digest_equal(s->offered, s->digest))
            s->state = SEAT_COMPARE;
        seat_step(s);
    } else if (s->doubted) {
        ask_for_proof(s);
    } else if (is_ready && !is_open) {
        become_verified(s);
    } else {
        const char *why = yyjson_get_str(yyjson_obj_get(root, is_ready ? "waits_for" : "problem"));
        become_divergent(s, why && *why ? why : "HAProxy is not ready");
    }
}

static void on_refused(struct seat *s, yyjson_val *root)
{
    const char *message = yyjson_get_str(yyjson_obj_get(root, "message"));
    s->state = SEAT_REFUSED;
    log_error("HAProxy of a member refuses the accepted configuration; it serves the previous one", "member", s->name,
              "error", message ? message : "");
    set_problem(s, message ? message : "refused");
    look_again(s, REFUSED_LOOK_NS);
    fleet_look(s->fleet);
    seat_step(s); /* something newer may have been accepted in the meantime */
}

static void on_stale(struct seat *s, yyjson_val *root)
{
    int64_t highest = yyjson_get_sint(yyjson_obj_get(root, "highest_transitions"));
    const char *holder = yyjson_get_str(yyjson_obj_get(root, "highest_holder"));
    struct fleet *f = s->fleet;
    log_warn("Deployment refused: a newer leader has written", "member", s->name, "highest_transitions",
             log_int(highest), "holder", holder ? holder : "");
    s->state = SEAT_CONNECT;
    set_problem(s, "a newer leader has written");
    look_again(s, net_backoff_next(&s->backoff, 0));
    /* One higher fence is enough for an honest member. While the fence is raised, nobody gets anything. */
    int64_t now_ns = clock_now_ns();
    if (s->claimed_ns != 0 && now_ns - s->claimed_ns < CLAIM_NS)
        return;
    s->claimed_ns = now_ns;
    f->ops.refused_stale(f->ctx, highest);
}

static void on_taken(struct seat *s, yyjson_val *root)
{
    struct fleet *f = s->fleet;
    const char *result = yyjson_get_str(yyjson_obj_get(root, "result"));
    if (!s->verifying && !digest_equal(s->digest, s->offered)) {
        /* Offering it again at once would go on without an end. */
        s->needs_whole = true;
        lose(s, "Member does not accept the configuration",
             "it says that it has taken it, and that it has another configuration");
        return;
    }
    s->operations = (unsigned)yyjson_get_uint(yyjson_obj_get(root, "operations"));
    bool reloaded = yyjson_get_bool(yyjson_obj_get(root, "reloaded"));
    copy_string(root, "reload_reason", s->reload_reason, sizeof(s->reload_reason));
    s->applies++;
    s->reloads += reloaded;
    f->operations += s->operations;
    f->reloads += reloaded;
    s->needs_whole = s->was_moved = false;
    if (!seat_is_level(s)) {
        s->state = SEAT_COMPARE;
        seat_step(s);
    } else if (proof_fails(s, yyjson_get_str(yyjson_obj_get(root, "proof")))) {
        disbelieve(s);
    } else if (s->doubted) {
        ask_for_proof(s);
    } else if (strcmp(result, "waits") == 0) {
        become_divergent(s, *s->reload_reason ? s->reload_reason : "a reload waits");
    } else {
        if (s->verifying)
            s->read_back_s = clock_wall_s();
        become_verified(s);
    }
}

static void on_applied(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct seat *s = ctx;
    struct fleet *f = s->fleet;
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    const struct digest before = s->digest;
    s->request = NULL;
    s->applied_ns = clock_now_ns() - s->asked_ns;
    s->fleet->sent += answer->sent;
    if (err || !read_answer(s, answer, &doc)) {
        lose(s, err ? "Member cannot be reached" : "Member sends an invalid answer",
             err ? err->text : "its answer cannot be read");
        pace_next(f, false);
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *result = yyjson_get_str(yyjson_obj_get(root, "result")),
               *message = yyjson_get_str(yyjson_obj_get(root, "message"));
    s->connected = true;
    if (answer->status == 200) {
        on_taken(s, root);
    } else if (strcmp(result, "stale") == 0) {
        on_stale(s, root);
    } else if (strcmp(result, "refused") == 0) {
        on_refused(s, root);
    } else if (strcmp(result, "unknown_baseline") == 0 && !digest_equal(before, s->digest) && !s->was_moved) {
        s->state = SEAT_COMPARE; /* now the member's digest is known */
        s->was_moved = true;
        seat_step(s);
    } else if (strcmp(result, "not_live") == 0) {
        become_divergent(s, message ? message : result);
    } else { /* busy, replayed, invalid, or an unknown result */
        s->needs_whole = s->needs_whole || (strcmp(result, "busy") != 0 && strcmp(result, "replayed") != 0);
        lose(s, "Member does not accept the configuration", message ? message : result);
    }
    if (s->verify_due) /* it was requested in the meantime */
        seat_step(s);
    pace_next(f, answer->status == 200);
}

/* ---- questions and offers ---- */

static void ask(struct seat *s, const char *path, struct peer_body *body, int64_t timeout_ns,
                void (*done)(void *, const struct peer_answer *, const struct err *))
{
    char header[64];
    const struct peer_call call = {.address = &s->address,
                                   .path = path,
                                   .body = body,
                                   .header = *s->nonce ? header : NULL,
                                   .timeout_ns = timeout_ns,
                                   .done = done,
                                   .ctx = s};
    snprintf(header, sizeof(header), "Haptic-Nonce: %s", s->nonce);
    net_timer_stop(s->timer);
    s->asked_ns = clock_now_ns();
    s->request = peers_start(s->fleet->peers, &call);
}

static void offer(struct seat *s)
{
    struct fleet *f = s->fleet;
    const struct offer_name *names = NULL;
    size_t count = 0;
    if (!pace_allows(f, s)) {
        s->state = SEAT_COMPARE;
        return;
    }
    bool is_delta = !s->needs_whole && !is_nowhere(s->digest) && change_log_since(&f->log, s->digest, &names, &count);
    struct peer_body *body = offer_body(f, is_delta ? s->digest : (struct digest){0}, names, count, s->unpacks);
    metric_add(metric_counter(f->metrics, "haptic_offers_total",
                              "Offers to members, by extent: a change or the whole configuration.", "extent",
                              is_delta ? "change" : "whole"),
               1);
    s->offered = model_digest(f->model, MODEL_ACCEPTED);
    s->state = SEAT_APPLY;
    s->verifying = false;
    s->proof.is_asked = false;
    ask(s, "/v1/apply", body, f->config.timeout_ns, on_applied);
}

/* The accepted state may be the one that the member already has. The member is asked at once, without the long pause
 * after a refusal. */
static void leave_refusal(struct seat *s)
{
    s->state = SEAT_COMPARE;
    net_timer_stop(s->timer);
    seat_step(s);
}

static void verify(struct seat *s)
{
    struct peer_body *question = proof_question(s);
    s->verify_due = false;
    s->verifying = true;
    ask(s, "/v1/verify", question, s->fleet->config.timeout_ns, on_applied);
    peer_body_unref(question);
}

void seat_step(struct seat *s)
{
    struct fleet *f = s->fleet;
    if (s->request || !f->writing || !f->ops.may_write(f->ctx) || !peers_have_identity(f->peers) ||
        model_is_empty(f->model, MODEL_ACCEPTED))
        return;
    switch (s->state) {
    case SEAT_CONNECT:
        if (!net_timer_is_set(s->timer))
            ask(s, "/v1/state", NULL, STATE_TIMEOUT_NS, on_state);
        return;
    case SEAT_REFUSED:
        /* HAProxy would refuse the same again */
        if (!digest_equal(s->offered, model_digest(f->model, MODEL_ACCEPTED)))
            leave_refusal(s);
        return;
    case SEAT_COMPARE:
    case SEAT_VERIFIED:
    case SEAT_DIVERGENT:
        if (!seat_is_level(s))
            offer(s);
        else if (s->verify_due)
            verify(s);
        else if (!net_timer_is_set(s->timer))
            ask(s, "/v1/state", NULL, STATE_TIMEOUT_NS, on_state);
        return;
    case SEAT_APPLY:
        return;
    }
}

void seat_forget(struct seat *s)
{
    s->request = peer_cancel(s->request);
    net_timer_stop(s->timer);
    net_backoff_reset(&s->backoff);
    s->state = SEAT_CONNECT;
    s->astray_ns = 0;
    s->connected = s->verify_due = false;
    s->digest = s->offered = (struct digest){0};
}
