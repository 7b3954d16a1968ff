/* Exactly what a person can do something about is put into words of our own: which authority was trusted and where it
 * came from, which name the server should have had, which proxy stood in the way. libcurl's words are kept beside them.
 * User name and password in a proxy's URL are left out. */
#include "kube/transport.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "base/alloc.h"

/* proxy-url without its credentials. */
static char *proxy_name(const struct kube_config *c)
{
    const char *scheme = strstr(c->proxy_url, "://"), *host = scheme ? scheme + 3 : c->proxy_url;
    const char *end = host + strcspn(host, "/"), *rest = host;
    for (const char *p = host; p < end; p++) {
        if (*p == '@')
            rest = p + 1;
    }
    return xasprintf("%.*s%s", (int)(host - c->proxy_url), c->proxy_url, rest);
}

static int connect_err(struct err *err, const char *what, const struct kube_config *c, CURL *easy, CURLcode result,
                       const char *detail)
{
    long os = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os);
    const char *why = os == ECONNREFUSED ? "connection refused"
                      : os == ETIMEDOUT  ? "timeout"
                      : os               ? strerror((int)os)
                                         : detail;
    if (c->proxy_url) {
        CLEANUP(free_ptr) char *proxy = proxy_name(c);
        err_set(err, ERR_IO, "%s: connect to the proxy %s, on the way to %s: %s (proxy-url of %s)", what, proxy,
                c->server, why, c->origin);
    } else if (result == CURLE_COULDNT_RESOLVE_PROXY) {
        err_set(err, ERR_IO, "%s: connect to %s: %s (a proxy that the environment names)", what, c->server, why);
    } else {
        err_set(err, ERR_IO, "%s: connect to %s: %s", what, c->server, why);
    }
    err->sys = os ? (int)os : EHOSTUNREACH;
    return -1;
}

/* The proxy is there and did not let us through. */
static int proxy_err(struct err *err, const char *what, const struct kube_config *c, long status, const char *detail)
{
    CLEANUP(free_ptr) char *proxy = c->proxy_url ? proxy_name(c) : xstrdup("that the environment names");
    if (status == 407)
        err_set(err, ERR_IO,
                "%s: the proxy %s wants a user name and a password before it connects to %s; put them into its URL "
                "(http://USER:PASSWORD@HOST:PORT)",
                what, proxy, c->server);
    else if (status >= 300)
        err_set(err, ERR_IO, "%s: the proxy %s refuses to connect to %s: %ld; it must allow CONNECT to that port", what,
                proxy, c->server, status);
    else
        err_set(err, ERR_IO, "%s: the proxy %s, on the way to %s: %s", what, proxy, c->server, detail);
    err->sys = EHOSTUNREACH;
    return -1;
}

static int verify_err(struct err *err, const char *what, const struct kube_config *c, CURL *easy, const char *detail)
{
    long verdict = X509_V_OK;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    /* On a wrong name libcurl has not taken over OpenSSL's verdict about the chain yet: it is "unspecified". */
    if (verdict == X509_V_OK || verdict == X509_V_ERR_UNSPECIFIED)
        return err_set(err, ERR_IO,
                       "%s: TLS: the certificate of %s is for other names (%s); use a URL with one of them, or set "
                       "tls-server-name to it (%s)",
                       what, c->server, detail, c->origin);
    if (verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID)
        return err_set(err, ERR_IO,
                       "%s: TLS: the certificate of %s, or of its authority, is not valid now (%s); renew it, or put "
                       "this machine's clock right",
                       what, c->server, detail);
    if (!c->ca.bytes)
        return err_set(err, ERR_IO,
                       "%s: TLS: the certificate of %s is not signed by an authority that this system trusts (%s); "
                       "give the cluster's own (certificate-authority of %s)",
                       what, c->server, detail, c->origin);
    return err_set(err, ERR_IO,
                   "%s: TLS: the certificate of %s is not signed by the authority in %s%s (%s); is it another cluster, "
                   "or was its authority replaced? Then put the new one there",
                   what, c->server, c->ca.path ? "" : "certificate-authority-data of ",
                   c->ca.path ? c->ca.path : c->origin, detail);
}

int transport_err(struct err *err, const char *what, const struct kube_config *c, CURL *easy, CURLcode result,
                  const char *detail)
{
    long proxy_status = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "%s: timeout: %s (%s)", what, detail, c->server);
    if (result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST ||
        result == CURLE_COULDNT_RESOLVE_PROXY)
        return connect_err(err, what, c, easy, result, detail);
    if (proxy_status >= 300 || result == CURLE_PROXY)
        return proxy_err(err, what, c, proxy_status, detail);
    if (result == CURLE_PEER_FAILED_VERIFICATION)
        return verify_err(err, what, c, easy, detail);
    if (result == CURLE_SSL_CACERT_BADFILE)
        return err_set(err, ERR_INVALID, "%s: TLS: the certificate authority of %s is not a PEM certificate", what,
                       c->origin);
    if (result == CURLE_SSL_CERTPROBLEM)
        return err_set(err, ERR_INVALID, "%s: TLS: the client certificate of %s: %s", what, c->origin, detail);
    return err_set(err, ERR_IO, "%s: %s: %s", what, c->server, detail);
}
