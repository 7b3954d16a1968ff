/* socket_path.h — connect to a socket by its path, without following somebody else's links.
 * Thread:  any.
 * Owns:    a descriptor of the socket's directory.
 * Errors:  ERR_NOTFOUND, ERR_INVALID (a link of another user), ERR_SYS, ERR_LIMIT.
 */
#ifndef HAPTIC_HAPROXY_SOCKET_PATH_H
#define HAPTIC_HAPROXY_SOCKET_PATH_H

#include <sys/un.h>

#include "base/err.h"

struct socket_path {
    int directory; /* -1: none */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* A path that leads to the socket as long as the descriptor is open, whatever becomes of the directories above. A link
 * in the path is followed when it belongs to root or to this process' user (/var/run). */
int socket_path_open(const char *path, struct socket_path *ret_path, struct err *err) MUST_CHECK;
void socket_path_close(struct socket_path *p);

#endif
