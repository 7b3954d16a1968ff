/* Two ring buffers. */
#include "controller/generation_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"

/* Cuts between characters, because the text becomes a part of JSON. */
static void copy_text(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);

    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
            length--;
    }
    memcpy(to, text, length);
    to[length] = '\0';
}

void generation_log_init(struct generation_log *h)
{
    *h = (struct generation_log){.events = xcalloc(GENERATION_LOG_EVENTS, sizeof(*h->events))};
    copy_text(h->trigger, sizeof(h->trigger), "start");
}

void generation_log_done(struct generation_log *h)
{
    free(h->events);
    h->events = NULL;
}

/* Called for each change of the store. Only the first call before a rendering does work. */
void generation_log_trigger(struct generation_log *h, const char *kind, const char *namespace, const char *name)
{
    h->changes++;
    if (h->trigger[0] != '\0')
        return;
    char text[GENERATION_LOG_TEXT * 2];
    snprintf(text, sizeof(text), "%s%s%s%s%s", kind, *name ? " " : "", namespace, *namespace ? "/" : "", name);
    copy_text(h->trigger, sizeof(h->trigger), text);
}

void generation_log_asked(struct generation_log *h)
{
    if (h->trigger[0] != '\0')
        memcpy(h->asked, h->trigger, sizeof(h->asked));
    h->asked_changes = h->changes;
    h->trigger[0] = '\0';
    h->changes = 0;
}

void generation_log_rendered(struct generation_log *h, uint64_t fragments_run, int64_t render_ns, uint64_t pending)
{
    h->fragments_run = fragments_run;
    h->render_ns = render_ns;
    h->pending = pending;
}

static struct generation_entry *add(struct generation_log *h, uint64_t generation, enum generation_verdict verdict)
{
    struct generation_entry *g = &h->generations[h->generation_count++ % GENERATION_LOG_GENERATIONS];

    *g = (struct generation_entry){.generation = generation,
                                   .time_us = clock_wall_us(),
                                   .changes = h->asked_changes,
                                   .fragments_run = h->fragments_run,
                                   .render_ns = h->render_ns,
                                   .verdict = verdict};
    copy_text(g->trigger, sizeof(g->trigger), h->asked[0] != '\0' ? h->asked : "an earlier change");
    return g;
}

void generation_log_accepted(struct generation_log *h, uint64_t generation, uint64_t pending, unsigned checks,
                             int64_t check_ns)
{
    struct generation_entry *g = add(h, generation, GENERATION_LOG_ACCEPTED);

    g->items = h->pending > pending ? h->pending - pending : 0;
    g->checks = checks;
    g->check_ns = check_ns;
    h->pending = pending;
}

static struct generation_entry *newest(struct generation_log *h)
{
    return h->generation_count > 0 ? &h->generations[(h->generation_count - 1) % GENERATION_LOG_GENERATIONS] : NULL;
}

/* While nothing changes, the same refusal occurs again and again. */
void generation_log_refused(struct generation_log *h, uint64_t generation, unsigned checks, int64_t check_ns,
                            const char *problem)
{
    struct generation_entry *g = newest(h);
    char text[GENERATION_LOG_TEXT];

    copy_text(text, sizeof(text), problem);
    if (g == NULL || g->verdict != GENERATION_LOG_REFUSED || strcmp(g->problem, text) != 0)
        g = add(h, generation, GENERATION_LOG_REFUSED);
    memcpy(g->problem, text, sizeof(text));
    g->checks = checks;
    g->check_ns = check_ns;
}

static bool awaits(const struct generation_entry *g, uint64_t generation)
{
    return g->verdict == GENERATION_LOG_ACCEPTED && g->generation <= generation && g->deployment != GENERATION_LOG_LIVE;
}

void generation_log_sum(const struct generation_log *h, uint64_t generation, struct generation_sum *ret_sum)
{
    uint64_t count = h->generation_count < GENERATION_LOG_GENERATIONS ? h->generation_count
                                                                      : GENERATION_LOG_GENERATIONS;

    *ret_sum = (struct generation_sum){0};
    for (uint64_t i = h->generation_count - count; i < h->generation_count; i++) {
        const struct generation_entry *g = &h->generations[i % GENERATION_LOG_GENERATIONS];
        if (!awaits(g, generation))
            continue;
        if (ret_sum->trigger[0] == '\0')
            memcpy(ret_sum->trigger, g->trigger, sizeof(g->trigger));
        ret_sum->changes += g->changes;
        ret_sum->render_ns += g->render_ns;
        ret_sum->check_ns += g->check_ns;
    }
}

