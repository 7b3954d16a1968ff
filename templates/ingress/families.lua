--- families.lua — annotations of other Ingress controllers, by the prefix of their keys.
--
-- `protects` are the keys that restrict access to a route: authentication, lists of addresses, client certificates, and
-- references to objects that may contain these. A route with such a key is not served without it. Of other keys only
-- the family is known here. The keys are those that the controllers document, and their older spellings.

local function set(words)
  local t = {}
  for word in words:gmatch("%S+") do t[word] = true end
  return t
end

local NGINX = set([[auth-type auth-secret auth-url auth-snippet auth-tls-secret auth-tls-verify-client
  whitelist-source-range allowlist-source-range denylist-source-range]])
local HAPROXY = set("auth-type auth-secret allow-list deny-list whitelist blacklist allowlist denylist client-ca")
local HAPROXY_INGRESS = set([[auth-type auth-secret auth-url auth-tls-secret auth-tls-verify-client oauth
  allowlist-source-range whitelist-source-range denylist-source-range]])
local NGINX_INC = set("basic-auth-secret jwt-key policies")
local NOTHING = {}

--- Both controllers for HAProxy, and formerly nginx, read this prefix.
local SHARED = {}
for _, keys in ipairs({ NGINX, HAPROXY, HAPROXY_INGRESS }) do
  for key in pairs(keys) do SHARED[key] = true end
end

provide("ingress.families", {
  ["nginx.ingress.kubernetes.io"] = NGINX,
  ["haproxy.org"] = HAPROXY,
  ["haproxy.com"] = HAPROXY,
  ["haproxy-ingress.github.io"] = HAPROXY_INGRESS,
  ["ingress.kubernetes.io"] = SHARED,
  ["nginx.org"] = NGINX_INC,
  ["nginx.com"] = NGINX_INC,
  ["traefik.ingress.kubernetes.io"] = set([[router.middlewares router.tls.options auth-type auth-secret
    whitelist-source-range]]),
  ["konghq.com"] = set("plugins"),
  ["alb.ingress.kubernetes.io"] = set([[auth-type auth-idp-oidc auth-idp-cognito inbound-cidrs mutual-authentication
    security-groups]]),
  ["k8s.apisix.apache.org"] = set("auth-type allowlist-source-range blocklist-source-range plugin-config-name"),
  ["higress.io"] = set([[auth-type auth-secret auth-tls-secret whitelist-source-range blacklist-source-range
    domain-whitelist-source-range domain-blacklist-source-range]]),
  ["appgw.ingress.kubernetes.io"] = NOTHING,
  ["ingress.gcp.kubernetes.io"] = NOTHING,
  ["networking.gke.io"] = NOTHING,
  ["projectcontour.io"] = NOTHING,
  ["voyager.appscode.com"] = NOTHING,
})
