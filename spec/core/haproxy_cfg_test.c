/* Words, server lines, backends and the borders of sections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/cfg.h"

/* The words of a line joined by "|"; NULL when it is refused. */
static char *words(const char *line, bool *ret_plain)
{
    CLEANUP(buf_done) struct buf b = {0};
    size_t count;
    if (cfg_words(line, strlen(line), &b, &count, ret_plain, NULL))
        return NULL;
    for (size_t i = 0; i + 1 < b.length; i++)
        if (b.data[i] == '\0')
            b.data[i] = '|';
    return xstrdup(buf_str(&b));
}

static void assert_words(const char *line, const char *expected)
{
    bool plain;
    CLEANUP(free_ptr) char *got = words(line, &plain);
    if (!expected)
        assert_null(got);
    else
        assert_string_equal(got, expected);
}

static void test_words(void **state)
{
    (void)state;
    bool plain;
    assert_words("", "");
    assert_words("  server  a\tb ", "server|a|b");
    assert_words("a\\ b c\\#d # comment", "a b|c#d");
    assert_words("\"a b\" 'c \\d' e\"f g\"h", "a b|c \\d|ef gh");
    assert_words("\"\" ''x", "|x");
    assert_words("\\x41\\n", "A\n");
    assert_words("\"a\\\"b\" \"c\\d\"", "a\"b|c\\d");
    assert_words("'open", NULL);
    assert_words("\"open", NULL);
    assert_words("bad\\", NULL);
    assert_words("bad\\xg1", NULL);
    assert_words("bad\\x00", NULL);
    free(words("\"${HOME}\"", &plain));
    assert_false(plain);
    free(words("'${HOME}' $x", &plain));
    assert_true(plain);
    CLEANUP(buf_done) struct buf b = {0};
    size_t count;
    assert_int_equal(cfg_words("a\0b", 3, &b, &count, &plain, NULL), -1);
}

static void assert_server(const char *line, const char *address, int port, int weight, bool literal)
{
    struct cfg_server *s;
    assert_int_equal(cfg_server_parse(line, strlen(line), &s, NULL), 0);
    assert_string_equal(s->name, "s1");
    assert_string_equal(s->address, address);
    assert_int_equal(s->port, port);
    assert_int_equal(s->weight, weight);
    assert_int_equal(s->literal, literal);
    cfg_server_free(s);
}

