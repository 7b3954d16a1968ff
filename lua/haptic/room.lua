--- room.lua — fragments that wait because their output exceeds the limits of their namespace.
--
-- The host keeps account of the size of each namespace's output (core/engine/room.h). When it refuses an output, the
-- former output stays. The fragment runs again when another output has shrunk and the host has room for the missing
-- bytes.
local M = {}

local pairs, next, setmetatable = pairs, next, setmetatable

local Room = {}
Room.__index = Room

---@param host table fits(namespace, bytes) → boolean, released() → a number that grows with what became free
function M.new(host)
  return setmetatable({ host = host, held = {}, by_fragment = {}, released = 0 }, Room)
end

--- A fragment's output was refused because this many bytes were missing.
function Room:hold(namespace, f, bytes)
  local entry = self.by_fragment[f]
  if entry then
    entry.bytes = bytes
    return
  end
  entry = { f = f, namespace = namespace, bytes = bytes }
  self.by_fragment[f] = entry
  local list = self.held[namespace] or { count = 0, first = 1 }
  self.held[namespace] = list
  list[#list + 1], list.count = entry, list.count + 1
end

--- A fragment's output was accepted, or the fragment no longer exists.
function Room:forget(f)
  local entry = self.by_fragment[f]
  if not entry then return end
  self.by_fragment[f], entry.f = nil, nil
  local list = self.held[entry.namespace]
  list.count = list.count - 1
  if list.count == 0 then self.held[entry.namespace] = nil end
end

--- Removes fragments that no longer wait, when they are the larger part of the list.
local function compact(list)
  local length, n = #list, 0
  if length <= 2 * list.count then return end
  for i = 1, length do
    local entry = list[i]
    list[i] = nil
    if entry.f then
      n = n + 1
      list[n] = entry
    end
  end
  list.first = 1
end

--- Calls mark(f) for each fragment that there may be room for now, in the order in which they were refused.
function Room:retry(mark)
  if next(self.held) == nil then return end
  local released = self.host.released()
  if released == self.released then return end
  self.released = released
  for namespace, list in pairs(self.held) do
    compact(list)
    local bytes, i = 0, list.first
    while list[i] do
      local entry = list[i]
      if entry.f then
        bytes = bytes + entry.bytes
        if not self.host.fits(namespace, bytes) then break end
        mark(entry.f)
      elseif i == list.first then
        list.first = i + 1
      end
      i = i + 1
    end
  end
end

--- Calls fn(namespace, count) for each namespace with waiting fragments.
function Room:each(fn)
  for namespace, list in pairs(self.held) do fn(namespace, list.count) end
end

return M
