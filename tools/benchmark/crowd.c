/* crowd: the sockets of many HAProxies, answered by one small program, for measurements of a fleet's agents.
 *
 *   bench_crowd DIRECTORY...
 *
 * In each directory it listens on master.sock and runtime.sock, as a HAProxy does whose configuration lies there. What
 * it has of that is the mark, the names of backends, and the servers with address, port, weight and state; they are
 * read at the command `reload` and changed by `add server`, `set server` and `del server`. It says of itself that it
 * can do nothing else, so that the agent asks for a reload.
 *
 * On standard output, a line each, flushed (usec: CLOCK_MONOTONIC, microseconds):
 *
 *   set BACKEND/SERVER ADDRESS PORT MEMBERS usec usec    so many members have read it back: the first, the latest
 *   reload MEMBERS usec                                  so many reloads, all together; the latest
 *
 * A line is written when the number of members is that of the directories, and for reloads at each.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define SERVERS_MAX 256
#define NAME_SIZE 128
#define LINE_SIZE 16384
#define CHANGES_MAX 4096
#define CONFIG_MAX (1 << 22)

struct server {
    char backend[NAME_SIZE], name[NAME_SIZE], address[64];
    int port, weight;
    unsigned admin; /* as in `show servers state` */
    bool unread;    /* set, and not read back yet */
};

struct stand_in {
    char *directory;
    uv_pipe_t master, worker;
    char mark[33];
    unsigned reloads;
    struct server *servers;
    size_t count;
};

struct client {
    uv_pipe_t pipe;
    struct stand_in *of;
    bool is_master;
    char line[LINE_SIZE];
    size_t length;
};

struct reply {
    uv_write_t request;
    bool closes;
    struct client *client;
    char text[];
};

/* A value that servers were set to, and how many members have read it back. */
struct change {
    char what[3 * NAME_SIZE];
    size_t members;
    int64_t first_us;
};

static struct change changes[CHANGES_MAX];
static size_t change_next, members, reloads;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- what it has ---- */

static void note_read(const struct server *s)
{
    char what[sizeof(changes[0].what)];
    snprintf(what, sizeof(what), "%s/%s %s %d", s->backend, s->name, s->address, s->port);
    struct change *c = NULL;
    for (size_t i = 0; i < CHANGES_MAX && !c; i++)
        if (changes[i].members < members && strcmp(changes[i].what, what) == 0)
            c = &changes[i];
    int64_t now = now_us();
    if (!c) {
        c = &changes[change_next++ % CHANGES_MAX];
        *c = (struct change){.first_us = now};
        memcpy(c->what, what, sizeof(what));
    }
    if (++c->members == members)
        printf("set %s %zu %" PRId64 " %" PRId64 "\n", what, c->members, c->first_us, now);
}

static void read_server(struct stand_in *h, const char *backend, char *words)
{
    char name[NAME_SIZE], address[64];
    int port = 0;
    if (h->count == SERVERS_MAX || sscanf(words, " server %127s %63[^: ]:%d", name, address, &port) != 3)
        return;
    struct server *s = &h->servers[h->count++];
    *s = (struct server){.port = port, .weight = 1, .admin = strstr(words, " disabled") ? 1 : 0};
    snprintf(s->backend, sizeof(s->backend), "%s", backend);
    memcpy(s->name, name, sizeof(name));
    memcpy(s->address, address, sizeof(address));
    const char *weight = strstr(words, " weight ");
    if (weight)
        (void)sscanf(weight, " weight %d", &s->weight);
}

/* haproxy.cfg, as the agent has written it. */
static void load(struct stand_in *h)
{
    char path[4096], line[4096], backend[NAME_SIZE] = "", word[NAME_SIZE];
    snprintf(path, sizeof(path), "%s/haproxy.cfg", h->directory);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    h->count = 0;
    while (fgets(line, sizeof(line), file)) {
        const char *mark = strstr(line, "HAPTIC_LINEAGE");
        if (mark) {
            mark += strcspn(mark, " =");
            mark += strspn(mark, " =\"");
            snprintf(h->mark, sizeof(h->mark), "%.*s", (int)strspn(mark, "0123456789abcdef"), mark);
        }
        if (line[0] != ' ' && line[0] != '\t' && line[0] != '\n' && line[0] != '#')
            backend[0] = '\0';
        if (sscanf(line, "backend %127s", word) == 1 && line[0] == 'b') {
            snprintf(backend, sizeof(backend), "%s", word);
            /* A backend without a server is told by an entry without a name. */
            if (h->count < SERVERS_MAX) {
                struct server *s = &h->servers[h->count++];
                *s = (struct server){0};
                snprintf(s->backend, sizeof(s->backend), "%s", backend);
            }
        } else if (*backend) {
            read_server(h, backend, line);
        }
    }
    fclose(file);
}

static struct server *find(const struct stand_in *h, const char *backend, const char *name)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->servers[i].backend, backend) == 0 && strcmp(h->servers[i].name, name) == 0)
            return &h->servers[i];
    return NULL;
}

/* ---- commands ---- */

