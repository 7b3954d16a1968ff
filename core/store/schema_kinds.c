/* The tables. Fields that this program does not read are SCHEMA_ANY. */
#include "store/schema_state.h"

#define STR(n) \
    { \
        .name = n, .type = SCHEMA_STRING \
    }
#define STR_REQUIRED(n) \
    { \
        .name = n, .type = SCHEMA_STRING, .is_required = true \
    }
#define STR_LIST(n) \
    { \
        .name = n, .type = SCHEMA_STRING, .is_list = true \
    }
#define ONE_OF(n, v) \
    { \
        .name = n, .type = SCHEMA_STRING, .values = v \
    }
#define TEXT(n, f) \
    { \
        .name = n, .type = SCHEMA_STRING, .format = f \
    }
#define INT(n) \
    { \
        .name = n, .type = SCHEMA_INT \
    }
#define BOOL(n) \
    { \
        .name = n, .type = SCHEMA_BOOL \
    }
#define MAP(n) \
    { \
        .name = n, .type = SCHEMA_STRINGS \
    }
#define DATA(n) \
    { \
        .name = n, .type = SCHEMA_STRINGS, .key_format = schema_format_data_key \
    }
#define ANY(n) \
    { \
        .name = n, .type = SCHEMA_ANY \
    }
#define OBJ(n, t) \
    { \
        .name = n, .type = SCHEMA_OBJECT, .table = t \
    }
#define OBJ_LIST(n, t) \
    { \
        .name = n, .type = SCHEMA_OBJECT, .is_list = true, .table = t \
    }
#define END \
    { \
        .name = NULL \
    }

static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
static const char *const path_types[] = {"Exact", "Prefix", "ImplementationSpecific", NULL};
static const char *const address_types[] = {"IPv4", "IPv6", "FQDN", NULL};
static const char *const service_types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName", NULL};

const struct schema_field schema_metadata[] = {
    STR("name"),
    STR("generateName"),
    STR("namespace"),
    STR("selfLink"),
    STR("uid"),
    STR("resourceVersion"),
    INT("generation"),
    STR("creationTimestamp"),
    STR("deletionTimestamp"),
    INT("deletionGracePeriodSeconds"),
    {.name = "labels",
     .type = SCHEMA_STRINGS,
     .key_format = schema_format_label_key,
     .format = schema_format_label_value},
    {.name = "annotations", .type = SCHEMA_STRINGS, .key_format = schema_format_annotation_key},
    ANY("ownerReferences"),
    STR_LIST("finalizers"),
    ANY("managedFields"),
    END,
};

/* ---- Ingress ---- */

static const struct schema_field backend_port[] = {
    TEXT("name", schema_format_port_name),
    {.name = "number", .type = SCHEMA_INT, .low = 0, .high = 65535}, /* 0 counts as absent */
    END,
};
static const struct schema_field backend_service[] = {
    {.name = "name", .type = SCHEMA_STRING, .is_required = true, .format = schema_format_service},
    OBJ("port", backend_port),
    END,
};
static const struct schema_field backend[] = {
    {.name = "service", .type = SCHEMA_OBJECT, .table = backend_service, .rule = schema_rule_backend_port},
    ANY("resource"),
    END,
};
static const struct schema_field path[] = {
    STR("path"),
    {.name = "pathType", .type = SCHEMA_STRING, .is_required = true, .values = path_types},
    {.name = "backend", .type = SCHEMA_OBJECT, .is_required = true, .table = backend, .rule = schema_rule_backend},
    END,
};
static const struct schema_field http[] = {
    {.name = "paths",
     .type = SCHEMA_OBJECT,
     .is_list = true,
     .is_required = true,
     .table = path,
     .rule = schema_rule_path},
    END,
};
static const struct schema_field rule[] = {
    TEXT("host", schema_format_host),
    {.name = "http", .type = SCHEMA_OBJECT, .table = http, .rule = schema_rule_http},
    END,
};
static const struct schema_field tls[] = {
    {.name = "hosts", .type = SCHEMA_STRING, .is_list = true, .format = schema_format_tls_host},
    TEXT("secretName", schema_format_optional_name),
    END,
};
static const struct schema_field ingress_spec[] = {
    TEXT("ingressClassName", schema_format_subdomain),
    {.name = "defaultBackend", .type = SCHEMA_OBJECT, .table = backend, .rule = schema_rule_backend},
    OBJ_LIST("rules", rule),
    OBJ_LIST("tls", tls),
    END,
};
static const struct schema_field ingress[] = {
    {.name = "spec", .type = SCHEMA_OBJECT, .table = ingress_spec, .rule = schema_rule_ingress_spec},
    ANY("status"),
    END,
};

