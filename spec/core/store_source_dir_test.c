/* A folder as a source: real files in a folder of our own, changed in the ways that editors, kubelet and people change
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "object_text.h"
#include "store/manifest.h"
#include "store/source_dir.h"
#include "store/store.h"

struct fixture {
    uv_loop_t loop;
    uv_timer_t tick;
    char dir[64];
    struct store *store;
    struct store_kind *services, *ingresses, *classes;
    struct source_dir *source;
    struct buf told;    /* what the store told */
    struct buf reports; /* what the source reported, paths relative */
};

static void hear(void *ctx, enum store_event event, struct store_kind *kind, struct object *now, struct object *before)
{
    struct fixture *f = ctx;

    if (event != STORE_EVENT_SYNCED)
        buf_printf(&f->told, "%s %s;",
                   event == STORE_EVENT_DELETE ? "delete"
                   : before                    ? "change"
                                               : "put",
                   (now ? now : before)->id);
    (void)kind;
}

static void report(void *ctx, enum source_dir_news news, const char *file, size_t line, const char *message)
{
    struct fixture *f = ctx;
    const char *name = strcmp(file, f->dir) == 0 ? "." : file + strlen(f->dir) + 1;

    if (news != SOURCE_DIR_RIGHT)
        buf_printf(&f->reports, "%s:%zu: %s%s;", name, line, message, news == SOURCE_DIR_WARNING ? " (a warning)" : "");
    else
        buf_printf(&f->reports, "%s is right;", name);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/haptic-source-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->tick), 0);
    assert_int_equal(uv_timer_start(&f->tick, on_tick, 2, 2), 0);
    f->store = store_new(1 << 20, 1 << 26);
    *state = f;
    return 0;
}

static struct store_kind *add_kind(struct fixture *f, struct store_kind_spec spec)
{
    struct store_kind *kind = NULL;

    assert_int_equal(store_add_kind(f->store, &spec, &kind, NULL), 0);
    return kind;
}

static void add_usual_kinds(struct fixture *f)
{
    f->services = add_kind(f,
                           (struct store_kind_spec){.name = "services", .api_version = "v1", .resource = "services"});
    f->ingresses = add_kind(
        f,
        (struct store_kind_spec){.name = "ingresses", .api_version = "networking.k8s.io/v1", .resource = "ingresses"});
    f->classes = add_kind(f, (struct store_kind_spec){.name = "classes",
                                                      .api_version = "networking.k8s.io/v1",
                                                      .resource = "ingressclasses"});
}

