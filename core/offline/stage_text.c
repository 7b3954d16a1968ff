/* Two passes over lines that are split into words, which keep their quotes: the first one learns where the file
 * listens, the second one writes. A line that must not take effect becomes a comment, so that few line numbers move. */
#include "offline/stage_text.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define WORDS_MAX 256
#define LISTENERS_MAX 4096
#define SERVERS_MAX (1U << 21)

enum section { SECTION_GLOBAL, SECTION_PROXY, SECTION_PEERS, SECTION_OTHER };

struct word {
    const char *at;
    size_t length;
};

struct line {
    const char *at;
    size_t length, number;
    struct word words[WORDS_MAX];
    size_t count;
};

struct mover {
    struct stage_text *out;
    const char *folder;
    const struct stage_place *place;
    bool is_tls; /* servers speak TLS by a default-server line, of any section */
    enum section section;
    char *proxy;     /* of the section, "frontend http"; NULL before the first one */
    bool is_client;  /* frontend or listen */
    unsigned others; /* further sockets */
    struct err *err;
};

static bool is_word(const struct word *w, const char *text)
{
    return w->length == strlen(text) && strncmp(w->at, text, w->length) == 0;
}

static bool is_one_of(const struct word *w, const char *const *texts)
{
    for (; *texts != NULL; texts++)
        if (is_word(w, *texts))
            return true;
    return false;
}

static bool begins_with(const struct word *w, const char *text)
{
    return w->length >= strlen(text) && strncmp(w->at, text, strlen(text)) == 0;
}

static bool contains(const struct word *w, const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i + length <= w->length; i++)
        if (strncmp(w->at + i, text, length) == 0)
            return true;
    return false;
}

/* The same words without the quotes around. */
static struct word bare(const struct word *w)
{
    bool quoted = w->length > 1 && (*w->at == '"' || *w->at == '\'') && w->at[w->length - 1] == *w->at;

    return quoted ? (struct word){w->at + 1, w->length - 2} : *w;
}

static char *word_text(const struct word *w)
{
    struct word b = bare(w);

    return xmemdup0(b.at, b.length);
}

static int split(struct line *l, struct err *err)
{
    const char *end = l->at + l->length;
    char quote = 0;
    bool in_word = false;

    l->count = 0;
    for (const char *at = l->at; at < end; at++) {
        bool ends = !quote && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '#');
        if (ends && in_word)
            l->words[l->count - 1].length = (size_t)(at - l->words[l->count - 1].at);
        if (ends) {
            in_word = false;
            if (*at == '#')
                break;
            continue;
        }
        if (!in_word) {
            if (l->count == WORDS_MAX)
                return err_set(err, ERR_LIMIT, "haproxy.cfg:%zu has more than %d words", l->number, WORDS_MAX);
            l->words[l->count++] = (struct word){at, (size_t)(end - at)};
            in_word = true;
        }
        if (quote ? *at == quote : *at == '"' || *at == '\'')
            quote = quote ? 0 : *at;
        else if (*at == '\\' && quote != '\'' && at + 1 < end)
            at++;
    }
    return quote ? err_set(err, ERR_INVALID, "haproxy.cfg:%zu: a quote is not closed", l->number) : 0;
}

/* ---- sections ---- */

/* The model writes a section's header, and nothing else, without indentation. */
static bool is_header(const struct line *l)
{
    return l->count > 0 && l->words[0].at == l->at;
}

static void begin_section(struct mover *m, const struct line *l)
{
    static const char *const proxies[] = {"frontend", "backend", "listen", "defaults", NULL};
    const struct word *first = &l->words[0];

    m->section = is_word(first, "global")    ? SECTION_GLOBAL
                 : is_one_of(first, proxies) ? SECTION_PROXY
                 : is_word(first, "peers")   ? SECTION_PEERS
                                             : SECTION_OTHER;
    m->is_client = is_word(first, "frontend") || is_word(first, "listen");
    CLEANUP(free_ptr) char *name = l->count > 1 ? word_text(&l->words[1]) : NULL;
    free(m->proxy);
    m->proxy = xasprintf("%.*s%s%s", (int)first->length, first->at, name ? " " : "", name ? name : "");
}

