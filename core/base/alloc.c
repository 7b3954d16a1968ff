/* Allocation that aborts with a line on stderr: there is nothing to unwind to, and the process' restart rebuilds all
 * state. */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *must(void *p, size_t size)
{
    if (p == NULL) {
        fprintf(stderr, "out of memory (%zu bytes)\n", size);
        abort();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return must(malloc(size ? size : 1), size);
}

void *xcalloc(size_t count, size_t size)
{
    return must(calloc(count ? count : 1, size ? size : 1), size);
}

void *xrealloc(void *old, size_t size)
{
    return must(realloc(old, size ? size : 1), size);
}

void *xreallocarray(void *old, size_t count, size_t size)
{
    return must(reallocarray(old, count ? count : 1, size ? size : 1), size);
}

char *xstrdup(const char *string)
{
    return xmemdup0(string, strlen(string));
}

char *xmemdup0(const char *string, size_t length)
{
    char *copy = xmalloc(length + 1);

    if (length > 0)
        memcpy(copy, string, length);
    copy[length] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length < 0 ? must(NULL, 0) : text;
}
