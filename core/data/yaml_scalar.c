/* Words are looked up, integers are read in Go's base-0 notation with underscores anywhere, and what looks like a
 * float is rewritten into JSON's notation, so that neither locale nor a second parser decides on its value. Dates stay
 * strings. */
#include "data/yaml_scalar.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <yyjson.h>

/* Longer numbers are strings. */
#define NUMBER_BYTES_MAX 400

static bool is_one_of(const char *text, size_t length, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == length && memcmp(*words, text, length) == 0)
            return true;
    return false;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Digits without sign and underscores: decimal, 0x, 0o, 0b, or octal by a leading zero. */
static bool parse_integer(const char *digits, bool negative, struct buf *number)
{
    uint64_t value = 0;
    unsigned base = 10;

    if (digits[0] == '0' && digits[1]) {
        base = 8;
        digits++;
        if (*digits == 'x' || *digits == 'X')
            base = 16, digits++;
        else if (*digits == 'b' || *digits == 'B')
            base = 2, digits++;
        else if (*digits == 'o' || *digits == 'O')
            digits++;
    }
    if (!*digits)
        return false;
    for (; *digits; digits++) {
        unsigned digit = (unsigned)digit_of(*digits);
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (negative && value > (uint64_t)INT64_MAX + 1)
        return false;
    buf_printf(number, "%s%llu", negative && value ? "-" : "", (unsigned long long)value);
    return true;
}

/* [digits][.digits][e[sign]digits] with a digit somewhere before the exponent. */
static bool parse_float(const char *text, bool negative, struct buf *number)
{
    char json[NUMBER_BYTES_MAX + 8];
    size_t n = 0, whole, fraction = 0;

    if (negative)
        json[n++] = '-';
    while (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
        text++;
    for (whole = 0; text[whole] >= '0' && text[whole] <= '9'; whole++)
        json[n++] = text[whole];
    if (whole == 0)
        json[n++] = '0';
    text += whole;
    if (*text == '.') {
        text++;
        while (text[fraction] >= '0' && text[fraction] <= '9')
            fraction++;
        if (fraction) {
            json[n++] = '.';
            memcpy(json + n, text, fraction);
            n += fraction;
        }
        text += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        json[n++] = *text++;
        if (*text == '+' || *text == '-')
            json[n++] = *text++;
        if (*text < '0' || *text > '9')
            return false;
        while (*text >= '0' && *text <= '9')
            json[n++] = *text++;
    }
    if (*text)
        return false;
    json[n] = '\0';

    yyjson_val value;
    if (!yyjson_read_number(json, &value, YYJSON_READ_NOFLAG, NULL, NULL))
        return false; /* beyond a double's range */
    double real = yyjson_get_num(&value);
    if (floor(real) == real && fabs(real) < 1e15)
        buf_printf(number, "%.0f", real);
    else if (!strpbrk(json, ".eE"))
        buf_printf(number, "%s.0", json); /* more digits than 64 bits hold: a float, as for Kubernetes */
    else
        buf_puts(number, json);
    return true;
}

enum yaml_type yaml_scalar_resolve(const char *text, size_t length, struct buf *number)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO",
                                         "off",   "Off",   "OFF",   "n",  "N",  NULL};
    static const char *const not_finite[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF", "+.inf",
                                             "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL};
    char plain[NUMBER_BYTES_MAX];
    size_t n = 0;

    if (is_one_of(text, length, nulls))
        return YAML_TYPE_NULL;
    if (is_one_of(text, length, trues))
        return YAML_TYPE_TRUE;
    if (is_one_of(text, length, falses))
        return YAML_TYPE_FALSE;
    if (is_one_of(text, length, not_finite))
        return YAML_TYPE_NOT_FINITE;
    if (!strchr("+-.0123456789", text[0]) || length >= sizeof(plain))
        return YAML_TYPE_STRING;

    bool negative = text[0] == '-', dot = text[0] == '.';
    for (size_t i = negative || text[0] == '+'; i < length; i++) {
        if (text[i] == '\0' || (text[i] == '_' && dot))
            return YAML_TYPE_STRING;
        if (text[i] != '_')
            plain[n++] = text[i];
    }
    plain[n] = '\0';
    if (!dot && parse_integer(plain, negative, number))
        return YAML_TYPE_INT;
    return parse_float(plain, negative, number) ? YAML_TYPE_FLOAT : YAML_TYPE_STRING;
}
