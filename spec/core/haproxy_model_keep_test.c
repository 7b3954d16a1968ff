/* Certificates that stay as they were, and crt-lists as they are written. */
#include "model_support.h"

#include "haproxy/crt_list.h"
#include "haproxy/model_state.h"

#define CERTIFICATE(name, text) \
    { \
        CONTRIBUTION_CERTIFICATE, name, "", text, 0, 0 \
    }
#define KEPT_CERTIFICATE(name, text) \
    { \
        CONTRIBUTION_CERTIFICATE, name, "", text, CONTRIBUTION_KEEP, 0 \
    }
#define LINE(name, text) \
    { \
        CONTRIBUTION_CRT_LIST, "https.list", name, text, 0, *(name) ? 500 : 0 \
    }
#define KEPT_LINE(name, text) \
    { \
        CONTRIBUTION_CRT_LIST, "https.list", name, text, CONTRIBUTION_KEEP, 500 \
    }

static void write_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    buf_printf(ctx, "== %d %s\n%.*s", kind, name, (int)length, bytes);
}

static void assert_files(const struct model *m, enum model_state state, const char *expected)
{
    CLEANUP(buf_done) struct buf text = {0};
    model_each_file(m, state, write_file, &text);
    assert_string_equal(buf_str(&text), expected);
}

static void what_was_accepted_stays(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted good[] = {CERTIFICATE("a.pem", "one\n"), LINE("a.example", "certs/a.pem")};
    const struct emitted bad[] = {KEPT_CERTIFICATE("a.pem", ""), KEPT_LINE("a.example", "certs/a.pem")};

    /* Never good: neither the file nor the line. */
    model_put(m, "new", bad, 2);
    assert_files(m, MODEL_RENDERED, "");
    model_put(m, "old", good, 2);
    model_check(m, true);
    model_put(m, "old", bad, 2);
    assert_files(m, MODEL_RENDERED, "== 4 a.pem\none\n== 5 https.list\ncerts/a.pem a.example\n");
    assert_int_equal(model_pending(m), 0);
    /* Again, and after a version that is not accepted. */
    model_put(m, "old", bad, 2);
    const struct emitted other[] = {CERTIFICATE("a.pem", "two\n"), LINE("a.example", "certs/a.pem")};
    model_put(m, "old", other, 2);
    assert_int_equal(model_pending(m), 1);
    model_put(m, "old", bad, 2);
    assert_files(m, MODEL_RENDERED, "== 4 a.pem\none\n== 5 https.list\ncerts/a.pem a.example\n");
    assert_int_equal(model_pending(m), 0);
    model_free(m);
}

/* Certificates that HAProxy itself obtains are no files of the fragment. */
static void a_line_of_an_obtained_certificate_stays(void **state UNUSED)
{
    struct model *m = model_new();
    const char *line = "acme/a.pem [ca-file certs/ca.pem verify optional]";
    const struct emitted there[] = {CERTIFICATE("ca.pem", "ca\n"), KEPT_LINE("a.example", line)};
    const struct emitted missing[] = {KEPT_CERTIFICATE("ca.pem", ""), KEPT_LINE("a.example", line)};

    model_put(m, "a", missing, 2);
    assert_files(m, MODEL_RENDERED, "");
    model_put(m, "a", there, 2);
    assert_files(m, MODEL_RENDERED,
                 "== 4 ca.pem\nca\n== 5 https.list\nacme/a.pem [ca-file certs/ca.pem verify optional] a.example\n");
    model_free(m);
}

#define ENTRY(map, name, text, rank) \
    { \
        CONTRIBUTION_MAP_ENTRY, map, name, text, rank, 0 \
    }

static void assert_map(struct model *m, const char *name, const char *expected)
{
    CLEANUP(free_ptr) char *text = model_map(m, MODEL_RENDERED, name);
    assert_string_equal(text, expected);
}

static void an_entry_goes_with_its_line(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted bad[] = {ENTRY("ca.map", "a.example", "a", CONTRIBUTION_KEEP), KEPT_CERTIFICATE("a.pem", ""),
                                  KEPT_LINE("a.example", "certs/a.pem"), ENTRY("other.map", "a.example", "x", 0)};
    const struct emitted good[] = {ENTRY("ca.map", "a.example", "a", CONTRIBUTION_KEEP), CERTIFICATE("a.pem", "one\n"),
                                   KEPT_LINE("a.example", "certs/a.pem")};

    model_put(m, "a", bad, 4);
    assert_map(m, "ca.map", "");
    assert_map(m, "other.map", "a.example x\n");
    model_put(m, "a", good, 3);
    model_check(m, true);
    assert_map(m, "ca.map", "a.example a\n");
    /* The line stays, so the entry does. */
    model_put(m, "a", bad, 3);
    assert_files(m, MODEL_RENDERED, "== 4 a.pem\none\n== 5 https.list\ncerts/a.pem a.example\n");
    assert_map(m, "ca.map", "a.example a\n");
    model_free(m);
}

