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
/* What is wrong with a line of a file that the program has read. shown: its name for people; path: where it lies, for
 * the column; NULL: nowhere. A manifest's line itself is not shown: it may be that of a Secret. */
void file_finding(struct findings *findings, enum finding_code code, const char *shown, const char *path, size_t line,
                  const char *object, const char *message);
/* The same from a message: "FILE:LINE: …". */
void place_finding(struct findings *findings, enum finding_code code, const char *message);

#endif
