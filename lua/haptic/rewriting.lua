--- rewriting.lua — applies the rules of postProcessing to the text of a template, line by line, before it is split into
--- sections or entries.
--
-- The number of lines stays the same, so each line keeps its owner and its place in the template. A value of {{ }}
-- keeps its text, in the same quotes: no rule can turn text that a user wrote into an object into syntax.
local word = require("haptic.word")

local M = {}

local error, ipairs = error, ipairs
local find, gmatch, sub, format = string.find, string.gmatch, string.sub, string.format
local concat = table.concat

--- The rules of a program: output ("haproxyConfig", "maps/NAME", "files/NAME") → list of functions.
---@param source table|nil output → list of {pattern=, replace=}
---@param host table see engine.lua
function M.compile(source, host)
  local all = {}
  for output, rules in pairs(source or {}) do
    local list = {}
    for i, rule in ipairs(rules) do list[i] = host.rewriter(rule.pattern, rule.replace) end
    all[output] = list
  end
  return all
end

--- A value in a line, in the order of the text. state: that of the quotes around it; nil: there are none.
function M.note(values, number, text, state)
  local line = values[number]
  if not line then
    line = {}
    values[number] = line
  end
  line[#line + 1] = { text = text, state = state }
end

--- The first value that is no longer in the line, in its order and in its quotes; nil when all are.
local function missing(line, values)
  local from = 1
  for _, value in ipairs(values) do
    local at = find(line, value.text, from, true)
    while at and value.state do
      local state, escaped = word.advance("plain", sub(line, 1, at - 1), false)
      if state == value.state and not escaped then break end
      at = find(line, value.text, at + 1, true)
    end
    if not at then return value.text end
    from = at + #value.text
  end
  return nil
end

--- The text after all rules.
---@param rules table list of functions(line) → line, or nil and a message
---@param values table line number → list of note()
---@param where table|nil line number → "file:line"
function M.apply(rules, text, values, where)
  local lines, number = {}, 0
  for line in gmatch(text .. "\n", "([^\n]*)\n") do
    number = number + 1
    local now, message = line, nil
    for _, rule in ipairs(rules) do
      now, message = rule(now)
      if not now then break end
    end
    local changed = now and now ~= line and values[number] and missing(now, values[number])
    if changed then
      message = "it would change the value " .. word.show(changed)
        .. " of {{ }}; write what it is to be in the template"
    end
    if message then
      local site = where and where[number] or ""
      error(format("%spostProcessing: line %d of the text: %s", site ~= "" and site .. ": " or "", number, message), 0)
    end
    lines[number] = now
  end
  return concat(lines, "\n")
end

return M
