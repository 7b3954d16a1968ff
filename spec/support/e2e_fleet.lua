--- `haptic agent` beside HAProxies, as specs start and see it.
-- Part of support.e2e: adds to its scopes.

local json = require("cjson")
local http = require("support.http")
local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local Member = {}
Member.__index = Member

--- Certificates of one authority for a controller and its agents.
function Scope:fleet_identity()
  local authority = self:authority("fleet")
  local identity = { authority = authority }
  identity.agent_crt, identity.agent_key = authority:issue({ subject = "/CN=agent", names = "DNS:haptic-agent" })
  identity.controller_crt, identity.controller_key = authority:issue({ subject = "/CN=controller" })
  return identity
end

--- Starts an agent, and, when it is attached, the HAProxy beside it.
---@param options table name; identity; series; attach (HAProxy is another's, as in a container of its own); address
--- and port of the agent; program (another haptic); env (more of its environment)
function Scope:member(options)
  local m = setmetatable({
    scope = self, options = options, name = options.name, address = options.address or "127.0.0.1",
    port = options.port or M.port(), status_port = M.port(), directory = self:path(options.name),
    minimal_port = M.port(),
    attach = options.attach,
  }, Member)
  m.url = ("https://%s:%d"):format(m.address, m.port)
  m.haproxy = M.haproxy_of(m.directory)
  m:start()
  if m.attach then
    m:start_haproxy()
  end
  return self:add(m)
end

local function environment(member)
  local env = { HOME = member.scope.directory }
  for name, value in pairs(member.options.env or {}) do
    env[name] = value
  end
  return env
end

function Member:start()
  local o = self.options
  local argv = {
    o.program or M.program(), "agent", "--directory", self.directory, "--listen", self.address .. ":" .. self.port,
    "--status-listen", "127.0.0.1:" .. self.status_port, "--tls-cert", o.identity.agent_crt, "--tls-key",
    o.identity.agent_key, "--client-ca", o.identity.authority.crt, "--minimal-bind",
    "127.0.0.1:" .. self.minimal_port, "--min-reload-interval", o.min_reload_interval or "100ms",
    "--log-level", "DEBUG",
  }
  local more = o.attach and { "--attach" } or { "--haproxy-binary", M.haproxy_binary(o.series) }
  for _, word in ipairs(more) do
    argv[#argv + 1] = word
  end
  self.process = posix.spawn({
    name = self.name, argv = argv, env = environment(self),
    output = self.output or self.scope:path(self.name .. ".log"),
  })
  self.output = self.process.output
  self.ended = false
  self.scope:wait_for(self.name .. " to run", 10, function()
    if not self.process:is_running() then
      error(self.name .. " has ended: " .. M.tail(self.process:log(), 5), 0)
    end
    return self:status("/healthz") == 200, M.tail(self.process:log(), 5)
  end)
end

--- What a Kubernetes node does beside a sidecar: HAProxy is started when the agent says that it may be.
function Member:start_haproxy()
  self.scope:wait_for("the agent to have a configuration for HAProxy", 10, function()
    return self:status("/startz") == 200
  end)
  self.master = self.scope:spawn({
    name = self.name .. " haproxy", directory = self.directory, env = { HAPTIC_DIR = self.directory },
    argv = {
      M.haproxy_binary(self.options.series), "-W", "-S", self.directory .. "/master.sock,mode,600", "-f",
      self.directory .. "/haproxy.cfg",
    },
  })
end

--- GET without TLS: the status and the body.
function Member:status(path)
  local answer, reason = http.request({ port = self.status_port, path = path })
  if not answer then
    return nil, reason
  end
  return answer.status, answer.body
end

--- curl's exit code, HTTP status and body.
function Member:curl(...)
  local output, code = posix.run({
    "curl", "-s", "-w", "\n%{http_code}", "--max-time", "20", "--connect-to",
    ("haptic-agent:%d:%s:%d"):format(self.port, self.address, self.port), "--cacert",
    self.options.identity.authority.crt, ...,
  })
  local body, status = output:match("^(.*)\n(%d+)%s*$")
  return code, tonumber(status), body
end

--- Offers it bytes, as a controller does: the HTTP status and what was said.
---@param nonce? string the next one, when it is left out; "": none
function Member:offer(bytes, nonce)
  local path = self.scope:path("offer")
  posix.write_file(path, bytes)
  nonce = nonce or self:state().nonce
  local _, status, body = self:call("/v1/apply", "--data-binary", "@" .. path, "-H",
    nonce == "" and "X-None: 1" or "Haptic-Nonce: " .. nonce)
  return status, status ~= 0 and json.decode(body) or nil
end

--- The same as the controller.
function Member:call(path, ...)
  local identity = self.options.identity
  return self:curl("--cert", identity.controller_crt, "--key", identity.controller_key,
    ("https://haptic-agent:%d%s"):format(self.port, path), ...)
end

function Member:state()
  local code, status, body = self:call("/v1/state")
  assert(code == 0 and status == 200, ("%s: curl %d, HTTP %s: %s"):format(self.name, code, tostring(status), body))
  return json.decode(body)
end

--- Who answers a host at this member's HAProxy: the status and the backend.
function Member:ask(host)
  local answer, reason = http.request({ address = self.directory .. "/http.sock", host = host, timeout = 3 })
  if not answer then
    return nil, reason
  end
  return answer.status, (answer.body:gsub("%s+$", ""))
end

function Member:wait_answer(host, wanted, seconds)
  self.scope:wait_for(("%s at %s to be answered by %s"):format(host, self.name, wanted), seconds or 15, function()
    local status, body = self:ask(host)
    return status == 200 and body == wanted, tostring(status) .. " " .. tostring(body):sub(1, 60) .. "\n"
      .. M.tail(self.process:log(), 5)
  end)
end

function Member:kill()
  self.process:signal("KILL")
  self.process:wait(10)
  self.ended = true
end

--- The agent and its HAProxy, as when a node kills the containers.
function Member:kill_all()
  local pids = self.haproxy:processes()
  self:kill()
  posix.kill(pids.master, "KILL")
  posix.kill(pids.worker, "KILL")
  self.scope:wait_for("HAProxy to be gone", 5, function()
    return not posix.is_alive(pids.master) and not posix.is_alive(pids.worker)
  end)
end

function Member:stop()
  self.ended = true
  self.process:signal("TERM")
  local status = self.process:wait(30)
  assert(status == "exit 0", ("%s did not end well: %s\n%s"):format(self.name, status or "still running",
    M.tail(self.process:log(), 25)))
end

function Member:close()
  local ok, pids = pcall(function() return self.haproxy:processes() end)
  local problem
  if not self.ended then
    if not self.process:is_running() then
      problem = ("%s ended by itself: %s\n%s"):format(self.name, self.process.status, M.tail(self.process:log(), 25))
    else
      local good, message = pcall(self.stop, self)
      problem = not good and message or nil
    end
  end
  for _, pid in ipairs(ok and { pids.master, pids.worker } or {}) do
    if posix.is_alive(pid) then
      posix.kill(pid, "KILL")
    end
  end
  if problem then
    error(problem, 0)
  end
end
