/* metric.h — counters, gauges and histograms with Prometheus' text exposition.
 * Thread:  loop thread only.
 * Owns:    a registry owns its families and series; handles stay valid as long as the registry.
 * Source:  Prometheus exposition format 0.0.4.
 *
 * Lives in base so that every layer can count; http/ only serves what metric_expose() writes. Label values are escaped
 * here; a family has a maximum of series (what names an object must not grow without bound): past it a series
 * "overflow" takes the rest.
 */
#ifndef HAPTIC_BASE_METRIC_H
#define HAPTIC_BASE_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics;
struct metric; /* one series */

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);
/* A label on every series (e.g. pod="…"). Call before the first series is made. */
void metrics_set_common_label(struct metrics *m, const char *name, const char *value);

/* Find or make a series. labels: name, value, … ended by NULL; may be none. help and type are those of the first call.
 * Histograms have the fixed buckets of durations in seconds: 100 µs … 60 s. */
struct metric *metric_get(struct metrics *m, enum metric_type type, const char *name, const char *help, ...)
    __attribute__((sentinel));
#define metric_counter(m, name, ...) metric_get(m, METRIC_COUNTER, name, __VA_ARGS__, (char *)NULL)
#define metric_gauge(m, name, ...) metric_get(m, METRIC_GAUGE, name, __VA_ARGS__, (char *)NULL)
#define metric_histogram(m, name, ...) metric_get(m, METRIC_HISTOGRAM, name, __VA_ARGS__, (char *)NULL)

void metric_add(struct metric *series, double amount); /* counter or gauge */
void metric_set(struct metric *series, double value);  /* gauge; or a counter that mirrors one kept elsewhere */
double metric_value(const struct metric *series);
void metric_observe_ns(struct metric *series, int64_t duration_ns); /* histogram */

/* Called before each exposition, to bring gauges up to date. */
void metrics_on_collect(struct metrics *m, void (*collect)(void *ctx), void *ctx);
void metric_expose(struct metrics *m, struct buf *out);

#endif
