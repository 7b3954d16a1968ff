--- ingress.lua — Ingress (networking.k8s.io/v1) over HTTP: rules become map entries and backends.
--
-- What of the Ingress API is done how: docs/templates.md, "The ingress library". Names of namespaces, Services and
-- ports are DNS labels, which have no "_": so NAMESPACE_SERVICE_PORT names one backend only, and the same one in
-- every Ingress.

settings({
  controller_name = { type = "text", default = "haproxy-haptic.org/controller",
    doc = "spec.controller of the IngressClasses that are ours" },
  ingress_class = { type = "text", default = "haptic", doc = "a class that is ours even without an IngressClass" },
  watch_without_class = { type = "bool", doc = "take Ingresses without a class" },
  default_backend = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9-]+:[a-z0-9-]+$", expects = "namespace/service:port",
    doc = "serves what no Ingress matches" },
  local_endpoints = { type = "bool", default = false, doc = "endpoints on HAProxy's own machine" },
  external_names = { type = "bool", default = true, doc = "Services of the type ExternalName" },
})

point("backend")

local CONTROLLER, CLASS = context.controller_name, context.ingress_class
local MAX_PATH = 1024
-- Round robin is made for up to 4095 servers.
local MANY_SERVERS = 4000

local UNAVAILABLE = "haptic_unavailable"

-- which Ingresses are ours ----------------------------------------------------------------------------------

local classes = shared("classes", function()
  local ours, any, default = {}, false, false
  ours[CLASS] = true
  for _, class in ipairs(resources.ingressclasses:list()) do
    any = true
    local mine = dig(class, "spec", "controller") == CONTROLLER
    ours[class.metadata.name] = mine
    if mine and dig(class, "metadata", "annotations", "ingressclass.kubernetes.io/is-default-class") == "true" then
      default = true
    end
  end
  local without = context.watch_without_class
  if without == nil then without = default or not any end
  return { ours = ours, without = without or default }
end)

local function is_ours(ing)
  local class = dig(ing, "spec", "ingressClassName")
  if class == nil then class = dig(ing, "metadata", "annotations", "kubernetes.io/ingress.class") end
  local known = classes()
  if class == nil or class == "" then return known.without end
  return known.ours[class] == true
end

-- valid names -----------------------------------------------------------------------------------------------

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

--- The key that a rule's host has in the maps, or nil and what is wrong.
local function host_key(host)
  if host == nil or host == "" then return "" end
  if type(host) ~= "string" then return nil, "the host is no string" end
  if is_domain(host:starts_with("*.") and host:sub(3) or host) then return host end
  return nil, "the host is no DNS name in lower case"
end

--- Is it a path of a request, as it comes over the wire?
local function path_problem(p)
  if type(p) ~= "string" then return "the path is no string" end
  if not p:starts_with("/") then return "the path does not begin with '/'" end
  if #p > MAX_PATH then return "the path is longer than " .. MAX_PATH .. " bytes" end
  if p:find("[^%w%-._~!$&'()*+,;=:@%%/]") then return "the path has characters that a path cannot have unencoded" end
  if p:find("%", 1, true) and p:gsub("%%%x%x", ""):find("%", 1, true) then
    return "the path has a '%' without two hexadecimal digits"
  end
  if p:find("//", 1, true) or p:find("/.", 1, true) and (p .. "/"):find("/%.%.?/") then
    return "the path has empty elements, '.' or '..'"
  end
  return nil
end

--- The four numbers of an IPv4 address, or nil. Zeros in front are refused: to some resolvers such a number is octal.
local function ipv4_bytes(s)
  local a, b, c, d = s:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  if not a or s:find("^0%d") or s:find("%.0%d") then return nil end
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  if a > 255 or b > 255 or c > 255 or d > 255 then return nil end
  return a, b, c, d
end

