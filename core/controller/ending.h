/* ending.h — a renderer that was ended while a fragment ran, in words for the owner of its object.
 * Thread:  loop thread only.
 * Owns:    nothing; the caller frees what is returned.
 */
#ifndef HAPTIC_CONTROLLER_ENDING_H
#define HAPTIC_CONTROLLER_ENDING_H

#include "controller/problems.h"
#include "controller/reconcile.h"
#include "engine/renderer.h"

/* Which limit it was, and how to set it; NULL: the reason is none of the limits. */
char *ending_reason(const char *reason, int64_t timeout_ns, uint64_t memory_bytes);
/* Why it was ended, with the template's line, and the setting that decides about it. */
char *ending_message(const struct reconcile_config *config, const struct renderer_death *death);
/* A fragment that is not run because it ended the renderer: its failure with the limit that it passed, as it was told
 * before. NULL for any other. */
char *ending_cause(const struct problems *problems, const struct fragment_failure *f);

#endif
