--- addresses.lua — lists of addresses and networks as entries of one map.
--
-- An address is written as the hexadecimal digits of its bytes, a network as the first of these digits, and the map is
-- searched by prefix. So all lists of all routes are in one map, a changed list means changed entries, and a network of
-- any length needs at most eight entries. The key begins with the record, the name of the list, and the number of
-- digits, which distinguishes IPv4 from IPv6.

local MAP = "addresses.map"
local V4_IN_V6 = ("\0"):rep(10) .. "\255\255"

--- The keys of an address or a network such as 10.0.0.0/8; nil for other texts.
local function keys_of(text)
  local address, length = text:match("^([^/]+)(.*)$")
  local bytes = address and address_parse(address)
  if not bytes or length ~= "" and not length:find("^/%d+$") then return nil end
  local bits = tonumber(length:sub(2)) or #bytes * 8
  if bits > #bytes * 8 then return nil end
  if #bytes == 16 and bits >= 96 and bytes:sub(1, 12) == V4_IN_V6 then bytes, bits = bytes:sub(13), bits - 96 end
  local digits = bytes:gsub(".", function(c) return ("%02X"):format(c:byte()) end)
  local whole, rest = math.floor(bits / 4), bits % 4
  local beginning = #digits .. ":" .. digits:sub(1, whole)
  if rest == 0 then return { beginning } end
  local step = 2 ^ (4 - rest)
  local digit = tonumber(digits:sub(whole + 1, whole + 1), 16)
  local first, keys = digit - digit % step, {}
  for i = 0, step - 1 do keys[i + 1] = beginning .. ("%X"):format(first + i) end
  return keys
end

--- Writes a list of a record.
local function put(record, list, networks)
  for _, network in ipairs(networks) do
    for _, key in ipairs(keys_of(network) or {}) do record:entry(MAP, ":" .. list .. ":" .. key, "1") end
  end
end

--- Writes the rules that set txn.ip_key, the search key for lists; condition: words, from "if" on.
local function write_key(rule, condition)
  rule("http-request", "set-var(txn.ip)", "src,hex", condition)
  rule("http-request", "set-var(txn.ip)", "var(txn.ip),bytes(24,8)", "if", "{", "var(txn.ip)", "-m", "beg",
    "00000000000000000000FFFF", "}")
  rule("http-request", "set-var(txn.ip_key)", "var(txn.ip),length,concat(:,txn.ip)", "if", "{", "var(txn.ip)", "-m",
    "found", "}")
end

--- The words of a condition: the client is in a list of the route's record.
local function listed(list, negated)
  local key = "var(txn.record),concat(:" .. list .. ":,txn.ip_key)"
  return { negated and "!{" or "{", key .. ",map_beg(" .. path:map(MAP) .. ")", "-m", "found", "}" }
end

provide("effects.addresses", { map = MAP, keys_of = keys_of, put = put, write_key = write_key, listed = listed })
