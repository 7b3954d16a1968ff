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
    haptic:wait_log("This API server sends no bookmarks", 20)
    scope:wait_for("kinds that are quiet to be opened again in silence", 20, function()
      return (haptic:metric("haptic_watch_restarts_total", { kind = "services", reason = "silent" }) or 0) >= 2
    end)
    assert.equal(1, haptic:count_log("This API server sends no bookmarks"))
    -- One for the list, one for the first silence; none each time after that.
    assert.is_true(haptic:count_log("Watch failed.*resource=services") <= 2)
    admin:put(kube.slice("steady", { "198.18.0.9" }))
    answers("steady.example", "198.18.0.9:8001", 5)
  end)

  local function rules_without_watch_of_slices()
    local rules = kube.rules()
    rules[2].verbs = { "get", "list" }
    return rules
  end

  it("that are refused from the start: not ready, and the verb is named once", function()
    admin:allow("alice", rules_without_watch_of_slices())
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic") })
    haptic:wait_log("Watch failed.*resource=endpoints", 10)
    posix.sleep(7) -- it is tried again after five seconds
    local ready, why = haptic:is_ready()
    assert.is_false(ready)
    assert.truthy(why:find('not followed: endpoints: .*may not watch endpointslices.*add the verb "watch" to its cluster role'))
    assert.equal(1, haptic:count_log("Watch failed.*resource=endpoints"))
    assert.equal(0, haptic:count_log("Watch works again"))
    admin:allow("alice", kube.rules())
    haptic:wait_ready(60)
    assert.equal(1, haptic:count_log("Watch works again.*resource=endpoints"))
    answers("steady.example", "198.18.0.1:8001")
  end)

  if e2e.is_full then
    it("that fail for more than a minute: not ready; but an API server that is away for all is no reason", function()
      haptic = world:start()
      admin:allow("alice", rules_without_watch_of_slices())
      faults:cut({ watch = true })
      haptic:wait_log("Watch failed.*resource=endpoints", 10)
      posix.sleep(50)
      assert.is_true((haptic:is_ready()))
      scope:wait_for("haptic not to be ready", 20, function() return not haptic:is_ready() end)
      admin:allow("alice", kube.rules())
      haptic:wait_ready(30)
      faults:down("haptic")
      posix.sleep(75)
      assert.is_true((haptic:is_ready()))
      faults:up("haptic")
    end)
  else
    io.stderr:write("a watch that fails for more than a minute: with E2E_FULL=1 only\n")
  end

  it("what a start waits for is logged with growing distance", function()
    local rules = kube.rules()
    rules[2].verbs = { "get" }
    admin:allow("alice", rules)
    local begin = posix.now()
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic") })
    haptic:wait_log('msg="Starting".*endpoints', 10)
    posix.sleep(9)
    -- After 2, 4, 8 seconds; in older days each two.
    local lines = haptic:count_log('msg="Starting"')
    assert.is_true(lines >= 2 and lines <= 3, ("%d lines in %.0f s"):format(lines, posix.now() - begin))
    -- Something else is waited for: said at once.
    rules[2].verbs, rules[1].verbs = kube.rules()[2].verbs, { "get" }
    admin:allow("alice", rules)
    faults:cut({})
  end)

  it("a replica that may not touch the Lease is not ready where nobody leads", function()
    admin:allow("alice", kube.rules({ "create" }))
    haptic = scope:haptic({
      kubeconfig = world:kubeconfig("haptic"),
      config = e2e.config({ controller = { leader_election = { enabled = true } } }),
    })
    haptic:wait_log("lease get failed", 10)
    local why
    scope:wait_for("the reason", 10, function()
      local ready
      ready, why = haptic:is_ready()
      assert.is_false(ready)
      return why:find("HAProxy does not run: this replica does not lead") ~= nil
    end)
    assert.truthy(why:find("no replica leads: .*may not get leases"))
    admin:allow("alice", kube.rules())
    haptic:wait_ready(30)
    answers("steady.example", "198.18.0.1:8001")
  end)
end)
