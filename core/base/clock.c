/* CLOCK_BOOTTIME is the monotonic clock that also counts suspend, so a lease held by a suspended machine is known to
 * have ended. */
#include "base/clock.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_now_ns(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_BOOTTIME, &ts) != 0)
        clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

int64_t clock_wall_s(void)
{
    return clock_wall_us() / 1000000;
}

const char *clock_format_micro(int64_t wall_us, char ret_text[CLOCK_RFC3339_SIZE])
{
    time_t seconds = wall_us / 1000000;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    size_t n = strftime(ret_text, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text + n, CLOCK_RFC3339_SIZE - n, ".%06uZ", (unsigned)(wall_us % 1000000) % 1000000U);
    return ret_text;
}

/* Exactly count digits to a number. */
static bool digits(const char **at, int count, int *ret_value)
{
    int value = 0;

    for (int i = 0; i < count; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        value = value * 10 + (**at - '0');
    }
    *ret_value = value;
    return true;
}

static bool literal(const char **at, char c)
{
    if (toupper((unsigned char)**at) != c)
        return false;
    (*at)++;
    return true;
}

int clock_parse_rfc3339(const char *text, int64_t *ret_wall_us, struct err *err)
{
    const char *at = text;
    struct tm tm = {0};
    int zone_hours = 0, zone_minutes = 0, sign = 0;
    int64_t fraction_us = 0;

    bool ok = digits(&at, 4, &tm.tm_year) && literal(&at, '-') && digits(&at, 2, &tm.tm_mon) && literal(&at, '-') &&
              digits(&at, 2, &tm.tm_mday) && literal(&at, 'T') && digits(&at, 2, &tm.tm_hour) && literal(&at, ':') &&
              digits(&at, 2, &tm.tm_min) && literal(&at, ':') && digits(&at, 2, &tm.tm_sec);
    if (ok && *at == '.') {
        int64_t unit = 100000;
        at++;
        ok = isdigit((unsigned char)*at);
        for (; isdigit((unsigned char)*at); at++, unit /= 10)
            fraction_us += (*at - '0') * unit;
    }
    if (ok && (*at == '+' || *at == '-')) {
        sign = *at++ == '+' ? 1 : -1;
        ok = digits(&at, 2, &zone_hours) && literal(&at, ':') && digits(&at, 2, &zone_minutes);
    } else {
        ok = ok && literal(&at, 'Z');
    }
    if (!ok || *at != '\0' || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 24 ||
        tm.tm_min > 59)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not an RFC 3339 time such as 2006-01-02T15:04:05Z", text);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_wall_us = ((int64_t)timegm(&tm) - sign * (zone_hours * 3600 + zone_minutes * 60)) * 1000000 + fraction_us;
    return 0;
}

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},       {"us", 1000},         {"\xc2\xb5s", 1000},   {"ms", NS_PER_MS},
             {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}};

int duration_parse(const char *text, int64_t *ret_ns, struct err *err)
{
    const char *at = text;
    double total = 0;

    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    while (*at != '\0') {
        double value = 0, scale = 1;
        const char *start = at;
        for (; isdigit((unsigned char)*at); at++)
            value = value * 10 + (*at - '0');
        if (*at == '.')
            for (at++; isdigit((unsigned char)*at); at++)
                value += (*at - '0') * (scale /= 10);
        if (at == start || (at == start + 1 && *start == '.')) {
            at = start;
            break;
        }
        /* The longest name first: "ms" before "m". */
        size_t best = ARRAY_LEN(units);
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
            if (strncmp(at, units[i].name, strlen(units[i].name)) == 0 &&
                (best == ARRAY_LEN(units) || strlen(units[i].name) > strlen(units[best].name)))
                best = i;
        if (best == ARRAY_LEN(units)) {
            at = start;
            break;
        }
        at += strlen(units[best].name);
        total += value * (double)units[best].ns;
    }
    if (at == text || *at != '\0')
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a duration; write for example 500ms, 15s, 1m30s", text);
    if (total > 9e18)
        return err_set(err, ERR_LIMIT, "duration \"%.64s\" is too long", text);
    *ret_ns = (int64_t)(total + 0.5);
    return 0;
}

/* value in units of unit, without trailing zeros. */
static void put_decimal(char **at, char *end, int64_t ns, int64_t unit, const char *name)
{
    char digits_text[32];

    snprintf(digits_text, sizeof(digits_text), "%" PRId64, ns % unit + unit);
    char *fraction = digits_text + 1;
    size_t length = strlen(fraction);
    while (length > 0 && fraction[length - 1] == '0')
        fraction[--length] = '\0';
    *at += snprintf(*at, (size_t)(end - *at), "%" PRId64 "%s%s%s", ns / unit, length > 0 ? "." : "", fraction, name);
}

const char *duration_format(int64_t ns, char ret_text[DURATION_SIZE])
{
    char *at = ret_text, *end = ret_text + DURATION_SIZE;

    if (ns <= 0) {
        snprintf(ret_text, DURATION_SIZE, "0s");
    } else if (ns < NS_PER_MS) {
        put_decimal(&at, end, ns, 1000, "us");
    } else if (ns < NS_PER_S) {
        put_decimal(&at, end, ns, NS_PER_MS, "ms");
    } else {
        int64_t hours = ns / (3600 * NS_PER_S), minutes = ns / (60 * NS_PER_S) % 60;
        if (hours > 0)
            at += snprintf(at, (size_t)(end - at), "%" PRId64 "h", hours);
        if (minutes > 0)
            at += snprintf(at, (size_t)(end - at), "%" PRId64 "m", minutes);
        if (ns % (60 * NS_PER_S) != 0)
            put_decimal(&at, end, ns % (60 * NS_PER_S), NS_PER_S, "s");
    }
    return ret_text;
}
