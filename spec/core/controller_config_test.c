/* The configuration: what is accepted, and that each error names file, line, field and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/config.h"
#include "controller/dump.h"
#include "data/json.h"

static struct config *parse(const char *text, struct err *err)
{
    struct config *c = NULL;

    return config_parse("haptic.yaml", text, strlen(text), &c, err) < 0 ? NULL : c;
}

static void the_guides_block_is_taken(void **state)
{
    (void)state;
    struct err err;
    struct config *c = parse(
        "controller:\n  leader_election:\n    enabled: true\n    lease_name: my-lease\n    lease_duration: 120s\n"
        "    renew_deadline: 30s\n    retry_period: 10s\n",
        &err);
    assert_non_null(c);
    assert_true(c->leader_election);
    assert_string_equal(c->lease_name, "my-lease");
    assert_int_equal(c->lease_duration_ns, 120 * NS_PER_S);
    assert_int_equal(c->renew_deadline_ns, 30 * NS_PER_S);
    assert_int_equal(c->retry_period_ns, 10 * NS_PER_S);
    config_free(c);
}

static void the_whole_resource_and_camel_case_are_taken(void **state)
{
    (void)state;
    struct err err;
    struct config *c = parse(
        "apiVersion: haproxy-haptic.org/v1alpha1\nkind: HAProxyTemplateConfig\nmetadata: {name: x}\nspec:\n"
        "  controller: {leaderElection: {enabled: false}}\n  logging: {level: debug}\n"
        "  dataplane: {driftPreventionInterval: 90s}\n"
        "  templatingSettings: {extraContext: {a: {b: 1}}, libraries: [base]}\n"
        "  watchedResources:\n    things: {apiVersion: example.com/v1, resources: things, indexBy: ['metadata.name']}\n"
        "  templateSnippets: {mine.lua: {template: 'local x = 1'}, text: {template: 'hello'}}\n"
        "  maps: {host.map: {template: 'a b'}}\n  haproxyConfig: {template: \"global\\n\"}\n",
        &err);
    assert_non_null(c);
    assert_false(c->leader_election);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->drift_prevention_interval_ns, 90 * NS_PER_S);
    assert_int_equal(c->kinds.length, 1);
    assert_string_equal(c->kinds.items[0].resource, "things");

    CLEANUP(buf_done) struct buf program = {0};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct haproxy_caps caps = {.major = 3, .minor = 4, .dynamic_backends = true};
    const char *const extra[] = {"http_port=8081",   "a=ignored",  "off=false",
                                 "off=no",           "n=1.5",      "list=[a, 2]",
                                 "bind=:80",         "v6=[::]:80", "text=so: it is # here",
                                 "quoted=\"false\"", "none=",      NULL};
    assert_int_equal(config_program(c, &caps, NULL, extra, &program, &err), 0);
    assert_int_equal(json_parse(program.data, program.length, 1 << 20, &doc, &err), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_int_equal(json_int_or(0, root, "extraContext", "http_port"), 8081);
    assert_true(yyjson_is_false(json_at(root, "extraContext", "off")));
    assert_true(yyjson_get_num(json_at(root, "extraContext", "n")) == 1.5);
    assert_string_equal(json_str_of(yyjson_arr_get(json_at(root, "extraContext", "list"), 0)), "a");
    assert_int_equal(yyjson_get_int(yyjson_arr_get(json_at(root, "extraContext", "list"), 1)), 2);
    assert_string_equal(json_str(root, "extraContext", "bind"), ":80");
    assert_string_equal(json_str(root, "extraContext", "v6"), "[::]:80");
    assert_string_equal(json_str(root, "extraContext", "text"), "so: it is # here");
    assert_string_equal(json_str(root, "extraContext", "quoted"), "false");
    assert_true(yyjson_is_null(json_at(root, "extraContext", "none")));
    assert_int_equal(json_int_or(0, root, "extraContext", "a", "b"), 1);
    assert_string_equal(json_str(root, "snippets", "text"), "hello");
    assert_null(json_at(root, "snippets", "mine.lua"));
    yyjson_val *scripts = json_at(root, "scripts");
    /* The parts of a library in front of it, in the order of their names; scripts of one's own behind all. */
    size_t last = yyjson_arr_size(scripts) - 1;
    assert_true(last > 1);
    assert_string_equal(json_str(yyjson_arr_get(scripts, 0), "name"), "base/binds.lua");
    assert_string_equal(json_str(yyjson_arr_get(scripts, last - 1), "name"), "base.lua");
    assert_string_equal(json_str(yyjson_arr_get(scripts, last), "source"), "local x = 1");
    assert_string_equal(json_str(root, "capabilities", "version"), "3.4");
    assert_string_equal(json_str(root, "haproxyConfig"), "global\n");
    config_free(c);
}

