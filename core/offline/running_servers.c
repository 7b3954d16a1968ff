/* Addresses are compared in the canonical form that cfg_server_parse() gives them. */
#include "offline/running_servers.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "data/json.h"
#include "data/yaml.h"

#define SERVERS_MAX 10000

void running_servers_done(struct running_servers *list)
{
    for (size_t i = 0; i < list->items.length; i++) {
        free(list->items.items[i].backend);
        cfg_server_free(list->items.items[i].server);
    }
    vec_done(&list->items);
}

/* ---- reading ---- */

static int add(struct reader *r, const yyjson_val *at, const char *key, const char *backend, const char *line,
               struct running_servers *list)
{
    struct cfg_server *server = NULL;
    struct err why;

    if (list->items.length >= SERVERS_MAX)
        return reader_fail(r, at, key, "has too many servers");
    if (cfg_server_parse(line, strlen(line), &server, &why) < 0)
        return reader_fail(r, at, key, why.text);
    vec_push(&list->items,
             ((struct running_server){.backend = xstrdup(backend), .server = server, .line = yaml_line(r->doc, at)}));
    return 0;
}

struct raw {
    char *address;
    int64_t port;
};

static int read_server(struct reader *r, const char *backend, yyjson_val *name, yyjson_val *value,
                       struct running_servers *list)
{
    static const struct field fields[] = {
        {.name = "address", .type = FIELD_STRING, .required = true, .offset = offsetof(struct raw, address)},
        {.name = "port", .type = FIELD_INT, .offset = offsetof(struct raw, port), .min = 1, .max = 65535},
        {0},
    };
    struct raw raw = {0};
    int result = yyjson_is_obj(value) ? reader_object(r, value, fields, &raw)
                                      : reader_fail(r, name, "currentServers", "a server has an address and a port");

    if (result == 0) {
        bool v6 = strchr(raw.address, ':') != NULL && *raw.address != '[';
        CLEANUP(free_ptr)
        char *line = raw.port > 0 ? xasprintf("server %s %s%s%s:%d", yyjson_get_str(name), v6 ? "[" : "", raw.address,
                                              v6 ? "]" : "", (int)raw.port)
                                  : xasprintf("server %s %s", yyjson_get_str(name), raw.address);
        result = add(r, name, "currentServers", backend, line, list);
    }
    free(raw.address);
    return result;
}

int running_servers_read(struct reader *r, yyjson_val *value, struct running_servers *list)
{
    size_t i, n, j, m;
    yyjson_val *backend, *servers, *name, *server;

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "currentServers", "must have servers by the names of backends");
    yyjson_obj_foreach(value, i, n, backend, servers)
    {
        if (!yyjson_is_obj(servers))
            return reader_fail(r, backend, "currentServers", "a backend must have servers by their names");
        yyjson_obj_foreach(servers, j, m, name, server)
        {
            if (read_server(r, yyjson_get_str(backend), name, server, list) < 0)
                return -1;
        }
    }
    return 0;
}

/* Call fn for each line "server …" of a text. */
static int each_server(const char *text, size_t length,
                       int (*fn)(void *ctx, const char *backend, const char *line, size_t number), void *ctx)
{
    CLEANUP(free_ptr) char *backend = xstrdup("");
    size_t number = 0;

    for (const char *at = text, *end = text + length; at < end; number++) {
        size_t whole = strcspn(at, "\n"), indent = strspn(at, " \t");
        const char *word = at + indent;
        size_t first = strcspn(word, " \t\n");
        if (indent == 0 && first > 0 && *word != '#') {
            bool serves = (first == 7 && memcmp(word, "backend", 7) == 0) ||
                          (first == 6 && memcmp(word, "listen", 6) == 0);
            const char *name = word + first + strspn(word + first, " \t");
            free(backend);
            backend = xmemdup0(name, serves ? strcspn(name, " \t\n") : 0);
        } else if (*backend != '\0' && first == 6 && memcmp(word, "server", 6) == 0) {
            CLEANUP(free_ptr) char *line = xmemdup0(word, whole - indent);
            if (fn(ctx, backend, line, number + 1) < 0)
                return -1;
        }
        at += whole + (at[whole] == '\n');
    }
    return 0;
}

