/* crowd.h — who is connected, and who has to leave when others come.
 * Thread:  loop thread only.
 * Owns:    its records; the sockets are the server's.
 *
 * A connection that asks for nothing may be open for a while, but not at the cost of one that does: beyond the limit of
 * an address its quietest connection goes, beyond the limit in all the quietest of the address that holds most. So
 * whoever connects and asks at once is answered, whatever others hold open.
 */
#ifndef HAPTIC_HTTP_CROWD_H
#define HAPTIC_HTTP_CROWD_H

#include <stddef.h>
#include <sys/socket.h>

#define CROWD_MAX 256U
#define CROWD_MAX_PER_ADDRESS 64U

struct guest;

struct crowd {
    struct guest *quietest, *newest;
    size_t count;
    size_t strangers; /* that have not asked for anything yet */
};

/* A connection begins; others may be shut for it (the server then finds them at their end). */
struct guest *crowd_enter(struct crowd *c, int fd, const struct sockaddr *address);
/* It has asked for something. */
void crowd_stir(struct crowd *c, struct guest *g);
/* It has ended; its socket may be closed already. NULL is fine. */
void crowd_leave(struct crowd *c, struct guest *g);

#endif
