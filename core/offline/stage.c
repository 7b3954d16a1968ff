/* HAProxy runs in the foreground and is killed at the end; it is ready when its last listener can be connected to. */
#include "offline/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "controller/place.h"
#include "haproxy/check.h"
#include "haproxy/scratch.h"
#include "offline/expanded.h"
#include "offline/stage_process.h"
#include "offline/stage_text.h"

#define START_NS (20 * NS_PER_S)
#define ANSWER_NS (10 * NS_PER_S)
#define LOG_MAX ((size_t)1 << 20)
#define LOG_FILE "haproxy.log"
#define GATEWAY_SOCKET "h2"
#define GATEWAY_CONFIG "gateway.cfg"
#define GATEWAY_LOG "gateway.log"

#define SOURCE_DEFAULT "192.0.2.1"
#define SOURCE_PORT 40000

struct stage {
    struct workbench *w;
    struct scratch folder;
    struct stage_text text;
    VEC(struct stand_in_server) servers;
    const struct stand_in_script *scripts;
    size_t script_count;
    struct stand_in *stand_in;
    pid_t pid, gateway; /* 0: none */
};

static void wait_a_little(void)
{
    const struct timespec t = {0, 2 * NS_PER_MS};

    nanosleep(&t, NULL);
}

/* ---- files ---- */

/* Does a script give the server a certificate? */
static bool shows_own(void *ctx, const char *proxy, const char *server)
{
    const struct stage *s = ctx;
    const char *backend = strchr(proxy, ' ') ? strchr(proxy, ' ') + 1 : proxy;
    const struct stand_in_script *script = stand_in_script_of(s->scripts, s->script_count, backend, server);

    return script != NULL && script->certificate != NULL;
}

static int write_files(struct stage *s, struct err *err)
{
    CLEANUP(disk_files_done) struct disk_files files = {0};

    workbench_files(s->w, &files);
    for (size_t i = 0; i < files.items.length; i++) {
        struct disk_file *file = &files.items.items[i];
        if (strcmp(file->path, DISK_CONFIG) == 0) {
            const struct stage_place place = {
                .folder = s->folder.path, .port = stand_in_port(s->stand_in), .shows_own = shows_own, .ctx = s};
            if (stage_text_make(file->bytes, &place, &s->text, err) < 0)
                return -1;
            free(file->bytes);
            file->length = s->text.text.length;
            file->bytes = xmemdup0(buf_str(&s->text.text), s->text.text.length);
        }
        if (expanded_file(store_vault(workbench_store(s->w)), file, err) < 0)
            return -1;
    }
    if (s->text.listeners.length == 0)
        return err_set(err, ERR_HAPROXY, "haproxy.cfg has no listener that can be asked");
    return disk_prepare(s->folder.path, err) < 0 ? -1 : disk_dump(s->folder.path, &files, err);
}

