/* Changes loaded TLS files at runtime: certificates, authorities and revocation lists. A full read asks HAProxy which
 * files it has loaded, and for the content of each. A process that is killed between two commands leaves a transaction
 * open. An open transaction blocks all others; on 2.6 it even receives data that is set for another certificate. So an
 * open transaction is aborted first.
 *
 * HAProxy answers "Success!" also when a change has no effect: a server line without a certificate of its own keeps the
 * authorities that it was started with, and before 3.2 sessions are resumed that were begun under other authorities.
 * These cases need a reload.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/agent_state.h"
#include "agent/list_uses.h"
#include "base/alloc.h"

/* ---- files that the lists name ---- */

static const char listed_as[SSL_FILE_KINDS];

static void note_listed(void *ctx, enum ssl_file_kind kind, const char *path, size_t length)
{
    struct touched *t = ctx;
    (void)map_putn(&t->listed, path, length, (void *)&listed_as[kind]);
}

void certificates_note_listed(const struct agent *a, struct touched *t, const struct item *item)
{
    lists_item_files(a, item, note_listed, t);
}

/* True when a loaded list names the file in its wanted version. Files that changed together with a list are known
 * already. For other files, the names of all lists are gathered at the first question. */
static bool is_listed(const struct agent *a, struct touched *t, const char *path, enum ssl_file_kind *ret_kind)
{
    const char *as = map_get(&t->listed, path);
    if (!as && !t->listed_known) {
        lists_each_file(a, note_listed, t);
        t->listed_known = true;
        as = map_get(&t->listed, path);
    }
    if (as)
        *ret_kind = (enum ssl_file_kind)(as - listed_as);
    return as != NULL;
}

/* ---- files ---- */

/* True when HAProxy can change the loaded authorities or revocations at runtime. */
static bool trust_may_change(const struct agent *a, const char *path, struct plan *part)
{
    if (!a->caps.authorities_end_sessions)
        plan_reload(part, "certificate",
                    "%s changed, and this HAProxy takes up sessions again that were begun before that", path);
    else if (live_is_trusted(a->live, path))
        plan_reload(part, "certificate", "%s changed, and servers keep the authorities that they began with", path);
    return !part->reload;
}

static void plan_content(struct agent *a, struct touched *t, struct plan *plan, enum ssl_file_kind kind, bool is_there,
                         const char *path, const struct buf *bytes, struct plan *part)
{
    CLEANUP(expand_wipe) struct buf payload = {0};
    struct touched_certificate touched = {.path = xstrdup(path), .kind = kind, .is_wanted = true};
    ssl_file_payload(kind, buf_str(bytes), bytes->length, &payload);
    touched.digest = digest_of(buf_str(bytes), bytes->length);
    touched.mark = ssl_file_mark(kind, buf_str(bytes), bytes->length);
    if (!*touched.mark.text)
        plan_reload(part, "certificate", "%s has no %s", path,
                    kind == SSL_REVOCATIONS ? "list of revoked certificates" : "certificate");
    if (kind == SSL_CERTIFICATE || !is_there || trust_may_change(a, path, part))
        plan_certificate(part, &a->caps, kind, path, buf_str(&payload), is_there);
    if (part->reload) {
        plan_reload(plan, part->reload_class, "%s", part->reload);
        free(touched.path);
        return;
    }
    vec_push(&t->certificates, touched);
}

static void plan_gone(struct touched *t, const struct live_certificate *live, const char *path, struct plan *part)
{
    for (int kind = 0; live && kind < SSL_FILE_KINDS; kind++) {
        if (!live->loaded[kind])
            continue;
        plan_certificate_remove(part, (enum ssl_file_kind)kind, path);
        vec_push(&t->certificates,
                 ((struct touched_certificate){.path = xstrdup(path), .kind = (enum ssl_file_kind)kind}));
    }
}

/* The kind of file that HAProxy has, or is to load. False when no command can load it. Authorities and revocations that
 * HAProxy has not loaded may be loaded before any line names them, both new files and unused files in the directory
 * with another content: a running process cannot have them under another name. */
static bool kind_of(const struct agent *a, struct touched *t, const struct live_certificate *live, const char *path,
                    const struct buf *wanted, bool is_news, enum ssl_file_kind *ret_kind)
{
    for (int kind = 0; live && kind < SSL_FILE_KINDS; kind++)
        if (live->loaded[kind])
            return *ret_kind = (enum ssl_file_kind)kind, true;
    if (is_listed(a, t, path, ret_kind))
        return true;
    *ret_kind = ssl_file_kind_of(buf_str(wanted), wanted->length);
    return is_news && *ret_kind != SSL_CERTIFICATE;
}

static bool is_several(const struct live_certificate *live)
{
    int n = 0;
    for (int kind = 0; live && kind < SSL_FILE_KINDS; kind++)
        n += live->loaded[kind];
    return n > 1;
}

/* True when HAProxy has the wanted content already, and it differs from the last known content of the file: an earlier
 * apply was interrupted after the command. This apply continues from there. */
static bool is_taken_over(struct agent *a, const struct live_certificate *live, const char *path,
                          const struct buf *wanted)
{
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++) {
        if (!live->loaded[kind] || !*live->marks[kind].text)
            continue;
        const struct ssl_file_mark mark = ssl_file_mark((enum ssl_file_kind)kind, buf_str(wanted), wanted->length);
        const struct digest digest = digest_of(buf_str(wanted), wanted->length);
        if (strcmp(mark.text, live->marks[kind].text) != 0)
            return false;
        live_certificate_set(a->live, path, (enum ssl_file_kind)kind, &digest, &mark);
        return true;
    }
    return false;
}

