/* HAProxy's rules for words: white space separates words. A backslash escapes the next character, or makes \n \r \t
 * \xHH. Within double quotes a backslash escapes only the characters that are special there, and $NAME is a variable of
 * the environment. Within single quotes all characters stand for themselves. # begins a comment.
 */
#include "haproxy/cfg.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Handles the escape at the backslash at: appends the character that it stands for, and returns the number of
 * characters that it takes; 0 when it is wrong. */
static size_t word_escape(const char *at, const char *end, bool quoted, struct buf *out)
{
    if (at + 1 >= end)
        return 0;
    char c = at[1];
    if (c == '\\' || c == '"' || c == '$' || (!quoted && (c == ' ' || c == '#' || c == '\''))) {
        buf_putc(out, c);
        return 2;
    }
    if (!quoted && (c == 'n' || c == 'r' || c == 't')) {
        buf_putc(out, c == 'n' ? '\n' : c == 'r' ? '\r' : '\t');
        return 2;
    }
    if (!quoted && c == 'x') {
        int high = at + 3 < end ? hex_digit(at[2]) : -1, low = at + 3 < end ? hex_digit(at[3]) : -1;
        if (high < 0 || low < 0 || high + low == 0)
            return 0;
        buf_putc(out, (char)(high * 16 + low));
        return 4;
    }
    buf_putc(out, '\\');
    return 1;
}

int cfg_words(const char *line, size_t length, struct buf *out, size_t *ret_count, bool *ret_plain, struct err *err)
{
    const char *end = line + length;
    size_t count = 0;
    bool in_word = false, plain = true;
    char quote = 0;

    for (const char *at = line; at < end;) {
        char c = *at;
        if (c == '\0')
            return err_set(err, ERR_INVALID, "a NUL byte in the line");
        if (!quote && (is_blank(c) || c == '\n' || c == '#')) {
            if (in_word)
                buf_putc(out, '\0');
            in_word = false;
            if (c == '#')
                break;
            at++;
            continue;
        }
        if (!in_word) {
            in_word = true;
            count++;
        }
        if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? 0 : c;
            at++;
        } else if (c == '\\' && quote != '\'') {
            size_t taken = word_escape(at, end, quote != 0, out);
            if (!taken)
                return err_set(err, ERR_INVALID, "an escape sequence that HAProxy does not know");
            at += taken;
        } else {
            if (c == '$' && quote == '"')
                plain = false;
            buf_putc(out, c);
            at++;
        }
    }
    if (quote)
        return err_set(err, ERR_INVALID, "a quote is not closed");
    if (in_word)
        buf_putc(out, '\0');
    *ret_count = count;
    *ret_plain = plain;
    return 0;
}

static const char *next_word(const char *word)
{
    return word + strlen(word) + 1;
}

/* Four numbers up to 255, without zeros in front: an IPv4 address has one form only. */
static bool is_ipv4(const char *text, size_t length)
{
    size_t numbers = 0;
    for (const char *c = text, *end = text + length; numbers < 4; c++) {
        const char *first = c;
        unsigned value = 0;
        while (c < end && *c >= '0' && *c <= '9' && c - first < 3)
            value = value * 10 + (unsigned)(*c++ - '0');
        if (c == first || value > 255 || (*first == '0' && c - first > 1))
            return false;
        if (++numbers == 4)
            return c == end;
        if (c == end || *c != '.')
            return false;
    }
    return false;
}

/* The canonical form of a literal IP address in out; false when it is no address. */
static bool address_canonical(const char *address, size_t length, char out[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN + 2];
    unsigned char bytes[16];
    if (is_ipv4(address, length)) {
        memcpy(out, address, length);
        out[length] = '\0';
        return true;
    }
    if (length >= sizeof(text))
        return false;
    memcpy(text, address, length);
    text[length] = '\0';
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, out, INET6_ADDRSTRLEN);
}

/* A decimal number without sign in [0, max]; -1 for other texts. */
static int32_t number_parse(const char *text, int32_t max)
{
    int32_t value = 0;
    if (!*text)
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > max)
            return -1;
    }
    return value;
}

