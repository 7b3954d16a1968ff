/* Handles become bytes: hostile values stay one word, one key, one value; and HAProxy's own reading agrees. */
#include "haproxy_support.h"

#include "base/buf.h"
#include "haproxy/cfg.h"
#include "haproxy/check.h"
#include "haproxy/expand.h"

#define HANDLE_SIZE (VAULT_HANDLE_LENGTH + 1)

/* A vault with one value. */
struct fixture {
    struct vault *vault;
    struct vault_hold *hold;
    char handle[HANDLE_SIZE];
};

static void fixture_init(struct fixture *f, const char *bytes, size_t length)
{
    struct err err;
    const struct vault_name name = {"shop", "users", "uid", "1", "password"};
    f->vault = vault_new(1 << 20);
    f->hold = NULL;
    if (vault_put(f->vault, &f->hold, &name, bytes, length, f->handle, &err) < 0)
        fail_msg("%s", err.text);
}

static void fixture_done(struct fixture *f)
{
    vault_release(f->hold);
    vault_free(f->vault);
}

/* template: "%s" where the handle goes. NULL: refused. */
static void assert_expands(enum expand_as as, const char *value, const char *before, const char *after,
                           const char *wanted)
{
    struct fixture f;
    struct err err = {0};
    CLEANUP(buf_done) struct buf out = {0};
    fixture_init(&f, value, strlen(value));
    CLEANUP(free_ptr) char *text = xasprintf("%s%s%s", before, f.handle, after);
    int result = expand(f.vault, as, text, strlen(text), &out, NULL, &err);
    if (wanted && result < 0)
        fail_msg("%s", err.text);
    if (wanted) {
        assert_string_equal(buf_str(&out), wanted);
    } else {
        assert_int_equal(result, -1);
        assert_non_null(strstr(err.text, "Secret shop/users, key password"));
        assert_true(strlen(value) < 4 || !strstr(err.text, value));
    }
    fixture_done(&f);
}

static void words_of_haproxy_cfg(void **state UNUSED)
{
    assert_expands(EXPAND_CONFIG, "geheim", "    user a password ", "\n", "    user a password 'geheim'\n");
    assert_expands(EXPAND_CONFIG, "a'b", "x ", " y", "x 'a'\\''b' y");
    assert_expands(EXPAND_CONFIG, "a'b", "x 'p", "q' y", "x 'pa'\\''bq' y");
    assert_expands(EXPAND_CONFIG, "a\"$b'", "x \"p", "q\" y", "x \"p\"'a\"$b'\\'''\"q\" y");
    assert_expands(EXPAND_CONFIG, "", "x ", "\n", "x ''\n");
    assert_expands(EXPAND_CONFIG, "a # b", "x \\\\", "", "x \\\\'a # b'");
    assert_expands(EXPAND_CONFIG, "two\nlines", "x ", "\n", NULL);
    assert_expands(EXPAND_CONFIG, "carriage\rreturn", "x ", "\n", NULL);
    /* The line before has nothing to do with it, unless its end is escaped. */
    assert_expands(EXPAND_CONFIG, "v", "x 'open\n", " y", "x 'open\n'v' y");
    assert_expands(EXPAND_CONFIG, "v", "x \"open\\\n", " y", "x \"open\\\n\"'v'\" y");
    assert_expands(EXPAND_CONFIG, "v", "x # y\nz ", "", "x # y\nz 'v'");
}

static void comments_keep_the_handle(void **state UNUSED)
{
    struct fixture f;
    struct err err;
    CLEANUP(buf_done) struct buf out = {0};
    fixture_init(&f, "geheim", 6);
    CLEANUP(free_ptr) char *text = xasprintf("# %s '%s\nuser '%s' # \"%s", f.handle, f.handle, f.handle, f.handle);
    CLEANUP(free_ptr) char *wanted = xasprintf("# %s '%s\nuser 'geheim' # \"%s", f.handle, f.handle, f.handle);
    assert_int_equal(expand(f.vault, EXPAND_CONFIG, text, strlen(text), &out, NULL, &err), 0);
    assert_string_equal(buf_str(&out), wanted);
    fixture_done(&f);
}

