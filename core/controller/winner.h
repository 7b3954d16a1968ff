/* winner.h — how the owner of an object is told who has what it wanted, too.
 * Thread:  any.
 * Owns:    nothing; texts are the caller's.
 */
#ifndef HAPTIC_CONTROLLER_WINNER_H
#define HAPTIC_CONTROLLER_WINNER_H

#include "engine/contribution.h"

/* "ingresses shop/web", "template base.lua:frontend". malloc'ed. */
char *winner_owner(const struct fragment *f);
/* The same for the owner of the loser, who may know objects of its own namespace only. malloc'ed. */
char *winner_for(const struct fragment *winner, const struct fragment *loser);

#endif
