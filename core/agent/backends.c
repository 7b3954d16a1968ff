/* Backends and their servers: planning of commands, and comparison with HAProxy's answers afterwards. */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

/* HAProxy needs about 60 ns for each existing backend. The limit of 3 s allows 5 000 new backends beside 10 000, and
 * 500 beside 100 000. */
#define APPEARING_COST_MAX 50000000

/* ---- planning ---- */

/* The backend needs a reload, which may have to wait. Plans the part of the change that commands can make; that part is
 * the wanted state until the reload. */
static void plan_reach(struct agent *a, struct plan *part, struct touched_backend *b, const struct live_backend *live,
                       const struct buf *default_words, struct plan *plan)
{
    CLEANUP(cfg_backend_done) struct cfg_backend view = {0};
    struct cfg_backend reach = {0};
    struct plan possible = {0};
    if (!backend_in_reach(a, &b->wanted, live, &reach, &view))
        return;
    plan_backend(&possible, &a->caps, strchr(b->name, ' ') + 1, live->listen, &reach, &view, default_words);
    if (possible.reload || !plan_count(&possible)) {
        plan_done(&possible);
        cfg_backend_done(&reach);
        return;
    }
    for (size_t i = 0; i < reach.servers.length; i++) {
        const struct cfg_server *s = cfg_backend_server(&live->cfg, reach.servers.items[i]->name);
        reach.servers.items[i]->words_known = !s || s->words_known;
    }
    plan_reload(plan, part->reload_class, "%s", part->reload);
    plan_done(part);
    *part = possible;
    cfg_backend_done(&b->wanted);
    b->wanted = reach;
}

/* HAProxy derives a backend at runtime only from a profile that it has loaded. When the loaded texts are not known,
 * HAProxy is asked.
 * asked. */
static bool lacks_profile(const struct agent *a, const struct cfg_backend *wanted)
{
    CLEANUP(free_ptr) char *profile = xasprintf("defaults %s", wanted->from);
    return *wanted->from && a->live->sections.count > 0 && !live_section(a->live, profile);
}

/* A new backend, placed after those that were made at runtime already. */
static bool is_one_too_many(const struct agent *a, const struct touched *t)
{
    uint64_t most = a->config.appearing_cost_max ? a->config.appearing_cost_max : APPEARING_COST_MAX;

    return a->caps.dynamic_backends && t->appearing_cost > most;
}

void touch_backend(struct agent *a, struct touched *t, const char *name, struct plan *plan)
{
    struct touched_backend b = {.name = xstrdup(name)};
    struct live_backend *live = live_backend(a->live, name);
    struct plan part = {0};
    struct err err;

    if (wanted_parse(a, name, MODEL_ACCEPTED, &b.wanted, &b.is_wanted, &err) < 0) {
        plan_reload(plan, "secret", "%s", err.text);
        free(b.name);
        return;
    }
    if (!b.is_wanted && (!live || live->gone)) {
        free(b.name);
        return;
    }
    if (a->apply.round == ROUND_REST && map_get(&a->apply.avoid, name)) {
        plan_reload(plan, "surprise", "%s did not do as it was told", name);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    if (b.is_wanted && !live && a->caps.dynamic_backends && lacks_profile(a, &b.wanted)) {
        plan_reload(plan, "backend", "%s is new, as is defaults %s", name, b.wanted.from);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    if (b.is_wanted && !live && is_one_too_many(a, t)) {
        plan_reload(plan, "backend", "%s is one of too many that are new at once", name);
        free(b.name);
        cfg_backend_done(&b.wanted);
        return;
    }
    CLEANUP(buf_done) struct buf default_words = {0};
    if (b.is_wanted)
        live_default_words(a->live, b.wanted.from, &default_words);
    bool listen = strncmp(name, "listen ", 7) == 0;
    plan_backend(&part, &a->caps, strchr(name, ' ') + 1, listen, b.is_wanted ? &b.wanted : NULL,
                 live ? &live->cfg : NULL, &default_words);
    if (live && live->gone && b.is_wanted && a->caps.dynamic_backends && !part.reload)
        plan_publish(&part, strchr(name, ' ') + 1);
    if (part.reload && b.is_wanted && live)
        plan_reach(a, &part, &b, live, &default_words, plan);
    b.has_ops = plan_take(plan, &part);
    if (b.has_ops && b.is_wanted && (!live || live->gone))
        map_put(&t->appearing, name, a);
    if (b.has_ops && b.is_wanted && !live)
        t->appearing_cost += a->live->backends.count + t->appearing.count;
    if (b.has_ops || !b.is_wanted || live) {
        vec_push(&t->backends, b);
    } else {
        free(b.name);
        cfg_backend_done(&b.wanted);
    }
}

/* ---- proof ---- */

void backends_add_reads(struct touched *t, struct batch *b)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        struct touched_backend *backend = &t->backends.items[i];
        if (backend->has_ops)
            backend->answer = batch_add_read(b, xasprintf("show servers state %s", strchr(backend->name, ' ') + 1));
    }
}

