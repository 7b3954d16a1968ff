--- haptic.lua — what templates see, at a Lua prompt of your own.
--
--     $ luajit -l haptic
--     > haptic.load("examples/manifests")
--     > = resources.ingresses:get("default", "shop").spec.rules[1].host
--
-- The program `haptic` (in PATH, or HAPTIC_BIN) reads configuration and objects; Secrets come as handles. Templates run
-- in this process then, without the jail and the limits that they have in the renderer: load what you trust. Needs
-- LuaJIT and lua-cjson.
require("haptic.traversal")
local cjson = require("cjson").new()
local ffi = require("ffi")

ffi.cdef [[int inet_pton(int family, const char *text, void *bytes);]]

local M = {}

local AF_INET, AF_INET6 = 2, 10

--- Templates have more methods of strings; yours stay as they are.
local function add_string_methods()
  local mt = debug.getmetatable("")
  require("haptic.sandbox").install()
  for name, method in pairs(mt.__index) do
    if string[name] == nil then rawset(string, name, method) end
  end
  mt.__index, mt.__metatable = string, nil
end

add_string_methods()

local function drop_nulls(t)
  for k, v in pairs(t) do
    if v == cjson.null then
      t[k] = nil
    elseif type(v) == "table" then
      drop_nulls(v)
    end
  end
  return t
end

local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil, tostring(value) end
  if value == cjson.null then return nil end
  return type(value) == "table" and drop_nulls(value) or value
end

local function address_parse(text)
  local bytes = ffi.new("unsigned char[16]")
  if text:find("%z") then return nil end
  if ffi.C.inet_pton(AF_INET, text, bytes) == 1 then return ffi.string(bytes, 4) end
  if ffi.C.inet_pton(AF_INET6, text, bytes) == 1 then return ffi.string(bytes, 16) end
  return nil
end

--- Equal texts have equal digests, and others have others: more is not needed within one process.
local function digests()
  local known, count = {}, 0
  return function(s)
    if not known[s] then
      count = count + 1
      known[s] = ("%032x"):format(count)
    end
    return known[s]
  end
end

--- What the engine asks of its host: outputs are taken and failures kept, nothing is sent.
local function new_host(failures)
  local digest = digests()
  return {
    at = function() end,
    fragment = function(id, _, _, _, _, items, n)
      local parts = {}
      for i = 1, n * 6 do parts[i] = #tostring(items[i]) .. ":" .. tostring(items[i]) end
      failures[id] = nil
      return digest(table.concat(parts))
    end,
    gone = function() end, waits = function() end, held = function() end, log = function() end,
    failed = function(id, _, _, _, _, message) failures[id] = message end,
    fits = function() return true end,
    released = function() return 0 end,
    cpu = os.clock,
    digest = digest, decode = decode, decode_object = decode, address_parse = address_parse,
  }
end

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Load objects, and a configuration: the arguments of `haptic repl` ("-c", "my.yaml", "snap"). Afterwards the names
--- that templates see are globals here; `failures` has the messages of fragments that failed.
---@return table program
function M.load(...)
  local words = { quoted(os.getenv("HAPTIC_BIN") or "haptic"), "repl", "--dump" }
  for i = 1, select("#", ...) do words[#words + 1] = quoted((select(i, ...))) end
  local pipe = assert(io.popen(table.concat(words, " ")))
  local document = pipe:read("*l")
  if not document or document:sub(1, 1) ~= "{" then
    pipe:close()
    error("haptic.load: " .. (document or "the program haptic gave nothing; is it in PATH?"), 2)
  end
  local failures = {}
  local loaded, message = require("haptic.program").load(decode(document), new_host(failures))
  if not loaded then
    pipe:close()
    error(message, 2)
  end
  for line in pipe:lines() do
    local o = cjson.decode(line)
    if o.id then
      local record, is_new = loaded.objects:put(loaded.objects.kinds[o.kind], o.id, o.created, o.json, unpack(o.index))
      if record then loaded.fragments:object_put(o.kind, record, is_new) end
    end
  end
  pipe:close()
  loaded.fragments:render()
  local repl = require("haptic.repl").new(loaded, loaded:prompt_api())
  local names = setmetatable({ failures = failures }, { __index = repl.api })
  setmetatable(_G, { __index = names })
  return loaded
end

_G.haptic = M
return M
