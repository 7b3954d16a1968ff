/* A real HAProxy says what it answers and which backend it chose; the model knows who wrote that backend, and the maps
 * which entry led there. */
#include "offline/origin_route.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/route.h"
#include "offline/origin.h"
#include "offline/stage.h"

#define SERVERS_SHOWN 20

struct target {
    bool tls;
    int port;
    char *host, *path;
};

static struct target target_of(const char *url)
{
    struct target t = {.tls = strncmp(url, "https://", 8) == 0};

    if (t.tls || strncmp(url, "http://", 7) == 0)
        url = strstr(url, "://") + 3;
    size_t length = strcspn(url, "/");
    t.host = xmemdup0(url, length);
    t.path = xstrdup(url[length] == '/' ? url + length : "/");
    return t;
}

static void target_done(struct target *t)
{
    free(t->host);
    free(t->path);
}

/* ---- lines of haproxy.cfg ---- */

struct config_lines {
    struct buf text;
    struct model_lines origins;
};

static void config_lines_done(struct config_lines *l)
{
    buf_done(&l->text);
    model_lines_done(&l->origins);
}

static void put_writer(struct workbench *w, const struct model_origin *origin, struct buf *out)
{
    const struct fragment *f = origin->item ? origin->item->winner : NULL;

    if (f == NULL)
        return;
    CLEANUP(free_ptr) char *where = origin_where(w, origin);
    buf_printf(out, "    object: %s%s%s, template: %s\n", *f->owner_kind ? f->owner_kind : "none",
               *f->owner_kind ? " " : "", f->owner_id, *where ? where : f->template_name);
}

/* Lines of a section that begin with a word. Returns how many there are. */
static size_t put_lines(struct workbench *w, const struct config_lines *l, const char *section, const char *word,
                        const char *name, size_t max, struct buf *out)
{
    size_t number = 0, count = 0, length = strlen(word), section_length = strlen(section);
    bool inside = false;

    for (const char *at = buf_str((struct buf *)(uintptr_t)&l->text); *at != '\0';) {
        size_t end = strcspn(at, "\n");
        if (*at != ' ' && end > 0)
            inside = strncmp(at, section, section_length) == 0 && strchr(" \n", at[section_length]) != NULL;
        if (inside && *at == ' ' && strncmp(at + 4, word, length) == 0 && at[4 + length] == ' ' && count++ < max) {
            buf_printf(out, "  %s: haproxy.cfg:%zu: %.*s\n", name, number + 1, (int)(end - 4), at + 4);
            put_writer(w, &l->origins.lines.items[number], out);
        }
        number++;
        at += end + (at[end] == '\n');
    }
    return count;
}

/* ---- the parts ---- */

/* Which entry of a map, and who wrote it. */
static void put_entry(struct workbench *w, const struct route *r, struct buf *out)
{
    const struct item *item = r->entry;
    const struct model_origin origin = {.item = r->entry};

    buf_printf(out, "  map entry: maps/%s: %s -> %s\n", item->scope, item->key, r->value);
    put_writer(w, &origin, out);
}

static void put_backend(struct workbench *w, const struct config_lines *l, const char *backend, struct buf *out)
{
    CLEANUP(free_ptr) char *name = xasprintf("backend %s", backend);
    const struct section *section = model_section(workbench_model(w), name);

    if (section == NULL || section->pieces.length == 0) {
        buf_printf(out, "  backend: %s, which is not there\n", backend);
        return;
    }
    buf_printf(out, "  backend: %s\n", backend);
    for (size_t i = 0; i < section->pieces.length; i++) {
        const struct model_origin origin = {.item = section->pieces.items[i]};
        put_writer(w, &origin, out);
    }
    size_t servers = put_lines(w, l, name, "server", "server", SERVERS_SHOWN, out);
    if (servers > SERVERS_SHOWN)
        buf_printf(out, "  and %zu more servers\n", servers - SERVERS_SHOWN);
}

static void put_answer(struct workbench *w, const struct config_lines *l, const struct stage_answer *a, struct buf *out)
{
    const char *location = exchange_header(&a->http, "location");

    if (a->http.status == 0)
        buf_printf(out, "  answer: none: %s\n", a->closed);
    else if (*a->server != '\0')
        buf_printf(out, "  answer: from server %s (a test's server says %ld)\n", a->server, a->http.status);
    else
        buf_printf(out, "  answer: %ld from HAProxy itself%s%s%s\n", a->http.status,
                   *a->backend ? "" : ", before it chose a backend", location ? ", to " : "", location ? location : "");
    if (a->line == 0 || a->line > l->origins.lines.length)
        return;
    const char *at = buf_str((struct buf *)(uintptr_t)&l->text);
    for (size_t i = 1; i < a->line; i++)
        at = strchr(at, '\n') + 1;
    at += strspn(at, " ");
    buf_printf(out, "  rule: haproxy.cfg:%zu: %.*s\n", a->line, (int)strcspn(at, "\n"), at);
    put_writer(w, &l->origins.lines.items[a->line - 1], out);
}

static int ask(struct workbench *w, const char *binary, const struct target *t, struct stage_answer *ret_answer,
               struct err *err)
{
    const struct stage_request request = {
        .host = t->host, .path = t->path, .tls = t->tls, .version = EXCHANGE_HTTP_1_1};
    struct stage *stage = NULL;

    if (stage_new(w, binary, NULL, 0, &stage, err) < 0)
        return -1;
    int result = stage_ask(stage, &request, ret_answer, err);
    stage_free(stage);
    return result;
}

int origin_of_route(struct workbench *w, const char *haproxy_binary, const char *url, struct buf *out, struct err *err)
{
    CLEANUP(target_done) struct target t = target_of(url);
    CLEANUP(stage_answer_done) struct stage_answer a = {0};
    CLEANUP(config_lines_done) struct config_lines l = {0};
    struct route route;

    if (haproxy_binary != NULL && ask(w, haproxy_binary, &t, &a, err) < 0)
        return -1;
    model_write_config(workbench_model(w), MODEL_RENDERED, &l.text, &l.origins);
    buf_printf(out, "%s://%s%s\n", t.tls ? "https" : "http", t.host, t.path);
    if (a.frontend != NULL && *a.frontend != '\0') {
        CLEANUP(free_ptr) char *frontend = xasprintf("frontend %s", a.frontend);
        put_lines(w, &l, frontend, "bind", "listener", SERVERS_SHOWN, out);
    }
    bool found = route_find(workbench_model(w), MODEL_RENDERED, t.host, t.path, &route);
    if (found)
        put_entry(w, &route, out);
    else
        buf_puts(out, "  map entry: none fits\n");
    CLEANUP(free_ptr) char *mapped = found ? xmemdup0(route.value, route.backend_length) : xstrdup("");
    const char *backend = a.backend != NULL ? a.backend : mapped;
    if (*backend != '\0') {
        if (found && strcmp(backend, mapped) != 0)
            buf_puts(out, "  a rule of haproxy.cfg chose another backend:\n");
        put_backend(w, &l, backend, out);
    }
    if (a.frontend != NULL)
        put_answer(w, &l, &a, out);
    return 0;
}
