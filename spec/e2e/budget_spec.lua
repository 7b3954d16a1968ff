--- A namespace whose output fills the budget: what finds no room waits and says so, others' changes go live, and what
--- waits is rendered when there is room again.

local e2e = require("support.e2e")
local kube = require("support.kube")

local BUDGET = 8 * 1024 * 1024
local OBJECTS = 40
--- Paths of one object: about a thirtieth of what one namespace may have.
local PATHS = 500

describe("an output budget that one namespace fills", function()
  local scope, source, haptic

  setup(function() e2e.backends() end)
  before_each(function()
    scope = e2e.scope("budget")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
  end)
  after_each(function() scope:close() end)

  local function start()
    haptic = scope:haptic({ source = source.path,
      config = e2e.config({ templatingSettings = { renderOutputBytes = BUDGET } }) })
  end

  local function answers(host, wanted) return scope:wait_answer(haptic.http_port, host, wanted, 30) end

  local function in_namespace(namespace, name, address)
    local service, slice, ingress = kube.route(name, name .. ".example", { address })
    for _, o in ipairs({ service, slice, ingress }) do o.metadata.namespace = namespace end
    source:write(name .. ".yaml", service, slice, ingress)
  end

  local function greedy(name, count)
    local paths = {}
    for i = 1, count do
      paths[i] = { path = ("/%s/%04d-%s"):format(name, i, ("x"):rep(100)), service = "greedy" }
    end
    paths[count + 1] = { path = "/", service = "greedy" }
    source:write(name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", namespace = "greedy", paths = paths }))
  end

  local function fill()
    local service, slice = kube.route("greedy", "greedy.example", { "198.18.0.1" })
    service.metadata.namespace, slice.metadata.namespace = "greedy", "greedy"
    source:write("service-greedy.yaml", service, slice)
    for i = 1, OBJECTS do greedy(("greedy%02d"):format(i), PATHS) end
  end

  local function held(what) return haptic:metric("haptic_held_back_fragments", { ["for"] = what or "room" }) or 0 end

  local function is_listed()
    for _, entry in ipairs(haptic:state().held_back or {}) do
      if entry.namespace == "greedy" then return true end
    end
    return false
  end

  it("holds up nobody else, says so, and goes on by itself", function()
    in_namespace("victim", "victim", "198.18.1.1")
    start()
    haptic:wait_ready()
    answers("victim.example", "198.18.1.1:8001")
    fill()
    scope:wait_for("the namespace to be held back", 30, function() return held() > 0 end)
    haptic:wait_log('msg="Namespace has used its share of the output[^\n]* namespace=greedy', 10)
    assert.is_true(is_listed())
    assert.is_true(haptic:is_ready())
    -- What is written last is rendered last: then all of the namespace's objects have been read.
    in_namespace("victim", "last", "198.18.3.1")
    answers("last.example", "198.18.3.1:8001")
    -- A change, a new object and a deletion of somebody else, in the same renderings as further attempts.
    local waiting = held()
    in_namespace("victim", "victim", "198.18.1.2")
    in_namespace("victim", "fresh", "198.18.2.1")
    greedy("greedy40", PATHS + 1)
    answers("victim.example", "198.18.1.2:8001")
    answers("fresh.example", "198.18.2.1:8001")
    os.remove(source.path .. "/fresh.yaml")
    answers("fresh.example", { status = 404 })
    assert.equal(waiting, held())
    -- Some of the namespace's routes are served, some wait.
    local served = 0
    for i = 1, OBJECTS do
      if e2e.ask(haptic.http_port, ("greedy%02d.example"):format(i)) == 200 then served = served + 1 end
    end
    assert.is_true(served > 0 and served < OBJECTS, ("%d of %d are served"):format(served, OBJECTS))
    -- Half of it goes: what waited is rendered without a change of its own.
    for i = 1, OBJECTS, 2 do os.remove(source.path .. ("/greedy%02d.yaml"):format(i)) end
    scope:wait_for("nothing to be held back", 30, function() return held() == 0 end)
    haptic:wait_log('msg="Namespace no longer waits" namespace=greedy', 10)
    for i = 2, OBJECTS, 2 do answers(("greedy%02d.example"):format(i), "198.18.0.1:8001") end
    assert.is_false(is_listed())
    answers("victim.example", "198.18.1.2:8001")
  end)

  it("serves others from the start, and is not ready at once", function()
    in_namespace("victim", "victim", "198.18.1.1")
    fill()
    start()
    answers("victim.example", "198.18.1.1:8001")
    local ready = haptic:get("/readyz")
    assert.equal(503, ready.status)
    assert.matches("held_back", ready.body)
    for i = 1, OBJECTS, 2 do os.remove(source.path .. ("/greedy%02d.yaml"):format(i)) end
    haptic:wait_ready(30)
    for i = 2, OBJECTS, 2 do answers(("greedy%02d.example"):format(i), "198.18.0.1:8001") end
  end)
end)
