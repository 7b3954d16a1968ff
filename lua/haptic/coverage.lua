--- coverage.lua — which lines of a template are code, and how often each of them ran; for tests only.
local jit_util = require("jit.util")

local M = {}

--- Bytes of one answer; longer ones are asked for in parts.
local ANSWER_BYTES = 12000

--- The lines of a function and of the functions in it.
local function gather(fn, lines)
  local info = jit_util.funcinfo(fn)
  for pc = 1, (info.bytecodes or 1) - 1 do
    local line = jit_util.funcinfo(fn, pc).currentline
    if line and line > 0 then lines[line] = true end
  end
  for n = -1, -(info.gcconsts or 0), -1 do
    local constant = jit_util.funck(fn, n)
    if type(constant) == "proto" then gather(constant, lines) end
  end
end

local Coverage = {}
Coverage.__index = Coverage

--- Begin to count.
---@param host table
function M.new(host)
  host.cover()
  return setmetatable({ host = host, lines = {} }, Coverage)
end

--- A template was compiled.
---@param name string
---@param chunk function
function Coverage:add(name, chunk)
  local lines = {}
  gather(chunk, lines)
  local list = {}
  for line in pairs(lines) do list[#list + 1] = line end
  table.sort(list)
  self.lines[name] = list
end

--- The lines of a template that are code, with their counts.
---@param question string "INDEX NAME": from which line of its list on
---@return string "NEXT LINE:COUNT LINE:COUNT …"; NEXT is 0 at the end
function Coverage:answer(question)
  local first, name = question:match("^(%d+) (.*)$")
  local list, counts = self.lines[name] or {}, self.host.covered(name) or {}
  local out, bytes, i = {}, 0, tonumber(first) or 1
  while i <= #list and bytes < ANSWER_BYTES do
    local item = list[i] .. ":" .. (counts[list[i]] or 0)
    out[#out + 1] = item
    bytes, i = bytes + #item + 1, i + 1
  end
  return (i <= #list and i or 0) .. " " .. table.concat(out, " ")
end

return M
