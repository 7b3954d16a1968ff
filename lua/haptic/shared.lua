--- shared.lua — shared values: computed when first requested, and again when what they read has changed. Readers run
--- again only if the value is different.
local objects = require("haptic.objects")
local reads = require("haptic.reads")
local seal = require("haptic.seal")
local text = require("haptic.text")

local M = {}

local type, error, pairs, ipairs, next = type, error, pairs, ipairs, next
local format, sort, handler = string.format, table.sort, text.handler

local function compute(self, value)
  if value.running then error("the shared value " .. value.label .. " depends on itself", 0) end
  local quiet = value.spoiled and not value.dirty
  value.running = true
  value.dirty = false
  local watching = self.careful and not self.objects.handed
  if watching then self.objects:watch() end
  self.computing = self.computing + 1
  local outer, waited = self.asking:begin(), value.waits
  local ok, result = self.tracker:run(value, value.def.fn, handler, value.key)
  self.computing = self.computing - 1
  value.waits = self.asking:finish(outer)
  value.running = nil
  value.dirty = false
  local object_id, path = nil, nil
  if watching then object_id, path = self.objects:changed() end
  if ok and object_id then
    ok = false
    result = format("the shared value %s changed the object %s at %s; objects are read-only", value.label, object_id,
      path)
  end
  local sealed = nil
  if ok and type(result) == "table" then
    local made, problem = seal.make(result)
    sealed = made
    if problem then ok, result = false, "the shared value " .. value.label .. " " .. problem end
  end
  -- A value that a reader has changed still counts as the former one for earlier readers.
  local same = quiet
    or value.known and value.ok == ok and objects.difference(value.result, result, "", {}) == nil
  if quiet or not same then value.result, value.seal = result, sealed end
  value.known, value.ok, value.spoiled = true, ok, nil
  return not same or (waited and not value.waits)
end

--- Define a shared value.
---@param self table of fragments.lua
---@return function getter takes an optional key (string) and gives the value
function M.define(self, template, name, fn)
  local full = template .. ":" .. name
  if self.shared_defs[full] then error("there is a shared value " .. full .. " already", 4) end
  local def = { name = full, fn = fn, values = {} }
  self.shared_defs[full] = def
  local readers = {}
  return function(key)
    if key == nil then key = "" elseif type(key) ~= "string" then
      error("a shared value's key is a string, got a " .. type(key), 2)
    end
    local value = def.values[key]
    if not value then
      value = { value_of = readers, def = def, key = key, label = full .. (key ~= "" and "(" .. key .. ")" or "") }
      def.values[key] = value
    end
    if not value.known or value.dirty then
      if compute(self, value) then reads.each(readers, key, self:marker()) end
    end
    self.tracker:record(readers, key)
    if value.waits then self.asking.waits = true end
    if not value.ok then error(value.result, 0) end
    if value.seal then self.values_out[value] = true end
    return value.result
  end
end

--- The labels of shared values that a reader has changed since the last check. They are computed again when they are
--- next requested.
---@return table
---@return table values
function M.spoiled(self)
  local labels, values = {}, {}
  for value in pairs(self.values_out) do
    if value.ok and value.seal and not seal.holds(value.result, value.seal) then
      value.known, value.spoiled = false, true
      labels[#labels + 1], values[#values + 1] = value.label, value
    end
  end
  if next(self.values_out) then self.values_out = {} end
  sort(labels)
  return labels, values
end

--- Computes changed values again that still have readers.
function M.settle(self)
  while #self.dirty_shared > 0 do
    local list = self.dirty_shared
    self.dirty_shared = {}
    sort(list, function(a, b) return a.label < b.label end)
    for _, value in ipairs(list) do
      if value.dirty then
        if not reads.is_read(value.value_of, value.key) then
          value.dirty = false
          self.tracker:forget(value)
          value.def.values[value.key] = nil
        elseif compute(self, value) then
          reads.each(value.value_of, value.key, self:marker())
        end
      end
    end
  end
end

return M
