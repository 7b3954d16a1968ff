--- Many objects: a list that is streamed, one in pages, and one whose pages expire half-way. Each object arrives, once,
-- and the core never holds the list beside what it keeps of it.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local COUNT, BYTES, PAGE = 6000, 4096, 500

describe("with " .. COUNT .. " objects", function()
  local suite, cluster, admin, faults, scope, few_bytes

  --- Memory of the core: what it has now or had at most (bytes).
  local function memory(haptic, field)
    return 1024 * tonumber(posix.read_file("/proc/" .. haptic.pid .. "/status"):match(field .. ":%s+(%d+) kB"))
  end

  local function launch(kind)
    return scope:haptic({
      kubeconfig = scope:kubeconfig(cluster, { user = "alice", server = faults.server.haptic }),
      config = e2e.config({
        templatingSettings = { libraries = { "base" } },
        watchedResources = {
          things = { apiVersion = "v1", resources = kind, indexBy = { "metadata.name" }, namespaces = { "default" } },
        },
        templateSnippets = {
          ["names.lua"] = { template = [[
each(resources.things, "names", function(thing, out)
  out:map_entry("names.map", thing.metadata.name, "" .. #thing.metadata.name)
end)]] },
        },
      }),
    })
  end

  local function start(kind)
    return launch(kind):wait_ready(60)
  end

  --- What HAProxy has of many-00001 … many-06000.
  local function names(haptic)
    local found, count = {}, 0
    for name in (posix.read_file(haptic.directory .. "/maps/names.map") or ""):gmatch("many%-%d+") do
      assert.is_nil(found[name], name)
      found[name] = true
      count = count + 1
    end
    return found, count
  end

  local function bounded(haptic)
    if posix.read_file("/proc/" .. haptic.pid .. "/maps"):find("libasan", 1, true) then
      return -- a sanitizer keeps what was freed
    end
    local least = few_bytes + COUNT * BYTES -- with what is kept
    local most = memory(haptic, "VmHWM")
    assert.is_true(most < least + 0.6 * COUNT * BYTES,
      ("%.0f MB at most, where %.0f MB are needed in any case"):format(most / 1e6, least / 1e6))
  end

  --- The pages that were asked for: a token's place in the list stands for each but the first.
  local function pages()
    local found = {}
    for _, request in ipairs(faults:requests()) do
      if request.path:find("/configmaps?", 1, true) and not request.path:find("watch=1", 1, true) then
        found[#found + 1] = (request.path:find("continue=") and "more" or "first")
          .. (request.path:find("limit=" .. PAGE .. "%f[%D]") and "" or " without a limit") .. ":" .. request.status
      end
    end
    return found
  end

  setup(function()
    suite = e2e.scope("large")
    cluster = suite:cluster()
    admin = cluster.admin
    faults = suite:faults(cluster, { "haptic" })
    local output, code = posix.run({
      "spec/support/e2e_make_objects", cluster.server, cluster.directory .. "/ca.crt", cluster.directory .. "/admin.crt",
      cluster.directory .. "/admin.key", tostring(COUNT), tostring(BYTES),
    })
    assert(code == 0, output)
    local rules = kube.rules()
    rules[#rules + 1] = { apiGroups = { "" }, resources = { "configmaps", "namespaces" }, verbs = { "list", "watch" } }
    admin:allow("alice", rules)
    scope = e2e.scope("large")
    few_bytes = memory(start("namespaces"), "VmHWM")
    scope:close()
  end)

  teardown(function()
    suite:close()
  end)

  before_each(function()
    scope = e2e.scope("large")
    faults:forget_requests()
  end)

  after_each(function()
    faults:heal()
    scope:close()
  end)

  local function every_object_once(haptic)
    assert.equal(COUNT, haptic:metric("haptic_resources", { kind = "things" }))
    assert.equal(COUNT, haptic:metric("haptic_watch_events_total", { kind = "things" }))
    assert.equal(COUNT, (select(2, names(haptic))))
    assert.equal(0, haptic:count_log("level=WARN"))
  end

  it("a streamed list has each of them once", function()
    local haptic = start("configmaps")
    every_object_once(haptic)
    assert.same({}, pages())
    bounded(haptic)
  end)

  it("a list in pages has each of them once", function()
    faults:rule({ action = "status", code = 422, path = "sendInitialEvents" })
    local haptic = start("configmaps")
    every_object_once(haptic)
    local asked = pages()
    assert.equal(COUNT / PAGE, #asked)
    assert.equal("first:200", asked[1])
    for i = 2, #asked do
      assert.equal("more:200", asked[i])
    end
    bounded(haptic)
  end)

  it("pages that expire half-way: what they had counts for nothing, the list begins anew", function()
    faults:rule({ action = "status", code = 422, path = "sendInitialEvents" })
    faults:rule({ action = "delay", seconds = 3, path = "/configmaps.*continue=", skip = 4, count = 1 })
    local haptic = launch("configmaps")
    scope:wait_for("the sixth page to be under way", 20, function()
      return faults:find_requests("/configmaps.*continue=")[5]
    end)
    -- One that has arrived already is gone before the list begins anew.
    admin:delete("ConfigMap", "many-00001")
    finally(function()
      admin:put({ kind = "ConfigMap", metadata = { name = "many-00001" }, data = { text = ("x"):rep(BYTES) } })
    end)
    faults:rule({ action = "status", code = 410, path = "/configmaps.*continue=", count = 1 })
    haptic:wait_ready(60)
    local found, count = names(haptic)
    assert.equal(COUNT - 1, count)
    assert.is_nil(found["many-00001"])
    assert.equal(COUNT - 1, haptic:metric("haptic_resources", { kind = "things" }))
    local asked = pages()
    assert.equal(7 + COUNT / PAGE, #asked)
    assert.equal("more:410", asked[7])
    assert.equal("first:200", asked[8])
    assert.equal(0, haptic:count_log("level=WARN"))
    bounded(haptic)
  end)
end)
