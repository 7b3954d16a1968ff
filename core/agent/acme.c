/* Certificates that HAProxy obtains by itself (sections "acme") exist only in its memory. This file saves them to
 * acme/NAME in the directory, from which the next process loads them. HAProxy is asked regularly for the list of these
 * certificates and their ends (`acme status`). For each certificate that is not saved yet, it is asked for the
 * certificate with its key (`dump ssl cert`). The same is done before a reload and before HAProxy is stopped. HAProxy's
 * messages about them are in a ring in its memory (`show events`), which templates/acme.lua defines. Orders that
 * HAProxy gave up are started again (`acme renew`). Nothing else of these certificates is compared or changed here:
 * they are no files of the model.
 *
 * Answers contain private keys. They are never logged, not even in parts, and are wiped when the call ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "base/log.h"

#define LOOK_NS (10 * NS_PER_S)
#define DUMPS_MAX 200 /* in one look; the next one has the rest */
#define DUMPS_PER_DEADLINE 50
#define REPEATS_MAX 50 /* while HAProxy replaces certificates */
#define ANSWER_MAX_BYTES ((size_t)64 << 20)
#define RETRIES_MAX 20 /* in one look */

static void dump_begin(struct agent *a);
static void look_end(struct agent *a);

/* True when the running configuration has a section for such certificates. */
static bool is_used(const struct agent *a)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->sections, &it));)
        if (slot->key_length > 5 && memcmp(slot->key, "acme ", 5) == 0)
            return true;
    return false;
}

/* ---- answers of HAProxy ---- */

/* "2026-08-04T11:50:54Z"; 0 when it is no time. */
static int64_t time_parse(const char *text)
{
    struct tm tm = {0};
    if (sscanf(text, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) !=
        6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm);
}

struct line {
    const char *path;
    bool is_running;
    int64_t end_s; /* of the certificate */
    int64_t due_s; /* when HAProxy orders the next one */
};

/* A line of `acme status`: columns that are separated by tabs. The line is split in place. */
static bool line_parse(char *line, struct line *ret_line)
{
    char *columns[6], *rest = line;
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        if (!(columns[i] = strsep(&rest, "\t")))
            return false;
    *ret_line = (struct line){.path = columns[0],
                              .is_running = strcmp(columns[2], "Running") == 0,
                              .end_s = time_parse(columns[3]),
                              .due_s = time_parse(columns[5])};
    return acme_is_file(ret_line->path);
}

/* Another certificate is being replaced at this moment. */
static bool is_locked(const struct runtime_answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ssl_file_answer_is_locked(answers[i].text))
            return true;
    return false;
}

static void on_dumped(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    struct acme *c = &a->acme;
    c->call = NULL;
    if (err)
        log_debug("Certificates that HAProxy has obtained could not be read; this is tried again", "error", err->text);
    if (!err && is_locked(answers, count) && c->repeats++ < REPEATS_MAX) {
        dump_begin(a);
        return;
    }
    for (size_t i = 0; i < count && i < c->asked.length; i++)
        if (!acme_files_take(a, c->asked.items[i], answers[i].text, answers[i].length))
            log_debug("What HAProxy has obtained is no certificate that can be saved", "file", c->asked.items[i]);
    look_end(a);
}

static void asked_clear(struct acme *c)
{
    for (size_t i = 0; i < c->asked.length; i++)
        free(c->asked.items[i]);
    vec_clear(&c->asked);
}

static void dump_begin(struct agent *a)
{
    struct acme *c = &a->acme;
    struct batch reads = {0};
    for (size_t i = 0; i < c->asked.length; i++)
        (void)batch_add_read(&reads, xasprintf("dump ssl cert %s", c->asked.items[i]));
    int64_t deadline_ns = a->config.command_deadline_ns * (int64_t)(1 + c->asked.length / DUMPS_PER_DEADLINE);
    c->call = runtime_run(a->loop, a->config.runtime_socket, reads.commands.items, reads.commands.length, deadline_ns,
                          ANSWER_MAX_BYTES, on_dumped, a);
    batch_done(&reads);
}

/* The result of one look at HAProxy's certificates. */
struct found {
    struct map used; /* paths */
    double valid, missing;
    int64_t first_end_s; /* 0: there are none */
};

static void count(struct found *f, const struct line *line, int64_t now_s)
{
    map_put(&f->used, line->path, f);
    if (line->end_s <= now_s)
        f->missing++;
    else
        f->valid++;
    if (line->end_s > now_s && (!f->first_end_s || line->end_s < f->first_end_s))
        f->first_end_s = line->end_s;
}

static void tell(struct agent *a, const struct found *f)
{
    metric_set(
        metric_gauge(a->metrics, "haptic_acme_orders_failing", "Certificates that HAProxy orders and cannot get."),
        (double)orders_failing(&a->acme.orders));
    static const char help[] = "Certificates that HAProxy obtains itself. missing: there is none yet, or it has ended.";
    metric_set(metric_gauge(a->metrics, "haptic_acme_certificates", help, "state", "valid"), f->valid);
    metric_set(metric_gauge(a->metrics, "haptic_acme_certificates", help, "state", "missing"), f->missing);
    metric_set(metric_gauge(a->metrics, "haptic_acme_certificate_first_end_timestamp_seconds",
                            "When the first of the certificates expires that HAProxy has obtained; 0: there are none."),
               (double)f->first_end_s);
}

