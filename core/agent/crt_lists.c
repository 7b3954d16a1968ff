/* Changes loaded crt-lists at runtime. Names are added to a list and removed from it by whole lines. First the lines
 * for new names are added. After the routes have changed, unused lines are deleted. When one of several names of a line
 * goes, a line without it replaces the line. So a change affects the names that changed, and the names on the same
 * lines.
 *
 * HAProxy can only print a whole list. So changed lists are read back a moment later, for all changes together
 * (list_proof.c). They are read back at once only when the numbers of new lines cannot be predicted, or when no such
 * moment has come for some time.
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
    for (size_t i = 0; i < n; i++) {
        CLEANUP(free_ptr) char *options = crt_list_options(uses[i].options, uses[i].options_length);
        found += live_list_has(list, uses[i].certificate, uses[i].certificate_length, options);
    }
    return n > 0 && found == n;
}

/* A name of a line, in the model's form. */
static const struct item *item_of(const struct agent *a, const char *list, const char *name)
{
    return model_list_item(a->model, list + strlen("certs/"), strcmp(name, CRT_LIST_NOBODY) == 0 ? "" : name);
}

/* An item that changed after this apply began belongs to the next apply. Until then its lines stay. */
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

/* True when each name of the line is wanted with this certificate and these options. */
static bool line_stays(const struct agent *a, const char *list, const struct crt_list_line *line)
{
    for (size_t i = 0; i < line->names.length; i++)
        if (!is_wanted(a, list, line->names.items[i], line))
            return false;
    return line->names.length > 0;
}

/* New lines: for each pair of certificate and options, the names that need a line. */
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

struct list_plan {
    struct agent *a;
    struct live_list *list;
    VEC(struct live_line *) goes;
    struct coming coming;
    bool default_changes;
};

static void line_goes(struct list_plan *lp, struct live_line *line)
{
    if (line->goes || line_stays(lp->a, lp->list->path, &line->line))
        return;
    line->goes = true;
    vec_push(&lp->goes, line);
    for (size_t i = 0; i < line->line.names.length; i++)
        lp->default_changes |= strcmp(line->line.names.items[i], CRT_LIST_NOBODY) == 0;
}

static const char *name_of(const struct item *item)
{
    return *item->key ? item->key : CRT_LIST_NOBODY;
}

/* True when a line that stays gives the name this certificate. */
static bool is_given(const struct list_plan *lp, const char *name, const struct use *use)
{
    for (const struct live_link *link = live_list_named(lp->list, name); link; link = link->next)
        if (!link->line->goes && line_is(&link->line->line, use))
            return true;
    return false;
}

static void need_item(void *ctx, struct item *item)
{
    struct list_plan *lp = ctx;
    struct use uses[USES_MAX];
    size_t n = item->accepted && !item->changed ? uses_of(item->accepted->bytes, uses) : 0;
    for (size_t i = 0; i < n; i++)
        if (!is_given(lp, name_of(item), &uses[i])) {
            lp->default_changes |= !*item->key;
            coming_add(&lp->coming, &uses[i], item->key);
        }
}

/* ---- files that new lines name and that HAProxy has not loaded, because no line named them before ---- */

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

/* HAProxy knows a certificate that it obtains by itself only from its start on. Lines for a new one need a reload. */
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

static void add_lines(const struct list_plan *lp, struct touched_list *touched, struct plan *part)
{
    const struct map_slot *slot;
    CLEANUP(buf_done) struct buf text = {0};
    for (size_t it = 0; (slot = map_next(&lp->coming.groups, &it));) {
        const struct names *names = slot->value;
        size_t begin = text.length;
        crt_list_write(&text, slot->key, names->items.items, names->items.length);
        for (const char *line = text.data + begin; *line;) {
            size_t length = strcspn(line, "\n") + 1;
            plan_list_add(part, lp->list->path, line, length);
            line += length;
        }
    }
    crt_list_parse(&touched->comes, buf_str(&text), text.length, false);
}

static bool must_wait_for_reload(const struct agent *a, const struct live_list *list, struct plan *plan)
{
    if (a->apply.round != ROUND_REST || !map_get(&a->apply.avoid, list->path))
        return false;
    plan_reload(plan, "certificate", "%s did not change as it was told", list->path);
    return true;
}

