/* A failure is identified by member and file. Its owner is stored when the failure is told, because the fragment may be
 * gone when the failure is over. Finding the owner needs a pass through the lines of "crt-store". It is done only for a
 * new failure.
 */
#include "controller/order_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

#define FAILED "AcmeOrderFailed"
#define OVER "ProblemSolved"
/* Of all members together. */
#define FAILURES_MAX 1000

struct failure {
    char *member, *file, *reason;
    char *owner_kind, *owner_id; /* NULL: it has no owner */
    bool is_seen;
};

struct order_report {
    const struct model *model;
    order_tell *tell;
    void *ctx;
    VEC(struct failure) failures;
    char *member; /* the reporting member */
    struct log_limit failed_limit, over_limit;
};

struct order_report *order_report_new(const struct model *model, order_tell *tell, void *ctx)
{
    struct order_report *r = xcalloc(1, sizeof(*r));

    r->model = model;
    r->tell = tell;
    r->ctx = ctx;
    return r;
}

static void failure_done(struct failure *f)
{
    free(f->member);
    free(f->file);
    free(f->reason);
    free(f->owner_kind);
    free(f->owner_id);
}

struct order_report *order_report_free(struct order_report *r)
{
    if (r == NULL)
        return NULL;
    for (size_t i = 0; i < r->failures.length; i++)
        failure_done(&r->failures.items[i]);
    vec_done(&r->failures);
    free(r->member);
    free(r);
    return NULL;
}

/* ---- the owner ---- */

static bool names_file(const struct text *text, const char *file)
{
    size_t length = strlen(file);
    const char *found = text != NULL ? memmem(text->bytes, text->length, file, length) : NULL;

    return found != NULL && found > text->bytes && found[-1] == ' ' &&
           (found + length == text->bytes + text->length || found[length] == ' ' || found[length] == '\n');
}

static const struct fragment *owner_of(const struct model *m, const char *file)
{
    const struct section *section = model_section(m, "crt-store");

    for (size_t i = 0; section != NULL && i < section->pieces.length; i++) {
        const struct item *item = section->pieces.items[i];
        if (names_file(item->accepted, file))
            return item->winner != NULL ? item->winner : item->accepted_by;
    }
    return NULL;
}

/* ---- notices and logs ---- */

static void tell_failure(struct order_report *r, struct failure *f)
{
    const struct fragment *owner = owner_of(r->model, f->file);
    uint64_t suppressed;
    CLEANUP(free_ptr)
    char *message = xasprintf("HAProxy's order of the certificate %s fails: %s; it is tried again", f->file, f->reason);

    if (log_limit_pass(&r->failed_limit, NS_PER_S, &suppressed))
        log_warn("HAProxy's order of a certificate fails; it is tried again", "file", f->file, "member", f->member,
                 "object", owner != NULL ? owner->owner_id : "", "error", f->reason, "similar",
                 log_int((int64_t)suppressed));
    free(f->owner_kind);
    free(f->owner_id);
    f->owner_kind = owner != NULL ? xstrdup(owner->owner_kind) : NULL;
    f->owner_id = owner != NULL ? xstrdup(owner->owner_id) : NULL;
    if (owner != NULL)
        r->tell(r->ctx, true, f->owner_kind, f->owner_id, FAILED, message);
}

static bool fails_elsewhere(const struct order_report *r, const struct failure *f)
{
    for (size_t i = 0; i < r->failures.length; i++) {
        const struct failure *other = &r->failures.items[i];
        if (other != f && strcmp(other->file, f->file) == 0)
            return true;
    }
    return false;
}

static void tell_over(struct order_report *r, const struct failure *f)
{
    uint64_t suppressed;

    if (fails_elsewhere(r, f))
        return;
    if (log_limit_pass(&r->over_limit, NS_PER_S, &suppressed))
        log_info("HAProxy's order of a certificate no longer fails", "file", f->file, "object",
                 f->owner_id != NULL ? f->owner_id : "", "similar", log_int((int64_t)suppressed));
    if (f->owner_id != NULL)
        r->tell(r->ctx, false, f->owner_kind, f->owner_id, OVER, FAILED ": no longer the case");
}

/* ---- reports of a member ---- */

void order_report_begin(struct order_report *r, const char *member)
{
    free(r->member);
    r->member = xstrdup(member);
    for (size_t i = 0; i < r->failures.length; i++)
        r->failures.items[i].is_seen = strcmp(r->failures.items[i].member, member) != 0;
}

void order_report_add(struct order_report *r, const char *file, const char *reason)
{
    struct failure *f = NULL;

    for (size_t i = 0; f == NULL && i < r->failures.length; i++)
        if (strcmp(r->failures.items[i].member, r->member) == 0 && strcmp(r->failures.items[i].file, file) == 0)
            f = &r->failures.items[i];
    if (f == NULL && r->failures.length == FAILURES_MAX)
        return;
    if (f == NULL) {
        vec_push(&r->failures, ((struct failure){.member = xstrdup(r->member), .file = xstrdup(file)}));
        f = &r->failures.items[r->failures.length - 1];
    }
    f->is_seen = true;
    if (f->reason != NULL && strcmp(f->reason, reason) == 0)
        return;
    free(f->reason);
    f->reason = xstrdup(reason);
    tell_failure(r, f);
}

void order_report_end(struct order_report *r)
{
    for (size_t i = 0; i < r->failures.length;) {
        struct failure *f = &r->failures.items[i];
        if (f->is_seen) {
            i++;
            continue;
        }
        tell_over(r, f);
        failure_done(f);
        vec_swap_remove(&r->failures, i);
    }
}
