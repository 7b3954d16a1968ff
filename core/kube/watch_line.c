/* A line is {"type": …, "object": …}. A bookmark is an object of which nothing but the version is meant. */
#include "kube/watch_line.h"

#include <string.h>

#include "data/json.h"

void watch_line_read(yyjson_val *root, bool is_list, struct watch_line *ret_line)
{
    const char *type = json_str(root, "type");
    yyjson_val *object = json_at(root, "object");
    const char *name = json_str(object, "metadata", "name"), *namespace = json_str(object, "metadata", "namespace");
    struct watch_line line = {
        .kind = name ? LINE_OBJECT : LINE_UNKNOWN,
        .event = {.object = object, .namespace = namespace ? namespace : "", .name = name},
        .version = json_str(object, "metadata", "resourceVersion"),
    };
    if (!type) {
        line.kind = LINE_UNKNOWN;
    } else if (strcmp(type, "ADDED") == 0) {
        line.event.type = is_list ? KUBE_LISTED : KUBE_ADDED;
    } else if (strcmp(type, "MODIFIED") == 0) {
        line.event.type = KUBE_MODIFIED;
    } else if (strcmp(type, "DELETED") == 0) {
        line.event.type = KUBE_DELETED;
    } else if (strcmp(type, "ERROR") == 0) {
        line.kind = LINE_ERROR;
    } else if (strcmp(type, "BOOKMARK") == 0) {
        const char *end = json_str(object, "metadata", "annotations", "k8s.io/initial-events-end");
        line.kind = end && strcmp(end, "true") == 0 && line.version ? LINE_LIST_END : LINE_BOOKMARK;
    } else {
        line.kind = LINE_UNKNOWN;
    }
    *ret_line = line;
}
