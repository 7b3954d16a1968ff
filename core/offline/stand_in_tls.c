/* Blocking sockets: one direction waits for the other only while a peer does not read, and both peers do. */
#include "offline/stand_in_tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define HANDSHAKE_S 10

/* Whoever it is: a test judges the certificate, not this. */
static int accept_any(int good, X509_STORE_CTX *context)
{
    (void)good;
    (void)context;
    return 1;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                           unsigned int in_length, void *ctx)
{
    static const unsigned char known[] = "\x02h2\x08http/1.1";

    (void)ssl;
    (void)ctx;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_length, known, sizeof(known) - 1, in,
                                 in_length) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

/* The certificate and its chain. */
static bool use_chain(SSL_CTX *context, BIO *from)
{
    X509 *leaf = PEM_read_bio_X509(from, NULL, NULL, NULL), *more;
    bool good = leaf != NULL && SSL_CTX_use_certificate(context, leaf) == 1;

    X509_free(leaf);
    while (good && (more = PEM_read_bio_X509(from, NULL, NULL, NULL)) != NULL)
        good = SSL_CTX_add_extra_chain_cert(context, more) == 1;
    ERR_clear_error(); /* of the end of the text */
    return good;
}

int stand_in_tls_new(const char *certificate, const char *key, SSL_CTX **ret_context, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    BIO *chain = BIO_new_mem_buf(certificate, -1), *secret = BIO_new_mem_buf(key, -1);
    EVP_PKEY *private = secret ? PEM_read_bio_PrivateKey(secret, NULL, NULL, NULL) : NULL;
    bool good = context && chain && private && use_chain(context, chain) &&
                SSL_CTX_use_PrivateKey(context, private) == 1 && SSL_CTX_check_private_key(context) == 1;

    if (good) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(context, 0);
        SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
    }
    BIO_free(chain);
    BIO_free(secret);
    EVP_PKEY_free(private);
    ERR_clear_error();
    if (good) {
        *ret_context = context;
        return 0;
    }
    SSL_CTX_free(context);
    return err_set(err, ERR_INVALID, "certificate: it must be PEM, with the key that belongs to it");
}

void stand_in_tls_free(SSL_CTX *context)
{
    SSL_CTX_free(context);
}

static char *client_certificate(SSL *ssl)
{
    X509 *x = SSL_get1_peer_certificate(ssl);
    BIO *out = x ? BIO_new(BIO_s_mem()) : NULL;
    char *pem = NULL, *bytes;

    if (out != NULL && PEM_write_bio_X509(out, x) == 1) {
        long length = BIO_get_mem_data(out, &bytes);
        pem = xmemdup0(bytes, (size_t)length);
    }
    BIO_free(out);
    X509_free(x);
    return pem;
}

SSL *stand_in_tls_accept(SSL_CTX *context, int fd, struct stand_in_hello *ret_hello)
{
    const struct timeval patience = {HANDSHAKE_S, 0};
    const unsigned char *protocol;
    unsigned length;
    SSL *ssl = SSL_new(context);

    *ret_hello = (struct stand_in_hello){0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name != NULL && strlen(name) < sizeof(ret_hello->sni))
        memcpy(ret_hello->sni, name, strlen(name) + 1);
    ret_hello->certificate = client_certificate(ssl);
    SSL_get0_alpn_selected(ssl, &protocol, &length);
    ret_hello->h2 = length == 2 && memcmp(protocol, "h2", 2) == 0;
    return ssl;
}

static bool send_all(SSL *ssl, int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = ssl ? SSL_write(ssl, bytes, (int)length) : send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && ssl == NULL && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

/* One piece. False: that side has ended. */
static bool copy(SSL *from_ssl, int from, SSL *to_ssl, int to)
{
    char bytes[16384];
    ssize_t n = from_ssl ? SSL_read(from_ssl, bytes, sizeof(bytes)) : recv(from, bytes, sizeof(bytes), 0);

    if (n <= 0 && from_ssl != NULL && SSL_get_error(from_ssl, (int)n) == SSL_ERROR_WANT_READ)
        return true;
    return n > 0 && send_all(to_ssl, to, bytes, (size_t)n);
}

void stand_in_tls_pump(SSL *ssl, int fd, int inner_fd, int stop_fd)
{
    struct pollfd p[] = {
        {.fd = fd, .events = POLLIN}, {.fd = inner_fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

    for (;;) {
        bool waits = ssl != NULL && SSL_pending(ssl) > 0;
        if (poll(p, ARRAY_LEN(p), waits ? 0 : -1) < 0 && errno != EINTR)
            break;
        if (p[2].revents != 0)
            break;
        if ((waits || p[0].revents != 0) && !copy(ssl, fd, NULL, inner_fd))
            break;
        if (p[1].revents != 0 && !copy(NULL, inner_fd, ssl, fd))
            break;
    }
    ERR_clear_error();
}

void stand_in_tls_end(SSL *ssl)
{
    if (ssl == NULL)
        return;
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    ERR_clear_error();
}
