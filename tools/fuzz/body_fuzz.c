/* The packed body of a request: in whatever parts it comes, it is refused with a reason, or gives the same bytes, and
 * never more than is allowed for its size. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "http/body.h"

#define MAX ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int receive(const uint8_t *data, size_t size, size_t step, struct body *b, struct err *err)
{
    int result = body_begin(b, MAX, "gzip", err);
    for (size_t at = 0; at < size && result == 0; at += step)
        result = body_add(b, (const char *)data + at, size - at < step ? size - at : step, err);
    return result == 0 ? body_end(b, err) : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct body whole, parts;
    struct err err = {0};
    int result = receive(data, size, size ? size : 1, &whole, &err);
    assert(result == 0 || (err.kind != ERR_NONE && err.text[0]));
    assert(whole.bytes.length <= MAX && whole.bytes.length <= PACKING_FREE + PACKING_RATIO * size);
    if (receive(data, size, 3, &parts, &err) == 0) {
        assert(result == 0 && whole.bytes.length == parts.bytes.length);
        assert(memcmp(buf_str(&whole.bytes), buf_str(&parts.bytes), whole.bytes.length) == 0);
    }
    body_done(&whole);
    body_done(&parts);
    return 0;
}