/* ---- addresses ---- */

/* The port at the end of one address; 0: none. */
static int port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    char *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

    return colon && end != colon + 1 && port < 65536 ? (int)port : 0;
}

static bool is_local(const char *address)
{
    static const char *const hosts[] = {"",    "*",     "0.0.0.0", "127.0.0.1", "localhost",      "::", "[::]",
                                        "::1", "[::1]", "ipv4@",   "ipv6@",     "ipv4@127.0.0.1", NULL};
    const char *colon = strrchr(address, ':');
    struct word host = {address, colon ? (size_t)(colon - address) : strlen(address)};

    return is_one_of(&host, hosts);
}

/* Does a server at this address lead to the listener? */
static bool leads_to(const char *address, const struct stage_listener *l)
{
    if (strcmp(address, l->address) == 0)
        return true;
    if (strchr(address, '/') != NULL || strncmp(address, "abns@", 5) == 0 || strncmp(address, "unix@", 5) == 0) {
        const char *a = strncmp(address, "unix@", 5) == 0 ? address + 5 : address;
        const char *b = strncmp(l->address, "unix@", 5) == 0 ? l->address + 5 : l->address;
        return strcmp(a, b) == 0;
    }
    return l->port != 0 && port_of(address) == l->port && is_local(address) && is_local(l->address);
}

static struct stage_listener *listener_of(struct stage_text *t, const char *address)
{
    for (size_t i = 0; i < t->listeners.length; i++)
        if (leads_to(address, &t->listeners.items[i]))
            return &t->listeners.items[i];
    return NULL;
}

static bool is_server(const struct line *l)
{
    return l->count > 2 && is_word(&l->words[0], "server");
}

/* ---- the first pass ---- */

static bool has(const struct line *l, size_t from, const char *text)
{
    for (size_t i = from; i < l->count; i++)
        if (is_word(&l->words[i], text))
            return true;
    return false;
}

static bool is_datagram(const struct word *address)
{
    return begins_with(address, "quic4@") || begins_with(address, "quic6@") || begins_with(address, "udp");
}

static int learn_bind(struct mover *m, const struct line *l)
{
    struct stage_text *t = m->out;
    CLEANUP(free_ptr) char *address = word_text(&l->words[1]);

    if (t->listeners.length == LISTENERS_MAX)
        return err_set(m->err, ERR_LIMIT, "haproxy.cfg has more than %d listeners", LISTENERS_MAX);
    struct stage_listener listener = {.proxy = xstrdup(m->proxy),
                                      .port = port_of(address),
                                      .tls = has(l, 2, "ssl"),
                                      .own_proxy_protocol = has(l, 2, "accept-proxy"),
                                      .line = l->number,
                                      .socket = xasprintf("%s/l%zu", m->folder, t->listeners.length)};
    listener.address = STEAL(address);
    vec_push(&t->listeners, listener);
    return 0;
}

/* What servers may speak: HTTP/2 where it is named, anything where HAProxy only passes bytes on. */
static void learn_servers(struct mover *m, const struct line *l)
{
    bool is_default = l->count > 1 && is_word(&l->words[0], "default-server");

    if (is_default && has(l, 1, "ssl"))
        m->is_tls = true;
    if (l->count > 1 && is_word(&l->words[0], "mode") && is_word(&l->words[1], "tcp"))
        m->out->needs_h2 = true;
    for (size_t i = 1; (is_default || is_server(l)) && i < l->count; i++)
        if (is_word(&l->words[i - 1], "proto") || is_word(&l->words[i - 1], "alpn"))
            m->out->needs_h2 = m->out->needs_h2 || contains(&l->words[i], "h2");
}

static int learn(struct mover *m, const struct line *l)
{
    if (m->is_client && l->count > 1 && is_word(&l->words[0], "bind") && !is_datagram(&l->words[1]))
        return learn_bind(m, l);
    if (m->section == SECTION_PROXY)
        learn_servers(m, l);
    return 0;
}

