--- program.lua — programs, engines and objects for specs of the templates.
package.path = "lua/?.lua;" .. package.path
local cjson = require("cjson")
local host = require("spec.support.host")

local M = {}

function M.read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- The scripts of the built-in libraries as the core loads them: the parts of each by name, then itself.
function M.libraries()
  local scripts = {}
  for _, library in ipairs({ "base", "ssl", "acme", "ingress", "effects", "haproxy_org" }) do
    local pipe = assert(io.popen("LC_ALL=C ls templates/" .. library .. "/ 2>/dev/null"))
    for file in pipe:lines() do
      scripts[#scripts + 1] = { name = library .. "/" .. file, source = M.read("templates/" .. library .. "/" .. file),
        library = true }
    end
    pipe:close()
    scripts[#scripts + 1] = { name = library .. ".lua", source = M.read("templates/" .. library .. ".lua"),
      library = true }
  end
  return scripts
end

M.KINDS = {
  { name = "ingresses", parts = 2, status = true }, { name = "ingressclasses", parts = 1 },
  { name = "services", parts = 2 }, { name = "endpoints", parts = 2 },
}

--- A program document. options: context, scripts (list of {name, source}), libraries (false: none), kinds, snippets,
--- maps, files, haproxyConfig, allowRaw, checked (default true).
function M.document(options)
  options = options or {}
  local scripts = options.libraries ~= false and M.libraries() or {}
  for _, s in ipairs(options.scripts or {}) do scripts[#scripts + 1] = s end
  return cjson.encode({
    kinds = options.kinds or M.KINDS, scripts = scripts, snippets = options.snippets, maps = options.maps,
      files = options.files,
    haproxyConfig = options.haproxyConfig, extraContext = options.context, capabilities = options.capabilities
      or { version = "2.6" },
    allowRaw = options.allowRaw ~= false, checked = options.checked ~= false,
  })
end

local Engine = {}
Engine.__index = Engine

--- An engine with a program; fails when that does not load. options: see document(); fragment_bytes, contributions:
--- the host's limits; parts: kind → function(object) → values of its index.
function M.engine(options)
  local h = host.new()
  if options then h.api.fragment_bytes, h.api.contributions = options.fragment_bytes, options.contributions end
  for name, value in pairs(options and options.host or {}) do h.api[name] = value end
  h.max_bytes = options and options.output_bytes or h.max_bytes
  local E = require("haptic.engine")(h.api)
  local message = E.configure(M.document(options))
  if message ~= "" then error(message, 2) end
  return setmetatable({ E = E, host = h, created = {}, parts = options and options.parts }, Engine)
end

local PARTS = {
  ingresses = function(o) return o.metadata.namespace, o.metadata.name end,
  ingressclasses = function(o) return o.metadata.name end,
  services = function(o) return o.metadata.namespace, o.metadata.name end,
  fetched = function(o) return o.url end,
  endpoints = function(o) return o.metadata.namespace, (o.metadata.labels or {})["kubernetes.io/service-name"]
    or "" end,
}

function M.id_of(o)
  local m = o.metadata
  return m.namespace and m.namespace .. "/" .. m.name or m.name
end

--- Put a decoded object; created: seconds (1000).
function Engine:put(kind, object, created)
  local parts = self.parts and self.parts[kind] or PARTS[kind]
    or function(o) return o.metadata.namespace or "", o.metadata.name end
  self.E.put(kind, M.id_of(object), object.metadata.namespace or "", object.metadata.name, created or 1000,
    cjson.encode(object), parts(object))
end

function Engine:delete(kind, id) self.E.delete(kind, id) end

--- Render; the fragments that ran, in order.
function Engine:render()
  self.host:reset()
  local complete, run, total, unfinished, wait = self.E.render()
  return { complete = complete, run = run, total = total, unfinished = unfinished, wait = wait,
    ran = self.host.at_log, sent = self.host.sent, gone = self.host.gone_log }
end

function Engine:output() return self.host:output() end

-- Objects ---------------------------------------------------------------------------------------------------

--- An Ingress. spec fields in `spec`; rules as {host=, paths={{path, type, service, port}}}.
function M.ingress(name, spec)
  local s = {}
  for k, v in pairs(spec) do
    if k ~= "rules" and k ~= "namespace" and k ~= "annotations" then s[k] = v end
  end
  if s.ingressClassName == nil then s.ingressClassName = "haptic" end
  if s.ingressClassName == false then s.ingressClassName = nil end
  if spec.rules then
    s.rules = {}
    for i, rule in ipairs(spec.rules) do
      local paths = {}
      for j, p in ipairs(rule.paths) do
        paths[j] = { path = p[1], pathType = p[2] or "Prefix",
          backend = { service = { name = p[3] or "web", port = type(p[4]) == "string" and { name = p[4] }
            or { number = p[4] or 80 } } } }
      end
      s.rules[i] = { host = rule.host, http = { paths = paths } }
    end
  end
  return { apiVersion = "networking.k8s.io/v1", kind = "Ingress",
    metadata = { namespace = spec.namespace or "default", name = name, annotations = spec.annotations }, spec = s }
end

function M.service(name, ports, extra)
  local list = {}
  for i, p in ipairs(ports or { { port = 80 } }) do list[i] = { name = p.name, port = p.port, protocol = p.protocol
    or "TCP", targetPort = p.target } end
  local spec = { ports = list }
  for k, v in pairs(extra or {}) do
    if k ~= "namespace" then spec[k] = v end
  end
  return { apiVersion = "v1", kind = "Service",
    metadata = { namespace = extra and extra.namespace or "default", name = name }, spec = spec }
end

--- An EndpointSlice. endpoints: {address, pod=, ready=, serving=, terminating=}.
function M.slice(name, service, port, endpoints, extra)
  extra = extra or {}
  local list = {}
  for i, e in ipairs(endpoints) do
    list[i] = { addresses = { e[1] },
      conditions = { ready = e.ready, serving = e.serving, terminating = e.terminating },
      targetRef = e.pod and { kind = "Pod", name = e.pod } or nil }
    if next(list[i].conditions) == nil then list[i].conditions = nil end
  end
  return { apiVersion = "discovery.k8s.io/v1", kind = "EndpointSlice", addressType = extra.addressType or "IPv4",
    metadata = { namespace = extra.namespace or "default", name = name,
      labels = { ["kubernetes.io/service-name"] = service } },
    ports = extra.ports or { { name = extra.port_name, port = port, protocol = "TCP" } }, endpoints = list }
end

return M
