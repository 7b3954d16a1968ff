/* An apply touches backends and map entries. Each is planned by itself, so that when one of them needs a reload that
 * has to wait, the others are carried out all the same, but for map entries whose backend is not there. After the
 * commands, what was touched is read back; only what was read becomes the new live view.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

void touched_done(struct touched *t)
{
    for (size_t i = 0; i < t->backends.length; i++) {
        free(t->backends.items[i].name);
        cfg_backend_done(&t->backends.items[i].wanted);
    }
    vec_done(&t->backends);
    for (size_t i = 0; i < t->entries.length; i++) {
        free(t->entries.items[i].key);
        text_unref(t->entries.items[i].wanted);
    }
    vec_done(&t->entries);
    map_done(&t->appearing);
    map_init(&t->appearing, false);
}

static bool name_is_backend(const char *section)
{
    return strncmp(section, "backend ", 8) == 0 || strncmp(section, "listen ", 7) == 0;
}

/* Move the operations of one item into the plan; its reason to reload, too. */
static bool plan_take(struct plan *plan, struct plan *part)
{
    bool has_ops = !part->reload && plan_count(part) > 0;
    if (part->reload) {
        plan_reload(plan, part->reload_class, "%s", part->reload);
    } else {
        for (size_t stage = 0; stage < PLAN_STAGES; stage++) {
            for (size_t i = 0; i < part->ops[stage].length; i++)
                vec_push(&plan->ops[stage], part->ops[stage].items[i]);
            vec_clear(&part->ops[stage]);
        }
    }
    plan_done(part);
    return has_ops;
}

/* ---- what is wanted ---- */

int wanted_parse(const struct agent *a, const char *name, enum model_state state, struct cfg_backend *ret_wanted,
                 bool *ret_is_wanted, struct err *err)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    *ret_is_wanted = s && model_section_text(a->model, s, state, &text, &from);
    if (!*ret_is_wanted)
        return 0;
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &text, NULL, err) < 0)
        return err_wrap(err, "%s", name);
    cfg_backend_parse(buf_str(&text), text.length, from, ret_wanted);
    return 0;
}

static void touch_backend(struct agent *a, struct touched *t, const char *name, struct plan *plan)
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
    CLEANUP(buf_done) struct buf default_words = {0};
    if (b.is_wanted)
        live_default_words(a->live, b.wanted.from, &default_words);
    bool listen = strncmp(name, "listen ", 7) == 0;
    plan_backend(&part, &a->caps, strchr(name, ' ') + 1, listen, b.is_wanted ? &b.wanted : NULL,
                 live ? &live->cfg : NULL, &default_words);
    if (live && live->gone && b.is_wanted && a->caps.dynamic_backends && !part.reload)
        plan_publish(&part, strchr(name, ' ') + 1);
    b.has_ops = plan_take(plan, &part);
    if (b.has_ops && b.is_wanted && (!live || live->gone))
        map_put(&t->appearing, name, a);
    if (b.has_ops || !b.is_wanted || live) {
        vec_push(&t->backends, b);
    } else {
        free(b.name);
        cfg_backend_done(&b.wanted);
    }
}

static void section_compare(struct agent *a, const char *name, struct plan *plan)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    const struct live_section *live = live_section(a->live, name);
    bool wanted = s && model_section_text(a->model, s, MODEL_ACCEPTED, &text, &from);
    struct err err;
    if (!wanted && !live)
        return;
    /* A profile that nothing is derived from any more may stay until the next reload. */
    if (!wanted && strncmp(name, "defaults ", 9) == 0 && !a->live->implicit_from)
        return;
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &text, NULL, &err) < 0) {
        plan_reload(plan, "secret", "%s: %s", name, err.text);
        return;
    }
    size_t type = strcspn(name, " ");
    CLEANUP(free_ptr) char *class = xmemdup0(name, type);
    const char *label = strcmp(class, "frontend") == 0   ? "frontend"
                        : strcmp(class, "defaults") == 0 ? "defaults"
                        : strcmp(class, "global") == 0   ? "global"
                                                         : "section";
    if (!wanted || !live)
        plan_reload(plan, label, "%s %s", name, wanted ? "is new" : "is gone");
    else if (strcmp(from ? from : "", live->from) != 0 ||
             !digest_equal(cfg_text_digest(buf_str(&text), text.length), live->text))
        plan_reload(plan, label, "%s changed", name);
}

