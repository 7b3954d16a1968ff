/* Text of any bytes: what a message may be made of, and byte order marks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "data/encoding.h"
#include "data/json.h"

static void bytes_that_are_no_text_become_question_marks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repaired;
    } cases[] = {
        {"", ""},
        {"plain text, ~", "plain text, ~"},
        {"tab\tand\nline", "tab\tand\nline"},
        {"a\rb\x1b[31mc\x7f", "a?b?[31mc?"},
        {"\x01\x02", "??"},
        /* the first and the last character of each length */
        {"\xc2\x80 \xdf\xbf", "\xc2\x80 \xdf\xbf"},
        {"\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf", "\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"},
        {"\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"},
        /* longer than needed, a half of a surrogate pair, above U+10FFFF */
        {"\xc0\x80", "??"},
        {"\xc1\xbf", "??"},
        {"\xe0\x9f\xbf", "???"},
        {"\xed\xa0\x80", "???"},
        {"\xf0\x8f\xbf\xbf", "????"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xf5\x80\x80\x80", "????"},
        /* cut off at the end, or by another character */
        {"a\xc3", "a?"},
        {"a\xe2\x82", "a??"},
        {"a\xf0\x9f\x98", "a???"},
        {"\xe2\x82z", "??z"},
        {"\xc3\xc3\xa9", "?\xc3\xa9"},
        {"\x80\xbf", "??"},
        {"\xff\xfe", "??"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(free_ptr) char *text = strdup(cases[i].text);
        encoding_repair(text);
        assert_string_equal(text, cases[i].repaired);
        encoding_repair(text); /* once is enough */
        assert_string_equal(text, cases[i].repaired);
    }
}

/* For each pair of bytes, the result has the same length, and a strict JSON reader accepts it. */
static void any_two_bytes_become_text(void **state)
{
    (void)state;
    for (unsigned first = 1; first < 256; first++)
        for (unsigned second = 1; second < 256; second++) {
            char text[] = {'<', (char)first, (char)second, '>', '\0'};
            encoding_repair(text);
            assert_int_equal(strlen(text), 4);
            assert_true(text[0] == '<' && text[3] == '>');
            CLEANUP(buf_done) struct buf quoted = {0};
            assert_int_equal(json_write_string(&quoted, text, strlen(text), NULL), 0);
            CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
            assert_int_equal(json_parse(quoted.data, quoted.length, 100, &doc, NULL), 0);
        }
}

static void marks_are_left_out(void **state)
{
    (void)state;
#define MARK "\xef\xbb\xbf"
    static const struct {
        const char *text, *without;
    } cases[] = {
        {"a: 1\n", "a: 1\n"},
        {MARK "a: 1\n", "a: 1\n"},
        {MARK "a: 1\n---\n" MARK "b: 2\n", "a: 1\n---\nb: 2\n"},
        {"a: \"" MARK "\"\n", "a: \"" MARK "\"\n"}, /* part of a value */
        {MARK, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(buf_done) struct buf copy = {0};
        size_t length = strlen(cases[i].text);
        const char *text = encoding_without_marks(cases[i].text, &length, &copy);
        CLEANUP(free_ptr) char *result = strndup(text, length);
        assert_string_equal(result, cases[i].without);
    }
    assert_true(encoding_is_utf16("\xff\xfe{\0", 4));
    assert_true(encoding_is_utf16("\xfe\xff\0{", 4));
    assert_false(encoding_is_utf16("{}", 2));
    assert_false(encoding_is_utf16("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_text_become_question_marks),
        cmocka_unit_test(any_two_bytes_become_text),
        cmocka_unit_test(marks_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
