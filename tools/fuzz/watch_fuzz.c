/* The watch stream's decoder. The first byte says how the rest is cut into chunks and how long a line may be. Whatever
 * the cuts, the same lines come out; none is empty, longer than the limit, or holds a newline; all bytes are accounted
 * for. */
#include <assert.h>
#include <string.h>

#include "kube/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    struct buf log; /* every line, marked, with a newline behind it */
    size_t max;
    unsigned count, stop_after;
};

static bool on_line(void *ctx, const char *line, size_t length)
{
    struct heard *h = ctx;
    assert(length > 0 && length <= h->max && !memchr(line, '\n', length));
    buf_putc(&h->log, 'L');
    buf_add(&h->log, line, length);
    buf_putc(&h->log, '\n');
    return ++h->count != h->stop_after;
}

static bool on_too_long(void *ctx, const char *head, size_t length)
{
    struct heard *h = ctx;
    struct kube_stream_name name;
    assert(length > 0 && length <= KUBE_STREAM_HEAD && !memchr(head, '\n', length));
    kube_stream_find_name(head, length, &name);
    assert(strlen(name.name) < sizeof(name.name) && strlen(name.namespace) < sizeof(name.namespace));
    buf_putc(&h->log, 'T');
    buf_putc(&h->log, '\n');
    return ++h->count != h->stop_after;
}

/* false: it was stopped. */
static bool feed(struct heard *h, const uint8_t *data, size_t size, size_t chunk)
{
    struct kube_stream s = {.max_line_bytes = h->max, .line = on_line, .too_long = on_too_long, .ctx = h};
    bool is_on = true;
    for (size_t at = 0; at < size && is_on; at += chunk)
        is_on = kube_stream_feed(&s, (const char *)data + at, at + chunk < size ? chunk : size - at);
    assert(!is_on || s.partial.length <= h->max);
    kube_stream_done(&s);
    return is_on;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_stream_name name;
    if (size == 0)
        return 0;
    size_t chunk = (size_t)(data[0] & 15) + 1, max = (size_t)1 << (data[0] >> 4);
    struct heard whole = {.max = max}, cut = {.max = max}, stopped = {.max = max, .stop_after = 2};
    kube_stream_find_name((const char *)data + 1, size - 1, &name);
    feed(&whole, data + 1, size - 1, size);
    feed(&cut, data + 1, size - 1, chunk);
    assert(whole.log.length == cut.log.length && memcmp(buf_str(&whole.log), buf_str(&cut.log), cut.log.length) == 0);
    if (!feed(&stopped, data + 1, size - 1, chunk))
        assert(stopped.count == 2);
    buf_done(&whole.log);
    buf_done(&cut.log);
    buf_done(&stopped.log);
    return 0;
}
