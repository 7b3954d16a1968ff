--- names.lua — valid names, hosts and paths. Objects in a folder were not validated by an API server.

local MAX_PATH = 1024

--- A DNS label.
local function is_label(s)
  return type(s) == "string" and #s <= 63 and s:find("^[a-z0-9][a-z0-9-]*$") ~= nil and s:sub(-1) ~= "-"
end

-- 64 characters without a dot.
local LONG_LABEL = ("[^.]"):rep(64)

--- Labels joined by dots.
local function is_domain(s)
  if #s > 253 or not s:find("^[a-z0-9][a-z0-9.-]*$") then return false end
  if s:find("[.-]$") or s:find("%.[.-]") or s:find("-.", 1, true) then return false end
  return #s <= 63 or not s:find(LONG_LABEL)
end

--- The key of a rule's host in the maps, or nil and what is wrong.
local function host_key(host)
  if host == nil or host == "" then return "" end
  if type(host) ~= "string" then return nil, "the host is no string" end
  if is_domain(host:starts_with("*.") and host:sub(3) or host) then return host end
  return nil, "the host is no DNS name in lower case"
end

local NOT_IN_PATHS = "[^%w%-._~!$&'()*+,;=:@%%/]"

--- A path as clients send it: bytes that a path cannot contain are encoded. nil when nothing changes.
local function encoded(p)
  if not p:find(NOT_IN_PATHS) then return nil end
  return (p:gsub(NOT_IN_PATHS, function(c) return ("%%%02X"):format(c:byte()) end))
end

--- The error in the path of a rule, or nil. It is compared with the paths of requests in encoded form.
local function path_problem(p)
  if type(p) ~= "string" then return "a path is no string" end
  if #p > MAX_PATH then return "the path " .. p:sub(1, 60) .. "... is longer than " .. MAX_PATH .. " bytes" end
  local problem
  if not p:starts_with("/") then
    problem = "does not begin with '/'"
  elseif encoded(p) then
    problem = "has characters that clients send encoded; write it as " .. encoded(p)
    if p:find("[%[%]{}|\\^]") then problem = problem .. ", or without them: a path is no pattern" end
    if p:find("[?#]") then problem = "has '?' or '#', which end the path of a request" end
  elseif p:find("%", 1, true) and p:gsub("%%%x%x", ""):find("%", 1, true) then
    problem = "has a '%' without two hexadecimal digits"
  elseif p:find("//", 1, true) or p:find("/.", 1, true) and (p .. "/"):find("/%.%.?/") then
    problem = "has empty elements, '.' or '..'"
  end
  return problem and ("the path %q %s"):format(p, problem) or nil
end

--- The path as a key of the maps: hexadecimal digits in upper case.
local function path_key(p)
  if not p:find("%", 1, true) then return p end
  return (p:gsub("%%%x%x", string.upper))
end

provide("ingress.names", { is_label = is_label, is_domain = is_domain, host_key = host_key,
  path_problem = path_problem, path_key = path_key })
