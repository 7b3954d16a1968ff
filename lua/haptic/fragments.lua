--- fragments.lua — definitions, fragments, and which of them run.
--
-- A *definition* is a template function with a name. A *fragment* is the definition applied to one object (each) or
-- to nothing (static). A fragment runs when its object or anything it read has changed; its output goes to the host
-- when it differs from what was sent before, of which a digest is kept. A *shared value* is computed when first asked
-- for and again when what it read has changed; those who asked run again only if the value is another one.
local emitters = require("haptic.emitters")
local objects = require("haptic.objects")
local reads = require("haptic.reads")
local text = require("haptic.text")

local M = {}

local type, error, next, pairs, ipairs = type, error, next, pairs, ipairs
local setmetatable, pcall, xpcall = setmetatable, pcall, xpcall
local format = string.format
local concat, sort = table.concat, table.sort

--- In production, one run in so many is followed by a look whether the template changed an object.
local SAMPLE = 512

local Fragments = {}
Fragments.__index = Fragments

---@param host table see engine.lua
---@param settings table {digest=, allow_raw=, checked=}
function M.new(host, settings)
  return setmetatable({
    host = host, settings = settings, tracker = reads.new(), objects = nil,
    defs = {}, by_name = {}, by_kind = {}, by_id = {}, total = 0,
    dirty = {}, dirty_shared = {}, shared_defs = {}, skipped = {}, gone = {}, complete = true, out = nil, runs = 0,
  }, Fragments)
end

--- What mark a reader leads to: it runs at the next render.
function Fragments:marker()
  local dirty, dirty_shared = self.dirty, self.dirty_shared
  return function(reader)
    if reader.value_of then dirty_shared[reader] = true else dirty[reader] = true end
  end
end

