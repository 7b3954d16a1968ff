--- traversal.lua — next() and pairs() that are never compiled, where LuaJIT compiles them wrongly. To be loaded first.
--
-- LuaJIT 2.1.0-beta3 as of Debian 12 compiles next() and loops over pairs(). Where the two results of a step have to
-- change registers with each other, its code for x64 exchanges their lower halves only, and the process dies (mended
-- in LuaJIT by "x64: Fix RETHI/RETLO swap after call", April 2022). Traces end at a function that is not compiled.
local jit = rawget(_G, "jit")

if jit and jit.version:find("2.1.0-beta3", 1, true) then
  local raw_next = next
  local function step(t, key) return raw_next(t, key) end
  jit.off(step)
  rawset(_G, "next", step)
  rawset(_G, "pairs", function(t) return step, t, nil end)
end

return true
