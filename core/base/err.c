/* Errors are plain values: formatted once where they happen, prefixed on the way up. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf may have cut a multi-byte character: drop its remains so that logs stay valid UTF-8. */
static void cut_utf8(char *text, size_t size)
{
    size_t length = strnlen(text, size);

    if (length + 1 < size)
        return;
    while (length > 0 && ((unsigned char)text[length - 1] & 0xC0) == 0x80)
        length--;
    if (length > 0 && ((unsigned char)text[length - 1] & 0x80) != 0)
        length--;
    text[length] = '\0';
}

int err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
    if (err != NULL) {
        va_list args;

        err->kind = kind;
        err->sys = 0;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        cut_utf8(err->text, sizeof(err->text));
    }
    return -1;
}

int err_set_sys(struct err *err, int sys, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        char reason[128];

        err->kind = ERR_SYS;
        err->sys = sys;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        size_t length = strlen(err->text);
        snprintf(err->text + length, sizeof(err->text) - length, ": %s", strerror_r(sys, reason, sizeof(reason)));
        cut_utf8(err->text, sizeof(err->text));
    }
    return -1;
}

int err_wrap(struct err *err, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        char inner[sizeof(err->text)];

        memcpy(inner, err->text, sizeof(inner));
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        size_t length = strlen(err->text);
        snprintf(err->text + length, sizeof(err->text) - length, ": %s", inner);
        cut_utf8(err->text, sizeof(err->text));
    }
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    switch (kind) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_LIMIT:
        return "limit";
    case ERR_SYS:
        return "system";
    case ERR_IO:
        return "io";
    case ERR_DENIED:
        return "denied";
    case ERR_NOTFOUND:
        return "not_found";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_GONE:
        return "gone";
    case ERR_STALE:
        return "stale";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_TEMPLATE:
        return "template";
    case ERR_HAPROXY:
        return "haproxy";
    case ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