static void show_servers(struct stand_in *h, const char *backend, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "1\n# be_id be_name srv_id srv_name srv_addr\n");
    for (size_t i = 0; i < h->count && at + 512 < size; i++) {
        struct server *s = &h->servers[i];
        if (!*s->name || (*backend && strcmp(s->backend, backend) != 0))
            continue;
        at += (size_t)snprintf(out + at, size - at, "4 %s %zu %s %s 2 %u %d 1 9 1 0 0 0 0 0 0 - %d - 0 0 - - 0\n",
                               s->backend, i, s->name, s->address, s->admin, s->weight, s->port);
        if (s->unread)
            note_read(s);
        s->unread = false;
    }
}

static void set_server(struct stand_in *h, char *words, char *out, size_t size)
{
    char backend[NAME_SIZE], name[NAME_SIZE], what[32], value[64];
    int port = 0;
    int n = sscanf(words, "set server %127[^/]/%127s %31s %63s port %d", backend, name, what, value, &port);
    struct server *s = n >= 4 ? find(h, backend, name) : NULL;
    *out = '\0';
    if (!s) {
        snprintf(out, size, "No such server.\n");
    } else if (strcmp(what, "addr") == 0) {
        snprintf(out, size, "IP changed from '%s' to '%s' by 'stats socket command'\n", s->address, value);
        memcpy(s->address, value, sizeof(value));
        s->port = n == 5 ? port : s->port;
        s->unread = true;
    } else if (strcmp(what, "weight") == 0) {
        (void)sscanf(value, "%d", &s->weight);
    } else if (strcmp(what, "state") == 0) {
        s->admin = strcmp(value, "maint") == 0 ? 1 : strcmp(value, "drain") == 0 ? 8 : 0;
    } else {
        snprintf(out, size, "'set server' is unsupported here\n");
    }
}

/* add server B/S ADDRESS:PORT … weight N */
static void add_server(struct stand_in *h, char *words, char *out, size_t size)
{
    char backend[NAME_SIZE], name[NAME_SIZE], address[64];
    int port = 0;
    if (h->count == SERVERS_MAX ||
        sscanf(words, "add server %127[^/]/%127s %63[^: ]:%d", backend, name, address, &port) != 4 ||
        !find(h, backend, "") || find(h, backend, name)) {
        snprintf(out, size, "This server cannot be added.\n");
        return;
    }
    struct server *s = &h->servers[h->count++];
    *s = (struct server){.port = port, .weight = 1, .admin = 1, .unread = true};
    memcpy(s->backend, backend, sizeof(backend));
    memcpy(s->name, name, sizeof(name));
    memcpy(s->address, address, sizeof(address));
    const char *weight = strstr(words, " weight ");
    if (weight)
        (void)sscanf(weight, " weight %d", &s->weight);
    snprintf(out, size, "New server registered.\n");
}

static void enable_server(const struct stand_in *h, const char *words, char *out, size_t size)
{
    char backend[NAME_SIZE], name[NAME_SIZE];
    struct server *s = sscanf(words, "enable server %127[^/]/%127s", backend, name) == 2 ? find(h, backend, name)
                                                                                         : NULL;
    if (s)
        s->admin = 0;
    else
        snprintf(out, size, "No such server.\n");
}

static void delete_server(struct stand_in *h, const char *words, char *out, size_t size)
{
    char backend[NAME_SIZE], name[NAME_SIZE];
    struct server *s = sscanf(words, "del server %127[^/]/%127s", backend, name) == 2 ? find(h, backend, name) : NULL;
    if (s && s->admin == 1)
        *s = h->servers[--h->count];
    snprintf(out, size, s ? "Server deleted.\n" : "No such server.\n");
}

static void show_backends(const struct stand_in *h, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "# name\n");
    for (size_t i = 0; i < h->count && at + NAME_SIZE + 1 < size; i++)
        if (!*h->servers[i].name)
            at += (size_t)snprintf(out + at, size - at, "%s\n", h->servers[i].backend);
}

static void answer_worker(struct stand_in *h, char *line, char *out, size_t size)
{
    char backend[NAME_SIZE] = "";
    if (strcmp(line, "help") == 0)
        snprintf(out, size,
                 "  add server <b>/<s> : add\n  del server <b>/<s> : delete\n  set server <b>/<s> : change\n");
    else if (strcmp(line, "show version") == 0)
        snprintf(out, size, "3.4.0\n");
    else if (strcmp(line, "show env HAPTIC_LINEAGE") == 0)
        snprintf(out, size, "HAPTIC_LINEAGE=%s\n", h->mark);
    else if (strncmp(line, "show info", 9) == 0)
        snprintf(out, size, "Name: HAProxy\nPid: %u\nStopping: 0\n", 100 + h->reloads);
    else if (strcmp(line, "show backend") == 0)
        show_backends(h, out, size);
    else if (strncmp(line, "show servers state", 18) == 0) {
        (void)sscanf(line, "show servers state %127s", backend);
        show_servers(h, backend, out, size);
    } else if (strncmp(line, "set server ", 11) == 0)
        set_server(h, line, out, size);
    else if (strncmp(line, "add server ", 11) == 0)
        add_server(h, line, out, size);
    else if (strncmp(line, "enable server ", 14) == 0)
        enable_server(h, line, out, size);
    else if (strncmp(line, "del server ", 11) == 0)
        delete_server(h, line, out, size);
    else if (strncmp(line, "show map", 8) == 0 || strncmp(line, "show ssl", 8) == 0)
        snprintf(out, size, "# none\n");
    else if (strncmp(line, "set timeout", 11) == 0)
        *out = '\0';
    else
        snprintf(out, size, "Unknown command: '%.100s'\n", line);
}

