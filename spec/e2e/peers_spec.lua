--- Rate limits over several HAProxys, by real requests: what one has let through counts at the other.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }
local MEMBERS = { one = "198.18.0.1", two = "198.18.0.2" }

describe("Rate limits over a fleet", function()
  local scope, source

  before_each(function()
    scope = e2e.scope("peers")
    source = scope:manifests()
  end)
  after_each(function() scope:close() end)

  for _, series in ipairs({ "2.6", "3.4" }) do
    it("count what any HAProxy has let through, on " .. series, function()
      local port, peer_port = e2e.port(), e2e.port()
      local echo = scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port),
        scope:path("echo.sock") } })
      scope:wait_for("the echo", 30, function() return posix.run({ "curl", "-s", "127.0.0.1:" .. port }) ~= "", echo:log() end)
      source:write("web.yaml", kube.ingress({ name = "web", host = "web.example", service = "web", annotations = {
        ["haproxy.org/rate-limit-requests"] = "4", ["haproxy.org/rate-limit-period"] = "1h",
        ["haproxy.org/rate-limit-status-code"] = "429" } }), kube.service("web"), kube.slice("web", { "127.0.0.1" }, port))
      local endpoints = {}
      for name, address in pairs(MEMBERS) do
        endpoints[#endpoints + 1] = { addresses = { address }, targetRef = { kind = "Pod", name = name } }
      end
      source:write("haproxy.yaml", kube.service("haproxy"), { apiVersion = "discovery.k8s.io/v1", kind = "EndpointSlice",
        addressType = "IPv4", metadata = { name = "haproxy-1", namespace = "default",
          labels = { ["kubernetes.io/service-name"] = "haproxy" } },
        ports = { { port = peer_port, protocol = "TCP" } }, endpoints = endpoints })
      local haptics = {}
      for name in pairs(MEMBERS) do
        haptics[name] = scope:haptic({ name = name, source = source.path, series = series, directory = scope:path("run-" .. name),
          config = e2e.config({ watchedResources = KINDS, templatingSettings = { extraContext = {
            rate_limit_peers = "default/haproxy", rate_limit_peer_port = peer_port, rate_limit_peer_name = name } } }) })
      end
      for _, haptic in pairs(haptics) do haptic:wait_ready() end
      local function ask(name)
        return (posix.run({ "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: web.example",
          "http://127.0.0.1:" .. haptics[name].http_port .. "/" }))
      end
      --- What a member remembers of the client.
      local function entry(name)
        local text = haptics[name].haproxy:ask("show table haptic_limits")
        return text:match("gpt[%w%[%]]*=(%x+)") or text:match("gpt%(1%)=(%x+)"), text
      end
      local function wait_same()
        scope:wait_for("the members to know the same", 15, function()
          local one, text = entry("one")
          return one ~= nil and one == entry("two"), text
        end)
      end
      assert.same({ "200", "200", "200" }, { ask("one"), ask("one"), ask("one") })
      wait_same()
      assert.same({ "200", "429" }, { ask("two"), ask("two") })
      wait_same()
      assert.equal("429", ask("one"))
      if not e2e.is_full then
        io.stderr:write("peers_spec: the hand-over at a reload, which takes ten seconds, with E2E_FULL=1 only\n")
        return
      end
      -- A worker that has its own table whole, ten seconds behind its start, hands it to the next one.
      scope:wait_for("the member to have learnt from the others", 30, function()
        local text = haptics.one.haproxy:ask("show peers")
        return text:match("resync_timeout=(%S+)") == "<PAST>" or text:find("resync_timeout=<NEVER>", 1, true), text
      end)
      local before = haptics.one:state().haproxy.reloads
      source:write("more.yaml", kube.ingress({ name = "more", host = "more.example", service = "web",
        annotations = { ["haproxy.org/request-capture"] = "hdr(x-more)" } }))
      scope:wait_for("the reload", 15, function() return haptics.one:state().haproxy.reloads > before end)
      wait_same()
      assert.equal("429", ask("one"))
      assert.equal("429", ask("two"))
    end)
  end
end)
