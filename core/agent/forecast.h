/* forecast.h — what an apply would do to a HAProxy that runs certain files, told without one.
 * Thread:  loop thread only.
 * Owns:    nothing; the plan is the caller's.
 *
 * It is the agent's own comparison of everything, against a view that is made of files instead of a HAProxy's answers:
 * maps that haproxy.cfg names, crt-lists that it names, and certificates that either names count as loaded.
 */
#ifndef HAPTIC_AGENT_FORECAST_H
#define HAPTIC_AGENT_FORECAST_H

#include "haproxy/disk.h"
#include "haproxy/model.h"
#include "haproxy/plan.h"
#include "store/vault.h"

/* running: all files, with values in place of handles. wanted: what is accepted of it is to be live; vault: whose
 * handles it has. */
void forecast_make(const struct disk_files *running, struct model *wanted, struct vault *vault,
                   const struct haproxy_caps *caps, struct plan *ret_plan);

#endif
