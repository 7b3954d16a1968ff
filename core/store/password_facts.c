/* Only the beginning of a value is looked at, and nothing of what makes it secret is told. */
#include "store/password_facts.h"

#include <string.h>

#define HASH_MAX 512
/* crypt(5): what sha256 and sha512 do where the hash names no number, and the largest number. */
#define ROUNDS_DEFAULT 5000L
#define ROUNDS_MAX 999999999L
/* Base64 of a SHA-1 digest. */
#define SHA1_LENGTH 28

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

/* The decimal number at p, which ends in '$'; -1 where there is none. */
static long number_before_dollar(const char *p, const char *end)
{
    long n = 0;
    const char *start = p;
    for (; p < end && *p >= '0' && *p <= '9' && n <= ROUNDS_MAX; p++)
        n = n * 10 + (*p - '0');
    return p > start && p < end && *p == '$' ? n : -1;
}

static long cost_of(const struct scheme *s, const char *bytes, size_t length)
{
    const char *p = bytes + strlen(s->prefix), *end = bytes + length;
    static const char rounds[] = "rounds=";

    if (strcmp(s->name, "bcrypt") == 0)
        return number_before_dollar(p, end);
    if (strcmp(s->name, "sha256") != 0 && strcmp(s->name, "sha512") != 0)
        return -1;
    if ((size_t)(end - p) < sizeof(rounds) - 1 || memcmp(p, rounds, sizeof(rounds) - 1) != 0)
        return ROUNDS_DEFAULT;
    return number_before_dollar(p + sizeof(rounds) - 1, end);
}

bool password_facts_write(struct buf *out, const char *bytes, size_t length)
{
    const struct scheme *s = length <= HASH_MAX ? scheme_of(bytes, length) : NULL;

    if (!s)
        return false;
    bool line_end = memchr(bytes, '\n', length) || memchr(bytes, '\r', length);
    if (strcmp(s->name, "sha1") == 0 && !line_end && length != strlen(s->prefix) + SHA1_LENGTH)
        return false;
    buf_printf(out, "{\"scheme\":\"%s\"", s->name);
    long cost = cost_of(s, bytes, length);
    if (cost >= 0)
        buf_printf(out, ",\"cost\":%ld", cost);
    if (line_end)
        buf_printf(out, ",\"line_end\":true");
    buf_putc(out, '}');
    return true;
}
