/* Counted, hashed once at birth: comparing two texts compares two digests. */
#include "base/text.h"

#include <string.h>

#include "base/alloc.h"

struct text *text_new(const char *bytes, size_t length)
{
    struct text *t = xmalloc(sizeof(*t) + length + 1);

    t->refs = 1;
    t->length = length;
    if (length > 0)
        memcpy(t->bytes, bytes, length);
    t->bytes[length] = '\0';
    t->digest = digest_of(t->bytes, length);
    return t;
}

struct text *text_ref(struct text *t)
{
    if (t != NULL)
        t->refs++;
    return t;
}

struct text *text_unref(struct text *t)
{
    if (t != NULL && --t->refs == 0)
        free(t);
    return NULL;
}

bool text_equal(const struct text *a, const struct text *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return a == b || (a->length == b->length && digest_equal(a->digest, b->digest));
}
