--- snippet_firewall.lua — lines of configuration that come from objects: the allowed contents.
--
-- A line is split into words as HAProxy does it, and written again from these words, so HAProxy gets exactly the
-- checked text. The only escape is that of a blank; there are no variables of the environment, and only printable ASCII
-- characters. Each first word has a check for the following words. So no line can read a file, run or load code, begin
-- another section, lead to another backend or server, or use maps, tables, lists of users and variables of others.
-- Names of acl lines and of variables get a prefix of their own.

local expressions, patterns = use("base.expressions"), use("base.patterns")

local MAX_LINES, MAX_BYTES, MAX_WORDS = 100, 8192, 60
local PREFIX = "snippet_"
--- Longest header or path that a regular expression may be matched with, and the limit of steps of all expressions of a
--- text (base/patterns.lua): some tenths of a second.
local MAX_VALUE, MAX_STEPS = 16384, 3 * 16384 * 16384

--- The steps that earlier lines have left.
local steps_left

local function set(words)
  local t = {}
  for w in words:gmatch("%S+") do t[w] = true end
  return t
end

-- words -----------------------------------------------------------------------------------------------------

--- The words of a line; nil and what is wrong.
local function words_of(line)
  local words, word, at = {}, nil, 1
  while at <= #line do
    local c = line:sub(at, at)
    if c == "#" then break end
    if c == " " or c == "\t" then
      if word then words[#words + 1] = word end
      word, at = nil, at + 1
    elseif c == "'" or c == '"' then
      local stop = line:find(c, at + 1, true)
      if not stop then return nil, "a quote is not closed" end
      local text = line:sub(at + 1, stop - 1)
      if c == '"' and text:find("[\\$]") then return nil, 'no \\ and no $ within "…": write \'…\'' end
      word, at = (word or "") .. text, stop + 1
    elseif c == "\\" then
      if line:sub(at + 1, at + 1) ~= " " then return nil, "no \\ outside of '…' but in front of a blank" end
      word, at = (word or "") .. " ", at + 2
    else
      word, at = (word or "") .. c, at + 1
    end
  end
  if word then words[#words + 1] = word end
  if #words > MAX_WORDS then return nil, ("more than %d words"):format(MAX_WORDS) end
  for _, w in ipairs(words) do
    if w == "" then return nil, "an empty word" end
  end
  return words
end

--- Variables of expressions get names that differ from those of the libraries.
local function own_variables(word)
  return (word:gsub("var%((%l+)%.([%a_][%w_]*)%)", "var(%1." .. PREFIX .. "%2)"))
end

-- values ----------------------------------------------------------------------------------------------------

local function is_duration(w) return w ~= nil and #w <= 12 and (w:find("^%d+$") or w:find("^%d+[smhd]$")
  or w:find("^%d+[mu]s$")) end

local function whole(low, high)
  return function(words)
    local n = words[2] and words[2]:find("^%d+$") and tonumber(words[2])
    if n and #words == 2 and n >= low and n <= high then return words end
    return nil, ("expected one number from %d to %d"):format(low, high)
  end
end

local function duration(words)
  if #words == 2 and is_duration(words[2]) then return words end
  return nil, "expected one duration, such as 5s"
end

local function one_of(list)
  local known = set(list)
  return function(words)
    if #words == 2 and known[words[2]] then return words end
    return nil, "expected one of " .. list
  end
end

--- Plain text: at most this many words, from the word `first` on.
local function plain_words(first, max)
  return function(words)
    for i = first, #words do
      if not words[i]:find("^[%w ._:/@,-]+$") then return nil, "expected plain text" end
    end
    if #words < first or #words >= first + max then return nil, ("expected 1 to %d words"):format(max) end
    return words
  end
end

-- rules -----------------------------------------------------------------------------------------------------

--- Fields that delimit messages, or that belong to one connection.
local FIELDS = set([[connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length
  http2-settings expect]])

--- The parts that an action's expressions can read.
local PHASES = { ["http-request"] = "request", ["http-response"] = "response", ["http-after-response"] = "response" }

local function is_field(w) return w ~= nil and w:find("^[%w!#$&'*+.^_`|~-]+$") ~= nil and not FIELDS[w:lower()] end

local function format_problem(w, words)
  if w == nil then return "a word is missing" end
  local ok, problem = expressions.check_format(w, PHASES[words[1]])
  return not ok and problem or nil
end

--- Each function gets the words of an action and the place of its arguments, and returns the place where a condition
--- may begin; or nil and what is wrong.
local function takes_field(words, at)
  if not is_field(words[at]) then return nil, "expected a header's name that may be changed" end
  local problem = format_problem(words[at + 1], words)
  if problem then return nil, problem end
  return at + 2
end

local function takes_name(words, at)
  if not is_field(words[at]) then return nil, "expected a header's name that may be changed" end
  return at + 1
end

local function takes_format(words, at)
  local problem = format_problem(words[at], words)
  if problem then return nil, problem end
  return at + 1
end

local function takes_expression(at_field)
  return function(words, at)
    if at_field then
      if not is_field(words[at]) then return nil, "expected a header's name that may be changed" end
      at = at + 1
    end
    local groups, problem, steps = patterns.check(words[at] or "", MAX_VALUE, steps_left)
    if not groups then return nil, "a regular expression: " .. problem end
    steps_left = steps_left - steps
    problem = format_problem(words[at + 1], words)
    if problem then return nil, problem end
    return at + 2
  end
end

local function takes_status(words, at)
  if words[at] ~= "deny_status" and words[at] ~= "status" then return at end
  if not (words[at + 1] or ""):find("^[2-5]%d%d$") then return nil, "expected a status" end
  return at + 2
end

local function takes_number(words, at)
  if not (words[at] or ""):find("^[1-5]%d%d$") then return nil, "expected a status" end
  return at + 1
end

local CODES = set("301 302 303 307 308")

local function takes_redirect(words, at)
  if not set("location prefix scheme")[words[at] or ""] then return nil, "expected location, prefix or scheme" end
  local problem = format_problem(words[at + 1], words)
  if problem then return nil, problem end
  at = at + 2
  while words[at] and words[at] ~= "if" and words[at] ~= "unless" do
    if words[at] == "code" and CODES[words[at + 1] or ""] then
      at = at + 2
    elseif set("drop-query append-slash ignore-empty")[words[at]] then
      at = at + 1
    else
      return nil, "expected code, drop-query, append-slash or ignore-empty"
    end
  end
  return at
end

local function takes_return(words, at)
  while words[at] and words[at] ~= "if" and words[at] ~= "unless" do
    local name, value, step = words[at], words[at + 1], 2
    local problem
    if name == "status" then
      problem = not (value or ""):find("^[2-5]%d%d$") and "expected a status" or nil
    elseif name == "content-type" then
      problem = not (value or ""):find("^[%w/.+;= -]+$") and "expected a content type" or nil
    elseif name == "string" then
      problem = value == nil and "a word is missing" or nil
    elseif name == "lf-string" then
      problem = format_problem(value, words)
    elseif name == "hdr" then
      problem, step = not is_field(value) and "expected a header's name that may be set"
        or format_problem(words[at + 2], words), 3
    else
      problem = name .. " may not be used"
    end
    if problem then return nil, problem end
    at = at + step
  end
  return at
end

local LEVELS = set("emerg alert crit err warning notice info debug silent")

local function takes_level(words, at)
  if not LEVELS[words[at] or ""] then return nil, "expected a level" end
  return at + 1
end

local function takes_timeout(words, at)
  if (words[at] ~= "server" and words[at] ~= "tunnel") or not is_duration(words[at + 1]) then
    return nil, "expected server or tunnel, and a duration"
  end
  return at + 2
end

local function takes_value(words, at)
  local ok, problem = expressions.check(words[at] or "", PHASES[words[1]])
  if not ok then return nil, problem end
  return at + 1
end

local function takes_nothing(_, at) return at end

local HEADERS = { ["set-header"] = takes_field, ["add-header"] = takes_field, ["del-header"] = takes_name,
  ["replace-header"] = takes_expression(true), ["replace-value"] = takes_expression(true) }

local function with(more)
  local t = {}
  for k, v in pairs(HEADERS) do t[k] = v end
  for k, v in pairs(more) do t[k] = v end
  return t
end

local ACTIONS = {
  ["http-request"] = with({ ["set-path"] = takes_format, ["set-pathq"] = takes_format, ["set-query"] = takes_format,
    ["replace-path"] = takes_expression(false), ["replace-pathq"] = takes_expression(false), deny = takes_status,
    redirect = takes_redirect, ["return"] = takes_return, ["set-log-level"] = takes_level,
    ["set-timeout"] = takes_timeout, ["disable-l7-retry"] = takes_nothing }),
  ["http-response"] = with({ deny = takes_status, ["set-status"] = takes_number, redirect = takes_redirect,
    ["return"] = takes_return, ["set-log-level"] = takes_level }),
  ["http-after-response"] = with({ ["set-status"] = takes_number }),
}

--- Checks a rule: ACTION arguments [if|unless condition].
local function rule(words, known)
  local actions, action = ACTIONS[words[1]], words[2] or ""
  local takes = actions[action]
  if not takes and action:find("^set%-var%((%l+)%.[%a_][%w_]*%)$")
    or action:find("^unset%-var%((%l+)%.[%a_][%w_]*%)$") then
    local scope = action:match("%((%l+)%.")
    if scope ~= "txn" and scope ~= "req" and scope ~= "res" then return nil,
      "variables are those of txn, req and res" end
    takes = action:find("^set") and takes_value or takes_nothing
  end
  if not takes then return nil, "the action " .. action:sub(1, 40) .. " is not among those that may be used" end
  local at, problem = takes(words, 3)
  if not at then return nil, problem end
  local out = {}
  for i = 1, at - 1 do out[i] = own_variables(words[i]) end
  if words[at] == nil then return out end
  if words[at] ~= "if" and words[at] ~= "unless" then return nil, "expected if or unless, not " .. words[at]:sub(1,
    40) end
  local condition, why = expressions.condition(words, at + 1, known, PREFIX)
  if not condition then return nil, why end
  out[at] = words[at]
  for i, w in ipairs(condition) do out[at + i] = own_variables(w) end
  return out
end

local function acl(words, known)
  local name = words[2] or ""
  if not name:find("^[%w_][%w_.-]*$") or #name > 60 then return nil, "expected a name" end
  local ok, problem = expressions.check_test(words, 3, #words)
  if not ok then return nil, problem end
  known[name] = true
  local out = { "acl", PREFIX .. name }
  for i = 3, #words do out[i] = own_variables(words[i]) end
  return out
end

-- lines -----------------------------------------------------------------------------------------------------

local OPTIONS = set([[abortonclose allbackups http-keep-alive http-server-close httpclose http-buffer-request
  log-health-checks prefer-last-server redispatch independent-streams http-pretend-keepalive http-no-delay checkcache]])

local function option(words)
  if #words == 2 and OPTIONS[words[2]] then return words end
  return nil, "this option is not among those that may be used"
end

local function timeout_of(names)
  local known = set(names)
  return function(words)
    if #words == 3 and known[words[2]] and is_duration(words[3]) then return words end
    return nil, "expected one of " .. names .. ", and a duration"
  end
end

local function compression(words)
  local what = words[2]
  if what == "offload" and #words == 2 then return words end
  if what ~= "algo" and what ~= "type" or not words[3] then return nil, "expected algo, type or offload" end
  for i = 3, #words do
    if what == "algo" and not set("identity gzip deflate raw-deflate")[words[i]]
      or not words[i]:find("^[%w/.+*-]+$") then
      return nil, "expected names of algorithms or types"
    end
  end
  return words
end

local RETRY = set([[none conn-failure empty-response junk-response response-timeout 0rtt-rejected 401 403 404 408 425
  429 500 501 502 503 504 all-retryable-errors]])

local function retry_on(words)
  for i = 2, #words do
    if not RETRY[words[i]] then return nil, "expected names of failures" end
  end
  if not words[2] then return nil, "expected names of failures" end
  return words
end

--- The name of a header that is set.
local function header_name(words)
  if #words == 2 and is_field(words[2]) then return words end
  return nil, "expected a header's name that may be changed"
end

local function unique_id(words)
  local problem = #words ~= 2 and "expected one log-format" or format_problem(words[2], { "http-request" })
  if problem then return nil, problem end
  return { words[1], own_variables(words[2]) }
end

local COMMON = { acl = acl, ["http-request"] = rule, ["http-response"] = rule, ["http-after-response"] = rule,
  compression = compression }

local function section_of(more)
  local t = {}
  for k, v in pairs(COMMON) do t[k] = v end
  for k, v in pairs(more) do t[k] = v end
  return t
end

local BIG = 2147483647
local GLOBAL = { ["tune.bufsize"] = whole(8192, 1048576), ["tune.maxrewrite"] = whole(512, 65536),
  ["tune.http.maxhdr"] = whole(32, 32767), ["tune.http.logurilen"] = whole(64, 65535),
  ["tune.comp.maxlevel"] = whole(1, 9), ["tune.maxaccept"] = whole(1, 100000), ["tune.idletimer"] = whole(0, 65535),
  ["tune.h2.header-table-size"] = whole(4096, 65536), ["tune.http.cookielen"] = whole(1, 65535),
  ["tune.ssl.default-dh-param"] = whole(2048, 16384),
  ["log-tag"] = plain_words(2, 1), ["tune.ssl.lifetime"] = duration }
for name in ([[tune.h2.max-concurrent-streams tune.h2.initial-window-size
  tune.pattern.cache-size tune.ssl.cachesize tune.ssl.maxrecord tune.rcvbuf.client
  tune.rcvbuf.server tune.sndbuf.client tune.sndbuf.server maxconnrate maxsessrate maxsslconn maxsslrate maxcomprate
  maxzlibmem tune.vars.txn-max-size tune.vars.reqres-max-size]]):gmatch("%S+") do
  GLOBAL[name] = whole(0, BIG)
end

--- First words of lines, by section.
local SECTIONS = {
  global = GLOBAL,
  frontend = section_of({ maxconn = whole(1, 100000000), ["unique-id-format"] = unique_id,
    ["unique-id-header"] = header_name,
    timeout = timeout_of("client http-request http-keep-alive tarpit") }),
  backend = section_of({ option = option, retries = whole(0, 10), ["retry-on"] = retry_on,
    ["http-send-name-header"] = header_name, fullconn = whole(1,
    100000000),
    ["http-reuse"] = one_of("never safe aggressive always"),
    timeout = timeout_of("server connect queue tunnel check server-fin tarpit") }),
  stats = section_of({ timeout = timeout_of("client http-request http-keep-alive"), stats = function(words)
    local what = words[2]
    if what == "refresh" and #words == 3 and is_duration(words[3]) then return words end
    if set("hide-version show-legends show-node show-modules")[what or ""] and #words == 2 then return words end
    if what == "realm" then return plain_words(3, 1)(words) end
    if what == "show-desc" then return plain_words(3, MAX_WORDS)(words) end
    return nil, "expected refresh, hide-version, show-legends, show-node, show-modules, realm or show-desc"
  end }),
}

--- The lines of a text for a section, each a list of words; nil, what is wrong, and with which line.
local function check(section_name, text)
  local lines, known, number = {}, {}, 0
  steps_left = MAX_STEPS
  if #text > MAX_BYTES then return nil, ("it is longer than %d bytes"):format(MAX_BYTES) end
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local words, problem
    if number > MAX_LINES then
      problem = ("more than %d lines"):format(MAX_LINES)
    elseif line:find("[^\t\32-\126]") then
      problem = "only printable ASCII"
    else
      words, problem = words_of(line)
    end
    if words and words[1] then
      local is_negated = words[1] == "no" and words[2] == "option"
      if is_negated then table.remove(words, 1) end
      local fn = SECTIONS[section_name][words[1]]
      if not fn then
        words, problem = nil, words[1]:sub(1, 40) .. " is not among the lines that may stand here"
      else
        words, problem = fn(words, known)
        if words and is_negated then table.insert(words, 1, "no") end
      end
      if words then lines[#lines + 1] = words end
    end
    if problem then return nil, ("line %d: %s"):format(number, problem) end
  end
  return lines
end

--- The words of an allowed test (a fetch, flags, patterns); nil and what is wrong.
local function check_test(text)
  if #text > MAX_BYTES or text:find("[^\32-\126]") then return nil, "only printable ASCII" end
  local words, problem = words_of(text)
  if not words then return nil, problem end
  for _, w in ipairs(words) do
    if w == "{" or w == "}" then return nil, "no brackets" end
  end
  local ok
  ok, problem = expressions.check_test(words, 1, #words)
  if not ok then return nil, problem end
  for i, w in ipairs(words) do words[i] = own_variables(w) end
  return words
end

provide("base.snippet_firewall", { check_test = check_test, check = check, prefix = PREFIX })
