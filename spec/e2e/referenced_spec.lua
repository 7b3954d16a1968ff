--- Secrets of which only those are read that something refers to, by an account that may `get` and `watch` Secrets and
--- not list them.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local memory = require("support.memory")
local posix = require("support.posix")

local CONFIG = e2e.config({
  watchedResources = {
    secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" },
      watch = "referenced" },
  },
})

local ELECTED = e2e.config({
  controller = { leader_election = { enabled = true, lease_name = "haptic", lease_duration = "4s", renew_deadline = "3s",
    retry_period = "500ms" } },
  watchedResources = CONFIG.watchedResources,
})

describe("Secrets that are referred to", function()
  local world = e2e.world("referenced", { routes = { { "steady", "198.18.0.1" } }, clients = { "haptic", "other" } })
  local admin, _, faults, scope, haptic

  --- alice may do this with Secrets; names: with these only.
  local function allow(names, verbs)
    admin:allow("alice", kube.rules_with(kube.rules({ "get", "create", "update", "watch" }),
      { apiGroups = { "" }, resources = { "secrets" }, verbs = verbs or { "get", "watch" }, resourceNames = names }))
  end

  setup(function() admin, _, faults = world:begin() end)
  teardown(function() world:finish() end)
  after_each(function() world:close() end)
  before_each(function()
    faults:forget_requests()
    scope = world:open()
    allow()
  end)

  local function start(options)
    options = options or {}
    options.kubeconfig, options.config, options.https = world:kubeconfig("haptic"), CONFIG, true
    haptic = scope:haptic(options):wait_ready(20)
    return haptic
  end

  local function put_ingress(name, hosts, secret, annotations)
    local ing = kube.ingress({ name = name, host = hosts[1], service = "steady", annotations = annotations })
    for i = 2, #hosts do ing.spec.rules[i] = { host = hosts[i], http = ing.spec.rules[1].http } end
    ing.spec.tls = secret and { { hosts = hosts, secretName = secret } } or nil
    admin:put(ing)
  end

  local function put_secret(name, certificate)
    admin:put(e2e.tls_secret(name, certificate.cert, certificate.key))
  end

  local function put_users(name, password)
    local hash = posix.run({ "openssl", "passwd", "-5", password }):gsub("%s+$", "")
    admin:put({ apiVersion = "v1", kind = "Secret", metadata = { name = name, namespace = "default" },
      stringData = { ada = hash } })
  end

  local function status(host, password)
    local answer = http.request({ port = haptic.http_port, host = host, timeout = 3,
      headers = { Authorization = password and "Basic " .. password } })
    return answer and answer.status
  end

  local function wait_status(host, wanted, password, seconds)
    scope:wait_for(("%s to be answered %d"):format(host, wanted), seconds or 10, function()
      local seen = status(host, password)
      return seen == wanted, tostring(seen)
    end)
  end

  --- "ada:open"
  local ADA = "YWRhOm9wZW4="

  it("are read by their names alone, followed, and forgotten; nobody else's is in memory", function()
    local first, second = scope:certificate({ names = { "a.example" } }), scope:certificate({ names = { "a.example" } })
    local foreign = "the-bytes-of-somebody-elses-secret-" .. math.random(10 ^ 9)
    admin:put({ apiVersion = "v1", kind = "Secret", metadata = { name = "foreign", namespace = "default" },
      stringData = { value = foreign } })
    put_secret("a", first)
    put_ingress("a", { "a.example" }, "a")
    start()
    scope:wait_peer(haptic.https_port, "a.example", first, 1) -- it is there when the first rendering is
    put_secret("a", second) -- renewed
    scope:wait_peer(haptic.https_port, "a.example", second, 5)
    -- Another one is referred to, before it is there.
    local later = scope:certificate({ names = { "b.example" } })
    put_ingress("b", { "b.example" }, "later")
    scope:wait_answer(haptic.http_port, "b.example", { status = 302 })
    put_secret("later", later)
    scope:wait_peer(haptic.https_port, "b.example", later, 5)
    -- One that is deleted stays in use, its owner is told, and a new one counts.
    admin:delete("Secret", "a")
    haptic:wait_log("TlsSecretNotFound", 10)
    assert.equal(second.fingerprint, e2e.peer(haptic.https_port, "a.example"))
    put_secret("a", first)
    scope:wait_peer(haptic.https_port, "a.example", first, 5)
    -- Every watch is lost.
    assert.is_true(faults:cut({ watch = true }) > 0)
    put_secret("a", second)
    scope:wait_peer(haptic.https_port, "a.example", second, 10)
    -- The server has forgotten the versions.
    faults:rule({ action = "gone", path = "/secrets", count = 2 })
    faults:cut({ watch = true })
    put_secret("a", first)
    scope:wait_peer(haptic.https_port, "a.example", first, 15)
    for _, request in ipairs(faults:find_requests("/secrets")) do
      assert(request.path:find("/api/v1/namespaces/default/secrets/%w+$")
        or request.path:find("/api/v1/namespaces/default/secrets%?watch=1.*fieldSelector=metadata.name%%3D%w+&"),
        request.path)
      assert.falsy(request.path:find("foreign"))
    end
    assert.is_nil((memory.has(haptic.pid, foreign)) or nil)
    assert.equal(2, haptic:metric("haptic_referenced_objects", { kind = "secrets", followed_by = "watch" }))
  end)

  it("one that may not be read affects those who refer to it, who are told", function()
    local a, b = scope:certificate({ names = { "a.example" } }), scope:certificate({ names = { "b.example" } })
    put_secret("a", a)
    put_secret("b", b)
    allow({ "a" })
    start()
    put_ingress("b", { "b.example" }, "b")
    put_ingress("a", { "a.example" }, "a")
    scope:wait_peer(haptic.https_port, "a.example", a, 10)
    scope:wait_for("an Event on the Ingress", 15, function()
      for _, event in ipairs(admin:list("Event", "default")) do
        if event.involvedObject.name == "b" and event.message:find("may not read it", 1, true) then return true end
      end
    end)
    assert.is_true((haptic:is_ready()))
    local guarded = { ["haproxy.org/auth-type"] = "basic-auth", ["haproxy.org/auth-secret"] = "users" }
    put_ingress("closed", { "closed.example" }, nil, guarded)
    haptic:wait_log("secrets default/users: the controller may not read it", 10)
    assert.equal(404, status("closed.example")) -- it never had a route
    put_users("users", "open")
    allow({ "a", "b", "users" })
    -- Who refers to it anew is answered at once; who goes on waits for the next half minute.
    if not e2e.is_full then
      admin:delete("Ingress", "b")
      admin:delete("Ingress", "closed")
      posix.sleep(1)
      put_ingress("b", { "b.example" }, "b")
      put_ingress("closed", { "closed.example" }, nil, guarded)
    end
    scope:wait_peer(haptic.https_port, "b.example", b, 45)
    wait_status("closed.example", 401, nil, 45)
    wait_status("closed.example", 200, ADA)
    -- Taken away again: what was read stays, also after a restart.
    allow({ "a" })
    haptic:stop()
    start({ directory = haptic.directory, http_port = haptic.http_port, https_port = haptic.https_port,
      status_port = haptic.status_port })
    assert.equal(b.fingerprint, e2e.peer(haptic.https_port, "b.example"))
    assert.equal(401, status("closed.example"))
    assert.equal(200, status("closed.example", ADA))
  end)

  it("that are slow to come leave what they protect closed, and the rest alone", function()
    put_users("users", "open")
    start()
    local delay = faults:rule({ action = "delay", path = "/secrets/users", seconds = 3 })
    put_ingress("guarded", { "guarded.example" }, nil, { ["haproxy.org/auth-type"] = "basic-auth",
      ["haproxy.org/auth-secret"] = "users" })
    put_ingress("plain", { "plain.example" })
    scope:wait_answer(haptic.http_port, "plain.example", "198.18.0.1:8001", 2)
    local seen = {}
    scope:wait_for("the guarded route", 10, function()
      local s = status("guarded.example")
      seen[tostring(s)] = true
      return s == 401
    end)
    seen["401"], seen["404"], seen["503"] = nil, nil, nil
    assert.same({}, seen)
    assert.equal(200, status("guarded.example", ADA))
    faults:heal(delay)
    -- The first rendering has them: nothing is served before.
    faults:rule({ action = "delay", path = "/secrets/users", seconds = 2 })
    haptic:stop()
    local fresh = scope:haptic({ kubeconfig = world:kubeconfig("haptic"), config = CONFIG, https = true })
    haptic = fresh
    fresh:wait_ready(20)
    assert.equal(401, status("guarded.example"))
  end)

  it("are there after a hand-over", function()
    local a, renewed = scope:certificate({ names = { "a.example" } }), scope:certificate({ names = { "a.example" } })
    put_secret("a", a)
    put_ingress("a", { "a.example" }, "a")
    local replicas = scope:replicas({ names = { "haptic", "other" },
      kubeconfig = function(name) return world:kubeconfig(name) end,
      config = function() return ELECTED end, https = true })
    local leader = replicas:wait_leader()
    replicas:wait_all_ready()
    scope:wait_peer(replicas.https_port, "a.example", a, 10)
    leader:kill()
    put_secret("a", renewed)
    scope:wait_peer(replicas.https_port, "a.example", renewed, 30)
  end)

  local COUNT = e2e.is_full and tonumber(os.getenv("E2E_SECRETS") or 1000) or 0
  if COUNT > 0 then
    it("may be a thousand", function()
      local certificates = scope:certificates(COUNT, "many.example")
      for i, c in ipairs(certificates) do
        put_secret("s" .. i, c)
        put_ingress("s" .. i, { c.name }, "s" .. i)
      end
      local begin = posix.now()
      start()
      scope:wait_peers(haptic.https_port, certificates, 30)
      print(("\n%d Secrets: ready with all certificates after %.1f s, %d KiB resident"):format(COUNT,
        posix.now() - begin, posix.read_file("/proc/" .. haptic.pid .. "/status"):match("VmRSS:%s*(%d+)")))
      assert.equal(0, #faults:find_requests("/secrets%?limit"))
      local by_watch = haptic:metric("haptic_referenced_objects", { kind = "secrets", followed_by = "watch" })
      assert.equal(100, by_watch) -- no namespace has more than are left for others
      local again = scope:certificates(COUNT, "many.example")
      for i, c in ipairs(again) do put_secret("s" .. i, c) end
      scope:wait_peers(haptic.https_port, again, 150)
    end)
  else
    io.stderr:write("referenced_spec: a thousand Secrets with E2E_FULL=1 only\n")
  end
end)
