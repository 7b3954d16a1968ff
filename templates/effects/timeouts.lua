--- timeouts.lua — the time in which the pods of a route must answer.
--
-- The rule is in the backend, the only place where HAProxy accepts it; its value comes with the request. So backends
-- with different values share one profile.

local MAP = "timeout-server.map"

--- Milliseconds of HAProxy's notation with one unit.
local UNITS = { us = 0.001, ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local function milliseconds(text)
  local number, unit = text:match("^(%d+)(%l+)$")
  return tonumber(number) * UNITS[unit]
end

use("effects").declare("timeouts", {
  place = "timeout",
  follows = false, -- the section "defaults base" does
  annotations = { "timeout_server" },
  maps = { MAP },
  backend = function(rule)
    rule("http-request", "set-timeout", "server", "var(txn.timeout_server)", "if", "{", "var(txn.timeout_server)", "-m",
      "found", "}")
  end,
  rules = function(rule, has)
    rule("http-request", "set-var(txn.timeout_server)", "var(txn.record),map_str(" .. path:map(MAP) .. "),add(0)", "if",
      has("timeout-server"))
  end,
  put = function(values, record)
    if not values.timeout_server then return nil end
    record:entry(MAP, "", tostring(values.timeout_server))
    return { "timeout-server" }
  end,
})

provide("effects.timeouts", { milliseconds = milliseconds })
