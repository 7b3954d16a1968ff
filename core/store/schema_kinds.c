/* The tables. Parts that nothing here reads are SCHEMA_ANY. */
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
    MAP("labels"),
    MAP("annotations"),
    ANY("ownerReferences"),
    STR_LIST("finalizers"),
    ANY("managedFields"),
    END,
};

/* ---- Ingress ---- */

static const struct schema_field backend_port[] = {
    STR("name"),
    {.name = "number", .type = SCHEMA_INT, .low = 1, .high = 65535},
    END,
};
static const struct schema_field backend_service[] = {STR_REQUIRED("name"), OBJ("port", backend_port), END};
static const struct schema_field backend[] = {OBJ("service", backend_service), ANY("resource"), END};
static const struct schema_field path[] = {
    STR("path"),
    {.name = "pathType", .type = SCHEMA_STRING, .is_required = true, .values = path_types},
    {.name = "backend", .type = SCHEMA_OBJECT, .is_required = true, .table = backend},
    END,
};
static const struct schema_field http[] = {
    {.name = "paths", .type = SCHEMA_OBJECT, .is_list = true, .is_required = true, .table = path},
    END,
};
static const struct schema_field rule[] = {STR("host"), OBJ("http", http), END};
static const struct schema_field tls[] = {STR_LIST("hosts"), STR("secretName"), END};
static const struct schema_field ingress_spec[] = {
    STR("ingressClassName"), OBJ("defaultBackend", backend), OBJ_LIST("rules", rule), OBJ_LIST("tls", tls), END,
};
static const struct schema_field ingress[] = {OBJ("spec", ingress_spec), ANY("status"), END};

static const struct schema_field class_spec[] = {STR("controller"), ANY("parameters"), END};
static const struct schema_field ingress_class[] = {OBJ("spec", class_spec), END};

/* ---- Service ---- */

static const struct schema_field service_port[] = {
    STR("name"),
    ONE_OF("protocol", protocols),
    STR("appProtocol"),
    {.name = "port", .type = SCHEMA_INT, .is_required = true, .low = 1, .high = 65535},
    {.name = "targetPort", .type = SCHEMA_INT_OR_STRING},
    INT("nodePort"),
    END,
};
static const struct schema_field service_spec[] = {
    OBJ_LIST("ports", service_port),
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
static const struct schema_field service[] = {OBJ("spec", service_spec), ANY("status"), END};

/* ---- EndpointSlice ---- */

static const struct schema_field conditions[] = {BOOL("ready"), BOOL("serving"), BOOL("terminating"), END};
static const struct schema_field reference[] = {
    STR("apiVersion"), STR("kind"), STR("namespace"), STR("name"), STR("uid"), STR("resourceVersion"),
    STR("fieldPath"),  END,
};
static const struct schema_field endpoint[] = {
    {.name = "addresses", .type = SCHEMA_STRING, .is_list = true, .is_required = true},
    OBJ("conditions", conditions),
    STR("hostname"),
    OBJ("targetRef", reference),
    MAP("deprecatedTopology"),
    STR("nodeName"),
    STR("zone"),
    ANY("hints"),
    END,
};
static const struct schema_field slice_port[] = {
    STR("name"), ONE_OF("protocol", protocols), INT("port"), STR("appProtocol"), END,
};
static const struct schema_field slice[] = {
    {.name = "addressType", .type = SCHEMA_STRING, .is_required = true, .values = address_types},
    OBJ_LIST("endpoints", endpoint),
    OBJ_LIST("ports", slice_port),
    END,
};

/* ---- Secret, ConfigMap ---- */

static const struct schema_field secret[] = {BOOL("immutable"), MAP("data"), MAP("stringData"), STR("type"), END};
static const struct schema_field config_map[] = {BOOL("immutable"), MAP("data"), MAP("binaryData"), END};

const struct schema_kind schema_kinds[] = {
    {"networking.k8s.io/v1", "Ingress", SCHEMA_NAME_SUBDOMAIN, ingress},
    {"networking.k8s.io/v1", "IngressClass", SCHEMA_NAME_SUBDOMAIN, ingress_class},
    {"v1", "Service", SCHEMA_NAME_LABEL, service},
    {"discovery.k8s.io/v1", "EndpointSlice", SCHEMA_NAME_SUBDOMAIN, slice},
    {"v1", "Secret", SCHEMA_NAME_SUBDOMAIN, secret},
    {"v1", "ConfigMap", SCHEMA_NAME_SUBDOMAIN, config_map},
    {.kind = NULL},
};
