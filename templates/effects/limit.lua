--- limit.lua — limits the rate of a client's requests.
--
-- One number is stored for each client of a route: the time at which all its requests are paid for. Each request costs
-- period / requests (the generic cell rate algorithm). A request is refused when this time is further in the future
-- than the burst allows; refused requests cost nothing. So one table serves all routes, whatever their rates are.
--
-- HAProxys that share the table (fleet.lua) send each other the changed number of a client. Each of them counts its own
-- requests exactly; requests that reach several of them within the time of one message may all be allowed.
--
-- Times are tenths of milliseconds in 31 bits, which wrap after two days and a half: their difference is taken within
-- these bits, and more than half of them is the past. Entries that nobody asks for go after an hour, the longest
-- period.

local addresses, named = use("effects.addresses"), use("effects.addresses_named")
local setting, fleet = use("base.configmap").setting, use("effects.fleet")

settings({
  rate_limit_size = { type = "integer", min = 1000, max = 100000000, default = 100000,
    doc = "clients of routes with a rate limit that are remembered" },
})

local MAP, TABLE = "limit.map", "haptic_limits"
local MASK, HALF = 2147483647, 1073741823
--- Statuses that HAProxy can refuse with.
local STATUSES = { 400, 403, 404, 405, 408, 410, 413, 425, 429, 500, 502, 503, 504 }

local function parse_status(code)
  for _, known in ipairs(STATUSES) do
    if code == known then return code end
  end
  return nil, "one of " .. table.concat(STATUSES, ", ")
end

fragment("limits", function(out)
  out:backend(TABLE, { from = false, profile = false }, function(b)
    b:line("stick-table", "type", "binary", "len", 20, "size", setting("rate_limit_size"), "expire", "1h", "store",
      "gpt(1)", unpack(fleet.words))
  end)
end)

use("effects").declare("limit", {
  place = "limit",
  annotations = { "rate_limit_requests", "rate_limit_period", "rate_limit_status_code", "rate_limit_whitelist" },
  maps = { MAP, addresses.map, named.map },
  rules = function(rule, has)
    local limited = { "if", "{", "var(txn.limit)", "-m", "found", "}" }
    local function set(name, expression, ...) rule("http-request", "set-var(txn." .. name .. ")", expression, ...) end
    -- "INTERVAL|TOLERANCE|STATUS"
    set("limit", "var(txn.record),map_str(" .. path:map(MAP) .. ")", "if", has("limit"))
    rule("http-request", "deny", "deny_status", 503, "if", has("limit"), "!{", "var(txn.limit)", "-m", "found", "}")
    rule("http-request", "unset-var(txn.limit)", "if", has("limit-free"), addresses.listed("free"))
    named.write(rule, has, "free")
    rule("http-request", "unset-var(txn.limit)", "if", has("free-named"), named.listed("free"))
    set("limit_interval", "var(txn.limit),field(1,|),add(0)", limited)
    set("limit_tolerance", "var(txn.limit),field(2,|),add(0)", limited)
    set("limit_status", "var(txn.limit),field(3,|)", limited)
    set("limit_key", "var(txn.record),concat(:,txn.ip_key)", limited)
    rule("http-request", "track-sc2", "var(txn.limit_key),sha1", "table", TABLE, limited)
    set("limit_now", "date(0,us),div(100),and(" .. MASK .. ")", limited)
    set("limit_paid", "sc_get_gpt(0,2)", limited)
    set("limit_ahead", "var(txn.limit_paid),sub(txn.limit_now),and(" .. MASK .. ")", limited)
    set("limit_ahead", "int(0)", "if", "{", "var(txn.limit_ahead)", "-m", "int", "gt", HALF, "}", "or", "{",
      "var(txn.limit_paid)", "-m", "int", 0, "}")
    for _, status in ipairs(STATUSES) do
      rule("http-request", "deny", "deny_status", status, "if", "{", "var(txn.limit_status)", "-m", "str", status, "}",
        "{", "var(txn.limit_ahead),sub(txn.limit_tolerance)", "-m", "int", "gt", 0, "}")
    end
    rule("http-request", "sc-set-gpt(0,2)", "var(txn.limit_now),add(txn.limit_ahead),add(txn.limit_interval),and("
      .. MASK .. ")", limited)
  end,
  judge = function(values, tell) named.judge({ "rate_limit_whitelist" }, values, "it has no effect", tell) end,
  put = function(values, record)
    if not values.rate_limit_requests then return nil end
    local period = values.rate_limit_period * 10
    local interval = math.max(math.floor(period / values.rate_limit_requests), 1)
    record:entry(MAP, "", ("%d|%d|%d"):format(interval, math.max(period - interval, 0), values.rate_limit_status_code))
    if not values.rate_limit_whitelist then return { "limit" } end
    local more, problem = named.put(record, "free", values.rate_limit_whitelist)
    if problem then record.out:warn("InvalidAnnotation", "rate-limit-whitelist: " .. problem
      .. "; it has no effect") end
    return { "limit", "limit-free", more }
  end,
})

provide("effects.limit", { parse_status = parse_status, statuses = STATUSES })
