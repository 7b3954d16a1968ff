/* Every event (an answer, a watch event, the timer, a refusal) becomes one elector_step(). Its output is carried out in
 * the order cancel, send, timer, news. A handler of news may cause the next step. By then all of the last output has
 * been used, except the rest of the news, which is a copy.
 *
 * An update needs the object as it was read, for its labels and unknown fields. The elector names the version that it
 * wants. The last answer and the last watch event are kept, and one of them has that version. */
#include "controller/leader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_lasting.h"
#include "base/map.h"
#include "controller/holder.h"
#include "controller/leader_words.h"
#include "kube/event.h"
#include "kube/lease.h"
#include "net/timer.h"

struct leader {
    struct kube_client *client;
    struct metrics *metrics;
    void (*changed)(void *ctx, bool is_leader);
    void *ctx;
    char *identity, *namespace, *name;
    int64_t renew_deadline_ns;

    char fence_holder[ELECTOR_NAME_SIZE + CLOCK_RFC3339_SIZE + 8];
    struct elector *elector; /* NULL: without election */
    int64_t alone_transitions;
    struct net_timer *timer;
    struct kube_request *request;
    uint64_t request_id;
    enum elector_purpose purpose;
    int64_t timeout_ns;
    struct lease_record answered, watched; /* resource_version NULL: none */
    struct lease_watch *watch;
    struct holder *holder;
    struct kube_events *events;

    const char *(*references)(void *ctx); /* NULL: a Lease has no owners, or they were refused */
    void *references_ctx;
    bool with_references; /* the last request */

    bool is_refused; /* the last request was */
    bool is_leader;
    int64_t counted_ns;                               /* the seconds as leader are counted up to here */
    char failure[sizeof(((struct err *)NULL)->text)]; /* of the last request that failed or was given up */
    struct log_lasting repeats[4];                    /* by purpose */
    bool is_stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    struct metric *is_leader_gauge, *transitions, *seconds, *renew_age, *renew_duration, *fence;
};

static void step(struct leader *l, struct elector_input in);

/* ---- metrics ---- */

static void count_failure(struct leader *l, const char *reason)
{
    metric_add(metric_counter(l->metrics, "haptic_leader_election_failures_total",
                              "Requests for the Lease that failed, by reason.", "reason", reason),
               1);
}

static void make_metrics(struct leader *l)
{
    struct metrics *m = l->metrics;
    l->is_leader_gauge = metric_gauge(m, "haptic_leader_election_is_leader", "1 while this replica leads.");
    l->transitions = metric_counter(m, "haptic_leader_election_transitions_total",
                                    "How often this replica became the leader.");
    l->seconds = metric_counter(m, "haptic_leader_election_seconds_as_leader_total", "Seconds this replica has led.");
    l->renew_age = metric_gauge(m, "haptic_leader_election_last_renew_age_seconds",
                                "Seconds since the beginning of the leader's last successful renewal; 0 on followers.");
    l->renew_duration = metric_histogram(m, "haptic_leader_election_renew_duration_seconds",
                                         "Time that successful renewals of the Lease took.");
    l->fence = metric_gauge(m, "haptic_leader_election_fence",
                            "Lease transitions that this leader's writes carry; 0 on followers.");
    /* All reasons exist from the start, so that rate() sees the first failure. */
    for (enum elector_status status = ELECTOR_NOTFOUND; status <= ELECTOR_SERVER; status++)
        if (status != ELECTOR_NOTFOUND && status != ELECTOR_CONFLICT)
            metric_counter(m, "haptic_leader_election_failures_total", "Requests for the Lease that failed, by reason.",
                           "reason", elector_status_name(status));
}

static bool leads_until(const struct leader *l, int64_t now_ns, struct elector_state *ret_state)
{
    elector_get_state(l->elector, ret_state);
    return ret_state->role == ELECTOR_LEADING && now_ns < ret_state->write_end_ns;
}

