#include "engine/processor_time.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* A process that waits for something other than a processor has so many times its limit. */
#define WAITING_FACTOR 4

int processor_time_open(int pid)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int64_t used_ns(int pid)
{
    clockid_t clock;
    struct timespec used;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return 0;
    return used.tv_sec * NS_PER_S + used.tv_nsec;
}

/* The second number of the line. */
static int64_t queued_ns(int fd)
{
    char text[80];
    long long queued;
    ssize_t length = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

    if (length <= 0)
        return 0;
    text[length] = '\0';
    return sscanf(text, "%*s %lld", &queued) == 1 ? queued : 0;
}

struct processor_time processor_time_now(int pid, int fd)
{
    return (struct processor_time){.wall_ns = clock_now_ns(), .used_ns = used_ns(pid), .queued_ns = queued_ns(fd)};
}

/* The letter of proc_pid_stat(5): R runs or is in the run queue, T is stopped. ' ' if unknown. */
static char state_of(int pid)
{
    char path[40], text[200];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *stat = fopen(path, "re");
    if (!stat)
        return ' ';
    size_t length = fread(text, 1, sizeof(text) - 1, stat);
    fclose(stat);
    text[length] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : ' ';
}

bool processor_time_is_over(const struct processor_time *begun, const struct processor_time *now, int64_t limit_ns,
                            int pid)
{
    int64_t used = now->used_ns - begun->used_ns;
    int64_t own = now->wall_ns - begun->wall_ns - (now->queued_ns - begun->queued_ns);

    if (own < limit_ns)
        return false;
    if (used >= limit_ns / 2)
        return true;
    /* The time in the queue is added up when the process runs again, so one in the queue may seem to have had it. */
    char state = state_of(pid);
    return state == 'T' || (state != 'R' && own >= WAITING_FACTOR * limit_ns);
}
