--- text.lua — running text templates, and the destination of their output.
--
-- A writer collects one output. Its mode decides what {{ }} may write: "config" makes one word of HAProxy's language,
-- and takes account of the quotes and comments around it; "map" makes sure that a key stays one key; "file" accepts any
-- text.
local compiler = require("haptic.compiler")
local bodies = require("haptic.body")
local emitters = require("haptic.emitters")
local nearest = require("haptic.nearest")
local rewriting = require("haptic.rewriting")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local error, type, setmetatable, pairs, ipairs = error, type, setmetatable, pairs, ipairs
local find, sub, match, format = string.find, string.sub, string.match, string.format

--- Deepest nesting of include.
M.MAX_DEPTH = 40

local Text = {}
Text.__index = Text

--- Text templates of a program.
---@param settings table {allow_raw=boolean}
function M.new(settings)
  return setmetatable({ settings = settings, chunks = {}, names = {}, writer = nil, depth = 0,
    rewrites = {} }, Text) -- rewrites: rewriting.lua, by the names of whole files
end

local RAW = {}

local function config_value(w, v)
  if w.escaped then error("the value of {{ }} stands behind a backslash, which would escape its quote", 0) end
  return word.embed(w.state, v, "the value of {{ }}")
end

local function map_value(w, v)
  local s = word.text(v, "the value of {{ }}")
  word.check(s, "the value of {{ }}")
  local line = w.line
  if not find(line, "%S%s") then -- still in the key
    if find(s, "%s") then
      error("the value of {{ }} has a blank, which would end the map's key: " .. word.show(s), 0)
    end
    if not find(line, "%S") and sub(s, 1, 1) == "#" then
      error("the value of {{ }} begins with '#', which makes a comment of the map's line", 0)
    end
  end
  return s
end

local function file_value(_, v)
  return word.text(v, "the value of {{ }}")
end

local function list_value(_, v)
  local s = word.text(v, "the value of {{ }}")
  word.check(s, "the value of {{ }}")
  if find(s, "[%s%[%]]") or find(s, "^[#!]") then
    error("the value of {{ }} is no word of a crt-list: " .. word.show(s), 0)
  end
  return s
end

local VALUE = { config = config_value, map = map_value, file = file_value, list = list_value }

local function write(w, s)
  if s == "" then return end
  local bytes = w.bytes + #s
  if bytes > w.max then
    bodies.pass_limit(w.out, format("the text is larger than the %d bytes of one fragment's output", w.max))
  end
  w.bytes = bytes
  local n = w.n + 1
  w.n = n
  w.buf[n] = s
  if w.mode == "config" then
    w.state, w.escaped = word.advance(w.state, s, w.escaped)
  elseif w.mode == "map" then
    w.line = find(s, "\n", 1, true) and match(s, "^.*\n(.*)$") or w.line .. s
  end
  if w.values then
    for _ in string.gmatch(s, "\n") do w.value_line = w.value_line + 1 end
  end
  if w.where then
    local site = bodies.call_site()
    w.where[w.line_number] = w.where[w.line_number] or site
    for at in string.gmatch(s, "\n()") do
      w.line_number = w.line_number + 1
      w.where[w.line_number] = at <= #s and site or nil
    end
  end
end

--- The functions that text templates have besides those of scripts.
function Text:functions()
  local T = {}
  function T.__text(s) write(self.writer, s) end
  function T.__value(v)
    local w = self.writer
    if type(v) == "table" and v[RAW] then
      write(w, v[RAW])
      return
    end
    local ok, s = pcall(VALUE[w.mode], w, v)
    if not ok then error(s, 2) end
    if w.values and s ~= "" then rewriting.note(w.values, w.value_line, s, w.mode == "config" and w.state or nil) end
    write(w, s)
  end
  function T.raw(v)
    if not self.settings.allow_raw then error("raw: raw text is switched off in this configuration", 2) end
    local s = sandbox.tostring(v)
    if find(s, "%z") then error("raw: the text has a NUL byte", 2) end
    return { [RAW] = s }
  end
  function T.include(name, args)
    local chunk = self.chunks[name]
    if not chunk then
      error("include: there is no snippet " .. word.show(sandbox.tostring(name)) .. nearest.hint(name, self.names), 2)
    end
    if self.depth >= M.MAX_DEPTH then error("include: nested deeper than " .. M.MAX_DEPTH .. " at " .. name, 2) end
    self.depth = self.depth + 1
    chunk(args or {})
    self.depth = self.depth - 1
  end
  function T.include_all(pattern, args)
    for _, snippet in ipairs(self:matching(pattern)) do T.include(snippet.name, args) end
  end
  return T
end