void leader_collect(struct leader *l)
{
    int64_t now_ns = clock_now_ns();
    struct elector_state state;
    bool leads = !l->is_stopping;

    if (l->elector)
        leads = leads_until(l, now_ns, &state);
    if (l->is_leader) {
        /* The tenure of a process that was held up ended at its deadline, not now. */
        int64_t until_ns = l->elector && state.role == ELECTOR_LEADING && state.write_end_ns < now_ns
                               ? state.write_end_ns
                               : now_ns;
        if (until_ns > l->counted_ns)
            metric_add(l->seconds, (double)(until_ns - l->counted_ns) / (double)NS_PER_S);
    }
    l->counted_ns = now_ns;
    metric_set(l->is_leader_gauge, leads);
    metric_set(l->renew_age, leads && l->elector ? (double)(now_ns - state.confirmed_ns) / (double)NS_PER_S : 0);
    metric_set(l->fence, leads ? (double)leader_fence_transitions(l) : 0);
}

/* ---- news ---- */

/* kubectl finds an object's Events by its uid. The Lease was read or written before any news, so its uid is known. */
static void tell_event(struct leader *l, const char *what)
{
    CLEANUP(free_ptr) char *note = xasprintf("%s %s", l->identity, what);
    const struct kube_event_object about = {.api_version = "coordination.k8s.io/v1",
                                            .kind = "Lease",
                                            .namespace = l->namespace,
                                            .name = l->name,
                                            .uid = l->answered.uid ? l->answered.uid : l->watched.uid};
    kube_event_send(l->events, &about, "Normal", "LeaderElection", "Elect", note);
}

static void set_leader(struct leader *l, bool is_leader)
{
    leader_collect(l);
    l->is_leader = is_leader;
    l->counted_ns = clock_now_ns();
    leader_collect(l);
    l->changed(l->ctx, is_leader);
}

static void set_fence_holder(struct leader *l, int64_t since_us)
{
    char since[CLOCK_RFC3339_SIZE];
    snprintf(l->fence_holder, sizeof(l->fence_holder), "%s since %s", l->identity, clock_format_micro(since_us, since));
}

static void on_became(struct leader *l, int64_t transitions)
{
    struct elector_state state;
    elector_get_state(l->elector, &state);
    set_fence_holder(l, state.nonce_us); /* the Lease's acquireTime */
    CLEANUP(free_ptr) char *message = xasprintf("Became leader: %s", l->identity);
    CLEANUP(free_ptr) char *event = xasprintf("became leader (transitions %" PRId64 ")", transitions);
    log_info(message, "identity", l->identity, "lease", l->name, "transitions", log_int(transitions));
    metric_add(l->transitions, 1);
    tell_event(l, event);
    set_leader(l, true);
}

static void on_lost(struct leader *l, const struct elector_news *news)
{
    CLEANUP(free_ptr) char *reason = leader_loss_reason(news, l->identity, l->renew_deadline_ns, l->failure);
    CLEANUP(free_ptr)
    char *event = xasprintf("stopped leading (transitions %" PRId64 "): %s", news->transitions, reason);
    if (news->reason == ELECTOR_REASON_STOPPED)
        log_info("Lost leadership", "identity", l->identity, "reason", reason);
    else
        log_warn("Lost leadership", "identity", l->identity, "reason", reason);
    tell_event(l, event);
    set_leader(l, false);
}

static void on_failed(struct leader *l, const struct elector_news *news)
{
    uint64_t suppressed;
    count_failure(l, elector_status_name(news->status));
    l->is_refused = news->status == ELECTOR_DENIED;
    if (!log_lasting_pass(&l->repeats[news->purpose], elector_status_name(news->status), &suppressed))
        return;
    CLEANUP(free_ptr) char *message = xasprintf("Leader election: lease %s failed", leader_purpose_name(news->purpose));
    log_warn(message, "identity", l->identity, "lease", l->name, "reason", elector_status_name(news->status), "error",
             l->failure, "similar", log_int((int64_t)suppressed));
}

