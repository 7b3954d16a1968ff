/* Texts that name maps and files: found as HAProxy would read them, and declared by the fragment that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/frame.h"
#include "engine/intake.h"
#include "engine/reference.h"

static void note(void *ctx, const struct reference *r)
{
    struct buf *found = ctx;
    buf_add(found, r->path, r->path_length);
    buf_putc(found, ' ');
    assert_int_equal(r->path_length - r->name_length, strchr(r->path, '/') - r->path + 1);
}

static void names_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *names;
    } cases[] = {
        {"", ""},
        {"maps/", ""},
        {"map(maps/a.map)", "maps/a.map "},
        {"map_beg(maps/a.map,x) map(maps/b.map)", "maps/a.map maps/b.map "},
        {"-f files/x \"files/y\" 'certs/z.pem'", "files/x files/y certs/z.pem "},
        {"./maps/a opt@maps/b file@maps/c", "maps/a maps/b maps/c "},
        {"/etc/maps/a xmaps/a x-maps/a ../maps/a a/./maps/b", ""},
        {"maps/.hidden maps/a/b maps//a", ""},
        {"files/maps/a", ""},
        {"http-request set-path /maps/a", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_done) struct buf found = {0};
        references_each(cases[i].text, strlen(cases[i].text), note, &found);
        assert_string_equal(buf_str(&found), cases[i].names);
    }
}

static void add(struct buf *out, int kind, const char *scope, const char *key, const char *text)
{
    frame_add_number(out, kind);
    frame_add_number(out, 1);
    frame_add_number(out, 2);
    frame_add_string(out, scope);
    frame_add_string(out, key);
    frame_add_string(out, text);
}

static struct fragment *taken(const struct buf *bytes, bool declares)
{
    struct intake in = {.declares = declares};
    struct frame frame;
    struct fragment *f;
    struct err err;
    size_t size;
    assert_int_equal(frame_read(bytes->data, bytes->length, 1 << 20, &frame, &size, &err), 1);
    if (intake_fragment(&in, &frame, &f, &err) < 0)
        fail_msg("%s", err.text);
    intake_done(&in);
    return f;
}

static size_t count_of(const struct fragment *f, enum contribution_kind kind, const char *scope, const char *key)
{
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++)
        count += f->items[i].kind == kind && strcmp(f->items[i].scope, scope) == 0 &&
                 strcmp(f->items[i].key, key) == 0 && f->items[i].text->length == 0;
    return count;
}

static void who_names_a_file_declares_it(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf bytes = {0};
    size_t mark = frame_begin(&bytes, FRAME_FRAGMENT);
    static const char *const head[] = {"id", "t.lua", "", ""};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        frame_add_string(&bytes, head[i]);
    frame_add_number(&bytes, 0);
    add(&bytes, CONTRIBUTION_SECTION, "frontend a", "body", "x map(maps/m.map) map(maps/m.map) map(maps/own.map)\n");
    add(&bytes, CONTRIBUTION_SECTION, "frontend b", "body", "x map(maps/m.map) -f files/list crt certs/x.pem\n");
    add(&bytes, CONTRIBUTION_MAP_ENTRY, "own.map", "", "");
    add(&bytes, CONTRIBUTION_MAP_ENTRY, "entry.map", "key", "maps/value-is-data.map");
    frame_end(&bytes, mark);
    struct fragment *plain = taken(&bytes, false), *f = taken(&bytes, true);
    assert_int_equal(plain->count, 4);
    assert_int_equal(f->count, 6);
    assert_int_equal(count_of(f, CONTRIBUTION_MAP_ENTRY, "m.map", ""), 1);
    assert_int_equal(count_of(f, CONTRIBUTION_MAP_ENTRY, "own.map", ""), 1);
    assert_int_equal(count_of(f, CONTRIBUTION_FILE, "list", CONTRIBUTION_DECLARED), 1);
    fragment_unref(plain);
    fragment_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(who_names_a_file_declares_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
