/* A fragment is identified by its id. New templates may use other ids. Then fragments with the same object are
 * compared. */
#include "controller/regression.h"

#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

#define NAMED 5

static void note_owner(void *ctx, const struct fragment *f)
{
    struct map *owners = ctx;

    if (*f->owner_id == '\0')
        return;
    CLEANUP(free_ptr) char *owner = xasprintf("%s %s", f->owner_kind, f->owner_id);
    (void)map_put(owners, owner, owners);
}

/* A bad object fails with old and new templates alike. */
static void forget_owner(void *ctx, const char *owner)
{
    (void)map_del(ctx, owner);
}

static bool has_output(const struct model *model, const struct problems *problems, const struct map *owners,
                       const struct fragment_failure *f)
{
    CLEANUP(free_ptr) char *owner = xasprintf("%s %s", f->owner_kind, f->owner_id);

    if (problems_is_failing(problems, f->id))
        return false;
    return model_has_good(model, f->id) || (model_fragment(model, f->id) == NULL && map_get(owners, owner) != NULL);
}

bool regression_find(const struct model *model, const struct problems *problems,
                     const struct fragment_failure *failures, size_t count, struct buf *why)
{
    CLEANUP(buf_done) struct buf names = {0};
    struct map owners = {0};
    size_t found = 0;
    const char *message = NULL;

    model_each_good(model, note_owner, &owners);
    problems_each_owner(problems, forget_owner, &owners);
    for (size_t i = 0; i < count; i++) {
        const struct fragment_failure *f = &failures[i];
        if (!has_output(model, problems, &owners, f))
            continue;
        message = message ? message : f->message;
        if (found++ < NAMED)
            buf_printf(&names, "%s%s%s%s", names.length > 0 ? ", " : "", *f->owner_id ? f->owner_kind : f->id,
                       *f->owner_id ? " " : "", f->owner_id);
    }
    map_done(&owners);
    if (found == 0)
        return false;
    buf_printf(why, "its templates fail for %zu fragments that render with the old one (%s%s): %s", found,
               buf_str(&names), found > NAMED ? ", …" : "", message);
    return true;
}
