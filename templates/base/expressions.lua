--- expressions.lua — the expressions, log-formats and conditions of HAProxy that objects may contain: an allow-list.
--
-- The listed functions read the request, the response and the connection. None of them reads files, the environment or
-- tables, runs a script, changes anything, or looks up data of others (maps, lists of users, other backends). An
-- argument is plain text: no quotes, brackets, "%" or backslashes.

local function set(words)
  local t = {}
  for w in words:gmatch("%S+") do t[w] = true end
  return t
end

--- Fetches without an argument, with a name (and an occurrence), with text, with a number.
local PLAIN = set([[src dst src_port dst_port path pathq url base method query status ssl_fc ssl_fc_sni
  ssl_fc_protocol ssl_fc_cipher ssl_fc_alpn ssl_fc_is_resumed ssl_c_used ssl_c_verify ssl_c_s_dn ssl_c_i_dn req.ver
  res.ver http_first_req req.hdr_names res.hdr_names always_true always_false date uuid fe_name
  req.body_size capture.req.method capture.req.uri capture.req.ver capture.res.ver]])
local NAMED = set([[req.hdr req.fhdr hdr req.cook cook cookie req.hdr_cnt hdr_cnt req.fhdr_cnt url_param urlp res.hdr
  res.fhdr res.hdr_cnt res.cook scook shdr hdr_val req.hdr_val hdr_ip req.hdr_ip ssl_c_s_dn ssl_c_i_dn]])
--- Fetches of the request, and of the response: HAProxy refuses them where there is none.
local REQUEST = set([[path pathq url base method query req.ver http_first_req req.hdr_names req.body_size req.hdr
  req.fhdr hdr req.cook cook cookie req.hdr_cnt hdr_cnt req.fhdr_cnt url_param urlp hdr_val req.hdr_val hdr_ip
  req.hdr_ip]])
local RESPONSE = set("status res.ver res.hdr_names res.hdr res.fhdr res.hdr_cnt res.cook scook shdr")
local AT = { request = { RESPONSE }, response = { REQUEST }, log = { REQUEST, RESPONSE },
  tcp = { REQUEST, RESPONSE, set([[capture.req.method capture.req.uri capture.req.ver capture.res.ver
    capture.req.hdr capture.res.hdr]]) } }
local OTHER = { str = "^[%w _.:/=|;@+~*?<>-]*$", int = "^-?%d+$", bool = "^%l+$", rand = "^%d*$",
  var = "^%l+%.[%a_][%w_]*$" }
local SCOPES = set("txn req res")
--- Fetches with the match method in their name.
local COMPARED = set("path pathq url base hdr req.hdr req.fhdr req.cook cook url_param urlp res.hdr")
local WAYS = set("beg end sub dir dom len str")

--- Converters: the pattern of their argument; "" for none.
local NUMBER = "^%d+$"
local CONVERTERS = { lower = "", upper = "", hex = "", base64 = "", b64dec = "", url_dec = "", url_enc = "",
  length = "",
  sha1 = "", crc32 = "", djb2 = "", wt6 = "", xxh32 = "", host_only = "", port_only = "", ["not"] = "", bool = "",
  even = "", odd = "", neg = "", add = NUMBER, sub = NUMBER, mul = NUMBER, div = NUMBER, mod = NUMBER, ["and"] = NUMBER,
  ["or"] = NUMBER, xor = NUMBER, sha2 = NUMBER, field = "^-?%d+,[%w _.:/=|;@+~*?<>&,-]?[,%d]*$",
  word = "^-?%d+,[%w _.:/=|;@+~*?<>&,-]?[,%d]*$", bytes = "^%d+,?%d*$", iif = "^[%w _.:/-]*,[%w _.:/-]*$",
  ipmask = "^%d+,?%d*$" }

--- What may stand in logs besides: fetches without an argument, those with one and its pattern, and converters.
local LOG_PLAIN = set("hostname be_name srv_name fc_http_major bc_http_major")
local LOG_OTHER = { date = "^-?%d+,[mu]?s$", ["capture.req.hdr"] = "^%d%d?$", ["capture.res.hdr"] = "^%d%d?$" }
local LOG_CONVERTERS = { json = "^%w*$" }
local LOGS = { log = true, tcp = true }

--- One step of an expression: its name, the argument between the brackets, and the end of the step; nil for other
--- texts.
local function step(text, at)
  local name, stop = text:match("^([%a_][%w_.]*)()", at)
  if not name then return nil end
  local argument, behind = text:match("^%(([^()\"'\\%%%[%]{}$]*)%)()", stop)
  return name, argument, behind or stop
end

local function is_fetch(name, argument, phase)
  for _, absent in ipairs(AT[phase] or {}) do
    if absent[name] then return false end
  end
  local is_log = LOGS[phase]
  if argument == nil or argument == "" then return PLAIN[name] == true or is_log and LOG_PLAIN[name] == true end
  if is_log and LOG_OTHER[name] then return argument:find(LOG_OTHER[name]) ~= nil end
  if NAMED[name] then return argument:find("^[%w_-]+$") ~= nil or argument:find("^[%w_-]+,%-?%d*$") ~= nil end
  if not OTHER[name] or not argument:find(OTHER[name]) then return false end
  return name ~= "var" or SCOPES[argument:match("^%l+")] == true
end

