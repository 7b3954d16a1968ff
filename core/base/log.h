/* log.h — logfmt lines on standard output.
 * Thread:  loop thread only.
 *
 *     log_info("Became leader", "identity", id, "transitions", log_int(n));
 * prints
 *     time=2026-01-02T03:04:05.678Z level=INFO msg="Became leader" identity=pod-a transitions=3
 *
 * Values are quoted when they must be; control characters are escaped; a value is cut at 2048 bytes. Never pass a
 * token, a key or a value of a Secret. Library layers return errors; controller/ and cmd/ log them, once.
 */
#ifndef HAPTIC_BASE_LOG_H
#define HAPTIC_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Level of what is printed, process-wide; the one piece of global state, set at start and on a configuration change. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "TRACE" … "ERROR", any case; "WARNING" too. */
int log_level_parse(const char *text, enum log_level *ret_level, struct err *err) MUST_CHECK;
/* Where lines go; standard output at start. Tests redirect. */
void log_set_fd(int fd);

/* Key/value pairs of const char *, ended by NULL (the macros add it). A NULL value prints as an empty string. */
void log_write(enum log_level level, const char *msg, ...) __attribute__((sentinel));
#define log_trace(...) log_write(LOG_TRACE, __VA_ARGS__, (char *)NULL)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__, (char *)NULL)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__, (char *)NULL)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__, (char *)NULL)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, (char *)NULL)

/* Text of a number or a duration ("1.5ms") for a pair, in a ring of buffers: valid until 16 more calls. */
const char *log_int(int64_t value);
const char *log_duration(int64_t ns);

/* Rate limit for a message that can repeat: true when it may be printed now; *ret_suppressed then counts those held
 * back since. */
struct log_limit {
    int64_t last_ns;
    uint64_t suppressed;
};
bool log_limit_pass(struct log_limit *limit, int64_t interval_ns, uint64_t *ret_suppressed);

/* The same with a distance that doubles from first_ns to max_ns while the message repeats. It begins anew when the
 * message has not come for twice the distance. */
struct log_repeat {
    struct log_limit limit;
    int64_t distance_ns, seen_ns;
};
bool log_repeat_pass(struct log_repeat *repeat, int64_t first_ns, int64_t max_ns, uint64_t *ret_suppressed);

#endif
