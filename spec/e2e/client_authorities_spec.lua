--- Client certificates: a route is opened by the authorities that its own Ingress names, whatever other Ingresses ask
--- of the clients of the same host, of a wildcard of it, or of another host.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("client authorities", function()
  local scope, source, haptic, own, foreign, server, mine, stranger

  local function put_secret(namespace, name, data)
    source:write(namespace .. "-secret-" .. name .. ".yaml",
      { apiVersion = "v1", kind = "Secret", metadata = { namespace = namespace, name = name }, stringData = data })
  end

  --- An Ingress whose clients need certificates of `ca`, a Secret of its namespace; nil: it asks for none.
  local function put_ingress(namespace, name, host, options)
    local ing = kube.ingress({ name = name, host = host, service = name, namespace = namespace,
      paths = { { path = options.path or "/", service = name } },
      annotations = { ["haproxy-haptic.org/client-ca"] = options.ca, ["haproxy-haptic.org/client-verify"] = options.verify,
        ["haproxy.org/ssl-redirect"] = "false" } })
    ing.metadata.creationTimestamp = options.created
    ing.spec.tls = options.secret and { { hosts = { host }, secretName = options.secret } } or nil
    source:write(namespace .. "-ingress-" .. name .. ".yaml", ing, kube.service(name, namespace),
      kube.slice(name, { "198.18.0.1" }, 8001, namespace))
  end

  local function start(series, data)
    local context
    if data then
      source:write("configmap.yaml",
        { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "haptic", name = "settings" }, data = data })
      context = { configmap = "haptic/settings" }
    end
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = {
        secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
        configmaps = data and
          { apiVersion = "v1", resources = "configmaps", indexBy = { "metadata.namespace", "metadata.name" } } or nil,
      },
      templatingSettings = { extraContext = context },
    }) }):wait_ready()
  end

  local function status(host, who, path)
    local args = who and { "--cert", who.directory .. "/cert.pem", "--key", who.directory .. "/key.pem" } or {}
    local answer, reason = e2e.https({ port = haptic.https_port, host = host, sni = host, path = path, args = args })
    return answer and answer.status or reason
  end

  --- The status of a request for one host on a TLS session that began for another.
  local function resumed(version, first, second, who)
    local file = who.directory .. "/session"
    local function ask(host, args)
      return posix.run({ "sh", "-c", ("(printf 'GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1)"
        .. " | openssl s_client -connect 127.0.0.1:%d -servername %s %s -ign_eof %s 2>&1"):format(host, haptic.https_port,
        host, version, args) })
    end
    local begun = ask(first, ("-cert %s/cert.pem -key %s/key.pem -sess_out %s"):format(who.directory, who.directory, file))
    assert.equal("200", begun:match("HTTP/1.1 (%d+)"), begun)
    -- Without a file there is no session that could be taken up.
    local answer = ask(second, "$(test -s " .. file .. " && echo -sess_in " .. file .. ")")
    return answer:match("HTTP/1.1 (%d+)"), answer
  end

  before_each(function()
    e2e.backends()
    scope = e2e.scope("client-authorities")
    source = scope:manifests()
    own = scope:certificate({ names = { "own" }, key = "authority" })
    foreign = scope:certificate({ names = { "foreign" }, key = "authority" })
    server = scope:certificate({ names = { "in.example", "*.example", "evil.test" } })
    mine = scope:certificate({ names = { "mine" }, issuer = own })
    stranger = scope:certificate({ names = { "stranger" }, issuer = foreign })
    for _, namespace in ipairs({ "bank", "evil" }) do
      put_secret(namespace, "server", { ["tls.crt"] = server.cert, ["tls.key"] = server.key })
    end
    put_secret("bank", "ca", { ["ca.crt"] = own.cert })
    put_secret("evil", "ca", { ["ca.crt"] = foreign.cert })
  end)
  after_each(function() scope:close() end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("are the route's own, on " .. series, function()
      -- One that is older, of the same host.
      put_ingress("evil", "shared", "shared.example", { path = "/evil", ca = "ca", secret = "server", created = "2020-01-01T00:00:00Z" })
      put_ingress("bank", "shared", "shared.example", { ca = "ca", secret = "server", created = "2021-01-01T00:00:00Z" })
      put_ingress("bank", "shared-maybe", "shared.example",
        { path = "/maybe", ca = "ca", verify = "optional", secret = "server", created = "2021-01-01T00:00:00Z" })
      -- A wildcard, where the host's own certificate is not there.
      put_ingress("evil", "wild", "*.example", { path = "/evil", ca = "ca", secret = "server" })
      put_ingress("bank", "missing", "missing.example", { ca = "ca", secret = "there-is-none" })
      put_ingress("bank", "no-tls", "no-tls.example", { ca = "ca" })
      put_ingress("bank", "no-ca", "no-ca.example", { ca = "there-is-none", secret = "server" })
      put_ingress("bank", "in", "in.example", { ca = "ca", secret = "server" })
      start(series)
      assert.same({ 496, 200, 495 }, { status("in.example"), status("in.example", mine), status("in.example", stranger) })
      assert.same({ 200, 495 }, { status("shared.example", stranger, "/evil"), status("shared.example", stranger) })
      assert.same({ 200, 495 }, { status("shared.example", nil, "/maybe"), status("shared.example", stranger, "/maybe") })
      assert.equal(200, status("any.example", stranger, "/evil"))
      for _, host in ipairs({ "missing.example", "no-tls.example", "no-ca.example" }) do
        local answer = status(host, stranger)
        assert.truthy(answer == 495 or answer == 496, host .. ": " .. tostring(answer))
      end
    end)

    it("are not those of the host for which a session began, on " .. series, function()
      put_ingress("evil", "evil", "evil.test", { ca = "ca", secret = "server" })
      put_ingress("bank", "in", "in.example", { ca = "ca", secret = "server" })
      start(series)
      for _, version in ipairs({ "-tls1_2", "-tls1_3" }) do
        local answer, text = resumed(version, "evil.test", "in.example", stranger)
        assert.truthy(answer == "421" or answer == "496", version .. ": " .. text)
      end
    end)

    it("are not another Ingress' where the ConfigMap asks all clients, on " .. series, function()
      put_ingress("evil", "evil", "shared.example", { path = "/evil", ca = "ca", secret = "server" })
      put_ingress("bank", "shared", "shared.example", {})
      put_ingress("bank", "in", "in.example", { secret = "server" })
      put_ingress("evil", "wild", "*.example", { path = "/evil", ca = "ca", secret = "server" })
      start(series, { ["client-ca"] = "bank/ca" })
      assert.same({ 496, 200, 495 }, { status("in.example"), status("in.example", mine), status("in.example", stranger) })
      assert.same({ 200, 495, 495 }, { status("shared.example", stranger, "/evil"), status("shared.example", stranger),
        status("shared.example", mine) })
    end)
  end
end)
