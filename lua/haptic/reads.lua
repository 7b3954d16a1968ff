--- reads.lua — who has read what.
--
-- A *place* is something that can be read and can change: an object's identity, an index key, a whole kind, a shared
-- value. Places are (table, key) pairs: the table belongs to the kind and holds the readers under the key. A *reader*
-- is a fragment or a shared value; the places it read in its last run stand in `reader.reads` as a flat list, so that
-- a run that reads the same again changes nothing.
local M = {}

local setmetatable, next = setmetatable, next

local Reads = {}
Reads.__index = Reads

function M.new()
  return setmetatable({ current = nil, list = nil, n = 0, seen = nil }, Reads)
end

-- Beyond so many places a set finds repetitions faster than a search.
local SET_FROM = 32

--- Note that the current reader, if any, reads a place.
function Reads:record(place, key)
  local list = self.list
  if not list then return end
  local n = self.n
  local seen = self.seen
  if seen then
    local keys = seen[place]
    if not keys then
      keys = {}
      seen[place] = keys
    elseif keys[key] then
      return
    end
    keys[key] = true
  else
    for i = 1, n, 2 do
      if list[i + 1] == key and list[i] == place then return end
    end
    if n >= SET_FROM * 2 then
      seen = {}
      for i = 1, n, 2 do
        local keys = seen[list[i]]
        if not keys then
          keys = {}
          seen[list[i]] = keys
        end
        keys[list[i + 1]] = true
      end
      self.seen = seen
      seen[place] = seen[place] or {}
      seen[place][key] = true
    end
  end
  list[n + 1], list[n + 2] = place, key
  self.n = n + 2
end

local function add(place, key, reader)
  local at = place[key]
  if at == nil then
    place[key] = reader
  elseif at.many then
    at.many[reader] = true
  elseif at ~= reader then
    place[key] = { many = { [at] = true, [reader] = true } }
  end
end

local function remove(place, key, reader)
  local at = place[key]
  if at == nil then return end
  if at == reader then
    place[key] = nil
  elseif at.many then
    at.many[reader] = nil
    if next(at.many) == nil then place[key] = nil end
  end
end

--- Forget all that a reader has read.
function Reads.forget(_, reader)
  local old = reader.reads
  if not old then return end
  for i = 1, #old, 2 do remove(old[i], old[i + 1], reader) end
  reader.reads = nil
end

--- Run fn(...) as `reader`; its read-set is replaced, also when fn fails. Runs nest.
---@return boolean ok
---@return any result or error value
function Reads:run(reader, fn, a, b, c)
  local outer_list, outer_n, outer_seen, outer = self.list, self.n, self.seen, self.current
  local list = {}
  self.list, self.n, self.seen, self.current = list, 0, nil, reader
  local ok, result = pcall(fn, a, b, c)
  local n = self.n
  self.list, self.n, self.seen, self.current = outer_list, outer_n, outer_seen, outer

  local old = reader.reads
  local same = old ~= nil and #old == n or old == nil and n == 0
  if same and old then
    for i = 1, n do
      if old[i] ~= list[i] then
        same = false
        break
      end
    end
  end
  if not same then
    self:forget(reader)
    for i = 1, n, 2 do add(list[i], list[i + 1], reader) end
    reader.reads = n > 0 and list or nil
  end
  return ok, result
end

--- Run fn without recording (explanations, repetitions).
function Reads:unrecorded(fn, a, b, c)
  local list, n, seen, current = self.list, self.n, self.seen, self.current
  self.list, self.n, self.seen, self.current = nil, 0, nil, nil
  local ok, result = pcall(fn, a, b, c)
  self.list, self.n, self.seen, self.current = list, n, seen, current
  return ok, result
end

--- Call mark(reader) for each reader of a place.
function M.each(place, key, mark)
  local at = place[key]
  if at == nil then return end
  if at.many then
    for reader in next, at.many do mark(reader) end
  else
    mark(at)
  end
end

--- Does anybody read the place?
function M.is_read(place, key) return place[key] ~= nil end

return M
