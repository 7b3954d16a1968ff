/* Metrics and the debug page. No URL is shown with its query, which may contain a secret. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/fetcher_state.h"
#include "data/json.h"

static const char *state_of(const struct fetch_entry *e)
{
    return e->state == FETCH_REFUSED ? "refused" : !e->has_content ? "missing" : e->problem != NULL ? "stale" : "good";
}

void fetcher_collect(const struct fetcher *f)
{
    static const char *const states[] = {"good", "stale", "missing", "refused"};
    size_t counts[ARRAY_LEN(states)] = {0};
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;)
        for (size_t i = 0; i < ARRAY_LEN(states); i++)
            counts[i] += strcmp(state_of(slot->value), states[i]) == 0;
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        metric_set(
            metric_gauge(f->metrics, "haptic_http_urls", "URLs that templates fetch, by state.", "state", states[i]),
            (double)counts[i]);
    metric_set(metric_gauge(f->metrics, "haptic_http_bytes", "Bytes of fetched contents."), (double)f->bytes);
}

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

void fetcher_describe(const struct fetcher *f, struct buf *out)
{
    const struct map_slot *slot;
    int64_t now = clock_now_ns();
    size_t told = 0;

    buf_putc(out, '[');
    for (size_t it = 0; told < FETCH_URLS_MAX && (slot = map_next(&f->entries, &it)) != NULL; told++) {
        const struct fetch_entry *e = slot->value;
        CLEANUP(free_ptr) char *shown = url_shown(e->how.url);
        put_string(out, told > 0 ? ",{\"url\":" : "{\"url\":", shown);
        put_string(out, ",\"state\":", state_of(e));
        buf_printf(out, ",\"status\":%ld,\"bytes\":%zu,\"wanted_by\":%zu", e->status, e->bytes, e->asks.length);
        if (e->good_ns != 0)
            buf_printf(out, ",\"age_seconds\":%lld", (long long)((now - e->good_ns) / NS_PER_S));
        if (e->state == FETCH_WAITS)
            buf_printf(out, ",\"next_seconds\":%lld", (long long)(e->due_ns > now ? (e->due_ns - now) / NS_PER_S : 0));
        if (e->problem != NULL)
            put_string(out, ",\"error\":", e->problem);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

void fetcher_write_objects(const struct fetcher *f, struct buf *out)
{
    const struct map_slot *slot;
    bool first = true;

    buf_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
    for (size_t it = 0; (slot = map_next(&f->entries, &it)) != NULL;) {
        const struct fetch_entry *e = slot->value;
        if (e->object == NULL)
            continue;
        buf_puts(out, first ? "\n" : ",\n");
        object_text(e->object, out);
        first = false;
    }
    buf_puts(out, "\n]}\n");
}
