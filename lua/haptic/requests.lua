--- requests.lua — fragments that exist because other fragments request them.
--
-- each_requested(resources.KIND, name, fn) defines them. Other fragments call its result with the identity of an
-- object, which need not exist, and a key: for example, the backend of a Service's port is one fragment, whatever the
-- number of routes to it. Its owner is that object.
--
-- A request is a read: the places of a definition's `asked` table have the requesting fragments as readers (reads.lua).
-- The first request creates the fragment. It is removed when the last requesting fragment is gone or no longer requests
-- it.
--
-- Output never refers to something that does not exist: a fragment that is the first to request another one is sent
-- only after that one. It then runs once more, because the first result is not kept.
local reads = require("haptic.reads")
local word = require("haptic.word")

local M = {}

local type, error, pairs, ipairs, next, setmetatable = type, error, pairs, ipairs, next, setmetatable
local find, match, sub = string.find, string.match, string.sub

local MAX_NAME = 253

local Requests = {}
Requests.__index = Requests

--- The definitions of a program with requested fragments.
---@param fragments table of fragments.lua
---@param add function(definition, id) → fragment; it is dirty then
function M.new(fragments, add)
  return setmetatable({ fragments = fragments, add = add, defs = {}, by_place = {}, blocked = {}, fresh = false,
    fresh_lazy = false },
    Requests)
end

--- Make a definition one of requested fragments.
function Requests:define(def)
  def.requested = true
  def.asked, def.unasked = {}, {}
  reads.watch(def.asked, def.unasked)
  self.defs[#self.defs + 1] = def
  self.by_place[def.asked] = def
end

local function check_part(value, what)
  if type(value) ~= "string" then error(what .. " is a " .. type(value) .. ", not a string", 3) end
  if value == "" or #value > MAX_NAME or find(value, "[%c/\127]") then
    error(what .. " is empty, too long, or has '/' or a control character: " .. word.show(value), 3)
  end
end

--- The function for fragments: requests the fragment of that object and key.
---@return function request(namespace or nil, name, key)
function Requests:getter(def)
  local F = self.fragments
  return function(namespace, name, key)
    local f = F.running
    if not f or F.computing > 0 then error("only a fragment can ask for another one, not a shared value", 2) end
    if namespace ~= nil then check_part(namespace, "the namespace") end
    check_part(name, "the name")
    check_part(key, "the key")
    local id = (namespace and namespace .. "/" or "") .. name .. "/" .. key
    if not F.tracker.list then return end -- an explanation, or the second of two compared runs
    local wanted = def.by_owner[id] or self.add(def, id)
    if wanted ~= f and not wanted.digest and F.asking:is_waiting(wanted) then F.asking.waits = true end
    if wanted ~= f and not wanted.digest and not wanted.failed then
      self.fresh = true
      if F.objects.kinds[def.kind].asked then self.fresh_lazy = true end
    end
    F.tracker:record(def.asked, id)
  end
end

--- The identity of the object that a requested fragment belongs to.
function M.object_id(f) return match(f.request, "^(.*)/") end

--- Run a requested fragment's function.
function Requests:apply(f, out)
  local def, F, id = f.def, self.fragments, M.object_id(f)
  local namespace, name = match(id, "^(.*)/(.*)$")
  local asked = { namespace = namespace, name = name or id, key = sub(f.request, #id + 2) }
  def.fn(F.objects:read(F.objects.kinds[def.kind], id), out, asked)
end

--- The requests of a fragment before it runs again; nil when there are none.
function Requests:of(f)
  if #self.defs == 0 then return nil end
  local list
  for i = 1, #f, 2 do
    if self.by_place[f[i]] then
      list = list or {}
      list[#list + 1], list[#list + 2] = f[i], f[i + 1]
    end
  end
  return list
end

--- The run does not count: its former requests stay, since its last output refers to them.
function Requests:keep(f, before)
  if before then self.fragments.tracker:also(f, before) end
end

--- The run does not count because it waits for the host (asking.lua).
function Requests:pass(f, before)
  self.fresh, self.fresh_lazy = false, false
  self.blocked[f] = nil
  self:keep(f, before)
end

--- True when the run that has just ended requested something that does not exist yet. Then the fragment waits for it.
--- In the first rendering, where everything runs, it waits only when the requested fragment may itself have to wait.
function Requests:block(f)
  local fresh = self.fresh and (self.fresh_lazy or not self.fragments.complete)
  self.fresh, self.fresh_lazy = false, false
  local again = self.blocked[f] == "last"
  self.blocked[f] = nil
  if not fresh or again then return false end
  self.blocked[f] = "waits"
  return true
end

--- Nothing else can run: the remaining waiting fragments wait for each other.
function Requests:release()
  if next(self.blocked) == nil then return end
  local marker = self.fragments:marker()
  for f in pairs(self.blocked) do
    self.blocked[f] = "last"
    marker(f)
  end
end

--- A requested fragment has its first result: fragments that wait for it continue.
function Requests:arrived(f)
  local asking = self.fragments.asking
  if next(self.blocked) == nil and not asking:is_anybody_waiting() then return end
  local marker = self.fragments:marker()
  reads.each(f.def.asked, f.request, function(asker)
    if self.blocked[asker] or asking:is_waiting(asker) then marker(asker) end
  end)
end

--- After fragments have run: removes those without requests. gone: called with each of them.
function Requests:settle(gone)
  local again
  repeat
    again = false
    for _, def in ipairs(self.defs) do
      local list = def.unasked
      if #list > 0 then
        def.unasked, again = {}, true
        reads.watch(def.asked, def.unasked)
        for i = 1, #list do
          local f = def.by_owner[list[i]]
          if f and not reads.is_read(def.asked, list[i]) then gone(def, f) end -- its own requests may go, too
        end
      end
    end
  until not again
end

--- A fragment no longer exists.
function Requests:forget(f) self.blocked[f] = nil end

return M
