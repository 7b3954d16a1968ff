/* heap.h — Lua's memory: a limit, and when to collect.
 * Thread:  one.
 * Owns:    all memory of the state.
 * Units:   *_bytes bytes, *_ns nanoseconds.
 *
 * A full collection costs about 2 ms per live MB, so none happens on the way of a change: the collector steps while
 * nothing waits for an answer. Lua's own, automatic collector stays on behind that and takes over when there is never
 * a quiet moment.
 */
#ifndef HAPTIC_ENGINE_HEAP_H
#define HAPTIC_ENGINE_HEAP_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/slab.h"

struct heap {
    struct slab slab;
    size_t used_bytes, max_bytes;
    size_t first_bytes;  /* of garbage in the first render, before it is collected; 0: a moderate number */
    size_t live_bytes;   /* after the last complete collection */
    size_t loaded_bytes; /* while loading: the automatic collector is off up to this */
    bool loading, first, collecting;
};

/* A state whose memory is the heap's; NULL when there is none. max_bytes 0: no limit. */
lua_State *heap_open(struct heap *heap, size_t max_bytes);
void heap_close(struct heap *heap, lua_State *L);
/* Objects stream in and hardly anything becomes garbage: no collecting, up to half of the maximum. */
void heap_load_begin(struct heap *heap, lua_State *L);
void heap_load_check(struct heap *heap, lua_State *L); /* between objects */
/* What follows is the first render, up to heap_first_end(). */
void heap_load_end(struct heap *heap, lua_State *L);
void heap_first_end(struct heap *heap, lua_State *L);
/* Before a fragment: collect if its predecessors have left much. Were the heap full of what one died of, its successors
 * would die too. May raise. */
void heap_relieve(struct heap *heap, lua_State *L);
/* There is enough garbage, or a collection under way. */
bool heap_has_work(const struct heap *heap);
/* Collect for about slice_ns when there is enough garbage to be worth it; true while there is more to do. May raise. */
bool heap_collect(struct heap *heap, lua_State *L, int64_t slice_ns);

#endif
