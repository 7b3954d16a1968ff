--- ingress.lua — Ingress (networking.k8s.io/v1) over HTTP: rules become map entries and backends.
--
-- docs/libraries.md, "The ingress library", lists the supported parts of the Ingress API. Names of namespaces, Services
-- and ports are DNS labels, which contain no "_". So NAMESPACE_SERVICE_PORT names exactly one backend, and the same one
-- in every Ingress.

settings({
  default_backend = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9-]+:[a-z0-9-]+$", expects = "namespace/service:port",
    doc = "serves requests that match no Ingress" },
  resolve_prefer = { type = "enum", values = { "ipv4", "ipv6" }, doc = "family of external names' addresses" },
})

point("backend")

-- Round robin is made for up to 4095 servers.
local MANY_SERVERS = 4000

--- For a name with addresses of both families, HAProxy uses this one; the machine must have a route to it.
local RESOLVE_PREFER = context.resolve_prefer
  or capabilities.ipv4_route == false and capabilities.ipv6_route and "ipv6" or "ipv4"

local UNAVAILABLE = "haptic_unavailable"

--- An output for messages that are reported elsewhere.
local SILENT = { event = function() end, warn = function() end }

local is_external_name = use("ingress.addresses").is_external_name
local classes = use("ingress.classes")
local endpoints, names, foreign = use("ingress.endpoints"), use("ingress.names"), use("ingress.foreign")
local tls, server_tls, levels = use("ingress.tls"), use("ingress.server_tls"), use("ingress.backend_keys")
local passthrough, status, configmap = use("ingress.passthrough"), use("ingress.publish"), use("base.configmap")
local effects, backend_values, tcp = use("effects"), use("ingress.backend_annotations"), use("ingress.tcp")
local variants = use("ingress.variants")
local judge_ingress, path_meant = foreign.judge_ingress, foreign.path_meant
local judge_service, is_refused = foreign.judge_service, foreign.is_refused
local is_port, service_port, servers_of = endpoints.is_port, endpoints.service_port, endpoints.servers_of
local keeps_last = endpoints.keeps_last
local is_label, host_key, path_problem, path_key = names.is_label, names.host_key, names.path_problem, names.path_key
local is_domain = names.is_domain

--- True when this controller serves the Ingress.
local function is_ours(ing, out) return classes.mode_of(ing, out) ~= nil end

-- backends --------------------------------------------------------------------------------------------------

local function external_name(service)
  local host = dig(service, "spec", "externalName")
  return type(host) == "string" and (host:lower():gsub("%.$", "")) or ""
end

local function external_port(service, port)
  if port.number ~= nil then return port.number end
  local p = service_port(service, port)
  return p and p.port
end

--- The error in the port of a Service that a route leads to: a reason and a message, or nil.
local function service_problem(service, name, port)
  if not service then return "ServiceNotFound", "there is no service " .. name end
  if is_refused(service) then
    return "ProtectionNotSupported", "service " .. name
      .. " is answered with 503: its own annotations protect it and are not honoured"
  end
  if dig(service, "spec", "type") ~= "ExternalName" then
    if service_port(service, port) then return nil end
    return "ServicePortNotFound", "service " .. name .. " has no TCP port " .. (port.number or port.name)
  end
  if not is_external_name then
    return "InvalidExternalName", "service " .. name .. " has an external name; those are switched off"
  end
  if not is_external_name(external_name(service)) then
    return "InvalidExternalName", "the external name of service " .. name .. " is no DNS name that may be used"
  end
  if not is_port(external_port(service, port)) then
    return "ServicePortNotFound", "service " .. name .. " has no such port"
  end
  return nil
end

