--- word.lua — values as words of HAProxy's configuration language.
--
-- HAProxy splits a line at blanks. Outside of quotes a backslash escapes, and `#` begins a comment; inside "…" `$NAME`
-- is replaced as well; inside '…' no character is special. So a value that contains other than harmless characters is
-- written between single quotes, and a single quote in it becomes '\''. A quoted piece may be in the middle of a word,
-- so text templates can put a value anywhere.
local M = {}

local find, gsub, sub, format, byte = string.find, string.gsub, string.sub, string.format, string.byte

--- Longest value of one word, in bytes; HAProxy itself works on lines of some kilobytes.
M.MAX_WORD = 8192
--- HAProxy's MAX_LINE_ARGS.
M.MAX_WORDS = 64

--- Characters that need no quotes, and form one word in a map as well.
M.BARE = "^[%w_./:@%%+=,~^*?!&|<>()%[%]{};-]+$"

--- The text form of a scalar. nil and values that cannot be in a configuration are errors.
---@param v any
---@param where string what to call it in the message
---@return string
function M.text(v, where)
  local t = type(v)
  if t == "string" then return v end
  if t == "number" then
    if v ~= v or v == math.huge or v == -math.huge then error(where .. " is not a finite number", 0) end
    if v % 1 == 0 and v < 1e15 and v > -1e15 then return format("%d", v) end
    return format("%.14g", v)
  end
  if t == "boolean" then return v and "true" or "false" end
  error(where .. " is " .. (t == "nil" and "nil" or "a " .. t) .. ", which is no word", 0)
end

--- A value for a message: short, on one line.
function M.show(s)
  s = gsub(sub(s, 1, 61), "[%c\127-\255]", function(c) return format("\\x%02x", byte(c)) end)
  if #s > 60 then s = s:sub(1, 57) .. "..." end
  return '"' .. s .. '"'
end

--- Checks what quoting cannot handle: control characters, length.
---@param s string
---@param where string
function M.check(s, where)
  if #s > M.MAX_WORD then
    error(format("%s is %d bytes long, more than the %d a word may have: %s", where, #s, M.MAX_WORD, M.show(s)), 0)
  end
  -- The tab is the only control character that quoting makes harmless.
  if find(s, "[%z\1-\8\10-\31\127]") then
    error(where .. " has a control character, which no word can have: " .. M.show(s), 0)
  end
end

local ENV = {}

--- A word that begins with the value of an environment variable of HAProxy.
---@param name string
---@param rest string|nil what follows, as data
function M.from_env(name, rest)
  if type(name) ~= "string" or not find(name, "^[%a_][%w_]*$") then
    error("from_env: no valid name of a variable", 2)
  end
  rest = rest or ""
  M.check(rest, "from_env: the text")
  return { [ENV] = '"${' .. name .. "}" .. gsub(rest, '["\\$]', "\\%0") .. '"' }
end

--- One word, quoted when it must be.
---@param v string|number|boolean|table table: of from_env()
---@param where string
---@return string
function M.quote(v, where)
  if type(v) == "table" and v[ENV] then return v[ENV] end
  local s = M.text(v, where)
  if find(s, M.BARE) and #s <= M.MAX_WORD then return s end
  if s == "" then error(where .. " is empty, which is no word", 0) end
  M.check(s, where)
  return "'" .. gsub(s, "'", "'\\''") .. "'"
end

--- Longest name, and what one looks like.
M.MAX_NAME, M.NAME = 250, "^[%w_][%w_.:-]*$"

--- A name of a section, server, map or file: only characters without special meaning for HAProxy and file systems.
function M.name(v, where)
  local s = M.text(v, where)
  if #s > M.MAX_NAME or not find(s, M.NAME) then error(where .. " is no valid name: " .. M.show(s), 0) end
  return s
end

--- A file's name: like name(), without colon, and without a way out of the folder.
function M.file_name(v, where)
  local s = M.text(v, where)
  if #s > 200 or not find(s, "^[%w_][%w_.-]*$") or find(s, "..", 1, true) then
    error(where .. " is no valid file name: " .. M.show(s) .. "; write letters, digits, _ . -, and no folder", 0)
  end
  return s
end

-- For text templates ----------------------------------------------------------------------------------------

--- First words of a section's header.
M.SECTIONS = {}
for name in string.gmatch([[global defaults frontend backend listen peers resolvers userlist cache mailers ring program
  http-errors fcgi-app log-forward log-profile traces crt-store acme healthcheck namespace_list]], "%S+") do
  M.SECTIONS[name] = true
end

--- States of a line while it is written.
M.PLAIN, M.WEAK, M.STRONG, M.COMMENT = "plain", "weak", "strong", "comment"

--- The state after `text`, which begins in `state`; and whether it ends with a backslash that escapes the next
--- character. `escaped`: the text before it ended with such a backslash.
function M.advance(state, text, escaped)
  if text == "" then return state, escaped end
  local i = escaped and 2 or 1
  while true do
    local at = find(text, state == "strong" and "['\n]" or state == "comment" and "\n" or "[\"'\\#\n]", i)
    if not at then return state, i > #text + 1 end
    local c = byte(text, at)
    i = at + 1
    if c == 10 then state = "plain"
    elseif c == 92 then i = at + 2 -- a backslash; before a newline the line continues, in either state
    elseif c == 39 then
      if state == "strong" then state = "plain" elseif state == "plain" then state = "strong" end
    elseif c == 34 then
      if state == "weak" then state = "plain" elseif state == "plain" then state = "weak" end
    elseif state == "plain" then state = "comment" end
  end
end

--- Writes a value at a place with that state so that it cannot end the state.
function M.embed(state, v, where)
  local s = M.text(v, where)
  if state == "plain" then return M.quote(s, where) end
  M.check(s, where)
  if state == "weak" then return (gsub(s, '["\\$]', "\\%0")) end
  if state == "strong" then return (gsub(s, "'", "'\\''")) end
  return s
end

return M
