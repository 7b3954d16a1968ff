--- The cluster's administrator, for specs: objects as Lua tables through `kubectl proxy`, and makers of the usual ones.

local http = require("support.http")

local M = {}
local Kube = {}
Kube.__index = Kube

local RESOURCES = {
  ConfigMap = { "/api/v1", "configmaps" },
  Namespace = { "/api/v1", "namespaces", cluster = true },
  CustomResourceDefinition = { "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", cluster = true },
  EndpointSlice = { "/apis/discovery.k8s.io/v1", "endpointslices" },
  Event = { "/api/v1", "events" },
  Ingress = { "/apis/networking.k8s.io/v1", "ingresses" },
  IngressClass = { "/apis/networking.k8s.io/v1", "ingressclasses", cluster = true },
  Lease = { "/apis/coordination.k8s.io/v1", "leases" },
  ClusterRole = { "/apis/rbac.authorization.k8s.io/v1", "clusterroles", cluster = true },
  ClusterRoleBinding = { "/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", cluster = true },
  Pod = { "/api/v1", "pods" },
  Role = { "/apis/rbac.authorization.k8s.io/v1", "roles" },
  RoleBinding = { "/apis/rbac.authorization.k8s.io/v1", "rolebindings" },
  Secret = { "/api/v1", "secrets" },
  Service = { "/api/v1", "services" },
}

---@param port number of `kubectl proxy`
function M.new(port)
  return setmetatable({ port = port, resources = setmetatable({}, { __index = RESOURCES }) }, Kube)
end

--- Makes a custom kind known to this client.
function Kube:know(kind, base, plural)
  self.resources[kind] = { base, plural }
end

function Kube:path(kind, namespace, name)
  local resource = assert(self.resources[kind], kind)
  local path = resource[1]
  if not resource.cluster and namespace then
    path = path .. "/namespaces/" .. namespace
  end
  path = path .. "/" .. resource[2]
  return name and path .. "/" .. name or path
end

--- Returns the status and the decoded body.
function Kube:call(method, path, data, content_type)
  local status, answer = http.json({
    port = self.port, method = method, path = path, timeout = 20,
    headers = content_type and { ["Content-Type"] = content_type } or nil,
  }, data)
  if not status then
    error(method .. " " .. path .. ": " .. tostring(answer), 2)
  end
  return status, answer
end

local function must(method, path, status, answer)
  if status >= 300 then
    error(("%s %s: %d %s"):format(method, path, status, type(answer) == "table" and answer.message or answer), 3)
  end
  return answer
end

--- Creates the object, or makes it what is given (server-side apply).
function Kube:put(object)
  local metadata = object.metadata
  local resource = assert(self.resources[object.kind], object.kind)
  local namespace = not resource.cluster and (metadata.namespace or "default") or nil
  object.apiVersion = object.apiVersion or resource[1]:gsub("^/apis?/", "")
  local path = self:path(object.kind, namespace, metadata.name) .. "?fieldManager=spec&force=true"
  return must("apply", path, self:call("PATCH", path, object, "application/apply-patch+yaml"))
end

--- The object, or nil when there is none.
function Kube:get(kind, name, namespace)
  local path = self:path(kind, namespace or "default", name)
  local status, answer = self:call("GET", path)
  if status == 404 then
    return nil
  end
  return must("get", path, status, answer)
end

function Kube:list(kind, namespace)
  local path = self:path(kind, namespace)
  return must("list", path, self:call("GET", path)).items
end

--- A merge patch.
function Kube:patch(kind, name, patch, namespace)
  local path = self:path(kind, namespace or "default", name)
  return must("patch", path, self:call("PATCH", path, patch, "application/merge-patch+json"))
end

function Kube:delete(kind, name, namespace)
  local path = self:path(kind, namespace or "default", name)
  local status, answer = self:call("DELETE", path)
  if status ~= 404 then
    must("delete", path, status, answer)
  end
end

--- As the kubelet does it: a merge patch of the subresource.
function Kube:patch_status(kind, name, status, namespace)
  local path = self:path(kind, namespace or "default", name) .. "/status"
  return must("patch", path, self:call("PATCH", path, { status = status }, "application/merge-patch+json"))
end

--- Without waiting for anybody: what `kubectl delete --force` does.
function Kube:delete_by_force(kind, name, namespace)
  local path = self:path(kind, namespace or "default", name) .. "?gracePeriodSeconds=0"
  local status, answer = self:call("DELETE", path)
  if status ~= 404 then
    must("delete", path, status, answer)
  end
end

