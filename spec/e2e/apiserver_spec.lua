--- What the API server and the way to it can do to HAPTIC: nothing that a request through HAProxy would feel.
--
-- Everything is checked under continuous requests. HAProxy 3.2; the fault proxy stands between HAPTIC and the API server.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

describe("with the API server", function()
  local world = e2e.world("apiserver", {
    routes = { { "steady", "198.18.0.1" }, { "moving", "198.18.1.1" } }, clients = { "haptic" },
  })
  local admin, cluster, faults, scope, haptic, client

  setup(function() admin, cluster, faults = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)

  before_each(function()
    faults:forget_requests()
    scope = world:open()
  end)

  local function answers(host, wanted, seconds)
    return scope:wait_answer(haptic.http_port, host, wanted, seconds)
  end

  --- haptic as alice behind the fault proxy, with a client that asks for both hosts.
  local function start(options)
    haptic, client = world:start(options)
  end

  --- A change is seen within `seconds`: the proof that HAPTIC follows (again).
  local function follows(seconds)
    local n = 0
    for i = 1, 2 do
      n = n + 1
      local address = ("198.18.%d.%d"):format(100 + i, math.random(1, 250))
      admin:put(kube.slice("moving", { address }))
      answers("moving.example", address .. ":8001", seconds)
    end
  end

  it("restarting: freezes, serves, and follows again", function()
    start()
    cluster:kill_apiserver()
    posix.sleep(1)
    cluster:restart_apiserver()
    follows(20)
    client:finish()
  end)

  it("restored from a backup: what it says now counts, although its versions go back", function()
    start()
    cluster:save()
    follows(20)
    admin:put(kube.slice("later", { "198.18.0.7" }))
    admin:put(kube.service("later"))
    admin:put(kube.ingress({ name = "later", host = "later.example", service = "later" }))
    answers("later.example", "198.18.0.7:8001", 20)
    for i = 1, 50 do
      admin:put(kube.slice("moving", { "198.18.9." .. i }))
    end
    answers("moving.example", "198.18.9.50:8001", 20)
    cluster:restore()
    answers("moving.example", "198.18.1.1:8001", 60)
    answers("later.example", { status = 404 }, 60)
    follows(20)
    client:finish()
  end)

  it("dead for a while: serves what is known, in all processes' best health", function()
    start()
    faults:down("haptic")
    admin:put(kube.slice("moving", { "198.18.1.2" }))
    local seconds = e2e.is_full and 60 or 8
    posix.sleep(seconds)
    assert.equal("198.18.1.1:8001", select(2, e2e.ask(haptic.http_port, "moving.example")))
    assert.equal(200, haptic:get("/healthz").status)
    -- A HAProxy that dies meanwhile comes back with the last good state.
    local over = client:excuse("HAProxy was killed")
    local killed = haptic.haproxy:processes().master
    posix.kill(killed, "KILL")
    scope:wait_for("a new HAProxy to answer", 10, function()
      return haptic.haproxy:processes().master ~= killed and e2e.ask(haptic.http_port, "steady.example") == 200
    end)
    over()
    faults:up("haptic")
    answers("moving.example", "198.18.1.2:8001", 20)
    follows(10)
    client:finish()
  end)

  it("dead from the start: waits, and begins when it comes", function()
    faults:down("haptic")
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic") })
    haptic:wait_log("level=WARN", 10)
    assert.is_false((haptic:is_ready()))
    faults:up("haptic")
    haptic:wait_ready(20)
    answers("steady.example", "198.18.0.1:8001")
  end)

  it("cutting every connection", function()
    start()
    for _ = 1, 3 do
      assert.is_true(faults:cut({}) > 0)
      follows(10)
    end
    client:finish()
  end)

  it("closing watches in order, again and again", function()
    start()
    local rule = faults:rule({ action = "cut", bytes = 1, watch = true, count = 8 })
    faults:cut({ watch = true })
    follows(20)
    faults:heal(rule)
    follows(10)
    client:finish()
  end)

  it("answering 410 Gone to a watch", function()
    start()
    faults:rule({ action = "status", code = 410, watch = true, count = 4 })
    faults:cut({ watch = true })
    follows(20)
    client:finish()
  end)

  it("sending 410 Gone inside a watch", function()
    start()
    faults:rule({ action = "gone", watch = true, count = 4 })
    faults:cut({ watch = true })
    admin:delete("Ingress", "moving")
    local over = client:excuse("its Ingress was deleted", { host = "moving.example" })
    answers("moving.example", { status = 404 }, 20)
    admin:put(kube.ingress({ name = "moving", host = "moving.example", service = "moving" }))
    answers("moving.example", "198.18.1.1:8001", 10)
    over()
    follows(10)
    client:finish()
  end)

  it("answering 429 with Retry-After: it waits as asked", function()
    start()
    faults:rule({ action = "status", code = 429, retry_after = 2, path = "/endpointslices" })
    faults:cut({ path = "/endpointslices" })
    posix.sleep(5)
    faults:heal()
    local asked = faults:find_requests("/endpointslices")
    local refused = {}
    for _, request in ipairs(asked) do
      if request.status == 429 then
        refused[#refused + 1] = request.time
      end
    end
    assert.is_true(#refused >= 1)
    for i = 2, #refused do
      assert.is_true(refused[i] - refused[i - 1] >= 1.99,
        ("asked again %.2f s after it was told to wait 2 s"):format(refused[i] - refused[i - 1]))
    end
    follows(10)
    client:finish()
  end)

  for _, code in ipairs({ 500, 503 }) do
    it("answering " .. code, function()
      start()
      faults:rule({ action = "status", code = code })
      faults:cut({})
      posix.sleep(3)
      faults:heal()
      follows(20)
      client:finish()
    end)
  end

  it("cutting lists in their middle", function()
    start()
    -- The watch ends with 410, so there must be a list; its first answers are cut.
    faults:rule({ action = "gone", path = "resourceVersion=[1-9]", watch = true, count = 4 })
    faults:rule({ action = "cut", bytes = 400, path = "/(endpointslices|ingresses)[?]", count = 6 })
    faults:cut({ watch = true })
    posix.sleep(2)
    follows(30)
    client:finish()
  end)

  it("answering one empty list: nobody believes it at once", function()
    start()
    faults:rule({ action = "gone", path = "resourceVersion=[1-9]", watch = true, count = 4 })
    faults:rule({ action = "empty", path = "/ingresses[?]", count = 1 })
    faults:cut({ watch = true })
    haptic:wait_log("resource=ingresses", 10)
    follows(20)
    client:finish()
  end)

  it("doubling and reordering events: HAPTIC ends at the last state", function()
    start()
    local rule = faults:rule({ action = "duplicate", watch = true })
    follows(10)
    faults:heal(rule)
    faults:rule({ action = "reorder", watch = true })
    for i = 1, 20 do
      admin:put(kube.slice("moving", { "198.18.3." .. i }))
    end
    faults:heal()
    -- Two more changes end what the proxy may hold back.
    follows(15)
    client:finish()
  end)

  it("letting a watch go silent: found by time", function()
    start({ args = { "--watch-stall-timeout", "5s" } })
    faults:rule({ action = "silent", watch = true })
    local from = posix.now()
    posix.sleep(1)
    faults:heal()
    -- Connections that are silent stay so: only another one brings this.
    admin:put(kube.slice("moving", { "198.18.1.7" }))
    answers("moving.example", "198.18.1.7:8001", 15)
    assert.is_true(posix.now() - from > 4, "somebody else ended the silent watch")
    haptic:wait_log("the connection was silent for 5s", 1)
    follows(10)
    client:finish()
  end)

  it("letting a streamed list go silent: the list is asked for in pages", function()
    faults:rule({ action = "silent", path = "sendInitialEvents" })
    haptic = scope:haptic({
      kubeconfig = world:kubeconfig("haptic"),
      args = { "--watch-stall-timeout", "2s" },
    })
    haptic:wait_ready(30)
    answers("steady.example", "198.18.0.1:8001")
    assert.is_true(#faults:find_requests("/ingresses[?]limit=") > 0)
  end)

  it("hanging: requests have an end", function()
    faults:rule({ action = "hang", path = "/ingresses[?]", count = 2 })
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic") })
    haptic:wait_ready(90)
    answers("steady.example", "198.18.0.1:8001")
  end)

  it("expiring the token: the file is read again", function()
    local token_file = scope:path("token")
    local tokens = posix.read_file(cluster.directory .. "/tokens.csv")
    posix.write_file(token_file, cluster:token("alice") .. "\n")
    start({ kubeconfig = scope:kubeconfig(cluster, { server = faults.server.haptic, token_file = token_file }) })
    finally(function()
      posix.write_file(cluster.directory .. "/tokens.csv", tokens)
      cluster:restart_apiserver()
    end)
    -- The server forgets the token; HAPTIC is refused and keeps serving.
    local fresh = ("f"):rep(32)
    posix.write_file(cluster.directory .. "/tokens.csv", (tokens:gsub(cluster:token("alice"), fresh)))
    cluster:restart_apiserver()
    admin:put(kube.slice("moving", { "198.18.1.9" }))
    haptic:wait_log("401", 20)
    assert.equal("198.18.1.1:8001", select(2, e2e.ask(haptic.http_port, "moving.example")))
    -- The kubelet's way: the file is replaced.
    posix.write_file(token_file, fresh .. "\n")
    answers("moving.example", "198.18.1.9:8001", 40)
    follows(10)
    assert.is_nil(haptic:log():find(fresh, 1, true))
    assert.is_nil(haptic:log():find(cluster:token("alice"), 1, true))
    client:finish()
  end)

  it("refusing by RBAC: the message says what to add, and the grant is noticed", function()
    local rules = kube.rules()
    rules[3].resources = { "ingressclasses" }
    admin:allow("alice", rules)
    haptic = scope:haptic({ kubeconfig = world:kubeconfig("haptic") })
    haptic:wait_log('list ingresses%.networking%.k8s%.io: 403: the user alice may not list', 10)
    haptic:wait_log('add the verb \\?"list\\?"', 1)
    local ready, why = haptic:is_ready()
    assert.is_false(ready)
    assert.truthy(why:find("ingresses"))
    admin:allow("alice", kube.rules())
    haptic:wait_ready(30)
    answers("steady.example", "198.18.0.1:8001")
  end)

  it("refusing by RBAC while running: what is known stays", function()
    start()
    local rules = kube.rules()
    rules[2].verbs = { "get" }
    admin:allow("alice", rules)
    faults:cut({ watch = true })
    haptic:wait_log("may not", 15)
    posix.sleep(1)
    admin:allow("alice", kube.rules())
    follows(30)
    client:finish()
  end)

  it("speaking HTTP/2 directly", function()
    start({ kubeconfig = scope:kubeconfig(cluster, { user = "alice" }) })
    follows(5)
    cluster:kill_apiserver()
    cluster:restart_apiserver()
    follows(20)
    client:finish()
  end)

  it("getting a kind later, by a CRD", function()
    local crd = {
      kind = "CustomResourceDefinition", apiVersion = "apiextensions.k8s.io/v1",
      metadata = { name = "greetings.spec.example" },
      spec = {
        group = "spec.example", scope = "Namespaced", names = { plural = "greetings", singular = "greeting", kind = "Greeting" },
        versions = { {
          name = "v1", served = true, storage = true,
          schema = { openAPIV3Schema = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true } },
        } },
      },
    }
    admin:know("Greeting", "/apis/spec.example/v1", "greetings")
    local rules = kube.rules()
    rules[#rules + 1] = { apiGroups = { "spec.example" }, resources = { "greetings" }, verbs = { "get", "list", "watch" } }
    admin:allow("alice", rules)
    finally(function() admin:delete("CustomResourceDefinition", "greetings.spec.example") end)
    start({
      config = e2e.config({
        watchedResources = {
          ingresses = { apiVersion = "networking.k8s.io/v1", resources = "ingresses", indexBy = { "metadata.namespace" } },
          ingressclasses = {
            apiVersion = "networking.k8s.io/v1", resources = "ingressclasses", indexBy = { "metadata.name" },
          },
          services = { apiVersion = "v1", resources = "services", indexBy = { "metadata.namespace", "metadata.name" } },
          endpoints = {
            apiVersion = "discovery.k8s.io/v1", resources = "endpointslices",
            indexBy = { "metadata.namespace", "metadata.labels.kubernetes\\.io/service-name" },
          },
          greetings = { apiVersion = "spec.example/v1", resources = "greetings", indexBy = { "metadata.name" } },
        },
        templateSnippets = {
          ["greetings.lua"] = { template = [[
section("frontend http", { name = "greetings", order = 350 }, function(b)
  for _, g in ipairs(resources.greetings:list()) do
    b:line("http-request", "return", "status", 200, "content-type", "text/plain", "string", g.spec.text,
      "if", "{", "path", "/greeting/" .. g.metadata.name, "}")
  end
end)]] },
        },
      }),
    })
    admin:put(crd)
    scope:wait_for("the API server to serve the new kind", 10, function()
      return admin:call("GET", "/apis/spec.example/v1/namespaces/default/greetings") == 200
    end)
    admin:put({ kind = "Greeting", apiVersion = "spec.example/v1", metadata = { name = "hello" }, spec = { text = "good day" } })
    scope:wait_for("the greeting", 45, function()
      local answer = assert(http.request({ port = haptic.http_port, host = "x", path = "/greeting/hello" }))
      return answer.status == 200 and answer.body == "good day", answer.status
    end)
    follows(10)
    client:finish()
  end)
end)
