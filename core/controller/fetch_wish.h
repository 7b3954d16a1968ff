/* fetch_wish.h — what a fragment says of a URL whose content it wants (CONTRIBUTION_FETCH), and the object that holds
 * the content.
 * Thread:  loop thread only.
 * Owns:    a wish owns its texts.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  ERR_INVALID: lua/haptic/http.lua did not write this.
 */
#ifndef HAPTIC_CONTROLLER_FETCH_WISH_H
#define HAPTIC_CONTROLLER_FETCH_WISH_H

#include <stdint.h>

#include "base/buf.h"
#include "engine/contribution.h"

/* The kind of these objects: its name in templates, and what a manifest says. */
#define FETCH_KIND "fetched"
#define FETCH_API_VERSION "haproxy-haptic.org/v1alpha1"
#define FETCH_RESOURCE "fetchedurls"
#define FETCH_OBJECT_KIND "FetchedURL"

struct fetch_wish {
    char *url, *credentials;            /* credentials: a name for whose they are; "" none */
    char *secret;                       /* "namespace/name"; NULL: none */
    char *bearer, *username, *password; /* its keys; NULL: not used */
    int64_t interval_ns, timeout_ns;
    size_t max_bytes;
    char *content; /* what was known when it was written; NULL: nothing */
    char *etag, *modified;
};

/* Parses the text of a CONTRIBUTION_FETCH. The caller frees *ret_wish by fetch_wish_done(). */
int fetch_wish_read(const struct contribution *c, struct fetch_wish *ret_wish, struct err *err) MUST_CHECK;
void fetch_wish_done(struct fetch_wish *w);

struct fetch_content {
    const char *id, *url, *credentials;
    const char *content; /* NULL: not there, and message says why */
    size_t length;
    const char *etag, *modified, *message;
};
/* The object, as JSON. ERR_INVALID: the content is no text in UTF-8. */
int fetch_object_write(const struct fetch_content *content, struct buf *out, struct err *err) MUST_CHECK;

#endif
