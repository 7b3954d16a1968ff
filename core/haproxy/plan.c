/* Compares two parsed sections. A difference without a runtime command, or with one that could harm running requests,
 * becomes a reason to reload. Any other difference becomes a command, whose length is checked against the limit of
 * HAProxy's command line.
 */
#include "haproxy/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define COMMAND_MAX 15000 /* tune.bufsize is 16384 by default, and longer commands hang some versions */

const char *plan_op_name(enum plan_op_type type)
{
    switch (type) {
    case PLAN_BACKEND_ADD:
        return "backend_add";
    case PLAN_BACKEND_PUBLISH:
        return "backend_publish";
    case PLAN_BACKEND_UNPUBLISH:
        return "backend_unpublish";
    case PLAN_BACKEND_DEL:
        return "backend_del";
    case PLAN_SERVER_ADD:
        return "server_add";
    case PLAN_SERVER_STATE:
        return "server_state";
    case PLAN_SERVER_CHECK:
        return "server_check";
    case PLAN_SERVER_ADDRESS:
        return "server_address";
    case PLAN_SERVER_WEIGHT:
        return "server_weight";
    case PLAN_SERVER_REPLACE:
    case PLAN_SERVER_DEL:
        return "server_del";
    case PLAN_SERVER_SHUTDOWN:
        return "server_shutdown";
    case PLAN_MAP_ADD:
        return "map_add";
    case PLAN_MAP_SET:
        return "map_set";
    case PLAN_MAP_DEL:
        return "map_del";
    case PLAN_CERTIFICATE_ABORT:
        return "certificate_abort";
    case PLAN_CERTIFICATE_NEW:
        return "certificate_new";
    case PLAN_CERTIFICATE_SET:
        return "certificate_set";
    case PLAN_CERTIFICATE_ADD:
        return "certificate_add";
    case PLAN_CERTIFICATE_COMMIT:
        return "certificate_commit";
    case PLAN_CERTIFICATE_DEL:
        return "certificate_del";
    case PLAN_LIST_ADD:
        return "crt_list_add";
    case PLAN_LIST_DEL:
        return "crt_list_del";
    }
    return "unknown";
}

void plan_done(struct plan *p)
{
    for (size_t stage = 0; stage < PLAN_STAGES; stage++) {
        for (size_t i = 0; i < p->ops[stage].length; i++) {
            char *command = p->ops[stage].items[i].command;
            if (p->ops[stage].items[i].type == PLAN_CERTIFICATE_SET)
                explicit_bzero(command, strlen(command));
            free(command);
        }
        vec_done(&p->ops[stage]);
    }
    free(STEAL(p->reload));
    p->reload_class = NULL;
    p->reloads = 0;
}

size_t plan_count(const struct plan *p)
{
    size_t count = 0;
    for (size_t stage = 0; stage < PLAN_STAGES; stage++)
        count += p->ops[stage].length;
    return count;
}

const char *plan_first(const struct plan *p)
{
    if (p->reload)
        return p->reload;
    for (size_t stage = 0; stage < PLAN_STAGES; stage++)
        if (p->ops[stage].length)
            return p->ops[stage].items[0].command;
    return "";
}

void plan_reload(struct plan *p, const char *reload_class, const char *format, ...)
{
    p->reloads++;
    if (p->reload)
        return;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&p->reload, format, ap) < 0)
        p->reload = xstrdup(reload_class);
    va_end(ap);
    p->reload_class = reload_class;
}

void plan_add(struct plan *p, enum plan_stage stage, enum plan_op_type type, const char *format, ...)
{
    if (p->reload)
        return;
    struct plan_op op = {.type = type};
    va_list ap;
    va_start(ap, format);
    int length = vasprintf(&op.command, format, ap);
    va_end(ap);
    if (length < 0)
        abort();
    if (length > COMMAND_MAX) {
        plan_reload(p, "command", "a runtime command would be longer than HAProxy takes: %s", plan_op_name(type));
        free(op.command);
        return;
    }
    vec_push(&p->ops[stage], op);
}

