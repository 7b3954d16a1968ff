--- Certificates and crt-lists as text templates (sslCertificates, crtLists) in a running controller: what clients get, and what a
--- wrong text does.

local e2e = require("support.e2e")
local http = require("support.http")
local posix = require("support.posix")

local CERTIFICATE = [[
{% local secret = resources.secrets:get("shop", "site") or fail("there is no Secret shop/site") -%}
{{ secret.data["tls.crt"] }}
{{ secret.data["tls.key"] }}
]]

describe("certificates and crt-lists as texts", function()
  local scope, source, haptic, port

  before_each(function()
    scope = e2e.scope("certificate-texts")
    source = scope:manifests()
    port = e2e.port()
  end)
  after_each(function() scope:close() end)

  local function config(names)
    return e2e.config({
      watchedResources = {
        secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
      },
      sslCertificates = { ["site.pem"] = { template = CERTIFICATE } },
      crtLists = { ["sites.list"] = { template = "site.pem [alpn h2,http/1.1] " .. names .. "\n" } },
      haproxyConfig = { template = [[
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
frontend https
    bind 127.0.0.1:]] .. port .. [[ ssl strict-sni crt-list {{ path:crt_list("sites.list") }}
    http-request return status 200 content-type text/plain string "by a text"
]] },
    })
  end

  local function put(certificate)
    source:write("secret.yaml", e2e.tls_secret("site", certificate.cert, certificate.key, "shop"))
  end

  local function wait_peer(name, certificate)
    scope:wait_for("the certificate of " .. name, 20, function()
      local found, why = e2e.peer(port, name)
      return found == certificate.fingerprint, found or why
    end)
  end

  for _, series in ipairs({ "3.0", "3.2", "3.4" }) do
    it("are served, renewed without a reload, and kept when a text fails, on HAProxy " .. series, function()
      local names = { "shop.example", "www.shop.example", "more.example" }
      local first, second = scope:certificate({ names = names }), scope:certificate({ names = names })
      put(first)
      haptic = scope:haptic({ source = source.path, series = series, config = config("shop.example") }):wait_ready()
      wait_peer("shop.example", first)
      assert.is_nil(e2e.peer(port, "more.example"))
      local answer = assert(e2e.https({ port = port, host = "shop.example" }))
      assert.same({ 200, "by a text", "2" }, { answer.status, answer.body, answer.version })

      local reloads = haptic:state().haproxy.reloads
      put(second)
      wait_peer("shop.example", second)

      -- Without the Secret, the text fails; what was served stays, and the log says why.
      assert(os.remove(source.path .. "/secret.yaml"))
      haptic:wait_log("there is no Secret shop/site", 20)
      wait_peer("shop.example", second)
      put(first)
      wait_peer("shop.example", first)

      -- A changed list comes with a changed configuration.
      posix.write_file(haptic.config_file .. ".new", http.encode(config("shop.example more.example")))
      assert(os.rename(haptic.config_file .. ".new", haptic.config_file))
      wait_peer("more.example", first)
      assert.equal(reloads, haptic:state().haproxy.reloads)
    end)
  end
end)