/* Servers come before or after what they lead to. */
static int learn_internal(struct mover *m, const struct line *l)
{
    if (m->section != SECTION_PROXY || !is_server(l))
        return 0;
    CLEANUP(free_ptr) char *address = word_text(&l->words[2]);
    struct stage_listener *to = listener_of(m->out, address);
    if (to != NULL)
        to->internal = true;
    return 0;
}

/* ---- the second pass ---- */

static void end_line(struct mover *m, size_t number)
{
    buf_putc(&m->out->text, '\n');
    vec_push(&m->out->lines, number);
}

static void put_word(struct mover *m, const struct word *w)
{
    buf_putc(&m->out->text, ' ');
    buf_add(&m->out->text, w->at, w->length);
}

static void copy(struct mover *m, const struct line *l)
{
    buf_add(&m->out->text, l->at, l->length);
    end_line(m, l->number);
}

static void leave_out(struct mover *m, const struct line *l)
{
    buf_puts(&m->out->text, "#");
    copy(m, l);
}

/* Words of a listener that only a TCP socket has, and whether a value follows. */
static bool skip_bind_word(const struct word *w, size_t *ret_more)
{
    static const char *const alone[] = {"v4v6", "v6only", "transparent", "tfo", "defer-accept", NULL};
    static const char *const with_value[] = {"interface", "mss",  "namespace", "tcp-ut", "user",       "group", "uid",
                                             "gid",       "mode", "id",        "nice",   "tcp-md5sig", NULL};

    *ret_more = is_one_of(w, with_value);
    return *ret_more > 0 || is_one_of(w, alone) || begins_with(w, "quic-");
}

static void put_bind(struct mover *m, const struct line *l, const char *socket, bool as_client)
{
    buf_printf(&m->out->text, "    bind unix@%s", socket);
    for (size_t i = 2, more; i < l->count; i++) {
        if (skip_bind_word(&l->words[i], &more))
            i += more;
        else
            put_word(m, &l->words[i]);
    }
    if (as_client && !has(l, 2, "accept-proxy"))
        buf_puts(&m->out->text, " accept-proxy");
    end_line(m, l->number);
}

static const struct stage_listener *listener_at(const struct stage_text *t, size_t line)
{
    for (size_t i = 0; i < t->listeners.length; i++)
        if (t->listeners.items[i].line == line)
            return &t->listeners.items[i];
    return NULL;
}

static void write_bind(struct mover *m, const struct line *l)
{
    const struct stage_listener *listener = listener_at(m->out, l->number);

    if (listener == NULL) {
        leave_out(m, l);
        return;
    }
    put_bind(m, l, listener->socket, true);
    if (listener->internal) {
        size_t number = (size_t)(listener - m->out->listeners.items);
        CLEANUP(free_ptr) char *socket = xasprintf("%s/i%zu", m->folder, number);
        put_bind(m, l, socket, false);
    }
}

/* Words of a server that are about the real one, and how many values follow. */
static bool skip_server_word(const struct word *w, size_t *ret_more)
{
    static const char *const alone[] = {"check-ssl",    "agent-check",      "check-send-proxy",
                                        "no-check-ssl", "check-via-socks4", NULL};
    static const char *const with_value[] = {"port",   "addr",       "check-proto", "check-alpn",  "namespace",
                                             "socks4", "agent-port", "agent-addr",  "agent-inter", "agent-send",
                                             "source", "usesrc",     "interface",   "check-sni",   NULL};

    *ret_more = is_one_of(w, with_value);
    return *ret_more > 0 || is_one_of(w, alone);
}

static void put_server_words(struct mover *m, const struct line *l, size_t from)
{
    for (size_t i = from, more; i < l->count; i++) {
        if (skip_server_word(&l->words[i], &more))
            i += more;
        else
            put_word(m, &l->words[i]);
    }
}

/* Nobody signs the certificate of a stand-in, unless the test gives it one. */
static void put_verify(struct mover *m, const struct line *l, const char *server)
{
    const struct stage_place *p = m->place;

    if ((m->is_tls || has(l, 2, "ssl")) && (p->shows_own == NULL || !p->shows_own(p->ctx, m->proxy, server)))
        buf_puts(&m->out->text, " verify none");
}

