/* A message is a line "[SEVERITY] (pid) : [config : ]text" and the following lines without such a beginning. The place
 * is parsed from the text. Its form depends on the part of HAProxy that writes it (src/cfgparse*.c, server.c, proxy.c):
 *
 *     parsing [haproxy.cfg:12] : …            Parsing [haproxy.cfg:12]: …
 *     [haproxy.cfg:12] : 'server b/s' : …     http frontend 'f' (haproxy.cfg:9) tries to use …
 *     Proxy 'f': unable to find …             backend 'a', server 's': …          … for backend 'a'.
 *
 * The other file is parsed from "file 'x'", "file <x>" or "line 2 of file 'x'".
 */
#include "haproxy/check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/buf.h"

#define MESSAGES_MAX 1000
#define TEXT_MAX ((size_t)4096)

struct parser {
    struct check_messages *out;
    const char *directory;
    char *next; /* free space in out->strings */
};

/* Copies the bytes, with a NUL. The space is sufficient: each byte of the output is copied a fixed number of times at
 * most. */
static const char *keep(struct parser *p, const char *bytes, size_t length)
{
    char *copy = p->next;
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    p->next += length + 1;
    return copy;
}

static bool is_word_start(const char *text, const char *at)
{
    return at == text || !isalnum((unsigned char)at[-1]);
}

/* "[haproxy.cfg:12]", "(haproxy.cfg:9)" or "haproxy.cfg:9": the number after the first "haproxy.cfg:"; 0 when there is
 * none. */
static unsigned config_line(const char *text)
{
    const char *found = strstr(text, DISK_CONFIG ":");
    if (!found)
        return 0;
    unsigned long line = strtoul(found + strlen(DISK_CONFIG ":"), NULL, 10);
    return line < 1u << 30 ? (unsigned)line : 0;
}

/* Removes "parsing [file:12] :", because line and file are separate fields. */
static const char *skip_place(const char *text)
{
    const char *p = text;
    if (strncasecmp(p, "parsing ", 8) == 0)
        p += 8;
    if (*p != '[')
        return text;
    const char *end = strchr(p, ']');
    if (!end || !memchr(p, ':', (size_t)(end - p)))
        return text;
    p = end + 1;
    p += strspn(p, " ");
    p += *p == ':';
    p += strspn(p, " ");
    return *p ? p : text;
}

/* "server b/s" in quotes. */
static bool find_server(struct parser *p, const char *text, struct check_message *m)
{
    const char *at = strstr(text, "'server ");
    if (!at)
        return false;
    at += strlen("'server ");
    size_t name = strcspn(at, "/'"), server = at[name] == '/' ? strcspn(at + name + 1, "'") : 0;
    if (name == 0 || server == 0)
        return false;
    m->section = "proxy";
    m->name = keep(p, at, name);
    m->server = keep(p, at + name + 1, server);
    return true;
}

/* The first "backend 'x'" or a similar name, and a "server 's'" after it. */
static void find_section(struct parser *p, const char *text, struct check_message *m)
{
    static const char *const kinds[] = {"proxy",   "backend",  "frontend", "listen",   "peers", "resolvers",
                                        "mailers", "userlist", "cache",    "fcgi-app", "ring"};
    const char *first = NULL;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t length = strlen(kinds[i]);
        for (const char *at = text; (at = strcasestr(at, kinds[i])); at += length) {
            if (!is_word_start(text, at) || at[length] != ' ' || at[length + 1] != '\'' ||
                (at > text && at[-1] == '\''))
                continue;
            size_t name = strcspn(at + length + 2, "'");
            /* "unable to find … 'x'" or "… 'x' not found": this is the missing object, not the place. */
            const char *before = at - text >= 9 ? at - 9 : text;
            if (name == 0 || memmem(before, (size_t)(at - before), "find ", 5) ||
                memmem(before, (size_t)(at - before), "required ", 9))
                continue;
            if (!first || at < first) {
                first = at;
                m->section = kinds[i];
            }
            break;
        }
    }
    if (!first)
        return;
    const char *name = strchr(first, '\'') + 1;
    m->name = keep(p, name, strcspn(name, "'"));
    const char *server = strstr(name, "', server '");
    if (server && server == name + strlen(m->name)) {
        server += strlen("', server '");
        m->server = keep(p, server, strcspn(server, "'"));
    }
}

static void find_file(struct parser *p, const char *text, struct check_message *m)
{
    for (const char *at = text; (at = strstr(at, "file ")); at++) {
        char quote = at[5] == '\'' ? '\'' : at[5] == '<' ? '>' : '\0';
        const char *name = at + 6, *end = quote ? strchr(name, quote) : NULL;
        if (!end || end == name)
            continue;
        size_t skip = p->directory ? strlen(p->directory) : 0;
        if (skip && strncmp(name, p->directory, skip) == 0 && name[skip] == '/')
            name += skip + 1;
        if (end == name) /* the directory itself */
            continue;
        if (end - name == (ptrdiff_t)strlen(DISK_CONFIG) && strncmp(name, DISK_CONFIG, strlen(DISK_CONFIG)) == 0)
            continue;
        m->file = keep(p, name, (size_t)(end - name));
        const char *line = text;
        while ((line = strstr(line, "line "))) {
            char *after;
            unsigned long number = strtoul(line + 5, &after, 10);
            if (after > line + 5 && strncmp(after, " of ", 4) == 0 && after + 4 == at && number < 1u << 30)
                m->file_line = (unsigned)number;
            line += 5;
        }
        return;
    }
}