static void on_stopped(struct leader *l, bool released)
{
    log_info(released ? "Leader election stopped, lease released" : "Leader election stopped", "identity", l->identity,
             "lease", l->name);
    l->watch = lease_watch_free(l->watch);
    l->holder = holder_free(l->holder);
    /* In a later turn of the loop, because leader_stop() may still be running. */
    net_timer_start(l->timer, 0);
}

static void on_news(struct leader *l, const struct elector_news *news)
{
    switch (news->kind) {
    case ELECTOR_BECAME:
        on_became(l, news->transitions);
        break;
    case ELECTOR_LOST:
        on_lost(l, news);
        break;
    case ELECTOR_RENEWED:
        metric_observe_ns(l->renew_duration, news->duration_ns);
        l->is_refused = false;
        for (size_t i = 0; i < ARRAY_LEN(l->repeats); i++)
            log_lasting_end(&l->repeats[i]);
        break;
    case ELECTOR_FAILED:
        on_failed(l, news);
        break;
    case ELECTOR_NEW_LEADER:
        log_info("New leader observed", "leader", news->holder, "identity", l->identity);
        break;
    case ELECTOR_RAISED:
        log_warn("Fence raised: a receiver has seen a higher one", "identity", l->identity, "transitions",
                 log_int(news->transitions));
        set_leader(l, true);
        break;
    case ELECTOR_EXHAUSTED:
        log_error(
            "A receiver says that it has seen a fence that no Lease can have; it is not believed: remove its fence file",
            "identity", l->identity, "transitions", log_int(news->transitions));
        break;
    case ELECTOR_STOPPED:
        on_stopped(l, news->released);
        break;
    }
}

/* ---- requests ---- */

static void record_from_lease(struct elector_record *ret_record, const struct lease_record *lease)
{
    *ret_record = (struct elector_record){.duration_s = lease->lease_duration_s,
                                          .transitions = lease->transitions,
                                          .acquire_us = lease->acquire_time_us,
                                          .renew_us = lease->renew_time_us};
    snprintf(ret_record->holder, sizeof(ret_record->holder), "%s", lease->holder);
    snprintf(ret_record->version, sizeof(ret_record->version), "%s", lease->resource_version);
}

static void keep(struct lease_record *kept, const struct lease_record *record)
{
    lease_record_done(kept);
    lease_record_copy(kept, record);
}

static void see_holder(struct leader *l, const struct elector_record *record)
{
    if (l->holder && record)
        holder_see(l->holder, record->holder, record->acquire_us);
}

static void on_answer(void *ctx, const struct lease_record *lease, const struct kube_response *response,
                      const struct err *err)
{
    struct leader *l = ctx;
    struct elector_record record;
    l->request = NULL;
    if (lease) {
        keep(&l->answered, lease);
        record_from_lease(&record, lease);
    }
    if (err)
        snprintf(l->failure, sizeof(l->failure), "%s", err->text);
    if (err && err->kind == ERR_DENIED && l->with_references)
        l->references = NULL; /* the election is more important */
    step(l, (struct elector_input){.kind = ELECTOR_ANSWER,
                                   .request = l->request_id,
                                   .status = leader_status_of(response, err),
                                   .retry_after_ns = response->retry_after_ns,
                                   .record = lease ? &record : NULL});
    see_holder(l, lease ? &record : NULL);
}

static void on_watched(void *ctx, const struct lease_record *lease)
{
    struct leader *l = ctx;
    struct elector_record record;
    if (lease) {
        keep(&l->watched, lease);
        record_from_lease(&record, lease);
    }
    step(l, (struct elector_input){.kind = ELECTOR_WATCHED, .record = lease ? &record : NULL});
    see_holder(l, lease ? &record : NULL);
}

static void on_watch_denied(void *ctx, const struct err *err)
{
    struct leader *l = ctx;
    log_info("Not allowed to watch the lease: a release is noticed at the next poll only", "lease", l->name, "error",
             err->text);
}

