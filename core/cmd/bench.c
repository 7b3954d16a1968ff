/* haptic bench: what the templates cost with many objects, how that grows, and what another configuration costs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"
#include "controller/config_paths.h"
#include "data/json.h"
#include "offline/bench.h"
#include "offline/scaled.h"
#include "offline/test_case.h"

enum { BENCH_NEW_CONFIG = WORKBENCH_OWN, BENCH_OBJECTS, BENCH_OUTPUT };

#define OBJECTS_MAX 1000000
#define SIZES 2
#define SMALLER 4 /* the first size is so many times smaller */
#define ROWS_SHOWN 15
#define SHOWN_NS 50000 /* what costs less is noise */

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {BENCH_NEW_CONFIG, 'C', "new-config", "FILE|DIR", NULL, NULL, "compare with this configuration"},
    {BENCH_OBJECTS, 'n', "objects", "NUMBER", NULL, "1000", "minimum number of objects in namespaces"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for and to check with (haproxy in PATH)"},
    ROW_TEXT_OR_JSON(BENCH_OUTPUT, "text, or json for CI"),
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "bench",
    .arguments = "[SOURCE…]",
    .text =
        "Copies objects until there are --objects of them, and measures with a quarter of them and with all: the "
        "first rendering, one\n"
        "change, the check by HAProxy, the memory that fragments allocate, and how each cost grows "
        "(exponent 1: with the number, 2: with its square).\nSOURCE: manifests; without them the fixtures of the "
        "configuration's validationTests are copied. A copy is in a namespace of its\nown, and its hosts have names "
        "of their own.\n\n"
        "  haptic bench -c my.yaml --objects 10000 examples/manifests\n"
        "  haptic bench -c old.yaml -C new.yaml\n\n"
        "Exit status: 0 measured, 1 the templates are wrong, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct bench {
    struct workbench_command common;
    const char *new_config;
    int64_t objects;
    struct bench_run runs[2][SIZES]; /* by configuration */
    size_t configs;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct bench *b = ctx;
    char *end;

    switch (id) {
    case BENCH_NEW_CONFIG:
        b->new_config = value;
        return 0;
    case BENCH_OBJECTS:
        b->objects = strtoll(value, &end, 10);
        return *value != '\0' && *end == '\0' && b->objects >= SMALLER && b->objects <= OBJECTS_MAX
                   ? 0
                   : err_set(err, ERR_INVALID, "\"%.32s\" is no number from %d to %d", value, SMALLER, OBJECTS_MAX);
    case BENCH_OUTPUT:
        return text_or_json(value, &b->common.format, err);
    default:
        return workbench_command_set(&b->common, id, value, err);
    }
}

/* ---- objects ---- */

static int put_fixtures(struct bench *b, yyjson_val *fixtures, struct err *err)
{
    size_t i, max, j, count;
    yyjson_val *name, *list, *object;

    yyjson_obj_foreach(fixtures, i, max, name, list)
    {
        struct store_kind *kind = store_kind_by_name(workbench_store(b->common.workbench), yyjson_get_str(name));
        if (kind == NULL)
            return err_set(err, ERR_INVALID, "fixtures.%.64s: no entry of watchedResources has this name",
                           yyjson_get_str(name));
        yyjson_arr_foreach(list, j, count, object)
        {
            if (store_put_value(kind, object, NULL, err) < 0)
                return err_wrap(err, "fixtures.%.64s", yyjson_get_str(name));
        }
    }
    return 0;
}

/* Of all tests; of equal objects the last one counts. */
static int take_fixtures(struct bench *b, struct err *err)
{
    struct config_strings files = {0};
    int result = config_paths(b->common.options.config_file, &files, err);

    for (size_t i = 0; i < files.length && result == 0; i++) {
        struct test_cases cases = {0};
        result = test_cases_load(files.items[i], &cases, err);
        for (size_t j = 0; j < cases.items.length && result == 0; j++)
            result = put_fixtures(b, cases.items.items[j].fixtures, err);
        test_cases_done(&cases);
    }
    config_paths_done(&files);
    return result;
}

/* ---- measuring ---- */

