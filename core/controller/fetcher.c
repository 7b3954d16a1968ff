/* There is one entry for each pair of URL and credentials. After each event, look() goes through all entries and does
 * what is due. There are few entries, and only a timer, an answer or a new wish calls look().
 *
 *   WAITS ──its time──► RUNS ──another content, the same, or a failure──► WAITS
 *     │ ▲                 │
 *     ▼ └─ allowed ──┐    │
 *   REFUSED ◄────────┴────┘ the configuration does not allow it
 */
#include "controller/fetcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/fetch_credentials.h"
#include "controller/fetcher_state.h"

#define SETTLE_NS (5 * NS_PER_S)
#define RETRY_BASE_NS NS_PER_S
#define RETRY_CAP_MIN_NS (30 * NS_PER_S)

/* ---- objects ---- */

static struct store_kind *kind_of(const struct fetcher *f)
{
    struct store_kind *kind = store_kind_by_name(f->store, FETCH_KIND);

    return kind != NULL && store_kind_is_own(kind) ? kind : NULL;
}

static void forget_content(struct fetch_entry *e)
{
    e->fetcher->bytes -= e->bytes;
    e->bytes = 0;
    e->has_content = false;
    free(STEAL(e->etag));
    free(STEAL(e->modified));
}

static int put_object(struct fetch_entry *e, const struct fetch_content *content, struct err *err)
{
    CLEANUP(buf_done) struct buf json = {0};
    struct store_kind *kind = kind_of(e->fetcher);

    if (kind == NULL)
        return err_set(err, ERR_NOTFOUND, "the configuration in force fetches nothing");
    if (fetch_object_write(content, &json, err) < 0 || store_put_json(kind, buf_str(&json), json.length, NULL, err) < 0)
        return -1;
    object_unref(e->object);
    e->object = object_ref(store_get(kind, e->id));
    return 0;
}

static int put_content(struct fetch_entry *e, const char *bytes, size_t length, const char *etag, const char *modified,
                       struct err *err)
{
    struct fetcher *f = e->fetcher;
    const struct fetch_content content = {.id = e->id,
                                          .url = e->how.url,
                                          .credentials = e->how.credentials,
                                          .content = bytes,
                                          .length = length,
                                          .etag = etag,
                                          .modified = modified};

    if (f->bytes - e->bytes + length > FETCH_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "all fetched contents together would have more than %zu bytes", FETCH_BYTES_MAX);
    if (memchr(bytes, '\0', length) != NULL)
        return err_set(err, ERR_INVALID, "the content is no text: it has a NUL");
    if (put_object(e, &content, err) < 0)
        return -1;
    forget_content(e);
    e->has_content = true;
    e->bytes = length;
    f->bytes += length;
    e->etag = xstrdup(etag != NULL ? etag : "");
    e->modified = xstrdup(modified != NULL ? modified : "");
    return 0;
}

static void put_message(struct fetch_entry *e, const char *message)
{
    const struct fetch_content content = {
        .id = e->id, .url = e->how.url, .credentials = e->how.credentials, .message = message};
    struct err err;

    if (put_object(e, &content, &err) < 0 && err.kind != ERR_NOTFOUND)
        log_error("The state of a fetched URL cannot be passed to the templates", "error", err.text);
}

static void delete_object(struct fetch_entry *e)
{
    struct store_kind *kind = kind_of(e->fetcher);

    if (kind != NULL)
        store_delete(kind, "", e->id, NULL);
    e->object = object_unref(e->object);
    forget_content(e);
}

/* ---- results ---- */

static void count(struct fetcher *f, const char *result)
{
    metric_add(metric_counter(f->metrics, "haptic_http_fetches_total", "Attempts to fetch the content of a URL.",
                              "result", result),
               1);
}

static int64_t interval_of(const struct fetch_entry *e)
{
    int64_t ns = INT64_MAX;

    for (size_t i = 0; i < e->asks.length; i++)
        if (e->asks.items[i].interval_ns < ns)
            ns = e->asks.items[i].interval_ns;
    return e->asks.length > 0 ? ns : NS_PER_S;
}

static void note_good(struct fetch_entry *e)
{
    CLEANUP(free_ptr) char *shown = url_shown(e->how.url);

    if (e->problem != NULL)
        log_info("The content of a URL can be fetched again", "url", shown);
    free(STEAL(e->problem));
    log_lasting_end(&e->lasting);
    net_backoff_reset(&e->backoff);
    e->good_ns = clock_now_ns();
    int64_t interval = interval_of(e);
    e->due_ns = e->good_ns + net_random_between(interval - interval / 10, interval);
}

