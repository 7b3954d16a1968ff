/* download.h — the content of a URL, by one GET that follows redirects.
 * Thread:  loop thread only; no call blocks and no callback comes from inside one.
 * Owns:    its connections; a transfer until its callback or its cancellation.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  ERR_DENIED: no rule allows the URL, the place of a redirect, or the address; ERR_LIMIT: it is larger than
 *          max_bytes; ERR_TIMEOUT; ERR_INVALID: no usable answer; ERR_IO: anything else.
 * Source:  libcurl; RFC 9110 (conditional requests, redirects).
 *
 * Nothing is kept between transfers: no cookies, no connection. Proxies of the environment are not used. Credentials
 * are only sent to the origin of the first URL.
 */
#ifndef HAPTIC_NET_DOWNLOAD_H
#define HAPTIC_NET_DOWNLOAD_H

#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "net/url_rule.h"

#define DOWNLOAD_REDIRECTS_MAX 5

struct downloads;
struct download;

struct download_answer {
    long status;      /* 200 or 304 when there is no error, else the server's, 0: none */
    const char *body; /* a NUL follows */
    size_t length;
    const char *etag, *modified; /* of the answer: ETag, Last-Modified; "" none */
    int64_t retry_after_ns;      /* what the server asks for; 0: nothing */
};

struct download_call {
    const char *url;
    const struct url_rules *rules; /* borrowed until the end of the transfer */
    /* Copied; NULL: none. bearer, or username and password. */
    const char *bearer, *username, *password;
    const char *etag, *modified; /* of what is known already; "" none */
    size_t max_bytes;
    int64_t timeout_ns; /* of the whole */
    /* err: NULL when the status is 200 or 304. Texts of the answer are valid during the call. */
    void (*done)(void *ctx, const struct download_answer *answer, const struct err *err);
    void *ctx;
};

struct downloads *downloads_new(uv_loop_t *loop, const char *user_agent);
/* Transfers under way are cancelled. NULL is fine; always returns NULL. */
struct downloads *downloads_free(struct downloads *d);
struct download *downloads_start(struct downloads *d, const struct download_call *call);
struct download *download_cancel(struct download *t); /* NULL is fine; always returns NULL */

#endif
