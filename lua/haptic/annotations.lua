--- annotations.lua — annotations that scripts have declared: types, keys, effects.
--
-- A declaration describes a value that people write at their objects: its type and default, the effect, whether it
-- protects a route, and the sentences of the documentation. A family of controllers has keys for these values. It also
-- lists its keys without effect, with the reasons.
--
-- The level that is nearest to the route counts: Ingress, Service, ConfigMap, then the default. A wrong value is
-- reported and ignored, and the next level counts. When a value that protects a route is wrong and no level has a right
-- one, the caller is told, and closes the route.
local declare = require("haptic.declare")
local nearest = require("haptic.nearest")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local type, error, next, pairs, ipairs, setmetatable = type, error, next, pairs, ipairs, setmetatable
local tostring = tostring
local find, format, match, sort = string.find, string.format, string.match, table.sort

--- Kinds of objects, the nearest to the route first.
M.KINDS = { "Ingress", "Service", "ConfigMap" }

--- Keys of this family count more than those of others.
local OURS = "haproxy-haptic.org"

--- The fields of a declaration besides those of the type.
local FIELDS = { families = true, on = true, merge = true, effect = true, protects = true, reload = true, lines = true,
  tested = true, shape = true }
local MERGES = { first = true, join = true }
local FAMILY_FIELDS = { honoured = true, refused = true }
local HONOURED_FIELDS = { keys = true, on = true, note = true, type = true, unit = true, min = true, max = true,
  values = true, pattern = true, expects = true, parse = true, shape = true, reason = true }
--- Fields that a family may set to read a value in another form than the declaration.
local READER_FIELDS = { "type", "unit", "min", "max", "values", "pattern", "expects", "parse", "shape" }
local REFUSED_FIELDS = { keys = true, on = true, reason = true, protects = true }

local Annotations = {}
Annotations.__index = Annotations

function M.new()
  return setmetatable({ specs = {}, by_key = {}, short = {}, mark = 0, near_keys = {}, near_count = 0 }, Annotations)
end

--- A list of kinds as a set.
local function kinds_of(what, list, level)
  local kinds = {}
  if type(list) ~= "table" or #list == 0 then
    error(what .. ": on: expected a list of " .. table.concat(M.KINDS, ", "), level + 1)
  end
  for _, kind in ipairs(list) do
    if kind ~= M.KINDS[1] and kind ~= M.KINDS[2] and kind ~= M.KINDS[3] then
      error(what .. ": on: there is no kind " .. word.show(sandbox.tostring(kind)) .. nearest.hint(kind, M.KINDS),
        level + 1)
    end
    kinds[kind] = true
  end
  return kinds
end

