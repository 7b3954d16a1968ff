/* Changes loaded crt-lists at runtime. A name is added to a list, or removed, by lines. First the lines for new names
 * are added. After the routes have changed, unused lines are deleted. A line that loses one of several names is
 * replaced by one without it.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "agent/list_uses.h"
#include "base/alloc.h"

/* ---- lines ---- */

static bool line_is(const struct crt_list_line *line, const struct use *use)
{
    if (strlen(line->certificate) != use->certificate_length ||
        memcmp(line->certificate, use->certificate, use->certificate_length) != 0)
        return false;
    if (!use->options_length)
        return !*line->options;
    CLEANUP(free_ptr) char *options = crt_list_options(use->options, use->options_length);
    return strcmp(line->options, options) == 0;
}

bool list_has(const struct live_list *list, const char *text)
{
    struct use uses[USES_MAX];
    size_t n = uses_of(text, uses), found = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list->lines.lines.length; k++)
            if (line_is(&list->lines.lines.items[k], &uses[i])) {
                found++;
                break;
            }
    return n > 0 && found == n;
}

/* A name of a line, as the model has it. */
static const struct item *item_of(const struct agent *a, const char *list, const char *name)
{
    return model_list_item(a->model, list + strlen("certs/"), strcmp(name, CRT_LIST_NOBODY) == 0 ? "" : name);
}

/* An item that changed after this apply began belongs to the next one; until then its lines stay. */
static bool is_wanted(const struct agent *a, const char *list, const char *name, const struct crt_list_line *line)
{
    struct use uses[USES_MAX];
    const struct item *item = item_of(a, list, name);
    if (item && item->changed)
        return true;
    size_t n = item && item->accepted ? uses_of(item->accepted->bytes, uses) : 0;
    for (size_t i = 0; i < n; i++)
        if (line_is(line, &uses[i]))
            return true;
    return false;
}

/* Is each of a line's names wanted as it stands there? */
static bool line_stays(const struct agent *a, const char *list, const struct crt_list_line *line)
{
    for (size_t i = 0; i < line->names.length; i++)
        if (!is_wanted(a, list, line->names.items[i], line))
            return false;
    return line->names.length > 0;
}

/* Lines that come: by certificate and options, the names that need one. */
struct coming {
    struct map groups; /* "certs/a.pem [alpn h2]" → VEC of names */
};
struct names {
    VEC(const char *) items; /* borrowed */
};

static void coming_add(struct coming *c, const struct use *use, const char *name)
{
    CLEANUP(free_ptr)
    char *key = use->options_length ? xasprintf("%.*s [%.*s]", (int)use->certificate_length, use->certificate,
                                                (int)use->options_length, use->options)
                                    : xasprintf("%.*s", (int)use->certificate_length, use->certificate);
    struct names *names = map_get(&c->groups, key);
    if (!names) {
        names = xcalloc(1, sizeof(*names));
        map_put(&c->groups, key, names);
    }
    vec_push(&names->items, name);
}

/* The table of what stays: "name\ncertificate [options]". */
static void key_of(struct buf *key, const char *name, const char *certificate, size_t certificate_length,
                   const char *options)
{
    buf_clear(key);
    buf_puts(key, name);
    buf_putc(key, '\n');
    buf_add(key, certificate, certificate_length);
    buf_putc(key, '\n');
    buf_puts(key, options);
}

struct list_plan {
    struct agent *a;
    const struct live_list *list;
    struct map stays; /* key_of() of each name of each line that stays */
    struct coming coming;
    struct buf key;
    bool default_changes;
};

static void need_item(void *ctx, struct item *item)
{
    struct list_plan *lp = ctx;
    struct use uses[USES_MAX];
    size_t n = item->accepted && !item->changed ? uses_of(item->accepted->bytes, uses) : 0;
    for (size_t i = 0; i < n; i++) {
        CLEANUP(free_ptr) char *options = crt_list_options(uses[i].options, uses[i].options_length);
        key_of(&lp->key, *item->key ? item->key : CRT_LIST_NOBODY, uses[i].certificate, uses[i].certificate_length,
               options);
        if (map_getn(&lp->stays, lp->key.data, lp->key.length))
            continue;
        lp->default_changes |= !*item->key;
        coming_add(&lp->coming, &uses[i], item->key);
    }
}

/* ---- what lines name that HAProxy has not loaded: it was wanted all the while, and nothing has named it ---- */

struct loading {
    struct agent *a;
    struct touched *t;
    struct plan *plan;
};

static bool is_touched(const struct touched *t, const char *path)
{
    for (size_t i = 0; i < t->certificates.length; i++)
        if (t->certificates.items[i].is_wanted && strcmp(t->certificates.items[i].path, path) == 0)
            return true;
    return false;
}

static void load_file(void *ctx, enum ssl_file_kind kind, const char *name, size_t length)
{
    const struct loading *l = ctx;
    CLEANUP(free_ptr) char *path = xmemdup0(name, length);
    CLEANUP(buf_done) struct buf text = {0};
    const struct live_certificate *live = map_get(&l->a->live->certificates, path);
    if ((live && live->loaded[kind]) || strncmp(path, "certs/", 6) != 0 || is_touched(l->t, path) ||
        !model_file_text(l->a->model, MODEL_ACCEPTED, CONTRIBUTION_CERTIFICATE, path + strlen("certs/"), &text))
        return;
    touch_stored_certificate(l->a, l->t, path, buf_str(&text), text.length, l->plan);
}

