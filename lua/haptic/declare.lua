--- declare.lua — types of values that people write: settings of the configuration, annotations.
--
-- A specification is a table: {type=, default=, doc=, …}. read() turns the written value into a value of this type, or
-- says what is wrong with it. A text has the same meaning as the YAML value of this form, because a command line and an
-- annotation contain only text.
--
--   bool                              true, false
--   switch                            true, t, on, yes, enabled, 1; false, f, off, no, disabled, 0; in any case
--   integer    min=, max=             a whole number
--   duration   min=, max=, unit=      "5s", "1m30s"; the value is text in HAProxy's notation. unit: of a plain number
--   size       min=, max=             "64k", "1Gi", a number; the value is a number of bytes
--   enum       values={…}             one of these texts
--   text       pattern=, expects=     no control characters; expects: the pattern in words, for the message
--   list       pattern=, expects=     of texts; a text is taken apart at commas and blanks
--   addresses  references=            a list of IPv4 and IPv6 addresses and networks, also one in each line; with
--                                     references, a beginning such as "patterns/", also of names of lists behind it
--   lines      max=                   a list of lines without blanks at their ends; empty ones are left out
--   records    fields={NAME=spec}     a list of tables; as text "name=a status=b; name=c"
--   map                               a table of names and texts
--
-- parse=: a function that turns such a value into the final one, or returns nil and what it must be.
local nearest = require("haptic.nearest")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local type, error, tonumber, tostring, pairs, ipairs = type, error, tonumber, tostring, pairs, ipairs
local find, match, gsub, gmatch, format, floor, sub = string.find, string.match, string.gsub, string.gmatch,
  string.format, math.floor, string.sub

local MAX_TEXT, MAX_LIST = 8192, 1000

local MS = { us = 0.001, ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local BYTES = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3, ki = 1024, mi = 1024 ^ 2, gi = 1024 ^ 3 }
--- HAProxy counts milliseconds in 31 bits.
local MAX_MS = 2147483647

local function whole(v)
  if type(v) == "string" and find(v, "^[+-]?%d+$") then v = tonumber(v) end
  return type(v) == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53 and v or nil
end

--- Milliseconds, and the number of parts, of a text such as "1m30s"; or nil.
local function milliseconds(s)
  if type(s) ~= "string" or not find(s, "^[%d%l]+$") then return nil end
  local total, parts = 0, 0
  local rest = gsub(s, "%f[%d](%d+)(%l+)", function(number, unit)
    if not MS[unit] then return nil end
    total, parts = total + tonumber(number) * MS[unit], parts + 1
    return ""
  end)
  if rest ~= "" or parts == 0 then return nil end
  return total, parts
end

local function bytes(v)
  if type(v) == "number" then return whole(v) end
  if type(v) ~= "string" then return nil end
  local number, unit = match(v, "^(%d+)(%a*)$")
  local factor = number and BYTES[unit:lower()]
  return factor and tonumber(number) * factor or nil
end

--- A number from 0 to max. A number with leading zeros is refused, because some readers take it as octal.
local function is_part(s, max) return tonumber(s) <= max and (s == "0" or sub(s, 1, 1) ~= "0") end

