--- timings.lua — the cost of the fragments of each definition; for `haptic render --timings` and `haptic bench`.
--
-- The collector is stopped while a fragment runs, so that the bytes are those that the fragment has allocated.
local max = math.max

local M = {}

--- Bytes of one answer; longer ones are asked for in parts.
local ANSWER_BYTES = 12000

local Timings = {}
Timings.__index = Timings

---@param host table clock() → seconds
function M.new(host) return setmetatable({ host = host, by_name = {}, list = {} }, Timings) end

--- Runs a fragment and records its cost.
---@param name string of its definition
---@param id string
function Timings:run(name, id, fn, ...)
  local t = self.by_name[name]
  if not t then
    t = { name = name, runs = 0, seconds = 0, bytes = 0, most = -1, most_id = "" }
    self.by_name[name], self.list[#self.list + 1] = t, t
  end
  collectgarbage("stop")
  local bytes, began = collectgarbage("count"), self.host.clock()
  fn(...)
  local seconds = self.host.clock() - began
  -- The host may have run a collection in between for lack of room: then the bytes of this run are unknown.
  t.bytes = t.bytes + max(0, collectgarbage("count") - bytes) * 1024
  collectgarbage("restart")
  t.runs, t.seconds = t.runs + 1, t.seconds + seconds
  if seconds > t.most then t.most, t.most_id = seconds, id end
end

--- The records, one definition in each line. They are deleted when all have been returned.
---@param question string the number of the first definition
---@return string "NEXT\nRUNS NANOSECONDS BYTES NANOSECONDS_OF_ONE NAME\tID\n…"; NEXT is 0 at the end
function Timings:answer(question)
  local out, bytes, i = {}, 0, tonumber(question) or 1
  while self.list[i] and bytes < ANSWER_BYTES do
    local t = self.list[i]
    local line = ("%d %.0f %.0f %.0f %s\t%s\n"):format(t.runs, t.seconds * 1e9, t.bytes, t.most * 1e9, t.name,
      t.most_id)
    out[#out + 1], bytes, i = line, bytes + #line, i + 1
  end
  local following = self.list[i] and i or 0
  if following == 0 then self.by_name, self.list = {}, {} end
  return following .. "\n" .. table.concat(out)
end

return M
