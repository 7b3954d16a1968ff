--- room.lua — fragments whose output found no room, until there is some.
--
-- The host keeps account of what each namespace holds (core/engine/room.h). What it refuses stays as it was before,
-- and is run again when something has shrunk and it says that there is room for as many bytes as were missing.
local M = {}

local pairs, next, setmetatable = pairs, next, setmetatable

local Room = {}
Room.__index = Room

---@param host table fits(namespace, bytes) → boolean, released() → a number that grows with what became free
function M.new(host)
  return setmetatable({ host = host, held = {}, by_fragment = {}, released = 0 }, Room)
end

--- A fragment's output was refused for want of that many bytes.
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

--- A fragment's output has found room, or there is no such fragment any more.
function Room:forget(f)
  local entry = self.by_fragment[f]
  if not entry then return end
  self.by_fragment[f], entry.f = nil, nil
  local list = self.held[entry.namespace]
  list.count = list.count - 1
  if list.count == 0 then self.held[entry.namespace] = nil end
end

--- Without those that are no longer held. Not before they are the larger part: what it costs has been paid then.
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

--- Call mark(f) for each fragment that there may be room for now, in the order in which they were refused.
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

--- Call fn(namespace, count) for each namespace that has something held back.
function Room:each(fn)
  for namespace, list in pairs(self.held) do fn(namespace, list.count) end
end

return M
