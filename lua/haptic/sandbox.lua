--- sandbox.lua — the environment that template code sees.
--
-- Every script and text template gets a fresh table of allowed functions, and can reach nothing else. These rules are
-- for determinism and good error messages; the process in which this code runs provides the security.
--
-- What is left out, and why: load*, require, io, os, debug, ffi, jit, package, collectgarbage (reach outside);
-- getfenv/setfenv (`getfenv(pairs)` is the real global table); getmetatable/setmetatable, rawset, newproxy (shared
-- tables could be changed; weak tables depend on the collector); next, math.random (not deterministic); coroutine,
-- xpcall, print (no use here).
local M = {}

local type, select, error, tonumber, unpack = type, select, error, tonumber, unpack
local string_rep, string_format, string_gsub, string_find = string.rep, string.format, string.gsub, string.find
local string_sub, string_gmatch = string.sub, string.gmatch
local table_sort, table_concat = table.sort, table.concat
local raw_tostring, raw_next = tostring, next

--- Longest string that one library call may make, in bytes.
M.MAX_STRING = 16 * 1024 * 1024

--- tostring without addresses, which differ between processes.
local function safe_tostring(v)
  local t = type(v)
  if t == "string" then return v end
  if t == "number" or t == "boolean" or t == "nil" then return raw_tostring(v) end
  return t
end
M.tostring = safe_tostring

local KEY_CLASS = { number = 1, string = 2, boolean = 3 }

