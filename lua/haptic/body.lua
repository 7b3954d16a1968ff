--- body.lua — the lines of one section, as a fragment writes them.
--
-- Every argument is one word of HAProxy's language (word.lua); raw text has a call of its own. What a body gathers
-- becomes contributions when its section ends (emitters.lua). Bodies count as output while they grow, so the limits of
-- an output are here, too.
local nearest = require("haptic.nearest")
local word = require("haptic.word")
local sandbox = require("haptic.sandbox")

local M = {}

local type, select, error, setmetatable, ipairs, pairs = type, select, error, setmetatable, ipairs, pairs
local format, find, sub, match = string.format, string.find, string.sub, string.match
local concat = table.concat
local quote, name_of = word.quote, word.name

-- The place in a template of the call that is `level` above the caller. Only needed when a line is explained.
local function call_site()
  for level = 3, 30 do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if sub(info.source, 1, 1) == "=" and info.what ~= "C" and not find(info.source, "^=%[") then
      return sub(info.source, 2) .. ":" .. info.currentline
    end
  end
  return ""
end
M.call_site = call_site

-- Fields that no template can name: the data that all outputs of a program share, the contents of a body, the bytes of
-- an output so far (including unfinished bodies), the first limit that it exceeded, and the innermost open body.
local SETTINGS, GATHERED, BYTES, PASSED, OPEN = {}, {}, {}, {}, {}
M.SETTINGS, M.GATHERED, M.BYTES, M.OPEN = SETTINGS, GATHERED, BYTES, OPEN

--- Raises an error for an exceeded limit. A template may catch it, and its output is then cut at any place. So the
--- output records the error, and finish() raises it again. Raised at level 0: the handler adds the template's line
--- (text.lua).
local function pass_limit(out, message)
  if not out[PASSED] then
    local site = call_site()
    out[PASSED] = site ~= "" and site .. ": " .. message or message
  end
  error(message, 0)
end
M.pass_limit = pass_limit

--- The first error of pass_limit(), with the template's line; nil when there was none.
function M.passed_limit(out) return out[PASSED] end

--- Raises that error again, if there is one.
local function check_limits(out)
  local message = out[PASSED]
  if message then error(message, 0) end
end
M.check_limits = check_limits

-- Output is counted as it grows: a fragment that emits without end is stopped at the call that is too much, before its
-- output fills the renderer's memory.
local function count(out, bytes)
  bytes = out[BYTES] + bytes
  local max = out[SETTINGS].max_bytes
  if bytes > max then pass_limit(out, format("the output of one fragment is larger than %d bytes", max)) end
  out[BYTES] = bytes
end
M.count = count

--- A method was called with "." and not with ":": its first argument took the place of the object.
local function check_self(self, field, name, what, level)
  if type(self) ~= "table" or self[field] == nil then
    error(format('%s: write %s:%s(…) with a ":", not %s.%s(…)', what, name, what, name, what), level + 1)
  end
end
M.check_self = check_self

-- Only methods can be reached from a body or an output, not the table of methods.
local Body = {}
local BODY = { __index = Body, __metatable = false }

-- The lists of a body are reused by the next one. Long lists are left to the collector.
local SPARE_LINES = 1000

