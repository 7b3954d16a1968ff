/* haptic test: the tests that stand in the configuration, each on objects of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "cmd/workbench_options.h"
#include "data/json.h"
#include "offline/pattern.h"
#include "offline/template_place.h"
#include "offline/test_run.h"

enum { TEST_RUN = WORKBENCH_OWN, TEST_SEED, TEST_OUTPUT };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {TEST_RUN, 'r', "run", "PATTERN", NULL, NULL, "only tests whose name has a match of this regular expression"},
    {TEST_SEED, 0, "seed", "NUMBER", NULL, NULL, "for the order of tests and objects; printed by each run"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for and to check with (haproxy in PATH)"},
    {TEST_OUTPUT, 'o', "output", "FORMAT", NULL, "text", "text, json, junit, tap, sarif or github"},
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "test",
    .arguments = "[TESTS…]",
    .text =
        "Runs the validationTests of a configuration: renders the objects of each test and judges its assertions. "
        "Each test is rendered a\nsecond time with its objects one by one in another order; both must give the same "
        "bytes.\nTESTS: files with validationTests beside those of the configuration.\n\n  haptic test -c my.yaml\n  haptic test -c my.yaml --run '^tls' -o junit\n\n"
        "Exit status: 0 all passed, 1 a test failed or none was run, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct test_file {
    const char *path;
    struct test_cases cases;
};

struct chosen_test {
    const struct test_case *test;
    const struct test_file *file;
};

enum test_format { FORMAT_FINDINGS, FORMAT_TEXT, FORMAT_JSON, FORMAT_JUNIT, FORMAT_TAP };

struct test_command {
    struct workbench_command common;
    const char *run;
    uint64_t seed;
    bool seed_given;
    enum test_format format;
    struct option_arguments more; /* files with tests */
    VEC(struct test_file) files;  /* the configuration first */
    VEC(struct chosen_test) chosen;
    VEC(struct test_result) results;
    size_t passed, failed, skipped;
    struct buf report;
};

static int set_output(struct test_command *t, const char *value, struct err *err)
{
    static const struct {
        const char *name;
        enum test_format format;
    } formats[] = {{"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {"junit", FORMAT_JUNIT}, {"tap", FORMAT_TAP}};

    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(value, formats[i].name) == 0) {
            t->format = formats[i].format;
            return 0;
        }
    t->format = FORMAT_FINDINGS;
    if (strcmp(value, "sarif") == 0 || strcmp(value, "github") == 0)
        return workbench_command_set(&t->common, WORKBENCH_OUTPUT, value, err);
    return err_set(err, ERR_INVALID, "there is no format \"%.32s\": text, json, junit, tap, sarif or github", value);
}

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct test_command *t = ctx;
    char *end;

    switch (id) {
    case TEST_RUN:
        t->run = value;
        return 0;
    case TEST_SEED:
        t->seed = strtoull(value, &end, 10);
        t->seed_given = true;
        return *value != '\0' && *end == '\0' ? 0 : err_set(err, ERR_INVALID, "\"%.32s\" is no number", value);
    case TEST_OUTPUT:
        return set_output(t, value, err);
    default:
        return workbench_command_set(&t->common, id, value, err);
    }
}

/* ---- which tests ---- */

static int choose_of(struct test_command *t, const struct test_file *file, const struct pattern *pattern,
                     struct err *err)
{
    for (size_t i = 0; i < file->cases.items.length; i++) {
        const struct test_case *test = &file->cases.items.items[i];
        size_t start, end;
        if (test == file->cases.global)
            continue;
        int found = pattern == NULL ? 1 : pattern_find(pattern, test->name, strlen(test->name), 0, &start, &end, err);
        if (found < 0)
            return -1;
        if (found > 0)
            vec_push(&t->chosen, ((struct chosen_test){.test = test, .file = file}));
    }
    return 0;
}

static int choose(struct test_command *t, struct err *err)
{
    struct pattern *pattern = NULL;
    int result = 0;

    if (t->run != NULL && pattern_new(t->run, &pattern, err) < 0)
        return -1;
    for (size_t i = 0; i < t->files.length && result >= 0; i++)
        result = choose_of(t, &t->files.items[i], pattern, err);
    pattern_free(pattern);
    uint64_t state = t->seed;
    for (size_t i = t->chosen.length; i > 1; i--) { /* in a random order: no test may need another */
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t j = (size_t)((state >> 33) % i);
        struct chosen_test swapped = t->chosen.items[i - 1];
        t->chosen.items[i - 1] = t->chosen.items[j];
        t->chosen.items[j] = swapped;
    }
    return result;
}

/* ---- reports ---- */

static const char *milliseconds(int64_t ns, char text[32])
{
    snprintf(text, 32, "%.3f", (double)ns / (double)NS_PER_S);
    return text;
}

