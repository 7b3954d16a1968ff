--- fragments.lua — definitions, fragments, and which of them run.
--
-- A *definition* is a template function with a name. A *fragment* is the definition applied to one object (each), to
-- nothing (static), or to what other fragments request (requests.lua). A fragment runs when its object or anything that
-- it read has changed. Its output goes to the host when its digest differs from the digest of what was sent before. A
-- *shared value* is computed when it is first requested, and again when what it read has changed. Its readers run again
-- only if the value is different.
local asking = require("haptic.asking")
local bodies = require("haptic.body")
local emitters = require("haptic.emitters")
local place = require("haptic.place")
local reads = require("haptic.reads")
local requests = require("haptic.requests")
local room = require("haptic.room")
local shared = require("haptic.shared")
local table_new = require("table.new")
local text = require("haptic.text")
local turns = require("haptic.turns")

local M = {}

local type, error, pairs, ipairs, next = type, error, pairs, ipairs, next
local setmetatable, pcall = setmetatable, pcall
local format = string.format
local select = select
local sort = table.sort
local handler = text.handler

--- A suffix for the id of a protecting fragment without output: the entry that says that it protects. No fragment has
--- such a name.
local GUARD = "#guard"

--- In production, one run in this many is followed by a check whether the template changed an object.
local SAMPLE = 512

local Fragments = {}
Fragments.__index = Fragments

---@param host table see engine.lua
---@param settings table {digest=, allow_raw=, checked=}
function M.new(host, settings)
  local self = setmetatable({
    host = host, settings = emitters.settings(settings), tracker = reads.new(), objects = nil,
    items = {},
    defs = {}, by_name = {}, by_kind = {}, total = 0,
    dirty = {}, dirty_shared = {}, shared_defs = {}, skipped = {}, gone = {}, complete = true,
    -- values_out: shared values that were handed out since the last check; careful: templates change values that they
    -- get, so each run is checked
    values_out = {}, careful = false,
    out = nil, running = nil, runs = 0, computing = 0,
    turns = turns.new(host), room = room.new(host),
  }, Fragments)
  self.asking = asking.new(host, self.tracker)
  self.requests = requests.new(self, function(def, id) return self:add(def, nil, id) end)
  return self
end

