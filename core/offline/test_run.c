/* The objects of a test are put into the store of a workbench of its own. */
#include "offline/test_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "data/json.h"
#include "data/jsonpath.h"
#include "data/pattern.h"
#include "offline/golden.h"
#include "offline/request_run.h"
#include "offline/test_objects.h"
#include "offline/test_target.h"

#define SHOWN_BYTES 400
/* More objects are put several at a time: each step renders. */
#define STEPS_MAX 50

struct running {
    uv_loop_t *loop;
    const struct test_cases *cases;
    const struct test_case *test;
    const struct test_run_options *options;
    struct test_result *result;
    struct findings findings;
    struct workbench *w;
    bool rendered;
    struct disk_files files; /* as they were rendered, before a check may have put something aside */
};

static void add_failure(struct running *r, size_t line, char *message)
{
    r->result->verdict = TEST_FAILED;
    vec_push(&r->result->failures, ((struct test_failure){.line = line, .message = message}));
}

/* ---- showing ---- */

static char *shown(const char *text)
{
    size_t length = strlen(text);

    return length <= SHOWN_BYTES ? xstrdup(text) : xasprintf("%.*s… (%zu bytes)", SHOWN_BYTES, text, length);
}

static size_t line_at(const char *text, size_t offset)
{
    size_t line = 1;

    for (size_t i = 0; i < offset; i++)
        line += text[i] == '\n';
    return line;
}

/* ---- assertions ---- */

static int count_matches(const struct pattern *p, const struct buf *text, size_t *ret_count, size_t *ret_first,
                         struct err *err)
{
    size_t from = 0, start, end;
    int found;

    *ret_count = 0;
    while (from <= text->length &&
           (found = pattern_find(p, buf_str(text), text->length, from, &start, &end, err)) != 0) {
        if (found < 0)
            return -1;
        if ((*ret_count)++ == 0)
            *ret_first = start;
        from = end > start ? end : end + 1;
    }
    return 0;
}

static int judge_count(struct running *r, const struct assertion *a, const struct buf *text, bool is_config,
                       struct err *err)
{
    struct pattern *pattern = NULL;
    size_t count = 0, first = 0;
    const char *target = a->target ? a->target : DISK_CONFIG;

    if (pattern_new(a->pattern, &pattern, err) < 0)
        return -1;
    int result = count_matches(pattern, text, &count, &first, err);
    pattern_free(pattern);
    if (result < 0)
        return -1;
    CLEANUP(buf_done) struct buf message = {0};
    if (a->type == ASSERT_CONTAINS && count == 0) {
        buf_printf(&message, "expected %s to contain /%s/; it has %zu lines without it", target, a->pattern,
                   line_at(buf_str(text), text->length));
    } else if (a->type == ASSERT_NOT_CONTAINS && count > 0) {
        size_t line = line_at(buf_str(text), first);
        CLEANUP(buf_done) struct buf origin = {0};
        buf_printf(&message, "expected %s not to contain /%s/; line %zu does", target, a->pattern, line);
        test_put_context(buf_str(text), line, &message);
        if (is_config)
            test_line_origin(r->w, line, &origin);
        if (origin.length > 0)
            buf_printf(&message, "\n  from: %s", buf_str(&origin));
    } else if (a->type == ASSERT_MATCH_COUNT && strtoul(a->expected, NULL, 10) != count) {
        buf_printf(&message, "expected %s matches of /%s/ in %s, found %zu", a->expected, a->pattern, target, count);
    }
    if (message.length > 0)
        add_failure(r, a->line, buf_steal(&message));
    return 0;
}

