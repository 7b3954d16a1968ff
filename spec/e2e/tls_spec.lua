--- HTTPS: which certificate who gets, what a bad Secret does to others, redirects, and what changes without a reload.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local CONFIG = {
  watchedResources = {
    secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
  },
}

--- Paths that a server may take for another one: none of them is a challenge.
local NO_CHALLENGES = { "/.well-known/acme-challenge/../../x", "/.well-known/acme-challenge/%2e%2e/x",
  "/.well-known/acme-challenge/..;/x", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/..",
  "/.well-known/acme-challenge/token/x", "//.well-known/acme-challenge/token" }

describe("TLS", function()
  local scope, source, haptic

  before_each(function()
    e2e.backends()
    scope = e2e.scope("tls")
    source = scope:manifests()
  end)
  after_each(function() scope:close() end)

  local function put_secret(name, certificate, namespace)
    source:write((namespace or "default") .. "-secret-" .. name .. ".yaml",
      e2e.tls_secret(name, certificate.cert, certificate.key, namespace))
  end

  --- An Ingress for hosts of one Secret, with a Service that `address` stands behind.
  local function put_ingress(name, hosts, secret, address, annotations, namespace)
    local ing = kube.ingress({ name = name, host = hosts[1], service = name, annotations = annotations,
      namespace = namespace })
    for i = 2, #hosts do
      ing.spec.rules[i] = { host = hosts[i], http = ing.spec.rules[1].http }
    end
    ing.spec.tls = secret and { { hosts = hosts, secretName = secret } } or nil
    source:write((namespace or "default") .. "-ingress-" .. name .. ".yaml", ing, kube.service(name, namespace),
      kube.slice(name, { address }, 8001, namespace))
  end

  local function start(series, context, options)
    options = options or {}
    options.source, options.series, options.https = source.path, series, true
    options.config = options.config or e2e.config({
      watchedResources = CONFIG.watchedResources, templatingSettings = { extraContext = context },
    })
    haptic = scope:haptic(options):wait_ready()
  end

  local function plain(host, path)
    return http.request({ port = haptic.http_port, host = host, path = path or "/", timeout = 3 })
  end

  --- Waits until the owner of an Ingress is told that.
  local function wait_told(ingress, message)
    scope:wait_for(ingress .. " to be told: " .. message, 15, function()
      local text = haptic:get("/debug/state").body
      for told in text:gmatch("%b{}") do
        if told:find('"[^"]*' .. ingress:gsub("-", "%%-") .. '"') and told:find(message, 1, true) then return true end
      end
      return false, text
    end)
  end

  local function reloads() return haptic:state().haproxy.reloads end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("is ended for exact names and wildcards, and unknown names get nobody's certificate, on " .. series, function()
      local shop = scope:certificate({ names = { "shop.example", "*.shop.example" } })
      local other = scope:certificate({ names = { "other.example" }, key = "rsa" })
      put_secret("shop", shop)
      put_secret("other", other)
      put_ingress("shop", { "shop.example" }, "shop", "198.18.0.1")
      put_ingress("wild", { "*.shop.example" }, "shop", "198.18.0.2", { ["haproxy.org/ssl-redirect"] = "false" })
      put_ingress("other", { "other.example" }, "other", "198.18.0.3", {
        ["haproxy.org/ssl-redirect-code"] = "308", ["haproxy.org/ssl-redirect-port"] = "8443",
      })
      put_ingress("plain", { "plain.example" }, nil, "198.18.0.4")
      -- Somebody else's path on a host with TLS.
      local guest = kube.ingress({ name = "guest", host = "shop.example", service = "guest", namespace = "guest" })
      guest.spec.rules[1].http.paths[1].path = "/guest"
      source:write("guest.yaml", guest, kube.service("guest", "guest"), kube.slice("guest", { "198.18.0.5" }, 8001, "guest"))
      start(series, { hsts = true, hsts_max_age = 600 })
      local port = haptic.https_port
      assert.equal(shop.fingerprint, e2e.peer(port, "shop.example"))
      assert.equal(shop.fingerprint, e2e.peer(port, "a.shop.example"))
      assert.equal(other.fingerprint, e2e.peer(port, "other.example"))
      local default = assert(e2e.peer(port, "nobody.example"))
      assert.truthy(default ~= shop.fingerprint and default ~= other.fingerprint)
      for _, name in ipairs({ "", "plain.example", "a.b.shop.example", "example" }) do
        assert.equal(default, e2e.peer(port, name), name)
      end
      -- The same routes on both ports.
      for host, address in pairs({ ["shop.example"] = "198.18.0.1", ["a.shop.example"] = "198.18.0.2",
        ["other.example"] = "198.18.0.3", ["plain.example"] = "198.18.0.4" }) do
        for _, version in ipairs({ "1.1", "2" }) do
          local answer = assert(e2e.https({ port = port, host = host, http = version }))
          assert.equal(200, answer.status)
          assert.equal(version, answer.version)
          assert.matches(address .. ":8001", answer.body, 1, true)
          assert.equal("max-age=600", answer.headers["strict-transport-security"])
        end
      end
      local answer = plain("plain.example")
      assert.equal(200, answer.status)
      assert.is_nil(answer.headers["strict-transport-security"])
      assert.equal(200, plain("a.shop.example").status)
      -- From HTTP to HTTPS, but never an ACME challenge.
      answer = plain("shop.example", "/a?b=c")
      assert.equal(302, answer.status)
      assert.equal("https://shop.example/a?b=c", answer.headers.location)
      answer = plain("other.example", "/x")
      assert.equal(308, answer.status)
      assert.equal("https://other.example:8443/x", answer.headers.location)
      assert.equal(200, plain("shop.example", "/.well-known/acme-challenge/token").status)
      for _, path in ipairs(NO_CHALLENGES) do assert.equal(302, plain("shop.example", path).status, path) end
      answer = plain("shop.example", "/guest/x")
      assert.equal(200, answer.status)
      assert.matches("198.18.0.5:8001", answer.body, 1, true)
      -- A request for another host than TLS was begun for.
      assert.equal(421, e2e.https({ port = port, sni = "shop.example", host = "other.example" }).status)
      assert.equal(200, e2e.https({ port = port, sni = "shop.example", host = "SHOP.example:443" }).status)
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)
  end

  it("shares a Secret of several Ingresses: each keeps its hosts, whoever else goes", function()
    local shared = scope:certificate({ names = { "a.example", "b.example", "c.example" } })
    put_secret("shared", shared)
    put_ingress("a", { "a.example" }, "shared", "198.18.0.1")
    put_ingress("b", { "b.example", "c.example" }, "shared", "198.18.0.2")
    start("3.2")
    local port = haptic.https_port
    for _, name in ipairs({ "a.example", "b.example", "c.example" }) do
      assert.equal(shared.fingerprint, e2e.peer(port, name))
    end
    assert.equal("certs/default.pem !*\ncerts/default_shared.pem a.example b.example c.example\n",
      posix.read_file(haptic.directory .. "/certs/https.list"))
    os.remove(source.path .. "/default-ingress-a.yaml")
    scope:wait_for("a.example to lose its certificate", 15, function()
      return e2e.peer(port, "a.example") ~= shared.fingerprint
    end)
    assert.equal(shared.fingerprint, e2e.peer(port, "b.example"))
    assert.equal(shared.fingerprint, e2e.peer(port, "c.example"))
  end)

  it("gives a host that two namespaces name to the older Ingress, and tells the younger one", function()
    local mine = scope:certificate({ names = { "a.example" } })
    local theirs = scope:certificate({ names = { "a.example" } })
    put_secret("mine", mine, "one")
    put_secret("theirs", theirs, "two")
    put_ingress("a", { "a.example" }, "mine", "198.18.0.1", nil, "one")
    put_ingress("a", { "a.example" }, "theirs", "198.18.0.2", nil, "two")
    start("3.2")
    assert.equal(mine.fingerprint, e2e.peer(haptic.https_port, "a.example"))
    haptic:wait_log("object=two/a.*TLS host a.example")
    os.remove(source.path .. "/one-ingress-a.yaml")
    scope:wait_peer(haptic.https_port, "a.example", theirs)
  end)

  --- The certificate that a client gets that knows only RSA.
  local function rsa_peer(name)
    local text = posix.run({ "sh", "-c", "echo | openssl s_client -connect 127.0.0.1:" .. haptic.https_port .. " -servername " .. name
      .. " -tls1_2 -sigalgs RSA-PSS+SHA256:RSA+SHA256 -cipher ECDHE-RSA-AES128-GCM-SHA256 2>/dev/null"
      .. " | openssl x509 -noout -fingerprint -sha1" })
    return (text:match("=(%S+)") or ""):gsub(":", ""), text
  end

  it("offers RSA to who knows nothing else, where an Ingress has both", function()
    local ec = scope:certificate({ names = { "a.example" } })
    local rsa = scope:certificate({ names = { "a.example" }, key = "rsa" })
    put_secret("ec", ec)
    put_secret("rsa", rsa)
    put_ingress("a", { "a.example" }, "ec", "198.18.0.1")
    local ing = kube.ingress({ name = "a", host = "a.example", service = "a" })
    ing.spec.tls = { { hosts = { "a.example" }, secretName = "ec" }, { hosts = { "a.example" }, secretName = "rsa" } }
    source:write("default-ingress-a.yaml", ing, kube.service("a"), kube.slice("a", { "198.18.0.1" }))
    start("3.2")
    assert.equal(ec.fingerprint, e2e.peer(haptic.https_port, "a.example"))
    assert.equal(rsa.fingerprint, (rsa_peer("a.example")))
  end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("is ended by the certificates of each type of key that one Secret has, on " .. series, function()
      local function put_pairs(ec, rsa)
        source:write("pairs.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "pairs" },
          type = "Opaque", stringData = { ["ecdsa.crt"] = ec and ec.cert, ["ecdsa.key"] = ec and ec.key, ["rsa.crt"] = rsa.cert,
            ["rsa.key"] = rsa.key } })
      end
      local ec, rsa, next_rsa = scope:certificate({ names = { "a.example" } }), scope:certificate({ names = { "a.example" }, key = "rsa" }),
        scope:certificate({ names = { "a.example" }, key = "rsa" })
      put_pairs(ec, rsa)
      put_ingress("a", { "a.example" }, "pairs", "198.18.0.1")
      -- Whoever asks for no name gets them, too.
      start(series, { default_certificate = "default/pairs" })
      assert.equal(ec.fingerprint, e2e.peer(haptic.https_port, "a.example"))
      assert.equal(rsa.fingerprint, (rsa_peer("a.example")))
      assert.is_truthy(e2e.peer(haptic.https_port, "unknown.example") == ec.fingerprint
        or e2e.peer(haptic.https_port, "unknown.example") == rsa.fingerprint)
      local before = reloads()
      put_pairs(ec, next_rsa)
      scope:wait_for("the renewed one", 15, function() return rsa_peer("a.example") == next_rsa.fingerprint, (rsa_peer("a.example")) end)
      assert.equal(ec.fingerprint, e2e.peer(haptic.https_port, "a.example"))
      assert.equal(before, reloads())
      -- A bad one, and the Secret's end: both stay in use.
      put_pairs({ cert = ec.cert, key = rsa.key }, next_rsa)
      wait_told("a", "the key does not belong to the certificate")
      assert.equal(ec.fingerprint, e2e.peer(haptic.https_port, "a.example"))
      os.remove(source.path .. "/pairs.yaml")
      wait_told("a", "there is no Secret default/pairs")
      assert.equal(ec.fingerprint, e2e.peer(haptic.https_port, "a.example"))
      assert.equal(next_rsa.fingerprint, (rsa_peer("a.example")))
      assert.equal(before, reloads())
    end)
  end

  it("of a bad Secret leaves all others as they are; what was good stays", function()
    local good = scope:certificate({ names = { "good.example" } })
    local other = scope:certificate({ names = { "good.example" } })
    local expired = scope:certificate({ names = { "good.example" }, days = -2 })
    local early = scope:certificate({ names = { "good.example" }, from = 5 })
    local weak = scope:certificate({ names = { "good.example" }, key = "weak" })
    local encrypted = scope:certificate({ names = { "good.example" }, password = "a-password-1" })
    local cases = {
      { "mismatch", good.cert, other.key, "the key does not belong to the certificate" },
      { "garbage", "no certificate at all", good.key, "has no certificate that can be read" },
      { "cut", good.cert:sub(1, -200), good.key, "has no certificate that can be read" },
      { "badkey", good.cert, "no key at all", "has no private key that can be read" },
      { "encrypted", encrypted.cert, encrypted.key, "the key is encrypted" },
      { "expired", expired.cert, expired.key, "the certificate has expired" },
      { "early", early.cert, early.key, "the certificate is not valid yet" },
      { "weak", weak.cert, weak.key, "the key is too weak" },
      { "nocert", nil, good.key, "it has no tls.crt" },
      { "nokey", good.cert, nil, "it has no tls.key" },
    }
    put_secret("steady", good)
    put_ingress("steady", { "good.example" }, "steady", "198.18.0.1")
    for _, case in ipairs(cases) do
      local name = case[1]
      -- One that was never good, and one that goes bad.
      source:write("default-secret-" .. name .. ".yaml", e2e.tls_secret(name, case[2], case[3]))
      put_ingress(name, { "good.example" }, name, "198.18.0.2")
      local was_good = scope:certificate({ names = { name .. ".example" } })
      case.was_good = was_good
      put_secret("once-" .. name, was_good)
      put_ingress("once-" .. name, { name .. ".example" }, "once-" .. name, "198.18.0.3")
    end
    put_ingress("missing", { "missing.example" }, "there-is-none", "198.18.0.4")
    start("3.2")
    local port = haptic.https_port
    local default = e2e.peer(port, "missing.example")
    wait_told("default/missing", "there is no Secret default/there-is-none")
    assert.equal(good.fingerprint, e2e.peer(port, "good.example"))
    for _, case in ipairs(cases) do
      local name = case[1]
      wait_told("default/" .. name, case[4])
      assert.equal(case.was_good.fingerprint, e2e.peer(port, name .. ".example"))
      source:write("default-secret-once-" .. name .. ".yaml", e2e.tls_secret("once-" .. name, case[2], case[3]))
    end
    os.remove(source.path .. "/default-secret-steady.yaml")
    wait_told("default/steady", "there is no Secret default/steady")
    for _, case in ipairs(cases) do
      local name = case[1]
      wait_told("default/once-" .. name, case[4])
      assert.equal(case.was_good.fingerprint, e2e.peer(port, name .. ".example"))
    end
    assert.equal(good.fingerprint, e2e.peer(port, "good.example"))
    assert.not_equal(good.fingerprint, default)
    -- Also over a restart of the controller and of HAProxy.
    haptic:stop()
    start("3.2", nil, { name = "second", directory = haptic.directory, http_port = haptic.http_port,
      https_port = haptic.https_port, status_port = haptic.status_port })
    for _, case in ipairs(cases) do
      assert.equal(case.was_good.fingerprint, e2e.peer(haptic.https_port, case[1] .. ".example"))
    end
    assert.equal(default, e2e.peer(haptic.https_port, "missing.example"))
    -- And repaired.
    local repaired = scope:certificate({ names = { "garbage.example" } })
    put_secret("once-garbage", repaired)
    scope:wait_peer(haptic.https_port, "garbage.example", repaired)
    for _, text in ipairs({ haptic:log(), haptic:get("/debug/config").body, haptic:get("/debug/state").body,
      haptic:get("/metrics").body }) do
      assert.falsy(text:find("PRIVATE KEY", 1, true))
    end
    assert.truthy(reloads() >= 0)
  end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("asks clients for certificates, and lets nobody in without what that needs, on " .. series, function()
      local ca = scope:certificate({ names = { "authority" }, key = "authority" })
      local client = scope:certificate({ names = { "client" }, issuer = ca })
      local stranger = scope:certificate({ names = { "stranger" } })
      local server = scope:certificate({ names = { "in.example", "maybe.example", "no-ca.example", "open.example" } })
      put_secret("server", server)
      source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
        stringData = { ["ca.crt"] = ca.cert } })
      local function annotations(more)
        local list = { ["haproxy-haptic.org/client-ca"] = "ca", ["haproxy.org/ssl-redirect"] = "false" }
        for k, v in pairs(more or {}) do list[k] = v end
        return list
      end
      put_ingress("in", { "in.example" }, "server", "198.18.0.1", annotations())
      put_ingress("maybe", { "maybe.example" }, "server", "198.18.0.2",
        annotations({ ["haproxy-haptic.org/client-verify"] = "optional" }))
      put_ingress("no-ca", { "no-ca.example" }, "server", "198.18.0.3",
        annotations({ ["haproxy-haptic.org/client-ca"] = "there-is-none" }))
      put_ingress("no-tls", { "no-tls.example" }, nil, "198.18.0.4", annotations())
      put_ingress("open", { "open.example" }, "server", "198.18.0.5", { ["haproxy.org/ssl-redirect"] = "false" })
      -- A default backend and a rule without a host are routes as well.
      source:write("rest.yaml", { apiVersion = "networking.k8s.io/v1", kind = "Ingress",
        metadata = { namespace = "default", name = "rest", annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } },
        spec = { ingressClassName = "haptic", defaultBackend = { service = { name = "in", port = { number = 80 } } },
          rules = { { http = { paths = { { path = "/rest", pathType = "Prefix",
            backend = { service = { name = "in", port = { number = 80 } } } } } } } } } })
      start(series, { sni_mismatch = "allow" })
      local function status(host, who, sni)
        local args = who and { "--cert", who.directory .. "/cert.pem", "--key", who.directory .. "/key.pem" } or {}
        local answer, reason = e2e.https({ port = haptic.https_port, host = host, sni = sni or host, args = args })
        return answer and answer.status or reason
      end
      local function assert_all()
        assert.same({ 496, 495, 200 }, { status("in.example"), status("in.example", stranger), status("in.example", client) })
        assert.same({ 200, 495, 200 },
          { status("maybe.example"), status("maybe.example", stranger), status("maybe.example", client) })
        assert.same({ 496, 496 }, { status("no-ca.example"), status("no-ca.example", client) })
        assert.same({ 496, 496 }, { status("no-tls.example"), status("no-tls.example", client) })
        assert.same({ 200, 200 }, { status("open.example"), status("open.example", stranger) })
        -- Not by the name of another host, with or without a certificate.
        assert.same({ 421, 421 }, { status("in.example", client, "open.example"), status("maybe.example", nil, "open.example") })
        assert.equal(200, status("open.example", nil, "maybe.example"))
        -- Nor over HTTP.
        for _, host in ipairs({ "in.example", "no-ca.example", "no-tls.example" }) do
          assert.equal(496, plain(host).status)
          assert.equal(200, plain(host, "/.well-known/acme-challenge/x").status)
          for _, path in ipairs(NO_CHALLENGES) do assert.equal(496, plain(host, path).status, path) end
        end
        assert.equal(200, plain("maybe.example").status)
        for _, path in ipairs({ "/", "/rest/x" }) do
          assert.equal(496, plain("anything.example", path).status)
          assert.equal(421, e2e.https({ port = haptic.https_port, sni = "open.example", host = "anything.example", path = path }).status)
          assert.equal(496, e2e.https({ port = haptic.https_port, host = "anything.example", path = path }).status)
        end
      end
      assert_all()
      -- Authorities that go bad stay; those that are there at last count.
      source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
        stringData = { ["ca.crt"] = "garbage" } })
      wait_told("default/in", "has no certificate that can be read")
      assert_all()
      source:write("late.yaml", { apiVersion = "v1", kind = "Secret", stringData = { ["ca.crt"] = ca.cert },
        metadata = { namespace = "default", name = "there-is-none" } })
      scope:wait_for("the late authorities to count", 15, function() return status("no-ca.example", client) == 200 end)
      assert.equal(496, status("no-ca.example"))
    end)
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("goes on to servers, which are verified where their owner says by whom, on " .. series, function()
      local ca = scope:certificate({ names = { "authority" }, key = "authority" })
      local server = scope:certificate({ names = { "backend.example" }, issuer = ca })
      local client = scope:certificate({ names = { "client" }, issuer = ca })
      local other = scope:certificate({ names = { "other" }, key = "authority" })
      local servers = {}
      for _, kind in ipairs({ "open", "mutual" }) do
        servers[kind] = e2e.port()
        scope:tls_server({ port = servers[kind], certificate = server, clients = kind == "mutual" and ca or nil })
      end
      source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
        stringData = { ["ca.crt"] = ca.cert } })
      put_secret("other", other)
      put_secret("client", client)
      -- Name, annotations without their prefix, status, server; what the server tells of the connection.
      local cases = {
        { "blind", { ["server-ssl"] = "true" }, 200, "open", "sni=- alpn=h2" },
        { "h1", { ["server-ssl"] = "on", ["server-proto"] = "h1" }, 200, "open", "sni=- alpn=http/1.1" },
        { "good", { ["server-ssl"] = "true", ["server-ca"] = "default/ca", ["server-sni"] = "backend.example" }, 200, "open",
          "sni=backend.example" },
        { "by-ca", { ["server-ca"] = "ca" }, 200, "open", "sni=-" },
        { "mutual", { ["server-ca"] = "ca", ["server-crt"] = "client" }, 200, "mutual", "client=client" },
        { "late", { ["server-ca"] = "there-is-none" }, 503, "open" },
        { "stranger", { ["server-ca"] = "other" }, 503, "open" },
        { "nobody", { ["server-ca"] = "ca" }, 502, "mutual" },
        { "name", { ["server-ca"] = "ca", ["server-sni"] = "wrong.example" }, 503, "open" },
        { "foreign", { ["server-ca"] = "elsewhere/ca" }, 503, "open" },
        { "foreign-crt", { ["server-crt"] = "elsewhere/client" }, 503, "open" },
        { "hostile", { ["server-ca"] = "ca", ["server-sni"] = "x) verify none" }, 503, "open" },
        { "hostile-ca", { ["server-ca"] = "ca verify none" }, 503, "open" },
      }
      -- The same by the Service's annotations, and by an Ingress', of one Service that has none.
      for _, case in ipairs(cases) do
        local name, annotations = case[1], {}
        for k, v in pairs(case[2]) do annotations["haproxy.org/" .. k] = v end
        local service = kube.service(name)
        service.metadata.annotations = annotations
        source:write(name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name }), service,
          kube.slice(name, { "198.18.0.1" }, servers[case[4]]),
          kube.ingress({ name = "i-" .. name, host = "i-" .. name .. ".example", service = "bare-" .. case[4],
            annotations = annotations }))
      end
      for kind, port in pairs(servers) do
        source:write("bare-" .. kind .. ".yaml", kube.service("bare-" .. kind), kube.slice("bare-" .. kind, { "198.18.0.1" }, port))
      end
      put_ingress("plain", { "plain.example" }, nil, "198.18.0.2")
      -- Each refusal would be tried again for longer than a client waits.
      start(series, { retries = 0 })
      local function assert_all()
        for _, case in ipairs(cases) do
          for _, name in ipairs({ case[1], "i-" .. case[1] }) do
            local answer
            scope:wait_for(name .. " to answer " .. case[3], 15, function()
              answer = plain(name .. ".example")
              -- HTTP/2 learns of a refused client in the handshake or behind it.
              return answer and (answer.status == case[3] or case[3] == 502 and answer.status == 503),
                answer and answer.status
            end)
            if case[5] then assert.matches(case[5], answer.body, 1, true, name) end
            -- Nobody is treated in another way who comes by HTTPS.
            answer = assert(e2e.https({ port = haptic.https_port, host = name .. ".example", http = "1.1" }))
            assert.is_true(answer.status == case[3] or case[3] == 502 and answer.status == 503, name .. ": " .. answer.status)
            if case[5] then assert.matches(case[5], answer.body, 1, true, name) end
          end
        end
        assert.equal(200, plain("plain.example").status)
      end
      assert_all()
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
      for _, id in ipairs({ "default/late", "default/i-late" }) do wait_told(id, "there is no Secret default/there-is-none") end
      for _, id in ipairs({ "default/hostile", "default/i-hostile" }) do wait_told(id, "a DNS name in lower case") end
      for _, id in ipairs({ "default/foreign", "default/i-foreign" }) do wait_told(id, "names no Secret in the namespace") end
      -- Authorities that go bad stay; those that come at last count.
      source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
        stringData = { ["ca.crt"] = "garbage" } })
      wait_told("default/good", "has no authorities that can be read")
      assert_all()
      source:write("late-ca.yaml", { apiVersion = "v1", kind = "Secret", stringData = { ["ca.crt"] = ca.cert },
        metadata = { namespace = "default", name = "there-is-none" } })
      cases[6][3] = 200
      assert_all()
      -- Endpoints of such a backend come and go without a reload; on 3.4 whole backends, too.
      local before = reloads()
      source:write("endpoints.yaml", kube.ingress({ name = "e", host = "e.example", service = "e",
        annotations = { ["haproxy.org/server-ca"] = "there-is-none" } }), kube.service("e"),
        kube.slice("e", { "198.18.0.1" }, servers.open))
      scope:wait_for("e.example to answer", 15, function()
        local answer = plain("e.example")
        return answer and answer.status == 200
      end)
      if series == "3.4" then
        assert.equal(before, reloads())
      else
        scope:wait_for("that reload to be counted", 10, function() return reloads() > before end)
      end
      before = reloads()
      source:write("endpoints.yaml", kube.ingress({ name = "e", host = "e.example", service = "e",
        annotations = { ["haproxy.org/server-ca"] = "there-is-none" } }), kube.service("e"),
        kube.slice("e", { "198.18.0.3", "198.18.0.4" }, servers.open))
      scope:wait_for("the new endpoints to serve", 15, function()
        local stat = haptic.haproxy:ask("show servers state default_e_80_e")
        return stat:find("198.18.0.4", 1, true) and not stat:find("198.18.0.1", 1, true), stat
      end)
      assert.equal(200, plain("e.example").status)
      if series ~= "2.6" then assert.equal(before, reloads()) end
    end)
  end

  it("leaves out a certificate that HAProxy itself refuses, and only that", function()
    local good = scope:certificate({ names = { "good.example" } })
    put_secret("good", good)
    put_ingress("good", { "good.example" }, "good", "198.18.0.1")
    put_ingress("own", { "own.example" }, nil, "198.18.0.2")
    put_ingress("wrong", { "wrong.example" }, nil, "198.18.0.3", { ["example.com/pem"] = "garbage" })
    start("3.2", nil, { config = e2e.config({
      watchedResources = CONFIG.watchedResources,
      templatingSettings = { extraContext = { honoured_annotations = { "example.com/*" } } },
      templateSnippets = { ["own.lua"] = { template = [[
each(resources.ingresses, "own-pem", function(ing, out)
  local name = ing.metadata.name
  if name ~= "own" and name ~= "wrong" then return end
  local secret = resources.secrets:get("default", "good")
  local pem = dig(ing, "metadata", "annotations", "example.com/pem") or secret.data["tls.crt"] .. "\n" .. secret.data["tls.key"]
  out:certificate("own_" .. name .. ".pem", { cert = pem })
  out:crt_list("https.list", "own_" .. name .. ".pem", { sni = name .. ".example" })
end)
]] } },
    }) })
    local port = haptic.https_port
    assert.equal(good.fingerprint, e2e.peer(port, "good.example"))
    assert.equal(good.fingerprint, e2e.peer(port, "own.example"))
    assert.equal(e2e.peer(port, "nobody.example"), e2e.peer(port, "wrong.example"))
    assert.equal(200, plain("wrong.example").status)
    wait_told("default/wrong", "certs/own_wrong.pem")
    assert.equal(1, haptic:state().quarantined and #haptic:state().quarantined or haptic:metric("haptic_quarantined_objects"))
    -- Good once, and refused later: what was good stays.
    put_ingress("own", { "own.example" }, nil, "198.18.0.2", { ["example.com/pem"] = "garbage as well" })
    wait_told("default/own", "certs/own_own.pem")
    assert.equal(good.fingerprint, e2e.peer(port, "own.example"))
    assert.equal(good.fingerprint, e2e.peer(port, "good.example"))
  end)

  --- Secrets and Ingresses for a list of certificates, each in one file.
  local function put_many(certificates, with_ingresses)
    local secrets, ingresses = {}, {}
    for i, c in ipairs(certificates) do
      secrets[i] = e2e.tls_secret("many-" .. i, c.cert, c.key)
      ingresses[i] = kube.ingress({ name = "many-" .. i, host = c.name, service = "many" })
      ingresses[i].spec.tls = { { hosts = { c.name }, secretName = "many-" .. i } }
    end
    if with_ingresses then
      source:write("many-ingresses.yaml", kube.service("many"), kube.slice("many", { "198.18.0.9" }), unpack(ingresses))
    end
    source:write("many-secrets.yaml", unpack(secrets))
  end

  local MANY = { ["3.2"] = e2e.is_full and 500 or 100 }
  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    local count = MANY[series] or 10
    it(("is renewed %d times, begins and ends without a reload and a failed handshake, on %s"):format(count, series),
      function()
        local first, second = scope:certificates(count, "many.example"), scope:certificates(count, "many.example")
        put_many(first, true)
        put_ingress("new", { "new.example" }, nil, "198.18.0.1")
        put_ingress("more", { "more.example" }, nil, "198.18.0.2")
        start(series)
        local port = haptic.https_port
        scope:wait_peers(port, first)
        local before, names = reloads(), {}
        for i, c in ipairs(first) do names[i] = c.name end
        local load = scope:handshakes(port, names)
        put_many(second)
        scope:wait_peers(port, second)
        -- A new one, and one more host for a certificate that is there.
        local new = scope:certificate({ names = { "new.example", "more.example" } })
        put_secret("new", new)
        put_ingress("new", { "new.example" }, "new", "198.18.0.1")
        scope:wait_peer(port, "new.example", new)
        put_ingress("more", { "more.example" }, "new", "198.18.0.2")
        scope:wait_peer(port, "more.example", new)
        assert.equal(new.fingerprint, e2e.peer(port, "new.example"))
        -- One host less, then the certificate goes.
        put_ingress("new", { "new.example" }, nil, "198.18.0.1")
        scope:wait_for("new.example to lose its certificate", 15, function()
          return e2e.peer(port, "new.example") ~= new.fingerprint
        end)
        assert.equal(new.fingerprint, e2e.peer(port, "more.example"))
        put_ingress("more", { "more.example" }, nil, "198.18.0.2")
        scope:wait_for("the certificate to go", 15, function()
          return not haptic.haproxy:ask("show ssl cert"):find("default_new.pem", 1, true)
        end)
        local handshakes, failed, problem = load.finish()
        assert.equal(0, failed, problem)
        assert.is_true(handshakes > 100)
        assert.falsy(haptic.haproxy:ask("show ssl cert"):find("# transaction", 1, true))
        assert.equal(before, reloads())
        assert.is_true(haptic:metric("haptic_runtime_operations_total", { type = "certificate_commit" }) >= count)
        assert.equal(0, haptic:metric("haptic_deployment_surprises_total") or 0)
        -- What is on disk is what runs.
        scope:wait_for("the directory to follow", 20, function()
          return not posix.read_file(haptic.directory .. "/certs/default_new.pem")
            and posix.read_file(haptic.directory .. "/certs/default_many-1.pem"):find(second[1].cert, 1, true)
        end)
        posix.kill(haptic.haproxy:processes().worker, "KILL")
        scope:wait_for("another worker", 20, function()
          return e2e.peer(port, second[1].name) == second[1].fingerprint
        end)
        haptic:wait_ready()
        scope:wait_peers(port, second)
      end)
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("is put right where somebody else changed HAProxy, and no transaction stays open, on " .. series, function()
      local a = scope:certificate({ names = { "a.example", "b.example" } })
      local other = scope:certificate({ names = { "a.example" } })
      put_secret("a", a)
      put_ingress("a", { "a.example", "b.example" }, "a", "198.18.0.1")
      start(series, nil, { config = e2e.config({ watchedResources = CONFIG.watchedResources,
        dataplane = { driftPreventionInterval = "1s" } }) })
      local port, haproxy, before = haptic.https_port, haptic.haproxy, reloads()
      local function ask(command) return assert(haproxy:ask(command)) end
      local function wait_repaired(kind)
        scope:wait_for("a repair: " .. kind, 15, function()
          return (haptic:metric("haptic_drift_repairs_total", { kind = kind }) or 0) > 0
        end)
      end
      -- A certificate, a line less, a line more, a certificate more.
      ask("set ssl cert certs/default_a.pem <<\n" .. other.cert .. other.key .. "\n")
      assert.matches("Success", ask("commit ssl cert certs/default_a.pem"))
      wait_repaired("certificate_set")
      scope:wait_peer(port, "a.example", a)
      assert.matches("deleted in crtlist", ask("del ssl crt-list certs/https.list certs/default_a.pem"))
      wait_repaired("crt_list_add")
      scope:wait_peer(port, "b.example", a)
      ask("add ssl crt-list certs/https.list <<\ncerts/default_a.pem other.example\n\n")
      ask("new ssl cert certs/foreign.pem")
      scope:wait_for("the foreign line and certificate to go", 15, function()
        local text = ask("show ssl crt-list -n certs/https.list") .. ask("show ssl cert")
        return not text:find("other.example", 1, true) and not text:find("foreign", 1, true), text
      end)
      -- A transaction that somebody left open, and a renewal.
      ask("set ssl cert certs/default.pem <<\n" .. other.cert .. other.key .. "\n")
      assert.matches("*certs/default.pem", ask("show ssl cert"), 1, true)
      put_secret("a", other)
      scope:wait_for("the transaction to be aborted", 15, function()
        return not ask("show ssl cert"):find("# transaction", 1, true)
      end)
      local third = scope:certificate({ names = { "a.example" } })
      put_secret("a", third)
      scope:wait_peer(port, "a.example", third)
      assert.not_equal(other.fingerprint, e2e.peer(port, "nobody.example"))
      assert.equal(before, reloads())
    end)
  end

  it("reloads for a chain that is longer than one command", function()
    local issuer = scope:certificate({ names = { "issuer" } })
    local leaf = scope:certificate({ names = { "a.example" }, issuer = issuer })
    local names = {}
    for i = 1, 255 do names[i] = ("a-long-name-to-make-a-large-certificate-%d.example"):format(i) end
    names[256] = "a.example"
    local large = scope:certificate({ names = names, issuer = issuer })
    put_secret("a", leaf)
    put_ingress("a", { "a.example" }, "a", "198.18.0.1")
    start("3.2")
    local before = reloads()
    scope:wait_peer(haptic.https_port, "a.example", leaf)
    source:write("default-secret-a.yaml", e2e.tls_secret("a", large.cert .. issuer.cert, large.key))
    scope:wait_peer(haptic.https_port, "a.example", large)
    assert.equal(before + 1, reloads())
    haptic:wait_log("is longer than HAProxy takes in one command")
  end)
end)
