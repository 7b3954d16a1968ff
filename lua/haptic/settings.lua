--- settings.lua — the keys of extraContext that scripts have declared, with types and defaults.
--
-- A declared setting with a wrong value gets its default, with a message; the configuration stays in force. Undeclared
-- names are for templates that read `context` themselves: such a name is reported only when it occurs in no template.
local declare = require("haptic.declare")
local nearest = require("haptic.nearest")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local type, error, pairs, ipairs, setmetatable = type, error, pairs, ipairs, setmetatable
local find, gsub, format = string.find, string.gsub, string.format

--- The limit of problems that are reported one by one; the others are counted.
local MAX_TOLD = 20

local Settings = {}
Settings.__index = Settings

---@param written table|nil what the configuration has
function M.new(written)
  return setmetatable({ written = type(written) == "table" and written or {}, declared = {}, values = {},
    contexts = {}, problems = {} }, Settings)
end

--- Copy of a plain table, so that scripts cannot change the original.
local function deep_copy(v)
  if type(v) ~= "table" then return v end
  local copy = {}
  for k, x in pairs(v) do copy[k] = deep_copy(x) end
  return copy
end
M.deep_copy = deep_copy

--- The table that templates see as `context`. Settings that are declared later are added to it.
---@return table
function Settings:context()
  local context = deep_copy(self.written)
  for name in pairs(self.declared) do context[name] = deep_copy(self.values[name]) end
  self.contexts[#self.contexts + 1] = context
  return context
end

local function told_default(spec)
  if spec.default == nil or type(spec.default) == "table" and #spec.default == 0 then return "it is left out" end
  return "the default, " .. declare.show(spec.default) .. ", is used"
end

--- Declare settings: name → specification (declare.lua). The author's line is `level` above the caller.
function Settings:declare(template, specs, level)
  level = (level or 1) + 1
  if type(specs) ~= "table" then error("settings: expected a table of names and types", level) end
  for _, name in ipairs(sandbox.sorted_keys(specs)) do
    local spec = specs[name]
    if type(name) ~= "string" or not find(name, "^%a[%w_]*$") then
      error("settings: a name is letters, digits and \"_\", got " .. word.show(sandbox.tostring(name)), level)
    end
    if self.declared[name] then
      error(format("settings: %s is declared in %s already", name, self.declared[name]), level)
    end
    declare.spec("settings: " .. name, spec, level)
    self.declared[name] = template
    local value, message = self.written[name], nil
    if value ~= nil then value, message = declare.read(spec, value) end
    if message then
      self.problems[#self.problems + 1] = { name = name, reason = "InvalidSetting",
        message = format("extraContext.%s %s; %s", name, message, told_default(spec)) }
    end
    if value == nil then value = spec.default end
    if value ~= nil and value == spec.default then value = declare.read(spec, value) end
    self.values[name] = value
    for _, context in ipairs(self.contexts) do context[name] = deep_copy(value) end
  end
end

--- True when a template reads the name itself: in a library as context.NAME, in the user's own templates in any form.
local function is_read(name, texts)
  local pattern = gsub(name, "%p", "%%%0")
  for _, t in ipairs(texts) do
    if find(t.source, (t.is_library and "context%." or "%f[%w_]") .. pattern .. "%f[^%w_]") then return true end
  end
  return false
end

--- Names that commands set for a library that may not be loaded: not an error.
local IMPLIED = { local_endpoints = true }

--- Unknown names become problems.
---@param texts table list of {source=, is_library=}: all templates of the program
function Settings:find_unknown(texts)
  for _, name in ipairs(sandbox.sorted_keys(self.written)) do
    if type(name) == "string" and not self.declared[name] and not IMPLIED[name] and not is_read(name, texts) then
      self.problems[#self.problems + 1] = { name = name, reason = "UnknownSetting",
        message = format("extraContext.%s is no setting, and no template reads it%s", name,
          nearest.hint(name, sandbox.sorted_keys(self.declared))) }
    end
  end
end

--- Calls tell(id, reason, message) for each problem; the ids differ.
function Settings:each_problem(tell)
  for i, p in ipairs(self.problems) do
    if i > MAX_TOLD then
      tell("#more", "InvalidSetting", format("%d more settings are wrong or unknown", #self.problems - MAX_TOLD))
      return
    end
    tell(#p.name < 64 and find(p.name, "^[%w_]+$") and p.name or "#" .. i, p.reason, p.message)
  end
end

return M
