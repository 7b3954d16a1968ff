--- The API server of the end-to-end specs, and the faults in front of it.
-- Part of support.e2e: adds to the module and its scopes.

local json = require("cjson")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local Cluster = {}
Cluster.__index = Cluster

--- etcd and a real kube-apiserver; `.admin` is the administrator (support.kube).
function Scope:cluster()
  local directory = self:path("cluster")
  local output, code = posix.run({ "tools/testenv", "cluster", "up", directory })
  if code ~= 0 then
    error("tools/testenv cluster up: " .. output, 2)
  end
  local port = M.port()
  local proxy = posix.spawn({
    name = "kubectl proxy", output = directory .. "/kubectl-proxy.log",
    argv = {
      "kubectl", "proxy", "--kubeconfig", directory .. "/kubeconfig", "--port", tostring(port),
    },
  })
  local cluster = setmetatable({ directory = directory, proxy = proxy, admin = kube.new(port) }, Cluster)
  cluster.server = posix.read_file(directory .. "/server"):gsub("%s+$", "")
  cluster.admin_kubeconfig = directory .. "/kubeconfig"
  self:add(cluster)
  self:wait_for("kubectl proxy", 10, function()
    return cluster.admin:call("GET", "/version") == 200
  end)
  return cluster
end

function Cluster:close()
  self.proxy:signal("KILL")
  self.proxy:wait(5)
  posix.run({ "tools/testenv", "cluster", "down", self.directory })
end

function Cluster:kill_apiserver()
  posix.run({ "tools/testenv", "cluster", "kill-apiserver", self.directory })
end

--- Returns when the API server is ready again.
function Cluster:restart_apiserver()
  local output, code = posix.run({ "tools/testenv", "cluster", "restart-apiserver", self.directory })
  assert(code == 0, output)
end

--- Keeps a copy of the data, with the server stopped meanwhile.
function Cluster:save()
  local output, code = posix.run({ "tools/testenv", "cluster", "save", self.directory })
  assert(code == 0, output)
end

--- Back to what save() kept, with its resource versions.
function Cluster:restore()
  local output, code = posix.run({ "tools/testenv", "cluster", "restore", self.directory })
  assert(code == 0, output)
end

function Cluster:pid(name)
  return tonumber(posix.read_file(self.directory .. "/pids"):match("%f[%a]" .. name .. " (%d+)"))
end

--- The token of a static user.
function Cluster:token(user)
  return (posix.read_file(self.directory .. "/tokens/" .. user):gsub("%s+$", ""))
end

--- A kubeconfig for a user of the cluster.
---@param options table user; server (default: directly); token_file (instead of the token itself); credentials (a user
--- entry instead of both); entry (fields of the cluster entry, false: without)
function Scope:kubeconfig(cluster, options)
  local path = self:path("kubeconfig")
  local token = options.credentials or options.token_file and { tokenFile = options.token_file }
    or { token = options.token or cluster:token(options.user) }
  local entry = { server = options.server or cluster.server }
  entry["certificate-authority"] = cluster.directory .. "/ca.crt"
  for field, value in pairs(options.entry or {}) do
    entry[field] = value or nil
  end
  posix.write_file(path, json.encode({
    apiVersion = "v1", kind = "Config", ["current-context"] = "spec",
    clusters = { { name = "spec", cluster = entry } },
    users = { { name = "spec", user = token } },
    contexts = { { name = "spec", context = { cluster = "spec", user = "spec" } } },
  }))
  return path
end

-- ---- faults between clients and the API server ----

local Faults = {}
Faults.__index = Faults

--- The fault proxy (tools/faultproxy) before the cluster, with one port per client: `.server[name]` is its URL.
---@param options table crt, key (what it shows to clients; default: the API server's own), port (of the first client)
function Scope:faults(cluster, clients, options)
  options = options or {}
  local control = M.port()
  local faults = setmetatable({ control = control, server = {} }, Faults)
  local argv = {
    "tools/faultproxy/faultproxy", "--upstream", cluster.server, "--ca", cluster.directory .. "/ca.crt",
    "--cert", options.crt or cluster.directory .. "/server.crt",
    "--key", options.key or cluster.directory .. "/server.key",
    "--control", tostring(control),
  }
  for i, name in ipairs(clients) do
    local port = i == 1 and options.port or M.port()
    faults.server[name] = "https://127.0.0.1:" .. port
    argv[#argv + 1] = "--client"
    argv[#argv + 1] = name .. "=" .. port
  end
  faults.process = self:spawn({ name = "faultproxy", argv = argv })
  self:wait_for("the fault proxy", 10, function()
    return faults:requests()
  end)
  return faults
end

function Faults:command(method, path, data)
  local status, answer = http.json({ port = self.control, method = method, path = path }, data)
  if status ~= 200 then
    error(("fault proxy: %s %s: %s %s"):format(method, path, tostring(status),
      type(answer) == "table" and answer.error or tostring(answer)), 3)
  end
  return answer
end

--- Adds a rule; see tools/faultproxy. Returns its number, for heal().
function Faults:rule(rule)
  return self:command("POST", "/rules", rule).id
end

--- Takes one rule, or all of them, away.
function Faults:heal(rule)
  self:command("DELETE", rule and "/rules/" .. rule or "/rules")
end

--- Closes the connections of requests under way. Returns how many.
function Faults:cut(match)
  return self:command("POST", "/cut", next(match or {}) and match or nil).cut
end

function Faults:down(client)
  self:command("POST", "/down", client and { client = client })
end

function Faults:up(client)
  self:command("POST", "/up", client and { client = client })
end

function Faults:requests()
  return self:command("GET", "/requests")
end

function Faults:forget_requests()
  self:command("DELETE", "/requests")
end

--- The requests (ended ones, and those under way) whose path has the Lua pattern.
function Faults:find_requests(pattern)
  local found = {}
  for _, path in ipairs({ "/requests", "/under-way" }) do
    for _, request in ipairs(self:command("GET", path)) do
      if request.path:find(pattern) then
        found[#found + 1] = request
      end
    end
  end
  return found
end