static int backend_verify(const struct touched_backend *t, const struct live_backend *live, const char *answer,
                          struct err *err)
{
    CLEANUP(cfg_backend_done) struct cfg_backend found = {0};
    live_parse_servers(answer, &found);
    for (size_t i = 0; t->is_wanted && i < t->wanted.servers.length; i++) {
        const struct cfg_server *wanted = t->wanted.servers.items[i];
        const struct cfg_server *s = cfg_backend_server(&found, wanted->name);
        bool other_name = s && !wanted->literal && !s->literal && strcasecmp(wanted->address, s->address) != 0;
        if (!s || other_name || (wanted->literal && !plan_server_matches(wanted, s)))
            return err_set(err, ERR_HAPROXY, "%s: server %s is not as it was set", t->name, wanted->name);
    }
    for (size_t i = 0; i < found.servers.length; i++) {
        const char *name = found.servers.items[i]->name;
        if ((!t->is_wanted || !cfg_backend_server(&t->wanted, name)) &&
            (!live || !cfg_backend_server(&live->cfg, name)))
            return err_set(err, ERR_HAPROXY, "%s: server %s came from elsewhere", t->name, name);
    }
    return 0;
}

int backends_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                    struct err *err)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        const struct touched_backend *b = &t->backends.items[i];
        if (b->has_ops && backend_verify(b, live_backend(a->live, b->name), answers[b->answer].text, err))
            return -1;
    }
    return 0;
}

/* The backend is now as wanted. Servers that were to be deleted and still exist are marked as leaving. */
static void backend_commit(struct agent *a, struct touched_backend *t, const char *answer)
{
    CLEANUP(cfg_backend_done) struct cfg_backend found = {0};
    struct live_backend *live = live_backend_get(a->live, t->name);
    live_parse_servers(answer, &found);
    if (!t->is_wanted && strstr(answer, "Can't find backend")) {
        live_backend_drop(a->live, t->name);
        return;
    }
    if (!t->is_wanted) {
        live->gone = true;
        live_backend_wait(a->live, live);
        t->wanted.from = xstrdup(live->cfg.from ? live->cfg.from : "");
        t->wanted.other = live->cfg.other;
        t->wanted.by_hand = live->cfg.by_hand;
        buf_add(&t->wanted.default_words, buf_str(&live->cfg.default_words), live->cfg.default_words.length);
    } else {
        live->gone = false;
    }
    for (size_t i = 0; i < live->cfg.servers.length; i++) {
        struct cfg_server *s = live->cfg.servers.items[i];
        if (s->leaving)
            a->live->leaving--;
        if (cfg_backend_server(&t->wanted, s->name) || !cfg_backend_server(&found, s->name))
            continue;
        struct cfg_server *stays = cfg_server_copy(s, s->address, s->port);
        stays->admin = CFG_MAINT;
        if (!stays->leaving)
            stays->leave_by_ns = clock_now_ns() + a->config.drain_ns;
        stays->leaving = true;
        a->live->leaving++;
        live_backend_wait(a->live, live);
        cfg_backend_insert(&t->wanted, stays);
    }
    live_backend_take(a->live, live, &t->wanted);
    live->unknown = false;
    for (size_t i = 0; i < live->cfg.servers.length; i++)
        if (live->cfg.servers.items[i]->words_known)
            shape_learn(a, live->cfg.servers.items[i], live->cfg.from);
}

void backends_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->backends.length; i++)
        if (t->backends.items[i].has_ops)
            backend_commit(a, &t->backends.items[i], answers[t->backends.items[i].answer].text);
}

void backends_done(struct touched *t)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        free(t->backends.items[i].name);
        cfg_backend_done(&t->backends.items[i].wanted);
    }
    vec_done(&t->backends);
    map_done(&t->appearing);
    map_init(&t->appearing, false);
    t->appearing_cost = 0;
}