static void start(struct fixture *f)
{
    struct err err = {0};

    if (source_dir_new(&f->loop, f->store, f->dir, report, f, &f->source, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(store_is_synced(f->store));
    store_listen(f->store, hear, f);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    f->source = source_dir_free(f->source);
    uv_close((uv_handle_t *)&f->tick, NULL);
    while (uv_run(&f->loop, UV_RUN_DEFAULT))
        ;
    assert_int_equal(uv_loop_close(&f->loop), 0);
    store_free(f->store);
    buf_done(&f->told);
    buf_done(&f->reports);
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static char *path_of(struct fixture *f, const char *name)
{
    return xasprintf("%s/%s", f->dir, name);
}

/* As a shell's ">" does it: truncate, write, close. */
static void write_file(struct fixture *f, const char *name, const char *text)
{
    CLEANUP(free_ptr) char *path = path_of(f, name);
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void rename_file(struct fixture *f, const char *from, const char *to)
{
    CLEANUP(free_ptr) char *from_path = path_of(f, from);
    CLEANUP(free_ptr) char *to_path = path_of(f, to);

    assert_int_equal(rename(from_path, to_path), 0);
}

static void remove_file(struct fixture *f, const char *name)
{
    CLEANUP(free_ptr) char *path = path_of(f, name);

    assert_int_equal(remove(path), 0);
}

static void make_dir(struct fixture *f, const char *name)
{
    CLEANUP(free_ptr) char *path = path_of(f, name);

    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(struct fixture *f, const char *target, const char *name)
{
    CLEANUP(free_ptr) char *path = path_of(f, name);

    assert_int_equal(symlink(target, path), 0);
}

static void run_for(struct fixture *f, int64_t ms)
{
    int64_t end = clock_now_ns() + ms * NS_PER_MS;

    while (clock_now_ns() < end)
        uv_run(&f->loop, UV_RUN_ONCE);
}

/* Run the loop until the text is exactly this; more must not come in the 60 ms after. Then forget it. */
static void expect(struct fixture *f, struct buf *what, const char *text)
{
    int64_t end = clock_now_ns() + 4 * NS_PER_S; /* less than the slow poll: inotify has to do it */

    while (strcmp(buf_str(what), text) != 0 && clock_now_ns() < end)
        uv_run(&f->loop, UV_RUN_ONCE);
    run_for(f, 60);
    if (strcmp(buf_str(what), text) != 0)
        fail_msg("\"%s\" and not \"%s\"", buf_str(what), text);
    buf_clear(what);
}

#define SERVICE(name) "apiVersion: v1\nkind: Service\nmetadata: {name: " name "}\n"
#define SERVICE_X(name, x) SERVICE(name) "spec: {clusterIP: '" x "'}\n"

static void loads_what_is_there(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    make_dir(f, "deep");
    make_dir(f, "deep/er");
    make_dir(f, ".hidden");
    write_file(f, "deep/er/a.yml", SERVICE("a") "---\n" SERVICE("b"));
    write_file(f, "c.json",
               "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"c\",\"namespace\":\"x\"}}");
    write_file(f, ".hidden/d.yaml", SERVICE("d"));
    write_file(f, ".e.yaml", SERVICE("e"));
    write_file(f, "notes.txt", SERVICE("f"));
    write_file(f, "G.YAML", SERVICE("g"));
    write_file(f, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n");
    write_file(f, "class.yaml", "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: haproxy}\n");
    start(f);
    assert_int_equal(store_kind_objects(f->services), 4);
    assert_non_null(store_get(f->services, "default/g"));
    assert_non_null(store_get(f->services, "default/a"));
    assert_non_null(store_get(f->services, "default/b"));
    assert_non_null(store_get(f->services, "x/c"));
    assert_non_null(store_get(f->classes, "haproxy"));
    assert_string_equal(
        text_of(store_get(f->services, "default/a")),
        "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"}}");
    assert_string_equal(buf_str(&f->reports), "");
}

static void follows_changes(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    write_file(f, "a.yaml", SERVICE("a") "---\n" SERVICE("b"));
    start(f);
    write_file(f, "new.yaml", SERVICE("c"));
    expect(f, &f->told, "put default/c;");
    write_file(f, "a.yaml", SERVICE("a") "---\n" SERVICE_X("b", "1"));
    expect(f, &f->told, "change default/b;");
    write_file(f, "a.yaml", SERVICE_X("b", "1") "---\n" SERVICE("d"));
    expect(f, &f->told, "put default/d;delete default/a;");
    write_file(f, ".a.tmp", SERVICE_X("b", "2") "---\n" SERVICE("d"));
    rename_file(f, ".a.tmp", "a.yaml");
    expect(f, &f->told, "change default/b;");
    rename_file(f, "a.yaml", "z.yaml");
    expect(f, &f->told, "");
    rename_file(f, "new.yaml", "new.txt");
    expect(f, &f->told, "delete default/c;");
    remove_file(f, "z.yaml");
    expect(f, &f->told, "delete default/b;delete default/d;");
    assert_string_equal(buf_str(&f->reports), "");
    assert_int_equal(store_kind_objects(f->services), 0);
}

/* Some editors move the old file away and then write the new one: nothing may vanish in between. */
static void a_replaced_file_never_vanishes(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    write_file(f, "a.yaml", SERVICE("a"));
    start(f);
    rename_file(f, "a.yaml", "a.yaml~");
    run_for(f, 5);
    write_file(f, "a.yaml", SERVICE_X("a", "1"));
    expect(f, &f->told, "change default/a;");
    assert_string_equal(buf_str(&f->reports), "");
}

static void a_wrong_file_keeps_what_it_had(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    write_file(f, "a.yaml", SERVICE("a") "---\n" SERVICE("b"));
    write_file(f, "never.yaml", "a: [\n");
    start(f);
    assert_non_null(strstr(buf_str(&f->reports), "never.yaml:2: "));
    buf_clear(&f->reports);

    write_file(f, "a.yaml", SERVICE("a") "---\napiVersion: v1\nkind: Serv"); /* half-written */
    run_for(f, 60);
    assert_string_equal(buf_str(&f->told), "");
    expect(f, &f->reports, "a.yaml:5: Serv without metadata.name;");
    write_file(f, "a.yaml", SERVICE("a") "---\n\tkind: x\n");
    expect(f, &f->reports,
           "a.yaml:5: found character that cannot start any token, while scanning for the next token: a tab; YAML is "
           "indented by spaces;");
    write_file(f, "a.yaml", SERVICE("a") "a: 1\nkind: Service\n");
    expect(f, &f->reports, "a.yaml:5: the key \"kind\" occurs twice in one mapping;");
    assert_string_equal(buf_str(&f->told), "");
    /* One wrong object: the others are taken over, deletions included. */
    write_file(f, "a.yaml", SERVICE_X("a", "1") "---\nkind: Service\nmetadata: {name: x}\n---\n" SERVICE("c"));
    expect(f, &f->told, "change default/a;put default/c;delete default/b;");
    expect(f, &f->reports, "a.yaml:6: Service without apiVersion;");
    write_file(f, "a.yaml", SERVICE_X("a", "1"));
    expect(f, &f->told, "delete default/c;");
    expect(f, &f->reports, "a.yaml is right;");
    remove_file(f, "never.yaml");
    expect(f, &f->reports, "never.yaml is right;");
    write_file(f, "b.json", "{\"a\":1,\n!}");
    run_for(f, 60);
    if (!strstr(buf_str(&f->reports), "b.json:2: "))
        fail_msg("%s", buf_str(&f->reports));
}

#define JOB "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-}\n"
#define BLOCK(name) "apiVersion: v1\nkind: Service\nmetadata:\n  labels: {name: other}\n  name: " name "\n"

/* What is wrong in one document is no matter of the others. */
static void a_wrong_document_keeps_its_own_object_only(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    write_file(f, "a.yaml", JOB "---\n" SERVICE("keep") "---\n" BLOCK("old") "---\n" BLOCK("bad"));
    start(f);
    expect(f, &f->reports, "a.yaml:1: Job without metadata.name;");
    assert_int_equal(store_kind_objects(f->services), 3);
    /* One object goes, one changes; the Job stays as it is. */
    write_file(f, "a.yaml", JOB "---\n" SERVICE_X("keep", "1") "---\n" BLOCK("bad"));
    expect(f, &f->told, "change default/keep;delete default/old;");
    expect(f, &f->reports, "a.yaml:1: Job without metadata.name;");
    /* A document that is no YAML, between others. */
    write_file(f, "a.yaml", SERVICE_X("keep", "2") "---\n" BLOCK("bad") "x: [\n---\n" SERVICE("new") "---\n");
    expect(f, &f->told, "change default/keep;put default/new;");
    expect(f, &f->reports, "a.yaml:12: did not find expected node content, while parsing a flow node;");
    write_file(f, "a.yaml", "a: b: c\n---\n" BLOCK("bad") "\tx: 1\n---\n" SERVICE("new"));
    expect(f, &f->told, ""); /* what the first document is cannot be seen: everything may have stood there */
    buf_clear(&f->reports);
    write_file(f, "a.yaml", BLOCK("bad") "x: 'a\n---\n" SERVICE("new"));
    expect(f, &f->told, "delete default/keep;");
    buf_clear(&f->reports);
    /* A Service that has lost its name may be any of them; none of the classes. */
    write_file(f, "a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {labels: {}}\n");
    expect(f, &f->told, "");
    expect(f, &f->reports, "a.yaml:1: Service without metadata.name;");
    write_file(f, "a.yaml", "");
    expect(f, &f->told, "delete default/bad;delete default/new;");
    expect(f, &f->reports, "a.yaml is right;");
}

/* Windows editors write a mark in front of the text, and files that are put together have it in the middle. */
static void byte_order_marks_are_no_content(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    write_file(f, "a.yaml",
               "\xef\xbb\xbf" SERVICE("a") "---\n\xef\xbb\xbf" SERVICE("b") "\xef\xbb\xbf---\n" SERVICE("c"));
    write_file(f, "b.yaml", "\xef\xbb\xbf# comment\n" SERVICE("d"));
    write_file(f, "c.json", "\xef\xbb\xbf{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"e\"}}");
    start(f);
    assert_string_equal(buf_str(&f->reports), "");
    assert_int_equal(store_kind_objects(f->services), 5);
}

static void utf16_is_read_or_named(void **state)
{
    struct fixture *f = *state;
    static const char text[] = SERVICE("a");
    char wide[2 * sizeof(text)] = "\xff\xfe";

    add_usual_kinds(f);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        wide[2 + 2 * i] = text[i];
    CLEANUP(free_ptr) char *yaml = path_of(f, "a.yaml"), *json = path_of(f, "b.json");
    FILE *out = fopen(yaml, "w");
    assert_int_equal(fwrite(wide, 1, sizeof(wide) - 0, out), sizeof(wide));
    fclose(out);
    out = fopen(json, "w");
    assert_int_equal(fwrite("\xff\xfe{\0", 1, 4, out), 4);
    fclose(out);
    start(f);
    assert_int_equal(store_kind_objects(f->services), 1);
    assert_string_equal(buf_str(&f->reports), "b.json:0: the text is UTF-16; JSON is UTF-8;");
}

#define SLICE(name, more) "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " name "}\n" more

/* What the API server refuses is refused, with the line and the field; the last good version stays. What it takes with
 * a warning is taken. */
static void types_are_judged_as_the_server_does(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *report;
    } cases[] = {
        {"kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\nmetadata: {name: s}\naddressType: IPv4\nendpoints:\n"
         "- addresses: [10.0.0.1]\n  conditions:\n    ready: 'false'\n",
         "8: EndpointSlice default/s: endpoints[0].conditions.ready: must be true or false, without quotes;"},
        {SLICE("s", "addressType: IPv4\nendpoints: []\nports:\n- {port: '80'}\n"),
         "7: EndpointSlice default/s: ports[0].port: must be a number, without quotes;"},
        {SLICE("s", "endpoints: []\n"), "1: EndpointSlice default/s: addressType: is missing;"},
        {SLICE("s", "addressType: ipv4\nendpoints: []\n"),
         "4: EndpointSlice default/s: addressType: must be one of IPv4, IPv6, FQDN;"},
        {"apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  annotations:\n    a/b: true\n",
         "6: Service default/s: metadata.annotations.a/b: must be a string; put the value into quotes;"},
        {"apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  labels: [a]\n",
         "5: Service default/s: metadata.labels: must be a mapping of strings;"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: S}\n",
         "3: Service default/S: metadata.name: must be at most 63 small letters, digits and \"-\", a letter first;"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - {port: 70000}\n",
         "6: Service default/s: spec.ports[0].port: must be from 1 to 65535;"},
        {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: s}\nspec:\n  rules:\n"
         "  - http: {paths: [{path: /, backend: {service: {name: b, port: {number: 1}}}}]}\n",
         "6: Ingress default/s: spec.rules[0].http.paths[0].pathType: is missing;"},
        {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: s}\nspec:\n  rules: {host: a}\n",
         "5: Ingress default/s: spec.rules: must be a list;"},
    };
    static const char warned[] =
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: s, namespace: null}\nspec:\n"
        "  ingressclassname: x\n  defaultBackend: null\n  rules:\n  - Http: {}\n    other: 1\nstatus: {x: 1}\n";

    add_usual_kinds(f);
    (void)add_kind(f, (struct store_kind_spec){
                          .name = "endpoints", .api_version = "discovery.k8s.io/v1", .resource = "endpointslices"});
    start(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *report = xasprintf("a.yaml:%s", cases[i].report);
        write_file(f, "a.yaml", cases[i].text);
        expect(f, &f->reports, report);
        assert_string_equal(buf_str(&f->told), "");
    }
    write_file(f, "a.yaml", SERVICE("s") "---\n" SERVICE("t"));
    expect(f, &f->told, "put default/s;put default/t;");
    expect(f, &f->reports, "a.yaml is right;");
    write_file(f, "a.yaml", SERVICE("s") "spec: {ports: [{port: x}]}\n"); /* it stays, the other one goes */
    expect(f, &f->told, "delete default/t;");
    buf_clear(&f->reports);
    write_file(f, "a.yaml", warned);
    expect(f, &f->told, "put default/s;delete default/s;"); /* the Ingress, and the Service of before */
    expect(
        f, &f->reports,
        "a.yaml:5: Ingress default/s: spec.ingressclassname: unknown field, which is ignored; did you mean "
        "ingressClassName? (a warning);"
        "a.yaml:8: Ingress default/s: spec.rules[0].Http: unknown field, which is ignored; did you mean http? (a "
        "warning);"
        "a.yaml:9: Ingress default/s: spec.rules[0].other: unknown field, which is ignored (a warning);a.yaml is right;");
    assert_true(source_dir_is_readable(f->source));
}

