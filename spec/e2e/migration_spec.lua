--- Forty Ingresses as people have them who come from HAProxy Technologies' controller (spec/fixtures/migration): one
--- HAPTIC serves the class of that controller, and each key does by real requests what its documentation says.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local FOLDER = "spec/fixtures/migration"
local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }

--- namespace, Service, port of the rules, addresses of its pods.
local PODS = {
  { "shop", "storefront", "http", { "198.18.1.1" } }, { "shop", "static", "http", { "198.18.1.2", "198.18.1.3" } },
  { "shop", "cart", "http", { "198.18.1.4", "198.18.1.5" } }, { "shop", "catalog", "http", { "198.18.1.6" } },
  { "accounts", "accounts", "http", { "198.18.2.1" } }, { "media", "media", "http", { "198.18.3.1" } },
  { "media", "players", "http", { "198.18.3.2", "198.18.3.3" } }, { "media", "jobs", "http", { "198.18.3.6", "198.18.3.7" } },
  { "payments", "desk", "http", { "198.18.4.1" } }, { "tools", "dashboards", "web", { "198.18.5.1", "198.18.5.2" } },
  { "tools", "wiki", "http", { "198.18.5.3" } }, { "tools", "editor", "http", { "198.18.5.4" } },
  { "tools", "files", "http", { "198.18.5.5" } },
}

--- A pod that is alive but says that it is ill.
local ILL = [[
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if self.path == "/healthz" else 200); self.send_header("Content-Length", "3"); self.end_headers()
        self.wfile.write(b"ill")
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), H).serve_forever()
]]

