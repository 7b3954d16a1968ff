--- OCSP answers that come with certificates, from a scripted responder; and certificates for which there can be none.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local SERIES = e2e.is_full and { "3.0", "3.2", "3.4" } or { "3.4" }
if not e2e.is_full then print("OCSP answers: on 3.4 only; E2E_FULL=1 asks 3.0 and 3.2 as well") end

describe("OCSP answers", function()
  local scope, source, haptic

  before_each(function()
    e2e.backends()
    scope = e2e.scope("ocsp")
    source = scope:manifests()
  end)
  after_each(function() scope:close() end)

  local function put(name, secrets)
    local ing = kube.ingress({ name = name, host = name .. ".example", service = "web" })
    ing.spec.tls = {}
    for i, secret in ipairs(secrets) do
      ing.spec.tls[i] = { hosts = { name .. ".example" }, secretName = secret }
    end
    source:write(name .. ".yaml", ing)
  end

  local function put_secret(name, certificate, chain)
    source:write("secret-" .. name .. ".yaml", e2e.tls_secret(name, certificate.cert .. (chain or ""), certificate.key))
  end

  local function start(series)
    source:write("web.yaml", kube.service("web"), kube.slice("web", { "198.18.0.1" }))
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets",
        indexBy = { "metadata.namespace", "metadata.name" } } },
      templatingSettings = { extraContext = { ocsp_update = true } },
    }) }):wait_ready()
  end

  local function serial_of(certificate)
    return (posix.run({ "openssl", "x509", "-noout", "-serial", "-in", certificate.directory .. "/cert.pem" })
      :match("serial=(%x+)"))
  end

  local function wait_staple(name, certificate)
    scope:wait_for("the answer for " .. name, 20, function()
      local seen = e2e.staple(haptic.https_port, name)
      return seen == serial_of(certificate), seen
    end)
  end

  for _, series in ipairs(SERIES) do
    it("come with each certificate that can have one, and no other is refused, on " .. series, function()
      local port = e2e.port()
      local ca = scope:certificate({ names = { "authority" }, key = "authority" })
      local responder = "ocsp=http://127.0.0.1:" .. port
      local function make(key, names)
        names[#names + 1] = responder
        return scope:certificate({ names = names, issuer = ca, key = key })
      end
      local good, renewed = make("ec", { "good.example", "both.example" }), make("ec", { "good.example", "both.example" })
      local alone = make("ec", { "alone.example" })
      local without = scope:certificate({ names = { "without.example", "both.example" }, issuer = ca, key = "rsa" })
      scope:ocsp_responder(port, ca, { good, renewed, alone })
      put_secret("good", good, ca.cert)
      put_secret("alone", alone) -- without its issuer
      put_secret("without", without, ca.cert)
      put("good", { "good" })
      put("alone", { "alone" })
      put("without", { "without" })
      put("both", { "good", "without" })
      start(series)
      local reloads = haptic:state().haproxy.reloads
      wait_staple("good.example", good)
      assert.equal(good.fingerprint, e2e.peer(haptic.https_port, "both.example"))
      for name, certificate in pairs({ alone = alone, without = without }) do
        assert.equal(certificate.fingerprint, e2e.peer(haptic.https_port, name .. ".example"))
        assert.equal("", e2e.staple(haptic.https_port, name .. ".example"))
      end
      put_secret("good", renewed, ca.cert)
      scope:wait_peer(haptic.https_port, "good.example", renewed)
      scope:wait_peer(haptic.https_port, "both.example", renewed)
      wait_staple("good.example", renewed)
      assert.equal(reloads, haptic:state().haproxy.reloads)
      assert.equal(0, haptic:metric("haptic_quarantined_objects"))
      -- Another one, without a responder: HAProxy takes it, if by a reload.
      local later = scope:certificate({ names = { "good.example", "both.example" }, issuer = ca })
      put_secret("good", later, ca.cert)
      scope:wait_peer(haptic.https_port, "good.example", later, 30)
      scope:wait_peer(haptic.https_port, "both.example", later)
      assert.equal(0, haptic:metric("haptic_quarantined_objects"))
    end)
  end

  it("are not asked for where HAProxy cannot: that is said", function()
    local own = scope:certificate({ names = { "good.example" } })
    put_secret("good", own)
    put("good", { "good" })
    start("2.6")
    assert.matches("OcspNotSupported", haptic:get("/debug/state").body)
    assert.equal(own.fingerprint, e2e.peer(haptic.https_port, "good.example"))
  end)
end)
