--- place.lua — the line of a template for a message that has none.
local M = {}

local byte, find, sub = string.byte, string.find, string.sub
local debug = debug

--- "=": the chunk of a template begins with it. The chunks of this library begin with "=[".
local EQUALS = 61

--- After this many lines, no further ones are noted, because that takes too long.
local LINES_MAX = 100000

--- The place of a function of a template: "file:line", or the file when the function is from another file.
---@param fn function
---@param template string the file
---@return string
function M.of(fn, template)
  local info = debug.getinfo(fn, "S")
  return info.source == "=" .. template and template .. ":" .. info.linedefined or template
end

--- The last line of a template that run() reaches: "file:line". run() must not raise errors. For `return
--- out:map_entry(…)`, Lua replaces the function that ends, so the stack does not have the author's line. nil when no
--- line ran, when too many ran, or while coverage is recorded, which uses the same hook.
---@param run function
---@return string|nil
function M.last_line(run)
  if debug.gethook() then return nil end
  local count, last = 0, nil
  debug.sethook(function(_, line)
    local source = debug.getinfo(2, "S").source
    if byte(source) == EQUALS and not find(source, "^=%[") then last = sub(source, 2) .. ":" .. line end
    count = count + 1
    if count > LINES_MAX then
      last = nil
      debug.sethook()
    end
  end, "l")
  run()
  debug.sethook()
  return last
end

return M
