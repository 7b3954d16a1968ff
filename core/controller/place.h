/* place.h — where HAProxy is: its program, and the directory that it serves from.
 * Thread:  loop thread only; blocking, for the start.
 * Errors:  ERR_NOTFOUND, ERR_SYS, ERR_INVALID, ERR_TIMEOUT, each with what to do about it.
 */
#ifndef HAPTIC_CONTROLLER_PLACE_H
#define HAPTIC_CONTROLLER_PLACE_H

#include "base/err.h"
#include "haproxy/version.h"

/* The program that the shell would run, as an absolute path. */
int place_find_program(const char *name, char **ret_path, struct err *err) MUST_CHECK;
/* What `haproxy -vv` says, so with the features that it was built with; it has five seconds for that. */
int place_probe(const char *program, struct haproxy_caps *ret_caps, struct err *err) MUST_CHECK;
/* The directory, made if it is not there, as an absolute path. It must belong to us or to root. */
int place_make_directory(const char *path, char **ret_path, struct err *err) MUST_CHECK;

#endif
