--- HAProxy's sockets hang, close, or answer nonsense: HAPTIC says so, serves on, and is level again when they work.

local e2e = require("support.e2e")
local kube = require("support.kube")

describe("HAProxy's sockets", function()
  local world = e2e.world("sockets", { routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } } })
  local admin, scope, haproxy, master, runtime, haptic, client

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)

  before_each(function()
    scope = world:open()
    haproxy = scope:haproxy({})
    master = scope:socket_faults(scope:path("master.sock"), haproxy.directory .. "/master.sock")
    haptic, client = world:start({ haproxy = haproxy, args = { "--master-socket", master.path } })
    -- HAProxy makes the runtime socket itself, at each reload: this holds until the next one.
    local path = haproxy.directory .. "/runtime.sock"
    assert(os.rename(path, path .. ".real"))
    runtime = scope:socket_faults(path, path .. ".real")
  end)

  after_each(function()
    master.set("pass")
    runtime.set("pass")
    world:close()
  end)

  local function level_again()
    scope:wait_for("HAPTIC to be ready", 30, function() return haptic:is_ready() end)
    admin:put(kube.slice("moving", { "198.18.1.9" }))
    scope:wait_answer(haptic.http_port, "moving.example", "198.18.1.9:8001", 10)
    client:finish()
  end

  for _, mode in ipairs({ "hang", "close", "nonsense", "cut" }) do
    it(mode .. " (both): an endpoint change waits, and is live when they work again", function()
      master.set(mode)
      runtime.set(mode)
      admin:put(kube.slice("moving", { "198.18.1.2" }))
      haptic:wait_log("level=WARN", 20)
      assert.equal(200, haptic:get("/healthz").status)
      master.set("pass")
      runtime.set("pass")
      scope:wait_answer(haptic.http_port, "moving.example", "198.18.1.2:8001", 45)
      level_again()
    end)

    it(mode .. " (runtime API only): an endpoint change finds a way, or waits", function()
      runtime.set(mode)
      admin:put(kube.slice("moving", { "198.18.1.2" }))
      haptic:wait_log("level=WARN", 20)
      runtime.set("pass")
      scope:wait_answer(haptic.http_port, "moving.example", "198.18.1.2:8001", 45)
      level_again()
    end)

    it(mode .. " (master only): a new Ingress waits, and is live when it works again", function()
      master.set(mode)
      admin:put_route("new", "new.example", { "198.18.2.1" })
      haptic:wait_log("level=WARN", 40)
      master.set("pass")
      scope:wait_answer(haptic.http_port, "new.example", "198.18.2.1:8001", 45)
      level_again()
    end)
  end
end)