static void report_text(const struct chosen_test *chosen, const struct test_result *r, bool colour)
{
    const struct test_case *test = chosen->test;
    const char *begin = !colour ? "" : r->verdict == TEST_FAILED ? "\033[31m" : "\033[33m";

    if (r->verdict == TEST_SKIPPED)
        printf("%sskipped%s %s: %s\n", begin, colour ? "\033[0m" : "", test->name, r->skipped);
    for (size_t i = 0; i < r->failures.length; i++)
        printf("%sfailed%s  %s (%s:%zu): %s\n", begin, colour ? "\033[0m" : "", test->name, chosen->file->path,
               r->failures.items[i].line, r->failures.items[i].message);
}

static void add_json(struct buf *out, const char *text)
{
    struct err err;

    if (json_write_string(out, text ? text : "", text ? strlen(text) : 0, &err) < 0)
        buf_puts(out, "\"\"");
}

static void report_json(struct test_command *t, const struct test_case *test, const struct test_result *r)
{
    static const char *const verdicts[] = {
        [TEST_PASSED] = "passed", [TEST_FAILED] = "failed", [TEST_SKIPPED] = "skipped"};
    struct buf *out = &t->report;
    char seconds[32];

    buf_puts(out, out->length > 0 ? ",\n{\"name\":" : "{\"name\":");
    add_json(out, test->name);
    buf_puts(out, ",\"description\":");
    add_json(out, test->description);
    buf_printf(out, ",\"verdict\":\"%s\",\"seconds\":%s,\"skipped\":", verdicts[r->verdict],
               milliseconds(r->duration_ns, seconds));
    add_json(out, r->skipped);
    buf_puts(out, ",\"failures\":[");
    for (size_t i = 0; i < r->failures.length; i++) {
        buf_printf(out, "%s{\"line\":%zu,\"message\":", i ? "," : "", r->failures.items[i].line);
        add_json(out, r->failures.items[i].message);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}");
}

static void report_junit(struct test_command *t, const struct test_case *test, const struct test_result *r)
{
    struct buf *out = &t->report;
    char seconds[32];

    buf_puts(out, "<testcase classname=\"validationTests\" name=\"");
    finding_put_xml(out, test->name);
    buf_printf(out, "\" time=\"%s\">", milliseconds(r->duration_ns, seconds));
    if (r->verdict == TEST_SKIPPED) {
        buf_puts(out, "<skipped message=\"");
        finding_put_xml(out, r->skipped);
        buf_puts(out, "\"/>");
    }
    for (size_t i = 0; i < r->failures.length; i++) {
        buf_printf(out, "<failure message=\"line %zu\">", r->failures.items[i].line);
        finding_put_xml(out, r->failures.items[i].message);
        buf_puts(out, "</failure>");
    }
    buf_puts(out, "</testcase>\n");
}

static void report_tap(struct test_command *t, const struct test_case *test, const struct test_result *r, size_t number)
{
    struct buf *out = &t->report;

    buf_printf(out, "%s %zu - %s%s%s\n", r->verdict == TEST_FAILED ? "not ok" : "ok", number, test->name,
               r->verdict == TEST_SKIPPED ? " # SKIP " : "", r->skipped ? r->skipped : "");
    for (size_t i = 0; i < r->failures.length; i++) {
        const char *line = r->failures.items[i].message;
        while (*line != '\0') {
            size_t length = strcspn(line, "\n");
            buf_printf(out, "# %.*s\n", (int)length, line);
            line += length + (line[length] == '\n');
        }
    }
}

static void report(struct test_command *t, size_t number, bool colour)
{
    const struct chosen_test *chosen = &t->chosen.items[number];
    const struct test_case *test = chosen->test;
    const struct test_result *r = &t->results.items[number];

    switch (t->format) {
    case FORMAT_TEXT:
        report_text(chosen, r, colour);
        break;
    case FORMAT_JSON:
        report_json(t, test, r);
        break;
    case FORMAT_JUNIT:
        report_junit(t, test, r);
        break;
    case FORMAT_TAP:
        report_tap(t, test, r, number + 1);
        break;
    case FORMAT_FINDINGS:
        for (size_t i = 0; i < r->failures.length; i++) {
            CLEANUP(free_ptr) char *message = xasprintf("%s: %s", test->name, r->failures.items[i].message);
            findings_add(&t->common.findings, &(struct finding){.code = FINDING_TEST_FAILED,
                                                                .file = chosen->file->path,
                                                                .line = r->failures.items[i].line,
                                                                .message = message});
        }
    }
}