/* name, address: which words. */
static int write_server(struct mover *m, const struct line *l, size_t address_at)
{
    struct stage_text *t = m->out;
    CLEANUP(free_ptr) char *address = word_text(&l->words[address_at]);
    const struct stage_listener *to = listener_of(t, address);
    char text[INET_ADDRSTRLEN];

    buf_puts(&t->text, "   ");
    for (size_t i = 0; i < address_at; i++)
        put_word(m, &l->words[i]);
    if (to != NULL) {
        buf_printf(&t->text, " unix@%s/i%zu", m->folder, (size_t)(to - t->listeners.items));
        for (size_t i = address_at + 1; i < l->count; i++) /* its TLS is real */
            put_word(m, &l->words[i]);
        end_line(m, l->number);
        return 0;
    }
    if (t->servers.length == SERVERS_MAX)
        return err_set(m->err, ERR_LIMIT, "haproxy.cfg has more than %u servers", SERVERS_MAX);
    struct in_addr number = {htonl(STAGE_SERVER_BASE + (uint32_t)t->servers.length)};
    buf_printf(&t->text, " %s:%u", inet_ntop(AF_INET, &number, text, sizeof(text)), m->place->port);
    struct stage_server s = {.proxy = xstrdup(m->proxy), .name = word_text(&l->words[1]), .line = l->number};
    for (size_t i = address_at + 1; i < l->count; i++)
        s.sends_proxy = s.sends_proxy || begins_with(&l->words[i], "send-proxy");
    put_server_words(m, l, address_at + 1);
    put_verify(m, l, s.name);
    end_line(m, l->number);
    vec_push(&t->servers, s);
    return 0;
}

static void write_default_server(struct mover *m, const struct line *l)
{
    buf_puts(&m->out->text, "    default-server");
    put_server_words(m, l, 1);
    end_line(m, l->number);
}

static void write_log(struct mover *m, const struct line *l)
{
    static const char *const kept[] = {"global", "stdout", "stderr", NULL};

    if (l->count < 2 || is_one_of(&l->words[1], kept) || begins_with(&l->words[1], "ring@")) {
        copy(m, l);
        return;
    }
    buf_puts(&m->out->text, "    log stderr");
    for (size_t i = 2; i < l->count; i++)
        put_word(m, &l->words[i]);
    end_line(m, l->number);
}

static int write_proxy_line(struct mover *m, const struct line *l)
{
    const struct word *first = &l->words[0];

    if (is_word(first, "bind") && m->is_client && l->count > 1)
        write_bind(m, l);
    else if (is_server(l))
        return write_server(m, l, 2);
    else if (is_word(first, "server-template") && l->count > 3)
        return write_server(m, l, 3);
    else if (is_word(first, "default-server"))
        write_default_server(m, l);
    else if (is_word(first, "log"))
        write_log(m, l);
    else if (is_word(first, "source") || is_word(first, "dispatch") || is_word(first, "email-alert"))
        leave_out(m, l);
    else
        copy(m, l);
    return 0;
}

static void write_stats_socket(struct mover *m, const struct line *l)
{
    static const char *const with_value[] = {"user", "group", "uid", "gid", "mode", NULL};

    buf_printf(&m->out->text, "    stats socket unix@%s/a%u mode 600", m->folder, m->others++);
    for (size_t i = 3; i < l->count; i++) {
        if (is_one_of(&l->words[i], with_value))
            i++;
        else
            put_word(m, &l->words[i]);
    }
    end_line(m, l->number);
}

static void write_global_line(struct mover *m, const struct line *l)
{
    static const char *const process[] = {"daemon",       "chroot",  "user",      "uid",           "group",
                                          "gid",          "pidfile", "unix-bind", "setcap",        "ulimit-n",
                                          "zero-warning", "node",    "quiet",     "master-worker", NULL};
    const struct word *first = &l->words[0];

    if (is_one_of(first, process))
        leave_out(m, l);
    else if (is_word(first, "stats") && l->count > 2 && is_word(&l->words[1], "socket"))
        write_stats_socket(m, l);
    else if (is_word(first, "log"))
        write_log(m, l);
    else
        copy(m, l);
}

