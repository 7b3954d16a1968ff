/* The mark of authorities and of revocation lists is a digest of sorted lines, each once: HAProxy prints them in an
 * order of its own, and stores duplicates only once. The lines of a revocation list are written here in HAProxy's
 * format.
 */
#include "haproxy/ssl_file.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/vec.h"
#include "data/certificate.h"

#define FINGERPRINT "SHA1 FingerPrint: "
#define ISSUER "Issuer: "
#define LAST_UPDATE "Last Update: "
#define NEXT_UPDATE "Next Update: "
#define SERIAL "Serial Number: "

const char *ssl_file_word(enum ssl_file_kind kind)
{
    static const char *const words[SSL_FILE_KINDS] = {"cert", "ca-file", "crl-file"};
    return words[kind];
}

enum ssl_file_kind ssl_file_kind_of(const char *pem, size_t length)
{
    if (!length || memmem(pem, length, "PRIVATE KEY-----", strlen("PRIVATE KEY-----")))
        return SSL_CERTIFICATE;
    if (memmem(pem, length, "-----BEGIN X509 CRL-----", strlen("-----BEGIN X509 CRL-----")))
        return SSL_REVOCATIONS;
    return SSL_AUTHORITIES;
}

/* ---- sorted lines ---- */

struct lines {
    VEC(char *) items;
};

static int line_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends them, sorted and each once, and empties the list. */
static void lines_take(struct lines *lines, struct buf *out)
{
    if (lines->items.length)
        qsort(lines->items.items, lines->items.length, sizeof(lines->items.items[0]), line_compare);
    for (size_t i = 0; i < lines->items.length; i++) {
        if (i == 0 || strcmp(lines->items.items[i - 1], lines->items.items[i]) != 0) {
            buf_puts(out, lines->items.items[i]);
            buf_putc(out, '\n');
        }
    }
    for (size_t i = 0; i < lines->items.length; i++)
        free(lines->items.items[i]);
    vec_clear(&lines->items);
}

static struct ssl_file_mark lines_mark(struct lines *lines)
{
    struct ssl_file_mark mark = {""};
    CLEANUP(buf_done) struct buf all = {0};
    char hex[DIGEST_HEX_SIZE];
    bool any = lines->items.length > 0;
    lines_take(lines, &all);
    vec_done(&lines->items);
    if (any)
        snprintf(mark.text, sizeof(mark.text), "%s", digest_hex(digest_of(buf_str(&all), all.length), hex));
    return mark;
}

/* One revocation list as a line. Takes the serial numbers. */
static void lines_add_list(struct lines *lines, const char *issuer, const char *last, const char *next,
                           struct lines *serials)
{
    struct buf line = {0};
    buf_printf(&line, "%s|%s|%s\n", issuer, last, next);
    lines_take(serials, &line);
    vec_push(&lines->items, xmemdup0(buf_str(&line), line.length));
    buf_done(&line);
}

/* ---- from a file's content ---- */

static void certificate_add(struct lines *lines, const unsigned char *der, long length)
{
    unsigned char digest[SHA_DIGEST_LENGTH];
    char text[2 * SHA_DIGEST_LENGTH + 1];
    unsigned n = 0;
    if (length < 0 || EVP_Digest(der, (size_t)length, digest, &n, EVP_sha1(), NULL) != 1)
        return;
    for (size_t i = 0; i < SHA_DIGEST_LENGTH; i++)
        snprintf(text + 2 * i, 3, "%02X", digest[i]);
    vec_push(&lines->items, xstrdup(text));
}

static char *time_text(const ASN1_TIME *time)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    long length = bio && time && ASN1_TIME_print(bio, time) == 1 ? BIO_get_mem_data(bio, &bytes) : 0;
    char *text = xmemdup0(length > 0 ? bytes : "", length > 0 ? (size_t)length : 0);
    BIO_free(bio);
    return text;
}

static char *serial_text(const ASN1_INTEGER *serial)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    long length = bio && i2a_ASN1_INTEGER(bio, serial) > 0 ? BIO_get_mem_data(bio, &bytes) : 0;
    char *text = xmemdup0(length > 0 ? bytes : "", length > 0 ? (size_t)length : 0);
    BIO_free(bio);
    return text;
}

static void list_add(struct lines *lines, const unsigned char *der, long length)
{
    struct lines serials = {0};
    X509_CRL *list = d2i_X509_CRL(NULL, &der, length);
    if (!list)
        return;
    char *issuer = X509_NAME_oneline(X509_CRL_get_issuer(list), NULL, 0);
    CLEANUP(free_ptr) char *last = time_text(X509_CRL_get0_lastUpdate(list));
    CLEANUP(free_ptr) char *next = time_text(X509_CRL_get0_nextUpdate(list));
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(list);
    for (int i = 0; i < sk_X509_REVOKED_num(revoked); i++)
        vec_push(&serials.items, serial_text(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i))));
    lines_add_list(lines, issuer ? issuer : "", last, next, &serials);
    vec_done(&serials.items);
    OPENSSL_free(issuer);
    X509_CRL_free(list);
}

static bool is_certificate(const char *name)
{
    return strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0 ||
           strcmp(name, PEM_STRING_X509_TRUSTED) == 0;
}