-- Dirty fragments are in a list, and have a mark themselves. A set that once held all fragments would cost a walk over
-- all its empty places each time. A fragment that is not dirty any more stays in the list without effect.
local function mark(list, reader)
  if reader.dirty then return end
  reader.dirty = true
  list[#list + 1] = reader
end

--- The effect of mark on a reader: it runs at the next rendering.
---@return function
function Fragments:marker()
  return function(reader) mark(reader.value_of and self.dirty_shared or self.dirty, reader) end
end

--- Adds a definition. kind: the name of a watched kind, or nil for a static one. closed: the definition protects its
--- object's routes, which lead to this backend while it has no output in force; nil: it protects nothing. is_requested:
--- fragments come from requests for an object of that kind, not from each object.
---@return table definition
function Fragments:define(template, name, kind, fn, closed, is_requested)
  local full = template .. ":" .. name
  if self.by_name[full] then error("there is a fragment " .. full .. " already; give this one another name", 3) end
  local def = { index = #self.defs + 1, name = full, template = template, kind = kind, fn = fn, by_owner = {},
    closed = closed, prefix = kind and full .. "/" .. kind .. "/" or full, runs = 0, seconds = 0, reads = 0 }
  self.defs[def.index] = def
  self.by_name[full] = def
  if is_requested then
    self.requests:define(def)
  elseif kind then
    self.by_kind[kind] = self.by_kind[kind] or {}
    table.insert(self.by_kind[kind], def)
  end
  return def
end

--- The name that distinguishes a definition's fragments; "" for a static one.
local function key_of(f)
  return f.request or f.owner and f.owner.id or ""
end

--- A fragment's name. It is not stored, because each would be one more string for the collector.
local function id_of(f)
  return f.def.prefix .. key_of(f)
end

--- Kind, identity and creation time of the object that a fragment belongs to.
local function owner_of(self, f)
  local def, owner, id = f.def, f.owner, nil
  if f.request then
    id = requests.object_id(f)
    owner = self.objects.kinds[def.kind].by_id[id]
  end
  return def.kind or "", id or owner and owner.id or "", owner and owner.created or 0
end

--- The identity of the object that a fragment belongs to, "" for a static one.
function Fragments:owner_id(f) return (select(2, owner_of(self, f))) end

-- Fields of a fragment, of which there is one for each object: def, owner or request, dirty, digest; rarely failed;
-- four places read.
local FIELDS, READS, REQUESTED_READS = 4, 8, 4

--- A new fragment: for an object, for a request, or for nothing.
function Fragments:add(def, record, request)
  local f = table_new(request and REQUESTED_READS or READS, FIELDS)
  f.def, f.owner, f.request, f.dirty = def, record, request, false
  if record or request then def.by_owner[key_of(f)] = f end
  self.total = self.total + 1
  mark(self.dirty, f)
  return f
end

--- A fragment no longer exists.
local function drop(self, def, f)
  def.by_owner[key_of(f)] = nil
  self.total = self.total - 1
  f.dirty = false
  self.tracker:forget(f)
  self.requests:forget(f)
  self.asking:forget(f)
  self.room:forget(f)
  local id = id_of(f)
  self.skipped[id] = nil
  if f.digest or f.failed then
    self.gone[#self.gone + 1] = { id = id, digest = f.digest, owner_id = self:owner_id(f) }
  end
  if f.declared then
    self.gone[#self.gone + 1] = { id = id .. GUARD, digest = f.declared, owner_id = self:owner_id(f) }
  end
end

--- All definitions are complete: creates the fragments of static ones, and those of existing objects.
function Fragments:start()
  for _, def in ipairs(self.defs) do
    if def.kind and not def.requested then
      for _, record in pairs(self.objects.kinds[def.kind].by_id) do self:add(def, record) end
    elseif not def.kind then
      def.static = self:add(def)
    end
  end
end

--- An object was added or changed.
function Fragments:object_put(kind, record, is_new)
  local defs = self.by_kind[kind]
  if not defs then return end
  for i = 1, #defs do
    local def = defs[i]
    local f = def.by_owner[record.id]
    if f then mark(self.dirty, f) else f = self:add(def, record) end
    if not is_new and next(self.skipped) then self.skipped[id_of(f)] = nil end
  end
end

--- An object was deleted, and its fragments with it.
function Fragments:object_deleted(kind, record)
  local defs = self.by_kind[kind]
  if not defs then return end
  for i = 1, #defs do
    local def = defs[i]
    local f = def.by_owner[record.id]
    if f then drop(self, def, f) end
  end
end

--- The host has answered a question.
function Fragments:answer(kind, id, known, refusal) self.asking:answer(kind, id, known, refusal, self:marker()) end

--- Do not run a fragment until its object changes.
function Fragments:skip(id) self.skipped[id] = true end

local function apply(self, f)
  local def, out = f.def, self.out
  if def.closed then emitters.put_guard(out, id_of(f), def.closed) end
  if f.request then
    self.requests:apply(f, out)
  elseif def.kind then
    local kind = self.objects.kinds[def.kind]
    local object
    if kind.keyed then object = self.objects:read(kind, f.owner.id) else object = self.objects:decoded(f.owner) end
    if object then def.fn(object, out) end
  else
    def.fn(out)
  end
  emitters.finish(out)
end

--- Runs a fragment's function. recorded: from now on, its reads are those of the fragment.
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
  -- After a caught error of a limit, all later errors are its consequences.
  local limit = not ok and bodies.passed_limit(out)
  return ok, limit and text.has_place(limit) and limit or message
end

--- Runs a function that should be pure twice, and checks whether it changed an object.
local function check(self, f, first)
  local object_id, path = self.objects:changed()
  local label = shared.spoiled(self)[1]
  if object_id then
    return format("the template changed the object %s at %s; objects are read-only", object_id, path)
  end
  if label then return format("the template changed the shared value %s; shared values are read-only", label) end
  if not self.settings.checked then return nil end
  local again = emitters.belongs(emitters.new(self.settings, id_of(f)), f.def.kind)
  local ok, message = run_into(self, f, again, false)
  if not ok then return "the template failed when run a second time: " .. message end
  if not emitters.is_same(first, again) then
    return "the template's output differs when run a second time on the same input"
  end
  return nil
end

--- While a protecting fragment has no output, a fragment with another id says that it protects.
local function declare_guard(self, f)
  local def, owner, id = f.def, f.owner, id_of(f)
  local out = emitters.new(self.settings, id .. GUARD)
  emitters.put_guard(out, id, def.closed)
  f.declared = self.host.fragment(id .. GUARD, def.template, def.kind, owner.id, owner.created or 0, out.items, out.n,
    f.declared, false, true)
end

local function fail(self, f, message)
  local def = f.def
  local kind, owner_id, created = owner_of(self, f)
  if def.closed then declare_guard(self, f) end
  if not text.has_place(message) then message = place.of(def.fn, def.template) .. ": " .. message end
  if def.kind then message = format("%s (%s %s)", message, kind, owner_id) end
  f.failed = true
  self.host.failed(id_of(f), def.template, kind, owner_id, created, message)
end

-- The list of contributions is reused by the next fragment, unless it has become long.
local ITEMS_KEEP = 1000

--- Sends a fragment's output to the host, which refuses output that exceeds a limit or is invalid.
---@return boolean ok
---@return string|nil message
local function put_out(self, f, out, id, kind, owner_id, created)
  local ok, result, reason, bytes = pcall(self.host.fragment, id, f.def.template, kind, owner_id, created, out.items,
    out.n, f.digest, f.failed and true or false)
  if not ok then return false, handler(result) end
  if result then
    f.digest, f.failed = result, nil
    self.room:forget(f)
    if f.declared then
      self.host.gone(id .. GUARD, f.declared, owner_id)
      f.declared = nil
    end
    return true
  end
  if reason == "later" then
    self.later = f -- the limit of output for one rendering is reached
    return false
  end
  local namespace = turns.namespace(owner_id)
  self.room:hold(namespace, f, bytes)
  return false, "held back: " .. (namespace == "" and "this output" or "namespace " .. namespace)
    .. " has its share of the room that there is for the output of all; it is rendered when there is more"
end

local function run(self, f)
  local def, host, id = f.def, self.host, id_of(f)
  local kind, owner_id, created = owner_of(self, f)
  if self.skipped[id] then
    fail(self, f, "not run: it ended the renderer before; it waits for a change of its object")
    return
  end
  host.at(id, def.template, kind, owner_id)
  self.runs = self.runs + 1
  self.turns.counted = def -- this definition is charged with the time (turns.lua)
  local checking = self.settings.checked or self.careful or self.runs % SAMPLE == 0
  if checking then self.objects:watch() end
  local out = emitters.belongs(emitters.new(self.settings, id, self.items), kind)
  local asked = self.requests:of(f)
  local outer = self.asking:begin()
  local ok, result = run_into(self, f, out, true)
  local waits = self.asking:finish(outer)
  self.asking:note(f, waits)
  def.runs, def.reads = def.runs + 1, def.reads + #f / 2
  if waits then
    self.requests:pass(f, asked)
    if def.closed and not f.digest then declare_guard(self, f) end
    if checking then self.objects:changed() end
    out.items = nil
    return
  end
  if not ok and not text.has_place(result) then
    local line = place.last_line(function()
      run_into(self, f, emitters.belongs(emitters.new(self.settings, id_of(f)), f.def.kind), false)
    end)
    if line then result = line .. ": " .. result end
  end
  if checking then
    local complaint = check(self, f, out)
    if ok and complaint then ok, result = false, complaint end
  end
  if self.requests:block(f) and ok then
    self.requests:keep(f, asked)
    out.items = nil
    return
  end
  local is_first = f.request and not f.digest and not f.failed
  if ok then
    ok, result = put_out(self, f, out, id, kind, owner_id, created)
  end
  if not ok then
    if result then fail(self, f, result) end
    self.requests:keep(f, asked)
  end
  if is_first then self.requests:arrived(f) end
  if out.n > ITEMS_KEEP then self.items = {} end
  out.items = nil -- a template that has kept `out` cannot write into the output of another fragment
end

--- A template that changes objects fails after the first run; one that depends on something else than its input may
--- continue.
local REVIEWS_MAX = 8

--- Before a rendering counts: if a shared object or value was changed, its readers run again, each with a check.
---@param round number of reviews in this rendering, with this one
---@return boolean again there is something to run
local function review(self, round)
  local changed = self.objects:review()
  local labels, values = shared.spoiled(self)
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

--- Sorts dirty fragments in the order in which they run: first those that protect, then the others; by definition, then
--- by owner.
local function in_order(self, dirty)
  -- Strings are sorted without calling a function for each comparison.
  local by_def = {}
  for i = 1, #dirty do
    local def = dirty[i].def
    local ids = by_def[def]
    if not ids then
      ids = {}
      by_def[def] = ids
    end
    ids[#ids + 1] = key_of(dirty[i])
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
  -- A protection is sent before the routes that it protects, so no route is known without it.
  take(true)
  take(false)
  return list
end

--- Runs a fragment if it is dirty and its namespace does not rest; 1 if it ran or is known to fail.
local function run_dirty(self, f, namespace)
  if not f.dirty then return 0 end
  -- A skipped fragment takes no time. Its failure is reported at once, so that new templates do not pass for good.
  local is_skipped = next(self.skipped) ~= nil and self.skipped[id_of(f)]
  if not is_skipped and self.turns:keep_resting(namespace, f) then return 0 end
  self.turns:start()
  if self.timings then self.timings:run(f.def.prefix, id_of(f), run, self, f) else run(self, f) end
  self.turns:stop(namespace, self.complete)
  -- When a shared value changed during the run, the run has read the new state.
  f.dirty = false
  if self.later then
    self.later = nil
    mark(self.dirty, f)
    self.cut = true
  end
  return 1
end

--- Runs fragments in turns of their namespaces. When the rendering is cut, the rest stays dirty.
local function run_turns(self, list)
  local owed, count = self.turns, 0
  local groups = owed:groups(list, function(f) return turns.namespace(self:owner_id(f)) end)
  local left = #groups
  local function run_turn(group)
    local namespace, since = group.namespace, owed.had[group.namespace]
    while group.at <= #group.list do
      self.cut = self.cut or owed:is_over(namespace, self.complete, self.total)
      if self.cut or left > 1 and owed:is_next(namespace, since) then return end
      count = count + run_dirty(self, group.list[group.at], namespace)
      group.at = group.at + 1
    end
    left = left - 1
  end
  while left > 0 and not self.cut do
    for i = 1, #groups do
      if groups[i].at <= #groups[i].list then run_turn(groups[i]) end
    end
  end
  for _, group in ipairs(groups) do
    for i = group.at, #group.list do self.dirty[#self.dirty + 1] = group.list[i] end
  end
  return count
end

local function send_gone(self)
  if #self.gone == 0 then return end
  sort(self.gone, function(a, b) return a.id < b.id end)
  for _, f in ipairs(self.gone) do self.host.gone(f.id, f.digest, f.owner_id) end
  self.gone = {}
end

--- Removes requested fragments without requests, and runs those that waited for something that exists now.
local function settle(self)
  self.requests:settle(function(def, f) drop(self, def, f) end)
  if next(self.turns.resting) == nil then self.requests:release() end
  self.room:retry(self:marker())
end

--- Define a shared value.
---@return function getter takes an optional key (string) and gives the value
function Fragments:share(template, name, fn) return shared.define(self, template, name, fn) end

--- The limit of namespaces that are reported by name.
local TOLD_MAX = 10000

--- Reports to the host which namespaces have waiting fragments and, the first time, the fragments that exist but have
--- not run yet.
local function tell_held(self)
  local host, told, more_room, more_time = self.host, 0, 0, 0
  self.room:each(function(namespace, count)
    told = told + 1
    if told <= TOLD_MAX then host.held(namespace, count, 0) else more_room = more_room + count end
  end)
  self.turns:each_resting(function(namespace, list)
    told = told + 1
    if told <= TOLD_MAX then host.held(namespace, 0, #list) else more_time = more_time + #list end
  end)
  if told > TOLD_MAX then host.held("(others)", more_room, more_time) end
  if not self.complete then return end
  local function waits(f)
    if f.dirty and not f.digest then host.waits(id_of(f)) end
  end
  for _, f in ipairs(self.dirty) do waits(f) end
  self.asking:each(function(f)
    if not f.digest and not f.dirty then host.waits(id_of(f)) end
  end)
  self.turns:each_resting(function(_, list)
    for _, f in ipairs(list) do waits(f) end
  end)
end

--- Runs everything that is dirty, or the part whose turn it is.
---@return boolean complete
---@return number run
---@return number total
---@return boolean unfinished something is left that can go on at once
---@return number|nil seconds until something else can
function Fragments:render()
  local complete, count, reviews = self.complete, 0, 0
  self.cut = false
  for _, f in ipairs(self.turns:begin() or {}) do self.dirty[#self.dirty + 1] = f end
  send_gone(self)
  while not self.cut do
    self.turns:pause()
    shared.settle(self)
    if #self.dirty == 0 then settle(self) end
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
      count = count + run_dirty(self, f, turns.namespace(self:owner_id(f)))
    else
      self.dirty = {}
      count = count + run_turns(self, in_order(self, dirty))
    end
  end
  self.requests:settle(function(def, f) drop(self, def, f) end)
  self.asking:settle()
  send_gone(self)
  if complete and not self.cut and self.asking:is_first_to_wait() then return false, count, self.total, false, nil end
  tell_held(self)
  self.complete, self.careful = false, false
  return complete, count, self.total, self.cut, self.turns:wait()
end

--- Find a fragment by its id.
function Fragments:find(id)
  local def = self.by_name[id]
  if def then return def.static end
  -- Names may contain slashes: the longest definition whose prefix matches.
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

--- The present output of a fragment, with the template line of each line in `trace`; the error message when it fails.
---@return table|nil out
---@return string|nil message
function Fragments:traced(f)
  local out = emitters.belongs(emitters.new(self.settings, id_of(f), nil, true), f.def.kind)
  local ok, message = run_into(self, f, out, false)
  if ok then return out end
  return nil, message
end

--- The place where a line of a contribution was written: "file:line", or "".
function Fragments:explain(id, kind, scope, key, line0)
  local f = self:find(id)
  if not f then return "" end
  local out = emitters.belongs(emitters.new(self.settings, id, nil, true), f.def.kind)
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
