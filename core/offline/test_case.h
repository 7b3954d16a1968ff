/* test_case.h — the tests that stand in a configuration (validationTests), read and checked.
 * Thread:  loop thread only.
 * Owns:    the document and everything in it.
 * Errors:  ERR_INVALID: "FILE:LINE: validationTests.NAME.…: …"; unknown fields and types name the nearest valid one.
 * Source:  the resource HAProxyTemplateConfig; docs/offline.md describes the fields.
 */
#ifndef HAPTIC_OFFLINE_TEST_CASE_H
#define HAPTIC_OFFLINE_TEST_CASE_H

#include "controller/config.h"
#include "data/yaml.h"
#include "offline/request_case.h"
#include "offline/running_servers.h"

enum assertion_type {
    ASSERT_HAPROXY_VALID,
    ASSERT_CONTAINS,
    ASSERT_NOT_CONTAINS,
    ASSERT_EQUALS,
    ASSERT_MATCH_COUNT,
    ASSERT_MATCH_ORDER,
    ASSERT_JSONPATH,
    ASSERT_DETERMINISTIC,
};

struct assertion {
    enum assertion_type type;
    char *type_name, *target, *pattern, *expected, *jsonpath, *description; /* NULL: not given */
    char *file; /* what is expected stands there, beside the file of the test; NULL: not given */
    struct config_strings patterns;
    size_t line;
};

struct test_case {
    char *name, *description, *min_version; /* NULL: not given */
    char *extra_context;                    /* a JSON object; NULL: not given */
    struct config_strings requires;         /* libraries and watched kinds, without which it is skipped */
    const struct yaml_doc *doc;             /* where it stands */
    yyjson_val *fixtures;                   /* kind → list of objects; NULL: none */
    struct yyjson_doc *http;                /* a list of contents of URLs (test_http.h); NULL: none */
    VEC(struct assertion) assertions;
    struct request_cases requests;
    struct script_cases servers;
    struct running_servers running;
    size_t line;
};

/* A key of fixtures that is taken, with a warning, and means nothing. */
#define TEST_FIXTURE_PODS "haproxy-pods"

struct test_cases {
    char *file; /* from which they are */
    struct yaml_docs docs;
    VEC(struct test_case) items;    /* in the order of the file */
    struct config_strings warnings; /* "FILE:LINE: …": fields without effect */
};
/* "_global" of any document, among the items: its fixtures and context are everybody's. */
bool test_case_is_global(const struct test_case *t);

/* Read the tests of a configuration file, in the order of its documents; none is no error. cases: zeroed; to be done
 * with also after an error. */
int test_cases_load(const char *file, struct test_cases *cases, struct err *err) MUST_CHECK;
void test_cases_done(struct test_cases *cases);

#endif
