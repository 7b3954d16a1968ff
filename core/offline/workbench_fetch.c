/* Contents of URLs are objects among the others here, from files or from a test; what templates want and nobody gives
 * is told. */
#include <string.h>

#include "base/alloc.h"
#include "controller/fetch_wish.h"
#include "offline/workbench_state.h"

struct search {
    const char *url;
    bool found;
};

static void compare(void *ctx, struct object *o)
{
    struct search *s = ctx;

    s->found = s->found || (o->index_count > 0 && strcmp(o->index[0], s->url) == 0);
}

static bool is_given(const struct workbench *w, const char *url)
{
    const struct store_kind *kind = store_kind_by_name(w->store, FETCH_KIND);
    struct search s = {.url = url};

    if (kind != NULL)
        store_each(kind, compare, &s);
    return s.found;
}

struct asking {
    struct workbench *w;
    void (*fn)(void *ctx, bool allowed, const char *why);
    void *ctx;
};

static void look(const struct asking *a, const struct fragment *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct fetch_wish wish;
        struct err why;
        if (f->items[i].kind != CONTRIBUTION_FETCH || fetch_wish_read(&f->items[i], &wish, &why) < 0)
            continue;
        /* A dump has what the controller had, and not what it allows. */
        bool allowed = a->w->options.dump != NULL || url_rules_find(&a->w->config->fetch_rules, wish.url, &why) != NULL;
        if (!allowed) {
            a->fn(a->ctx, false, why.text);
        } else if (!is_given(a->w, wish.url)) {
            CLEANUP(free_ptr) char *shown = url_shown(wish.url);
            CLEANUP(free_ptr) char *message = xasprintf("no content is given for %s", shown);
            a->fn(a->ctx, true, message);
        }
        fetch_wish_done(&wish);
    }
}

void workbench_each_unfetched(struct workbench *w, void (*fn)(void *ctx, bool allowed, const char *why), void *ctx)
{
    const struct asking asking = {w, fn, ctx};
    const struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->fragments, &it)) != NULL;)
        look(&asking, slot->value);
}

static void report(void *ctx, bool allowed, const char *why)
{
    findings_add(ctx, &(struct finding){.code = allowed ? FINDING_NOT_FETCHED : FINDING_FETCH_REFUSED, .message = why});
}

void workbench_report_unfetched(struct workbench *w)
{
    workbench_each_unfetched(w, report, w->findings);
}
