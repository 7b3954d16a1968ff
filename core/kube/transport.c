/* Exactly what a person can do something about is put into words of our own: which authority was trusted and where it
 * came from, which name the server should have had, which proxy stood in the way. libcurl's words are kept beside them.
 * User name and password in a proxy's URL are left out, and with them those words of libcurl's that quote it. */
#include "kube/transport.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "base/alloc.h"
#include "kube/url.h"

/* libcurl's words, except where they quote a URL: that of a proxy may hold a password. */
static const char *safe_words(CURLcode result, const char *detail)
{
    bool is_about_url = result == CURLE_COULDNT_RESOLVE_PROXY || result == CURLE_UNSUPPORTED_PROTOCOL ||
                        result == CURLE_URL_MALFORMAT;
    return is_about_url || strchr(detail, '@') || strstr(detail, "://") ? curl_easy_strerror(result) : detail;
}

/* libcurl does not take the URL in HTTPS_PROXY or the like. Its code depends on what is wrong and on its version. */
static bool is_unusable_proxy(const char *detail)
{
    return strncmp(detail, "Unsupported proxy", 17) == 0;
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
    if (c->proxy_url && *c->proxy_url) { /* "": no proxy, whatever the environment says */
        CLEANUP(free_ptr) char *proxy = kube_url_shown(c->proxy_url);
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
    CLEANUP(free_ptr) char *proxy = c->proxy_url ? kube_url_shown(c->proxy_url) : xstrdup("that the environment names");
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
                  const char *raw_detail)
{
    const char *detail = safe_words(result, raw_detail);
    long proxy_status = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (is_unusable_proxy(raw_detail)) {
        err_set(err, ERR_IO,
                "%s: connect to %s: the URL of the proxy that %s is not one that can be used (want "
                "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with user name and password percent-encoded)",
                what, c->server, c->proxy_url ? "proxy-url names" : "the environment names");
        err->sys = EHOSTUNREACH;
        return -1;
    }
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