static void finish_report(struct test_command *t, int64_t duration_ns)
{
    char seconds[32];

    switch (t->format) {
    case FORMAT_TEXT:
        printf("Tests: %zu passed, %zu failed, %zu skipped; %s s, seed %" PRIu64 "\n", t->passed, t->failed, t->skipped,
               milliseconds(duration_ns, seconds), t->seed);
        break;
    case FORMAT_JSON:
        printf("{\"passed\":%zu,\"failed\":%zu,\"skipped\":%zu,\"seed\":%" PRIu64 ",\"tests\":[\n%s\n]}\n", t->passed,
               t->failed, t->skipped, t->seed, buf_str(&t->report));
        break;
    case FORMAT_JUNIT:
        printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"haptic test\" tests=\"%zu\" "
               "failures=\"%zu\" skipped=\"%zu\" time=\"%s\">\n%s</testsuite>\n",
               t->chosen.length, t->failed, t->skipped, milliseconds(duration_ns, seconds), buf_str(&t->report));
        break;
    case FORMAT_TAP:
        printf("TAP version 13\n1..%zu\n%s", t->chosen.length, buf_str(&t->report));
        break;
    case FORMAT_FINDINGS:
        (void)workbench_command_report(&t->common, stdout);
    }
}

/* ---- the run ---- */

static int run_all(struct test_command *t)
{
    const struct test_run_options options = {
        .workbench = t->common.options, .haproxy_binary = t->common.options.haproxy_binary, .seed = t->seed};
    bool colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    int64_t begun = clock_now_ns();
    struct err err;

    for (size_t i = 0; i < t->chosen.length; i++) {
        struct test_result r;
        const struct chosen_test *chosen = &t->chosen.items[i];
        if (test_run(&t->common.loop, &chosen->file->cases, chosen->test, &options, &r, &err) < 0) {
            fprintf(stderr, "haptic test: %s: %s\n", chosen->test->name, err.text);
            test_result_done(&r);
            return EXIT_USAGE;
        }
        vec_push(&t->results, r);
        t->passed += r.verdict == TEST_PASSED;
        t->failed += r.verdict == TEST_FAILED;
        t->skipped += r.verdict == TEST_SKIPPED;
        report(t, i, colour);
    }
    finish_report(t, clock_now_ns() - begun);
    return t->failed > 0 || t->passed == 0 ? EXIT_FINDINGS : EXIT_CLEAN;
}

static int refuse(struct test_command *t, const char *why)
{
    place_finding(&t->common.findings, FINDING_TESTS_WRONG, why);
    if (t->format != FORMAT_FINDINGS)
        t->common.format = t->format == FORMAT_JSON    ? FINDING_JSON
                           : t->format == FORMAT_JUNIT ? FINDING_JUNIT
                                                       : FINDING_TEXT;
    (void)workbench_command_report(&t->common, t->format == FORMAT_TAP ? stderr : stdout);
    return EXIT_FINDINGS;
}

/* The configuration's own tests, then those of further files; each has a _global of its own. */
static int load_files(struct test_command *t, struct err *err)
{
    vec_reserve(&t->files, t->more.items.length + 1); /* what is chosen points into it */
    for (size_t i = 0; i <= t->more.items.length; i++) {
        const char *path = i == 0 ? t->common.options.config_file : t->more.items.items[i - 1];
        vec_push(&t->files, ((struct test_file){.path = path}));
        if (test_cases_load(path, &t->files.items[i].cases, err) < 0)
            return -1;
    }
    return 0;
}

static bool has_tests(const struct test_command *t)
{
    for (size_t i = 0; i < t->files.length; i++)
        if (t->files.items[i].cases.items.length > 0)
            return true;
    return false;
}

static int serve(struct test_command *t)
{
    struct err err;

    if (t->common.options.config_file == NULL) {
        fprintf(stderr, "haptic test: which configuration? give --config FILE\n");
        return EXIT_USAGE;
    }
    if (!t->seed_given && getrandom(&t->seed, sizeof(t->seed), 0) == (ssize_t)sizeof(t->seed))
        t->seed &= UINT32_MAX;
    /* The configuration itself first: its findings are better than each test's. */
    if (t->common.workbench == NULL) {
        (void)workbench_command_report(&t->common, stdout);
        return EXIT_FINDINGS;
    }
    t->common.workbench = workbench_free(t->common.workbench);
    if (load_files(t, &err) < 0)
        return refuse(t, err.text);
    if (choose(t, &err) < 0) {
        fprintf(stderr, "haptic test: --run: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (t->chosen.length == 0)
        return refuse(t, has_tests(t) ? "no test has a name that --run chooses"
                                      : "the configuration has no validationTests");
    return run_all(t);
}

int cmd_test(int argc, char **argv)
{
    struct test_command t = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &t, &t.more, &err) < 0) {
        fprintf(stderr, "haptic test: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (t.common.help) {
        options_print_help(&table);
    } else {
        vec_push(&t.common.sources.items, NULL); /* each test has objects of its own */
        if (workbench_command_begin(&t.common, "test", &status))
            status = serve(&t);
    }
    workbench_command_done(&t.common);
    for (size_t i = 0; i < t.results.length; i++)
        test_result_done(&t.results.items[i]);
    vec_done(&t.results);
    vec_done(&t.chosen);
    for (size_t i = 0; i < t.files.length; i++)
        test_cases_done(&t.files.items[i].cases);
    vec_done(&t.files);
    vec_done(&t.more.items);
    buf_done(&t.report);
    return status;
}

const struct option_table *cmd_test_options(void)
{
    return &table;
}
