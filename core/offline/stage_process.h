/* stage_process.h — an HAProxy in the foreground, for the length of a test.
 * Thread:  any.
 * Owns:    nothing; who starts a process ends it. It ends with this one in any case.
 * Errors:  ERR_SYS.
 */
#ifndef HAPTIC_OFFLINE_STAGE_PROCESS_H
#define HAPTIC_OFFLINE_STAGE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Run binary in a folder, with the configuration of that name, its output appended to a file of that name. */
int stage_process_start(const char *binary, const char *folder, const char *config, const char *log, pid_t *ret_pid,
                        struct err *err) MUST_CHECK;
/* Kill and forget it; 0 is fine. */
void stage_process_end(pid_t *pid);
/* Does somebody listen at this path? */
bool stage_process_answers(const char *socket_path);

#endif
