/* library_report.h — what a configuration resource has made of its libraries, in their status.
 * Thread:  loop thread only.
 * Owns:    its request and timer, copies of all texts. Borrows client and source.
 * Errors:  of writing: retried with a growing distance, told with a growing distance.
 *
 * A library gets the condition Accepted, with the generation that was judged, and under usedBy the name of the
 * configuration with the revision that it has taken. Several configurations write their own fields of it, each as a
 * field manager of its own; one that does not name the library any more takes its fields away.
 */
#ifndef HAPTIC_CONTROLLER_LIBRARY_REPORT_H
#define HAPTIC_CONTROLLER_LIBRARY_REPORT_H

#include "controller/config_source.h"

struct library_report;

enum library_verdict { LIBRARY_IN_FORCE, LIBRARY_REFUSED };

struct library_report *library_report_new(struct kube_client *client, struct config_source *source,
                                          bool (*may_write)(void *ctx), void *ctx);
struct library_report *library_report_free(struct library_report *r); /* NULL is fine */
/* The configuration with these libraries is in force, or refused: message says why. */
void library_report_set(struct library_report *r, enum library_verdict verdict, const char *message);
/* A library, or who may write, may be another one: compare again. */
void library_report_see(struct library_report *r);

#endif
