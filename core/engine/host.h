/* host.h — what the engine in Lua is given by C: the table `host`.
 * Thread:  one.
 * Errors:  bad arguments raise; so does what a fragment may not hold, for the engine to report as that fragment's
 *          failure.
 *
 *   host.at(fragment_id, template, owner_kind, owner_id)       this fragment runs now
 *   host.fragment(id, template, owner_kind, owner_id, created, items, n, before, again, must) → digest
 *       items: kind, rank, order, scope, key, text of each of n; nothing is sent when the digest is `before`, unless
 *       `again`. Or nil, why, bytes: "room": the namespace has no room for so many bytes more (room.h); "later":
 *       as much as one rendering may have was sent
 *   host.gone(id, digest, owner_id)
 *   host.waits(id)                                            it exists, and its turn has not come
 *   host.rewriter(pattern, replacement) → function            see engine/rewriter.h
 *   host.ask(kind, id, wanted)                                an object of a lazy kind is read, or no more
 *   host.held(namespace, by_size, by_time)                    numbers of fragments that wait
 *   host.fits(namespace, bytes)                               is there room for so many more?
 *   host.released()                                           a number that grows when something shrinks
 *   host.clock(), host.cpu()                                  seconds, monotonic and of the process
 *   host.input()                                              does any wait?
 *   host.deadline                                             seconds of one rendering
 *   host.failed(id, template, owner_kind, owner_id, created, message)
 *   host.log(level, message)                                  level: "debug", "info", "warn", "error"
 *   host.digest(string)                                       32 hexadecimal digits
 *   host.decode(json)                                         value; or nil, message
 *   host.decode_object(text)                                  the same of an object's text, as put() got it
 */
#ifndef HAPTIC_ENGINE_HOST_H
#define HAPTIC_ENGINE_HOST_H

#include <lua.h>

#include "engine/shared_page.h"

struct vm;

/* Bytes of all fragments together. */
size_t host_output_max(const struct shared_page *page);
/* Push the table. vm must outlive the state. */
void host_push(lua_State *L, struct vm *vm);

#endif
