--- Kubernetes objects become live traffic: a real API server, each supported HAProxy, requests all the time.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
  describe("objects on HAProxy " .. series, function()
    local world = e2e.world("objects", { routes = { { "steady", "198.18.0.1" } } })
    local admin, scope, haptic

    setup(function() admin = world:begin() end)
    teardown(function() world:finish() end)
    after_each(function() world:close() end)

    before_each(function()
      scope = world:open()
      haptic = scope:haptic({ kubeconfig = world:kubeconfig(), series = series }):wait_ready()
      scope:wait_answer(haptic.http_port, "steady.example", "198.18.0.1:8001")
    end)

    local function answers(host, wanted, seconds)
      return scope:wait_answer(haptic.http_port, host, wanted, seconds)
    end

    it("follow the life of an Ingress, its Service and its endpoints", function()
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
      assert.equal(404, (e2e.ask(haptic.http_port, "new.example")))

      -- An Ingress before its Service and endpoints: 503 for that route only.
      admin:put(kube.ingress({ name = "new", host = "new.example", service = "new" }))
      answers("new.example", { status = 503 })
      admin:put(kube.service("new"))
      admin:put(kube.slice("new", { "198.18.1.1" }))
      answers("new.example", "198.18.1.1:8001")

      -- Another path to another Service; then another host.
      admin:put(kube.ingress({
        name = "new", host = "new.example",
        paths = { { path = "/", service = "new" }, { path = "/steady", service = "steady" } },
      }))
      answers("new.example", { path = "/steady/x", backend = "198.18.0.1:8001" })
      answers("new.example", { path = "/steadyx", backend = "198.18.1.1:8001" })
      admin:put(kube.ingress({ name = "new", host = "moved.example", service = "new" }))
      answers("moved.example", "198.18.1.1:8001")
      answers("new.example", { status = 404 })

      -- The Service goes and comes back.
      admin:delete("Service", "new")
      answers("moved.example", { status = 503 })
      admin:put(kube.service("new"))
      answers("moved.example", "198.18.1.1:8001")

      -- Its endpoints go; then the Ingress does.
      admin:delete("EndpointSlice", "new-1")
      answers("moved.example", { status = 503 })
      admin:delete("Ingress", "new")
      answers("moved.example", { status = 404 })
      client:finish(100)
    end)

    it("change endpoints without a reload", function()
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
      local before = haptic.haproxy:processes()

      admin:put(kube.slice("steady", { "198.18.0.2" }))
      answers("steady.example", "198.18.0.2:8001")
      scope:wait_for("the old endpoint to get nothing more", 5, function()
        for _ = 1, 20 do
          local _, backend = e2e.ask(haptic.http_port, "steady.example")
          if backend ~= "198.18.0.2:8001" then return false, backend end
        end
        return true
      end)
      -- More of them, another port, one that drains, and one again.
      admin:put(kube.slice("steady", { "198.18.0.2", "198.18.0.3", "198.18.0.4" }))
      for i = 2, 4 do answers("steady.example", ("198.18.0.%d:8001"):format(i)) end
      admin:put(kube.slice("steady", { "198.18.0.3" }, 8002))
      answers("steady.example", "198.18.0.3:8002")
      admin:put(kube.slice("steady", { { "198.18.0.3", false, true, true }, "198.18.0.5" }, 8002))
      answers("steady.example", "198.18.0.5:8002")
      admin:put(kube.slice("steady", { "198.18.0.5" }, 8002))
      -- HAProxy 2.6 keeps a server while it has idle connections of it.
      scope:wait_for("one server to be left", 30, function()
        local n = 0
        for _ in pairs(haptic.haproxy:servers("default_steady_80")) do n = n + 1 end
        return n == 1, n
      end)

      assert.same(before, haptic.haproxy:processes())
      client:finish(50)
    end)

    it("come and go quickly, and end at the last state", function()
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
      for i = 1, 60 do
        admin:put(kube.slice("steady", { ("198.18.2.%d"):format(i) }))
        if i % 10 == 0 then
          admin:put_route("burst", "burst.example", { ("198.18.3.%d"):format(i) })
        elseif i % 10 == 5 then
          admin:delete("Ingress", "burst")
        end
      end
      answers("steady.example", "198.18.2.60:8001")
      answers("burst.example", "198.18.3.60:8001")
      client:finish(50)
    end)

    if series == "3.4" then
      it("make a new Ingress live without a reload", function()
        local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
        local before = haptic.haproxy:processes()
        for i = 1, 5 do
          local name = "fresh" .. i
          admin:put_route(name, name .. ".example", { "198.18.4." .. i })
          answers(name .. ".example", ("198.18.4.%d:8001"):format(i))
        end
        admin:delete("Ingress", "fresh1")
        answers("fresh1.example", { status = 404 })
        assert.same(before, haptic.haproxy:processes())
        client:finish(50)
      end)
    end

    it("survive a restart of the controller without a reload", function()
      admin:put_route("other", "other.example", { "198.18.5.1" })
      answers("other.example", "198.18.5.1:8001")
      local client = scope:client({ port = haptic.http_port, hosts = { "steady.example", "other.example" } })
      -- What was changed at runtime is on disk too before it ends.
      admin:put(kube.slice("steady", { "198.18.0.9" }))
      answers("steady.example", "198.18.0.9:8001")
      local before = haptic.haproxy:processes()
      haptic:kill()
      posix.sleep(0.2)
      haptic:successor("again"):wait_ready()
      admin:put(kube.slice("other", { "198.18.5.2" }))
      answers("other.example", "198.18.5.2:8001")
      assert.same(before, haptic.haproxy:processes())
      client:finish(50)
    end)
  end)