/* A peer listens at its own line's address, whose name is this machine's. */
static void write_peer_line(struct mover *m, const struct line *l)
{
    bool is_peer = (is_word(&l->words[0], "peer") || is_word(&l->words[0], "server")) && l->count > 2;

    if (is_word(&l->words[0], "bind") && l->count > 1) {
        buf_printf(&m->out->text, "    bind unix@%s/p%u", m->folder, m->others++);
        end_line(m, l->number);
    } else if (is_peer) {
        buf_puts(&m->out->text, "   ");
        put_word(m, &l->words[0]);
        put_word(m, &l->words[1]);
        buf_printf(&m->out->text, " unix@%s/p%u", m->folder, m->others++);
        end_line(m, l->number);
    } else {
        copy(m, l);
    }
}

/* No authority is asked for certificates. */
static void write_no_orders(struct mover *m, const struct line *l)
{
    buf_puts(&m->out->text, "global");
    end_line(m, l->number);
    buf_puts(&m->out->text, "    acme.scheduler off");
    end_line(m, l->number);
}

static int write_line(struct mover *m, const struct line *l)
{
    if (l->count == 0 || is_header(l)) {
        if (l->count > 0 && is_word(&l->words[0], "acme"))
            write_no_orders(m, l);
        copy(m, l);
        return 0;
    }
    switch (m->section) {
    case SECTION_GLOBAL:
        write_global_line(m, l);
        return 0;
    case SECTION_PROXY:
        return write_proxy_line(m, l);
    case SECTION_PEERS:
        write_peer_line(m, l);
        return 0;
    case SECTION_OTHER:
        copy(m, l);
        return 0;
    }
    return 0;
}

/* A frontend's rules for answers hold for whatever answers, HAProxy itself included. */
static void close_section(struct mover *m, size_t number)
{
    if (!m->is_client)
        return;
    buf_puts(&m->out->text, "    http-after-response set-header " STAGE_HEADER
                            " \"%[fe_name]/%[be_name]/%[srv_name]/%[last_rule_line]\"");
    end_line(m, number);
    m->is_client = false;
}

/* ---- walking ---- */

static int walk(struct mover *m, const char *config, bool writes, int (*fn)(struct mover *m, const struct line *l))
{
    CLEANUP(free_ptr) struct line *l = xcalloc(1, sizeof(*l));
    size_t number = 0;

    m->section = SECTION_OTHER;
    m->is_client = false;
    for (const char *at = config; *at != '\0';) {
        *l = (struct line){.at = at, .length = strcspn(at, "\n"), .number = ++number};
        at += l->length + (at[l->length] == '\n');
        if (split(l, m->err) < 0)
            return -1;
        if (is_header(l)) {
            if (writes)
                close_section(m, number - 1);
            begin_section(m, l);
        }
        if (fn(m, l) < 0)
            return -1;
    }
    if (writes)
        close_section(m, number);
    free(m->proxy);
    m->proxy = NULL;
    return 0;
}

int stage_text_make(const char *config, const struct stage_place *place, struct stage_text *ret_text, struct err *err)
{
    struct mover m = {.out = ret_text, .folder = place->folder, .place = place, .err = err};

    *ret_text = (struct stage_text){0};
    int result = walk(&m, config, false, learn);
    if (result == 0)
        result = walk(&m, config, false, learn_internal);
    if (result == 0)
        result = walk(&m, config, true, write_line);
    free(m.proxy);
    return result;
}

void stage_text_done(struct stage_text *t)
{
    for (size_t i = 0; i < t->listeners.length; i++) {
        free(t->listeners.items[i].proxy);
        free(t->listeners.items[i].address);
        free(t->listeners.items[i].socket);
    }
    for (size_t i = 0; i < t->servers.length; i++) {
        free(t->servers.items[i].proxy);
        free(t->servers.items[i].name);
    }
    vec_done(&t->listeners);
    vec_done(&t->servers);
    vec_done(&t->lines);
    buf_done(&t->text);
}
