--- `haptic run` as specs start and see it.
-- Part of support.e2e: adds to the module and its scopes.

local json = require("cjson")
local http = require("support.http")
local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local Haptic = {}
Haptic.__index = function(_, key)
  return Haptic[key]
end

--- The configuration that specs begin with: short timings, so that they need not wait.
function M.config(changes)
  local config = {
    controller = { leader_election = { enabled = false } },
    logging = { level = "DEBUG" },
    templatingSettings = { extraContext = { timeout_connect = "1s", access_log = false } },
    dataplane = { minDeploymentInterval = "100ms" },
  }
  local function merge(into, from)
    for key, value in pairs(from) do
      if type(value) == "table" and type(into[key]) == "table" then
        merge(into[key], value)
      else
        into[key] = value
      end
    end
    return into
  end
  return merge(config, changes or {})
end

--- Starts `haptic run`.
---@param options table name; kubeconfig | source | neither; https (true: at https_port);
--- series | haproxy (an HAProxy to attach to); config (a
--- table or text); env; args; program (another haptic); through (words before it); and, when it takes the place of an
--- earlier one,
--- directory, output, http_port, https_port, status_port, metrics_port, debug_port
function Scope:haptic(options)
  local name = options.name or "haptic"
  local h = {
    is_haptic = true, name = name, scope = self, options = options, http_port = options.http_port or M.port(),
    https_port = options.https_port or M.port(),
    status_port = options.status_port or M.port(), metrics_port = options.metrics_port or M.port(),
    debug_port = options.debug_port or M.port(),
    directory = options.haproxy and options.haproxy.directory or options.directory or self:path("run"),
  }
  local argv = {
    options.program or M.program(), "run", "--haproxy-dir", h.directory, "--haproxy-binary",
    M.haproxy_binary(options.series or "3.2"),
    "--haproxy", options.haproxy and "attach" or "local", "--metrics-address", "127.0.0.1", "--metrics-port",
    tostring(h.metrics_port), "--debug-port", tostring(h.debug_port), "--set", "http_port=" .. h.http_port, "--set",
    "status_port=" .. h.status_port,
  }
  local function add(...)
    for _, word in ipairs({ ... }) do
      argv[#argv + 1] = word
    end
  end
  if options.https then
    add("--set", "https_port=" .. h.https_port)
  end
  if options.config ~= false then
    h.config_file = options.config_file or self:path("config.yaml")
    if not options.config_file then
      local config = options.config or M.config()
      posix.write_file(h.config_file, type(config) == "string" and config or http.encode(config))
    end
    add("--config", h.config_file)
  end
  if options.source then
    add("--source", options.source)
  elseif options.kubeconfig then
    add("--kubeconfig", options.kubeconfig)
  end
  add(unpack(options.args or {}))
  for i, word in ipairs(options.through or {}) do
    table.insert(argv, i, word)
  end
  local env = { POD_NAME = name, POD_NAMESPACE = "default", KUBECONFIG = false, HOME = self.directory }
  for key, value in pairs(options.env or {}) do
    env[key] = value
  end
  h.process = posix.spawn({ name = name, argv = argv, env = env, output = options.output or self:path(name .. ".log") })
  h.pid = h.process.pid
  h.output = h.process.output
  h.haproxy = options.haproxy or M.haproxy_of(h.directory)
  h.supervises = not options.haproxy
  return self:add(setmetatable(h, Haptic))
end

--- Starts another one in the place of this one, which has ended: around the same HAProxy, with its ports.
function Haptic:successor(name)
  local was = self.options
  return self.scope:haptic({
    name = name, kubeconfig = was.kubeconfig, source = was.source, series = was.series, directory = self.directory,
    http_port = self.http_port, https = was.https, https_port = self.https_port, status_port = self.status_port,
  })
end

function Haptic:is_running()
  local running = self.process:is_running()
  self.status = self.process.status
  return running
end

function Haptic:log()
  return self.process:log()
end

function Haptic:signal(name)
  self.process:signal(name)
end

--- SIGTERM; it must end by itself, with exit code 0.
function Haptic:stop(seconds)
  self.ended = true
  self.process:signal("CONT")
  self.process:signal("TERM")
  local status = self.process:wait(seconds or 30)
  if status ~= "exit 0" then
    self.process:signal("KILL")
    self.process:wait(5)
    error(("%s did not end well after SIGTERM: %s\n%s"):format(self.name, status or "still running",
      M.tail(self:log(), 25)), 2)
  end
end

function Haptic:kill()
  self.ended = true
  self.process:signal("KILL")
  self.process:wait(10)
end

--- Part of Scope:close(): a haptic that the spec did not end itself must still run, and end in order.
function Haptic:close()
  local is_there, processes
  if self.supervises then
    is_there, processes = pcall(self.haproxy.processes, self.haproxy)
  end
  local master = is_there and processes.master
  local problem
  if not self.ended then
    if not self:is_running() then
      problem = ("%s ended by itself: %s\n%s"):format(self.name, self.status, M.tail(self:log(), 25))
    else
      local ok, message = pcall(self.stop, self)
      problem = not ok and message or nil
    end
  end
  if master and posix.is_alive(master) then
    posix.kill(master, "KILL")
  end
  if problem then
    error(problem, 0)
  end
end

--- GET on the public or the debug port: the answer, or nil and the reason.
function Haptic:get(path)
  local debug = path:sub(1, 7) == "/debug/"
  return http.request({ port = debug and self.debug_port or self.metrics_port, path = path })
end

function Haptic:is_ready()
  local answer, reason = self:get("/readyz")
  if not answer then
    return false, reason
  end
  return answer.status == 200, answer.body
end

function Haptic:wait_ready(seconds)
  self.scope:wait_for(self.name .. " to be ready", seconds or 20, function()
    if not self:is_running() then
      return false, "it ended: " .. self.status
    end
    return self:is_ready()
  end)
  return self
end

function Haptic:state()
  return json.decode(assert(self:get("/debug/state")).body)
end

--- The value of a metric, summed over the series that have these labels; nil when there is none.
function Haptic:metric(name, labels)
  local text, sum = assert(self:get("/metrics")).body, nil
  for line in text:gmatch("[^\n]+") do
    local series, set, value = line:match("^([%w_:]+)(%b{}) (%S+)")
    if not series then
      series, value = line:match("^([%w_:]+) (%S+)")
      set = ""
    end
    if series == name then
      local matches = true
      for label, wanted in pairs(labels or {}) do
        matches = matches and set:find(label .. '="' .. wanted .. '"', 1, true) ~= nil
      end
      if matches then
        sum = (sum or 0) + tonumber(value)
      end
    end
  end
  return sum
end

--- How often a Lua pattern is in the log, by lines.
function Haptic:count_log(pattern)
  local n = 0
  for line in self:log():gmatch("[^\n]+") do
    if line:find(pattern) then
      n = n + 1
    end
  end
  return n
end

function Haptic:wait_log(pattern, seconds, at_least)
  self.scope:wait_for(("%q in the log of %s"):format(pattern, self.name), seconds or 10, function()
    return self:count_log(pattern) >= (at_least or 1)
  end)
end

--- The renderer's process id.
function Haptic:renderer_pid()
  for _, child in ipairs(posix.children(self.pid)) do
    if (posix.read_file("/proc/" .. child .. "/cmdline") or ""):find("%zrenderer%z") then
      return child
    end
  end
  return nil
end