local function is_ipv4(s)
  local a, b, c, d = match(s, "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  return a ~= nil and is_part(a, 255) and is_part(b, 255) and is_part(c, 255) and is_part(d, 255)
end

local function is_ipv6(s)
  if #s > 39 or find(s, "[^%x:]") or find(s, ":::", 1, true) or find(s, "%x%x%x%x%x") then return false end
  local _, colons = gsub(s, ":", "")
  local _, doubled = gsub(s, "::", "")
  if find(s, "^:[^:]") or find(s, "[^:]:$") then return false end
  return doubled == 0 and colons == 7 or doubled == 1 and colons >= 2 and colons <= 7
end

--- Is it an address, or a network such as 10.0.0.0/8?
local function is_network(s)
  local address, length = match(s, "^([^/]+)/(%d%d?%d?)$")
  address = address or s
  if is_ipv4(address) then return not length or is_part(length, 32) end
  return is_ipv6(address) and (not length or is_part(length, 128))
end

local function as_text(v)
  if type(v) == "number" then return format(v % 1 == 0 and "%d" or "%.14g", v) end
  if type(v) == "string" and #v <= MAX_TEXT and not find(v, "[%c\127]") then return v end
  return nil
end

--- The texts of a list, or of a text in list form; nil when an element is not a text.
local function as_list(v)
  local list = {}
  if type(v) == "table" then
    for i = 1, #v do
      list[i] = as_text(v[i])
      if not list[i] then return nil end
    end
    for k in pairs(v) do
      if type(k) ~= "number" then return nil end
    end
  else
    local text = as_text(v)
    if not text then return nil end
    for item in gmatch(text, "[^,%s]+") do list[#list + 1] = item end
  end
  return #list <= MAX_LIST and list or nil
end

local function in_range(v, spec, unit)
  local low, high = spec.min, spec.max
  if unit then low, high = low and unit(low), high and unit(high) end
  return (not low or v >= low) and (not high or v <= high)
end

local function range_words(spec)
  if spec.min and spec.max then return format(" from %s to %s", spec.min, spec.max) end
  if spec.min then return format(" of at least %s", spec.min) end
  if spec.max then return format(" of at most %s", spec.max) end
  return ""
end

-- Each returns the value; or nil and what it must be; or nil, nil and the whole message.
local READ = {}

function READ.bool(v)
  if v == "true" then return true elseif v == "false" then return false end
  if type(v) == "boolean" then return v end
  return nil, "true or false"
end

local SWITCH = { ["true"] = true, t = true, on = true, yes = true, enabled = true, ["1"] = true, ["false"] = false,
  f = false, off = false, no = false, disabled = false, ["0"] = false }

function READ.switch(v)
  if type(v) == "boolean" then return v end
  local value = type(v) == "string" and #v <= 20 and SWITCH[v:lower()]
  if type(value) == "boolean" and SWITCH[tostring(v):lower()] ~= nil then return value end
  return nil, "true or false"
end

function READ.integer(v, spec)
  local n = whole(v)
  if n and in_range(n, spec) then return n end
  return nil, "a whole number" .. range_words(spec)
end

function READ.duration(v, spec)
  if spec.unit and find(as_text(v) or "", "^%d+$") then v = as_text(v) .. spec.unit end
  local ms, parts = milliseconds(v)
  if ms and ms <= MAX_MS and in_range(ms, spec, milliseconds) then
    if parts == 1 then return v end
    return ms % 1000 == 0 and format("%ds", ms / 1000) or format("%dms", floor(ms))
  end
  return nil, "a duration with its unit, such as 5s" .. (ms and range_words(spec) or "")
end

function READ.size(v, spec)
  local n = bytes(v)
  if n and in_range(n, spec, bytes) then return n end
  return nil, "a size in bytes, such as 65536 or 64k" .. range_words(spec)
end

function READ.enum(v, spec)
  for _, known in ipairs(spec.values) do
    if v == known then return v end
  end
  return nil, "one of " .. table.concat(spec.values, ", ")
end

function READ.text(v, spec)
  local text = as_text(v)
  if text and (not spec.pattern or find(text, spec.pattern)) then return text end
  return nil, spec.expects or "text without control characters"
end

function READ.list(v, spec)
  local list, expects = as_list(v), "a list" .. (spec.expects and " of " .. spec.expects or "")
  if not list then return nil, expects end
  for _, item in ipairs(list) do
    if spec.pattern and not find(item, spec.pattern) then return nil, expects end
  end
  return list
end

--- Is it the name of a list?
local function is_reference(s, beginning)
  return beginning ~= nil and sub(s, 1, #beginning) == beginning and #s <= 200
    and find(s, "^%w[%w._-]*$", #beginning + 1) ~= nil
end

function READ.addresses(v, spec)
  if type(v) == "string" then v = gsub(v, "[\r\n]+", " ") end
  local list, expects = as_list(v), "a list of addresses or networks, such as 10.0.0.0/8"
  if spec.references then expects = expects .. ", or " .. spec.references .. "NAME" end
  if not list then return nil, expects end
  for _, item in ipairs(list) do
    if not is_network(item) and not is_reference(item, spec.references) then return nil, expects end
  end
  return list
end

--- The limit of lines in one value.
local MAX_LINES = 100

function READ.lines(v, spec)
  local max, lines = spec.max or MAX_LINES, {}
  local expects = format("at most %d lines without control characters", max)
  if type(v) ~= "string" or #v > MAX_TEXT then return nil, expects end
  for line in gmatch(v, "[^\r\n]+") do
    line = sandbox.trim(line)
    if find(line, "[%c\127]") then return nil, expects end
    if line ~= "" then lines[#lines + 1] = line end
  end
  if #lines > max then return nil, expects end
  return lines
end

function READ.map(v)
  local expects, read, count = "a table of names and texts", {}, 0
  if type(v) ~= "table" then return nil, expects end
  for name, value in pairs(v) do
    local text = type(value) == "boolean" and tostring(value) or as_text(value)
    if type(name) ~= "string" or not text then return nil, expects end
    read[name], count = text, count + 1
  end
  if count > MAX_LIST then return nil, expects end
  return read
end

local MAX_RECORDS = 100

--- The tables of a list, or of a text in this form; nil for other values.
local function as_records(v)
  if type(v) == "table" then
    for k, record in pairs(v) do
      if type(k) ~= "number" or type(record) ~= "table" then return nil end
    end
    return #v <= MAX_RECORDS and v or nil
  end
  local text, list = as_text(v), {}
  for part in gmatch(text or "", "[^;]+") do
    local record = {}
    for item in gmatch(part, "%S+") do
      local name, value = match(item, "^([^=]+)=(.*)$")
      if not name then return nil end
      record[name] = value
    end
    if next(record) ~= nil then list[#list + 1] = record end
  end
  return text and #list <= MAX_RECORDS and list or nil
end

function READ.records(v, spec)
  local names = sandbox.sorted_keys(spec.fields)
  local expects = "a list of records with " .. table.concat(names, ", ")
  local given, list = as_records(v), {}
  if not given then return nil, expects end
  for i, record in ipairs(given) do
    local read = {}
    for name in pairs(record) do
      if not spec.fields[name] then
        return nil, nil, format("has no field %s in number %d%s", word.show(sandbox.tostring(name)), i,
          nearest.hint(name, names))
      end
    end
    for _, name in ipairs(names) do
      local field, problem = record[name], nil
      if field == nil then field = spec.fields[name].default end
      if field ~= nil then read[name], problem = M.read(spec.fields[name], field) end
      if problem then return nil, nil, format("needs another %s in number %d: it %s", name, i, problem) end
    end
    list[i] = read
  end
  return list
end

--- A value in the form for messages.
function M.show(v)
  if type(v) == "string" then return word.show(v) end
  if type(v) ~= "table" then return sandbox.tostring(v) end
  if type(v[1]) == "table" then return "a list of tables" end
  local shown = {}
  for i = 1, math.min(#v, 5) do shown[i] = sandbox.tostring(v[i]) end
  return #v == 0 and "a table" or word.show(table.concat(shown, ", "))
end

--- Read a value.
---@param spec table from M.spec()
---@param v any as it was written
---@return any value nil when it is wrong
---@return string|nil message what it must be, and what it is
function M.read(spec, v)
  if type(v) == "string" and #v > MAX_TEXT then -- no reader looks at a text of any length
    return nil, format("must be at most %d bytes long, not %d", MAX_TEXT, #v)
  end
  local value, expects, problem = READ[spec.type](v, spec)
  if problem then return nil, problem end
  if value ~= nil and spec.parse then
    value, expects = spec.parse(value)
    expects = expects or "something else"
  end
  if value == nil then return nil, "must be " .. expects .. ", not " .. M.show(v) end
  return value, nil
end

local COMMON = { type = true, default = true, doc = true, parse = true }
local FIELDS = {
  bool = {}, integer = { min = true, max = true }, duration = { min = true, max = true, unit = true },
  size = { min = true, max = true }, enum = { values = true }, text = { pattern = true, expects = true },
  list = { pattern = true, expects = true }, addresses = { references = true }, switch = {}, lines = { max = true },
  records = { fields = true }, map = {},
}

--- Checks a specification itself. Raises an error; the author's line is `level` above the caller.
---@param more table|nil further fields that it may have: set of names
function M.spec(what, spec, level, more)
  level = (level or 1) + 1
  if type(spec) ~= "table" then error(what .. ": expected a table with a type", level) end
  local fields = FIELDS[spec.type]
  if not fields then
    error(what .. ": unknown type " .. word.show(sandbox.tostring(spec.type))
      .. nearest.hint(spec.type, sandbox.sorted_keys(FIELDS)), level)
  end
  local known = {}
  for k in pairs(COMMON) do known[k] = true end
  for k in pairs(fields) do known[k] = true end
  for k in pairs(more or {}) do known[k] = true end
  nearest.check_fields(spec, known, what, level)
  if spec.type == "records" then
    if type(spec.fields) ~= "table" then error(what .. ": records need fields", level) end
    for _, name in ipairs(sandbox.sorted_keys(spec.fields)) do M.spec(what .. "." .. name, spec.fields[name], level) end
  end
  if spec.type == "enum" and type(spec.values) ~= "table" then error(what .. ": an enum needs values", level) end
  if spec.parse ~= nil and type(spec.parse) ~= "function" then error(what .. ": parse is a function", level) end
  if spec.default ~= nil then
    local value, message = M.read(spec, spec.default)
    if value == nil then error(what .. ": the default " .. message, level) end
  end
end

return M
