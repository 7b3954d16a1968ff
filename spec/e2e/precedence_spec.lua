--- Values of annotations over their levels (Ingress, Service, ConfigMap, default) before a real API server: a wrong one
--- gives way to the next, its owner is told by an Event, and by another one when that is over.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KEY = "haproxy.org/timeout-server"

describe("a value of an annotation", function()
  local world = e2e.world("precedence", {})
  local scope, admin, haptic, port

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  before_each(function()
    scope = world:open()
    port = e2e.port()
    local ready = scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:wait_for("the pod", 10, function() return select(2, posix.run({ "test", "-S", ready })) == 0 end)
  end)
  after_each(function() world:close() end)

  local function annotate(kind, value)
    admin:patch(kind, "web", { metadata = { annotations = { [KEY] = value or cjson.null } } })
  end

  --- The newest Event about an object of that type and reason, whose note has the text.
  local function event(kind, type, reason, text)
    for _, e in ipairs(admin:list("Event", "default")) do
      local about = e.regarding or e.involvedObject or {}
      if about.kind == kind and e.type == type and e.reason == reason and (e.note or e.message or ""):find(text, 1, true) then
        return e
      end
    end
    return nil
  end

  local function wait_event(...)
    local what = { ... }
    scope:wait_for("the Event " .. table.concat(what, " "), 15, function()
      return event(unpack(what)) ~= nil, cjson.encode(admin:list("Event", "default"))
    end)
  end

  --- Waits until the route has that limit, in milliseconds; or none of its own, while all backends have that one.
  local function wait_limit(own, all)
    scope:wait_for(("the limit to be %s, and %s of all"):format(own or "none", all), 20, function()
      local now = haptic:get("/debug/maps/timeout-server.map").body:match("default/web[%w/]* (%d+)")
      local of_all = posix.read_file(haptic.directory .. "/haproxy.cfg"):match("timeout server (%w+)")
      return now == own and of_all == all, tostring(now) .. " " .. tostring(of_all)
    end)
  end

  --- A pod that needs three seconds is given up.
  local function wait_given_up()
    scope:wait_for("the pod to be given up", 20, function()
      local output = posix.run({ "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "8", "-H", "Host: web.example",
        ("http://127.0.0.1:%d/slow"):format(haptic.http_port) })
      return output == "504", output
    end)
  end

  it("gives way to the next level where it is wrong, and its owner is told", function()
    admin:put(kube.service("web"))
    admin:put(kube.slice("web", { "198.18.0.1" }, port))
    admin:put(kube.ingress({ name = "web", host = "web.example", service = "web" }))
    admin:put({ kind = "ConfigMap", apiVersion = "v1", metadata = { name = "haproxy", namespace = "default" },
      data = { ["timeout-server"] = "1700ms" } })
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("a"), series = "3.4", config = e2e.config({
      watchedResources = { configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } },
      templatingSettings = { extraContext = { configmap = "default/haproxy" } },
    }) }):wait_ready()
    wait_limit(nil, "1700ms")
    wait_given_up()
    annotate("Service", "300ms")
    wait_limit("300", "1700ms")
    wait_given_up()
    -- The Ingress counts more than the Service, if its value is right.
    annotate("Ingress", "20s")
    wait_limit("20000", "1700ms")
    local warned = haptic:metric("haptic_warned_objects")
    annotate("Ingress", "soon")
    wait_limit("300", "1700ms")
    local sentence = KEY .. ' must be a duration with its unit, such as 5s, not "soon"'
    wait_event("Ingress", "Warning", "InvalidAnnotation", sentence)
    scope:wait_for("the metric", 10, function() return haptic:metric("haptic_warned_objects") == warned + 1 end)
    -- Both are wrong: the ConfigMap's.
    annotate("Service", "later")
    wait_limit(nil, "1700ms")
    wait_event("Service", "Warning", "InvalidAnnotation", 'not "later"')
    -- Right ones again: both owners hear that it is over.
    annotate("Ingress", "200ms")
    wait_limit("200", "1700ms")
    annotate("Service", nil)
    for _, kind in ipairs({ "Ingress", "Service" }) do wait_event(kind, "Normal", "ProblemSolved", "InvalidAnnotation") end
    scope:wait_for("the metric to be as before", 10, function() return haptic:metric("haptic_warned_objects") == warned end)
    -- The ConfigMap's is wrong, and nobody else has one: the default.
    annotate("Ingress", nil)
    admin:patch("ConfigMap", "haproxy", { data = { ["timeout-server"] = "never" } })
    wait_limit(nil, "60s")
    wait_event("ConfigMap", "Warning", "InvalidAnnotation", "timeout-server")
    assert.equal(0, haptic:count_log("level=ERROR"))
  end)
end)
