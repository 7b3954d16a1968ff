--- headers.lua — header fields that are set in requests to pods and in their answers, and the Host of requests.
--
-- When HAProxy (3.4) can take field names from a value, names are not part of a rule. In older versions there is a rule
-- for each name, which is added at its first use.

local effects = use("effects")
local major, minor = capabilities.major or 2, capabilities.minor or 0
local IS_BINARY = major > 3 or major == 3 and minor >= 4

local HOST_MAP = "host.map"
--- Bytes of the fields of one route.
local MAX_BYTES = 4000

--- Fields that delimit messages, or that belong to one connection.
local REFUSED = {}
for name in ([[connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length host
  http2-settings expect date]]):gmatch("%S+") do REFUSED[name] = true end

--- Lines "Name value" as a list of {name=, value=}.
local function parse(lines)
  local fields, bytes, seen = {}, 0, {}
  for _, line in ipairs(lines) do
    local name, value = line:match("^([%w!#$&'*+.^_`|~-]+)%s+(.+)$")
    if not name then return nil, "lines of a header's name, a blank and its value" end
    name = name:lower()
    if REFUSED[name] then return nil, "no header of the connection, of the length or of the host" end
    if value:find("%[", 1, true) then return nil, "text: expressions (%[...]) are not evaluated" end
    if value:find("[^\32-\126]") then return nil, "text of printable ASCII characters" end
    value = value:match('^"(.*)"$') or value
    if value == "" then return nil, "lines of a header's name, a blank and its value" end
    if not seen[name] then fields[#fields + 1], seen[name] = { name = name }, #fields + 1 end
    fields[seen[name]].value = value
    bytes = bytes + #name + #value + 4
  end
  if #fields == 0 then return nil, "lines of a header's name, a blank and its value" end
  if bytes > MAX_BYTES then return nil, ("at most %d bytes"):format(MAX_BYTES) end
  return fields
end

--- A length in the form that HAProxy parses.
local function length_of(n)
  if n < 240 then return string.char(n) end
  local out = string.char(n % 16 + 240)
  n = math.floor((n - 240) / 16)
  while n >= 128 do
    out = out .. string.char(n % 128 + 128)
    n = math.floor((n - 128) / 128)
  end
  return out .. string.char(n)
end

local function encoded(fields)
  local parts = {}
  for i, f in ipairs(fields) do parts[i] = length_of(#f.name) .. f.name .. length_of(#f.value) .. f.value end
  return b64encode(table.concat(parts) .. "\0\0")
end

for kind, action in pairs({ request = "http-request", response = "http-response" }) do
  local map, word = kind .. "-headers.map", kind .. "-headers"
  effects.declare(kind .. "-headers", {
    place = "header",
    annotations = { kind .. "_set_header" },
    maps = { map },
    rules = IS_BINARY and function(rule, has)
      rule(action, "set-headers-bin", "var(txn.record),map_str(" .. path:map(map) .. "),b64dec", "if", has(word))
    end or nil,
    put = function(values, record, out)
      local fields = values[kind .. "_set_header"]
      if not fields then return nil end
      if IS_BINARY then
        record:entry(map, "", encoded(fields))
        return { word }
      end
      for _, f in ipairs(fields) do
        record:entry(map, ":" .. f.name, f.value)
        local value = "var(txn.record),concat(:" .. f.name .. "),map_str(" .. path:map(map) .. ")"
        -- All fragments with this name write the same text, so it is one rule.
        local opts = { order = effects.order.header, key = "effect " .. word .. " " .. f.name }
        out:section("frontend http", opts, function(b)
          effects.write(b, action, "set-header", f.name, "%[" .. value .. "]", "if", effects.has(word), "{", value,
            "-m", "found", "}")
        end)
      end
      return { word }
    end,
  })
end

--- Is this a host, with or without a port?
local function is_host(text)
  local name, rest = text:match("^(%w[%w.-]*)(.*)$")
  if not name or #name > 253 or name:find("..", 1, true) then return false end
  local port = tonumber(rest:match("^:(%d+)$"))
  return rest == "" or port ~= nil and port >= 1 and port <= 65535
end

--- A host that a Host header can contain.
local function parse_host(text)
  if not is_host(text) then return nil, "a host, and a port if needed" end
  return text:lower()
end

effects.declare("host", {
  place = "host",
  annotations = { "set_host" },
  maps = { HOST_MAP },
  rules = function(rule, has)
    rule("http-request", "set-header", "Host", "%[var(txn.record),map_str(" .. path:map(HOST_MAP) .. ")]", "if",
      has("host"))
  end,
  put = function(values, record)
    if not values.set_host then return nil end
    record:entry(HOST_MAP, "", values.set_host)
    return { "host" }
  end,
})

provide("effects.headers", { parse = parse, parse_host = parse_host, is_host = is_host })
