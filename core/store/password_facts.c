/* Only the beginning of a value is read. No secret part of it becomes a fact. */
#include "store/password_facts.h"

#include <string.h>

#define HASH_MAX 512
/* crypt(5): the default number of rounds of sha256 and sha512, and the largest number. */
#define ROUNDS_DEFAULT 5000L
#define ROUNDS_MAX 999999999L
/* Base64 of a SHA-1 digest. */
#define SHA1_LENGTH 28
#define DES_LENGTH 13
/* The result for more time than any login can take. */
#define MICROSECONDS_MAX 1000000000000L

static const struct scheme {
    const char *prefix, *name;
} schemes[] = {
    {"$1$", "md5"},      {"$apr1$", "apr1"},   {"$2a$", "bcrypt"}, {"$2b$", "bcrypt"},
    {"$2y$", "bcrypt"},  {"$5$", "sha256"},    {"$6$", "sha512"},  {"$7$", "scrypt"},
    {"$y$", "yescrypt"}, {"$gy$", "yescrypt"}, {"{SHA}", "sha1"},  {"{SSHA}", "ssha"},
};

static const struct scheme *scheme_of(const char *bytes, size_t length)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = strlen(schemes[i].prefix);
        if (length > n && memcmp(bytes, schemes[i].prefix, n) == 0)
            return &schemes[i];
    }
    return NULL;
}

/* The decimal number at p, which ends with '$'; -1 when there is none. */
static long number_before_dollar(const char *p, const char *end)
{
    long n = 0;
    const char *start = p;
    for (; p < end && *p >= '0' && *p <= '9' && n <= ROUNDS_MAX; p++)
        n = n * 10 + (*p - '0');
    return p > start && p < end && *p == '$' ? n : -1;
}

/* The parameters that crypt_gensalt(3) writes for a cost; -1 for others. */
static long cost_of_parameters(const char *const *parameters, size_t count, const char *p, const char *end)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = parameters[i] != NULL ? strlen(parameters[i]) : 0;
        if (n > 0 && (size_t)(end - p) > n && memcmp(p, parameters[i], n) == 0)
            return (long)i;
    }
    return -1;
}

static long cost_of(const struct scheme *s, const char *bytes, size_t length)
{
    const char *p = bytes + strlen(s->prefix), *end = bytes + length;
    static const char rounds[] = "rounds=";
    static const char *const yescrypt[] = {NULL,   "j75$", "j85$", "j7T$", "j8T$", "j9T$",
                                           "jAT$", "jBT$", "jCT$", "jDT$", "jET$", "jFT$"};
    static const char *const scrypt[] = {[6] = "BU..../....", [7] = "CU..../....",  [8] = "DU..../....",
                                         [9] = "EU..../....", [10] = "FU..../....", [11] = "GU..../...."};

    if (strcmp(s->name, "bcrypt") == 0)
        return number_before_dollar(p, end);
    if (strcmp(s->name, "yescrypt") == 0)
        return cost_of_parameters(yescrypt, sizeof(yescrypt) / sizeof(yescrypt[0]), p, end);
    if (strcmp(s->name, "scrypt") == 0)
        return cost_of_parameters(scrypt, sizeof(scrypt) / sizeof(scrypt[0]), p, end);
    if (strcmp(s->name, "sha256") != 0 && strcmp(s->name, "sha512") != 0)
        return -1;
    if ((size_t)(end - p) < sizeof(rounds) - 1 || memcmp(p, rounds, sizeof(rounds) - 1) != 0)
        return ROUNDS_DEFAULT;
    return number_before_dollar(p + sizeof(rounds) - 1, end);
}

/* base: of the cost `at`; each step of cost doubles it. */
static long doubled(long base, long cost, long at)
{
    for (; cost > at && base < MICROSECONDS_MAX; cost--)
        base *= 2;
    for (; cost < at; cost++)
        base /= 2;
    return base > 0 ? base : 1;
}

/* The time of one login in microseconds, measured on a machine of 2020; 0: unknown. */
static long microseconds_of(const struct scheme *s, long cost)
{
    if (strcmp(s->name, "des") == 0 || strcmp(s->name, "sha1") == 0 || strcmp(s->name, "ssha") == 0)
        return 10;
    if (strcmp(s->name, "md5") == 0 || strcmp(s->name, "apr1") == 0)
        return 1300;
    if (cost < 0)
        return 0;
    if (strcmp(s->name, "bcrypt") == 0)
        return doubled(54000, cost, 10);
    if (strcmp(s->name, "yescrypt") == 0)
        return doubled(18000, cost, 5);
    if (strcmp(s->name, "scrypt") == 0)
        return doubled(150000, cost, 7);
    return cost * 3 / 10 + 1;
}

static bool is_des(const char *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./";

    for (size_t i = 0; i < length; i++)
        if (bytes[i] == '\0' || strchr(digits, bytes[i]) == NULL)
            return false;
    return length == DES_LENGTH;
}

static const struct scheme *scheme_or_des(const char *bytes, size_t length)
{
    static const struct scheme des = {"", "des"};
    const struct scheme *s = length <= HASH_MAX ? scheme_of(bytes, length) : NULL;

    return s != NULL || !is_des(bytes, length) ? s : &des;
}

bool password_is_quick(const char *bytes, size_t length)
{
    const struct scheme *s = scheme_or_des(bytes, length);
    long us = s != NULL ? microseconds_of(s, cost_of(s, bytes, length)) : 0;

    return us > 0 && us <= PASSWORD_MICROSECONDS_MAX;
}

bool password_facts_write(struct buf *out, const char *bytes, size_t length)
{
    const struct scheme *s = scheme_or_des(bytes, length);

    if (!s)
        return false;
    bool line_end = memchr(bytes, '\n', length) || memchr(bytes, '\r', length);
    if (strcmp(s->name, "sha1") == 0 && !line_end && length != strlen(s->prefix) + SHA1_LENGTH)
        return false;
    buf_printf(out, "{\"scheme\":\"%s\"", s->name);
    long cost = cost_of(s, bytes, length);
    if (cost >= 0)
        buf_printf(out, ",\"cost\":%ld", cost);
    long us = microseconds_of(s, cost);
    if (us > 0 && us <= PASSWORD_MICROSECONDS_MAX)
        buf_printf(out, ",\"microseconds\":%ld", us);
    if (line_end)
        buf_printf(out, ",\"line_end\":true");
    buf_putc(out, '}');
    return true;
}