struct server_address {
    char canonical[INET6_ADDRSTRLEN];
    const char *text;
    size_t length;
    int32_t port;
    bool literal, plain;
};

/* "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1:80" (the last part is the port), "host:80", "ipv4@…", "unix@/path",
 * "/path". */
static void server_address_parse(const char *word, struct server_address *ret)
{
    *ret = (struct server_address){.text = word, .length = strlen(word), .plain = true};
    bool path = word[0] == '/' || strchr(word, '@');
    const char *colon = strrchr(word, ':'), *bracket = strrchr(word, ']');
    if (!path && colon && (!bracket || colon > bracket)) {
        int32_t port = colon[1] ? number_parse(colon + 1, 65535) : 0;
        ret->length = (size_t)(colon - word);
        ret->port = port < 0 ? 0 : port;
        ret->plain = port >= 0;
    }
    if (ret->length >= 2 && ret->text[0] == '[' && ret->text[ret->length - 1] == ']') {
        ret->text++;
        ret->length -= 2;
    }
    if (!path && address_canonical(ret->text, ret->length, ret->canonical)) {
        ret->literal = true;
        ret->text = ret->canonical;
        ret->length = strlen(ret->canonical);
    }
}

static struct cfg_server *server_build(const char *name, const char *address, size_t address_length, const char *words,
                                       size_t words_length)
{
    size_t name_length = strlen(name);
    struct cfg_server *s = xcalloc(1, sizeof(*s) + name_length + address_length + words_length + 3);
    char *at = (char *)(s + 1);
    memcpy(at, name, name_length);
    s->name = at;
    at += name_length + 1;
    memcpy(at, address, address_length);
    s->address = at;
    at += address_length + 1;
    if (words_length)
        memcpy(at, words, words_length);
    s->words = at;
    s->words_length = words_length;
    s->weight = 1;
    return s;
}

/* words: "server", name, address and the rest, as cfg_words() made them. */
static int server_from_words(const char *words, const char *end, bool plain, struct cfg_server **ret_server,
                             struct err *err)
{
    const char *name = next_word(words), *address_word = next_word(name), *rest = next_word(address_word);
    struct server_address address;
    int32_t weight = 1;
    enum cfg_admin admin = CFG_READY;
    bool checked = false, agent_checked = false;
    CLEANUP(buf_done) struct buf kept = {0};

    server_address_parse(address_word, &address);
    for (const char *w = rest; w < end; w = next_word(w)) {
        if (strcmp(w, "weight") == 0) {
            const char *value = next_word(w);
            weight = value < end ? number_parse(value, 256) : -1;
            if (weight < 0)
                return err_set(err, ERR_INVALID, "server %s: weight wants a number from 0 to 256", name);
            w = value;
        } else if (strcmp(w, "disabled") == 0) {
            admin = CFG_MAINT;
        } else if (strcmp(w, "enabled") == 0) {
            admin = CFG_READY;
        } else {
            checked |= strcmp(w, "check") == 0;
            agent_checked |= strcmp(w, "agent-check") == 0;
            buf_add(&kept, w, strlen(w) + 1);
        }
    }
    struct cfg_server *s = server_build(name, address.text, address.length, kept.data, kept.length);
    s->port = address.port;
    s->literal = address.literal;
    s->plain = plain && address.plain;
    s->weight = weight;
    s->admin = admin;
    s->checked = checked;
    s->agent_checked = agent_checked;
    s->words_known = true;
    *ret_server = s;
    return 0;
}

int cfg_server_parse(const char *line, size_t length, struct cfg_server **ret_server, struct err *err)
{
    CLEANUP(buf_done) struct buf words = {0};
    size_t count;
    bool plain;
    if (cfg_words(line, length, &words, &count, &plain, err))
        return -1;
    if (count < 3 || strcmp(words.data, "server") != 0)
        return err_set(err, ERR_INVALID, "not a server line: it wants a name and an address");
    return server_from_words(words.data, words.data + words.length, plain, ret_server, err);
}

