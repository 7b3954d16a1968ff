/* haptic test: the tests that stand in the configuration, each on objects of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "cmd/workbench_options.h"
#include "controller/config_paths.h"
#include "data/json.h"
#include "data/pattern.h"
#include "offline/file_watch.h"
#include "offline/template_place.h"
#include "offline/test_jobs.h"
#include "offline/test_report.h"

#define PROGRESS_NS (2 * NS_PER_S)

enum {
    TEST_RUN = WORKBENCH_OWN,
    TEST_SEED,
    TEST_OUTPUT,
    TEST_JOBS,
    TEST_SHARE,
    TEST_WATCH,
    TEST_UPDATE,
    TEST_COVERAGE,
    TEST_LCOV,
    TEST_FAIL_UNDER,
    TEST_WITHOUT_REQUESTS
};

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {TEST_RUN, 'r', "run", "PATTERN", NULL, NULL, "only tests whose name has a match of this regular expression"},
    {TEST_SEED, 0, "seed", "NUMBER", NULL, NULL, "for the order of tests and objects; printed by each run"},
    {TEST_JOBS, 'j', "jobs", "NUMBER", NULL, "1", "number of processes, each with a part of the tests"},
    {TEST_SHARE, 0, "share", "K/N", NULL, NULL, "only the K-th of N equal parts of the tests in the seed's order"},
    {TEST_WATCH, 'w', "watch", NULL, NULL, NULL, "run again whenever a file of the configuration or the tests changes"},
    {TEST_UPDATE, 'u', "update", NULL, NULL, NULL, "write the rendered texts into the files of `equals` assertions"},
    {TEST_COVERAGE, 0, "coverage", NULL, NULL, NULL, "show the lines of templates and the routes that no test uses"},
    {TEST_LCOV, 0, "lcov", "FILE", NULL, NULL, "write that as a tracefile of LCOV"},
    {TEST_FAIL_UNDER, 0, "fail-under", "PERCENT[,PERCENT]", NULL, NULL,
     "fail when less of the template lines, or of the routes, is covered"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for and to check with (haproxy in PATH)"},
    {TEST_OUTPUT, 'o', "output", "FORMAT", NULL, "text", "text, json, junit, tap, sarif or github"},
    {TEST_WITHOUT_REQUESTS, 0, "without-requests", NULL, NULL, NULL,
     "start no HAProxy; tests that have requests only are skipped"},
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "test",
    .arguments = "[TESTS…]",
    .text =
        "Runs the validationTests of a configuration: renders the objects of each test and checks its assertions. "
        "Each test is rendered a\nsecond time with its objects one by one in another order; both must give the same "
        "bytes.\nTESTS: files with validationTests beside those of the configuration.\n\n"
        "  haptic test -c my.yaml\n  haptic test -c my.yaml --run '^tls' -o junit\n"
        "  haptic test -c my.yaml --coverage --fail-under 90\n  haptic test -c my.yaml --watch\n\n"
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
    struct test_result result; /* of another process */
};

struct test_command {
    struct workbench_command common;
    int argc;
    char **argv;
    const char *run, *lcov;
    uint64_t seed;
    bool seed_given, watch, update, covers, without_requests;
    int64_t jobs, share, shares; /* share from 1; 0: all */
    double lines_wanted, routes_wanted;
    enum test_format format;
    struct option_arguments more; /* files with tests */
    struct config_strings paths;  /* of files with tests: those of the configuration first */
    VEC(struct test_file) files;
    VEC(struct chosen_test) chosen;
    struct coverage coverage;
    struct test_report report;
};

static int set_number(const char *value, int64_t max, int64_t *ret_number, struct err *err)
{
    char *end;
    long long number = strtoll(value, &end, 10);

    if (*value == '\0' || *end != '\0' || number < 1 || number > max)
        return err_set(err, ERR_INVALID, "\"%.32s\" is no number from 1 to %" PRId64, value, max);
    *ret_number = number;
    return 0;
}

static int set_share(struct test_command *t, const char *value, struct err *err)
{
    char rest;

    if (sscanf(value, "%" SCNd64 "/%" SCNd64 "%c", &t->share, &t->shares, &rest) == 2 && t->share >= 1 &&
        t->share <= t->shares)
        return 0;
    return err_set(err, ERR_INVALID, "\"%.32s\": write the part and how many there are, such as 1/4", value);
}

