--- helpers.lua — the deterministic helpers of the authoring API (docs/templates.md).
local cjson = require("cjson").new()
local sandbox = require("haptic.sandbox")
local secret = require("haptic.secret")

local M = {}

local type, error, ipairs = type, error, ipairs
local floor = math.floor
local format, byte, char, gsub, sub, find = string.format, string.byte, string.char, string.gsub, string.sub,
  string.find
local concat = table.concat

--- Deepest nesting that json() writes.
local MAX_DEPTH = 100

--- The keys of a table in order.
function M.keys(t)
  if type(t) ~= "table" then error("keys: expected a table, got " .. type(t), 2) end
  return sandbox.sorted_keys(t)
end

local function key_function(key, what)
  if type(key) == "function" then return key end
  if type(key) == "string" or type(key) == "number" then
    return function(item) return type(item) == "table" and item[key] or nil end
  end
  error(what .. ": expected a field or a function", 3)
end

local CLASS = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  if a == nil or b == nil then return b == nil and a ~= nil end -- without a key: last
  local ta, tb = type(a), type(b)
  if ta ~= tb then return (CLASS[ta] or 4) < (CLASS[tb] or 4) end
  if ta == "boolean" then return not a and b end
  return a < b
end

--- A new list, sorted by a field or by the result of a function. Items with equal keys keep their order.
---@param list table
---@param key string|function
function M.sort_by(list, key)
  if type(list) ~= "table" then error("sort_by: expected a list, got " .. type(list), 2) end
  local of = key_function(key, "sort_by")
  local rows = {}
  for i, item in ipairs(list) do
    local k = of(item)
    if k ~= nil and not CLASS[type(k)] then error("sort_by: a key is a " .. type(k), 2) end
    rows[i] = { k, i, item }
  end
  table.sort(rows, function(x, y)
    if before(x[1], y[1]) then return true end
    if before(y[1], x[1]) then return false end
    return x[2] < y[2]
  end)
  local sorted = {}
  for i, row in ipairs(rows) do sorted[i] = row[3] end
  return sorted
end

