--- Wrong configurations, made from a right one by a seed, before a running controller: the one in force stays, and the
--- message names the place.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local ROUNDS = os.getenv("E2E_FULL") and 200 or 20
local SEED = tonumber(os.getenv("MUTATED_SEED")) or 20261130

-- Each marked line is a place for mutations. VERSION is what answers have in X-Hello.
local GOOD = [[
controller:
  leaderElection: {enabled: false, leaseDuration: 15s, renewDeadline: 10s, retryPeriod: 2s}
logging:
  level: DEBUG
dataplane:
  minDeploymentInterval: 100ms
  driftPreventionInterval: 30s
  deploymentTimeout: 20s
templatingSettings:
  renderTimeout: 400ms
  renderMemoryBytes: 268435456
  libraries: [base, ingress]
  allowRaw: true
  extraContext:
    timeout_connect: 1s
    access_log: false
watchedResourcesIgnoreFields: [metadata.managedFields]
watchedResources:
  configmaps:
    apiVersion: v1
    resources: configmaps
    indexBy: [metadata.namespace, metadata.name]
    labelSelector: app=haptic
    fieldSelector: metadata.namespace=default
    statusPatch: false
templateSnippets:
  hello.lua:
    template: |
      local value = "VERSION"
      local count = shared("configmaps", function()
        return #resources.configmaps:list()
      end)
      section("frontend http", { name = "hello", order = 450 }, function(b)
        b:line("http-response", "set-header", "X-Hello", value)
        b:line("http-response", "set-header", "X-Count", count())
      end)
maps:
  names.map:
    template: |
      {% for _, map in ipairs(resources.configmaps:list()) do -%}
      {{ map.metadata.name }} 1
      {% end -%}
files:
  note.txt:
    template: |
      version VERSION
validationTests:
  hello:
    assertions:
      - {type: contains, pattern: X-Hello VERSION}
      - {type: contains, target: "file:note.txt", pattern: version VERSION}
]]

--- One line's place in a text that stands in a message: "config.yaml:12".
local function line_of(text, found)
  local at = assert(text:find(found, 1, true), found)
  local _, count = text:sub(1, at - 1):gsub("\n", "")
  return count + 1
end

--- The line of a template (the text of hello.lua begins after its "template: |").
local function script_line(text, found)
  return line_of(text, found) - line_of(text, "hello.lua:") - 1
end

local function replace(from, to)
  return function(text)
    local at, stop = text:find(from, 1, true)
    assert(at, from)
    return text:sub(1, at - 1) .. to .. text:sub(stop + 1)
  end
end

--- Makes a mutation that puts `to` in the place of `from`; the message has the line of the configuration.
local function wrong(from, to, word, further)
  return function(text)
    local mutated = replace(from, to)(text)
    return mutated, "config.yaml:" .. line_of(mutated, to) + (further or 0) .. ":", word
  end
end

--- A mutation of the script; the message has the line of the template.
local function wrong_script(from, to, word, marker)
  return function(text)
    local mutated = replace(from, to)(text)
    return mutated, "hello.lua:" .. script_line(mutated, marker or to:match("^[^\n]*")), word
  end
end

