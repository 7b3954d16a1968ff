--- Many members: real agents, each beside a scripted HAProxy (tools/benchmark/crowd.c). What a change costs on its way to
--- the last of them, and what a hand-over costs.
---
--- MEMBERS=N; 20, and 200 with E2E_FULL=1 or by itself with the times looked at (TIMES=1): the times say something only
--- on a machine that does nothing else.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local MEMBERS = tonumber(os.getenv("MEMBERS")) or e2e.is_full and 200 or 20
local CHANGES = tonumber(os.getenv("CHANGES")) or e2e.is_full and 200 or 30
local TIMES = os.getenv("TIMES") == "1"
local SHORT = { enabled = true, lease_duration = "15s", renew_deadline = "10s", retry_period = "2s" }

describe("a fleet of " .. MEMBERS .. " members", function()
  local world = e2e.world("members", {
    routes = { { "moving", "198.18.1.1" } }, rules = kube.rules({ "get", "list", "watch", "create", "update" }),
  })
  local admin, scope, identity, members, crowd, http_port, status_port

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  --- The agents, and one program that is the HAProxy of each.
  local function start_members()
    local programs = os.getenv("BENCH_PROGRAMS") or e2e.program():gsub("/core/haptic$", "/tools/benchmark")
    local argv = { programs .. "/bench_crowd" }
    for i = 1, MEMBERS do
      members[i] = { directory = scope:path("m" .. i), port = e2e.port(), status_port = e2e.port() }
      posix.run({ "mkdir", "-m", "700", members[i].directory })
      argv[#argv + 1] = members[i].directory
    end
    crowd = scope:spawn({ name = "crowd", argv = argv })
    scope:wait_for("the scripted HAProxies", 10, function() return crowd:log():find("ready " .. MEMBERS) ~= nil end)
    for i, m in ipairs(members) do
      m.process = scope:spawn({
        name = "m" .. i,
        argv = {
          e2e.program(), "agent", "--attach", "--directory", m.directory, "--listen", "127.0.0.1:" .. m.port,
          "--status-listen", "127.0.0.1:" .. m.status_port, "--tls-cert", identity.agent_crt, "--tls-key",
          identity.agent_key, "--client-ca", identity.authority.crt, "--minimal-bind", "127.0.0.1:" .. e2e.port(),
          "--min-reload-interval", "10ms",
        },
      })
    end
  end

  local function start_controller(name, count)
    local urls = {}
    for i = 1, count do urls[i] = "https://127.0.0.1:" .. members[i].port end
    local h = scope:haptic({ http_port = http_port, status_port = status_port,
      name = name, kubeconfig = world:kubeconfig(name), series = "3.4",
      config = e2e.config({ controller = { leader_election = SHORT }, logging = { level = "INFO" } }),
      args = {
        "--haproxy", "fleet", "--members", table.concat(urls, ","), "--fleet-ca", identity.authority.crt,
        "--fleet-cert", identity.controller_crt, "--fleet-key", identity.controller_key, "--member-share", "100%",
      },
    })
    h.supervises = false
    return h
  end

  local function wait_verified(h, count)
    scope:wait_for(count .. " verified members", 60, function()
      local verified = h:metric("haptic_members_verified")
      return verified == count, verified .. " are; " .. e2e.tail(h:log(), 3)
    end)
  end

  local function resident_kb(h)
    return tonumber(posix.read_file("/proc/" .. h.process.pid .. "/status"):match("VmRSS:%s+(%d+)"))
  end

  --- Bytes in both directions on the controller's connections to agents: with TLS and HTTP.
  local function wire_bytes()
    local sum = 0
    local output = posix.run({
      "ss", "-tinH", "state", "established", "( dport >= :" .. members[1].port .. " and dport <= :"
        .. members[MEMBERS].port .. " )",
    })
    for n in output:gmatch("bytes_sent:(%d+)") do sum = sum + tonumber(n) end
    for n in output:gmatch("bytes_received:(%d+)") do sum = sum + tonumber(n) end
    return sum
  end

  --- User and system time of a process.
  local function cpu_ms(pid)
    local user, system = posix.read_file("/proc/" .. pid .. "/stat"):match("^.*%) %S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
    return (user + system) * 10
  end

  local function agents_cpu_ms()
    local sum = 0
    for _, m in ipairs(members) do sum = sum + cpu_ms(m.process.pid) end
    return sum
  end

  --- Seconds from the request to the API server until the API server has answered, and until every member has read the
  --- change back.
  local function change(number)
    local address = ("198.18.%d.%d"):format(10 + math.floor(number / 250), 1 + number % 250)
    local begun = posix.now()
    admin:put(kube.slice("moving", { address }))
    local answered = posix.now()
    local line
    scope:wait_for("the change at every member", 20, function()
      line = crowd:log():match("set [^\n]* " .. address:gsub("%.", "%%.") .. " [^\n]*\n")
      return line ~= nil
    end)
    return answered - begun, tonumber(line:match("(%d+)\n$")) / 1e6 - begun
  end

  before_each(function()
    scope = world:open()
    identity = scope:fleet_identity()
    members = {}
    http_port, status_port = e2e.port(), e2e.port()
  end)

  it("gets each change with little on the wire, and is taken over without a whole bundle", function()
    start_members()
    local first = start_controller("first", 1):wait_ready()
    wait_verified(first, 1)
    local alone_kb = resident_kb(first)
    first:stop()

    local a = start_controller("a", MEMBERS):wait_ready(60)
    wait_verified(a, MEMBERS)
    local b = start_controller("b", MEMBERS):wait_ready(60)
    change(0)
    local all, api = {}, {}
    local agents_ms, own_ms, crowd_ms = agents_cpu_ms(), cpu_ms(a.process.pid), cpu_ms(crowd.pid)
    local before, whole = wire_bytes(), a:metric("haptic_offers_total", { extent = "whole" })
    for i = 1, CHANGES do
      api[i], all[i] = change(i)
    end
    local bytes = (wire_bytes() - before) / MEMBERS / CHANGES
    local function each(ms) return ms / MEMBERS / CHANGES end
    local cpu = ("%.2f ms of an agent, %.2f of the controller"):format(each(agents_cpu_ms() - agents_ms),
      each(cpu_ms(a.process.pid) - own_ms))
    crowd_ms = each(cpu_ms(crowd.pid) - crowd_ms)
    local kb = (resident_kb(a) - alone_kb) / MEMBERS
    e2e.report("the API server's own time", api)
    e2e.report(("an endpoint change at the last of %d members"):format(MEMBERS), all)
    io.stderr:write(("%.0f bytes on the wire per member and change, %.1f KiB of the controller per member\n"):format(
      bytes, kb))
    io.stderr:write(("processor time per member and change: %s, %.2f of the scripted HAProxy\n"):format(cpu, crowd_ms))
    assert.is_true(bytes <= 1024, bytes .. " bytes per member and change")
    assert.is_true(kb <= 100, kb .. " KiB per member")
    -- No member has missed a step.
    assert.equal(whole, a:metric("haptic_offers_total", { extent = "whole" }))

    wait_verified(a, MEMBERS)
    a:stop()
    local led
    scope:wait_for("the other one to lead", 30, function()
      led = posix.now()
      return b:metric("haptic_leader_election_is_leader") == 1
    end)
    wait_verified(b, MEMBERS)
    local taken_over = posix.now() - led
    io.stderr:write(("%d members verified %.2f s after the hand-over\n"):format(MEMBERS, taken_over))
    assert.equal(0, b:metric("haptic_offers_total", { extent = "whole" }) or 0)
    change(CHANGES + 1)
    assert.equal(0, b:metric("haptic_offers_total", { extent = "whole" }) or 0)
    assert.is_true(not TIMES or e2e.percentile(all, 99) <= 0.1 and taken_over <= 2, "too slow; the figures are above")
  end)
end)
