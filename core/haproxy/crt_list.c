/* A line is a certificate, [options] and names. The text of a table is a line without names, for one certificate. */
#include "haproxy/crt_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define BLANKS " \t"

static void write_line(struct buf *out, const char *certificate, size_t length, const char *options,
                       const char *const *names, size_t count)
{
    buf_add(out, certificate, length);
    if (*options) {
        buf_putc(out, ' ');
        buf_puts(out, options);
    }
    for (size_t i = 0; i < count; i++) {
        buf_putc(out, ' ');
        buf_puts(out, *names[i] ? names[i] : CRT_LIST_NOBODY);
    }
    buf_putc(out, '\n');
}

void crt_list_write(struct buf *out, const char *text, const char *const *names, size_t count)
{
    const char *options = strchr(text, '[');
    const char *end = options ? options : text + strlen(text);
    for (const char *at = text; (at += strspn(at, BLANKS)) < end;) {
        size_t length = strcspn(at, BLANKS "[");
        if (length == 0)
            break;
        for (size_t i = 0; i < count; i += CRT_LIST_NAMES_MAX)
            write_line(out, at, length, options ? options : "", names + i,
                       count - i < CRT_LIST_NAMES_MAX ? count - i : CRT_LIST_NAMES_MAX);
        at += length;
    }
}

static int name_compare(const void *a, const void *b)
{
    const struct crt_list_name *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    int texts = strcmp(x->text, y->text);
    return texts ? texts : strcmp(x->name, y->name);
}

void crt_list_write_all(struct buf *out, struct crt_list_name *names, size_t count)
{
    const char **neighbours = xreallocarray(NULL, count ? count : 1, sizeof(*neighbours));
    if (count)
        qsort(names, count, sizeof(*names), name_compare);
    for (size_t i = 0; i < count; i++)
        neighbours[i] = names[i].name;
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1;
             next < count && names[next].order == names[i].order && strcmp(names[next].text, names[i].text) == 0;)
            next++;
        crt_list_write(out, names[i].text, neighbours + i, next - i);
    }
    free(neighbours);
}

void crt_list_line_done(struct crt_list_line *line)
{
    free(line->certificate);
    free(line->options);
    for (size_t i = 0; i < line->names.length; i++)
        free(line->names.items[i]);
    vec_done(&line->names);
}

void crt_list_done(struct crt_list *list)
{
    for (size_t i = 0; i < list->lines.length; i++)
        crt_list_line_done(&list->lines.items[i]);
    vec_done(&list->lines);
}

static int word_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *crt_list_options(const char *options, size_t length)
{
    VEC(char *) words = {0};
    struct buf out = {0};
    const char *at = options, *end = options + length;
    for (;;) {
        while (at < end && strchr(BLANKS, *at))
            at++;
        const char *start = at;
        while (at < end && !strchr(BLANKS, *at))
            at++;
        if (at == start)
            break;
        vec_push(&words, xmemdup0(start, (size_t)(at - start)));
    }
    if (words.length > 1)
        qsort(words.items, words.length, sizeof(words.items[0]), word_compare);
    for (size_t i = 0; i < words.length; i++) {
        buf_printf(&out, "%s%s", i ? " " : "", words.items[i]);
        free(words.items[i]);
    }
    vec_done(&words);
    return buf_steal(&out);
}

static unsigned number_cut(char *certificate)
{
    char *colon = strrchr(certificate, ':');
    unsigned number = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
    if (colon)
        *colon = '\0';
    return number;
}

static void parse_line(struct crt_list *list, const char *line, unsigned number, bool numbered)
{
    const char *at = line + strspn(line, BLANKS);
    size_t length = strcspn(at, BLANKS "[");
    if (length == 0 || *at == '#')
        return;
    struct crt_list_line parsed = {.certificate = xmemdup0(at, length), .number = number};
    if (numbered)
        parsed.number = number_cut(parsed.certificate);
    at += length;
    at += strspn(at, BLANKS);
    const char *close = *at == '[' ? strchr(at, ']') : NULL;
    if (close) {
        parsed.options = crt_list_options(at + 1, (size_t)(close - at - 1));
        at = close + 1;
    } else {
        parsed.options = xstrdup("");
    }
    while (*(at += strspn(at, BLANKS))) {
        length = strcspn(at, BLANKS);
        vec_push(&parsed.names, xmemdup0(at, length));
        at += length;
    }
    vec_push(&list->lines, parsed);
}

void crt_list_parse(struct crt_list *list, const char *text, size_t length, bool numbered)
{
    const char *end = text + length;
    unsigned number = 0;
    for (const char *at = text; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        CLEANUP(free_ptr) char *line = xmemdup0(at, (size_t)(stop - at));
        /* HAProxy prints the protocols of "alpn" with a NUL at their end. */
        for (char *nul = line; (nul = memchr(nul, '\0', (size_t)(line + (stop - at) - nul)));)
            *nul = ' ';
        char *cr = strchr(line, '\r');
        if (cr)
            *cr = '\0';
        parse_line(list, line, ++number, numbered);
        at = stop + (stop < end);
    }
}
