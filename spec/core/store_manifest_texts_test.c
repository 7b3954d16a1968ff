/* Long manifest texts, read in parts by several threads: the same objects, lines and problems as read in one. */
#include "haproxy_support.h"

#include <time.h>

#include "base/parallel.h"
#include "store/manifest_split.h"
#include "store/manifest_texts.h"

#define MAX_BYTES ((size_t)64 << 20)

static unsigned random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % below;
}

/* ---- threads ---- */

struct counts {
    unsigned char of[1000];
};

static void count_one(void *ctx, size_t i)
{
    ((struct counts *)ctx)->of[i]++;
}

static void test_each_once(void **state)
{
    static const size_t counts[] = {0, 1, 2, 7, 1000};
    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(counts); n++)
        for (size_t threads = 0; threads <= 9; threads += 3) {
            struct counts seen = {0};
            parallel_each(counts[n], threads, count_one, &seen);
            for (size_t i = 0; i < ARRAY_LEN(seen.of); i++)
                assert_int_equal(seen.of[i], i < counts[n]);
        }
}

/* ---- cutting ---- */

static void test_cuts(void **state)
{
    static const struct {
        const char *text;
        size_t parts;
        bool is_list;
    } cases[] = {
        {"a: 1\n---\nb: 2\n", 2, false},
        {"---\na: 1\n--- # comment\nb:\n- 1\n", 2, false},
        {"a: 1\r\n---\r\nb: 2\r\n", 2, false},
        {"a: |\n  ---\n  x\nb: 1\n", 0, false},
        {"a: 1\n---x: 2\n", 0, false},
        {"%YAML 1.1\n---\na: 1\n---\nb: 2\n", 0, false},
        {"a: 1\n...\n---\nb: 2\n", 0, false},
        {"\xef\xbb\xbf"
         "a: 1\n---\nb: 2\n",
         0, false},
        {"kind: List\nitems:\n- a: 1\n- b: 2\n", 2, true},
        {"kind: List\nitems:\n- a:\n  - x\n  b: 1\n-\n  c: 2\nmetadata: {}\n", 2, true},
        {"items:\n- a: 1\n# comment\n- b: 2\nkind: List\n", 2, true},
        {"kind: List\nitems:\n  - a: 1\n  - b: 2\n", 0, false},
        {"other:\n- a: 1\nitems:\n- b: 2\n- c: 3\n", 0, false},
        {"items:\n- a: 1\nkind: List\nitems:\n- b: 2\n", 0, false},
        {"items: [1, 2]\nkind: List\n", 0, false},
        {"", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest_parts parts;
        bool is_cut = manifest_split(cases[i].text, strlen(cases[i].text), 1, &parts);
        if (is_cut != (cases[i].parts > 0) || parts.items.length < cases[i].parts ||
            (parts.list != NULL) != cases[i].is_list)
            fail_msg("case %zu: cut %d, %zu parts", i, is_cut, parts.items.length);
        manifest_parts_done(&parts);
    }
}

/* ---- the same as in one ---- */

static void add_object(struct buf *out, const char *first, const char *indent, unsigned i)
{
    static const char *const kinds[] = {"networking.k8s.io/v1\nINkind: Ingress", "v1\nINkind: Service",
                                        "v1\nINkind: ConfigMap"};
    static const char *const extras[] = {"INdata:\nIN  a: |\nIN    ---\nIN    - x\nIN    kind: List\n",
                                         "INspec: {a: [1, 2],\nIN  b: \"x\nIN   y\"}\n",
                                         "INspec:\nIN  rules:\nIN  - host: 12\n",
                                         "INx: &a {y: 1}\nINz: *a\n",
                                         "INports:\nIN- name: http\nIN  port: 80\n",
                                         "IN# a comment\n",
                                         "INitems:\nIN- 1\n",
                                         ""};
    CLEANUP(free_ptr)
    char *text = xasprintf("FIapiVersion: %s\nINmetadata:\nIN  name: n%u\n%s%s", kinds[draw(ARRAY_LEN(kinds))], i,
                           draw(3) ? "IN  namespace: x\n" : "", extras[draw(ARRAY_LEN(extras))]);
    for (const char *c = text; *c; c++)
        if (strncmp(c, "IN", 2) == 0 && (c == text || c[-1] == '\n')) {
            buf_puts(out, indent);
            c++;
        } else if (strncmp(c, "FI", 2) == 0 && c == text) {
            buf_puts(out, first);
            c++;
        } else {
            buf_putc(out, *c);
        }
}

enum trouble { NO_TROUBLE, BROKEN, OPEN_QUOTE, OTHER_LIST, UNKNOWN_ALIAS, TROUBLES };

static void add_trouble(struct buf *out, enum trouble trouble, bool in_list)
{
    static const char *const texts[] = {[NO_TROUBLE] = "",
                                        [BROKEN] = "a: b: c\n",
                                        [OPEN_QUOTE] = "a: \"one\n- two\n---\n- three\"\n",
                                        [OTHER_LIST] = "more:\n- x\n",
                                        [UNKNOWN_ALIAS] = "a: *nobody\n"};
    if (trouble == NO_TROUBLE)
        return;
    if (!in_list)
        buf_puts(out, "---\n");
    else if (trouble != OTHER_LIST)
        buf_puts(out, "- ");
    buf_puts(out, texts[trouble]);
}

static void make(struct buf *out, bool is_list, enum trouble trouble)
{
    size_t wanted = (size_t)300000 + draw(200000), trouble_at = draw(300000);
    unsigned i = 0;
    if (is_list && draw(2))
        buf_puts(out,
                 draw(2) ? "apiVersion: v1\nkind: List\nitems:\n" : "kind: ConfigMapList\napiVersion: v1\nitems:\n");
    else if (is_list)
        buf_puts(out, "items:\n");
    bool has_kind = strstr(buf_str(out), "kind") != NULL;
    while (out->length < wanted) {
        if (!is_list)
            buf_puts(out, draw(20) ? "---\n" : "---\n# nothing\n--- # more\n");
        add_object(out, is_list ? "- " : "", is_list ? "  " : "", i++);
        if (out->length > trouble_at) {
            add_trouble(out, trouble, is_list);
            trouble_at = SIZE_MAX;
        }
    }
    if (is_list && !has_kind)
        buf_puts(out, "kind: List\napiVersion: v1\nmetadata: {resourceVersion: \"\"}\n");
}

static void describe(const struct manifest_text *t, struct buf *out)
{
    buf_printf(out, "%d %zu %zu %s\n", t->result, t->result ? t->at.line : 0, t->result ? t->at.column : 0,
               t->result ? t->err.text : "");
    for (size_t i = 0; t->result == 0 && i < t->manifest.length; i++) {
        const struct manifest_object *o = &t->manifest.items[i];
        struct err err;
        buf_printf(out, "%zu %s %s %s/%s %s %d ", o->line, o->api_version ? o->api_version : "-",
                   o->kind ? o->kind : "-", o->namespace ? o->namespace : "-", o->name ? o->name : "-",
                   o->problem ? o->problem : "", (int)o->hold);
        if (o->value)
            assert_int_equal(json_write(out, o->value, NULL, &err), 0);
        for (size_t k = 0; k < o->findings.length; k++)
            buf_printf(out, " %d %zu %s", o->findings.items[k].is_error, o->findings.items[k].line,
                       o->findings.items[k].message);
        buf_putc(out, '\n');
    }
}

static void test_the_same(void **state)
{
    const char *seed = getenv("SPEC_SEED");
    (void)state;
    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("    SPEC_SEED=%u\n", random_state);
    for (unsigned round = 0; round < 2 * TROUBLES; round++) {
        struct buf text = {.max = 1 << 22}, expected = {.max = 1 << 24}, found = {.max = 1 << 24};
        bool is_list = round % 2;
        make(&text, is_list, (enum trouble)(round / 2));
        struct manifest_parts cut;
        bool is_cut = manifest_split(buf_str(&text), text.length, 128 << 10, &cut);
        assert_true(is_cut || round / 2 != NO_TROUBLE);
        manifest_parts_done(&cut);
        struct manifest_text whole = {.text = buf_str(&text), .length = text.length};
        struct manifest_text parts[3] = {whole, {.text = "{\"kind\":\"x\"}", .length = 12, .is_json = true}, whole};
        whole.result = manifest_parse(whole.text, whole.length, false, MAX_BYTES, &whole.manifest, &whole.at,
                                      &whole.err);
        manifest_parse_all(parts, 3, MAX_BYTES);
        describe(&whole, &expected);
        for (size_t i = 0; i < 3; i += 2) {
            buf_clear(&found);
            describe(&parts[i], &found);
            if (strcmp(buf_str(&expected), buf_str(&found)) != 0)
                fail_msg("round %u: read in parts it is something else", round);
        }
        assert_int_equal(parts[1].manifest.length, 1);
        for (size_t i = 0; i < 3; i++)
            manifest_done(&parts[i].manifest);
        manifest_done(&whole.manifest);
        buf_done(&text);
        buf_done(&expected);
        buf_done(&found);
    }
}

/* What one text may add by aliases counts for all of its parts together. */
static void test_aliases(void **state)
{
    struct buf text = {.max = 1 << 22};
    (void)state;
    for (unsigned i = 0; i < 1500; i++)
        buf_printf(
            &text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: n%u, namespace: x}\na: &a [1,2,3,4,5,6,7,8,9,"
            "10]\nb: [*a, *a, *a, *a, *a, *a, *a]\n# %0200d\n",
            i, 1);
    struct manifest_text t = {.text = buf_str(&text), .length = text.length};
    manifest_parse_all(&t, 1, MAX_BYTES);
    assert_int_equal(t.result, -1);
    assert_int_equal(t.err.kind, ERR_LIMIT);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_the_same),
        cmocka_unit_test(test_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
