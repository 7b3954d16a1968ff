--- endpoints.lua — the servers of a Service's port, from its EndpointSlices.

local is_endpoint = use("ingress.addresses").is_endpoint

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

--- The name of an endpoint's server: that of its pod; without a pod, its address.
local function server_name(endpoint, address, port, is_v6)
  local ref = endpoint.targetRef
  local pod = ref and ref.kind == "Pod" and ref.name
  -- A pod's name contains no "_", so the name for the second address of a pod differs from that of any pod.
  if type(pod) == "string" and #pod <= 180 and pod:find("^[a-z0-9][a-z0-9.-]*$") then
    return is_v6 and pod .. "_v6" or pod
  end
  if is_v6 then address = address:gsub("^:", "0:"):gsub(":", "-") end
  return address .. "_" .. port
end

local function server_before(a, b)
  if a.name ~= b.name then return a.name < b.name end
  if a.address ~= b.address then return a.address < b.address end
  return a.port < b.port
end

--- The use of an endpoint: "serve", "drain" (it keeps its clients and gets no new ones), or nil: none.
local function by_readiness(conditions)
  if conditions.ready ~= false then return "serve" end
  return conditions.serving == true and conditions.terminating == true and "drain" or nil
end

--- The same when none is ready and the last ones are to be kept: endpoints that are not terminating may still answer.
local function by_existence(conditions)
  return by_readiness(conditions) or conditions.terminating ~= true and "serve" or nil
end

--- The servers of a port in all slices of a Service, each address once, not in order; and what was seen: numbers of
--- slices that have the port, of endpoints, of those with an address that may not be used, and of those in slices of
--- names (addressType FQDN).
local function gather(slices, port_name, choose)
  local servers, by_address, seen = {}, {}, { ports = 0, endpoints = 0, invalid = 0, names = 0 }
  for _, slice in ipairs(slices) do
    local port = slice_port(slice, port_name)
    local is_v6 = slice.addressType == "IPv6"
    if not is_v6 and slice.addressType ~= "IPv4" then
      seen.names = seen.names + #(slice.endpoints or {})
    elseif is_port(port) then
      seen.ports = seen.ports + 1
      for _, endpoint in ipairs(slice.endpoints or {}) do
        local address = dig(endpoint, "addresses", 1)
        local choice = choose(endpoint.conditions or {})
        seen.endpoints = seen.endpoints + 1
        if type(address) ~= "string" or not is_endpoint(address, is_v6) then
          seen.invalid = seen.invalid + 1
        elseif choice then
          local at = address
          if by_address[at] and by_address[at].port ~= port then at = address .. " " .. port end
          local known = by_address[at]
          local name, drain = server_name(endpoint, address, port, is_v6), choice == "drain"
          if not known then
            local s = { name = name, address = address, port = port, drain = drain }
            by_address[at] = s
            servers[#servers + 1] = s
          elseif known.drain and not drain or known.drain == drain and name < known.name then
            known.name, known.drain = name, drain
          end
        end
      end
    end
  end
  return servers, seen
end

local function any_serves(servers)
  for _, s in ipairs(servers) do
    if not s.drain then return true end
  end
  return false
end

--- Names of the ports that slices have, for a message.
local function port_names(slices)
  local names = {}
  for _, slice in ipairs(slices) do
    for _, p in ipairs(slice.ports or {}) do names[p.name and p.name ~= "" and p.name or "(no name)"] = true end
  end
  return table.concat(keys(names), ", "):sub(1, 200)
end

local function has_endpoints(slices)
  for _, slice in ipairs(slices) do
    if #(slice.endpoints or {}) > 0 then return true end
  end
  return false
end

--- Why a Service has no endpoint that can answer: a reason and a message.
local function why_nobody(slices, service_name, port_name, seen)
  if #slices == 0 then
    return "NoEndpointSlice", "service " .. service_name .. " has no EndpointSlice: its requests get 503. "
      .. "Endpoints (v1) are not read; where nothing makes slices of them, write an EndpointSlice"
  end
  local names = port_names(slices)
  -- Kubernetes leaves the ports out of the slices of a Service that has not selected a pod yet.
  if seen.ports == 0 and (names ~= "" or has_endpoints(slices)) then
    return "EndpointPortNotFound", ("no EndpointSlice of service %s has a TCP port %s: its requests get 503. "
      .. "The slices' ports: %s"):format(service_name, port_name == "" and "without a name" or port_name,
      names == "" and "none" or names)
  end
  if seen.endpoints == 0 then
    return "NoEndpoints", "the EndpointSlices of service " .. service_name .. " have no endpoints: its requests get 503"
  end
  return "NoReadyEndpoints", ("none of %d endpoints of service %s is ready: its requests get 503"):format(
    seen.endpoints, service_name)
end

settings({
  keep_last_ready = { type = "bool", default = false, doc = "endpoints that are not ready serve while none is" },
})

annotations({
  keep_last_ready = {
    type = "switch", on = { "Service" }, families = { ["haproxy-haptic.org"] = "keep-last-ready" }, effect = "backend",
    doc = "While no endpoint is ready, all that do not terminate serve. Without it, the setting keep_last_ready.",
    lines = "server …", tested = "backend_annotations_spec: keeps endpoints in use while none is ready",
  },
})

--- True when the endpoints of a Service stay in use while none is ready.
local function keeps_last(service)
  local written = dig(service, "metadata", "annotations")
  local own = written and annotated({ "keep_last_ready" }, { { kind = "Service", values = written } }).keep_last_ready
  if own ~= nil then return own end
  return context.keep_last_ready
end

--- Servers of a Service's port, from all its slices: sorted by name; an address that several slices have counts once.
--- keep_last: endpoints that are not ready serve while none is.
local function servers_of(out, namespace, service_name, port_name, keep_last)
  local slices = resources.endpoints:fetch(namespace, service_name)
  local servers, seen = gather(slices, port_name, by_readiness)
  local any_ready = any_serves(servers)
  if not any_ready and keep_last then
    servers = gather(slices, port_name, by_existence)
    any_ready = any_serves(servers)
    if any_ready then
      out:warn("NoReadyEndpoints", ("none of %d endpoints of service %s is ready: they are kept in use"):format(
        seen.endpoints, service_name))
    end
  end
  if seen.invalid > 0 then
    out:warn("InvalidEndpoint", ("%d of %d endpoints of service %s have no usable address"):format(
      seen.invalid, seen.endpoints, service_name))
  end
  if seen.names > 0 then
    out:warn("EndpointNamesIgnored", ("%d endpoints of service %s are names (addressType FQDN) and get no requests; "
      .. "only addresses do. A Service of the type ExternalName leads to a name"):format(seen.names, service_name))
  end
  local has_told = seen.endpoints == 0 and seen.names > 0 or seen.endpoints > 0 and seen.invalid == seen.endpoints
  if #servers == 0 and not has_told then
    out:warn(why_nobody(slices, service_name, port_name, seen))
  end
  table.sort(servers, server_before)
  local taken = {}
  for _, s in ipairs(servers) do
    -- One pod at two ports or addresses of a family: the first keeps the plain name.
    if taken[s.name] then s.name = s.name .. "_" .. s.address:gsub(":", "-") .. "_" .. s.port end
    taken[s.name] = true
    -- Terminating endpoints get new clients only when there is no other endpoint.
    s.drain = s.drain and any_ready
  end
  return servers
end

provide("ingress.endpoints", { is_port = is_port, service_port = service_port, servers_of = servers_of,
  keeps_last = keeps_last })
