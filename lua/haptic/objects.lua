--- objects.lua — the renderer's copy of the watched objects.
--
-- An object is kept as its JSON text. The table for templates is made when it is requested (lent.lua).
--
-- Index keys: the kind's index values joined by "/". A look-up with fewer values than the kind has is a look-up by
-- prefix. The table for a depth is made at its first use and updated from then on. An expression that finds several
-- values returns them in one text (SEPARATOR); the object is stored under the key of each.
--
-- For a keyed kind, all keys are stored, and the texts of those objects that a template reads (asking.lua). All others
-- have the text "".
local lent = require("haptic.lent")
local reads = require("haptic.reads")

local M = {}

local find, gmatch, gsub, sub = string.find, string.gmatch, string.gsub, string.sub
local sort = table.sort
local type, ipairs, pairs, next, error, select, setmetatable = type, ipairs, pairs, next, error, select, setmetatable
local format = string.format

local function key_part(value)
  if find(value, "[/\\]") then value = gsub(gsub(value, "\\", "\\\\"), "/", "\\s") end
  return value
end

--- The index key for a number of values; absent values are empty.
local function key_of(parts, first, second, ...)
  if parts == 0 then return "" end
  local key = key_part(first or "")
  if parts == 1 then return key end
  key = key .. "/" .. key_part(second or "")
  for i = 3, parts do key = key .. "/" .. key_part((select(i - 2, ...)) or "") end
  return key
end

--- The key of the first `depth` values, from a whole key.
local function key_prefix(key, depth)
  local at = 0
  for _ = 1, depth do
    at = find(key, "/", at + 1, true)
    if not at then return key end
  end
  return sub(key, 1, at - 1)
end

--- Between several values of one part (core/store/store.h).
local SEPARATOR = "\31"

