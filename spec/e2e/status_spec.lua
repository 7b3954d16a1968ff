--- The status of objects, before a real API server: what a watcher sees through faults, hand-overs and restarts.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NOTE = "haproxy-haptic.org/status-entries"
local FOREIGN = { ip = "203.0.113.9", ports = { { port = 80, protocol = "TCP" } } }
local RULES = kube.rules_with(kube.rules({ "get", "list", "watch", "create", "update" }),
  { apiGroups = { "networking.k8s.io" }, resources = { "ingresses/status" }, verbs = { "patch" } })

local NAMED = { "metadata.namespace", "metadata.name" }
local ANY = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true }
local GATE = "/apis/spec.example/v1/namespaces/default/gates/one/status"

-- Of a kind whose lists others write as well.
local SCRIPT = [[
each(resources.gates, "status", function(gate, out)
  out:status({
    parents = { { controllerName = "example.com/us", parentRef = { name = gate.spec.parent },
      conditions = { { type = "Accepted", status = "True", reason = "Accepted", message = "" } } } },
    conditions = { { type = "Live", status = gate.spec.live, reason = "Serves", message = "" } },
  }, nil, { shared = { parents = { owner = "controllerName", value = "example.com/us" }, conditions = { key = "type" } } })
end)
]]

--- What the other controller has there.
local function theirs(n)
  return { controllerName = "example.com/them", parentRef = { name = "gw" }, conditions = { { type = "Accepted", status = "True",
    reason = "R" .. n, message = "", observedGeneration = n, lastTransitionTime = "2020-01-01T00:00:00Z" } } }
end
local function their_condition(n)
  return { type = "Theirs", status = "False", reason = "R" .. n, message = "", lastTransitionTime = "2020-01-01T00:00:00Z" }
end

