/* verdicts.h — what several versions of HAProxy would have to do, on one line: those that do the same stand together.
 * Thread:  loop thread only.
 * Owns:    copies of its texts.
 * Errors:  versions_add(): as of controller/place.h.
 */
#ifndef HAPTIC_OFFLINE_VERDICTS_H
#define HAPTIC_OFFLINE_VERDICTS_H

#include "base/buf.h"
#include "base/vec.h"
#include "haproxy/version.h"
#include "offline/difference.h"

/* One text, and the versions of HAProxy that it is for. */
struct verdict_of {
    char *versions; /* "3.0.11, 3.2.9" */
    char *text;
};
struct verdicts {
    VEC(struct verdict_of) items;
};

/* Adds the commands or the reload of a difference for one version of HAProxy. Equal texts share an entry. */
void verdicts_add(struct verdicts *v, const struct difference *d, const char *version);
/* Append "HAProxy 3.0.11, 3.2.9: 3 runtime commands, no reload; HAProxy 3.4.7: …", with a line end. */
void verdicts_put(const struct verdicts *v, struct buf *out);
void verdicts_done(struct verdicts *v);

/* The programs that a command compares for. */
struct version_of {
    const char *binary; /* borrowed; NULL: none is asked */
    struct haproxy_caps caps;
};
struct versions {
    VEC(struct version_of) items;
};
/* A program, which is asked for its version. */
int versions_add(struct versions *v, const char *binary, struct err *err) MUST_CHECK;
/* The one that renders, which need not be a program, and all programs but the first. */
int versions_find(struct versions *v, const char *first, const struct haproxy_caps *caps, const char *const *binaries,
                  size_t count, struct err *err) MUST_CHECK;
void versions_done(struct versions *v);

#endif
