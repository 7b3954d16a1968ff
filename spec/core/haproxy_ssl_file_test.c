/* Tests of ssl_file.c: what HAProxy answers while it replaces certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "haproxy/ssl_file.h"

static void locked_answers(void **state)
{
    static const char *const locked[] = {
        "Can't show!\nOperations on certificates are currently locked!",
        "Can't update the certificate!\nOperations on certificates are currently locked!",
        "Operations on certificates are currently locked!\n",
    };
    static const char *const others[] = {
        "",
        "# filename\ncerts/a.pem",
        "Can't display the certificate: Not found or the certificate is a bundle!",
        "Filename: certs/a.pem\nSubject: /CN=Operations on certificates are currently locked!",
        "Can't show!\n\nOperations on certificates are currently locked!",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(locked); i++)
        assert_true(ssl_file_answer_is_locked(locked[i]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(ssl_file_answer_is_locked(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(locked_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