struct ssl_file_mark ssl_file_mark(enum ssl_file_kind kind, const char *pem, size_t length)
{
    struct ssl_file_mark mark = {""};
    struct lines lines = {0};
    char *name, *header;
    unsigned char *der;
    long n;
    if (kind == SSL_CERTIFICATE) {
        if (!certificate_fingerprint(pem, length, mark.text))
            mark.text[0] = '\0';
        return mark;
    }
    BIO *bio = length <= INT_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    while (bio && PEM_read_bio(bio, &name, &header, &der, &n) == 1) {
        if (kind == SSL_AUTHORITIES && is_certificate(name))
            certificate_add(&lines, der, n);
        else if (kind == SSL_REVOCATIONS && strcmp(name, PEM_STRING_X509_CRL) == 0)
            list_add(&lines, der, n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, n > 0 ? (size_t)n : 0);
    }
    BIO_free(bio);
    ERR_clear_error();
    return lines_mark(&lines);
}

/* ---- from HAProxy's answer ---- */

/* The rest of a line that begins with these words after optional blanks; NULL for other lines. malloc'ed. */
static char *line_rest(const char *line, size_t length, const char *words)
{
    size_t n = strlen(words);
    while (length && *line == ' ')
        line++, length--;
    return length >= n && memcmp(line, words, n) == 0 ? xmemdup0(line + n, length - n) : NULL;
}

static void answer_fingerprints(struct lines *lines, const char *answer)
{
    for (const char *at = answer; (at = strstr(at, FINGERPRINT));) {
        at += strlen(FINGERPRINT);
        vec_push(&lines->items, xmemdup0(at, strcspn(at, " \n")));
    }
}

/* The revocation list that is being read. */
struct read_list {
    char *issuer, *last, *next;
    struct lines serials;
};

static void read_list_end(struct read_list *r, struct lines *lines)
{
    if (r->issuer)
        lines_add_list(lines, r->issuer, r->last ? r->last : "", r->next ? r->next : "", &r->serials);
    free(STEAL(r->issuer));
    free(STEAL(r->last));
    free(STEAL(r->next));
}

static void answer_lists(struct lines *lines, const char *answer)
{
    struct read_list r = {0};
    for (const char *line = answer; *line;) {
        size_t length = strcspn(line, "\n");
        char *text = line_rest(line, length, ISSUER);
        if (text) {
            read_list_end(&r, lines);
            r.issuer = text;
        } else if ((text = line_rest(line, length, LAST_UPDATE))) {
            free(r.last);
            r.last = text;
        } else if ((text = line_rest(line, length, NEXT_UPDATE))) {
            free(r.next);
            r.next = text;
        } else if ((text = line_rest(line, length, SERIAL))) {
            vec_push(&r.serials.items, text);
        }
        line += length + (line[length] == '\n');
    }
    read_list_end(&r, lines);
    for (size_t i = 0; i < r.serials.items.length; i++)
        free(r.serials.items.items[i]);
    vec_done(&r.serials.items);
}

struct ssl_file_mark ssl_file_answer_mark(enum ssl_file_kind kind, const char *answer)
{
    struct lines lines = {0};
    if (kind == SSL_CERTIFICATE) {
        struct ssl_file_mark mark = {""};
        const char *at = strstr(answer, FINGERPRINT);
        at = at ? at + strlen(FINGERPRINT) : "";
        snprintf(mark.text, sizeof(mark.text), "%.*s", (int)strcspn(at, " \n"), at);
        return mark;
    }
    if (kind == SSL_AUTHORITIES)
        answer_fingerprints(&lines, answer);
    else
        answer_lists(&lines, answer);
    return lines_mark(&lines);
}

bool ssl_file_answer_is(enum ssl_file_kind kind, const char *answer, const struct ssl_file_mark *mark)
{
    const struct ssl_file_mark found = ssl_file_answer_mark(kind, answer);
    return *mark->text && strcmp(found.text, mark->text) == 0;
}

bool ssl_file_answer_is_none(enum ssl_file_kind kind, const char *answer)
{
    return kind == SSL_CERTIFICATE ? !strstr(answer, FINGERPRINT) : strstr(answer, "Not found") != NULL;
}

bool ssl_file_answer_is_locked(const char *answer)
{
    static const char locked[] = "Operations on certificates are currently locked";
    /* "Can't show!\nOperations on …" */
    if (strncmp(answer, "Can't ", 6) == 0) {
        answer += strcspn(answer, "\n");
        answer += *answer == '\n';
    }
    return strncmp(answer, locked, strlen(locked)) == 0;
}

/* ---- for a command ---- */

static bool block_is_of(enum ssl_file_kind kind, const char *line, size_t length)
{
    if (kind == SSL_CERTIFICATE)
        return true;
    return memmem(line, length, kind == SSL_AUTHORITIES ? "CERTIFICATE-----" : "X509 CRL-----",
                  kind == SSL_AUTHORITIES ? strlen("CERTIFICATE-----") : strlen("X509 CRL-----")) != NULL;
}

void ssl_file_payload(enum ssl_file_kind kind, const char *pem, size_t length, struct buf *out)
{
    struct buf all = {0};
    bool passes = false;
    certificate_compact(pem, length, &all);
    for (const char *line = buf_str(&all); *line;) {
        size_t n = strcspn(line, "\n") + 1;
        if (strncmp(line, "-----BEGIN ", 11) == 0)
            passes = block_is_of(kind, line, n);
        if (passes)
            buf_add(out, line, n);
        line += n;
    }
    if (all.data)
        explicit_bzero(all.data, all.capacity);
    buf_done(&all);
}