struct cfg_server *cfg_server_new(const char *name, const char *address, int32_t port)
{
    char canonical[INET6_ADDRSTRLEN];
    bool literal = address_canonical(address, strlen(address), canonical);
    const char *text = literal ? canonical : address;
    struct cfg_server *s = server_build(name, text, strlen(text), NULL, 0);
    s->port = port;
    s->literal = literal;
    s->plain = true;
    return s;
}

struct cfg_server *cfg_server_copy(const struct cfg_server *s, const char *address, int32_t port)
{
    char canonical[INET6_ADDRSTRLEN];
    bool literal = address_canonical(address, strlen(address), canonical);
    const char *text = literal ? canonical : address;
    struct cfg_server *copy = server_build(s->name, text, strlen(text), s->words, s->words_length);
    copy->port = port;
    copy->literal = literal;
    copy->weight = s->weight;
    copy->admin = s->admin;
    copy->plain = s->plain;
    copy->words_known = s->words_known;
    copy->checked = s->checked;
    copy->agent_checked = s->agent_checked;
    copy->leaving = s->leaving;
    copy->leave_by_ns = s->leave_by_ns;
    return copy;
}

struct cfg_server *cfg_server_free(struct cfg_server *s)
{
    free(s);
    return NULL;
}

bool cfg_server_same_words(const struct cfg_server *a, const struct cfg_server *b)
{
    return a->words_known && b->words_known && a->words_length == b->words_length &&
           memcmp(a->words, b->words, a->words_length) == 0;
}

/* True for a cookie value that every version accepts. */
static bool cookie_is_harmless(const char *value)
{
    size_t length = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-");
    return length > 0 && value[length] == '\0';
}

struct digest cfg_server_shape(const struct cfg_server *s, const char *profile)
{
    CLEANUP(buf_done) struct buf shape = {0};
    const char *end = s->words + s->words_length;
    buf_add(&shape, profile, strlen(profile) + 1);
    buf_putc(&shape, s->literal ? 'L' : 'N');
    buf_putc(&shape, s->port ? 'P' : '-');
    for (const char *w = s->words; w < end; w = next_word(w)) {
        buf_add(&shape, w, strlen(w) + 1);
        if (strcmp(w, "cookie") == 0 && next_word(w) < end && cookie_is_harmless(next_word(w))) {
            w = next_word(w);
            buf_putc(&shape, '\1');
        }
    }
    return digest_of(shape.data, shape.length);
}

/* ---- lines ---- */

/* The next line of [*at, end) without surrounding white space; false at the end. */
static bool line_next(const char **at, const char *end, const char **ret_line, size_t *ret_length)
{
    if (*at >= end)
        return false;
    const char *start = *at, *stop = memchr(start, '\n', (size_t)(end - start));
    *at = stop ? stop + 1 : end;
    if (!stop)
        stop = end;
    while (start < stop && is_blank(*start))
        start++;
    while (stop > start && is_blank(stop[-1]))
        stop--;
    *ret_line = start;
    *ret_length = (size_t)(stop - start);
    return true;
}

static bool line_counts(const char *line, size_t length)
{
    return length > 0 && line[0] != '#';
}

static bool line_begins(const char *line, size_t length, const char *word)
{
    size_t n = strlen(word);
    return length >= n && memcmp(line, word, n) == 0 && (length == n || is_blank(line[n]));
}

static int server_compare(const void *a, const void *b)
{
    return strcmp((*(struct cfg_server *const *)a)->name, (*(struct cfg_server *const *)b)->name);
}

static void backend_add_server(struct cfg_backend *b, const char *line, size_t length)
{
    struct cfg_server *s;
    if (cfg_server_parse(line, length, &s, NULL)) {
        b->by_hand = true;
        return;
    }
    vec_push(&b->servers, s);
}

static void backend_add_default_server(struct cfg_backend *b, const char *line, size_t length)
{
    CLEANUP(buf_done) struct buf words = {0};
    size_t count;
    bool plain;
    if (cfg_words(line, length, &words, &count, &plain, NULL) || !plain) {
        b->by_hand = true;
        return;
    }
    size_t first = strlen(words.data) + 1;
    buf_add(&b->default_words, words.data + first, words.length - first);
}

