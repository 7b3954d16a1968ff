/* coverage.h — how often each line of a template ran, counted by a hook; for tests only.
 * Thread:  the renderer's only one.
 * Owns:    a table in the registry: name of the template → line → count.
 * Errors:  none of its own; a count that has no room raises, as any line of a template may.
 * Source:  LuaJIT: a hook is not called in compiled code, so the compiler is off from then on.
 */
#ifndef HAPTIC_ENGINE_COVERAGE_H
#define HAPTIC_ENGINE_COVERAGE_H

#include <lua.h>

/* host.cover(): count from now on. */
int coverage_begin(lua_State *L);
/* host.covered(name) → line → count, or nil: nothing of it ran. */
int coverage_push(lua_State *L);

#endif
