--- fragments.lua — definitions, fragments, and which of them run.
--
-- A *definition* is a template function with a name. A *fragment* is the definition applied to one object (each) or
-- to nothing (static). A fragment runs when its object or anything it read has changed; its output goes to the host
-- when it differs from what was sent before, of which a digest is kept. A *shared value* is computed when first asked
-- for and again when what it read has changed; those who asked run again only if the value is another one.
local emitters = require("haptic.emitters")
local objects = require("haptic.objects")
local reads = require("haptic.reads")
local seal = require("haptic.seal")
local table_new = require("table.new")
local text = require("haptic.text")

local M = {}

local type, error, pairs, ipairs, next = type, error, pairs, ipairs, next
local setmetatable, pcall = setmetatable, pcall
local format = string.format
local sort = table.sort
local handler = text.handler

--- Follows the id of a fragment that protects, in the id of what says so while it has no output. No name has it.
local GUARD = "#guard"

--- In production, one run in so many is followed by a look whether the template changed an object.
local SAMPLE = 512

local Fragments = {}
Fragments.__index = Fragments

---@param host table see engine.lua
---@param settings table {digest=, allow_raw=, checked=}
function M.new(host, settings)
  return setmetatable({
    host = host, settings = emitters.settings(settings), tracker = reads.new(), objects = nil,
    items = {},
    defs = {}, by_name = {}, by_kind = {}, total = 0,
    dirty = {}, dirty_shared = {}, shared_defs = {}, skipped = {}, gone = {}, complete = true,
    -- values_out: shared values that were handed out since they were looked at; careful: templates change what they are
    -- handed, so each run is looked at
    values_out = {}, careful = false,
    out = nil, running = nil, runs = 0,
  }, Fragments)
end

