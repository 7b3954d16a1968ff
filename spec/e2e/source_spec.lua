--- Without a cluster: manifests in a folder; and the configuration file, changed while HAPTIC runs.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

describe("a folder of manifests", function()
  local scope, source, haptic

  setup(function()
    e2e.backends()
  end)

  before_each(function()
    scope = e2e.scope("source")
    source = scope:manifests()
  end)

  after_each(function()
    scope:close()
  end)

  local function answers(host, wanted, seconds)
    return scope:wait_answer(haptic.http_port, host, wanted, seconds)
  end

  local function write(...)
    source:write(...)
  end

  local function route(name, address)
    return kube.route(name, name .. ".example", { address })
  end

  local function start(options)
    options = options or {}
    options.source = source.path
    haptic = scope:haptic(options)
    haptic:wait_ready()
    return haptic
  end

  local function client_of(...)
    return scope:client({ port = haptic.http_port, hosts = { ... } })
  end

  it("is followed: files appear, change, move and vanish", function()
    write("class.yaml", kube.ingress_class())
    write("steady.yaml", route("steady", "198.18.0.1"))
    start()
    answers("steady.example", "198.18.0.1:8001")
    local client = client_of("steady.example")
    write("new.yaml", route("new", "198.18.1.1"))
    answers("new.example", "198.18.1.1:8001")
    write("new.yaml", route("new", "198.18.1.2"))
    answers("new.example", "198.18.1.2:8001")
    assert(os.rename(source.path .. "/new.yaml", source.path .. "/renamed.yml"))
    posix.sleep(0.5)
    assert.equal("198.18.1.2:8001", select(2, e2e.ask(haptic.http_port, "new.example")))
    os.remove(source.path .. "/renamed.yml")
    answers("new.example", { status = 404 })
    client:finish()
  end)

  it("may hold real YAML, several documents and lists in a file", function()
    write("all.yaml", [[
apiVersion: v1
kind: List
items:
  - apiVersion: networking.k8s.io/v1
    kind: IngressClass
    metadata: {name: haptic}
    spec: {controller: haproxy-haptic.org/controller}
  - apiVersion: v1
    kind: Service
    metadata: {name: web}   # the namespace is left out: default
    spec: {ports: [{port: 80, name: http}]}
]], [[
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  labels: &labels
    kubernetes.io/service-name: web
addressType: IPv4
ports: [{name: http, port: 8001}]
endpoints:
  - addresses: ["198.18.7.1"]
]], [[
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: haptic
  rules:
    - host: web.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
]])
    start()
    answers("web.example", "198.18.7.1:8001")
  end)

  it("with a wrong file: its last good objects stay, and file and line are said", function()
    write("class.yaml", kube.ingress_class())
    write("steady.yaml", route("steady", "198.18.0.1"))
    write("good.yaml", route("good", "198.18.2.1"))
    start()
    answers("good.example", "198.18.2.1:8001")
    local client = client_of("steady.example", "good.example")
    write("good.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: [unclosed\n")
    haptic:wait_log("good%.yaml", 5)
    haptic:wait_log("line=%d", 1)
    -- Others are followed meanwhile.
    write("steady.yaml", route("steady", "198.18.0.2"))
    answers("steady.example", "198.18.0.2:8001")
    assert.equal("198.18.2.1:8001", select(2, e2e.ask(haptic.http_port, "good.example")))
    write("good.yaml", route("good", "198.18.2.2"))
    answers("good.example", "198.18.2.2:8001")
    client:finish()
  end)

  it("written in pieces: the whole is taken over in the end", function()
    write("class.yaml", kube.ingress_class())
    write("steady.yaml", route("steady", "198.18.0.1"))
    start()
    answers("steady.example", "198.18.0.1:8001")
    local client = client_of("steady.example")
    local service, slice, ingress = route("slow", "198.18.3.1")
    local text = http.encode(service) .. "\n---\n" .. http.encode(slice) .. "\n---\n" .. http.encode(ingress) .. "\n"
    local file = assert(io.open(source.path .. "/slow.yaml", "w"))
    for at = 1, #text, 100 do
      file:write(text:sub(at, at + 99))
      file:flush()
      posix.sleep(0.02)
    end
    file:close()
    answers("slow.example", "198.18.3.1:8001")
    client:finish()
  end)

  it("restarted around the same HAProxy: the fence goes on above the former process', nothing is refused", function()
    write("class.yaml", kube.ingress_class())
    write("steady.yaml", route("steady", "198.18.0.1"))
    start()
    answers("steady.example", "198.18.0.1:8001")
    local client = client_of("steady.example")
    for i = 1, 2 do
      local former = haptic
      former:kill()
      haptic = former:successor("again" .. i):wait_ready()
      write("steady.yaml", route("steady", "198.18.0." .. 1 + i))
      answers("steady.example", ("198.18.0.%d:8001"):format(1 + i))
      assert.equal(0, haptic:count_log("refused"))
      assert.equal(0, haptic:count_log("level=WARN"))
      local transitions, holder = posix.read_file(haptic.directory .. "/fence"):match("^(%d+) %d+ (%S+)")
      assert.same({ tostring(i), haptic.name }, { transitions, holder })
    end
    client:finish(50)
  end)

  describe("and a configuration file", function()
    before_each(function()
      write("class.yaml", kube.ingress_class())
      write("steady.yaml", route("steady", "198.18.0.1"))
      start({ config = e2e.config({ templatingSettings = { extraContext = { not_found_text = "nothing here" } } }) })
      answers("steady.example", "198.18.0.1:8001")
    end)

    local function not_found()
      return assert(http.request({ port = haptic.http_port, host = "nowhere.example" })).body
    end

    it("that changes: it is taken over in place", function()
      local client = client_of("steady.example")
      assert.equal("nothing here", not_found())
      posix.write_file(haptic.config_file, http.encode(e2e.config({
        templatingSettings = { extraContext = { not_found_text = "nothing there" } },
      })))
      scope:wait_for("the new text", 10, function() return not_found() == "nothing there", not_found() end)
      -- A script of the user's own appears.
      posix.write_file(haptic.config_file, http.encode(e2e.config({
        templateSnippets = { ["own.lua"] = { template = [[
section("frontend http", { name = "own", order = 350 }, function(b)
  b:line("http-request", "return", "status", 200, "content-type", "text/plain", "string", "my own", "if", "{", "path", "/own", "}")
end)]] } },
      })))
      scope:wait_for("the script's answer", 10, function()
        return assert(http.request({ port = haptic.http_port, path = "/own" })).body == "my own"
      end)
      client:finish()
    end)

    local WRONG = {
      { name = "an unknown field", text = '{"templatingSetings": {}}', says = 'templatingSettings' },
      { name = "a wrong type", text = '{"dataplane": {"minDeploymentInterval": 5}}', says = "minDeploymentInterval" },
      { name = "timings without margin", says = "leaderElection",
        text = '{"controller": {"leaderElection": {"leaseDuration": "5s", "renewDeadline": "15s"}}}' },
      { name = "broken YAML", text = "a: [", says = "config.yaml:" },
      { name = "a script that does not compile", says = "broken.lua",
        text = '{"templateSnippets": {"broken.lua": {"template": "this is no Lua"}}}' },
      { name = "a text template that does not compile", says = "broken.txt",
        text = '{"files": {"broken.txt": {"template": "a {% if %} b"}}}' },
      { name = "directives that HAProxy refuses", says = "no-such-directive", line = "global%-500%-x:1",
        text = http.encode(e2e.config({ templateSnippets = { ["global-500-x"] = { template = "no-such-directive on" } } })) },
    }
    for _, case in ipairs(WRONG) do
      it("with " .. case.name .. ": the old one stays in force", function()
        local client = client_of("steady.example")
        local old = posix.read_file(haptic.config_file)
        posix.write_file(haptic.config_file, case.text)
        scope:wait_for("the log to say what is wrong", 10, function()
          for line in haptic:log():gmatch("[^\n]+") do
            if (line:find("level=ERROR") or line:find("level=WARN")) and line:find(case.says, 1, true) then return true end
          end
        end)
        assert.equal("nothing here", not_found())
        scope:wait_for("the state to say so", 10, function()
          local c = haptic:state().config
          return c.state == "refused" and #c.error > 0 and c.file == haptic.config_file, c.state
        end)
        assert.equal(0, haptic:metric("haptic_config_in_force"))
        assert.equal(0, haptic:count_log("Configuration in force"))
        local answer = assert(http.request({ port = haptic.metrics_port, path = "/readyz" }))
        assert.equal(200, answer.status)
        assert.truthy(answer.body:find("the newest configuration is refused", 1, true), answer.body)
        if case.line then haptic:wait_log("template_line=" .. case.line) end
        -- Objects are followed as before.
        write("steady.yaml", route("steady", "198.18.0.2"))
        answers("steady.example", "198.18.0.2:8001")
        posix.write_file(haptic.config_file, (old:gsub("nothing here", "nothing new")))
        scope:wait_for("the repaired configuration", 10, function() return not_found() == "nothing new", not_found() end)
        scope:wait_for("the state to be good", 10, function() return haptic:state().config.state == "in force" end)
        assert.equal(1, haptic:metric("haptic_config_in_force"))
        assert.equal(1, haptic:count_log("Configuration in force"))
        client:finish()
      end)
    end

    it("that vanishes: the old one stays in force, and that is said", function()
      local old = posix.read_file(haptic.config_file)
      os.remove(haptic.config_file)
      scope:wait_for("the state to say so", 10, function() return haptic:state().config.state == "missing" end)
      assert.equal(0, haptic:metric("haptic_config_in_force"))
      local answer = assert(http.request({ port = haptic.metrics_port, path = "/readyz" }))
      assert.equal(200, answer.status)
      assert.truthy(answer.body:find("the configuration file cannot be read", 1, true), answer.body)
      posix.write_file(haptic.config_file, old)
      scope:wait_for("the state to be good", 10, function() return haptic:state().config.state == "in force" end)
      assert.equal(1, haptic:metric("haptic_config_in_force"))
    end)

    it("with wrong settings: their defaults are in force, and each is told in the log, the debug page and a metric", function()
      posix.write_file(haptic.config_file, http.encode(e2e.config({
        templatingSettings = { extraContext = { not_found_text = "nothing there", threads = "many", acces_log = false } },
      })))
      scope:wait_for("the new text", 10, function() return not_found() == "nothing there", not_found() end)
      scope:wait_for("the debug page", 10, function()
        local told = {}
        for _, p in ipairs(haptic:state().problems) do told[p.fragment] = p.state .. " " .. p.reason end
        return told["extraContext:threads"] == "warning InvalidSetting" and told["extraContext:acces_log"] == "warning UnknownSetting"
      end)
      assert.equal(2, haptic:metric("haptic_warned_objects"))
      haptic:wait_log("Configuration has a problem.*extraContext.threads must be a whole number", 10)
    end)
  end)
end)

