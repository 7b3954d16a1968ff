/* watch_log.h — what is logged of the watches of the API server.
 * Thread:  loop thread only.
 * Owns:    copies of the kinds' names.
 *
 * A watch that fails and works by turns is said with growing distance, its recovery only where its failure was.
 */
#ifndef HAPTIC_CONTROLLER_WATCH_LOG_H
#define HAPTIC_CONTROLLER_WATCH_LOG_H

#include <stdint.h>

#include "base/err.h"
#include "base/map.h"

/* A zeroed struct is empty. */
struct watch_log {
    struct map kinds;
};

/* As store/source_kube.h reports it. */
void watch_log_tell(struct watch_log *w, const char *kind, const struct err *err, const char *reason,
                    int64_t retry_in_ns);
void watch_log_done(struct watch_log *w);

#endif
