--- Keys that Ingresses have, at Services and in the ConfigMap, by real requests over HTTP and over HTTPS: what a level that
--- is farther from the route does.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }
local PODS = { "198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.0.4" }
--- The newest, and one of the others by day; all with E2E_FULL=1.
local OTHER = ({ "2.6", "3.0", "3.2" })[math.floor(os.time() / 86400) % 3 + 1]
local SERIES = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { OTHER, "3.4" }
if not e2e.is_full then io.stderr:write("key_levels_spec: on 3.4 and " .. OTHER .. "; on all with E2E_FULL=1\n") end
local CAPTURED = "{abcd}"

describe("Keys", function()
  local scope, source, haptic, port, proxied, tls, log, log_port, server

  before_each(function()
    e2e.backends()
    scope = e2e.scope("levels")
    source = scope:manifests()
    port, proxied, tls, log_port = e2e.port(), e2e.port(), e2e.port(), e2e.port()
    local ready = scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
      .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(log_port) } })
    local file = scope:path("proxied.cfg")
    posix.write_file(file, ("defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\nfrontend f\n"
      .. "  bind :%d accept-proxy\n  http-request return status 200 content-type text/plain lf-string \"told %%[src]\\n\"\n"):format(proxied))
    scope:spawn({ name = "proxied", argv = { e2e.haproxy_binary("3.2"), "-db", "-f", file } })
    local ca = scope:certificate({ names = { "authority" }, key = "authority" })
    server = scope:certificate({ names = { "backend.example" }, issuer = ca })
    local client = scope:certificate({ names = { "client" }, issuer = ca })
    scope:tls_server({ port = tls, certificate = server, clients = ca })
    source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
      stringData = { ["ca.crt"] = ca.cert } }, e2e.tls_secret("client", client.cert, client.key))
    -- "ada" with the password "secret".
    source:write("users.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "users" },
      stringData = { ada = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" } })
    scope:wait_for("the pods and the log", 20, function()
      return select(2, posix.run({ "test", "-S", ready })) == 0 and log:log():find("ready", 1, true)
    end)
  end)
  after_each(function() scope:close() end)

  --- A Service with an Ingress NAME.example that has no annotations. annotations: of the Service, without their prefix.
  local function put(name, annotations, at)
    local service = kube.service(name)
    service.metadata.annotations = {}
    for key, value in pairs(annotations or {}) do service.metadata.annotations["haproxy.org/" .. key] = value end
    source:write(name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name }), service,
      kube.slice(name, at and { PODS[1] } or PODS, at or port))
  end

  local function put_map(data)
    source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "haproxy", namespace = "default" },
      data = data })
  end

  --- One request: {status, headers, body (in lower case), text}. words: further ones of curl.
  local function one(scheme, name, path, words)
    local at = scheme == "https" and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sSki", "-m", "5", "--http1.1", "--resolve", ("%s.example:%d:127.0.0.1"):format(name, at) }
    for _, word in ipairs(words or {}) do argv[#argv + 1] = word end
    argv[#argv + 1] = ("%s://%s.example:%d%s"):format(scheme, name, at, path or "/")
    local text = posix.run(argv)
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    local headers = {}
    for key, value in (head or ""):gmatch("\n([^:\r\n]+): ([^\r\n]*)") do headers[key:lower()] = value end
    return { status = tonumber(text:match("^HTTP/%S+ (%d+)")) or 0, headers = headers, body = (body or ""):lower(), text = text }
  end

  --- Which pods answer six requests: how many.
  local function pods(scheme, name, words)
    local seen, count = {}, 0
    for _ = 1, 6 do
      local pod = one(scheme, name, "/", words).body:match("^(198%.%S+) ")
      assert.is_string(pod)
      if not seen[pod] then seen[pod], count = true, count + 1 end
    end
    return count
  end

  --- check(answer) of a request over HTTP, until it says true, and then of one over HTTPS.
  local function both(what, name, path, words, check)
    scope:wait_for(what .. " over HTTP", 15, function()
      local answer = one("http", name, path, words)
      return check(answer, "http"), answer.text:sub(1, 600)
    end)
    local answer = one("https", name, path, words)
    assert.is_truthy(check(answer, "https"), what .. " over HTTPS: " .. answer.text:sub(1, 600))
  end

  --- Clients stay at the pod that their cookie names.
  local function stays(name, cookie)
    both("the cookie " .. cookie, name, "/", nil, function(answer) return (answer.headers["set-cookie"] or ""):find(cookie .. "=", 1, true) end)
    for _, scheme in ipairs({ "http", "https" }) do
      local value = one(scheme, name).headers["set-cookie"]:match(cookie .. "=[^;]+")
      assert.equal(1, pods(scheme, name, { "-H", "Cookie: " .. value }))
    end
  end

  local function stat(backend)
    return haptic.haproxy:ask("show stat " .. backend .. " 4 -1")
  end

  for _, series in ipairs(SERIES) do
    it("at Services and in the ConfigMap do what they do at Ingresses, on " .. series, function()
      put("plain")
      put("told", nil, proxied)
      put("safe", nil, tls)
      put("checked", { check = "true", ["check-http"] = "GET /health", ["check-interval"] = "200ms", ["timeout-check"] = "1s",
        abortonclose = "true", ["pod-maxconn"] = "7" })
      put("kept", { ["cookie-persistence"] = "stay" })
      put("named", { ["cookie-persistence-no-dynamic"] = "pod" })
      put("hidden", { ["forwarded-for"] = "false" })
      put("sent", { ["send-proxy-protocol"] = "proxy" }, proxied)
      put("short", { ["timeout-server"] = "300ms" })
      put_map({})
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({ watchedResources = KINDS,
        templatingSettings = { extraContext = { configmap = "default/haproxy", access_log = true, ssl_passthrough = true,
          trusted_proxies = { "127.0.0.1" }, config_snippets = { "ConfigMap" } } } }) }):wait_ready()

      -- Services.
      both("a checked Service", "checked", "/", nil, function(answer) return answer.status == 200 end)
      scope:wait_for("its checks", 15, function() return stat("default_checked_80"):find("L7OK", 1, true), stat("default_checked_80") end)
      assert.matches("\ndefault_checked_80,[^,]+,0,0,0,%d+,7,", stat("default_checked_80"))
      stays("kept", "stay")
      stays("named", "pod")
      both("a client that is hidden", "hidden", "/", nil, function(answer)
        return answer.status == 200 and not answer.body:find("x-forwarded-for", 1, true)
      end)
      both("the PROXY protocol", "sent", "/", nil, function(answer) return answer.body == "told 127.0.0.1\n" end)
      both("a time limit", "short", "/slow", nil, function(answer) return answer.status == 504 end)

      -- The ConfigMap: what the pods get, and what clients do.
      put_map({ ["request-set-header"] = "X-All one", ["path-rewrite"] = "/(.*) /all/\\1", ["set-host"] = "inside.example",
        ["cors-enable"] = "true", ["cors-allow-origin"] = "https://a\\.example", ["cors-allow-methods"] = "GET",
        ["cors-allow-headers"] = "X-One", ["cors-allow-credentials"] = "true", ["cors-max-age"] = "9s",
        ["cors-respond-to-options"] = "true", ["request-capture"] = "hdr(x-trace)", ["request-capture-len"] = "4",
        ["src-ip-header"] = "X-Real-IP", ["deny-list"] = "192.0.2.9", ["cookie-persistence"] = "all", abortonclose = "true",
        check = "true", ["check-http"] = "GET /health", ["check-interval"] = "200ms", ["timeout-check"] = "1s",
        ["pod-maxconn"] = "9", ["syslog-server"] = "address:127.0.0.1, port:" .. log_port .. ", facility:local0",
        ["backend-config-snippet"] = "http-response set-header X-Snippet yes" })
      both("headers, host and path of the pod", "plain", "/x", { "-H", "X-Trace: abcdefgh", "-H", "Origin: https://a.example" },
        function(answer)
          local h = answer.headers
          return answer.body:find("get /all/x http", 1, true) and answer.body:find("x-all: one", 1, true)
            and answer.body:find("host: inside.example", 1, true) and h["x-snippet"] == "yes"
            and h["access-control-allow-origin"] == "https://a.example" and h["access-control-allow-methods"] == "GET"
            and h["access-control-allow-headers"] == "X-One" and h["access-control-allow-credentials"] == "true"
            and h["access-control-max-age"] == "9"
        end)
      both("a client that is refused", "plain", "/", { "-H", "X-Real-IP: 192.0.2.9" }, function(answer) return answer.status == 403 end)
      both("OPTIONS", "plain", "/", { "-X", "OPTIONS", "-H", "Origin: https://a.example" }, function(answer) return answer.status == 204 end)
      scope:wait_for("the log", 10, function() return select(2, log:log():gsub(CAPTURED, "")) >= 2, log:log():sub(-600) end)
      stays("plain", "all")
      scope:wait_for("the checks of all", 15, function() return stat("default_plain_80"):find("L7OK", 1, true), stat("default_plain_80") end)
      assert.matches("\ndefault_plain_80,[^,]+,0,0,0,%d+,9,", stat("default_plain_80"))

      -- Who may ask, and how often.
      put_map({ ["auth-type"] = "basic-auth", ["auth-secret"] = "users", ["auth-realm"] = "Room", ["denylist"] = "192.0.2.8",
        ["cookie-persistence-no-dynamic"] = "each" })
      both("a question", "plain", "/", nil, function(answer)
        return answer.status == 401 and answer.headers["www-authenticate"] == 'Basic realm="Room"'
      end)
      both("an answer", "plain", "/", { "-u", "ada:secret" }, function(answer)
        return answer.status == 200 and answer.headers["set-cookie"]:find("each=", 1, true)
      end)
      put_map({ ["rate-limit-requests"] = "1", ["rate-limit-period"] = "1h", ["rate-limit-status-code"] = "429",
        ["rate-limit-whitelist"] = "127.0.0.2", ["blacklist"] = "192.0.2.7" })
      both("a limit", "plain", "/", nil, function(answer) return answer.status == 429 end)
      both("a client without one", "plain", "/", { "--interface", "127.0.0.2" }, function(answer) return answer.status == 200 end)
      for _, key in ipairs({ "whitelist", "allowlist" }) do
        put_map({ [key] = "127.0.0.2" })
        both("those of " .. key, "plain", "/", nil, function(answer) return answer.status == 403 end)
        both("one of " .. key, "plain", "/", { "--interface", "127.0.0.2" }, function(answer) return answer.status == 200 end)
      end

      -- Redirects.
      put_map({ ["request-redirect"] = "new.example", ["request-redirect-code"] = "307" })
      both("another host", "plain", "/a?b", nil, function(answer, scheme)
        return answer.status == 307 and answer.headers.location == scheme .. "://new.example/a?b"
      end)
      put_map({ ["ssl-redirect"] = "true", ["ssl-redirect-code"] = "301", ["ssl-redirect-port"] = "9443" })
      both("HTTPS", "plain", "/a", nil, function(answer, scheme)
        if scheme == "https" then return answer.status == 200 end
        return answer.status == 301 and answer.headers.location == "https://plain.example:9443/a"
      end)

      -- Between HAProxy and the pods.
      put_map({ ["send-proxy-protocol"] = "proxy-v2" })
      both("the PROXY protocol to all", "told", "/", nil, function(answer) return answer.body == "told 127.0.0.1\n" end)
      put_map({ ["server-ssl"] = "true", ["server-ca"] = "default/ca", ["server-crt"] = "default/client",
        ["server-sni"] = "backend.example", ["server-proto"] = "h1" })
      both("TLS to all", "safe", "/", nil, function(answer)
        return answer.body:find("sni=backend.example alpn=http/1.1 client=client", 1, true)
      end)
      put_map({ ["ssl-passthrough"] = "true" })
      scope:wait_peer(haptic.https_port, "safe.example", server)
      both("the way to TLS that is passed on", "safe", "/", nil, function(answer, scheme)
        return scheme == "https" or answer.status == 302 and answer.headers.location:find("^https://safe.example")
      end)
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
    end)
  end
end)
