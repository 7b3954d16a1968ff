--- lent.lua — the decoded objects. A change by one reader is not visible to others.
--
-- Objects are plain tables, and a template may change one by mistake. The first reader of an object gets a table of its
-- own: no other reader sees its changes. A second reader gets another table, which is *lent* from then on to all
-- readers. It has a seal, and lent tables that were handed out are compared with their seals before a rendering ends.
-- (fragments.lua then runs all readers again that may have seen a change.) So an object with one reader, as most
-- objects have, costs nothing extra. An object with several readers is decoded twice, and checked once in a rendering.
--
-- The tables are kept in a small cache of two generations. Decoding takes a few microseconds; the tables of a large
-- cluster would need a hundred megabytes.
local seal = require("haptic.seal")

local M = {}

local type, error, next, setmetatable = type, error, next, setmetatable

--- Limit of tables in one generation of the cache, and of lent tables that wait for the check.
local CACHE_OBJECTS = 512

local Lent = {}
Lent.__index = Lent

---@param tracker table from reads.new(): knows who is reading
---@param decode function(json) → value, or nil and a message
function M.new(tracker, decode)
  return setmetatable({ tracker = tracker, decode = decode, count = 0, young = {}, old = {},
    -- record → the run that has the table alone, or the seal of a lent one
    young_by = {}, old_by = {},
    -- record → table and seal, of those that were handed out since the last check
    out = {}, out_seals = {}, out_count = 0, spoiled = nil }, Lent)
end

local function decoded(self, record)
  local t = self.decode(record.json)
  if type(t) ~= "table" then error("the JSON of " .. record.id .. " is not an object", 0) end
  return t
end

local function keep(self, record, t, by)
  if not self.young[record] then
    if self.count >= CACHE_OBJECTS then
      self.old, self.old_by, self.young, self.young_by, self.count = self.young, self.young_by, {}, {}, 0
    end
    self.count = self.count + 1
  end
  self.young[record], self.young_by[record] = t, by
end

--- The table of an object's record (fields json, id).
function Lent:get(record)
  local run = self.tracker.run_number
  local t, by = self.young[record], self.young_by[record]
  if not t then
    t, by = self.old[record], self.old_by[record]
    if not t then
      t, by = decoded(self, record), run
    elseif by ~= run and type(by) ~= "table" then
      t = nil
    end
    if t then keep(self, record, t, by) end
  end
  if by == run then return t end
  if type(by) ~= "table" then
    t = decoded(self, record)
    by = seal.make(t)
    keep(self, record, t, by)
  end
  if self.out[record] ~= t then
    -- Another table of the same object may be lent already, so it is not forgotten.
    if self.out[record] or self.out_count >= CACHE_OBJECTS then self.spoiled = self:look(self.spoiled) end
    self.out[record], self.out_seals[record] = t, by
    self.out_count = self.out_count + 1
  end
  return t
end

--- Forgets the table of a record that has changed.
function Lent:drop(record)
  self.young[record], self.old[record], self.young_by[record], self.old_by[record] = nil, nil, nil, nil
end

--- Forgets a lent one as well: the reader that changed it is known.
function Lent:drop_known(record)
  self:drop(record)
  if self.out[record] then
    self.out[record], self.out_seals[record], self.out_count = nil, nil, self.out_count - 1
  end
end

--- Checks all lent tables. Adds the records of changed ones to a list, which is created when needed.
function Lent:look(list)
  for record, t in next, self.out do
    if not seal.holds(t, self.out_seals[record]) then
      list = list or {}
      list[#list + 1] = record
      self:drop(record)
    end
  end
  if self.out_count > 0 then self.out, self.out_seals, self.out_count = {}, {}, 0 end
  return list
end

--- The records whose tables were changed since the last review, or nil; their tables are forgotten.
function Lent:review()
  local list = self:look(self.spoiled)
  self.spoiled = nil
  return list
end

return M
