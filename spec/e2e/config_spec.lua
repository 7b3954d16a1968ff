--- The configuration as a resource, before a real API server: waited for, followed, refused, repaired, gone.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local RULES = kube.rules_with(kube.rules({ "get", "list", "watch", "create", "update" }),
  { apiGroups = { "haproxy-haptic.org" }, resources = { "haproxytemplateconfigs", "haproxytemplatelibraries" },
    verbs = { "get", "watch" } },
  { apiGroups = { "haproxy-haptic.org" }, resources = { "haproxytemplateconfigs/status", "haproxytemplatelibraries/status" }, verbs = { "patch" } })

describe("a configuration that is a resource", function()
  local world = e2e.world("config", { routes = { { "steady", "198.18.0.1" } }, clients = { "a", "b" }, rules = RULES })
  local admin, cluster, scope

  setup(function()
    admin, cluster = world:begin()
    -- As Helm does it, and then as the program does.
    local output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "create", "-f",
      "charts/haptic/crds/haproxytemplateconfigs.yaml" })
    assert.equal(0, code, output)
    output, code = posix.run({ e2e.program(), "crds", "apply", "--kubeconfig", cluster.admin_kubeconfig })
    assert.equal(0, code, output)
    assert.matches("customresourcedefinition/haproxytemplateconfigs.haproxy%-haptic.org applied\n", output)
    assert.matches("customresourcedefinition/haproxytemplatelibraries.haproxy%-haptic.org applied\n", output)
    admin:know("HAProxyTemplateLibrary", "/apis/haproxy-haptic.org/v1alpha1", "haproxytemplatelibraries")
    admin:know("HAProxyTemplateConfig", "/apis/haproxy-haptic.org/v1alpha1", "haproxytemplateconfigs")
    world.suite:wait_for("the CRD to be served", 20, function()
      return admin:call("GET", "/apis/haproxy-haptic.org/v1alpha1/haproxytemplateconfigs") == 200
        and admin:call("GET", "/apis/haproxy-haptic.org/v1alpha1/haproxytemplatelibraries") == 200
    end)
  end)
  teardown(function() world:finish() end)
  before_each(function() scope = world:open() end)
  after_each(function()
    world:close()
    admin:delete("HAProxyTemplateConfig", "main")
  end)

  --- A header that every answer has.
  local function header(text)
    return { ["hello.lua"] = { template = 'section("frontend http", { name = "hello", order = 450 }, function(b)\n'
      .. '  b:line("http-response", "set-header", "X-Hello", "' .. text .. '")\nend)\n' } }
  end

  local function put(changes)
    local spec = e2e.config(changes)
    return admin:put({ kind = "HAProxyTemplateConfig", apiVersion = "haproxy-haptic.org/v1alpha1",
      metadata = { name = "main", namespace = "default" }, spec = spec })
  end

  local function start(options)
    options = options or {}
    options.name = options.name or "a"
    options.kubeconfig = world:kubeconfig(options.name)
    options.config = false
    options.args = { "--config-resource", "default/main" }
    return scope:haptic(options)
  end

  local function hello(haptic)
    local answer = http.request({ port = haptic.http_port, path = "/", host = "steady.example" })
    return answer and answer.headers and answer.headers["x-hello"]
  end

  --- "Accepted=True(Valid) …" of the generation that the resource has; nil while they speak of another one.
  local function conditions()
    local object = admin:get("HAProxyTemplateConfig", "main")
    local words, by_type = {}, {}
    for _, c in ipairs(object.status and object.status.conditions or {}) do
      if c.observedGeneration ~= object.metadata.generation then return nil, "of generation " .. c.observedGeneration end
      words[#words + 1] = ("%s=%s(%s)"):format(c.type, c.status, c.reason)
      by_type[c.type] = c
    end
    table.sort(words)
    return #words > 0 and table.concat(words, " "), by_type
  end

  local function wait_conditions(wanted, seconds)
    local all
    scope:wait_for("the conditions " .. wanted, seconds or 20, function()
      local words, by_type = conditions()
      all = by_type
      return words == wanted, words or by_type
    end)
    return all
  end

  local function wait_condition(name)
    local output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "wait", "--for=condition=" .. name,
      "--timeout=20s", "htplcfg/main" })
    assert.equal(0, code, output)
  end

  local DEPLOYED = "Accepted=True(Valid) Deployed=True(Live) Rendered=True(Rendered) TestsPassed=True(NoTests)"
  local REFUSED = "Accepted=False(Refused) Deployed=False(NotInForce) Rendered=Unknown(NotAccepted) TestsPassed="

  it("is waited for, and nothing is touched before", function()
    local haptic = start()
    haptic:wait_log("Waiting for the configuration.*default/main.*there is no such resource", 10)
    assert.is_true(haptic:is_running())
    assert.equal(200, haptic:get("/healthz").status)
    local ready, why = haptic:is_ready()
    assert.is_false(ready)
    assert.matches("waiting for the configuration HAProxyTemplateConfig default/main", why)
    assert.is_nil(posix.read_file(haptic.directory .. "/haproxy.cfg"))
    assert.same({}, posix.children(haptic.pid))
    -- A wrong one: said on it, and still nothing.
    put({ dataplane = { minDeploymentIntervall = "1s" } })
    local c = wait_conditions("Accepted=False(Invalid) Deployed=False(NotInForce) Rendered=Unknown(NotAccepted) TestsPassed=Unknown(NotRun)")
    assert.matches('spec.dataplane.minDeploymentIntervall: unknown field; did you mean "minDeploymentInterval"',
      c.Accepted.message)
    assert.is_nil(posix.read_file(haptic.directory .. "/haproxy.cfg"))
    -- The right one.
    admin:delete("HAProxyTemplateConfig", "main")
    put({ templateSnippets = header("one") })
    haptic:wait_ready()
    scope:wait_answer(haptic.http_port, "steady.example", "198.18.0.1:8001")
    wait_condition("Deployed")
    wait_conditions(DEPLOYED)
    scope:wait_for("the header", 5, function() return hello(haptic) == "one", hello(haptic) end)
  end)

  it("is waited for by a program that ends in order", function()
    local haptic = start()
    haptic:wait_log("there is no such resource", 10)
    haptic:signal("HUP")
    haptic:wait_log("Reading the configuration again", 5)
    haptic:stop(10)
  end)

  it("is followed: changed, broken, repaired, deleted, and there again", function()
    put({ templateSnippets = header("one") })
    local haptic = start():wait_ready()
    wait_conditions(DEPLOYED)
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
    local before = haptic.haproxy:processes()

    put({ templateSnippets = header("two") })
    wait_condition("Deployed")
    scope:wait_for("the new header", 10, function() return hello(haptic) == "two", hello(haptic) end)

    -- A template that does not compile: the former one serves, the line is named on the resource.
    put({ templateSnippets = { ["hello.lua"] = { template = "section('frontend http', {}, function(b)\n  b:line(\nend)\n" } } })
    local c = wait_conditions(REFUSED .. "True(NoTests)")
    assert.matches("hello.lua:%d+", c.Accepted.message)
    assert.equal("two", hello(haptic))
    local told
    scope:wait_for("an Event", 10, function()
      for _, e in ipairs(admin:list("Event", "default")) do
        if e.involvedObject.kind == "HAProxyTemplateConfig" and e.type == "Warning" then told = e end
      end
      return told
    end)
    assert.matches("hello.lua:%d+", told.message)

    -- A field that does not exist.
    put({ templateSnippets = header("three"), loging = { level = "INFO" } })
    c = wait_conditions(REFUSED .. "Unknown(NotRun)")
    assert.matches('spec.loging: unknown field; did you mean "logging"', c.Accepted.message)
    assert.equal("two", hello(haptic))

    -- Lines that HAProxy refuses.
    put({ templateSnippets = { ["hello.lua"] = { template = 'section("frontend http", { name = "hello", order = 450 },\n'
      .. '  function(b) b:line("http-response", "nonsense") end)\n' } } })
    c = wait_conditions("Accepted=True(Valid) Deployed=False(PartRefused) Rendered=False(RefusedByHAProxy) TestsPassed=True(NoTests)")
    assert.matches("nonsense", c.Rendered.message)
    assert.equal("two", hello(haptic))

    -- A test fails: the condition says which one and what it found.
    local function test_of(text)
      return { hello = { assertions = { { type = "contains", pattern = "X-Hello " .. text } } } }
    end
    put({ templateSnippets = header("three"), validationTests = test_of("nothing") })
    c = wait_conditions("Accepted=True(Valid) Deployed=False(NotInForce) Rendered=Unknown(NotAccepted) "
      .. "TestsPassed=False(TestsFailed)")
    assert.matches("validationTests.hello: expected haproxy.cfg to contain /X%-Hello nothing/", c.TestsPassed.message)
    assert.equal("two", hello(haptic))

    -- Repaired.
    put({ templateSnippets = header("four"), validationTests = test_of("four") })
    wait_condition("TestsPassed")
    wait_condition("Deployed")
    c = wait_conditions((DEPLOYED:gsub("NoTests", "Passed")))
    assert.equal("1 passed, 0 skipped", c.TestsPassed.message)
    scope:wait_for("the repaired header", 10, function() return hello(haptic) == "four", hello(haptic) end)

    -- Gone: it stays in force; there again: it is followed.
    admin:delete("HAProxyTemplateConfig", "main")
    haptic:wait_log("Configuration resource cannot be read; the old configuration stays in force", 10)
    assert.equal("four", hello(haptic))
    put({ templateSnippets = header("five") })
    wait_condition("Deployed")
    scope:wait_for("the new header", 10, function() return hello(haptic) == "five", hello(haptic) end)
    assert.equal(before.master, haptic.haproxy:processes().master)
    client:finish(20)
  end)

  it("survives a restart, and its status is not written anew", function()
    put({ templateSnippets = header("one") })
    local haptic = start():wait_ready()
    wait_conditions(DEPLOYED)
    local version = admin:get("HAProxyTemplateConfig", "main").metadata.resourceVersion
    haptic:kill()
    haptic = start({ name = "a", directory = haptic.directory, http_port = haptic.http_port,
      status_port = haptic.status_port }):wait_ready()
    posix.sleep(1)
    assert.equal("one", hello(haptic))
    assert.equal(version, admin:get("HAProxyTemplateConfig", "main").metadata.resourceVersion)
  end)

  it("keeps its conditions over a hand-over", function()
    local election = { controller = { leader_election = { enabled = true, lease_duration = "3s", renew_deadline = "2s",
      retry_period = "500ms" } }, templateSnippets = header("one") }
    put(election)
    local a = start({ name = "a" }):wait_ready()
    wait_conditions(DEPLOYED)
    local b = start({ name = "b" })
    b:wait_log("Configuration in force", 10)
    -- Longer than a condition waits before it says that nothing is live.
    posix.sleep(11)
    local version = admin:get("HAProxyTemplateConfig", "main").metadata.resourceVersion
    a:stop()
    scope:wait_for("b to lead", 15, function() return b:metric("haptic_leader_election_is_leader") == 1 end)
    scope:wait_for("b to have deployed", 10, function() return b:state().live end)
    posix.sleep(1)
    assert.equal(version, admin:get("HAProxyTemplateConfig", "main").metadata.resourceVersion)
    put({ controller = election.controller, templateSnippets = header("two") })
    wait_conditions(DEPLOYED)
  end)

  it("is merged with its libraries, which are followed; an override is told that its base has changed", function()
    local function library(revision, text)
      admin:put({ kind = "HAProxyTemplateLibrary", apiVersion = "haproxy-haptic.org/v1alpha1",
        metadata = { name = "headers", namespace = "default" }, spec = { revision = revision, templateSnippets = header(text) } })
    end
    --- What stands in the library's status: of the condition, of the generation that it speaks of, and who uses it.
    local function wait_status(wanted)
      local seen
      scope:wait_for("the library's status to be " .. wanted, 20, function()
        local o = admin:get("HAProxyTemplateLibrary", "headers")
        local c = o.status and o.status.conditions and o.status.conditions[1]
        local used = o.status and o.status.usedBy and o.status.usedBy.main
        seen = c and ("%s=%s(%s)%s %s"):format(c.type, c.status, c.reason,
          c.observedGeneration == o.metadata.generation and "" or " of another generation",
          used and used.revision or "unused") or "none"
        return seen == wanted, seen
      end)
      return admin:get("HAProxyTemplateLibrary", "headers").status.conditions
    end
    put({ libraryRefs = { { name = "headers" } } })
    local haptic = start()
    haptic:wait_log('there is no HAProxyTemplateLibrary .*headers', 10)
    library("1", "library one")
    haptic:wait_ready()
    wait_condition("OverridesCurrent")
    scope:wait_for("the library's header", 10, function() return hello(haptic) == "library one", hello(haptic) end)
    library("1", "library two")
    scope:wait_for("its new text", 10, function() return hello(haptic) == "library two", hello(haptic) end)
    wait_status("Accepted=True(Valid) 1")
    -- What is wrong with the library itself stands there.
    admin:put({ kind = "HAProxyTemplateLibrary", apiVersion = "haproxy-haptic.org/v1alpha1",
      metadata = { name = "headers", namespace = "default" }, spec = { revision = "1", templateSnipets = header("x") } })
    local problem = wait_status("Accepted=False(Refused) 1")[1].message
    assert.matches('HAProxyTemplateLibrary headers: spec.templateSnipets: unknown field; did you mean "templateSnippets"?',
      problem, 1, true)
    library("1", "library two")
    wait_status("Accepted=True(Valid) 1")
    -- An override, and a later revision of what it takes the place of.
    local own = header("own")
    own["hello.lua"].baseRevision = "1"
    put({ libraryRefs = { { name = "headers" } }, templateSnippets = own })
    scope:wait_for("the override", 10, function() return hello(haptic) == "own", hello(haptic) end)
    wait_condition("OverridesCurrent")
    library("2", "library three")
    haptic:wait_log("The original of an override has changed.*templateSnippets.hello.lua was made against revision 1", 10)
    local c
    scope:wait_for("the condition", 20, function()
      local words, by_type = conditions()
      c = words and by_type.OverridesCurrent
      return c and c.status == "False", words
    end)
    assert.equal("BaseChanged", c.reason)
    assert.matches("has revision 2 now", c.message)
    assert.equal("own", hello(haptic))
    -- A pinned revision that is not there: refused, and nothing changes.
    put({ libraryRefs = { { name = "headers", revision = "1" } } })
    c = wait_conditions(REFUSED .. "Unknown(NotRun)")
    assert.matches('library headers has revision "2", and "1" is asked for', c.Accepted.message)
    assert.equal("own", hello(haptic))
    wait_status("Accepted=Unknown(ConfigurationRefused) 2")
    -- A library that is not named any more is not said to be used.
    put({ templateSnippets = own })
    scope:wait_for("the library's status to be empty", 20, function()
      local status = admin:get("HAProxyTemplateLibrary", "headers").status
      return type(status) ~= "table" or not status.usedBy and not status.conditions, "there is a status"
    end)
    haptic:stop()
    admin:delete("HAProxyTemplateLibrary", "headers")
  end)

  it("takes over settings in place, the election's too", function()
    local function election(name, duration)
      return { leader_election = { enabled = true, lease_name = name, lease_duration = duration, renew_deadline = "2s",
        retry_period = "500ms" } }
    end
    local function leads(name, holder)
      scope:wait_for(("%s to be held by %q"):format(name, holder), 20, function()
        local lease = admin:get("Lease", name)
        return lease and (lease.spec.holderIdentity or "") == holder, lease and lease.spec.holderIdentity
      end)
    end
    put({ controller = election("lease-one", "3s"), templateSnippets = header("one") })
    local haptic = start():wait_ready()
    leads("lease-one", "a")
    local before = haptic.haproxy:processes()
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
    -- Another Lease: the former one is given back.
    put({ controller = election("lease-two", "4s"), templateSnippets = header("two"),
      watchedResourcesIgnoreFields = { "metadata.labels['example.com/noise']" },
      dataplane = { minDeploymentInterval = "200ms", deploymentTimeout = "21s" },
      templatingSettings = { renderTimeout = "7s", renderMemoryBytes = 300000000, renderOutputBytes = 100000000 } })
    leads("lease-two", "a")
    leads("lease-one", "")
    wait_condition("Deployed")
    scope:wait_for("the new header", 10, function() return hello(haptic) == "two", hello(haptic) end)
    -- None: this replica leads alone.
    put({ controller = { leader_election = { enabled = false } }, templateSnippets = header("three") })
    leads("lease-two", "")
    scope:wait_for("the third header", 10, function() return hello(haptic) == "three", hello(haptic) end)
    assert.equal(before.master, haptic.haproxy:processes().master)
    assert.equal(0, haptic:count_log("take effect at the next start"))
    client:finish()
    haptic:stop()
  end)

  it("changes many times in a row: nothing is listed again, no Lease changes, no request fails", function()
    local changes, routes = os.getenv("E2E_FULL") and 100 or 6, os.getenv("E2E_FULL") and 1000 or 10
    if changes < 100 then
      print(("%d changes at %d Ingresses (E2E_FULL=1: 100 at 1000)"):format(changes, routes))
    end
    local election = { leader_election = { enabled = true, lease_duration = "15s", renew_deadline = "10s", retry_period = "1s" } }
    for i = 1, routes do
      admin:put_route("many-" .. i, "many-" .. i .. ".example", { "198.18.0.1" })
    end
    put({ controller = election, templateSnippets = header("0") })
    local haptic = start():wait_ready(60)
    wait_condition("Deployed")
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example", "many-1.example" } })
    local function memory()
      return tonumber(posix.read_file("/proc/" .. haptic.pid .. "/statm"):match("^%d+ (%d+)")) * 4096
    end
    local function seen()
      local lease = admin:get("Lease", "haptic-leader").spec
      return { transitions = lease.leaseTransitions, since = lease.acquireTime, restarts = haptic:metric("haptic_watch_restarts_total") or 0 }
    end
    local first, early = seen(), nil
    local master = haptic.haproxy:processes().master
    for i = 1, changes do
      put({ controller = election, templateSnippets = header(tostring(i)) })
      scope:wait_for("header " .. i, 30, function() return hello(haptic) == tostring(i), hello(haptic) end)
      if i == math.ceil(changes / 4) then early = memory() end
    end
    local late = memory()
    print(("%d changes: %.1f MB after a quarter of them, %.1f MB at the end"):format(changes, early / 1e6, late / 1e6))
    assert.same(first, seen())
    assert.equal(master, haptic.haproxy:processes().master)
    assert.is_true(late < early * 1.1 + 2e6, ("memory grew from %d to %d"):format(early, late))
    client:finish()
    haptic:stop()
    for i = 1, routes do
      for _, object in ipairs({ kube.route("many-" .. i, "many-" .. i .. ".example", { "198.18.0.1" }) }) do
        admin:delete(object.kind, object.metadata.name)
      end
    end
  end)

  it("works as a file, too", function()
    put({ templateSnippets = header("one") })
    local output = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "get", "htplcfg", "main", "-o", "yaml" })
    local file = scope:path("main.yaml")
    posix.write_file(file, output)
    local haptic = scope:haptic({ name = "b", kubeconfig = world:kubeconfig("b"), config_file = file }):wait_ready()
    scope:wait_for("the header", 10, function() return hello(haptic) == "one", hello(haptic) end)
  end)

  it("is refused by the API server where its types are wrong", function()
    local status, answer = admin:call("POST", "/apis/haproxy-haptic.org/v1alpha1/namespaces/default/haproxytemplateconfigs",
      { kind = "HAProxyTemplateConfig", apiVersion = "haproxy-haptic.org/v1alpha1", metadata = { name = "main" },
        spec = { templateSnippets = { x = { template = 1 } } } })
    assert.equal(422, status)
    assert.matches("spec.templateSnippets.x.template", answer.message)
    status, answer = admin:call("POST", "/apis/haproxy-haptic.org/v1alpha1/namespaces/default/haproxytemplateconfigs",
      { kind = "HAProxyTemplateConfig", apiVersion = "haproxy-haptic.org/v1alpha1", metadata = { name = "main" },
        spec = { controller = { leaderElection = { enabled = false }, leader_election = { enabled = true } } } })
    assert.equal(422, status)
    assert.matches("write one of them", answer.message)
  end)
end)
