--- fleet.lua — several HAProxys share their tables of rate limits by HAProxy's peers protocol.
--
-- Members are the pods behind a Service, with their addresses. HAProxy recognises itself by the host name, which is
-- that of the pod. A new or removed member needs a reload. The protocol is not encrypted: use it in the pod network
-- only.

settings({
  rate_limit_peers = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9-]+$", expects = "namespace/name of a Service",
    doc = "whose pods share rate limits: those of HAProxy" },
  rate_limit_peer_port = { type = "integer", min = 1, max = 65535, default = 10000,
    doc = "port at which they tell each other" },
  rate_limit_peer_name = { type = "text", pattern = "^[%w][%w._-]*$", expects = "a name",
    doc = "name of this one, where the host is not called as the pod" },
})

local SECTION, MAX = "haptic_limits", 200
local NAMESPACE, NAME = (context.rate_limit_peers or ""):match("^([^/]+)/(.+)$")

--- Members: {name=, address=}, sorted by name.
local function members()
  local list, seen = {}, {}
  for _, slice in ipairs(resources.endpoints:fetch(NAMESPACE, NAME)) do
    for _, endpoint in ipairs(slice.endpoints or {}) do
      local name, address = dig(endpoint, "targetRef", "name"), dig(endpoint, "addresses", 1)
      if type(name) == "string" and name:find("^%w[%w._-]*$") and not seen[name] and address_parse(address) then
        seen[name] = true
        list[#list + 1] = { name = name, address = address }
      end
    end
  end
  return sort_by(list, "name")
end

if NAME then
  if context.rate_limit_peer_name then
    section("global", { name = "peers-name", order = 160 }, function(b)
      b:line("localpeer", context.rate_limit_peer_name)
    end)
  end
  fragment("peers", function(out)
    out:section("peers " .. SECTION, { order = 100, key = "members" }, function(b)
      for i, m in ipairs(members()) do
        if i > MAX then
          out:warn("TooManyPeers", ("rate_limit_peers: more than %d pods; the others limit by themselves"):format(MAX))
          break
        end
        local address = m.address:find(":", 1, true) and "[" .. m.address .. "]" or m.address
        b:line("peer", m.name, address .. ":" .. context.rate_limit_peer_port)
      end
    end)
  end)
end

--- Words of a table that is shared.
provide("effects.fleet", { words = NAME and { "peers", SECTION } or {} })
