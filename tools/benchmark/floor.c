/* floor CLUSTER SOCKET: the least that can bring a change of Kubernetes objects into a running HAProxy 3.4: a watch
 * event becomes runtime commands, with nothing in between. No templates, no validation, no files, no proof that a
 * command did what it should, no faults considered. It is what the controller's times are compared with, not something
 * to run.
 *
 * HAProxy must run with a configuration that was made for the objects of about now; what the lists add to it, is added.
 * Prints "synced" when HAProxy is level with the lists. Ends with the first thing that goes wrong.
 *
 * How it works: three streaming lists (Ingress, Service, EndpointSlice) on one HTTP/2 connection. A route is a Service
 * that an Ingress names, with the addresses of its slice; it knows the servers that HAProxy has in its backend, at
 * first from `show servers state`. When a route changes, each address that has left gives its server to one that has
 * come; what does not go up in pairs is added or deleted. All commands of a change are one line, so one write and one
 * answer. */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <yyjson.h>

#include "api.h"

#define MAX_SERVERS 16
#define LIST "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

struct server {
    char name[72], address[48];
};

struct route {
    char key[136]; /* NAMESPACE_SERVICE */
    char backend[144], host[256];
    int has_ingress, has_service, has_slice, is_live;
    long port;
    size_t wanted_count, server_count;
    char wanted[MAX_SERVERS][48];
    struct server servers[MAX_SERVERS];
};

struct floor;

struct watch {
    struct floor *floor;
    void (*take)(struct floor *f, yyjson_val *object, int gone);
    char *data;
    size_t length, room;
};

struct floor {
    const char *socket;
    struct api api;
    struct watch watches[3];
    void *routes; /* tsearch() tree by key */
    int lists_under_way;
};

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "floor: %s: %s\n", what, detail);
    exit(1);
}

/* ---- HAProxy ---- */