void touch_certificate(struct agent *a, struct touched *t, const char *path, const struct buf *wanted,
                       struct plan *plan)
{
    struct live_certificate *live = map_get(&a->live->certificates, path);
    const struct digest *known = map_get(&a->live->files, path);
    bool same = wanted && known && digest_equal(*known, digest_of(buf_str(wanted), wanted->length));
    bool is_there = live_certificate_is_loaded(live);
    enum ssl_file_kind kind;
    struct plan part = {0};

    if (same && is_there)
        return;
    if (wanted && is_there && !known && !is_several(live) && is_taken_over(a, live, path, wanted))
        return;
    if (a->apply.round == ROUND_REST && map_get(&a->apply.avoid, path)) {
        plan_reload(plan, "certificate", "%s did not change as it was told", path);
        return;
    }
    if (!wanted) {
        plan_gone(t, live, path, &part);
    } else if (is_several(live)) {
        plan_reload(plan, "certificate", "%s changed, which is more than one kind of file", path);
        return;
    } else if (kind_of(a, t, live, path, wanted, !same, &kind)) {
        plan_content(a, t, plan, kind, is_there, path, wanted, &part);
    } else if (!same) {
        plan_reload(plan, "certificate", "%s changed", path);
        return;
    }
    (void)plan_take(plan, &part);
}

/* ---- reading ---- */

void touch_stored_certificate(struct agent *a, struct touched *t, const char *path, const char *bytes, size_t length,
                              struct plan *plan)
{
    CLEANUP(expand_wipe) struct buf expanded = {0};
    struct err err;
    if (bytes && expand(a->config.vault, EXPAND_FILE, bytes, length, &expanded, NULL, &err) < 0)
        plan_reload(plan, "secret", "%s: %s", path, err.text);
    else
        touch_certificate(a, t, path, bytes ? &expanded : NULL, plan);
}

void certificates_merge_names(struct agent *a, const struct runtime_answer answers[SSL_FILE_KINDS],
                              const struct runtime_answer *lists)
{
    const char *texts[SSL_FILE_KINDS];
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++)
        texts[kind] = answers[kind].text;
    live_merge_certificates(a->live, texts, lists->text);
}

void certificates_commands(const struct agent *a, struct batch *b)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&a->live->lists, &it));)
        if (((struct live_list *)slot->value)->used)
            (void)batch_add_read(b, xasprintf("show ssl crt-list -n %s", slot->key));
    for (size_t it = 0; (slot = map_next(&a->live->certificates, &it));)
        for (int kind = 0; kind < SSL_FILE_KINDS; kind++)
            if (((struct live_certificate *)slot->value)->loaded[kind])
                (void)batch_add_read(b,
                                     xasprintf("show ssl %s %s", ssl_file_word((enum ssl_file_kind)kind), slot->key));
}

void certificates_merge(struct agent *a, const struct runtime_answer *answers, size_t count)
{
    struct map_slot *slot;
    size_t i = 0;
    for (size_t it = 0; i < count && (slot = map_next(&a->live->lists, &it));) {
        struct live_list *list = slot->value;
        if (!list->used)
            continue;
        live_list_merge(list, answers[i].text, answers[i].length);
        a->list_proof.changes++;
        i++;
    }
    for (size_t it = 0; i < count && (slot = map_next(&a->live->certificates, &it));) {
        struct live_certificate *c = slot->value;
        for (int kind = 0; kind < SSL_FILE_KINDS && i < count; kind++) {
            if (!c->loaded[kind])
                continue;
            const struct ssl_file_mark found = ssl_file_answer_mark((enum ssl_file_kind)kind, answers[i].text);
            /* HAProxy has another content than the file, and it is unknown. */
            if (!*found.text || strcmp(found.text, c->marks[kind].text) != 0)
                free(map_deln(&a->live->files, slot->key, slot->key_length));
            c->marks[kind] = found;
            i++;
        }
    }
}

/* ---- proof ---- */

void certificates_add_reads(struct touched *t, struct batch *b)
{
    for (size_t i = 0; i < t->certificates.length; i++) {
        struct touched_certificate *c = &t->certificates.items[i];
        c->answer = batch_add_read(b, xasprintf("show ssl %s %s", ssl_file_word(c->kind), c->path));
    }
}

int certificates_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                        struct err *err)
{
    (void)a;
    for (size_t i = 0; i < t->certificates.length; i++) {
        const struct touched_certificate *c = &t->certificates.items[i];
        if (c->is_wanted && !ssl_file_answer_is(c->kind, answers[c->answer].text, &c->mark))
            return err_set(err, ERR_HAPROXY, "%s: HAProxy has another %s than the one it was given", c->path,
                           c->kind == SSL_CERTIFICATE ? "certificate" : ssl_file_word(c->kind));
    }
    return 0;
}

static void file_gone(struct agent *a, const struct touched_certificate *c)
{
    struct live_certificate *live = map_get(&a->live->certificates, c->path);
    if (live)
        live->loaded[c->kind] = false;
    if (live_certificate_is_loaded(live))
        return;
    free(map_del(&a->live->certificates, c->path));
    free(map_del(&a->live->files, c->path));
}

void certificates_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers)
{
    for (size_t i = 0; i < t->certificates.length; i++) {
        const struct touched_certificate *c = &t->certificates.items[i];
        if (c->is_wanted)
            live_certificate_set(a->live, c->path, c->kind, &c->digest, &c->mark);
        else if (ssl_file_answer_is_none(c->kind, answers[c->answer].text))
            file_gone(a, c);
    }
}

void certificates_done(struct touched *t)
{
    for (size_t i = 0; i < t->certificates.length; i++)
        free(t->certificates.items[i].path);
    vec_done(&t->certificates);
    map_done(&t->listed);
    map_init(&t->listed, false);
    t->listed_known = false;
}
