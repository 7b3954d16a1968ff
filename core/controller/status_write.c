/* Every answer calls the writer, which then writes the next entry. A conflict means that another writer has changed the
 * object: it is read and compared again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/status_state.h"
#include "controller/winner.h"
#include "data/json.h"
#include "kube/path.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define REST_MIN_NS NS_PER_S
#define REST_MAX_NS (300 * NS_PER_S)
#define DENIED_MAX_NS (30 * NS_PER_S) /* a right that is granted later has its effect by then */
#define CONFLICTS_MAX 4
#define WELL_NS (600 * NS_PER_S) /* after being level for this long, rests are short again */
#define WARN_NS (10 * NS_PER_S)
#define WARN_MAX_NS (3600 * NS_PER_S)

struct call {
    struct status_writer *writer;
    struct status_entry *entry; /* NULL: the entry is gone */
};

void status_cancel(struct status_writer *w, struct status_entry *e)
{
    if (e->request == NULL)
        return;
    ((struct call *)e->call)->entry = NULL;
    e->request = kube_request_cancel(e->request);
    e->call = NULL;
    w->in_flight--;
}

/* ---- failures ---- */

static void count(struct status_writer *w, const char *result)
{
    if (w->metrics != NULL)
        metric_add(metric_counter(w->metrics, w->manner->metric, w->manner->metric_help, "result", result), 1);
}

static int64_t rest_ns(unsigned failures)
{
    return net_backoff_step(REST_MIN_NS, REST_MAX_NS, failures > 0 ? failures - 1 : 0);
}

static void rest(struct status_writer *w, struct status_entry *e, int64_t max_ns)
{
    if (e->failures < UINT16_MAX)
        e->failures++;
    int64_t ns = rest_ns(e->failures);
    e->due_ns = clock_now_ns() + (ns < max_ns ? ns : max_ns);
    status_move(w, e, STATUS_RESTS);
}

static void complain(struct status_writer *w, const struct status_entry *e, const char *text)
{
    uint64_t similar;

    snprintf(w->error, sizeof(w->error), "%s %s: %s", e->kind, e->id, text);
    if (log_repeat_pass(&w->warned, WARN_NS, WARN_MAX_NS, &similar))
        log_warn(w->manner->failed, "object_kind", e->kind, "object", e->id, "error", text, "similar",
                 log_int((int64_t)similar));
}

/* Tells the owner of each fragment, once for the same text. */
static void refuse(struct status_writer *w, struct status_entry *e, const char *reason, const char *text)
{
    uint64_t what = map_hash(text, strlen(text));

    if (w->manner->refused == NULL || e->told == what)
        return;
    e->told = what;
    for (uint32_t i = 0; i < e->count; i++)
        w->manner->refused(w->manner->ctx, e->wishes[i].fragment, reason, text);
}

/* Tells the owners of wishes that lost against another one, once for the same winner. */
static void tell_losers(struct status_writer *w, struct status_entry *e)
{
    const struct status_wish *first = &e->wishes[0];
    uint64_t who = map_hash(first->fragment->id, strlen(first->fragment->id)), all = who;

    for (uint32_t i = 1; i < e->count; i++)
        if (!text_equal(first->contribution->text, e->wishes[i].contribution->text))
            all = all * 31 + map_hash(e->wishes[i].fragment->id, strlen(e->wishes[i].fragment->id));
    bool again = all == e->outvoted;
    e->outvoted = all;
    for (uint32_t i = 1; all != who && !again && i < e->count; i++) {
        const struct fragment *loser = e->wishes[i].fragment;
        if (text_equal(first->contribution->text, e->wishes[i].contribution->text))
            continue;
        CLEANUP(free_ptr) char *winner = winner_for(first->fragment, loser);
        CLEANUP(free_ptr)
        char *text = xasprintf("%s %s is also wanted by %s, which is older and wins", e->kind, e->id, winner);
        w->manner->refused(w->manner->ctx, loser, "DuplicateKey", text);
    }
}

static void pause_all(struct status_writer *w, int64_t retry_after_ns)
{
    int64_t until = clock_now_ns() + net_backoff_next(&w->pause, retry_after_ns);

    if (until > w->paused_ns)
        w->paused_ns = until;
}

static void fail(struct status_writer *w, struct status_entry *e, const struct kube_response *response,
                 const struct err *err)
{
    bool slow_down = response->status == 429, denied = err->kind == ERR_DENIED;
    bool no_answer = response->status == 0 || response->status >= 500;

    count(w, "failed");
    complain(w, e, err->text);
    if (response->status >= 400 && response->status < 500 && !slow_down)
        refuse(w, e, err->kind == ERR_CONFLICT ? "ObjectConflict" : "ObjectRefused", err->text);
    w->failures++;
    /* 429 concerns all entries. So do the others when many in a row fail: a quota or an admission webhook may refuse
     * one namespace with 403. */
    if (slow_down || ((denied || no_answer) && w->failures >= STATUS_IN_FLIGHT))
        pause_all(w, response->retry_after_ns);
    if (slow_down)
        status_move(w, e, STATUS_QUEUED);
    else
        rest(w, e, denied ? DENIED_MAX_NS : REST_MAX_NS);
}

