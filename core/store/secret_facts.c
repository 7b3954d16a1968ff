/* The member is written last and with its dates first, so that they are found without parsing: quotes in strings are
 * escaped, and what a Secret's author writes stands before it.
 */
#include "store/secret_facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPENING "\"x509\":{\"validity\":\""

const char *secret_validity(const struct secret_dates *dates, int64_t now_s)
{
    return now_s < dates->not_before_s ? "early" : now_s > dates->not_after_s ? "ended" : "valid";
}

void secret_facts_write(struct buf *out, const struct certificate_facts *f, const char *chain_handle,
                        const struct certificate_facts *authorities, const struct certificate_facts *revocations,
                        const struct digest digests[2], int64_t now_s)
{
    char hex[DIGEST_HEX_SIZE];
    const struct secret_dates dates = {.not_before_s = f->not_before_s, .not_after_s = f->not_after_s};

    buf_printf(out, "," OPENING "%s\",\"not_before\":%" PRId64 ",\"not_after\":%" PRId64 ",\"usable\":%s,\"names\":[",
               secret_validity(&dates, now_s), f->not_before_s, f->not_after_s, f->problem[0] ? "false" : "true");
    for (size_t i = 0; i < f->names.length; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", f->names.items[i]);
    buf_printf(out,
               "],\"key_type\":\"%s\",\"key_bits\":%d,\"certificates\":%zu,\"strays\":%zu,\"reordered\":%s,\"ocsp\":%s,"
               "\"ocsp_host\":\"%s\"",
               f->key_type, f->key_bits, f->certificates, f->strays, f->reordered ? "true" : "false",
               f->ocsp ? "true" : "false", f->ocsp_host);
    if (f->problem[0])
        buf_printf(out, ",\"problem\":\"%s\"", f->problem);
    if (chain_handle)
        buf_printf(out, ",\"chain\":\"%s\"", chain_handle);
    buf_printf(out, ",\"digest\":\"%.16s\"", digest_hex(digests[0], hex));
    if (authorities) {
        buf_printf(out, ",\"authorities\":{\"certificates\":%zu,\"not_after\":%" PRId64, authorities->certificates,
                   authorities->not_after_s);
        buf_printf(out, ",\"digest\":\"%.16s\"", digest_hex(digests[1], hex));
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
    buf_putc(out, '}');
}

bool secret_facts_dates(const char *json, size_t length, struct secret_dates *ret_dates)
{
    const char *found = NULL, *end = json + length;
    for (const char *at = json; (at = memmem(at, (size_t)(end - at), OPENING, strlen(OPENING)));)
        found = at += strlen(OPENING);
    char usable[6] = "";
    if (!found || sscanf(found + SECRET_VALIDITY_LENGTH,
                         "\",\"not_before\":%" SCNd64 ",\"not_after\":%" SCNd64 ",\"usable\":%5[a-z]",
                         &ret_dates->not_before_s, &ret_dates->not_after_s, usable) != 3)
        return false;
    ret_dates->validity_at = (size_t)(found - json);
    ret_dates->usable = strcmp(usable, "true") == 0;
    return true;
}