--- The eight numbers of an IPv6 address, or nil.
local function ipv6_groups(s)
  if #s > 45 or s:find("[^%x:.]") or not s:find(":", 1, true) then return nil end
  local v4 = s:match(":([^:]*%.[^:]*)$")
  if v4 then
    local a, b, c, d = ipv4_bytes(v4)
    if not a then return nil end
    s = s:sub(1, -#v4 - 1) .. ("%x:%x"):format(a * 256 + b, c * 256 + d)
  end
  local groups = {}
  local function add(part)
    if part == "" then return true end
    for _, g in ipairs(part:split(":")) do
      if not g:find("^%x%x?%x?%x?$") then return false end
      groups[#groups + 1] = tonumber(g, 16)
    end
    return true
  end
  local before, after = s:match("^(.-)::(.*)$")
  if not before then return add(s) and #groups == 8 and groups or nil end
  if not add(before) then return nil end
  local first = #groups
  if not add(after) or #groups > 7 then return nil end
  local zeros = 8 - #groups
  for i = 8, first + zeros + 1, -1 do groups[i] = groups[i - zeros] end
  for i = first + 1, first + zeros do groups[i] = 0 end
  return groups
end

local LOCAL_ENDPOINTS, EXTERNAL_NAMES = context.local_endpoints, context.external_names

--- May HAProxy be sent to that IPv4 address? Not to its own machine, where administration listens; not to its link,
--- where metadata services are; not to 0.0.0.0, which HAProxy takes for the address that the client connected to.
local function is_reachable_ipv4(a, b)
  if a == 127 then return LOCAL_ENDPOINTS end
  return a ~= 0 and a < 224 and not (a == 169 and b == 254)
end

local function is_endpoint_ipv4(s)
  local a, b = ipv4_bytes(s)
  return a ~= nil and is_reachable_ipv4(a, b)
end

--- The same for IPv6, and for the IPv4 addresses that can be written as IPv6.
local function is_endpoint_ipv6(s)
  local g = ipv6_groups(s)
  if not g then return false end
  local first = g[1]
  if first >= 0xfe80 and first < 0xfec0 or first >= 0xff00 then return false end
  local middle = g[2] + g[3] + g[4] + g[5]
  local v4_a, v4_b = math.floor(g[7] / 256), g[7] % 256
  if first == 0 and middle == 0 then
    if g[6] == 0xffff then return is_reachable_ipv4(v4_a, v4_b) end
    if g[6] == 0 then return LOCAL_ENDPOINTS and g[7] == 0 and g[8] == 1 end -- "::", "::1", "::1.2.3.4"
  elseif first == 0x64 and g[2] == 0xff9b and g[3] + g[4] + g[5] + g[6] == 0 then
    return is_reachable_ipv4(v4_a, v4_b)
  end
  return true
end

-- endpoints -------------------------------------------------------------------------------------------------

--- The Service's port that a rule means, by number or name; or nil.
local function service_port(service, port)
  for _, p in ipairs(dig(service, "spec", "ports") or {}) do
    if (p.protocol or "TCP") == "TCP"
      and (port.number ~= nil and p.port == port.number or port.number == nil and p.name == port.name) then
      return p
    end
  end
  return nil
end

local function slice_port(slice, name)
  for _, p in ipairs(slice.ports or {}) do
    if (p.name or "") == name and (p.protocol or "TCP") == "TCP" and type(p.port) == "number" then return p.port end
  end
  return nil
end

local function is_port(n) return type(n) == "number" and n % 1 == 0 and n >= 1 and n <= 65535 end

--- The name of an endpoint's server: its pod's; of an endpoint without a pod, its address.
local function server_name(endpoint, address, port, is_v6)
  local ref = endpoint.targetRef
  local pod = ref and ref.kind == "Pod" and ref.name
  -- "_" cannot be in a pod's name: so the second address of a pod does not meet another pod.
  if type(pod) == "string" and #pod <= 180 and pod:find("^[a-z0-9][a-z0-9.-]*$") then
    return is_v6 and pod .. "_v6" or pod
  end
  return (address:gsub("^:", "0:"):gsub(":", "-")) .. "_" .. port
end

local function server_before(a, b)
  if a.name ~= b.name then return a.name < b.name end
  if a.address ~= b.address then return a.address < b.address end
  return a.port < b.port
end

--- Servers of a Service's port, from all its slices: sorted by name; an address that several slices have counts once.
local function servers_of(out, namespace, service_name, port_name)
  local servers, by_address = {}, {}
  for _, slice in ipairs(resources.endpoints:fetch(namespace, service_name)) do
    local port = slice_port(slice, port_name)
    local is_v6 = slice.addressType == "IPv6"
    if is_port(port) and (is_v6 or slice.addressType == "IPv4") then
      for _, endpoint in ipairs(slice.endpoints or {}) do
        local address = dig(endpoint, "addresses", 1)
        local conditions = endpoint.conditions or {}
        local ready = conditions.ready ~= false
        local leaving = not ready and conditions.serving == true and conditions.terminating == true
        if type(address) ~= "string"
          or not (is_v6 and is_endpoint_ipv6(address) or not is_v6 and is_endpoint_ipv4(address)) then
          out:warn("InvalidEndpoint", "an endpoint of service " .. service_name .. " has no address that may be used")
        elseif ready or leaving then
          local at = address
          if by_address[at] and by_address[at].port ~= port then at = address .. " " .. port end
          local known = by_address[at]
          local name = server_name(endpoint, address, port, is_v6)
          if not known then
            local s = { name = name, address = address, port = port, drain = leaving }
            by_address[at] = s
            servers[#servers + 1] = s
          elseif ready and known.drain or ready == not known.drain and name < known.name then
            known.name, known.drain = name, leaving
          end
        end
      end
    end
  end
  table.sort(servers, server_before)
  local taken, any_ready = {}, false
  for _, s in ipairs(servers) do
    -- One pod at two ports or addresses of a family: the first keeps the plain name.
    if taken[s.name] then s.name = s.name .. "_" .. s.address:gsub(":", "-") .. "_" .. s.port end
    taken[s.name] = true
    any_ready = any_ready or not s.drain
  end
  -- Endpoints that terminate get no new clients, unless there is nobody else.
  for _, s in ipairs(servers) do s.drain = s.drain and any_ready end
  return servers
end

-- backends --------------------------------------------------------------------------------------------------

local LOCAL_NAMES = {
  ["localhost"] = true, ["localhost4"] = true, ["localhost6"] = true, ["ip6-localhost"] = true,
  ["ip6-loopback"] = true, ["metadata.google.internal"] = true,
}

--- May HAProxy ask for the address of that name? Not for this machine's names; and what ends in a number is an address
--- to the system's resolver, in ways of writing that nobody expects.
local function is_external_name(host)
  if host:find("%.%d+$") or host:find("^%d+$") or host:find("^0x%x*$") or host:find("%.0x%x*$") then
    return is_endpoint_ipv4(host)
  end
  return is_domain(host) and not LOCAL_NAMES[host] and not host:ends_with(".localhost")
    and not host:ends_with(".localdomain") and not host:ends_with(".localdomain6")
end

local function external_server(out, b, service, port)
  local host = dig(service, "spec", "externalName")
  local number = port.number
  if number == nil then
    local p = service_port(service, port)
    number = p and p.port
  end
  if type(host) ~= "string" then host = "" end
  host = host:lower():gsub("%.$", "")
  if not EXTERNAL_NAMES then
    out:warn("InvalidExternalName", "service " .. service.metadata.name
      .. " has an external name; those are switched off")
  elseif not is_external_name(host) then
    out:warn("InvalidExternalName", "the external name of service " .. service.metadata.name
      .. " is no DNS name that may be used")
  elseif not is_port(number) then
    out:warn("ServicePortNotFound", "service " .. service.metadata.name .. " has no such port")
  else
    -- Not "libc": a name whose servers do not answer would hold up every start and reload, for everybody.
    b:server({ name = "external", address = host, port = number, "resolvers", "default", "init-addr", "last,none" })
  end
end

--- The backend of a Service's port; its name.
local function backend_of(out, ing, service_backend)
  local namespace = ing.metadata.namespace
  local name = service_backend.name
  local port = type(service_backend.port) == "table" and service_backend.port or {}
  local label = port.number ~= nil and port.number or port.name
  if not is_label(namespace) or not is_label(name) or not (is_port(label) or is_label(label) and label:find("%l")) then
    out:warn("InvalidBackend", "a backend names no service and port")
    return UNAVAILABLE
  end
  local backend = namespace .. "_" .. name .. "_" .. label
  local service = resources.services:get(namespace, name)
  out:backend(backend, function(b)
    if not service then
      out:warn("ServiceNotFound", "there is no service " .. name)
    elseif dig(service, "spec", "type") == "ExternalName" then
      external_server(out, b, service, port)
    else
      local p = service_port(service, port)
      if not p then
        out:warn("ServicePortNotFound", "service " .. name .. " has no TCP port " .. label)
      else
        local servers = servers_of(out, namespace, name, p.name or "")
        if #servers > MANY_SERVERS then b:line("balance", "random") end
        for _, s in ipairs(servers) do b:server(s) end
      end
    end
    apply("backend", b,
      { ingress = ing, service = service, namespace = namespace, name = name, port = label, backend = backend })
  end)
  return backend
end

-- rules -----------------------------------------------------------------------------------------------------

--- Call emit(backend name) for what an Ingress names as a backend.
local function resolve(out, ing, backend, done)
  if type(backend) == "table" and type(backend.service) == "table" then
    local s = backend.service
    local id = tostring(s.name) .. "\n" .. tostring(dig(s, "port", "number")) .. "\n"
      .. tostring(dig(s, "port", "name"))
    if not done[id] then done[id] = backend_of(out, ing, s) end
    return done[id]
  end
  out:warn("InvalidBackend", "only services can be backends")
  return UNAVAILABLE
end

local PATH_TYPES = { Exact = "path-exact.map", Prefix = "path-prefix.map", ImplementationSpecific = "path-prefix.map" }

local function add_path(out, ing, host, p, done)
  local map = PATH_TYPES[p.pathType or "ImplementationSpecific"]
  if not map then
    out:warn("InvalidPath", "a path has an unknown pathType")
    return
  end
  local route = p.path
  if (route == nil or route == "") and p.pathType ~= "Exact" then route = "/" end
  local problem = path_problem(route)
  if problem then
    out:warn("InvalidPath", problem)
    return
  end
  if map == "path-prefix.map" then route = route:gsub("/+$", "") .. "/" end
  local backend = resolve(out, ing, p.backend, done)
  if not out:map_entry(map, host .. route, backend) then
    out:warn("DuplicatePath", "host " .. (host == "" and "*" or host) .. " has path " .. route
      .. " twice; the first one counts")
  end
end

each(resources.ingresses, "routes", function(ing, out)
  if not is_ours(ing) then return end
  local done, hosts = {}, {}
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
    local rules = dig(ing, "spec", "rules") or {}
    if #rules == 0 then hosts[""] = true end
    local backend
    for host in pairs(hosts) do
      backend = backend or resolve(out, ing, default, done)
      out:map_entry("default-backend.map", host == "" and "*" or host, backend)
    end
  end
end)

-- The controller's own default, behind all others.
if context.default_backend ~= nil then
  local namespace, name, port = context.default_backend:match("^([a-z0-9-]+)/([a-z0-9-]+):([a-z0-9-]+)$")
  local number = tonumber(port)
  fragment("default-backend", function(out)
    local ing = { metadata = { namespace = namespace, name = "default-backend" } }
    local backend = backend_of(out, ing, { name = name, port = number and { number = number } or { name = port } })
    out:map_entry("default-backend.map", "**", backend)
  end)
end