static void maps_and_files(void **state UNUSED)
{
    assert_expands(EXPAND_MAP, "geheim", "a.example ", "\nb c\n", "a.example geheim\nb c\n");
    assert_expands(EXPAND_MAP, "two words", "a.example ", "\n", "a.example two words\n");
    assert_expands(EXPAND_MAP, "key", "a b\\\n", " tenant\n", "a b\\\nkey tenant\n");
    assert_expands(EXPAND_MAP, "two words", "", " tenant\n", NULL);
    assert_expands(EXPAND_MAP, "#key", "", " tenant\n", NULL);
    assert_expands(EXPAND_MAP, "", "", " tenant\n", NULL);
    assert_expands(EXPAND_MAP, "", "a ", "\n", NULL);
    assert_expands(EXPAND_MAP, " x", "a ", "\n", NULL);
    assert_expands(EXPAND_MAP, "x\ny", "a ", "\n", NULL);
    assert_expands(EXPAND_MAP_KEY, "a b", "", "", NULL);
    assert_expands(EXPAND_MAP_VALUE, "a b", "", "", "a b");
    assert_expands(EXPAND_FILE, "-----BEGIN\nx\r\n'\\\n", "", "\n", "-----BEGIN\nx\r\n'\\\n\n");
}

static void forms_escape(void **state UNUSED)
{
    struct fixture f;
    struct err err;
    CLEANUP(buf_done) struct buf out = {0};
    fixture_init(&f, "50%[x].*", 8);
    memcpy(f.handle + VAULT_HANDLE_LENGTH - 3, "Fmt", 3);
    CLEANUP(free_ptr) char *format = xasprintf("a %s\n", f.handle);
    assert_int_equal(expand(f.vault, EXPAND_CONFIG, format, strlen(format), &out, NULL, &err), 0);
    assert_string_equal(buf_str(&out), "a '50%%[x].*'\n");
    buf_clear(&out);
    memcpy(f.handle + VAULT_HANDLE_LENGTH - 3, "Rgx", 3);
    CLEANUP(free_ptr) char *regex = xasprintf("a %s\n", f.handle);
    assert_int_equal(expand(f.vault, EXPAND_CONFIG, regex, strlen(regex), &out, NULL, &err), 0);
    assert_string_equal(buf_str(&out), "a '50%\\[x\\]\\.\\*'\n");
    fixture_done(&f);
}

static void unknown_and_broken_handles_are_refused(void **state UNUSED)
{
    static const char *const texts[] = {
        "x HapticSecret0123456789abcdef0123456789abcdefEnd\n",
        "x HapticSecret0123456789abcdef0123456789abcde\n",
        "x HapticSecret0123456789abcdef0123456789abcdefXyz\n",
        "x \\HapticSecret0123456789abcdef0123456789abcdefEnd\n",
    };
    struct fixture f;
    fixture_init(&f, "geheim", 6);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        for (struct vault *v = f.vault;; v = NULL) {
            CLEANUP(buf_done) struct buf out = {0};
            struct err err;
            size_t at = 0;
            assert_int_equal(expand(v, EXPAND_CONFIG, texts[i], strlen(texts[i]), &out, &at, &err), -1);
            assert_int_equal(err.kind, ERR_NOTFOUND);
            assert_ptr_equal(texts[i] + at, strstr(texts[i], VAULT_PREFIX));
            if (!v)
                break;
        }
    fixture_done(&f);
}

/* Any line with handles in it, whatever quotes: its words are those of the line with handles, with values in their
 * places. */