--- Compile and keep a snippet.
---@return string|nil message
function Text:add(name, source, env)
  local chunk, message = compiler.compile(source, name, env, sandbox.load)
  if not chunk then return message end
  self.chunks[name] = chunk
  self.names[#self.names + 1] = name
  return nil
end

--- The snippets of a point, "features-*" or "features": those named features-NUMBER-anything, sorted by number, then
--- name; those without a number come last.
---@return table list of {name=, order=}
function Text:matching(pattern)
  if type(pattern) ~= "string" or pattern == "" then
    error("expected the name of a point, such as \"features-*\"", 3)
  end
  local prefix = match(pattern, "^(.-)%-?%*?$") .. "-"
  local list = {}
  for _, name in ipairs(self.names) do
    if sub(name, 1, #prefix) == prefix then
      local digits = match(name, "^%d+", #prefix + 1)
      list[#list + 1] = { name = name, order = digits and #digits <= 6 and tonumber(digits) or 1000000 }
    end
  end
  table.sort(list, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    return a.name < b.name
  end)
  return list
end

--- The last line that has code. `return f()` leaves nothing on the stack that shows its line, and on the top level of a
--- template it is the last statement. (After a lack of memory the stack shows no line either.)
local function last_line(chunk)
  local last = 1
  for line in pairs(debug.getinfo(chunk, "L").activelines) do
    if line > last then last = line end
  end
  return last
end

--- Run a template.
---@param mode string "config", "map", "list" (a crt-list) or "file"
---@param out table what the text is a part of: from emitters.new()
---@param trace boolean note where each line came from
---@param values table|nil which values of {{ }} stand in which line (rewriting.lua)
---@return string text
---@return table|nil where line number → "file:line"
function Text:render(name, mode, args, out, trace, values)
  local outer, depth = self.writer, self.depth
  local w = { mode = mode, out = out, buf = {}, n = 0, bytes = 0, max = self.settings.max_bytes, state = "plain",
    line = "", where = trace and {} or nil, line_number = 1, values = values, value_line = 1 }
  self.writer, self.depth = w, outer and depth or 0
  local ok, message = xpcall(self.chunks[name], M.handler, args or {})
  self.writer, self.depth = outer, depth
  if not ok then
    if not M.has_place(message) then message = name .. ":" .. last_line(self.chunks[name]) .. ": " .. message end
    error(message, 0)
  end
  bodies.check_limits(out)
  return table.concat(w.buf), w.where
end

-- Checks whether a running function belongs to a template of that name. Only then does the message begin with a place
-- of error(); otherwise it is the author's own text.
local function is_running(name)
  for level = 3, 60 do
    local info = debug.getinfo(level, "S")
    if not info then return false end
    if info.source == "=" .. name then return true end
  end
  return false
end

--- True when a message begins with "file:line: ".
function M.has_place(message) return find(message, "^[^:%s]+:%d+: ") ~= nil end

--- For xpcall: the message, which begins with the template's file and line, whatever function raised the error.
function M.handler(e)
  if type(e) ~= "string" then e = "an error that is a " .. type(e) .. ", not a message" end
  local site = bodies.call_site()
  local own = match(e, "^[^\n]-/haptic/[%w_]+%.lua:%d+: (.*)$") or match(e, "^haptic%.?[%w_./]*:%d+: (.*)$")
  if own then e = own end
  if site ~= "" and not (M.has_place(e) and is_running(match(e, "^[^:]*"))) then e = site .. ": " .. e end
  return e
end

--- The lines of a snippet, in a section's body.
function bodies.Body:include(name, args)
  local templates = bodies.templates_of(self)
  if not templates.chunks[name] then
    local hint = nearest.hint(name, templates.names)
    error("include: there is no snippet " .. word.show(sandbox.tostring(name)) .. hint, 2)
  end
  local rendered, where = templates:render(name, "config", args, self.out, self.out.trace ~= nil)
  local number, lines, sites = 0, {}, {}
  for line in string.gmatch(rendered .. "\n", "([^\n]*)\n") do
    number = number + 1
    local body = sandbox.trim(line)
    if bodies.leaves_section(match(body, "^%S+")) then
      error(format("include: %s: %s is no line of a section", name, word.show(body)), 2)
    end
    if body ~= "" then
      lines[#lines + 1] = body
      sites[#lines] = where and where[number] or ""
    end
  end
  -- All or nothing: when a template catches an error, no half of a snippet remains.
  for i, body in ipairs(lines) do
    bodies.add(self, sub(body, 1, 1) == "#" and "#" or match(body, "^%S+"), body, sites[i])
  end
end

-- Whole files -----------------------------------------------------------------------------------------------

local SECTIONS = word.SECTIONS

--- Raises an error in a line of the rendering. It begins with the template's line when that is known.
local function refuse(where, number, ...)
  local site = where and where[number] or ""
  error((site ~= "" and site .. ": " or "") .. format(...), 0)
end

--- Renders a whole file and turns it into contributions: finish(out, name, text, where).
---@param full string the template
---@param name string what finish calls it
function Text:render_file(full, mode, out, name, finish)
  local rules = self.rewrites[full]
  local function rendered(trace)
    local values = rules and {} or nil
    local text, where = self:render(full, mode, nil, out, trace, mode ~= "file" and values or nil)
    return text, where, values
  end
  local function put(text, where, values)
    finish(out, name, rules and rewriting.apply(rules, text, values, where) or text, where)
  end
  if out.trace then return put(rendered(true)) end
  local text, _, values = rendered(false)
  -- Renders once more, because the place of each line is needed only now.
  if not pcall(put, text, nil, values) then put(rendered(true)) end
end

--- Split a whole configuration into section contributions of `out`. Ranks keep the order of the text.
---@param out table from emitters.new()
---@param text string
---@param where table|nil line number → "file:line"
function M.split_config(out, _, text, where)
  local current, position, number = nil, 0, 0
  local sections, by_scope, any_defaults = {}, {}, false
  for line in string.gmatch(text .. "\n", "([^\n]*)\n") do
    number = number + 1
    local body = sandbox.trim(line)
    local first = match(body, "^(%S+)")
    if first and SECTIONS[first] then
      local header = string.gsub(string.gsub(body, "%s+", " "), " #.*$", "")
      local scope, from = match(header, "^(.-) from (%S+)$")
      scope = scope or header
      -- Without a defaults section before it, this section must not be derived from one of another text.
      if not from and not any_defaults and emitters.DERIVED[first] then from = false end
      any_defaults = any_defaults or first == "defaults"
      position = position + 1
      current = by_scope[scope]
      if current then
        if first ~= "global" then
          refuse(where, number,
            "line %d of the rendered configuration: a second section %s; give each a name of its own", number,
            word.show(scope))
        end
      else
        current = { scope = scope, from = from, rank = 1000 + position, lines = {}, where = where and {} or nil,
          header = where and where[number] }
        by_scope[scope] = current
        sections[position] = current
      end
    elseif current then
      if body ~= "" then
        current.lines[#current.lines + 1] = body
        if where then current.where[#current.lines] = where[number] end
      end
    elseif first and sub(first, 1, 1) ~= "#" then
      refuse(where, number, "line %d of the rendered configuration: %s is outside of any section", number,
        word.show(body))
    end
  end
  for _, s in pairs(sections) do
    local body = emitters.join(s.lines, #s.lines)
    emitters.put(out, emitters.SECTION, s.rank, emitters.ORDER, s.scope, "body", body, s.where)
    local from = s.from
    if from == false then from = emitters.put_no_defaults(out) end
    if from then emitters.put(out, emitters.SECTION_FROM, s.rank, 0, s.scope, "from", from, s.header) end
  end
end

--- The lines of a crt-list's text: a certificate, perhaps options between brackets, names.
function M.split_crt_list(out, name, text, where)
  local number = 0
  for line in string.gmatch(text .. "\n", "([^\n]*)\n") do
    number = number + 1
    local body = sandbox.trim(line)
    if body ~= "" and sub(body, 1, 1) ~= "#" then
      local certificate, rest = match(body, "^(%S+)%s*(.*)$")
      local options, names = match(rest, "^%[([^%]]*)%]%s*(.*)$")
      local sni, words = {}, {}
      for w in string.gmatch(names or rest, "%S+") do
        if sub(w, 1, 1) == "!" then
          refuse(where, number, "crt-list %s: line %d: a name that is left out (%s) is not available: name those that"
            .. " the certificate is for", name, number, word.show(w))
        end
        sni[#sni + 1] = string.lower(w)
      end
      for w in string.gmatch(options or "", "%S+") do words[#words + 1] = w end
      local ok, all = pcall(out.crt_list, out, name, match(certificate, "^certs/(.+)$") or certificate,
        { sni = #sni > 0 and sni or nil, options = #words > 0 and words or nil })
      if not ok then
        refuse(where, number, "crt-list %s: line %d: %s", name, number, match(all, "crt_list: (.*)$") or all)
      end
      if not all then
        refuse(where, number, "crt-list %s: line %d: a line before gives one of its names another certificate", name,
          number)
      end
    end
  end
end

--- The entries of a map's text: one per line, key, blanks, value.
function M.split_map(out, name, text, where)
  out:map(name)
  local number = 0
  for line in string.gmatch(text .. "\n", "([^\n]*)\n") do
    number = number + 1
    local body = sandbox.trim(line)
    if body ~= "" and sub(body, 1, 1) ~= "#" then
      local key, value = match(body, "^(%S+)%s+(.*)$")
      if not key then
        refuse(where, number, "map %s: line %d has a key without a value: %s", name, number, word.show(body))
      end
      if not emitters.put(out, emitters.MAP_ENTRY, 0, 0, name, key, value, where and { where[number] }) then
        refuse(where, number, "map %s: line %d gives the key %s a second value", name, number, word.show(key))
      end
    end
  end
end

return M
