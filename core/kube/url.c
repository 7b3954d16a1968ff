/* libcurl's own parser decides what a proxy's URL is, with the flags that libcurl uses for it: what passes here is not
 * refused later, by words of libcurl that quote it. */
#include "kube/url.h"

#include <curl/curl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

char *kube_url_shown(const char *url)
{
    const char *scheme = strstr(url, "://"), *at = strrchr(url, '@');
    /* An '@' before "://": that is no scheme, but may be a password. */
    size_t length = scheme && (!at || scheme < at) ? (size_t)(scheme + 3 - url) : 0;
    return xasprintf("%.*s%s", (int)length, url, at ? at + 1 : url + length);
}

static bool is_proxy_scheme(const char *scheme)
{
    static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strcmp(scheme, schemes[i]) == 0)
            return true;
    }
    return false;
}

const char *kube_url_proxy_wants(const char *url)
{
    const char *scheme = strstr(url, "://"), *at = strrchr(url, '@');
    const char *authority = scheme ? scheme + 3 : url;
    if (at && at > authority + strcspn(authority, "/?#"))
        return "want a URL http://USER:PASSWORD@HOST:PORT, with %2F for \"/\", %3F for \"?\" and %23 for \"#\" in user "
               "name and password";
    CURLU *parsed = curl_url();
    char *its_scheme = NULL;
    const char *wants = NULL;
    if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) != CURLUE_OK)
        wants = "not a URL; want http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with user name and password "
                "percent-encoded";
    else if (scheme &&
             (curl_url_get(parsed, CURLUPART_SCHEME, &its_scheme, 0) != CURLUE_OK || !is_proxy_scheme(its_scheme)))
        wants = "want a URL with http, https, socks4, socks4a, socks5 or socks5h";
    curl_free(its_scheme);
    curl_url_cleanup(parsed);
    return wants;
}

static char *part_of(CURLU *parsed, CURLUPart part)
{
    char *text = NULL;
    if (curl_url_get(parsed, part, &text, 0) != CURLUE_OK || !text)
        return xstrdup("");
    char *copy = xstrdup(text);
    curl_free(text);
    return copy;
}

void kube_url_split(const char *text, struct kube_url *ret_url)
{
    CURLU *parsed = curl_url();
    if (!parsed)
        abort();
    (void)!curl_url_set(parsed, CURLUPART_URL, text, CURLU_GUESS_SCHEME); /* where it fails there are no parts */
    *ret_url = (struct kube_url){part_of(parsed, CURLUPART_HOST), part_of(parsed, CURLUPART_PORT),
                                 part_of(parsed, CURLUPART_PATH)};
    if (strcmp(ret_url->path, "/") == 0)
        ret_url->path[0] = '\0';
    curl_url_cleanup(parsed);
}

void kube_url_done(struct kube_url *url)
{
    free(url->host);
    free(url->port);
    free(url->path);
    *url = (struct kube_url){0};
}
