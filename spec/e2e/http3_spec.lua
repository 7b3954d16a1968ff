--- HTTP/3 beside HTTP/2 and HTTP/1.1. The client is another HAProxy, which speaks HTTP/3 to servers from 3.3 on.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }
local HAS_QUIC = { ["2.6"] = false, ["3.0"] = true, ["3.2"] = true, ["3.4"] = true }

describe("HTTP/3", function()
  local scope, source, haptic

  before_each(function()
    e2e.backends()
    scope = e2e.scope("http3")
    source = scope:manifests()
    local certificate = scope:certificate({ names = { "a.example" } })
    source:write("secret.yaml", e2e.tls_secret("a", certificate.cert, certificate.key))
    local ing = kube.ingress({ name = "a", host = "a.example", service = "a" })
    ing.spec.tls = { { hosts = { "a.example" }, secretName = "a" } }
    source:write("a.yaml", ing, kube.service("a"), kube.slice("a", { "198.18.0.1" }, 8001))
  end)
  after_each(function() scope:close() end)

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = SECRETS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  --- A port whose requests go on by HTTP/3.
  local function client()
    local port, file = e2e.port(), scope:path("client.cfg")
    posix.write_file(file, ([[
global
  expose-experimental-directives
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  retries 0
listen client
  bind 127.0.0.1:%d
  server s quic4@127.0.0.1:%d ssl verify none alpn h3 sni str(a.example)
]]):format(port, haptic.https_port))
    scope:spawn({ name = "client", argv = { e2e.haproxy_binary("3.4"), "-db", "-f", file } })
    return port
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("is announced and served where HAProxy has QUIC, on " .. series, function()
      start(series, { http3 = true, http3_max_age = 90, ssl_redirect_port = 8443 })
      local answer = assert(e2e.https({ port = haptic.https_port, host = "a.example" }))
      assert.equal(200, answer.status)
      if not HAS_QUIC[series] then
        assert.is_nil(answer.headers["alt-svc"])
        haptic:wait_log("HAProxy was built without QUIC")
        return
      end
      assert.equal('h3=":8443"; ma=90', answer.headers["alt-svc"])
      assert.is_nil(http.request({ port = haptic.http_port, host = "a.example", path = "/", timeout = 3 }).headers["alt-svc"])
      local port = client()
      local function ask(host)
        return http.request({ port = port, host = host, path = "/", timeout = 3 })
      end
      scope:wait_for("an answer by HTTP/3", 10, function()
        answer = ask("a.example")
        return answer and answer.status == 200, answer and answer.status
      end)
      assert.matches("198.18.0.1:8001", answer.body, 1, true)
      -- The same rules hold: another host than TLS was begun for.
      assert.equal(421, ask("b.example").status)
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)
  end

  it("is not there unless it is asked for", function()
    start("3.4")
    local answer = assert(e2e.https({ port = haptic.https_port, host = "a.example" }))
    assert.is_nil(answer.headers["alt-svc"])
    assert.falsy(haptic:get("/debug/config").body:find("quic", 1, true))
  end)
end)
