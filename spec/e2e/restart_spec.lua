--- What was accepted outlives the controller: a restart with broken templates, bad objects, a damaged note of what was
--- accepted.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

-- `nobody` is not known: this fails for every Ingress.
local BROKEN = { ["backend-500-x"] = { template = "http-request set-header X-A {{ nobody.name }}" } }
local RIGHT = { ["backend-500-x"] = { template = "http-request set-header X-A {{ args.ingress.metadata.name }}" } }
-- An annotation that reaches the configuration.
local RAW = { ["raw.lua"] = { template = [[
extend("backend", 500, function(b, c)
  local raw = dig(c.ingress, "metadata", "annotations", "spec/raw")
  if raw then b:raw(raw) end
end)]] } }

describe("a restart", function()
  local scope, source, haptic

  setup(function()
    e2e.backends()
  end)

  before_each(function()
    scope = e2e.scope("restart")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
    for i = 1, 3 do
      source:write("r" .. i .. ".yaml", kube.route("r" .. i, ("r%d.example"):format(i), { "198.18.0." .. i }))
    end
  end)

  after_each(function()
    scope:close()
  end)

  local function config(snippets)
    return e2e.config({ templateSnippets = snippets })
  end

  local function start(snippets, options)
    options = options or {}
    options.source, options.config = source.path, config(snippets)
    haptic = scope:haptic(options)
    return haptic
  end

  --- Another process around the same HAProxy, after this one was killed or ended.
  local function restart(snippets, how)
    local former = haptic
    if how == "TERM" then
      former:stop()
    else
      former:kill()
    end
    haptic = start(snippets, {
      name = former.name .. "+", directory = former.directory, http_port = former.http_port,
      status_port = former.status_port,
    })
    return haptic:wait_ready()
  end

  local function answers(i, address, seconds)
    return scope:wait_answer(haptic.http_port, ("r%d.example"):format(i), address .. ":8001", seconds)
  end

  local function all_answer()
    for i = 1, 3 do
      answers(i, "198.18.0." .. i)
    end
  end

  local function loads()
    local output, code = haptic.haproxy:check()
    assert.equal(0, code, output)
  end

  for _, how in ipairs({ "KILL", "TERM" }) do
    it("with templates that fail for every object takes no route away (" .. how .. ")", function()
      start({}):wait_ready()
      all_answer()
      -- One object goes while no controller runs.
      local former = haptic
      former:kill()
      os.remove(source.path .. "/r3.yaml")
      haptic = start(BROKEN, {
        name = "broken", directory = former.directory, http_port = former.http_port, status_port = former.status_port,
      })
      haptic:wait_ready()
      for i = 1, 2 do answers(i, "198.18.0." .. i, 1) end
      haptic:wait_log("Templates fail for objects that had output before the start", 10)
      scope:wait_answer(haptic.http_port, "r3.example", { status = 404 })
      for _ = 1, 2 do
        for i = 1, 2 do
          assert.equal("198.18.0." .. i .. ":8001", select(2, e2e.ask(haptic.http_port, ("r%d.example"):format(i))))
        end
        local body = assert(haptic:get("/readyz")).body
        assert.matches("2 fragments of the templates fail: 2 keep their last accepted output, 0 have none", body)
        -- A new object has none, and the log does not claim otherwise.
        source:write("new.yaml", kube.route("new", "new.example", { "198.18.0.9" }))
        haptic:wait_log("this object has no output yet.*default/new", 10)
        os.remove(source.path .. "/new.yaml")
        scope:wait_for("the new object to be forgotten", 10, function() return haptic:state().problems[3] == nil end)
        loads()
        restart(BROKEN, how)
      end
      -- Repaired, the objects follow again.
      restart(RIGHT, how)
      source:write("r1.yaml", kube.route("r1", "r1.example", { "198.18.0.7" }))
      answers(1, "198.18.0.7")
      assert.equal(200, assert(haptic:get("/readyz")).status)
      assert.equal("ok\n", assert(haptic:get("/readyz")).body)
    end)
  end

  it("with manifests that cannot be read changes nothing, until they can be", function()
    start({}):wait_ready()
    all_answer()
    -- Another process beside the same directory, with another folder.
    local function restart_as(name)
      local former = haptic
      former:kill()
      haptic = start({}, {
        name = name, directory = former.directory, http_port = former.http_port, status_port = former.status_port,
      })
    end
    local right = posix.read_file(source.path .. "/r1.yaml")
    source:write("r1.yaml", "broken: [\n" .. right)
    os.remove(source.path .. "/r2.yaml")
    source:write("r3.yaml", kube.route("r3", "r3.example", { "198.18.0.8" }))
    restart_as("unread")
    haptic:wait_log("Manifests cannot be read: the configuration that was accepted before the start stays in force", 10)
    haptic:wait_log("Comparing everything with HAProxy", 10)
    all_answer()
    local answer = assert(haptic:get("/readyz"))
    assert.equal(503, answer.status)
    assert.matches("manifests cannot be read, see the log", answer.body)
    -- HAProxy, too, comes back with what was accepted.
    posix.kill(haptic.haproxy:processes().master, "KILL")
    all_answer()
    source:write("r1.yaml", right)
    haptic:wait_ready()
    scope:wait_answer(haptic.http_port, "r2.example", { status = 404 })
    answers(3, "198.18.0.8")
    answers(1, "198.18.0.1", 1)
    -- Or the file goes.
    source:write("r1.yaml", "broken: [\n")
    restart_as("removed")
    haptic:wait_log("Manifests cannot be read", 10)
    answers(1, "198.18.0.1", 1)
    os.remove(source.path .. "/r1.yaml")
    scope:wait_answer(haptic.http_port, "r1.example", { status = 404 })
    answers(3, "198.18.0.8", 1)
    loads()
  end)

  it("at the first start serves the manifests that can be read", function()
    source:write("r1.yaml", "broken: [\n")
    start({}):wait_ready()
    answers(2, "198.18.0.2")
    scope:wait_answer(haptic.http_port, "r1.example", { status = 404 })
  end)

  it("finds the files that the configuration names, also when nobody gives them any more", function()
    local snippets = {
      ["frontend-http-450-m"] = { template = 'http-request set-header X-M %[req.hdr(host),map({{ path:map("m.map") }},none)]' },
      ["frontend-http-460-n"] = { template = "http-request set-header X-N %[req.hdr(host),map(maps/n.map,none)]" },
      ["frontend-http-470-f"] = { template = 'http-request set-header X-F yes if { path -f {{ path:file("f.lst") }} }' },
      ["m.lua"] = { template = [[
each(resources.ingresses, "m", function(ing, out)
  if not dig(ing, "metadata", "annotations", "spec/mark") then return end
  out:map_entry("m.map", ing.spec.rules[1].host, "yes")
  out:map_entry("n.map", ing.spec.rules[1].host, "yes")
  out:file("f.lst", "/x\n")
end)]] },
    }
    local function mark(value)
      local service, slice = kube.route("r1", "r1.example", { "198.18.0.1" })
      source:write("r1.yaml", service, slice, kube.ingress({ name = "r1", host = "r1.example", service = "r1",
        annotations = value and { ["spec/mark"] = value } or nil }))
    end
    mark("yes")
    start(snippets):wait_ready()
    all_answer()
    local function map(name) return posix.read_file(haptic.directory .. "/maps/" .. name) end
    scope:wait_for("the maps", 10, function() return map("m.map") == "r1.example yes\n" and map("n.map") ~= "" end)
    -- The last entry goes.
    mark(nil)
    scope:wait_for("empty maps", 10, function()
      return map("m.map") == "" and map("n.map") == "" and posix.read_file(haptic.directory .. "/files/f.lst") == ""
    end)
    loads()
    -- A HAProxy that starts on it serves.
    local processes = haptic.haproxy:processes()
    haptic:kill()
    posix.kill(processes.master, "KILL")
    posix.kill(processes.worker, "KILL")
    start(snippets, {
      name = "next", directory = haptic.directory, http_port = haptic.http_port, status_port = haptic.status_port,
    }):wait_ready()
    all_answer()
    mark("yes")
    scope:wait_for("the map again", 10, function() return map("m.map") == "r1.example yes\n" end)
    loads()
  end)

  it("leaves an object in quarantine with its last good output", function()
    start(RAW):wait_ready()
    all_answer()
    local service, slice = kube.route("r2", "r2.example", { "198.18.0.2" })
    source:write("r2.yaml", service, slice,
      kube.ingress({ name = "r2", host = "r2.example", service = "r2", annotations = { ["spec/raw"] = "no-such-word" } }))
    haptic:wait_log("Object quarantined.*default/r2", 10)
    for _, how in ipairs({ "KILL", "TERM" }) do
      -- SIGTERM ends HAProxy as well.
      local client = how == "KILL"
        and scope:client({ port = haptic.http_port, hosts = { "r1.example", "r2.example", "r3.example" } })
      restart(RAW, how)
      haptic:wait_log("Object quarantined.*last good output.*default/r2", 10)
      assert.equal("198.18.0.2:8001", select(2, e2e.ask(haptic.http_port, "r2.example")))
      if client then client:finish() end
      loads()
    end
  end)

  it("reads what was written up to the last moment", function()
    start({}):wait_ready()
    for n = 4, 8 do
      source:write("r1.yaml", kube.route("r1", "r1.example", { "198.18.0." .. n }))
      answers(1, "198.18.0." .. n)
      restart(BROKEN, "KILL")
      assert.equal("198.18.0." .. n .. ":8001", select(2, e2e.ask(haptic.http_port, "r1.example")))
      restart({}, "KILL")
    end
  end)

  it("with templates that do not load serves what was accepted last, also when the directory is older", function()
    local broken = { ["broken.lua"] = { template = "this is no Lua" } }
    start({}):wait_ready()
    all_answer()
    for n = 4, 6 do
      -- Without a reload: the directory follows later.
      source:write("r1.yaml", kube.route("r1", "r1.example", { "198.18.0." .. n }))
      answers(1, "198.18.0." .. n)
      local former = haptic
      former:kill()
      local function again(name)
        haptic = start(broken, {
          name = name .. n, directory = former.directory, http_port = former.http_port, status_port = former.status_port,
        })
        haptic:wait_log("Templates do not load", 10)
        haptic:wait_log("Started Deployer", 10)
        answers(1, "198.18.0." .. n)
      end
      again("broken")
      local processes = haptic.haproxy:processes()
      posix.kill(processes.master, "KILL")
      posix.kill(processes.worker, "KILL")
      answers(1, "198.18.0." .. n)
      haptic:stop()
      again("repeated")
      assert.is_false((haptic:is_ready()))
      restart({}, "KILL")
      answers(2, "198.18.0.2")
    end
    loads()
  end)

  it("with a damaged note names it and renders from nothing", function()
    start({}):wait_ready()
    all_answer()
    haptic:stop()
    local path = haptic.directory .. "/accepted"
    local bytes = posix.read_file(path)
    posix.write_file(path, bytes:sub(1, 200) .. "x" .. bytes:sub(202))
    local former = haptic
    start({}, {
      name = "damaged", directory = former.directory, http_port = former.http_port, status_port = former.status_port,
    }):wait_ready()
    -- What is wrong depends on where the byte stands: the digest differs, or a frame is cut.
    haptic:wait_log("The configuration that was accepted before the start cannot be read.*/accepted: ", 5)
    all_answer()
    -- The next one can be read again.
    restart(BROKEN, "KILL")
    all_answer()
  end)

  it("has the values of Secrets that what is kept needs, and they are in no log", function()
    local secret = "s3cret-" .. ("v"):rep(20)
    local snippet = { ["tls.lua"] = { template = [[
fragment("key", function(out)
  local s = resources.secrets:get("default", "web")
  if s then out:file("key.txt", s.data.key) end
end)
section("frontend http", { name = "page", order = 300 }, function(b)
  b:line("http-request", "return", "status", 200, "content-type", "text/plain", "file", path:file("key.txt"), "if", "{", "path", "/key", "}")
end)]] } }
    local function with(snippets)
      return e2e.config({
        templateSnippets = snippets, watchedResources = {
          ingresses = { apiVersion = "networking.k8s.io/v1", resources = "ingresses" },
          ingressclasses = { apiVersion = "networking.k8s.io/v1", resources = "ingressclasses" },
          services = { apiVersion = "v1", resources = "services" },
          endpoints = { apiVersion = "discovery.k8s.io/v1", resources = "endpointslices",
            indexBy = { "metadata.namespace", "metadata.labels.kubernetes\\.io/service-name" } },
          secrets = { apiVersion = "v1", resources = "secrets" },
        },
      })
    end
    source:write("secret.yaml", { apiVersion = "v1", kind = "Secret", metadata = { name = "web", namespace = "default" },
      stringData = { key = secret } })
    haptic = scope:haptic({ source = source.path, config = with(snippet) }):wait_ready()
    local function key()
      return assert(http.request({ port = haptic.http_port, path = "/key", host = "r1.example" })).body
    end
    scope:wait_for("the key", 10, function() return key() == secret, key() end)
    local former = haptic
    former:kill()
    os.remove(source.path .. "/secret.yaml")
    snippet["tls.lua"].template = snippet["tls.lua"].template:gsub("if s then", "if not s then fail('no secret') end\n  if s then")
    haptic = scope:haptic({ name = "next", source = source.path, config = with(snippet), directory = former.directory,
      http_port = former.http_port, status_port = former.status_port }):wait_ready()
    assert.equal(secret, key())
    loads()
    assert.is_nil(haptic:log():find(secret, 1, true))
    assert.is_nil(assert(haptic:get("/debug/state")).body:find(secret, 1, true))
    assert.equal("", (posix.run({ "find", haptic.directory, "-mindepth", "1", "-perm", "/077", "!", "-type", "l" })))
  end)

  it("is not needed: a changed configuration that fails for objects with output is refused", function()
    start({}):wait_ready()
    all_answer()
    posix.write_file(haptic.config_file, http.encode(config(BROKEN)))
    haptic:wait_log("Configuration refused; the old one stays in force.*backend%-500%-x:1", 10)
    assert.is_true(haptic:count_log("Configuration refused.*3 fragments.*default/r1") > 0)
    -- The old one is in force: new objects are served.
    source:write("r4.yaml", kube.route("r4", "r4.example", { "198.18.0.4" }))
    answers(4, "198.18.0.4")
    assert.same({}, haptic:state().problems)
    posix.write_file(haptic.config_file, http.encode(config(RIGHT)))
    haptic:wait_log("Configuration in force", 10)
    all_answer()
  end)

  it("a bad object does not keep a configuration out", function()
    start(RAW):wait_ready()
    all_answer()
    local service, slice = kube.route("r2", "r2.example", { "198.18.0.2" })
    source:write("r2.yaml", service, slice,
      kube.ingress({ name = "r2", host = "r2.example", service = "r2", annotations = { ["spec/fail"] = "yes" } }))
    local failing = { ["fail.lua"] = { template = [[
extend("backend", 500, function(b, c)
  if dig(c.ingress, "metadata", "annotations", "spec/fail") then fail("as asked") end
end)]] } }
    posix.sleep(0.5)
    -- It renders with the old one, so the new one is refused; then it is bad with the old one as well.
    posix.write_file(haptic.config_file, http.encode(config(failing)))
    haptic:wait_log("Configuration refused.*1 fragments.*default/r2", 10)
    restart(failing, "KILL")
    posix.write_file(haptic.config_file, http.encode(config({ ["fail.lua"] = failing["fail.lua"], ["raw.lua"] = RAW["raw.lua"] })))
    haptic:wait_log("Configuration in force", 10)
    all_answer()
  end)

  for _, series in ipairs({ "3.0", "3.4" }) do
    it("with other names for files of TLS, as an upgrade may bring, reloads once at most, on " .. series, function()
      local authority = scope:certificate({ names = { "authority" }, key = "authority" })
      local own, client = scope:certificate({ names = { "a.example" } }), scope:certificate({ names = { "client" }, issuer = authority })
      local stranger, port = scope:certificate({ names = { "stranger" } }), e2e.port()
      scope:tls_server({ port = port, certificate = scope:certificate({ names = { "pod" }, issuer = authority }) })
      --- The files are called after the Secret.
      local function put(secret)
        source:write("authorities.yaml", { apiVersion = "v1", kind = "Secret", metadata = { name = secret, namespace = "default" },
          stringData = { ["ca.crt"] = authority.cert, ["ca.crl"] = scope:revocations(authority, {}) } })
        local a = kube.ingress({ name = "a", host = "a.example", service = "a", annotations = { ["haproxy-haptic.org/client-ca"] = secret } })
        a.spec.tls = { { hosts = { "a.example" }, secretName = "own" } }
        source:write("a.yaml", a, kube.service("a"), kube.slice("a", { "198.18.0.1" }, 8001), e2e.tls_secret("own", own.cert, own.key))
        source:write("b.yaml", kube.ingress({ name = "b", host = "b.example", service = "b",
          annotations = { ["haproxy.org/server-ca"] = secret } }), kube.service("b"), kube.slice("b", { "127.0.0.1" }, port))
      end
      local function run(options)
        options.source, options.series, options.https, options.config = source.path, series, true, e2e.config({ watchedResources = {
          secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } } })
        return scope:haptic(options):wait_ready()
      end
      local function status(certificate)
        local answer = e2e.https({ port = haptic.https_port, host = "a.example", args = certificate and {
          "--cert", certificate.directory .. "/cert.pem", "--key", certificate.directory .. "/key.pem" } or nil })
        return answer and answer.status
      end
      local function serves()
        assert.same({ 200, 495, 496 }, { status(client), status(stranger), status() })
        assert.equal(200, http.request({ port = haptic.http_port, path = "/", host = "b.example" }).status)
      end
      put("before")
      haptic = run({})
      serves()
      local former = haptic
      former:kill()
      put("after")
      haptic = run({ name = "next", directory = former.directory, http_port = former.http_port, https_port = former.https_port,
        status_port = former.status_port })
      scope:wait_for("the files of other names", 10, function()
        local names = posix.run({ "ls", haptic.directory .. "/certs" })
        return names:find("default_after_ca.pem", 1, true) and names:find("default_after_server-ca", 1, true), names
      end)
      serves()
      assert.is_true(haptic:count_log("Deployed with a reload") <= 1, haptic:log())
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)
  end
end)