static void the_first_path_wins(void **state)
{
    struct fixture *f = *state;
    char expected[256];

    add_usual_kinds(f);
    write_file(f, "b.yaml", SERVICE_X("a", "1") "---\n" SERVICE("own"));
    start(f);
    write_file(f, "c.yaml", SERVICE_X("a", "2"));
    snprintf(expected, sizeof(expected), "c.yaml:1: Service default/a is also defined in %s/b.yaml; that one is used;",
             f->dir);
    expect(f, &f->reports, expected);
    assert_string_equal(buf_str(&f->told), "");
    write_file(f, "a.yaml", SERVICE_X("a", "0"));
    expect(f, &f->told, "change default/a;");
    remove_file(f, "a.yaml");
    expect(f, &f->told, "change default/a;");
    assert_non_null(strstr(text_of(store_get(f->services, "default/a")), "\"clusterIP\":\"1\""));
    remove_file(f, "b.yaml");
    expect(f, &f->told, "change default/a;delete default/own;");
    assert_non_null(strstr(text_of(store_get(f->services, "default/a")), "\"clusterIP\":\"2\""));
    buf_clear(&f->reports);
    write_file(f, "c.yaml", SERVICE_X("a", "3") "---\n" SERVICE_X("a", "4"));
    expect(f, &f->told, "change default/a;");
    expect(f, &f->reports, "c.yaml:6: Service default/a is defined twice in this file; the first one is used;");
}

