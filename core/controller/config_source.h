/* config_source.h — where the configuration comes from: a file, or a resource of the API server. Both are followed.
 * Thread:  loop thread only; callbacks never come from inside the call that made the source.
 * Owns:    its handles, its watches (of the resource and its libraries), a copy of the resource. Borrows loop and
 *          client.
 * Errors:  of reading: by config_source_load(), each time it is asked.
 *
 * A source only says that the text may have changed. Its owner loads the text and decides about it.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_SOURCE_H
#define HAPTIC_CONTROLLER_CONFIG_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "controller/config.h"
#include "kube/client.h"

#define CONFIG_API_VERSION "haproxy-haptic.org/v1alpha1"
#define CONFIG_RESOURCE "haproxytemplateconfigs"
#define CONFIG_LIBRARY_RESOURCE "haproxytemplatelibraries"
#define CONFIG_KIND "HAProxyTemplateConfig"

struct config_source;

struct config_source_ops {
    /* There may be another text. */
    void (*changed)(void *ctx);
    /* It is not there, or cannot be read; why: borrowed. */
    void (*missing)(void *ctx, const char *why);
    /* The object is another one, perhaps in its status only. May be NULL. */
    void (*seen)(void *ctx);
};

/* A source that follows a file, which need not exist yet. path and *ops are copied. The caller frees the source. */
struct config_source *config_source_file(uv_loop_t *loop, const char *path, const struct config_source_ops *ops,
                                         void *ctx);
/* The same for a resource of the API server and its libraries. Names are copied; client must outlive the source. */
struct config_source *config_source_resource(struct kube_client *client, const char *namespace, const char *name,
                                             const struct config_source_ops *ops, void *ctx);
/* NULL is fine; run the loop once more. */
struct config_source *config_source_free(struct config_source *s);

/* Read what there is now. ERR_NOTFOUND: nothing has been there yet. */
int config_source_load(struct config_source *s, struct config **ret_config, struct err *err) MUST_CHECK;
/* For people: the file's path, or "HAProxyTemplateConfig NAMESPACE/NAME". */
const char *config_source_name(const struct config_source *s);

/* The resource as it was seen last: JSON; NULL: none, or a file. */
struct config_object {
    const char *namespace, *name, *json;
    size_t length;
};
bool config_source_object(const struct config_source *s, struct config_object *ret_object);
/* Only its namespace and name, whether it was seen or not; NULL: a file. */
void config_source_identity(const struct config_source *s, struct config_object *ret_object);
/* The library of that number among those that the resource names, in any order; length 0: there is none of that name.
 * False: so many are not named. */
bool config_source_library(const struct config_source *s, size_t i, struct config_object *ret_object);

#endif
