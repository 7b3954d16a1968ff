/* The profiler's timer counts the processor time of the process. Its signal asks the virtual machine to call back at
 * the next line. During one call of a library function there is no next line. When such a call has taken a fifth of a
 * deadline, the signal handler itself reads the stack. The stack does not move then, and the process is close to its
 * end in any case.
 */
#include "engine/sampler.h"

#include <luajit.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"

#define SAMPLES_PER_DEADLINE 50
#define UNANSWERED (SAMPLES_PER_DEADLINE / 5)
#define INTERVAL_MIN_MS 10
#define INTERVAL_MAX_MS 1000
/* The depth of engine functions above a template's line is at most this. */
#define LEVELS_MAX 30

static struct {
    lua_State *L;
    struct shared_page *page;
    void (*ask)(int signal); /* the profiler's own handler */
    unsigned unanswered;     /* signals since the last callback */
} sampler;

/* Chunks of templates are named "=NAME", those of the engine "@PATH". This code must not allocate or raise errors. */
static void note_place(lua_State *L)
{
    lua_Debug at;

    for (int level = 0; level < LEVELS_MAX && lua_getstack(L, level, &at); level++)
        if (lua_getinfo(L, "Sl", &at) && at.source[0] == '=' && at.source[1] != '[' && at.currentline > 0) {
            shared_page_place(sampler.page, at.source + 1, at.currentline);
            return;
        }
}

static void on_sample(void *data, lua_State *L, int samples, int state)
{
    (void)data, (void)samples, (void)state;
    sampler.unanswered = 0;
    note_place(L);
}

static void on_signal(int number)
{
    if (++sampler.unanswered == UNANSWERED)
        note_place(sampler.L);
    sampler.ask(number);
}

void sampler_start(lua_State *L, struct shared_page *page, int64_t deadline_ns)
{
    int64_t interval_ms = deadline_ns / SAMPLES_PER_DEADLINE / NS_PER_MS;
    struct sigaction action;
    char mode[24];

    interval_ms = interval_ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : interval_ms;
    interval_ms = interval_ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : interval_ms;
    sampler.L = L;
    sampler.page = page;
    snprintf(mode, sizeof(mode), "li%d", (int)interval_ms);
    luaJIT_profile_start(L, mode, on_sample, NULL);
    if (sigaction(SIGPROF, NULL, &action) < 0 || action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
        return;
    sampler.ask = action.sa_handler;
    action.sa_handler = on_signal;
    (void)sigaction(SIGPROF, &action, NULL);
}
