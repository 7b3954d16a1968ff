/* One line, one write(2): lines of several processes in one pipe do not mix. Values are escaped so that one event
 * stays one line. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"

#define VALUE_MAX 2048

static enum log_level threshold = LOG_INFO;
static int log_fd = STDOUT_FILENO;

static const char *const level_names[] = {
    [LOG_TRACE] = "TRACE", [LOG_DEBUG] = "DEBUG", [LOG_INFO] = "INFO", [LOG_WARN] = "WARN", [LOG_ERROR] = "ERROR"};

void log_set_level(enum log_level level)
{
    threshold = level;
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

void log_set_fd(int fd)
{
    log_fd = fd;
}

int log_level_parse(const char *text, enum log_level *ret_level, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    if (strcasecmp(text, "warning") == 0) {
        *ret_level = LOG_WARN;
        return 0;
    }
    return err_set(err, ERR_INVALID, "log level \"%.32s\": write TRACE, DEBUG, INFO, WARN or ERROR", text);
}

static bool is_plain(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p != '\0'; p++)
        if (*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p >= 0x7f)
            return false;
    return *value != '\0';
}

static void put_value(struct buf *line, const char *value, bool quote_always)
{
    size_t length = strnlen(value, VALUE_MAX + 1);

    if (!quote_always && length <= VALUE_MAX && is_plain(value)) {
        buf_add(line, value, length);
        return;
    }
    bool cut = length > VALUE_MAX;
    if (cut) {
        length = VALUE_MAX;
        while (length > 0 && ((unsigned char)value[length] & 0xC0) == 0x80)
            length--;
    }
    buf_putc(line, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c == '"' || c == '\\')
            buf_printf(line, "\\%c", c);
        else if (c == '\n')
            buf_puts(line, "\\n");
        else if (c == '\t')
            buf_puts(line, "\\t");
        else if (c < ' ' || c == 0x7f)
            buf_printf(line, "\\x%02x", c);
        else
            buf_putc(line, (char)c);
    }
    buf_puts(line, cut ? "…\"" : "\"");
}

void log_write(enum log_level level, const char *msg, ...)
{
    CLEANUP(buf_done) struct buf line = {0};
    char stamp[CLOCK_RFC3339_SIZE];
    const char *key;
    va_list args;

    if (!log_enabled(level))
        return;
    clock_format_micro(clock_wall_us(), stamp);
    /* milliseconds are enough for a person */
    buf_printf(&line, "time=%.23sZ level=%s msg=", stamp, level_names[level]);
    put_value(&line, msg, true);
    va_start(args, msg);
    while ((key = va_arg(args, const char *)) != NULL) {
        const char *value = va_arg(args, const char *);
        buf_printf(&line, " %s=", key);
        if (value != NULL && *value != '\0')
            put_value(&line, value, false);
        else
            buf_puts(&line, "\"\"");
    }
    va_end(args);
    buf_putc(&line, '\n');
    for (size_t done = 0; done < line.length;) {
        ssize_t n = write(log_fd, line.data + done, line.length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nobody reads: logging must not stop the program */
        done += (size_t)n;
    }
}

static char *ring_next(void)
{
    static char ring[16][DURATION_SIZE];
    static unsigned at;

    return ring[at++ % ARRAY_LEN(ring)];
}

const char *log_int(int64_t value)
{
    char *text = ring_next();

    snprintf(text, DURATION_SIZE, "%" PRId64, value);
    return text;
}

const char *log_duration(int64_t ns)
{
    return duration_format(ns, ring_next());
}

bool log_limit_pass(struct log_limit *limit, int64_t interval_ns, uint64_t *ret_suppressed)
{
    int64_t now = clock_now_ns();

    if (limit->last_ns != 0 && now - limit->last_ns < interval_ns) {
        limit->suppressed++;
        return false;
    }
    *ret_suppressed = limit->suppressed;
    limit->last_ns = now;
    limit->suppressed = 0;
    return true;
}

bool log_repeat_pass(struct log_repeat *repeat, int64_t first_ns, int64_t max_ns, uint64_t *ret_suppressed)
{
    int64_t now = clock_now_ns();
    bool is_new = repeat->seen_ns == 0 || now - repeat->seen_ns > 2 * repeat->distance_ns;

    repeat->seen_ns = now;
    if (is_new) {
        repeat->distance_ns = first_ns;
        repeat->limit.last_ns = 0;
    }
    if (!log_limit_pass(&repeat->limit, repeat->distance_ns, ret_suppressed))
        return false;
    if (!is_new)
        repeat->distance_ns = 2 * repeat->distance_ns < max_ns ? 2 * repeat->distance_ns : max_ns;
    return true;
}
