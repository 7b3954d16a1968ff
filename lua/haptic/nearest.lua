--- nearest.lua — the most similar known name for an unknown one, for error messages.
local word = require("haptic.word")
local sandbox = require("haptic.sandbox")

local M = {}

local lower, byte, floor = string.lower, string.byte, math.floor

--- Longer names and more names than this are not compared, which limits the time for one message.
local MAX_NAME, MAX_NAMES = 64, 500

--- The number of characters to insert, remove or replace to turn a into b; letter case does not count.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local best = diagonal + (byte(a, i) == byte(b, j) and 0 or 1)
      if above + 1 < best then best = above + 1 end
      if row[j - 1] + 1 < best then best = row[j - 1] + 1 end
      row[j], diagonal = best, above
    end
  end
  return row[#b]
end

--- The most similar name of a list, or nil when none is similar: more than a third of the characters differ.
---@param name any
---@param names table list of strings
---@return string|nil
function M.of(name, names)
  if type(name) ~= "string" or #name > MAX_NAME then return nil end
  local nearest, best = nil, floor(#name / 3) + 2
  for i = 1, math.min(#names, MAX_NAMES) do
    local known = names[i]
    if type(known) == "string" and #known <= MAX_NAME then
      local d = distance(lower(name), lower(known))
      if d < best and d < #known then nearest, best = known, d end
    end
  end
  return nearest
end

--- The end of a message about an unknown name: `; did you mean "x"?`, or the known names.
---@param name any
---@param names table list of strings
---@return string
function M.hint(name, names)
  local nearest = M.of(name, names)
  if nearest then return "; did you mean " .. word.show(nearest) .. "?" end
  if #names == 0 then return "; there are none" end
  local shown = {}
  for i = 1, math.min(#names, 20) do shown[i] = sandbox.tostring(names[i]) end
  if #names > 20 then shown[21] = "…" end
  return "; there are: " .. table.concat(shown, ", ")
end

--- Raises an error when a table has an unknown field. what: names the table in the message. Numbered fields are
--- ignored.
---@param known table set of names
function M.check_fields(t, known, what, level)
  for k in pairs(t) do
    if type(k) ~= "number" and not known[k] then
      error(what .. ": unknown field " .. word.show(sandbox.tostring(k)) .. M.hint(k, sandbox.sorted_keys(known)),
        (level or 1) + 1)
    end
  end
end

return M
