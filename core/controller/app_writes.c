/* Decides whether this replica may write, and writes Events for the owners of objects. */
#include "base/alloc.h"
#include "controller/app_parts.h"
#include "controller/generation_log.h"
#include "data/json.h"

bool app_may_write(void *ctx)
{
    const struct app *app = ctx;

    return !app->stopping && app->election == ELECTION_STEADY && app->leader != NULL && leader_may_write(app->leader);
}

static void send_event(struct app *app, const struct store_kind *kind, const struct object *object, bool warning,
                       const char *reason, const char *message)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (object_parse(object, APP_OBJECT_MAX, &doc, NULL) < 0)
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *api_version = json_str(root, "apiVersion");
    const struct kube_event_object about = {.api_version = api_version ? api_version
                                                                       : store_kind_spec(kind)->api_version,
                                            .kind = json_str(root, "kind"),
                                            .namespace = object->namespace,
                                            .name = object->name,
                                            .uid = object->uid,
                                            .resource_version = object->resource_version};
    kube_event_send(app->events, &about, warning ? "Warning" : "Normal", reason, "Reconcile", message);
}

void app_notify(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                const char *message)
{
    struct app *app = ctx;
    struct store_kind *kind = *owner_kind ? store_kind_by_name(app->store, owner_kind) : NULL;
    struct object *object = kind ? store_get(kind, owner_id) : NULL;

    if (app->reconcile != NULL)
        generation_log_tell(reconcile_generations(app->reconcile), warning, owner_kind, owner_id, reason, message);
    if (object != NULL && app->events != NULL && leader_may_write(app->leader))
        send_event(app, kind, object, warning, reason, message);
}
