/* schema.h — fields and types of the kinds that the libraries read, as the API server judges them. For objects that do
 * not come from one.
 * Thread:  any.
 * Source:  Kubernetes API reference: Ingress, IngressClass (networking.k8s.io/v1), EndpointSlice (discovery.k8s.io/v1),
 *          Service, Secret, ConfigMap (v1), ObjectMeta.
 *
 * Of other kinds only the metadata is looked at. Null counts as absent. A wrong type, a missing field and a wrong name
 * are errors; an unknown field is a warning, as the server ignores it with one. So are texts, addresses and
 * combinations of fields that the server refuses. Laxer than the server: an absent spec, a Service without ports,
 * special addresses (loopback, link-local) of endpoints, and sizes.
 */
#ifndef HAPTIC_STORE_SCHEMA_H
#define HAPTIC_STORE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

/* One thing that is wrong. path: "spec.rules[0].http"; at: the value or key, for its line. The strings are lent. */
typedef void schema_found(void *ctx, bool is_error, struct yyjson_val *at, const char *path, const char *message);

/* Judge an object. Stops after SCHEMA_FOUND_MAX findings. */
#define SCHEMA_FOUND_MAX 20
void schema_check(const char *api_version, const char *kind, struct yyjson_val *object, schema_found *found, void *ctx);

#endif