static void random_lines_keep_their_words(void **state UNUSED)
{
    static const char alphabet[] = "ab \t'\"\\#$%{};()\x7f\xc3\xa9";
    static const char around[] = "ab  ''\"\"\\#$";
    unsigned understood = 0;
    srand(11);
    for (int round = 0; round < 20000; round++) {
        struct fixture f;
        struct err err;
        char value[24], line[400] = "";
        size_t length = (size_t)rand() % sizeof(value), at = 0;
        for (size_t i = 0; i < length; i++)
            value[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
        fixture_init(&f, value, length);
        for (int piece = 1 + rand() % 4; piece > 0; piece--) {
            for (int i = rand() % 6; i > 0; i--)
                line[at++] = around[(size_t)rand() % (sizeof(around) - 1)];
            memcpy(line + at, f.handle, VAULT_HANDLE_LENGTH);
            at += VAULT_HANDLE_LENGTH;
        }
        for (int i = rand() % 6; i > 0; i--)
            line[at++] = around[(size_t)rand() % (sizeof(around) - 1)];

        CLEANUP(buf_done) struct buf before = {0}, expanded = {0}, after = {0}, wanted = {0};
        size_t count_before = 0, count_after = 0;
        bool plain_before, plain_after;
        if (cfg_words(line, at, &before, &count_before, &plain_before, NULL) == 0 &&
            expand(f.vault, EXPAND_CONFIG, line, at, &expanded, NULL, &err) == 0) {
            if (cfg_words(buf_str(&expanded), expanded.length, &after, &count_after, &plain_after, &err) < 0)
                fail_msg("%s: %s -> %s", err.text, line, buf_str(&expanded));
            for (size_t i = 0; i < before.length;) {
                if (i + VAULT_HANDLE_LENGTH <= before.length &&
                    memcmp(before.data + i, f.handle, VAULT_HANDLE_LENGTH) == 0) {
                    buf_add(&wanted, value, length);
                    i += VAULT_HANDLE_LENGTH;
                } else {
                    buf_putc(&wanted, before.data[i++]);
                }
            }
            assert_int_equal(count_after, count_before);
            assert_int_equal(after.length, wanted.length);
            assert_memory_equal(buf_str(&after), buf_str(&wanted), wanted.length);
            understood++;
        }
        fixture_done(&f);
    }
    assert_true(understood > 5000);
}

/* ---- the check ---- */

struct outcome {
    bool told, ok;
    enum err_kind kind;
    size_t count;
    unsigned line, file_line;
    char text[512], file[64], output[8192];
};

static void on_check(void *ctx, const struct check_result *result)
{
    struct outcome *o = ctx;
    o->told = true;
    o->ok = result->ok;
    o->kind = result->err ? result->err->kind : ERR_NONE;
    o->count = result->count;
    if (result->count) {
        o->line = result->messages[0].line;
        o->file_line = result->messages[0].file_line;
        snprintf(o->text, sizeof(o->text), "%s", result->messages[0].text);
        snprintf(o->file, sizeof(o->file), "%s", result->messages[0].file ? result->messages[0].file : "");
    }
    snprintf(o->output, sizeof(o->output), "%s", result->output);
}

static bool run_check_telling(struct fixture *f, bool all, const char *config, const char *map, struct outcome *o)
{
    CLEANUP(free_ptr) char *binary = haproxy_binary("3.2");
    if (!binary)
        binary = haproxy_binary("2.6");
    if (!binary)
        return false;
    uv_loop_t loop;
    struct disk_files files = {0};
    const struct check_config settings = {.binary = binary, .vault = f->vault, .tells_all = all};
    uv_loop_init(&loop);
    memset(o, 0, sizeof(*o));
    disk_files_add(&files, DISK_CONFIG, config, strlen(config));
    if (map)
        disk_files_add(&files, "maps/a.map", map, strlen(map));
    check_start(&loop, &settings, &files, on_check, o);
    assert_false(o->told);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(o->told);
    assert_int_equal(uv_loop_close(&loop), 0);
    return true;
}

static bool run_check(struct fixture *f, const char *config, const char *map, struct outcome *o)
{
    return run_check_telling(f, true, config, map, o);
}

#define CONFIG \
    "global\n    maxconn 10\n\ndefaults base\n    mode http\n    timeout client 1s\n" \
    "    timeout server 1s\n    timeout connect 1s\n\n" \
    "frontend f from base\n    bind 127.0.0.1:18080\n"

static void check_sees_the_value_and_tells_the_handle(void **state UNUSED)
{
    struct fixture f;
    struct outcome o;
    fixture_init(&f, "not a number'", 13);
    CLEANUP(free_ptr)
    char *good = xasprintf(CONFIG "    http-request set-header X-A %s\n\nuserlist u\n    user a insecure-password %s\n",
                           f.handle, f.handle);
    if (!run_check(&f, good, NULL, &o)) {
        fixture_done(&f);
        skip();
    }
    assert_int_equal(o.kind, ERR_NONE);
    if (!o.ok)
        fail_msg("%s: %s", o.text, o.output);
    CLEANUP(free_ptr)
    char *bad = xasprintf(CONFIG "    maxconn %s\n    http-request set-header X-A %%[%s]\n", f.handle, f.handle);
    assert_true(run_check(&f, bad, NULL, &o));
    assert_false(o.ok);
    assert_int_equal(o.line, 13);
    assert_null(strstr(o.text, "number"));
    assert_null(strstr(o.output, "a number"));
    assert_non_null(strstr(o.output, f.handle));
    /* A caller that did not ask for all of it gets only the complaint, also without values. */
    assert_true(run_check_telling(&f, false, good, NULL, &o));
    assert_true(o.ok);
    assert_string_equal(o.output, "");
    assert_true(run_check_telling(&f, false, bad, NULL, &o));
    assert_int_equal(o.line, 13);
    assert_null(strstr(o.text, "number"));
    assert_non_null(strstr(o.text, f.handle));
    assert_string_equal(o.output, "");
    fixture_done(&f);
}

static void check_complains_of_handles(void **state UNUSED)
{
    struct fixture f;
    struct outcome o;
    fixture_init(&f, "two\nlines", 9);
    CLEANUP(free_ptr) char *line = xasprintf(CONFIG "    maxconn 5\n    http-request set-header X-A %s\n", f.handle);
    if (!run_check(&f, line, NULL, &o)) {
        fixture_done(&f);
        skip();
    }
    assert_false(o.ok);
    assert_int_equal(o.kind, ERR_NONE);
    assert_int_equal(o.count, 1);
    assert_int_equal(o.line, 13);
    assert_non_null(strstr(o.text, "Secret shop/users, key password"));
    CLEANUP(free_ptr) char *map = xasprintf("a b\nc %s\nd e\nf %s\n", f.handle, f.handle);
    assert_true(run_check(&f, CONFIG, map, &o));
    assert_int_equal(o.count, 2);
    assert_string_equal(o.file, "maps/a.map");
    assert_int_equal(o.file_line, 2);
    CLEANUP(free_ptr) char *name = xasprintf(CONFIG "\nbackend %s from base\n    server a 127.0.0.1:1\n", f.handle);
    assert_true(run_check(&f, name, NULL, &o));
    assert_true(o.count > 0);
    assert_int_equal(o.line, 13);
    assert_non_null(strstr(o.text, "part of a name"));
    fixture_done(&f);
}

static void a_check_with_complaints_can_be_cancelled(void **state UNUSED)
{
    uv_loop_t loop;
    struct outcome o = {0};
    struct disk_files files = {0};
    const struct check_config settings = {.binary = "/nonexistent"};
    uv_loop_init(&loop);
    disk_files_add(&files, DISK_CONFIG, " x HapticSecret0123456789abcdef\n", 32);
    struct check *c = check_start(&loop, &settings, &files, on_check, &o);
    check_cancel(c);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_false(o.told);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_haproxy_cfg),
        cmocka_unit_test(comments_keep_the_handle),
        cmocka_unit_test(maps_and_files),
        cmocka_unit_test(forms_escape),
        cmocka_unit_test(unknown_and_broken_handles_are_refused),
        cmocka_unit_test(random_lines_keep_their_words),
        cmocka_unit_test(check_sees_the_value_and_tells_the_handle),
        cmocka_unit_test(check_complains_of_handles),
        cmocka_unit_test(a_check_with_complaints_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