--- A line of the script, behind one that is chosen.
local function into_script(random, line, word)
  return function(text)
    local places = { '  local value = "VERSION"\n', "  end)\n" }
    local from = places[random(#places)]
    return wrong_script(from, from .. "      " .. line .. "\n", word, line)(text)
  end
end

local function field_mutations(random)
  local list = {}
  for field, value in pairs({ minDeploymentInterval = "100ms", driftPreventionInterval = "30s", deploymentTimeout = "20s",
    renderTimeout = "400ms" }) do
    local bad = ({ "soon", "-3s", "12", "[1s]", "{a: 1s}", "9000h" })[random(6)]
    list[#list + 1] = wrong(field .. ": " .. value, field .. ": " .. bad, field)
    list[#list + 1] = wrong(field .. ": " .. value, field .. "s: " .. value, "unknown field; did you mean")
  end
  table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
  return list
end

--- All of them; each is a function from the good text to a wrong one, a place and a word that the message has.
local function mutations(random)
  local list = {
    wrong("level: DEBUG", "level: LOUD", "level"),
    wrong("level: DEBUG", "level: [DEBUG]", "must be a string"),
    wrong("leaseDuration: 15s", "leaseDuration: long", "leaseDuration"),
    wrong("enabled: false", "enabled: perhaps", "must be true or false"),
    wrong("libraries: [base, ingress]", "libraries: base", "must be a list of strings"),
    wrong("renderMemoryBytes: 268435456", "renderMemoryBytes: 17", "renderMemoryBytes"),
    wrong("renderMemoryBytes: 268435456", "renderMemoryBytes: much", "renderMemoryBytes"),
    wrong("allowRaw: true", "allowRaw: 1", "allowRaw"),
    wrong("statusPatch: false", "statusPatch: 0", "statusPatch"),
    wrong("apiVersion: v1", "apiVersion: 1", "apiVersion"),
    wrong("indexBy: [metadata.namespace, metadata.name]", "indexBy: [\"metadata.[\"]", "indexBy"),
    wrong("indexBy: [metadata.namespace, metadata.name]", "indexBy: [a, b, c, d, e]", "indexBy"),
    wrong("labelSelector: app=haptic", "labelSelector: \"app in (\"", "labelSelector"),
    wrong("fieldSelector: metadata.namespace=default", "fieldSelector: \"metadata.namespace\"", "fieldSelector"),
    wrong("namespaces: x", "", ""),
    wrong("template: |\n      version", "templat: |\n      version", "unknown field"),
    wrong("logging:", "loging:", "unknown field"),
    wrong("maps:\n  names.map", "map:\n  names.map", "unknown field"),
    wrong("  level: DEBUG\n", "\tlevel: INFO\n", ""),
    wrong("level: DEBUG\n", "level: INFO\n  level: DEBUG\n", "occurs twice", 1),
    wrong("  level: DEBUG", "  - level: DEBUG", "logging"),
    wrong("{type: contains, pattern: X-Hello VERSION}", "{type: contain, pattern: x}", "is none of"),
    wrong("{type: contains, pattern: X-Hello VERSION}", "{type: contains}", "needs pattern"),
    wrong("{type: contains, pattern: X-Hello VERSION}", "{type: contains, pattern: X-Nothing}", "validationTests.hello"),
    wrong("target: \"file:note.txt\"", "target: \"file:not.txt\"", "note.txt"),
    wrong_script('local value = "VERSION"', 'local value = "VERSION', "unfinished string"),
    wrong_script("b:line(\"http-response\", \"set-header\", \"X-Hello\", value)", "b:lines(\"x\")", "lines"),
    wrong_script("\"X-Hello\", value)", "\"X-Hello\", \"a\\nb\")", ""),
    wrong_script("\"X-Hello\", value)", "\"X-Hello\", nil)", ""),
    wrong_script("resources.configmaps:list()", "resources.configmap:list()", "configmap"),
    wrong_script("section(\"frontend http\", { name", "section(\"frontend\", { nam", ""),
    into_script(random, "error('a message of its own')", "a message of its own"),
    into_script(random, "local x = nil + 1", "arithmetic"),
    into_script(random, "undefined_function()", "undefined_function"),
    into_script(random, "replace('hello.lua:nothing', function() end)", ""),
    -- What is missing is found at the end; a loop is where its template is.
    function(text) return into_script(random, "if true then", "")(text), "hello.lua:", "'end' expected" end,
    function(text) return into_script(random, "while true do end", "")(text), "hello.lua:", "deadline" end,
    function(text)
      -- In large pieces, so that memory ends before the time does, however slow the machine is.
      return into_script(random, "local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end", "")(text),
        "hello.lua:", "memory"
    end,
    into_script(random, "io.open('/etc/passwd')", "io"),
    -- A text template: its own name and line.
    function(text)
      local mutated = replace("{{ map.metadata.name }} 1", "{{ map.metadata.name 1")(text)
      return mutated, "names.map:", ""
    end,
    function(text)
      return replace("version VERSION\nvalid", "version {% if %}\nvalid")(text), "note.txt:", ""
    end,
    function(text)
      return replace("version VERSION\nvalid", "version {{ nobody.knows }}\nvalid")(text), "note.txt:", "nobody"
    end,
    -- The end is missing.
    function(text)
      local at = line_of(text, "validationTests:")
      return text:sub(1, assert(text:find("validationTests:", 1, true)) + 8), "config.yaml:" .. at + 1, ""
    end,
  }
  for i = #list, 1, -1 do -- a place that the text does not have: its own test
    if not pcall(list[i], GOOD) then table.remove(list, i) end
  end
  for _, m in ipairs(field_mutations(random)) do
    list[#list + 1] = m
  end
  return list
end

describe("mutated configurations", function()
  local scope, haptic

  setup(function() e2e.backends() end)
  teardown(function() if scope then scope:close() end end)

  local function write(text)
    posix.write_file(haptic.config_file .. ".new", text)
    assert(os.rename(haptic.config_file .. ".new", haptic.config_file))
  end

  local function hello()
    local answer = http.request({ port = haptic.http_port, path = "/", host = "steady.example" })
    return answer and answer.headers and answer.headers["x-hello"]
  end

  it("never come into force, and each message names the place", function()
    if ROUNDS < 200 then
      print(("%d of 200 mutated configurations (E2E_FULL=1 makes all), seed %d"):format(ROUNDS, SEED))
    end
    math.randomseed(SEED)
    local random = math.random
    scope = e2e.scope("mutated")
    local source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
    source:write("steady.yaml", kube.route("steady", "steady.example", { "198.18.0.1" }))
    haptic = scope:haptic({ source = source.path, config = (GOOD:gsub("VERSION", "good")) }):wait_ready()
    scope:wait_for("the header", 10, function() return hello() == "good", hello() end)
    local client = scope:client({ port = haptic.http_port, hosts = { "steady.example" } })
    local reloads = haptic:state().haproxy.reloads
    local all, bad = mutations(random), {}
    for round = 1, ROUNDS do
      local mutate = all[(round + SEED) % #all + 1]
      local text, place, word = mutate(GOOD)
      local refused = haptic:count_log("Configuration refused")
      write((text:gsub("VERSION", "bad" .. round)))
      local ended, why = pcall(scope.wait_for, scope, "a verdict", 30, function()
        return haptic:count_log("Configuration refused") > refused, haptic:state().config.state
      end)
      local told = ended and haptic:state().config.error or why
      if not told:find(place, 1, true) or not told:find(word, 1, true) or not ended then
        bad[#bad + 1] = ("round %d: wanted %q and %q in: %s"):format(round, place, word, told:sub(1, 600))
      end
      assert.equal("good", hello(), ("round %d: %s"):format(round, told))
    end
    assert.equal("", table.concat(bad, "\n"))
    assert.equal(reloads, haptic:state().haproxy.reloads)
    client:finish()
    -- And the next right one is taken.
    write((GOOD:gsub("VERSION", "better")))
    scope:wait_for("the next right one", 20, function() return hello() == "better", hello() end)
  end)
end)
