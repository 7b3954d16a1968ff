/* A draft, collected in slices while the model changes, is what the model would have written at once. */
#include "model_support.h"

#include <time.h>

#include "haproxy/draft.h"

enum { FRAGMENTS = 120, ROUNDS = 150 };

static unsigned random_state;
static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

/* Another version of a fragment, or none. */
static void change(struct model *m)
{
    static const char *const texts[] = {"balance random\n", "option a\n\noption b\n", "retries 1\n"};
    static const char *const lists[] = {"certs/a.pem", "certs/a.pem certs/b.pem [alpn h2]"};
    static const char *const kinds[] = {"backend", "defaults"};
    unsigned id = dice(FRAGMENTS);
    char name[16], section[32], host[32], file[16];
    struct emitted e[8];
    size_t n = 0;

    snprintf(name, sizeof(name), "f%u", id);
    snprintf(section, sizeof(section), "%s s%u", kinds[dice(2)], dice(40));
    snprintf(host, sizeof(host), "h%u.example", dice(200));
    snprintf(file, sizeof(file), "x%u", dice(6));
    if (dice(5) == 0) {
        model_fragment_drop(m, name);
        return;
    }
    if (dice(4))
        e[n++] = (struct emitted){CONTRIBUTION_SECTION, section,          name,
                                  texts[dice(3)],       (int32_t)dice(3), (int32_t)dice(2)};
    if (n && dice(3) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_SECTION_FROM, section, "from", "base", 0, 0};
    if (dice(3))
        e[n++] = (struct emitted){CONTRIBUTION_MAP_ENTRY, dice(2) ? "a.map" : "b.map", host, texts[2], 0, 0};
    if (dice(9) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_MAP_ENTRY, "empty.map", "", "", 0, 0};
    if (dice(3) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_FILE, file, name, texts[dice(3)], 0, (int32_t)dice(2)};
    if (dice(3) == 0)
        e[n++] = (struct emitted){CONTRIBUTION_CERTIFICATE, file, "", texts[dice(3)], 0, 0};
    if (dice(2))
        e[n++] = (struct emitted){CONTRIBUTION_CRT_LIST, "https.list", host, lists[dice(2)], 0, (int32_t)dice(2)};
    model_put(m, name, e, n);
}

/* What changed was deployed: what nothing is left of may be freed. */
static void forget_changes(struct model *m)
{
    struct model_changes changes = {0};
    model_take_changes(m, &changes);
    model_changes_done(&changes);
}

/* What is accepted, written at once. */
struct wanted {
    struct model *m;
    struct disk_files files;
};

static void want_map(void *ctx, const char *name)
{
    struct wanted *w = ctx;
    struct buf out = {0};
    CLEANUP(free_ptr) char *path = xasprintf("maps/%s", name);

    if (!model_map_exists(w->m, MODEL_ACCEPTED, name))
        return;
    model_write_map(w->m, MODEL_ACCEPTED, name, &out);
    size_t length = out.length;
    disk_files_take(&w->files, path, buf_steal(&out), length);
}

static void want_file(void *ctx, enum contribution_kind kind, const char *name, const char *bytes, size_t length)
{
    struct wanted *w = ctx;
    CLEANUP(free_ptr) char *path = draft_path(kind, name);

    disk_files_add(&w->files, path, bytes, length);
}

static const struct disk_file *file_find(const struct disk_files *files, const char *path)
{
    for (size_t i = 0; i < files->items.length; i++)
        if (strcmp(files->items.items[i].path, path) == 0)
            return &files->items.items[i];
    return NULL;
}

static void assert_is_accepted(struct draft *d, struct model *m)
{
    CLEANUP(buf_done) struct buf config = {0};
    struct disk_files files = {0};
    struct wanted w = {.m = m};
    CLEANUP(free_ptr) char *wanted = model_config(m, MODEL_ACCEPTED);

    draft_compose(d, &config, &files);
    assert_string_equal(buf_str(&config), wanted);
    model_each_map(m, want_map, &w);
    model_each_file(m, MODEL_ACCEPTED, want_file, &w);
    assert_int_equal(files.items.length, w.files.items.length);
    for (size_t i = 0; i < w.files.items.length; i++) {
        const struct disk_file *want = &w.files.items.items[i], *have = file_find(&files, want->path);
        assert_non_null(have);
        assert_int_equal(have->length, want->length);
        assert_memory_equal(have->bytes, want->bytes, want->length);
    }
    disk_files_done(&files);
    disk_files_done(&w.files);
}

