--- status.lua — the status fields of an object that a fragment wants.
--
-- A wish is a value. The core merges it with the present status, compares, and writes only differences. The core sets
-- observedGeneration and lastTransitionTime of conditions, so rendering stays a function of the objects.
local helpers = require("haptic.helpers")
local nearest = require("haptic.nearest")
local secret = require("haptic.secret")
local word = require("haptic.word")

local M = {}

local type, error, ipairs, pairs, tostring = type, error, ipairs, pairs, tostring
local find, format = string.find, string.format

--- Longest text of a wish, in bytes.
M.MAX_BYTES = 65536

local TARGET_FIELDS = { kind = true, namespace = true, name = true }
--- Limit of lists of one status that other controllers write as well.
local MAX_SHARED = 8

local OPTION_FIELDS = { alone = true, shared = true }
local SHARED_FIELDS = { owner = true, value = true, key = true }
local STAMPED = { "observedGeneration", "lastTransitionTime" }

local function check_condition(c)
  if type(c) ~= "table" or type(c.type) ~= "string" or c.type == "" then error("a condition needs a type", 0) end
  if c.status ~= "True" and c.status ~= "False" and c.status ~= "Unknown" then
    error(format("condition %s: status is \"True\", \"False\" or \"Unknown\"", word.show(c.type)), 0)
  end
  if type(c.reason) ~= "string" or not find(c.reason, "^%a[%w_,:]*$") then
    error(format("condition %s: reason is one CamelCase word", word.show(c.type)), 0)
  end
  for _, field in ipairs(STAMPED) do
    if c[field] ~= nil then error(format("condition %s: %s is set by the controller", word.show(c.type), field), 0) end
  end
  if c.message == nil then error(format("condition %s: a message is missing; it may be \"\"", word.show(c.type)), 0) end
end

--- Lists that several controllers write: name → {owner=, value=} or {key=} (core/controller/status_lists.h).
local function check_shared(shared)
  if type(shared) ~= "table" then error("shared is a table of lists' names", 0) end
  local count = 0
  for name, by in pairs(shared) do
    count = count + 1
    if count > MAX_SHARED then error(format("more than %d shared lists", MAX_SHARED), 0) end
    local what = "shared." .. tostring(name)
    if type(name) ~= "string" or type(by) ~= "table" then error(what .. " is {owner =, value =} or {key =}", 0) end
    nearest.check_fields(by, SHARED_FIELDS, what, -1)
    local by_owner = type(by.owner) == "string" and type(by.value) == "string" and by.key == nil
    if not by_owner and not (type(by.key) == "string" and by.owner == nil and by.value == nil) then
      error(what .. " is {owner =, value =} or {key =}", 0)
    end
  end
end

--- The wish with its options in one text.
local function with_options(value, options)
  if options == nil then return value end
  if type(options) ~= "table" then error("the options are a table {alone = …, shared = …}", 0) end
  nearest.check_fields(options, OPTION_FIELDS, "options", -1)
  if options.alone ~= nil and type(options.alone) ~= "boolean" then error("alone is true or false", 0) end
  if options.shared ~= nil then check_shared(options.shared) end
  local wish = { ["$options"] = { alone = options.alone, shared = options.shared } }
  for k, v in pairs(value) do wish[k] = v end
  return wish
end

local function check(v, depth)
  if type(v) == "string" and secret.is_in(v) then error("the value of a Secret cannot stand in a status", 0) end
  if type(v) ~= "table" or depth > 64 then return end
  for k, x in pairs(v) do
    if type(k) == "string" and depth == 1 and find(k, "^%$") then error("a field does not begin with \"$\"", 0) end
    if type(k) == "string" and secret.is_in(k) then error("the value of a Secret cannot stand in a status", 0) end
    if k == "conditions" and type(x) == "table" then
      for _, c in ipairs(x) do check_condition(c) end
    end
    check(x, depth + 1)
  end
end

--- The object whose status it is: the name of its kind and its identity.
local function target_of(target, kind)
  if target == nil then
    if not kind or kind == "" then
      error("this fragment has no object of its own: name one, "
        .. "out:status(value, {kind = …, namespace = …, name = …})", 0)
    end
    return kind, ""
  end
  if type(target) ~= "table" then error("the object is a table {kind = …, namespace = …, name = …}", 0) end
  nearest.check_fields(target, TARGET_FIELDS, "object", -1)
  for _, field in ipairs({ "kind", "name" }) do
    local v = target[field]
    if type(v) ~= "string" or v == "" or find(v, "[%c/]") then error("the object's " .. field .. " is missing", 0) end
  end
  local namespace = target.namespace
  if namespace ~= nil and (type(namespace) ~= "string" or find(namespace, "[%c/]")) then
    error("the object's namespace is no name", 0)
  end
  return target.kind, namespace and namespace ~= "" and namespace .. "/" .. target.name or target.name
end

--- Scope, key and text of a wish.
---@param value table
---@param target table|nil
---@param kind string|nil of the fragment's own object
---@param declared table kinds whose status may be written
---@param options table|nil
function M.wish(value, target, kind, declared, options)
  local scope, key = target_of(target, kind)
  if not declared[scope] then
    error(format("the status of %s may not be written: set watchedResources.%s.statusPatch to true", scope, scope), 0)
  end
  if type(value) ~= "table" or #value > 0 then error("the status is a table of fields", 0) end
  check(value, 1)
  local text = helpers.json_encode(with_options(value, options))
  if #text > M.MAX_BYTES then error(format("the status is %d bytes long, more than the %d", #text, M.MAX_BYTES), 0) end
  return key == "" and "" or scope, key, text
end

--- The kinds of a program whose status may be written.
function M.declared(kinds)
  local set = {}
  for _, k in ipairs(kinds or {}) do set[k.name] = k.status == true or nil end
  return set
end

return M
