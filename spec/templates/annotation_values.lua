--- A right value of each key of the family haproxy.org that no object has by default, and what a key needs beside it to
--- have an effect. Specs that go over all keys have their values from here: a new key needs a line.
local M = {}

M.VALUES = {
  ["allow-list"] = "10.0.0.0/8", ["deny-list"] = "10.0.0.0/8", ["rate-limit-whitelist"] = "10.0.0.0/8",
  ["request-redirect"] = "new.example", ["request-redirect-code"] = "307", ["request-set-header"] = "X-A b",
  ["response-set-header"] = "X-A b", ["set-host"] = "a.example", ["path-rewrite"] = "/(.*) /x\\1", ["auth-type"] = "basic-auth",
  ["auth-secret"] = "users", ["auth-realm"] = "Room", ["cors-enable"] = "true", ["cors-allow-credentials"] = "true",
  ["cors-respond-to-options"] = "true", ["cors-allow-origin"] = "https://a\\.example", ["cors-allow-methods"] = "GET",
  ["cors-allow-headers"] = "X-A", ["cors-max-age"] = "7s", ["rate-limit-requests"] = "5", ["rate-limit-period"] = "5s",
  ["rate-limit-status-code"] = "429", ["request-capture"] = "hdr(x-a)", ["request-capture-len"] = "64", ["src-ip-header"] = "X-A",
  ["timeout-server"] = "5s", ["load-balance"] = "hdr(x-a)", ["cookie-persistence"] = "a", ["cookie-persistence-no-dynamic"] = "a",
  check = "true", abortonclose = "true", ["forwarded-for"] = "false", ["check-http"] = "GET /a", ["check-interval"] = "5s",
  ["timeout-check"] = "5s", ["pod-maxconn"] = "5", ["send-proxy-protocol"] = "proxy", ["server-ssl"] = "true",
  ["standalone-backend"] = "true", ["ssl-passthrough"] = "true", ["server-proto"] = "h2", ["server-ca"] = "ca", ["server-crt"] = "crt",
  ["server-sni"] = "a.example", ["backend-config-snippet"] = "http-request set-header X-A 'b'",
  ["ssl-redirect"] = "true", ["ssl-redirect-code"] = "307", ["ssl-redirect-port"] = "9443", ["route-acl"] = "path /a",
  maxconn = "100", nbthread = "1", ["rate-limit-size"] = "1000", ["quic-alt-svc-max-age"] = "77", dontlognull = "false", logasap = "true",
  ["http-keep-alive"] = "false", ["http-server-close"] = "true", ["client-strict-sni"] = "true", ["proxy-protocol"] = "192.0.2.1",
  ["hard-stop-after"] = "5s", ["http-connection-mode"] = "httpclose", ["tls-alpn"] = "http/1.1", ["ssl-certificate"] = "default/crt",
  ["default-backend-service"] = "default/web", ["syslog-server"] = "address:127.0.0.1, facility:local0",
  ["global-config-snippet"] = "tune.maxaccept 50", ["frontend-config-snippet"] = "http-request set-header X-A 'b'",
  ["stats-config-snippet"] = "stats show-node", ["client-ca"] = "default/ca", ["client-crt-optional"] = "true",
  ["prometheus-endpoint-auth-secret"] = "users", ["log-format"] = "%ci", ["log-format-tcp"] = "%ci",
  -- Our own, with their prefix.
  ["haproxy-haptic.org/client-ca"] = "ca", ["haproxy-haptic.org/client-verify"] = "optional",
  ["haproxy-haptic.org/client-error-page"] = "/why", ["haproxy-haptic.org/keep-last-ready"] = "true",
}
for name in ("client client-fin connect http-request http-keep-alive queue server-fin tunnel"):gmatch("%S+") do
  M.VALUES["timeout-" .. name] = "4s"
end

--- Beginning of keys → the annotations without which they have no effect.
local NEEDS = { ["cors-"] = { ["cors-enable"] = "true" }, ["rate-limit-"] = { ["rate-limit-requests"] = "3" },
  ["auth-"] = { ["auth-type"] = "basic-auth", ["auth-secret"] = "others" }, ["request-redirect-"] = { ["request-redirect"] = "b.example" },
  ["request-capture-"] = { ["request-capture"] = "path" }, ["ssl-redirect-"] = { ["ssl-redirect"] = "true" },
  ["server-sni"] = { ["server-ca"] = "ca" }, ["client-crt-"] = { ["client-ca"] = "default/ca" },
  ["haproxy-haptic.org/client-"] = { ["haproxy-haptic.org/client-ca"] = "ca" } }

--- What a key needs beside it: key → value, without itself.
function M.needs_of(key)
  local needs = {}
  for beginning, others in pairs(NEEDS) do
    for other, value in pairs(key:find(beginning, 1, true) == 1 and others or {}) do
      if other ~= key then needs[other] = value end
    end
  end
  return needs
end

return M
