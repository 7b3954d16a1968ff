/* Changes loaded certificates and crt-lists at runtime. A full read asks HAProxy which ones it has loaded, the
 * fingerprint of each certificate, and the lines of each list. A process that is killed between two commands leaves a
 * transaction open. It blocks all others; on 2.6 it even takes what is set for another certificate. So an open
 * transaction is aborted before anything else.
 *
 * A name is added to a list, or removed, by lines. First the lines for new names are added. After the routes have
 * changed, unused lines are deleted. A line that loses one of several names is replaced by one without it.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"
#include "data/certificate.h"

/* The certificate and the options of one crt-list line. */
struct use {
    const char *certificate, *options;
    size_t certificate_length, options_length;
};
#define USES_MAX 8

/* "certs/a.pem certs/b.pem [alpn h2]" */
static size_t uses_of(const char *text, struct use uses[USES_MAX])
{
    const char *options = strchr(text, '['), *end = options ? options : text + strlen(text);
    size_t n = 0;
    for (const char *at = text; n < USES_MAX && (at += strspn(at, " ")) < end;) {
        size_t length = strcspn(at, " [");
        if (length == 0)
            break;
        uses[n++] = (struct use){.certificate = at,
                                 .certificate_length = length,
                                 .options = options ? options + 1 : "",
                                 .options_length = options ? strcspn(options + 1, "]") : 0};
        at += length;
    }
    return n;
}

/* ---- which certificates the lists name ---- */

static void note_listed(void *ctx, struct item *item)
{
    struct touched *t = ctx;
    struct use uses[USES_MAX];
    size_t n = item->accepted ? uses_of(item->accepted->bytes, uses) : 0;
    for (size_t i = 0; i < n; i++)
        (void)map_putn(&t->listed, uses[i].certificate, uses[i].certificate_length, t);
}

/* Does a list that HAProxy has loaded name it, in what is wanted? All names are gathered for the first question. */
static bool is_listed(const struct agent *a, struct touched *t, const char *path)
{
    const struct map_slot *slot;
    for (size_t it = 0; !t->listed_known && (slot = map_next(&a->live->lists, &it));)
        if (((const struct live_list *)slot->value)->used)
            model_each_list_item(a->model, slot->key + strlen("certs/"), note_listed, t);
    t->listed_known = true;
    return map_get(&t->listed, path) != NULL;
}

/* ---- certificates ---- */

static void plan_content(struct touched *t, struct plan *plan, struct live_certificate *live, const char *path,
                         const struct buf *bytes, struct plan *part)
{
    CLEANUP(expand_wipe) struct buf payload = {0};
    struct touched_certificate touched = {.path = xstrdup(path), .is_wanted = true};
    certificate_compact(buf_str(bytes), bytes->length, &payload);
    touched.digest = digest_of(buf_str(bytes), bytes->length);
    if (!certificate_fingerprint(buf_str(bytes), bytes->length, touched.fingerprint))
        plan_reload(part, "certificate", "%s has no certificate", path);
    plan_certificate(part, path, buf_str(&payload), live && live->loaded);
    if (part->reload) {
        plan_reload(plan, part->reload_class, "%s", part->reload);
        free(touched.path);
        return;
    }
    vec_push(&t->certificates, touched);
}

void touch_certificate(struct agent *a, struct touched *t, const char *path, const struct buf *wanted,
                       struct plan *plan)
{
    struct live_certificate *live = map_get(&a->live->certificates, path);
    const struct digest *known = map_get(&a->live->files, path);
    struct plan part = {0};

