/* watch_line.h — what one line of a watch says.
 * Owns:    nothing: everything points into the JSON document.
 * Source:  Kubernetes API concepts: watch bookmarks, streaming lists.
 */
#ifndef HAPTIC_KUBE_WATCH_LINE_H
#define HAPTIC_KUBE_WATCH_LINE_H

#include "kube/watch.h"

struct watch_line {
    enum watch_line_kind {
        LINE_OBJECT,   /* event has all but received_ns */
        LINE_BOOKMARK, /* only a version */
        LINE_LIST_END, /* a bookmark that ends a streamed list */
        LINE_ERROR,    /* event.object is a Status */
        LINE_UNKNOWN,  /* no type that we know, or no object with a name */
    } kind;
    struct kube_watch_event event;
    const char *version; /* the object's; NULL: it has none */
};

/* is_list: objects that come are those of a streamed list. */
void watch_line_read(yyjson_val *root, bool is_list, struct watch_line *ret_line);

#endif