/* A script that is nobody's is a misspelt name. */
static int check_script(const struct stage *s, const struct stand_in_script *script, struct err *err)
{
    CLEANUP(buf_done) struct buf name = {0};
    CLEANUP(free_ptr) char *near = NULL;
    struct nearest nearest = {.word = script->where};

    for (size_t i = 0; i < 2 * s->servers.length; i++) {
        const struct stand_in_server *server = &s->servers.items[i / 2];
        buf_clear(&name);
        buf_printf(&name, "%s%s%s", server->backend, i % 2 ? "/" : "", i % 2 ? server->name : "");
        if (strcmp(buf_str(&name), script->where) == 0)
            return 0;
        nearest_offer(&nearest, buf_str(&name));
        if (nearest.found == buf_str(&name)) {
            free(near);
            near = xstrdup(buf_str(&name));
            nearest.found = near;
        }
    }
    return err_set(err, ERR_INVALID, "servers: there is no backend or server \"%.100s\"%s%s%s", script->where,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int cast(struct stage *s, const struct stand_in_script *scripts, size_t script_count, struct err *err)
{
    CLEANUP(free_ptr) char *gateway = xasprintf("%s/" GATEWAY_SOCKET, s->folder.path);

    for (size_t i = 0; i < s->text.servers.length; i++) {
        const struct stage_server *server = &s->text.servers.items[i];
        const char *name = strchr(server->proxy, ' ');
        vec_push(&s->servers, ((struct stand_in_server){.backend = name ? name + 1 : server->proxy,
                                                        .name = server->name,
                                                        .sends_proxy = server->sends_proxy}));
    }
    for (size_t i = 0; i < script_count; i++)
        if (check_script(s, &scripts[i], err) < 0)
            return -1;
    return stand_in_cast(s->stand_in, s->servers.items, s->servers.length, scripts, script_count, gateway, err);
}

/* ---- the process ---- */

/* The line of the rendered haproxy.cfg. */
static size_t line_before(const struct stage *s, size_t line)
{
    return line > 0 && line <= s->text.lines.length ? s->text.lines.items[line - 1] : 0;
}

/* Why it ended, by its own words, without values of Secrets. */
static int fail_start(struct stage *s, const char *what, struct err *err)
{
    CLEANUP(buf_done) struct buf log = {0}, clean = {0};
    struct check_messages messages = {0};
    struct err ignored;

    if (disk_read_file(s->folder.path, LOG_FILE, LOG_MAX, &log, &ignored) < 0)
        buf_clear(&log);
    vault_redact(store_vault(workbench_store(s->w)), buf_str(&log), log.length, &clean);
    check_messages_parse(buf_str(&clean), s->folder.path, &messages);
    if (messages.alerts.length > 0) {
        const struct check_message *m = &messages.alerts.items[0];
        if (m->line > 0)
            err_set(err, ERR_HAPROXY, "HAProxy %s: haproxy.cfg:%zu: %.600s", what, line_before(s, m->line), m->text);
        else
            err_set(err, ERR_HAPROXY, "HAProxy %s: %.600s", what, m->text);
    } else {
        err_set(err, ERR_HAPROXY, "HAProxy %s: %.600s", what, *buf_str(&clean) ? buf_str(&clean) : "it says nothing");
    }
    check_messages_done(&messages);
    return -1;
}

static int await(struct stage *s, struct err *err)
{
    const char *last = s->text.listeners.items[s->text.listeners.length - 1].socket;
    int64_t until = clock_now_ns() + START_NS;
    int status;

    while (!stage_process_answers(last)) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            return fail_start(s, "does not start", err);
        }
        if (clock_now_ns() > until)
            return fail_start(s, "does not answer", err);
        wait_a_little();
    }
    return 0;
}

/* HTTP/2 to servers is taken apart by another HAProxy, which hands it on to the stand-in as HTTP/1.1: to the address
 * and with the number that the stand-in's header of the PROXY protocol has. Trailers come through. */
static int write_gateway(struct stage *s, struct err *err)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/" GATEWAY_CONFIG, s->folder.path);
    FILE *stream = fopen(path, "we");

    if (stream == NULL)
        return err_set_sys(err, errno, "%s", path);
    fprintf(stream,
            "defaults\n"
            "    mode http\n"
            "    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n"
            "listen gateway\n"
            "    bind unix@%s/" GATEWAY_SOCKET " accept-proxy proto h2\n"
            "    http-request set-header " STAND_IN_PEER_HEADER " %%[src_port]\n"
            "    http-reuse never\n"
            "    server stand-in 0.0.0.0:%u\n",
            s->folder.path, stand_in_gateway_port(s->stand_in));
    return fclose(stream) == 0 ? 0 : err_set_sys(err, errno, "%s", path);
}

static int start_gateway(struct stage *s, const char *binary, struct err *err)
{
    CLEANUP(free_ptr) char *socket = xasprintf("%s/" GATEWAY_SOCKET, s->folder.path);
    int64_t until = clock_now_ns() + START_NS;

    if (!s->text.needs_h2)
        return 0;
    if (write_gateway(s, err) < 0 ||
        stage_process_start(binary, s->folder.path, GATEWAY_CONFIG, GATEWAY_LOG, &s->gateway, err) < 0)
        return -1;
    while (!stage_process_answers(socket)) {
        if (clock_now_ns() > until)
            return err_set(err, ERR_HAPROXY, "the HAProxy that takes HTTP/2 of servers apart does not answer");
        wait_a_little();
    }
    return 0;
}

