/* Tables of fields, as the configuration has them. */
#include "offline/test_case.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "controller/config_read.h"
#include "offline/test_http.h"

#define TESTS_MAX 10000
#define ASSERTIONS_MAX 1000

static const char *const type_names[] = {
    [ASSERT_HAPROXY_VALID] = "haproxy_valid", [ASSERT_CONTAINS] = "contains",
    [ASSERT_NOT_CONTAINS] = "not_contains",   [ASSERT_EQUALS] = "equals",
    [ASSERT_MATCH_COUNT] = "match_count",     [ASSERT_MATCH_ORDER] = "match_order",
    [ASSERT_JSONPATH] = "jsonpath",           [ASSERT_DETERMINISTIC] = "deterministic",
};

static const struct field assertion_fields[] = {
    {.name = "type", .type = FIELD_STRING, .required = true, .offset = offsetof(struct assertion, type_name)},
    {.name = "target", .type = FIELD_STRING, .offset = offsetof(struct assertion, target)},
    {.name = "pattern", .type = FIELD_STRING, .offset = offsetof(struct assertion, pattern)},
    {.name = "patterns", .type = FIELD_STRINGS, .offset = offsetof(struct assertion, patterns)},
    {.name = "expected", .type = FIELD_STRING, .offset = offsetof(struct assertion, expected)},
    {.name = "file", .type = FIELD_STRING, .offset = offsetof(struct assertion, file)},
    {.name = "jsonpath", .type = FIELD_STRING, .offset = offsetof(struct assertion, jsonpath)},
    {.name = "description", .type = FIELD_STRING, .offset = offsetof(struct assertion, description)},
    {0},
};

static int fail_type(struct reader *r, yyjson_val *value, const char *given)
{
    CLEANUP(buf_done) struct buf message = {0};
    struct nearest nearest = {.word = given};

    for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
        nearest_offer(&nearest, type_names[i]);
    if (nearest.found != NULL)
        buf_printf(&message, "did you mean \"%s\"? ", nearest.found);
    buf_printf(&message, "\"%.32s\" is none of", given);
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
        buf_printf(&message, "%s %s", i ? "," : "", type_names[i]);
    return reader_fail(r, value, "assertions", buf_str(&message));
}

/* What each type needs. */
static const char *missing_of(const struct assertion *a)
{
    switch (a->type) {
    case ASSERT_CONTAINS:
    case ASSERT_NOT_CONTAINS:
        return a->pattern ? NULL : "pattern";
    case ASSERT_EQUALS:
        return a->expected != NULL || a->file != NULL ? NULL : "expected, or file";
    case ASSERT_MATCH_COUNT:
        return a->pattern == NULL ? "pattern" : a->expected == NULL ? "expected" : NULL;
    case ASSERT_MATCH_ORDER:
        return a->patterns.length > 1 ? NULL : "patterns (two or more)";
    case ASSERT_JSONPATH:
        return a->jsonpath == NULL ? "jsonpath" : a->expected == NULL ? "expected" : NULL;
    case ASSERT_HAPROXY_VALID:
    case ASSERT_DETERMINISTIC:
        return NULL;
    }
    return NULL;
}

static void assertion_done(struct assertion *a)
{
    free(a->type_name);
    free(a->target);
    free(a->pattern);
    free(a->expected);
    free(a->file);
    free(a->jsonpath);
    free(a->description);
    for (size_t i = 0; i < a->patterns.length; i++)
        free(a->patterns.items[i]);
    vec_done(&a->patterns);
}

static int read_assertion(struct reader *r, yyjson_val *value, struct test_case *test)
{
    struct assertion a = {.line = yaml_line(r->doc, value)};

    if (test->assertions.length >= ASSERTIONS_MAX)
        return reader_fail(r, value, "assertions", "has too many entries");
    int result = reader_object(r, value, assertion_fields, &a);
    size_t type = 0;
    while (result == 0 && type < ARRAY_LEN(type_names) && strcmp(type_names[type], a.type_name) != 0)
        type++;
    if (result == 0 && type == ARRAY_LEN(type_names))
        result = fail_type(r, value, a.type_name);
    a.type = (enum assertion_type)type;
    if (result == 0 && missing_of(&a) != NULL) {
        CLEANUP(free_ptr) char *message = xasprintf("type %s needs %s", a.type_name, missing_of(&a));
        result = reader_fail(r, value, "assertions", message);
    }
    vec_push(&test->assertions, a);
    return result;
}