--- Adds a key to a declaration; spec nil: the key has no effect.
local function add_key(self, prefix, short, entry, level)
  if type(prefix) ~= "string" or not find(prefix, "^[%w.-]+$") or type(short) ~= "string"
    or not find(short, "^[%w._/<>-]+$") then
    error("annotations: no valid key: " .. word.show(sandbox.tostring(prefix) .. "/" .. sandbox.tostring(short)),
      level + 1)
  end
  local key = prefix .. "/" .. short
  local other = self.by_key[key]
  if other then
    error(format("annotations: the key %s is that of %s already", key, other.spec and other.spec.name or "the family"),
      level + 1)
  end
  entry.key, entry.prefix, entry.short, entry.looks = key, prefix, short, {}
  self.by_key[key] = entry
  local spec = entry.spec
  if not spec then return end
  spec.entries[#spec.entries + 1] = entry
  entry.sequence = #spec.entries
  sort(spec.entries, function(a, b)
    if (a.prefix == OURS) ~= (b.prefix == OURS) then return a.prefix == OURS end
    return a.sequence < b.sequence
  end)
end

local function as_list(v) return type(v) == "table" and v or { v } end

--- How the values of a family's key are read: as declared, or in another form of the same value. A family's own parse
--- function comes before that of the declaration.
local function reader_of(what, spec, written, level)
  local reader, differs = {}, false
  for _, field in ipairs(READER_FIELDS) do
    reader[field] = spec[field]
    if written[field] ~= nil and field ~= "parse" then reader[field], differs = written[field], true end
  end
  if written.parse ~= nil then
    if type(written.parse) ~= "function" then error(what .. ": parse is a function", level + 1) end
    local own, declared = written.parse, spec.parse
    reader.parse, differs = function(value)
      local mine, expects = own(value)
      if mine == nil or not declared then return mine, expects end
      return declared(mine)
    end, true
  end
  if not differs then return nil end
  reader.doc = spec.doc
  declare.spec(what, reader, level + 1, { shape = true })
  return reader
end

local function check(what, spec, level)
  local function problem(message) error(what .. ": " .. message, level + 1) end
  if type(spec) ~= "table" then problem("expected a table") end
  if type(spec.doc) ~= "string" then problem("doc: expected a sentence") end
  if spec.shape ~= nil and type(spec.shape) ~= "string" then problem("shape: expected a regular expression (RE2)") end
  if spec.merge ~= nil and not MERGES[spec.merge] then problem("merge: expected first or join") end
  if spec.families ~= nil and type(spec.families) ~= "table" then problem("families: expected the keys of each") end
  declare.spec(what, spec, level + 1, FIELDS)
end

--- Declares annotations: name → declaration. The author's line is `level` above the caller.
function Annotations:declare(template, specs, level)
  level = (level or 1) + 1
  if type(specs) ~= "table" then error("annotations: expected a table of names and declarations", level) end
  for _, name in ipairs(sandbox.sorted_keys(specs)) do
    local written, what = specs[name], "annotations: " .. sandbox.tostring(name)
    if type(name) ~= "string" or not find(name, "^%a[%w_]*$") then
      error("annotations: a name is letters, digits and \"_\", got " .. word.show(sandbox.tostring(name)), level)
    end
    if self.specs[name] then error(format("%s is declared in %s already", what, self.specs[name].template), level) end
    check(what, written, level)
    local spec = {}
    for k, v in pairs(written) do spec[k] = v end
    spec.template, spec.name, spec.entries, spec.marks = template, name, {}, {}
    spec.kinds = kinds_of(what, written.on, level)
    if written.default ~= nil then spec.value = declare.read(written, written.default) end
    self.specs[name] = spec
    for _, prefix in ipairs(sandbox.sorted_keys(written.families or {})) do
      for i, short in ipairs(as_list(written.families[prefix])) do
        add_key(self, prefix, short, { spec = spec, kinds = spec.kinds, is_old = i > 1 }, level)
      end
    end
  end
end

--- Keys of a family. honoured: name → key, list of keys, or {keys=, on=, note=, reason=} with fields of the type when
--- the family writes the value in another form; reason: why they have no effect on other kinds of objects. refused:
--- list of {keys=, on=, reason=, protects=}.
function Annotations:family(prefix, family, level)
  level = (level or 1) + 1
  local what = "family " .. sandbox.tostring(prefix)
  if type(family) ~= "table" then error(what .. ": expected a table of honoured and refused keys", level) end
  nearest.check_fields(family, FAMILY_FIELDS, what, level)
  for _, name in ipairs(sandbox.sorted_keys(family.honoured or {})) do
    local spec, written = self.specs[name], family.honoured[name]
    if not spec then
      error(format("%s: %s is not declared%s", what, sandbox.tostring(name),
        nearest.hint(name, sandbox.sorted_keys(self.specs))), level)
    end
    if type(written) ~= "table" or written.keys == nil then written = { keys = as_list(written) } end
    nearest.check_fields(written, HONOURED_FIELDS, what .. ": " .. name, level)
    local kinds = written.on and kinds_of(what .. ": " .. name, written.on, level) or spec.kinds
    local reader = reader_of(what .. ": " .. name, spec, written, level)
    for i, short in ipairs(as_list(written.keys)) do
      add_key(self, prefix, short, { spec = spec, kinds = kinds, is_old = i > 1, note = written.note, reader = reader,
        refused = written.reason }, level)
    end
  end
  for _, refused in ipairs(family.refused or {}) do
    if type(refused) ~= "table" or type(refused.reason) ~= "string" then
      error(what .. ": refused: expected a list of {keys=, on=, reason=}", level)
    end
    nearest.check_fields(refused, REFUSED_FIELDS, what .. ": refused", level)
    local kinds = kinds_of(what .. ": refused", refused.on, level)
    for _, short in ipairs(as_list(refused.keys)) do
      add_key(self, prefix, short, { kinds = kinds, refused = refused.reason, protects = refused.protects == true },
        level)
    end
  end
end

--- The value that a level has for a name, and its key if the value is wrong.
local function read_level(spec, level, tell)
  local wrong
  for _, entry in ipairs(spec.entries) do
    local written
    if entry.kinds[level.kind] and (not level.family or level.family == entry.prefix) then
      written = level.values[level.family and entry.short or entry.key]
    end
    if type(written) == "string" then written = sandbox.trim(written) end
    if written ~= nil and written ~= "" then
      local value, message = declare.read(entry.reader or spec, written)
      if value ~= nil then return value, wrong end
      wrong = wrong or entry.key
      if tell and not level.silent then tell(level.kind, entry.key, message) end
    end
  end
  return nil, wrong
end

--- Marks the declarations for which a level has a key, each at its place, and returns the mark. An object has few
--- annotations, but there are many declarations.
local function mark_specs(self, levels)
  local by_key, mark = self.by_key, self.mark + 1
  self.mark = mark
  for i = 1, #levels do
    local family = levels[i].family
    for key in next, levels[i].values do
      local entry = by_key[family and family .. "/" .. tostring(key) or key]
      if entry and entry.spec then entry.spec.marks[i] = mark end
    end
  end
  return mark
end

--- Values of declared names.
---@param names table list
---@param levels table list of {kind=, values= (key → text), family=, silent=}, the nearest to the route first. With a
--- family, the keys have no prefix; nothing is reported about a silent level.
---@param tell function|nil (kind, key, message) of a value that is wrong
---@return table values name → value; absent where there is none
---@return table wrong name → key, of a value that is wrong where no level has a right one
function Annotations:read(names, levels, tell)
  local values, wrong, specs, count = {}, {}, self.specs, #levels
  local mark = mark_specs(self, levels)
  for n = 1, #names do
    local name = names[n]
    local spec = specs[name]
    if not spec then
      error("annotated: " .. word.show(sandbox.tostring(name)) .. " is not declared"
        .. nearest.hint(name, sandbox.sorted_keys(specs)), 3)
    end
    local joined
    for i = 1, count do
      if spec.marks[i] == mark then
        local value, bad = read_level(spec, levels[i], tell)
        if self.mark ~= mark then mark = mark_specs(self, levels) end -- another call came in between
        wrong[name] = wrong[name] or bad
        if value ~= nil and spec.merge == "join" then
          joined = joined or {}
          for _, item in ipairs(value) do joined[#joined + 1] = item end
        elseif value ~= nil then
          values[name] = value
          break
        end
      end
    end
    if joined then values[name] = joined end
    if values[name] ~= nil then wrong[name] = nil else values[name] = spec.value end
  end
  return values, wrong
end

--- A table that many callers share and none can change.
local function read_only(row)
  return setmetatable({}, { __index = row, __metatable = false,
    __newindex = function() error("what annotation() returns is not to be changed", 2) end })
end

--- The declaration of a key on a kind of object: name, effect, is_honoured, protects, refused (the reason); nil when
--- the key is not declared. All callers get the same table.
function Annotations:look(key, kind)
  local entry = self.by_key[key]
  if not entry then return nil end
  local known = entry.looks[kind]
  if known then return known end
  local spec = entry.spec
  local protects = entry.protects or spec ~= nil and spec.protects == true
  local is_honoured = spec ~= nil and entry.kinds[kind] == true
  known = read_only({ name = spec and spec.name, effect = spec and spec.effect, is_honoured = is_honoured,
    protects = protects, is_old = entry.is_old, is_value = spec ~= nil,
    refused = not is_honoured and (entry.refused or "it has no effect on " .. (kind == "Ingress" and "an " or "a ")
      .. sandbox.tostring(kind)) or nil })
  if entry.kinds[kind] ~= nil or kind == M.KINDS[1] or kind == M.KINDS[2] or kind == M.KINDS[3] then
    entry.looks[kind] = known
  end
  return known
end

--- Unknown keys of which the nearest known one is remembered: a misspelt key often stands at many objects.
local MAX_REMEMBERED = 1000

--- The key with an effect on a kind of object that is most like one that nobody has declared; nil where none is.
function Annotations:near(key, kind)
  local id = kind .. " " .. key
  local known = self.near_keys[id]
  if known ~= nil then return known or nil end
  local prefix, short = match(key, "^([^/]+)/(.+)$")
  local names = {}
  for _, other in ipairs(prefix and sandbox.sorted_keys(self.by_key) or {}) do
    local entry = self.by_key[other]
    if entry.prefix == prefix and entry.spec and entry.kinds[kind] and not entry.is_old then
      names[#names + 1] = entry.short
    end
  end
  local found = nearest.of(short, names)
  found = found and prefix .. "/" .. found
  if self.near_count >= MAX_REMEMBERED then self.near_keys, self.near_count = {}, 0 end
  self.near_keys[id], self.near_count = found or false, self.near_count + 1
  return found
end

local DOCUMENTED = { "type", "references", "min", "max", "values", "unit", "shape", "default", "doc", "effect",
  "lines", "reload", "tested" }

--- The keys of a family, for documentation: a list sorted by key. Each has the declaration's fields, short (the key
--- without the prefix), on, old_for (the key that it is an older spelling of), protects, note; or refused and
--- reason.
function Annotations:keys(prefix)
  local list, first = {}, {}
  for _, entry in pairs(self.by_key) do
    if entry.prefix == prefix and entry.spec and not entry.is_old then first[entry.spec] = entry.short end
  end
  for _, key in ipairs(sandbox.sorted_keys(self.by_key)) do
    local entry = self.by_key[key]
    if entry.prefix == prefix then
      local spec, on = entry.spec, {}
      for _, kind in ipairs(M.KINDS) do
        if entry.kinds[kind] then on[#on + 1] = kind end
      end
      local row = { key = key, short = entry.short, on = on, note = entry.note,
        protects = entry.protects or spec ~= nil and spec.protects == true }
      for _, field in ipairs(spec and DOCUMENTED or {}) do row[field] = spec[field] end
      for _, field in ipairs(entry.reader and READER_FIELDS or {}) do
        if field ~= "parse" then row[field] = entry.reader[field] end
      end
      if entry.is_old then row.old_for = first[spec] end
      if not spec then
        row.reason, row.refused = entry.refused, true
      end
      list[#list + 1] = row
    end
  end
  return list
end

return M