/* True: the connection ends with the answer. */
static bool answer_master(struct stand_in *h, char *line, char *out, size_t size)
{
    if (strcmp(line, "reload") == 0) {
        h->reloads++;
        load(h);
        snprintf(out, size, "Success=1\n--\n\n");
        printf("reload %zu %" PRId64 "\n", ++reloads, now_us());
        return true;
    }
    if (strstr(line, "show info"))
        snprintf(out, size, "Can't find the target PID matching the prefix\n");
    else
        snprintf(out, size,
                 "#<PID> <type> <reloads> <uptime> <version>\n%d master %u 0d00h00m09s 3.4.0\n# workers\n"
                 "%u worker 0 0d00h00m09s 3.4.0\n# old workers\n# programs\n",
                 10, h->reloads, 100 + h->reloads);
    return false;
}

/* ---- connections ---- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_written(uv_write_t *request, int status)
{
    struct reply *r = request->data;
    if ((r->closes || status < 0) && !uv_is_closing((uv_handle_t *)&r->client->pipe))
        uv_close((uv_handle_t *)&r->client->pipe, on_closed);
    free(r);
}

static void say(struct client *c, const char *text, bool closes)
{
    size_t length = strlen(text);
    struct reply *r = malloc(sizeof(*r) + length + 1);
    if (!r)
        die("malloc");
    *r = (struct reply){.closes = closes, .client = c};
    memcpy(r->text, text, length + 1);
    r->request.data = r;
    uv_buf_t bytes = uv_buf_init(r->text, (unsigned)length);
    if (uv_write(&r->request, (uv_stream_t *)&c->pipe, &bytes, 1, on_written) < 0)
        free(r);
}

static void command(struct client *c, char *line)
{
    static char out[1 << 16], framed[(1 << 16) + 8];
    bool closes = false;
    const char *prompt = c->is_master ? "master> " : "> ";
    *out = '\0';
    if (strcmp(line, "prompt") == 0) {
        snprintf(framed, sizeof(framed), "\n%s", prompt);
        say(c, framed, false);
        return;
    }
    if (c->is_master)
        closes = answer_master(c->of, line, out, sizeof(out));
    else
        answer_worker(c->of, line, out, sizeof(out));
    snprintf(framed, sizeof(framed), "%s\n%s", out, closes ? "" : prompt);
    say(c, framed, closes);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct client *c = handle->data;
    (void)suggested;
    *ret_buf = uv_buf_init(c->line + c->length, (unsigned)(LINE_SIZE - 1 - c->length));
}

static void on_bytes(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes)
{
    struct client *c = stream->data;
    (void)bytes;
    if (count < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    c->length += (size_t)count;
    char *end, *at = c->line;
    while ((end = memchr(at, '\n', c->length - (size_t)(at - c->line)))) {
        *end = '\0';
        command(c, at);
        at = end + 1;
    }
    c->length -= (size_t)(at - c->line);
    memmove(c->line, at, c->length);
}

static void on_client(uv_stream_t *server, int status)
{
    struct stand_in *h = server->data;
    struct client *c = calloc(1, sizeof(*c));
    if (!c || status < 0)
        die("connection");
    c->of = h;
    c->is_master = server == (uv_stream_t *)&h->master;
    uv_pipe_init(server->loop, &c->pipe, 0);
    c->pipe.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->pipe) < 0 || uv_read_start((uv_stream_t *)&c->pipe, on_room, on_bytes) < 0)
        uv_close((uv_handle_t *)&c->pipe, on_closed);
}

/* A path of any length: the socket is made from within its directory. */
static void serve(uv_loop_t *loop, struct stand_in *h, uv_pipe_t *pipe, const char *name)
{
    uv_pipe_init(loop, pipe, 0);
    pipe->data = h;
    (void)unlink(name);
    if (uv_pipe_bind(pipe, name) < 0 || uv_listen((uv_stream_t *)pipe, 64, on_client) < 0)
        die(h->directory);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct rlimit files;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_crowd DIRECTORY...\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    umask(0077);
    members = (size_t)argc - 1;
    for (int i = 1; i < argc; i++) {
        struct stand_in *h = calloc(1, sizeof(*h));
        if (!h || chdir(argv[i]) < 0)
            die(argv[i]);
        h->directory = argv[i];
        h->servers = calloc(SERVERS_MAX, sizeof(*h->servers));
        if (!h->servers)
            die("memory");
        load(h);
        serve(loop, h, &h->master, "master.sock");
        serve(loop, h, &h->worker, "runtime.sock");
    }
    printf("ready %zu\n", members);
    return uv_run(loop, UV_RUN_DEFAULT);
}
