--- requests.lua — fragments that exist because other fragments ask for them.
--
-- each_requested(resources.KIND, name, fn) defines them; what it returns is called by other fragments with the identity
-- of an object, which need not exist, and a key: the backend of a Service's port is one fragment, whoever routes to
-- it. Its owner is that object.
--
-- To ask is to read: the places of a definition's `asked` table have those who ask as their readers (reads.lua). The
-- first one who asks makes the fragment. It goes when the last one has gone or asks no more.
--
-- Nothing refers to what is not there: a fragment that is the first to ask for another one is put out only after that
-- one. It is run once more then, as nothing is kept of the first time.
local reads = require("haptic.reads")
local word = require("haptic.word")

local M = {}

local type, error, pairs, ipairs, next, setmetatable = type, error, pairs, ipairs, next, setmetatable
local find, match, sub = string.find, string.match, string.sub

local MAX_NAME = 253

local Requests = {}
Requests.__index = Requests

--- Definitions by requests of a program.
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

--- What a fragment calls: it wants the fragment of that object and key to exist.
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
    if not F.tracker.list then return end -- an explanation, or the second of two runs that are compared
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

--- What a fragment asks for, before it runs anew; nil for nothing.
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

--- Its run does not count: what it asked for before stays, since that is what its last output refers to.
function Requests:keep(f, before)
  if before then self.fragments.tracker:also(f, before) end
end

--- Its run does not count since it waits for the host (asking.lua).
function Requests:pass(f, before)
  self.fresh, self.fresh_lazy = false, false
  self.blocked[f] = nil
  self:keep(f, before)
end

--- Has the run that just ended asked for something that is not there yet? Then it waits for that; in the first
--- rendering, which is of everything, only where that may have to wait itself.
function Requests:block(f)
  local fresh = self.fresh and (self.fresh_lazy or not self.fragments.complete)
  self.fresh, self.fresh_lazy = false, false
  local again = self.blocked[f] == "last"
  self.blocked[f] = nil
  if not fresh or again then return false end
  self.blocked[f] = "waits"
  return true
end

--- Nothing else is to be run: those who still wait wait for each other.
function Requests:release()
  if next(self.blocked) == nil then return end
  local marker = self.fragments:marker()
  for f in pairs(self.blocked) do
    self.blocked[f] = "last"
    marker(f)
  end
end

--- A requested fragment has its first result: who waits for it goes on.
function Requests:arrived(f)
  local asking = self.fragments.asking
  if next(self.blocked) == nil and not asking:is_anybody_waiting() then return end
  local marker = self.fragments:marker()
  reads.each(f.def.asked, f.request, function(asker)
    if self.blocked[asker] or asking:is_waiting(asker) then marker(asker) end
  end)
end

--- After fragments have run: what nobody asks for any more goes. gone: called with each fragment that does.
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
          if f and not reads.is_read(def.asked, list[i]) then gone(def, f) end -- what it has asked for may go too
        end
      end
    end
  until not again
end

--- A fragment no longer exists.
function Requests:forget(f) self.blocked[f] = nil end

return M
