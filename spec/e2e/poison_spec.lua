--- One bad object: it keeps its last good state, its owner is told, and everybody else's changes go live.

local e2e = require("support.e2e")
local kube = require("support.kube")

-- What an administrator may have added: annotations that reach the configuration.
local SNIPPET = [[
extend("backend", 500, function(b, c)
  local notes = dig(c.ingress, "metadata", "annotations") or {}
  if notes["spec/raw"] then b:raw(notes["spec/raw"]) end
  if notes["spec/fail"] then fail(notes["spec/fail"]) end
  if notes["spec/bug"] then return notes["spec/bug"].no.such.field end
  if notes["spec/loop"] then while true do end end
  if notes["spec/bomb"] then
    local t = {}
    for i = 1, 1e9 do t[i] = { i, tostring(i) } end
  end
  if notes["spec/deep"] then
    local function down(n) return 1 + down(n + 1) end
    down(1)
  end
end)
]]

local POISONS = {
  { name = "a directive that HAProxy refuses", annotations = { ["spec/raw"] = "no-such-directive at all" } },
  { name = "several directives, one wrong", annotations = { ["spec/raw"] = "option httpclose\ntimeout server never" } },
  { name = "a template that fails", annotations = { ["spec/fail"] = "this ingress asks for the impossible" } },
  { name = "a bug in a template", annotations = { ["spec/bug"] = "x" } },
  { name = "an endless loop", annotations = { ["spec/loop"] = "yes" }, slow = true,
    said = 'error="poison.lua:6: the renderer was ended while this ran: a rendering may take 2s (templatingSettings.renderTimeout)"' },
  { name = "endless memory", annotations = { ["spec/bomb"] = "yes" }, slow = true },
  { name = "endless recursion", annotations = { ["spec/deep"] = "yes" } },
}

