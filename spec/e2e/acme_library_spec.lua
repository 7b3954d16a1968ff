--- Certificates that HAProxy itself obtains from an authority, Pebble, for hosts without a Secret.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }
local COUNT = 2
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

  --- Waits until a client that trusts the authority and nobody else gets an answer from a host.
  local function wait_trusted(host, seconds)
    local root = scope:path("root")
    posix.write_file(root, pebble:root())
    scope:wait_for(host .. " to have a certificate of the authority", seconds or 60, function()
      local _, code = posix.run({ "curl", "-sS", "-m", "5", "-o", "/dev/null", "--cacert", root, "--resolve",
        ("%s:%d:127.0.0.1"):format(host, ports.https), ("https://%s:%d/"):format(host, ports.https) })
      return code == 0, e2e.tail(posix.read_file(haptic.directory .. "/haproxy.log"), 20) .. "\n" .. e2e.tail(pebble:log(), 20)
    end)
    return assert(e2e.peer(ports.https, host))
  end

  local function saved(host)
    return (posix.run({ "openssl", "x509", "-noout", "-fingerprint", "-sha1", "-in",
      haptic.directory .. "/acme/" .. host .. ".pem" }):match("=([%x:]+)") or ""):gsub(":", "")
  end

  local function wait_saved(host, fingerprint)
    scope:wait_for("the certificate of " .. host .. " on disk", 30, function() return saved(host) == fingerprint end)
  end

  it("obtains a certificate for each host, many at once, and the redirect does not stand in its way", function()
    pebble = scope:pebble({ http_port = ports.http })
    put_authority()
    for i = 1, COUNT do put("app-" .. i, i .. ".acme.example", { ["haproxy.org/ssl-redirect"] = "true" }) end
    start({ acme_hosts = "absent" })
    for i = 1, COUNT do wait_trusted(i .. ".acme.example", 20) end
    for i = 1, COUNT, 7 do
      assert.equal(302, assert(http.request({ port = ports.http, host = i .. ".acme.example", path = "/" })).status)
    end
    -- Comparisons find nothing that they would set back.
    assert.equal(COUNT, pebble:issued())
    assert.equal(1, haptic:state().haproxy.reloads)
    assert.equal(0, haptic:metric("haptic_drift_repairs_total") or 0)
  end)
end)
