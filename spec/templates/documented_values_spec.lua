--- Forms of values that the documentation of HAProxy Technologies' controller shows, each with what becomes of it: it
--- counts, or its owner reads why it does not. docs/migration.md has those that do not count.
local program = require("spec.support.program")

local KINDS = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }

--- key, value; what is told of one that does not count.
local INGRESS = {
  { "allow-list", "192.168.1.0/24, 192.168.2.100" }, { "blacklist", "192.168.1.0/24, 192.168.2.100" },
  { "auth-realm", "Admin Area" }, { "check", "true" }, { "check", "1" }, { "check", "disabled" }, { "check-http", "/health" },
  { "check-http", "HEAD /health" }, { "check-http", "HEAD /health HTTP/1.1" }, { "check-interval", "1m" },
  { "check-interval", "5000" }, { "timeout-check", "5s" }, { "timeout-check", "5000" },
  { "load-balance", "roundrobin" }, { "load-balance", "static-rr" }, { "load-balance", "leastconn" }, { "load-balance", "first" },
  { "load-balance", "source" }, { "load-balance", "uri path-only" }, { "load-balance", "uri whole len 5 depth 3" },
  { "load-balance", "url_param name" }, { "load-balance", "url_param name check_post" }, { "load-balance", "url_param name check_post 64" },
  { "load-balance", "hdr(name)" }, { "load-balance", "hdr(name) use_domain_only" }, { "load-balance", "random" },
  { "load-balance", "random(2)" }, { "load-balance", "rdp-cookie", "load-balance must be roundrobin" },
  { "load-balance", "rdp-cookie(mstshash)", "load-balance must be roundrobin" },
  { "cors-enable", "t" }, { "cors-allow-origin", "*" }, { "cors-allow-origin", "https://example.com" },
  { "cors-allow-origin", "^https://(.+\\.)?(example-1\\.com|example-2\\.com)(:\\d{1,5})?$" }, { "cors-allow-methods", "GET, POST" },
  { "cors-allow-headers", "X-Custom-Header, Upgrade-Insecure-Requests" }, { "cors-max-age", "1m" }, { "cors-max-age", "5000" },
  { "cookie-persistence", "mycookie" }, { "cookie-persistence-no-dynamic", "mycookie" }, { "forwarded-for", "true" },
  { "path-rewrite", "/" }, { "path-rewrite", "(.*) /foo\\1" }, { "path-rewrite", "([^?]*)(\\?(.*))? \\1/foo\\2" },
  { "path-rewrite", "/foo/(.*) /\\1\n/bar/(.*) /baz/\\1" }, { "pod-maxconn", "30" }, { "rate-limit-period", "1m" },
  { "rate-limit-status-code", "429" }, { "rate-limit-requests", "15" }, { "rate-limit-whitelist", "10.0.0.0/8, 192.168.1.100" },
  { "rate-limit-size", "1000000", "rate-limit-size (one table remembers the clients of all routes" },
  { "request-capture", "cookie(my-cookie)" }, { "request-capture", "cookie(my-cookie)\nhdr(Host)\nreq.fhdr(user-agent)" },
  { "request-capture", "ssl_fc_cipher" }, { "request-capture", "var(txn.auth)", "request-capture must be lines of" },
  { "request-redirect", "example.com" }, { "request-redirect", "example.com:8888" }, { "request-redirect-code", "303" },
  { "request-set-header", "Ingress-ID abcd123\nAnother-Header 12345" },
  { "request-set-header", "Host example.com", "no header of the connection, of the length or of the host" },
  { "request-set-header", "X-A %[src]", "expressions (%[...]) are not evaluated" },
  { "response-set-header", 'Cache-Control "no-store,no-cache,private"\nStrict-Transport-Security "max-age=31536000"' },
  { "send-proxy-protocol", "proxy" }, { "send-proxy-protocol", "proxy-v2-ssl-cn" }, { "server-proto", "h2" },
  { "server-ca", "ns1/ca", "server-ca names no Secret in the namespace of the Service" }, { "server-ssl", "true" },
  { "set-host", "example.local" }, { "src-ip-header", "True-Client-IP" }, { "standalone-backend", "true" },
  { "scale-server-slots", "75", "servers are added and removed without slots" }, { "timeout-server", "5s" }, { "timeout-server", "50" },
  { "backend-config-snippet", "http-send-name-header x-dst-server" },
  { "backend-config-snippet", "stick-table type string len 32 size 100k expire 30m\nstick on req.cook(sessionid)",
    "stick-table is not among the lines" },
}
local CONFIGMAP = {
  { "syslog-server", "address:192.158.1.1, port:514, facility:local0" },
  { "syslog-server", "address:stdout, format: raw, facility:daemon" },
  { "syslog-server", "address:127.0.0.1, facility: local0, level: notice" },
  { "syslog-server", "address:127.0.0.1, port:514, facility:local0\naddress:192.168.1.1, port:514, facility:local1\n" },
  { "log-format", '%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs '
    .. '"%HM %[var(txn.base)] %HV"' },
  { "log-format-tcp", "%{+Q}o %t %s" }, { "hard-stop-after", "30s" }, { "http-connection-mode", "http-server-close" },
  { "http-keep-alive", "true" }, { "maxconn", "2000" }, { "nbthread", "8" }, { "proxy-protocol", "192.168.1.0/24, 192.168.2.100" },
  { "proxy-protocol", "0.0.0.0/0" }, { "quic-alt-svc-max-age", "900" }, { "rate-limit-size", "1000000" }, { "rate-limit-size", "100k" },
  { "tls-alpn", "http/1.1" }, { "tls-alpn", "h2,http/1.1" }, { "ssl-certificate", "default/tls-secret" }, { "client-strict-sni", "true" },
  { "timeout-client", "5s" }, { "timeout-connect", "5s" }, { "timeout-http-request", "5s" }, { "timeout-http-keep-alive", "5s" },
  { "timeout-queue", "5s" }, { "timeout-tunnel", "30m" }, { "timeout-server-fin", "5s" }, { "timeout-client-fin", "5s" },
  { "dontlognull", "true" }, { "logasap", "true" },
  { "frontend-config-snippet", "unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\nunique-id-header X-Unique-ID" },
  { "global-config-snippet", "tune.ssl.default-dh-param 2048\ntune.bufsize 32768" },
  { "global-config-snippet", "ssl-default-bind-options no-sslv3 no-tlsv10 no-tlsv11", "ssl-default-bind-options is not among" },
  { "stats-config-snippet", "stats auth foo:test", "expected refresh, hide-version" },
  { "clean-certs", "false", "unused files are always removed" },
  { "generate-certificates-signer", "default/ca-signing-cert", "HAProxy does not get the key of a certificate authority here" },
}
local NEEDS = { ["cors-"] = { "cors-enable", "true" }, ["rate-limit-"] = { "rate-limit-requests", "5" },
  ["request-redirect-"] = { "request-redirect", "a.example" } }