/* Runs a line of commands; the answer goes on until HAProxy closes, and is the caller's to free. */
static char *run_commands(const struct floor *f, const char *commands)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(commands), have = 0, room = 4096;
    char *answer = malloc(room);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t got;

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", f->socket);
    if (answer == NULL || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        send(fd, commands, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail(f->socket, strerror(errno));
    while ((got = recv(fd, answer + have, room - 1 - have, 0)) > 0) {
        have += (size_t)got;
        if (have == room - 1 && (answer = realloc(answer, room *= 2)) == NULL)
            abort();
    }
    close(fd);
    answer[have] = '\0';
    return answer;
}

static void delete_server(FILE *out, struct route *r, size_t i)
{
    fprintf(out, "disable server %s/%s; del server %s/%s; ", r->backend, r->servers[i].name, r->backend,
            r->servers[i].name);
    r->servers[i] = r->servers[--r->server_count];
}

static void add_server(FILE *out, struct route *r, const char *address)
{
    struct server *s = &r->servers[r->server_count++];

    snprintf(s->name, sizeof(s->name), "%s", address);
    snprintf(s->address, sizeof(s->address), "%s", address);
    fprintf(out, "add server %s/%s %s:%ld; enable server %s/%s; ", r->backend, s->name, address, r->port, r->backend,
            s->name);
}

static int has_server(const struct route *r, const char *address)
{
    for (size_t i = 0; i < r->server_count; i++) {
        if (strcmp(r->servers[i].address, address) == 0)
            return 1;
    }
    return 0;
}

static int is_wanted(const struct route *r, const char *address)
{
    for (size_t i = 0; i < r->wanted_count; i++) {
        if (strcmp(r->wanted[i], address) == 0)
            return 1;
    }
    return 0;
}

static void move_servers(FILE *out, struct route *r)
{
    size_t i = 0;

    for (size_t w = 0; w < r->wanted_count; w++) {
        if (has_server(r, r->wanted[w]))
            continue;
        while (i < r->server_count && is_wanted(r, r->servers[i].address))
            i++;
        if (i < r->server_count) {
            snprintf(r->servers[i].address, sizeof(r->servers[i].address), "%s", r->wanted[w]);
            fprintf(out, "set server %s/%s addr %s port %ld; ", r->backend, r->servers[i].name, r->wanted[w], r->port);
        } else if (r->server_count < MAX_SERVERS) {
            add_server(out, r, r->wanted[w]);
        }
    }
    for (i = r->server_count; i-- > 0;) {
        if (!is_wanted(r, r->servers[i].address))
            delete_server(out, r, i);
    }
}

/* Brings HAProxy to what is known of the route. */
static void settle(struct floor *f, struct route *r)
{
    char *commands = NULL;
    size_t length = 0;
    int is_whole = r->has_ingress && r->has_service && r->has_slice;

    if (f->lists_under_way > 0 || (!is_whole && (!r->is_live || r->has_ingress)))
        return;
    FILE *out = open_memstream(&commands, &length);
    if (out == NULL)
        abort();
    if (!is_whole) {
        if (*r->host != '\0')
            fprintf(out, "del map maps/path-prefix.map %s/; ", r->host);
        fprintf(out, "unpublish backend %s; ", r->backend);
        while (r->server_count > 0)
            delete_server(out, r, 0);
        fprintf(out, "del backend %s; ", r->backend);
        r->is_live = 0;
    } else if (!r->is_live) {
        fprintf(out, "add backend %s from base; ", r->backend);
        move_servers(out, r);
        fprintf(out, "publish backend %s; add map maps/path-prefix.map %s/ %s; ", r->backend, r->host, r->backend);
        r->is_live = 1;
    } else {
        move_servers(out, r);
    }
    fputc('\n', out);
    fclose(out);
    if (length > 1) {
        char *answer = run_commands(f, commands);
        if (strstr(answer, "No such") || strstr(answer, "nvalid") || strstr(answer, "rror") || strstr(answer, "nknown"))
            fprintf(stderr, "floor: %s → %s\n", commands, answer);
        free(answer);
    }
    free(commands);
}

/* ---- routes ---- */

static int compare_routes(const void *a, const void *b)
{
    return strcmp(((const struct route *)a)->key, ((const struct route *)b)->key);
}

static struct route *find_route(struct floor *f, const char *namespace, const char *service)
{
    struct route *r = calloc(1, sizeof(*r));

    if (r == NULL)
        abort();
    snprintf(r->key, sizeof(r->key), "%s_%s", namespace, service);
    struct route **found = tsearch(r, &f->routes, compare_routes);
    if (found == NULL)
        abort();
    if (*found != r)
        free(r);
    return *found;
}

static const char *get_string(yyjson_val *object, const char *pointer)
{
    const char *text = yyjson_get_str(yyjson_ptr_get(object, pointer));

    return text ? text : "";
}

static void take_ingress(struct floor *f, yyjson_val *object, int gone)
{
    yyjson_val *rule = yyjson_ptr_get(object, "/spec/rules/0");
    const char *namespace = get_string(object, "/metadata/namespace");
    const char *service = get_string(rule, "/http/paths/0/backend/service/name");
    struct route *r = find_route(f, namespace, service);

    snprintf(r->host, sizeof(r->host), "%s", get_string(rule, "/host"));
    snprintf(r->backend, sizeof(r->backend), "%s_%lld", r->key,
             (long long)yyjson_get_sint(yyjson_ptr_get(rule, "/http/paths/0/backend/service/port/number")));
    r->has_ingress = !gone;
    settle(f, r);
}

static void take_service(struct floor *f, yyjson_val *object, int gone)
{
    struct route *r = find_route(f, get_string(object, "/metadata/namespace"), get_string(object, "/metadata/name"));

    r->has_service = !gone;
    settle(f, r);
}

static void take_slice(struct floor *f, yyjson_val *object, int gone)
{
    struct route *r = find_route(f, get_string(object, "/metadata/namespace"),
                                 get_string(object, "/metadata/labels/kubernetes.io~1service-name"));
    yyjson_val *endpoints = yyjson_obj_get(object, "endpoints"), *endpoint;
    size_t i, count;

    r->has_slice = !gone;
    r->port = (long)yyjson_get_sint(yyjson_ptr_get(object, "/ports/0/port"));
    r->wanted_count = 0;
    yyjson_arr_foreach(endpoints, i, count, endpoint)
    {
        if (r->wanted_count < MAX_SERVERS && yyjson_ptr_get(endpoint, "/conditions/ready") != NULL &&
            yyjson_get_bool(yyjson_ptr_get(endpoint, "/conditions/ready")))
            snprintf(r->wanted[r->wanted_count++], sizeof(r->wanted[0]), "%s", get_string(endpoint, "/addresses/0"));
    }
    settle(f, r);
}

/* What HAProxy has: "ID BACKEND ID SERVER ADDRESS …" for each server. */
static void read_servers(struct floor *f)
{
    char *text = run_commands(f, "show servers state\n"), *rest = NULL;
    char backend[144], namespace[64], service[64], name[72], address[48];

    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (sscanf(line, "%*d %143s %*d %71s %47s", backend, name, address) != 3 ||
            sscanf(backend, "%63[^_]_%63[^_]", namespace, service) != 2)
            continue;
        struct route *r = find_route(f, namespace, service);
        memcpy(r->backend, backend, sizeof(backend));
        r->is_live = 1;
        if (r->server_count < MAX_SERVERS) {
            struct server *s = &r->servers[r->server_count++];
            memcpy(s->name, name, sizeof(name));
            memcpy(s->address, address, sizeof(address));
        }
    }
    free(text);
}

