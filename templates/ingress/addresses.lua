--- addresses.lua — the addresses and names that authors of Services and EndpointSlices may send HAProxy to.
--
-- One table lists the refused networks. An address is compared as the bytes that the C library parses from its text, so
-- no notation avoids the check. An IPv4 address inside an IPv6 address is checked as an IPv4 address.

settings({
  local_endpoints = { type = "bool", default = false, doc = "endpoints on HAProxy's own machine" },
  external_names = { type = "bool", default = true, doc = "Services of the type ExternalName" },
})

local LOCAL_ENDPOINTS, EXTERNAL_NAMES = context.local_endpoints, context.external_names

--- Refused networks. own: HAProxy's own machine, which `local_endpoints` allows. carries: the index of the first byte
--- of an IPv4 address that is checked instead.
local NETWORKS = {
  { "0.0.0.0/8" }, -- HAProxy replaces 0.0.0.0 by the address that the client connected to
  { "127.0.0.0/8", own = true },
  { "169.254.0.0/16" }, -- link; metadata of most clouds
  { "100.100.100.200/32" }, -- metadata of Alibaba Cloud
  { "168.63.129.16/32" }, -- the platform of Azure
  { "192.0.0.192/32" }, -- metadata of Oracle Cloud
  { "224.0.0.0/3" }, -- groups, reserved, broadcast
  { "::1/128", own = true },
  { "::/96" }, -- unspecified; IPv4-compatible
  { "::ffff:0:0/96" }, -- IPv4-mapped: a slice of IPv4 addresses has a type of its own
  { "::ffff:0:0:0/96" }, -- IPv4-translated
  { "64:ff9b::/96", carries = 13 },
  { "64:ff9b:1::/48" }, -- local translation prefixes: the place of the IPv4 address is unknown
  { "2001::/32" }, -- Teredo
  { "2002::/16", carries = 3 },
  { "fd00:ec2::/64" }, -- metadata and identities of Amazon's cloud
  { "fd20:ce::/64" }, -- metadata of Google's cloud
  { "fe80::/10" }, -- link
  { "fec0::/10" }, -- site
  { "ff00::/8" }, -- groups
}

--- The number of bytes that are compared as a whole, and of bits of the next byte.
for _, network in ipairs(NETWORKS) do
  local text, bits = network[1]:match("^(.*)/(%d+)$")
  network.bytes, network.bits = address_parse(text), tonumber(bits)
  network.whole = math.floor(network.bits / 8)
  network.rest = 2 ^ (8 - network.bits % 8)
  network.prefix = network.bytes:sub(1, network.whole)
end

local function is_in(network, bytes)
  if #network.bytes ~= #bytes or bytes:sub(1, network.whole) ~= network.prefix then return false end
  if network.bits % 8 == 0 then return true end
  local at = network.whole + 1
  return math.floor(bytes:byte(at) / network.rest) == math.floor(network.bytes:byte(at) / network.rest)
end

local function is_reachable(bytes)
  for _, network in ipairs(NETWORKS) do
    if is_in(network, bytes) then
      if network.carries then return is_reachable(bytes:sub(network.carries, network.carries + 3)) end
      return network.own == true and LOCAL_ENDPOINTS
    end
  end
  return true
end

--- True when an endpoint of that family may have this address. is_v6: the family that the slice names.
local function is_endpoint(address, is_v6)
  local bytes = address_parse(address)
  return bytes ~= nil and #bytes == (is_v6 and 16 or 4) and is_reachable(bytes)
end

local LOCAL_NAMES = {}
for name in ([[localhost localhost4 localhost6 ip6-localhost ip6-loopback metadata metadata.goog
  metadata.google.internal metadata.azure.internal metadata.tencentyun.com instance-data
  instance-data.ec2.internal]]):gmatch("%S+") do
  LOCAL_NAMES[name] = true
end
local LOCAL_DOMAINS = { ".localhost", ".localdomain", ".localdomain6", ".metadata.goog" }

--- True when HAProxy may resolve that name, which is in lower case and without a final dot. Not for names of this
--- machine and of metadata services. Nor for names that end with a number: the system's resolver reads them as
--- addresses.
local function is_external_name(host)
  if host:find("%.%d+$") or host:find("^%d+$") or host:find("^0x%x*$") or host:find("%.0x%x*$") then
    return is_endpoint(host, false)
  end
  for _, domain in ipairs(LOCAL_DOMAINS) do
    if host:ends_with(domain) then return false end
  end
  return use("ingress.names").is_domain(host) and not LOCAL_NAMES[host]
end

provide("ingress.addresses",
  { is_endpoint = is_endpoint, is_host = is_external_name,
    is_external_name = EXTERNAL_NAMES and is_external_name or nil })