--- Removes what tests of the default namespace make, so that the next one starts from nothing.
function Kube:clean()
  for _, kind in ipairs({ "Ingress", "EndpointSlice", "Lease", "ConfigMap", "Secret", "Event" }) do
    local path = self:path(kind, "default")
    must("delete", path, self:call("DELETE", path))
  end
  for _, service in ipairs(self:list("Service", "default")) do
    if service.metadata.name ~= "kubernetes" then
      self:delete("Service", service.metadata.name)
    end
  end
  for _, kind in ipairs({ "IngressClass", "ClusterRoleBinding", "ClusterRole" }) do
    for _, object in ipairs(self:list(kind)) do
      local labels = object.metadata.labels or {}
      if labels["spec"] == "yes" then
        self:delete(kind, object.metadata.name)
      end
    end
  end
end

-- ---- objects ----

--- An Ingress: all of `paths` ({path, service, type}) or `service` at "/" for `host`.
function M.ingress(options)
  local paths = {}
  for i, p in ipairs(options.paths or { { path = "/", service = options.service } }) do
    paths[i] = {
      path = p.path, pathType = p.type or "Prefix",
      backend = { service = { name = p.service, port = { number = 80 } } },
    }
  end
  return {
    kind = "Ingress", apiVersion = "networking.k8s.io/v1",
    metadata = { name = options.name, namespace = options.namespace or "default", annotations = options.annotations },
    spec = {
      ingressClassName = options.class or "haptic",
      rules = { { host = options.host, http = { paths = paths } } },
    },
  }
end

function M.service(name, namespace)
  return {
    kind = "Service", apiVersion = "v1", metadata = { name = name, namespace = namespace or "default" },
    spec = { ports = { { name = "http", port = 80, targetPort = 8001, protocol = "TCP" } } },
  }
end

--- An EndpointSlice of a Service. An endpoint is an address, or {address, ready, serving, terminating}.
function M.slice(service, endpoints, port, namespace)
  local list = {}
  for i, endpoint in ipairs(endpoints) do
    if type(endpoint) == "string" then
      endpoint = { endpoint, true, true, false }
    end
    list[i] = {
      addresses = { endpoint[1] },
      conditions = { ready = endpoint[2], serving = endpoint[3], terminating = endpoint[4] },
    }
  end
  return {
    kind = "EndpointSlice", apiVersion = "discovery.k8s.io/v1", addressType = "IPv4",
    metadata = {
      name = service .. "-1", namespace = namespace or "default",
      labels = { ["kubernetes.io/service-name"] = service },
    },
    ports = { { name = "http", port = port or 8001, protocol = "TCP" } },
    endpoints = #list > 0 and list or http.EMPTY_LIST,
  }
end

function M.ingress_class()
  return {
    kind = "IngressClass", apiVersion = "networking.k8s.io/v1",
    metadata = { name = "haptic", labels = { spec = "yes" } }, spec = { controller = "haproxy-haptic.org/controller" },
  }
end

--- Service, slice and Ingress of one host; addresses as in slice().
function M.route(name, host, addresses)
  return M.service(name), M.slice(name, addresses), M.ingress({ name = name, host = host, service = name })
end

function Kube:put_route(name, host, addresses)
  for _, object in ipairs({ M.route(name, host, addresses) }) do
    self:put(object)
  end
end

--- A Pod with one container.
function M.pod(name)
  return {
    kind = "Pod", apiVersion = "v1", metadata = { name = name, namespace = "default" },
    spec = { containers = { { name = "controller", image = "haptic" } } },
  }
end

-- ---- permissions ----

--- What `haptic run` needs; lease_verbs: nil is what the guide lists.
function M.rules(lease_verbs)
  return {
    { apiGroups = { "" }, resources = { "services" }, verbs = { "get", "list", "watch" } },
    { apiGroups = { "discovery.k8s.io" }, resources = { "endpointslices" }, verbs = { "get", "list", "watch" } },
    {
      apiGroups = { "networking.k8s.io" }, resources = { "ingresses", "ingressclasses" },
      verbs = { "get", "list", "watch" },
    },
    { apiGroups = { "", "events.k8s.io" }, resources = { "events" }, verbs = { "create", "patch" } },
    {
      apiGroups = { "coordination.k8s.io" }, resources = { "leases" },
      verbs = lease_verbs or { "get", "create", "update" },
    },
  }
end

--- These rules and more.
function M.rules_with(rules, ...)
  local all = { unpack(rules) }
  for _, rule in ipairs({ ... }) do
    all[#all + 1] = rule
  end
  return all
end

--- Gives a user exactly these rules.
function Kube:allow(user, rules)
  local name = "spec-" .. user
  local labels = { spec = "yes" }
  self:put({
    kind = "ClusterRole", apiVersion = "rbac.authorization.k8s.io/v1", metadata = { name = name, labels = labels },
    rules = rules,
  })
  self:put({
    kind = "ClusterRoleBinding", apiVersion = "rbac.authorization.k8s.io/v1",
    metadata = { name = name, labels = labels },
    roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = name },
    subjects = { { kind = "User", apiGroup = "rbac.authorization.k8s.io", name = user } },
  })
end

return M
