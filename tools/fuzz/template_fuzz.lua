--- template_fuzz.lua — what holds of any bytes as text templates.
--
-- The fuzzer runs this in the renderer's Lua state in place of the engine (core/engine/vm.h), spec/lua/corpus_spec.lua
-- runs it over the kept inputs. An input is one or several templates with \30 between them: the first is the
-- configuration, a map and a file at once, the others are snippets that it can include. configure() answers "" or what
-- does not hold.
--
-- The global fuzz_budget(n) allows n lines of Lua to run; behind that an error with OVER in it is raised at every line
-- that is not of this file. fuzz_budget() gives how many did run, and ends the counting. Meanwhile a template may call
-- nothing but its own functions and those in the global table fuzz_allowed.
local compiler = require("haptic.compiler")
local program = require("haptic.program")
local sandbox = require("haptic.sandbox")
local text = require("haptic.text")

local OVER = "fuzz: over the budget"
-- Lines of Lua and bytes of garbage that the compiler may need, for each byte of a template.
local COMPILE_LINES, COMPILE_BYTES, COMPILE_BASE = 60, 700, 20000
local RENDER_LINES = 20000
local NAMES = { "main", "x", "f-10-a", "f-9-b", "f-c", "deep-er.1" }
-- Complaints about a rendering as a whole, in which no line of the template is at fault.
local WHOLE = {
  "the template's output differs when run a second time", "not enough memory", "the output of one fragment",
  "contribution ",
}

local find, format, gsub, match = string.find, string.format, string.gsub, string.match
local rep, sub = string.rep, string.sub

local function line_count(s)
  local _, n = gsub(s, "\n", "")
  return n + 1
end

--- The place that a message begins with: name and line, or nil.
local function place_of(message)
  local name, line = match(message, "^([%w/._-]+):(%d+): ")
  return name, tonumber(line)
end

--- Raise what does not hold.
local function broken(fmt, ...) error({ broken = format(fmt, ...) }, 0) end

-- What no template may get hold of.
local FORBIDDEN = {}
for _, name in ipairs({ "load", "loadstring", "loadfile", "dofile", "require", "getfenv", "setfenv", "getmetatable",
  "setmetatable", "rawset", "rawget", "newproxy", "collectgarbage", "print", "xpcall", "next" }) do
  if _G[name] then FORBIDDEN[_G[name]] = name end
end
for _, library in ipairs({ "debug", "jit", "coroutine", "io", "os", "package" }) do
  for name, value in pairs(_G[library] or {}) do FORBIDDEN[value] = library .. "." .. name end
end
for _, fn in ipairs({ string.dump, math.random, math.randomseed, string.rep, _G.tostring, _G.pairs, _G }) do
  FORBIDDEN[fn] = "what sandbox.lua replaces"
end

--- Note the functions that can be reached from a value.
local function allow(v, seen)
  if type(v) ~= "function" and type(v) ~= "table" or seen[v] then return end
  seen[v] = true
  if FORBIDDEN[v] then broken("templates can reach %s", FORBIDDEN[v]) end
  if type(v) == "function" then
    fuzz_allowed[v] = true
    -- What it ends with by `return f()` seems to be called by the template.
    for i = 1, 60 do
      local name, value = debug.getupvalue(v, i)
      if not name then break end
      if type(value) == "function" then fuzz_allowed[value] = true end
    end
    return
  end
  for _, field in next, v do allow(field, seen) end
  for _, field in next, debug.getmetatable(v) or {} do allow(field, seen) end
end

--- All environments are made as ever, and what they have is noted.
local function watch_environments()
  local environment, seen = sandbox.environment, setmetatable({}, { __mode = "k" })
  fuzz_allowed = setmetatable({ [text.handler] = true }, { __mode = "k" }) -- called where an error is raised
  function sandbox.environment(api)
    local env = environment(api)
    allow(env, seen) -- with the globals, among which its metatable looks
    allow((ipairs({})), seen)
    allow((sandbox.pairs({})), seen)
    return env
  end
end

--- Patterns cannot be interrupted: what takes long in them is the deadline's business, not that of a fuzzer.
local function bound_patterns()
  for _, name in ipairs({ "find", "match", "gmatch", "gsub" }) do
    local fn = sandbox.string[name]
    sandbox.string[name] = function(s, pattern, ...)
      local _, repetitions = gsub(tostring(pattern), "[*+?-]", "")
      if repetitions > 2 or #tostring(s) > 100 then error("too much for a pattern in a fuzzer", 2) end
      if name ~= "gmatch" then return fn(s, pattern, ...) end
      local iterator = fn(s, pattern)
      fuzz_allowed[iterator] = true
      return iterator
    end
  end