void cfg_backend_parse(const char *text, size_t length, const char *from, struct cfg_backend *ret_backend)
{
    struct cfg_backend *b = ret_backend;
    const char *at = text, *end = text + length, *line;
    size_t n;
    CLEANUP(buf_done) struct buf other = {0};

    b->from = xstrdup(from ? from : "");
    while (line_next(&at, end, &line, &n)) {
        if (!line_counts(line, n))
            continue;
        if (line_begins(line, n, "server")) {
            backend_add_server(b, line, n);
            continue;
        }
        if (line_begins(line, n, "default-server"))
            backend_add_default_server(b, line, n);
        else if (line_begins(line, n, "server-template"))
            b->by_hand = true;
        buf_add(&other, line, n);
        buf_putc(&other, '\n');
    }
    b->other = digest_of(buf_str(&other), other.length);
    if (b->servers.length > 1)
        qsort(b->servers.items, b->servers.length, sizeof(*b->servers.items), server_compare);
    for (size_t i = 1; i < b->servers.length; i++)
        b->by_hand |= strcmp(b->servers.items[i - 1]->name, b->servers.items[i]->name) == 0;
}

void cfg_backend_done(struct cfg_backend *b)
{
    for (size_t i = 0; i < b->servers.length; i++)
        cfg_server_free(b->servers.items[i]);
    vec_done(&b->servers);
    buf_done(&b->default_words);
    free(STEAL(b->from));
}

/* Index of the first server whose name is not lower. */
static size_t backend_find(const struct cfg_backend *b, const char *name)
{
    size_t low = 0, high = b->servers.length;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(b->servers.items[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct cfg_server *cfg_backend_server(const struct cfg_backend *b, const char *name)
{
    size_t i = backend_find(b, name);
    return i < b->servers.length && strcmp(b->servers.items[i]->name, name) == 0 ? b->servers.items[i] : NULL;
}

void cfg_backend_insert(struct cfg_backend *b, struct cfg_server *s)
{
    size_t i = backend_find(b, s->name), n = b->servers.length;
    vec_push(&b->servers, s);
    memmove(b->servers.items + i + 1, b->servers.items + i, (n - i) * sizeof(*b->servers.items));
    b->servers.items[i] = s;
}

struct cfg_server *cfg_backend_remove(struct cfg_backend *b, const char *name)
{
    size_t i = backend_find(b, name);
    if (i >= b->servers.length || strcmp(b->servers.items[i]->name, name) != 0)
        return NULL;
    struct cfg_server *s = b->servers.items[i];
    b->servers.length--;
    memmove(b->servers.items + i, b->servers.items + i + 1, (b->servers.length - i) * sizeof(*b->servers.items));
    return s;
}

struct digest cfg_text_digest(const char *text, size_t length)
{
    const char *at = text, *end = text + length, *line;
    size_t n;
    CLEANUP(buf_done) struct buf kept = {0};
    while (line_next(&at, end, &line, &n))
        if (line_counts(line, n)) {
            buf_add(&kept, line, n);
            buf_putc(&kept, '\n');
        }
    return digest_of(buf_str(&kept), kept.length);
}

/* Splits "backend x from y" into name and from; both point into header, which is changed. */
static void header_split(char *header, const char **ret_from)
{
    char *from = strstr(header, " from ");
    *ret_from = "";
    if (from) {
        *from = '\0';
        *ret_from = from + strlen(" from ");
    }
}

void cfg_split(const char *text, size_t length,
               void (*fn)(void *ctx, const char *name, const char *from, const char *text, size_t length), void *ctx)
{
    const char *at = text, *end = text + length, *body = text, *from = "";
    char *header = NULL;
    for (;;) {
        const char *start = at, *line;
        size_t n;
        bool more = line_next(&at, end, &line, &n);
        bool begins = more && n > 0 && line == start && line[0] != '#';
        if ((begins || !more) && header) {
            fn(ctx, header, from, body, (size_t)(start - body));
            free(header);
            header = NULL;
        }
        if (!more)
            return;
        if (begins) {
            header = xmemdup0(line, n);
            header_split(header, &from);
            body = at;
        }
    }
}
