/* An agent without a process: its live view is that of a process that has loaded the accepted state. Changes of
 * servers, and backends that consist of servers only, are applied to the view. A change of other sections makes the
 * view stale.
 */
#include "agent/judge.h"

#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

struct judge {
    struct agent agent; /* model, vault, live, shapes, HAProxy's abilities; all else stays zero */
    bool stale;
};

struct judge *judge_new(struct model *model, struct vault *vault)
{
    struct judge *j = xcalloc(1, sizeof(*j));
    j->agent.model = model;
    j->agent.config.vault = vault;
    j->agent.known = j->agent.caps_known = true;
    j->agent.live = live_new();
    j->stale = true;
    return j;
}

struct judge *judge_free(struct judge *j)
{
    if (!j)
        return NULL;
    live_free(j->agent.live);
    map_done(&j->agent.shapes);
    map_done(&j->agent.contested_maps);
    free(j);
    return NULL;
}

void judge_set_dynamic_backends(struct judge *j, bool all_can)
{
    j->agent.caps.dynamic_backends = all_can;
}

/* ---- applying a change to the view ---- */

/* True for a backend that cannot refer to a map or to another section. */
static bool is_servers_only(const struct cfg_backend *b)
{
    if (b->by_hand || !*b->from || !digest_equal(b->other, digest_of("", 0)))
        return false;
    for (size_t i = 0; i < b->servers.length; i++)
        if (!b->servers.items[i]->plain ||
            memmem(b->servers.items[i]->words, b->servers.items[i]->words_length, "track", strlen("track")))
            return false;
    return true;
}

static void see_backend(struct judge *j, const char *name)
{
    CLEANUP(cfg_backend_done) struct cfg_backend wanted = {0};
    struct live_backend *live = live_backend(j->agent.live, name);
    bool is_wanted;
    if (wanted_parse(&j->agent, name, MODEL_ACCEPTED, &wanted, &is_wanted, NULL) < 0) {
        j->stale = true;
        return;
    }
    if (!is_wanted) {
        live_backend_drop(j->agent.live, name);
        return;
    }
    if (!live && strncmp(name, "backend ", 8) == 0 && is_servers_only(&wanted))
        live = live_backend_get(j->agent.live, name);
    else if (!live || strcmp(live->cfg.from, wanted.from) != 0 || !digest_equal(live->cfg.other, wanted.other)) {
        j->stale = true;
        return;
    }
    live_backend_take(j->agent.live, live, &wanted);
    for (size_t i = 0; i < live->cfg.servers.length; i++)
        if (live->cfg.servers.items[i]->words_known)
            shape_learn(&j->agent, live->cfg.servers.items[i], live->cfg.from);
}

static void see_item(void *ctx, struct item *item)
{
    struct judge *j = ctx;
    bool is_section = item->kind == CONTRIBUTION_SECTION || item->kind == CONTRIBUTION_SECTION_FROM;
    struct live_map *map = item->kind == CONTRIBUTION_MAP_ENTRY ? live_map(j->agent.live, item->scope) : NULL;
    if (j->stale)
        return;
    if (is_section && live_name_is_backend(item->scope))
        see_backend(j, item->scope);
    else /* which entries there are decides nothing, only whether HAProxy uses their map */
        j->stale = is_section || (item->kind == CONTRIBUTION_MAP_ENTRY && (!map || !item->key[0]));
}

void judge_see(struct judge *j)
{
    if (!j->stale)
        model_each_changed(j->agent.model, see_item, j);
}

/* ---- making the view again ---- */

static void look_anew(struct judge *j)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    struct map_slot *slot;
    struct err err;
    int64_t begin_ns = clock_now_ns();
    j->agent.live = live_free(j->agent.live);
    j->agent.live = live_new();
    model_write_config(j->agent.model, MODEL_ACCEPTED, &text, NULL);
    if (expand_buf(j->agent.config.vault, EXPAND_CONFIG, &text, NULL, &err) < 0)
        return; /* the view stays stale: HAProxy checks everything */
    live_load_config(j->agent.live, buf_str(&text), text.length);
    for (size_t it = 0; (slot = map_next(&j->agent.live->maps, &it));)
        ((struct live_map *)slot->value)->used = true;
    shapes_learn_all(&j->agent);
    j->stale = false;
    log_debug("What was accepted was looked at from scratch", "duration", log_duration(clock_now_ns() - begin_ns));
}

void judge_begin(struct judge *j)
{
    judge_see(j);
    if (j->stale)
        look_anew(j);
    agent_judge_begin(&j->agent);
}

bool judge_is_structural(struct judge *j, struct item *const *items, size_t count)
{
    judge_see(j);
    if (j->stale)
        look_anew(j);
    return !j->stale && agent_is_structural(&j->agent, items, count);
}
