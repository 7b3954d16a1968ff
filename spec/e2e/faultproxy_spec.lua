--- The tool that makes the faults: each of them, against a real API server.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

describe("the fault proxy", function()
  local suite, cluster, faults

  setup(function()
    suite = e2e.scope("faultproxy")
    cluster = suite:cluster()
    faults = suite:faults(cluster, { "one", "two" })
    for _, name in ipairs({ "red", "green", "blue" }) do
      cluster.admin:put(kube.service(name))
    end
  end)

  teardown(function()
    suite:close()
  end)

  after_each(function()
    faults:heal()
    faults:up()
  end)

  --- curl as a client: the body, the HTTP status ("000" without an answer), and curl's exit code.
  local function ask(client, path, options, token)
    local argv = {
      "curl", "-s", "--max-time", "2", "--cacert", cluster.directory .. "/ca.crt", "-H",
      "Authorization: Bearer " .. (token or cluster:token("admin")), "-w", "\n%{http_code} %header{retry-after}",
    }
    for _, word in ipairs(options or {}) do
      argv[#argv + 1] = word
    end
    argv[#argv + 1] = faults.server[client] .. path
    local output, code = posix.run(argv)
    local body, status = output:match("^(.*)\n(%d+ ?%d*)$")
    return body, status, code
  end

  local SERVICES = "/api/v1/namespaces/default/services"

  it("is transparent without rules", function()
    local body, status = ask("one", SERVICES)
    assert.equal("200 ", status)
    for _, name in ipairs({ "red", "green", "blue" }) do
      assert.truthy(body:find('"name": ?"' .. name .. '"'))
    end
  end)

  it("passes on who asks", function()
    local _, status = ask("one", SERVICES, nil, "wrong")
    assert.equal("401 ", status)
  end)

  it("lets the first ones pass", function()
    faults:rule({ action = "status", code = 500, path = "/services", skip = 2, count = 1 })
    local seen = {}
    for i = 1, 4 do
      seen[i] = select(2, ask("one", SERVICES))
    end
    assert.same({ "200 ", "200 ", "500 ", "200 " }, seen)
  end)

  it("answers errors for one client only, and so many times only", function()
    faults:rule({ action = "status", code = 429, retry_after = 3, client = "one", path = "/services", count = 1 })
    assert.equal("429 3", select(2, ask("one", SERVICES)))
    assert.equal("200 ", select(2, ask("two", SERVICES)))
    assert.equal("200 ", select(2, ask("one", SERVICES)))
  end)

  it("drops, hangs, and refuses connections", function()
    local rule = faults:rule({ action = "drop", path = "/services" })
    local _, status, code = ask("one", SERVICES)
    assert.same({ "000 ", 52 }, { status, code })
    faults:heal(rule)
    rule = faults:rule({ action = "hang", path = "/services" })
    assert.equal(28, select(3, ask("one", SERVICES)))
    faults:heal(rule)
    faults:down("one")
    assert.equal(7, select(3, ask("one", SERVICES)))
    assert.equal("200 ", select(2, ask("two", SERVICES)))
    faults:up("one")
    assert.equal("200 ", select(2, ask("one", SERVICES)))
  end)

  it("delays", function()
    faults:rule({ action = "delay", seconds = 0.5, path = "/services" })
    local start = posix.now()
    assert.equal("200 ", select(2, ask("one", SERVICES)))
    assert.is_true(posix.now() - start >= 0.5)
  end)

  it("loses the answer to a write that happened", function()
    faults:rule({ action = "lose", method = "POST" })
    local _, _, code = ask("one", SERVICES, {
      "-H", "Content-Type: application/json", "-d", http.encode(kube.service("lost")),
    })
    assert.equal(52, code)
    assert.is_truthy(cluster.admin:get("Service", "lost"))
    cluster.admin:delete("Service", "lost")
  end)

  it("cuts a list in its middle", function()
    faults:rule({ action = "cut", bytes = 100, path = "/services" })
    local body, status, code = ask("one", SERVICES)
    assert.equal("200 ", status)
    assert.equal(18, code)
    assert.equal(100, #body)
  end)

  it("empties a list", function()
    faults:rule({ action = "empty", path = "/services" })
    local body, status = ask("one", SERVICES)
    assert.equal("200 ", status)
    assert.truthy(body:find('"items": ?%[%]'))
    assert.truthy(body:find("resourceVersion"))
  end)

  it("empties the initial events of a streaming list", function()
    faults:rule({ action = "empty", path = "/services" })
    local body = ask("one", SERVICES .. "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
      .. "&allowWatchBookmarks=true")
    assert.falsy(body:find("ADDED"))
    assert.truthy(body:find("initial%-events%-end"))
  end)

  it("removes the bookmarks of a watch", function()
    faults:rule({ action = "unmarked", watch = true })
    local body = ask("one", SERVICES .. "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
      .. "&allowWatchBookmarks=true")
    assert.truthy(body:find("ADDED"))
    assert.falsy(body:find("BOOKMARK"))
  end)

  it("ends a watch with 410, as an answer and as an event", function()
    local rule = faults:rule({ action = "status", code = 410, watch = true })
    assert.equal("410 ", select(2, ask("one", SERVICES .. "?watch=true")))
    assert.equal("200 ", select(2, ask("one", SERVICES)))
    faults:heal(rule)
    faults:rule({ action = "gone", watch = true })
    local body, status = ask("one", SERVICES .. "?watch=true")
    assert.equal("200 ", status)
    assert.truthy(body:find('^{"type":"ERROR".*"code": 410'))
  end)

  --- A watch, in a process of its own, from now on.
  local function watch(scope)
    local version = cluster.admin:call("GET", SERVICES) and select(2, cluster.admin:call("GET", SERVICES)).metadata.resourceVersion
    local process = scope:spawn({
      name = "watch",
      argv = {
        "curl", "-sN", "--cacert", cluster.directory .. "/ca.crt", "-H", "Authorization: Bearer " .. cluster:token("admin"),
        faults.server.one .. SERVICES .. "?watch=true&resourceVersion=" .. version,
      },
    })
    scope:wait_for("the watch to begin", 5, function()
      return #faults:find_requests("watch=true&resourceVersion=" .. version) > 0
    end)
    return process
  end

  local function mark(name, value)
    cluster.admin:patch("Service", name, { metadata = { labels = { mark = value } } })
  end

  --- The order in which marks arrived.
  local function marks(process)
    local found = {}
    for value in process:log():gmatch('"mark":"(%w+)"') do
      found[#found + 1] = value
    end
    return table.concat(found, " ")
  end

  it("lets a watch go silent", function()
    local scope = e2e.scope("silent")
    finally(function() scope:close() end)
    local process = watch(scope)
    mark("red", "a")
    scope:wait_for("an event", 5, function() return marks(process) == "a" end)
    faults:rule({ action = "silent", watch = true })
    posix.sleep(0.3)
    mark("red", "b")
    posix.sleep(0.5)
    assert.equal("a", marks(process))
    assert.is_true(process:is_running())
  end)

  it("duplicates and reorders events", function()
    local scope = e2e.scope("order")
    finally(function() scope:close() end)
    local process = watch(scope)
    local rule = faults:rule({ action = "duplicate", watch = true })
    mark("red", "c")
    scope:wait_for("two events", 5, function() return marks(process) == "c c" end)
    faults:heal(rule)
    faults:rule({ action = "reorder", watch = true })
    mark("red", "d")
    mark("green", "e")
    scope:wait_for("them the other way round", 5, function() return marks(process) == "c c e d" end)
  end)

  it("cuts connections under way", function()
    local scope = e2e.scope("cut")
    finally(function() scope:close() end)
    scope:wait_for("earlier watches to end", 5, function() return #faults:command("GET", "/under-way") == 0 end)
    local process = watch(scope)
    assert.equal(0, faults:cut({ client = "two" }))
    assert.equal(1, faults:cut({ path = "/services" }))
    scope:wait_for("curl to notice", 5, function() return not process:is_running() end)
  end)
end)
