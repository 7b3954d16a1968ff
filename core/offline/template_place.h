/* template_place.h — from the place that a message names ("ingress.lua:12: …") to a finding with file, line and
 * excerpt.
 * Thread:  loop thread only.
 * Owns:    nothing.
 */
#ifndef HAPTIC_OFFLINE_TEMPLATE_PLACE_H
#define HAPTIC_OFFLINE_TEMPLATE_PLACE_H

#include "controller/config.h"
#include "offline/finding.h"

/* A message of a template. object, with: may be NULL. */
void template_finding(const struct config *config, struct findings *findings, enum finding_code code,
                      const char *object, const char *with, const char *message);
/* A message about a file that the program has read: "FILE:LINE: …". */
void place_finding(struct findings *findings, enum finding_code code, const char *message);

#endif