static void what_it_comes_with_counts_where_nothing_was(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted first[] = {KEPT_CERTIFICATE("d.pem", "own\n"), LINE("", "certs/d.pem")};
    const struct emitted good[] = {CERTIFICATE("d.pem", "good\n"), LINE("", "certs/d.pem")};

    model_put(m, "default", first, 2);
    model_check(m, true);
    assert_files(m, MODEL_ACCEPTED, "== 4 d.pem\nown\n== 5 https.list\ncerts/d.pem !*\n");
    model_put(m, "default", good, 2);
    model_check(m, true);
    model_put(m, "default", first, 2);
    assert_files(m, MODEL_RENDERED, "== 4 d.pem\ngood\n== 5 https.list\ncerts/d.pem !*\n");
    model_free(m);
}

static void a_line_loses_what_is_not_there(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted pair[] = {CERTIFICATE("ec.pem", "e\n"), KEPT_CERTIFICATE("rsa.pem", ""),
                                   KEPT_LINE("a.example", "certs/ec.pem certs/rsa.pem [alpn h2]")};

    model_put(m, "pair", pair, 3);
    assert_files(m, MODEL_RENDERED, "== 4 ec.pem\ne\n== 5 https.list\ncerts/ec.pem [alpn h2] a.example\n");
    model_free(m);
}

static void options_have_to_be_whole(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted closed[] = {CERTIFICATE("a.pem", "a\n"), KEPT_CERTIFICATE("ca.pem", ""),
                                     KEPT_LINE("a.example", "certs/a.pem [ca-file certs/ca.pem verify optional]")};
    const struct emitted open[] = {CERTIFICATE("a.pem", "a\n"), CERTIFICATE("ca.pem", "c\n"),
                                   KEPT_LINE("a.example", "certs/a.pem [ca-file certs/ca.pem verify optional]")};

    model_put(m, "x", closed, 3);
    assert_files(m, MODEL_RENDERED, "== 4 a.pem\na\n");
    model_put(m, "x", open, 3);
    model_check(m, true);
    model_put(m, "x", closed, 3);
    assert_files(m, MODEL_RENDERED,
                 "== 4 a.pem\na\n== 4 ca.pem\nc\n== 5 https.list\n"
                 "certs/a.pem [ca-file certs/ca.pem verify optional] a.example\n");
    model_free(m);
}

static void names_are_grouped(void **state UNUSED)
{
    struct model *m = model_new();
    const struct emitted one[] = {LINE("b.example", "certs/x.pem"), LINE("z.example", "certs/y.pem [alpn h2]")};
    const struct emitted two[] = {LINE("a.example", "certs/x.pem"), LINE("c.example", "certs/x.pem [alpn h2]")};
    const struct emitted all[] = {LINE("", "certs/d.pem")};

    model_put_owned(m, "one", "one", 1, one, 2);
    model_put_owned(m, "two", "two", 2, two, 2);
    model_put_owned(m, "all", "", 0, all, 1);
    assert_files(m, MODEL_RENDERED,
                 "== 5 https.list\ncerts/d.pem !*\ncerts/x.pem a.example b.example\n"
                 "certs/x.pem [alpn h2] c.example\ncerts/y.pem [alpn h2] z.example\n");
    model_free(m);
}

static void lines_are_read_back(void **state UNUSED)
{
    static const char shown[] =
        "# certs/https.list\ncerts/d.pem:1 !*\ncerts/x.pem:12 [alpn h2,http/1.1\0 ssl-min-ver TLSv1.2] a.example *.b.example\n"
        "certs/y.pem:3 [verify optional  ca-file c ]\n";
    struct crt_list list = {0};
    CLEANUP(buf_done) struct buf text = {0};
    const char *names[250];
    char storage[250][16];

    crt_list_parse(&list, shown, sizeof(shown) - 1, true);
    assert_int_equal(list.lines.length, 3);
    assert_string_equal(list.lines.items[1].certificate, "certs/x.pem");
    assert_string_equal(list.lines.items[1].options, "TLSv1.2 alpn h2,http/1.1 ssl-min-ver");
    assert_int_equal(list.lines.items[1].number, 12);
    assert_string_equal(list.lines.items[1].names.items[1], "*.b.example");
    assert_string_equal(list.lines.items[2].options, "c ca-file optional verify");
    assert_int_equal(list.lines.items[2].names.length, 0);
    crt_list_done(&list);
    /* A line has at most a hundred names. */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(storage[i], sizeof(storage[i]), "n%zu.example", i);
        names[i] = storage[i];
    }
    crt_list_write(&text, "certs/a.pem certs/b.pem", names, ARRAY_LEN(names));
    crt_list_parse(&list, buf_str(&text), text.length, false);
    assert_int_equal(list.lines.length, 6);
    assert_int_equal(list.lines.items[2].names.length, 50);
    assert_string_equal(list.lines.items[3].certificate, "certs/b.pem");
    assert_string_equal(list.lines.items[5].names.items[49], "n249.example");
    crt_list_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_accepted_stays),
        cmocka_unit_test(a_line_of_an_obtained_certificate_stays),
        cmocka_unit_test(an_entry_goes_with_its_line),
        cmocka_unit_test(what_it_comes_with_counts_where_nothing_was),
        cmocka_unit_test(a_line_loses_what_is_not_there),
        cmocka_unit_test(options_have_to_be_whole),
        cmocka_unit_test(names_are_grouped),
        cmocka_unit_test(lines_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