-- What is dirty stands in a list and says so itself: a set that once held all fragments would cost a walk over all its
-- empty places each time it is looked at. What turned out not to be dirty stays in the list, to no effect.
local function mark(list, reader)
  if reader.dirty then return end
  reader.dirty = true
  list[#list + 1] = reader
end

--- What mark a reader leads to: it runs at the next render.
---@return function
function Fragments:marker()
  return function(reader) mark(reader.value_of and self.dirty_shared or self.dirty, reader) end
end

--- Add a definition. kind: a watched kind's name, or nil for a static one. closed: it protects its object's routes,
--- which lead to this backend while it has no output in force; nil: it protects nothing.
---@return table definition
function Fragments:define(template, name, kind, fn, closed)
  local full = template .. ":" .. name
  if self.by_name[full] then error("there is a fragment " .. full .. " already; give this one another name", 3) end
  local def = { index = #self.defs + 1, name = full, template = template, kind = kind, fn = fn, by_owner = {},
    closed = closed, prefix = kind and full .. "/" .. kind .. "/" or full }
  self.defs[def.index] = def
  self.by_name[full] = def
  if kind then
    self.by_kind[kind] = self.by_kind[kind] or {}
    table.insert(self.by_kind[kind], def)
  end
  return def
end

--- A fragment's name. It is not kept: each would be one more string for the collector.
local function id_of(f)
  return f.owner and f.def.prefix .. f.owner.id or f.def.prefix
end

-- Of a fragment, which there is one of for each object: def, owner, dirty, digest; seldom failed; four places read.
local FIELDS, READS = 4, 8

local function add(self, def, record)
  local f = table_new(READS, FIELDS)
  f.def, f.owner, f.dirty = def, record, false
  if record then def.by_owner[record.id] = f end
  self.total = self.total + 1
  mark(self.dirty, f)
  return f
end

--- All definitions are made: fragments of the static ones, and of objects that are there.
function Fragments:start()
  for _, def in ipairs(self.defs) do
    if def.kind then
      for _, record in pairs(self.objects.kinds[def.kind].by_id) do add(self, def, record) end
    else
      def.static = add(self, def, nil)
    end
  end
end

--- An object came or changed.
function Fragments:object_put(kind, record, is_new)
  local defs = self.by_kind[kind]
  if not defs then return end
  for i = 1, #defs do
    local def = defs[i]
    local f = def.by_owner[record.id]
    if f then mark(self.dirty, f) else f = add(self, def, record) end
    if not is_new and next(self.skipped) then self.skipped[id_of(f)] = nil end
  end
end

--- An object is gone, and its fragments with it.
function Fragments:object_deleted(kind, record)
  local defs = self.by_kind[kind]
  if not defs then return end
  for i = 1, #defs do
    local def = defs[i]
    local f = def.by_owner[record.id]
    if f then
      def.by_owner[record.id] = nil
      self.total = self.total - 1
      f.dirty = false
      self.tracker:forget(f)
      local id = id_of(f)
      self.skipped[id] = nil
      if f.digest or f.failed then self.gone[#self.gone + 1] = id end
      if f.declared then self.gone[#self.gone + 1] = id .. GUARD end
    end
  end
end

--- Do not run a fragment until its object changes.
function Fragments:skip(id) self.skipped[id] = true end

local function apply(self, f)
  local def, out = f.def, self.out
  if def.closed then emitters.put_guard(out, id_of(f), def.closed) end
  if def.kind then def.fn(self.objects:decoded(f.owner), out) else def.fn(out) end
  emitters.finish(out)
end

--- Run a fragment's function. recorded: its reads are those of the fragment from now on.
---@return boolean ok
---@return string|nil message
local function run_into(self, f, out, recorded)
  local outer, outer_running, tracker = self.out, self.running, self.tracker
  local ok, message
  self.out, self.running = out, f
  if recorded then
    ok, message = tracker:run(f, apply, handler, self, f)
  else
    ok, message = tracker:unrecorded(apply, handler, self, f)
  end
  self.out, self.running = outer, outer_running
  -- What came after a limit that the template caught is a consequence of it.
  local limit = not ok and emitters.passed_limit(out)
  return ok, limit and text.has_place(limit) and limit or message
end

--- Run twice what should be a pure function, and look whether it changed an object.
local function check(self, f, first)
  local object_id, path = self.objects:changed()
  local label = self:spoiled_values()[1]
  if object_id then
    return format("the template changed the object %s at %s; objects are read-only", object_id, path)
  end
  if label then return format("the template changed the shared value %s; shared values are read-only", label) end
  if not self.settings.checked then return nil end
  local again = emitters.new(self.settings, id_of(f))
  local ok, message = run_into(self, f, again, false)
  if not ok then return "the template failed when run a second time: " .. message end
  if not emitters.is_same(first, again) then
    return "the template's output differs when run a second time on the same input"
  end
  return nil
end

--- Where a fragment's function is written, for messages that say no place: "file:line", or the file.
local function place_of(def)
  local info = debug.getinfo(def.fn, "S")
  return info.source == "=" .. def.template and def.template .. ":" .. info.linedefined or def.template
end

--- A fragment that protects and has no output: that it protects is said in its place, by a fragment of its own.
local function declare_guard(self, f)
  local def, owner, id = f.def, f.owner, id_of(f)
  local out = emitters.new(self.settings, id .. GUARD)
  emitters.put_guard(out, id, def.closed)
  f.declared = self.host.fragment(id .. GUARD, def.template, def.kind, owner.id, owner.created or 0, out.items, out.n,
    f.declared)
end

local function fail(self, f, message)
  local def, owner = f.def, f.owner
  if def.closed then declare_guard(self, f) end
  if not text.has_place(message) then message = place_of(def) .. ": " .. message end
  if def.kind then message = format("%s (%s %s)", message, def.kind, owner.id) end
  f.failed = true
  self.host.failed(id_of(f), def.template, def.kind or "", owner and owner.id or "", owner and owner.created or 0,
    message)
end

-- The list of contributions is used again by the next fragment unless it has become long.
local ITEMS_KEEP = 1000

local function run(self, f)
  local def, owner, host, id = f.def, f.owner, self.host, id_of(f)
  local kind, owner_id = def.kind or "", owner and owner.id or ""
  if self.skipped[id] then
    self.tracker:forget(f)
    fail(self, f, "not run: it ended the renderer before; it waits for a change of its object")
    return
  end
  host.at(id, def.template, kind, owner_id)
  self.runs = self.runs + 1
  local checking = self.settings.checked or self.careful or self.runs % SAMPLE == 0
  if checking then self.objects:watch() end
  local out = emitters.new(self.settings, id, self.items)
  local ok, result = run_into(self, f, out, true)
  if checking then
    local complaint = check(self, f, out)
    if ok and complaint then ok, result = false, complaint end
  end
  if ok then
    -- The host refuses what breaks a limit or cannot stand in an output.
    ok, result = pcall(host.fragment, id, def.template, kind, owner_id, owner and owner.created or 0, out.items, out.n,
      not f.failed and f.digest or nil)
    if ok then
      f.digest, f.failed = result, nil
      if f.declared then
        f.declared = nil
        host.gone(id .. GUARD)
      end
    else
      result = handler(result)
    end
  end
  if not ok then fail(self, f, result) end
  if out.n > ITEMS_KEEP then self.items = {} end
  out.items = nil -- a template that has kept `out` cannot write into another fragment's output
end

-- Shared values ---------------------------------------------------------------------------------------------

local function compute(self, value)
  if value.running then error("the shared value " .. value.label .. " depends on itself", 0) end
  local quiet = value.spoiled and not value.dirty
  value.running = true
  value.dirty = false
  local watching = self.careful and not self.objects.handed
  if watching then self.objects:watch() end
  local ok, result = self.tracker:run(value, value.def.fn, handler, value.key)
  value.running = nil
  value.dirty = false
  local object_id, path = nil, nil
  if watching then object_id, path = self.objects:changed() end
  if ok and object_id then
    ok = false
    result = format("the shared value %s changed the object %s at %s; objects are read-only", value.label, object_id,
      path)
  end
  local sealed = nil
  if ok and type(result) == "table" then
    local made, problem = seal.make(result)
    sealed = made
    if problem then ok, result = false, "the shared value " .. value.label .. " " .. problem end
  end
  -- One that was changed by a reader is as it was, for those who have read it before that.
  local same = quiet
    or value.known and value.ok == ok and objects.difference(value.result, result, "", {}) == nil
  if quiet or not same then value.result, value.seal = result, sealed end
  value.known, value.ok, value.spoiled = true, ok, nil
  return not same
end

--- Define a shared value.
---@return function getter takes an optional key (string) and gives the value
function Fragments:share(template, name, fn)
  local full = template .. ":" .. name
  if self.shared_defs[full] then error("there is a shared value " .. full .. " already", 3) end
  local def = { name = full, fn = fn, values = {} }
  self.shared_defs[full] = def
  local readers = {}
  return function(key)
    if key == nil then key = "" elseif type(key) ~= "string" then
      error("a shared value's key is a string, got a " .. type(key), 2)
    end
    local value = def.values[key]
    if not value then
      value = { value_of = readers, def = def, key = key, label = full .. (key ~= "" and "(" .. key .. ")" or "") }
      def.values[key] = value
    end
    if not value.known or value.dirty then
      if compute(self, value) then reads.each(readers, key, self:marker()) end
    end
    self.tracker:record(readers, key)
    if not value.ok then error(value.result, 0) end
    if value.seal then self.values_out[value] = true end
    return value.result
  end
end

--- The labels of shared values that a reader has changed since the last look; they are computed anew when next asked
--- for.
---@return table
---@return table values
function Fragments:spoiled_values()
  local labels, values = {}, {}
  for value in pairs(self.values_out) do
    if value.ok and value.seal and not seal.holds(value.result, value.seal) then
      value.known, value.spoiled = false, true
      labels[#labels + 1], values[#values + 1] = value.label, value
    end
  end
  if next(self.values_out) then self.values_out = {} end
  sort(labels)
  return labels, values
end

--- Each template that changes something has failed after the first; one that is no function of its input may go on.
local REVIEWS_MAX = 8

--- Before a rendering counts: was anything changed that several readers have had? They run again then, each looked at.
---@param round number of reviews in this rendering, with this one
---@return boolean again there is something to run
local function review(self, round)
  local changed = self.objects:review()
  local labels, values = self:spoiled_values()
  if not changed and #labels == 0 then return false end
  if round > REVIEWS_MAX then
    self.host.log("error", "a template goes on to change what it is handed, each time another way: " ..
      (labels[1] or changed[1][2].id))
    return false
  end
  self.careful = true
  for _, pair in ipairs(changed or {}) do
    self.objects:reread(pair[1], pair[2])
    self:object_put(pair[1].name, pair[2], true)
  end
  for _, value in ipairs(values) do reads.each(value.value_of, value.key, self:marker()) end
  return true
end

local function settle_shared(self)
  while #self.dirty_shared > 0 do
    local list = self.dirty_shared
    self.dirty_shared = {}
    sort(list, function(a, b) return a.label < b.label end)
    for _, value in ipairs(list) do
      if value.dirty then
        if not reads.is_read(value.value_of, value.key) then
          value.dirty = false
          self.tracker:forget(value)
          value.def.values[value.key] = nil
        elseif compute(self, value) then
          reads.each(value.value_of, value.key, self:marker())
        end
      end
    end
  end
end

--- More than one dirty fragment, in the order in which they run: those that protect, the others; by definition, then by
--- owner.
local function in_order(self, dirty)
  -- Strings are sorted without a call of a function for each comparison.
  local by_def = {}
  for i = 1, #dirty do
    local def, owner = dirty[i].def, dirty[i].owner
    local ids = by_def[def]
    if not ids then
      ids = {}
      by_def[def] = ids
    end
    ids[#ids + 1] = owner and owner.id or ""
  end
  local list, n = {}, 0
  local function take(protecting)
    for _, def in ipairs(self.defs) do
      local ids = (def.closed ~= nil) == protecting and by_def[def]
      if ids then
        sort(ids)
        for i = 1, #ids do
          local f = def.static or def.by_owner[ids[i]]
          if f then
            n = n + 1
            list[n] = f
          end
        end
      end
    end
  end
  -- What protects comes before what it protects, so that no route is known without it.
  take(true)
  take(false)
  return list
end

--- Run a fragment if it is dirty; 1 if it was.
local function run_dirty(self, f)
  if not f.dirty then return 0 end
  run(self, f)
  -- A shared value that changed while it ran was read in its new state.
  f.dirty = false
  return 1
end

--- Run what has to run.
---@return boolean complete
---@return number run
---@return number total
function Fragments:render()
  local complete, count, reviews = self.complete, 0, 0
  if #self.gone > 0 then
    sort(self.gone)
    for _, id in ipairs(self.gone) do self.host.gone(id) end
    self.gone = {}
  end
  while true do
    settle_shared(self)
    local dirty = self.dirty
    local n = #dirty
    if n == 0 then
      reviews = reviews + 1
      if not review(self, reviews) then break end
    end
    dirty, n = self.dirty, #self.dirty
    if n == 1 then
      local f = dirty[1]
      dirty[1] = nil
      count = count + run_dirty(self, f)
    else
      self.dirty = {}
      local list = in_order(self, dirty)
      for i = 1, #list do count = count + run_dirty(self, list[i]) end
    end
  end
  self.complete, self.careful = false, false
  return complete, count, self.total
end

--- Find a fragment by its id.
function Fragments:find(id)
  local def = self.by_name[id]
  if def then return def.static end
  -- Names may have slashes: the longest definition whose prefix fits.
  for _, d in ipairs(self.defs) do
    if d.kind then
      local prefix = d.name .. "/" .. d.kind .. "/"
      if id:sub(1, #prefix) == prefix and d.by_owner[id:sub(#prefix + 1)] then
        return d.by_owner[id:sub(#prefix + 1)]
      end
    end
  end
  return nil
end

--- Where a line of a contribution was written: "file:line", or "".
function Fragments:explain(id, kind, scope, key, line0)
  local f = self:find(id)
  if not f then return "" end
  local out = emitters.new(self.settings, id, nil, true)
  if not run_into(self, f, out, false) then return "" end
  for i = 1, out.n do
    local at = (i - 1) * 6
    if out.items[at + 1] == kind and out.items[at + 4] == scope and out.items[at + 5] == key then
      local where = out.trace[i]
      if type(where) == "table" then where = where[line0 + 1] end
      return where or ""
    end
  end
  return ""
end

return M