static int measure(struct bench *b, const char *config, struct bench_run *runs, bool *ret_usable, struct err *err)
{
    struct workbench_options options = b->common.options;

    options.config_file = config;
    *ret_usable = true;
    for (size_t i = 0; i < SIZES && *ret_usable; i++)
        if (bench_run(&b->common.loop, b->common.workbench, &options,
                      (size_t)b->objects / (i + 1 < SIZES ? SMALLER : 1), &b->common.findings, &runs[i], ret_usable,
                      err) < 0)
            return -1;
    return 0;
}

/* ---- text ---- */

static double ms(int64_t ns)
{
    return (double)ns / NS_PER_MS;
}

static void print_row(const char *name, const struct bench_run *runs, double small, double large)
{
    printf("  %-22s %12.2f %12.2f %9.2f\n", name, small, large,
           bench_exponent(small, large, runs[0].objects, runs[SIZES - 1].objects));
}

static void print_fragments(const struct bench_run *runs)
{
    const struct timings *all = &runs[SIZES - 1].timings;

    printf("  %-22s %12s %12s %9s\n", "fragments, ms", "", "", "exponent");
    for (size_t i = 0; i < all->items.length && i < ROWS_SHOWN; i++) {
        const struct timing *large = &all->items.items[i], *small = timings_find(&runs[0].timings, large->name);
        if (large->total_ns < SHOWN_NS)
            break;
        print_row(large->name, runs, small ? ms(small->total_ns) : 0, ms(large->total_ns));
    }
}

static void print_config(const char *config, const struct bench_run *runs)
{
    const struct bench_run *a = &runs[0], *z = &runs[SIZES - 1];

    printf("%s\n  %-22s %12zu %12zu %9s\n", config ? config : "the built-in configuration", "objects", a->objects,
           z->objects, "exponent");
    print_row("render, ms", runs, ms(a->render_ns), ms(z->render_ns));
    print_row("one change, ms", runs, ms(a->incremental_ns), ms(z->incremental_ns));
    print_row("validate, ms", runs, ms(a->validate_ns), ms(z->validate_ns));
    print_row("allocated, KiB", runs, (double)a->allocated_bytes / 1024, (double)z->allocated_bytes / 1024);
    print_row("number of fragments", runs, (double)a->fragments, (double)z->fragments);
    print_fragments(runs);
}

static void print_change(const char *name, double before, double after)
{
    printf("  %-22s %12.2f %12.2f %+8.1f %%\n", name, before, after, before > 0 ? 100 * (after - before) / before : 0);
}

/* The larger size of both. */
static void print_comparison(const struct bench *b)
{
    const struct bench_run *x = &b->runs[0][SIZES - 1], *y = &b->runs[1][SIZES - 1];

    printf("with %zu objects: before, after\n", y->objects);
    print_change("render, ms", ms(x->render_ns), ms(y->render_ns));
    print_change("one change, ms", ms(x->incremental_ns), ms(y->incremental_ns));
    print_change("validate, ms", ms(x->validate_ns), ms(y->validate_ns));
    print_change("allocated, KiB", (double)x->allocated_bytes / 1024, (double)y->allocated_bytes / 1024);
    for (size_t i = 0; i < y->timings.items.length && i < ROWS_SHOWN; i++) {
        const struct timing *t = &y->timings.items.items[i], *before = timings_find(&x->timings, t->name);
        if (t->total_ns >= SHOWN_NS)
            print_change(t->name, before ? ms(before->total_ns) : 0, ms(t->total_ns));
    }
}

/* ---- JSON ---- */

static void put_text(struct buf *out, const char *text)
{
    struct err ignored;

    if (json_write_string(out, text, strlen(text), &ignored) < 0)
        buf_puts(out, "\"\"");
}

static void put_run(const struct bench_run *r, struct buf *out)
{
    buf_printf(out,
               "{\"objects\":%zu,\"fragments\":%zu,\"render_ms\":%.3f,\"change_ms\":%.3f,\"validate_ms\":%.3f,"
               "\"allocated_bytes\":%" PRId64 "}",
               r->objects, r->fragments, ms(r->render_ns), ms(r->incremental_ns), ms(r->validate_ns),
               r->allocated_bytes);
}