/* Does the value name a backend that the model has and that will not be there? It needs a reload that waits, or was
 * accepted while a comparison of everything was under way and comes with the next changes. */
static bool entry_must_wait(struct agent *a, const struct touched *t, const char *value)
{
    if (!value)
        return false;
    CLEANUP(free_ptr) char *name = xasprintf("backend %s", value);
    const struct live_backend *live = live_backend(a->live, name);
    return (!live || live->gone) && !map_get(&t->appearing, name) && model_section(a->model, name);
}

static void touch_entry(struct agent *a, struct touched *t, struct live_map *map, const char *key, struct text *wanted,
                        struct plan *plan)
{
    struct plan part = {0};
    const struct text *live = map_get(&map->entries, key);
    const char *value = wanted ? wanted->bytes : NULL;
    if (text_equal(wanted, live))
        return;
    if (entry_must_wait(a, t, value))
        return;
    plan_map_entry(&part, map->path, key, value, live ? live->bytes : NULL);
    if (plan_take(plan, &part))
        vec_push(&t->entries, ((struct touched_entry){.map = map, .key = xstrdup(key), .wanted = text_ref(wanted)}));
}

/* The same for an entry as the model has it. */
static void touch_item(struct agent *a, struct touched *t, struct live_map *map, const struct item *item,
                       struct plan *plan)
{
    struct revealed_entry entry;
    struct err err;
    if (reveal_entry(a, item->key, item->accepted, &entry, &err) < 0) {
        plan_reload(plan, "secret", "%s: %s", map->path, err.text);
        return;
    }
    touch_entry(a, t, map, entry.key, entry.value, plan);
    reveal_entry_done(&entry);
}

static char *file_path(enum contribution_kind kind, const char *name)
{
    return xasprintf("%s/%s", kind == CONTRIBUTION_FILE ? "files" : "certs", name);
}

static void file_compare(struct agent *a, enum contribution_kind kind, const char *path, const char *bytes,
                         size_t length, struct plan *plan)
{
    CLEANUP(expand_wipe) struct buf expanded = {0};
    const struct digest *live = map_get(&a->live->files, path);
    struct err err;
    if (vault_is_in(bytes, length)) {
        if (expand(a->config.vault, EXPAND_FILE, bytes, length, &expanded, NULL, &err) < 0) {
            plan_reload(plan, "secret", "%s: %s", path, err.text);
            return;
        }
        bytes = buf_str(&expanded);
        length = expanded.length;
    }
    if (!live || !digest_equal(*live, digest_of(bytes, length)))
        plan_reload(plan, kind == CONTRIBUTION_FILE ? "file" : "certificate", "%s changed", path);
}

/* Files of which a part changed: another version of a Secret need not be another content. */
struct changed_files {
    struct agent *a;
    struct map paths;
    struct plan *plan;
};

static void touch_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct changed_files *files = ctx;
    CLEANUP(free_ptr) char *path = file_path(kind, name);
    if (map_del(&files->paths, path))
        file_compare(files->a, kind, path, bytes, length, files->plan);
}

static void touch_files(struct agent *a, const struct model_changes *changes, struct plan *plan)
{
    struct changed_files files = {.a = a, .plan = plan};
    const struct map_slot *slot;
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        if (item->kind != CONTRIBUTION_FILE && item->kind != CONTRIBUTION_CERTIFICATE &&
            item->kind != CONTRIBUTION_CRT_LIST)
            continue;
        CLEANUP(free_ptr) char *path = file_path(item->kind, item->scope);
        map_put(&files.paths, path, a);
    }
    if (files.paths.count)
        model_each_file(a->model, MODEL_ACCEPTED, touch_file, &files);
    for (size_t it = 0; (slot = map_next(&files.paths, &it));)
        if (map_getn(&a->live->files, slot->key, slot->key_length))
            plan_reload(plan, "file", "%.*s is gone", (int)slot->key_length, slot->key);
    map_done(&files.paths);
}