--- Add a definition. kind: a watched kind's name, or nil for a static one.
---@return table definition
function Fragments:define(template, name, kind, fn)
  local full = template .. ":" .. name
  if self.by_name[full] then error("there is a fragment " .. full .. " already; give this one another name", 3) end
  local def = { index = #self.defs + 1, name = full, template = template, kind = kind, fn = fn, by_owner = {} }
  self.defs[def.index] = def
  self.by_name[full] = def
  if kind then
    self.by_kind[kind] = self.by_kind[kind] or {}
    table.insert(self.by_kind[kind], def)
  end
  return def
end

local function id_of(f)
  local def = f.def
  if not def.kind then return def.name end
  return def.name .. "/" .. def.kind .. "/" .. f.owner.id
end

local function add(self, def, record)
  local f = { def = def, owner = record, reads = nil, digest = nil }
  if record then def.by_owner[record.id] = f end
  self.total = self.total + 1
  self.dirty[f] = true
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
    if f then
      self.dirty[f] = true
    else
      f = add(self, def, record)
    end
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
      local id = id_of(f)
      def.by_owner[record.id] = nil
      self.total = self.total - 1
      self.dirty[f] = nil
      self.tracker:forget(f)
      self.skipped[id] = nil
      if f.digest or f.failed then self.gone[#self.gone + 1] = id end
    end
  end
end

--- Do not run a fragment until its object changes.
function Fragments:skip(id) self.skipped[id] = true end

local scratch = {}

local function digest_of(self, out)
  local items, n = out.items, 0
  for i = 1, out.n * 6, 6 do
    local scope, key, body = items[i + 3], items[i + 4], items[i + 5]
    scratch[n + 1] = format("%d,%d,%d,%d,%d,%d", items[i], items[i + 1], items[i + 2], #scope, #key, #body)
    scratch[n + 2], scratch[n + 3], scratch[n + 4] = scope, key, body
    n = n + 4
  end
  return self.settings.digest(concat(scratch, "\0", 1, n))
end

local function run_function(self, f, out)
  local outer, outer_running = self.out, self.running
  self.out, self.running = out, f
  local def = f.def
  local ok, message
  if def.kind then
    ok, message = xpcall(def.fn, text.handler, self.objects:decoded(f.owner), out)
  else
    ok, message = xpcall(def.fn, text.handler, out)
  end
  self.out, self.running = outer, outer_running
  if not ok then error(message, 0) end
  emitters.finish(out)
end

local function out_new(self, id, trace)
  local s = self.settings
  local settings = { digest = s.digest, allow_raw = s.allow_raw, templates = s.templates, trace = trace }
  return emitters.new({ id = id }, settings)
end

--- Run twice what should be a pure function, and look whether it changed an object.
local function check(self, f, id, first)
  local object_id, path = self.objects:changed()
  if object_id then
    return format("the template changed the object %s at %s; objects are read-only", object_id, path)
  end
  if not self.settings.checked then return nil end
  local again = out_new(self, id)
  local ok, message = self.tracker:unrecorded(run_function, self, f, again)
  if not ok then return "the template failed when run a second time: " .. message end
  if digest_of(self, first) ~= digest_of(self, again) then
    return "the template's output differs when run a second time on the same input"
  end
  return nil
end

local function fail(self, f, id, message)
  local def, owner = f.def, f.owner
  if def.kind then message = format("%s (%s %s)", message, def.kind, owner.id) end
  f.failed = true
  self.host.failed(id, def.template, def.kind or "", owner and owner.id or "", owner and owner.created or 0, message)
end

local function run(self, f)
  local def, owner, host = f.def, f.owner, self.host
  local id = id_of(f)
  local kind, owner_id = def.kind or "", owner and owner.id or ""
  if self.skipped[id] then
    self.tracker:forget(f)
    fail(self, f, id, "not run: it ended the renderer before; it waits for a change of its object")
    return
  end
  host.at(id, def.template, kind, owner_id)
  self.runs = self.runs + 1
  local checking = self.settings.checked or self.runs % SAMPLE == 0
  if checking then self.objects:watch() end
  local out = out_new(self, id)
  local ok, message = self.tracker:run(f, run_function, self, f, out)
  if checking then
    local complaint = check(self, f, id, out)
    if ok and complaint then ok, message = false, complaint end
  end
  if not ok then
    fail(self, f, id, message)
    return
  end
  local digest = digest_of(self, out)
  if digest == f.digest and not f.failed then return end
  -- The host refuses what breaks a limit or cannot stand in an output.
  ok, message = pcall(host.fragment, id, def.template, kind, owner_id, owner and owner.created or 0, out.items, out.n)
  if ok then
    f.digest, f.failed = digest, nil
  else
    fail(self, f, id, def.template .. ": " .. text.handler(message))
  end
end

-- Shared values ---------------------------------------------------------------------------------------------

local function shared_result(fn, key)
  local ok, result = xpcall(fn, text.handler, key)
  if not ok then error(result, 0) end
  return result
end

local function compute(self, value)
  if value.running then error("the shared value " .. value.label .. " depends on itself", 0) end
  value.running = true
  self.dirty_shared[value] = nil
  local ok, result = self.tracker:run(value, shared_result, value.def.fn, value.key)
  value.running = nil
  self.dirty_shared[value] = nil
  local same = value.known and value.ok == ok and objects.difference(value.result, result, "") == nil
  value.known, value.ok = true, ok
  if not same then value.result = result end
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
    if not value.known or self.dirty_shared[value] then
      if compute(self, value) then reads.each(readers, key, self:marker()) end
    end
    self.tracker:record(readers, key)
    if not value.ok then error(value.result, 0) end
    return value.result
  end
end

local function settle_shared(self)
  while next(self.dirty_shared) do
    local list = {}
    for value in pairs(self.dirty_shared) do list[#list + 1] = value end
    sort(list, function(a, b) return a.label < b.label end)
    for _, value in ipairs(list) do
      if self.dirty_shared[value] then
        if not reads.is_read(value.value_of, value.key) then
          self.dirty_shared[value] = nil
          self.tracker:forget(value)
          value.def.values[value.key] = nil
        elseif compute(self, value) then
          reads.each(value.value_of, value.key, self:marker())
        end
      end
    end
  end
end

local function run_order(a, b)
  if a.def ~= b.def then return a.def.index < b.def.index end
  return a ~= b and a.owner.id < b.owner.id
end

--- Run what has to run.
---@return boolean complete
---@return number run
---@return number total
function Fragments:render()
  local complete, count = self.complete, 0
  local dirty = self.dirty
  if #self.gone > 0 then
    sort(self.gone)
    for _, id in ipairs(self.gone) do self.host.gone(id) end
    self.gone = {}
  end
  while true do
    settle_shared(self)
    if next(dirty) == nil then break end
    local list, n = {}, 0
    for f in pairs(dirty) do
      n = n + 1
      list[n] = f
    end
    if n > 1 then sort(list, run_order) end
    for i = 1, n do
      local f = list[i]
      if dirty[f] then
        dirty[f] = nil
        run(self, f)
        -- A shared value that changed while it ran was read in its new state.
        dirty[f] = nil
        count = count + 1
      end
    end
  end
  self.complete = false
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
  local out = out_new(self, id, true)
  local ok = self.tracker:unrecorded(run_function, self, f, out)
  if not ok then return "" end
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
