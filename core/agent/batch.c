/* A batch is one stage of the plan or several; the last one ends with commands that read back what was touched. Only
 * what was read becomes the new live view.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

static void batch_add_stage(struct agent *a, struct batch *b, size_t stage)
{
    for (size_t i = 0; i < a->apply.plan.ops[stage].length; i++) {
        vec_push(&b->commands, a->apply.plan.ops[stage].items[i].command);
        vec_push(&b->types, a->apply.plan.ops[stage].items[i].type);
    }
}

static void batch_add_reads(struct agent *a, struct batch *b)
{
    CLEANUP(buf_done) struct buf words = {0};
    for (size_t i = 0; i < a->apply.touched.backends.length; i++) {
        struct touched_backend *t = &a->apply.touched.backends.items[i];
        if (t->has_ops)
            t->answer = batch_add_read(b, xasprintf("show servers state %s", strchr(t->name, ' ') + 1));
    }
    for (size_t i = 0; i < a->apply.touched.entries.length; i++) {
        struct touched_entry *t = &a->apply.touched.entries.items[i];
        buf_clear(&words);
        if (!plan_word(&words, t->map->path))
            continue;
        buf_putc(&words, ' ');
        if (plan_word(&words, t->key))
            t->answer = batch_add_read(b, xasprintf("get map %s", words.data));
    }
    certificates_add_reads(a, b);
    lists_add_reads(a, b);
}

static bool adds_backend(const struct plan *plan)
{
    for (size_t i = 0; i < plan->ops[PLAN_APPEAR].length; i++)
        if (plan->ops[PLAN_APPEAR].items[i].type == PLAN_BACKEND_ADD)
            return true;
    return false;
}

bool batch_next(struct agent *a, struct batch *b)
{
    const struct plan *plan = &a->apply.plan;
    batch_done(b);
    while (a->apply.stage < PLAN_STAGES && !b->commands.length) {
        /* Routes go together with what they lead to, unless that is a backend whose making might be refused, or a
         * certificate. */
        size_t last = a->apply.stage == PLAN_VANISH                                      ? PLAN_VANISH
                      : a->apply.stage == PLAN_CERTIFY && plan->ops[PLAN_CERTIFY].length ? PLAN_CERTIFY
                      : a->apply.stage <= PLAN_APPEAR && adds_backend(plan)              ? PLAN_APPEAR
                                                                                         : PLAN_UNROUTE;
        while (a->apply.stage <= last)
            batch_add_stage(a, b, a->apply.stage++);
    }
    if (!b->commands.length)
        return false;
    bool more = false;
    for (size_t stage = a->apply.stage; stage < PLAN_STAGES; stage++)
        more |= plan->ops[stage].length > 0;
    if (!more) {
        a->apply.stage = PLAN_STAGES;
        batch_add_reads(a, b);
    }
    return true;
}

void batch_reads(struct agent *a, struct batch *b)
{
    batch_done(b);
    batch_add_reads(a, b);
}

/* Redacted before it is cut: of a value that is cut nothing would be recognised. */
static int surprise_describe(const struct agent *a, const char *answer, const char *command, struct err *err)
{
    CLEANUP(free_ptr) char *clean_answer = agent_redacted(a, answer), *clean_command = agent_redacted(a, command);
    return err_set(err, ERR_HAPROXY, "HAProxy answered '%.200s' to '%.200s'", clean_answer, clean_command);
}

static bool is_about_certificates(enum plan_op_type type)
{
    return type == PLAN_CERTIFICATE_ABORT || type == PLAN_CERTIFICATE_NEW || type == PLAN_CERTIFICATE_SET ||
           type == PLAN_CERTIFICATE_ADD || type == PLAN_CERTIFICATE_COMMIT || type == PLAN_CERTIFICATE_DEL ||
           type == PLAN_LIST_ADD || type == PLAN_LIST_DEL;
}

