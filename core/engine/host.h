/* host.h — what the engine in Lua is given by C: the table `host`.
 * Thread:  one.
 * Errors:  bad arguments raise; so does what a fragment may not hold, for the engine to report as that fragment's
 *          failure.
 *
 *   host.at(fragment_id, template, owner_kind, owner_id)       this fragment runs now
 *   host.fragment(id, template, owner_kind, owner_id, created, items, n, before) → digest
 *       items: kind, rank, order, scope, key, text of each of n; nothing is sent when the digest is `before`
 *   host.gone(id)
 *   host.failed(id, template, owner_kind, owner_id, created, message)
 *   host.log(level, message)                                  level: "debug", "info", "warn", "error"
 *   host.digest(string)                                       32 hexadecimal digits
 *   host.decode(json)                                         value; or nil, message
 */
#ifndef HAPTIC_ENGINE_HOST_H
#define HAPTIC_ENGINE_HOST_H

#include <lua.h>

struct vm;

/* Push the table. vm must outlive the state. */
void host_push(lua_State *L, struct vm *vm);

#endif
