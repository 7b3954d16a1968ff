/* Values of a wrong type are ignored here: the tables have reported them. */
#include "store/schema_rule.h"

#include <string.h>

#include "data/json.h"
#include "store/schema_format.h"

#define ADDRESSES_MAX 100
#define ENDPOINTS_MAX 1000

static bool has(struct yyjson_val *object, const char *name)
{
    struct yyjson_val *value = json_at(object, name);
    return value && !yyjson_is_null(value);
}

static bool is_empty(struct yyjson_val *object, const char *name)
{
    struct yyjson_val *list = json_at(object, name);
    return !list || yyjson_is_null(list) || (yyjson_is_arr(list) && yyjson_arr_size(list) == 0);
}

/* A string that exists and is not empty; otherwise "". */
static const char *text_of(struct yyjson_val *object, const char *name)
{
    const char *text = json_str(object, name);
    return text ? text : "";
}

void schema_rule_ingress_spec(struct schema_walk *w, struct yyjson_val *spec)
{
    if (is_empty(spec, "rules") && !has(spec, "defaultBackend"))
        schema_tell(w, true, spec, "must have rules or a defaultBackend");
}

void schema_rule_backend(struct schema_walk *w, struct yyjson_val *backend)
{
    bool has_service = has(backend, "service"), has_resource = has(backend, "resource");
    if (has_service == has_resource)
        schema_tell(w, true, backend, has_service ? "must not have both service and resource" : "must have a service");
}

void schema_rule_backend_port(struct schema_walk *w, struct yyjson_val *service)
{
    struct yyjson_val *port = json_at(service, "port");
    bool has_name = *text_of(port, "name"), has_number = json_int_of(json_at(port, "number"), 0) != 0;
    if (has_name == has_number && (!port || yyjson_is_null(port) || yyjson_is_obj(port)) &&
        (!has(port, "name") || yyjson_is_str(json_at(port, "name"))))
        schema_tell_field(w, "port", port ? port : service,
                          has_name ? "must not have both a name and a number" : "must have a name or a number");
}

void schema_rule_http(struct schema_walk *w, struct yyjson_val *http)
{
    struct yyjson_val *paths = json_at(http, "paths");
    if (yyjson_is_arr(paths) && yyjson_arr_size(paths) == 0)
        schema_tell_field(w, "paths", paths, "must have a path");
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

void schema_rule_path(struct schema_walk *w, struct yyjson_val *path)
{
    static const char *const wrong[] = {"//", "/./", "/../", "%2f", "%2F"};
    struct yyjson_val *at = json_at(path, "path");
    const char *text = text_of(path, "path"), *type = text_of(path, "pathType");
    bool is_literal = strcmp(type, "Exact") == 0 || strcmp(type, "Prefix") == 0;
    if ((at && !yyjson_is_null(at) && !yyjson_is_str(at)) || (*text == '\0' && !is_literal))
        return;
    if (*text != '/') {
        schema_tell_field(w, "path", at ? at : path, "must begin with \"/\"");
        return;
    }
    if (!is_literal)
        return;
    bool is_wrong = ends_with(text, "/..") || ends_with(text, "/.");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        is_wrong = is_wrong || strstr(text, wrong[i]);
    if (is_wrong)
        schema_tell_field(w, "path", at, "must not contain \"//\", \"/./\", \"/../\" or \"%2f\" with this pathType");
}

/* Ports of a Service or a slice: each name occurs once. */
static void check_port_names(struct schema_walk *w, struct yyjson_val *owner, bool must_have)
{
    struct yyjson_val *ports = json_at(owner, "ports"), *port, *other;
    size_t i, k, n, m;
    if (!yyjson_is_arr(ports))
        return;
    size_t length = schema_path_add(w, "ports");
    yyjson_arr_foreach(ports, i, n, port)
    {
        size_t before = schema_path_index(w, i);
        const char *name = text_of(port, "name");
        if (must_have && yyjson_is_obj(port) && *name == '\0' && n > 1)
            schema_tell_field(w, "name", port, "is missing: ports have names where there are several");
        yyjson_arr_foreach(ports, k, m, other)
        {
            if (k >= i || k > ADDRESSES_MAX)
                break;
            if ((*name || !must_have) && strcmp(text_of(other, "name"), name) == 0) {
                schema_tell_field(w, "name", port, "must differ from the names of other ports");
                break;
            }
        }
        schema_path_cut(w, before);
    }
    schema_path_cut(w, length);
}

void schema_rule_service_spec(struct schema_walk *w, struct yyjson_val *spec)
{
    bool is_external = strcmp(text_of(spec, "type"), "ExternalName") == 0;
    if (is_external) {
        const char *name = text_of(spec, "externalName");
        const char *message = *name ? schema_format_external(name) : "is missing";
        if (message)
            schema_tell_field(w, "externalName", spec, message);
    }
    check_port_names(w, spec, true);
}

void schema_rule_target_port(struct schema_walk *w, struct yyjson_val *port)
{
    struct yyjson_val *target = json_at(port, "targetPort");
    int64_t number = json_int_of(target, 1);
    const char *text = yyjson_get_str(target), *message = NULL;
    if (yyjson_is_str(target))
        message = *text ? schema_format_port_name(text) : "must be a number or a name";
    else if (yyjson_is_int(target) && (number < 0 || number > 65535)) /* 0 counts as absent */
        message = "must be from 1 to 65535";
    if (message)
        schema_tell_field(w, "targetPort", target, message);
}

void schema_rule_slice(struct schema_walk *w, struct yyjson_val *slice)
{
    const char *type = text_of(slice, "addressType");
    schema_format *format = strcmp(type, "IPv4") == 0   ? schema_format_ipv4
                            : strcmp(type, "IPv6") == 0 ? schema_format_ipv6
                            : strcmp(type, "FQDN") == 0 ? schema_format_fqdn
                                                        : NULL;
    struct yyjson_val *endpoints = json_at(slice, "endpoints"), *endpoint, *address;
    size_t i, k, n, m;
    size_t length = schema_path_add(w, "endpoints");
    if (yyjson_is_arr(endpoints) && yyjson_arr_size(endpoints) > ENDPOINTS_MAX)
        schema_tell(w, true, endpoints, "must be at most 1000");
    yyjson_arr_foreach(endpoints, i, n, endpoint)
    {
        struct yyjson_val *addresses = json_at(endpoint, "addresses");
        size_t before = schema_path_index(w, i);
        schema_path_add(w, "addresses");
        size_t size = yyjson_arr_size(addresses);
        if (yyjson_is_arr(addresses) && (size == 0 || size > ADDRESSES_MAX))
            schema_tell(w, true, addresses, size ? "must be at most 100" : "must have an address");
        yyjson_arr_foreach(addresses, k, m, address)
        {
            const char *text = yyjson_get_str(address), *message = format && text ? format(text) : NULL;
            size_t here = message ? schema_path_index(w, k) : 0;
            if (message) {
                schema_tell(w, true, address, message);
                schema_path_cut(w, here);
            }
        }
        schema_path_cut(w, before);
    }
    schema_path_cut(w, length);
    check_port_names(w, slice, false);
}

void schema_rule_config_map(struct schema_walk *w, struct yyjson_val *map)
{
    struct yyjson_val *data = json_at(map, "data"), *key, *value;
    size_t i, n;
    yyjson_obj_foreach(json_at(map, "binaryData"), i, n, key, value)
    {
        if (yyjson_is_obj(data) && yyjson_obj_getn(data, yyjson_get_str(key), yyjson_get_len(key)))
            schema_tell_field(w, "binaryData", key, "must not have a key that data has");
    }
}
