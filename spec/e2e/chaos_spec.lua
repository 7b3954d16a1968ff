--- A fleet under random faults: whatever is killed, hung or cut off, clients see no error that the fault does not explain,
--- no member takes a stale writer's offer, and at the end all of them serve the same.
---
--- SEED=N repeats a run; CHAOS_SECONDS is its length (40; 600 with E2E_FULL=1).

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local ELECTION = { enabled = true, lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" }
local SECONDS = tonumber(os.getenv("CHAOS_SECONDS")) or e2e.is_full and 600 or 40
local MEMBERS = { "3.0", "3.2", "3.4", "3.4 attach", "3.0 attach" }

describe("a fleet under faults", function()
  local world = e2e.world("chaos", {
    routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } }, clients = { "a", "b" },
    rules = kube.rules({ "get", "list", "watch", "create", "update" }),
  })
  local admin, scope, faults, identity, members, controllers, http_port, status_port, generation_of, random, cut

  setup(function()
    local begun = { world:begin() }
    admin, faults = begun[1], begun[3]
  end)
  teardown(function() world:finish() end)
  after_each(function()
    if cut then posix.run({ "ip", "route", "del", "blackhole", cut .. "/32", "table", "local" }) end
    world:close()
  end)

  before_each(function()
    scope = world:open()
    identity = scope:fleet_identity()
    members, controllers, generation_of = {}, {}, 0
    http_port, status_port = e2e.port(), e2e.port()
  end)

  local function start_controller(client)
    generation_of = generation_of + 1
    local urls = {}
    for i, m in ipairs(members) do urls[i] = m.url end
    local h = scope:haptic({
      name = client .. generation_of, kubeconfig = world:kubeconfig(client), series = "3.0", http_port = http_port,
      status_port = status_port,
      config = e2e.config({
        controller = { leader_election = ELECTION },
        templateSnippets = {
          ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
        },
      }),
      args = {
        "--haproxy", "fleet", "--members", table.concat(urls, ","), "--fleet-ca", identity.authority.crt,
        "--fleet-cert", identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    })
    h.supervises, h.client = false, client
    controllers[client] = h
    return h
  end

  local function leader()
    for _, h in pairs(controllers) do
      local ok, value = pcall(h.metric, h, "haptic_leader_election_is_leader")
      if ok and value == 1 then return h end
    end
    return nil
  end

  --- What goes to that address of this network is lost.
  local function route(what, address)
    local output, code = posix.run({ "ip", "route", what, "blackhole", address .. "/32", "table", "local" })
    assert(code == 0, output)
    cut = what == "add" and address or nil
  end

  -- faults: each begins something and returns its name, for how long it lasts, what it explains to a client, and how it
  -- ends.

  local FAULTS = {}

  function FAULTS.leader_is_killed()
    local h = leader()
    if not h then return nil end
    h:kill()
    return "kill of the leader " .. h.name, random(3), nil, function() start_controller(h.client) end
  end

  function FAULTS.leader_hangs()
    local h = leader()
    if not h then return nil end
    h:signal("STOP")
    return "stop of the leader " .. h.name, 3 + random(3), nil, function() h:signal("CONT") end
  end

  function FAULTS.controller_ends()
    local h = leader()
    if not h then return nil end
    h:stop()
    return "orderly end of the leader " .. h.name, random(2), nil, function() start_controller(h.client) end
  end

  function FAULTS.agent_is_killed()
    local m = members[random(#members)]
    m:kill()
    return "kill of the agent of " .. m.name, random(3), nil, function() m:start() end
  end

  function FAULTS.agent_hangs()
    local m = members[random(#members)]
    m.process:signal("STOP")
    return "stop of the agent of " .. m.name, 1 + random(4), nil, function() m.process:signal("CONT") end
  end

  function FAULTS.worker_is_killed()
    local m = members[random(3)]
    posix.kill(m.haproxy:processes().worker, "KILL")
    return "kill of the worker of " .. m.name, 1, "error", function() end
  end

  function FAULTS.haproxy_is_killed()
    local m = members[random(3)]
    local pids = m.haproxy:processes()
    posix.kill(pids.master, "KILL")
    posix.kill(pids.worker, "KILL")
    return "kill of the HAProxy of " .. m.name, 1, "error", function() end
  end

  function FAULTS.pod_is_killed()
    local m = members[3 + random(2)]
    m:kill_all()
    return "kill of the agent and the HAProxy of " .. m.name, 1, "error", function()
      m:start()
      m:start_haproxy()
    end
  end

  function FAULTS.member_is_cut_off()
    local m = members[random(#members)]
    route("add", m.address)
    return "cut of the network to " .. m.name, 2 + random(4), nil, function() route("del", m.address) end
  end

  function FAULTS.api_server_is_away()
    local who = random(3)
    local client = who == 1 and "a" or who == 2 and "b" or nil
    for _, name in ipairs(client and { client } or { "a", "b" }) do faults:down(name) end
    return "API server away for " .. (client or "both"), 1 + random(4), nil, function()
      for _, name in ipairs(client and { client } or { "a", "b" }) do faults:up(name) end
    end
  end

  it("shows clients no error that the fault does not explain, and ends level", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    local state = seed % 2147483647
    function random(n)
      state = (state * 48271 + 11) % 2147483647
      return state % n + 1
    end
    local names = {}
    for name in pairs(FAULTS) do names[#names + 1] = name end
    table.sort(names)
    local done, seen = {}, {}
    local ok, reason = pcall(function()
      for i, series in ipairs(MEMBERS) do
        members[i] = scope:member({ name = "member" .. i, identity = identity, series = series:gsub(" .*", ""),
          attach = series:find("attach") ~= nil, address = "127.0.3." .. i })
      end
      start_controller("a")
      start_controller("b")
      for _, m in ipairs(members) do m:wait_answer("moving.example", "198.18.1.1:8001", 30) end
      local client = world:wait_routes(http_port)

      local count, address = 0, nil
      local function churn()
        count = count + 1
        address = ("198.18.%d.%d"):format(10 + math.floor(count / 250) % 200, 1 + count % 250)
        admin:put(kube.slice("moving", { address }))
      end
      --- Nobody's offer replaces a newer one.
      local function look_at_members()
        for i, m in ipairs(members) do
          local fine, now = pcall(m.state, m)
          if fine and now.configured then
            local before = seen[i]
            assert(not before or now.transitions > before.transitions
              or now.transitions == before.transitions and now.generation >= before.generation,
              ("%s went back from %s"):format(m.name, before and before.transitions .. "/" .. before.generation))
            seen[i] = now
          end
        end
      end

      local deadline = posix.now() + SECONDS
      while posix.now() < deadline do
        local since = posix.now() -- a kill takes a while until all of it has ended
        local what, seconds, explains, heal = FAULTS[names[random(#names)]]()
        if what then
          done[#done + 1] = ("%.1f s: %s, %d s"):format(posix.now() - client.start, what, seconds)
          local over = explains and client:excuse(what, { status = explains }, since)
          local until_then = posix.now() + seconds
          while posix.now() < until_then do
            churn()
            posix.sleep(0.05)
          end
          heal()
          if over then
            posix.sleep(1.5)
            over()
          end
        end
        look_at_members()
        for _ = 1, random(10) do
          churn()
          posix.sleep(0.05)
        end
      end

      churn()
      scope:wait_for("a leader, and all members level", 60, function()
        local h = leader()
        return h and h:metric("haptic_members_verified") == #members, h and cjson.encode(h:state().members)
      end)
      for _, m in ipairs(members) do m:wait_answer("moving.example", address .. ":8001", 30) end
      local h = leader()
      scope:wait_for("the last state to be everywhere", 30, function() return h:metric("haptic_members_verified") == #members end)
      for _, m in ipairs(members) do assert.equal(h:state().hash, m:state().digest, m.name) end
      client:finish(SECONDS * 20)
      print(("\nSEED=%d: %d faults, %d changes, %d good answers"):format(seed, #done, count, client.good))
    end)
    if not ok then
      error(("SEED=%d, after:\n%s\n%s"):format(seed, table.concat(done, "\n"), type(reason) == "table"
        and cjson.encode(reason) or tostring(reason)), 0)
    end
  end)
end)
