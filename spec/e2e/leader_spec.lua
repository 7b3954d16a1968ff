--- Three replicas around one HAProxy: whatever happens to the leader, one takes over, and no request notices.
--
-- Reported for each kind of event: the time from the event to the moment when HAProxy serves a change that was made then.
-- E2E_FULL=1 does 30 × SIGTERM, 30 × SIGKILL and 10 × SIGSTOP instead of the smaller counts below.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local COUNTS = e2e.is_full and { term = 30, kill = 30, stop = 10 } or { term = 6, kill = 6, stop = 3 }
io.stderr:write(("hand-overs: %d × SIGTERM, %d × SIGKILL, %d × SIGSTOP (%s)\n"):format(COUNTS.term, COUNTS.kill, COUNTS.stop,
  e2e.is_full and "E2E_FULL=1" or "E2E_FULL=1 does more"))

local SHORT = { lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" }
local SHORT_BOUND = 3 + 0.5
-- Beside the election itself: the API server's answers, HAProxy's, and the test's own looks.
local SLACK = 1

local WITH_WATCH = { "get", "list", "watch", "create", "update" }

describe("three replicas", function()
  local world = e2e.world("leader", {
    routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } }, clients = { "a", "b", "c" },
    rules = kube.rules(WITH_WATCH),
  })
  local admin, cluster, faults, scope, replicas, client, changes

  setup(function() admin, cluster, faults = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  before_each(function()
    scope = world:open()
    changes = 0
  end)

  --- election: leader election settings, the same for all or by name; {} is the guide's defaults.
  local function start(election)
    replicas = scope:replicas({
      names = { "a", "b", "c" },
      kubeconfig = function(name) return world:kubeconfig(name) end,
      config = function(name)
        local own = election[name] or election
        own.enabled = true
        return e2e.config({ controller = { leader_election = own } })
      end,
    })
    local leader = replicas:wait_leader(30)
    replicas:wait_all_ready()
    client = world:wait_routes(replicas.http_port)
    return leader
  end

  --- Makes a change; returns what HAProxy answers when it is live.
  local function change()
    changes = changes + 1
    local address = ("198.18.%d.%d"):format(10 + math.floor(changes / 250), 1 + changes % 250)
    admin:put(kube.slice("moving", { address }))
    return address .. ":8001"
  end

  local function wait_live(address, seconds)
    return scope:wait_answer(replicas.http_port, "moving.example", address, seconds)
  end

  local function wait_change_live(seconds)
    return wait_live(change(), seconds)
  end

  --- Does `event` and a change at the same moment; returns the seconds until that is live, and the new leader.
  local function hand_over(event, seconds)
    local begin = posix.now()
    event()
    local live = wait_live(change(), seconds) - begin
    local leader = replicas:wait_leader(10)
    replicas:fence()
    return live, leader
  end

  --- Repeats it; checks the bound of all but the slowest hundredth, and reports.
  local function series(what, count, bound, run)
    local times = {}
    for i = 1, count do
      times[i] = run(i)
    end
    e2e.report("hand-over, " .. what, times)
    local p99 = e2e.percentile(times, 99)
    assert.is_true(p99 <= bound, ("%s: p99 %.3f s, wanted %.3f s"):format(what, p99, bound))
  end

  --- A leader ends by `event`, and is started again.
  local function replace(event, bound)
    return function()
      local leader = replicas:wait_leader(10)
      local seconds, next_leader = hand_over(function() event(leader) end, bound + 5)
      assert.are_not.equal(leader.name, next_leader.name)
      if leader:is_running() then leader.process:wait(10) end
      leader.ended = true
      replicas:start(leader.name):wait_ready()
      return seconds
    end
  end

  it("hand over on SIGTERM at once, with the guide's timings", function()
    start({})
    series("SIGTERM, default timings", COUNTS.term, 1, replace(function(leader)
      leader.ended = true
      leader:signal("TERM")
    end, 1))
    for _, h in pairs(replicas.by_name) do
      assert.equal(0, h:count_log("level=ERROR"), h.name)
    end
    client:finish(100)
  end)

  it("hand over on SIGTERM by polling where the Lease may not be watched", function()
    admin:allow("alice", kube.rules())
    start(SHORT)
    series("SIGTERM, polling each 0.5 s", math.min(COUNTS.term, 10), 0.5 * 2.2 + SLACK, replace(function(leader)
      leader.ended = true
      leader:signal("TERM")
    end, 2))
    client:finish(100)
  end)

  it("replace a leader that was killed, when its lease has ended", function()
    start(SHORT)
    series("SIGKILL, lease 3 s, retry 0.5 s", COUNTS.kill, SHORT_BOUND + SLACK, replace(function(leader)
      leader:kill()
    end, SHORT_BOUND))
    client:finish(100)
  end)

  it("replace a leader that was held up; it steps down when it goes on", function()
    start(SHORT)
    series("SIGSTOP, lease 3 s, retry 0.5 s", COUNTS.stop, SHORT_BOUND + SLACK, function()
      local leader = replicas:wait_leader(10)
      local lost = leader:count_log("Lost leadership")
      local seconds, next_leader = hand_over(function() leader:signal("STOP") end, SHORT_BOUND + 5)
      assert.are_not.equal(leader.name, next_leader.name)
      local transitions = replicas:fence()
      -- It has this change still to see, and old ones in its buffers; none of it may reach HAProxy from there.
      local address = change()
      leader:signal("CONT")
      wait_live(address, 5)
      leader:wait_log("Lost leadership", 5, lost + 1)
      assert.equal(1, #replicas:leaders())
      local after, _, holder = replicas:fence()
      assert.equal(transitions, after)
      assert.equal(next_leader.name, holder)
      return seconds
    end)
    client:finish(100)
  end)

  it("refuse a stale writer: a fence that somebody raised is seen, said, and overcome", function()
    local leader = start(SHORT)
    local transitions = replicas:fence()
    posix.write_file(replicas.haproxy.directory .. "/fence", ("%d 1 ghost\n"):format(transitions + 7))
    local address = change()
    scope:wait_for("the refusal in the log", 5, function()
      return leader:count_log("Deployment refused: a newer leader has written") > 0
    end)
    wait_live(address, 10)
    replicas.highest = nil
    assert.is_true(replicas:fence() > transitions + 7)
    assert.equal(1, #replicas:leaders())
    client:finish()
  end)

  it("in a new cluster begin above what was written before: nothing is refused", function()
    start(SHORT)
    client:finish()
    for _, h in pairs(replicas.by_name) do
      h:stop()
    end
    -- A cluster that was made anew counts from the beginning; HAProxy's directory knows the former one's leaders.
    admin:delete("Lease", "haptic-leader")
    replicas.highest = nil
    posix.write_file(replicas.haproxy.directory .. "/fence", "41 1 somebody\n")
    for _, name in ipairs({ "a", "b", "c" }) do
      replicas:start(name)
    end
    local leader = replicas:wait_leader(10)
    wait_change_live(10)
    local transitions, _, holder = replicas:fence()
    assert.same({ 42, leader.name }, { transitions, holder })
    assert.equal(0, leader:count_log("Deployment refused"))
    assert.equal(1, leader:count_log("Fence raised"))
    assert.equal(42, admin:get("Lease", "haptic-leader").spec.leaseTransitions)
  end)

  it("replace a leader that is cut off from the API server", function()
    start(SHORT)
    local count = math.min(COUNTS.stop, 5)
    series("API server cut off from the leader", count, SHORT_BOUND + SLACK, function()
      local leader = replicas:wait_leader(10)
      local seconds, next_leader = hand_over(function() faults:down(leader.name) end, SHORT_BOUND + 5)
      assert.are_not.equal(leader.name, next_leader.name)
      leader:wait_log("Lost leadership", 5)
      leader:wait_log("deadline", 1)
      faults:up(leader.name)
      leader:wait_ready(20)
      return seconds
    end)
    client:finish()
  end)

  for _, fault in ipairs({
    { name = "hangs", rule = { action = "hang" } },
    { name = "answers 500", rule = { action = "status", code = 500 } },
    { name = "answers 429", rule = { action = "status", code = 429, retry_after = 30 } },
    { name = "answers 403", rule = { action = "status", code = 403 } },
    { name = "loses answers to writes that happened", rule = { action = "lose", method = "PUT" } },
    { name = "is slow", rule = { action = "delay", seconds = 1.9 } },
  }) do
    it("have at most one leader when the Lease's API " .. fault.name .. " for the leader", function()
      local leader = start(SHORT)
      fault.rule.client = leader.name
      fault.rule.path = "/leases"
      faults:rule(fault.rule)
      local deadline = posix.now() + 6
      while posix.now() < deadline do
        local leaders = replicas:leaders()
        assert.is_true(#leaders <= 1, #leaders .. " leaders")
        replicas:fence()
        posix.sleep(0.05)
      end
      wait_change_live(5)
      faults:heal()
      wait_change_live(5)
      client:finish()
    end)
  end

  it("freeze without an API server, and go on when it is back", function()
    start(SHORT)
    local before = replicas.haproxy:processes()
    faults:down()
    local address = change()
    scope:wait_for("nobody to lead", 10, function() return #replicas:leaders() == 0 end)
    posix.sleep(3)
    assert.equal(0, #replicas:leaders())
    assert.are_not.equal(address, (select(2, e2e.ask(replicas.http_port, "moving.example"))))
    local begin = posix.now()
    faults:up()
    e2e.report("hand-over, API server back after all were cut off", { wait_live(address, 15) - begin })
    assert.same(before, replicas.haproxy:processes())
    client:finish()
  end)

  it("survive a restart of the API server", function()
    start(SHORT)
    cluster:kill_apiserver()
    posix.sleep(1)
    cluster:restart_apiserver()
    wait_change_live(20)
    assert.equal(1, #replicas:leaders())
    client:finish()
  end)

  for _, verbs in ipairs({ { "get" }, { "get", "create" }, { "create", "update" } }) do
    it("lose leadership when only " .. table.concat(verbs, " and ") .. " of leases is granted, and lead again later", function()
      local leader = start(SHORT)
      admin:allow("alice", kube.rules(verbs))
      local missing = #verbs == 2 and verbs[1] == "create" and "get" or "update"
      if missing == "update" then
        leader:wait_log("Lost leadership", 10)
        scope:wait_for("the log to name the verb", 5, function()
          return leader:count_log('may not update leases') > 0
        end)
        scope:wait_for("nobody to lead", 10, function() return #replicas:leaders() == 0 end)
        local address = change()
        posix.sleep(1)
        assert.are_not.equal(address, (select(2, e2e.ask(replicas.http_port, "moving.example"))))
      else
        posix.sleep(4)
        assert.is_true(#replicas:leaders() <= 1)
      end
      local begin = posix.now()
      admin:allow("alice", kube.rules(WITH_WATCH))
      e2e.report("hand-over, verbs given back (" .. table.concat(verbs, ", ") .. " were left)", { wait_change_live(20) - begin })
      assert.equal(1, #replicas:leaders())
      client:finish()
    end)
  end

  it("have one leader again after the Lease was deleted", function()
    start(SHORT)
    local times = {}
    for i = 1, math.min(COUNTS.stop, 5) do
      times[i] = hand_over(function() admin:delete("Lease", "haptic-leader") end, SHORT_BOUND + 5)
      -- The change may have been the old leader's work, before it heard of the deletion.
      scope:wait_for("a new Lease", 5, function() return admin:get("Lease", "haptic-leader") end)
    end
    e2e.report("hand-over, Lease deleted", times)
    client:finish()
  end)

  it("respect a Lease that was edited by hand", function()
    local leader = start(SHORT)
    -- Another holder: the leader steps down, and the lease runs its time.
    local seconds = hand_over(function()
      admin:patch("Lease", "haptic-leader", { spec = { holderIdentity = "somebody-else" } })
    end, SHORT_BOUND + 5)
    e2e.report("hand-over, Lease given to a stranger", { seconds })
    leader:wait_log("Lost leadership", 5)
    -- Nobody: somebody takes it at once.
    seconds = hand_over(function()
      admin:patch("Lease", "haptic-leader", { spec = { holderIdentity = "" } })
    end, SHORT_BOUND + 5)
    e2e.report("hand-over, Lease emptied", { seconds })
    -- Times that make no sense: only the own clock counts.
    seconds = hand_over(function()
      admin:patch("Lease", "haptic-leader", {
        spec = { renewTime = "2099-01-01T00:00:00.000000Z", acquireTime = cjson.null, leaseTransitions = cjson.null },
      })
    end, SHORT_BOUND + 5)
    e2e.report("hand-over, Lease with a time of the future and no transitions", { seconds })
    replicas:wait_leader(10)
    wait_change_live(5)
    client:finish()
  end)

  it("with different lease_duration follow what the Lease says", function()
    start({
      a = { lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" },
      b = { lease_duration = "6s", renew_deadline = "4s", retry_period = "1s" },
      c = { lease_duration = "4s", renew_deadline = "2s", retry_period = "500ms" },
    })
    local times = {}
    for i = 1, math.min(COUNTS.kill, 4) do
      times[i] = replace(function(leader) leader:kill() end, 8)()
      assert.is_true(times[i] <= 6 + 1 + SLACK)
    end
    e2e.report("hand-over, SIGKILL with lease durations 3, 4 and 6 s", times)
    client:finish()
  end)

  it("render the same, and followers are as current as the leader", function()
    local leader = start(SHORT)
    for i = 1, 5 do
      wait_change_live(5)
      admin:put_route("more" .. i, ("more%d.example"):format(i), { "198.18.9." .. i })
    end
    scope:wait_answer(replicas.http_port, "more5.example", "198.18.9.5:8001")
    scope:wait_for("equal hashes", 5, function()
      local hash = leader:metric("haptic_model_hash")
      for _, other in ipairs(replicas:others(leader)) do
        if other:metric("haptic_model_hash") ~= hash then return false end
      end
      return hash ~= nil and hash ~= 0
    end)
    -- Whoever takes over has nothing to render first and nothing to change at HAProxy.
    local before = replicas.haproxy:processes()
    leader:stop()
    local next_leader = replicas:wait_leader(5)
    scope:wait_for("the new leader's Deployer", 5, function() return next_leader:count_log("Started Deployer") > 0 end)
    posix.sleep(0.5)
    assert.same(before, replicas.haproxy:processes())
    client:finish()
  end)
end)
