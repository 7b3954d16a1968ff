/* OpenSSL counts references: one certificate, one key and one store serve all contexts. */
#include "net/credentials.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

struct credentials {
    X509_STORE *authorities;
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

/* A key with a pass phrase is none: nobody is asked for it. */
static int no_phrase(char *to, int size, int writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static int fail(struct err *err, const char *what)
{
    ERR_clear_error();
    return err_set(err, ERR_INVALID, "%s", what);
}

static int read_authorities(struct credentials *c, const char *pem, struct err *err)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *one;
    size_t count = 0;
    c->authorities = X509_STORE_new();
    while (bio && c->authorities && (one = PEM_read_bio_X509(bio, NULL, no_phrase, NULL))) {
        count += X509_STORE_add_cert(c->authorities, one) == 1;
        X509_free(one);
    }
    ERR_clear_error();
    return count ? 0 : fail(err, "the authorities of the agents: there is no certificate in PEM");
}

static int read_certificate(struct credentials *c, const char *pem, struct err *err)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *one;
    c->certificate = bio ? PEM_read_bio_X509(bio, NULL, no_phrase, NULL) : NULL;
    c->chain = sk_X509_new_null();
    if (!c->certificate || !c->chain)
        return fail(err, "the controller's certificate: it is no certificate in PEM");
    while ((one = PEM_read_bio_X509(bio, NULL, no_phrase, NULL)))
        if (!sk_X509_push(c->chain, one))
            X509_free(one);
    ERR_clear_error();
    return 0;
}

static int read_key(struct credentials *c, const char *pem, struct err *err)
{
    CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    c->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL) : NULL;
    if (!c->key)
        return fail(err, "the controller's key: it is no key in PEM, or has a pass phrase");
    return X509_check_private_key(c->certificate, c->key) == 1
               ? 0
               : fail(err, "the controller's key is not that of its certificate");
}

int credentials_new(const char *authorities, const char *certificate, const char *key,
                    struct credentials **ret_credentials, struct err *err)
{
    struct credentials *c = xcalloc(1, sizeof(*c));
    if (read_authorities(c, authorities, err) < 0 || read_certificate(c, certificate, err) < 0 ||
        read_key(c, key, err) < 0) {
        credentials_free(c);
        return -1;
    }
    *ret_credentials = c;
    return 0;
}

struct credentials *credentials_free(struct credentials *c)
{
    if (!c)
        return NULL;
    X509_STORE_free(c->authorities);
    X509_free(c->certificate);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    free(c);
    return NULL;
}

bool credentials_use(const struct credentials *c, void *ssl_ctx)
{
    SSL_CTX *ctx = ssl_ctx;
    /* A connection that is idle most of the time gives its buffers back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set1_cert_store(ctx, c->authorities);
    return SSL_CTX_use_cert_and_key(ctx, c->certificate, c->key, c->chain, 1) == 1;
}

static void close_file(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

int credentials_read_file(const char *path, struct buf *out, struct err *err)
{
    CLEANUP(close_file) FILE *file = fopen(path, "re");
    char chunk[4096];
    size_t n;
    int result = 0;

    if (file == NULL)
        return err_set_sys(err, errno, "%s", path);
    while (result == 0 && (n = fread(chunk, 1, sizeof(chunk), file)) > 0)
        result = buf_try_add(out, chunk, n, err);
    explicit_bzero(chunk, sizeof(chunk));
    if (result < 0)
        return err_wrap(err, "%s", path);
    if (ferror(file))
        return err_set_sys(err, errno, "read %s", path);
    return strstr(buf_str(out), "-----BEGIN ") != NULL ? 0 : err_set(err, ERR_INVALID, "%s is not PEM", path);
}