describe("poison:", function()
  local world = e2e.world("poison", { routes = { { "steady", "198.18.0.1" }, { "victim", "198.18.2.1" } } })
  local admin, scope, haptic

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  before_each(function() scope = world:open() end)
  after_each(function() world:close() end)

  local function answers(host, wanted, seconds)
    return scope:wait_answer(haptic.http_port, host, wanted, seconds)
  end

  local function start()
    haptic = scope:haptic({
      kubeconfig = world:kubeconfig(),
      config = e2e.config({
        templatingSettings = { renderTimeout = "2s", renderMemoryBytes = 256 * 1024 * 1024 },
        templateSnippets = { ["poison.lua"] = { template = SNIPPET } },
      }),
    })
  end

  local function poison(annotations)
    admin:put(kube.ingress({ name = "victim", host = "victim.example", service = "victim", annotations = annotations }))
  end

  --- Others' new objects, changes and deletions go live.
  local function others_live(seconds)
    admin:put(kube.slice("steady", { "198.18.0.2" }))
    answers("steady.example", "198.18.0.2:8001", seconds)
    admin:put_route("new", "new.example", { "198.18.3.1" })
    answers("new.example", "198.18.3.1:8001", seconds)
    admin:delete("Ingress", "new")
    answers("new.example", { status = 404 }, seconds)
  end

  for _, case in ipairs(POISONS) do
    local seconds = case.slow and 30 or 10

    it(case.name .. ", while running", function()
      start()
      haptic:wait_ready()
      answers("victim.example", "198.18.2.1:8001")
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example", "victim.example" } })
      poison(case.annotations)
      -- Named in the log.
      scope:wait_for("the log to name the object", seconds, function()
        for line in haptic:log():gmatch("[^\n]+") do
          if line:find("level=WARN") and line:find("default/victim")
            and (not case.said or line:find(case.said, 1, true)) then return true end
        end
      end)
      others_live(seconds)
      -- Its last good state is in force.
      assert.equal("198.18.2.1:8001", select(2, e2e.ask(haptic.http_port, "victim.example")))
      assert.equal(200, haptic:get("/healthz").status)
      -- Repaired, it follows again.
      admin:put(kube.ingress({ name = "victim", host = "victim.example", service = "victim" }))
      admin:put(kube.slice("victim", { "198.18.2.2" }))
      answers("victim.example", "198.18.2.2:8001", seconds)
      client:finish()
    end)

    it(case.name .. ", from the start", function()
      poison(case.annotations)
      start()
      answers("steady.example", "198.18.0.1:8001", seconds)
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
      others_live(seconds)
      admin:put(kube.ingress({ name = "victim", host = "victim.example", service = "victim" }))
      answers("victim.example", "198.18.2.1:8001", seconds)
      client:finish()
    end)
  end

  it("a bad object and a good one on the same Service: its endpoints go on", function()
    admin:put(kube.ingress({ name = "younger", host = "neighbour.example", service = "victim" }))
    start()
    answers("neighbour.example", "198.18.2.1:8001")
    local client = scope:client({ port = haptic.http_port, hosts = { "victim.example", "neighbour.example" } })
    poison({ ["spec/raw"] = "no-such-directive at all" })
    haptic:wait_log("Object quarantined.*default/victim", 10)
    for last = 2, 4 do
      admin:put(kube.slice("victim", { "198.18.2." .. last }))
      answers("neighbour.example", "198.18.2." .. last .. ":8001")
      answers("victim.example", "198.18.2." .. last .. ":8001")
    end
    assert.equal(1, haptic:metric("haptic_quarantined_objects"))
    admin:put(kube.ingress({ name = "victim", host = "victim.example", service = "victim" }))
    scope:wait_for("the end of the quarantine", 10, function() return haptic:metric("haptic_quarantined_objects") == 0 end)
    client:excuse("its Ingress is deleted", { host = "neighbour.example", status = 404 })
    admin:delete("Ingress", "younger")
    answers("neighbour.example", { status = 404 })
    answers("victim.example", "198.18.2.4:8001")
    client:finish()
  end)

  it("many bad objects at once, and one good among them", function()
    start()
    haptic:wait_ready()
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example", "victim.example" } })
    for i = 1, 8 do
      admin:put(kube.ingress({
        name = "bad" .. i, host = ("bad%d.example"):format(i), service = "steady", annotations = { ["spec/raw"] = "bad directive " .. i },
      }))
    end
    -- They share a Service, whose backend is one; so their Services differ too.
    for i = 1, 8 do
      admin:put(kube.service("bad" .. i))
      admin:put(kube.slice("bad" .. i, { "198.18.4." .. i }))
      admin:put(kube.ingress({
        name = "bad" .. i, host = ("bad%d.example"):format(i), service = "bad" .. i, annotations = { ["spec/raw"] = "bad directive " .. i },
      }))
    end
    admin:put_route("good", "good.example", { "198.18.5.1" })
    answers("good.example", "198.18.5.1:8001", 30)
    others_live(30)
    client:finish()
  end)

  it("hostile strings in objects' fields stay inside their word", function()
    start()
    haptic:wait_ready()
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example", "victim.example" } })
    local hostile = {
      "/a b", "/a\"b", "/a#b", "/a\\b", "/${HOME}", "/%[env(HOME)]", "/a'b", "/ü", "/%zz", "/a;b", "/" .. ("x"):rep(3000),
    }
    for i, path in ipairs(hostile) do
      local status = admin:call("POST", admin:path("Ingress", "default"), kube.ingress({
        name = "hostile" .. i, host = ("hostile%d.example"):format(i), paths = { { path = path, service = "steady" } },
        annotations = { ["spec/note"] = path },
      }))
      assert.is_true(status == 201 or status == 422, tostring(status))
    end
    others_live(10)
    local config = assert(haptic:get("/debug/config")).body
    assert.is_nil(config:find("env(HOME)", 1, true))
    assert.is_nil(config:find("${HOME}", 1, true))
    client:finish()
  end)

  it("wrong values of annotations: each owner gets an Event, and nothing of them is configured", function()
    haptic = scope:haptic({ kubeconfig = world:kubeconfig(), config = e2e.config({ templatingSettings = { extraContext = {
      config_snippets = { "Ingress", "Service" } } } }) })
    haptic:wait_ready()
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
    local reasons = { ["allow-list"] = "InvalidProtection", ["rate-limit-requests"] = "InvalidProtection",
      ["backend-config-snippet"] = "InvalidAnnotation", ["load-balance"] = "InvalidAnnotation", ["server-ca"] = "InvalidAnnotation",
      ["standalone-backend"] = "InvalidAnnotation", ["request-set-header"] = "InvalidAnnotation",
      ["scale-server-slots"] = "AnnotationIgnored", ["cr-backend"] = "AnnotationIgnored" }
    for key in pairs(reasons) do
      admin:put(kube.ingress({ name = "wrong-" .. key, host = "wrong-" .. key .. ".example", service = "steady",
        annotations = { ["haproxy.org/" .. key] = "zz-evil\n  server zz-evil 127.0.0.1:1" } }))
    end
    scope:wait_for("an Event for each owner", 20, function()
      local told = {}
      for _, event in ipairs(admin:list("Event", "default")) do
        told[(event.involvedObject or {}).name .. " " .. event.reason] = event.message
      end
      for key, reason in pairs(reasons) do
        local message = told["wrong-" .. key .. " " .. reason]
        if not message or not message:find(key, 1, true) then return false, key .. ": " .. tostring(message) end
      end
      return true
    end)
    others_live(10)
    assert.is_nil(haptic:get("/debug/config").body:find("zz-evil", 1, true))
    assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
    for key in pairs(reasons) do admin:delete("Ingress", "wrong-" .. key) end
    client:finish()
  end)

  it("the state of a quarantined object is visible and counted", function()
    start()
    haptic:wait_ready()
    poison(POISONS[1].annotations)
    scope:wait_for("the metric", 10, function() return (haptic:metric("haptic_quarantined_objects") or 0) >= 1 end)
    local state = assert(haptic:get("/debug/state")).body
    assert.truthy(state:find("default/victim", 1, true))
    assert.truthy(state:find("no-such-directive", 1, true))
    admin:put(kube.ingress({ name = "victim", host = "victim.example", service = "victim" }))
    scope:wait_for("the metric to fall", 10, function() return haptic:metric("haptic_quarantined_objects") == 0 end)

  end)
end)
