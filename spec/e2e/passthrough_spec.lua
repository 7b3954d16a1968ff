--- TLS that goes on to servers as it is, by the name that clients ask for, beside hosts whose TLS ends in HAProxy.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }
local PASS = { ["haproxy.org/ssl-passthrough"] = "true" }

describe("TLS passed through", function()
  local scope, source, haptic, server, server_port

  before_each(function()
    e2e.backends()
    scope = e2e.scope("passthrough")
    source = scope:manifests()
    server = scope:certificate({ names = { "server.example" } })
    server_port = e2e.port()
    scope:tls_server({ port = server_port, certificate = server })
  end)
  after_each(function() scope:close() end)

  local function put(name, options)
    local namespace = options.namespace or "default"
    local ing = kube.ingress({ name = name, host = options.host or name .. ".example", service = name,
      annotations = options.annotations, namespace = namespace })
    if options.secret then
      ing.spec.tls = { { hosts = { options.host or name .. ".example" }, secretName = options.secret } }
    end
    local service = kube.service(name, namespace)
    service.metadata.annotations = options.service_annotations
    source:write(namespace .. "-" .. name .. ".yaml", ing, service,
      kube.slice(name, { options.address or "198.18.0.1" }, options.port or server_port, namespace))
  end

  local function put_secret(name, certificate, namespace)
    source:write((namespace or "default") .. "-secret-" .. name .. ".yaml",
      e2e.tls_secret(name, certificate.cert, certificate.key, namespace))
  end

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = SECRETS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  local function plain(host)
    return http.request({ port = haptic.http_port, host = host, path = "/x", timeout = 3 })
  end

  local function https(host, args) return e2e.https({ port = haptic.https_port, host = host, args = args }) end

  local function reloads() return haptic:state().haproxy.reloads end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("stands beside hosts whose TLS ends here, and comes and goes, on " .. series, function()
      local shop = scope:certificate({ names = { "shop.example", "in.shop.example" } })
      put_secret("shop", shop)
      local echo_port, ready = e2e.port(), scope:path("echo.sock")
      scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(echo_port), ready } })
      scope:wait_for("the server that tells headers", 30, function() return select(2, posix.run({ "test", "-S", ready })) == 0 end)
      put("shop", { secret = "shop", address = "198.18.0.2", port = echo_port })
      put("in", { host = "in.shop.example", secret = "shop", address = "198.18.0.3", port = 8001 })
      put("pass", { annotations = PASS })
      put("wild", { host = "*.shop.example", annotations = PASS })
      put("by-service", { service_annotations = PASS })
      put("guarded", { annotations = { ["haproxy.org/ssl-passthrough"] = "true", ["haproxy.org/allow-list"] = "192.0.2.1" } })
      put("odd", { annotations = { ["haproxy.org/ssl-passthrough"] = "perhaps" }, address = "198.18.0.4", port = 8001 })
      start(series, { ssl_passthrough = true })
      local port = haptic.https_port
      -- Who has the key of the server's certificate ends the TLS.
      for _, host in ipairs({ "pass.example", "a.shop.example", "by-service.example", "PASS.example" }) do
        assert.equal(server.fingerprint, e2e.peer(port, host), host)
      end
      for _, host in ipairs({ "shop.example", "in.shop.example" }) do assert.equal(shop.fingerprint, e2e.peer(port, host), host) end
      local default = e2e.peer(port, "nobody.example")
      assert.truthy(default ~= server.fingerprint and default ~= shop.fingerprint)
      assert.equal(default, e2e.peer(port, ""))
      for _, version in ipairs({ "1.1", "2" }) do
        local answer = assert(e2e.https({ port = port, host = "pass.example", http = version }))
        assert.equal("sni=pass.example alpn=" .. (version == "2" and "h2" or "http/1.1") .. " client=-\n", answer.body)
        answer = assert(e2e.https({ port = port, host = "shop.example", http = version, args = { "--interface", "127.0.0.7" } }))
        assert.matches("^198.18.0.2 GET / ", answer.body)
        -- The client's own address, although a frontend stands in front.
        assert.matches("x-forwarded-for: 127.0.0.7\r\n", answer.body:lower(), 1, true)
        assert.matches("x-forwarded-proto: https\r\n", answer.body:lower(), 1, true)
      end
      -- Over HTTP there is only the way to HTTPS.
      local answer = plain("pass.example")
      assert.same({ 302, "https://pass.example/x" }, { answer.status, answer.headers.location })
      assert.equal(302, plain("by-service.example").status)
      assert.equal(200, https("by-service.example").status)
      answer = plain("shop.example")
      assert.same({ 302, "https://shop.example/x" }, { answer.status, answer.headers.location })
      -- What protects by HTTP does not go together with it.
      assert.same({ 503, 503 }, { plain("guarded.example").status, https("guarded.example").status })
      assert.equal(default, e2e.peer(port, "guarded.example"))
      assert.same({ 200, 200 }, { plain("odd.example").status, https("odd.example").status })
      haptic:wait_log("default/guarded.*protects and cannot be honoured together")
      haptic:wait_log("default/odd.*must be true or false")
      -- What is no TLS at all ends there.
      assert.is_nil((http.request({ port = port, host = "pass.example", path = "/", timeout = 3 }) or {}).status)
      -- From here to there and back are entries, and on 3.4 so is a new Service.
      local before = reloads()
      put("shop", { secret = "shop", annotations = { ["haproxy.org/ssl-passthrough"] = "false" }, address = "198.18.0.2", port = echo_port })
      os.remove(source.path .. "/default-wild.yaml")
      scope:wait_for("a.shop.example to end here", 15, function() return e2e.peer(port, "a.shop.example") ~= server.fingerprint end)
      if series == "3.4" then
        put("new", { annotations = PASS })
        scope:wait_peer(port, "new.example", server)
        put("odd", { annotations = PASS })
        scope:wait_peer(port, "odd.example", server)
        put("pass", { secret = "shop", address = "198.18.0.5", port = 8001 })
        scope:wait_for("pass.example to end here", 15, function() return e2e.peer(port, "pass.example") == default end)
        assert.matches("198.18.0.5:8001", https("pass.example").body, 1, true)
      else
        -- A further name of a backend that is there.
        local ing = kube.ingress({ name = "more", host = "more.example", service = "pass", annotations = PASS })
        source:write("more.yaml", ing)
        scope:wait_peer(port, "more.example", server)
      end
      assert.equal(before, reloads(), haptic:log())
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)
  end

  it("takes no host from an older Ingress with TLS", function()
    local mine = scope:certificate({ names = { "a.example" } })
    put_secret("mine", mine, "one")
    put("a", { namespace = "one", secret = "mine", port = 8001 })
    put("a", { namespace = "two", annotations = PASS })
    start("3.2", { ssl_passthrough = true })
    assert.equal(mine.fingerprint, e2e.peer(haptic.https_port, "a.example"))
    haptic:wait_log("object=two/a.*TLS of host")
    os.remove(source.path .. "/one-a.yaml")
    scope:wait_peer(haptic.https_port, "a.example", server)
  end)

  it("is refused where it is not switched on: nobody's TLS is opened against the owner's word", function()
    put("pass", { annotations = PASS })
    start("3.2")
    assert.same({ 503, 503 }, { plain("pass.example").status, https("pass.example").status })
    haptic:wait_log("default/pass.*it needs the setting ssl_passthrough")
  end)
end)