static void follows_folders(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    start(f);
    make_dir(f, "sub");
    make_dir(f, "sub/sub");
    write_file(f, "sub/sub/a.yaml", SERVICE("a"));
    expect(f, &f->told, "put default/a;");
    write_file(f, "sub/sub/a.yaml", SERVICE_X("a", "1"));
    expect(f, &f->told, "change default/a;");
    rename_file(f, "sub", "moved");
    expect(f, &f->told, "");
    write_file(f, "moved/sub/a.yaml", SERVICE_X("a", "2"));
    expect(f, &f->told, "change default/a;");
    make_link(f, "..", "moved/loop");
    run_for(f, 60);
    remove_file(f, "moved/sub/a.yaml");
    expect(f, &f->told, "delete default/a;");
    write_file(f, "moved/sub/b.yaml", SERVICE("b"));
    expect(f, &f->told, "put default/b;");
    remove_file(f, "moved/sub/b.yaml");
    remove_file(f, "moved/sub");
    expect(f, &f->told, "delete default/b;");
    assert_string_equal(buf_str(&f->reports), "");
}

/* kubelet's way to update a mounted ConfigMap: a link to a folder is exchanged in one rename. */
static void follows_a_mounted_config_map(void **state)
{
    struct fixture *f = *state;

    add_usual_kinds(f);
    make_dir(f, "..v1");
    write_file(f, "..v1/a.yaml", SERVICE("a"));
    make_link(f, "..v1", "..data");
    make_link(f, "..data/a.yaml", "a.yaml");
    start(f);
    assert_int_equal(store_kind_objects(f->services), 1);
    make_dir(f, "..v2");
    write_file(f, "..v2/a.yaml", SERVICE_X("a", "1") "---\n" SERVICE("b"));
    make_link(f, "..v2", "..data_tmp");
    rename_file(f, "..data_tmp", "..data");
    remove_file(f, "..v1/a.yaml");
    remove_file(f, "..v1");
    expect(f, &f->told, "change default/a;put default/b;");
    assert_string_equal(buf_str(&f->reports), "");
}

