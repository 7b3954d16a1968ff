--- What HAPTIC believes of the API server's watches, and what it tells of those that it cannot follow.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("watches", function()
  local world = e2e.world("watch", { routes = { { "steady", "198.18.0.1" } }, clients = { "haptic" } })
  local admin, _, faults, scope, haptic

  setup(function() admin, _, faults = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  before_each(function()
    faults:forget_requests()
    scope = world:open()
  end)

  local function answers(host, wanted, seconds)
    return scope:wait_answer(haptic.http_port, host, wanted, seconds)
  end

  it("without bookmarks: a busy kind is listed in pages, and silence is told once", function()
    faults:rule({ action = "unmarked", watch = true })
    admin:put(kube.slice("busy", { "198.18.5.1" }))
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic"), args = { "--watch-stall-timeout", "3s" } })
    local n = 0
    scope:wait_for("haptic to be ready while a kind changes all the time", 30, function()
      n = n + 1
      admin:put(kube.slice("busy", { "198.18.5." .. n % 250 + 1 }))
      posix.sleep(0.3)
      return haptic:is_ready()
    end)
    answers("steady.example", "198.18.0.1:8001")
    assert.equal(1, haptic:count_log("list endpointslices.*end of the streamed list did not come"))
    assert.is_true(#faults:find_requests("/endpointslices[?]limit=500") > 0)
    haptic:wait_log("Watches are silent", 20)
    scope:wait_for("kinds that are quiet to be opened again in silence", 20, function()
      return (haptic:metric("haptic_watch_restarts_total", { kind = "services", reason = "silent" }) or 0) >= 2
    end)
    assert.equal(1, haptic:count_log("Watches are silent"))
    -- One for the list, one for the first silence; none each time after that.
    assert.is_true(haptic:count_log("Watch failed.*resource=services") <= 2)
    admin:put(kube.slice("steady", { "198.18.0.9" }))
    answers("steady.example", "198.18.0.9:8001", 5)
  end)
end)