static void on_holder_gone(void *ctx, const char *holder, int64_t acquire_us, const char *why)
{
    struct leader *l = ctx;
    struct elector_record record = {.acquire_us = acquire_us};
    snprintf(record.holder, sizeof(record.holder), "%s", holder);
    log_info("The leader has ended: its lease counts as released", "leader", holder, "reason", why, "identity",
             l->identity);
    step(l, (struct elector_input){.kind = ELECTOR_GONE, .record = &record});
}

static void on_holder_denied(void *ctx, const struct err *err)
{
    struct leader *l = ctx;
    log_info("Not allowed to watch the leader's Pod: its crash is noticed when the lease has expired", "identity",
             l->identity, "error", err->text);
}

static void on_events_denied(void *ctx, const struct err *err)
{
    struct leader *l = ctx;
    log_warn("Kubernetes Events about the lease cannot be created", "lease", l->name, "error", err->text);
}

static void send_request(struct leader *l, const struct elector_request *request)
{
    int64_t deadline_ns = clock_now_ns() + request->timeout_ns;
    const struct elector_record *r = &request->record;
    struct lease_record lease = {.holder = (char *)(uintptr_t)r->holder,
                                 .lease_duration_s = r->duration_s,
                                 .acquire_time_us = r->acquire_us,
                                 .renew_time_us = r->renew_us,
                                 .transitions = r->transitions};

    l->request_id = request->id;
    l->purpose = request->purpose;
    l->timeout_ns = request->timeout_ns;
    l->with_references = false;
    switch (request->verb) {
    case ELECTOR_GET:
        l->request = lease_get(l->client, l->namespace, l->name, deadline_ns, on_answer, l);
        return;
    case ELECTOR_CREATE: {
        const char *references = l->references ? l->references(l->references_ctx) : NULL;
        CLEANUP(free_ptr)
        char *base = references ? xasprintf("{\"metadata\":{\"ownerReferences\":%s}}", references) : NULL;
        l->with_references = references != NULL;
        lease.json = base;
        lease.json_length = base ? strlen(base) : 0;
        l->request = lease_create(l->client, l->namespace, l->name, &lease, deadline_ns, on_answer, l);
        return;
    }
    case ELECTOR_UPDATE: {
        const struct lease_record *base = &l->answered;
        if (l->watched.resource_version && strcmp(l->watched.resource_version, r->version) == 0)
            base = &l->watched;
        lease.resource_version = (char *)(uintptr_t)r->version;
        lease.json = base->json;
        lease.json_length = base->json_length;
        l->request = lease_update(l->client, l->namespace, l->name, &lease, deadline_ns, on_answer, l);
        return;
    }
    }
}

static void step(struct leader *l, struct elector_input in)
{
    struct elector_output out;

    in.now_ns = clock_now_ns();
    in.wall_us = clock_wall_us();
    elector_step(l->elector, &in, &out);
    if (out.cancel != 0) {
        char timeout[DURATION_SIZE];
        l->request = kube_request_cancel(l->request);
        snprintf(l->failure, sizeof(l->failure), "lease %s %s/%s: timeout after %s", leader_purpose_name(l->purpose),
                 l->namespace, l->name, duration_format(l->timeout_ns, timeout));
    }
    if (out.send)
        send_request(l, &out.request);
    if (out.wake_ns == INT64_MAX)
        net_timer_stop(l->timer);
    else
        net_timer_start(l->timer, out.wake_ns > in.now_ns ? out.wake_ns - in.now_ns : 0);
    for (size_t i = 0; i < out.news_count; i++)
        on_news(l, &out.news[i]);
    leader_collect(l);
}

static void on_timer(void *ctx)
{
    struct leader *l = ctx;
    struct elector_state state = {.role = ELECTOR_IDLE};

    if (l->elector)
        elector_get_state(l->elector, &state);
    if (l->is_stopping && (!l->elector || state.role == ELECTOR_ENDED)) {
        void (*stopped)(void *ctx) = STEAL(l->stopped);
        if (stopped)
            stopped(l->stopped_ctx); /* may free l */
        return;
    }
    if (l->elector)
        step(l, (struct elector_input){.kind = ELECTOR_WAKE});
    else
        set_leader(l, true);
}