describe("forty Ingresses of another controller", function()
  local scope, source, haptic, log

  local function slice(namespace, service, port_name, addresses, port)
    local s = kube.slice(service, addresses, port, namespace)
    s.ports[1].name = port_name
    return s
  end

  setup(function()
    e2e.backends()
    scope = e2e.scope("migration")
    source = scope:manifests()
    local port, ill, tls, logs = e2e.port(), e2e.port(), e2e.port(), e2e.port()
    local ready = scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:spawn({ name = "ill pod", argv = { "python3", "-c", ILL, tostring(ill) } })
    log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
      .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(logs) } })
    local authority = scope:certificate({ names = { "authority" }, key = "authority" })
    local other = scope:certificate({ names = { "other" }, key = "authority" })
    local pod = scope:certificate({ names = { "vault.payments" }, issuer = authority })
    scope:tls_server({ port = tls, certificate = pod })
    scope:wait_for("the pods", 30, function()
      return select(2, posix.run({ "test", "-S", ready })) == 0 and log:log():find("ready", 1, true)
    end)
    for _, file in ipairs({ "0-cluster", "shop", "accounts", "media", "payments", "tools" }) do
      posix.write_file(source.path .. "/" .. file .. ".yaml", posix.read_file(FOLDER .. "/" .. file .. ".yaml"))
    end
    local objects = {}
    for _, p in ipairs(PODS) do objects[#objects + 1] = slice(p[1], p[2], p[3], p[4], port) end
    objects[#objects + 1] = slice("media", "encoder", "http", { "198.18.3.4" }, port)
    local ill_pod = slice("media", "encoder", "http", { "198.18.3.5" }, ill)
    ill_pod.metadata.name = "encoder-2"
    objects[#objects + 1] = ill_pod
    for _, name in ipairs({ "vault", "grpc" }) do objects[#objects + 1] = slice("payments", name, "https", { "198.18.4.2" }, tls) end
    local shop = scope:certificate({ names = { "shop.example.com", "api.shop.example.com" } })
    local payments = scope:certificate({ names = { "callbacks.pay.example", "desk.pay.example" } })
    objects[#objects + 1] = e2e.tls_secret("shop-tls", shop.cert, shop.key, "shop")
    objects[#objects + 1] = e2e.tls_secret("payments-tls", payments.cert, payments.key, "payments")
    for name, ca in pairs({ ["pods-ca"] = authority, ["other-ca"] = other }) do
      objects[#objects + 1] = { apiVersion = "v1", kind = "Secret", type = "Opaque",
        metadata = { name = name, namespace = "payments" }, stringData = { ["ca.crt"] = ca.cert } }
    end
    source:write("pods.yaml", unpack(objects))
    haptic = scope:haptic({ source = source.path, series = "3.4", https = true, config = e2e.config({
      watchedResources = KINDS, templatingSettings = { extraContext = {
        -- The port of redirects that the other controller has where nobody says one.
        ingress_classes = { { controller = "haproxy.org/ingress-controller/haproxy", status = "never",
          defaults = { ["haproxy.org/ssl-redirect-port"] = "8443" } } },
        configmap = "haproxy-controller/haproxy-kubernetes-ingress", ssl_passthrough = true, trusted_proxies = { "127.0.0.9" },
        access_log = true, log_target = "127.0.0.1:" .. logs } } }) }):wait_ready()
  end)
  teardown(function() scope:close() end)

  --- {status, headers, body} of one request. options: from, method, headers, user, seconds.
  local function ask(url, options)
    options = options or {}
    local at = url:find("^https") and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sk", "-i", "-m", options.seconds or "5", "--path-as-is", "--http1.1", "--connect-to",
      "::127.0.0.1:" .. at }
    local function add(...)
      for _, word in ipairs({ ... }) do argv[#argv + 1] = word end
    end
    if options.from then add("--interface", options.from) end
    if options.method then add("-X", options.method) end
    if options.user then add("-u", options.user) end
    for _, header in ipairs(options.headers or {}) do add("-H", header) end
    add(url)
    local text = posix.run(argv)
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    local headers = {}
    for key, value in (head or ""):gmatch("\n([^:\r\n]+): ([^\r\n]*)") do headers[key:lower()] = value end
    return { status = tonumber(text:match("^HTTP/%S+ (%d+)")) or 0, headers = headers, body = body or text,
      pod = (body or ""):match("^(198%.%S+) "), line = (body or ""):match("^%S+ (%S+ %S+) HTTP"),
      field = function(name) return ("\n" .. (body or "")):lower():match("\n" .. name:gsub("%-", "%%-") .. ": ([^\r\n]*)") end }
  end

  --- Of N requests: the pods that answered, sorted.
  local function pods(url, count, options)
    local seen, list = {}, {}
    for i = 1, count do
      local pod = ask(type(url) == "function" and url(i) or url, options).pod or "none"
      if not seen[pod] then seen[pod], list[#list + 1] = true, pod end
    end
    table.sort(list)
    return list
  end

  local function statuses(url, count, options)
    local list = {}
    for i = 1, count do list[i] = ask(url, options).status end
    return list
  end

  it("are all served, and nothing of them is an error", function()
    local count = 0
    for _, file in ipairs({ "shop", "accounts", "media", "payments", "tools" }) do
      for _ in posix.read_file(FOLDER .. "/" .. file .. ".yaml"):gmatch("\nkind: Ingress\n") do count = count + 1 end
    end
    assert.equal(40, count)
    assert.equal(0, haptic:count_log("level=ERROR"))
    assert.equal(0, haptic:state().quarantined and #haptic:state().quarantined or 0, cjson.encode(haptic:state()))
  end)

  it("lead to HTTPS where a host has a certificate, or where they say so", function()
    for url, wanted in pairs({
      ["http://shop.example.com/a?b=c"] = { 302, "https://shop.example.com:8443/a?b=c" },
      ["http://shop.example.com/checkout/1"] = { 301, "https://shop.example.com:8443/checkout/1" },
      ["http://desk.pay.example/x"] = { 302, "https://desk.pay.example:8443/x" },
      ["http://www.old-shop.example/a?b=c"] = { 301, "https://shop.example.com/a?b=c" },
      ["http://sale.example.com/a"] = { 302, "http://shop.example.com:8080/a" },
      ["https://sale.example.com/a"] = { 302, "https://shop.example.com:8080/a" },
      ["http://terminal.pay.example/"] = { 302, "https://terminal.pay.example:8443/" },
    }) do
      local answer = ask(url)
      assert.same(wanted, { answer.status, answer.headers.location }, url)
    end
    assert.equal("198.18.1.1", ask("https://shop.example.com/").pod)
    assert.equal("198.18.1.1", ask("https://shop.example.com/checkout").pod)
    assert.equal("198.18.4.1", ask("http://callbacks.pay.example/").pod)
    assert.equal("198.18.4.1", ask("https://callbacks.pay.example/").pod)
    assert.equal("198.18.4.1", ask("https://desk.pay.example/").pod)
  end)

  it("rewrite paths, hosts and headers", function()
    for url, wanted in pairs({
      ["https://api.shop.example.com/catalog/a/b?c=d"] = "GET /a/b?c=d", ["http://my.example.com/profile/me"] = "GET /me",
      ["http://my.example.com/profile"] = "GET /", ["http://media.example.com/thumbs/200/cat.jpg"] = "GET /resize/cat.jpg/200",
      ["http://media.example.com/thumbs/big/cat.jpg"] = "GET /thumbs/big/cat.jpg", ["http://media.example.com/v1/x?y"] = "GET /gone?y",
      ["http://media.example.com/v2/films/new"] = "GET /films/new", ["http://media.example.com/v2/films/old/1"] = "GET /archive/1",
    }) do
      assert.equal(wanted, ask(url).line, url)
    end
    local profile = ask("http://my.example.com/profile/me", { headers = { "X-Tenant: forged" } })
    assert.same({ "accounts.internal", "/profile", "accounts team" },
      { profile.field("host"), profile.field("x-forwarded-prefix"), profile.field("x-tenant") })
    local static = ask("https://shop.example.com/static/a.css")
    assert.same({ "public, max-age=31536000", "DENY" }, { static.headers["cache-control"], static.headers["x-frame-options"] })
    for _, host in ipairs({ "docs", "handbook" }) do
      local answer = ask("http://" .. host .. ".example.com/")
      assert.same({ "docs.internal", "noindex" }, { answer.field("host"), answer.headers["x-robots-tag"] })
    end
    assert.is_nil(ask("http://media.example.com/stream").field("x-forwarded-for"))
    assert.equal("127.0.0.1", ask("http://chat.example.com/").field("x-forwarded-for"))
  end)

  it("let in and keep out", function()
    local user = { user = "ada:secret" }
    for _, case in ipairs({
      { "http://admin.example.com/", 403 }, { "http://admin.example.com/", 200, { from = "127.0.0.5" } },
      { "https://admin.example.com/", 403 }, { "http://partners.example.com/", 200 },
      { "http://partners.example.com/", 403, { from = "127.0.0.7" } }, { "http://partners.example.com/", 403, { from = "127.0.0.8" } },
      { "http://console.example.com/", 401 }, { "http://console.example.com/", 401, { user = "ada:wrong" } },
      { "http://console.example.com/", 200, user }, { "https://console.example.com/", 401 },
      { "http://console.example.com/metrics", 401 }, { "http://console.example.com/metrics", 200, user },
      { "http://console.example.com/metrics", 403, { user = "ada:secret", from = "127.0.0.7" } },
      { "http://public.example.com/d", 200 }, { "http://public.example.com/d", 403, { from = "127.0.0.8" } },
      { "http://office.example.com/", 403 }, { "http://office.example.com/", 403, { headers = { "X-Real-IP: 192.0.2.1" } } },
      { "http://office.example.com/", 200, { from = "127.0.0.9", headers = { "X-Real-IP: 192.0.2.1" } } },
      { "http://office.example.com/", 403, { from = "127.0.0.9", headers = { "X-Real-IP: 198.51.100.1" } } },
    }) do
      assert.equal(case[2], ask(case[1], case[3]).status, case[1] .. " " .. cjson.encode(case[3] or {}))
    end
    assert.equal('Basic realm="Operators only"', ask("http://console.example.com/").headers["www-authenticate"])
    assert.equal('Basic realm="Protected Content"', ask("http://console.example.com/metrics").headers["www-authenticate"])
    assert.same({ 200, 200, 429, 429 }, statuses("http://login.example.com/", 4))
    assert.same({ 200, 200, 200, 200 }, statuses("http://login.example.com/", 4, { from = "127.0.0.6" }))
    assert.same({ 200, 200, 200, 403 }, statuses("https://api.shop.example.com/search?q=1", 4))
    assert.equal(200, ask("https://api.shop.example.com/catalog/1").status)
  end)

  it("answer pages of other hosts", function()
    local function cors(url, origin, method)
      local answer = ask(url, { method = method, headers = { "Origin: " .. origin } })
      local h = answer.headers
      return { answer.status, h["access-control-allow-origin"], h["access-control-allow-methods"], h["access-control-allow-headers"],
        h["access-control-allow-credentials"], h["access-control-max-age"] }
    end
    assert.same({ 200, "https://shop.example.com", "GET, HEAD", "*", "true", "600" },
      cors("https://api.shop.example.com/catalog/1", "https://shop.example.com"))
    assert.same({ 200 }, cors("https://api.shop.example.com/catalog/1", "https://evil.example"))
    assert.same({ 204, "https://a.example.com", "*", "Authorization, Content-Type", nil, "5" },
      cors("http://my.example.com/tokens", "https://a.example.com", "OPTIONS"))
    assert.same({ 200 }, cors("http://my.example.com/tokens", "https://a.example.com.evil.test", "OPTIONS"))
    assert.same({ 200, "*", "*", "*", nil, "5" }, cors("http://my.example.com/avatars/1", "https://anyone.test"))
  end)

  it("choose pods", function()
    local function static(i) return "https://shop.example.com/static/" .. i end
    assert.same({ "198.18.1.2", "198.18.1.3" }, pods(static, 12))
    assert.equal(1, #pods(static(1), 4))
    -- A cookie keeps a client at its pod.
    for url, name in pairs({ ["https://shop.example.com/cart"] = "cart-pod", ["http://jobs.example.com/"] = "node" }) do
      local first = ask(url)
      local cookie = first.headers["set-cookie"]:match("^(" .. name:gsub("%-", "%%-") .. "=[^;]+)")
      assert.is_string(cookie, url)
      assert.same({ first.pod }, pods(url, 6, { headers = { "Cookie: " .. cookie } }))
      assert.equal(2, #pods(url, 8))
    end
    assert.equal(2, #pods("http://a.player.example.com/", 8))
    assert.equal("198.18.5.3", ask("http://a.b.player.example.com/").pod) -- a wildcard is one label: the default backend
    -- By the client's address; the other Ingress of the Service goes round.
    assert.equal(1, #pods("http://dashboards.example.com/", 6))
    assert.equal(2, #pods("http://public.example.com/d", 8))
    scope:wait_for("the pod that is ill to be left alone", 15, function()
      local seen = pods("http://encoder.example.com/", 6)
      return #seen == 1 and seen[1] == "198.18.3.4", table.concat(seen, " ")
    end)
  end)

  it("speak TLS to pods, or pass it through", function()
    assert.matches("^sni=%- alpn=", ask("http://gateway.pay.example/").body)
    assert.matches("^sni=%- alpn=", ask("http://ledger.pay.example/").body)
    assert.equal(503, ask("http://stranger.pay.example/").status)
    assert.matches("alpn=h2 ", ask("http://grpc.pay.example/").body)
    assert.matches("^sni=terminal.pay.example ", ask("https://terminal.pay.example/").body)
  end)

  it("end what takes too long, and let through what goes on", function()
    assert.equal(504, ask("http://media.example.com/slow/convert").status)
    assert.equal(101, ask("http://chat.example.com/ws", { seconds = "1", headers = { "Connection: Upgrade", "Upgrade: websocket",
      "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" } }).status)
  end)

  it("have paths of all types and defaults", function()
    for url, pod in pairs({
      ["http://wiki.example.com/edit/x"] = "198.18.5.3",
      ["http://wiki.example.com/files/a"] = "198.18.5.5", ["http://wiki.example.com/filesystem"] = "198.18.5.3",
      ["http://nobody.example.com/"] = "198.18.5.3", ["http://registry.example.com/v2/a"] = "198.18.5.5",
    }) do
      assert.equal(pod, ask(url).pod, url)
    end
  end)

  it("have Services with a condition", function()
    assert.equal("198.18.5.4", ask("http://wiki.example.com/edit", { headers = { "Cookie: editor=1" } }).pod)
    assert.equal(404, ask("http://wiki.example.com/edit").status)
  end)

  it("show captures in the log", function()
    ask("http://registry.example.com/v2/list", { headers = { "User-Agent: migrant/1" } })
    scope:wait_for("the captures in the log", 10, function()
      return log:log():find("{migrant/1|/v2/list}", 1, true) ~= nil or log:log():find("{/v2/list|migrant/1}", 1, true) ~= nil,
        log:log():sub(-400)
    end)
  end)

  it("tell their owners what is not carried over", function()
    for object, words in pairs({
      ["tools/builds"] = { "backend%-config%-snippet", "scale%-server%-slots" },
      ["tools/typo"] = { "cors%-enable must be true or false, not .*ture", "timeout%-server must be a duration" },
    }) do
      for _, word in ipairs(words) do haptic:wait_log("object=" .. object .. " .*" .. word) end
    end
    assert.equal(200, ask("http://builds.example.com/").status)
    local answer = ask("http://typo.example.com/", { headers = { "Origin: https://a.test" } })
    assert.same({ 200 }, { answer.status, answer.headers["access-control-allow-origin"] })
  end)

  it("are judged without a cluster by what the manual says, and so is their ConfigMap", function()
    local page, folder, file = posix.read_file("docs/migration.md"), scope:path("judged"), scope:path("judged.yaml")
    local config = page:match("```yaml\n(watchedResources:.-)```")
    local map = { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = config:match("configmap: ([^/]+)/"),
      name = config:match("configmap: [^/]+/(%S+)") }, data = { ["allow-list"] = "patterns/office", ["timeout-client"] = "soon",
        ["server-ca"] = "nowhere/ca", ["scale-server-slots"] = "42" } }
    posix.run({ "mkdir", folder })
    posix.run({ "cp", source.path .. "/shop.yaml", folder })
    posix.write_file(folder .. "/map.json", cjson.encode(map))
    posix.write_file(file, config)
    local text, code = posix.run({ e2e.program(), "validate", "-c", file, "--haproxy-binary",
      e2e.haproxy_binary("3.4"), folder })
    assert.equal(0, code, text)
    for _, words in ipairs({ "timeout-client must be a duration", "scale-server-slots has no effect: servers are added and removed without slots",
      "InvalidReference: allow-list: there are no lists", "InvalidServerCa: server-ca: there is no Secret nowhere/ca" }) do
      assert.matches(words, text, 1, true)
    end
  end)
end)