void touch_changes(struct agent *a, struct touched *t, const struct model_changes *changes, struct plan *plan)
{
    /* Sections first: whether a map entry has to wait depends on them. */
    struct map seen = {0};
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        switch (item->kind) {
        case CONTRIBUTION_SECTION:
        case CONTRIBUTION_SECTION_FROM:
            if (map_put(&seen, item->scope, a))
                break;
            if (name_is_backend(item->scope))
                touch_backend(a, t, item->scope, plan);
            else
                section_compare(a, item->scope, plan);
            break;
        case CONTRIBUTION_FILE:
        case CONTRIBUTION_CERTIFICATE:
        case CONTRIBUTION_CRT_LIST:
        case CONTRIBUTION_MAP_ENTRY:
        case CONTRIBUTION_STATUS:
        case CONTRIBUTION_EVENT:
        case CONTRIBUTION_WARNING:
            break;
        }
    }
    for (size_t i = 0; i < changes->items.length; i++) {
        const struct item *item = changes->items.items[i];
        struct live_map *map = item->kind == CONTRIBUTION_MAP_ENTRY ? live_map(a->live, item->scope) : NULL;
        if (map && map->used && item->key[0])
            touch_item(a, t, map, item, plan);
    }
    touch_files(a, changes, plan);
    map_done(&seen);
}

static void add_name(struct walk *w, const char *name, size_t length)
{
    if (!map_putn(&w->seen, name, length, w))
        vec_push(&w->names, xmemdup0(name, length));
}

static void walk_section(void *ctx, struct section *s)
{
    add_name(ctx, s->name, strlen(s->name));
}

void walk_done(struct walk *w)
{
    for (size_t i = 0; i < w->names.length; i++)
        free(w->names.items[i]);
    vec_done(&w->names);
    map_done(&w->seen);
    memset(w, 0, sizeof(*w));
}

void walk_begin(struct agent *a, struct walk *w)
{
    struct map_slot *slot;
    walk_done(w);
    w->a = a;
    model_each_section(a->model, walk_section, w);
    for (size_t it = 0; (slot = map_next(&a->live->sections, &it));)
        add_name(w, slot->key, slot->key_length);
    for (size_t it = 0; (slot = map_next(&a->live->backends, &it));)
        add_name(w, slot->key, slot->key_length);
    map_clear(&w->seen);
}

static void walk_entry(void *ctx, const char *key, const char *value)
{
    struct walk *w = ctx;
    struct apply *p = &w->a->apply;
    struct revealed_entry entry;
    struct err err;
    (void)value;
    const struct item *item = model_map_item(w->a->model, w->map_name, key);
    if (reveal_entry(w->a, key, item->accepted, &entry, &err) < 0) {
        plan_reload(&p->plan, "secret", "%s: %s", w->map->path, err.text);
        return;
    }
    /* Two Secrets may have the same value: the first entry counts, as it does for HAProxy. */
    if (!map_put(&w->seen, entry.key, w))
        touch_entry(w->a, &p->touched, w->map, entry.key, entry.value, &p->plan);
    reveal_entry_done(&entry);
}

static void walk_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct walk *w = ctx;
    CLEANUP(free_ptr) char *path = file_path(kind, name);
    map_put(&w->seen, path, w);
    file_compare(w->a, kind, path, bytes, length, &w->a->apply.plan);
}

static void walk_files(struct walk *w)
{
    struct map_slot *slot;
    map_clear(&w->seen);
    model_each_file(w->a->model, MODEL_ACCEPTED, walk_file, w);
    for (size_t it = 0; (slot = map_next(&w->a->live->files, &it));)
        if (!map_getn(&w->seen, slot->key, slot->key_length))
            plan_reload(&w->a->apply.plan, "file", "%.*s is gone", (int)slot->key_length, slot->key);
}

static void walk_maps(struct walk *w)
{
    struct apply *p = &w->a->apply;
    struct map_slot *slot, *entry;
    for (size_t it = 0; (slot = map_next(&w->a->live->maps, &it));) {
        w->map = slot->value;
        w->map_name = slot->key;
        if (!w->map->used)
            continue;
        map_clear(&w->seen);
        model_each_map_entry(w->a->model, MODEL_ACCEPTED, slot->key, walk_entry, w);
        for (size_t at = 0; (entry = map_next(&w->map->entries, &at));)
            if (!map_getn(&w->seen, entry->key, entry->key_length))
                touch_entry(w->a, &p->touched, w->map, entry->key, NULL, &p->plan);
        for (size_t i = 0; i < w->map->duplicates.length; i++) {
            struct plan part = {0};
            plan_map_duplicate(&part, w->map->path, w->map->duplicates.items[i]);
            plan_take(&p->plan, &part);
        }
    }
}