/* git-sync: the folder that is given is a link, or behind one, and the link is turned. */
static void follows_links_on_the_path_to_the_folder(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_ptr) char *inside = path_of(f, "current/manifests");
    struct err err = {0};

    add_usual_kinds(f);
    make_dir(f, "rev1");
    make_dir(f, "rev1/manifests");
    write_file(f, "rev1/manifests/a.yaml", SERVICE("a"));
    make_dir(f, "rev2");
    make_dir(f, "rev2/manifests");
    write_file(f, "rev2/manifests/a.yaml", SERVICE_X("a", "1") "---\n" SERVICE("b"));
    write_file(f, "beside.yaml", SERVICE("beside"));
    make_link(f, "rev1", "head");
    make_link(f, "head", "current");
    if (source_dir_new(&f->loop, f->store, inside, report, f, &f->source, &err) < 0)
        fail_msg("%s", err.text);
    store_listen(f->store, hear, f);
    make_link(f, "rev2", "next");
    rename_file(f, "next", "head");
    expect(f, &f->told, "change default/a;put default/b;");
    make_link(f, "rev1", "next");
    rename_file(f, "next", "current");
    expect(f, &f->told, "change default/a;delete default/b;");
    write_file(f, "beside.yaml", SERVICE_X("beside", "1")); /* not in the folder */
    write_file(f, "rev1/manifests/a.yaml", SERVICE_X("a", "2"));
    expect(f, &f->told, "change default/a;");
    assert_string_equal(buf_str(&f->reports), "");
}

