--- repl.lua — what a prompt can ask of a loaded program: evaluate a chunk, complete a name.
--
-- A chunk sees what a template sees, and may besides assign globals of its own; they stay until the process ends. It
-- runs without recording reads, so no fragment depends on it. Some functions make a *command*: a table that the chunk
-- returns and that the process outside carries out (change an object, render again).
local emitters = require("haptic.emitters")
local helpers = require("haptic.helpers")
local printer = require("haptic.printer")
local sandbox = require("haptic.sandbox")
local text = require("haptic.text")
local topics = require("haptic.topics")

local M = {}

local type, error, pairs, ipairs, pcall, setmetatable = type, error, pairs, ipairs, pcall, setmetatable
local format, match, find, sub = string.format, string.match, string.find, string.sub
local select, rawget = select, rawget

local KINDS_OF_OUTPUT = { [0] = "section", "from", "map entry", "file", "certificate", "crt-list", "status", "event",
  "warning" }
-- What a command is recognised by; no template can make one by accident.
local COMMAND = {}

local Repl = {}
Repl.__index = Repl

local function copy(v)
  if type(v) ~= "table" then return v end
  local c = {}
  for k, x in pairs(v) do c[k] = copy(x) end
  return c
end

local function command(name, fields)
  fields.command = name
  return setmetatable(fields, { __index = { [COMMAND] = true }, __metatable = false })
end

--- The watched kind that an object belongs to: the one that has an object of its identity and kind.
local function kind_of(self, object, what)
  local m = type(object) == "table" and object.metadata
  if type(m) ~= "table" or type(m.name) ~= "string" then
    error(what .. ": expected an object, as resources.KIND:get(…) gives it", 3)
  end
  local id = m.namespace and m.namespace .. "/" .. m.name or m.name
  for name, kind in pairs(self.program.objects.kinds) do
    local record = kind.by_id[id]
    if record and self.program.objects:decoded(record).kind == object.kind then return name, id end
  end
  error(format("%s: no watched kind has %s %s", what, sandbox.tostring(object.kind), id), 3)
end

--- The names of the places in a read-set: see reads.lua.
local function place_names(program)
  local names = {}
  for name, kind in pairs(program.objects.kinds) do
    names[kind.id_readers] = name .. ":get"
    names[kind.list_readers] = name .. ":list"
    for _, readers in pairs(kind.key_readers) do names[readers] = name .. ":fetch" end
  end
  for name, def in pairs(program.fragments.shared_defs) do
    for _, value in pairs(def.values) do names[value.value_of] = "shared " .. name end
  end
  return names
end