local function engine()
  local e = program.engine({ kinds = KINDS, checked = false, context = { trusted_proxies = { "192.0.2.1" }, https = false,
    configmap = "default/haproxy", config_snippets = { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = "3.4", major = 3, minor = 4 } })
  e:put("services", program.service("web"))
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  return e
end

local function told_of(e, id)
  local list = {}
  for reason, message in pairs(e:output().warnings[id] or {}) do list[#list + 1] = reason .. ": " .. message end
  return table.concat(list, "; ")
end

local function judge(told, case)
  local what = case[1] .. " = " .. case[2]
  if case[3] then
    assert.matches(case[3], told, 1, true, what)
  else
    assert.equal("", told, what)
  end
end

describe("Values of the other controller's documentation", function()
  it("count at an Ingress, or their owner reads why not", function()
    local e = engine()
    for i, case in ipairs(INGRESS) do
      local annotations = { ["haproxy.org/" .. case[1]] = case[2] }
      for beginning, needed in pairs(NEEDS) do
        if case[1]:find(beginning, 1, true) == 1 and case[1] ~= needed[1] then annotations["haproxy.org/" .. needed[1]] = needed[2] end
      end
      e:put("ingresses", program.ingress("case" .. i, { annotations = annotations,
        rules = { { host = "case" .. i .. ".example", paths = { { "/" } } } } }))
    end
    e:render()
    for i, case in ipairs(INGRESS) do judge(told_of(e, "default/case" .. i), case) end
    assert.same({}, e.host.failures)
  end)

  it("count in the ConfigMap, or the administrator reads why not", function()
    local e = engine()
    for _, case in ipairs(CONFIGMAP) do
      e:put("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "haproxy" },
        data = { [case[1]] = case[2] } })
      e:render()
      judge(told_of(e, "default/haproxy"), case)
    end
  end)
end)
