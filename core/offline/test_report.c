/* Text is printed as tests end; what is one document is gathered. */
#include "offline/test_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "data/json.h"

int test_format_parse(const char *value, enum test_format *ret_format, enum finding_format *ret_findings,
                      struct err *err)
{
    static const struct {
        const char *name;
        enum test_format format;
    } formats[] = {{"text", TEST_TEXT}, {"json", TEST_JSON}, {"junit", TEST_JUNIT}, {"tap", TEST_TAP}};

    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(value, formats[i].name) == 0) {
            *ret_format = formats[i].format;
            return 0;
        }
    *ret_format = TEST_FINDINGS;
    if (strcmp(value, "sarif") == 0 || strcmp(value, "github") == 0)
        return finding_format_parse(value, ret_findings, err);
    return err_set(err, ERR_INVALID, "there is no format \"%.32s\": text, json, junit, tap, sarif or github", value);
}

/* ---- one test ---- */

static const char *milliseconds(int64_t ns, char text[32])
{
    snprintf(text, 32, "%.3f", (double)ns / (double)NS_PER_S);
    return text;
}

static void report_text(const struct test_case *test, const char *file, const struct test_result *r, bool colour)
{
    const char *begin = !colour ? "" : r->verdict == TEST_FAILED ? "\033[31m" : "\033[33m";

    if (r->verdict == TEST_SKIPPED)
        printf("%sskipped%s %s: %s\n", begin, colour ? "\033[0m" : "", test->name, r->skipped);
    for (size_t i = 0; i < r->failures.length; i++)
        printf("%sfailed%s  %s (%s:%zu): %s\n", begin, colour ? "\033[0m" : "", test->name, file,
               r->failures.items[i].line, r->failures.items[i].message);
}

static void add_json(struct buf *out, const char *text)
{
    struct err err;

    if (json_write_string(out, text ? text : "", text ? strlen(text) : 0, &err) < 0)
        buf_puts(out, "\"\"");
}

static void report_json(struct test_report *t, const struct test_case *test, const struct test_result *r)
{
    static const char *const verdicts[] = {
        [TEST_PASSED] = "passed", [TEST_FAILED] = "failed", [TEST_SKIPPED] = "skipped"};
    struct buf *out = &t->text;
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

static void report_junit(struct test_report *t, const struct test_case *test, const struct test_result *r)
{
    struct buf *out = &t->text;
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

static void report_tap(struct test_report *t, const struct test_case *test, const struct test_result *r, size_t number)
{
    struct buf *out = &t->text;

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

static void report_finding(struct test_report *t, const struct test_case *test, const char *file,
                           const struct test_result *r)
{
    for (size_t i = 0; i < r->failures.length; i++) {
        CLEANUP(free_ptr) char *message = xasprintf("%s: %s", test->name, r->failures.items[i].message);
        findings_add(t->findings, &(struct finding){.code = FINDING_TEST_FAILED,
                                                    .file = file,
                                                    .line = r->failures.items[i].line,
                                                    .message = message});
    }
}

void test_report_add(struct test_report *t, const char *file, const struct test_case *test, const struct test_result *r)
{
    t->passed += r->verdict == TEST_PASSED;
    t->failed += r->verdict == TEST_FAILED;
    t->skipped += r->verdict == TEST_SKIPPED;
    t->updated += r->updated;
    switch (t->format) {
    case TEST_TEXT:
        report_text(test, file, r, t->colour);
        break;
    case TEST_JSON:
        report_json(t, test, r);
        break;
    case TEST_JUNIT:
        report_junit(t, test, r);
        break;
    case TEST_TAP:
        report_tap(t, test, r, t->passed + t->failed + t->skipped);
        break;
    case TEST_FINDINGS:
        report_finding(t, test, file, r);
    }
}

/* ---- the end ---- */

static void finish_text(const struct test_report *t, const struct coverage *coverage, int64_t duration_ns)
{
    CLEANUP(buf_done) struct buf table = {0};
    char seconds[32];

    if (coverage != NULL)
        coverage_put_table(coverage, &table);
    fputs(buf_str(&table), stdout);
    if (t->updated > 0)
        printf("Updated: %zu file%s\n", t->updated, t->updated == 1 ? "" : "s");
    printf("Tests: %zu passed, %zu failed, %zu skipped; %s s, seed %" PRIu64 "\n", t->passed, t->failed, t->skipped,
           milliseconds(duration_ns, seconds), t->seed);
}

static void finish_json(struct test_report *t, const struct coverage *coverage)
{
    CLEANUP(buf_done) struct buf covered = {0};

    if (coverage != NULL) {
        buf_puts(&covered, "\"coverage\":");
        coverage_put_json(coverage, &covered);
        buf_putc(&covered, ',');
    }
    printf("{\"passed\":%zu,\"failed\":%zu,\"skipped\":%zu,\"updated\":%zu,\"seed\":%" PRIu64
           ",%s\"tests\":[\n%s\n]}\n",
           t->passed, t->failed, t->skipped, t->updated, t->seed, buf_str(&covered), buf_str(&t->text));
}

void test_report_finish(struct test_report *t, const struct coverage *coverage, int64_t duration_ns)
{
    size_t count = t->passed + t->failed + t->skipped;
    char seconds[32];

    switch (t->format) {
    case TEST_TEXT:
        finish_text(t, coverage, duration_ns);
        break;
    case TEST_JSON:
        finish_json(t, coverage);
        break;
    case TEST_JUNIT:
        printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"haptic test\" tests=\"%zu\" "
               "failures=\"%zu\" skipped=\"%zu\" time=\"%s\">\n<properties><property name=\"seed\" value=\"%" PRIu64
               "\"/></properties>\n%s</testsuite>\n",
               count, t->failed, t->skipped, milliseconds(duration_ns, seconds), t->seed, buf_str(&t->text));
        break;
    case TEST_TAP:
        printf("TAP version 13\n1..%zu\n%s# seed %" PRIu64 "\n", count, buf_str(&t->text), t->seed);
        break;
    case TEST_FINDINGS: {
        CLEANUP(buf_done) struct buf text = {0};
        findings_write(t->findings, t->finding_format, false, t->version, &text);
        fputs(buf_str(&text), stdout);
    }
    }
}

void test_report_done(struct test_report *t)
{
    buf_done(&t->text);
}

/* ---- read again ---- */

int test_result_read(yyjson_val *test, struct test_result *ret_result, struct err *err)
{
    const char *verdict = json_str(test, "verdict"), *skipped = json_str(test, "skipped");
    size_t i, max;
    yyjson_val *failure;

    *ret_result = (struct test_result){.duration_ns = (int64_t)(yyjson_get_num(yyjson_obj_get(test, "seconds")) * 1e9)};
    if (verdict == NULL)
        return err_set(err, ERR_INVALID, "a test has no verdict");
    ret_result->verdict = strcmp(verdict, "passed") == 0    ? TEST_PASSED
                          : strcmp(verdict, "skipped") == 0 ? TEST_SKIPPED
                                                            : TEST_FAILED;
    if (ret_result->verdict == TEST_SKIPPED)
        ret_result->skipped = xstrdup(skipped ? skipped : "");
    yyjson_arr_foreach(yyjson_obj_get(test, "failures"), i, max, failure)
    {
        const char *message = json_str(failure, "message");
        vec_push(&ret_result->failures, ((struct test_failure){.line = yyjson_get_uint(yyjson_obj_get(failure, "line")),
                                                               .message = xstrdup(message ? message : "")}));
    }
    return 0;
}
