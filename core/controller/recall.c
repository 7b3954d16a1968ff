/* First each member reports which state it has. Then the newest state is read from a member that has it. */
#include "controller/recall.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "data/json.h"
#include "net/timer.h"

#define STATE_TIMEOUT_NS (3 * NS_PER_S)
#define BUNDLE_TIMEOUT_NS (30 * NS_PER_S)
#define AGAIN_NS NS_PER_S
#define BUNDLE_MAX ((size_t)512 << 20)

enum recall_state { RECALL_WAITING, RECALL_ASKING, RECALL_READING, RECALL_DONE };

struct asked {
    struct recall *recall;
    char *name;
    struct peer_address address;
    struct peer_request *request;
    bool listed, answered, configured, failed;
    int64_t transitions;
    uint64_t generation;
};

struct recall {
    enum recall_state state;
    struct peers *peers;
    struct net_timer *timer;
    VEC(struct asked *) members;
    bool members_known;
    void (*done)(void *ctx, const struct recall_answer *a);
    void *ctx;
};

static void look(struct recall *r);

static void on_timer(void *ctx)
{
    struct recall *r = ctx;

    for (size_t i = 0; i < r->members.length; i++)
        if (r->members.items[i]->request == NULL && !r->members.items[i]->answered)
            r->members.items[i]->failed = false;
    if (r->state == RECALL_ASKING)
        r->state = RECALL_WAITING;
    look(r);
}

struct recall *recall_new(uv_loop_t *loop, struct peers *peers, void (*done)(void *ctx, const struct recall_answer *a),
                          void *ctx)
{
    struct recall *r = xcalloc(1, sizeof(*r));

    r->peers = peers;
    r->done = done;
    r->ctx = ctx;
    r->timer = net_timer_new(loop, on_timer, r);
    return r;
}

static void drop_unlisted(struct recall *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->members.length; i++) {
        struct asked *a = r->members.items[i];
        if (a->listed) {
            r->members.items[kept++] = a;
            continue;
        }
        peer_cancel(a->request);
        free(a->name);
        free(a);
    }
    r->members.length = kept;
}

struct recall *recall_free(struct recall *r)
{
    if (r == NULL)
        return NULL;
    for (size_t i = 0; i < r->members.length; i++)
        r->members.items[i]->listed = false;
    drop_unlisted(r);
    vec_done(&r->members);
    net_timer_free(r->timer);
    free(r);
    return NULL;
}

static void finish(struct recall *r, const struct recall_answer *answer)
{
    r->state = RECALL_DONE;
    net_timer_stop(r->timer);
    r->done(r->ctx, answer);
}

/* ---- states of the members ---- */

static bool read_state(struct asked *a, const struct peer_answer *answer)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (answer->status != 200 || json_parse(answer->body, answer->length, answer->length + 1, &doc, NULL) < 0)
        return false;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_bool(yyjson_obj_get(root, "configured")))
        return false;
    a->configured = yyjson_get_bool(yyjson_obj_get(root, "configured"));
    a->transitions = yyjson_get_sint(yyjson_obj_get(root, "transitions"));
    a->generation = yyjson_get_uint(yyjson_obj_get(root, "generation"));
    return true;
}

static void on_state(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct asked *a = ctx;

    a->request = NULL;
    a->answered = err == NULL && read_state(a, answer);
    a->failed = !a->answered;
    if (a->failed)
        log_debug("A member does not say what it serves", "member", a->name, "error", err ? err->text : "no state");
    look(a->recall);
}

/* ---- reading of a configuration ---- */

static void on_bundle(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct asked *a = ctx;
    struct recall *r = a->recall;

    a->request = NULL;
    if (err == NULL && answer->status == 200) {
        const struct recall_answer found = {.member = a->name,
                                            .bytes = answer->body,
                                            .length = answer->length,
                                            .transitions = a->transitions,
                                            .generation = a->generation};
        finish(r, &found);
        return;
    }
    log_warn("A member does not send its configuration; asking another one", "member", a->name, "error",
             err ? err->text : "it has no such call");
    a->configured = false;
    r->state = RECALL_ASKING;
    look(r);
}

static bool is_newer(const struct asked *a, const struct asked *b)
{
    return b == NULL || a->transitions > b->transitions ||
           (a->transitions == b->transitions && a->generation > b->generation);
}

static void read_newest(struct recall *r)
{
    struct asked *newest = NULL;
    const struct recall_answer nothing = {0};

    for (size_t i = 0; i < r->members.length; i++)
        if (r->members.items[i]->configured && is_newer(r->members.items[i], newest))
            newest = r->members.items[i];
    if (newest == NULL) {
        finish(r, &nothing);
        return;
    }
    const struct peer_call call = {.address = &newest->address,
                                   .path = "/v1/bundle",
                                   .timeout_ns = BUNDLE_TIMEOUT_NS,
                                   .max_answer = BUNDLE_MAX,
                                   .done = on_bundle,
                                   .ctx = newest};
    r->state = RECALL_READING;
    newest->request = peers_start(r->peers, &call);
}

/* ---- the next step ---- */

static void ask_all(struct recall *r)
{
    for (size_t i = 0; i < r->members.length; i++) {
        struct asked *a = r->members.items[i];
        if (a->answered || a->failed || a->request != NULL)
            continue;
        const struct peer_call call = {
            .address = &a->address, .path = "/v1/state", .timeout_ns = STATE_TIMEOUT_NS, .done = on_state, .ctx = a};
        a->request = peers_start(r->peers, &call);
    }
}

static void look(struct recall *r)
{
    size_t answered = 0, open = 0;
    const struct recall_answer nothing = {0};

    if (r->state >= RECALL_READING || !r->members_known)
        return;
    if (r->members.length == 0) {
        finish(r, &nothing);
        return;
    }
    if (!peers_have_identity(r->peers))
        return;
    r->state = RECALL_ASKING;
    ask_all(r);
    for (size_t i = 0; i < r->members.length; i++) {
        answered += r->members.items[i]->answered;
        open += r->members.items[i]->request != NULL;
    }
    if (open > 0)
        return;
    if (answered > 0)
        read_newest(r);
    else
        net_timer_start(r->timer, AGAIN_NS);
}

static struct asked *asked_of(const struct recall *r, const struct fleet_seat *seat)
{
    for (size_t i = 0; i < r->members.length; i++)
        if (strcmp(r->members.items[i]->name, seat->name) == 0 &&
            strcmp(r->members.items[i]->address.host, seat->address.host) == 0)
            return r->members.items[i];
    return NULL;
}

void recall_set_members(struct recall *r, const struct fleet_seat *seats, size_t count)
{
    if (r->state >= RECALL_READING)
        return;
    for (size_t i = 0; i < r->members.length; i++)
        r->members.items[i]->listed = false;
    for (size_t i = 0; i < count; i++) {
        struct asked *a = asked_of(r, &seats[i]);
        if (a == NULL) {
            a = xcalloc(1, sizeof(*a));
            a->recall = r;
            a->name = xstrdup(seats[i].name);
            a->address = seats[i].address;
            vec_push(&r->members, a);
        }
        a->listed = true;
    }
    drop_unlisted(r);
    r->members_known = true;
    /* done() is not called from within a call by the owner. */
    net_timer_start(r->timer, 0);
}

void recall_step(struct recall *r)
{
    if (r->state < RECALL_READING)
        net_timer_start(r->timer, 0);
}