--- words: additional words of each server line. values: of the backend; nil for none.
local function add_servers(out, b, service, port, words, values)
  if dig(service, "spec", "type") == "ExternalName" then
    -- Not "libc": a name whose DNS servers do not answer would delay every start and reload.
    local s = { name = "external", address = external_name(service), port = external_port(service, port),
      "resolvers", "default", "resolve-prefer", RESOLVE_PREFER, "init-addr", "last,none" }
    for _, w in ipairs(words) do s[#s + 1] = w end
    if values then backend_values.add_words(s, values, s.name) end
    b:server(s)
    return
  end
  local metadata, p = service.metadata, service_port(service, port)
  local servers = servers_of(out, metadata.namespace, metadata.name, p.name or "", keeps_last(service))
  if #servers > MANY_SERVERS then b:line("balance", "random") end
  for _, s in ipairs(servers) do
    for i, w in ipairs(words) do s[i] = w end
    if values then backend_values.add_words(s, values, s.name) end
    if words.tag then s.name = s.name .. "_" .. words.tag end
    b:server(s)
  end
end

--- The message about a wrong value for a backend.
local function wrong_value(kind, key, message)
  local known = annotation(key, kind)
  return key .. " " .. message .. (known and known.protects
    and "; answered with 503, unless the Service or the ConfigMap has a right one" or "; it has no effect")
end

--- The servers of a backend for HTTP. ing: the Ingress that owns the backend, or nil.
local function add_http_servers(out, b, service, port, ing)
  local list = { { kind = "Service", object = service, out = out } }
  -- The Ingress's own fragment tells its owner.
  if ing then table.insert(list, 1, { kind = "Ingress", object = ing, out = SILENT }) end
  levels.judge(out, service, "Service")
  local words, is_open = server_tls.words(out, list, service.metadata.namespace)
  effects.write_backend(b, ing, service)
  if not is_open then return end
  local function tell(kind, key, message)
    if kind == "Service" then out:warn("InvalidAnnotation", wrong_value(kind, key, message)) end
  end
  local values, is_closed = backend_values.read(list, tell)
  if is_closed then return end
  backend_values.write(b, values)
  add_servers(out, b, service, port, words, values)
end

--- A port in the form of a rule, from the label in a backend's name.
local function port_of(label)
  return label:find("^%d+$") and { number = tonumber(label) } or { name = label }
end

--- The backend of a Service's port: one for all routes to it, or one for a single Ingress, with the key PORT.INGRESS
--- (labels contain no "."). It belongs to the Service.
local request_backend = each_requested(resources.services, "backend", function(service, out, asked)
  local label, owner = asked.key:match("^([^.]+)%.(.+)$")
  local port = port_of(label or asked.key)
  local backend = asked.namespace .. "_" .. asked.name .. "_" .. (label or asked.key)
  local ing = owner and resources.ingresses:get(asked.namespace, owner)
  if service then judge_service(out, service) end
  out:backend(owner and backend .. "_" .. owner or backend, function(b)
    if not service_problem(service, asked.name, port) then add_http_servers(out, b, service, port, ing) end
  end)
end)

--- The words of servers for connections. A cookie is HTTP's.
local function values_of_connections(service)
  local values = backend_values.read({ { kind = "Service", object = service } })
  values.cookie_persistence_no_dynamic = nil
  return values
end

--- The backend of a Service's port for connections whose TLS is passed through: nothing but servers.
local request_passthrough = passthrough.on and each_requested(resources.services, "passthrough",
  function(service, out, asked)
    local port = port_of(asked.key)
    local backend = asked.namespace .. "_" .. asked.name .. "_" .. asked.key .. "__tcp"
    out:backend(backend, { from = passthrough.defaults }, function(b)
      if service_problem(service, asked.name, port) then return end
      add_servers(out, b, service, port, {}, values_of_connections(service))
    end)
  end)

--- The backend of a Service's port for connections of a TCP port; its servers have the Service's words.
local request_tcp = tcp.is_set and each_requested(resources.services, "tcp", function(service, out, asked)
  local port = port_of(asked.key)
  if service then judge_service(out, service) end
  out:backend(asked.namespace .. "_" .. asked.name .. "_" .. asked.key .. "__port", { from = tcp.defaults }, function(b)
    if service_problem(service, asked.name, port) then return end
    add_servers(out, b, service, port, {}, values_of_connections(service))
  end)
end)

tcp.put(function(out, namespace, name, label)
  local reason, message = service_problem(resources.services:get(namespace, name), namespace .. "/" .. name,
    port_of(label))
  if reason then out:warn(reason, message) end
  request_tcp(namespace, name, label)
  return namespace .. "_" .. name .. "_" .. label .. "__port"
end)

--- Additions at the point "backend" may come from the Ingress. Then each Ingress writes the backend; the oldest one's
--- output counts, and the next one's if HAProxy refuses it.
local function extended_backend(out, ing, service, name, port, label, backend, owner)
  if service then judge_service(out, service) end
  out:backend(backend, function(b)
    if service and is_refused(service) then return end
    if not service_problem(service, name, port) then add_http_servers(out, b, service, port, owner and ing) end
    apply("backend", b, { ingress = ing, service = service, namespace = ing.metadata.namespace, name = name,
      port = label, backend = backend })
  end)
end

--- The name of the backend of a Service's port, the port, its label, and the Ingress's name when the backend belongs to
--- the Ingress; nil when it cannot be a backend.
local function backend_name(ing, service_backend)
  local namespace = ing.metadata.namespace
  local name = service_backend.name
  local port = type(service_backend.port) == "table" and service_backend.port or {}
  local label = port.number ~= nil and port.number or port.name
  if not is_label(namespace) or not is_label(name) or not (is_port(label) or is_label(label) and label:find("%l")) then
    return nil
  end
  local backend, owner = namespace .. "_" .. name .. "_" .. label, ing.metadata.name
  if not levels.is_own(ing, resources.services:get(namespace, name)) or not is_domain(owner) then
    return backend, port, label
  end
  return backend .. "_" .. owner, port, label, owner
end

--- The name of the backend of a Service's port, which is requested, and the Service.
local function backend_of(out, ing, service_backend)
  local namespace, name = ing.metadata.namespace, service_backend.name
  local backend, port, label, owner = backend_name(ing, service_backend)
  if not backend then
    out:warn("InvalidBackend", "a backend names no service and port")
    return UNAVAILABLE
  end
  local service = resources.services:get(namespace, name)
  local reason, message = service_problem(service, name, port)
  if reason then out:warn(reason, message) end
  if extended("backend") then
    extended_backend(out, ing, service, name, port, label, backend, owner)
  else
    request_backend(namespace, name, owner and label .. "." .. owner or tostring(label))
  end
  return backend, service
end

-- rules -----------------------------------------------------------------------------------------------------

--- The name of the backend for a backend reference of an Ingress. done: those of this Ingress by service and port;
--- `refused`: none of its routes is served.
local function resolve(out, ing, backend, done)
  if done.refused then return UNAVAILABLE end
  if type(backend) == "table" and type(backend.service) == "table" then
    local s = backend.service
    local id = tostring(s.name) .. "\n" .. tostring(dig(s, "port", "number")) .. "\n"
      .. tostring(dig(s, "port", "name"))
    if not done[id] then
      local name, service = backend_of(out, ing, s)
      done[id], done.services[name] = name, service
    end
    return done[id]
  end
  out:warn("InvalidBackend", "only services can be backends")
  return UNAVAILABLE
end

--- The name of the backend for TLS passthrough of a path's host; nil when there can be none.
local function passthrough_backend(out, ing, backend)
  local service_backend = dig(backend, "service")
  local namespace, name = ing.metadata.namespace, dig(service_backend, "name")
  local _, port, label = backend_name(ing, type(service_backend) == "table" and service_backend or {})
  if not label then
    out:warn("InvalidBackend", "a backend names no service and port")
    return nil
  end
  local reason, message = service_problem(resources.services:get(namespace, name), name, port)
  if reason then out:warn(reason, message) end
  request_passthrough(namespace, name, tostring(label))
  return namespace .. "_" .. name .. "_" .. label .. "__tcp"
end

--- The value of a route: the backend, and the effects of the route. done: as in resolve().
local function route_value(out, ing, backend, done)
  if backend == UNAVAILABLE then return backend end
  local suffix = done.suffixes[backend]
  if suffix == nil then
    suffix = effects.suffix_of(out, ing, done.services[backend]) or false
    done.suffixes[backend] = suffix
  end
  return suffix and backend .. suffix or UNAVAILABLE
end

local PATH_TYPES = { Exact = "path-exact.map", Prefix = "path-prefix.map", ImplementationSpecific = "path-prefix.map" }

--- The map for a path of a rule, and the path in its key; nil for an invalid path.
local function place(out, p)
  local map = PATH_TYPES[p.pathType or "ImplementationSpecific"]
  if not map then
    out:warn("InvalidPath", "a path has an unknown pathType")
    return nil
  end
  local route = p.path
  if (route == nil or route == "") and p.pathType ~= "Exact" then route = "/" end
  local problem = path_problem(route)
  if problem then
    out:warn("InvalidPath", problem)
    return nil
  end
  route = path_key(path_meant(out, route, p.pathType or "ImplementationSpecific"))
  if map == "path-prefix.map" then route = route:gsub("%f[/]/+$", "") .. "/" end
  return map, route
end

local variant_of = variants.make(place, function(ing, service) return (backend_name(ing, service)) end)

--- The entry at the place of a path to a Service with a condition, and the condition; nil for an ordinary route.
local function variant(ing, map, key, service)
  local condition = backend_values.condition_of(service)
  if condition == nil then return nil end
  return variant_of(ing, map, key, condition), condition
end

--- The Service of a path, as its owner wrote it.
local function service_of(ing, p)
  local name = dig(p, "backend", "service", "name")
  return is_label(name) and resources.services:get(ing.metadata.namespace, name) or nil
end

local function add_path(out, ing, host, p, done)
  local map, route = place(out, p)
  if not map then return end
  local backend = resolve(out, ing, p.backend, done)
  local beside, condition = variant(ing, map, host .. route,
    done.refused and service_of(ing, p) or done.services[backend])
  if beside then
    if not variants.put(out, beside, map, host .. route, condition, route_value(out, ing, backend, done)) then
      out:warn("DuplicatePath", "host " .. (host == "" and "*" or host) .. " has path " .. route
        .. " twice with the same condition; the first one counts")
    end
    return
  end
  -- Together with the route, so that neither exists without the other.
  if done.clients then
    out:map_entry(map == "path-exact.map" and "client-exact.map" or "client-prefix.map", host .. route,
      done.clients .. ":" .. backend)
  end
  if not out:map_entry(map, host .. route, route_value(out, ing, backend, done)) then
    out:warn("DuplicatePath", "host " .. (host == "" and "*" or host) .. " has path " .. route
      .. " twice; the first one counts")
  end
end

each(resources.ingresses, "routes", function(ing, out)
  local mode = classes.mode_of(ing, out)
  if not mode then
    if classes.is_others(ing) then status.withdraw(out, ing) end
    return
  end
  status.publish(out, mode)
  local refused, is_canary = judge_ingress(out, ing)
  if is_canary then return end
  local passes = passthrough.state(out, ing)
  -- An Ingress with TLS passthrough is not served by HTTP either.
  local done, hosts = { refused = refused or passes ~= nil, suffixes = {}, services = {} }, {}
  if not refused and passes ~= "refused" then
    passthrough.put(out, ing, passes, function(p) return passthrough_backend(out, ing, p.backend) end)
  end
  if tls.protects then done.clients = tls.clients_value(ing) end
  server_tls.judge(out, ing)
  levels.judge(out, ing, "Ingress")
  backend_values.read({ { kind = "Ingress", object = ing } }, function(kind, key, message)
    if kind == "Ingress" then out:warn("InvalidAnnotation", wrong_value(kind, key, message)) end
  end)
  for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
    local host, problem = host_key(rule.host)
    if not host then
      out:warn("InvalidHost", problem)
    else
      hosts[host] = true
      for _, p in ipairs(dig(rule, "http", "paths") or {}) do add_path(out, ing, host, p, done) end
    end
  end
  local default = dig(ing, "spec", "defaultBackend")
  if default ~= nil then
    -- Requests that match no host and no path of any Ingress also go to a default backend: that of the oldest Ingress.
    hosts[""] = true
    local backend
    for host in pairs(hosts) do
      backend = backend or resolve(out, ing, default, done)
      out:map_entry("default-backend.map", host == "" and "*" or host, route_value(out, ing, backend, done))
      if done.clients then
        out:map_entry("client-default.map", host == "" and "*" or host, done.clients .. ":" .. backend)
      end
    end
  end
end)

-- TLS ------------------------------------------------------------------------------------------------------

--- Where the valid routes of an Ingress stand in the maps: {host=, map=, key=, backend=}. Each has a route there: a
--- redirect without one would stand in the way of another Ingress' redirect. passes: of passthrough.state().
local function places(ing, passes)
  local list = {}
  local _, is_canary = judge_ingress(SILENT, ing)
  if is_canary then return list end
  for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
    local host = host_key(rule.host)
    for _, p in ipairs(host and dig(rule, "http", "paths") or {}) do
      local map, key = place(SILENT, p)
      local service = dig(p, "backend", "service")
      local backend = type(service) == "table" and backend_name(ing, service)
      if map and backend and not variant(ing, map, host .. key, service_of(ing, p)) then
        list[#list + 1] = { host = host, map = map, key = key, backend = passes and UNAVAILABLE or backend }
      end
    end
  end
  return list
end

-- A separate fragment, so that a certificate that HAProxy refuses does not hold back a route.
if tls.on then
  each(resources.ingresses, "tls", function(ing, out)
    local may_have = dig(ing, "spec", "tls") or dig(ing, "metadata", "annotations") or passthrough.on
    if (may_have or tls.is_everybody()) and is_ours(ing, SILENT) then
      tls.put(out, ing, places, passthrough.state(SILENT, ing))
    end
  end)
end

-- The controller's own default backend, after all others.
if context.default_backend ~= nil or configmap.is_set then
  --- Namespace, name and port of the Service; nil when there is none.
  local function default_service()
    local wanted = configmap.setting("default_backend")
    if wanted == nil then return nil end
    local namespace, name, label = wanted:match("^([^/]+)/([^:]+):?(.*)$")
    local service = label == "" and resources.services:get(namespace, name)
    local number = tonumber(label) or dig(service, "spec", "ports", 1, "port")
    return namespace, name, number and { number = number } or { name = label }
  end

  fragment("default-backend", function(out)
    local namespace, name, port = default_service()
    if namespace == nil then return end
    local ing = { metadata = { namespace = namespace, name = "default-backend" } }
    out:map_entry("default-backend.map", "**", (backend_of(out, ing, { name = name, port = port })))
  end)
  configmap.each("default-backend", function(out)
    if not configmap.has("default_backend") then return end
    local namespace, name, port = default_service()
    local reason, message = service_problem(resources.services:get(namespace, name), namespace .. "/" .. name, port)
    if reason then out:warn(reason, "default-backend-service: " .. message .. "; what no Ingress matches gets 503") end
  end)
end

-- building blocks -------------------------------------------------------------------------------------------

--- The valid routes of an Ingress, in its order: {host=, path=, type=, service=, port={number=} or {name=}}. host is ""
--- for all hosts.
local function routes(ing)
  local list = {}
  for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
    local host = host_key(rule.host)
    for _, p in ipairs(host and dig(rule, "http", "paths") or {}) do
      local kind, route, service = p.pathType or "ImplementationSpecific", p.path, dig(p, "backend", "service")
      if (route == nil or route == "") and kind ~= "Exact" then route = "/" end
      if service and PATH_TYPES[kind] and not path_problem(route) then
        list[#list + 1] = { host = host, path = route, type = kind, service = service.name, port = service.port or {} }
      end
    end
  end
  return list
end

--- The servers of a Service's port: {name=, address=, port=, drain=}, sorted by name; none when there is no such port.
local function servers(out, namespace, name, port)
  local service = resources.services:get(namespace, name)
  local p = service and service_port(service, port)
  return p and servers_of(out, namespace, name, p.name or "") or {}
end

-- For scripts of users; docs/templates.md says which parts are stable.
provide("ingress", {
  is_ours = function(ing, out) return is_ours(ing, out) end,
  routes = routes,
  servers = servers,
  backend = function(out, ing, service, port) return (backend_of(out, ing, { name = service, port = port })) end,
})
