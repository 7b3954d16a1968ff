/* The work of finding whom HAProxy complains about grows with its complaints, not with their square. */
#include "controller_support.h"

#include "controller/accuse.h"

/* As many complaints as there are wrong lines, in texts of two objects and a file of the third. */
static size_t lines_looked_for(unsigned wrong)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct model *m = model_new();
    struct evidence e = {0};
    struct disk_files files = {0};
    struct accusations a;
    VEC(struct check_message) messages = {0};

    for (unsigned i = 0; i < wrong; i++)
        buf_printf(&text, "wrong %u\n", i);
    model_put_base(m, 8000, "");
    model_put_route(m, "a", "a.example", "a", buf_str(&text));
    model_put_route(m, "b", "b.example", "b", buf_str(&text));
    const struct emitted file[] = {{CONTRIBUTION_FILE, "c.http", "", "nonsense", 0, 0}};
    model_put(m, "c", file, 1);
    model_check_begin(m);
    evidence_collect(&e, m, &files);
    for (unsigned i = 0; i < e.lines.lines.length; i++) {
        const struct model_origin *o = &e.lines.lines.items[i];
        if (o->item != NULL && !o->header && o->item->winner != NULL && strcmp(o->item->winner->id, "base") != 0)
            vec_push(&messages, ((struct check_message){.line = i + 1, .text = "unknown keyword"}));
        vec_push(&messages, ((struct check_message){.file = "files/c.http", .text = "no answer"}));
    }
    assert_true(messages.length > 4 * wrong);
    accuse(&e, m, messages.items, messages.length, &a);
    assert_int_equal(a.items.length, 3);
    assert_false(a.superseded);
    size_t lines = a.lines;
    accusations_done(&a);
    model_check_end(m, false);
    evidence_done(&e);
    disk_files_done(&files);
    vec_done(&messages);
    model_free(m);
    return lines;
}

static void one_line_of_a_text_is_looked_for(void **state)
{
    (void)state;
    assert_int_equal(lines_looked_for(1000), 2);
    assert_int_equal(lines_looked_for(2000), 2);
}

/* Complaints about lines of as many maps, in turn with lines of the configuration, about files that nobody gives, and
 * about one section with as many pieces. */
static size_t steps_taken(unsigned size)
{
    struct model *m = model_new();
    struct evidence e = {0};
    struct disk_files files = {0};
    struct accusations a;
    VEC(struct check_message) messages = {0};
    VEC(char *) names = {0};

    model_put_base(m, 8000, "");
    for (unsigned i = 0; i < size; i++) {
        CLEANUP(free_ptr) char *id = xasprintf("o%u", i), *map = xasprintf("m%u.map", i);
        const struct emitted emitted[] = {
            {CONTRIBUTION_MAP_ENTRY, map, "key", "value", 0, 0},
            {CONTRIBUTION_MAP_ENTRY, "all.map", id, "value", 0, 0},
            {CONTRIBUTION_SECTION, "backend many", id, "server s 192.0.2.1:80\n", 30, 1},
        };
        model_put(m, id, emitted, ARRAY_LEN(emitted));
        vec_push(&names, xasprintf("maps/%s", map));
        vec_push(&names, xasprintf("certs/none%u.pem", i));
    }
    model_check_begin(m);
    evidence_collect(&e, m, &files);
    for (unsigned i = 0; i < size; i++) {
        vec_push(&messages, ((struct check_message){.file = names.items[2 * i + 1], .text = "no such file"}));
        vec_push(&messages, ((struct check_message){.file = "maps/all.map", .file_line = i + 1, .text = "wrong"}));
        vec_push(&messages, ((struct check_message){.file = names.items[2 * i], .file_line = 1, .text = "wrong"}));
        vec_push(&messages, ((struct check_message){.line = i + 1, .text = "unknown keyword"}));
        vec_push(&messages, ((struct check_message){.section = "backend", .name = "many", .text = "wrong"}));
        vec_push(&messages, ((struct check_message){
                                .section = "proxy", .name = "many", .text = "unable to find required server 's'"}));
    }
    accuse(&e, m, messages.items, messages.length, &a);
    assert_in_range(a.items.length, size, size + 1); /* and the base */
    assert_false(a.superseded);
    size_t steps = a.steps;
    accusations_done(&a);
    model_check_end(m, false);
    evidence_done(&e);
    disk_files_done(&files);
    vec_done(&messages);
    for (size_t i = 0; i < names.length; i++)
        free(names.items[i]);
    vec_done(&names);
    model_free(m);
    return steps;
}

static void complaints_cost_their_number(void **state)
{
    (void)state;
    size_t once = steps_taken(1000), twice = steps_taken(2000);
    assert_true(once > 1000);
    assert_true(twice < once * 2 + 100);
}

/* HAProxy names the section and the word that it misses, and no line: whoever wrote the word is accused, with the line;
 * of two of them each by a complaint of its own. */
static void a_missing_word_is_looked_for(void **state)
{
    (void)state;
    static const char text[] = "Proxy 'http': unable to find required use_backend: 'nobody'.";
    const struct check_message messages[] = {{.section = "proxy", .name = "http", .text = text},
                                             {.section = "proxy", .name = "http", .text = text}};
    struct model *m = model_new();
    struct evidence e = {0};
    struct disk_files files = {0};
    struct accusations a;

    model_put_base(m, 8000, "");
    const struct emitted good[] = {
        {CONTRIBUTION_SECTION, "frontend http", "good", "use_backend some if TRUE\n", 30, 1}};
    const struct emitted wrong[] = {
        {CONTRIBUTION_SECTION, "frontend http", "w1", "acl nobody1 path /\nuse_backend nobody if nobody1\n", 30, 1}};
    const struct emitted also[] = {{CONTRIBUTION_SECTION, "frontend http", "w2", "use_backend nobody\n", 30, 1}};
    model_put(m, "good", good, 1);
    model_put(m, "wrong", wrong, 1);
    model_put(m, "also", also, 1);
    model_check_begin(m);
    evidence_collect(&e, m, &files);
    accuse(&e, m, messages, 1, &a);
    assert_int_equal(a.items.length, 1);
    accusations_done(&a);
    accuse(&e, m, messages, 2, &a);
    assert_int_equal(a.items.length, 2);
    for (size_t i = 0; i < 2; i++) {
        bool is_also = strcmp(a.items.items[i].fragment_id, "also") == 0;
        assert_string_equal(a.items.items[i].fragment_id, is_also ? "also" : "wrong");
        assert_int_equal(a.items.items[i].line, is_also ? 0 : 1);
    }
    assert_string_not_equal(a.items.items[0].fragment_id, a.items.items[1].fragment_id);
    accusations_done(&a);
    model_check_end(m, false);
    evidence_done(&e);
    disk_files_done(&files);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_of_a_text_is_looked_for),
        cmocka_unit_test(complaints_cost_their_number),
        cmocka_unit_test(a_missing_word_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
