/* schema_rule.h — rules of the API server that look at more than one field of an object or of a part of it.
 * Thread:  any.
 * Source:  Kubernetes API reference; pkg/apis/{networking,core,discovery}/validation of Kubernetes 1.34.
 *
 * A rule is called with the path at the part that it judges; that part is a mapping.
 */
#ifndef HAPTIC_STORE_SCHEMA_RULE_H
#define HAPTIC_STORE_SCHEMA_RULE_H

#include "store/schema_walk.h"

typedef void schema_rule(struct schema_walk *w, struct yyjson_val *object);

schema_rule schema_rule_ingress_spec; /* rules or a default backend */
schema_rule schema_rule_backend;      /* a Service or a resource */
schema_rule schema_rule_backend_port; /* a name or a number */
schema_rule schema_rule_http;         /* paths */
schema_rule schema_rule_path;         /* absolute, and normal where it is matched literally */
schema_rule schema_rule_service_spec; /* ports, an external name */
schema_rule schema_rule_target_port;
schema_rule schema_rule_slice;      /* addresses of the slice's type */
schema_rule schema_rule_config_map; /* no key twice */

#endif