--- All keys for a key with several values in its parts.
local function expand(key)
  local keys, at = { "" }, 0
  while at do
    local stop = find(key, "/", at + 1, true)
    local part, longer = sub(key, at + 1, stop and stop - 1), {}
    for _, beginning in ipairs(keys) do
      for value in gmatch(part .. SEPARATOR, "([^\31]*)\31") do
        longer[#longer + 1] = at == 0 and value or beginning .. "/" .. value
      end
    end
    keys, at = longer, stop
  end
  return keys
end

--- Calls fn(table, key, value) with each different key of a record up to a depth.
local function each_prefix(record, depth, fn, t, value)
  local keys = record.keys
  if not keys then return fn(t, key_prefix(record.key, depth), value) end
  local seen = {}
  for i = 1, #keys do
    local key = key_prefix(keys[i], depth)
    if not seen[key] then
      seen[key] = true
      fn(t, key, value)
    end
  end
end

local Objects = {}
Objects.__index = Objects

---@param kinds table list of {name=string, parts=number, lazy=boolean or nil, keyed=boolean or nil}
---@param tracker table from reads.new()
---@param mark function called with each reader of what changed
---@param decode function(json) → value, or nil and a message; see engine.lua
---@param asking table of asking.lua; nil: no kind is lazy
function M.new(kinds, tracker, mark, decode, asking)
  local self = setmetatable({ kinds = {}, tracker = tracker, mark = mark, decode = decode, asking = asking,
    lent = lent.new(tracker, decode),
    count = 0, handed = nil }, Objects)
  for _, k in ipairs(kinds) do
    self.kinds[k.name] = {
      name = k.name, parts = k.parts, by_id = {}, index = {},
      -- places: see reads.lua
      id_readers = {}, key_readers = {}, list_readers = {},
    }
    if k.lazy == true then
      asking:define(self.kinds[k.name], k.keyed == true, function(record) self:forget(record) end)
    end
  end
  return self
end

local function index_add(index, key, record)
  local at = index[key]
  if at == nil then
    index[key] = record
  elseif at.json then
    index[key] = { at, record }
  else
    at[#at + 1] = record
  end
end

local function index_remove(index, key, record)
  local at = index[key]
  if at == record then
    index[key] = nil
  elseif at and not at.json then
    for i = 1, #at do
      if at[i] == record then
        at[i] = at[#at]
        at[#at] = nil
        break
      end
    end
    if #at == 1 then index[key] = at[1] end
  end
end

local function add_prefixes(index, depth, record) each_prefix(record, depth, index_add, index, record) end

local function remove_prefixes(index, depth, record) each_prefix(record, depth, index_remove, index, record) end

local function index_of(kind, depth)
  local index = kind.index[depth]
  if not index then
    index = {}
    for _, record in pairs(kind.by_id) do add_prefixes(index, depth, record) end
    kind.index[depth] = index
  end
  return index
end

local function mark_changed(self, kind, record)
  local mark = self.mark
  reads.each(kind.id_readers, record.id, mark)
  reads.each(kind.list_readers, "", mark)
  for depth, readers in pairs(kind.key_readers) do each_prefix(record, depth, reads.each, readers, mark) end
end

--- A new version of an object. The values of its index follow the JSON text.
---@return table|nil record nil when nothing changed
---@return boolean|nil is_new
function Objects:put(kind, id, created, json, ...)
  local key = key_of(kind.parts, ...)
  local before = kind.by_id[id]
  if before and before.json == json and before.key == key and before.created == created then return nil end
  if key == id then key = id end
  local keys = find(key, SEPARATOR, 1, true) and expand(key) or nil
  if before then
    if before.key ~= key then
      mark_changed(self, kind, before)
      for depth, index in pairs(kind.index) do remove_prefixes(index, depth, before) end
      before.key, before.keys = key, keys
      for depth, index in pairs(kind.index) do add_prefixes(index, depth, before) end
    end
    before.json, before.created = json, created
    self.lent:drop(before)
    mark_changed(self, kind, before)
    return before, false
  end
  local record = { id = id, key = key, created = created, json = json, keys = keys }
  kind.by_id[id] = record
  for depth, index in pairs(kind.index) do add_prefixes(index, depth, record) end
  mark_changed(self, kind, record)
  return record, true
end

--- The object was deleted.
---@return table|nil record nil when it was not there
function Objects:delete(kind, id)
  local record = kind.by_id[id]
  if not record then return nil end
  kind.by_id[id] = nil
  for depth, index in pairs(kind.index) do remove_prefixes(index, depth, record) end
  self.lent:drop(record)
  mark_changed(self, kind, record)
  return record
end

--- From now on the text of the object is not kept.
function Objects:forget(record)
  record.json = ""
  self.lent:drop(record)
end

--- The table of an object.
function Objects:decoded(record)
  local t = self.lent:get(record)
  local handed = self.handed
  if handed then handed[#handed + 1] = { record, t } end
  return t
end

--- One object by identity, or nil; a read.
function Objects:read(kind, id)
  self.tracker:record(kind.id_readers, id)
  local record = kind.by_id[id]
  local is_here = record ~= nil and record.json ~= ""
  if kind.asked and (record or not kind.keyed) then self.asking:read(kind, id, is_here) end
  return is_here and self:decoded(record) or nil
end

local function by_id(a, b) return a.id < b.id end

local function tables_of(self, kind, records)
  local list = {}
  for i = 1, #records do
    if kind.keyed then list[#list + 1] = self:read(kind, records[i].id) else list[i] = self:decoded(records[i]) end
  end
  return list
end

local function check_self(accessor, kind, what)
  if type(accessor) ~= "table" then
    error(format('%s: write resources.%s:%s(…) with a ":", not with a "."', what, kind.name, what), 3)
  end
end

--- True when the kind has namespaces, as its objects show. Without objects it is unknown, and the answer may change
--- with the first one.
local function is_namespaced(self, kind)
  if kind.asked and not kind.keyed then return true end
  if kind.namespaced == nil then
    local _, record = next(kind.by_id)
    if record then
      kind.namespaced = find(record.id, "/", 1, true) ~= nil
    else
      self.tracker:record(kind.list_readers, "")
    end
  end
  return kind.namespaced
end

--- Accessors of one kind for templates: get, fetch, list.
---@return table
function Objects:accessor(kind)
  local tracker = self.tracker
  local A = { kind = kind.name }

  --- One object by identity, or nil.
  function A.get(accessor, namespace, name)
    check_self(accessor, kind, "get")
    local id
    if name == nil then
      if type(namespace) ~= "string" then error(kind.name .. ":get: expected a name or a namespace and a name", 2) end
      id = namespace
      if not find(id, "/", 1, true) and is_namespaced(self, kind) then
        error(kind.name .. ":get: this kind has namespaces; write :get(namespace, name)", 2)
      end
    else
      if type(namespace) ~= "string" or type(name) ~= "string" then
        error(kind.name .. ":get: expected a namespace and a name, got " .. type(namespace) .. " and " .. type(name), 2)
      end
      if is_namespaced(self, kind) == false then
        error(kind.name .. ":get: this kind has no namespaces; write :get(name)", 2)
      end
      id = namespace .. "/" .. name
    end
    return self:read(kind, id)
  end

  --- For a kind that is read by asking, the list of objects is unknown.
  local function check_listed(what)
    if kind.asked and not kind.keyed then
      error(format("%s:%s: only objects that a template names are read (watch: referenced); "
        .. "write :get(namespace, name)", kind.name, what), 3)
    end
  end

  --- All objects, sorted by id.
  local function list()
    tracker:record(kind.list_readers, "")
    local records, n = {}, 0
    for _, record in pairs(kind.by_id) do
      n = n + 1
      records[n] = record
    end
    sort(records, by_id)
    return tables_of(self, kind, records)
  end

  function A.list(accessor)
    check_self(accessor, kind, "list")
    check_listed("list")
    return list()
  end

  --- Objects by index values, or by the first of them, sorted by id.
  function A.fetch(accessor, ...)
    check_self(accessor, kind, "fetch")
    local depth = select("#", ...)
    check_listed("fetch")
    if depth == 0 then return list() end
    if depth > kind.parts then
      error(kind.name .. ":fetch: " .. depth .. " values for an index of " .. kind.parts, 2)
    end
    local key
    for i = 1, depth do
      local value = select(i, ...)
      if type(value) ~= "string" then
        error(kind.name .. ":fetch: value " .. i .. " is a " .. type(value) .. ", not a string", 2)
      end
      key = key and key .. "/" .. key_part(value) or key_part(value)
    end
    local readers = kind.key_readers[depth]
    if not readers then
      readers = {}
      kind.key_readers[depth] = readers
    end
    tracker:record(readers, key)
    local at = index_of(kind, depth)[key]
    if at == nil then return {} end
    if at.json then return tables_of(self, kind, { at }) end
    local records = {}
    for i = 1, #at do records[i] = at[i] end
    sort(records, by_id)
    return tables_of(self, kind, records)
  end

  return A
end

--- Where two decoded documents differ: a path ("spec.rules[1]"), or nil.
-- seen: pairs that were compared already, because tables may share parts.
local function difference(a, b, path, seen)
  if type(a) ~= "table" or type(b) ~= "table" then
    if a == b then return nil end
    return path == "" and "(the whole)" or path
  end
  if seen then
    if seen[a] == b then return nil end
    seen[a] = b
  end
  local function step(k)
    if type(k) == "number" then return path .. "[" .. k .. "]" end
    return path == "" and tostring(k) or path .. "." .. tostring(k)
  end
  for k, v in pairs(a) do
    local where = difference(v, b[k], step(k), seen)
    if where then return where end
  end
  for k in pairs(b) do
    if a[k] == nil then return step(k) end
  end
  return nil
end
M.difference = difference

--- The kinds and records of the objects that templates changed since the last check, although several readers had them;
--- or nil.
---@return table|nil list of {kind, record}
function Objects:review()
  local records = self.lent:review()
  if not records then return nil end
  local list = {}
  for _, record in ipairs(records) do
    for _, kind in pairs(self.kinds) do
      if kind.by_id[record.id] == record then list[#list + 1] = { kind, record } end
    end
  end
  return list
end

--- Runs all readers of an object again.
function Objects:reread(kind, record) mark_changed(self, kind, record) end

--- Begins to record which objects are handed out.
function Objects:watch() self.handed = {} end

--- True when a template has changed an object that was handed out since watch(). Its table is then decoded again.
---@return string|nil id
---@return string|nil path
function Objects:changed()
  local handed = self.handed
  self.handed = nil
  local id, path = nil, nil
  for _, pair in ipairs(handed) do
    local record, t = pair[1], pair[2]
    local where = difference(self.decode(record.json), t, "")
    if where then
      self.lent:drop_known(record)
      if not id then id, path = record.id, where end
    end
  end
  return id, path
end

return M