static void note_failure(struct fetch_entry *e, const struct err *why, int64_t retry_after_ns)
{
    CLEANUP(free_ptr) char *shown = url_shown(e->how.url);
    uint64_t similar;
    int64_t interval = interval_of(e);

    free(e->problem);
    e->problem = xstrdup(why->text);
    if (log_lasting_pass(&e->lasting, why->text, &similar))
        log_warn(e->has_content ? "The content of a URL cannot be fetched; its last content stays in use"
                                : "The content of a URL cannot be fetched, and there is none yet",
                 "url", shown, "error", why->text, "similar", log_int((int64_t)similar));
    e->backoff.base_ns = RETRY_BASE_NS;
    e->backoff.cap_ns = interval > RETRY_CAP_MIN_NS ? interval : RETRY_CAP_MIN_NS;
    e->due_ns = clock_now_ns() + net_backoff_next(&e->backoff, retry_after_ns);
    if (!e->has_content)
        put_message(e, why->text);
}

static void look(struct fetcher *f);

static void on_done(void *ctx, const struct download_answer *a, const struct err *err)
{
    struct fetch_entry *e = ctx;
    struct fetcher *f = e->fetcher;
    struct err why;

    e->transfer = NULL;
    e->state = FETCH_WAITS;
    e->was_tried = true;
    e->status = a->status;
    f->running--;
    if (err != NULL) {
        count(f, "failed");
        note_failure(e, err, a->retry_after_ns);
    } else if (a->status == 304 && e->has_content) {
        count(f, "unchanged");
        note_good(e);
    } else if (a->status == 304) {
        (void)err_set(&why, ERR_INVALID, "the server answers 304, and no content is known");
        count(f, "failed");
        note_failure(e, &why, a->retry_after_ns);
    } else if (put_content(e, a->body, a->length, a->etag, a->modified, &why) < 0) {
        count(f, "failed");
        note_failure(e, &why, 0);
    } else {
        count(f, "taken");
        note_good(e);
    }
    look(f);
}

/* ---- what is due ---- */

static void start(struct fetch_entry *e)
{
    CLEANUP(fetch_credentials_done) struct fetch_credentials c = {0};
    struct fetcher *f = e->fetcher;
    struct download_call call = {.url = e->how.url, .rules = &f->rules, .done = on_done, .ctx = e};
    struct err err;

    for (size_t i = 0; i < e->asks.length; i++) {
        const struct fetch_ask *ask = &e->asks.items[i];
        call.timeout_ns = ask->timeout_ns > call.timeout_ns ? ask->timeout_ns : call.timeout_ns;
        call.max_bytes = ask->max_bytes > call.max_bytes ? ask->max_bytes : call.max_bytes;
    }
    if (fetch_credentials_find(f->store, &e->how, &c, &err) < 0) {
        e->was_tried = true;
        count(f, "failed");
        note_failure(e, &err, 0);
        return;
    }
    call.bearer = e->how.bearer != NULL ? buf_str(&c.bearer) : NULL;
    call.username = e->how.username != NULL ? buf_str(&c.username) : NULL;
    call.password = buf_str(&c.password);
    call.etag = e->has_content ? e->etag : "";
    call.modified = e->has_content ? e->modified : "";
    e->state = FETCH_RUNS;
    f->running++;
    e->transfer = downloads_start(f->downloads, &call);
}

static void cancel(struct fetch_entry *e)
{
    if (e->transfer == NULL)
        return;
    e->transfer = download_cancel(e->transfer);
    e->fetcher->running--;
    e->state = FETCH_WAITS;
}

static void entry_free(struct fetch_entry *e)
{
    cancel(e);
    for (size_t i = 0; i < e->asks.length; i++)
        free(e->asks.items[i].fragment_id);
    vec_done(&e->asks);
    fetch_wish_done(&e->how);
    e->object = object_unref(e->object);
    forget_content(e);
    free(e->problem);
    free(e->id);
    free(e);
}

/* Removes its content too: content of a URL that is no longer allowed is not used. */
static void refuse(struct fetch_entry *e, const struct err *why)
{
    cancel(e);
    e->state = FETCH_REFUSED;
    e->was_tried = true;
    free(e->problem);
    e->problem = xstrdup(why->text);
    delete_object(e);
    count(e->fetcher, "refused");
    log_warn("The content of a URL is not fetched", "error", why->text);
    put_message(e, why->text);
}