static int set_fail_under(struct test_command *t, const char *value, struct err *err)
{
    char *end;

    t->covers = true;
    t->lines_wanted = strtod(value, &end);
    if (end != value && *end == ',') {
        value = end + 1;
        t->routes_wanted = strtod(value, &end);
    }
    if (end == value || *end != '\0' || !(t->lines_wanted >= 0 && t->lines_wanted <= 100) ||
        !(t->routes_wanted >= 0 && t->routes_wanted <= 100))
        return err_set(err, ERR_INVALID, "\"%.32s\": write percentages of lines and of routes, such as 90 or 90,50",
                       value);
    return 0;
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
    case TEST_JOBS:
        return set_number(value, TEST_JOBS_MAX, &t->jobs, err);
    case TEST_SHARE:
        return set_share(t, value, err);
    case TEST_WATCH:
        t->watch = true;
        return 0;
    case TEST_UPDATE:
        t->update = true;
        return 0;
    case TEST_COVERAGE:
        t->covers = true;
        return 0;
    case TEST_LCOV:
        t->lcov = value;
        t->covers = true;
        return 0;
    case TEST_FAIL_UNDER:
        return set_fail_under(t, value, err);
    case TEST_WITHOUT_REQUESTS:
        t->without_requests = true;
        return 0;
    case TEST_OUTPUT:
        return test_format_parse(value, &t->format, &t->common.format, err);
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
        if (test_case_is_global(test))
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

/* Of each `shares` tests only one. */
static void take_share(struct test_command *t)
{
    size_t kept = 0;

    for (size_t i = 0; t->share > 0 && i < t->chosen.length; i++)
        if ((int64_t)i % t->shares == t->share - 1)
            t->chosen.items[kept++] = t->chosen.items[i];
    if (t->share > 0)
        t->chosen.length = kept;
}

/* ---- the run ---- */

static int run_here(struct test_command *t, struct err *err)
{
    const struct test_run_options options = {.workbench = t->common.options,
                                             .haproxy_binary = t->common.options.haproxy_binary,
                                             .seed = t->seed,
                                             .update = t->update,
                                             .without_requests = t->without_requests,
                                             .coverage = t->covers ? &t->coverage : NULL};
    int64_t told = clock_now_ns();

    for (size_t i = 0; i < t->chosen.length; i++) {
        struct test_result r;
        const struct chosen_test *chosen = &t->chosen.items[i];
        if (test_run(&t->common.loop, &chosen->file->cases, chosen->test, &options, &r, err) < 0) {
            test_result_done(&r);
            return err_wrap(err, "%s", chosen->test->name);
        }
        test_report_add(&t->report, chosen->file->path, chosen->test, &r);
        test_result_done(&r);
        if (t->common.options.progress && clock_now_ns() - told > PROGRESS_NS) {
            told = clock_now_ns();
            fprintf(stderr, "haptic: %zu of %zu tests have been run\n", i + 1, t->chosen.length);
        }
    }
    return 0;
}

/* The results of one process, for its share of the tests. */
static int take_report(void *ctx, unsigned job, yyjson_val *document, struct err *err)
{
    struct test_command *t = ctx;
    size_t i, max;
    yyjson_val *test;

    t->report.updated += yyjson_get_uint(yyjson_obj_get(document, "updated"));
    yyjson_arr_foreach(yyjson_obj_get(document, "tests"), i, max, test)
    {
        size_t at = i * (size_t)t->jobs + job;
        struct test_result r;
        if (at >= t->chosen.length || test_result_read(test, &r, err) < 0)
            return err_set(err, ERR_INVALID, "a process reports other tests");
        t->chosen.items[at].result = r;
    }
    return t->covers ? coverage_take_json(&t->coverage, yyjson_obj_get(document, "coverage"), err) : 0;
}

/* The same command for each share; what was said before counts less. */
static int run_jobs(struct test_command *t, struct err *err)
{
    CLEANUP(free_ptr) char *seed = xasprintf("%" PRIu64, t->seed);
    VEC(const char *) arguments = {0};
    const char *const own[] = {"--jobs", "1", "--output", "json", "--seed", seed, "--share", test_jobs_share};
    int end = 1;

    if ((int64_t)t->chosen.length < t->jobs)
        t->jobs = (int64_t)t->chosen.length;
    while (end < t->argc && strcmp(t->argv[end], "--") != 0)
        end++;
    vec_push(&arguments, t->common.executable);
    vec_push(&arguments, "test");
    for (int i = 1; i < end; i++)
        if (strcmp(t->argv[i], "--watch") != 0 && strcmp(t->argv[i], "-w") != 0)
            vec_push(&arguments, t->argv[i]);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        vec_push(&arguments, own[i]);
    for (int i = end; i < t->argc; i++)
        vec_push(&arguments, t->argv[i]);
    vec_push(&arguments, NULL);
    int result = test_jobs_run(t->common.executable, arguments.items, (unsigned)t->jobs, take_report, t, err);
    vec_done(&arguments);
    for (size_t i = 0; i < t->chosen.length; i++) {
        struct chosen_test *chosen = &t->chosen.items[i];
        if (result == 0)
            test_report_add(&t->report, chosen->file->path, chosen->test, &chosen->result);
        test_result_done(&chosen->result);
    }
    return result;
}

/* Is as much covered as is wanted? */
static bool is_covered(struct test_command *t)
{
    double lines = coverage_lines_percent(&t->coverage), routes = coverage_routes_percent(&t->coverage);

    if (lines < t->lines_wanted)
        fprintf(stderr, "haptic test: %.1f %% of the template lines are covered, %g %% are wanted\n", lines,
                t->lines_wanted);
    if (routes < t->routes_wanted)
        fprintf(stderr, "haptic test: %.1f %% of the routes are covered, %g %% are wanted\n", routes, t->routes_wanted);
    return lines >= t->lines_wanted && routes >= t->routes_wanted;
}

static int run_all(struct test_command *t, const struct config *config)
{
    int64_t begun = clock_now_ns();
    struct err err;

    if ((t->jobs > 1 && t->chosen.length > 1 ? run_jobs(t, &err) : run_here(t, &err)) < 0 ||
        (t->lcov != NULL && coverage_write_lcov(&t->coverage, config, t->lcov, &err) < 0)) {
        fprintf(stderr, "haptic test: %s\n", err.text);
        return EXIT_USAGE;
    }
    test_report_finish(&t->report, t->covers ? &t->coverage : NULL, clock_now_ns() - begun);
    if (t->report.failed > 0 || (t->report.passed == 0 && t->share == 0))
        return EXIT_FINDINGS;
    return t->covers && t->share == 0 && !is_covered(t) ? EXIT_FINDINGS : EXIT_CLEAN;
}

static int refuse(struct test_command *t, const char *why)
{
    place_finding(&t->common.findings, FINDING_TESTS_WRONG, why);
    if (t->format != TEST_FINDINGS)
        t->common.format = t->format == TEST_JSON    ? FINDING_JSON
                           : t->format == TEST_JUNIT ? FINDING_JUNIT
                                                     : FINDING_TEXT;
    (void)workbench_command_report(&t->common, t->format == TEST_TAP ? stderr : stdout);
    return EXIT_FINDINGS;
}

/* The configuration's own tests, then those of further files; each file has a _global of its own. */
static int load_files(struct test_command *t, struct err *err)
{
    if (config_paths(t->common.options.config_file, &t->paths, err) < 0)
        return -1;
    for (size_t i = 0; i < t->more.items.length; i++)
        vec_push(&t->paths, xstrdup(t->more.items.items[i]));
    vec_reserve(&t->files, t->paths.length); /* what is chosen points into it */
    for (size_t i = 0; i < t->paths.length; i++) {
        vec_push(&t->files, ((struct test_file){.path = t->paths.items[i]}));
        struct test_cases *cases = &t->files.items[i].cases;
        if (test_cases_load(t->paths.items[i], cases, err) < 0)
            return -1;
        for (size_t j = 0; j < cases->warnings.length; j++)
            fprintf(stderr, "haptic test: %s\n", cases->warnings.items[j]);
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

/* Once: read everything, choose, run, report. */
static int serve_once(struct test_command *t)
{
    struct err err;

    if (!t->seed_given && getrandom(&t->seed, sizeof(t->seed), 0) == (ssize_t)sizeof(t->seed))
        t->seed &= UINT32_MAX;
    t->report = (struct test_report){.format = t->format,
                                     .finding_format = t->common.format,
                                     .findings = &t->common.findings,
                                     .version = HAPTIC_VERSION,
                                     .colour = terminal_has_colour(stdout),
                                     .seed = t->seed};
    /* The configuration itself first: its findings are better than each test's. */
    if (t->common.workbench == NULL) {
        (void)workbench_command_report(&t->common, stdout);
        return EXIT_FINDINGS;
    }
    if (load_files(t, &err) < 0)
        return refuse(t, err.text);
    if (choose(t, &err) < 0) {
        fprintf(stderr, "haptic test: --run: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (t->chosen.length == 0)
        return refuse(t, has_tests(t) ? "no test has a name that --run chooses"
                                      : "the configuration has no validationTests");
    take_share(t);
    return run_all(t, workbench_config(t->common.workbench));
}

/* What one run has made. */
static void clear(struct test_command *t)
{
    t->common.workbench = workbench_free(t->common.workbench);
    findings_done(&t->common.findings);
    t->common.findings = (struct findings){0};
    vec_clear(&t->chosen);
    for (size_t i = 0; i < t->files.length; i++)
        test_cases_done(&t->files.items[i].cases);
    vec_clear(&t->files);
    config_paths_done(&t->paths);
    t->paths = (struct config_strings){0};
    test_report_done(&t->report);
    coverage_done(&t->coverage);
    coverage_init(&t->coverage);
}

/* ---- watching ---- */

/* The files that this run has read, and those that it compared with. */
static int watch_files(struct test_command *t, struct file_watch *watch, struct err *err)
{
    for (size_t i = 0; i < t->more.items.length; i++)
        if (file_watch_add(watch, t->more.items.items[i], err) < 0)
            return -1;
    return workbench_command_watch(&t->common, watch, err);
}

static bool make_workbench(struct test_command *t, struct err *err)
{
    struct workbench_command *c = &t->common;

    return workbench_new(&c->loop, &c->options, &c->findings, &c->workbench, err) == 0;
}

/* Until somebody ends it. What is wrong with a file meanwhile is said, and looked at again when it changes. */
static int serve_watching(struct test_command *t)
{
    struct err err;
    struct file_watch *watch = file_watch_new(&err);

    while (watch != NULL) {
        if (watch_files(t, watch, &err) < 0)
            break;
        if (t->common.workbench != NULL || t->common.findings.items.length > 0)
            (void)serve_once(t);
        fflush(stdout);
        fprintf(stderr, "haptic test: waiting for a change; Ctrl-C ends\n");
        if (file_watch_await(watch, &err) < 0)
            break;
        clear(t);
        if (!make_workbench(t, &err))
            fprintf(stderr, "haptic test: %s\n", err.text);
    }
    fprintf(stderr, "haptic test: %s\n", err.text);
    file_watch_free(watch);
    return EXIT_USAGE;
}

int cmd_test(int argc, char **argv)
{
    struct test_command t = {.argc = argc, .argv = argv};
    struct err err;
    int status = EXIT_CLEAN;

    coverage_init(&t.coverage);
    if (options_parse(&table, argc, argv, set, &t, &t.more, &err) < 0) {
        fprintf(stderr, "haptic test: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (t.common.help) {
        options_print_help(&table);
    } else if (t.common.options.config_file == NULL) {
        fprintf(stderr, "haptic test: which configuration? give --config FILE|DIR\n");
        status = EXIT_USAGE;
    } else {
        vec_push(&t.common.sources.items, NULL); /* each test has objects of its own */
        if (workbench_command_begin(&t.common, "test", &status))
            status = t.watch ? serve_watching(&t) : serve_once(&t);
    }
    clear(&t);
    coverage_done(&t.coverage);
    workbench_command_done(&t.common);
    vec_done(&t.chosen);
    vec_done(&t.files);
    vec_done(&t.more.items);
    return status;
}

const struct option_table *cmd_test_options(void)
{
    return &table;
}
