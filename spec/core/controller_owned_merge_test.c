/* What is applied for an object that templates want to exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "controller/owned_merge.h"

#define WISH \
    "{\"$options\":{\"force\":true},\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}," \
    "\"data\":{\"k\":\"v\"}}"

static int merge(const char *known, struct write_body *body, struct err *err)
{
    const char *texts[] = {WISH};
    const struct write_wishes wishes = {.texts = texts, .count = 1};
    const struct status_object object = {
        .api_version = "v1", .resource = "configmaps", .json = known, .length = known != NULL ? strlen(known) : 0};

    return owned_merge("ns.lease", &object, &wishes, body, err);
}

static void test_a_new_object_has_the_label_and_no_uid(void **state)
{
    struct write_body body = {0};
    struct err err;

    (void)state;
    assert_int_equal(merge(NULL, &body, &err), 0);
    assert_true(body.differs);
    assert_true(body.force);
    assert_non_null(strstr(buf_str(&body.text), "\"" OWNED_LABEL "\":\"ns.lease\""));
    assert_null(strstr(buf_str(&body.text), "\"uid\""));
    assert_null(strstr(buf_str(&body.text), "$options"));
    buf_done(&body.text);
}

/* It may have been deleted, and somebody else may have made one of its name, since it was read. */
static void test_a_known_object_is_named_by_its_uid(void **state)
{
    struct write_body body = {0};
    struct err err;

    (void)state;
    assert_int_equal(merge("{\"metadata\":{\"name\":\"a\",\"uid\":\"u-1\",\"labels\":{\"" OWNED_LABEL
                           "\":\"ns.lease\"}}}",
                           &body, &err),
                     0);
    assert_true(body.differs);
    assert_non_null(strstr(buf_str(&body.text), "\"uid\":\"u-1\""));
    buf_done(&body.text);
}

static void test_an_object_of_somebody_else_is_left_alone(void **state)
{
    struct write_body body = {0};
    struct err err;

    (void)state;
    assert_int_equal(merge("{\"metadata\":{\"name\":\"a\",\"uid\":\"u-1\"}}", &body, &err), -1);
    assert_int_equal(err.kind, ERR_DENIED);
    assert_int_equal(body.text.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_new_object_has_the_label_and_no_uid),
                                       cmocka_unit_test(test_a_known_object_is_named_by_its_uid),
                                       cmocka_unit_test(test_an_object_of_somebody_else_is_left_alone)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
