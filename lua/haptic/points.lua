--- points.lua — points of a configuration to which scripts and snippets add, by order number.
--
-- A point is opened by point(), or by a template that names it in apply(), snippets() or include_all(). Anything that
-- is added to a point that is not opened would never run, so it is an error, with the most similar name.
local nearest = require("haptic.nearest")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local ipairs, setmetatable = ipairs, setmetatable
local find, format, gsub, match = string.find, string.format, string.gsub, string.match

local Points = {}
Points.__index = Points

---@param templates table the program's text templates
function M.new(templates)
  return setmetatable({ templates = templates, added = {}, ordered = {}, known = {}, sections = {} }, Points)
end

local function plain(pattern) return (gsub(pattern, "%-?%*$", "")) end

--- Templates may add to a point.
---@param header string|nil the section that consists of what is added; nil: a script applies the point itself
---@param template string whose section it is
---@return boolean opened false when it is a section's already
function Points:open(name, header, template)
  self.known[plain(name)] = true
  for _, section in ipairs(self.sections) do
    if header and section.name == name then return false end
  end
  if header then self.sections[#self.sections + 1] = { name = name, header = header, template = template } end
  return true
end

--- A script's function for a point.
function Points:extend(name, order, fn, template, where)
  local list = self.added[name] or {}
  self.added[name] = list
  list[#list + 1] = { order = order, sequence = #list, fn = fn, template = template, where = where }
end

--- The steps at a point: scripts' functions and snippets, sorted by order number.
---@return table list of {order=, fn= or name=, template=}
function Points:steps(name)
  local steps = self.ordered[name]
  if steps then return steps end
  steps = {}
  for _, e in ipairs(self.added[name] or {}) do
    steps[#steps + 1] = { order = e.order, rank = 0, sequence = e.sequence, fn = e.fn, template = e.template }
  end
  for i, s in ipairs(self.templates:matching(name)) do
    steps[#steps + 1] = { order = s.order, rank = 1, sequence = i, name = s.name }
  end
  table.sort(steps, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.sequence < b.sequence
  end)
  self.ordered[name] = steps
  return steps
end

--- Each step at a point with a section of its own becomes a fragment: define(template, name, fn).
function Points:define(define)
  for _, point in ipairs(self.sections) do
    local header, numbers = point.header, {}
    for _, step in ipairs(self:steps(point.name)) do
      local template, name = point.template, step.name
      if step.fn then
        template, name = step.template, format("extend %s %d", point.name, step.order)
        local id = template .. ":" .. name
        numbers[id] = (numbers[id] or 0) + 1
        if numbers[id] > 1 then name = name .. " #" .. numbers[id] end
      end
      -- A key of its own, because the pieces of a defaults section would share one.
      local opts = { order = step.order, key = template .. ":" .. name }
      define(template, name, function(out)
        out:section(header, opts, function(b)
          if step.fn then step.fn(b, {}) else b:include(step.name) end
        end)
      end)
    end
  end
end

--- Points that a template names: apply("x", …), snippets("x"), include_all("x-*"). The texts of all templates are long,
--- so a pattern is tried only at one of these words.
local function add_named(known, source)
  for _, call in ipairs({ "apply", "snippets", "include_all" }) do
    local at, stop = find(source, call, 1, true)
    while at do
      local name, following = match(source, "^%s*%(?%s*[\"']([^\"'\n]+)[\"']()", stop + 1)
      if name and not find(source, "^[%w_]", at > 1 and at - 1 or #source + 1) then
        known[plain(name)] = true
        stop = following - 1
      end
      at, stop = find(source, call, stop + 1, true)
    end
  end
end

local function is_named(name, sources)
  for _, source in ipairs(sources) do
    if find(source, '"' .. name .. '"', 1, true) or find(source, "'" .. name .. "'", 1, true) then return true end
  end
  return false
end

--- An addition to a point that is not opened, or nil. sources: the texts of all templates.
---@return string|nil message
function Points:problem(sources)
  for _, source in ipairs(sources) do add_named(self.known, source) end
  local names = sandbox.sorted_keys(self.known)
  for _, name in ipairs(sandbox.sorted_keys(self.added)) do
    if not self.known[name] then
      return format("%s: extend: nobody opens a point %s%s", self.added[name][1].where, word.show(name),
        nearest.hint(name, names))
    end
  end
  for _, name in ipairs(self.templates.names) do
    local point = match(name, "^(.-)%-%d+%-.") or match(name, "^(.-)%-%d+$")
    if point and not self.known[point] and not is_named(name, sources) then
      return format("%s:1: no template includes this snippet, and nobody opens a point %s%s", name, word.show(point),
        nearest.hint(point, names))
    end
  end
  return nil
end

return M
