--- Requests through HAProxy, and who answers them.
-- Part of support.e2e: adds to the module and its scopes.

local http = require("support.http")
local posix = require("support.posix")
local M = require("support.e2e_core")

local BACKEND_PORTS = { 8001, 8002 }
local Scope = M.Scope

--- Asks HAProxy: returns the status and the backend's "ADDRESS:PORT", or nil and the reason.
function M.ask(port, host, path)
  local answer, reason = http.request({ port = port, host = host, path = path, timeout = 3 })
  if not answer then
    return nil, reason
  end
  return answer.status, (answer.body:gsub("%s+$", ""))
end

--- Waits until a host is answered with `status` (200) and, if given, by `backend` ("ADDRESS:PORT").
-- Returns when that was.
function Scope:wait_answer(port, host, wanted, seconds)
  wanted = type(wanted) == "table" and wanted or { backend = wanted }
  local status_wanted = wanted.status or 200
  self:wait_for(("%s%s to be answered %d%s"):format(host, wanted.path or "/", status_wanted,
    wanted.backend and " by " .. wanted.backend or ""), seconds or 10, function()
    local status, body = M.ask(port, host, wanted.path)
    local good = status == status_wanted and (wanted.backend == nil or body == wanted.backend)
    return good, tostring(status) .. " " .. tostring(body):sub(1, 60)
  end)
  return posix.now()
end

--- The web servers behind 198.18.0.0/15, ports 8001 and 8002: once for all specs.
function M.backends()
  if M.ask(BACKEND_PORTS[1], "x") == 200 then
    return
  end
  local argv = { "spec/support/e2e_backends" }
  for _, port in ipairs(BACKEND_PORTS) do
    argv[#argv + 1] = tostring(port)
  end
  local backends = posix.spawn({ name = "backends", argv = argv, output = M.ROOT .. "/backends.log" })
  local deadline = posix.now() + 30
  while M.ask(BACKEND_PORTS[#BACKEND_PORTS], "x") ~= 200 do
    assert(posix.now() < deadline, "the backends do not answer: " .. backends:log())
    posix.sleep(0.02)
  end
end

-- ---- continuous requests ----

local Client = {}
Client.__index = Client

--- Asks these hosts all the time, on kept and on new connections.
---@param options table port; hosts; rate (requests a second in all, 100)
function Scope:client(options)
  local argv = { "spec/support/e2e_client", tostring(options.port), tostring(options.rate or 100) }
  for _, host in ipairs(options.hosts) do
    argv[#argv + 1] = host
  end
  local client = setmetatable({ excuses = {}, start = posix.now() }, Client)
  client.process = self:spawn({ name = "client", argv = argv })
  self:wait_for("the client's first answers", 10, function()
    return #client:lines() > 0
  end)
  return client
end

--- What was asked so far: a list of {time, kind, host, status (number or "error"), detail}.
function Client:lines()
  local lines = {}
  for time, kind, host, status, detail in self.process:log():gmatch("([%d.]+) (%l+) (%S+) (%w+) ([^\n]*)\n") do
    lines[#lines + 1] = {
      time = tonumber(time), kind = kind, host = host, status = tonumber(status) or status, detail = detail,
    }
  end
  return lines
end

--- From now on until the returned function is called, such failures are expected: of `host` (nil: any), with `status`
-- (nil: any).
---@param why string what explains them
function Client:excuse(why, match, since)
  -- What is under way then may fail too.
  local excuse = { from = (since or posix.now()) - 0.1, why = why, match = match or {} }
  self.excuses[#self.excuses + 1] = excuse
  return function()
    -- A request that was under way at the end began before it.
    excuse.to = posix.now()
  end
end

local function is_excused(line, excuses)
  for _, excuse in ipairs(excuses) do
    local match = excuse.match
    if line.time >= excuse.from and (not excuse.to or line.time <= excuse.to)
      and (match.host == nil or match.host == line.host) and (match.status == nil or match.status == line.status) then
      return true
    end
  end
  return false
end

--- Stops asking, once there were `at_least` (20) good answers. Fails when a request failed that nothing explains.
function Client:finish(at_least)
  local deadline = posix.now() + 5
  local function count()
    return select(2, self.process:log():gsub(" 200 ", " 200 "))
  end
  while count() < (at_least or 20) and posix.now() < deadline do
    posix.sleep(0.05)
  end
  self.process:signal("TERM")
  local status = self.process:wait(10)
  assert(status == "exit 0", "the client ended badly: " .. tostring(status) .. "\n" .. M.tail(self.process:log(), 5))
  local bad, good = {}, 0
  for _, line in ipairs(self:lines()) do
    if line.status == 200 then
      good = good + 1
    elseif not is_excused(line, self.excuses) then
      bad[#bad + 1] = ("%+.3f s %s %s: %s %s"):format(line.time - self.start, line.kind, line.host, line.status,
        line.detail)
    end
  end
  self.good = good
  if #bad > 0 then
    error(("%d requests failed without an explanation (%d succeeded); the first:\n%s"):format(#bad, good,
      table.concat(bad, "\n", 1, math.min(#bad, 10))), 2)
  end
  if good < (at_least or 20) then
    error(("only %d requests succeeded: too few to prove anything"):format(good), 2)
  end
end