bool plan_word(struct buf *out, const char *word)
{
    /* "<<" begins a payload, and "<<END" one that ends with the line END: the following commands would become part of
     * it. HAProxy looks for it after the last blank of a line, also after an escaped one. */
    if (!*word || strncmp(word, "<<", 2) == 0 || strstr(word, " <<"))
        return false;
    for (const char *c = word; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
        if (*c == ' ' || *c == ';' || *c == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *c);
    }
    return true;
}

/* Names that HAProxy itself allows; other names cannot be part of a command. */
static bool name_is_plain(const char *name)
{
    return *name && !name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")];
}

/* Words for the resolution of host names: they have no meaning for a literal address, and "add server" refuses them.
 * Each has one argument. */
static bool word_is_about_names(const char *word)
{
    static const char *const words[] = {"init-addr", "resolvers", "resolve-prefer", "resolve-net", "resolve-opts"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static bool words_append(struct buf *out, const char *words, size_t length, bool *ret_checked, bool *ret_agent)
{
    const char *end = words + length;
    for (const char *w = words; w < end; w += strlen(w) + 1) {
        if (word_is_about_names(w)) {
            w += strlen(w) + 1;
            if (w >= end)
                break;
            continue;
        }
        *ret_checked |= strcmp(w, "check") == 0;
        *ret_agent |= strcmp(w, "agent-check") == 0;
        if (strcmp(w, "no-check") == 0) {
            *ret_checked = false;
            continue;
        }
        buf_putc(out, ' ');
        if (!plan_word(out, w))
            return false;
    }
    return true;
}

static void plan_server_add(struct plan *p, const char *backend, const struct cfg_server *s,
                            const struct cfg_backend *wanted, const struct buf *default_words)
{
    CLEANUP(buf_done) struct buf words = {0};
    bool checked = false, agent = false;
    if (!s->literal || !s->plain || !name_is_plain(s->name)) {
        plan_reload(p, "server",
                    "backend %s: server %s cannot be added by a command (its address is a name, or it depends on "
                    "the environment)",
                    backend, s->name);
        return;
    }
    if ((default_words && !words_append(&words, buf_str(default_words), default_words->length, &checked, &agent)) ||
        !words_append(&words, buf_str(&wanted->default_words), wanted->default_words.length, &checked, &agent) ||
        !words_append(&words, s->words, s->words_length, &checked, &agent)) {
        plan_reload(p, "server", "backend %s: server %s has a word that cannot be part of a command", backend, s->name);
        return;
    }
    char port[16] = "";
    if (s->port)
        snprintf(port, sizeof(port), ":%d", s->port);
    bool v6 = strchr(s->address, ':') != NULL;
    plan_add(p, PLAN_APPEAR, PLAN_SERVER_ADD, "add server %s/%s %s%s%s%s%s weight %d", backend, s->name, v6 ? "[" : "",
             s->address, v6 ? "]" : "", port, buf_str(&words), s->weight);
    if (s->admin == CFG_READY)
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_STATE, "enable server %s/%s", backend, s->name);
    if (checked)
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_CHECK, "enable health %s/%s", backend, s->name);
    if (agent)
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_CHECK, "enable agent %s/%s", backend, s->name);
}

static bool address_matches(const struct cfg_server *wanted, const struct cfg_server *live)
{
    return wanted->literal == live->literal && wanted->port == live->port &&
           strcmp(wanted->address, live->address) == 0;
}

static bool words_have_health(const char *words, size_t length)
{
    static const char *const marks[] = {"check", "agent-check", "track", "observe"};
    for (const char *w = words; w < words + length; w += strlen(w) + 1)
        for (size_t i = 0; i < ARRAY_LEN(marks); i++)
            if (strcmp(w, marks[i]) == 0)
                return true;
    return false;
}

