--- logs.lua — where HAProxy logs to and what a line has, as a ConfigMap says it.
--
-- A log format is one quoted word. What may stand in it is listed: aliases, and expressions of fetches that tell of the
-- request, the answer and the connection, not of HAProxy's environment, files or tables.

local expressions = use("base.expressions")

local FACILITIES, LEVELS, FORMATS = {}, {}, {}
for w in ([[kern user mail daemon auth syslog lpr news uucp cron auth2 ftp ntp audit alert cron2 local0 local1 local2
  local3 local4 local5 local6 local7]]):gmatch("%S+") do FACILITIES[w] = true end
for w in ("emerg alert crit err warning notice info debug"):gmatch("%S+") do LEVELS[w] = true end
for w in ("rfc3164 rfc5424 priority short timed iso raw"):gmatch("%S+") do FORMATS[w] = true end

local EXPECTS = "lines of address:ADDRESS, facility:FACILITY, and perhaps port:, level:, minlevel:, length:, format:"

--- A target of the log: the words behind "log". Blanks may stand behind a colon.
local function target_of(line)
  local v = {}
  for item in line:gsub(":%s+", ":"):gmatch("[^,%s]+") do
    local name, value = item:match("^(%l+):(.+)$")
    if not name or v[name] then return nil end
    v[name] = value
  end
  local address = v.address or ""
  local length, port = tonumber(v.length or 1024), tonumber(v.port or 514)
  if not (address == "stdout" or address == "stderr" or address:find("^[%x.:]+$") and address_parse(address)
    or address:find("^%w[%w.-]*$")) or not FACILITIES[v.facility or ""] or v.level and not LEVELS[v.level]
    or v.minlevel and not LEVELS[v.minlevel] or v.format and not FORMATS[v.format] or not length or length < 80
    or length > 65535 or length % 1 ~= 0 or not port or port < 1 or port > 65535 or port % 1 ~= 0 then
    return nil
  end
  for name in pairs(v) do
    if not ("address port length format facility level minlevel"):find(name, 1, true) then return nil end
  end
  local is_stream = address == "stdout" or address == "stderr"
  if address:find(":", 1, true) then address = "[" .. address .. "]" end
  local words = { is_stream and address or address .. ":" .. port, "len", length, "format",
    v.format or is_stream and "raw" or "rfc3164", v.facility }
  if v.level or v.minlevel then words[#words + 1] = v.level or "debug" end
  if v.minlevel then words[#words + 1] = v.minlevel end
  return words
end

--- Lines as a list of targets.
local function parse_targets(lines)
  local targets = {}
  for i, line in ipairs(lines) do
    targets[i] = target_of(line)
    if not targets[i] then return nil, EXPECTS end
  end
  if #targets == 0 then return nil, EXPECTS end
  return targets
end

--- A log format; phase: log, or tcp for that of connections.
local function parse_format(phase)
  return function(text)
    local ok, problem = expressions.check_format(text, phase)
    if not ok then return nil, "a log format: " .. problem end
    return text
  end
end

local function declared(doc, lines, more)
  local spec = { on = { "ConfigMap" }, effect = "settings", reload = "each value", doc = doc, lines = lines,
    tested = "configmap_spec: have settings with the keys of a family" }
  for k, v in pairs(more) do spec[k] = v end
  return spec
end

annotations({
  log_targets = declared("The targets of HAProxy's log, one in each line, with address: and facility:, and "
      .. "optionally port:, level:, minlevel:, length: and format:.", "log ADDRESS:PORT … FACILITY LEVEL (global)",
    { type = "lines", max = 10, parse = parse_targets }),
  log_format = declared("The format of log lines for requests: aliases, and expressions with the allowed sample "
      .. "fetches.",
    "log-format TEXT (defaults)", { type = "text", parse = parse_format("log") }),
  log_format_tcp = declared("The format of log lines for connections of TCP services and of TLS passthrough.",
    "log-format TEXT (frontends in mode tcp)", { type = "text", parse = parse_format("tcp"),
      tested = "configmap_effects_spec: do what they say" }),
})