/* Against the text of the assertion, or of its file, which may have to be written first. */
static int judge_equals(struct running *r, const struct assertion *a, const struct buf *text, struct err *err)
{
    CLEANUP(buf_done) struct buf golden = {0};
    const char *actual = buf_str(text), *expected = a->expected;
    bool changed = false;

    if (a->file != NULL) {
        if (r->options->update && golden_write(r->cases->file, a->file, actual, text->length, &changed, err) < 0)
            return -1;
        r->result->updated += changed;
        if (golden_read(r->cases->file, a->file, &golden, err) < 0)
            return -1;
        expected = buf_str(&golden);
    }
    if (strcmp(actual, expected) == 0)
        return 0;
    size_t at = 0;
    while (actual[at] != '\0' && actual[at] == expected[at])
        at++;
    size_t line = line_at(actual, at);
    CLEANUP(buf_done) struct buf message = {0};
    CLEANUP(free_ptr) char *wanted = shown(expected);
    buf_printf(&message, "%s differs from %s%s, first in line %zu", a->target ? a->target : DISK_CONFIG,
               a->file ? "the file " : "what was expected", a->file ? a->file : "", line);
    test_put_context(actual, line, &message);
    if (a->file != NULL) {
        buf_puts(&message, "\n  expected:");
        test_put_context(expected, line, &message);
        buf_puts(&message, "\n  if the new text is right: haptic test --update");
    } else {
        buf_printf(&message, "\n  expected:\n%s", wanted);
    }
    if (strcmp(a->target ? a->target : DISK_CONFIG, DISK_CONFIG) == 0) {
        CLEANUP(buf_done) struct buf origin = {0};
        test_line_origin(r->w, line, &origin);
        if (origin.length > 0)
            buf_printf(&message, "\n  from: %s", buf_str(&origin));
    }
    add_failure(r, a->line, buf_steal(&message));
    return 0;
}

static int judge_order(struct running *r, const struct assertion *a, const struct buf *text, struct err *err)
{
    size_t before = 0;

    for (size_t i = 0; i < a->patterns.length; i++) {
        struct pattern *pattern = NULL;
        size_t start = 0, end;
        if (pattern_new(a->patterns.items[i], &pattern, err) < 0)
            return -1;
        int found = pattern_find(pattern, buf_str(text), text->length, 0, &start, &end, err);
        pattern_free(pattern);
        if (found < 0)
            return -1;
        if (found == 0) {
            add_failure(
                r, a->line,
                xasprintf("/%s/ does not occur in %s", a->patterns.items[i], a->target ? a->target : DISK_CONFIG));
            return 0;
        }
        if (i > 0 && start < before) {
            add_failure(r, a->line,
                        xasprintf("/%s/ (line %zu) stands before /%s/ (line %zu)", a->patterns.items[i],
                                  line_at(buf_str(text), start), a->patterns.items[i - 1],
                                  line_at(buf_str(text), before)));
            return 0;
        }
        before = start;
    }
    return 0;
}

/* On the context that templates see: {"extraContext": …, "capabilities": …}. */
static int judge_jsonpath(struct running *r, const struct assertion *a, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    CLEANUP(buf_done) struct buf program = {0}, actual = {0};
    struct jsonpath *path = NULL;

    if (workbench_program(r->w, &program, err) < 0 ||
        json_parse(buf_str(&program), program.length, SIZE_MAX, &doc, err) < 0 ||
        jsonpath_compile(a->jsonpath, &path, err) < 0)
        return -1;
    yyjson_val *value = jsonpath_first(path, yyjson_doc_get_root(doc));
    jsonpath_free(path);
    if (value != NULL && json_scalar_text(value, &actual, err) < 0)
        return -1;
    if (value == NULL || strcmp(buf_str(&actual), a->expected) != 0)
        add_failure(r, a->line,
                    xasprintf("%s: expected \"%s\", it is %s%s%s", a->jsonpath, a->expected, value ? "\"" : "absent",
                              value ? buf_str(&actual) : "", value ? "\"" : ""));
    return 0;
}

static int judge_valid(struct running *r, const struct assertion *a, struct err *err)
{
    CLEANUP(findings_done) struct findings refused = {0};

    workbench_set_findings(r->w, &refused);
    int result = workbench_validate(r->w, r->options->haproxy_binary, err);
    workbench_set_findings(r->w, &r->findings);
    if (result < 0)
        return -1;
    if (refused.items.length > 0) {
        CLEANUP(buf_done) struct buf text = {0};
        findings_write(&refused, FINDING_TEXT, false, "", &text);
        while (text.length > 0 && text.data[text.length - 1] == '\n')
            text.data[--text.length] = '\0';
        add_failure(r, a->line, xasprintf("HAProxy refuses the configuration:\n%s", buf_str(&text)));
    }
    return 0;
}

