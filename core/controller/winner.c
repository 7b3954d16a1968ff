/* The owner of a part of the templates is an administrator, who may see all names. */
#include "controller/winner.h"

#include <string.h>

#include "base/alloc.h"

static bool same_namespace(const struct fragment *a, const struct fragment *b)
{
    size_t length = strcspn(a->owner_id, "/");

    return a->owner_id[length] == b->owner_id[length] && strcspn(b->owner_id, "/") == length &&
           memcmp(a->owner_id, b->owner_id, length) == 0;
}

char *winner_owner(const struct fragment *f)
{
    return *f->owner_id ? xasprintf("%s %s", f->owner_kind, f->owner_id) : xasprintf("template %s", f->id);
}

char *winner_for(const struct fragment *winner, const struct fragment *loser)
{
    if (*loser->owner_id == '\0' || (*winner->owner_id != '\0' && same_namespace(winner, loser)))
        return winner_owner(winner);
    return xstrdup(*winner->owner_id == '\0' ? "the configuration itself" : "an object of another namespace");
}
