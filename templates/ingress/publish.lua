--- publish.lua — the addresses in the status of Ingresses: where clients reach HAProxy.
--
-- While no address is known, nothing is written and the status stays: a Service that is missing for a moment removes no
-- address. Only an Ingress that another controller serves now loses the addresses.

settings({
  publish_service = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9-]+$", expects = "namespace/name",
    doc = "a Service whose addresses are written into the status of Ingresses" },
  publish_addresses = { type = "list", pattern = "^[%w:][%w.:-]*$", expects = "IP addresses and host names",
    doc = "addresses that are written into the status" },
  publish_nodes = { type = "enum", values = { "external", "internal" },
    doc = "write the nodes' addresses of this type there; needs the kind nodes among watchedResources, and "
      .. "haproxy_pods for only those with a ready pod of HAProxy" },
})

--- Which entries of the list are ours is noted there (core/controller/status_merge.h).
local NOTE = "haproxy-haptic.org/status-entries"
local NODE_TYPES = { external = "ExternalIP", internal = "InternalIP" }
--- Nodes that load balancers exclude are not used.
local EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"

local function entry(address)
  return address_parse(address) and { ip = address } or { hostname = address:lower() }
end

--- A list without duplicates.
local function collector()
  local list, seen = {}, {}
  return list, function(address)
    if type(address) ~= "string" or address == "" or seen[address] then return end
    seen[address] = true
    list[#list + 1] = entry(address)
  end
end

local function add_service(add)
  local service = resources.services:get(context.publish_service:match("^(.-)/(.*)$"))
  if not service then return end
  local kind = dig(service, "spec", "type")
  if kind == "ExternalName" then add(dig(service, "spec", "externalName")) end
  if kind == "LoadBalancer" then
    for _, e in ipairs(dig(service, "status", "loadBalancer", "ingress") or {}) do add(e.ip or e.hostname) end
  end
  for _, address in ipairs(dig(service, "spec", "externalIPs") or {}) do add(address) end
end

--- A node, or a pod.
local function is_ready(object)
  for _, c in ipairs(dig(object, "status", "conditions") or {}) do
    if c.type == "Ready" then return c.status == "True" end
  end
  return false
end

--- The names of nodes with a ready pod of HAProxy; nil: it is not known where its pods are.
local function nodes_of_pods()
  if not watched("haproxy_pods") then return nil end
  local names = {}
  for _, pod in ipairs(resources.haproxy_pods:list()) do
    local node = dig(pod, "spec", "nodeName")
    if node and is_ready(pod) and dig(pod, "metadata", "deletionTimestamp") == nil then names[node] = true end
  end
  return names
end

local function add_nodes(add)
  local serves = nodes_of_pods()
  for _, node in ipairs(resources.nodes:list()) do
    local is_usable = is_ready(node) and dig(node, "metadata", "labels", EXCLUDED) == nil
    if serves and not serves[node.metadata.name] then is_usable = false end
    for _, a in ipairs(is_usable and dig(node, "status", "addresses") or {}) do
      if a.type == NODE_TYPES[context.publish_nodes] then add(a.address) end
    end
  end
end

local NODES = context.publish_nodes ~= nil and watched("nodes")
if context.publish_nodes ~= nil and not NODES then
  fragment("publish", function(out)
    out:warn("KindNotWatched", "publish_nodes needs watchedResources.nodes: {apiVersion: v1, resources: nodes, "
      .. "indexBy: [metadata.name]}")
  end)
end

--- The entries, in their order; empty while none is known.
local published = shared("published", function()
  local list, add = collector()
  for _, address in ipairs(context.publish_addresses or {}) do add(address) end
  if context.publish_service ~= nil then add_service(add) end
  if NODES then add_nodes(add) end
  return list
end)

local MAY = may_patch_status("ingresses")
local ON = MAY and (context.publish_service ~= nil or context.publish_addresses ~= nil or NODES)

--- For an Ingress that is served here. mode: "own"; "handover": not while another controller has an address there;
--- "never".
local function publish(out, mode)
  local list = ON and mode ~= "never" and published() or {}
  if #list > 0 then
    out:status({ loadBalancer = { ingress = list } }, nil, mode == "handover" and { alone = true } or nil)
  end
end

--- For an Ingress whose class belongs to another controller: removes the recorded entries.
local function withdraw(out, ing)
  if MAY and dig(ing, "metadata", "annotations", NOTE) ~= nil then out:status({ loadBalancer = { ingress = {} } }) end
end

provide("ingress.publish", { publish = publish, withdraw = withdraw })
