--- What frontends expect of connections: the PROXY protocol of load balancers, protocols of ALPN, names that have no
--- certificate.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }

describe("Connections", function()
  local scope, source, haptic

  before_each(function()
    scope = e2e.scope("bind")
    source = scope:manifests()
    local certificate = scope:certificate({ names = { "a.example" } })
    source:write("secret.yaml", e2e.tls_secret("a", certificate.cert, certificate.key))
    local port, ready = e2e.port(), scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:wait_for("the echo", 30, function() return select(2, posix.run({ "test", "-S", ready })) == 0 end)
    local ing = kube.ingress({ name = "a", host = "a.example", service = "a", annotations = { ["haproxy.org/ssl-redirect"] = "false" } })
    ing.spec.tls = { { hosts = { "a.example" }, secretName = "a" } }
    source:write("a.yaml", ing, kube.service("a"), kube.slice("a", { "198.18.0.1" }, port))
  end)
  after_each(function() scope:close() end)

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = SECRETS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  --- Load balancers: address and whether it sends the PROXY protocol → their ports by scheme.
  local function load_balancers(list)
    local lines, ports = { "defaults", "  mode tcp", "  timeout connect 2s", "  timeout client 5s", "  timeout server 5s" }, {}
    for i, lb in ipairs(list) do
      ports[i] = {}
      for _, scheme in ipairs({ "http", "https" }) do
        ports[i][scheme] = e2e.port()
        lines[#lines + 1] = ("listen %s-%d\n  bind 127.0.0.1:%d\n  server s 127.0.0.1:%d source %s%s"):format(scheme, i,
          ports[i][scheme], scheme == "https" and haptic.https_port or haptic.http_port, lb[1], lb[2] and " send-proxy" or "")
      end
    end
    local file = scope:path("balancers.cfg")
    posix.write_file(file, table.concat(lines, "\n") .. "\n")
    scope:spawn({ name = "balancers", argv = { e2e.haproxy_binary("3.2"), "-db", "-f", file } })
    return ports
  end

  --- The address that the pod is told of a client that is 127.0.0.9; nil when there is no answer of the pod.
  local function told(scheme, port)
    local text = posix.run({ "curl", "-sSk", "-m", "4", "--http1.1", "--interface", "127.0.0.9", "--resolve",
      "a.example:" .. port .. ":127.0.0.1", ("%s://a.example:%d/"):format(scheme, port) })
    return text:lower():match("x%-forwarded%-for: ([^\r\n]+)"), text
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    for _, passes in ipairs({ false, true }) do
      it(("from load balancers tell their clients by the PROXY protocol, on %s%s"):format(series,
        passes and ", where TLS may be passed through" or ""), function()
        start(series, { proxy_protocol = { "127.0.0.2", "127.1.0.0/16" }, ssl_passthrough = passes })
        local ports = load_balancers({ { "127.0.0.2", true }, { "127.1.2.3", true }, { "127.0.0.2", false },
          { "127.0.0.3", true }, { "127.0.0.3", false } })
        for _, scheme in ipairs({ "http", "https" }) do
          scope:wait_for("the load balancers", 10, function()
            return told(scheme, ports[1][scheme]), select(2, told(scheme, ports[1][scheme]))
          end)
          local seen = {}
          for i, by_scheme in ipairs(ports) do seen[i] = told(scheme, by_scheme[scheme]) or "refused" end
          -- Who is to send it has to; nobody else may say who he is.
          assert.same({ "127.0.0.9", "127.0.0.9", "refused", "refused", "127.0.0.3" }, seen)
        end
      end)
    end

    it("are offered other protocols, and ended without a certificate for their name, on " .. series, function()
      start(series, { tls_alpn = { "http/1.1" }, strict_sni = true })
      local answer = assert(e2e.https({ port = haptic.https_port, host = "a.example", http = "2" }))
      assert.same({ 200, "1.1" }, { answer.status, answer.version })
      for _, name in ipairs({ "b.example", "" }) do assert.is_nil((e2e.peer(haptic.https_port, name))) end
      assert.is_string((e2e.peer(haptic.https_port, "a.example")))
    end)
  end
end)