/* ---- requests ---- */

static void read_object(struct status_writer *w, struct status_entry *e);
static void compare(struct status_writer *w, struct status_entry *e, const char *json, size_t length,
                    const char *resource_version);

/* The entry that the answer belongs to; NULL when it is gone. */
static struct status_entry *answered(struct call *call)
{
    struct status_entry *e = call->entry;

    if (e == NULL)
        return NULL;
    e->request = NULL;
    e->call = NULL;
    call->entry = NULL;
    call->writer->in_flight--;
    return e;
}

/* The answered request leaves a free place, so the next step is due. */
static void wake(const struct status_writer *w)
{
    net_timer_start(w->timer, 0);
}

void status_well(struct status_writer *w)
{
    w->failures = 0;
    net_backoff_reset(&w->pause);
}

static void settle(struct status_writer *w, struct status_entry *e)
{
    if (e->again) {
        e->again = false;
        status_wait(w, e);
    } else {
        status_move(w, e, STATUS_LEVEL);
    }
}

static void on_written(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct call *call = ctx;
    struct status_writer *w = call->writer;
    struct status_entry *e = answered(call);

    if (e == NULL)
        return;
    if (err == NULL) {
        status_well(w);
        count(w, "written");
        w->written++;
        e->conflicts = 0;
        e->anew = false;
        e->told = 0;
        e->wrote_ns = clock_now_ns();
        settle(w, e);
    } else if (err->kind == ERR_CONFLICT && e->conflicts < CONFLICTS_MAX) {
        count(w, "conflict");
        e->conflicts++;
        e->wrote = 0;
        read_object(w, e);
    } else {
        e->conflicts = 0;
        e->wrote = 0;
        fail(w, e, response, err);
    }
    wake(w);
}

static void on_read(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct call *call = ctx;
    struct status_writer *w = call->writer;
    struct status_entry *e = answered(call);
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err wrong;

    if (e == NULL)
        return;
    if (err != NULL) {
        if (err->kind == ERR_NOTFOUND && w->manner->creates)
            compare(w, e, NULL, 0, NULL);
        else if (err->kind == ERR_NOTFOUND)
            status_move(w, e, STATUS_LEVEL); /* the store will get the change */
        else
            fail(w, e, response, err);
    } else if (json_parse(response->body, response->length, response->length + 1, &doc, &wrong) < 0) {
        fail(w, e, response, &wrong);
    } else {
        compare(w, e, response->body, response->length,
                json_str(yyjson_doc_get_root(doc), "metadata", "resourceVersion"));
    }
    wake(w);
}

static bool path_of(const struct status_writer *w, const struct status_entry *e, const struct write_body *body,
                    struct buf *path)
{
    const struct store_kind *kind = store_kind_by_name(w->store, e->kind);

    if (kind == NULL || (store_get(kind, e->id) == NULL && !w->manner->creates))
        return false;
    const struct store_kind_spec *spec = store_kind_spec(kind);
    const char *slash = strchr(e->id, '/');
    CLEANUP(free_ptr) char *namespace = slash != NULL ? xmemdup0(e->id, (size_t)(slash - e->id)) : NULL;
    kube_path_add(path, spec->api_version, namespace, spec->resource, slash != NULL ? slash + 1 : e->id);
    if (body != NULL) {
        buf_puts(path, w->manner->subresource);
        kube_path_add_query(path, "fieldManager", w->manner->manager);
        kube_path_add_query(path, "force", body->force ? "true" : NULL);
    }
    return true;
}

static void start(struct status_writer *w, struct status_entry *e, const char *method, const struct write_body *body,
                  kube_done *done)
{
    CLEANUP(buf_done) struct buf path = {0};
    int64_t deadline_ns = clock_now_ns() + DEADLINE_NS, end_ns = w->ops.write_end_ns(w->ctx);

    if (!path_of(w, e, body, &path)) {
        status_move(w, e, STATUS_LEVEL);
        return;
    }
    CLEANUP(free_ptr)
    char *what = xasprintf("%s %s %s %s", body != NULL ? "write" : "read", w->manner->noun, e->kind, e->id);
    struct call *call = xcalloc(1, sizeof(*call));
    *call = (struct call){.writer = w, .entry = e};
    const struct kube_call request = {.what = what,
                                      .method = method,
                                      .path = buf_str(&path),
                                      .body = body != NULL ? buf_str(&body->text) : NULL,
                                      .body_length = body != NULL ? body->text.length : 0,
                                      .content_type = "application/apply-patch+yaml",
                                      .deadline_ns = deadline_ns < end_ns ? deadline_ns : end_ns,
                                      .done = done,
                                      .ctx = call,
                                      .free_ctx = free};
    e->call = call;
    e->again = false;
    w->in_flight++;
    status_move(w, e, body != NULL ? STATUS_WRITING : STATUS_READING);
    e->request = kube_request_start(w->client, &request);
}

