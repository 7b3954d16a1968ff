--- reads.lua — records which reader has read what.
--
-- A *place* is something that can be read and can change: an object's identity, an index key, a whole kind, a shared
-- value. Places are (table, key) pairs: the table belongs to the kind and has the readers under the key. A *reader* is
-- a fragment or a shared value. The places that it read in its last run are in its own array part as a flat list, so
-- that a run with the same reads changes nothing. (A separate table would be one more for the collector to visit, for
-- each fragment.)
local M = {}

local setmetatable, next, xpcall = setmetatable, next, xpcall

local Reads = {}
Reads.__index = Reads

function M.new()
  return setmetatable({ list = nil, n = 0, seen = nil, depth = 0, scratch = {}, runs = 0, run_number = nil }, Reads)
end

-- From this number of places on, a set finds repetitions faster than a search.
local SET_FROM = 32
-- A scratch list that grew longer is freed.
local KEEP_MAX = 200

--- Changes from the search to the set.
local function seen_of(list, n)
  local seen = {}
  for i = 1, n, 2 do
    local keys = seen[list[i]]
    if not keys then
      keys = {}
      seen[list[i]] = keys
    end
    keys[list[i + 1]] = true
  end
  return seen
end

--- Records that the current reader, if any, reads a place.
function Reads:record(place, key)
  local list = self.list
  if not list then return end
  local n = self.n
  local seen = self.seen
  if not seen then
    for i = 1, n, 2 do
      if list[i + 1] == key and list[i] == place then return end
    end
    if n >= SET_FROM * 2 then
      seen = seen_of(list, n)
      self.seen = seen
    end
  end
  if seen then
    local keys = seen[place]
    if not keys then
      keys = {}
      seen[place] = keys
    elseif keys[key] then
      return
    end
    keys[key] = true
  end
  list[n + 1], list[n + 2] = place, key
  self.n = n + 2
end

--- The key under which a place table has the list of keys that have lost their last reader.
local WATCHED = {}

--- From now on, keys of a place table that lose their last reader are added to a list, possibly several times.
function M.watch(place, list) place[WATCHED] = list end

local function clear(place, key)
  place[key] = nil
  local list = place[WATCHED]
  if list then list[#list + 1] = key end
end

-- The value under a key: its reader; for several readers, a list of two to FEW with their number at [0], or a set. Most
-- places with several readers have two, and a list needs a third of the memory of a set.
local FEW = 4

local function add(place, key, reader)
  local at = place[key]
  if at == nil then
    place[key] = reader
  elseif at.many then
    if not at.many[reader] then at.many[reader], at.count = true, at.count + 1 end
  elseif at[0] then
    local n = at[0]
    for i = 1, n do
      if at[i] == reader then return end
    end
    if n < FEW then
      at[n + 1], at[0] = reader, n + 1
      return
    end
    local many = { [reader] = true }
    for i = 1, n do many[at[i]] = true end
    place[key] = { many = many, count = n + 1 }
  elseif at ~= reader then
    place[key] = { [0] = 2, at, reader }
  end
end

local function remove(place, key, reader)
  local at = place[key]
  if at == nil then return end
  if at == reader then
    clear(place, key)
  elseif at.many then
    if not at.many[reader] then return end
    at.many[reader], at.count = nil, at.count - 1
    if at.count == 0 then clear(place, key) end
  elseif at[0] then
    local n = at[0]
    for i = 1, n do
      if at[i] == reader then
        at[i], at[n], at[0] = at[n], nil, n - 1
        break
      end
    end
    if at[0] == 1 then place[key] = at[1] end
  end
end

--- Forgets all reads of a reader.
function Reads.forget(_, reader)
  for i = #reader, 1, -2 do
    remove(reader[i - 1], reader[i], reader)
    reader[i], reader[i - 1] = nil, nil
  end
end

--- Adds places to those of a reader's last run: a list of place, key, place, key, …
function Reads.also(_, reader, list)
  local known = {}
  for i = 1, #reader, 2 do
    local keys = known[reader[i]]
    if not keys then
      keys = {}
      known[reader[i]] = keys
    end
    keys[reader[i + 1]] = true
  end
  local n = #reader
  for i = 1, #list, 2 do
    local place, key = list[i], list[i + 1]
    if not (known[place] and known[place][key]) then
      reader[n + 1], reader[n + 2], n = place, key, n + 2
      add(place, key, reader)
    end
  end
end

local function is_same(reader, list, n)
  if #reader ~= n then return false end
  for i = 1, n do
    if reader[i] ~= list[i] then return false end
  end
  return true
end

--- Runs fn(a, b) as `reader`; its recorded reads are replaced, also when fn fails. Runs can be nested.
---@param handler function of xpcall
---@return boolean ok
---@return any result or what handler returned
function Reads:run(reader, fn, handler, a, b)
  local outer, outer_n, outer_seen, depth = self.list, self.n, self.seen, self.depth
  local outer_run = self.run_number
  self.runs = self.runs + 1
  self.run_number = self.runs
  local list = self.scratch[depth] or {}
  self.list, self.n, self.seen, self.depth, self.scratch[depth] = list, 0, nil, depth + 1, list
  local ok, result = xpcall(fn, handler, a, b)
  local n = self.n
  self.list, self.n, self.seen, self.depth = outer, outer_n, outer_seen, depth
  self.run_number = outer_run

  if not is_same(reader, list, n) then
    self:forget(reader)
    for i = 1, n, 2 do
      reader[i], reader[i + 1] = list[i], list[i + 1]
      add(list[i], list[i + 1], reader)
    end
  end
  if n > KEEP_MAX then self.scratch[depth] = nil end
  return ok, result
end

--- Runs fn(a, b) without recording (explanations, repetitions).
function Reads:unrecorded(fn, handler, a, b)
  local list, outer_run = self.list, self.run_number
  self.runs = self.runs + 1
  self.list, self.run_number = nil, self.runs
  local ok, result = xpcall(fn, handler, a, b)
  self.list, self.run_number = list, outer_run
  return ok, result
end

--- Call mark(reader) for each reader of a place.
function M.each(place, key, mark)
  local at = place[key]
  if at == nil then return end
  if at.many then
    for reader in next, at.many do mark(reader) end
  elseif at[0] then
    for i = 1, at[0] do mark(at[i]) end
  else
    mark(at)
  end
end

--- True when the place has a reader.
function M.is_read(place, key) return place[key] ~= nil end

return M
