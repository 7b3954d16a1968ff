--- What an administrator keeps in ConfigMaps, by real requests: ports for TCP, pages of errors, lists of addresses, and
--- settings with the keys of a family. All of it is followed while the program runs.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }
--- The oldest and the newest; those between have nothing of their own in this.
local SERIES = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "2.6", "3.4" }
if not e2e.is_full then io.stderr:write("configmap_spec: 3.0 and 3.2 with E2E_FULL=1 only\n") end

describe("ConfigMaps:", function()
  local scope, source, haptic, port

  before_each(function()
    scope = e2e.scope("configmaps")
    source = scope:manifests()
    port = e2e.port()
    local echo = scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port),
      scope:path("echo.sock") } })
    scope:wait_for("the echo", 30, function()
      return posix.run({ "curl", "-s", "127.0.0.1:" .. port }) ~= "", echo:log()
    end)
  end)
  after_each(function() scope:close() end)

  local function put_map(name, data)
    source:write("configmap-" .. name .. ".yaml", { apiVersion = "v1", kind = "ConfigMap",
      metadata = { name = name, namespace = "default" }, data = data })
  end

  local function put(name, annotations)
    local all = {}
    for key, value in pairs(annotations or {}) do all["haproxy.org/" .. key] = value end
    source:write("ingress-" .. name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name,
      annotations = all }), kube.service(name), kube.slice(name, { "127.0.0.1" }, port))
  end

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = KINDS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  --- The status and the body of a request; more: further words of curl.
  local function ask(url, ...)
    local argv = { "curl", "-sSk", "-m", "5", "-w", "\n%{http_code}", url }
    for _, word in ipairs({ ... }) do argv[#argv + 1] = word end
    local text, code = posix.run(argv)
    if code ~= 0 then return 0, text end
    local body, status = text:match("^(.*)\n(%d+)$")
    return tonumber(status), body
  end
  local function host(name, ...)
    return ask("http://127.0.0.1:" .. haptic.http_port .. "/", "-H", "Host: " .. name .. ".example", ...)
  end

  local function wait(what, wanted, fn)
    scope:wait_for(what, 15, function()
      local status, body = fn()
      return status == wanted or body:find(wanted, 1, true) ~= nil, status .. " " .. body
    end)
  end

  for _, series in ipairs(SERIES) do
    it("lead ports to Services, give pages of errors and lists of addresses, on " .. series, function()
      local ports = { e2e.port(), e2e.port(), e2e.port() }
      put("web", {})
      put("other", {})
      put("inside", { ["allow-list"] = "patterns/office" })
      put("outside", { ["deny-list"] = "patterns/office" })
      put("spared", { ["rate-limit-requests"] = "1", ["rate-limit-period"] = "1h",
        ["rate-limit-whitelist"] = "192.0.2.1, patterns/office" })
      put("unknown", { ["deny-list"] = "patterns/nobody" })
      put("broken", { ["deny-list"] = "patterns/broken" })
      put("gone", { ["server-ca"] = "x y" })
      put_map("ports", { [tostring(ports[1])] = "default/web:80", [tostring(ports[2])] = "default/web:80:ssl",
        [tostring(haptic and haptic.http_port or 1)] = "nonsense", ["8404x"] = "default/web:80" })
      put_map("pages", { ["503"] = "HTTP/1.0 503 Sorry\nContent-Type: text/plain\nContent-Length: 3\n\nback soon\n",
        ["404"] = "<p>nothing here</p>", ["403"] = "HTTP/1.1 200 OK\r\n\r\n", ["418"] = "teapot" })
      put_map("lists", { office = "127.0.0.0/31 # here\n\n::1\n", broken = "127.0.0.1\nsomewhere" })
      start(series, { tcp_services = "default/ports", error_files = "default/pages", pattern_lists = "default/lists" })
      -- Connections.
      assert.equal(200, (ask("http://127.0.0.1:" .. ports[1] .. "/")))
      assert.equal(200, (ask("https://127.0.0.1:" .. ports[2] .. "/")))
      assert.matches("nothing here", select(2, host("nobody")), 1, true)
      assert.equal(404, (host("nobody")))
      assert.matches("back soon", select(2, host("gone")), 1, true)
      -- Lists.
      assert.equal(200, (host("inside")))
      assert.equal(403, (host("inside", "--interface", "127.0.0.2")))
      assert.equal(403, (host("outside")))
      assert.equal(200, (host("outside", "--interface", "127.0.0.2")))
      assert.same({ 200, 200 }, { (host("spared")), (host("spared")) })
      assert.same({ 200, 403 }, { (host("spared", "--interface", "127.0.0.2")), (host("spared", "--interface", "127.0.0.2")) })
      assert.equal(503, (host("unknown")))
      assert.equal(503, (host("broken")))
      local told = haptic:get("/debug/state").body
      for _, text in ipairs({ "InvalidTcpService", "8404x is no port", "InvalidErrorFile", "418 is not a status", "403 has the status 200",
        "InvalidList", "broken: line 2", "there is no list patterns/nobody" }) do
        assert.matches(text, told, 1, true)
      end
      -- Another list, and another Service at a port, need no reload.
      local before = haptic:state().haproxy.reloads
      put_map("lists", { office = "127.0.0.2\n", nobody = "192.0.2.0/24" })
      wait("the other list", 403, function() return host("inside") end)
      assert.equal(200, (host("outside")))
      wait("the list that was missing", 200, function() return host("unknown") end)
      if series == "3.4" then
        put_map("ports", { [tostring(ports[1])] = "default/other:80", [tostring(ports[2])] = "default/web:80:ssl" })
        scope:wait_for("the other Service", 15, function()
          return haptic.haproxy:ask("show map maps/tcp-services.map"):find("default_other_80__port", 1, true)
        end)
        assert.equal(200, (ask("http://127.0.0.1:" .. ports[1] .. "/")))
      end
      assert.equal(before, haptic:state().haproxy.reloads)
      -- A new port, and one that goes.
      put_map("ports", { [tostring(ports[3])] = "default/web:80" })
      wait("the new port", 200, function() return ask("http://127.0.0.1:" .. ports[3] .. "/") end)
      wait("the old port to go", 0, function() return ask("http://127.0.0.1:" .. ports[1] .. "/") end)
      put_map("pages", { ["404"] = "<p>another page</p>" })
      wait("the other page", "another page", function() return host("nobody") end)
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
    end)

    it("have settings with the keys of a family, on " .. series, function()
      local log_port = e2e.port()
      local log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
        .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(log_port) } })
      scope:wait_for("the receiver of logs", 30, function() return log:log():find("ready", 1, true) end)
      local front = scope:certificate({ names = { "front.example" } })
      source:write("front.yaml", { apiVersion = "v1", kind = "Secret", type = "kubernetes.io/tls",
        metadata = { name = "front", namespace = "default" }, stringData = { ["tls.crt"] = front.cert, ["tls.key"] = front.key } })
      put("web", {})
      put("own", { ["forwarded-for"] = "true", ["load-balance"] = "leastconn" })
      put_map("haproxy", { ["ssl-certificate"] = "default/front", ["syslog-server"] = "address:127.0.0.1, port:" .. log_port .. ", facility:local3, level:info",
        ["log-format"] = "seen %HM %[capture.req.uri,lower]|%ST", ["default-backend-service"] = "default/web",
        ["forwarded-for"] = "false", ["load-balance"] = "source", ["http-server-close"] = "true",
        ["rate-limit-size"] = "64k", ["quic-alt-svc-max-age"] = "77", ["log-format-tcp"] = "%ci:%cp" })
      start(series, { configmap = "default/haproxy", access_log = true })
      -- What no Ingress matches.
      assert.equal(200, (host("nobody")))
      scope:wait_for("the line in the log", 10, function()
        return log:log():find("seen GET /|200", 1, true), log:log():sub(-400)
      end)
      assert.matches("front.example", posix.run({ "curl", "-skv", "-m", "5", ("https://127.0.0.1:%d/"):format(haptic.https_port) }),
        1, true)
      -- For all backends; an Ingress counts more.
      assert.falsy(select(2, host("web")):lower():find("x-forwarded-for", 1, true))
      assert.truthy(select(2, host("own")):lower():find("x-forwarded-for", 1, true))
      local config = posix.read_file(haptic.directory .. "/haproxy.cfg")
      for _, line in ipairs({ "balance source", "balance leastconn", "option http-server-close" }) do
        assert.matches("\n    " .. line .. "\n", config, 1, true)
      end
      assert.matches("size 65536", config, 1, true)
      -- The load balancer in front begins with the PROXY protocol.
      put_map("haproxy", { ["proxy-protocol"] = "127.0.0.0/31", ["tls-alpn"] = "http/1.1", ["client-strict-sni"] = "true",
        ["http-keep-alive"] = "false", ["ssl-certificate"] = "default/front" })
      wait("the PROXY protocol", 200, function() return host("web", "--haproxy-protocol") end)
      wait("nobody without it", 0, function() return host("web") end)
      assert.equal(200, (host("web", "--interface", "127.0.0.2")))
      assert.truthy(select(2, host("web", "--interface", "127.0.0.2")):lower():find("x-forwarded-for", 1, true))
      -- There is no certificate for that name, and no protocol but HTTP/1.1.
      assert.equal(0, (ask(("https://127.0.0.1:%d/"):format(haptic.https_port), "--haproxy-protocol")))
      config = posix.read_file(haptic.directory .. "/haproxy.cfg")
      assert.matches(" alpn http/1.1 ", config, 1, true)
      assert.matches("\n    option httpclose\n", config, 1, true)
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
    end)

    it("ask who reads the metrics for a password, and what is wrong closes them, on " .. series, function()
      local hash = posix.run({ "openssl", "passwd", "-5", "open" }):gsub("%s+$", "")
      local function put_users(data)
        source:write("secret-users.yaml", { apiVersion = "v1", kind = "Secret",
          metadata = { name = "users", namespace = "default" }, stringData = data })
      end
      put("web", {})
      put_users({ ada = hash })
      put_map("haproxy", { ["prometheus-endpoint-auth-secret"] = "users" })
      start(series, { configmap = "default/haproxy" })
      local function metrics(...) return ask("http://127.0.0.1:" .. haptic.status_port .. "/metrics", ...) end
      assert.same({ 401, 401, 200 }, { (metrics()), (metrics("-u", "ada:wrong")), (metrics("-u", "ada:open")) })
      assert.equal(200, (ask("http://127.0.0.1:" .. haptic.status_port .. "/healthz")))
      put_users({ ada = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=" })
      wait("nobody to be let in", 503, function() return metrics("-u", "ada:open") end)
      -- The worker of before may take a last connection.
      wait("nobody without a name to be let in", 503, function() return metrics() end)
      for _, wrong in ipairs({ "there-is-none", "a/b/c" }) do
        put_map("haproxy", { ["prometheus-endpoint-auth-secret"] = wrong })
        scope:wait_for("the administrator to be told", 15, function()
          return haptic:get("/debug/state").body:find(wrong == "a/b/c" and "it is no name of a Secret"
            or "there is no Secret default/there-is-none", 1, true)
        end)
        assert.equal(503, (metrics("-u", "ada:open")))
      end
      put_map("haproxy", {})
      wait("the metrics to open", 200, function() return metrics() end)
    end)

    it("close everything while they do not exist, where they are required, on " .. series, function()
      put("plain", {})
      start(series, { configmap = "default/haproxy", configmap_required = true })
      local function metrics() return (ask("http://127.0.0.1:" .. haptic.status_port .. "/metrics")) end
      assert.same({ 503, 503 }, { (host("plain")), metrics() })
      assert.equal(200, (ask("http://127.0.0.1:" .. haptic.status_port .. "/healthz")))
      haptic:wait_log("nothing is served until it exists")
      put_map("haproxy", { ["allow-list"] = "192.0.2.0/24" })
      wait("what it protects to count", 403, function() return host("plain") end)
      assert.equal(200, metrics())
      source:write("configmap-haproxy.yaml")
      wait("everything to close", 503, function() return host("plain") end)
      assert.equal(503, metrics())
    end)

    it("ask all clients of HTTPS for certificates, and what is wrong closes it, on " .. series, function()
      local ca = scope:certificate({ names = { "authority" }, key = "authority" })
      local own_ca = scope:certificate({ names = { "another authority" }, key = "authority" })
      local good = scope:certificate({ names = { "good" }, issuer = ca })
      local other = scope:certificate({ names = { "other" }, issuer = own_ca })
      local server = scope:certificate({ names = { "web.example", "own.example" } })
      local function put_ca(name, authority)
        source:write("secret-" .. name .. ".yaml", { apiVersion = "v1", kind = "Secret",
          metadata = { name = name, namespace = "default" }, stringData = { ["ca.crt"] = authority } })
      end
      source:write("server.yaml", e2e.tls_secret("server", server.cert, server.key))
      put_ca("ca", ca.cert)
      put_ca("own", own_ca.cert)
      for _, name in ipairs({ "web", "own" }) do
        local ing = kube.ingress({ name = name, host = name .. ".example", service = name, annotations = {
          ["haproxy.org/ssl-redirect"] = "false", ["haproxy-haptic.org/client-ca"] = name == "own" and "own" or nil } })
        ing.spec.tls = { { hosts = { name .. ".example" }, secretName = "server" } }
        source:write(name .. ".yaml", ing, kube.service(name), kube.slice(name, { "127.0.0.1" }, port))
      end
      put("plain", {})
      put_map("haproxy", { ["client-ca"] = "default/ca" })
      start(series, { configmap = "default/haproxy", sni_mismatch = "allow" })
      local function https(name, who, host_name)
        local words = { "--resolve", name .. ".example:" .. haptic.https_port .. ":127.0.0.1" }
        for _, w in ipairs(who and { "--cert", who.directory .. "/cert.pem", "--key", who.directory .. "/key.pem" } or {}) do
          words[#words + 1] = w
        end
        if host_name then
          words[#words + 1], words[#words + 2] = "-H", "Host: " .. host_name .. ".example"
        end
        return (ask("https://" .. name .. ".example:" .. haptic.https_port .. "/", unpack(words)))
      end
      local function seen() -- with the authorities' certificate, with somebody else's, without
        return { https("web", good), https("web", other), https("web"), https("plain", good), https("plain"),
          https("own", other), https("own", good), https("own") }
      end
      assert.same({ 200, 495, 496, 200, 496, 200, 495, 496 }, seen())
      -- Who was let in by the authorities of one host is not let in to others.
      assert.equal(421, https("own", other, "web"))
      assert.equal(200, (host("plain")))
      put_map("haproxy", { ["client-ca"] = "default/ca", ["client-crt-optional"] = "true" })
      wait("clients without a certificate to be let in", 200, function() return https("web"), "" end)
      assert.same({ 200, 495, 200, 200, 200, 200, 495, 496 }, seen())
      -- What is wrong lets nobody in that was not before; the administrator is told.
      put_ca("ca", "garbage")
      put_map("haproxy", { ["client-ca"] = "default/ca" })
      wait("clients without a certificate to be refused", 496, function() return https("web"), "" end)
      assert.same({ 200, 495, 496 }, { https("web", good), https("web", other), https("web") })
      for _, wrong in ipairs({ "default/there-is-none", "default ca" }) do
        put_map("haproxy", { ["client-ca"] = wrong })
        scope:wait_for("the administrator to be told of " .. wrong, 15, function()
          return haptic:get("/debug/state").body:find(wrong == "default ca" and "client-ca is wrong"
            or "there is no Secret default/there-is-none", 1, true)
        end)
        assert.same({ 495, 496 }, { https("web", other), https("web") })
      end
      -- Where there never were any, nobody is let in.
      haptic:stop()
      start(series, { configmap = "default/haproxy", sni_mismatch = "allow" })
      assert.same({ 495, 495, 496, 495, 496, 200, 495, 496 }, seen())
      assert.equal(200, (host("plain")))
    end)
  end
end)