describe("haptic run refuses to start", function()
  local scope

  before_each(function() scope = e2e.scope("refuse") end)
  after_each(function() scope:close() end)

  local function run(...)
    return posix.run({
      "env", "-u", "KUBECONFIG", "-u", "POD_NAME", "-u", "POD_NAMESPACE", "HOME=" .. scope.directory, "timeout", "10", e2e.program(), "run",
      "--haproxy-dir", scope.directory .. "/haproxy", "--metrics-port", "0", ...,
    })
  end

  it("with an unknown option", function()
    local output, code = run("--sauce", "x")
    assert.equal(2, code)
    assert.truthy(output:find("--sauce", 1, true))
    assert.truthy(output:find("--help", 1, true))
  end)

  it("with an unknown field in its configuration, and names the nearest", function()
    local path = scope.directory .. "/config.yaml"
    posix.write_file(path, "controller:\n  leaderElection:\n    leaseDurration: 60s\n")
    local output, code = run("--config", path, "--source", scope.directory)
    assert.equal(1, code)
    assert.truthy(output:find(path .. ":3", 1, true), output)
    assert.truthy(output:find("leaseDuration", 1, true), output)
  end)

  it("without any way to an API server, and says what to do", function()
    local output, code = run()
    assert.equal(1, code)
    assert.truthy(output:find("--kubeconfig", 1, true) or output:find("KUBECONFIG", 1, true), output)
  end)

  it("with --help good enough to need nothing else", function()
    local output, code = run("--help")
    assert.equal(0, code)
    for _, option in ipairs({ "--config", "--source", "--kubeconfig", "--namespace", "--haproxy", "--log-level", "--metrics-port" }) do
      assert.truthy(output:find(option, 1, true), option)
    end
  end)
end)