describe("the status of objects", function()
  local world = e2e.world("status", {
    routes = { { "one", "198.18.0.1" }, { "two", "198.18.0.2" } }, clients = { "a", "b", "c" }, rules = RULES,
  })
  local admin, faults, scope, watcher

  setup(function()
    local cluster
    admin, cluster, faults = world:begin()
    assert.is_truthy(cluster)
  end)
  teardown(function() world:finish() end)

  --- The entries of the publish Service; none: it has no address.
  local function publish(...)
    local list = {}
    for i, ip in ipairs({ ... }) do list[i] = { ip = ip } end
    admin:patch_status("Service", "lb", { loadBalancer = { ingress = #list > 0 and list or cjson.null } })
  end

  local function entries(name)
    local ing = admin:get("Ingress", name)
    local status = ing and ing.status and ing.status.loadBalancer or {}
    return status.ingress or {}, ing
  end

  --- Names of the entries, "A B".
  local function names(list)
    local words = {}
    for i, e in ipairs(list) do words[i] = e.ip or e.hostname end
    return table.concat(words, " ")
  end

  local function wait_status(name, wanted, seconds)
    return scope:wait_for(("the status of %s to be %q"):format(name, wanted), seconds or 20, function()
      local list, ing = entries(name)
      local now = names(list)
      return now == wanted and ing, now
    end)
  end

  local function config(more)
    local c = e2e.config({ templatingSettings = { extraContext = { publish_service = "default/lb" } } })
    for key, value in pairs(more or {}) do c[key] = value end
    return c
  end

  local function start(options)
    options = options or {}
    options.kubeconfig = world:kubeconfig("a")
    options.config = options.config or config()
    options.name = "a"
    return scope:haptic(options):wait_ready()
  end

  local function watch()
    local path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses?watch=1"
    return scope:spawn({ name = "watcher", output = scope:path("watch.json"),
      argv = { "curl", "-sN", ("http://127.0.0.1:%d%s"):format(admin.port, path) } })
  end

  --- What the watcher saw: name → the list of entries of each version.
  local function seen()
    local by_name = {}
    for line in watcher:log():gmatch("[^\n]+") do
      local ok, event = pcall(cjson.decode, line)
      local o = ok and event.object
      if o and o.metadata then
        local list = by_name[o.metadata.name] or {}
        by_name[o.metadata.name] = list
        local entries_now = o.status and o.status.loadBalancer and o.status.loadBalancer.ingress or {}
        local foreign
        for _, e in ipairs(entries_now) do
          if e.ip == FOREIGN.ip then foreign = e end
        end
        list[#list + 1] = { type = event.type, names = names(entries_now), foreign = foreign,
          note = (o.metadata.annotations or {})["example.com/theirs"] }
      end
    end
    return by_name
  end

  --- A status that was there is never empty again; a foreign entry or annotation that was there stays as it is.
  local function assert_unharmed()
    local count = 0
    for name, versions in pairs(seen()) do
      local filled, foreign, note = false, false, nil
      for i, v in ipairs(versions) do
        count = count + 1
        if v.type ~= "DELETED" then
          assert.is_false(filled and v.names == "", ("%s became empty in version %d"):format(name, i))
          assert.is_false(foreign and not v.foreign, ("%s lost a foreign entry in version %d: %s"):format(name, i, v.names))
          if v.foreign then assert.same(FOREIGN, v.foreign) end
          assert.is_true(note == nil or v.note == note, ("%s lost a foreign annotation in version %d"):format(name, i))
          filled, foreign, note = v.names ~= "", v.foreign ~= nil, v.note
        end
      end
    end
    assert.is_true(count > 0, "the watcher saw nothing")
  end

  before_each(function()
    scope = world:open()
    local lb = kube.service("lb")
    lb.spec.type = "LoadBalancer"
    admin:put(lb)
    publish("192.0.2.1")
    watcher = watch()
  end)
  after_each(function() world:close() end)

  it("has the addresses of the publish Service when the route is live", function()
    local haptic = start()
    local ing = wait_status("one", "192.0.2.1")
    wait_status("two", "192.0.2.1")
    assert.equal("192.0.2.1", ing.metadata.annotations[NOTE])
    local manager
    for _, m in ipairs(ing.metadata.managedFields) do
      if m.manager == "haptic-status" then manager = m end
    end
    assert.equal("Apply", manager.operation)
    assert.equal("status", manager.subresource)
    -- A new one: its route answers when the status is there.
    admin:put_route("late", "late.example", { "198.18.0.3" })
    wait_status("late", "192.0.2.1")
    assert.equal("198.18.0.3:8001", select(2, e2e.ask(haptic.http_port, "late.example")))
    -- Nothing more is written, whatever else happens.
    local written = haptic:metric("haptic_status_writes_total", { result = "written" })
    assert.equal(3, written)
    admin:put(kube.slice("one", { "198.18.0.9" }))
    scope:wait_answer(haptic.http_port, "one.example", "198.18.0.9:8001")
    assert.equal(written, haptic:metric("haptic_status_writes_total", { result = "written" }))
    -- Another address, and one more.
    publish("192.0.2.2", "192.0.2.3")
    for _, name in ipairs({ "one", "two", "late" }) do wait_status(name, "192.0.2.2 192.0.2.3") end
    assert_unharmed()
  end)

  it("stays while the Service has no address, or is away", function()
    local haptic = start()
    wait_status("one", "192.0.2.1")
    publish()
    admin:put_route("late", "late.example", { "198.18.0.3" })
    scope:wait_answer(haptic.http_port, "late.example", "198.18.0.3:8001")
    admin:delete("Service", "lb")
    admin:put(kube.slice("late", { "198.18.0.4" }))
    scope:wait_answer(haptic.http_port, "late.example", "198.18.0.4:8001")
    assert.equal("192.0.2.1", names((entries("one"))))
    assert.equal("", names((entries("late"))))
    -- A restart in the meantime takes nothing away either.
    haptic:kill()
    start({ directory = haptic.directory, http_port = haptic.http_port })
    assert.equal("192.0.2.1", names((entries("one"))))
    local lb = kube.service("lb")
    lb.spec.type = "LoadBalancer"
    admin:put(lb)
    publish("192.0.2.5")
    for _, name in ipairs({ "one", "two", "late" }) do wait_status(name, "192.0.2.5") end
    assert_unharmed()
  end)

  it("keeps the entries of others, also those that come later", function()
    admin:patch_status("Ingress", "one", { loadBalancer = { ingress = { FOREIGN } } })
    local haptic = start()
    wait_status("one", "203.0.113.9 192.0.2.1")
    assert.same(FOREIGN, entries("one")[1])
    admin:patch_status("Ingress", "two", { loadBalancer = { ingress = { { ip = "192.0.2.1" }, FOREIGN } } })
    publish("192.0.2.2")
    wait_status("one", "203.0.113.9 192.0.2.2")
    wait_status("two", "203.0.113.9 192.0.2.2")
    -- The address changes while nobody is there to see it.
    haptic:kill()
    publish("192.0.2.3")
    start({ directory = haptic.directory, http_port = haptic.http_port })
    wait_status("one", "203.0.113.9 192.0.2.3")
    wait_status("two", "203.0.113.9 192.0.2.3")
    -- Somebody takes ours away: it comes back.
    admin:patch_status("Ingress", "one", { loadBalancer = { ingress = { FOREIGN } } })
    wait_status("one", "203.0.113.9 192.0.2.3")
    assert_unharmed()
  end)

  it("of an Ingress that another controller serves by now loses ours", function()
    start()
    wait_status("one", "192.0.2.1")
    admin:patch_status("Ingress", "one", { loadBalancer = { ingress = { { ip = "192.0.2.1" }, FOREIGN } } })
    -- A class that nobody knows: not yet.
    admin:patch("Ingress", "one", { spec = { ingressClassName = "theirs" } })
    admin:put_route("late", "late.example", { "198.18.0.3" })
    wait_status("late", "192.0.2.1")
    assert.equal("192.0.2.1 203.0.113.9", names((entries("one"))))
    admin:put({ kind = "IngressClass", apiVersion = "networking.k8s.io/v1",
      metadata = { name = "theirs", labels = { spec = "yes" } }, spec = { controller = "example.com/other" } })
    local ing = wait_status("one", "203.0.113.9")
    assert.is_nil((ing.metadata.annotations or {})[NOTE])
    assert_unharmed()
  end)

  it("of further classes is written as they say", function()
    local function class(name)
      admin:put({ kind = "IngressClass", apiVersion = "networking.k8s.io/v1", metadata = { name = name, labels = { spec = "yes" } },
        spec = { controller = "example.com/other" } })
    end
    for i, name in ipairs({ "never", "handover", "own" }) do
      class(name)
      admin:put_route(name, name .. ".example", { "198.18.0." .. 2 + i })
      admin:patch("Ingress", name, { spec = { ingressClassName = name } })
      admin:patch_status("Ingress", name, { loadBalancer = { ingress = { FOREIGN } } })
    end
    local haptic = start({ config = config({ templatingSettings = { extraContext = { publish_service = "default/lb",
      ingress_classes = { { name = "never", status = "never" }, { name = "handover", status = "handover" }, { name = "own" } },
    } } }) })
    wait_status("one", "192.0.2.1")
    wait_status("own", "203.0.113.9 192.0.2.1")
    for i, name in ipairs({ "never", "handover", "own" }) do
      scope:wait_answer(haptic.http_port, name .. ".example", ("198.18.0.%d:8001"):format(2 + i))
    end
    publish("192.0.2.2")
    wait_status("own", "203.0.113.9 192.0.2.2")
    -- The other one stops, and takes its address away.
    local function touched(name)
      for _, m in ipairs(admin:get("Ingress", name).metadata.managedFields) do
        if m.manager == "haptic-status" then return true end
      end
      return false
    end
    assert.same({ "203.0.113.9", "203.0.113.9" }, { names((entries("never"))), names((entries("handover"))) })
    assert.same({ false, false, true }, { touched("never"), touched("handover"), touched("own") })
    assert_unharmed()
    for _, name in ipairs({ "never", "handover" }) do
      admin:patch_status("Ingress", name, { loadBalancer = { ingress = cjson.null } })
    end
    wait_status("handover", "192.0.2.2")
    publish("192.0.2.3")
    wait_status("handover", "192.0.2.3")
    -- It comes back: nobody fights for the list.
    admin:patch_status("Ingress", "handover", { loadBalancer = { ingress = { FOREIGN } } })
    publish("192.0.2.4")
    wait_status("own", "203.0.113.9 192.0.2.4")
    assert.same({ "", "203.0.113.9" }, { names((entries("never"))), names((entries("handover"))) })
    assert.is_false(touched("never"))
    -- A restart changes nothing of that.
    haptic:stop()
    start({ directory = haptic.directory, http_port = haptic.http_port, config = config({ templatingSettings = {
      extraContext = { publish_service = "default/lb", ingress_classes = { { controller = "example.com/other",
        status = "handover" } } } } }) })
    wait_status("never", "192.0.2.4")
    wait_status("own", "203.0.113.9 192.0.2.4")
    assert.equal("203.0.113.9", names((entries("handover"))))
  end)

  for _, fault in ipairs({
    { action = "status", code = 409 }, { action = "status", code = 422, reason = "Invalid" },
    { action = "status", code = 500 }, { action = "lose" }, { action = "drop" },
  }) do
    local what = fault.code and "the answer " .. fault.code or "an answer that is lost (" .. fault.action .. ")"
    it("is written in spite of " .. what .. ", and others at once", function()
      local rule = { path = "/ingresses/one/status", method = "PATCH" }
      for key, value in pairs(fault) do rule[key] = value end
      admin:patch_status("Ingress", "one", { loadBalancer = { ingress = { FOREIGN } } })
      local haptic = start()
      wait_status("one", "203.0.113.9 192.0.2.1")
      wait_status("two", "192.0.2.1")
      local id = faults:rule(rule)
      publish("192.0.2.2")
      wait_status("two", "192.0.2.2", 5)
      haptic:wait_log("status of an object cannot be written.*ingresses.*default/one", 10)
      if fault.action ~= "lose" then assert.equal("203.0.113.9 192.0.2.1", names((entries("one")))) end
      faults:heal(id)
      wait_status("one", "203.0.113.9 192.0.2.2")
      scope:wait_for("quiet", 15, function()
        local state = haptic:state().status
        return state.rest == 0 and state.queued == 0 and state.under_way == 0 and state.wait_to_be_live == 0, cjson.encode(state)
      end)
      assert.is_true(haptic:count_log("status of an object cannot be written") <= 2)
      assert_unharmed()
    end)
  end

  it("pauses as long as the server asks for", function()
    faults:rule({ action = "status", code = 429, retry_after = 2, path = "/status%?", method = "PATCH", count = 1 })
    faults:rule({ action = "status", code = 429, retry_after = 2, path = "/status", method = "PATCH", count = 1 })
    start()
    wait_status("one", "192.0.2.1")
    wait_status("two", "192.0.2.1")
    local writes = {}
    for _, request in ipairs(faults:find_requests("/ingresses/%w+/status")) do writes[#writes + 1] = request.time end
    table.sort(writes)
    assert.is_true(writes[#writes] - writes[1] >= 2)
    assert_unharmed()
  end)

  it("waits for the right to write it, and says so", function()
    admin:allow("alice", kube.rules({ "get", "list", "watch", "create", "update" }))
    local haptic = start()
    scope:wait_answer(haptic.http_port, "one.example", "198.18.0.1:8001")
    haptic:wait_log("status of an object cannot be written.*may not patch ingresses/status")
    admin:allow("alice", RULES)
    wait_status("one", "192.0.2.1", 60)
    wait_status("two", "192.0.2.1")
    assert_unharmed()
  end)

  it("is written when a member of the fleet has verified the route", function()
    local identity = scope:fleet_identity()
    local member = scope:member({ name = "member", identity = identity, series = "3.2" })
    local haptic = scope:haptic({
      name = "a", kubeconfig = world:kubeconfig("a"),
      -- How long a member that stands still is waited for.
      config = config({ dataplane = { minDeploymentInterval = "100ms", deploymentTimeout = "2s" } }),
      args = { "--haproxy", "fleet", "--members", member.url, "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key },
    })
    haptic.supervises = false
    wait_status("one", "192.0.2.1")
    wait_status("two", "192.0.2.1")
    -- Nobody can be reached: what is accepted now is not live anywhere.
    member.process:signal("STOP")
    admin:put_route("late", "late.example", { "198.18.0.3" })
    haptic:wait_log("Member cannot be reached", 60)
    assert.equal("", names((entries("late"))))
    assert.equal(1, haptic:state().status.wait_to_be_live)
    member.process:signal("CONT")
    wait_status("late", "192.0.2.1", 40)
    assert_unharmed()
  end)

  --- This program with the number of the next version, or what HAPTIC_NEWER names.
  local function newer_program()
    local program = os.getenv("HAPTIC_NEWER")
    if program then return program end
    program = scope:path("newer-haptic")
    local bytes = assert(posix.read_file(e2e.program()))
    local own = posix.run({ e2e.program(), "version" }):match("haptic (%d+%.%d+%.%d+)")
    local next_one = own:gsub("^%d+", function(major) return (tonumber(major) + 1) % 10 end)
    posix.write_file(program, (bytes:gsub(own:gsub("%.", "%%.") .. "%z", next_one .. "\0")))
    posix.run({ "chmod", "755", program })
    assert.equal("haptic " .. next_one, posix.run({ program, "version" }):match("haptic %S+"))
    return program
  end

  --- What ends the one that leads: its way out (leader, replicas), which may return what puts things right again.
  local HANDOVERS = {
    { "SIGTERM", function(leader, replicas)
      leader:stop()
      replicas:start(leader.name)
    end },
    { "SIGKILL", function(leader, replicas)
      leader:kill()
      replicas:start(leader.name)
    end },
    { "the loss of its lease", function(leader)
      local id = faults:rule({ action = "drop", client = leader.name, path = "/leases" })
      scope:wait_for("the leader to lose its lease", 15, function()
        return leader:metric("haptic_leader_election_is_leader") == 0
      end)
      return function() faults:heal(id) end
    end },
    { "an upgrade: one by one its program becomes a newer one", function(leader, replicas)
      replicas.options.program = newer_program()
      local others = replicas:others(leader)
      others[#others + 1] = leader
      for _, replica in ipairs(others) do
        replica:stop()
        replicas:start(replica.name):wait_ready()
      end
    end },
  }

  for _, handover in ipairs(HANDOVERS) do
    it("goes on when the leader ends by " .. handover[1], function()
      local replicas = scope:replicas({
        names = { "a", "b" },
        kubeconfig = function(name) return world:kubeconfig(name) end,
        config = function()
          return config({ controller = { leader_election = { enabled = true, lease_duration = "3s",
            renew_deadline = "2s", retry_period = "500ms" } } })
        end,
      })
      local leader = replicas:wait_leader(30)
      replicas:wait_all_ready()
      admin:patch("Ingress", "one", { metadata = { annotations = { ["example.com/theirs"] = "kept" } } })
      admin:patch_status("Ingress", "one", { loadBalancer = { ingress = { FOREIGN } } })
      wait_status("one", "203.0.113.9 192.0.2.1")
      wait_status("two", "192.0.2.1")
      -- The address changes in the meantime, and once more when it is over.
      local heal = handover[2](leader, replicas)
      publish("192.0.2.11")
      wait_status("one", "203.0.113.9 192.0.2.11", 30)
      wait_status("two", "192.0.2.11", 30)
      if heal then heal() end
      leader = replicas:wait_leader(30)
      publish("192.0.2.12")
      wait_status("one", "203.0.113.9 192.0.2.12", 30)
      wait_status("two", "192.0.2.12", 30)
      -- Nobody but the leader writes.
      for _, other in ipairs(replicas:others(leader)) do assert.equal(0, other:state().status.under_way) end
      posix.sleep(0.5)
      assert_unharmed()
    end)
  end

  --- The other controller writes as controllers do: it reads, changes what is its own, and writes that version.
  local function write_theirs(n)
    for _ = 1, 50 do
      local gate = admin:get("Gate", "one")
      local status = gate.status or {}
      for list, own in pairs({ parents = theirs(n), conditions = their_condition(n) }) do
        local kept = { own }
        for _, item in ipairs(status[list] or {}) do
          if item.controllerName ~= "example.com/them" and item.type ~= "Theirs" then kept[#kept + 1] = item end
        end
        status[list] = kept
      end
      local code = admin:call("PATCH", GATE, { metadata = { resourceVersion = gate.metadata.resourceVersion }, status = status },
        "application/merge-patch+json")
      if code < 300 then return end
      assert.equal(409, code)
    end
    error("the other controller never came to write")
  end

  local function by(list, field, value)
    local found
    for _, item in ipairs(list or {}) do
      if item[field] == value then
        assert.is_nil(found, "twice: " .. value)
        found = item
      end
    end
    return found
  end

  it("has lists of several controllers in which each keeps its elements, whoever writes when", function()
    admin:know("Gate", "/apis/spec.example/v1", "gates")
    finally(function() admin:delete("CustomResourceDefinition", "gates.spec.example") end)
    admin:put({ kind = "CustomResourceDefinition", apiVersion = "apiextensions.k8s.io/v1", metadata = { name = "gates.spec.example" },
      spec = { group = "spec.example", scope = "Namespaced", names = { kind = "Gate", plural = "gates", singular = "gate" },
        versions = { { name = "v1", served = true, storage = true, subresources = { status = {} }, schema = {
          openAPIV3Schema = { type = "object", properties = { spec = ANY, status = { type = "object", properties = {
            parents = { type = "array", items = ANY }, conditions = { type = "array", items = ANY } } } } } } } } } })
    scope:wait_for("the kind", 20, function()
      return pcall(admin.put, admin, { kind = "Gate", apiVersion = "spec.example/v1", metadata = { name = "one" },
        spec = { parent = "gw", live = "False" } })
    end)
    write_theirs(0)
    local gates = scope:spawn({ name = "watcher of gates", output = scope:path("gates.json"), argv = { "curl", "-sN",
      ("http://127.0.0.1:%d/apis/spec.example/v1/namespaces/default/gates?watch=1"):format(admin.port) } })
    local haptic = scope:haptic({ kubeconfig = world.cluster.admin_kubeconfig, config = e2e.config({
      watchedResources = { gates = { apiVersion = "spec.example/v1", resources = "gates", indexBy = NAMED, statusPatch = true } },
      templateSnippets = { ["gates.lua"] = { template = SCRIPT } } }) }):wait_ready()
    local function wait_ours(live, parent)
      local gate
      scope:wait_for("our elements", 20, function()
        gate = admin:get("Gate", "one")
        local ours = by(gate.status.conditions, "type", "Live")
        local at = by(gate.status.parents, "controllerName", "example.com/us")
        return ours and at and ours.status == live and at.parentRef.name == parent
          and ours.observedGeneration == gate.metadata.generation and at.conditions[1].observedGeneration == gate.metadata.generation,
          cjson.encode(gate.status)
      end)
      return by(gate.status.conditions, "type", "Live"), gate
    end
    local first = wait_ours("False", "gw")
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", first.lastTransitionTime)
    -- Both write at the same time, again and again; the generation grows.
    for n = 1, 15 do
      admin:patch("Gate", "one", { spec = { parent = "gw" .. n, live = "False" } })
      write_theirs(n)
    end
    local later, gate = wait_ours("False", "gw15")
    assert.equal(first.lastTransitionTime, later.lastTransitionTime)
    assert.same({ theirs(15), their_condition(15) }, { by(gate.status.parents, "controllerName", "example.com/them"),
      by(gate.status.conditions, "type", "Theirs") })
    assert.equal(2, #gate.status.parents)
    -- Another status is another time.
    admin:patch("Gate", "one", { spec = { live = "True" } })
    assert.equal("True", wait_ours("True", "gw15").status)
    -- The watcher never saw them gone or set back.
    local versions, last = 0, 0
    for line in gates:log():gmatch("[^\n]+") do
      local ok, event = pcall(cjson.decode, line)
      local status = ok and event.object and event.object.status
      if status and status.parents then
        local parent, condition = by(status.parents, "controllerName", "example.com/them"), by(status.conditions, "type", "Theirs")
        assert.is_truthy(parent and condition, line)
        local n = tonumber(parent.conditions[1].reason:sub(2))
        assert.equal("R" .. n, condition.reason)
        assert.is_true(n >= last, line)
        versions, last = versions + 1, n
      end
    end
    assert.is_true(versions > 16, tostring(versions))
    assert.equal(15, last)
    assert.equal(0, haptic:count_log("level=ERROR"))
  end)
end)