local function functions(self)
  local A, F = {}, self.program.fragments

  --- The object with a change, and what that does.
  function A.edit(object, fn)
    if type(fn) ~= "function" then error("edit: expected an object and a function that changes it", 2) end
    local kind = kind_of(self, object, "edit")
    local changed = copy(object)
    local result = fn(changed)
    if type(result) == "table" then changed = result end
    return command("put", { kind = kind, json = helpers.json_encode(changed) })
  end

  --- The same for an object that is gone.
  function A.remove(object)
    local kind, id = kind_of(self, object, "remove")
    return command("delete", { kind = kind, id = id })
  end

  function A.render() return command("render", {}) end

  --- A request to a real HAProxy with what is rendered: the fields of a test's request.
  function A.request(request)
    if type(request) ~= "table" then
      error("request: expected a table such as {host = \"shop.test\", path = \"/\"}", 2)
    end
    return command("request", { request = request })
  end

  --- Names of all fragments, or of those in which a plain text occurs.
  function A.fragments(part)
    local list = {}
    for _, def in ipairs(F.defs) do
      if def.static then list[#list + 1] = def.prefix end
      for id in pairs(def.by_owner) do list[#list + 1] = def.prefix .. id end
    end
    table.sort(list)
    if part == nil then return list end
    local found = {}
    for _, id in ipairs(list) do
      if find(id, part, 1, true) then found[#found + 1] = id end
    end
    return found
  end

  --- What a fragment has read: a change of any of these runs it again.
  function A.reads(id)
    local f = type(id) == "string" and F:find(id)
    if not f then error("reads: there is no fragment of that name; fragments(\"part\") lists them", 2) end
    local names, list = place_names(self.program), {}
    for i = 1, #f, 2 do
      list[#list + 1] = (names[f[i]] or "?") .. (f[i + 1] ~= "" and " " .. f[i + 1] or "")
    end
    table.sort(list)
    return list
  end

  --- What a fragment puts out, as it would now.
  function A.output(id)
    local f = type(id) == "string" and F:find(id)
    if not f then error("output: there is no fragment of that name; fragments(\"part\") lists them", 2) end
    local out = emitters.belongs(emitters.new(self.program.settings, id), f.def.kind)
    if f.owner then f.def.fn(self.program.objects:decoded(f.owner), out) else f.def.fn(out) end
    emitters.finish(out)
    return self:contributions(out)
  end

  --- What the definitions of fragments have cost since the renderer began: JSON of those that took most time.
  function A.counters(most)
    local list = {}
    for _, def in ipairs(F.defs) do
      local count = def.static and 1 or 0
      for _ in pairs(def.by_owner) do count = count + 1 end
      list[#list + 1] = { name = def.name, fragments = count, runs = def.runs, seconds = def.seconds,
        reads = def.reads }
    end
    table.sort(list, function(a, b)
      if a.seconds ~= b.seconds then return a.seconds > b.seconds end
      return a.name < b.name
    end)
    for i = #list, (tonumber(most) or 40) + 1, -1 do list[i] = nil end
    return printer.raw(helpers.json_encode(list))
  end

  function A.yaml(v) return printer.raw(printer.yaml(v)) end
  function A.print(...)
    for i = 1, select("#", ...) do
      self.printed[#self.printed + 1] = (i > 1 and "\t" or "") .. sandbox.tostring((select(i, ...)))
    end
    self.printed[#self.printed + 1] = "\n"
  end
  function A.help(v) return printer.raw(topics.help(v, self.functions)) end
  function A.apropos(word)
    if type(word) ~= "string" then error("apropos: expected a word", 2) end
    return printer.raw(topics.apropos(word))
  end
  return A
end

--- A prompt for a program.
---@param program table from program.load()
---@param api table what its scripts see
function M.new(program, api)
  local self = setmetatable({ program = program, printed = {}, results = {} }, Repl)
  self.functions = functions(self)
  local globals = {}
  for name, value in pairs(api) do globals[name] = value end
  for name, value in pairs(self.functions) do globals[name] = value end
  self.api = globals
  local base = sandbox.environment(globals)
  self.env = setmetatable({}, { __index = base, __metatable = false })
  return self
end

--- The contributions of an output as lines of text.
function Repl.contributions(_, out)
  local lines = {}
  for i = 0, out.n - 1 do
    local kind, scope, key, s = out.items[i * 6 + 1], out.items[i * 6 + 4], out.items[i * 6 + 5], out.items[i * 6 + 6]
    lines[#lines + 1] = format("%s %s%s", KINDS_OF_OUTPUT[kind], scope, key ~= "" and " " .. key or "")
    for line in (s .. "\n"):gmatch("([^\n]*)\n") do
      if line ~= "" then lines[#lines + 1] = "    " .. line end
    end
  end
  return printer.raw(table.concat(lines, "\n"))
end

local function pack(...) return { n = select("#", ...), ... } end

-- A chunk that the end of the text cuts off: the compiler says so, also within long strings and comments.
local function is_incomplete(message)
  return find(message, "near '?<eof>'?$") ~= nil
end

local function compile(self, source)
  local expression = match(source, "^%s*=(.*)$")
  local chunk, message
  if expression then return sandbox.load("return " .. expression, "prompt", self.env) end
  chunk = sandbox.load("return " .. source, "prompt", self.env)
  if chunk then return chunk end
  chunk, message = sandbox.load(source, "prompt", self.env)
  return chunk, message
end

--- _ and _1 are the last result, _2 the one before, up to _9.
local function keep_result(self, value)
  local env = self.env
  for i = 9, 2, -1 do env["_" .. i] = rawget(env, "_" .. (i - 1)) end
  env._1, env._ = value, value
end

local function shown(self, results)
  if results.n == 0 then return "" end
  local lines = {}
  for i = 1, results.n do lines[i] = printer.show(results[i]) end
  keep_result(self, results[1])
  return table.concat(lines, "\n")
end

local function answer(self, out, ok, results)
  local before = table.concat(self.printed)
  self.printed = {}
  if not ok then return "error\n" .. before .. sandbox.tostring(results) end
  local first = results[1]
  if type(first) == "table" and first[COMMAND] then
    local fields = {}
    for k, v in pairs(first) do fields[k] = v end
    return "command\n" .. helpers.json_encode(fields)
  end
  local s = before .. shown(self, results)
  if out.n > 0 then s = s .. (s ~= "" and sub(s, -1) ~= "\n" and "\n" or "") .. self:contributions(out).text end
  return "ok\n" .. s
end

--- Run a chunk of Lua, or an expression.
---@param source string
---@return string "STATUS\nTEXT": ok, error, incomplete (more lines are needed), command (TEXT is JSON)
function Repl:evaluate(source)
  local chunk, message = compile(self, source)
  if not chunk then
    return (is_incomplete(message) and "incomplete\n" or "error\n") .. message
  end
  local F = self.program.fragments
  local out = emitters.new(self.program.settings, "prompt")
  local outer, running = F.out, F.running
  self.env.out, F.out, F.running = out, out, nil
  local function packed() return pack(chunk()) end
  local ok, result = pcall(answer, self, out, F.tracker:unrecorded(packed, text.handler))
  F.out, F.running = outer, running
  return ok and result or "error\n" .. sandbox.tostring(result)
end

local WORD = "[%w_]"

local function candidates_in(t, prefix, list)
  if type(t) ~= "table" then return end
  for k in pairs(t) do
    if type(k) == "string" and sub(k, 1, #prefix) == prefix and find(k, "^[%a_]" .. WORD .. "*$") then
      list[#list + 1] = k
    end
  end
end

--- Names that the last word of a line could become.
---@return string one name in each line, in order
function Repl:complete(line)
  local path, prefix = match(line, "([%a_][%w_%.]*)[%.:](" .. WORD .. "*)$")
  local list = {}
  if path == "resources" then
    candidates_in(self.program.objects.kinds, prefix, list)
  elseif path and match(path, "^resources%.[%w_]+$") then
    for _, name in ipairs({ "get", "fetch", "list" }) do
      if sub(name, 1, #prefix) == prefix then list[#list + 1] = name end
    end
  elseif path then
    local value = self.env
    for name in path:gmatch("[^%.]+") do
      value = type(value) == "table" and (rawget(value, name) or (value == self.env and self.api[name])) or nil
    end
    candidates_in(value, prefix, list)
  else
    prefix = match(line, "(" .. WORD .. "*)$")
    candidates_in(self.env, prefix, list)
    candidates_in(self.api, prefix, list)
    candidates_in(sandbox.NAMES, prefix, list)
  end
  table.sort(list)
  return table.concat(list, "\n")
end

return M