static int judge(struct running *r, const struct assertion *a, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {.max = (size_t)1 << 30};
    bool is_config;

    switch (a->type) {
    case ASSERT_DETERMINISTIC:
        return 0; /* each test is */
    case ASSERT_HAPROXY_VALID:
        return judge_valid(r, a, err);
    case ASSERT_JSONPATH:
        return judge_jsonpath(r, a, err);
    case ASSERT_CONTAINS:
    case ASSERT_NOT_CONTAINS:
    case ASSERT_MATCH_COUNT:
    case ASSERT_EQUALS:
    case ASSERT_MATCH_ORDER:
        break;
    }
    if (test_target(r->w, &r->findings, a->target, &text, &is_config, err) < 0)
        return -1;
    if (a->type == ASSERT_EQUALS)
        return judge_equals(r, a, &text, err);
    return a->type == ASSERT_MATCH_ORDER ? judge_order(r, a, &text, err) : judge_count(r, a, &text, is_config, err);
}

static bool expects_error(const struct test_case *t)
{
    for (size_t i = 0; i < t->assertions.length; i++)
        if (t->assertions.items[i].target != NULL && strcmp(t->assertions.items[i].target, "rendering_error") == 0)
            return true;
    return false;
}

/* ---- the servers that run ---- */

static void fail_running(void *ctx, size_t test_line, size_t line, const char *message)
{
    struct running *r = ctx;
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(buf_done) struct buf origin = {0};

    buf_puts(&text, message);
    for (size_t i = 0; line > 0 && i < r->files.items.length; i++)
        if (strcmp(r->files.items.items[i].path, DISK_CONFIG) == 0)
            test_put_context(r->files.items.items[i].bytes, line, &text);
    if (line > 0)
        test_line_origin(r->w, line, &origin);
    if (origin.length > 0)
        buf_printf(&text, "\n  from: %s", buf_str(&origin));
    add_failure(r, test_line, buf_steal(&text));
}

static void judge_running(struct running *r)
{
    for (size_t i = 0; i < r->files.items.length; i++)
        if (strcmp(r->files.items.items[i].path, DISK_CONFIG) == 0)
            running_servers_judge(&r->test->running, r->files.items.items[i].bytes, r->files.items.items[i].length,
                                  fail_running, r);
}

/* ---- requests ---- */

/* What the controller would not deploy is not asked. */
static int is_deployable(struct running *r, bool *ret_deployable, struct err *err)
{
    size_t before = r->result->failures.length;
    const struct assertion valid = {.line = r->test->line};

    for (size_t i = 0; i < r->test->assertions.length; i++)
        if (r->test->assertions.items[i].type == ASSERT_HAPROXY_VALID && before > 0) {
            *ret_deployable = false; /* said already, or something else is wrong */
            return 0;
        }
    int result = judge_valid(r, &valid, err);
    *ret_deployable = r->result->failures.length == before;
    return result;
}

static int run_requests(struct running *r, struct err *err)
{
    const struct test_case *t = r->test;
    const struct script_cases *servers = &t->servers;
    struct stage *stage = NULL;
    bool deployable;
    struct err why;

    if (t->requests.items.length == 0 || r->options->without_requests || !r->rendered)
        return 0;
    if (is_deployable(r, &deployable, err) < 0)
        return -1;
    if (!deployable)
        return 0;
    if (stage_new(r->w, r->options->haproxy_binary, servers->items.items, servers->items.length, &stage, &why) < 0) {
        if (why.kind != ERR_HAPROXY && why.kind != ERR_INVALID && why.kind != ERR_LIMIT) {
            *err = why;
            return -1;
        }
        add_failure(r, t->line, xstrdup(why.text));
        return 0;
    }
    for (size_t i = 0; i < t->requests.items.length; i++) {
        const struct request_case *c = &t->requests.items.items[i];
        CLEANUP(buf_done) struct buf message = {0};
        if (request_run(stage, r->w, c, r->options->seed, r->options->coverage, &message, &why) < 0)
            add_failure(r, c->line, xstrdup(why.text));
        else if (message.length > 0)
            add_failure(r, c->line, buf_steal(&message));
    }
    stage_free(stage);
    return 0;
}

/* ---- the second rendering ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Objects that come one by one leave the last good output of a fragment in force that fails in the end. */
static bool has_failed_fragment(const struct running *r)
{
    for (size_t i = 0; i < r->findings.items.length; i++)
        if (r->findings.items.items[i].code == FINDING_FRAGMENT_FAILED)
            return true;
    return false;
}

static void shuffle(struct test_objects *list, uint64_t seed)
{
    for (size_t i = list->items.length; i > 1; i--) {
        size_t j = (size_t)(next_random(&seed) % i);
        struct test_object swapped = list->items.items[i - 1];
        list->items.items[i - 1] = list->items.items[j];
        list->items.items[j] = swapped;
    }
}