static int check(const struct fetch_entry *e, size_t allowed, struct err *err)
{
    if (allowed >= FETCH_URLS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d URLs are to be fetched", FETCH_URLS_MAX);
    return url_rules_find(&e->fetcher->rules, e->how.url, err) != NULL ? 0 : -1;
}

static bool has_fresh(const struct fetcher *f)
{
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;) {
        const struct fetch_entry *e = slot->value;
        if (!e->has_content && !e->was_tried && e->asks.length > 0)
            return true;
    }
    return false;
}

static void review_settled(struct fetcher *f)
{
    if (f->settled || !f->reviewed || (has_fresh(f) && (f->first_ns == 0 || clock_now_ns() - f->first_ns < SETTLE_NS)))
        return;
    f->settled = true;
    f->ops.settled(f->ctx);
}

static void look(struct fetcher *f)
{
    const struct map_slot *slot;
    int64_t now = clock_now_ns(), next = INT64_MAX;
    size_t allowed = 0;
    struct err err;

    if (f->stopped)
        return;
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;) {
        struct fetch_entry *e = slot->value;
        if (e->asks.length == 0) {
            (void)map_del(&f->entries, e->id);
            delete_object(e);
            entry_free(e);
            continue;
        }
        if (e->state == FETCH_RUNS) {
            allowed++;
            continue;
        }
        if (check(e, allowed, &err) < 0) {
            if (e->state != FETCH_REFUSED || e->problem == NULL || strcmp(e->problem, err.text) != 0)
                refuse(e, &err);
            else if (e->object == NULL) /* the kind was missing for a while */
                put_message(e, err.text);
            continue;
        }
        allowed++;
        if (e->state == FETCH_REFUSED) {
            e->state = FETCH_WAITS;
            e->due_ns = now;
        }
        if (e->state == FETCH_WAITS && e->due_ns <= now && f->running < FETCH_IN_FLIGHT)
            start(e);
        if (e->state == FETCH_WAITS && f->running < FETCH_IN_FLIGHT && e->due_ns < next)
            next = e->due_ns;
    }
    review_settled(f);
    if (!f->settled && f->first_ns != 0 && f->first_ns + SETTLE_NS < next)
        next = f->first_ns + SETTLE_NS;
    if (next != INT64_MAX)
        net_timer_start(f->timer, next > now ? next - now : 0);
}

static void on_timer(void *ctx)
{
    look(ctx);
}

/* ---- wishes ---- */

static const struct contribution *find_wish(const struct fragment *f, const char *id)
{
    for (size_t i = 0; f != NULL && i < f->count; i++)
        if (f->items[i].kind == CONTRIBUTION_FETCH && strcmp(f->items[i].key, id) == 0)
            return &f->items[i];
    return NULL;
}

static void ask_remove(struct fetch_entry *e, const char *fragment_id)
{
    for (size_t i = e->asks.length; i-- > 0;)
        if (strcmp(e->asks.items[i].fragment_id, fragment_id) == 0) {
            free(e->asks.items[i].fragment_id);
            vec_swap_remove(&e->asks, i);
        }
}

/* Takes over content that an earlier process had fetched. */
static void restore(struct fetch_entry *e, const struct fetch_wish *wish)
{
    struct err err;

    if (e->object != NULL || wish->content == NULL || check(e, 0, &err) < 0)
        return;
    if (put_content(e, wish->content, strlen(wish->content), wish->etag, wish->modified, &err) < 0)
        log_warn("The content of a URL that was fetched before the start cannot be used", "error", err.text);
}

static void ask_put(struct fetcher *f, const struct fragment *fragment, const struct contribution *c)
{
    struct fetch_entry *e = map_get(&f->entries, c->key);
    struct fetch_wish wish;
    struct err err;

    if (fetch_wish_read(c, &wish, &err) < 0) {
        log_error("A template's request for a URL cannot be read", "fragment", fragment->id, "error", err.text);
        return;
    }
    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        e->fetcher = f;
        e->id = xstrdup(c->key);
        (void)map_put(&f->entries, e->id, e);
        e->how = wish;
        e->how.content = e->how.etag = e->how.modified = NULL; /* the fields of the wish itself follow below */
        if (f->first_ns == 0)
            f->first_ns = clock_now_ns();
        restore(e, &wish);
        free(wish.content);
        free(wish.etag);
        free(wish.modified);
    } else {
        ask_remove(e, fragment->id);
        struct fetch_wish given = wish;
        fetch_wish_done(&given);
    }
    vec_push(&e->asks, ((struct fetch_ask){.fragment_id = xstrdup(fragment->id),
                                           .interval_ns = wish.interval_ns,
                                           .timeout_ns = wish.timeout_ns,
                                           .max_bytes = wish.max_bytes}));
    if (e->good_ns != 0 && e->state == FETCH_WAITS && e->problem == NULL && e->due_ns > e->good_ns + wish.interval_ns)
        e->due_ns = e->good_ns + wish.interval_ns;
}