--- Lists of the items with equal keys: key → list, in their order. Items without a key are left out.
function M.group_by(list, key)
  if type(list) ~= "table" then error("group_by: expected a list, got " .. type(list), 2) end
  local of = key_function(key, "group_by")
  local groups = {}
  for _, item in ipairs(list) do
    local k = of(item)
    if k ~= nil then
      local group = groups[k]
      if not group then
        group = {}
        groups[k] = group
      end
      group[#group + 1] = item
    end
  end
  return groups
end

--- The value at a path of fields, nil when any of them is absent.
function M.dig(t, ...)
  local n = select("#", ...)
  if n == 2 or n == 3 then -- the usual case
    local first, second, third = ...
    if type(t) ~= "table" then return nil end
    t = t[first]
    if type(t) ~= "table" then return nil end
    t = t[second]
    if n == 2 then return t end
    if type(t) ~= "table" then return nil end
    return t[third]
  end
  for i = 1, n do
    if type(t) ~= "table" then return nil end
    t = t[(select(i, ...))]
  end
  return t
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUE, DIGIT = {}, {}
for i = 1, 64 do
  VALUE[byte(ALPHABET, i)], DIGIT[i - 1] = i - 1, sub(ALPHABET, i, i)
end

--- Base64 of a string.
function M.b64encode(s)
  if type(s) ~= "string" then error("b64encode: expected a string, got " .. type(s), 2) end
  if secret.is_in(s) then error("b64encode: the value of a Secret cannot be encoded", 2) end
  local out = {}
  for i = 1, #s, 3 do
    local a, b, c = byte(s, i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    out[#out + 1] = DIGIT[floor(n / 262144)] .. DIGIT[floor(n / 4096) % 64]
      .. (b and DIGIT[floor(n / 64) % 64] or "=") .. (c and DIGIT[n % 64] or "=")
  end
  return concat(out)
end

--- The string of a Base64 text (blanks and newlines are ignored), or nil for other texts. The value of a Secret is
--- decoded already.
function M.b64decode(s)
  if type(s) ~= "string" then error("b64decode: expected a string, got " .. type(s), 2) end
  if secret.is_handle(s) then return s end
  if secret.is_in(s) then error("b64decode: the value of a Secret with something beside it cannot be decoded", 2) end
  s = gsub(gsub(s, "%s", ""), "%f[=]=+$", "")
  if find(s, "[^%w+/]") or #s % 4 == 1 then return nil end
  local out = {}
  for i = 1, #s, 4 do
    local a, b, c, d = byte(s, i, i + 3)
    local n = VALUE[a] * 262144 + VALUE[b] * 4096 + (c and VALUE[c] or 0) * 64 + (d and VALUE[d] or 0)
    out[#out + 1] = char(floor(n / 65536))
    if c then out[#out + 1] = char(floor(n / 256) % 256) end
    if d then out[#out + 1] = char(n % 256) end
  end
  return concat(out)
end

local function encode(v, depth, out)
  local t = type(v)
  if t == "table" then
    if depth > MAX_DEPTH then error("json: nested deeper than " .. MAX_DEPTH, 0) end
    local n = #v
    if n > 0 or next(v) == nil then
      local count = 0
      for _ in pairs(v) do count = count + 1 end
      if count ~= n then error("json: a table is both list and object", 0) end
      -- An empty table becomes an object, because manifests usually contain empty objects.
      out[#out + 1] = n > 0 and "[" or "{"
      for i = 1, n do
        if i > 1 then out[#out + 1] = "," end
        encode(v[i], depth + 1, out)
      end
      out[#out + 1] = n > 0 and "]" or "}"
      return
    end
    out[#out + 1] = "{"
    for i, k in ipairs(sandbox.sorted_keys(v)) do
      if type(k) ~= "string" then error("json: a key is a " .. type(k), 0) end
      if i > 1 then out[#out + 1] = "," end
      out[#out + 1] = cjson.encode(k) .. ":"
      encode(v[k], depth + 1, out)
    end
    out[#out + 1] = "}"
  elseif t == "string" or t == "boolean" then
    out[#out + 1] = cjson.encode(v)
  elseif t == "number" then
    if v ~= v or v == math.huge or v == -math.huge then error("json: not a finite number", 0) end
    out[#out + 1] = v % 1 == 0 and v < 1e15 and v > -1e15 and format("%d", v) or format("%.14g", v)
  else
    error("json: a " .. t .. " cannot be written", 0)
  end
end

--- JSON with the keys of objects in order.
function M.json_encode(v)
  local out = {}
  encode(v, 1, out)
  return concat(out)
end

--- A regular expression that matches exactly this text.
function M.regex_escape(s)
  if type(s) ~= "string" then error("regex_escape: expected a string, got " .. type(s), 2) end
  return (gsub(secret.in_form(s, "Rgx"), "[%^%$%.%[%]%|%(%)%?%*%+%{%}%\\/-]", "\\%0"))
end

--- A value inside a log-format string: `%` stands for itself.
function M.format_escape(s)
  return (gsub(secret.in_form(sandbox.tostring(s), "Fmt"), "%%", "%%%%"))
end

--- Paths as the configuration names them, relative to its folder.
M.path = {}
local certificates = require("haptic.certificates")
local word = require("haptic.word")

local function check_path(path, what)
  if type(path) ~= "table" then error('path: write path:' .. what .. '(…) with a ":", not with a "."', 3) end
end

function M.path.map(path, name)
  check_path(path, "map")
  return "maps/" .. word.file_name(name, "the map's name")
end

function M.path.file(path, name)
  check_path(path, "file")
  return "files/" .. word.file_name(name, "the file's name")
end

function M.path.cert(path, name)
  check_path(path, "cert")
  return "certs/" .. certificates.certificate_name(name)
end

function M.path.crt_list(path, name)
  check_path(path, "crt_list")
  return "certs/" .. certificates.list_name(name)
end

return M