/* ---- the API server ---- */

static void settle_node(const void *node, VISIT visit, void *ctx)
{
    if (visit == postorder || visit == leaf)
        settle(ctx, *(struct route *const *)node);
}

static void take_line(struct watch *w, char *line, size_t length)
{
    struct floor *f = w->floor;
    yyjson_doc *doc = yyjson_read(line, length, 0);
    yyjson_val *event = yyjson_doc_get_root(doc), *object = yyjson_obj_get(event, "object");
    const char *type = get_string(event, "/type");

    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0 || strcmp(type, "DELETED") == 0) {
        w->take(f, object, *type == 'D');
    } else if (strcmp(type, "BOOKMARK") == 0) {
        if (*get_string(object, "/metadata/annotations/k8s.io~1initial-events-end") != '\0' &&
            --f->lists_under_way == 0) {
            twalk_r(f->routes, settle_node, f);
            puts("synced");
            fflush(stdout);
        }
    } else {
        fail("watch", line);
    }
    yyjson_doc_free(doc);
}

static size_t take_data(char *data, size_t size, size_t count, void *ctx)
{
    struct watch *w = ctx;
    char *at, *end;

    if (w->length + size * count > w->room &&
        (w->data = realloc(w->data, w->room = 2 * (w->length + size * count))) == NULL)
        abort();
    memcpy(w->data + w->length, data, size * count);
    w->length += size * count;
    for (at = w->data; (end = memchr(at, '\n', w->length - (size_t)(at - w->data))) != NULL; at = end + 1)
        take_line(w, at, (size_t)(end - at));
    w->length -= (size_t)(at - w->data);
    memmove(w->data, at, w->length);
    return size * count;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*take)(struct floor *f, yyjson_val *object, int gone);
    } kinds[] = {
        {"/apis/networking.k8s.io/v1/ingresses" LIST, take_ingress},
        {"/api/v1/services" LIST, take_service},
        {"/apis/discovery.k8s.io/v1/endpointslices" LIST, take_slice},
    };
    struct floor state = {0}, *f = &state;
    int running;

    if (argc != 3) {
        fputs("usage: floor CLUSTER SOCKET\n", stderr);
        return 2;
    }
    f->socket = argv[2];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    api_open(&f->api, argv[1]);
    read_servers(f);
    CURLM *multi = curl_multi_init();
    for (int i = 0; i < 3; i++) {
        CURL *handle = api_handle(&f->api, kinds[i].path);
        f->watches[i] = (struct watch){.floor = f, .take = kinds[i].take};
        curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_data);
        curl_easy_setopt(handle, CURLOPT_WRITEDATA, &f->watches[i]);
        curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
        curl_multi_add_handle(multi, handle);
        f->lists_under_way++;
    }
    while (curl_multi_perform(multi, &running) == CURLM_OK && running == 3)
        curl_multi_poll(multi, NULL, 0, 1000, NULL);
    fail("watch", "it has ended");
}
