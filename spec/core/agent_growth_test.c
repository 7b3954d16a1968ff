/* Twice as much of what an author or a tenant writes is twice the work, not four times: each case at double size. Work
 * is counted: comparisons and searches of strings, not time. */
#include "model_support.h"

#include <fcntl.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "data/certificate_make.h"
#include "haproxy/plan.h"
#include "store/source_dir.h"

/* Our code is linked with these in place of the C library's. */
static size_t work;

int strcmp(const char *a, const char *b)
{
    work++;
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

char *strstr(const char *text, const char *part)
{
    work++;
    return memmem(text, strlen(text), part, strlen(part));
}

/* N log N is taken for linear. */
static void assert_grows_with(const char *what, size_t (*run)(unsigned size), unsigned size)
{
    size_t once = run(size), twice = run(2 * size);

    print_message("    %s: %zu, at double size %zu\n", what, once, twice);
    if (twice > once * 5 / 2 + 1000)
        fail_msg("%s: %zu, and %zu at double size", what, once, twice);
}

/* ---- a backend ---- */

static void add_servers(struct buf *text, unsigned from, unsigned to, const char *words)
{
    for (unsigned i = from; i < to; i++)
        buf_printf(text, "server s%06u 10.%u.%u.%u:80 %s\n", i, i >> 16, i >> 8 & 255, i & 255, words);
}

/* size servers get other words; as many stay as they are, and stand behind them. */
static size_t plan_words(unsigned size, unsigned staying)
{
    struct cfg_backend live = {0}, wanted = {0};
    struct haproxy_caps caps = {.dynamic_servers = true};
    CLEANUP(buf_done) struct buf before = {0}, after = {0};
    struct plan p = {0};

    add_servers(&before, 0, size + staying, "");
    add_servers(&after, 0, size, "maxconn 5");
    add_servers(&after, size, size + staying, "");
    cfg_backend_parse(buf_str(&before), before.length, "base", &live);
    cfg_backend_parse(buf_str(&after), after.length, "base", &wanted);
    work = 0;
    plan_backend(&p, &caps, "b", false, &wanted, &live, NULL);
    size_t done = work;
    assert_int_equal(p.reload == NULL, staying > 0);
    plan_done(&p);
    cfg_backend_done(&live);
    cfg_backend_done(&wanted);
    return done;
}

static size_t all_servers_change(unsigned size)
{
    return plan_words(size, 0);
}

static size_t half_of_the_servers_change(unsigned size)
{
    return plan_words(size, size);
}

static void servers_of_a_backend(void **state)
{
    (void)state;
    assert_grows_with("all servers change", all_servers_change, 1000);
    assert_grows_with("half of the servers change", half_of_the_servers_change, 1000);
}

/* ---- certificates ---- */

/* A list with as many names as there are certificates to load. */
static size_t certificates_come(unsigned size)
{
    struct agent a = {.live = live_new(), .model = model_new()};
    struct live_list *list = live_list_new("certs/https.list");
    struct touched t = {0};
    struct plan p = {0};
    CLEANUP(buf_done) struct buf bytes = {0};

    list->used = true;

    for (unsigned i = 0; i < size; i++) {
        CLEANUP(free_ptr) char *host = xasprintf("h%u.example", i), *text = xasprintf("certs/c%u.pem", i);
        const struct emitted line[] = {{CONTRIBUTION_CRT_LIST, "https.list", host, text, 0, 0}};
        model_put(a.model, host, line, 1);
    }
    model_check(a.model, true);
    map_put(&a.live->lists, list->path, list);
    buf_puts(&bytes, "no certificate");
    work = 0;
    for (unsigned i = 0; i < size; i++) {
        CLEANUP(free_ptr) char *path = xasprintf("certs/c%u.pem", i);
        touch_certificate(&a, &t, path, &bytes, &p);
    }
    size_t done = work;
    assert_non_null(p.reload);
    assert_non_null(strstr(p.reload, "has no certificate")); /* each was found in the list */
    assert_true(p.reloads >= size);
    touched_done(&t);
    plan_done(&p);
    live_free(a.live);
    model_free(a.model);
    return done + 1;
}

/* A list that HAProxy has loaded, with size names for a tenth as many certificates. */
static struct agent *agent_with_names(unsigned size)
{
    struct agent *a = xcalloc(1, sizeof(*a));
    struct live_list *list = live_list_new("certs/https.list");
    CLEANUP(buf_done) struct buf text = {0};

    a->live = live_new();
    a->model = model_new();
    for (unsigned i = 0; i < size; i++) {
        CLEANUP(free_ptr) char *host = xasprintf("h%u.example", i), *cert = xasprintf("certs/c%u.pem", i / 10);
        const struct emitted line[] = {{CONTRIBUTION_CRT_LIST, "https.list", host, cert, 0, 0}};
        model_put(a->model, host, line, 1);
        if (i % 10 == 0)
            buf_printf(&text, "%s%s:%u", i ? "\n" : "", cert, i / 10 + 1);
        buf_printf(&text, " %s", host);
    }
    model_check(a->model, true);
    live_list_read(list, buf_str(&text), text.length, true);
    list->used = true;
    map_put(&a->live->lists, list->path, list);
    /* They are loaded. */
    for (unsigned i = 0; i <= size / 10; i++) {
        CLEANUP(free_ptr) char *cert = xasprintf("certs/c%u.pem", i);
        const struct ssl_file_mark mark = {.text = "x"};
        live_certificate_set(a->live, cert, SSL_CERTIFICATE, &(struct digest){0}, &mark);
    }
    return a;
}

/* What the fragment's lines are from now on, and the commands for that: so many. */
static size_t list_changes(struct agent *a, const char *fragment, const struct emitted *lines, size_t count,
                           size_t commands)
{
    struct model_changes before = {0}, changes = {0};
    struct touched t = {0};
    struct plan p = {0};

    model_take_changes(a->model, &before);
    model_put(a->model, fragment, lines, count);
    model_check(a->model, true);
    model_take_changes(a->model, &changes);
    work = 0;
    touch_changes(a, &t, &changes, &p);
    size_t done = work;
    if (p.reload)
        fail_msg("%s", p.reload);
    assert_int_equal(plan_count(&p), commands);
    touched_done(&t);
    plan_done(&p);
    model_changes_done(&before);
    model_changes_done(&changes);
    return done;
}

static void agent_with_names_end(struct agent *a)
{
    live_free(a->live);
    model_free(a->model);
    free(a);
}

static size_t a_name_comes(unsigned size)
{
    struct agent *a = agent_with_names(size);
    const struct emitted line[] = {{CONTRIBUTION_CRT_LIST, "https.list", "new.example", "certs/c0.pem", 0, 0}};
    size_t done = list_changes(a, "new", line, 1, 1);
    agent_with_names_end(a);
    return done;
}

/* The other nine of its line get another one. */
static size_t a_name_goes(unsigned size)
{
    struct agent *a = agent_with_names(size);
    size_t done = list_changes(a, "h7.example", NULL, 0, 2);
    agent_with_names_end(a);
    return done;
}

/* With a certificate that comes as well: new, set, commit, one line. */
static size_t a_certificate_comes(unsigned size)
{
    struct agent *a = agent_with_names(size);
    struct buf chain = {0}, key = {0};
    assert_int_equal(certificate_make_default(&chain, &key, NULL), 0);
    CLEANUP(free_ptr) char *pem = xasprintf("%s%s", buf_str(&chain), buf_str(&key));
    const struct emitted items[] = {{CONTRIBUTION_CERTIFICATE, "new.pem", "", pem, 0, 0},
                                    {CONTRIBUTION_CRT_LIST, "https.list", "new.example", "certs/new.pem", 0, 0}};
    size_t done = list_changes(a, "new", items, 2, 4);
    buf_done(&chain);
    buf_done(&key);
    agent_with_names_end(a);
    return done;
}

static void assert_does_not_grow(const char *what, size_t (*run)(unsigned size))
{
    size_t once = run(100), more = run(2000);

    print_message("    %s: %zu, with twenty times as many names %zu\n", what, once, more);
    if (more > once + once / 4 + 10)
        fail_msg("%s: %zu, and %zu with twenty times as many names", what, once, more);
}

static void names_of_a_list(void **state)
{
    (void)state;
    assert_does_not_grow("a name comes", a_name_comes);
    assert_does_not_grow("a name goes", a_name_goes);
    assert_does_not_grow("a certificate comes", a_certificate_comes);
}

static void certificates_of_a_list(void **state)
{
    (void)state;
    assert_grows_with("certificates come", certificates_come, 500);
}

/* ---- a folder ---- */

struct folder {
    uv_loop_t loop;
    char *path;
    struct store *store;
    struct store_kind *kind;
    struct source_dir *source;
    size_t wrong;
};

static void on_report(void *ctx, enum source_dir_news news, const char *file, size_t line, const char *message)
{
    struct folder *f = ctx;

    (void)file, (void)line, (void)message;
    f->wrong += news == SOURCE_DIR_WRONG;
}

static void folder_begin(struct folder *f)
{
    const struct store_kind_spec spec = {.name = "services", .api_version = "v1", .resource = "services"};

    *f = (struct folder){.path = directory_new(), .store = store_new(1 << 20, (size_t)1 << 30)};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(store_add_kind(f->store, &spec, &f->kind, NULL), 0);
}

static void folder_open(struct folder *f)
{
    struct err err;

    if (source_dir_new(&f->loop, f->store, f->path, on_report, f, &f->source, &err) < 0)
        fail_msg("%s", err.text);
}

/* What is missing has to be missing twice. */
static size_t folder_read_again(struct folder *f)
{
    struct err err;

    work = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(source_dir_reload(f->source, &err), 0);
    return work;
}

static void folder_end(struct folder *f)
{
    source_dir_free(f->source);
    loop_end(&f->loop);
    store_free(f->store);
    directory_remove(f->path);
}

/* port: what the port of each Service is. */
static void write_services(const struct folder *f, const char *name, unsigned count, const char *port)
{
    CLEANUP(buf_done) struct buf text = {0};

    for (unsigned i = 0; i < count; i++)
        buf_printf(&text,
                   "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%u, namespace: default}\n"
                   "spec: {ports: [{port: %s}]}\n",
                   i, port);
    file_write(f->path, name, buf_str(&text));
}

static size_t all_objects_become_wrong(unsigned size)
{
    struct folder f;

    folder_begin(&f);
    write_services(&f, "a.yaml", size, "80");
    folder_open(&f);
    write_services(&f, "a.yaml", size, "none");
    size_t done = folder_read_again(&f);
    assert_true(f.wrong >= size);
    assert_int_equal(store_kind_objects(f.kind), size); /* their last good versions */
    folder_end(&f);
    return done;
}

/* Two files say the same; the first one goes. */
static size_t another_file_inherits(unsigned size)
{
    struct folder f;
    CLEANUP(free_ptr) char *first = NULL;

    folder_begin(&f);
    write_services(&f, "a.yaml", size, "80");
    write_services(&f, "b.yaml", size, "81");
    folder_open(&f);
    first = xasprintf("%s/a.yaml", f.path);
    assert_int_equal(unlink(first), 0);
    size_t done = folder_read_again(&f);
    assert_int_equal(store_kind_objects(f.kind), size);
    folder_end(&f);
    return done;
}

/* One object in many files. */
static size_t files_say_the_same(unsigned size)
{
    struct folder f;

    folder_begin(&f);
    for (unsigned i = 0; i < size; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("f%05u.yaml", i);
        write_services(&f, name, 1, "80");
    }
    folder_open(&f);
    size_t done = folder_read_again(&f);
    assert_int_equal(store_kind_objects(f.kind), 1);
    folder_end(&f);
    return done;
}

static void files_of_a_folder(void **state)
{
    (void)state;
    log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    assert_grows_with("all objects of a file become wrong", all_objects_become_wrong, 300);
    assert_grows_with("another file inherits all objects", another_file_inherits, 300);
    assert_grows_with("files say the same", files_say_the_same, 150);
    log_set_fd(STDOUT_FILENO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_of_a_backend),
        cmocka_unit_test(certificates_of_a_list),
        cmocka_unit_test(names_of_a_list),
        cmocka_unit_test(files_of_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
