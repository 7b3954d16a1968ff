--- Processes that die or are held up, and an HAProxy that somebody changes: HAPTIC brings everything level again.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("processes:", function()
  local world = e2e.world("processes", { routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } } })
  local admin, scope, haptic, client

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  before_each(function() scope = world:open() end)
  after_each(function() world:close() end)

  local function answers(host, wanted, seconds)
    return scope:wait_answer(haptic.http_port, host, wanted, seconds)
  end

  local function start(options)
    haptic, client = world:start(options)
  end

  local function follows(seconds)
    for i = 1, 2 do
      local address = ("198.18.%d.%d"):format(100 + i, math.random(1, 250))
      admin:put(kube.slice("moving", { address }))
      answers("moving.example", address .. ":8001", seconds)
    end
  end

  for _, who in ipairs({ "master", "worker" }) do
    it("HAProxy's " .. who .. " killed: it is started again with all that was deployed", function()
      start()
      -- Deployed at runtime only, moments before.
      admin:put(kube.slice("moving", { "198.18.1.9" }))
      answers("moving.example", "198.18.1.9:8001")
      local before = haptic.haproxy:processes()
      local over = client:excuse("HAProxy was killed")
      posix.kill(before[who], "KILL")
      scope:wait_for("a new HAProxy to answer", 10, function()
        return haptic.haproxy:processes().master ~= before.master and e2e.ask(haptic.http_port, "steady.example") == 200
      end)
      answers("moving.example", "198.18.1.9:8001", 5)
      over()
      haptic:wait_log("HAProxy died", 1)
      haptic:wait_ready(10)
      follows(5)
      client:finish()
    end)
  end

  it("HAProxy killed again and again: it comes back each time, without a storm", function()
    start()
    local over = client:excuse("HAProxy was killed")
    for _ = 1, 3 do
      local before = haptic.haproxy:processes().master
      posix.kill(before, "KILL")
      scope:wait_for("a new HAProxy", 15, function() return haptic.haproxy:processes().master ~= before end)
    end
    answers("steady.example", "198.18.0.1:8001")
    over()
    follows(5)
    client:finish()
  end)

  for _, signal in ipairs({ "KILL", "STOP" }) do
    it("renderer hit by SIG" .. signal .. ": another takes its place", function()
      start()
      local before = assert(haptic:renderer_pid(), "no renderer process found")
      posix.kill(before, signal)
      admin:put(kube.slice("moving", { "198.18.1.4" }))
      -- The time limit of a rendering is 10 s.
      answers("moving.example", "198.18.1.4:8001", 30)
      local after = haptic:renderer_pid()
      assert.are_not.equal(before, after)
      assert.is_false(posix.is_alive(before))
      haptic:wait_log("Renderer died", 1)
      follows(5)
      client:finish()
    end)
  end

  it("HAPTIC killed: HAProxy serves on, the next one takes over without a reload", function()
    start()
    local before = haptic.haproxy:processes()
    haptic:kill()
    admin:put(kube.slice("moving", { "198.18.1.5" }))
    posix.sleep(0.5)
    haptic = haptic:successor("second")
    answers("moving.example", "198.18.1.5:8001", 15)
    haptic:wait_ready()
    assert.same(before, haptic.haproxy:processes())
    client:finish()
  end)

  it("HAPTIC held up: it catches up when it goes on", function()
    start()
    haptic:signal("STOP")
    for i = 1, 10 do admin:put(kube.slice("moving", { "198.18.6." .. i })) end
    posix.sleep(3)
    assert.equal("198.18.1.1:8001", select(2, e2e.ask(haptic.http_port, "moving.example")))
    haptic:signal("CONT")
    answers("moving.example", "198.18.6.10:8001", 10)
    client:finish()
  end)

  it("SIGTERM ends all of it in order, HAProxy included", function()
    start()
    client:finish()
    local processes, renderer = haptic.haproxy:processes(), haptic:renderer_pid()
    local begin = posix.now()
    haptic:stop()
    assert.is_true(posix.now() - begin < 10)
    scope:wait_for("HAProxy and the renderer to be gone", 5, function()
      return not posix.is_alive(processes.master) and not posix.is_alive(processes.worker) and not posix.is_alive(renderer)
    end)
    haptic:wait_log("Controller shutdown complete", 1)
  end)

  it("--keep-haproxy leaves HAProxy, and the next start takes it over", function()
    start({ args = { "--keep-haproxy" } })
    local before = haptic.haproxy:processes()
    haptic:stop()
    assert.equal("198.18.0.1:8001", select(2, e2e.ask(haptic.http_port, "steady.example")))
    haptic = haptic:successor("next"):wait_ready()
    follows(5)
    assert.same(before, haptic.haproxy:processes())
    client:finish()
  end)

  describe("drift:", function()
    before_each(function()
      start({ config = e2e.config({ dataplane = { driftPreventionInterval = "2s" } }) })
    end)

    it("servers and map entries changed by hand are put right, without a reload", function()
      local before = haptic.haproxy:processes()
      local over = client:excuse("somebody broke the route by hand", { host = "moving.example" })
      local name = next(haptic.haproxy:servers("default_moving_80"))
      assert(haptic.haproxy:ask(("set server default_moving_80/%s addr 198.18.77.77 port 1"):format(name)))
      assert(haptic.haproxy:ask("del map maps/path-prefix.map moving.example/"))
      answers("moving.example", { status = 404 })
      answers("moving.example", "198.18.1.1:8001", 8)
      over()
      haptic:wait_log("HAProxy differed", 1)
      assert.same(before, haptic.haproxy:processes())
      assert.is_true(haptic:metric("haptic_drift_repairs_total") >= 1)
      client:finish()
    end)

    it("files changed by hand are put right before they can do harm", function()
      local path = haptic.directory .. "/haproxy.cfg"
      local right = posix.read_file(path)
      posix.write_file(path, "nonsense\n")
      scope:wait_for("haproxy.cfg to be right again", 10, function()
        return posix.read_file(path) == right
      end)
      client:finish()
    end)

    it("a reload by somebody else loses nothing", function()
      admin:put(kube.slice("moving", { "198.18.1.8" }))
      answers("moving.example", "198.18.1.8:8001")
      haptic.haproxy:ask_master("reload")
      follows(10)
      client:finish()
    end)
  end)
end)