/* True when HAProxy may find the server down. (An argument that equals one of these words counts as the word.) */
static bool server_may_be_down(const struct cfg_server *s, const struct cfg_backend *backend,
                               const struct buf *default_words)
{
    return words_have_health(s->words, s->words_length) ||
           words_have_health(buf_str(&backend->default_words), backend->default_words.length) ||
           (default_words && words_have_health(buf_str(default_words), default_words->length));
}

/* Two servers of a backend that serve requests while others are replaced, whatever the results of the commands. They
 * are found once for all servers of the backend. */
struct stayers {
    bool known;
    const char *names[2]; /* NULL: there is none, or no second one */
};

static void stayers_find(struct stayers *ret, const struct cfg_backend *live, const struct cfg_backend *wanted,
                         const struct buf *default_words)
{
    size_t count = 0;
    *ret = (struct stayers){.known = true};
    for (size_t i = 0; i < live->servers.length && count < ARRAY_LEN(ret->names); i++) {
        const struct cfg_server *s = live->servers.items[i];
        if (s->leaving || s->admin != CFG_READY || s->weight == 0)
            continue;
        const struct cfg_server *stays = cfg_backend_server(wanted, s->name);
        if (stays && cfg_server_same_words(stays, s) && address_matches(stays, s) && stays->admin == CFG_READY &&
            stays->weight > 0 && !server_may_be_down(stays, wanted, default_words))
            ret->names[count++] = s->name;
    }
}

/* True when such a server exists besides this one; with "": when any exists. */
static bool another_serves(struct stayers *stayers, const struct cfg_backend *live, const struct cfg_backend *wanted,
                           const char *name, const struct buf *default_words)
{
    if (!stayers->known)
        stayers_find(stayers, live, wanted, default_words);
    return stayers->names[0] && (strcmp(stayers->names[0], name) != 0 || stayers->names[1]);
}

static const char *admin_name(enum cfg_admin admin)
{
    switch (admin) {
    case CFG_READY:
        return "ready";
    case CFG_DRAIN:
        return "drain";
    case CFG_MAINT:
        return "maint";
    }
    return "ready";
}

bool plan_server_matches(const struct cfg_server *wanted, const struct cfg_server *live)
{
    if (!address_matches(wanted, live))
        return false;
    return wanted->agent_checked || (wanted->weight == live->weight && wanted->admin == live->admin);
}

static bool words_have(const char *words, size_t length, const char *word)
{
    for (const char *w = words; w < words + length; w += strlen(w) + 1)
        if (strcmp(w, word) == 0)
            return true;
    return false;
}

/* A change of the host name of a server that HAProxy resolves while it runs. */
static bool name_may_change(const struct cfg_server *s, const struct cfg_server *live,
                            const struct cfg_backend *backend, const struct buf *default_words)
{
    return !s->literal && !live->literal && s->plain && s->port == live->port && name_is_plain(s->address) &&
           (words_have(s->words, s->words_length, "resolvers") ||
            words_have(buf_str(&backend->default_words), backend->default_words.length, "resolvers") ||
            (default_words && words_have(buf_str(default_words), default_words->length, "resolvers")));
}

static void plan_server_change(struct plan *p, const char *backend, const struct cfg_server *s,
                               const struct cfg_server *live, const struct cfg_backend *wanted,
                               const struct cfg_backend *live_backend, struct stayers *stayers,
                               const struct buf *default_words)
{
    if (!cfg_server_same_words(s, live)) {
        if (!another_serves(stayers, live_backend, wanted, s->name, default_words)) {
            plan_reload(p, "server",
                        live->words_known ? "backend %s: server %s changes more than address, port, weight and state, "
                                            "and no other server could take its requests meanwhile"
                                          : "backend %s: how server %s was made is not known here, and no other "
                                            "server could take its requests meanwhile",
                        backend, s->name);
            return;
        }
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_STATE, "set server %s/%s state maint", backend, s->name);
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_REPLACE, "del server %s/%s", backend, s->name);
        plan_server_add(p, backend, s, wanted, default_words);
        return;
    }
    if (!address_matches(s, live) && name_may_change(s, live, wanted, default_words)) {
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_ADDRESS, "set server %s/%s fqdn %s", backend, s->name, s->address);
    } else if (!address_matches(s, live)) {
        if (!s->literal || !live->literal || !s->plain || !s->port != !live->port) {
            plan_reload(p, "server", "backend %s: server %s changes an address that is not an IP address and port",
                        backend, s->name);
            return;
        }
        if (s->port)
            plan_add(p, PLAN_APPEAR, PLAN_SERVER_ADDRESS, "set server %s/%s addr %s port %d", backend, s->name,
                     s->address, s->port);
        else
            plan_add(p, PLAN_APPEAR, PLAN_SERVER_ADDRESS, "set server %s/%s addr %s", backend, s->name, s->address);
    }
    if (s->agent_checked && !live->leaving)
        return;
    if (s->weight != live->weight)
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_WEIGHT, "set server %s/%s weight %d", backend, s->name, s->weight);
    if (s->admin != live->admin)
        plan_add(p, PLAN_APPEAR, PLAN_SERVER_STATE, "set server %s/%s state %s", backend, s->name,
                 admin_name(s->admin));
}

