--- work.lua — how much a function does, as a number that is the same on every machine: instructions of the interpreter.
local M = {}

local STEP = 100

--- Thousands of instructions that fn takes.
function M.of(fn)
  local steps = 0
  jit.off()
  jit.flush()
  debug.sethook(function() steps = steps + 1 end, "", STEP)
  local ok, message = pcall(fn)
  debug.sethook()
  jit.on()
  if not ok then error(message, 0) end
  return steps * STEP / 1000
end

return M
