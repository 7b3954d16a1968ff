/* clock.h — the two clocks.
 * Units:   *_ns monotonic nanoseconds (int64_t), *_s Unix seconds, *_us Unix microseconds.
 */
#ifndef HAPTIC_BASE_CLOCK_H
#define HAPTIC_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* CLOCK_BOOTTIME would count suspend; leases and deadlines want it too, so this is CLOCK_BOOTTIME where the kernel has
 * it. */
int64_t clock_now_ns(void);
int64_t clock_wall_s(void);
int64_t clock_wall_us(void);

/* RFC 3339 with microseconds, "2006-01-02T15:04:05.000000Z", as metav1.MicroTime wants it. */
#define CLOCK_RFC3339_SIZE 28
const char *clock_format_micro(int64_t wall_us, char ret_text[CLOCK_RFC3339_SIZE]);
/* Parse RFC 3339 with any fraction and zone to Unix microseconds. */
int clock_parse_rfc3339(const char *text, int64_t *ret_wall_us, struct err *err) MUST_CHECK;

/* Go's notation of durations ("1h2m3.5s", "300ms", "0"), as in every Kubernetes configuration. No negative values. */
int duration_parse(const char *text, int64_t *ret_ns, struct err *err) MUST_CHECK;
/* Shortest Go notation: "1m30s", "1.5s", "20ms". */
#define DURATION_SIZE 40
const char *duration_format(int64_t ns, char ret_text[DURATION_SIZE]);

#endif