static void on_status(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t length)
{
    struct agent *a = ctx;
    struct acme *c = &a->acme;
    struct line line;
    struct found found = {0};
    int64_t now_s = clock_wall_s();
    c->call = NULL;
    asked_clear(c);
    if (err || length != 2) {
        look_end(a);
        return;
    }
    orders_hear(&c->orders, answers[1].text);
    CLEANUP(free_ptr) char *text = xmemdup0(answers[0].text, answers[0].length);
    char *rest = text, *at;
    while ((at = strsep(&rest, "\n"))) {
        if (*at == '#' || !line_parse(at, &line))
            continue;
        count(&found, &line, now_s);
        const struct order_sight sight = {.path = line.path, .is_running = line.is_running, .due_s = line.due_s};
        orders_see(&c->orders, &sight, now_s, clock_now_ns());
        /* Until it has the certificate, HAProxy shows a placeholder of its own that has expired. */
        if (line.end_s > now_s && !acme_files_have(a, line.path, line.end_s) && c->asked.length < DUMPS_MAX)
            vec_push(&c->asked, xstrdup(line.path));
    }
    if (orders_look_end(&c->orders) && a->config.orders_changed)
        a->config.orders_changed(a->ctx);
    tell(a, &found);
    acme_files_sweep(a, &found.used, now_s);
    map_done(&found.used);
    c->repeats = 0;
    if (c->asked.length)
        dump_begin(a);
    else
        look_end(a);
}

/* ---- orders that HAProxy gave up ---- */

static void on_renewed(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    struct agent *a = ctx;
    a->acme.call = NULL;
    for (size_t i = 0; !err && i < count; i++)
        if (answers[i].length)
            log_debug("HAProxy does not begin an order again", "answer", answers[i].text);
}

static void retry(struct agent *a)
{
    struct batch commands = {0};
    const char *path;
    while (commands.commands.length < RETRIES_MAX && (path = orders_next(&a->acme.orders, clock_now_ns()))) {
        log_info("HAProxy gave up the order of a certificate; the order is started again", "file", path);
        (void)batch_add_read(&commands, xasprintf("acme renew %s", path));
    }
    metric_add(metric_counter(a->metrics, "haptic_acme_retries_total",
                              "Orders of certificates that HAProxy gave up and that were started again."),
               (double)commands.commands.length);
    if (commands.commands.length)
        a->acme.call = runtime_run(a->loop, a->config.runtime_socket, commands.commands.items, commands.commands.length,
                                   a->config.command_deadline_ns, ANSWER_MAX_BYTES, on_renewed, a);
    batch_done(&commands);
}

/* ---- reading the list ---- */

static void after_saving(struct agent *a, const struct err *err)
{
    (void)a;
    if (err)
        log_warn("Cannot save certificates that HAProxy has obtained; this is tried again", "error", err->text);
}

void acme_save(struct agent *a)
{
    struct disk_files files = {0};
    if (!a->acme.files.items.length || a->writing)
        return;
    size_t count = a->acme.files.items.length;
    acme_files_add(a, &files);
    image_write(a, &files, false, after_saving);
    disk_files_done(&files);
    log_info("Certificates that HAProxy has obtained are saved", "count", log_int((int64_t)count));
}

static void look_end(struct agent *a)
{
    void (*then)(struct agent *) = STEAL(a->acme.then);
    a->acme.next_ns = clock_now_ns() + LOOK_NS;
    then(a);
}

void acme_look(struct agent *a, void (*then)(struct agent *a))
{
    static const char *const commands[] = {"acme status", "show events " ACME_RING};
    acme_cancel(a);
    if (!a->running || !is_used(a)) {
        then(a);
        return;
    }
    a->acme.then = then;
    a->acme.call = runtime_run(a->loop, a->config.runtime_socket, commands, 2, a->config.command_deadline_ns,
                               ANSWER_MAX_BYTES, on_status, a);
}

static void after_looking(struct agent *a)
{
    acme_save(a);
    retry(a);
}

void acme_init(struct agent *a)
{
    orders_init(&a->acme.orders, a->config.order_retry_ns);
}

void acme_begin(struct agent *a)
{
    if (a->acme.call || !a->known || clock_now_ns() < a->acme.next_ns)
        return;
    a->acme.next_ns = clock_now_ns() + LOOK_NS;
    acme_look(a, after_looking);
}

void acme_cancel(struct agent *a)
{
    if (a->acme.call)
        runtime_cancel(STEAL(a->acme.call));
    a->acme.then = NULL;
}

void acme_done(struct agent *a)
{
    asked_clear(&a->acme);
    vec_done(&a->acme.asked);
    orders_done(&a->acme.orders);
    acme_files_done(a);
}

void agent_each_failing_order(const struct agent *a, void (*fn)(void *ctx, const char *file, const char *reason),
                              void *ctx)
{
    orders_each_failing(&a->acme.orders, fn, ctx);
}
