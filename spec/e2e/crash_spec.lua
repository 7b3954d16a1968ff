--- With the guide's timings: a crash costs seconds where the cluster can tell of it.
--
-- There is no kubelet: the specs write into the Pods' status what it would write.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local BOUND = 10 -- the lease is 60 s

describe("a leader that crashes", function()
  local rules = kube.rules({ "get", "list", "watch", "create", "update" })
  local with_pods = { unpack(rules) }
  with_pods[#with_pods + 1] = { apiGroups = { "" }, resources = { "pods" }, verbs = { "get", "watch" } }
  local world = e2e.world("crash", {
    routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } }, clients = { "a", "b" }, rules = with_pods,
  })
  local admin, scope, replicas, leader, other, changes

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function()
    for _, name in ipairs({ "a", "b" }) do
      admin:delete_by_force("Pod", name)
    end
    world:close()
  end)

  local function at(seconds)
    return os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + (seconds or 0))
  end

  local function set_container(name, state, last)
    admin:patch_status("Pod", name, {
      phase = "Running",
      containerStatuses = { {
        name = "controller", image = "haptic", imageID = "", ready = state.running ~= nil, restartCount = last and 1 or 0,
        state = state, lastState = last,
      } },
    })
  end

  before_each(function()
    scope = world:open()
    changes = 0
    for _, name in ipairs({ "a", "b" }) do
      admin:put(kube.pod(name))
      set_container(name, { running = { startedAt = at(-1) } })
    end
    replicas = scope:replicas({
      names = { "a", "b" },
      kubeconfig = function(name) return world:kubeconfig(name) end,
      config = function() return e2e.config({ controller = { leader_election = { enabled = true } } }) end,
    })
    leader = replicas:wait_leader(30)
    replicas:wait_all_ready()
    world:wait_routes(replicas.http_port):finish()
    other = replicas:others(leader)[1]
    other:wait_log("New leader observed", 10)
    -- The container started in an earlier second than the Lease was taken, and ends in a later one.
    posix.sleep(1.1)
  end)

  --- A change that is made now: the seconds until HAProxy has it.
  local function live_after(seconds)
    local begin = posix.now()
    changes = changes + 1
    local address = "198.18.20." .. changes
    admin:put(kube.slice("moving", { address }))
    scope:wait_answer(replicas.http_port, "moving.example", address .. ":8001", seconds)
    return posix.now() - begin
  end

  local function report(what, seconds)
    e2e.report("hand-over with the guide's timings, " .. what, { seconds })
    assert.is_true(seconds <= BOUND, ("%.1f s"):format(seconds))
  end

  it("is replaced when its container has ended", function()
    leader:kill()
    set_container(leader.name, { terminated = { exitCode = 137, reason = "Error", startedAt = at(-60), finishedAt = at() } })
    report("container killed", live_after(BOUND + 5))
    assert.equal(1, other:count_log("Became leader: " .. other.name))
    assert.equal(1, other:count_log("The leader has ended: its lease counts as released"))
    assert.equal(2, admin:get("Lease", "haptic-leader").spec.leaseTransitions)
  end)

  it("takes its own Lease back when its container is started again", function()
    local name = leader.name
    leader:kill()
    leader = replicas:start(name)
    -- What the kubelet says of it comes late, and must not depose it.
    leader:wait_log("Became leader: " .. name, 10, 2)
    set_container(name, { running = { startedAt = at(-1) } }, {
      terminated = { exitCode = 137, startedAt = at(-60), finishedAt = at(-2) },
    })
    report("container started again", live_after(BOUND + 5))
    posix.sleep(1)
    assert.equal(0, other:count_log("Became leader"))
  end)

  it("is replaced when its Pod was deleted by force", function()
    leader:kill()
    admin:delete_by_force("Pod", leader.name)
    report("Pod deleted by force", live_after(BOUND + 5))
    assert.equal(1, other:count_log("Became leader: " .. other.name))
  end)

  it("may go on although its Pod was deleted by force: the fence keeps the order", function()
    admin:delete_by_force("Pod", leader.name)
    other:wait_log("Became leader: " .. other.name, BOUND)
    leader:wait_log("Lost leadership", BOUND)
    report("Pod deleted while its process goes on", live_after(BOUND + 5))
    local transitions, _, holder = replicas:fence()
    assert.same({ 2, other.name }, { transitions, holder })
    assert.equal(1, #replicas:leaders())
  end)

  it("keeps the lease's time where Pods may not be watched, and that is said once", function()
    admin:allow("alice", rules)
    for _, h in ipairs({ leader, other }) do
      h:stop()
    end
    replicas:start("a")
    leader = replicas:wait_leader(10)
    other = replicas:start("b"):wait_ready()
    other:wait_log("Not allowed to watch the leader's Pod", 10)
    other:wait_log('may not watch pods in the namespace \\?"default\\?"; add the verb \\?"watch', 1)
    leader:kill()
    admin:delete_by_force("Pod", "a")
    posix.sleep(3)
    assert.equal(0, #replicas:leaders())
    assert.equal(1, other:count_log("Not allowed to watch the leader's Pod"))
  end)
end)