static void the_folder_going_away_changes_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_ptr) char *away = xasprintf("%s.away", f->dir);

    add_usual_kinds(f);
    write_file(f, "a.yaml", SERVICE("a"));
    start(f);
    assert_int_equal(rename(f->dir, away), 0);
    run_for(f, 150);
    assert_int_equal(store_kind_objects(f->services), 1);
    assert_non_null(strstr(buf_str(&f->reports), ".:0: cannot read the folder"));
    assert_int_equal(rename(away, f->dir), 0);
}

static void applies_selectors(void **state)
{
    struct fixture *f = *state;
    static const char *const two[] = {"a", "b", NULL};

    struct store_kind *labels = add_kind(
        f, (struct store_kind_spec){
               .name = "labels", .api_version = "v1", .resource = "services", .label_selector = "tier in (x)"});
    struct store_kind *fields = add_kind(
        f, (struct store_kind_spec){
               .name = "fields", .api_version = "v1", .resource = "services", .field_selector = "spec.type=NodePort"});
    struct store_kind *spaces = add_kind(
        f, (struct store_kind_spec){.name = "spaces", .api_version = "v1", .resource = "services", .namespaces = two});
    write_file(f, "a.yaml",
               "{apiVersion: v1, kind: Service, metadata: {name: l, labels: {tier: x}}}\n---\n"
               "{apiVersion: v1, kind: Service, metadata: {name: f, namespace: c}, spec: {type: NodePort}}\n---\n"
               "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: b}}\n");
    start(f);
    assert_int_equal(store_kind_objects(labels), 1);
    assert_non_null(store_get(labels, "default/l"));
    assert_int_equal(store_kind_objects(fields), 1);
    assert_non_null(store_get(fields, "c/f"));
    assert_int_equal(store_kind_objects(spaces), 1);
    assert_non_null(store_get(spaces, "b/s"));
    /* An object that no longer passes is gone. */
    write_file(f, "a.yaml", "{apiVersion: v1, kind: Service, metadata: {name: l, labels: {tier: z}}}\n");
    expect(f, &f->told, "delete default/l;delete c/f;delete b/s;");
}