/* Writes the commands for lines that go and lines that come. */
static void plan_list(struct list_plan *lp, struct touched *t, struct plan *plan)
{
    struct agent *a = lp->a;
    struct touched_list touched = {.list = lp->list};
    struct plan part = {0};
    struct map_slot *slot;

    if (lp->default_changes) {
        plan_reload(&part, "certificate", "%s: another default certificate", lp->list->path);
    } else {
        leave_unknown(lp, plan);
        load_files(a, t, &lp->coming, plan);
        add_lines(lp, &touched, &part);
        for (size_t i = 0; i < lp->goes.length; i++) {
            const struct crt_list_line *line = &lp->goes.items[i]->line;
            plan_list_remove(&part, lp->list->path, line->certificate, line->number);
            vec_push(&touched.goes, line->number);
        }
    }
    touched.is_read = touched.comes.lines.length > 0 && !lp->list->is_counted;
    if (plan_take(plan, &part))
        vec_push(&t->lists, touched);
    else
        touched_list_done(&touched);
    for (size_t i = 0; i < lp->goes.length; i++)
        lp->goes.items[i]->goes = false;
    for (size_t it = 0; (slot = map_next(&lp->coming.groups, &it));) {
        vec_done(&((struct names *)slot->value)->items);
        free(slot->value);
    }
    map_done(&lp->coming.groups);
    vec_done(&lp->goes);
}

void touch_list(struct agent *a, struct touched *t, struct live_list *list, struct plan *plan)
{
    struct list_plan lp = {.a = a, .list = list};
    if (must_wait_for_reload(a, list, plan))
        return;
    for (size_t i = 0; i < list->lines.length; i++)
        line_goes(&lp, list->lines.items[i]);
    model_each_list_item(a->model, list->path + strlen("certs/"), need_item, &lp);
    plan_list(&lp, t, plan);
}

void touch_list_items(struct agent *a, struct touched *t, struct live_list *list, struct item *const *items,
                      size_t count, struct plan *plan)
{
    struct list_plan lp = {.a = a, .list = list};
    struct map needed = {0}; /* names */
    if (must_wait_for_reload(a, list, plan))
        return;
    for (size_t i = 0; i < count; i++)
        for (struct live_link *link = live_list_named(list, name_of(items[i])); link; link = link->next)
            line_goes(&lp, link->line);
    for (size_t i = 0; i < count; i++)
        if (!map_put(&needed, name_of(items[i]), a))
            need_item(&lp, items[i]);
    for (size_t i = 0; i < lp.goes.length; i++)
        for (size_t k = 0; k < lp.goes.items[i]->line.names.length; k++) {
            const char *name = lp.goes.items[i]->line.names.items[k];
            struct item *item = model_list_item(a->model, list->path + strlen("certs/"),
                                                strcmp(name, CRT_LIST_NOBODY) == 0 ? "" : name);
            if (item && !map_put(&needed, name, a))
                need_item(&lp, item);
        }
    map_done(&needed);
    plan_list(&lp, t, plan);
}

void touched_list_done(struct touched_list *t)
{
    vec_done(&t->goes);
    crt_list_done(&t->comes);
}

/* ---- proof ---- */

/* True when all lines are wanted. HAProxy's answers have already confirmed the added lines. */
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

#define UNPROVED_MAX_NS (5 * NS_PER_S) /* the longest time without a moment for a proof */

void lists_add_reads(struct touched *t, struct batch *b)
{
    for (size_t i = 0; i < t->lists.length; i++) {
        struct touched_list *l = &t->lists.items[i];
        l->is_read |= l->list->unproved_ns && clock_now_ns() - l->list->unproved_ns >= UNPROVED_MAX_NS;
        if (l->is_read)
            l->answer = batch_add_read(b, xasprintf("show ssl crt-list -n %s", l->list->path));
    }
}

int lists_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers, struct err *err)
{
    for (size_t i = 0; i < t->lists.length; i++)
        if (t->lists.items[i].is_read &&
            list_verify(a, t->lists.items[i].list, &answers[t->lists.items[i].answer], err) < 0)
            return -1;
    return 0;
}

/* HAProxy appends new lines to the list, so the last line has the highest number. */
static void count_lines(struct live_list *list, const struct touched_list *t)
{
    if (!t->comes.lines.length || !list->lines.length)
        return;
    list->count = list->lines.items[list->lines.length - 1]->line.number;
    list->is_counted = true;
}

void lists_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->lists.length; i++) {
        struct touched_list *touched = &t->lists.items[i];
        struct live_list *list = touched->list;
        a->list_proof.changes++;
        if (touched->is_read) {
            const struct runtime_answer *answer = &answers[touched->answer];
            live_list_read(list, answer->text, answer->length, true);
            count_lines(list, touched);
            continue;
        }
        for (size_t k = 0; k < touched->goes.length; k++)
            live_list_remove(list, touched->goes.items[k]);
        for (size_t k = 0; k < touched->comes.lines.length; k++)
            live_list_add(list, &touched->comes.lines.items[k]);
        if (!list->unproved_ns)
            list->unproved_ns = clock_now_ns();
    }
}

void lists_done(struct touched *t)
{
    for (size_t i = 0; i < t->lists.length; i++)
        touched_list_done(&t->lists.items[i]);
    vec_done(&t->lists);
}
