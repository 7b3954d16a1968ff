--- repl.lua — what a prompt can ask of a loaded program: evaluate a chunk, complete a name.
--
-- A chunk sees what a template sees. In addition it may assign globals, which stay until the process ends. It runs
-- without recording reads, so no fragment depends on it. Some functions make a *command*: a table that the chunk
-- returns and that the outer process carries out (change an object, render again).
local bodies = require("haptic.body")
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
-- The commands that were made. No template can make one by accident.
local COMMAND = setmetatable({}, { __mode = "k" })

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
  COMMAND[fields] = true
  return fields
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
  for _, def in ipairs(program.fragments.defs) do
    if def.asked then names[def.asked] = "asks " .. def.name end
  end
  for name, def in pairs(program.fragments.shared_defs) do
    for _, value in pairs(def.values) do names[value.value_of] = "shared " .. name end
  end
  return names
end

--- What a fragment puts out now, with its trace.
local function traced(self, name, id)
  local f = type(id) == "string" and self.program.fragments:find(id)
  if not f then error(name .. ": there is no fragment of that name; fragments(\"part\") lists them", 3) end
  local out, message = self.program.fragments:traced(f)
  if not out then error(message, 0) end
  return out
end

local function functions(self)
  local A, F = {}, self.program.fragments

  --- The object with a change, and the effect of the change.
  function A.edit(object, fn)
    if type(fn) ~= "function" then error("edit: expected an object and a function that changes it", 2) end
    local kind = kind_of(self, object, "edit")
    local changed = copy(object)
    local result = fn(changed)
    if type(result) == "table" then changed = result end
    return command("put", { kind = kind, json = helpers.json_encode(changed) })
  end

  --- The same for a deleted object.
  function A.remove(object)
    local kind, id = kind_of(self, object, "remove")
    return command("delete", { kind = kind, id = id })
  end

  function A.render() return command("render", {}) end

  --- Sends a request to a real HAProxy with the rendered configuration: the fields of a test's request.
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

  --- The reads of a fragment: a change of any of these runs it again.
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

  --- The present output of a fragment.
  function A.output(id) return self:contributions((traced(self, "output", id))) end

  --- The output of `haptic explain`: for a request, a line, an object, or the code of a finding.
  function A.explain(what)
    if type(what) == "table" then
      local kind, id = kind_of(self, what, "explain")
      return command("explain", { kind = kind, id = id })
    end
    if type(what) ~= "string" then
      error('explain: expected "shop.test/cart", "haproxy.cfg:12", an object, or the code of a finding', 2)
    end
    return command("explain", { what = what })
  end

  --- The output of a fragment, with the template line that wrote each line.
  function A.trace(id)
    local out = traced(self, "trace", id)
    return self:contributions(out, out.trace)
  end

  --- The CPU time of a function that is called this many times.
  function A.time(fn, count)
    if type(fn) ~= "function" then error("time: expected a function, and perhaps how often to call it", 2) end
    local cpu, n = F.turns.cpu, tonumber(count) or 1
    if n < 1 or n > 1e6 then error("time: a function is called 1 to 1000000 times", 2) end
    local began, result = cpu(), nil
    for _ = 1, n do result = fn() end
    local seconds = cpu() - began
    return printer.raw(format("%s: %d run%s, %.3f ms, %.3f us each", printer.show(result), n, n == 1 and "" or "s",
      seconds * 1e3, seconds / n * 1e6))
  end

  --- The cost of the definitions of fragments since the renderer began: JSON of the slowest ones.
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
    for i = #list, (tonumber(most) or 200) + 1, -1 do list[i] = nil end
    return printer.raw(helpers.json_encode(list))
  end

  function A.yaml(v) return printer.raw(printer.yaml(v)) end
  function A.print(...)
    for i = 1, select("#", ...) do
      self.printed[#self.printed + 1] = (i > 1 and "\t" or "") .. sandbox.tostring((select(i, ...)))
    end
    self.printed[#self.printed + 1] = "\n"
  end
  function A.help(...)
    if select("#", ...) > 0 and select(1, ...) == nil then
      error("help: the value is nil; help() lists the names", 2)
    end
    return printer.raw(topics.help((select(1, ...)), function(v) return self:name_of(v) end,
      function(name) return self:source_of(name) end))
  end
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

--- The name under which a value has help: a global, a kind, a method of what functions are handed.
function Repl:name_of(v)
  if type(v) ~= "function" and type(v) ~= "table" then return nil end
  if not self.names then
    self.names = {}
    for name in pairs(topics.rows) do
      local value = self.api[name]
      if value ~= nil then self.names[value] = name end
    end
    for _, accessor in pairs(self.program.accessors) do self.names[accessor] = "resources" end
    local out, body = emitters.new(self.program.settings, "help"), bodies.Body
    for name in pairs(topics.methods) do
      local of, method = match(name, "^(%w+)[.:]([%w_]+)$")
      local value = of == "out" and out[method] or of == "b" and body[method]
        or of == "string" and self.env.string[method]
      if value then self.names[value] = name end
    end
  end
  if v == rawget(self.env, "out") then return "out" end
  return self.names[v]
end

--- The text of a script or template.
function Repl:source_of(name)
  local source = self.program.source
  for _, script in ipairs(source.scripts or {}) do
    if script.name == name then return script.source end
  end
  return source.snippets and source.snippets[name]
end

--- What `resources` shows: the kinds, and how many objects each has.
function Repl:kinds()
  local lines = {}
  for _, name in ipairs(sandbox.sorted_keys(self.program.objects.kinds)) do
    local count = 0
    for _ in pairs(self.program.objects.kinds[name].by_id) do count = count + 1 end
    lines[#lines + 1] = format("resources.%s    %d object%s", name, count, count == 1 and "" or "s")
  end
  return printer.raw(table.concat(lines, "\n"))
end

--- The contributions of an output as lines of text, each with its template line where there is a trace.
function Repl.contributions(_, out, trace)
  local lines = {}
  for i = 0, out.n - 1 do
    local kind, scope, key, s = out.items[i * 6 + 1], out.items[i * 6 + 4], out.items[i * 6 + 5], out.items[i * 6 + 6]
    lines[#lines + 1] = format("%s %s%s", KINDS_OF_OUTPUT[kind], scope, key ~= "" and " " .. key or "")
    local at = 0
    for line in (s .. "\n"):gmatch("([^\n]*)\n") do
      at = at + 1
      local where = trace and trace[i + 1]
      if type(where) == "table" then where = where[at] end
      if line ~= "" then
        lines[#lines + 1] = "    " .. line .. (type(where) == "string" and where ~= "" and "    -- " .. where or "")
      end
    end
  end
  return printer.raw(table.concat(lines, "\n"))
end

local function pack(...) return { n = select("#", ...), ... } end

-- A chunk that is cut off by the end of the text: the compiler reports this, also within long strings and comments.
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
  for i = 1, results.n do
    local v = results[i]
    if v == self.api.resources then v = self:kinds() end
    lines[i] = printer.show(v)
  end
  keep_result(self, results[1])
  return table.concat(lines, "\n")
end

local function answer(self, out, ok, results)
  local before = table.concat(self.printed)
  self.printed = {}
  if not ok then return "error\n" .. before .. sandbox.tostring(results) end
  local first = results[1]
  if type(first) == "table" and COMMAND[first] then
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

--- Possible contents of an open string, by the call or field before it.
local function candidates_in_string(self, before, prefix, list)
  local function add(name)
    if sub(name, 1, #prefix) == prefix and #list < 500 then list[#list + 1] = name end
  end
  local name = match(before, "([%a_]+)%s*%(?%s*=?%s*$")
  if name == "reads" or name == "output" or name == "trace" or name == "fragments" then
    for _, id in ipairs(self.functions.fragments()) do add(id) end
  elseif name == "help" then
    for topic in pairs(topics.rows) do add(topic) end
    for topic in pairs(topics.methods) do add(topic) end
  elseif name == "extend" then
    for point in pairs(self.program.points.known) do add(point) end
  elseif match(before, "resources%.[%w_]+:get%s*%(%s*$") or match(before, "resources%.[%w_]+:get%s*%(.*,%s*$") then
    local kind = self.program.objects.kinds[match(before, "resources%.([%w_]+):get")]
    local namespace = match(before, ":get%s*%(%s*[\"']([^\"']*)[\"']%s*,%s*$")
    local seen = {}
    for id in pairs(kind and kind.by_id or {}) do
      local first, second = match(id, "^([^/]*)/(.*)$")
      local candidate = namespace and (first == namespace and second or nil) or not namespace and (first or id)
      if candidate and not seen[candidate] then
        seen[candidate] = true
        add(candidate)
      end
    end
  end
end

--- Completions of the last word of a line.
---@return string one name in each line, in order
function Repl:complete(line)
  local path, prefix = match(line, "([%a_][%w_%.]*)[%.:](" .. WORD .. "*)$")
  local list = {}
  local before, open = match(line, "^([^\"]*)\"([^\"]*)$")
  if not before then before, open = match(line, '^(.*"[^"]*"[^"]*)"([^"]*)$') end
  if before and select(2, before:gsub('"', "")) % 2 == 0 then
    candidates_in_string(self, before, open, list)
    table.sort(list)
    return table.concat(list, "\n")
  end
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
