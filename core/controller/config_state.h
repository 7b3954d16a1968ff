/* config_state.h — what has become of the newest text of the configuration file, for the log, metrics, /readyz and the
 * debug page.
 * Thread:  loop thread only.
 * Owns:    copies of all texts.
 *
 *   IN_FORCE ──read──► WAITING ──rendered──► UNCHECKED ──HAProxy takes it──► IN_FORCE
 *       │                 └────────────────────────────────────────────────► REFUSED
 *       └──the file cannot be read──► MISSING ──it is back──► (the state before)
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_STATE_H
#define HAPTIC_CONTROLLER_CONFIG_STATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/metric.h"

enum config_standing {
    CONFIG_IN_FORCE,  /* as the file says */
    CONFIG_WAITING,   /* its kinds are listed, its templates rendered; the former one is in force */
    CONFIG_UNCHECKED, /* in force; HAProxy has not judged yet what its templates make */
    CONFIG_REFUSED,   /* by us, and the former one is in force; or by HAProxy, whose last accepted configuration is */
    CONFIG_MISSING,   /* the file cannot be read; the former text is in force */
};

struct config_state {
    enum config_standing standing, before; /* before: that of the text, while the file is missing */
    char *reason;                          /* of REFUSED and MISSING */
    char *reason_before;
    int64_t since_ns;
};

void config_state_done(struct config_state *s);
/* reason: NULL for none. */
void config_state_set(struct config_state *s, enum config_standing standing, const char *reason);
/* The file can be read again, and its text is the one that was read last. */
void config_state_found(struct config_state *s);
/* A line for /readyz when the file's newest text is not in force; nothing else. */
void config_state_say(const struct config_state *s, struct buf *out);
void config_state_collect(const struct config_state *s, struct metrics *metrics);
/* A JSON object. file: NULL for the built-in configuration. */
void config_state_describe(const struct config_state *s, const char *file, struct buf *out);

#endif
