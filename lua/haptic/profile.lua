--- profile.lua — which lines of a backend a named defaults section can hold for it.

local M = {}

-- Directives of a backend that a named defaults section may contain (HAProxy's keyword matrix, 2.6 to 3.4). Rules are
-- evaluated in the order defaults, then backend: they move only when no remaining line could refer to them.
local MOVES = {
  balance = true, compression = true, cookie = true, ["default-server"] = true,
    ["dynamic-cookie-key"] = true, errorfile = true, errorfiles = true,
  errorloc = true, errorloc302 = true, errorloc303 = true, fullconn = true, ["hash-type"] = true,
    ["hash-balance-factor"] = true,
  ["http-check"] = true, ["http-error"] = true, ["http-reuse"] = true, ["http-send-name-header"] = true,
  ["load-server-state-from-file"] = true, log = true, ["log-tag"] = true, ["max-keep-alive-queue"] = true,
    mode = true, no = true,
  option = true, retries = true, ["retry-on"] = true, source = true, ["srvtcpka-cnt"] = true, ["srvtcpka-idle"] = true,
  ["srvtcpka-intvl"] = true, ["tcp-check"] = true, timeout = true,
}
local RULES = {
  acl = true, ["http-after-response"] = true, ["http-request"] = true, ["http-response"] = true,
    ["tcp-request"] = true, ["tcp-response"] = true,
}
local SERVERS = { server = true, ["server-template"] = true }

--- Which lines go into the profile.
---@param g table what a body has gathered: `first` (the first word of each line), `n`, `others` (nil: only servers)
---@return table|nil moves list of booleans; nil when none do
function M.moving(g)
  if not g.others then return nil end
  local any, rules_stay = false, false
  for i = 1, g.n do
    local first = g.first[i]
    if MOVES[first] or RULES[first] then
      any = true
    elseif not SERVERS[first] and first ~= "#" then
      rules_stay = true
    end
  end
  if not any then return nil end
  local moves = {}
  any = false
  for i = 1, g.n do
    local first = g.first[i]
    moves[i] = MOVES[first] or RULES[first] and not rules_stay or false
    any = any or moves[i]
  end
  return any and moves or nil
end

return M
