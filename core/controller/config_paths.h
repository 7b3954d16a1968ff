/* config_paths.h — the files that a configuration is given as: a file, a folder, or several of both.
 * Thread:  any.
 * Owns:    the names are the caller's.
 * Errors:  ERR_SYS, ERR_NOTFOUND: a file or folder that cannot be read, or has no manifest; ERR_LIMIT.
 */
#ifndef HAPTIC_CONTROLLER_CONFIG_PATHS_H
#define HAPTIC_CONTROLLER_CONFIG_PATHS_H

#include <time.h>

#include "controller/config.h"

/* Between paths, as in PATH and KUBECONFIG. What exists under the whole text is one path. */
#define CONFIG_PATHS_SEPARATOR ":"

/* Append the files in their order: of a folder its *.yaml, *.yml and *.json, by name, without hidden ones. */
int config_paths(const char *given, struct config_strings *files, struct err *err) MUST_CHECK;
/* Can all of them be read? */
int config_paths_check(const char *given, struct err *err) MUST_CHECK;
/* given, which may be NULL, and one path more; malloc'ed. */
char *config_paths_with(const char *given, const char *path);
/* When the newest of them was written; 0: they cannot be read. */
struct timespec config_paths_time(const char *given);
void config_paths_done(struct config_strings *files);

#endif