static void kinds_can_come_later(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};

    f->services = add_kind(f,
                           (struct store_kind_spec){.name = "services", .api_version = "v1", .resource = "services"});
    write_file(f, "a.yaml", SERVICE("a") "---\napiVersion: example.com/v1\nkind: Policy\nmetadata: {name: p}\n");
    start(f);
    struct store_kind *policies = add_kind(
        f, (struct store_kind_spec){.name = "policies", .api_version = "example.com/v1", .resource = "policies"});
    assert_int_equal(source_dir_reload(f->source, &err), 0);
    assert_true(store_kind_is_synced(policies));
    assert_non_null(store_get(policies, "default/p"));
    expect(f, &f->told, "put default/p;");
    store_remove_kind(f->store, f->services);
    assert_int_equal(source_dir_reload(f->source, &err), 0);
    expect(f, &f->told, "delete default/a;");
    write_file(f, "a.yaml", SERVICE("a"));
    expect(f, &f->told, "delete default/p;");
    (void)add_kind(
        f, (struct store_kind_spec){.name = "bad", .api_version = "v1", .resource = "x", .label_selector = "a in"});
    assert_int_equal(source_dir_reload(f->source, &err), -1);
    assert_non_null(strstr(err.text, "watched resource \"bad\": label selector"));
}

/* A change is in the store long before a burst's 20 ms are over. */
static void reacts_at_once(void **state)
{
    struct fixture *f = *state;
    int64_t best = INT64_MAX;

    add_usual_kinds(f);
    start(f);
    for (int i = 0; i < 5; i++) {
        char text[200];
        snprintf(text, sizeof(text), SERVICE_X("a", "%d"), i);
        run_for(f, 60);
        buf_clear(&f->told);
        int64_t begin = clock_now_ns();
        write_file(f, "a.yaml", text);
        while (f->told.length == 0 && clock_now_ns() - begin < 4 * NS_PER_S)
            uv_run(&f->loop, UV_RUN_ONCE);
        int64_t took = clock_now_ns() - begin;
        best = took < best ? took : best;
    }
    print_message("a written file is in the store after %d us\n", (int)(best / 1000));
    assert_true(best < 15 * NS_PER_MS);
}