/* True for a line that only summarises other messages. */
static bool is_summary(const char *text)
{
    static const char *const summaries[] = {"Error(s) found in configuration file",
                                            "Fatal errors found in configuration", "haproxy version is",
                                            "path to executable is"};
    for (size_t i = 0; i < ARRAY_LEN(summaries); i++)
        if (strncmp(text, summaries[i], strlen(summaries[i])) == 0)
            return true;
    return false;
}

static void message_add(struct parser *p, enum check_severity severity, const char *raw, size_t length)
{
    struct check_message m = {.severity = severity};
    const char *text = keep(p, raw, length < TEXT_MAX ? length : TEXT_MAX);
    if (strncmp(text, "config : ", 9) == 0)
        text += 9;
    m.text = skip_place(text);
    m.line = config_line(text);
    if (!find_server(p, m.text, &m))
        find_section(p, m.text, &m);
    find_file(p, m.text, &m);
    if (severity == CHECK_ALERT && p->out->alerts.length < MESSAGES_MAX)
        vec_push(&p->out->alerts, m);
    else if (severity != CHECK_ALERT && p->out->warnings.length < MESSAGES_MAX)
        vec_push(&p->out->warnings, m);
}

/* "[ALERT]    (123) : text" → text; NULL when the line is no message. */
static const char *message_start(const char *line, size_t length, enum check_severity *ret_severity)
{
    static const struct {
        const char *tag;
        enum check_severity severity;
    } tags[] = {{"[ALERT]", CHECK_ALERT},     {"[EMERG]", CHECK_ALERT},   {"[CRIT]", CHECK_ALERT},
                {"[WARNING]", CHECK_WARNING}, {"[NOTICE]", CHECK_NOTICE}, {"[INFO]", CHECK_NOTICE},
                {"[DEBUG]", CHECK_NOTICE},    {"[DIAG]", CHECK_NOTICE}};
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        size_t tag = strlen(tags[i].tag);
        if (length <= tag || memcmp(line, tags[i].tag, tag) != 0)
            continue;
        const char *colon = memmem(line, length, " : ", 3);
        if (!colon || !memchr(line, '(', (size_t)(colon - line)))
            return NULL;
        *ret_severity = tags[i].severity;
        return colon + 3;
    }
    return NULL;
}

static void summaries_drop(struct check_messages *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->alerts.length; i++)
        if (!is_summary(m->alerts.items[i].text))
            m->alerts.items[kept++] = m->alerts.items[i];
    if (kept > 0)
        m->alerts.length = kept;
    kept = 0;
    for (size_t i = 0; i < m->warnings.length; i++)
        if (!is_summary(m->warnings.items[i].text))
            m->warnings.items[kept++] = m->warnings.items[i];
    m->warnings.length = kept;
}

void check_messages_parse(const char *output, const char *directory, struct check_messages *ret_messages)
{
    memset(ret_messages, 0, sizeof(*ret_messages));
    size_t total = strlen(output);
    /* The text, section, server and file of a message are copies of parts of it, each at most as long as it; "; " may
     * be longer than a newline. */
    ret_messages->strings = xmalloc(8 * total + 64);
    struct parser p = {.out = ret_messages, .directory = directory, .next = ret_messages->strings};
    CLEANUP(buf_done) struct buf text = {0};
    enum check_severity severity = CHECK_NOTICE, next = CHECK_NOTICE;
    bool open = false;
    for (const char *line = output; *line;) {
        size_t length = strcspn(line, "\n");
        const char *start = message_start(line, length, &next);
        if (start) {
            if (open)
                message_add(&p, severity, buf_str(&text), text.length);
            buf_clear(&text);
            buf_add(&text, start, (size_t)(line + length - start));
            severity = next;
            open = true;
        } else if (open && (line[0] == ' ' || line[0] == '\t')) {
            /* Lines with pictures ("   ^") and frames ("   | ") are for terminals. */
            const char *content = line + strspn(line, " \t|^");
            if (content < line + length && text.length + length < TEXT_MAX) {
                buf_puts(&text, "; ");
                buf_add(&text, content, (size_t)(line + length - content));
            }
        }
        line += length + (line[length] == '\n');
    }
    if (open)
        message_add(&p, severity, buf_str(&text), text.length);
    summaries_drop(ret_messages);
}

void check_messages_done(struct check_messages *m)
{
    vec_done(&m->alerts);
    vec_done(&m->warnings);
    free(m->strings);
    memset(m, 0, sizeof(*m));
}