bool walk_step(struct walk *w, int64_t budget_ns)
{
    struct apply *p = &w->a->apply;
    int64_t end = clock_now_ns() + budget_ns;
    while (w->next < w->names.length) {
        const char *name = w->names.items[w->next++];
        if (name_is_backend(name))
            touch_backend(w->a, &p->touched, name, &p->plan);
        else
            section_compare(w->a, name, &p->plan);
        if (w->next % 64 == 0 && clock_now_ns() >= end)
            return false;
    }
    walk_files(w);
    walk_maps(w);
    return true;
}

/* ---- doing it ---- */

void batch_done(struct batch *b)
{
    for (size_t i = 0; i < b->strings.length; i++)
        free(b->strings.items[i]);
    vec_done(&b->strings);
    vec_done(&b->commands);
    vec_done(&b->types);
}

static void batch_add_stage(struct agent *a, struct batch *b, size_t stage)
{
    for (size_t i = 0; i < a->apply.plan.ops[stage].length; i++) {
        vec_push(&b->commands, a->apply.plan.ops[stage].items[i].command);
        vec_push(&b->types, a->apply.plan.ops[stage].items[i].type);
    }
}

static size_t batch_add_read(struct batch *b, char *command)
{
    vec_push(&b->strings, command);
    vec_push(&b->commands, command);
    return b->commands.length - 1;
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
        /* Routes go together with what they lead to, unless that is a backend whose making might be refused. */
        size_t last = a->apply.stage == PLAN_VANISH                         ? PLAN_VANISH
                      : a->apply.stage == PLAN_APPEAR && adds_backend(plan) ? PLAN_APPEAR
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

int batch_judge(struct agent *a, const struct batch *b, const struct runtime_answer *answers, struct err *err)
{
    int result = 0;
    for (size_t i = 0; i < b->types.length; i++) {
        enum plan_op_type type = b->types.items[i];
        if (plan_judge(type, answers[i].text) == PLAN_SURPRISE) {
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
        if (!s || (wanted->literal && !plan_server_matches(wanted, s)))
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
        live->gone = a->leave_due = true;
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
        stays->leaving = a->leave_due = true;
        a->live->leaving++;
        cfg_backend_insert(&t->wanted, stays);
    }
    cfg_backend_done(&live->cfg);
    live->cfg = t->wanted;
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
}

/* ---- leaving ---- */

bool leave_commands(struct agent *a, struct plan *plan)
{
    struct map_slot *slot;
    int64_t now = clock_now_ns();
    size_t budget = 500;
    /* With ten thousand backends even looking is dear. */
    if (!a->leave_due)
        return false;
    a->leave_due = false;
    for (size_t it = 0; budget && (slot = map_next(&a->live->backends, &it));) {
        const struct live_backend *b = slot->value;
        bool any = false;
        a->leave_due |= b->gone;
        for (size_t i = 0; budget && i < b->cfg.servers.length; i++) {
            const struct cfg_server *s = b->cfg.servers.items[i];
            if (!s->leaving)
                continue;
            plan_server_leave(plan, b->name, s->name, now >= s->leave_by_ns);
            a->leave_due = any = true;
            budget--;
        }
        if (b->gone && a->caps.dynamic_backends && !b->cfg.by_hand && !b->listen && (any || !b->cfg.servers.length)) {
            plan_backend_leave(plan, b->name);
            budget -= budget > 0;
        }
    }
    return plan_count(plan) > 0;
}

/* "del server b/s" or "del backend b" that was answered. */
void leave_commit(struct agent *a, const struct plan_op *op, const char *answer)
{
    if ((op->type != PLAN_SERVER_DEL && op->type != PLAN_BACKEND_DEL) || plan_judge(op->type, answer) != PLAN_OK)
        return;
    const char *target = strchr(strchr(op->command, ' ') + 1, ' ') + 1;
    const char *slash = op->type == PLAN_SERVER_DEL ? strchr(target, '/') : NULL;
    int length = (int)(slash ? slash - target : (long)strlen(target));
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", length, target);
    CLEANUP(free_ptr) char *listen = xasprintf("listen %.*s", length, target);
    struct live_backend *b = live_backend(a->live, name);
    if (op->type == PLAN_BACKEND_DEL) {
        live_backend_drop(a->live, name);
        return;
    }
    if (!b)
        b = live_backend(a->live, listen);
    const struct cfg_server *s = b && slash ? cfg_backend_server(&b->cfg, slash + 1) : NULL;
    if (!s || !s->leaving)
        return;
    a->live->leaving--;
    cfg_server_free(cfg_backend_remove(&b->cfg, slash + 1));
}