static void test_servers(void **state)
{
    (void)state;
    assert_server("server s1 192.0.2.1:80", "192.0.2.1", 80, 1, true);
    assert_server("server s1 192.0.2.1 weight 0 check", "192.0.2.1", 0, 0, true);
    assert_server("server s1 [2001:DB8:0::1]:80 weight 256", "2001:db8::1", 80, 256, true);
    assert_server("server s1 2001:db8::1:80", "2001:db8::1", 80, 1, true);
    assert_server("server s1 example.com:443", "example.com", 443, 1, false);
    assert_server("server s1 unix@/run/x.sock", "unix@/run/x.sock", 0, 1, false);
    struct cfg_server *s;
    static const char *const wrong[] = {"server",
                                        "server s1",
                                        "servers s1 a",
                                        "server s1 a weight",
                                        "server s1 a weight 257",
                                        "server s1 a weight -1",
                                        "server s1 a weight x"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(cfg_server_parse(wrong[i], strlen(wrong[i]), &s, NULL), -1);
    const char *odd = "server s1 192.0.2.1:+80";
    assert_int_equal(cfg_server_parse(odd, strlen(odd), &s, NULL), 0);
    assert_false(s->plain);
    cfg_server_free(s);
    const char *disabled = "server s1 192.0.2.1:80 check disabled cookie 'a b' inter 2s";
    assert_int_equal(cfg_server_parse(disabled, strlen(disabled), &s, NULL), 0);
    assert_int_equal(s->admin, CFG_MAINT);
    assert_true(s->checked);
    assert_int_equal(s->words_length, strlen("check cookie a_b inter 2s") + 1);
    assert_memory_equal(s->words, "check\0cookie\0a b\0inter\0002s", s->words_length);
    cfg_server_free(s);
}

static struct digest shape(const char *line, const char *profile)
{
    struct cfg_server *s;
    assert_int_equal(cfg_server_parse(line, strlen(line), &s, NULL), 0);
    struct digest d = cfg_server_shape(s, profile);
    cfg_server_free(s);
    return d;
}

static void test_shapes(void **state)
{
    (void)state;
    struct digest one = shape("server a 192.0.2.1:80 check cookie x weight 3", "p");
    assert_true(digest_equal(one, shape("server b [2001:db8::1]:81 check cookie y weight 7", "p")));
    assert_false(digest_equal(one, shape("server a 192.0.2.1:80 check cookie x weight 3", "q")));
    assert_false(digest_equal(one, shape("server a 192.0.2.1:80 check", "p")));
    assert_false(digest_equal(one, shape("server a 192.0.2.1 check cookie x", "p")));
    assert_false(digest_equal(one, shape("server a example.com:80 check cookie x", "p")));
    assert_false(digest_equal(one, shape("server a 192.0.2.1:80 check cookie 'x;y'", "p")));
}

static void test_backends(void **state)
{
    (void)state;
    static const char text[] = "balance random\n    # a comment\n\n  server b 192.0.2.2:80\nserver a 192.0.2.1:80\n"
                               "default-server check inter 2s\n";
    static const char same[] = "server x 192.0.2.9:80\n  balance random  \ndefault-server check inter 2s";
    struct cfg_backend one = {0}, two = {0}, twice = {0};
    cfg_backend_parse(text, strlen(text), "base", &one);
    cfg_backend_parse(same, strlen(same), NULL, &two);
    assert_string_equal(one.from, "base");
    assert_string_equal(two.from, "");
    assert_true(digest_equal(one.other, two.other));
    assert_int_equal(one.servers.length, 2);
    assert_string_equal(one.servers.items[0]->name, "a");
    assert_memory_equal(one.default_words.data, "check\0inter\0002s", one.default_words.length);
    assert_false(one.by_hand);
    cfg_backend_insert(&one, cfg_server_new("aa", "192.0.2.3", 1));
    assert_string_equal(one.servers.items[1]->name, "aa");
    assert_string_equal(cfg_backend_server(&one, "b")->address, "192.0.2.2");
    assert_null(cfg_backend_server(&one, "c"));
    cfg_server_free(cfg_backend_remove(&one, "a"));
    assert_null(cfg_backend_remove(&one, "a"));
    assert_int_equal(one.servers.length, 2);
    cfg_backend_parse("server a 1.1.1.1\nserver a 1.1.1.2\n", 34, "", &twice);
    assert_true(twice.by_hand);
    cfg_backend_done(&one);
    cfg_backend_done(&two);
    cfg_backend_done(&twice);
}

static void note_section(void *ctx, const char *name, const char *from, const char *text, size_t length)
{
    buf_printf(ctx, "<%s|%s|%.*s>", name, from, (int)length, text);
}

static void test_split(void **state)
{
    (void)state;
    static const char text[] = "# head\nglobal\n    a\n\nbackend x from y\n    b\n    c";
    CLEANUP(buf_done) struct buf b = {0};
    cfg_split(text, strlen(text), note_section, &b);
    assert_string_equal(b.data, "<global||    a\n\n><backend x|y|    b\n    c>");
    buf_clear(&b);
    cfg_split("", 0, note_section, &b);
    assert_string_equal(buf_str(&b), "");
    cfg_split("global", 6, note_section, &b);
    assert_string_equal(b.data, "<global||>");
}

/* Random texts that are nearly IPv4 addresses, and those at the borders: literal is what the C library reads, in the
 * form that it writes. */
static void ipv4_addresses_are_those_of_the_library(void **state UNUSED)
{
    static const char *const borders[] = {"0.0.0.0",  "255.255.255.255", "1.2.3.256", "01.2.3.4", "1.2.3.00",   "1.2.3",
                                          "1.2.3.4.", "1.2.3.4.5",       ".1.2.3",    "1..2.3",   "1.2.3.1000", "",
                                          "1.2.3.4 "};
    size_t literal = 0;
    srand(3);
    for (int round = 0; round < 20000; round++) {
        char text[32] = "", wanted[INET6_ADDRSTRLEN];
        unsigned char bytes[4];
        if ((size_t)round < ARRAY_LEN(borders))
            snprintf(text, sizeof(text), "%s", borders[round]);
        else
            for (int i = 0, groups = rand() % 8 ? 4 : 3 + rand() % 3; i < groups; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), rand() % 30 ? "%s%d" : "%s%02d",
                         i > 0 ? "." : "", rand() % (rand() % 2 ? 10 : 280));
        struct cfg_server *s = cfg_server_new("a", text, 80);
        bool is_address = inet_pton(AF_INET, text, bytes) == 1 && inet_ntop(AF_INET, bytes, wanted, sizeof(wanted));
        if (s->literal != is_address || strcmp(s->address, is_address ? wanted : text) != 0)
            fail_msg("\"%s\": %s, literal %d", text, s->address, s->literal);
        literal += is_address;
        cfg_server_free(s);
    }
    assert_true(literal > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_addresses_are_those_of_the_library),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
