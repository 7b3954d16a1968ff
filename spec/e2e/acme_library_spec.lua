--- Certificates that HAProxy itself obtains from an authority, Pebble, for hosts without a Secret.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }
--- Fifty take HAProxy's client up to three minutes on two processors: E2E_FULL=1.
local COUNT = e2e.is_full and 50 or 8
local RENEW_AFTER = 45
local ACME = "haproxy-haptic.org/acme"

describe("The acme library", function()
  local scope, source, haptic, pebble, ports

  before_each(function()
    e2e.backends()
    scope = e2e.scope("acme_library")
    source = scope:manifests()
    source:write("web.yaml", kube.service("web"), kube.slice("web", { "198.18.0.1" }))
    ports = { http = e2e.port(), https = e2e.port() }
  end)
  after_each(function() scope:close() end)

  local function put(name, host, annotations)
    local ing = kube.ingress({ name = name, host = host, service = "web", annotations = annotations })
    ing.spec.tls = { { hosts = { host }, secretName = name } }
    source:write(name .. ".yaml", ing)
  end

  local function put_authority()
    source:write("authority.yaml", { apiVersion = "v1", kind = "Secret", type = "Opaque",
      metadata = { name = "authority", namespace = "default" }, stringData = { ["ca.crt"] = pebble.ca } })
  end

  local function start(context, more)
    context = context or {}
    if context.acme_directory == nil then context.acme_directory = pebble.directory end
    context.acme_ca, context.nameservers = "default/authority", { pebble.nameserver }
    local options = { source = source.path, series = "3.4", https = true, http_port = ports.http, https_port = ports.https,
      config = e2e.config({ watchedResources = SECRETS, dataplane = { driftPreventionInterval = "1s" },
        templatingSettings = { extraContext = context } }) }
    for key, value in pairs(more or {}) do options[key] = value end
    haptic = scope:haptic(options):wait_ready()
  end

  --- Waits until a client that trusts the authority and nobody else gets an answer from a host. HAProxy gives an order up
  --- after five attempts: then it is told to begin again, as docs/libraries.md says.
  local function wait_trusted(host, seconds)
    local root = scope:path("root")
    local renew_at = os.time() + RENEW_AFTER
    posix.write_file(root, pebble:root())
    scope:wait_for(host .. " to have a certificate of the authority", seconds or 60, function()
      local _, code = posix.run({ "curl", "-sS", "-m", "5", "-o", "/dev/null", "--cacert", root, "--resolve",
        ("%s:%d:127.0.0.1"):format(host, ports.https), ("https://%s:%d/"):format(host, ports.https) })
      if code ~= 0 and os.time() > renew_at then
        haptic.haproxy:ask("acme renew acme/" .. host .. ".pem")
        renew_at = math.huge
      end
      return code == 0, e2e.tail(posix.read_file(haptic.directory .. "/haproxy.log"), 20) .. "\n" .. e2e.tail(pebble:log(), 20)
    end)
    return assert(e2e.peer(ports.https, host))
  end

  local function saved(host)
    return (posix.run({ "openssl", "x509", "-noout", "-fingerprint", "-sha1", "-in",
      haptic.directory .. "/acme/" .. host .. ".pem" }):match("Fingerprint=([%x:]+)") or ""):gsub(":", "")
  end

  it("obtains a certificate for each host, many at once, as soon as the authority is the right one", function()
    pebble = scope:pebble({ http_port = ports.http })
    put_authority()
    local own = scope:certificate({ names = { "own.example" } })
    source:write("secret.yaml", e2e.tls_secret("own", own.cert, own.key))
    put("own", "own.example")
    for i = 1, COUNT do put("app-" .. i, i .. ".acme.example", { ["haproxy.org/ssl-redirect"] = "true" }) end
    start({ acme_hosts = "absent", acme_directory = (pebble.directory:gsub("/dir$", "/nothing")) })
    scope:wait_peer(ports.https, "own.example", own)
    scope:wait_for("an order that fails", 30, function()
      return posix.read_file(haptic.directory .. "/haproxy.log"):find("invalid HTTP status code 404", 1, true)
    end)
    assert.equal("", saved("1.acme.example"))
    -- One failure may be an accident; of the second one the owner is told, with HAProxy's reason.
    haptic:wait_log("HAProxy's order of a certificate fails.*object=default/app%-%d.*status code 404", 40)
    assert.equal(COUNT, haptic:metric("haptic_acme_orders_failing"))
    assert.is_nil(haptic:log():match("[^\n]*object=default/own [^\n]*status code 404[^\n]*"))
    scope:wait_for("the number of those that are missing", 20, function()
      return haptic:metric("haptic_acme_certificates", { state = "missing" }) == COUNT
    end)
    haptic:stop()
    start({ acme_hosts = "absent" }, { directory = haptic.directory, name = "again" })
    for i = 1, COUNT do wait_trusted(i .. ".acme.example", 120) end
    -- All the while everything else leads to HTTPS, and hosts with a Secret have that.
    for i = 1, COUNT, 7 do
      assert.equal(302, assert(http.request({ port = ports.http, host = i .. ".acme.example", path = "/" })).status)
    end
    assert.equal(own.fingerprint, e2e.peer(ports.https, "own.example"))
    assert.is_true(pebble:issued() >= COUNT)
    scope:wait_for("none to be missing", 30, function()
      return haptic:metric("haptic_acme_certificates", { state = "missing" }) == 0
        and haptic:metric("haptic_acme_certificates", { state = "valid" }) == COUNT
        and haptic:metric("haptic_acme_certificate_first_end_timestamp_seconds") > os.time()
        and haptic:metric("haptic_acme_orders_failing") == 0
    end)
    assert.equal(1, haptic:state().haproxy.reloads)
    assert.is_nil(haptic:log():match("[^\n]*HAProxy differed[^\n]*"))
  end)

  local function compared() return select(2, haptic:log():gsub("Comparing everything", "")) end

  --- Waits until everything was compared with HAProxy twice more.
  local function wait_compared()
    local before = compared()
    scope:wait_for("two comparisons", 20, function() return compared() >= before + 2 end)
  end

  it("keeps what HAProxy renews: over comparisons, a reload, and the end of everybody", function()
    pebble = scope:pebble({ http_port = ports.http })
    put_authority()
    source:write("users.yaml", { apiVersion = "v1", kind = "Secret", metadata = { name = "users", namespace = "default" },
      stringData = { joe = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" } })
    -- Nobody may see this host: the authority's question is answered nevertheless.
    put("a", "a.example", { [ACME] = "true", ["haproxy.org/deny-list"] = "0.0.0.0/0, ::/0",
      ["haproxy.org/auth-type"] = "basic-auth", ["haproxy.org/auth-secret"] = "users" })
    put("b", "b.example", { [ACME] = "true" })
    start()
    local first = wait_trusted("a.example")
    wait_trusted("b.example")
    assert.equal(302, assert(http.request({ port = ports.http, host = "b.example", path = "/" })).status)
    haptic.haproxy:ask("acme renew acme/a.example.pem")
    scope:wait_for("another certificate", 60, function() return e2e.peer(ports.https, "a.example") ~= first end)
    local second = e2e.peer(ports.https, "a.example")
    local reloads = haptic:state().haproxy.reloads
    -- Another host goes, which is a reload. Its certificate stays on disk, for the case that it comes back.
    source:write("b.yaml")
    scope:wait_for("the reload", 30, function() return haptic:state().haproxy.reloads > reloads end)
    assert.equal(second, saved("a.example"))
    assert.not_equal("", saved("b.example"))
    assert.equal(second, e2e.peer(ports.https, "a.example"))
    wait_compared()
    assert.equal(second, e2e.peer(ports.https, "a.example"))
    assert.equal(3, pebble:issued())
    -- Everything ends at once, and begins again.
    local processes = haptic.haproxy:processes()
    haptic:kill()
    posix.kill(processes.master, "KILL")
    posix.kill(processes.worker, "KILL")
    start(nil, { directory = haptic.directory, name = "again" })
    assert.equal(second, e2e.peer(ports.https, "a.example"))
    wait_compared()
    assert.equal(second, e2e.peer(ports.https, "a.example"))
    assert.equal(3, pebble:issued())
    assert.equal(403, assert(e2e.https({ port = ports.https, host = "a.example" })).status)
    for _, text in ipairs({ haptic:log(), haptic:get("/debug/state").body, haptic:get("/metrics").body }) do
      assert.is_nil(text:find("PRIVATE KEY", 1, true))
    end
  end)

  if e2e.is_full then
    it("begins an order again that HAProxy gave up, and says when it is over", function()
      pebble = scope:pebble({ http_port = ports.http })
      put_authority()
      put("a", "a.example", { [ACME] = "true" })
      put("b", "b.example", { [ACME] = "true" })
      pebble:resolves("a.example", false)
      start()
      wait_trusted("b.example")
      haptic:wait_log("HAProxy's order of a certificate fails.*object=default/a", 200)
      scope:wait_for("HAProxy to give it up", 300, function()
        return haptic.haproxy:ask("acme status"):find("a.example.pem\thaptic\tScheduled", 1, true)
      end)
      pebble:resolves("a.example", true)
      scope:wait_for("another order", 400, function() return e2e.peer(ports.https, "a.example") == saved("a.example") end)
      haptic:wait_log("HAProxy's order of a certificate no longer fails.*object=default/a", 30)
      assert.is_true(haptic:metric("haptic_acme_retries_total") >= 1)
      assert.equal(0, haptic:metric("haptic_acme_orders_failing"))
    end)
  else
    io.stderr:write("acme_library_spec: an order that is begun again after minutes with E2E_FULL=1 only\n")
  end

  it("says that it cannot work where HAProxy cannot", function()
    put("a", "a.example", { [ACME] = "true" })
    pebble = { directory = "https://authority.example/dir", nameserver = "127.0.0.1:1", ca = "" }
    start(nil, { series = "3.2" })
    haptic:wait_log("AcmeNotSupported")
    assert.equal(302, assert(http.request({ port = ports.http, host = "a.example", path = "/" })).status)
  end)
end)