static void refuses_what_is_no_folder(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    CLEANUP(free_ptr) char *file = path_of(f, "file"), *none = path_of(f, "none");

    write_file(f, "file", "");
    assert_int_equal(source_dir_new(&f->loop, f->store, none, report, f, &f->source, &err), -1);
    assert_int_equal(err.kind, ERR_SYS);
    assert_int_equal(source_dir_new(&f->loop, f->store, file, report, f, &f->source, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
}

/* ── manifests ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void read_fixture(const char *name, struct manifest *manifest)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/manifests/%s", getenv("SPEC_DATA"), name);
    char text[4096];
    struct json_position at;
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof(text));

    assert_true(length > 0);
    assert_int_equal(manifest_parse(text, (size_t)length, false, sizeof(text), manifest, &at, NULL), 0);
}

static void lists_are_taken_apart(void **state)
{
    (void)state;
    CLEANUP(manifest_done) struct manifest m = {0};
    CLEANUP(buf_done) struct buf out = {0};

    read_fixture("lists.yaml", &m);
    for (size_t i = 0; i < m.length; i++) {
        assert_null(m.items[i].problem);
        buf_printf(&out, "%zu %s %s %s/%s\n", m.items[i].line, m.items[i].api_version, m.items[i].kind,
                   m.items[i].namespace, m.items[i].name);
    }
    assert_string_equal(out.data, "5 v1 Service a/one\n"
                                  "11 networking.k8s.io/v1 Ingress default/two\n"
                                  "12 networking.k8s.io/v1 Ingress b/three\n"
                                  "17 networking.k8s.io/v1 IngressClass /haproxy\n"
                                  "21 v1 Namespace /a\n");
}

static void problems_are_named(void **state)
{
    (void)state;
    CLEANUP(manifest_done) struct manifest m = {0};
    CLEANUP(buf_done) struct buf out = {0};

    read_fixture("problems.yaml", &m);
    for (size_t i = 0; i < m.length; i++)
        buf_printf(&out, "%zu %s\n", m.items[i].line, m.items[i].problem ? m.items[i].problem : "good");
    assert_string_equal(out.data,
                        "1 Service without apiVersion\n"
                        "4 an object without kind\n"
                        "7 Service without metadata.name\n"
                        "10 not a Kubernetes object: a mapping with apiVersion, kind and metadata is expected\n"
                        "12 Node n1: this kind is cluster-scoped: remove metadata.namespace\n"
                        "16 Service s: metadata.namespace is not a string; put it into quotes\n"
                        "20 Service: metadata.name is not a string; put it into quotes\n"
                        "24 good\n");
}

static void kinds_have_plurals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Ingress", "ingresses"},
        {"Service", "services"},
        {"EndpointSlice", "endpointslices"},
        {"Endpoints", "endpoints"},
        {"NetworkPolicy", "networkpolicies"},
        {"IngressClass", "ingressclasses"},
        {"Gateway", "gateways"},
        {"HTTPRoute", "httproutes"},
        {"BackendTLSPolicy", "backendtlspolicies"},
        {"Proxy", "proxies"},
        {"Prefix", "prefixes"},
        {"Patch", "patches"},
        {"Y", "ys"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(free_ptr) char *plural = manifest_resource_of(cases[i][0]);
        assert_string_equal(plural, cases[i][1]);
    }
    assert_true(manifest_is_cluster_scoped("v1", "Namespace"));
    assert_true(manifest_is_cluster_scoped("gateway.networking.k8s.io/v1", "GatewayClass"));
    assert_false(manifest_is_cluster_scoped("example.com/v1", "Namespace"));
    assert_false(manifest_is_cluster_scoped("v1", "Service"));
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(loads_what_is_there),
        WITH_FOLDER(follows_changes),
        WITH_FOLDER(a_replaced_file_never_vanishes),
        WITH_FOLDER(a_wrong_file_keeps_what_it_had),
        WITH_FOLDER(a_wrong_document_keeps_its_own_object_only),
        WITH_FOLDER(byte_order_marks_are_no_content),
        WITH_FOLDER(utf16_is_read_or_named),
        WITH_FOLDER(types_are_judged_as_the_server_does),
        WITH_FOLDER(the_first_path_wins),
        WITH_FOLDER(follows_folders),
        WITH_FOLDER(follows_a_mounted_config_map),
        WITH_FOLDER(follows_links_on_the_path_to_the_folder),
        WITH_FOLDER(the_folder_going_away_changes_nothing),
        WITH_FOLDER(applies_selectors),
        WITH_FOLDER(kinds_can_come_later),
        WITH_FOLDER(reacts_at_once),
        WITH_FOLDER(refuses_what_is_no_folder),
        cmocka_unit_test(lists_are_taken_apart),
        cmocka_unit_test(problems_are_named),
        cmocka_unit_test(kinds_have_plurals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
