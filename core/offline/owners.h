/* owners.h — the objects that a backend is from, and where a section stands.
 * Thread:  loop thread only.
 * Owns:    a list owns its names.
 */
#ifndef HAPTIC_OFFLINE_OWNERS_H
#define HAPTIC_OFFLINE_OWNERS_H

#include "base/vec.h"
#include "offline/workbench.h"

struct owners {
    VEC(char *) names; /* "ingresses shop/web", each once, in order */
};

/* Of the pieces of its section, and of the entries of maps that lead there. */
void owners_of_backend(struct workbench *w, const char *backend, struct owners *ret_owners);
void owners_done(struct owners *o);
/* The first line (from 1) of that section behind its header, or its header; 0: there is no such section. */
size_t owners_line_of_section(struct workbench *w, const char *section);

#endif