static int read_assertions(struct reader *r, yyjson_val *value, void *object)
{
    struct test_case *test = object;
    size_t i, max;
    yyjson_val *item;

    if (!yyjson_is_arr(value))
        return reader_fail(r, value, "assertions", "must be a list");
    yyjson_arr_foreach(value, i, max, item)
    {
        if (read_assertion(r, item, test) < 0)
            return -1;
    }
    return 0;
}

static int read_fixtures(struct reader *r, yyjson_val *value, void *object)
{
    size_t i, max;
    yyjson_val *key, *list;

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "fixtures", "must have lists of objects by the names of watchedResources");
    yyjson_obj_foreach(value, i, max, key, list)
    {
        if (!yyjson_is_arr(list))
            return reader_fail(r, list, "fixtures", "must have lists of objects by the names of watchedResources");
        if (strcmp(yyjson_get_str(key), TEST_FIXTURE_PODS) == 0)
            vec_push(r->warnings,
                     xasprintf("%s:%zu: %sfixtures." TEST_FIXTURE_PODS ": has no effect: templates do not know "
                               "the pods of HAProxy",
                               r->file, yaml_line(r->doc, key), r->path));
    }
    ((struct test_case *)object)->fixtures = value;
    return 0;
}

static int read_context(struct reader *r, yyjson_val *value, void *object)
{
    CLEANUP(buf_done) struct buf json = {.max = CONFIG_FILE_MAX};

    if (!yyjson_is_obj(value))
        return reader_fail(r, value, "extraContext", "must be an object");
    if (json_write(&json, value, NULL, r->err) < 0)
        return -1;
    ((struct test_case *)object)->extra_context = buf_steal(&json);
    return 0;
}

static int read_http(struct reader *r, yyjson_val *value, void *object)
{
    return test_http_read(r, value, &((struct test_case *)object)->http);
}

static int read_requests(struct reader *r, yyjson_val *value, void *object)
{
    return request_cases_read(r, value, &((struct test_case *)object)->requests);
}

static int read_servers(struct reader *r, yyjson_val *value, void *object)
{
    return script_cases_read(r, value, &((struct test_case *)object)->servers);
}

static int read_running(struct reader *r, yyjson_val *value, void *object)
{
    return running_servers_read(r, value, &((struct test_case *)object)->running);
}

static int read_running_config(struct reader *r, yyjson_val *value, void *object)
{
    return running_servers_read_config(r, value, &((struct test_case *)object)->running);
}

static int refuse_files(struct reader *r, yyjson_val *value, void *object)
{
    (void)object;
    return reader_fail(r, value, "currentFiles",
                       "templates do not see the files of a running HAProxy, so what is rendered cannot depend on "
                       "them: give what the template needs as extraContext, or as an object in fixtures");
}

static const struct field test_fields[] = {
    {.name = "description", .type = FIELD_STRING, .offset = offsetof(struct test_case, description)},
    {.name = "minHAProxyVersion", .type = FIELD_STRING, .offset = offsetof(struct test_case, min_version)},
    {.name = "requires", .type = FIELD_STRINGS, .offset = offsetof(struct test_case, requires)},
    {.name = "fixtures", .type = FIELD_ANY, .read = read_fixtures},
    {.name = "httpResources", .type = FIELD_ANY, .read = read_http},
    {.name = "extraContext", .type = FIELD_ANY, .read = read_context},
    {.name = "assertions", .type = FIELD_ANY, .read = read_assertions},
    {.name = "currentServers", .type = FIELD_ANY, .read = read_running},
    {.name = "currentConfig", .type = FIELD_ANY, .read = read_running_config},
    {.name = "currentFiles", .type = FIELD_ANY, .read = refuse_files},
    {.name = "requiresFields",
     .type = FIELD_WITHOUT_EFFECT,
     .note = "no schema is needed: a field that an object does not have is nil"},
    {.name = "requests", .type = FIELD_ANY, .read = read_requests},
    {.name = "servers", .type = FIELD_ANY, .read = read_servers},
    {0},
};

