--- What most end-to-end specs stand in: one cluster for all of them, web servers, and for each spec a scope with routes
--- to begin with.
-- Part of support.e2e: adds to the module.

local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")
local M = require("support.e2e_core")

local World = {}
World.__index = World

--- One for a `describe`: begin() in setup, open() in before_each, close() in after_each, finish() in teardown.
---@param options table routes: a list of {NAME, ADDRESS}, NAME.example is answered from there; clients: names of
--- clients with a fault proxy before the API server; rules: what alice may do (kube.rules())
function M.world(name, options)
  return setmetatable({ name = name, routes = options.routes or {}, clients = options.clients, rules = options.rules },
    World)
end

--- Starts the cluster. Returns its administrator, the cluster, and the fault proxy.
function World:begin()
  M.backends()
  self.suite = M.scope(self.name)
  self.cluster = self.suite:cluster()
  self.admin = self.cluster.admin
  self.faults = self.clients and self.suite:faults(self.cluster, self.clients)
  return self.admin, self.cluster, self.faults
end

function World:finish()
  self.suite:close()
end

--- Puts the routes. Returns the scope of this spec.
function World:open()
  self.scope = M.scope(self.name)
  self.admin:allow("alice", self.rules or kube.rules())
  self.admin:put(kube.ingress_class())
  for _, route in ipairs(self.routes) do
    self.admin:put_route(route[1], route[1] .. ".example", { route[2] })
  end
  return self.scope
end

function World:close()
  if self.faults then
    self.faults:heal()
    self.faults:up()
  end
  self.scope:close()
  self.admin:clean()
end

function World:kubeconfig(client)
  if not self.faults then
    return self.cluster.admin_kubeconfig
  end
  return self.scope:kubeconfig(self.cluster, { user = "alice", server = self.faults.server[client] })
end

--- Returns when all routes are answered at this port, with a client that goes on asking.
function World:wait_routes(port)
  local hosts = {}
  for i, route in ipairs(self.routes) do
    hosts[i] = route[1] .. ".example"
    self.scope:wait_answer(port, hosts[i], route[2] .. ":8001")
  end
  return self.scope:client({ port = port, hosts = hosts })
end

--- Starts `haptic run`: as the administrator, or as alice behind the fault proxy. Returns it, ready and with all
--- routes, and a client.
---@param options? table as for Scope:haptic()
function World:start(options)
  options = options or {}
  options.kubeconfig = options.kubeconfig or self:kubeconfig("haptic")
  local haptic = self.scope:haptic(options):wait_ready()
  return haptic, self:wait_routes(haptic.http_port)
end

-- ---- without a cluster ----

local Manifests = {}
Manifests.__index = Manifests

--- A folder of manifests: `.path` is for `source`.
function M.Scope:manifests()
  local manifests = setmetatable({ path = self:path("manifests") }, Manifests)
  posix.run({ "mkdir", manifests.path })
  return manifests
end

--- Writes a file of these documents, tables or texts.
function Manifests:write(name, ...)
  local documents = {}
  for i, object in ipairs({ ... }) do
    documents[i] = type(object) == "string" and object or http.encode(object)
  end
  posix.write_file(self.path .. "/" .. name, table.concat(documents, "\n---\n"))
end
