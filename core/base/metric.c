/* A registry of families in order of their names; each series is found by its rendered label string. */
#include "base/metric.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"

#define SERIES_MAX 1000

/* Fine where the targets are (a change goes live within milliseconds), coarse around it. */
static const double bounds_s[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004,
                                  0.005,  0.0075,  0.01,   0.015, 0.025,  0.05,  0.1,   0.25,
                                  0.5,    1,       2.5,    5,     10,     30,    60};

struct metric {
    char *labels; /* `a="b",c="d"`, without braces */
    double value; /* counter, gauge; sum of a histogram */
    uint64_t count;
    uint64_t buckets[ARRAY_LEN(bounds_s)]; /* not cumulative; histograms only */
};

struct family {
    char *name, *help;
    enum metric_type type;
    struct map by_labels;
    VEC(struct metric *) series;
};

struct metrics {
    struct map by_name;
    VEC(struct family *) families;
    char *common;
    void (*collect)(void *ctx);
    void *collect_ctx;
};

struct metrics *metrics_new(void)
{
    return xcalloc(1, sizeof(struct metrics));
}

struct metrics *metrics_free(struct metrics *m)
{
    if (m == NULL)
        return NULL;
    for (size_t i = 0; i < m->families.length; i++) {
        struct family *f = m->families.items[i];
        for (size_t j = 0; j < f->series.length; j++) {
            free(f->series.items[j]->labels);
            free(f->series.items[j]);
        }
        vec_done(&f->series);
        map_done(&f->by_labels);
        free(f->name);
        free(f->help);
        free(f);
    }
    vec_done(&m->families);
    map_done(&m->by_name);
    free(m->common);
    free(m);
    return NULL;
}

static void put_label(struct buf *out, const char *name, const char *value)
{
    if (out->length > 0)
        buf_putc(out, ',');
    buf_printf(out, "%s=\"", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"')
            buf_printf(out, "\\%c", *p);
        else if (*p == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *p);
    }
    buf_putc(out, '"');
}

void metrics_set_common_label(struct metrics *m, const char *name, const char *value)
{
    CLEANUP(buf_done) struct buf out = {0};

    if (m->common != NULL)
        buf_puts(&out, m->common);
    put_label(&out, name, value);
    free(m->common);
    m->common = buf_steal(&out);
}

static struct family *family_get(struct metrics *m, enum metric_type type, const char *name, const char *help)
{
    struct family *f = map_get(&m->by_name, name);

    if (f == NULL) {
        f = xcalloc(1, sizeof(*f));
        f->name = xstrdup(name);
        f->help = xstrdup(help);
        f->type = type;
        size_t at = m->families.length;
        vec_push(&m->families, f);
        for (; at > 0 && strcmp(m->families.items[at - 1]->name, name) > 0; at--)
            m->families.items[at] = m->families.items[at - 1];
        m->families.items[at] = f;
        map_put(&m->by_name, name, f);
    }
    return f;
}

struct metric *metric_get(struct metrics *m, enum metric_type type, const char *name, const char *help, ...)
{
    CLEANUP(buf_done) struct buf labels = {0};
    struct family *f = family_get(m, type, name, help);
    const char *label;
    va_list args;

    if (m->common != NULL)
        buf_puts(&labels, m->common);
    va_start(args, help);
    while ((label = va_arg(args, const char *)) != NULL)
        put_label(&labels, label, va_arg(args, const char *));
    va_end(args);
    struct metric *series = map_get(&f->by_labels, buf_str(&labels));
    if (series == NULL && f->series.length >= SERIES_MAX) {
        buf_clear(&labels);
        if (m->common != NULL)
            buf_puts(&labels, m->common);
        put_label(&labels, "overflow", "true");
        series = map_get(&f->by_labels, buf_str(&labels));
    }
    if (series == NULL) {
        series = xcalloc(1, sizeof(*series));
        series->labels = xstrdup(buf_str(&labels));
        map_put(&f->by_labels, series->labels, series);
        vec_push(&f->series, series);
    }
    return series;
}

void metric_add(struct metric *series, double amount)
{
    series->value += amount;
}

void metric_set(struct metric *series, double value)
{
    series->value = value;
}

double metric_value(const struct metric *series)
{
    return series->value;
}

void metric_observe_ns(struct metric *series, int64_t duration_ns)
{
    double seconds = (double)duration_ns / (double)NS_PER_S;

    series->value += seconds;
    series->count++;
    for (size_t i = 0; i < ARRAY_LEN(bounds_s); i++) {
        if (seconds <= bounds_s[i]) {
            series->buckets[i]++;
            break;
        }
    }
}

void metrics_on_collect(struct metrics *m, void (*collect)(void *ctx), void *ctx)
{
    m->collect = collect;
    m->collect_ctx = ctx;
}

static void put_number(struct buf *out, double value)
{
    if (value == floor(value) && fabs(value) < 1e15)
        buf_printf(out, "%.0f", value);
    else
        buf_printf(out, "%.9g", value);
}

static void expose_histogram(struct buf *out, const struct family *f, const struct metric *s)
{
    const char *comma = *s->labels ? "," : "";
    uint64_t cumulative = 0;

    for (size_t i = 0; i < ARRAY_LEN(bounds_s); i++) {
        cumulative += s->buckets[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, s->labels, comma, bounds_s[i],
                   (unsigned long long)cumulative);
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, s->labels, comma, (unsigned long long)s->count);
    buf_printf(out, "%s_sum%s%s%s ", f->name, *s->labels ? "{" : "", s->labels, *s->labels ? "}" : "");
    put_number(out, s->value);
    buf_printf(out, "\n%s_count%s%s%s %llu\n", f->name, *s->labels ? "{" : "", s->labels, *s->labels ? "}" : "",
               (unsigned long long)s->count);
}

void metric_expose(struct metrics *m, struct buf *out)
{
    static const char *const type_names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

    if (m->collect != NULL)
        m->collect(m->collect_ctx);
    for (size_t i = 0; i < m->families.length; i++) {
        const struct family *f = m->families.items[i];
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, type_names[f->type]);
        for (size_t j = 0; j < f->series.length; j++) {
            const struct metric *s = f->series.items[j];
            if (f->type == METRIC_HISTOGRAM) {
                expose_histogram(out, f, s);
                continue;
            }
            buf_printf(out, "%s%s%s%s ", f->name, *s->labels ? "{" : "", s->labels, *s->labels ? "}" : "");
            put_number(out, s->value);
            buf_putc(out, '\n');
        }
    }
}