/* Files, and what is wished for objects, and what their owners are told. */
static void take_outputs(struct workbench *w, struct disk_files *files)
{
    CLEANUP(buf_done) struct buf events = {0};

    workbench_files(w, files);
    workbench_status(w, files);
    workbench_objects(w, files);
    workbench_events(w, &events);
    disk_files_add(files, "events", buf_str(&events), events.length);
}

static void compare_files(struct running *r, struct workbench *other)
{
    CLEANUP(disk_files_done) struct disk_files b = {0};
    const struct disk_files *a = &r->files;

    take_outputs(other, &b);
    for (size_t i = 0; i < a->items.length || i < b.items.length; i++) {
        const struct disk_file *x = i < a->items.length ? &a->items.items[i] : NULL;
        const struct disk_file *y = i < b.items.length ? &b.items.items[i] : NULL;
        if (x != NULL && y != NULL && strcmp(x->path, y->path) == 0 && x->length == y->length &&
            memcmp(x->bytes, y->bytes, x->length) == 0)
            continue;
        const char *path = x ? x->path : y->path;
        size_t at = 0;
        while (x != NULL && y != NULL && at < x->length && at < y->length && x->bytes[at] == y->bytes[at])
            at++;
        CLEANUP(buf_done) struct buf message = {0};
        buf_printf(
            &message,
            "%s differs when the objects come one by one in another order: a template depends on an order, or on "
            "something that it has not read",
            path);
        if (y != NULL)
            test_put_context(y->bytes, line_at(y->bytes, at), &message);
        add_failure(r, r->test->line, buf_steal(&message));
        return;
    }
}

static int render_by_steps(struct running *r, struct test_objects *list, const struct workbench_options *options,
                           struct err *err)
{
    CLEANUP(findings_done) struct findings findings = {0};
    struct workbench *other = NULL;
    size_t step = 1 + list->items.length / STEPS_MAX;
    struct workbench_options own = *options;

    own.no_report = true; /* most objects that others name are missing until the end */
    int result = workbench_new(r->loop, &own, &findings, &other, err);
    shuffle(list, r->options->seed);
    bool rendered = result == 0 && other != NULL && workbench_render(other);
    for (size_t i = 0; result == 0 && rendered && i < list->items.length; i += step) {
        for (size_t j = i; result == 0 && j < i + step && j < list->items.length; j++)
            result = test_object_put(other, &list->items.items[j], err);
        rendered = result == 0 && workbench_render(other);
    }
    if (result == 0 && rendered && r->rendered && !has_failed_fragment(r))
        compare_files(r, other);
    if (r->options->coverage != NULL && other != NULL)
        coverage_take_lines(r->options->coverage, other);
    workbench_free(other);
    return result;
}

/* ---- the test ---- */

static bool is_known(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->libraries.length; i++)
        if (strcmp(c->libraries.items[i], name) == 0)
            return true;
    for (size_t i = 0; i < c->kinds.length; i++)
        if (strcmp(c->kinds.items[i].name, name) == 0)
            return true;
    return false;
}

/* Why it is not run here; NULL: it is. */
static char *skip_reason(const struct running *r)
{
    const struct test_case *t = r->test;
    const struct haproxy_caps *caps = workbench_caps(r->w);
    struct haproxy_caps wanted;
    struct err err;

    for (size_t i = 0; i < t->requires.length; i++)
        if (!is_known(workbench_config(r->w), t->requires.items[i]))
            return xasprintf("it requires \"%s\", which is neither a library in use nor a watched kind",
                             t->requires.items[i]);
    if (r->options->without_requests && t->assertions.length == 0)
        return xstrdup("it has requests only, and none are made (--without-requests)");
    if (t->min_version == NULL)
        return NULL;
    if (haproxy_version_parse(t->min_version, &wanted, &err) < 0)
        return NULL; /* reported as a failure */
    if (caps->major < wanted.major || (caps->major == wanted.major && caps->minor < wanted.minor))
        return xasprintf("it needs HAProxy %s, this is %s", t->min_version, caps->text);
    return NULL;
}

