/* The configuration: what is accepted, and that each error names file, line, field and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "controller/config.h"
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
    struct config *c = parse("controller:\n  leader_election:\n    enabled: true\n    lease_name: my-lease\n    lease_duration: 120s\n"
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
    struct config *c = parse("apiVersion: haproxy-haptic.org/v1alpha1\nkind: HAProxyTemplateConfig\nmetadata: {name: x}\nspec:\n"
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
    const char *const extra[] = {"http_port=8081", "a=ignored", NULL};
    assert_int_equal(config_program(c, &caps, extra, &program, &err), 0);
    assert_int_equal(json_parse(program.data, program.length, 1 << 20, &doc, &err), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(json_str(root, "extraContext", "http_port"), "8081");
    assert_int_equal(json_int_or(0, root, "extraContext", "a", "b"), 1);
    assert_string_equal(json_str(root, "snippets", "text"), "hello");
    assert_null(json_at(root, "snippets", "mine.lua"));
    yyjson_val *scripts = json_at(root, "scripts");
    assert_int_equal(yyjson_arr_size(scripts), 2);
    assert_string_equal(json_str(yyjson_arr_get(scripts, 0), "name"), "base.lua");
    assert_string_equal(json_str(yyjson_arr_get(scripts, 1), "source"), "local x = 1");
    assert_string_equal(json_str(root, "capabilities", "version"), "3.4");
    assert_string_equal(json_str(root, "haproxyConfig"), "global\n");
    config_free(c);
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
        {"controller:\n  leaderElection:\n    leaseDuration: 60\n", "haptic.yaml:3: controller.leaderElection.leaseDuration: must be a duration"},
        {"controller:\n  leaderElection: {leaseDuration: 10s}\n", "controller.leaderElection"},
        {"watchedResources:\n  a:\n    resources: x\n", "watchedResources.a.apiVersion: is missing"},
        {"watchedResources:\n  a: {apiVersion: v1, resources: x, indexBy: ['[']}\n", "haptic.yaml:2: watchedResources.a.indexBy: "},
        {"maps:\n  m: text\n", "haptic.yaml:2: maps.m: must be an object with the field \"template\""},
        {"templatingSettings:\n  libraries: [nope]\n", "there is no library \"nope\""},
        {"- a\n", "haptic.yaml:1: must be an object"},
        {"a: 1\n---\nb: 2\n", "haptic.yaml: must hold one YAML document, not 2"},
        {"kind: Pod\nspec: {}\n", "kind: must be HAProxyTemplateConfig"},
        {"logging: {level: loud}\n", "haptic.yaml:1: logging.level: log level \"loud\""},
        {"a: [\n", "haptic.yaml:"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_null(parse(cases[i].text, &err));
        if (strstr(err.text, cases[i].message) == NULL)
            fail_msg("case %zu: \"%s\" does not contain \"%s\"", i, err.text, cases[i].message);
        assert_int_equal(strncmp(err.text, "haptic.yaml:", 12), 0);
    }
}

static void kinds_follow_the_configuration(void **state)
{
    (void)state;
    struct err err;
    bool changed;
    struct store *store = store_new(1 << 20, 1 << 24);
    struct config *first = config_new_default();
    struct config *second = parse("watchedResources:\n  services: {apiVersion: v1, resources: services, labelSelector: 'a=b'}\n"
                                  "  things: {apiVersion: example.com/v1, resources: things}\n",
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
        cmocka_unit_test(errors_name_place_and_remedy),
        cmocka_unit_test(kinds_follow_the_configuration),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
