--- client-go's elector and ours compete for one Lease, and respect each other.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local CHANGES = e2e.is_full and 50 or 16

local TIMINGS = { lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" }

--- Milliseconds since 1970 of "2026-11-22T18:27:36.816Z".
local function unix_ms(text)
  local y, m, d, H, M, S, ms = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.(%d+)Z$")
  local utc = os.time({ year = y, month = m, day = d, hour = H, min = M, sec = S, isdst = false })
  local zone = os.time(os.date("*t", utc)) - os.time(os.date("!*t", utc))
  return (utc + zone) * 1000 + tonumber(ms)
end

describe("beside client-go", function()
  local world = e2e.world("interop", { rules = kube.rules({ "get", "list", "watch", "create", "update" }) })
  local admin, cluster, scope, ours, ended_at

  setup(function() admin, cluster = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  before_each(function()
    scope = world:open()
    ended_at, ours = {}, nil
  end)

  local function start_ours()
    ours = scope:haptic({
      name = "ours", kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), haproxy = scope.haproxy_of_spec, output = ours and ours.output,
      metrics_port = ours and ours.metrics_port, debug_port = ours and ours.debug_port, http_port = ours and ours.http_port,
      status_port = ours and ours.status_port, config = e2e.config({
        controller = { leader_election = { enabled = true, lease_duration = TIMINGS.lease_duration,
          renew_deadline = TIMINGS.renew_deadline, retry_period = TIMINGS.retry_period } },
      }),
    })
    return ours
  end

  local function start_theirs(...)
    return scope:spawn({
      name = "client-go",
      argv = {
        e2e.leaderelection_binary(), "-kubeconfig", cluster.admin_kubeconfig, "-identity", "theirs", "-lease-duration",
        TIMINGS.lease_duration, "-renew-deadline", TIMINGS.renew_deadline, "-retry-period", TIMINGS.retry_period, ...,
      },
    })
  end

  local function holder()
    local lease = admin:get("Lease", "haptic-leader")
    return lease and lease.spec.holderIdentity or nil
  end

  local function wait_holder(who, seconds)
    scope:wait_for(who .. " to hold the Lease", seconds or 10, function()
      local now = holder()
      return now == who, tostring(now)
    end)
  end

  --- Terms of office as each side tells them: {who, from, to} in ms since 1970.
  local function terms(theirs)
    local list = {}
    local from
    for line in ours:log():gmatch("[^\n]+") do
      local time = line:match("^time=(%S+)")
      if line:find('msg="Became leader', 1, true) then
        from = unix_ms(time)
      elseif from and (line:find('msg="Lost leadership', 1, true) or line:find("controller starting", 1, true)) then
        -- A killed process tells no end.
        list[#list + 1] = { who = "ours", from = from, to = line:find("Lost", 1, true) and unix_ms(time) or from }
        from = nil
      end
    end
    if from then list[#list + 1] = { who = "ours", from = from, to = math.huge } end
    for _, log in ipairs(theirs) do
      from = nil
      for time, what in log:gmatch("(%d+) (%l+) %S+") do
        if what == "leading" then
          from = tonumber(time)
        elseif what == "stopped" and from then
          list[#list + 1] = { who = "theirs", from = from, to = tonumber(time) }
          from = nil
        end
      end
      if from then list[#list + 1] = { who = "theirs", from = from, to = ended_at[log] or math.huge } end
    end
    table.sort(list, function(x, y) return x.from < y.from end)
    return list
  end

  local function check_terms(list, at_least)
    local changes = 0
    for i = 2, #list do
      assert.is_true(list[i].from >= list[i - 1].to - 1,
        ("%s began to lead %d ms before %s ended"):format(list[i].who, list[i - 1].to - list[i].from, list[i - 1].who))
      if list[i].who ~= list[i - 1].who then changes = changes + 1 end
    end
    assert.is_true(changes >= at_least, changes .. " changes of leadership, wanted " .. at_least)
  end

  it("takes turns " .. CHANGES .. " times, in order", function()
    scope.haproxy_of_spec = scope:haproxy({})
    start_ours():wait_ready()
    wait_holder("ours")
    local theirs = start_theirs("-hold", "200ms")
    local first = admin:get("Lease", "haptic-leader").spec.leaseTransitions or 0
    for _ = 1, math.ceil(CHANGES / 2) do
      wait_holder("ours")
      -- We go; client-go finds the released Lease, holds it for a moment, gives it back; we are here again.
      local log = theirs:log()
      ours:stop()
      scope:wait_for("client-go to lead", 10, function()
        return select(2, theirs:log():gsub(" leading ", "")) > select(2, log:gsub(" leading ", ""))
      end)
      start_ours()
      wait_holder("ours")
    end
    theirs:signal("TERM")
    assert.equal("exit 0", theirs:wait(10))
    check_terms(terms({ theirs:log() }), CHANGES)
    local last = admin:get("Lease", "haptic-leader").spec.leaseTransitions
    assert.is_true(last >= first + CHANGES, ("leaseTransitions went from %d to %d"):format(first, last))
  end)

  it("waits for a killed client-go leader's lease to end", function()
    scope.haproxy_of_spec = scope:haproxy({})
    local theirs = start_theirs()
    wait_holder("theirs")
    start_ours()
    ours:wait_log("New leader observed", 10)
    -- It renews: we stay away for longer than a lease.
    posix.sleep(4)
    assert.equal("theirs", holder())
    assert.equal(0, ours:metric("haptic_leader_election_is_leader"))
    theirs:signal("KILL")
    theirs:wait(5)
    local begin = posix.now()
    wait_holder("ours", 8)
    assert.is_true(posix.now() - begin >= 2, "it did not wait for the lease to end")
    ours:wait_ready(10)
  end)

  it("is waited for by client-go when killed, and is respected while it leads", function()
    scope.haproxy_of_spec = scope:haproxy({})
    start_ours():wait_ready()
    wait_holder("ours")
    local theirs = start_theirs()
    posix.sleep(4)
    assert.equal("ours", holder())
    assert.is_nil(theirs:log():find("leading"))
    ours:kill()
    local begin = posix.now()
    wait_holder("theirs", 8)
    assert.is_true(posix.now() - begin >= 2, "it did not wait for the lease to end")
  end)
end)
