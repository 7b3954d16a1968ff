/* A request that came to a stand-in. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "offline/stand_in.h"

void stand_in_record_done(struct stand_in_record *r)
{
    free(r->method);
    free(r->target);
    for (size_t i = 0; i < r->headers.length; i++)
        free(r->headers.items[i]);
    vec_done(&r->headers);
    buf_done(&r->body);
    free(r->certificate);
}

const char *stand_in_header(const struct stand_in_record *r, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < r->headers.length; i++)
        if (strncasecmp(r->headers.items[i], name, length) == 0 && r->headers.items[i][length] == ':')
            return r->headers.items[i] + length + 2;
    return NULL;
}

void stand_in_records_done(struct stand_in_records *r)
{
    for (size_t i = 0; i < r->items.length; i++)
        stand_in_record_done(&r->items.items[i]);
    vec_done(&r->items);
}
