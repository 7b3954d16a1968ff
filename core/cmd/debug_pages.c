/* One handler per page. docs/operations/running.md describes them. */
#include "cmd/debug_pages.h"

#include <string.h>

#include "controller/debug.h"

#define HTTP_BAD_REQUEST 400
#define HTTP_NOT_FOUND 404

static bool wants_origin(const struct http_answer *answer)
{
    const char *origin = http_argument(answer, "origin");

    return origin != NULL && strcmp(origin, "0") != 0;
}

static void serve_state(void *ctx, struct http_answer *answer)
{
    answer->content_type = "application/json";
    app_describe(ctx, &answer->body);
}

static void serve_config(void *ctx, struct http_answer *answer)
{
    if (!wants_origin(answer)) {
        app_write_config(ctx, &answer->body);
        return;
    }
    answer->content_type = "application/json";
    debug_config(app_model(ctx), &answer->body);
}

static void serve_map_names(void *ctx, struct http_answer *answer)
{
    debug_map_names(app_model(ctx), &answer->body);
}

static void serve_map(void *ctx, struct http_answer *answer)
{
    const struct model *m = app_model(ctx);

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

    if (host == NULL) {
        answer->status = HTTP_BAD_REQUEST;
        buf_puts(&answer->body, "which request? write /debug/route?host=shop.example&path=/cart\n");
        return;
    }
    answer->content_type = "application/json";
    debug_route(app_model(ctx), host, path ? path : "/", &answer->body);
}

void debug_pages_add(struct http_server *server, struct app *app)
{
    http_server_route(server, "/debug/state", "what the controller knows", serve_state, app);
    http_server_route(server, "/debug/config", "the accepted haproxy.cfg; ?origin=1: who wrote each line", serve_config,
                      app);
    http_server_route(server, "/debug/maps", "the names of the accepted maps", serve_map_names, app);
    http_server_route(server, "/debug/maps/", "NAME: a map; ?origin=1: who wrote each entry", serve_map, app);
    http_server_route(server, "/debug/route", "?host=&path=: where the maps lead a request to", serve_route, app);
}