--- n lines of so many bytes, the first word of each, where each was written (when lines are to be explained); others:
--- there are lines besides servers.
local function gathered_new(out)
  local spare = out[SETTINGS].spare
  local g = spare[#spare]
  if g and not out.trace then
    spare[#spare] = nil
    return g
  end
  return { n = 0, bytes = 0, lines = {}, first = {}, where = out.trace and {} or nil, others = false }
end

--- A body that nothing was written to; emitters.lua makes its lines contributions.
function M.new(out)
  return setmetatable({ out = out, [GATHERED] = gathered_new(out) }, BODY)
end

--- The content of the body has become contributions, which are counted separately.
local function body_counted(self, g)
  self[BYTES] = self[BYTES] - g.bytes
  g.bytes = 0
end
M.counted = body_counted

--- The content of the body was taken. It cannot be written to any more.
local function body_done(self)
  local g, spare = self[GATHERED], self.out[SETTINGS].spare
  self[GATHERED] = nil
  if g.n > SPARE_LINES or g.where then return end
  g.n, g.others = 0, false
  spare[#spare + 1] = g
end
M.done = body_done

--- The innermost open body, for close_bodies().
function M.open_body(out) return out[OPEN] end

--- An error was caught that ended the functions which wrote the bodies inside of `body` (nil: all open ones). The
--- content of these bodies is no output, and is not counted.
function M.close_bodies(out, body)
  while out[OPEN] ~= body do
    local inner = out[OPEN]
    out[OPEN] = inner[OPEN]
    body_counted(out, inner[GATHERED])
    body_done(inner)
  end
end

--- site: where it was written, when this is not the place of the call.
local function body_add(self, first, line, site)
  local g, bytes = self[GATHERED], #line + 1
  if not g then error("the section of this body has ended", 0) end
  count(self.out, bytes)
  local n = g.n + 1
  g.n, g.bytes = n, g.bytes + bytes
  g.lines[n] = line
  g.first[n] = first
  if first ~= "server" then g.others = true end
  if g.where then g.where[n] = site or call_site() end
end

local MAX_WORD, BARE = word.MAX_WORD, word.BARE

--- A line that HAProxy would not read as a line of this section: the header of another section, or a preprocessor's
--- line.
local function leaves_section(first)
  return word.SECTIONS[first] or type(first) == "string" and sub(first, 1, 1) == "."
end
M.leaves_section = leaves_section

--- A line: each argument is one word, quoted when it must be.
function Body:line(...)
  check_self(self, "out", "b", "line", 2)
  local n = select("#", ...)
  if n == 0 then error("line: no words", 2) end
  if n > word.MAX_WORDS then error("line: more than " .. word.MAX_WORDS .. " words", 2) end
  local words = { ... }
  local first = words[1]
  if leaves_section(first) then error(format("line: %s is no line of a section", word.show(first)), 2) end
  for i = 1, n do
    local v = words[i]
    if type(v) ~= "string" or #v > MAX_WORD or not find(v, BARE) then
      local ok, quoted = pcall(quote, v, "word " .. i)
      if not ok then error(format("%s: %s", type(first) == "string" and #first < 40 and first or "line", quoted), 2) end
      words[i] = quoted
    end
  end
  body_add(self, first, concat(words, " "))
end

--- A condition's name, the fetch method with its flags, then the patterns as data: {"hdr(host)", "-i"}.
---@param name string
---@param fetch string|table
function Body:acl(name, fetch, ...)
  check_self(self, "out", "b", "acl", 2)
  local words = { "acl", name }
  if type(fetch) == "table" then
    for _, w in ipairs(fetch) do words[#words + 1] = w end
  else
    words[#words + 1] = fetch
  end
  -- "--" ends the flags: a pattern such as "-f" is then a pattern.
  words[#words + 1] = "--"
  for i = 1, select("#", ...) do words[#words + 1] = (select(i, ...)) end
  local ok, message = pcall(self.line, self, unpack(words))
  if not ok then error(message, 2) end
end

--- An address as HAProxy writes it: IPv6 in brackets.
local function address_of(address, port)
  if type(address) ~= "string" or #address > 253 or not find(address, "^[%w.:_-]+$") then
    error("server: no valid address: " .. word.show(sandbox.tostring(address)), 0)
  end
  if find(address, ":", 1, true) then address = "[" .. address .. "]" end
  if port == nil then return address end
  local number = tonumber(port)
  if not number or number % 1 ~= 0 or number < 1 or number > 65535 then
    error("server: no valid port: " .. word.show(sandbox.tostring(port)), 0)
  end
  return address .. ":" .. format("%d", number)
end

local SERVER_FIELDS = { name = true, address = true, port = true, weight = true, drain = true }

--- True when the table has a field that no server has. Numbered fields are words.
local function has_other_field(s)
  for k in pairs(s) do
    if not SERVER_FIELDS[k] and type(k) ~= "number" then return true end
  end
  return false
end

local function server_line(s)
  nearest.check_fields(s, SERVER_FIELDS, "server", -1)
  local line = "server " .. name_of(s.name, "the server's name") .. " " .. address_of(s.address, s.port)
  local weight = s.drain and 0 or s.weight
  local n = 3
  if weight ~= nil then
    if type(weight) ~= "number" or weight % 1 ~= 0 or weight < 0 or weight > 256 then
      error("server: a weight is a number from 0 to 256", 0)
    end
    line, n = line .. " weight " .. format("%d", weight), 5
  end
  if n + #s > word.MAX_WORDS then error("server: more than " .. word.MAX_WORDS .. " words", 0) end
  for i = 1, #s do line = line .. " " .. quote(s[i], "server: a further word") end
  return line
end

-- A line for the simplest kind of server. nil for all others; server_line handles them and reports errors.
local function plain_server(s)
  local name, address, port = s.name, s.address, s.port
  if s[1] == nil and not s.weight and not s.drain
    and type(name) == "string" and #name <= word.MAX_NAME and find(name, word.NAME)
    and type(address) == "string" and #address <= 253 and find(address, "^[%w._-]+$")
    and type(port) == "number" and port >= 1 and port <= 65535 and port % 1 == 0 and not has_other_field(s) then
    return "server " .. name .. " " .. address .. ":" .. port
  end
  return nil
end

--- A server: {name=, address=, port=, weight=, drain=, "further", "words"}. drain: no new connections but those that
--- belong to it.
function Body:server(s)
  check_self(self, "out", "b", "server", 2)
  if type(s) ~= "table" then error("server: expected a table", 2) end
  local line = plain_server(s)
  if not line then
    local ok, result = pcall(server_line, s)
    if not ok then error(result, 2) end
    line = result
  end
  body_add(self, "server", line)
end

--- A comment. Newlines and other control characters become blanks, so a comment may quote anything.
function Body:comment(text)
  check_self(self, "out", "b", "comment", 2)
  local s = sandbox.tostring(text)
  body_add(self, "#", "# " .. string.gsub(sub(s, 1, word.MAX_WORD), "[%c\127]", " "))
end

--- Lines without quoting; only where the administrator allows it.
function Body:raw(text)
  check_self(self, "out", "b", "raw", 2)
  if not self.out[SETTINGS].allow_raw then error("raw: raw text is switched off in this configuration", 2) end
  local s = sandbox.tostring(text)
  if find(s, "%z") then error("raw: the text has a NUL byte", 2) end
  for line in string.gmatch(s, "[^\n]+") do body_add(self, match(line, "^%s*(%S*)"),
    (string.gsub(line, "^%s+", ""))) end
end

--- The text templates that a body's snippets are among.
function M.templates_of(body) return body.out[SETTINGS].templates end

M.Body, M.add = Body, body_add
return M
