--- A changed configuration: its tests run before it comes into force, and a wrong one changes nothing.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

describe("a changed configuration", function()
  local scope, source, haptic

  setup(function() e2e.backends() end)
  before_each(function()
    scope = e2e.scope("rollout")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
    source:write("steady.yaml", kube.route("steady", "steady.example", { "198.18.0.1" }))
  end)
  after_each(function() scope:close() end)

  local function header(text)
    return { ["hello.lua"] = { template = 'section("frontend http", { name = "hello", order = 450 }, function(b)\n'
      .. '  b:line("http-response", "set-header", "X-Hello", "' .. text .. '")\nend)\n' } }
  end

  local function test_of(text)
    return { hello = { assertions = { { type = "contains", pattern = "X-Hello " .. text } } } }
  end

  local function write(changes)
    local config = type(changes) == "string" and changes or http.encode(e2e.config(changes))
    posix.write_file(haptic.config_file .. ".new", config)
    assert(os.rename(haptic.config_file .. ".new", haptic.config_file))
  end

  local function start(changes)
    haptic = scope:haptic({ source = source.path, config = e2e.config(changes) })
    return haptic
  end

  local function hello()
    local answer = http.request({ port = haptic.http_port, path = "/", host = "steady.example" })
    return answer and answer.headers and answer.headers["x-hello"]
  end

  local function wait_hello(text)
    scope:wait_for("the header " .. text, 20, function() return hello() == text, hello() end)
  end

  local function wait_state(state, seconds)
    local config
    scope:wait_for("the configuration to be " .. state, seconds or 20, function()
      config = haptic:state().config
      return config.state == state, config.state .. ": " .. tostring(config.error)
    end)
    return config.error
  end

  it("is taken when its tests pass, and refused with the first failures when one fails", function()
    start({ templateSnippets = header("one"), validationTests = test_of("one") }):wait_ready()
    wait_hello("one")
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
    write({ templateSnippets = header("two"), validationTests = test_of("three") })
    local why = wait_state("refused")
    assert.matches("validationTests.hello: expected haproxy.cfg to contain /X%-Hello three/", why)
    assert.matches("config.yaml:%d+: ", why)
    assert.equal("one", hello())
    write({ templateSnippets = header("three"), validationTests = test_of("three") })
    wait_hello("three")
    wait_state("in force")
    client:finish()
    haptic:stop()
  end)

  it("is not taken while its tests run; a newer text ends them", function()
    start({ templateSnippets = header("one") }):wait_ready()
    -- A template that never ends: the test takes as long as a rendering may.
    write({ templateSnippets = { ["hello.lua"] = { template = "while true do end" } }, validationTests = test_of("two"),
      templatingSettings = { renderTimeout = "30s" } })
    haptic:wait_log("Running the tests of the configuration", 10)
    assert.equal("one", hello())
    write({ templateSnippets = header("four"), validationTests = test_of("four") })
    wait_hello("four")
    assert.equal(0, haptic:count_log("Configuration refused"))
    scope:wait_for("the tests' process to end", 10, function()
      local children = posix.run({ "pgrep", "-P", tostring(haptic.pid), "-f", "haptic trial" })
      return children == "", children
    end)
    haptic:stop()
  end)

  it("has nothing of the controller's in its tests", function()
    -- A file that the controller can read, and a variable of its environment.
    local secret = scope:path("secret")
    posix.write_file(secret, "the secret text")
    start({ templateSnippets = header("one") }):wait_ready()
    write({ templateSnippets = { ["leak.lua"] = { template = 'section("frontend http", { order = 450 }, function(b)\n'
      .. '  b:line("http-request", "return", "status", "200", "content-type", "text/plain", "file", "' .. secret .. '")\nend)\n' } },
      validationTests = { leak = { requests = { { host = "a.example", path = "/", expect = { status = 200 } } } } } })
    local why = wait_state("refused")
    assert.matches("validationTests.leak", why)
    assert.not_matches("the secret text", why)
    assert.is_nil(haptic:log():find("the secret text", 1, true))
  end)

  it("whose tests fail at the start is not started with", function()
    start({ templateSnippets = header("one"), validationTests = test_of("two") })
    scope:wait_for("the end", 20, function() return not haptic:is_running() end)
    assert.matches("validationTests.hello: expected", haptic:log())
    assert.equal("exit 1", haptic.status)
    haptic.ended = true
    assert.is_nil(posix.read_file(haptic.directory .. "/haproxy.cfg"))
  end)
end)
