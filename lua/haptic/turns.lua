--- turns.lua — the order in which fragments run: the work of one namespace does not delay the others.
--
-- The cost of a fragment is charged to the namespace of its owner. Templates do not see this clock: it affects only
-- when something is rendered, not the result. Debts decrease with time. Namespaces with the lowest debt run first, and
-- within a namespace fragments run in their order. Fragments without a namespace belong to the administrator and run
-- before all others.
--
-- A rendering is cut, between two fragments, when a namespace has had its turn and other work waits: input to be read,
-- or finished output of another namespace to be delivered. The host then requests the rest. A namespace whose fragment
-- took LONG, or ended the renderer, rests for some time, so that changes of other namespaces rarely meet such a
-- fragment.
local M = {}

local pairs, ipairs, next, setmetatable = pairs, ipairs, next, setmetatable
local find, sub = string.find, string.sub
local sort = table.sort

--- Processor seconds of one turn.
local TURN = 0.05
--- A namespace's share of one processor in the long run: its debt decreases by this much per second.
local SHARE = 0.25
--- The limit of a debt, so that every namespace gets its turn.
local DEBT_MAX = 2
--- A fragment that took this many seconds is followed by a rest of this many times its duration.
local LONG, REST_FACTOR, REST_MAX = 0.2, 3, 60
--- The processor time that a first rendering may take: so many deadlines, and so many seconds for each fragment, but
--- not more than so many deadlines. The core ends a renderer after ten.
local FIRST, FIRST_EACH, FIRST_MAX = 2, 0.001, 8

local Turns = {}
Turns.__index = Turns

---@param host table clock() → seconds, cpu() → seconds of this process, input() → does any wait?; deadline: seconds of
--- one rendering. Without a clock nothing is charged and nothing is cut.
function M.new(host)
  return setmetatable({
    clock = host.clock, cpu = host.cpu, input = host.input, deadline = host.deadline or 10,
    debts = {}, rests = {}, resting = {}, began = host.clock and host.clock() or 0, began_cpu = 0, mark = nil,
    counted = nil, -- the definition whose fragment runs: its `seconds` grow
    had = {}, somebody = nil, many = false, -- of this rendering
  }, Turns)
end

--- The namespace of an owner's identity; "" for static fragments and cluster-scoped owners.
function M.namespace(owner_id)
  local at = find(owner_id, "/", 1, true)
  return at and sub(owner_id, 1, at - 1) or ""
end

--- A rendering begins. Returns the fragments whose rest is over.
---@return table|nil list
function Turns:begin()
  self.somebody, self.many = nil, false
  if next(self.had) then self.had = {} end
  if not self.clock then return nil end
  local now = self.clock()
  self.began_cpu = self.cpu and self.cpu() or 0
  local forgiven = (now - self.began) * SHARE
  self.began = now
  for namespace, debt in pairs(self.debts) do self.debts[namespace] = debt > forgiven and debt - forgiven or nil end
  if next(self.rests) == nil then return nil end
  local over
  for namespace, time in pairs(self.rests) do
    if time <= now then
      self.rests[namespace] = nil
      for _, f in ipairs(self.resting[namespace] or {}) do
        over = over or {}
        over[#over + 1] = f
      end
      self.resting[namespace] = nil
    end
  end
  return over
end

--- A namespace rests from now on.
function Turns:rest(namespace, seconds)
  if not self.clock or namespace == "" then return end
  local time = self.clock() + seconds
  if time > (self.rests[namespace] or 0) then self.rests[namespace] = time end
end

--- Seconds until the end of the first rest of a namespace with waiting fragments; nil when nothing waits.
function Turns:wait()
  local first
  for namespace in pairs(self.resting) do
    local time = self.rests[namespace]
    if not first or time < first then first = time end
  end
  if not first then return nil end
  local seconds = first - self.clock()
  return seconds > 0 and seconds or 0
end

--- True when the namespace rests. Then the fragment is kept until the rest is over.
function Turns:keep_resting(namespace, f)
  if self.rests[namespace] == nil then return false end
  local list = self.resting[namespace]
  if not list then
    list = {}
    self.resting[namespace] = list
  end
  list[#list + 1] = f
  return true
end

--- Until the next start(), nothing is charged.
function Turns:pause() self.mark = nil end

--- A fragment begins; another one may have just ended.
function Turns:start()
  if self.cpu then self.mark = self.mark or self.cpu() end
end

--- The fragment has ended: its namespace is charged. In the first rendering there are no rests.
function Turns:stop(namespace, is_first)
  if not self.cpu then return end
  local now = self.cpu()
  local seconds = now - self.mark
  self.mark = now
  if self.counted then
    self.counted.seconds = self.counted.seconds + seconds
    self.counted = nil
  end
  if namespace == "" then return end
  self.many = self.many or self.somebody ~= nil and self.somebody ~= namespace
  self.somebody = namespace
  self.had[namespace] = (self.had[namespace] or 0) + seconds
  local debt = (self.debts[namespace] or 0) + seconds
  self.debts[namespace] = debt < DEBT_MAX and debt or DEBT_MAX
  if seconds >= LONG and not is_first then
    local rest = seconds * REST_FACTOR
    self:rest(namespace, rest < REST_MAX and rest or REST_MAX)
  end
end

--- True when the rendering should be cut before a fragment of that namespace. The first rendering contains everything,
--- so it is cut only when it takes too long for its number of fragments; waiting for a processor does not count.
function Turns:is_over(namespace, is_first, total)
  if not self.clock then return false end
  if is_first then
    local limit = self.deadline * FIRST + total * FIRST_EACH
    local most = self.deadline * FIRST_MAX
    return self.cpu ~= nil and self.cpu() - self.began_cpu > (limit < most and limit or most)
  end
  if self.clock() - self.began > self.deadline * 0.5 then return true end
  if namespace == "" then return false end
  local others = self.many or self.somebody ~= nil and self.somebody ~= namespace
  if others and (self.debts[namespace] or 0) >= TURN then return true end
  return (self.had[namespace] or 0) >= TURN and self.input()
end

--- Groups of fragments in the order of their turns: list of {namespace=, list=, at=}.
---@param list table fragments in their order
---@param namespace_of function
function Turns:groups(list, namespace_of)
  local by_namespace, groups = {}, {}
  for i = 1, #list do
    local namespace = namespace_of(list[i])
    local group = by_namespace[namespace]
    if not group then
      group = { namespace = namespace, list = {}, at = 1, debt = namespace == "" and -1 or self.debts[namespace] or 0 }
      by_namespace[namespace] = group
      groups[#groups + 1] = group
    end
    group.list[#group.list + 1] = list[i]
  end
  sort(groups, function(a, b)
    if a.debt ~= b.debt then return a.debt < b.debt end
    if #a.list ~= #b.list then return #a.list < #b.list end
    return a.namespace < b.namespace
  end)
  return groups
end

--- True when a namespace has had a turn since its debt was this high.
function Turns:is_next(namespace, since) return (self.had[namespace] or 0) - (since or 0) >= TURN end

--- The fragments that rest, by namespace.
function Turns:each_resting(fn)
  for namespace, list in pairs(self.resting) do fn(namespace, list) end
end

return M