int stage_new(struct workbench *w, const char *haproxy_binary, const struct stand_in_script *scripts,
              size_t script_count, struct stage **ret_stage, struct err *err)
{
    struct stage *s = xcalloc(1, sizeof(*s));
    CLEANUP(free_ptr) char *binary = NULL;

    s->w = w;
    s->folder.lock_fd = -1;
    s->scripts = scripts;
    s->script_count = script_count;
    if (place_find_program(haproxy_binary, &binary, err) < 0 || stand_in_new(&s->stand_in, err) < 0 ||
        scratch_make(scratch_place(), &s->folder, err) < 0 || write_files(s, err) < 0)
        goto failed;
    if (cast(s, scripts, script_count, err) < 0 || start_gateway(s, binary, err) < 0 ||
        stage_process_start(binary, s->folder.path, DISK_CONFIG, LOG_FILE, &s->pid, err) < 0 || await(s, err) < 0)
        goto failed;
    *ret_stage = s;
    return 0;
failed:
    stage_free(s);
    return -1;
}

struct stage *stage_free(struct stage *s)
{
    if (s == NULL)
        return NULL;
    stage_process_end(&s->pid);
    stand_in_free(s->stand_in);
    stage_process_end(&s->gateway);
    stage_text_done(&s->text);
    vec_done(&s->servers);
    scratch_remove(&s->folder);
    free(s);
    return NULL;
}

/* ---- requests ---- */

static int fail_listener(const struct stage *s, const struct stage_request *r, struct err *err)
{
    CLEANUP(buf_done) struct buf list = {0};

    for (size_t i = 0; i < s->text.listeners.length && list.length < 400; i++) {
        const struct stage_listener *l = &s->text.listeners.items[i];
        buf_printf(&list, "%s %s%s (%s)", list.length > 0 ? "," : "", l->address, l->tls ? " with TLS" : "", l->proxy);
    }
    if (r->port != 0)
        return err_set(err, ERR_NOTFOUND, "nobody listens at port %d; there are:%s", r->port, buf_str(&list));
    return err_set(err, ERR_NOTFOUND, "nobody listens with%s TLS; there are:%s; say which one by its port",
                   r->tls ? "" : "out", buf_str(&list));
}

/* How well a listener fits; 0: not at all. Where TLS is passed through by names, clients come to a listener without
 * TLS, and the one with TLS behind it is for that alone. */
static int fitness(const struct stage_listener *l, const struct stage_request *r)
{
    if (r->port != 0)
        return l->port != r->port ? 0 : l->tls == r->tls ? 2 : 1;
    if (l->tls == r->tls)
        return l->internal ? 1 : l->port == 0 ? 3 : 4;
    return r->tls && l->port % 1000 == 443 ? 2 : 0;
}

static int find_listener(const struct stage *s, const struct stage_request *r, const struct stage_listener **ret_l,
                         struct err *err)
{
    int best = 0;

    *ret_l = NULL;
    for (size_t i = 0; i < s->text.listeners.length; i++) {
        int fits = fitness(&s->text.listeners.items[i], r);
        if (fits > best) {
            *ret_l = &s->text.listeners.items[i];
            best = fits;
        }
    }
    return best > 0 ? 0 : fail_listener(s, r, err);
}

/* One line of the PROXY protocol. */
static int put_proxy_line(const char *source, const struct stage_listener *l, struct buf *out, struct err *err)
{
    unsigned char bytes[16];
    bool is_v6 = strchr(source, ':') != NULL;
    int port = l->port != 0 ? l->port : l->tls ? 443 : 80;

    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, source, bytes) != 1)
        return err_set(err, ERR_INVALID, "source: \"%.64s\" is no address; write one such as 203.0.113.7", source);
    buf_printf(out, "PROXY %s %s %s %d %d\r\n", is_v6 ? "TCP6" : "TCP4", source, is_v6 ? "::1" : "127.0.0.1",
               SOURCE_PORT, port);
    return 0;
}

static int put_preamble(const struct stage_request *r, const struct stage_listener *l, struct buf *out, struct err *err)
{
    if (!l->own_proxy_protocol && put_proxy_line(r->source ? r->source : SOURCE_DEFAULT, l, out, err) < 0)
        return -1;
    return r->proxy_source != NULL ? put_proxy_line(r->proxy_source, l, out, err) : 0;
}

/* The name that TLS is begun for: no port, no dot at the end, no address. */
static char *sni_of(const struct stage_request *r)
{
    unsigned char bytes[16];
    const char *host = r->host ? r->host : "";

    if (r->sni != NULL)
        return xstrdup(r->sni);
    if (*host == '[')
        return xstrdup("");
    char *name = xmemdup0(host, strcspn(host, ":"));
    size_t length = strlen(name);
    if (length > 0 && name[length - 1] == '.')
        name[length - 1] = '\0';
    if (inet_pton(AF_INET, name, bytes) == 1)
        *name = '\0';
    return name;
}