static int run_assertions(struct running *r, struct err *err)
{
    const struct test_case *t = r->test;

    if (!expects_error(t))
        for (size_t i = 0; i < r->findings.items.length; i++)
            if (finding_code_row(r->findings.items.items[i].code)->level == FINDING_ERROR) {
                const struct finding *f = &r->findings.items.items[i];
                CLEANUP(free_ptr) char *text = finding_text(f);
                CLEANUP(free_ptr) char *place = f->line > 0 ? xasprintf("%s:%zu: ", f->file, f->line) : NULL;
                add_failure(r, t->line,
                            xasprintf("%s%s%s",
                                      place     ? place
                                      : f->file ? f->file
                                                : "",
                                      place == NULL && f->file ? ": " : "", text));
            }
    for (size_t i = 0; i < t->assertions.length; i++) {
        struct err why;
        if (judge(r, &t->assertions.items[i], &why) < 0) {
            if (why.kind != ERR_INVALID && why.kind != ERR_NOTFOUND && why.kind != ERR_LIMIT) {
                *err = why;
                return -1;
            }
            add_failure(r, t->assertions.items[i].line, xstrdup(why.text));
        }
    }
    return 0;
}

static void fail_unfetched(void *ctx, bool allowed, const char *why)
{
    struct running *r = ctx;

    if (allowed) /* else a finding says so */
        add_failure(r, r->test->line, xasprintf("%s: add it to httpResources", why));
}

static int run_with(struct running *r, const struct workbench_options *options, struct err *err)
{
    struct test_objects objects = {0};
    int result = workbench_new(r->loop, options, &r->findings, &r->w, err);

    if (result < 0 || r->w == NULL)
        return result < 0 ? -1 : err_set(err, ERR_INVALID, "the configuration is wrong");
    r->result->skipped = skip_reason(r);
    if (r->result->skipped != NULL) {
        r->result->verdict = TEST_SKIPPED;
        return 0;
    }
    for (size_t i = 0; i < r->cases->items.length; i++)
        if (test_case_is_global(&r->cases->items.items[i]))
            test_objects_gather(&r->cases->items.items[i], &objects);
    test_objects_gather(r->test, &objects);
    for (size_t i = 0; result == 0 && i < objects.items.length; i++)
        result = test_object_put(r->w, &objects.items.items[i], err);
    if (result < 0) { /* the test is wrong, not the program */
        add_failure(r, r->test->line, xstrdup(err->text));
        test_objects_done(&objects);
        return 0;
    }
    r->rendered = workbench_render(r->w);
    if (r->rendered) {
        take_outputs(r->w, &r->files);
        judge_running(r);
        workbench_each_unfetched(r->w, fail_unfetched, r);
    }
    if (r->rendered && options->coverage)
        coverage_take_routes(r->options->coverage, r->w, r->cases->file, r->test->line);
    result = run_assertions(r, err);
    if (result == 0)
        result = run_requests(r, err);
    if (options->coverage)
        coverage_take_lines(r->options->coverage, r->w);
    if (result == 0 && r->rendered)
        result = render_by_steps(r, &objects, options, err);
    test_objects_done(&objects);
    return result;
}

static int run(struct running *r, struct err *err)
{
    struct workbench_options options = r->options->workbench;
    const char *const none[] = {NULL};
    VEC(const char *) contexts = {0};

    for (size_t i = 0; i < r->cases->items.length; i++)
        if (test_case_is_global(&r->cases->items.items[i]) && r->cases->items.items[i].extra_context != NULL)
            vec_push(&contexts, r->cases->items.items[i].extra_context);
    if (r->test->extra_context != NULL)
        vec_push(&contexts, r->test->extra_context);
    vec_push(&contexts, NULL);
    options.sources = none;
    options.coverage = r->options->coverage != NULL;
    options.contexts = contexts.items;
    int result = run_with(r, &options, err);
    vec_done(&contexts);
    return result;
}

int test_run(uv_loop_t *loop, const struct test_cases *cases, const struct test_case *test,
             const struct test_run_options *options, struct test_result *ret_result, struct err *err)
{
    struct running r = {.loop = loop, .cases = cases, .test = test, .options = options, .result = ret_result};
    int64_t begun = clock_now_ns();

    *ret_result = (struct test_result){0};
    int result = run(&r, err);
    workbench_free(r.w);
    findings_done(&r.findings);
    disk_files_done(&r.files);
    ret_result->duration_ns = clock_now_ns() - begun;
    return result;
}

void test_result_done(struct test_result *r)
{
    for (size_t i = 0; i < r->failures.length; i++)
        free(r->failures.items[i].message);
    vec_done(&r->failures);
    free(r->skipped);
}