/* The names of its kinds in order, with what each watches. */
static char *kinds_of(const char *text)
{
    CLEANUP(buf_done) struct buf out = {0};
    struct err err;
    struct config *c = parse(text, &err);

    if (c == NULL)
        return xstrdup(err.text);
    for (size_t i = 0; i < c->kinds.length; i++)
        buf_printf(&out, "%s%s=%s", i > 0 ? " " : "", c->kinds.items[i].name, c->kinds.items[i].resource);
    buf_printf(&out, " libraries:%zu", c->libraries.length);
    config_free(c);
    return buf_steal(&out);
}

static void kinds_are_added_to_those_of_the_library(void **state)
{
    (void)state;
#define MAPS "watchedResources: {maps: {apiVersion: v1, resources: configmaps}"
    static const struct {
        const char *text, *kinds;
    } cases[] = {
        {MAPS "}\n", "ingresses=ingresses ingressclasses=ingressclasses services=services endpoints=endpointslices "
                     "maps=configmaps libraries:6"},
        {MAPS ", services: {apiVersion: example.com/v1, resources: things}, endpoints: null}\n",
         "ingresses=ingresses ingressclasses=ingressclasses maps=configmaps services=things libraries:6"},
        {MAPS "}\ntemplatingSettings: {libraries: [base]}\n", "maps=configmaps libraries:1"},
        {MAPS "}\nhaproxyConfig: {template: 'global'}\n", "maps=configmaps libraries:0"},
        {MAPS "}\nhaproxyConfig: {template: 'global'}\ntemplatingSettings: {libraries: [base]}\n",
         "maps=configmaps libraries:1"},
        {"haproxyConfig: {template: 'global'}\n", "ingresses=ingresses ingressclasses=ingressclasses services=services "
                                                  "endpoints=endpointslices libraries:0"},
        {"watchedResources: {service: null}\n",
         "haptic.yaml:1: watchedResources.service: there is no such kind to remove"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *kinds = kinds_of(cases[i].text);
        assert_string_equal(kinds, cases[i].kinds);
    }
}

static void errors_name_place_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"controller:\n  leader_election:\n    lease_duraton: 60s\n",
         "haptic.yaml:3: controller.leaderElection.lease_duraton: unknown field; did you mean \"leaseDuration\"?"},
        {"watchedResource: {}\n", "haptic.yaml:1: watchedResource: unknown field; did you mean \"watchedResources\"?"},
        {"controller:\n  leaderElection:\n    leaseDuration: 60\n",
         "haptic.yaml:3: controller.leaderElection.leaseDuration: must be a duration"},
        {"controller:\n  leaderElection: {leaseDuration: 10s}\n", "controller.leaderElection"},
        {"watchedResources:\n  a:\n    resources: x\n", "watchedResources.a.apiVersion: is missing"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, indexBy: ['[']}\n",
         "haptic.yaml:2: watchedResources.a.indexBy: "},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, watch: some}\n",
         "haptic.yaml:2: watchedResources.a.watch: must be \"all\" or \"referenced\""},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, watch: referenced, labelSelector: a=b}\n",
         "haptic.yaml:2: watchedResources.a.watch: \"referenced\" reads objects by their names: there is no place for a selector"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, watch: referenced, indexBy: [metadata.name]}\n",
         "haptic.yaml:2: watchedResources.a.watch: \"referenced\" reads objects by their names: indexBy is metadata.namespace, metadata.name"},
        {"watchedResources:\n  a: {apiVersion: v1, apiVersions: [v1, v2], resources: x}\n",
         "haptic.yaml:2: watchedResources.a.apiVersions: stands beside \"apiVersion\"; write one of them"},
        {"watchedResources:\n  a: {apiVersions: [v1, v2, v1], resources: x}\n",
         "haptic.yaml:2: watchedResources.a.apiVersions: names a version twice"},
        {"watchedResources:\n  a: {apiVersions: [], resources: x}\n",
         "haptic.yaml:2: watchedResources.a.apiVersion: is missing; or write \"apiVersions\""},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, namespaces: [b], namespaceSelector: c}\n",
         "haptic.yaml:2: watchedResources.a.namespaceSelector: stands beside \"namespaces\"; write one of them"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, namespaceSelector: 'c in'}\n",
         "haptic.yaml:2: watchedResources.a.namespaceSelector: "},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, store: half}\n",
         "haptic.yaml:2: watchedResources.a.store: must be \"full\" or \"on-demand\""},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, store: on-demand, statusPatch: true}\n",
         "haptic.yaml:2: watchedResources.a.store: \"on-demand\" needs statusPatch: false"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, store: on-demand, owned: true}\n",
         "haptic.yaml:2: watchedResources.a.store: stands beside owned"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, store: on-demand, watch: referenced}\n",
         "haptic.yaml:2: watchedResources.a.store: stands beside watch: referenced"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, optional: 1}\n",
         "haptic.yaml:2: watchedResources.a.optional: must be true or false"},
        {"maps: {m: {template: a, postProcessing: [{type: upper}]}}\n",
         "haptic.yaml:1: maps.m.postProcessing[0].type: must be \"regex_replace\""},
        {"haproxyConfig: {template: a, postProcessing: [{type: template, params: {source: b}}]}\n",
         "haptic.yaml:1: haproxyConfig.postProcessing[0].type: \"template\" is not available: "},
        {"files: {f: {template: a, postProcessing: [{type: regex_replace, params: {pattern: a}}]}}\n",
         "files.f.postProcessing[0].params: must have \"pattern\" and \"replace\""},
        {"files: {f: {template: a, postProcessing: [{type: regex_replace, params: {pattern: '(', replace: b}}]}}\n",
         "files.f.postProcessing[0].params.pattern: the pattern \"(\" is wrong at character 2"},
        {"files: {f: {template: a, postProcessing: [{type: regex_replace, params: {pattern: a, replace: \"b\\nc\"}}]}}\n",
         "files.f.postProcessing[0].params.replace: has a line end: a line stays one line"},
        {"files: {f: {template: a, postProcessing: [{type: regex_replace, params: {pattern: a, with: b}}]}}\n",
         "files.f.postProcessing[0].params.with: unknown field"},
        {"templateSnippets: {s: {template: a, postProcessing: []}}\n",
         "templateSnippets.s.postProcessing: belongs to haproxyConfig, maps and files"},
        {"sslCertificates: {s: {template: a, postProcessing: []}}\n",
         "sslCertificates.s.postProcessing: is not available here: a certificate is made of handles"},
        {"maps:\n  m: text\n", "haptic.yaml:2: maps.m: must be an object with the field \"template\""},
        {"templatingSettings:\n  libraries: [nope]\n", "there is no library \"nope\""},
        {"templatingSettings:\n  libraries: [ingres]\n", "there is no library \"ingres\"; did you mean \"ingress\"?"},
        {"", "haptic.yaml:1: there is no configuration here"},
        {"kind: HAProxyTemplateConfg\nspec: {}\n",
         "haptic.yaml:1: kind: must be HAProxyTemplateConfig, not \"HAProxyTemplateConfg\""},
        {"- a\n", "haptic.yaml:1: must be an object"},
        {"a: 1\n---\nb: 2\n",
         "haptic.yaml:3: must hold one YAML document besides those of HAProxyTemplateLibrary, not 2"},
        {"kind: Pod\nspec: {}\n", "kind: must be HAProxyTemplateConfig"},
        {"logging: {level: loud}\n", "haptic.yaml:1: logging.level: log level \"loud\""},
        {"a: [\n", "haptic.yaml:"},
        {"watchedResources:\n  a: {apiVersion: null, resources: x}\n",
         "haptic.yaml:2: watchedResources.a.apiVersion: is missing"},
        {"watchedResources:\n  a b: {apiVersion: v1, resources: x}\n",
         "haptic.yaml:2: watchedResources.a b.: must be named with"},
        {"watchedResources:\n  '': {apiVersion: v1, resources: x}\n", "must be named with"},
        {"watchedResources: {}\ntemplatingSettings: {libraries: []}\n",
         "watchedResources: must name at least one resource"},
        {"maps: {m: {template: null}}\n", "haptic.yaml:1: maps.m.template: is missing"},
        {"haproxyConfig: {}\n", "haptic.yaml:1: haproxyConfig.template: is missing; or write \"file\""},
        {"files: {f: {template: a, file: b}}\n", "files.f: has both \"template\" and \"file\""},
        {"files: {f: {file: /nowhere/at/all}}\n", "files.f: /nowhere/at/all: No such file"},
        {"dataplane: {driftPreventionInterval: 10ms}\n", "dataplane.driftPreventionInterval: must be at least 1s"},
        {"podSelector: {matchLabels: {app: 'a,b'}}\n", "podSelector.matchLabels.app: not a label and its value"},
        {"podSelector: {matchLabels: {app: 5}}\n", "podSelector.matchLabels.app: not a label and its value"},
        {"podSelector: {matchExpressions: []}\n", "podSelector.matchExpressions: unknown field"},
        {"dataplane: {deploymentTimeout: 9000h}\n", "dataplane.deploymentTimeout: must be at most 168h"},
        {"templatingSettings: {renderMemoryBytes: 5}\n",
         "templatingSettings.renderMemoryBytes: must be a whole number"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_null(parse(cases[i].text, &err));
        if (strstr(err.text, cases[i].message) == NULL)
            fail_msg("case %zu: \"%s\" does not contain \"%s\"", i, err.text, cases[i].message);
        assert_int_equal(strncmp(err.text, "haptic.yaml:", 12), 0);
    }
}

