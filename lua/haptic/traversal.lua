--- traversal.lua — next() and pairs() without JIT compilation, which LuaJIT does wrongly. Must be loaded first.
--
-- LuaJIT 2.1.0-beta3 as of Debian 12 compiles next() and loops over pairs(). When the two results of a step have to
-- swap registers, its code for x64 swaps only their lower halves, and the process dies (fixed in LuaJIT by "x64: Fix
-- RETHI/RETLO swap after call", April 2022). The renderer has a next() in C (core/engine/vm.c): a trace stops at a call
-- of a C function and continues after it. At a Lua function that is not compiled, the traces of all callers are given
-- up, and the callers are then interpreted.
local jit = rawget(_G, "jit")

if jit and jit.version:find("2.1.0-beta3", 1, true) then
  local has_step, step = pcall(require, "haptic.next")
  if not has_step then -- another program than the renderer
    local raw_next = next
    step = function(t, key) return raw_next(t, key) end
    jit.off(step)
  end
  rawset(_G, "next", step)
  rawset(_G, "pairs", function(t) return step, t, nil end)
end

return true
