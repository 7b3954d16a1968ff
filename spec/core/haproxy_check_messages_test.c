/* The output of `haproxy -c`, read as messages with places. */
#include "haproxy_support.h"

#include "haproxy/check.h"

static void warnings_are_apart(void **state UNUSED)
{
    struct check_messages m;
    check_messages_parse(
        "[NOTICE]   (1) : haproxy version is 3.4.7\n"
        "[WARNING]  (1) : missing timeouts for frontend 'f'.\n"
        "   | While not properly invalid, you will certainly encounter\n"
        "   | various problems.\n"
        "Warnings were found.\n"
        "[NOTICE]   (1) : [haproxy.cfg:10] : 'server a/s' : could not resolve address 'x.invalid', disabling server.\n"
        "[ALERT]    (1) : config : Error(s) found in configuration file : haproxy.cfg\n",
        NULL, &m);
    assert_int_equal(m.warnings.length, 2);
    assert_int_equal(m.warnings.items[0].severity, CHECK_WARNING);
    assert_string_equal(m.warnings.items[0].section, "frontend");
    assert_string_equal(m.warnings.items[0].name, "f");
    assert_string_equal(
        m.warnings.items[0].text,
        "missing timeouts for frontend 'f'.; While not properly invalid, you will certainly encounter; various problems.");
    assert_string_equal(m.warnings.items[1].server, "s");
    assert_int_equal(m.warnings.items[1].line, 10);
    /* A summary stays when it is all there is. */
    assert_int_equal(m.alerts.length, 1);
    check_messages_done(&m);
}

static void paths_are_made_relative(void **state UNUSED)
{
    struct check_messages m;
    check_messages_parse(
        "[ALERT] (7) : config : parsing [/dev/shm/x/haproxy.cfg:3] : bad thing at line 4 of file '/dev/shm/x/maps/a.map'.\n",
        "/dev/shm/x", &m);
    assert_int_equal(m.alerts.length, 1);
    assert_int_equal(m.alerts.items[0].line, 3);
    assert_string_equal(m.alerts.items[0].file, "maps/a.map");
    assert_int_equal(m.alerts.items[0].file_line, 4);
    assert_string_equal(m.alerts.items[0].text, "bad thing at line 4 of file '/dev/shm/x/maps/a.map'.");
    check_messages_done(&m);
}

static void the_directory_is_no_file(void **state UNUSED)
{
    struct check_messages m;
    check_messages_parse("[ALERT] (7) : config : file '/dev/shm/x/' is a directory\n"
                         "[ALERT] (7) : config : cannot read file '/dev/shm/x/' before file '/dev/shm/x/maps/a.map'\n",
                         "/dev/shm/x", &m);
    assert_int_equal(m.alerts.length, 2);
    assert_null(m.alerts.items[0].file);
    assert_string_equal(m.alerts.items[1].file, "maps/a.map");
    check_messages_done(&m);
}

static void nonsense_is_harmless(void **state UNUSED)
{
    static const char *const texts[] = {"",
                                        "\n\n",
                                        "[ALERT]",
                                        "[ALERT] : x",
                                        "[ALERT] (1) : ",
                                        "[ALERT] (1) : parsing [",
                                        "[ALERT] (1) : [a:b] :",
                                        "  x\n",
                                        "[ALERT] (1) : 'server a",
                                        "[ALERT] (1) : 'server /x'",
                                        "[ALERT] (1) : proxy '",
                                        "[ALERT] (1) : file '",
                                        "[ALERT] (1) : file <x",
                                        "[ALERT] (1) : haproxy.cfg:99999999999999999999 x"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct check_messages m;
        check_messages_parse(texts[i], "", &m);
        for (size_t k = 0; k < m.alerts.length; k++) {
            assert_int_equal(m.alerts.items[k].line, 0);
            assert_non_null(m.alerts.items[k].text);
        }
        check_messages_done(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warnings_are_apart),
        cmocka_unit_test(paths_are_made_relative),
        cmocka_unit_test(the_directory_is_no_file),
        cmocka_unit_test(nonsense_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
