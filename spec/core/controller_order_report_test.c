/* Whom orders of certificates concern, and what they are told. */
#include "model_support.h"

#include "controller/order_report.h"

static struct buf told;

static void tell(void *ctx, bool warning, const char *owner_kind, const char *owner_id, const char *reason,
                 const char *message)
{
    (void)ctx;
    buf_printf(&told, "%s %s %s %s: %s\n", warning ? "Warning" : "Normal", owner_kind, owner_id, reason, message);
}

static void expect(const char *wanted)
{
    assert_string_equal(buf_str(&told), wanted);
    buf_done(&told);
    told = (struct buf){0};
}

static struct model *model_of_orders(void)
{
    struct model *m = model_new();
    const struct emitted a[] = {{CONTRIBUTION_SECTION, "crt-store", "a.example",
                                 "load crt acme/a.example.pem acme haptic domains a.example\n", 10, 0}};
    const struct emitted b[] = {{CONTRIBUTION_SECTION, "crt-store", "aa.example",
                                 "load crt acme/aa.example.pem acme haptic domains aa.example\n", 10, 0}};
    model_put_base(m, 8080, "");
    model_put(m, "shop/a", a, ARRAY_LEN(a));
    model_put(m, "shop/b", b, ARRAY_LEN(b));
    model_check(m, true);
    return m;
}

static void report(struct order_report *r, const char *member, const char *file, const char *reason)
{
    order_report_begin(r, member);
    if (file)
        order_report_add(r, file, reason);
    order_report_end(r);
}

#define A_FAILS(reason) \
    "Warning things shop/a AcmeOrderFailed: HAProxy's order of the certificate acme/a.example.pem fails: " reason \
    "; it is tried again\n"
#define A_IS_OVER "Normal things shop/a ProblemSolved: AcmeOrderFailed: no longer the case\n"

static void its_owner_is_told_once_for_each_reason(void **state UNUSED)
{
    struct model *m = model_of_orders();
    struct order_report *r = order_report_new(m, tell, NULL);
    report(r, "", "acme/a.example.pem", "refused");
    expect(A_FAILS("refused"));
    report(r, "", "acme/a.example.pem", "refused");
    expect("");
    report(r, "", "acme/a.example.pem", "another reason");
    expect(A_FAILS("another reason"));
    report(r, "", NULL, NULL);
    expect(A_IS_OVER);
    report(r, "", NULL, NULL);
    expect("");
    report(r, "", "acme/nobody.example.pem", "refused"); /* it is logged */
    report(r, "", "a.example.pem", "refused");
    report(r, "", NULL, NULL);
    expect("");
    order_report_free(r);
    model_free(m);
}

static void several_haproxies_fail_and_the_last_one_ends_it(void **state UNUSED)
{
    struct model *m = model_of_orders();
    struct order_report *r = order_report_new(m, tell, NULL);
    report(r, "one", "acme/a.example.pem", "refused");
    expect(A_FAILS("refused"));
    report(r, "two", "acme/a.example.pem", "timeout");
    expect(A_FAILS("timeout"));
    report(r, "one", NULL, NULL);
    expect("");
    model_fragment_drop(m, "shop/a"); /* who was told before is told of the end */
    report(r, "two", NULL, NULL);
    expect(A_IS_OVER);
    order_report_free(r);
    model_free(m);
}

static void what_a_member_tells_is_bounded(void **state UNUSED)
{
    struct model *m = model_of_orders();
    struct order_report *r = order_report_new(m, tell, NULL);
    order_report_begin(r, "one");
    for (size_t i = 0; i < 1500; i++) {
        CLEANUP(free_ptr) char *file = xasprintf("acme/%zu.pem", i);
        order_report_add(r, file, "refused");
    }
    order_report_add(r, "acme/a.example.pem", "refused");
    order_report_end(r);
    expect("");
    report(r, "one", NULL, NULL);
    report(r, "one", "acme/a.example.pem", "refused");
    expect(A_FAILS("refused"));
    order_report_free(r);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_owner_is_told_once_for_each_reason),
        cmocka_unit_test(several_haproxies_fail_and_the_last_one_ends_it),
        cmocka_unit_test(what_a_member_tells_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
