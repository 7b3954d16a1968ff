/* A line that lies whole in one chunk is handed out from there; only what crosses a chunk's border is copied. A
 * newline is looked for in new bytes only, so a large object costs its length once, however small the chunks are. A
 * JSON text of the API server holds no raw newline, and UTF-8 never has the byte 0x0a inside a character: cutting at
 * it is always right. */
#include "kube/stream.h"

#include <stdlib.h>
#include <string.h>

void kube_stream_done(struct kube_stream *s)
{
    if (s)
        buf_done(&s->partial);
}

void kube_stream_reset(struct kube_stream *s)
{
    /* One huge object must not keep its memory for the life of the watch. */
    if (s->partial.capacity > (size_t)1 << 20)
        buf_done(&s->partial);
    buf_clear(&s->partial);
    s->is_skipping = false;
}

static bool give_line(struct kube_stream *s, const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    return length == 0 || s->line(s->ctx, line, length);
}

/* Keep the head of an unfinished line, or start skipping it. */
static bool keep(struct kube_stream *s, const char *bytes, size_t length)
{
    if (length > s->max_line_bytes - s->partial.length) {
        size_t room = KUBE_STREAM_HEAD > s->partial.length ? KUBE_STREAM_HEAD - s->partial.length : 0;
        if (room > 0)
            buf_add(&s->partial, bytes, length < room ? length : room);
        size_t head = s->partial.length < KUBE_STREAM_HEAD ? s->partial.length : KUBE_STREAM_HEAD;
        char text[KUBE_STREAM_HEAD];
        memcpy(text, s->partial.data, head);
        kube_stream_reset(s);
        s->is_skipping = true;
        return s->too_long(s->ctx, text, head);
    }
    buf_add(&s->partial, bytes, length);
    return true;
}

bool kube_stream_feed(struct kube_stream *s, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t part = newline ? (size_t)(newline - bytes) : length;
        if (!s->is_skipping) {
            if (newline && s->partial.length == 0 && part <= s->max_line_bytes) {
                if (!give_line(s, bytes, part))
                    return false;
            } else if (part > 0 && !keep(s, bytes, part)) {
                return false;
            } else if (newline && !s->is_skipping) {
                struct buf line = s->partial;
                s->partial = (struct buf){0};
                bool is_on = give_line(s, line.data, line.length);
                if (!is_on || line.capacity > (size_t)1 << 20) {
                    buf_done(&line);
                } else {
                    buf_clear(&line);
                    s->partial = line;
                }
                if (!is_on)
                    return false;
            }
        }
        if (newline) {
            s->is_skipping = false;
            part++;
        }
        bytes += part;
        length -= part;
    }
    return true;
}

/* The string value that begins at *p (behind its opening quote) is copied when it fits and has no escapes. */
static const char *skip_string(const char *p, const char *end, char *ret_value, size_t size)
{
    size_t n = 0;
    bool is_plain = true;
    for (; p < end && *p != '"'; p++) {
        if (*p == '\\') {
            is_plain = false;
            if (++p == end)
                return end;
        } else if (ret_value && n + 1 < size) {
            ret_value[n++] = *p;
        } else {
            is_plain = false;
        }
    }
    if (ret_value)
        ret_value[is_plain && p < end ? n : 0] = '\0';
    return p < end ? p + 1 : end;
}

void kube_stream_find_name(const char *head, size_t length, struct kube_stream_name *ret_name)
{
    const char *p = head, *end = head + length;
    char key[16] = "", last[16] = "";
    int depth = 0, metadata_depth = 0; /* 0: not there yet */
    *ret_name = (struct kube_stream_name){0};
    while (p < end) {
        char c = *p++;
        if (c == '{' || c == '[') {
            depth++;
            /* The object's own metadata: directly in it, and it is the event's "object" or the text itself. */
            if (c == '{' && metadata_depth == 0 && strcmp(last, "metadata") == 0 && depth <= 3)
                metadata_depth = depth;
            last[0] = '\0';
        } else if (c == '}' || c == ']') {
            if (depth == metadata_depth || depth <= 1)
                return;
            depth--;
            last[0] = '\0';
        } else if (c == ':') {
            memcpy(last, key, sizeof(last));
        } else if (c == ',') {
            last[0] = '\0';
        } else if (c == '"') {
            bool is_here = depth == metadata_depth;
            if (is_here && strcmp(last, "name") == 0)
                p = skip_string(p, end, ret_name->name, sizeof(ret_name->name));
            else if (is_here && strcmp(last, "namespace") == 0)
                p = skip_string(p, end, ret_name->namespace, sizeof(ret_name->namespace));
            else
                p = skip_string(p, end, key, sizeof(key));
        }
    }
}
