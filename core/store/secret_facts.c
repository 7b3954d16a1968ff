/* The member is the last one, and begins with its dates, so that they are found without parsing. Quotes in strings are
 * escaped, and text of the Secret's author comes before this member. */
#include "store/secret_facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIR "{\"validity\":\""
#define OPENING "\"x509\":" PAIR

const char *const secret_pair_stems[SECRET_PAIRS_MAX] = {"tls", "rsa", "ecdsa"};

const char *secret_validity(const struct secret_dates *dates, int64_t now_s)
{
    return now_s < dates->not_before_s ? "early" : now_s > dates->not_after_s ? "ended" : "valid";
}

/* Without the end of the object. */
static void add_pair(struct buf *out, const struct secret_pair *p, int64_t now_s)
{
    char hex[DIGEST_HEX_SIZE];
    const struct certificate_facts *f = &p->facts;
    const struct secret_dates dates = {.not_before_s = f->not_before_s, .not_after_s = f->not_after_s};

    buf_printf(out, PAIR "%s\",\"not_before\":%" PRId64 ",\"not_after\":%" PRId64 ",\"usable\":%s,\"names\":[",
               secret_validity(&dates, now_s), f->not_before_s, f->not_after_s, f->problem[0] ? "false" : "true");
    for (size_t i = 0; i < f->names.length; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", f->names.items[i]);
    buf_printf(out,
               "],\"key_type\":\"%s\",\"key_bits\":%d,\"certificates\":%zu,\"strays\":%zu,\"reordered\":%s,\"ocsp\":%s,"
               "\"ocsp_host\":\"%s\",\"stem\":\"%s\"",
               f->key_type, f->key_bits, f->certificates, f->strays, f->reordered ? "true" : "false",
               f->ocsp ? "true" : "false", f->ocsp_host, p->stem);
    if (f->problem[0])
        buf_printf(out, ",\"problem\":\"%s\"", f->problem);
    if (p->chain_handle)
        buf_printf(out, ",\"chain\":\"%s\"", p->chain_handle);
    buf_printf(out, ",\"digest\":\"%.16s\"", digest_hex(p->digest, hex));
}

void secret_facts_write(struct buf *out, const struct secret_pair *pairs, size_t count,
                        const struct certificate_facts *authorities, const struct certificate_facts *revocations,
                        struct digest authorities_digest, int64_t now_s)
{
    char hex[DIGEST_HEX_SIZE];

    buf_puts(out, ",\"x509\":");
    add_pair(out, &pairs[0], now_s);
    if (authorities) {
        buf_printf(out, ",\"authorities\":{\"certificates\":%zu,\"not_after\":%" PRId64, authorities->certificates,
                   authorities->not_after_s);
        buf_printf(out, ",\"digest\":\"%.16s\"", digest_hex(authorities_digest, hex));
        if (authorities->problem[0])
            buf_printf(out, ",\"problem\":\"%s\"", authorities->problem);
        buf_putc(out, '}');
    }
    if (revocations) {
        buf_printf(out, ",\"revocations\":{\"lists\":%zu,\"next_update\":%" PRId64, revocations->certificates,
                   revocations->not_after_s);
        if (revocations->problem[0])
            buf_printf(out, ",\"problem\":\"%s\"", revocations->problem);
        buf_putc(out, '}');
    }
    for (size_t i = 1; i < count; i++) {
        buf_puts(out, i == 1 ? ",\"pairs\":[" : ",");
        add_pair(out, &pairs[i], now_s);
        buf_putc(out, '}');
    }
    buf_puts(out, count > 1 ? "]}" : "}");
}

/* The first pair's word, behind the last opening: NULL when there are no facts. */
static const char *first_validity(const char *json, const char *end)
{
    const char *found = NULL;
    for (const char *at = json; (at = memmem(at, (size_t)(end - at), OPENING, strlen(OPENING)));)
        found = at += strlen(OPENING);
    return found;
}

bool secret_facts_next(const char *json, size_t length, struct secret_dates *dates)
{
    const char *end = json + length, *found = NULL;
    char usable[6] = "";

    if (dates->validity_at == 0) {
        found = first_validity(json, end);
    } else {
        const char *at = json + dates->validity_at;
        found = memmem(at, (size_t)(end - at), PAIR, strlen(PAIR));
        found = found ? found + strlen(PAIR) : NULL;
    }
    if (!found || sscanf(found + SECRET_VALIDITY_LENGTH,
                         "\",\"not_before\":%" SCNd64 ",\"not_after\":%" SCNd64 ",\"usable\":%5[a-z]",
                         &dates->not_before_s, &dates->not_after_s, usable) != 3)
        return false;
    dates->validity_at = (size_t)(found - json);
    dates->usable = strcmp(usable, "true") == 0;
    return true;
}
