/* One handler per page. docs/operations/running.md describes them. */
#include "cmd/debug_pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controller/debug.h"
#include "controller/generation_log.h"
#include "engine/embedded.h"
#include "engine/renderer.h"

#define HTTP_OK 200
#define HTTP_BAD_REQUEST 400
#define HTTP_NOT_FOUND 404
#define HTTP_UNAVAILABLE 503

/* Nothing but this server's own script and style, and no frame around it. */
#define POLICY \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " \
    "frame-ancestors 'none'"

static bool wants_origin(const struct http_answer *answer)
{
    const char *origin = http_argument(answer, "origin");

    return origin != NULL && strcmp(origin, "0") != 0;
}

/* Before there is a configuration there is no model. */
static const struct model *model_or_refuse(struct app *app, struct http_answer *answer)
{
    const struct model *m = app_model(app);

    if (m == NULL) {
        answer->status = HTTP_UNAVAILABLE;
        buf_puts(&answer->body, "the configuration is waited for; /debug/state says why\n");
    }
    return m;
}

static void serve_state(void *ctx, struct http_answer *answer)
{
    answer->content_type = "application/json";
    app_describe(ctx, &answer->body);
}

static void serve_settings(void *ctx, struct http_answer *answer)
{
    answer->content_type = "application/json";
    app_write_settings(ctx, &answer->body);
}

static void serve_fetched(void *ctx, struct http_answer *answer)
{
    answer->content_type = "application/json";
    app_write_fetched(ctx, &answer->body);
}

static void serve_config(void *ctx, struct http_answer *answer)
{
    const struct model *m = model_or_refuse(ctx, answer);

    if (m == NULL)
        return;
    if (!wants_origin(answer)) {
        app_write_config(ctx, &answer->body);
        return;
    }
    answer->content_type = "application/json";
    debug_config(m, &answer->body);
}

static void serve_map_names(void *ctx, struct http_answer *answer)
{
    const struct model *m = model_or_refuse(ctx, answer);

    if (m != NULL)
        debug_map_names(m, &answer->body);
}

static void serve_map(void *ctx, struct http_answer *answer)
{
    const struct model *m = model_or_refuse(ctx, answer);

    if (m == NULL)
        return;
    if (!model_map_exists(m, MODEL_ACCEPTED, answer->rest)) {
        answer->status = HTTP_NOT_FOUND;
        buf_puts(&answer->body, "there is no such map; /debug/maps has their names\n");
    } else if (wants_origin(answer)) {
        answer->content_type = "application/json";
        debug_map(m, answer->rest, &answer->body);
    } else {
        model_write_map(m, MODEL_ACCEPTED, answer->rest, &answer->body);
    }
}

static void serve_route(void *ctx, struct http_answer *answer)
{
    const char *host = http_argument(answer, "host"), *path = http_argument(answer, "path");
    const struct model *m = model_or_refuse(ctx, answer);

    if (m == NULL)
        return;
    if (host == NULL) {
        answer->status = HTTP_BAD_REQUEST;
        buf_puts(&answer->body, "which request? write /debug/route?host=shop.example&path=/cart\n");
        return;
    }
    answer->content_type = "application/json";
    debug_route(m, host, path ? path : "/", &answer->body);
}

static void serve_generations(void *ctx, struct http_answer *answer)
{
    const struct generation_log *h = app_generations(ctx);

    answer->content_type = "application/json";
    if (h != NULL)
        generation_log_write_generations(h, &answer->body);
    else
        buf_puts(&answer->body, "{\"generations\":[]}\n");
}

static void serve_events(void *ctx, struct http_answer *answer)
{
    const struct generation_log *h = app_generations(ctx);

    answer->content_type = "application/json";
    if (h != NULL)
        generation_log_write_events(h, &answer->body);
    else
        buf_puts(&answer->body, "{\"events\":[]}\n");
}

static void serve_dump(void *ctx, struct http_answer *answer)
{
    struct err err;

    answer->content_type = "application/x-ndjson";
    if (app_write_dump(ctx, &answer->body, &err) == 0)
        return;
    answer->status = HTTP_UNAVAILABLE;
    answer->content_type = "text/plain; charset=utf-8";
    buf_clear(&answer->body);
    buf_printf(&answer->body, "%s\n", err.text);
}

/* ---- what the renderer is asked for ---- */

static void on_counters(void *ctx, const char *answer)
{
    CLEANUP(buf_done) struct buf body = {0};
    bool known = strncmp(answer, "ok\n", 3) == 0;

    buf_printf(&body, "{\"fragments\":%s}\n", known ? answer + 3 : "null");
    http_later_answer(ctx, known ? HTTP_OK : HTTP_UNAVAILABLE, "application/json", &body);
}

static void serve_fragments(void *ctx, struct http_answer *answer)
{
    struct renderer *r = app_renderer(ctx);

    if (r != NULL) {
        renderer_ask(r, "evaluate", "=counters()", on_counters, http_answer_later(answer));
        return;
    }
    answer->status = HTTP_UNAVAILABLE;
    answer->content_type = "application/json";
    buf_puts(&answer->body, "{\"fragments\":null}\n");
}

/* ---- the page for people ---- */

static void serve_file(struct http_answer *answer, const char *name, const char *content_type)
{
    struct embedded_file file;

    answer->content_type = content_type;
    answer->policy = POLICY;
    if (embedded_find(name, &file))
        buf_add(&answer->body, file.bytes, file.length);
    else
        answer->status = HTTP_NOT_FOUND;
}

static void serve_page(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    serve_file(answer, "core/cmd/page/page.html", "text/html; charset=utf-8");
}

static void serve_style(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    serve_file(answer, "core/cmd/page/page.css", "text/css; charset=utf-8");
}

static void serve_script(void *ctx, struct http_answer *answer)
{
    (void)ctx;
    serve_file(answer, "core/cmd/page/page.js", "text/javascript; charset=utf-8");
}

void debug_pages_add(struct http_server *server, struct app *app)
{
    static const struct page {
        const char *path, *summary;
        http_handler *handler;
    } pages[] = {
        {"/debug/page", "the pipeline and its state, for a browser", serve_page},
        {"/debug/page.css", "its style", serve_style},
        {"/debug/page.js", "its script", serve_script},
        {"/debug/state", "what the controller knows", serve_state},
        {"/debug/settings", "the effective configuration", serve_settings},
        {"/debug/generations", "the last 50 generations: trigger, size, times, verdict", serve_generations},
        {"/debug/events", "the last 100 messages to owners of objects", serve_events},
        {"/debug/fragments", "what the templates' fragments have cost", serve_fragments},
        {"/debug/config", "the accepted haproxy.cfg; ?origin=1: who wrote each line", serve_config},
        {"/debug/maps", "the names of the accepted maps", serve_map_names},
        {"/debug/maps/", "NAME: a map; ?origin=1: who wrote each entry", serve_map},
        {"/debug/fetched", "contents of URLs, as manifests for the offline commands", serve_fetched},
        {"/debug/dump", "templates and objects, for haptic repl --from", serve_dump},
        {"/debug/route", "?host=&path=: where the maps lead a request to", serve_route},
    };

    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        http_server_route(server, pages[i].path, pages[i].summary, pages[i].handler, app);
}