/* HAProxy names the last rule that ended its list; one that let the request pass answered nothing. */
static size_t answering_line(const struct stage *s, size_t line)
{
    const char *at = buf_str((struct buf *)(uintptr_t)&s->text.text);
    char kind[32], action[32];

    for (size_t i = 1; i < line && at != NULL; i++) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    if (line == 0 || at == NULL || sscanf(at, " %31s %31s", kind, action) != 2 || strcmp(action, "allow") == 0 ||
        strcmp(action, "accept") == 0)
        return 0;
    return line_before(s, line);
}

/* "FRONTEND/BACKEND/SERVER/LINE"; names have no "/" unless their author wants so. */
static void read_route(const struct stage *s, const char *route, struct stage_answer *a)
{
    char *parts[4] = {NULL};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t length = strcspn(route, i < 3 ? "/" : "");
        parts[i] = xmemdup0(route, length);
        route += length + (route[length] == '/');
    }
    a->frontend = parts[0];
    a->backend = parts[1];
    a->server = parts[2];
    a->line = answering_line(s, strtoul(parts[3], NULL, 10));
    free(parts[3]);
    if (strcmp(a->backend, a->frontend) == 0) /* none was chosen */
        *a->backend = '\0';
}

static void take_route(struct stage *s, struct stage_answer *a)
{
    size_t length = strlen(STAGE_HEADER);

    for (size_t i = 0; i < a->http.headers.length; i++) {
        char *line = a->http.headers.items[i];
        if (strncasecmp(line, STAGE_HEADER ":", length + 1) != 0)
            continue;
        if (a->frontend == NULL)
            read_route(s, line + length + 1 + strspn(line + length + 1, " "), a);
        free(line);
        a->http.headers.length--;
        memmove(&a->http.headers.items[i], &a->http.headers.items[i + 1],
                (a->http.headers.length - i) * sizeof(*a->http.headers.items));
        i--;
    }
    if (a->frontend != NULL)
        return;
    /* a proxy of TCP says nothing; its server knows */
    const struct stand_in_record *r = a->received.items.length > 0
                                          ? &a->received.items.items[a->received.items.length - 1]
                                          : NULL;
    a->frontend = xstrdup("");
    a->backend = xstrdup(r ? s->servers.items[r->server].backend : "");
    a->server = xstrdup(r ? s->servers.items[r->server].name : "");
}

int stage_ask(struct stage *s, const struct stage_request *r, struct stage_answer *ret_answer, struct err *err)
{
    CLEANUP(buf_done) struct buf preamble = {0};
    CLEANUP(free_ptr) char *sni = sni_of(r);
    CLEANUP(stand_in_records_done) struct stand_in_records before = {0};
    const struct stage_listener *listener = NULL;
    struct err why;

    *ret_answer = (struct stage_answer){0};
    if (find_listener(s, r, &listener, err) < 0 || put_preamble(r, listener, &preamble, err) < 0)
        return -1;
    const struct exchange_request request = {.socket = listener->socket,
                                             .preamble = preamble.length > 0 ? buf_str(&preamble) : NULL,
                                             .method = r->method ? r->method
                                                       : r->body ? "POST"
                                                                 : "GET",
                                             .target = r->path ? r->path : "/",
                                             .host = r->host ? r->host : "",
                                             .headers = r->headers,
                                             .body = r->body,
                                             .body_length = r->body_length,
                                             .version = r->version,
                                             .tls = r->tls,
                                             .sni = sni,
                                             .certificate = r->certificate,
                                             .key = r->key,
                                             .timeout_ns = ANSWER_NS};
    stand_in_take(s->stand_in, &before); /* health checks, retries of an earlier request */
    if (exchange(&request, &ret_answer->http, &why) < 0) {
        if (why.kind == ERR_INVALID || why.kind == ERR_INTERNAL) {
            *err = why;
            stage_answer_done(ret_answer);
            return -1;
        }
        ret_answer->http.status = 0;
        snprintf(ret_answer->closed, sizeof(ret_answer->closed), "%.250s", why.text);
    }
    stand_in_take(s->stand_in, &ret_answer->received);
    take_route(s, ret_answer);
    return 0;
}

void stage_answer_done(struct stage_answer *a)
{
    exchange_answer_done(&a->http);
    stand_in_records_done(&a->received);
    free(a->frontend);
    free(a->backend);
    free(a->server);
    a->frontend = a->backend = a->server = NULL;
}