local function key_before(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb then
    if ta == "boolean" then return not a and b end
    return a < b
  end
  return KEY_CLASS[ta] < KEY_CLASS[tb]
end

--- The keys of a table: numbers, then strings, then booleans, each in order.
---@param t table
---@return table keys
function M.sorted_keys(t)
  local keys, n, plain = {}, 0, true
  for k in raw_next, t do
    n = n + 1
    keys[n] = k
    local tk = type(k)
    if tk ~= "string" then
      if not KEY_CLASS[tk] then error("a table with a " .. tk .. " as key has no order; use strings or numbers", 3) end
      plain = false
    end
  end
  if plain then table_sort(keys) else table_sort(keys, key_before) end
  return keys
end
local sorted_keys = M.sorted_keys

local function next_pair(state)
  local keys, t, i = state.keys, state.t, state.i
  while true do
    i = i + 1
    local k = keys[i]
    if k == nil then
      state.i = i
      return nil
    end
    local v = t[k]
    if v ~= nil then
      state.i = i
      return k, v
    end
  end
end

local function no_pair() return nil end

--- pairs in the order of the keys. Entries that are removed during the loop are skipped.
function M.pairs(t)
  if type(t) ~= "table" then error("pairs: expected a table, got " .. type(t), 2) end
  if raw_next(t) == nil then return no_pair, t, nil end
  return next_pair, { keys = sorted_keys(t), t = t, i = 0 }, nil
end

local function too_long(what)
  error(what .. ": the result would be longer than " .. M.MAX_STRING .. " bytes", 3)
end

local S = {
  byte = string.byte, char = string.char, find = string.find, gmatch = string.gmatch, len = string.len,
  lower = string.lower, match = string.match, reverse = string.reverse, sub = string.sub, upper = string.upper,
}

function S.rep(s, n, sep)
  local count = tonumber(n) or error("rep: expected a number, got " .. type(n), 2)
  local length = #s + (sep and #sep or 0)
  if count > 0 and length * count > M.MAX_STRING then too_long("rep") end
  if sep and count > 1 then return string_rep(s .. sep, count - 1) .. s end
  return string_rep(s, count)
end

--- format whose %s shows no addresses. %p shows only an address and is refused.
function S.format(fmt, ...)
  fmt = safe_tostring(fmt)
  if string_find(string_gsub(fmt, "%%%%", ""), "%%[-+ #0-9.]*p") then error("format: %p is not available", 2) end
  local n = select("#", ...)
  local total = #fmt
  local plain = true
  for i = 1, n do
    local v = select(i, ...)
    local t = type(v)
    if t == "string" then
      total = total + #v * 2
    elseif t ~= "number" and t ~= "boolean" and t ~= "nil" then
      plain = false
    end
  end
  if total > M.MAX_STRING then too_long("format") end
  if plain then return string_format(fmt, ...) end
  local args = { ... }
  for i = 1, n do
    local t = type(args[i])
    if t ~= "string" and t ~= "number" and t ~= "boolean" and t ~= "nil" then args[i] = t end
  end
  return string_format(fmt, unpack(args, 1, n))
end

--- gsub whose result has a limit.
function S.gsub(s, pattern, repl, max)
  if type(s) == "number" then s = raw_tostring(s) end
  if type(repl) ~= "function" and type(repl) ~= "table" then
    -- A replacement with captures can be as long as the subject each time. Usual calls are far below both limits.
    local per_match = #raw_tostring(repl) * (string_find(raw_tostring(repl), "%%") and #s + 1 or 1)
    if (#s + 1) * per_match + #s <= M.MAX_STRING then return string_gsub(s, pattern, repl, max) end
    local template, total = raw_tostring(repl), #s
    repl = function(...)
      local whole = (...)
      local captures = { ... }
      local out = string_gsub(template, "%%(.)", function(c)
        if c == "0" then return whole end
        if c == "%" then return "%" end
        return raw_tostring(captures[tonumber(c)] or error("gsub: invalid capture %" .. c, 3))
      end)
      total = total + #out
      if total > M.MAX_STRING then error("gsub: the result would be longer than " .. M.MAX_STRING .. " bytes", 3) end
      return out
    end
    if string_find(template, "%%0") and string_find(pattern, "[^%%]%(") then
      error("gsub: the result could be longer than " .. M.MAX_STRING .. " bytes", 2)
    end
    return string_gsub(s, pattern, repl, max)
  end
  local inner, total = repl, #s
  repl = function(k, ...)
    local out
    if type(inner) == "table" then out = inner[k] else out = inner(k, ...) end
    if out then
      total = total + #raw_tostring(out)
      if total > M.MAX_STRING then error("gsub: the result would be longer than " .. M.MAX_STRING .. " bytes", 3) end
    end
    return out
  end
  return string_gsub(s, pattern, repl, max)
end

--- The text without white space at its ends, in time proportional to its length. One pattern cannot do that: "(.-)%s*$"
--- tries each end for each blank, and "%s*(.*%S)" tries each beginning where there are only blanks.
function S.trim(s)
  local first = string.find(s, "%S")
  return first and string.match(s, ".*%S", first) or ""
end
M.trim = S.trim

--- The parts of a text between separators (a plain string, not a pattern).
function S.split(s, sep)
  if sep == "" then error("split: the separator is empty", 2) end
  local parts, n, from = {}, 0, 1
  while true do
    local first, last = string_find(s, sep, from, true)
    n = n + 1
    if not first then
      parts[n] = string_sub(s, from)
      return parts
    end
    parts[n] = string_sub(s, from, first - 1)
    from = last + 1
  end
end

function S.starts_with(s, prefix) return string_sub(s, 1, #prefix) == prefix end
function S.ends_with(s, suffix) return suffix == "" or string_sub(s, -#suffix) == suffix end

M.string = S

local T = { insert = table.insert, remove = table.remove, sort = table.sort, maxn = table.maxn }

function T.concat(list, sep, i, j)
  local total = 0
  local step = sep and #sep or 0
  for k = i or 1, j or #list do
    local v = list[k]
    if type(v) == "string" then total = total + #v end
    total = total + step
    if total > M.MAX_STRING then too_long("concat") end
  end
  return table_concat(list, sep, i, j)
end

local MATH = {}
for name, fn in raw_next, math do
  if name ~= "random" and name ~= "randomseed" then MATH[name] = fn end
end

local BIT = {}
for name, fn in raw_next, require("bit") do BIT[name] = fn end

--- A table that can be read but not assigned to; `what` names it in the error.
---@param t table
---@param what string
function M.frozen(t, what)
  return setmetatable({}, {
    __index = t,
    __newindex = function(_, k)
      error(what .. "." .. safe_tostring(k) .. " cannot be assigned to", 2)
    end,
    __metatable = false,
  })
end

--- Methods on strings reach only the limited functions, and templates cannot get the metatable. Changes the whole Lua
--- state, once.
function M.install()
  local mt = debug.getmetatable("")
  mt.__index = S
  mt.__metatable = false
end

--- The language's part of each environment, for completion.
M.NAMES = { assert = true, error = true, ipairs = true, pairs = true, pcall = true, select = true, tonumber = true,
  tostring = true, type = true, unpack = true, string = true, table = true, math = true, bit = true }

--- A fresh environment: the language's allow-listed part and `api`'s functions.
---@param api table name → value
---@return table env for setfenv
function M.environment(api)
  local globals = {
    assert = assert, error = error, ipairs = ipairs, pairs = M.pairs, pcall = pcall, select = select,
      tonumber = tonumber,
    tostring = safe_tostring, type = type, unpack = unpack,
    string = M.frozen(S, "string"), table = M.frozen(T, "table"), math = M.frozen(MATH, "math"),
      bit = M.frozen(BIT, "bit"),
  }
  for name, value in raw_next, api do globals[name] = value end
  -- Templates read globals very often, and a table finds them without a function call.
  setmetatable(globals, {
    __index = function(_, k)
      local foreign = require("haptic.foreign").GLOBALS[k]
      local hint = not foreign and require("haptic.nearest").of(k, sorted_keys(globals))
      hint = foreign and "; write " .. foreign or hint and "; did you mean '" .. hint .. "'?" or ""
      error("undeclared global '" .. safe_tostring(k) .. "'" .. hint, 2)
    end,
    __metatable = false,
  })
  return setmetatable({}, {
    __index = globals,
    __newindex = function(_, k)
      error("assignment to undeclared global '" .. safe_tostring(k) .. "' (write 'local')", 2)
    end,
    __metatable = false,
  })
end

--- Compile text-only Lua in an environment of its own.
---@param source string
---@param name string file name for messages
---@param env table from environment()
---@return function|nil chunk
---@return string|nil message "file:line: …"
function M.load(source, name, env)
  if #name > 58 or string_find(name, "%c") then
    return nil, "a template's name is longer than 58 bytes or has control characters"
  end
  local chunk, message = load(source, "=" .. name, "t", env)
  if not chunk then return nil, message end
  return chunk
end

M.gmatch = string_gmatch
return M
