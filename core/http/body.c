#include "http/body.h"

#include <string.h>
#include <strings.h>

int body_begin(struct body *b, size_t max, const char *encoding, struct err *err)
{
    *b = (struct body){.max = max};
    buf_init(&b->bytes, max);
    if (!encoding || strcasecmp(encoding, "identity") == 0)
        return 0;
    if (strcasecmp(encoding, "gzip") != 0)
        return err_set(err, ERR_NOTFOUND, "the body is packed in an unknown way; gzip is known");
    b->unpacking = unpacking_new();
    return 0;
}

int body_add(struct body *b, const char *bytes, size_t length, struct err *err)
{
    if (b->unpacking)
        return unpacking_add(b->unpacking, bytes, length, b->max, &b->bytes, err);
    if (b->bytes.length + length > b->max)
        return err_set(err, ERR_LIMIT, "the body is too large");
    return buf_try_add(&b->bytes, bytes, length, err);
}

int body_end(struct body *b, struct err *err)
{
    int result = b->unpacking ? unpacking_end(b->unpacking, err) : 0;
    b->unpacking = unpacking_free(b->unpacking);
    return result;
}

void body_done(struct body *b)
{
    b->unpacking = unpacking_free(b->unpacking);
    if (b->bytes.data)
        explicit_bzero(b->bytes.data, b->bytes.capacity);
    buf_done(&b->bytes);
}