static void read_object(struct status_writer *w, struct status_entry *e)
{
    start(w, e, "GET", NULL, on_read);
}

/* Another writer undoes our writes again and again: the distance between them grows. True when the entry rests. */
static bool is_undone(struct status_writer *w, struct status_entry *e, uint64_t what)
{
    int64_t now = clock_now_ns();

    if (e->wrote != what || e->wrote == 0)
        return false;
    if (now - e->wrote_ns > WELL_NS)
        e->failures = 0;
    if (now - e->wrote_ns >= rest_ns(e->failures + 1u)) {
        if (e->failures < UINT16_MAX)
            e->failures++;
        return false;
    }
    e->due_ns = e->wrote_ns + rest_ns(e->failures + 1u);
    status_move(w, e, STATUS_RESTS);
    return true;
}

struct wishes {
    VEC(const char *) texts;
    uint64_t hash; /* never 0 */
};

static void wishes_done(struct wishes *wishes)
{
    vec_done(&wishes->texts);
}

static struct wishes wishes_of(const struct status_entry *e)
{
    struct wishes all = {.hash = 1};

    for (uint32_t i = 0; i < e->count; i++) {
        const struct text *text = e->wishes[i].contribution->text;
        vec_push(&all.texts, text->bytes);
        all.hash = all.hash * 31 + text->digest.low;
    }
    all.hash += all.hash == 0;
    return all;
}

static struct status_object object_of(const struct status_writer *w, const struct status_entry *e, const char *json,
                                      size_t length)
{
    const struct store_kind *kind = store_kind_by_name(w->store, e->kind);

    return (struct status_object){.api_version = kind != NULL ? store_kind_spec(kind)->api_version : "",
                                  .resource = kind != NULL ? store_kind_spec(kind)->resource : "",
                                  .json = json,
                                  .length = length};
}

static void write_body_done(struct write_body *body)
{
    buf_done(&body->text);
}

static int merge(struct status_writer *w, const struct status_entry *e, const char *json, size_t length,
                 const char *resource_version, bool anew, struct write_body *ret_body, uint64_t *ret_what,
                 struct err *err)
{
    CLEANUP(wishes_done) struct wishes wishes = wishes_of(e);
    const struct status_object object = object_of(w, e, json, length);
    const struct write_wishes given = {.texts = wishes.texts.items, .count = wishes.texts.length, .anew = anew};

    *ret_what = wishes.hash;
    return w->manner->merge(w->manner->ctx, &object, resource_version, &given, ret_body, err);
}

static void compare(struct status_writer *w, struct status_entry *e, const char *json, size_t length,
                    const char *resource_version)
{
    CLEANUP(write_body_done) struct write_body body = {0};
    uint64_t what;
    struct err err;

    if (merge(w, e, json, length, resource_version, e->anew && e->wrote != 0, &body, &what, &err) < 0) {
        complain(w, e, err.text);
        refuse(w, e, err.kind == ERR_DENIED ? "ObjectConflict" : "ObjectRefused", err.text);
        rest(w, e, REST_MAX_NS);
    } else if (!body.differs) {
        e->conflicts = 0;
        e->told = 0;
        settle(w, e);
    } else if (!is_undone(w, e, what)) {
        e->wrote = what;
        w->tokens_ns -= STATUS_TOKEN_NS;
        start(w, e, "PATCH", &body, on_written);
    }
}

static void compare_known(struct status_writer *w, struct status_entry *e, const struct object *o)
{
    CLEANUP(buf_done) struct buf text = {0};

    object_text(o, &text);
    compare(w, e, buf_str(&text), text.length, o->resource_version);
}

void status_compare(struct status_writer *w, struct status_entry *e)
{
    const struct store_kind *kind = store_kind_by_name(w->store, e->kind);
    const struct object *o = kind != NULL ? store_get(kind, e->id) : NULL;

    if (w->manner->one_counts)
        tell_losers(w, e);
    if (kind == NULL || !w->ops.is_declared(w->ctx, e->kind) || (o == NULL && !w->manner->creates))
        status_move(w, e, STATUS_LEVEL);
    else if (o == NULL)
        read_object(w, e); /* the watch may not see it, or not yet: read it, and check whose it is */
    else
        compare_known(w, e, o);
}

bool status_is_echo(struct status_writer *w, const struct status_entry *e)
{
    const struct store_kind *kind = store_kind_by_name(w->store, e->kind);
    const struct object *o = kind != NULL ? store_get(kind, e->id) : NULL;
    CLEANUP(write_body_done) struct write_body body = {0};
    CLEANUP(buf_done) struct buf text = {0};
    uint64_t what;
    struct err err;

    if (o == NULL || e->wrote == 0)
        return false;
    object_text(o, &text);
    return merge(w, e, buf_str(&text), text.length, NULL, false, &body, &what, &err) == 0 && what == e->wrote &&
           !body.differs;
}
