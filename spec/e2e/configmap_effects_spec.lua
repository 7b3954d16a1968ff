--- Settings of all routes that a ConfigMap has, by what they do: connections that stand still, that one side closes, that
--- wait, and what the log has of them.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED },
  secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED } }
local SERIES = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "2.6", "3.4" }
if not e2e.is_full then io.stderr:write("configmap_effects_spec: 3.0 and 3.2 with E2E_FULL=1 only\n") end

describe("Settings of a ConfigMap", function()
  local scope, source, haptic, pod, log, log_port

  before_each(function()
    e2e.backends()
    scope = e2e.scope("settings")
    source = scope:manifests()
    local port, dead, ready = e2e.port(), e2e.port(), scope:path("dead")
    log_port = e2e.port()
    pod = scope:spawn({ name = "pod", argv = { "python3", "spec/support/probe.py", "pod", tostring(port) } })
    scope:spawn({ name = "dead pod", argv = { "python3", "spec/support/blackhole.py", "198.18.7.1", tostring(dead), ready } })
    log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
      .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(log_port) } })
    scope:wait_for("the pods and the log", 10, function()
      return pod:log():find("ready", 1, true) and log:log():find("ready", 1, true)
        and select(2, posix.run({ "test", "-e", ready })) == 0, pod:log() .. log:log()
    end)
    for name, where in pairs({ web = { "198.18.0.1", port }, busy = { "198.18.0.2", port }, dead = { "198.18.7.1", dead } }) do
      source:write(name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name,
        annotations = name == "busy" and { ["haproxy.org/pod-maxconn"] = "1" } or nil }), kube.service(name),
        kube.slice(name, { where[1] }, where[2]))
    end
  end)
  after_each(function() scope:close() end)

  --- Change the ConfigMap, and wait until HAProxy has it.
  local function put_map(data)
    data["syslog-server"] = "address:127.0.0.1, port:" .. log_port .. ", facility:local0"
    data["log-format"] = "%ST %HU"
    source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap",
      metadata = { name = "haproxy", namespace = "default" }, data = data })
    if not haptic then return end
    local before = haptic:state().haproxy.reloads
    scope:wait_for("the reload", 15, function() return haptic:state().haproxy.reloads > before end)
  end

  --- The outcomes of probes at two ports, which run at the same time: probe → outcome.
  local function ask_at(http_port, https_port, ...)
    local text = posix.run({ "python3", "spec/support/probe.py", "ask", tostring(http_port), tostring(https_port), ... })
    local outcomes = {}
    for probe, outcome in text:gmatch("(%l+:%l+): ([^\n]*)") do outcomes[probe] = outcome end
    return outcomes
  end
  local function ask(...) return ask_at(haptic.http_port, haptic.https_port, ...) end

  local function lines(text) return select(2, log:log():gsub(text:gsub("%p", "%%%0"), "")) end

  for _, series in ipairs(SERIES) do
    it("do what they say, on " .. series, function()
      haptic = nil
      local tcp_port, tls_port = e2e.port(), e2e.port()
      source:write("ports.yaml", { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "ports", namespace = "default" },
        data = { [tostring(tcp_port)] = "default/web:80", [tostring(tls_port)] = "default/web:80:ssl" } })
      put_map({ ["timeout-client"] = "2s", ["timeout-http-request"] = "2000", ["timeout-http-keep-alive"] = "2s",
        ["timeout-connect"] = "200", ["timeout-queue"] = "300ms", ["timeout-tunnel"] = "2s", nbthread = "2", maxconn = "1234" })
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
        watchedResources = KINDS, templatingSettings = { extraContext = { configmap = "default/haproxy", access_log = true,
          tcp_services = "default/ports" } } }) })
        :wait_ready()
      local wanted = { ["http:dead"] = "503", ["http:queue"] = "503 200", ["http:nothing"] = "done" }
      for name, outcome in pairs({ partial = "ended 408", idle = "200 ended", tunnel = "101 ended", two = "again",
        -- Where a body stands still, 2.6 leaves the end to the pod.
        body = series ~= "2.6" and "ended" or nil }) do
        wanted["http:" .. name], wanted["https:" .. name] = outcome, outcome
      end
      local probes = {}
      for probe in pairs(wanted) do probes[#probes + 1] = probe end
      assert.same(wanted, ask(unpack(probes)))
      local info = haptic.haproxy:ask("show info")
      assert.matches("\nNbthread: 2\n", info, 1, true)
      assert.matches("\nMaxconn: 1234\n", info, 1, true)
      scope:wait_for("the log of the last request", 10, function() return lines("200 /slow") == 1, log:log():sub(-400) end)
      -- Without a request there is no line.
      assert.equal(0, lines("400 <BADREQ>") + lines("0 <BADREQ>") + lines("-1 <BADREQ>"), log:log())

      put_map({ dontlognull = "false", logasap = "true",
        ["http-connection-mode"] = "http-server-close", ["hard-stop-after"] = "1s", ["timeout-client-fin"] = "500ms", ["timeout-server-fin"] = "500ms",
        ["log-format-tcp"] = "passed %fp %B" })
      -- A line stands in the log while the answer goes on.
      local drip = scope:spawn({ name = "drip", argv = { "python3", "spec/support/probe.py", "ask", tostring(haptic.http_port),
        tostring(haptic.https_port), "http:drip" } })
      scope:wait_for("the line before the end", 10, function() return lines("200 /drip") == 1, log:log():sub(-400) end)
      assert.is_nil(drip:log():find("http:drip", 1, true))
      assert.same({ ["http:two"] = "new", ["https:two"] = "new",
        ["http:nothing"] = "done" }, ask("http:two", "https:two", "http:nothing"))
      -- Where one side of a connection has ended its direction, the other one is not waited for. By HTTP it depends on the
      -- version of HAProxy who is told of such an end.
      assert.same({ ["http:half"] = "101", ["https:half"] = "101", ["http:deaf"] = "101 ended", ["https:deaf"] = "101 ended" },
        ask_at(tcp_port, tls_port, "http:half", "https:half", "http:deaf", "https:deaf"))
      assert.same({ 2, 0 }, { select(2, pod:log():gsub("ended /half early", "")), select(2, pod:log():gsub("ended /half late", "")) })
      scope:wait_for("the line of a connection without a request", 10, function()
        return lines("<BADREQ>") > 0, log:log():sub(-400)
      end)

      scope:wait_for("the lines of both ports", 10, function()
        return lines("passed " .. tcp_port) == 2 and lines("passed " .. tls_port) == 2, log:log():sub(-600)
      end)

      -- A worker that has to stop ends what goes on after that time.
      local ended, begun = select(2, pod:log():gsub("ended /tunnel", "")), lines("101 /tunnel")
      local open = scope:spawn({ name = "tunnel", argv = { "python3", "spec/support/probe.py", "ask", tostring(haptic.http_port),
        tostring(haptic.https_port), "http:tunnel" } })
      scope:wait_for("the tunnel", 10, function() return lines("101 /tunnel") > begun, log:log():sub(-400) end)
      put_map({ ["http-keep-alive"] = "false" })
      scope:wait_for("the tunnel's end", 7, function()
        return select(2, pod:log():gsub("ended /tunnel", "")) > ended and open:log():find("101 ended", 1, true)
      end)
      assert.same({ ["http:two"] = "closed", ["https:two"] = "closed" }, ask("http:two", "https:two"))
    end)
  end
end)