/* "set ssl cert FILE …", "add ssl crt-list FILE …": it is to be left alone. */
static void avoid_file(struct agent *a, const char *command)
{
    for (unsigned word = 0; word < 3; word++) {
        command += strcspn(command, " ");
        command += strspn(command, " ");
    }
    CLEANUP(free_ptr) char *path = xmemdup0(command, strcspn(command, " \n"));
    map_put(&a->apply.avoid, path, a);
}

/* "del server b/s", "set server b/s …", "add backend b …": b is to be left alone. */
static void avoid_backend(struct agent *a, enum plan_op_type type, const char *command)
{
    if (type == PLAN_MAP_ADD || type == PLAN_MAP_SET || type == PLAN_MAP_DEL)
        return;
    const char *target = strstr(command, "server ");
    target = target ? target + 7 : strstr(command, "backend ");
    if (!target)
        return;
    target += strncmp(target, "backend ", 8) == 0 ? 8 : 0;
    size_t length = strcspn(target, "/ ");
    CLEANUP(free_ptr) char *backend = xasprintf("backend %.*s", (int)length, target);
    CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", (int)length, target);
    map_put(&a->apply.avoid, live_backend(a->live, listen) ? listen : backend, a);
}

int batch_judge(struct agent *a, const struct batch *b, const struct runtime_answer *answers, struct err *err)
{
    int result = 0;
    for (size_t i = 0; i < b->types.length; i++) {
        enum plan_op_type type = b->types.items[i];
        if (plan_judge(type, answers[i].text) == PLAN_SURPRISE) {
            if (is_about_certificates(type))
                avoid_file(a, b->commands.items[i]);
            else
                avoid_backend(a, type, b->commands.items[i]);
            if (!result)
                result = surprise_describe(a, answers[i].text, b->commands.items[i], err);
            continue;
        }
        a->operations++;
        a->apply.operations++;
        metric_add(metric_counter(a->metrics, "haptic_runtime_operations_total",
                                  "Commands that changed something in a running HAProxy.", "type", plan_op_name(type)),
                   1);
    }
    return result;
}

static const char *answer_of(const struct runtime_answer *answers, size_t i)
{
    return answers[i].text;
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

int touched_verify(struct agent *a, const struct touched *t, const struct runtime_answer *answers, struct err *err)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        const struct touched_backend *b = &t->backends.items[i];
        if (b->has_ops && backend_verify(b, live_backend(a->live, b->name), answer_of(answers, b->answer), err))
            return -1;
    }
    if (certificates_verify(t, answers, err) < 0 || lists_verify(a, t, answers, err) < 0)
        return -1;
    for (size_t i = 0; i < t->entries.length; i++) {
        const struct touched_entry *e = &t->entries.items[i];
        bool understood = true;
        if (e->map->unreadable ||
            live_map_answer_is(answer_of(answers, e->answer), e->key, e->wanted ? e->wanted->bytes : NULL,
                               &understood) ||
            !understood)
            continue;
        CLEANUP(free_ptr) char *key = agent_redacted(a, e->key);
        return err_set(err, ERR_HAPROXY, "map %s: the entry of %.100s is not as it was set", e->map->path, key);
    }
    return 0;
}

/* The backend is now as wanted; servers that were to go and are still there stay on as leaving. */
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
    cfg_backend_done(&live->cfg);
    live->cfg = t->wanted;
    live->unknown = false;
    memset(&t->wanted, 0, sizeof(t->wanted));
    for (size_t i = 0; i < live->cfg.servers.length; i++)
        if (live->cfg.servers.items[i]->words_known)
            shape_learn(a, live->cfg.servers.items[i], live->cfg.from);
}

void touched_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->backends.length; i++)
        if (t->backends.items[i].has_ops)
            backend_commit(a, &t->backends.items[i], answer_of(answers, t->backends.items[i].answer));
    for (size_t i = 0; i < t->entries.length; i++)
        live_map_set(t->entries.items[i].map, t->entries.items[i].key, t->entries.items[i].wanted);
    certificates_commit(a, t, answers);
    lists_commit(a, t, answers);
}
