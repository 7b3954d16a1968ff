/* The depth of a line is the number of lines above it that it belongs to. */
#include "offline/outline.h"

#include <string.h>

#include "data/json.h"

#define DEPTH_MAX 16

static void put_string(const char *text, size_t length, struct buf *out)
{
    struct err err;

    if (json_write_string(out, text, length, &err) < 0)
        buf_puts(out, "null");
}

static void put_line(const char *line, size_t length, struct buf *out)
{
    size_t name = 0;

    for (size_t i = 0; name == 0 && i + 1 < length; i++)
        if (line[i] == ':' && line[i + 1] == ' ')
            name = i;
    buf_putc(out, '{');
    if (name > 0) {
        buf_puts(out, "\"name\":");
        put_string(line, name, out);
        buf_putc(out, ',');
        for (name += 2; name < length && line[name] == ' '; name++)
            continue;
    }
    buf_puts(out, "\"value\":");
    put_string(line + name, length - name, out);
    buf_puts(out, ",\"parts\":[");
}

void outline_put_json(const char *text, struct buf *out)
{
    size_t columns[DEPTH_MAX], depth = 0;
    bool first = true;

    buf_putc(out, '[');
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, "\n"), indent = strspn(at, " ");
        if (indent < length) {
            for (; depth > 0 && columns[depth - 1] >= indent; depth--, first = false)
                buf_puts(out, "]}");
            if (!first)
                buf_puts(out, ",\n");
            put_line(at + indent, length - indent, out);
            if (depth == DEPTH_MAX) { /* too deep: it has no parts */
                buf_puts(out, "]}");
                first = false;
            } else {
                columns[depth++] = indent;
                first = true;
            }
        }
        at += length + (at[length] == '\n');
    }
    for (; depth > 0; depth--)
        buf_puts(out, "]}");
    buf_putc(out, ']');
}