--- May a converter be used with this argument?
local function is_converter(name, argument, phase)
  if LOGS[phase] and LOG_CONVERTERS[name] then return (argument or ""):find(LOG_CONVERTERS[name]) ~= nil end
  local pattern = CONVERTERS[name]
  if pattern == "" then return argument == nil or argument == "" end
  return pattern ~= nil and argument ~= nil and argument:find(pattern) ~= nil
end

--- True for an allowed expression; otherwise what is wrong. phase: where it is evaluated: request, response, log, tcp
--- (the log of a connection), or nil for a condition.
local function check(text, phase)
  local name, argument, at = step(text, 1)
  if not name then return false, "no expression: " .. text:sub(1, 40) end
  if not is_fetch(name, argument, phase) then
    return false, ("the fetch %s is not among those that may be used here"):format(text:sub(1, at - 1):sub(1, 60))
  end
  while at <= #text do
    if text:sub(at, at) ~= "," then return false, "no expression: " .. text:sub(1, 40) end
    local start = at + 1
    name, argument, at = step(text, start)
    if not name or not is_converter(name, argument, phase) then
      return false, ("the converter %s is not among those that may be used"):format(text:sub(start, start + 40))
    end
  end
  return true
end

local ALIASES = set([[B CC CS H HM HP HPO HQ HU HV ID ST T Ta Tc Td Th Ti Tl Tq TR Tr Ts Tt Tu Tw U ac b bc bi bp bq
  ci cp f fc fi fp ft hr hrl hs hsl lc ms o pid r rc rt s sc si sp sq sslc sslv t tr trg trl ts tsc]])

--- Functions that have a meaning without HTTP.
local TCP_ALIASES = set([[B H T Tc Td Tl Ts Tt Tw U ac b bc bi bp bq ci cp f fc fi fp ft ms o pid rc s sc si sp sq sslc
  sslv t ts]])

--- True for an allowed log-format; otherwise what is wrong. phase: as for check().
local function check_format(text, phase)
  if #text > 2000 then return false, "longer than 2000 bytes" end
  if text:find("[^\32-\126]") then return false, "only printable ASCII" end
  local at = 1
  while true do
    at = text:find("%", at, true)
    if not at then return true end
    local stop = text:match("^{[+,EQXjson-]*}()", at + 1) or at + 1
    local expression, behind = text:match("^%[([^%[%]]*)%]()", stop)
    local alias, behind_alias = text:match("^(%a+)()", stop)
    if text:sub(at + 1, at + 1) == "%" then
      at = at + 2
    elseif expression then
      local ok, problem = check(expression, phase)
      if not ok then return false, problem end
      at = behind
    elseif alias and (phase == "tcp" and TCP_ALIASES or ALIASES)[alias] then
      at = behind_alias
    else
      return false, "no log-format at " .. text:sub(at, at + 20)
    end
  end
end

local METHODS = set("str beg end sub dir dom len int bool ip found")
local BUILT_IN = set([[TRUE FALSE METH_GET METH_POST METH_HEAD METH_PUT METH_DELETE METH_OPTIONS METH_PATCH HTTP
  HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_URL_ABS HTTP_URL_SLASH HTTP_CONTENT LOCALHOST]])

--- A test: a fetch, flags and patterns. Words from `first` to `last` of a list; true, or false and what is wrong.
local function check_test(words, first, last)
  local fetch = words[first]
  if first > last or not fetch then return false, "a condition without an expression" end
  local base, way, rest = fetch:match("^([%l_.]-)_(%l+)(.*)$")
  if base and COMPARED[base] and WAYS[way] and (rest == "" or rest:sub(1, 1) == "(") then fetch = base .. rest end
  local ok, problem = check(fetch)
  if not ok then return false, problem end
  local i = first + 1
  while i <= last and words[i]:sub(1, 1) == "-" do
    if words[i] == "--" then return true end
    if words[i] == "-m" and METHODS[words[i + 1] or ""] and i < last then
      i = i + 2
    elseif words[i] == "-i" then
      i = i + 1
    else
      return false, "the flag " .. words[i] .. " is not among those that may be used"
    end
  end
  return true
end

--- A condition: words from `first` on. Names of acl lines get `prefix`; known: the existing ones. Returns the words to
--- write, or nil and what is wrong.
local function condition(words, first, known, prefix)
  local out, i = {}, first
  if words[i] == nil then return nil, "a condition without words" end
  while i <= #words do
    local w = words[i]
    local negation, name = w:match("^(!?)(.*)$")
    if name == "" and words[i + 1] then negation, name, i = "!", words[i + 1], i + 1 end
    if name == "{" then
      local close = i + 1
      while words[close] and words[close] ~= "}" do close = close + 1 end
      if not words[close] then return nil, "a { is not closed" end
      local ok, problem = check_test(words, i + 1, close - 1)
      if not ok then return nil, problem end
      out[#out + 1] = negation .. "{"
      for k = i + 1, close do out[#out + 1] = words[k] end
      i = close
    elseif name == "or" or name == "||" then
      out[#out + 1] = "or"
    elseif known[name] then
      out[#out + 1] = negation .. prefix .. name
    elseif BUILT_IN[name] then
      out[#out + 1] = negation .. name
    else
      return nil, "there is no acl " .. name:sub(1, 40) .. " in front of it"
    end
    i = i + 1
  end
  return out
end

provide("base.expressions", { check = check, check_format = check_format, check_test = check_test,
  condition = condition })
