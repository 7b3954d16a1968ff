--- Controllers, and five HAProxies of several versions with an agent beside each: changes arrive everywhere, whatever is
--- killed, and nobody else is listened to.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local SHORT = { enabled = true, lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" }
local RULES = kube.rules({ "get", "list", "watch", "create", "update" })

describe("a fleet", function()
  local world = e2e.world("fleet", {
    routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } }, clients = { "a", "b" }, rules = RULES,
  })
  local admin, scope, identity, members, controllers, http_port, status_port, changes

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function()
    world:close()
    admin:delete("Secret", "fleet")
    for _, pod in ipairs(admin:list("Pod", "default")) do
      admin:delete_by_force("Pod", pod.metadata.name)
    end
  end)

  before_each(function()
    scope = world:open()
    identity = scope:fleet_identity()
    members, controllers, changes = {}, {}, 0
    http_port, status_port = e2e.port(), e2e.port()
  end)

  local function start_members(...)
    for i, series in ipairs({ ... }) do
      members[i] = scope:member({
        name = "member" .. i, identity = identity, series = series:gsub(" .*", ""), attach = series:find("attach") ~= nil,
      })
    end
  end

  local function urls()
    local list = {}
    for i, m in ipairs(members) do
      list[i] = m.url
    end
    return table.concat(list, ",")
  end

  --- A controller of the oldest version among the members: what it renders is for all of them.
  local function start_controller(name, options)
    options = options or {}
    local h = scope:haptic({
      name = name, kubeconfig = world:kubeconfig(name), series = options.series or "3.0", directory = options.directory,
      http_port = http_port, status_port = status_port,
      config = e2e.config({
        controller = { leader_election = options.election or SHORT }, podSelector = options.pod_selector,
        templatingSettings = options.libraries and { libraries = options.libraries } or nil,
        -- All HAProxies of this machine share a port: each can be asked by a socket of its own.
        templateSnippets = {
          ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
          ["own.lua"] = options.script and { template = options.script } or nil,
          ["backend-500-own"] = options.snippet and { template = options.snippet } or nil,
        },
      }),
      args = options.args or {
        "--haproxy", "fleet", "--members", urls(), "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    })
    h.supervises = false
    controllers[name] = h
    return h
  end

  local function leader(seconds)
    return scope:wait_for("one leader", seconds or 20, function()
      local found = {}
      for _, h in pairs(controllers) do
        local ok, value = pcall(h.metric, h, "haptic_leader_election_is_leader")
        if not h.ended and ok and value == 1 then
          found[#found + 1] = h
        end
      end
      return #found == 1 and found[1], #found .. " leaders"
    end)
  end

  local function wait_verified(h, count, seconds)
    scope:wait_for(count .. " verified members", seconds or 20, function()
      local verified = h:metric("haptic_members_verified")
      return verified == count, cjson.encode(h:state().members)
    end)
  end

  --- Makes a change; returns who answers when it is live.
  local function change()
    changes = changes + 1
    local address = ("198.18.%d.%d"):format(10 + math.floor(changes / 250), 1 + changes % 250)
    admin:put(kube.slice("moving", { address }))
    return address .. ":8001"
  end

  local function change_everywhere(seconds)
    local wanted = change()
    for _, m in ipairs(members) do
      m:wait_answer("moving.example", wanted, seconds)
    end
    return wanted
  end

  it("keeps its routes when a controller that knows nothing comes with templates that fail for every object", function()
    start_members("3.0", "3.2", "3.4")
    local a = start_controller("a"):wait_ready()
    wait_verified(a, 3)
    local last = change_everywhere()
    a:stop()
    -- Another machine: no directory of its own. `nobody` is not known.
    local b = start_controller("b", { snippet = "http-request set-header X-A {{ nobody.name }}\n" }):wait_ready()
    b:wait_log('msg="Restored the configuration that the fleet serves"')
    wait_verified(b, 3)
    assert.equal(2, b:metric("haptic_failed_objects"))
    for _, m in ipairs(members) do
      m:wait_answer("moving.example", last)
      m:wait_answer("steady.example", "198.18.0.1:8001")
    end
    -- What depends on no failing template goes on, and the repaired template takes over.
    b:stop()
    local c = start_controller("c"):wait_ready()
    wait_verified(c, 3)
    assert.equal(0, c:metric("haptic_failed_objects"))
    change_everywhere()
    -- A member that is away for the start, and one that knows an older state, do not count.
    for _, h in pairs({ a, b, c }) do
      assert.equal(0, h:count_log("level=ERROR.*fleet"))
    end
  end)

  it("serves what was accepted at five members of several versions", function()
    start_members("3.0", "3.4", "3.2", "3.4 attach", "3.0 attach")
    for _, m in ipairs(members) do
      scope:wait_for("HAProxy to answer before there is a controller", 10, function()
        return e2e.ask(m.minimal_port, "x") == 503
      end)
      assert.equal(503, (m:status("/readyz")))
    end
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 5)
    for _, m in ipairs(members) do
      m:wait_answer("steady.example", "198.18.0.1:8001")
      assert.equal(200, (m:status("/readyz")))
      assert.equal(h:state().hash, m:state().digest)
    end
    local reloads = {}
    for i, m in ipairs(members) do
      reloads[i] = m:state().haproxy.reloads
    end
    local checks, accepted = h:metric("haptic_validations_total"), h:metric("haptic_accepted_total")
    for _ = 1, 3 do
      change_everywhere()
    end
    wait_verified(h, 5)
    assert.equal(checks, h:metric("haptic_validations_total"))
    assert.equal(accepted + 3, h:metric("haptic_accepted_total"))
    for i, m in ipairs(members) do
      assert.equal(reloads[i], m:state().haproxy.reloads, m.name .. " was reloaded for an address")
      assert.equal(h:state().hash, m:state().digest)
    end
    assert.matches('msg="Deployed to the fleet" generation=%d+ verified=%d members=%d operations=%d+ reloads=%d bytes=%d+ '
      .. 'duration=%S+ trigger="endpoints default/%S+" changes=%d+ render=%S+ validate=%S+', h:log())
    -- A backend that comes: three of them need a reload for it, so that HAProxy checks it first. Each tells its own way.
    admin:put_route("new", "new.example", { "198.18.2.2" })
    for _, m in ipairs(members) do
      m:wait_answer("new.example", "198.18.2.2:8001")
    end
    wait_verified(h, 5)
    assert.is_true(h:metric("haptic_validations_total") > checks)
    -- A member that has just started tells the version of its HAProxy when it is asked again.
    scope:wait_for("the versions of all members", 90, function()
      for _, told in ipairs(h:state().members) do
        if told.haproxy == "" then return false, told.name .. " has told none" end
      end
      return true
    end)
    for i, told in ipairs(h:state().members) do
      local m, is_dynamic = members[i], told.haproxy:find("^3%.4") ~= nil
      assert.equal(m.options.series, told.haproxy:match("^%d+%.%d+"))
      assert.equal(is_dynamic, m:state().haproxy.dynamic_backends)
      assert.equal(is_dynamic and reloads[i] or reloads[i] + 1, m:state().haproxy.reloads, m.name)
      assert.equal(is_dynamic and "" or "backend default_new_80", told.reload_reason:match("^backend [%w_]+") or "", m.name)
    end
  end)

  it("checks no backend first where every member adds it at runtime, until one comes that does not", function()
    start_members("3.4", "3.4")
    local h = start_controller("a", { election = { enabled = false }, series = "3.4" }):wait_ready()
    wait_verified(h, 2)
    local function reloads()
      local list = {}
      for i, m in ipairs(members) do list[i] = m:state().haproxy.reloads end
      return list
    end
    local before, checks, accepted = reloads(), h:metric("haptic_validations_total"), h:metric("haptic_accepted_total")
    admin:put_route("new", "new.example", { "198.18.2.2" })
    for _, m in ipairs(members) do m:wait_answer("new.example", "198.18.2.2:8001", 3) end
    assert.equal(checks, h:metric("haptic_validations_total"))
    assert.is_true(h:metric("haptic_accepted_total") > accepted)
    assert.same(before, reloads())
    -- The check of the whole follows when there is time.
    scope:wait_for("the check", 20, function() return h:metric("haptic_validations_total") > checks end)
    admin:delete("Ingress", "new")
    admin:delete("Service", "new")
    for _, m in ipairs(members) do
      scope:wait_for("the route to be gone", 10, function() return m:ask("new.example") == 404 end)
    end
    assert.same(before, reloads())
  end)

  it("reloads one member first, and then a share of them at a time", function()
    start_members("3.0", "3.2", "3.4", "3.2", "3.4")
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 5)
    local function reload_times()
      local list = {}
      for _, m in ipairs(members) do
        local times = {}
        for hour, minute, second, duration, unit in m.process:log():gmatch(
          'T(%d+):(%d+):([%d.]+)Z [^\n]*msg="HAProxy was reloaded"[^\n]*duration=([%d.]+)(%a+)') do
          local to = tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
          times[#times + 1] = { from = to - tonumber(duration) * (unit == "s" and 1 or unit == "ms" and 1e-3 or 1e-6),
            to = to, name = m.name }
        end
        list[#list + 1] = times[#times]
        list[#list].count = #times
      end
      table.sort(list, function(a, b) return a.from < b.from end)
      return list
    end
    local before = reload_times()
    -- A quarter of five is one.
    local function reconfigure(seconds)
      posix.write_file(h.config_file, (posix.read_file(h.config_file):gsub('"timeout_connect":"%d+s"',
        ('"timeout_connect":"%ds"'):format(seconds))))
      h:signal("HUP")
    end
    reconfigure(3)
    scope:wait_for("five reloads", 30, function()
      local now = reload_times()
      for i, r in ipairs(now) do
        if r.count == before[i].count then return false end
      end
      return true
    end)
    wait_verified(h, 5)
    local now = reload_times()
    assert.equal(5, #now)
    for i = 2, 5 do
      assert.is_true(now[i].from >= now[i - 1].to - 0.005, ("%s was reloaded before %s had ended"):format(now[i].name, now[i - 1].name))
    end
    -- The first one hangs: it holds up the others for a while only. What needs no reload does not wait at all.
    members[1].process:signal("STOP")
    local wanted = change()
    for i = 2, 5 do members[i]:wait_answer("moving.example", wanted, 2) end
    reconfigure(4)
    for i = 2, 5 do
      scope:wait_for(members[i].name .. " to have it", 20, function()
        return posix.read_file(members[i].directory .. "/haproxy.cfg"):find("timeout connect 4s", 1, true) ~= nil
      end)
    end
    members[1].process:signal("CONT")
    wait_verified(h, 5, 40)
    assert.truthy(posix.read_file(members[1].directory .. "/haproxy.cfg"):find("timeout connect 4s", 1, true))
  end)

  it("finds its members by the labels of their Pods", function()
    local port = e2e.port()
    local function pod(i, phase, labels)
      local name = "haproxy-" .. i
      admin:put({
        kind = "Pod", apiVersion = "v1", metadata = { name = name, labels = labels or { app = "haproxy", tier = "edge" } },
        spec = { containers = { { name = "haproxy", image = "haproxy:3.4" } }, terminationGracePeriodSeconds = 0 },
      })
      local path = admin:path("Pod", "default", name) .. "/status"
      assert.equal(200, (admin:call("PATCH", path, {
        status = { phase = phase, podIP = "127.0.1." .. i, podIPs = { { ip = "127.0.1." .. i } } },
      }, "application/merge-patch+json")))
    end
    for i = 1, 3 do
      members[i] = scope:member({
        name = "member" .. i, identity = identity, series = "3.4", address = "127.0.1." .. i, port = port,
        min_reload_interval = "1h", -- the first bundle does not wait for it
      })
    end
    pod(1, "Running")
    pod(2, "Pending")
    pod(3, "Running", { app = "haproxy" })
    admin:allow("alice", kube.rules_with(RULES, { apiGroups = { "" }, resources = { "pods" }, verbs = { "get", "list", "watch" } }))
    local h = start_controller("a", {
      election = { enabled = false }, pod_selector = { matchLabels = { app = "haproxy", tier = "edge" } },
      args = {
        "--haproxy", "fleet", "--member-port", tostring(port), "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    }):wait_ready()
    wait_verified(h, 1)
    assert.equal("default/haproxy-1", h:state().members[1].member)
    -- One begins to run, and is brought up to date at once.
    pod(2, "Running")
    members[2]:wait_answer("steady.example", "198.18.0.1:8001")
    wait_verified(h, 2)
    -- One goes.
    admin:delete("Pod", "haproxy-1")
    wait_verified(h, 1)
    local wanted = change()
    members[2]:wait_answer("moving.example", wanted)
    assert.are_not.equal(wanted, select(2, members[1]:ask("moving.example")))
    assert.equal(503, e2e.ask(members[3].minimal_port, "x"))
  end)

  it("makes its certificates in a Secret, and renews them", function()
    local secrets = {
      { apiGroups = { "" }, resources = { "secrets" }, verbs = { "create" } },
      { apiGroups = { "" }, resources = { "secrets" }, resourceNames = { "fleet" }, verbs = { "get", "update", "watch" } },
    }
    admin:allow("alice", kube.rules_with(RULES, unpack(secrets)))
    local function data()
      local secret = admin:get("Secret", "fleet")
      return secret and secret.data
    end
    local function decoded(key)
      local path = scope:path(key)
      posix.run({ "sh", "-c", 'printf %s "$1" | base64 -d >"$2"', "sh", data()[key], path })
      return path
    end
    local port = e2e.port()
    local args = { "--haproxy", "fleet", "--members", "https://127.0.0.1:" .. port, "--fleet-secret", "fleet" }
    start_controller("a", { args = args })
    start_controller("b", { args = args })
    local first = leader()
    scope:wait_for("the Secret", 10, function() return data() ~= nil end)
    identity = {
      authority = { crt = decoded("ca.crt") }, agent_crt = decoded("agent.crt"), agent_key = decoded("agent.key"),
      controller_crt = decoded("controller.crt"), controller_key = decoded("controller.key"),
    }
    members[1] = scope:member({ name = "member1", identity = identity, series = "3.4", port = port })
    wait_verified(first, 1, 30)
    -- The other replica reads what the leader has made.
    first:kill()
    controllers[first.name] = nil
    local second = leader()
    wait_verified(second, 1, 30)
    -- One that cannot be used any more is issued anew, by the same authority.
    local before = data()
    admin:patch("Secret", "fleet", { data = { ["controller.crt"] = before["agent.crt"] } })
    scope:wait_for("another certificate", 10, function()
      local now = data()["controller.crt"]
      return now ~= before["agent.crt"] and now ~= before["controller.crt"]
    end)
    assert.equal(before["ca.crt"], data()["ca.crt"])
    change_everywhere(20)
    wait_verified(second, 1)
  end)

  it("goes on when the leader, an agent or a worker is killed", function()
    start_members("3.0", "3.4", "3.4 attach")
    start_controller("a")
    start_controller("b")
    local first = leader()
    wait_verified(first, 3)
    change_everywhere()
    -- The leader.
    first:kill()
    controllers[first.name] = nil
    local second = leader()
    wait_verified(second, 3)
    change_everywhere()
    -- An agent: its HAProxy goes on serving, and what changed meanwhile comes when the agent is back.
    members[2]:kill()
    local wanted = change()
    members[1]:wait_answer("moving.example", wanted)
    assert.equal(200, (members[2]:ask("steady.example")))
    members[2]:start()
    members[2]:wait_answer("moving.example", wanted)
    -- A worker.
    posix.kill(members[1].haproxy:processes().worker, "KILL")
    wanted = change()
    members[1]:wait_answer("moving.example", wanted, 20)
    wait_verified(second, 3)
  end)

  it("serves the last good bundle when everything but the member is down", function()
    start_members("3.4", "3.0")
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 2)
    local wanted = change_everywhere()
    wait_verified(h, 2)
    local digest = members[1]:state().digest
    h:stop()
    for _, m in ipairs(members) do
      m:kill_all()
    end
    -- A volume whose other files were lost: the bundle is enough.
    posix.run({ "sh", "-c", 'rm -rf "$1"/haproxy.cfg "$1"/maps "$1"/fence', "sh", members[2].directory })
    local began = posix.now()
    for _, m in ipairs(members) do
      m:start()
    end
    for _, m in ipairs(members) do
      m:wait_answer("moving.example", wanted)
      assert.equal(digest, m:state().digest)
      -- HAProxy answers as soon as it has started; the agent is ready when it has compared.
      scope:wait_for("the agent to be ready", 10, function() return m:status("/readyz") == 200 end)
    end
    io.stderr:write(("\nback with the last good bundle after %.2f s\n"):format(posix.now() - began))
    -- A damaged bundle is refused and named.
    members[1]:kill_all()
    local path = members[1].directory .. "/bundle"
    local bytes = posix.read_file(path)
    posix.write_file(path, bytes:sub(1, 300) .. "X" .. bytes:sub(302))
    members[1]:start()
    scope:wait_for("the damage to be named", 10, function()
      return members[1].process:log():find('file=bundle error="at byte 0: damaged', 1, true) ~= nil
    end)
  end)

  it("takes back what one member's HAProxy refuses, and goes on with the others", function()
    start_members("3.4", "3.0")
    -- What 3.4 knows and 3.0 does not, as soon as there is an Ingress of that name.
    local h = start_controller("a", {
      -- The library effects makes use of what 3.4 knows, and of nothing else.
      election = { enabled = false }, series = "3.4", libraries = { "base", "ingress" }, script = [[
        section("frontend http", { name = "newer", order = 460 }, function(b)
          if resources.ingresses:get("default", "newer") then
            b:line("http-request", "set-var(txn.x)", "str(a),aes_cbc_enc(128,txn.k,txn.k)")
          end
        end)
      ]],
    }):wait_ready()
    wait_verified(h, 2)
    assert.equal(1, h:metric("haptic_members_of_another_version"))
    local before = members[2]:state()
    admin:put_route("newer", "newer.example", { "198.18.2.1" })
    members[1]:wait_answer("newer.example", "198.18.2.1:8001")
    scope:wait_for("the refusal", 15, function()
      return h:metric("haptic_members_refused") == 1, cjson.encode(h:state().members)
    end)
    local after = members[2]:state()
    assert.equal(before.digest, after.digest)
    assert.matches("aes_cbc_enc", after.refused)
    members[2]:wait_answer("steady.example", "198.18.0.1:8001")
    scope:wait_for("the member to be level with what it had", 10, function()
      return members[2]:status("/readyz") == 200
    end)
    -- The next change that it takes brings it back.
    admin:delete("Ingress", "newer")
    wait_verified(h, 2)
    change_everywhere()
    -- Also when it was accepted before the member's answer was there: much sooner than a member that refuses is asked again.
    for i = 1, 4 do
      admin:put(kube.ingress({ name = "newer", host = "newer.example", service = "newer" }))
      members[1]:wait_answer("newer.example", "198.18.2.1:8001")
      posix.sleep(0.02 * i)
      admin:delete("Ingress", "newer")
      wait_verified(h, 2)
    end
  end)

  it("starts an attached HAProxy again with the last good bundle", function()
    start_members("3.4 attach")
    local m = members[1]
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 1)
    local wanted = change_everywhere()
    wait_verified(h, 1)
    h:stop()
    -- The pod's containers are started again, with an empty directory but for the bundle.
    m:kill_all()
    posix.run({ "sh", "-c", 'rm -rf "$1"/haproxy.cfg "$1"/maps "$1"/*.sock', "sh", m.directory })
    m:start()
    m:start_haproxy()
    m:wait_answer("moving.example", wanted)
    scope:wait_for("the agent to be ready", 10, function() return m:status("/readyz") == 200 end)
    assert.equal(0, m:state().haproxy.reloads)
    local function metric(name)
      return tonumber(select(2, m:status("/metrics")):match("\n" .. name .. " (%d+)"))
    end
    local function deaths() return metric("haptic_haproxy_deaths_total") end
    scope:wait_for("the agent to know this HAProxy", 10, function() return metric("haptic_haproxy_old_workers") end)
    assert.is_nil(deaths())
    -- HAProxy's container alone.
    local pids = m.haproxy:processes()
    posix.kill(pids.master, "KILL")
    posix.kill(pids.worker, "KILL")
    scope:wait_for("HAProxy to be gone", 5, function() return not posix.is_alive(pids.master) end)
    m:start_haproxy()
    m:wait_answer("moving.example", wanted)
    scope:wait_for("the agent to be ready", 10, function() return m:status("/readyz") == 200 end)
    scope:wait_for("the death to be counted", 10, function() return deaths() == 1 end)
  end)

  it("refuses a stale leader", function()
    start_members("3.4")
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 1)
    -- A newer leader was here.
    posix.write_file(members[1].directory .. "/fence", "1000 1 somebody newer\n# version 2\n")
    local answered = members[1]:state().digest
    change()
    h:wait_log("Deployment refused: a newer leader has written")
    -- Alone, it knows that the earlier writer has ended, and goes on above it.
    wait_verified(h, 1)
    assert.are_not.equal(answered, members[1]:state().digest)
    assert.is_true(tonumber(posix.read_file(members[1].directory .. "/fence"):match("^%d+")) > 1000)
  end)

  it("listens to nobody without a certificate of the controller's authority", function()
    start_members("3.4")
    local m = members[1]
    local url = ("https://haptic-agent:%d/v1/state"):format(m.port)
    scope:wait_for("the agent", 10, function() return m:status("/healthz") == 200 end)
    local foreign = scope:authority("foreign")
    local foreign_crt, foreign_key = foreign:issue({ subject = "/CN=controller" })
    local expired_crt, expired_key = identity.authority:issue({ subject = "/CN=controller", expired = true })
    for what, certificate in pairs({
      none = {}, foreign = { "--cert", foreign_crt, "--key", foreign_key },
      expired = { "--cert", expired_crt, "--key", expired_key },
    }) do
      local words = { unpack(certificate) }
      words[#words + 1] = url
      local code, status = m:curl(unpack(words))
      assert.are_not.equal(0, code, what)
      assert.equal(0, status, what)
    end
    -- TLS 1.2 is too old, and there is nothing without TLS.
    local code = m:call("/v1/state", "--tls-max", "1.2")
    assert.are_not.equal(0, code)
    code = posix.run({ "sh", "-c", ('curl -s http://127.0.0.1:%d/v1/state || echo failed'):format(m.port) })
    assert.matches("failed", code)
    assert.equal("", m:state().digest)
  end)

  it("refuses bodies that are no offers, too large, or cut off, and paths that do not exist", function()
    start_members("3.4")
    local m = members[1]
    scope:wait_for("the agent", 10, function() return m:status("/healthz") == 200 end)
    local body = scope:path("body")
    posix.write_file(body, "no offer")
    local _, status, text = m:call("/v1/apply", "--data-binary", "@" .. body)
    assert.equal(400, status)
    assert.equal("invalid", cjson.decode(text).result)
    _, status = m:call("/v1/apply", "--data-binary", "@" .. body, "-H", "Content-Length: 99999999999")
    assert.equal(413, status)
    _, status = m:call("/v1/apply")
    assert.equal(405, status)
    _, status = m:call("/v1/../../etc/passwd", "--path-as-is")
    assert.equal(404, status)
    -- Packed: a bomb, one that is cut off, one that is none, an unknown way.
    local function packed(words, encoding)
      posix.run({ "sh", "-c", words .. " >" .. body })
      local _, code, said = m:call("/v1/apply", "--data-binary", "@" .. body, "-H", "Content-Encoding: " .. encoding)
      return { code, cjson.decode(said).result }
    end
    assert.same({ 413, "invalid" }, packed("head -c 300000000 /dev/zero | gzip -9", "gzip"))
    assert.same({ 400, "invalid" }, packed("echo no offer | gzip | head -c 12", "gzip"))
    assert.same({ 400, "invalid" }, packed("echo no offer", "gzip"))
    assert.same({ 400, "invalid" }, packed("echo no offer | gzip", "gzip"))
    assert.same({ 415, "invalid" }, packed("echo no offer", "br"))
    -- Cut off: the client says more than it sends, and leaves.
    m:call("/v1/apply", "--data-binary", "@" .. body, "-H", "Content-Length: 100000", "--max-time", "1")
    assert.equal("", m:state().digest)
  end)

  it("is reached while others hold connections open", function()
    start_members("3.4")
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 1)
    local held = {}
    for i = 1, 150 do
      held[i] = assert(posix.connect("127.0.0.1", members[1].port, posix.now() + 5))
    end
    change_everywhere()
    wait_verified(h, 1)
    for _, socket in ipairs(held) do
      socket:close()
    end
  end)

  it("reads renewed certificates again, and keeps to the new authority", function()
    start_members("3.4")
    local h = start_controller("a", { election = { enabled = false } }):wait_ready()
    wait_verified(h, 1)
    local old = {
      authority = { crt = scope:path("old-ca") }, controller_crt = scope:path("old-crt"), controller_key = scope:path("old-key"),
    }
    posix.write_file(old.authority.crt, posix.read_file(identity.authority.crt))
    posix.write_file(old.controller_crt, posix.read_file(identity.controller_crt))
    posix.write_file(old.controller_key, posix.read_file(identity.controller_key))
    local new = scope:fleet_identity()
    for _, pair in ipairs({
      { identity.authority.crt, new.authority.crt }, { identity.agent_crt, new.agent_crt },
      { identity.agent_key, new.agent_key }, { identity.controller_crt, new.controller_crt },
      { identity.controller_key, new.controller_key },
    }) do
      posix.write_file(pair[1], posix.read_file(pair[2]))
    end
    change_everywhere(20)
    wait_verified(h, 1)
    scope:wait_for("the old certificate to be refused", 10, function()
      local code = members[1]:curl("--cert", old.controller_crt, "--key", old.controller_key,
        ("https://haptic-agent:%d/v1/state"):format(members[1].port))
      return code ~= 0
    end)
    scope:wait_for("the new certificate to be taken", 10, function()
      return h:state().hash == members[1]:state().digest
    end)
  end)
end)
