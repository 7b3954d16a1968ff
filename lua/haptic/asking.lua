--- asking.lua — kinds of which only those objects are here that somebody reads.
--
-- To read an object of such a kind by its name is to ask for it: the host is told with the first reader and again when
-- the last one has gone. Until it has answered, a run that reads the object does not count: what the reader gave before
-- stays, and it runs again when the answer comes. An answer is a version of the object, that there is none, or that it
-- may not be read; the last one is an error of those who read it.
local reads = require("haptic.reads")

local M = {}

local error, next, pairs, setmetatable = error, next, pairs, setmetatable
local format = string.format

--- What is known of an id that is asked for.
local WAITS, ANSWERED = "waits", "answered" -- or the sentence of a refusal

--- The first rendering waits for answers so many times: what comes may ask for more.
local PASSES_MAX = 8

--- So many objects of a kind can be asked for; the host has a limit of its own, and this is above it.
local NAMES_MAX = 20000
--- So many of a keyed kind, whose texts are here at a time.
local TEXTS_MAX = 5000

local Asking = {}
Asking.__index = Asking

---@param host table ask(kind, id, wanted)
---@param tracker table from reads.new()
function M.new(host, tracker)
  return setmetatable({ host = host, tracker = tracker, kinds = {},
    waits = false, -- the run at hand has read something that is not known
    waiting = {}, -- fragments whose last run did not count
    fresh = false, -- asked since the host was last told that a rendering has ended
    passes = 0 }, Asking)
end

--- Make a kind one that is read by asking. keyed: which objects there are is known, but not what stands in them.
---@param forget function(record) its text is not needed any more
function Asking:define(kind, keyed, forget)
  kind.asked, kind.asked_count, kind.unasked = {}, 0, {}
  kind.keyed, kind.forget = keyed, forget
  reads.watch(kind.id_readers, kind.unasked)
  self.kinds[#self.kinds + 1] = kind
end

--- Somebody reads the object of that id; is_here: there is a version of it.
function Asking:read(kind, id, is_here)
  if not self.tracker.list then return end -- what reads unrecorded takes what there is
  local state = kind.asked[id]
  if state == nil then
    local max = kind.keyed and TEXTS_MAX or NAMES_MAX
    if kind.asked_count >= max then
      error(format("more than %d %s are asked for%s", max, kind.name,
        kind.keyed and "; store: full keeps all of them" or ""), 0)
    end
    state = WAITS
    kind.asked[id], kind.asked_count = state, kind.asked_count + 1
    self.fresh = true
    self.host.ask(kind.name, id, true)
  end
  if is_here or state == ANSWERED then return end
  if state ~= WAITS then error(kind.name .. " " .. id .. ": " .. state, 0) end
  self.waits = true
end

--- The host has answered (known): what it has put or deleted before is the object's state; or what it answered before
--- does not count any more. refusal: "" or why it may not be read.
function Asking.answer(_, kind, id, known, refusal, mark)
  local before = kind.asked and kind.asked[id]
  if not before then return end -- nobody asks any more
  local now = not known and WAITS or refusal == "" and ANSWERED or refusal
  kind.asked[id] = now
  local record = kind.by_id[id]
  if now ~= before and (not record or record.json == "") then reads.each(kind.id_readers, id, mark) end
end

--- A run begins: nothing is known to wait. What was before, for finish().
function Asking:begin()
  local outer = self.waits
  self.waits = false
  return outer
end

--- The run has ended. Did it read something that is not known?
function Asking:finish(outer)
  local waits = self.waits
  self.waits = outer
  return waits
end

--- The last run of a fragment did not count, or did.
function Asking:note(f, waits) self.waiting[f] = waits or nil end

--- Does a fragment wait?
function Asking:is_waiting(f) return self.waiting[f] == true end

--- Does any?
function Asking:is_anybody_waiting() return next(self.waiting) ~= nil end

--- A fragment is no more.
function Asking:forget(f) self.waiting[f] = nil end

--- Each fragment that waits.
function Asking:each(fn)
  for f in pairs(self.waiting) do fn(f) end
end

--- After fragments have run: what nobody reads any more is not asked for.
function Asking:settle()
  for i = 1, #self.kinds do
    local kind = self.kinds[i]
    local list = kind.unasked
    if #list > 0 then
      kind.unasked = {}
      reads.watch(kind.id_readers, kind.unasked)
      for j = 1, #list do
        local id = list[j]
        if kind.asked[id] and not reads.is_read(kind.id_readers, id) then
          kind.asked[id], kind.asked_count = nil, kind.asked_count - 1
          self.host.ask(kind.name, id, false)
          if kind.keyed and kind.by_id[id] then kind.forget(kind.by_id[id]) end
        end
      end
    end
  end
end

--- The first rendering has come to its end: is it to wait for answers to what it has asked?
function Asking:is_first_to_wait()
  local fresh = self.fresh and next(self.waiting) ~= nil
  self.fresh = false
  if not fresh or self.passes >= PASSES_MAX then return false end
  self.passes = self.passes + 1
  return true
end

return M
