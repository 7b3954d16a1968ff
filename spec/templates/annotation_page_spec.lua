-- docs/annotations.md: it is what the declarations say, and each test that it names is there.
package.path = "./?.lua;" .. package.path
local page = require("tools.annotations")
local program = require("spec.support.program")

describe("docs/annotations.md", function()
  it("is written from the declarations", function()
    assert.equal(page.page(), program.read(page.PAGE), "run luajit tools/annotations.lua")
  end)

  it("names a test of each key with an effect, which is there", function()
    local count = 0
    for _, k in ipairs(page.keys(page.FAMILY)) do
      if not k.refused and not k.old_for then
        count = count + 1
        local file, title = (k.tested or ""):match("^([%w_]+): (.+)$")
        assert.is_string(file, k.short .. " names no test")
        local source = program.read("spec/e2e/" .. file .. ".lua")
        assert.truthy(source:find('it%("[^\n]*' .. title:gsub("%p", "%%%0")), k.short .. ": there is no test " .. k.tested)
        assert.truthy(source:find(k.short, 1, true), k.short .. " is not in " .. file)
      end
    end
    assert.truthy(count > 40)
  end)

  it("has each key of the list", function()
    local declared = {}
    for _, k in ipairs(page.keys(page.FAMILY)) do declared[k.short] = true end
    for key in ([[auth-type auth-secret auth-realm allow-list deny-list whitelist blacklist src-ip-header check check-http
      check-interval timeout-check ssl-certificate ssl-passthrough ssl-redirect ssl-redirect-code ssl-redirect-port tls-alpn
      client-ca client-crt-optional client-strict-sni generate-certificates-signer quic-alt-svc-max-age clean-certs
      cors-enable cors-allow-origin cors-allow-methods cors-allow-headers cors-allow-credentials cors-max-age
      cors-respond-to-options global-config-snippet frontend-config-snippet stats-config-snippet backend-config-snippet
      cr-global cr-defaults cr-backend cr-frontend-http cr-frontend-https cr-frontend-stats cookie-persistence
      cookie-persistence-no-dynamic load-balance scale-server-slots servers-increment server-slots standalone-backend
      pod-maxconn abortonclose server-ssl server-proto server-ca server-crt send-proxy-protocol proxy-protocol forwarded-for
      request-set-header response-set-header set-host path-rewrite request-redirect request-redirect-code route-acl
      request-capture request-capture-len rate-limit-requests rate-limit-period rate-limit-size rate-limit-status-code
      rate-limit-whitelist dontlognull logasap log-format log-format-tcp syslog-server maxconn nbthread hard-stop-after
      http-connection-mode http-keep-alive http-server-close timeout-client timeout-client-fin timeout-connect
      timeout-http-request timeout-http-keep-alive timeout-queue timeout-server timeout-server-fin timeout-tunnel
      ingress.class prometheus-endpoint-auth-secret default-backend-service]]):gmatch("%S+") do
      assert.truthy(declared[key], key)
    end
  end)
end)