static void a_kind_may_have_several_versions(void **state)
{
    struct store *store = store_new(1 << 20, 1 << 20);
    struct err err = {0};
    bool changed;
    const char text[] = "watchedResources:\n"
                        "  gateways: {apiVersions: [g.io/v1, g.io/v1beta1], resources: gateways, optional: true,\n"
                        "    namespaceSelector: 'team in (a,b)'}\n"
                        "  one: {apiVersions: [v1], resources: ones}\n";

    (void)state;
    struct config *c = parse(text, &err);
    if (c == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(config_add_kinds(c, store, &changed, &err), 0);
    assert_true(changed);
    struct store_kind *kind = store_kind_by_name(store, "gateways");
    const struct store_kind_spec *spec = store_kind_spec(kind);
    assert_string_equal(spec->api_version, "g.io/v1");
    assert_string_equal(spec->api_versions[1], "g.io/v1beta1");
    assert_null(spec->api_versions[2]);
    assert_string_equal(spec->namespace_selector, "team in (a,b)");
    assert_true(spec->is_optional);
    assert_null(store_kind_spec(store_kind_by_name(store, "one"))->api_versions);
    /* Which one the server has is nothing that the configuration changes. */
    store_kind_set_api_version(kind, "g.io/v1beta1");
    assert_int_equal(config_add_kinds(c, store, &changed, &err), 0);
    assert_false(changed);
    assert_string_equal(store_kind_spec(kind)->api_version, "g.io/v1beta1");
    config_free(c);
    store_free(store);
}

static void a_snippet_is_left_out_without_its_kind(void **state)
{
    struct err err = {0};
    struct config *c = parse("watchedResources: {things: {apiVersion: v1, resources: things}}\n"
                             "templatingSettings: {libraries: []}\n"
                             "templateSnippets:\n  a: {template: x, requires: [things]}\n"
                             "  b: {template: x, requires: [things, gates]}\n  c: {template: x}\n",
                             &err);

    (void)state;
    if (c == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(c->snippets.items.length, 2);
    assert_string_equal(c->snippets.items.items[0].name, "a");
    assert_string_equal(c->snippets.items.items[1].name, "c");
    assert_int_equal(c->warnings.length, 1);
    assert_string_equal(c->warnings.items[0],
                        "templateSnippets.b: left out: it requires \"gates\", and watchedResources has no such kind");
    config_free(c);
}

/* What a controller dumps of its kinds is a configuration again. */
static void a_dump_has_the_kinds(void **state)
{
    CLEANUP(buf_done) struct buf out = {0}, program = {0};
    struct store *store = store_new(1 << 20, 1 << 20);
    struct config *again = NULL;
    struct err err = {0};
    bool changed;
    struct config *c = parse("watchedResources:\n"
                             "  gates: {apiVersions: [g.io/v1, g.io/v1beta1], resources: gates, optional: true}\n"
                             "  things: {apiVersion: v1, resources: things, indexBy: ['spec.a[*]', metadata.name]}\n",
                             &err);

    (void)state;
    assert_non_null(c);
    assert_int_equal(config_add_kinds(c, store, &changed, &err), 0);
    buf_puts(&program, "{}");
    assert_int_equal(dump_write(c, store, &program, &out, &err), 0);
    const char *line = strchr(buf_str(&out), '\n') + 1; /* behind the program */
    if (config_parse("dump", line, strcspn(line, "\n"), &again, &err) < 0)
        fail_msg("%s in %s", err.text, line);
    assert_int_equal(again->kinds.length, c->kinds.length);
    for (size_t i = 0; i < c->kinds.length; i++)
        assert_string_equal(again->kinds.items[i].api_version, c->kinds.items[i].api_version);
    config_free(again);
    config_free(c);
    store_free(store);
}

/* The API server has no files. */
static void a_resource_has_no_files(void **state)
{
    struct config *config = NULL;
    struct err err = {0};
    const char spec[] = "{\"files\":{\"f\":{\"file\":\"/etc/passwd\"}}}";

    (void)state;
    assert_int_equal(config_parse_resource("HAProxyTemplateConfig a/b", spec, strlen(spec), &config, &err), -1);
    assert_non_null(strstr(err.text, "spec.files.f: \"file\" is for configurations in files; write \"template\""));
}

/* A resource that somebody has loads, and what has no effect is said once, with its place. */
static void fields_without_effect_are_warned_of(void **state)
{
    (void)state;
    static const char text[] =
        "podSelector: {matchLabels: {app: haproxy, app.kubernetes.io/component: loadbalancer}}\n"
        "credentialsSecretRef: {name: haproxy-credentials}\n"
        "controller: {configPublishing: {compressionThreshold: 1}}\n"
        "dataplane:\n  port: 5555\n  mapsDir: /etc/haproxy/maps\n  sslCertsDir: /etc/haproxy/ssl\n"
        "  generalStorageDir: /etc/haproxy/general\n  configFile: /etc/haproxy/haproxy.cfg\n"
        "  maxParallel: 0\n  rawPushThreshold: 100\n  min_deployment_interval: 3s\n"
        "templatingSettings: {engine: scriggo}\n"
        "watchedResources:\n"
        "  pods: {api_version: v1, resources: pods, store: full, enableValidationWebhook: false}\n"
        "  others: {apiVersion: v1, resources: others, store: on-demand, enableValidationWebhook: true}\n"
        "maps: {a.map: {template: x, ordered: true}}\n"
        "validators: [{name: v, socketPath: /s}]\n"
        "validationTests: {t: {}}\n";
    static const char *const wanted[] = {
        "haptic.yaml:2: credentialsSecretRef: has no effect: ",
        "haptic.yaml:3: controller.configPublishing: has no effect: ",
        "haptic.yaml:5: dataplane.port: has no effect: ",
        "haptic.yaml:6: dataplane.mapsDir: has no effect: ",
        "haptic.yaml:7: dataplane.sslCertsDir: has no effect: ",
        "haptic.yaml:8: dataplane.generalStorageDir: has no effect: ",
        "haptic.yaml:9: dataplane.configFile: has no effect: ",
        "haptic.yaml:10: dataplane.maxParallel: has no effect: ",
        "haptic.yaml:11: dataplane.rawPushThreshold: has no effect: ",
        "haptic.yaml:13: templatingSettings.engine: has no effect: ",
        "haptic.yaml:17: maps.a.map.ordered: has no effect: ",
        "haptic.yaml:18: validators: has no effect: ",
    };
    struct err err = {0};
    struct config *c = parse(text, &err);

    if (c == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(c->warnings.length, ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_int_equal(strncmp(c->warnings.items[i], wanted[i], strlen(wanted[i])), 0);
    for (size_t i = 0; i < c->kinds.length; i++) /* of the built-in ones that of Ingresses */
        assert_true(c->kinds.items[i].is_reviewed == (strcmp(c->kinds.items[i].name, "others") == 0 ||
                                                      strcmp(c->kinds.items[i].name, "ingresses") == 0));
    assert_int_equal(c->min_deployment_interval_ns, 3 * NS_PER_S);
    assert_string_equal(c->pod_selector, "app=haproxy,app.kubernetes.io/component=loadbalancer");
    assert_int_equal(c->kinds.length, 6);
    assert_string_equal(c->kinds.items[4].api_version, "v1");
    config_free(c);
}

static void differences_are_known(void **state)
{
    (void)state;
    struct err err;
    CLEANUP(config_cleanup)
    struct config *a = parse("{}", &err), *b = parse("watchedResourcesIgnoreFields: [spec.x]\n", &err);

    assert_true(config_ignores_equal(a, a));
    assert_false(config_ignores_equal(a, b));
    assert_true(config_kind_equal(&a->kinds.items[0], &b->kinds.items[0]));
    assert_false(config_kind_equal(&a->kinds.items[0], &a->kinds.items[1]));
    assert_false(digest_equal(a->digest, b->digest));
}

#define LIBRARY(name, revision, text) \
    "---\nkind: HAProxyTemplateLibrary\nmetadata: {name: " name "}\nspec:\n  revision: \"" revision "\"\n" \
    "  templateSnippets: {x: {template: " text "}, " name ": {template: own}}\n" \
    "  templatingSettings: {extraContext: {a: {" name ": 1}, who: " name "}}\n"

static void libraries_are_merged_in_order(void **state)
{
    (void)state;
    struct err err;
    CLEANUP(config_cleanup)
    struct config *c = parse(
        "kind: HAProxyTemplateConfig\nspec:\n  libraryRefs: [{name: one}, {name: two, revision: \"7\"}]\n"
        "  templatingSettings: {extraContext: {a: {mine: 2}}}\n" LIBRARY("two", "7", "second")
            LIBRARY("one", "3", "first"),
        &err);

    assert_non_null(c);
    assert_int_equal(c->snippets.items.length, 3);
    assert_string_equal(c->snippets.items.items[0].name, "x");
    assert_string_equal(c->snippets.items.items[0].text, "second");
    assert_string_equal(c->snippets.items.items[0].library, "two");
    assert_string_equal(c->snippets.items.items[1].name, "one");
    assert_string_equal(c->snippets.items.items[2].name, "two");
    assert_string_equal(c->extra_context, "{\"who\":\"two\",\"a\":{\"one\":1,\"two\":1,\"mine\":2}}");
    assert_string_equal(c->refs.items[0].revision, "3");
    assert_int_equal(c->moved.length, 0);
    assert_int_equal(c->warnings.length, 1); /* two's x over one's, without baseRevision */
}

static void an_override_names_its_base(void **state)
{
    (void)state;
    struct err err;
    static const char spec[] = "kind: HAProxyTemplateConfig\nspec:\n  libraryRefs: [{name: one}]\n"
                               "  templateSnippets: {x: {template: mine, baseRevision: \"3\"}}\n";
    CLEANUP(buf_done) struct buf same = {0}, moved = {0};

    buf_printf(&same, "%s%s", spec, LIBRARY("one", "3", "first"));
    buf_printf(&moved, "%s%s", spec, LIBRARY("one", "4", "first"));
    CLEANUP(config_cleanup) struct config *a = parse(buf_str(&same), &err), *b = parse(buf_str(&moved), &err);
    assert_int_equal(a->moved.length, 0);
    assert_int_equal(a->warnings.length, 0);
    assert_string_equal(a->snippets.items.items[0].text, "mine");
    assert_string_equal(buf_str(&b->moved), "templateSnippets.x was made against revision 3 of library one, which has "
                                            "revision 4 now");
    assert_string_equal(b->snippets.items.items[0].text, "mine");
}

static void what_is_wrong_with_libraries_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *refs, *library, *message;
    } cases[] = {
        {"[{name: none}]", LIBRARY("one", "3", "x"),
         "haptic.yaml:3: libraryRefs: there is no HAProxyTemplateLibrary \"none\""},
        {"[{name: one, revision: \"4\"}]", LIBRARY("one", "3", "x"),
         "haptic.yaml:3: libraryRefs: library one has revision \"3\", and \"4\" is asked for"},
        {"[{name: one}, {name: one}]", LIBRARY("one", "3", "x"),
         "haptic.yaml:3: libraryRefs: has the same library twice"},
        {"[{name: one}]", LIBRARY("one", "", "x"), "haptic.yaml:3: libraryRefs: library one has no spec.revision"},
        {"{one: two}", LIBRARY("one", "3", "x"), "haptic.yaml:3: libraryRefs: must be a list of objects with a name"},
        {"[{name: one}]", LIBRARY("one", "3", "x") "  watchedResources: {}\n",
         "haptic.yaml:11: watchedResources: unknown field"},
        {"[{name: one}]", LIBRARY("one", "3", "[x]"), "haptic.yaml:9: templateSnippets.x.template: must be a string"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr)
        char *text = xasprintf("kind: HAProxyTemplateConfig\nspec:\n  libraryRefs: %s\n%s", cases[i].refs,
                               cases[i].library);
        struct err err = {0};
        struct config *c = parse(text, &err);
        assert_null(c);
        if (strncmp(err.text, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s: %s", cases[i].message, err.text);
    }
}

/* Else the text is not kept. */
static void tests_are_found(void **state)
{
    (void)state;
    struct err err;
    CLEANUP(config_cleanup) struct config *none = parse("validationTests: {_global: {}}\n", &err), *some = NULL;

    assert_false(none->has_tests);
    assert_null(none->tested_text);
    some = parse("validationTests: {_global: {}, a: {}}\n", &err);
    assert_true(some->has_tests);
    assert_int_equal(some->tested_length, strlen(some->tested_text));
    config_forget_tests(some);
    assert_null(some->tested_text);
}

static void kinds_follow_the_configuration(void **state)
{
    (void)state;
    struct err err;
    bool changed;
    struct store *store = store_new(1 << 20, 1 << 24);
    struct config *first = config_new_default();
    struct config *second = parse(
        "watchedResources:\n  services: {apiVersion: v1, resources: services, labelSelector: 'a=b'}\n"
        "  things: {apiVersion: example.com/v1, resources: things}\ntemplatingSettings: {libraries: [base]}\n",
        &err);

    assert_int_equal(config_add_kinds(first, store, &changed, &err), 0);
    assert_true(changed);
    assert_int_equal(config_add_kinds(first, store, &changed, &err), 0);
    assert_false(changed);
    assert_int_equal(store_kind_count(store), 4);
    assert_int_equal(config_add_kinds(second, store, &changed, &err), 0);
    assert_true(changed);
    assert_string_equal(store_kind_spec(store_kind_by_name(store, "services"))->label_selector, "a=b");
    assert_non_null(store_kind_by_name(store, "ingresses"));
    config_remove_kinds(second, store, &changed);
    assert_true(changed);
    assert_null(store_kind_by_name(store, "ingresses"));
    assert_int_equal(store_kind_count(store), 2);
    config_free(first);
    config_free(second);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_guides_block_is_taken),
        cmocka_unit_test(the_whole_resource_and_camel_case_are_taken),
        cmocka_unit_test(kinds_are_added_to_those_of_the_library),
        cmocka_unit_test(errors_name_place_and_remedy),
        cmocka_unit_test(a_kind_may_have_several_versions),
        cmocka_unit_test(a_snippet_is_left_out_without_its_kind),
        cmocka_unit_test(a_dump_has_the_kinds),
        cmocka_unit_test(a_resource_has_no_files),
        cmocka_unit_test(fields_without_effect_are_warned_of),
        cmocka_unit_test(differences_are_known),
        cmocka_unit_test(tests_are_found),
        cmocka_unit_test(libraries_are_merged_in_order),
        cmocka_unit_test(an_override_names_its_base),
        cmocka_unit_test(what_is_wrong_with_libraries_is_named),
        cmocka_unit_test(kinds_follow_the_configuration),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
