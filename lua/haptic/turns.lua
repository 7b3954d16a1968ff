--- turns.lua — whose fragments run when: no namespace's work holds up another's.
--
-- What a fragment has cost is charged to the namespace of its owner. Templates do not see that clock: what is rendered
-- does not depend on it, only when. Debts are forgiven with time. Those who owe least have their turn first, and
-- within a namespace fragments run in their order. What belongs to no namespace belongs to the administrator and
-- comes first of all.
--
-- A rendering is cut, at the border of two fragments, where a namespace has had its turn and somebody else waits: for
-- his input to be read, or for what was rendered for him to be delivered. The host then asks for the rest. A namespace
-- whose fragment took LONG, or ended the renderer, rests for some time, so that somebody else's change seldom meets
-- such a fragment.
local M = {}

local pairs, ipairs, next, setmetatable = pairs, ipairs, next, setmetatable
local find, sub = string.find, string.sub
local sort = table.sort

--- Processor seconds of one turn.
local TURN = 0.05
--- A namespace's part of one processor in the long run: so much of its debt is forgiven per second.
local SHARE = 0.25
--- Nobody owes more, so that everybody's turn comes.
local DEBT_MAX = 2
--- A fragment of so many seconds is followed by a rest of so many times that.
local LONG, REST_FACTOR, REST_MAX = 0.2, 3, 60

local Turns = {}
Turns.__index = Turns

---@param host table clock() → seconds, cpu() → seconds of this process, input() → does any wait?; deadline: seconds of
--- one rendering. Without a clock nothing is charged and nothing is cut.
function M.new(host)
  return setmetatable({
    clock = host.clock, cpu = host.cpu, input = host.input, deadline = host.deadline or 10,
    debts = {}, rests = {}, resting = {}, began = host.clock and host.clock() or 0, mark = nil,
    counted = nil, -- the definition whose fragment runs: its `seconds` grow
    had = {}, somebody = nil, many = false, -- of this rendering
  }, Turns)
end

--- The namespace that an owner's identity is of; "" for static fragments and cluster-scoped owners.
function M.namespace(owner_id)
  local at = find(owner_id, "/", 1, true)
  return at and sub(owner_id, 1, at - 1) or ""
end

--- A rendering begins; the fragments whose rest is over, to be run.
---@return table|nil list
function Turns:begin()
  self.somebody, self.many = nil, false
  if next(self.had) then self.had = {} end
  if not self.clock then return nil end
  local now = self.clock()
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

--- Seconds until somebody's rest is over for whom something waits; nil when nothing waits.
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

--- Does the namespace rest? Then its fragment is kept until that is over.
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

--- What follows is not to be charged to anybody up to the next start().
function Turns:pause() self.mark = nil end

--- A fragment begins, perhaps where one has just ended.
function Turns:start()
  if self.cpu then self.mark = self.mark or self.cpu() end
end

--- It has ended: its namespace is charged. In the first rendering nobody has to be protected by a rest.
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

--- Is it time to cut the rendering before a fragment of that namespace? The first rendering is of everything: only when
--- it takes too long.
function Turns:is_over(namespace, is_first)
  if not self.clock then return false end
  if self.clock() - self.began > self.deadline * (is_first and 2 or 0.5) then return true end
  if is_first or namespace == "" then return false end
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

--- Has a namespace had a turn since it had had so much?
function Turns:is_next(namespace, since) return (self.had[namespace] or 0) - (since or 0) >= TURN end

--- The fragments that rest, by namespace.
function Turns:each_resting(fn)
  for namespace, list in pairs(self.resting) do fn(namespace, list) end
end

return M
