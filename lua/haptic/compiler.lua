--- compiler.lua — compiles text templates to Lua.
--
-- Each template line becomes exactly one line of Lua. So every error, at compile time and at run time, has the
-- template's own line number. Literal text is written line by line; {{ e }} writes one value; {% s %} is code; {# c #}
-- is removed. `-` inside a delimiter removes the white space on that side, including one newline.
local foreign = require("haptic.foreign")

local M = {}

local find, match, sub, gsub, byte = string.find, string.match, string.sub, string.gsub, string.byte
local format, rep = string.format, string.rep
local concat = table.concat

--- Largest template, in bytes.
M.MAX_SOURCE = 1024 * 1024

local function count_lines(s)
  local _, n = gsub(s, "\n", "")
  return n
end

--- The first character after a long bracket that opens at i ("[[", "[=["); nil when none opens at i; after the end of
--- the text when it is not closed.
local function skip_long_bracket(code, i)
  local _, last, level = find(code, "^%[(=*)%[", i)
  if not last then return nil end
  local _, close = find(code, "]" .. level .. "]", last + 1, true)
  return (close or #code) + 1
end

--- The first character after the quoted string that begins at i.
local function skip_quoted(code, i)
  local quote = sub(code, i, i)
  local j = i + 1
  while j <= #code do
    local c = sub(code, j, j)
    if c == "\\" then j = j + 2
    elseif c == quote then return j + 1
    else j = j + 1 end
  end
  return j
end

--- Call on_text(i, j), on_comment(i, j) for the stretches of Lua code.
local function each_stretch(code, on_text, on_comment)
  local i, start = 1, 1
  while i <= #code do
    local c = byte(code, i)
    if c == 45 and byte(code, i + 1) == 45 then
      if i > start then on_text(start, i - 1) end
      local stop = skip_long_bracket(code, i + 2)
      if not stop then stop = find(code, "\n", i, true) or #code + 1 end
      on_comment(i, stop - 1)
      i, start = stop, stop
    elseif c == 34 or c == 39 then
      i = skip_quoted(code, i)
    elseif c == 91 then
      i = skip_long_bracket(code, i) or i + 1
    else
      i = i + 1
    end
  end
  if i > start then on_text(start, #code) end
end

--- Lua code with its comments replaced by blanks, because code of the same line follows. Carriage returns become
--- blanks, because Lua would count each as a line.
local function without_comments(code)
  if find(code, "\r", 1, true) then code = gsub(code, "\r", " ") end
  if not find(code, "--", 1, true) then return code end
  local out = {}
  each_stretch(code, function(i, j) out[#out + 1] = sub(code, i, j) end,
    function(i, j) out[#out + 1] = " " .. rep("\n", count_lines(sub(code, i, j))) end)
  return concat(out)
end

--- Where the closing delimiter of a code block begins: not inside of a string or comment of the code.
local function find_close(source, from, close)
  local i = from
  while i <= #source do
    if sub(source, i, i + #close - 1) == close then return i end
    local c = byte(source, i)
    if c == 34 or c == 39 then
      i = skip_quoted(source, i)
    elseif c == 91 then
      i = skip_long_bracket(source, i) or i + 1
    elseif c == 45 and byte(source, i + 1) == 45 and skip_long_bracket(source, i + 2) then
      i = skip_long_bracket(source, i + 2)
    else
      i = i + 1
    end
  end
  return nil
end

--- The end of the text before a "-": white space is removed, including one newline.
local function trimmed_end(text)
  local stop = #text
  while stop > 0 do
    local c = byte(text, stop)
    if c ~= 32 and c ~= 9 then break end
    stop = stop - 1
  end
  if byte(text, stop) == 10 then
    stop = stop - 1
    if byte(text, stop) == 13 then stop = stop - 1 end
  end
  return stop
end

local CLOSE = { ["{{"] = "}}", ["{%"] = "%}", ["{#"] = "#}" }

--- The parts of a template: {kind = "text" | "skip" | "{{" | "{%" | "{#", body, line of a tag}.
local function parse(source)
  local parts, at, line = {}, 1, 1 -- line: that of `at`
  local trim_next = false
  local function add_text(text)
    if trim_next then
      local _, stop = find(text, "^[ \t\r]*\n?")
      if stop and stop > 0 then
        parts[#parts + 1] = { kind = "skip", body = sub(text, 1, stop) }
        text = sub(text, stop + 1)
      end
      trim_next = false
    end
    if text ~= "" then parts[#parts + 1] = { kind = "text", body = text } end
  end
  while true do
    local open = find(source, "{[{%%#]", at)
    if not open then
      add_text(sub(source, at))
      return parts
    end
    local kind = sub(source, open, open + 1)
    local text = sub(source, at, open - 1)
    line = line + count_lines(text)
    local body_from = open + 2
    local trim_left = sub(source, body_from, body_from) == "-" and kind ~= "{#"
    if trim_left then body_from = body_from + 1 end
    local close
    if kind == "{#" then
      close = find(source, "#}", body_from, true)
    else
      close = find_close(source, body_from, CLOSE[kind])
    end
    if not close then return nil, line, format("'%s' is never closed by '%s'", kind, CLOSE[kind]) end
    local body_to = close - 1
    local trim_right = kind ~= "{#" and body_to >= body_from and sub(source, body_to, body_to) == "-"
    if trim_right then body_to = body_to - 1 end
    if trim_left then
      local stop = trimmed_end(text)
      add_text(sub(text, 1, stop))
      if stop < #text then parts[#parts + 1] = { kind = "skip", body = sub(text, stop + 1) } end
    else
      add_text(text)
    end
    trim_next = trim_right
    parts[#parts + 1] = { kind = kind, body = sub(source, body_from, body_to), line = line }
    line = line + count_lines(sub(source, open, close))
    at = close + 2
  end
end

--- Lua that writes a literal: one statement per line of it, on that line.
local function literal(out, text)
  local from = 1
  while from <= #text do
    local nl = find(text, "\n", from, true)
    local piece = sub(text, from, nl or #text)
    -- %q writes a newline as a backslash and a newline; as \n it stays on one line.
    out[#out + 1] = " __text(" .. gsub(gsub(format("%q", piece), "\\\n", "\\n"), "\r", "\\r") .. ");"
    if nl then out[#out + 1] = "\n" end
    from = (nl or #text) + 1
  end
end

--- The error in an expression, "name:line: …", or nil.
local function check(code, name, line, env, load_chunk)
  local chunk, message = load_chunk(code, name, env)
  if chunk or line == 1 then return message end
  -- The preceding lines are needed only now.
  chunk, message = load_chunk(rep("\n", line - 1) .. code, name, env)
  return not chunk and message or nil
end

--- Compile a template.
---@param source string
---@param name string file name for messages
---@param env table from sandbox.environment(), with __text(s) and __value(v)
---@param load_chunk function sandbox.load
---@return function|nil chunk takes the table `args`
---@return string|nil message "name:line: …"
function M.compile(source, name, env, load_chunk)
  if #source > M.MAX_SOURCE then
    return nil, format("%s:1: the template is longer than %d bytes", name, M.MAX_SOURCE)
  end
  local parts, line, message = parse(source)
  if not parts then return nil, format("%s:%d: %s", name, line, message) end
  local out = { "local args = ...; local it = args;" }
  for _, part in ipairs(parts) do
    if part.kind == "text" then
      literal(out, part.body)
    elseif part.kind == "{{" then
      local code = without_comments(part.body)
      if not find(code, "%S") then return nil, format("%s:%d: '{{ }}' without an expression", name, part.line) end
      message = check("return (" .. code .. ")", name, part.line, env, load_chunk)
      if message then return nil, message .. foreign.hint(source, part.line) end
      out[#out + 1] = " __value((" .. code .. "));"
    elseif part.kind == "{%" then
      out[#out + 1] = " " .. without_comments(part.body) .. " "
    else
      out[#out + 1] = rep("\n", count_lines(part.body))
    end
  end
  local chunk
  chunk, message = load_chunk(concat(out), name, env)
  if chunk then return chunk end
  return nil, message .. foreign.hint(source, tonumber(match(message, "^[^\n]-:(%d+):")))
end

return M