end

--- Compile, with limits; the chunk or a message, and the Lua that it was made of.
local function compile(source, name)
  local env = sandbox.environment({ __text = error, __value = error })
  local generated
  local function load_chunk(code, ...)
    generated = code
    return sandbox.load(code, ...)
  end
  collectgarbage("stop")
  local before = collectgarbage("count")
  fuzz_budget(COMPILE_BASE + COMPILE_LINES * #source)
  local ok, chunk, message = pcall(compiler.compile, source, name, env, load_chunk)
  fuzz_budget()
  local grown = (collectgarbage("count") - before) * 1024
  collectgarbage("restart")
  if not ok then broken("the compiler raises: %s", tostring(chunk)) end
  if grown > COMPILE_BASE * 10 + COMPILE_BYTES * #source then
    broken("%d bytes of memory for %d bytes of template", grown, #source)
  end
  if chunk then return chunk, nil, generated end
  return nil, message, generated
end

--- A message of the compiler names a line of the template, and the right one: it moves with the text.
local function check_message(source, name, message)
  if type(message) ~= "string" then broken("the message is a %s", type(message)) end
  local at, line = place_of(message)
  if at ~= name then broken("a message without place: %s", message) end
  if line < 1 or line > line_count(source) then
    broken("line %d of a template of %d: %s", line, line_count(source), message)
  end
  local _, moved = compile("\n\n" .. source, name)
  local _, moved_line = place_of(moved or "")
  if moved_line ~= line + 2 then broken("two lines further down: %s; before: %s", moved or "no error", message) end
end

local function check_compiler(source, name)
  local chunk, message, generated = compile(source, name)
  local _, message_again, again = compile(source, name)
  if message ~= message_again or generated ~= again then broken("compiled twice, two results") end
  if not chunk then
    check_message(source, name, message)
  elseif line_count(generated) ~= line_count(source) then
    broken("%d lines of Lua for %d of the template", line_count(generated), line_count(source))
  end
  return chunk ~= nil
end

-- Rendering -------------------------------------------------------------------------------------------------

--- A host that keeps what the fragments put out.
local function host_new()
  local H = { fragments = {}, failures = {} }
  H.api = {
    at = function() end, gone = function() end, log = function() end,
    fragment = function(id, _, _, _, _, items, n)
      local copy = {}
      for i = 1, n * 6 do copy[i] = items[i] end
      H.fragments[id] = copy
      return "digest"
    end,
    failed = function(id, template, _, _, _, message) H.failures[id] = { template = template, message = message } end,
    digest = function(s) return format("%08x", #s) .. rep("0", 24) end,
    decode = function() return nil, "no JSON here" end,
  }
  return H
end

--- A program with these templates, rendered. nil when the budget ended it.
local function render(templates)
  local source = { kinds = {}, snippets = {}, maps = { m = templates[1] }, files = { f = templates[1] },
    haproxyConfig = templates[1], extraContext = { n = 1, list = { "a", "b" } }, allowRaw = true, checked = true }
  for i = 2, #templates do source.snippets[NAMES[i]] = templates[i] end
  local host = host_new()
  fuzz_allowed[host.api.digest], fuzz_allowed[host.api.decode] = true, true
  fuzz_budget(RENDER_LINES + 20 * COMPILE_LINES * #table.concat(templates))
  local ok, loaded, message = pcall(program.load, source, host.api)
  if ok and loaded then
    fuzz_budget(RENDER_LINES)
    ok, message = pcall(loaded.fragments.render, loaded.fragments)
  end
  local explained = {}
  for id, items in pairs(ok and loaded and host.fragments or {}) do
    for i = 1, math.min(#items, 12), 6 do
      local went, where = pcall(loaded.fragments.explain, loaded.fragments, id, items[i], items[i + 3], items[i + 4], 0)
      if not went and not find(tostring(where), OVER, 1, true) then broken("explain raises: %s", tostring(where)) end
      explained[#explained + 1] = went and where or ""
    end
  end
  fuzz_budget()
  if not ok then
    if find(tostring(loaded) .. tostring(message), OVER, 1, true) then return nil end
    broken("the engine raises: %s", tostring(loaded and message or loaded))
  end
  -- A snippet that nothing includes and no point takes is refused as a whole.
  if not loaded and find(tostring(message), ":1: no template includes this snippet", 1, true) then return nil end
  if not loaded then broken("compiled alone, but not in a program: %s", tostring(message)) end
  return host, explained
end

--- A place that a message names is in the template of that name.
local function check_place(place, name, line, templates)
  local index
  for i, known in ipairs(NAMES) do
    if name == known then index = i end
  end
  if name == "haproxyConfig" or name == "maps/m" or name == "files/f" then index = 1 end
  local source = index and templates[index]
  if not source then broken("a place in no template: %s", place) end
  if line < 1 or line > line_count(source) then broken("line %d of %d: %s", line, line_count(source), place) end
end

local function check_failure(failure, templates)
  local message = failure.message
  if type(message) ~= "string" then broken("the message is a %s", type(message)) end
  local name, line = place_of(message)
  if name then return check_place(message, name, line, templates) end
  for _, sentence in ipairs(WHOLE) do
    if find(message, failure.template .. ": " .. sentence, 1, true) == 1 then return nil end
  end
  broken("a failure without place: %s", message)
end

local function check_rendering(templates)
  local host, explained = render(templates)
  if not host then return end
  for _, failure in pairs(host.failures) do
    if find(failure.message, OVER, 1, true) then return end
    check_failure(failure, templates)
  end
  for _, place in ipairs(explained) do
    local name, line = match(place, "^(.-):(%d+)$")
    if name then check_place(place, name, tonumber(line), templates)
    elseif place ~= "" then broken("explained as %s", place) end
  end
end

--- Text without tags comes out as it went in.
local function check_literal(source)
  local out = {}
  local env = sandbox.environment({ __text = function(s) out[#out + 1] = s end, __value = error })
  local chunk, message = compiler.compile(source, NAMES[1], env, sandbox.load)
  if not chunk then broken("text that does not compile: %s", message) end
  chunk()
  if table.concat(out) ~= source then broken("text comes out changed: %s", table.concat(out)) end
end

local function split(input)
  local templates, from = {}, 1
  while #templates < #NAMES do
    local at = #templates < #NAMES - 1 and find(input, "\30", from, true)
    templates[#templates + 1] = sub(input, from, at and at - 1 or #input)
    if not at then break end
    from = at + 1
  end
  return templates
end

local function check(input)
  local templates = split(input)
  local all = true
  for i, source in ipairs(templates) do all = check_compiler(source, NAMES[i]) and all end
  if all then check_rendering(templates) end
  check_literal((gsub(input, "{", "")))
end

-- Coverage --------------------------------------------------------------------------------------------------

--- Add the lines that have code in a function and in those inside of it.
local function add_lines(fn, lines, util)
  for pc = 1, util.funcinfo(fn).bytecodes - 1 do
    lines[util.funcinfo(fn, pc).currentline] = true
  end
  for i = -1, -1000, -1 do
    local constant = util.funck(fn, i)
    if constant == nil then return end
    if type(constant) == "proto" then add_lines(constant, lines, util) end
  end
end

--- The lines of compiler.lua that can run once it is loaded: those of the functions that can be reached from compile().
local function lines_of_compiler()
  local util, lines, seen, queue = require("jit.util"), {}, {}, { compiler.compile }
  while #queue > 0 do
    local fn = table.remove(queue)
    if not seen[fn] and find(debug.getinfo(fn, "S").source, "compiler.lua", 1, true) then
      seen[fn] = true
      add_lines(fn, lines, util)
      for i = 1, 60 do
        local _, value = debug.getupvalue(fn, i)
        if type(value) == "function" then queue[#queue + 1] = value end
      end
    end
  end
  return lines
end

return function()
  local strings = debug.getmetatable("")
  local before = strings.__index
  sandbox.install()
  strings.__index = before
  sandbox.MAX_STRING = 1024 * 1024
  bound_patterns()
  watch_environments()
  local E = {}

  function E.configure(input)
    strings.__index = sandbox.string
    local ok, e = pcall(check, input)
    fuzz_budget()
    strings.__index = before
    if ok then return "" end
    return type(e) == "table" and e.broken or tostring(e)
  end

  --- reached: the numbers of lines that have run, " 12 13 …". A sentence about how many that is.
  function E.explain(reached)
    local lines, missing, all = sandbox.sorted_keys(lines_of_compiler()), {}, 0
    for _, line in ipairs(lines) do
      all = all + 1
      if not find(reached .. " ", " " .. line .. " ", 1, true) then missing[#missing + 1] = line end
    end
    return format("compiler.lua: %d of %d lines reached; not: %s", all - #missing, all, table.concat(missing, ", "))
  end

  for _, name in ipairs({ "put", "delete", "skip", "render" }) do E[name] = error end
  return E
end
