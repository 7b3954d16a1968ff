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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_of_a_text_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
