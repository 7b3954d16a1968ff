/* HAProxy is started as "./haproxy", a link in its directory to the program. At a reload the master executes this name
 * again. So an HAProxy that an earlier controller has left running gets the program of the present controller without
 * closing a listener: the link is changed, and the next reload executes it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "haproxy/disk.h"
#include "haproxy/process_internal.h"

#define PROGRAM "haproxy"
#define PROGRAM_NEW ".haproxy.new"

const char *process_program(const struct process *p)
{
    CLEANUP(close_fd) int at = -1;

    if (p->binary[0] != '/' || disk_directory_open(p->directory, &at, NULL) < 0)
        return p->binary;
    (void)unlinkat(at, PROGRAM_NEW, 0);
    if (symlinkat(p->binary, at, PROGRAM_NEW) < 0 || renameat(at, PROGRAM_NEW, at, PROGRAM) < 0) {
        (void)unlinkat(at, PROGRAM_NEW, 0);
        return p->binary;
    }
    return "./" PROGRAM;
}
