--- asking.lua — kinds of which only those objects are loaded that a template reads.
--
-- Reading an object of such a kind by its name means asking for it. The host is told when the first reader asks, and
-- when the last one is gone. Until it has answered, a run that reads the object does not count: the reader's former
-- output stays, and the reader runs again when the answer comes. An answer is a version of the object, or that there is
-- none, or that it may not be read; the last one is an error for its readers.
local reads = require("haptic.reads")

local M = {}

local error, next, pairs, setmetatable = error, next, pairs, setmetatable
local format = string.format

--- The state of an id that is asked for.
local WAITS, ANSWERED = "waits", "answered" -- or the text of a refusal

--- The first rendering waits for answers at most this many times, because answers may cause further questions.
local PASSES_MAX = 8

--- The limit of objects of a kind that can be asked for. The host has a lower limit of its own.
local NAMES_MAX = 20000
--- The limit for a keyed kind, whose texts are loaded for a short time.
local TEXTS_MAX = 5000

local Asking = {}
Asking.__index = Asking

---@param host table ask(kind, id, wanted)
---@param tracker table from reads.new()
function M.new(host, tracker)
  return setmetatable({ host = host, tracker = tracker, kinds = {},
    waits = false, -- the present run has read something unknown
    waiting = {}, -- fragments whose last run did not count
    fresh = false, -- asked since the host was last told that a rendering has ended
    passes = 0 }, Asking)
end

--- Makes a kind one that is read by asking. keyed: the names of all objects are known, but not their contents.
---@param forget function(record) its text is not needed any more
function Asking:define(kind, keyed, forget)
  kind.asked, kind.asked_count, kind.unasked = {}, 0, {}
  kind.keyed, kind.forget = keyed, forget
  reads.watch(kind.id_readers, kind.unasked)
  self.kinds[#self.kinds + 1] = kind
end

--- A reader reads the object of that id; is_here: a version of it is loaded.
function Asking:read(kind, id, is_here)
  if not self.tracker.list then return end -- a read without recording uses what is loaded
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

--- The host has answered (known): the object's state is what the host has put or deleted before. Or (not known) an
--- earlier answer no longer counts. refusal: "" or the reason why the object may not be read.
function Asking.answer(_, kind, id, known, refusal, mark)
  local before = kind.asked and kind.asked[id]
  if not before then return end -- it is no longer asked for
  local now = not known and WAITS or refusal == "" and ANSWERED or refusal
  kind.asked[id] = now
  local record = kind.by_id[id]
  if now ~= before and (not record or record.json == "") then reads.each(kind.id_readers, id, mark) end
end

--- A run begins, without unknown reads. Returns the former state, for finish().
function Asking:begin()
  local outer = self.waits
  self.waits = false
  return outer
end

--- The run has ended. True when it has read something unknown.
function Asking:finish(outer)
  local waits = self.waits
  self.waits = outer
  return waits
end

--- Records whether the last run of a fragment counted.
function Asking:note(f, waits) self.waiting[f] = waits or nil end

--- True when the fragment waits.
function Asking:is_waiting(f) return self.waiting[f] == true end

--- True when any fragment waits.
function Asking:is_anybody_waiting() return next(self.waiting) ~= nil end

--- A fragment no longer exists.
function Asking:forget(f) self.waiting[f] = nil end

--- Each fragment that waits.
function Asking:each(fn)
  for f in pairs(self.waiting) do fn(f) end
end

--- After fragments have run: ends the questions without readers.
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

--- The first rendering has ended. True when it has to wait for answers.
function Asking:is_first_to_wait()
  local fresh = self.fresh and next(self.waiting) ~= nil
  self.fresh = false
  if not fresh or self.passes >= PASSES_MAX then return false end
  self.passes = self.passes + 1
  return true
end

return M