struct reading {
    struct reader *reader;
    const yyjson_val *at;
    struct running_servers *list;
};

static int add_line(void *ctx, const char *backend, const char *line, size_t number)
{
    const struct reading *c = ctx;

    (void)number;
    return add(c->reader, c->at, "currentConfig", backend, line, c->list);
}

int running_servers_read_config(struct reader *r, yyjson_val *value, struct running_servers *list)
{
    if (!yyjson_is_str(value))
        return reader_fail(r, value, "currentConfig", "must be the text of a haproxy.cfg; or write currentServers");
    return each_server(yyjson_get_str(value), yyjson_get_len(value), add_line,
                       &(struct reading){.reader = r, .at = value, .list = list});
}

/* ---- comparing ---- */

struct comparison {
    const struct running_server *running;
    struct nearest nearest;
    char *near, *other; /* owned; other: the name of a server with the same address */
    size_t line;        /* of that server */
    bool backend_there, kept;
};

static int compare(void *ctx, const char *backend, const char *line, size_t number)
{
    struct comparison *c = ctx;
    const struct cfg_server *wanted = c->running->server;
    struct cfg_server *server = NULL;
    struct err why;

    nearest_offer(&c->nearest, backend);
    if (c->nearest.found == backend) {
        free(c->near);
        c->nearest.found = c->near = xstrdup(backend);
    }
    if (strcmp(backend, c->running->backend) != 0)
        return 0;
    c->backend_there = true;
    if (cfg_server_parse(line, strlen(line), &server, &why) < 0)
        return 0; /* HAProxy will say so */
    if (strcmp(server->address, wanted->address) == 0 && server->port == wanted->port) {
        c->kept = c->kept || strcmp(server->name, wanted->name) == 0;
        if (c->other == NULL) {
            c->other = xstrdup(server->name);
            c->line = number;
        }
    }
    cfg_server_free(server);
    return 0;
}

static bool has_section(const char *config, const char *backend)
{
    CLEANUP(free_ptr) char *with_newline = xasprintf("\nbackend %s\n", backend);
    CLEANUP(free_ptr) char *with_blank = xasprintf("\nbackend %s ", backend);

    return strstr(config, with_newline) != NULL || strstr(config, with_blank) != NULL;
}

void running_servers_judge(const struct running_servers *list, const char *config, size_t length,
                           void (*fn)(void *ctx, size_t test_line, size_t line, const char *message), void *ctx)
{
    for (size_t i = 0; i < list->items.length; i++) {
        const struct running_server *s = &list->items.items[i];
        struct comparison c = {.running = s, .nearest = {.word = s->backend}};
        CLEANUP(free_ptr) char *message = NULL;

        (void)each_server(config, length, compare, &c);
        if (!c.backend_there && !has_section(config, s->backend))
            message = xasprintf("currentServers: there is no backend \"%s\"%s%s%s", s->backend,
                                c.near ? "; did you mean \"" : "", c.near ? c.near : "", c.near ? "\"?" : "");
        else if (c.other != NULL && !c.kept)
            message = xasprintf("the server %s:%d of backend %s runs as \"%s\" and would be \"%s\": HAProxy takes it "
                                "for another one, and its connections, checks and stick-table entries are lost. Let "
                                "the template give it a name that does not depend on the other servers, such as its "
                                "Pod's",
                                s->server->address, (int)s->server->port, s->backend, s->server->name, c.other);
        if (message != NULL)
            fn(ctx, s->line, c.line, message);
        free(c.near);
        free(c.other);
    }
}