static void load_files(struct agent *a, struct touched *t, const struct coming *coming, struct plan *plan)
{
    struct loading loading = {a, t, plan};
    const struct naming naming = {load_file, &loading};
    const struct map_slot *slot;
    struct use uses[USES_MAX];
    for (size_t it = 0; (slot = map_next(&coming->groups, &it));)
        if (uses_of(slot->key, uses) > 0) {
            load_file(&loading, SSL_CERTIFICATE, uses[0].certificate, uses[0].certificate_length);
            options_each_file(&naming, &uses[0]);
        }
}

static bool is_unknown(const struct agent *a, const char *group)
{
    struct use uses[USES_MAX];
    size_t n = uses_of(group, uses);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(free_ptr) char *path = xmemdup0(uses[i].certificate, uses[i].certificate_length);
        if (acme_is_file(path) && !map_get(&a->live->obtained, path))
            return true;
    }
    return false;
}

/* A certificate that HAProxy obtains is known to it from its start on: lines of one that is not come with a reload. */
static void leave_unknown(struct list_plan *lp, struct plan *plan)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&lp->coming.groups, &it));) {
        struct names *names = slot->value;
        if (!is_unknown(lp->a, slot->key))
            continue;
        plan_reload(plan, "certificate", "HAProxy is to obtain %s", slot->key);
        vec_done(&names->items);
        free(names);
        (void)map_deln(&lp->coming.groups, slot->key, slot->key_length);
    }
}

static void add_lines(struct list_plan *lp, struct plan *part)
{
    const struct map_slot *slot;
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t it = 0; (slot = map_next(&lp->coming.groups, &it));) {
        const struct names *names = slot->value;
        buf_clear(&text);
        crt_list_write(&text, slot->key, names->items.items, names->items.length);
        for (const char *line = buf_str(&text); *line;) {
            size_t length = strcspn(line, "\n") + 1;
            plan_list_add(part, lp->list->path, line, length);
            line += length;
        }
    }
}

void touch_list(struct agent *a, struct touched *t, struct live_list *list, struct plan *plan)
{
    struct list_plan lp = {.a = a, .list = list};
    struct plan part = {0};
    struct map_slot *slot;
    VEC(const struct crt_list_line *) goes = {0};

    if (a->apply.round == ROUND_REST && map_get(&a->apply.avoid, list->path)) {
        plan_reload(plan, "certificate", "%s did not change as it was told", list->path);
        return;
    }
    for (size_t i = 0; i < list->lines.lines.length; i++) {
        const struct crt_list_line *line = &list->lines.lines.items[i];
        bool stays = line_stays(a, list->path, line);
        if (!stays)
            vec_push(&goes, line);
        for (size_t k = 0; stays && k < line->names.length; k++) {
            key_of(&lp.key, line->names.items[k], line->certificate, strlen(line->certificate), line->options);
            map_putn(&lp.stays, lp.key.data, lp.key.length, a);
        }
    }
    model_each_list_item(a->model, list->path + strlen("certs/"), need_item, &lp);
    for (size_t i = 0; i < goes.length; i++)
        for (size_t k = 0; k < goes.items[i]->names.length; k++)
            lp.default_changes |= strcmp(goes.items[i]->names.items[k], CRT_LIST_NOBODY) == 0;
    if (lp.default_changes) {
        plan_reload(&part, "certificate", "%s: another default certificate", list->path);
    } else {
        leave_unknown(&lp, plan);
        load_files(a, t, &lp.coming, plan);
        add_lines(&lp, &part);
        for (size_t i = 0; i < goes.length; i++)
            plan_list_remove(&part, list->path, goes.items[i]->certificate, goes.items[i]->number);
    }
    if (plan_take(plan, &part))
        vec_push(&t->lists, ((struct touched_list){.list = list}));
    for (size_t it = 0; (slot = map_next(&lp.coming.groups, &it));) {
        vec_done(&((struct names *)slot->value)->items);
        free(slot->value);
    }
    map_done(&lp.coming.groups);
    map_done(&lp.stays);
    buf_done(&lp.key);
    vec_done(&goes);
}

/* ---- proving ---- */

/* Are there only lines that are wanted? That those which were to come are there HAProxy has said itself. */
static int list_verify(const struct agent *a, const struct live_list *list, const struct runtime_answer *answer,
                       struct err *err)
{
    struct crt_list found = {0};
    int result = 0;
    crt_list_parse(&found, answer->text, answer->length, true);
    for (size_t i = 0; i < found.lines.length && result == 0; i++) {
        const struct crt_list_line *line = &found.lines.items[i];
        for (size_t k = 0; k < line->names.length && result == 0; k++) {
            const char *name = line->names.items[k];
            if (!is_wanted(a, list->path, name, line))
                result = err_set(err, ERR_HAPROXY, "%s: the line of %s with %s is still there", list->path,
                                 line->certificate, name);
        }
    }
    crt_list_done(&found);
    return result;
}

/* ---- reading back ---- */

void lists_add_reads(struct agent *a, struct batch *b)
{
    struct touched *t = &a->apply.touched;
    for (size_t i = 0; i < t->lists.length; i++)
        t->lists.items[i].answer = batch_add_read(b,
                                                  xasprintf("show ssl crt-list -n %s", t->lists.items[i].list->path));
}

int lists_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers, struct err *err)
{
    for (size_t i = 0; i < t->lists.length; i++)
        if (list_verify(a, t->lists.items[i].list, &answers[t->lists.items[i].answer], err) < 0)
            return -1;
    return 0;
}

void lists_commit(struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->lists.length; i++) {
        struct live_list *list = t->lists.items[i].list;
        const struct runtime_answer *answer = &answers[t->lists.items[i].answer];
        crt_list_done(&list->lines);
        crt_list_parse(&list->lines, answer->text, answer->length, true);
    }
}
