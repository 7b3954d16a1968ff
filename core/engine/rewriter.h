/* rewriter.h — a rule of postProcessing as a function for Lua.
 * Thread:  that of the Lua state.
 * Owns:    the pattern, until the function is collected.
 * Errors:  raised; of a line: nil and a message.
 */
#ifndef HAPTIC_ENGINE_REWRITER_H
#define HAPTIC_ENGINE_REWRITER_H

#include <lua.h>

/* host.rewriter(pattern, replacement) → function(line) → the line with each match replaced, or nil and a message */
int rewriter_push(lua_State *L);

#endif