/* When a generation is live, all earlier ones are live as well. */
static struct generation_entry *reach(struct generation_log *h, uint64_t generation, enum generation_deployment state)
{
    struct generation_entry *last = NULL;

    for (uint64_t i = 0; i < GENERATION_LOG_GENERATIONS && i < h->generation_count; i++) {
        struct generation_entry *g = &h->generations[i];
        if (!awaits(g, generation))
            continue;
        if (state == GENERATION_LOG_LIVE || g->generation == generation)
            g->deployment = state;
        if (g->generation == generation)
            last = g;
    }
    return last;
}

void generation_log_live(struct generation_log *h, uint64_t generation, bool reloaded, unsigned operations,
                         int64_t deploy_ns)
{
    struct generation_entry *g = reach(h, generation, GENERATION_LOG_LIVE);

    if (g == NULL)
        return;
    g->problem[0] = '\0';
    g->reloaded = reloaded;
    g->operations = operations;
    g->deploy_ns = deploy_ns;
}

void generation_log_failed(struct generation_log *h, uint64_t generation, const char *problem)
{
    struct generation_entry *g = reach(h, generation, GENERATION_LOG_FAILED);

    if (g != NULL)
        copy_text(g->problem, sizeof(g->problem), problem);
}

void generation_log_tell(struct generation_log *h, bool warning, const char *kind, const char *id, const char *reason,
                         const char *message)
{
    struct generation_message *e = &h->events[h->event_count++ % GENERATION_LOG_EVENTS];
    char object[GENERATION_LOG_TEXT * 2];

    *e = (struct generation_message){.time_us = clock_wall_us(), .warning = warning};
    snprintf(object, sizeof(object), "%s%s%s", kind, *kind ? " " : "", id);
    copy_text(e->object, sizeof(e->object), object);
    copy_text(e->reason, sizeof(e->reason), reason);
    copy_text(e->message, sizeof(e->message), message);
}

/* ---- JSON ---- */

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

static void put_time(struct buf *out, const char *before, int64_t time_us)
{
    char text[CLOCK_RFC3339_SIZE];

    put_string(out, before, clock_format_micro(time_us, text));
}

static double seconds(int64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

void generation_log_write_generations(const struct generation_log *h, struct buf *out)
{
    static const char *const verdicts[] = {
        [GENERATION_LOG_ACCEPTED] = "accepted", [GENERATION_LOG_REFUSED] = "refused"};
    static const char *const deployments[] = {
        [GENERATION_LOG_OPEN] = "open", [GENERATION_LOG_LIVE] = "live", [GENERATION_LOG_FAILED] = "failed"};

    buf_puts(out, "{\"generations\":[");
    for (uint64_t i = 0; i < GENERATION_LOG_GENERATIONS && i < h->generation_count; i++) {
        const struct generation_entry *g = &h->generations[(h->generation_count - 1 - i) % GENERATION_LOG_GENERATIONS];
        buf_printf(out, "%s{\"generation\":%" PRIu64, i > 0 ? "," : "", g->generation);
        put_time(out, ",\"time\":", g->time_us);
        put_string(out, ",\"trigger\":", g->trigger);
        buf_printf(out,
                   ",\"changes\":%" PRIu64 ",\"fragments_run\":%" PRIu64 ",\"items\":%" PRIu64
                   ",\"render_seconds\":%.6f,\"checks\":%u,\"check_seconds\":%.6f,\"verdict\":\"%s\"",
                   g->changes, g->fragments_run, g->items, seconds(g->render_ns), g->checks, seconds(g->check_ns),
                   verdicts[g->verdict]);
        put_string(out, ",\"problem\":", g->problem);
        buf_printf(out, ",\"deployment\":\"%s\",\"reloaded\":%s,\"operations\":%u,\"deploy_seconds\":%.6f}",
                   deployments[g->deployment], g->reloaded ? "true" : "false", g->operations, seconds(g->deploy_ns));
    }
    buf_puts(out, "]}\n");
}

void generation_log_write_events(const struct generation_log *h, struct buf *out)
{
    buf_puts(out, "{\"events\":[");
    for (uint64_t i = 0; i < GENERATION_LOG_EVENTS && i < h->event_count; i++) {
        const struct generation_message *e = &h->events[(h->event_count - 1 - i) % GENERATION_LOG_EVENTS];
        put_time(out, i > 0 ? ",{\"time\":" : "{\"time\":", e->time_us);
        buf_printf(out, ",\"type\":\"%s\"", e->warning ? "Warning" : "Normal");
        put_string(out, ",\"object\":", e->object);
        put_string(out, ",\"reason\":", e->reason);
        put_string(out, ",\"message\":", e->message);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}\n");
}