end

describe("objects that want the same path", function()
  local world = e2e.world("equal", { routes = { { "steady", "198.18.0.1" } } })
  local admin, scope, haptic

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  --- The newest Event of that reason about the Ingress.
  local function event_of(ingress, reason)
    for _, event in ipairs(admin:list("Event", "default")) do
      if event.involvedObject.kind == "Ingress" and event.involvedObject.name == ingress and event.reason == reason then
        return event
      end
    end
  end

  it("the younger one's owner is told in the log, an Event, the metric and the state", function()
    scope = world:open()
    admin:put(kube.service("younger"))
    admin:put(kube.slice("younger", { "198.18.0.2" }))
    haptic = scope:haptic({ kubeconfig = world:kubeconfig() }):wait_ready()
    scope:wait_answer(haptic.http_port, "steady.example", "198.18.0.1:8001")
    posix.sleep(1.1) -- creationTimestamp has whole seconds
    admin:put(kube.ingress({ name = "younger", host = "steady.example", service = "younger" }))
    haptic:wait_log("DuplicatePath.*younger", 10)
    local event
    scope:wait_for("the Event", 10, function()
      event = event_of("younger", "DuplicatePath")
      return event
    end)
    assert.equal("Warning", event.type)
    assert.truthy(event.message:find("steady.example", 1, true))
    assert.truthy(event.message:find("default/steady", 1, true))
    assert.equal(admin:get("Ingress", "younger").metadata.uid, event.involvedObject.uid)
    assert.equal(1, haptic:metric("haptic_conflicts"))
    assert.truthy(haptic:get("/debug/state").body:find("default/younger", 1, true))
    assert.equal("198.18.0.1:8001", select(2, e2e.ask(haptic.http_port, "steady.example")))
    assert.is_nil(event_of("steady", "DuplicatePath"))
    -- The older one goes: the route is the other's, and nothing is wrong any more.
    admin:delete("Ingress", "steady")
    scope:wait_answer(haptic.http_port, "steady.example", "198.18.0.2:8001")
    scope:wait_for("the metric to fall", 10, function() return haptic:metric("haptic_conflicts") == 0 end)
  end)
end)