bool test_case_is_global(const struct test_case *t)
{
    return strcmp(t->name, "_global") == 0;
}

static int read_tests(struct reader *r, yyjson_val *tests, struct test_cases *cases)
{
    size_t i, max;
    yyjson_val *key, *value;

    if (!yyjson_is_obj(tests))
        return reader_fail(r, tests, "validationTests", "must have tests by name");
    if (yyjson_obj_size(tests) > TESTS_MAX)
        return reader_fail(r, tests, "validationTests", "has too many tests");
    yyjson_obj_foreach(tests, i, max, key, value)
    {
        struct test_case test = {.name = xstrdup(yyjson_get_str(key)), .line = yaml_line(r->doc, key), .doc = r->doc};
        for (size_t j = 0; j < cases->items.length; j++)
            if (strcmp(cases->items.items[j].name, test.name) == 0 && cases->items.items[j].doc != r->doc &&
                !test_case_is_global(&test)) {
                free(test.name);
                return reader_fail(r, key, "validationTests", "another document has a test of this name");
            }
        vec_push(&cases->items, test);
        struct test_case *t = &cases->items.items[cases->items.length - 1];
        snprintf(r->path, sizeof(r->path), "validationTests.%.64s.", t->name);
        if (reader_object(r, value, test_fields, t) < 0)
            return -1;
        if (!test_case_is_global(t) && t->assertions.length == 0 && t->requests.items.length == 0 &&
            t->running.items.length == 0)
            return reader_fail(r, key, "assertions",
                               "is missing or empty, and there are no requests: a test that "
                               "asserts nothing cannot fail");
    }
    return 0;
}

static int read_file(const char *file, struct buf *text, struct err *err)
{
    FILE *stream = fopen(file, "re");
    char chunk[16384];
    size_t n;
    int result = 0;

    if (stream == NULL)
        return err_set(err, ERR_SYS, "%s cannot be read", file);
    while (result == 0 && (n = fread(chunk, 1, sizeof(chunk), stream)) > 0)
        result = buf_try_add(text, chunk, n, err);
    fclose(stream);
    return result;
}

int test_cases_load(const char *file, struct test_cases *cases, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {.max = CONFIG_FILE_MAX};

    if (read_file(file, &text, err) < 0 ||
        yaml_parse(buf_str(&text), text.length, CONFIG_FILE_MAX, &cases->docs, NULL, err) < 0)
        return err_wrap(err, "%s", file);
    cases->file = xstrdup(file);
    int result = 0;
    for (size_t i = 0; result == 0 && i < cases->docs.length; i++) {
        struct reader r = {.warnings = &cases->warnings, .doc = &cases->docs.items[i], .file = file, .err = err};
        yyjson_val *root = yyjson_doc_get_root(r.doc->json), *spec = yyjson_obj_get(root, "spec");
        yyjson_val *tests = yyjson_obj_get(spec ? spec : root, "validationTests");
        if (tests == NULL)
            tests = yyjson_obj_get(spec ? spec : root, "validation_tests");
        if (tests != NULL)
            result = read_tests(&r, tests, cases);
    }
    return result;
}

void test_cases_done(struct test_cases *cases)
{
    for (size_t i = 0; i < cases->items.length; i++) {
        struct test_case *t = &cases->items.items[i];
        free(t->name);
        free(t->description);
        free(t->min_version);
        free(t->extra_context);
        yyjson_doc_free(t->http);
        for (size_t j = 0; j < t->requires.length; j++)
            free(t->requires.items[j]);
        vec_done(&t->requires);
        for (size_t j = 0; j < t->assertions.length; j++)
            assertion_done(&t->assertions.items[j]);
        vec_done(&t->assertions);
        request_cases_done(&t->requests);
        script_cases_done(&t->servers);
        running_servers_done(&t->running);
    }
    vec_done(&cases->items);
    for (size_t i = 0; i < cases->warnings.length; i++)
        free(cases->warnings.items[i]);
    vec_done(&cases->warnings);
    free(cases->file);
    yaml_docs_done(&cases->docs);
}