static const struct schema_field class_spec[] = {
    {.name = "controller", .type = SCHEMA_STRING, .is_required = true, .format = schema_format_controller},
    ANY("parameters"),
    END,
};
static const struct schema_field ingress_class[] = {
    {.name = "spec", .type = SCHEMA_OBJECT, .table = class_spec},
    END,
};

/* ---- Service ---- */

static const struct schema_field service_port[] = {
    TEXT("name", schema_format_optional_label),
    ONE_OF("protocol", protocols),
    STR("appProtocol"),
    {.name = "port", .type = SCHEMA_INT, .is_required = true, .low = 1, .high = 65535},
    {.name = "targetPort", .type = SCHEMA_INT_OR_STRING},
    INT("nodePort"),
    END,
};
static const struct schema_field service_spec[] = {
    {.name = "ports", .type = SCHEMA_OBJECT, .is_list = true, .table = service_port, .rule = schema_rule_target_port},
    MAP("selector"),
    STR("clusterIP"),
    STR_LIST("clusterIPs"),
    ONE_OF("type", service_types),
    STR_LIST("externalIPs"),
    STR("sessionAffinity"),
    STR("loadBalancerIP"),
    STR_LIST("loadBalancerSourceRanges"),
    STR("externalName"),
    STR("externalTrafficPolicy"),
    INT("healthCheckNodePort"),
    BOOL("publishNotReadyAddresses"),
    ANY("sessionAffinityConfig"),
    STR_LIST("ipFamilies"),
    STR("ipFamilyPolicy"),
    BOOL("allocateLoadBalancerNodePorts"),
    STR("loadBalancerClass"),
    STR("internalTrafficPolicy"),
    STR("trafficDistribution"),
    END,
};
static const struct schema_field service[] = {
    {.name = "spec", .type = SCHEMA_OBJECT, .table = service_spec, .rule = schema_rule_service_spec},
    ANY("status"),
    END,
};

/* ---- EndpointSlice ---- */

static const struct schema_field conditions[] = {BOOL("ready"), BOOL("serving"), BOOL("terminating"), END};
static const struct schema_field reference[] = {
    STR("apiVersion"), STR("kind"), STR("namespace"), STR("name"), STR("uid"), STR("resourceVersion"),
    STR("fieldPath"),  END,
};
static const struct schema_field endpoint[] = {
    {.name = "addresses", .type = SCHEMA_STRING, .is_list = true, .is_required = true},
    OBJ("conditions", conditions),
    TEXT("hostname", schema_format_label),
    OBJ("targetRef", reference),
    MAP("deprecatedTopology"),
    STR("nodeName"),
    STR("zone"),
    ANY("hints"),
    END,
};
static const struct schema_field slice_port[] = {
    TEXT("name", schema_format_optional_label), ONE_OF("protocol", protocols), INT("port"), STR("appProtocol"), END,
};
static const struct schema_field slice[] = {
    {.name = "addressType", .type = SCHEMA_STRING, .is_required = true, .values = address_types},
    OBJ_LIST("endpoints", endpoint),
    OBJ_LIST("ports", slice_port),
    END,
};

/* ---- Secret, ConfigMap ---- */

static const struct schema_field secret[] = {BOOL("immutable"), DATA("data"), DATA("stringData"), STR("type"), END};
static const struct schema_field config_map[] = {BOOL("immutable"), DATA("data"), DATA("binaryData"), END};

const struct schema_kind schema_kinds[] = {
    {"networking.k8s.io/v1", "Ingress", schema_format_subdomain, ingress, NULL},
    {"networking.k8s.io/v1", "IngressClass", schema_format_subdomain, ingress_class, NULL},
    {"v1", "Service", schema_format_service, service, NULL},
    {"discovery.k8s.io/v1", "EndpointSlice", schema_format_subdomain, slice, schema_rule_slice},
    {"v1", "Secret", schema_format_subdomain, secret, NULL},
    {"v1", "ConfigMap", schema_format_subdomain, config_map, schema_rule_config_map},
    {.kind = NULL},
};