static void plan_server_remove(struct plan *p, enum plan_stage stage, const char *backend,
                               const struct cfg_server *live)
{
    if (live->leaving)
        return;
    plan_add(p, stage, PLAN_SERVER_STATE, "set server %s/%s state maint", backend, live->name);
    plan_add(p, stage, PLAN_SERVER_DEL, "del server %s/%s", backend, live->name);
}

void plan_server_leave(struct plan *p, const char *backend, const char *server, bool shutdown)
{
    if (shutdown)
        plan_add(p, PLAN_VANISH, PLAN_SERVER_SHUTDOWN, "shutdown sessions server %s/%s", backend, server);
    plan_add(p, PLAN_VANISH, PLAN_SERVER_DEL, "del server %s/%s", backend, server);
}

void plan_backend_leave(struct plan *p, const char *backend)
{
    plan_add(p, PLAN_VANISH, PLAN_BACKEND_DEL, "del backend %s", backend);
}

void plan_publish(struct plan *p, const char *backend)
{
    plan_add(p, PLAN_APPEAR, PLAN_BACKEND_PUBLISH, "publish backend %s", backend);
}

static void plan_backend_add(struct plan *p, const struct haproxy_caps *caps, const char *name,
                             const struct cfg_backend *wanted, const struct buf *default_words)
{
    if (!caps->dynamic_backends) {
        plan_reload(p, "backend", "backend %s is new, and this HAProxy cannot add one at runtime", name);
        return;
    }
    if (!*wanted->from || !digest_equal(wanted->other, digest_of("", 0)) || !name_is_plain(name) ||
        !name_is_plain(wanted->from)) {
        plan_reload(p, "backend", "backend %s is new and consists of more than a defaults section and servers", name);
        return;
    }
    plan_add(p, PLAN_APPEAR, PLAN_BACKEND_ADD, "add backend %s from %s", name, wanted->from);
    for (size_t i = 0; i < wanted->servers.length; i++)
        plan_server_add(p, name, wanted->servers.items[i], wanted, default_words);
    plan_add(p, PLAN_APPEAR, PLAN_BACKEND_PUBLISH, "publish backend %s", name);
}

static void plan_backend_remove(struct plan *p, const struct haproxy_caps *caps, const char *name,
                                const struct cfg_backend *live)
{
    if (caps->dynamic_backends)
        plan_add(p, PLAN_VANISH, PLAN_BACKEND_UNPUBLISH, "unpublish backend %s", name);
    for (size_t i = 0; i < live->servers.length; i++)
        plan_server_remove(p, PLAN_VANISH, name, live->servers.items[i]);
    if (caps->dynamic_backends)
        plan_add(p, PLAN_VANISH, PLAN_BACKEND_DEL, "del backend %s", name);
}

