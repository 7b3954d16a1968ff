/* worker.h — the renderer process: what "haptic renderer" is.
 * Thread:  one.
 * Errors:  the exit status says what went wrong; the core turns it into a reason.
 */
#ifndef HAPTIC_ENGINE_WORKER_H
#define HAPTIC_ENGINE_WORKER_H

#include "engine/vm.h"

/* Descriptors that the core passes. */
#define WORKER_SOCKET_FD 3
#define WORKER_PAGE_FD 4

enum worker_exit {
    WORKER_EXIT_OK = 0,       /* the core closed the socket */
    WORKER_EXIT_USAGE = 2,    /* not started by a core */
    WORKER_EXIT_SETUP = 3,    /* the jail or the engine could not be set up */
    WORKER_EXIT_MEMORY = 4,   /* Lua ran out of memory where it could not be blamed on a fragment */
    WORKER_EXIT_PROTOCOL = 5, /* the core sent nonsense */
    WORKER_EXIT_ENGINE = 6,   /* the engine raised an error of its own */
};

/* Enter the jail and serve until the socket is closed. options: normally zeroed; heap_bytes is set here. Never
 * returns. */
_Noreturn void worker_run(const struct vm_options *options);

#endif