static void is_what_the_model_writes(void **state UNUSED)
{
    struct model *m = model_new();

    random_state = (unsigned)time(NULL);
    print_message("seed %u\n", random_state);
    model_put_base(m, 80, "");
    for (int round = 0; round < ROUNDS; round++) {
        struct err err = {0};
        bool is_done = false;
        unsigned slices = 0;

        for (unsigned i = dice(60); i > 0; i--)
            change(m);
        model_check(m, true);
        struct draft *d = draft_begin(m, NULL);
        while (!is_done) {
            assert_int_equal(draft_step(d, 0, &is_done, &err), 0);
            slices++;
            for (unsigned i = dice(4); i > 0; i--)
                change(m);
            if (dice(3) == 0)
                model_check(m, dice(4) > 0);
            if (dice(3) == 0)
                forget_changes(m);
        }
        assert_true(round < 50 || slices > 3);
        assert_int_equal(draft_end(d, &err), 0);
        assert_is_accepted(d, m);
        /* What comes while another thread composes must not take anything away from it. */
        for (unsigned i = dice(20); i > 0; i--)
            change(m);
        model_check(m, true);
        forget_changes(m);
        draft_free(d);
    }
    model_free(m);
}

static void is_given_up_at_any_moment(void **state UNUSED)
{
    struct model *m = model_new();
    struct err err = {0};
    bool is_done;

    for (int i = 0; i < 200; i++)
        change(m);
    model_check(m, true);
    struct draft *d = draft_begin(m, NULL);
    assert_int_equal(draft_step(d, 0, &is_done, &err), 0);
    assert_false(is_done);
    /* Sections of which nothing is left are held until then, and go with it. */
    for (int i = 0; i < FRAGMENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        model_fragment_drop(m, name);
    }
    model_check(m, true);
    forget_changes(m);
    draft_free(d);
    model_check(m, true);
    CLEANUP(free_ptr) char *config = model_config(m, MODEL_ACCEPTED);
    assert_string_equal(config, "");
    d = draft_begin(m, NULL);
    assert_int_equal(draft_step(d, 0, &is_done, &err), 0);
    assert_true(is_done);
    assert_int_equal(draft_end(d, &err), 0);
    assert_is_accepted(d, m);
    draft_free(d);
    model_free(m);
}

static void names_the_file_of_a_value_that_is_gone(void **state UNUSED)
{
    static const struct emitted e[] = {
        {CONTRIBUTION_FILE, "users", "", "HapticSecret0123456789abcdef0123456789abcdefEnd", 0, 0}};
    struct model *m = model_new();
    struct vault *vault = vault_new(1 << 20);
    struct err err = {0};
    bool is_done;

    model_put(m, "f", e, 1);
    model_check(m, true);
    struct draft *d = draft_begin(m, vault);
    assert_int_equal(draft_step(d, NS_PER_S, &is_done, &err), -1);
    assert_non_null(strstr(err.text, "files/users"));
    draft_free(d);
    model_free(m);
    vault_free(vault);
}

/* Names are visible to everybody, so a value must not get into one. */
static void has_no_value_in_a_name(void **state UNUSED)
{
    static const struct emitted e[] = {
        {CONTRIBUTION_SECTION, "backend HapticSecret0123456789abcdef0123456789abcdefEnd", "s", "retries 1\n", 0, 0}};
    struct model *m = model_new();
    struct err err = {0};
    bool is_done;

    model_put(m, "f", e, 1);
    model_check(m, true);
    struct draft *d = draft_begin(m, NULL);
    assert_int_equal(draft_step(d, NS_PER_S, &is_done, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "cannot be part of a name"));
    draft_free(d);
    assert_false(model_parts_are_held(m));
    model_free(m);
}

/* A draft of which everything is collected needs no model: a thread composes it while the model goes. */
static void outlives_the_model(void **state UNUSED)
{
    static const struct emitted e[] = {{CONTRIBUTION_FILE, "users", "", "a\n", 0, 0},
                                       {CONTRIBUTION_SECTION, "backend a", "s", "retries 1\n", 0, 0}};
    struct model *m = model_new();
    struct disk_files files = {0};
    struct err err = {0};
    bool is_done;

    model_put(m, "f", e, 2);
    model_check(m, true);
    CLEANUP(free_ptr) char *wanted = model_config(m, MODEL_ACCEPTED);
    struct draft *d = draft_begin(m, NULL);
    assert_int_equal(draft_step(d, NS_PER_S, &is_done, &err), 0);
    assert_true(model_parts_are_held(m));
    assert_int_equal(draft_end(d, &err), 0);
    assert_false(model_parts_are_held(m));
    model_free(m);
    draft_files(d, &files);
    assert_int_equal(files.items.length, 2);
    assert_string_equal(file_find(&files, "files/users")->bytes, "a\n");
    assert_string_equal(file_find(&files, DISK_CONFIG)->bytes, wanted);
    disk_files_done(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_the_model_writes),
        cmocka_unit_test(is_given_up_at_any_moment),
        cmocka_unit_test(names_the_file_of_a_value_that_is_gone),
        cmocka_unit_test(has_no_value_in_a_name),
        cmocka_unit_test(outlives_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
