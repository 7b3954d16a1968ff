/* config.h — what `haptic run` is told: a YAML document in the shape of HAProxyTemplateConfig.spec.
 * Thread:  loop thread only.
 * Owns:    all its strings.
 * Units:   *_ns nanoseconds.
 * Errors:  ERR_INVALID: "FILE:LINE: controller.leaderElection.leaseName: …"; unknown fields name the nearest valid one.
 *
 * The document is the resource itself (apiVersion, kind, metadata, spec) or its spec alone. Every field of the guide
 * may be written in camelCase or snake_case. What is left out has the built-in value; without any document the
 * built-in libraries serve Ingress. watchedResources adds to the kinds that the library "ingress" needs; a name that is
 * null is taken out. Without that library, they are all that there is. haproxyConfig stands for itself: without a list
 * of libraries, none is loaded. Fields of the resource that mean nothing here are taken with a warning.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_H
#define HAPTIC_CONTROLLER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/vec.h"
#include "haproxy/version.h"
#include "kube/elector.h"
#include "net/url_rule.h"
#include "store/store.h"

/* On objects that templates create (controller/owned_merge.h). */
#define CONFIG_OWNED_LABEL "haproxy-haptic.org/owned-by"
#define CONFIG_FILE_MAX ((size_t)8 << 20)

struct config_strings {
    char **items;
    size_t length, capacity; /* as VEC(char *) has them */
};

struct config_kind {
    char *name, *api_version, *resource;
    struct config_strings api_versions;    /* candidates, the first of them is api_version; empty: no others */
    char *label_selector, *field_selector; /* NULL: all */
    char *namespace_selector;              /* of labels of namespaces; NULL: none */
    struct config_strings index_by, namespaces;
    bool is_optional;  /* that it is absent is no failure */
    bool is_built_in;  /* the document does not name it */
    bool is_owned;     /* templates may create objects of it */
    char *store;       /* "full", "on-demand"; NULL: full */
    char *watch;       /* "all", "referenced"; NULL: all */
    bool is_reviewed;  /* by the admission webhook, where there is one */
    bool status_patch; /* templates may wish what stands in the status of its objects */
};

/* A rule of postProcessing: each match in a line is replaced. */
struct config_rewrite {
    char *pattern, *replacement;
};
struct config_rewrites {
    struct config_rewrite *items;
    size_t length, capacity;
};

/* A named template text. file: in which it stands by itself; NULL: in the configuration. */
struct config_text {
    char *name, *text, *file;
    char *library;       /* the HAProxyTemplateLibrary that it comes from; NULL: the configuration's own */
    char *base_revision; /* of the library's text that it takes the place of, as its author saw it; NULL: not told */
    struct config_rewrites rewrites;
    struct config_strings requires; /* of a snippet: kinds without which it is left out */
};

/* A HAProxyTemplateLibrary that is merged in. */
struct config_ref {
    char *name, *revision; /* revision NULL: any */
};
struct config_texts {
    VEC(struct config_text) items;
};

struct config {
    VEC(struct config_kind) kinds;
    bool has_own_kinds; /* the document has watchedResources */
    struct config_strings ignore_fields;
    /* Template libraries that are loaded, in this order, by name ("base"). */
    struct config_strings libraries;
    VEC(struct config_ref) refs; /* in the order in which they are merged; what is later takes the place of the rest */
    struct config_texts snippets, maps, files, certificates, crt_lists;
    char *pod_selector;              /* of Pods with an agent: "app=haproxy,tier=edge"; NULL: none */
    char *haproxy_config;            /* NULL: the scripts make the sections */
    char *haproxy_config_file;       /* in which that stands by itself; NULL: in the configuration */
    struct config_rewrites rewrites; /* of haproxy_config */
    char *extra_context;             /* JSON object */
    bool allow_raw;
    struct url_rules fetch_rules; /* none: templates have no URL fetched */

    bool leader_election;
    char *lease_name;
    int64_t lease_duration_ns, renew_deadline_ns, retry_period_ns;

    bool has_log_level;
    enum log_level log_level;

    int64_t min_deployment_interval_ns, drift_prevention_interval_ns, deployment_timeout_ns;
    int64_t render_timeout_ns;
    uint64_t render_memory_bytes, render_output_bytes;

    struct config_strings warnings; /* "FILE:LINE: dataplane.port: has no effect: …" */
    struct digest digest;           /* of the text and the files of templates; zero for the built-in configuration */
    struct buf moved;               /* overrides whose library has another revision now: sentences; "" */
    bool has_tests;                 /* validationTests */
    /* The text, until they have been run; NULL without them. */
    char *tested_text;
    size_t tested_length;
    bool says_libraries; /* a document has templatingSettings.libraries */
};

#define CONFIG_LIBRARY_KIND "HAProxyTemplateLibrary"

/* Is the document a library? The list of its libraryRefs; NULL: none. */
bool config_is_library(struct yyjson_val *document);
struct yyjson_val *config_refs_of(struct yyjson_val *spec);

/* The built-in configuration. */
struct config *config_new_default(void);
/* Read a document, and behind it, in the same text, those of HAProxyTemplateLibrary that its libraryRefs name. name:
 * for messages. */
int config_parse(const char *name, const char *text, size_t length, struct config **ret_config, struct err *err)
    MUST_CHECK;
/* Read the spec of a resource, as JSON, and libraries behind it: messages have the path of a field, and no line. */
int config_parse_resource(const char *name, const char *spec, size_t length, struct config **ret_config,
                          struct err *err) MUST_CHECK;
int config_load_file(const char *path, struct config **ret_config, struct err *err) MUST_CHECK;
/* A file, a folder of files, or several of both (config_paths.h). Each file may have a configuration; they are read in
 * order, and what a later one says takes the place of what an earlier one says of the same. */
int config_load(const char *path, struct config **ret_config, struct err *err) MUST_CHECK;
struct config *config_free(struct config *c); /* NULL is fine */
void config_cleanup(struct config **c);
/* Log what was written and has no effect. */
void config_warn(const struct config *c);
/* Its tests have been run: forget their text. */
void config_forget_tests(struct config *c);
bool config_ignores_equal(const struct config *a, const struct config *b); /* watchedResourcesIgnoreFields */
bool config_is_fetched(const struct config_kind *k); /* contents of URLs: no API server has them */
/* Only the objects that templates name are read. */
bool config_kind_is_referenced(const struct config_kind *kind);
/* Of its objects only what finds them is kept, until a template reads them. */
bool config_kind_is_on_demand(const struct config_kind *kind);
bool config_kind_equal(const struct config_kind *a, const struct config_kind *b);

/* The program for the renderer (docs/design.md, section 11). extra: further keys for extraContext as "key=value"
 * pairs (setting.h), NULL-terminated; may be NULL. The last of equal keys counts, and what the configuration has counts
 * more. default_certificate: its handle; NULL: none. */
int config_program(const struct config *c, const struct haproxy_caps *caps, const char *default_certificate,
                   const char *const *extra, struct buf *out, struct err *err) MUST_CHECK;

/* Add the kinds that are missing in the store and replace those that differ; *ret_changed: the sources must start
 * anew. */
int config_add_kinds(const struct config *c, struct store *store, bool *ret_changed, struct err *err) MUST_CHECK;
/* Remove the kinds that are not in the configuration: only when no template reads them any more. */
void config_remove_kinds(const struct config *c, struct store *store, bool *ret_changed);

#endif