void fetcher_hear(struct fetcher *f, const struct fragment *before, const struct fragment *now)
{
    bool changed = false;

    if (f == NULL || before == now)
        return;
    for (size_t i = 0; now != NULL && i < now->count; i++) {
        const struct contribution *c = &now->items[i], *was = NULL;
        if (c->kind != CONTRIBUTION_FETCH)
            continue;
        was = find_wish(before, c->key);
        if (was != NULL && text_equal(was->text, c->text) && map_get(&f->entries, c->key) != NULL)
            continue;
        ask_put(f, now, c);
        changed = true;
    }
    for (size_t i = 0; before != NULL && f->entries.count > 0 && i < before->count; i++) {
        const struct contribution *c = &before->items[i];
        struct fetch_entry *e = c->kind == CONTRIBUTION_FETCH ? map_get(&f->entries, c->key) : NULL;
        if (e == NULL || find_wish(now, c->key) != NULL)
            continue;
        ask_remove(e, before->id);
        changed = true;
    }
    if (changed && !f->stopped)
        net_timer_start(f->timer, 0); /* the configuration that allows it may come into force in a moment */
}

void fetcher_review(struct fetcher *f)
{
    const struct map_slot *slot;

    if (f == NULL)
        return;
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;) {
        struct fetch_entry *e = slot->value;
        for (size_t i = e->asks.length; i-- > 0;)
            if (!f->ops.exists(f->ctx, e->asks.items[i].fragment_id)) {
                free(e->asks.items[i].fragment_id);
                vec_swap_remove(&e->asks, i);
            }
    }
    f->reviewed = true;
    if (!f->stopped)
        net_timer_start(f->timer, 0);
}

bool fetcher_is_settled(const struct fetcher *f)
{
    return f == NULL || f->settled || !has_fresh(f);
}

/* ---- rules, kinds ---- */

static bool same_rules(const struct url_rules *a, const struct url_rules *b)
{
    if (a->items.length != b->items.length)
        return false;
    for (size_t i = 0; i < a->items.length; i++)
        if (!url_rule_equal(&a->items.items[i], &b->items.items[i]))
            return false;
    return true;
}

void fetcher_set_rules(struct fetcher *f, const struct url_rules *rules)
{
    const struct map_slot *slot;

    if (same_rules(&f->rules, rules))
        return;
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;)
        cancel(slot->value); /* the transfer borrows the rules */
    url_rules_done(&f->rules);
    url_rules_copy(rules, &f->rules);
    net_timer_start(f->timer, 0);
}

void fetcher_take_kind(struct fetcher *f)
{
    struct store_kind *kind = store_kind_by_name(f->store, FETCH_KIND);
    const struct map_slot *slot;
    struct err err;

    if (kind == NULL || strcmp(store_kind_spec(kind)->resource, FETCH_RESOURCE) != 0)
        return;
    store_kind_set_object_kind(kind, FETCH_OBJECT_KIND);
    store_kind_set_own(kind);
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;) {
        struct fetch_entry *e = slot->value;
        if (e->object == NULL || store_get(kind, e->id) != NULL)
            continue;
        CLEANUP(buf_done) struct buf text = {0};
        object_text(e->object, &text);
        if (store_put_json(kind, buf_str(&text), text.length, NULL, &err) < 0)
            log_error("Fetched content cannot be stored", "error", err.text);
    }
}

/* ---- life ---- */

struct fetcher *fetcher_new(uv_loop_t *loop, struct store *store, struct metrics *metrics, const char *user_agent,
                            const struct fetcher_ops *ops, void *ctx)
{
    struct fetcher *f = xcalloc(1, sizeof(*f));

    f->store = store;
    f->metrics = metrics;
    f->ops = *ops;
    f->ctx = ctx;
    map_init(&f->entries, true);
    f->downloads = downloads_new(loop, user_agent);
    f->timer = net_timer_new(loop, on_timer, f);
    return f;
}

void fetcher_stop(struct fetcher *f)
{
    const struct map_slot *slot;

    if (f == NULL)
        return;
    f->stopped = true;
    net_timer_stop(f->timer);
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;)
        cancel(slot->value);
}

struct fetcher *fetcher_free(struct fetcher *f)
{
    const struct map_slot *slot;

    if (f == NULL)
        return NULL;
    fetcher_stop(f);
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;)
        entry_free(slot->value);
    map_done(&f->entries);
    downloads_free(f->downloads);
    net_timer_free(f->timer);
    url_rules_done(&f->rules);
    free(f);
    return NULL;
}
