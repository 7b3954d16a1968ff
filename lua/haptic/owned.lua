--- owned.lua — objects that templates create: out:object(manifest, options).
--
-- The wanted object is a contribution; core/controller/owned_merge turns it into the object that is applied. Its kind
-- is one of watchedResources with `owned: true`, so templates can read the result like any other object.
local helpers = require("haptic.helpers")
local nearest = require("haptic.nearest")
local secret = require("haptic.secret")
local word = require("haptic.word")

local M = {}

local type, error, pairs, ipairs = type, error, pairs, ipairs
local format, find, lower, sub = string.format, string.find, string.lower, string.sub

--- Longest text of one object, in bytes.
M.MAX_BYTES = 256 * 1024

local OPTIONS = { force = true }
local METADATA = { name = true, namespace = true, labels = true, annotations = true }
--- Labels and annotations with this prefix record the owner of the object.
local OURS = "^haproxy%-haptic%.org/"

--- The plural of a kind, as in the API.
local function plural(kind)
  local s = lower(kind)
  if s == "endpoints" then return s end
  if find(s, "[^aeiou]y$") then return sub(s, 1, -2) .. "ies" end
  if find(s, "[sxz]$") or find(s, "[cs]h$") then return s .. "es" end
  return s .. "s"
end

--- The declared kind of a manifest.
local function kind_of(manifest, declared)
  local names = {}
  for name, kind in pairs(declared) do
    names[#names + 1] = name
    if kind.apiVersion == manifest.apiVersion and kind.resources == plural(manifest.kind) then return name, kind end
  end
  table.sort(names)
  error(format("%s of %s is no kind that templates may create: set owned: true in its entry of watchedResources%s",
    word.show(manifest.kind), word.show(manifest.apiVersion),
    #names > 0 and " (those that have it: " .. table.concat(names, ", ") .. ")" or ""), 0)
end

local function check_texts(map, what)
  if map == nil then return end
  if type(map) ~= "table" then error(what .. " is a table of texts", 0) end
  for k, v in pairs(map) do
    if type(k) ~= "string" or type(v) ~= "string" then error(what .. " is a table of texts", 0) end
    if find(k, OURS) then error(format("%s: %s is set by the controller", what, k), 0) end
  end
end

local function check(v, depth)
  if type(v) == "string" and secret.is_in(v) then error("the value of a Secret cannot stand in an object", 0) end
  if type(v) ~= "table" or depth > 64 then return end
  for k, x in pairs(v) do
    if type(k) == "string" and secret.is_in(k) then error("the value of a Secret cannot stand in an object", 0) end
    check(x, depth + 1)
  end
end

local function is_name(v) return type(v) == "string" and #v <= 253 and find(v, "^[%w][%w.:-]*$") ~= nil end

--- Scope, key and text of a wish.
---@param manifest table
---@param options table|nil {force=}
---@param declared table name → {apiVersion=, resources=, namespaces=}
function M.wish(manifest, options, declared)
  if type(manifest) ~= "table" then error("an object is a table with apiVersion, kind and metadata", 0) end
  for _, field in ipairs({ "apiVersion", "kind" }) do
    if type(manifest[field]) ~= "string" or manifest[field] == "" then error(field .. " is missing", 0) end
  end
  local name, kind = kind_of(manifest, declared)
  local metadata = manifest.metadata
  if type(metadata) ~= "table" or not is_name(metadata.name) then error("metadata.name is no name", 0) end
  nearest.check_fields(metadata, METADATA, "metadata", -1)
  local namespace = metadata.namespace
  if namespace ~= nil and not is_name(namespace) then error("metadata.namespace is no name", 0) end
  if kind.namespaces then
    local allowed = false
    for _, n in ipairs(kind.namespaces) do allowed = allowed or n == namespace end
    if not allowed then
      error(format("namespace %s is not among those of watchedResources.%s", word.show(namespace or ""), name), 0)
    end
  end
  check_texts(metadata.labels, "metadata.labels")
  check_texts(metadata.annotations, "metadata.annotations")
  if manifest.status ~= nil then error("an object has no status when it is wanted", 0) end
  check(manifest, 1)
  local force = nil
  if options ~= nil then
    if type(options) ~= "table" then error("the options are a table {force = …}", 0) end
    nearest.check_fields(options, OPTIONS, "options", -1)
    force = options.force
    if force ~= nil and type(force) ~= "boolean" then error("force is true or false", 0) end
  end
  local wish = { ["$options"] = { force = force } }
  for k, v in pairs(manifest) do wish[k] = v end
  local text = helpers.json_encode(wish)
  if #text > M.MAX_BYTES then error(format("the object is %d bytes long, more than the %d", #text, M.MAX_BYTES), 0) end
  return name, namespace and namespace .. "/" .. metadata.name or metadata.name, text
end

--- The kinds of a program that templates may create.
function M.declared(kinds)
  local set = {}
  for _, k in ipairs(kinds or {}) do
    if type(k.owned) == "table" then set[k.name] = k.owned end
  end
  return set
end

return M
