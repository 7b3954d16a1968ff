/* sampler.h — which line of a template runs, noted now and then, so that an endless loop can be named.
 * Thread:  the renderer's only one; a signal handler of it.
 * Owns:    nothing; the profiler of the Lua state, and SIGPROF.
 * Units:   *_ns nanoseconds of processor time.
 * Errors:  none: without samples a message lacks the line.
 *
 * LuaJIT's profiler looks at each line, also in compiled code: a test of one byte. A debug hook would not be called
 * there. So the cost is some signals per deadline.
 */
#ifndef HAPTIC_ENGINE_SAMPLER_H
#define HAPTIC_ENGINE_SAMPLER_H

#include <lua.h>
#include <stdint.h>

#include "engine/shared_page.h"

/* From now on the page says where templates are. deadline_ns: of one fragment. One state per process; before the jail,
 * which forbids to set timers. */
void sampler_start(lua_State *L, struct shared_page *page, int64_t deadline_ns);

#endif