/* ---- calls of the owner ---- */

static char *copy(const char *text)
{
    return xstrdup(text ? text : "");
}

int leader_new(uv_loop_t *loop, struct kube_client *client, const struct elector_config *config,
               struct metrics *metrics, void (*changed)(void *ctx, bool is_leader), void *ctx,
               struct leader **ret_leader, struct err *err)
{
    bool is_alone = !client || !config->enabled;
    if (!is_alone && elector_config_check(config, err) < 0)
        return -1;
    struct leader *l = xcalloc(1, sizeof(*l));
    l->client = client;
    l->metrics = metrics;
    l->changed = changed;
    l->ctx = ctx;
    l->identity = copy(config->identity);
    l->namespace = copy(config->namespace);
    l->name = copy(config->lease_name);
    l->renew_deadline_ns = config->renew_deadline_ns;
    l->timer = net_timer_new(loop, on_timer, l);
    make_metrics(l);
    *ret_leader = l;
    if (is_alone) {
        log_info("Leader election disabled: this replica leads alone", "identity", l->identity);
        set_fence_holder(l, clock_wall_us());
        net_timer_start(l->timer, 0);
        return 0;
    }
    struct elector_config seeded = *config;
    if (seeded.seed == 0)
        seeded.seed = map_hash(l->identity, strlen(l->identity)); /* keyed per process */
    l->elector = elector_new(&seeded);
    static const struct holder_ops holder_ops = {.gone = on_holder_gone, .denied = on_holder_denied};
    l->events = kube_events_new(client, "haptic.io/controller", l->identity, metrics);
    kube_events_on_denied(l->events, on_events_denied, l);
    l->holder = holder_new(client, l->namespace, l->identity, &holder_ops, l);
    log_info("Leader election started", "identity", l->identity, "lease", l->name, "namespace", l->namespace,
             /* People search for trouble with "deadline" and "timeout": this line must not contain these words. */
             "lease_duration", log_duration(config->lease_duration_ns), "renew_within",
             log_duration(config->renew_deadline_ns), "retry_period", log_duration(config->retry_period_ns),
             "request_limit", log_duration(elector_request_timeout_ns(config)));
    l->watch = lease_watch(client, l->namespace, l->name, on_watched, on_watch_denied, l);
    step(l, (struct elector_input){.kind = ELECTOR_START});
    return 0;
}

void leader_on_create(struct leader *l, const char *(*references)(void *ctx), void *ctx)
{
    l->references = references;
    l->references_ctx = ctx;
}

struct leader *leader_free(struct leader *l)
{
    if (!l)
        return NULL;
    l->request = kube_request_cancel(l->request);
    l->watch = lease_watch_free(l->watch);
    l->holder = holder_free(l->holder);
    l->events = kube_events_free(l->events);
    l->timer = net_timer_free(l->timer);
    lease_record_done(&l->answered);
    lease_record_done(&l->watched);
    elector_free(l->elector);
    free(l->identity);
    free(l->namespace);
    free(l->name);
    free(l);
    return NULL;
}

void leader_stop(struct leader *l, bool release, void (*stopped)(void *ctx), void *ctx)
{
    if (l->is_stopping)
        return;
    l->is_stopping = true;
    l->stopped = stopped;
    l->stopped_ctx = ctx;
    if (l->elector)
        step(l, (struct elector_input){.kind = ELECTOR_STOP, .release = release});
    else
        net_timer_start(l->timer, 0);
}

bool leader_may_write(const struct leader *l)
{
    return !l->is_stopping && (!l->elector || elector_may_write(l->elector, clock_now_ns()));
}

int64_t leader_write_end_ns(const struct leader *l)
{
    struct elector_state state;
    if (!l->elector)
        return INT64_MAX;
    elector_get_state(l->elector, &state);
    return state.write_end_ns;
}