    if (wanted && live && live->loaded && known && digest_equal(*known, digest_of(buf_str(wanted), wanted->length)))
        return;
    if (a->apply.round == ROUND_REST && map_get(&a->apply.avoid, path)) {
        plan_reload(plan, "certificate", "%s did not change as it was told", path);
        return;
    }
    if (!wanted) {
        if (!live || !live->loaded)
            return;
        plan_certificate_remove(&part, path);
        vec_push(&t->certificates, ((struct touched_certificate){.path = xstrdup(path)}));
    } else if ((live && live->loaded) || is_listed(a, t, path)) {
        plan_content(t, plan, live, path, wanted, &part);
    } else if (!known || !digest_equal(*known, digest_of(buf_str(wanted), wanted->length))) {
        /* HAProxy has it otherwise than by a list, or not at all. */
        plan_reload(plan, "certificate", "%s changed", path);
        return;
    }
    plan_take(plan, &part);
}

/* ---- lists ---- */

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

/* ---- reading ---- */

void certificates_commands(const struct agent *a, struct batch *b)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->lists, &it));)
        if (((struct live_list *)slot->value)->used)
            (void)batch_add_read(b, xasprintf("show ssl crt-list -n %s", slot->key));
    for (size_t it = 0; (slot = map_next(&a->live->certificates, &it));)
        if (((struct live_certificate *)slot->value)->loaded)
            (void)batch_add_read(b, xasprintf("show ssl cert %s", slot->key));
}

void certificates_merge(struct agent *a, const struct runtime_answer *answers, size_t count)
{
    struct map_slot *slot;
    size_t i = 0;
    for (size_t it = 0; i < count && (slot = map_next(&a->live->lists, &it));) {
        struct live_list *list = slot->value;
        if (!list->used)
            continue;
        crt_list_done(&list->lines);
        crt_list_parse(&list->lines, answers[i].text, answers[i].length, true);
        i++;
    }
    for (size_t it = 0; i < count && (slot = map_next(&a->live->certificates, &it));) {
        const struct live_certificate *c = slot->value;
        if (!c->loaded)
            continue;
        /* Another one than the file's: what its content is, is not known. */
        if (!*c->fingerprint || !live_certificate_answer_is(answers[i].text, c->fingerprint))
            free(map_deln(&a->live->files, slot->key, slot->key_length));
        i++;
    }
}

/* ---- proving ---- */

void certificates_add_reads(struct agent *a, struct batch *b)
{
    struct touched *t = &a->apply.touched;
    for (size_t i = 0; i < t->certificates.length; i++)
        t->certificates.items[i].answer = batch_add_read(b,
                                                         xasprintf("show ssl cert %s", t->certificates.items[i].path));
    for (size_t i = 0; i < t->lists.length; i++)
        t->lists.items[i].answer = batch_add_read(b,
                                                  xasprintf("show ssl crt-list -n %s", t->lists.items[i].list->path));
}

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

int certificates_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                        struct err *err)
{
    for (size_t i = 0; i < t->certificates.length; i++) {
        const struct touched_certificate *c = &t->certificates.items[i];
        if (c->is_wanted && !live_certificate_answer_is(answers[c->answer].text, c->fingerprint))
            return err_set(err, ERR_HAPROXY, "%s: HAProxy has another certificate than the one it was given", c->path);
    }
    for (size_t i = 0; i < t->lists.length; i++)
        if (list_verify(a, t->lists.items[i].list, &answers[t->lists.items[i].answer], err) < 0)
            return -1;
    return 0;
}

void certificates_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->certificates.length; i++) {
        const struct touched_certificate *c = &t->certificates.items[i];
        if (c->is_wanted) {
            live_certificate_set(a->live, c->path, &c->digest, c->fingerprint);
        } else if (!strstr(answers[c->answer].text, "SHA1 FingerPrint")) {
            free(map_del(&a->live->certificates, c->path));
            free(map_del(&a->live->files, c->path));
        }
    }
    for (size_t i = 0; i < t->lists.length; i++) {
        struct live_list *list = t->lists.items[i].list;
        const struct runtime_answer *answer = &answers[t->lists.items[i].answer];
        crt_list_done(&list->lines);
        crt_list_parse(&list->lines, answer->text, answer->length, true);
    }
}