static void plan_backend_change(struct plan *p, const struct haproxy_caps *caps, const char *name,
                                const struct cfg_backend *wanted, const struct cfg_backend *live,
                                const struct buf *default_words)
{
    struct stayers stayers = {0};
    if (strcmp(wanted->from, live->from) != 0 || !digest_equal(wanted->other, live->other)) {
        plan_reload(p, "backend", "backend %s changed in more than its servers", name);
        return;
    }
    for (size_t i = 0; i < wanted->servers.length; i++) {
        const struct cfg_server *s = wanted->servers.items[i], *old = cfg_backend_server(live, s->name);
        if (old)
            plan_server_change(p, name, s, old, wanted, live, &stayers, default_words);
        else if (caps->dynamic_servers)
            plan_server_add(p, name, s, wanted, default_words);
        else
            plan_reload(p, "server", "backend %s: server %s is new, and this HAProxy cannot add one at runtime", name,
                        s->name);
    }
    /* New and old servers in one write: before the second command, requests would still go to the server that has
     * ended. If a new server is refused, the backend still has one that serves. */
    enum plan_stage stage = another_serves(&stayers, live, wanted, "", default_words) ? PLAN_APPEAR : PLAN_VANISH;
    for (size_t i = 0; i < live->servers.length; i++)
        if (!cfg_backend_server(wanted, live->servers.items[i]->name))
            plan_server_remove(p, stage, name, live->servers.items[i]);
}

/* Servers without unique names, or made by a template: the texts must be equal, or a reload follows. */
static bool same_by_hand(const struct cfg_backend *a, const struct cfg_backend *b)
{
    if (strcmp(a->from, b->from) != 0 || !digest_equal(a->other, b->other) || a->servers.length != b->servers.length)
        return false;
    for (size_t i = 0; i < a->servers.length; i++)
        if (strcmp(a->servers.items[i]->name, b->servers.items[i]->name) != 0 ||
            !cfg_server_same_words(a->servers.items[i], b->servers.items[i]) ||
            !plan_server_matches(a->servers.items[i], b->servers.items[i]))
            return false;
    return true;
}

void plan_backend(struct plan *p, const struct haproxy_caps *caps, const char *name, bool listen,
                  const struct cfg_backend *wanted, const struct cfg_backend *live, const struct buf *default_words)
{
    if (p->reload || (!wanted && !live))
        return;
    if (listen && (!wanted || !live))
        plan_reload(p, "listen", "listen %s %s", name, wanted ? "is new" : "is gone");
    else if (!live)
        plan_backend_add(p, caps, name, wanted, default_words);
    else if (!wanted)
        plan_backend_remove(p, caps, name, live);
    else if (wanted->by_hand || live->by_hand) {
        if (!same_by_hand(wanted, live))
            plan_reload(p, "backend", "backend %s changed, and its servers cannot be changed one by one", name);
    } else
        plan_backend_change(p, caps, name, wanted, live, default_words);
}

void plan_map_entry(struct plan *p, const char *map, const char *key, const char *wanted, const char *live)
{
    CLEANUP(buf_done) struct buf words = {0};
    if (wanted && live && strcmp(wanted, live) == 0)
        return;
    if (!wanted && !live)
        return;
    /* "#" and a number address an entry by its pointer. */
    bool fits = key[0] != '#' && plan_word(&words, map) && (buf_putc(&words, ' '), plan_word(&words, key));
    if (fits && wanted) {
        buf_putc(&words, ' ');
        fits = plan_word(&words, wanted);
    }
    if (!fits)
        plan_reload(p, "map", "map %s: the entry of %.100s cannot be part of a command", map, key);
    else if (!live)
        plan_add(p, PLAN_ROUTE, PLAN_MAP_ADD, "add map %s", words.data);
    else if (wanted)
        plan_add(p, PLAN_ROUTE, PLAN_MAP_SET, "set map %s", words.data);
    else
        plan_add(p, PLAN_UNROUTE, PLAN_MAP_DEL, "del map %s", words.data);
}

void plan_map_duplicate(struct plan *p, const char *map, const char *reference)
{
    plan_add(p, PLAN_UNROUTE, PLAN_MAP_DEL, "del map %s #%s", map, reference);
}