int64_t leader_fence_transitions(const struct leader *l)
{
    struct elector_state state;
    if (!l->elector)
        return l->alone_transitions;
    elector_get_state(l->elector, &state);
    return state.transitions;
}

const char *leader_fence_holder(const struct leader *l)
{
    return l->fence_holder;
}

/* False when no higher fence is known, or ours is as high already. */
static bool raise_alone(struct leader *l, int64_t highest_transitions)
{
    if (highest_transitions < l->alone_transitions)
        return false;
    if (highest_transitions >= ELECTOR_TRANSITIONS_SANE) {
        on_news(l, &(struct elector_news){.kind = ELECTOR_EXHAUSTED, .transitions = highest_transitions});
        return false;
    }
    l->alone_transitions = highest_transitions + 1;
    return true;
}

void leader_refused_stale(struct leader *l, int64_t highest_transitions)
{
    if (l->elector)
        step(l, (struct elector_input){.kind = ELECTOR_REFUSED, .transitions = highest_transitions});
    else if (raise_alone(l, highest_transitions))
        on_news(l, &(struct elector_news){.kind = ELECTOR_RAISED, .transitions = l->alone_transitions});
}

void leader_saw_fence(struct leader *l, int64_t highest_transitions)
{
    if (l->elector)
        leader_refused_stale(l, highest_transitions);
    else if (raise_alone(l, highest_transitions))
        log_info("Fence continues above the fence of an earlier process", "identity", l->identity, "transitions",
                 log_int(l->alone_transitions));
}

const char *leader_refusal(const struct leader *l)
{
    struct elector_state state;

    if (!l->elector || !l->is_refused)
        return NULL;
    elector_get_state(l->elector, &state);
    bool is_led = state.role == ELECTOR_LEADING || (*state.holder && clock_now_ns() < state.expires_ns);
    return is_led || l->is_stopping ? NULL : l->failure;
}

void leader_describe(const struct leader *l, struct buf *out)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    int64_t now_ns = clock_now_ns();
    struct elector_state state;

    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "identity", l->identity);
    yyjson_mut_obj_add_bool(doc, root, "enabled", l->elector != NULL);
    yyjson_mut_obj_add_bool(doc, root, "may_write", leader_may_write(l));
    yyjson_mut_obj_add_sint(doc, root, "fence", leader_fence_transitions(l));
    if (l->elector) {
        elector_get_state(l->elector, &state);
        yyjson_mut_obj_add_str(doc, root, "role", elector_role_name(state.role));
        yyjson_mut_obj_add_str(doc, root, "lease", l->name);
        yyjson_mut_obj_add_str(doc, root, "namespace", l->namespace);
        yyjson_mut_obj_add_str(doc, root, "holder", state.holder);
        yyjson_mut_obj_add_sint(doc, root, "highest_transitions", state.highest_transitions);
        yyjson_mut_obj_add_uint(doc, root, "failures_in_a_row", state.failures);
        if (state.role == ELECTOR_LEADING) {
            yyjson_mut_obj_add_real(doc, root, "last_renew_age_seconds",
                                    (double)(now_ns - state.confirmed_ns) / (double)NS_PER_S);
            yyjson_mut_obj_add_real(doc, root, "write_ends_in_seconds",
                                    (double)(state.write_end_ns - now_ns) / (double)NS_PER_S);
        } else if (state.expires_ns != INT64_MAX) {
            yyjson_mut_obj_add_real(doc, root, "lease_expires_in_seconds",
                                    (double)(state.expires_ns - now_ns) / (double)NS_PER_S);
        }
        if (state.failures > 0)
            yyjson_mut_obj_add_str(doc, root, "last_failure", l->failure);
    }
    char *text = yyjson_mut_write(doc, 0, NULL);
    buf_puts(out, text ? text : "null");
    free(text);
    yyjson_mut_doc_free(doc);
}