static void put_config(const char *config, const struct bench_run *runs, struct buf *out)
{
    const struct bench_run *a = &runs[0], *z = &runs[SIZES - 1];

    buf_puts(out, "{\"configuration\":");
    put_text(out, config ? config : "");
    buf_puts(out, ",\"sizes\":[");
    put_run(a, out);
    buf_putc(out, ',');
    put_run(z, out);
    buf_printf(out,
               "],\"exponents\":{\"render\":%.3f,\"change\":%.3f,\"validate\":%.3f,\"allocated\":%.3f},\"fragments\":[",
               bench_exponent((double)a->render_ns, (double)z->render_ns, a->objects, z->objects),
               bench_exponent((double)a->incremental_ns, (double)z->incremental_ns, a->objects, z->objects),
               bench_exponent((double)a->validate_ns, (double)z->validate_ns, a->objects, z->objects),
               bench_exponent((double)a->allocated_bytes, (double)z->allocated_bytes, a->objects, z->objects));
    for (size_t i = 0; i < z->timings.items.length; i++) {
        const struct timing *t = &z->timings.items.items[i], *small = timings_find(&a->timings, t->name);
        buf_puts(out, i ? ",\n{\"name\":" : "\n{\"name\":");
        put_text(out, t->name);
        buf_printf(out,
                   ",\"runs\":%" PRIu64 ",\"ms\":[%.3f,%.3f],\"exponent\":%.3f,\"allocated_bytes\":%" PRId64
                   ",\"allocated_exponent\":%.3f}",
                   t->runs, small ? ms(small->total_ns) : 0, ms(t->total_ns),
                   bench_exponent(small ? (double)small->total_ns : 0, (double)t->total_ns, a->objects, z->objects),
                   t->bytes,
                   bench_exponent(small ? (double)small->bytes : 0, (double)t->bytes, a->objects, z->objects));
    }
    buf_puts(out, "]}");
}

static void print_json(const struct bench *b)
{
    CLEANUP(buf_done) struct buf out = {0};

    buf_puts(&out, "{\"configurations\":[");
    put_config(b->common.options.config_file, b->runs[0], &out);
    if (b->configs > 1) {
        buf_puts(&out, ",\n");
        put_config(b->new_config, b->runs[1], &out);
    }
    buf_puts(&out, "]}\n");
    fwrite(buf_str(&out), 1, out.length, stdout);
}

/* ---- the command ---- */

static int fail(const char *why)
{
    fprintf(stderr, "haptic bench: %s\n", why);
    return EXIT_USAGE;
}

static int serve(struct bench *b)
{
    const char *const configs[] = {b->common.options.config_file, b->new_config};
    bool usable = b->common.workbench != NULL;
    struct err err;

    if (usable && b->common.sources.items.length == 0 && configs[0] != NULL && take_fixtures(b, &err) < 0)
        return fail(err.text);
    if (usable && scaled_count(b->common.workbench) == 0)
        return fail("there is no object in a namespace to copy: name manifests, or a configuration with fixtures");
    for (size_t i = 0; i < 2 && usable && (i == 0 || configs[i] != NULL); i++) {
        if (measure(b, configs[i], b->runs[i], &usable, &err) < 0)
            return fail(err.text);
        b->configs = i + 1;
    }
    if (!usable || findings_count(&b->common.findings, FINDING_ERROR) > 0)
        return workbench_command_report(&b->common, stdout);
    if (b->common.format == FINDING_JSON) {
        print_json(b);
        return EXIT_CLEAN;
    }
    for (size_t i = 0; i < b->configs; i++)
        print_config(configs[i], b->runs[i]);
    if (b->configs > 1)
        print_comparison(b);
    return EXIT_CLEAN;
}

int cmd_bench(int argc, char **argv)
{
    struct bench b = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &b, &b.common.sources, &err) < 0) {
        fprintf(stderr, "haptic bench: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (b.common.help) {
        options_print_help(&table);
    } else if (workbench_command_begin(&b.common, "bench", &status)) {
        status = serve(&b);
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < SIZES; j++)
            bench_run_done(&b.runs[i][j]);
    workbench_command_done(&b.common);
    return status;
}

const struct option_table *cmd_bench_options(void)
{
    return &table;
}
