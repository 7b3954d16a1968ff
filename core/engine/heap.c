/* The meter counts the memory that Lua requests. So exceeding the limit is Lua's "not enough memory", not a failed
 * allocation somewhere in C.
 *
 * A collection starts in an idle moment when the heap has grown by GROWTH_PERCENT (and by at least GROWTH_BYTES) over
 * the live memory after the last collection. So the cost per byte of garbage is constant for any size of the heap.
 * Lua's automatic collector begins later, at PAUSE_PERCENT, so it works only under continuous load.
 *
 * The first rendering makes more garbage than there is live memory. This garbage is collected between two fragments,
 * whenever there may be first_bytes of it, and half as much as live memory. This is cheaper than many small steps, and
 * limits the memory that the process keeps for the rest of its life. A collection walks through all live objects: after
 * a fixed number of bytes, the cost of all collections would grow with the square of the number of objects.
 */
#include "engine/heap.h"

#include "base/clock.h"

#define GROWTH_PERCENT 50
#define GROWTH_BYTES ((size_t)8 << 20)
#define PAUSE_PERCENT 175
#define FIRST_BYTES ((size_t)16 << 20)
#define FIRST_PAUSE_PERCENT 400
/* The work of one lua_gc(LUA_GCSTEP, 0) in an idle moment, in per cent of the allocated memory: some 10 µs each. */
#define STEP_MULTIPLIER 800

static void *metered(void *context, void *old, size_t old_bytes, size_t new_bytes)
{
    struct heap *heap = context;
    size_t used = heap->used_bytes - (old ? old_bytes : 0) + new_bytes;

    if (heap->max_bytes && new_bytes > old_bytes && used > heap->max_bytes)
        return NULL;
    void *new = slab_resize(&heap->slab, old, old ? old_bytes : 0, new_bytes);
    if (new || new_bytes == 0)
        heap->used_bytes = used;
    return new;
}

lua_State *heap_open(struct heap *heap, size_t max_bytes)
{
    *heap = (struct heap){.max_bytes = max_bytes};
    lua_State *L = lua_newstate(metered, heap);
    if (L)
        lua_gc(L, LUA_GCSETPAUSE, PAUSE_PERCENT);
    return L;
}

void heap_close(struct heap *heap, lua_State *L)
{
    lua_close(L);
    slab_done(&heap->slab);
}

/* This much garbage of the first rendering starts a collection. */
static size_t first_garbage(const struct heap *heap)
{
    size_t fixed = heap->first_bytes ? heap->first_bytes : FIRST_BYTES;

    return heap->live_bytes / 2 > fixed ? heap->live_bytes / 2 : fixed;
}

void heap_load_begin(struct heap *heap, lua_State *L)
{
    heap->loading = true;
    heap->loaded_bytes = heap->max_bytes ? heap->max_bytes / 2 : (size_t)512 << 20;
    lua_gc(L, LUA_GCSTOP, 0);
}

void heap_load_check(struct heap *heap, lua_State *L)
{
    if (heap->loading && heap->used_bytes > heap->loaded_bytes)
        heap_load_end(heap, L);
}

void heap_load_end(struct heap *heap, lua_State *L)
{
    if (!heap->loading)
        return;
    heap->loading = false;
    heap->first = true;
    heap->live_bytes = heap->used_bytes;
    /* The automatic collector starts later. */
    size_t percent = 100 + 2 * first_garbage(heap) / (heap->live_bytes / 100 + 1);
    lua_gc(L, LUA_GCSETPAUSE, percent > FIRST_PAUSE_PERCENT ? (int)percent : FIRST_PAUSE_PERCENT);
    lua_gc(L, LUA_GCRESTART, -1); /* LuaJIT: -1 begins after the pause, not at once */
}

void heap_first_end(struct heap *heap, lua_State *L)
{
    if (!heap->first)
        return;
    heap->first = false;
    /* The automatic collector starts relative to the live memory, not to the memory in use. */
    size_t percent = heap->live_bytes / (heap->used_bytes / PAUSE_PERCENT + 1);
    lua_gc(L, LUA_GCSETPAUSE, percent < 100 ? 100 : (int)percent);
    lua_gc(L, LUA_GCRESTART, -1);
    lua_gc(L, LUA_GCSETPAUSE, PAUSE_PERCENT);
}

void heap_relieve(struct heap *heap, lua_State *L)
{
    bool plenty = heap->first && heap->used_bytes >= heap->live_bytes + first_garbage(heap);
    bool short_of = heap->max_bytes && heap->used_bytes >= heap->live_bytes + (heap->max_bytes - heap->live_bytes) / 2;

    if (!plenty && !short_of)
        return;
    if (short_of)
        lua_gc(L, LUA_GCCOLLECT, 0);
    else
        lua_gc(L, LUA_GCSTEP, lua_gc(L, LUA_GCCOUNT, 0)); /* one cycle; LUA_GCCOLLECT sweeps everything once more */
    heap->live_bytes = heap->used_bytes;
    heap->collecting = false;
}

bool heap_has_work(const struct heap *heap)
{
    size_t growth = heap->live_bytes / 100 * GROWTH_PERCENT;

    return !heap->loading &&
           (heap->collecting || heap->used_bytes >= heap->live_bytes + (growth > GROWTH_BYTES ? growth : GROWTH_BYTES));
}

bool heap_collect(struct heap *heap, lua_State *L, int64_t slice_ns)
{
    if (!heap_has_work(heap))
        return false;
    heap->collecting = true;
    int multiplier = lua_gc(L, LUA_GCSETSTEPMUL, STEP_MULTIPLIER);
    int64_t end = clock_now_ns() + slice_ns;
    while (heap->collecting && clock_now_ns() < end)
        if (lua_gc(L, LUA_GCSTEP, 0)) {
            heap->collecting = false;
            heap->live_bytes = heap->used_bytes;
        }
    lua_gc(L, LUA_GCSETSTEPMUL, multiplier);
    return heap->collecting;
}
