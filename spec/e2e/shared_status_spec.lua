--- Lists of a status that several controllers write and the server exchanges as a whole, before a real API server: each
--- keeps its own elements, whoever writes when.

local cjson = require("cjson")
local e2e = require("support.e2e")

local NAMED = { "metadata.namespace", "metadata.name" }
local ANY = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true }
local PATH = "/apis/spec.example/v1/namespaces/default/gates/one/status"

local SCRIPT = [[
each(resources.gates, "status", function(gate, out)
  out:status({
    parents = { { controllerName = "example.com/us", parentRef = { name = gate.spec.parent },
      conditions = { { type = "Accepted", status = "True", reason = "Accepted", message = "" } } } },
    conditions = { { type = "Live", status = gate.spec.live, reason = "Serves", message = "" } },
  }, nil, { shared = { parents = { owner = "controllerName", value = "example.com/us" }, conditions = { key = "type" } } })
end)
]]

--- What the other controller has there.
local function theirs(n)
  return { controllerName = "example.com/them", parentRef = { name = "gw" }, conditions = { { type = "Accepted", status = "True",
    reason = "R" .. n, message = "", observedGeneration = n, lastTransitionTime = "2020-01-01T00:00:00Z" } } }
end
local function their_condition(n)
  return { type = "Theirs", status = "False", reason = "R" .. n, message = "", lastTransitionTime = "2020-01-01T00:00:00Z" }
end

describe("a shared list of a status", function()
  local world = e2e.world("shared-status", {})
  local scope, admin

  setup(function()
    admin = world:begin()
    admin:know("Gate", "/apis/spec.example/v1", "gates")
  end)
  teardown(function() world:finish() end)
  before_each(function()
    scope = world:open()
    admin:put({ kind = "CustomResourceDefinition", apiVersion = "apiextensions.k8s.io/v1", metadata = { name = "gates.spec.example" },
      spec = { group = "spec.example", scope = "Namespaced", names = { kind = "Gate", plural = "gates", singular = "gate" },
        versions = { { name = "v1", served = true, storage = true, subresources = { status = {} }, schema = {
          openAPIV3Schema = { type = "object", properties = { spec = ANY, status = { type = "object", properties = {
            parents = { type = "array", items = ANY }, conditions = { type = "array", items = ANY } } } } } } } } } })
    scope:wait_for("the kind", 20, function()
      return pcall(admin.put, admin, { kind = "Gate", apiVersion = "spec.example/v1", metadata = { name = "one" },
        spec = { parent = "gw", live = "False" } })
    end)
  end)
  after_each(function()
    admin:delete("CustomResourceDefinition", "gates.spec.example")
    world:close()
  end)

  --- The other controller writes as controllers do: it reads, changes what is its own, and writes that version.
  local function write_theirs(n)
    for _ = 1, 50 do
      local gate = admin:get("Gate", "one")
      local status = gate.status or {}
      for list, own in pairs({ parents = theirs(n), conditions = their_condition(n) }) do
        local kept = { own }
        for _, item in ipairs(status[list] or {}) do
          if item.controllerName ~= "example.com/them" and item.type ~= "Theirs" then kept[#kept + 1] = item end
        end
        status[list] = kept
      end
      local code = admin:call("PATCH", PATH, { metadata = { resourceVersion = gate.metadata.resourceVersion }, status = status },
        "application/merge-patch+json")
      if code < 300 then return end
      assert.equal(409, code)
    end
    error("the other controller never came to write")
  end

  local function by(list, field, value)
    local found
    for _, item in ipairs(list or {}) do
      if item[field] == value then
        assert.is_nil(found, "twice: " .. value)
        found = item
      end
    end
    return found
  end

  it("keeps everybody's elements while all write", function()
    write_theirs(0)
    local watcher = scope:spawn({ name = "watcher", output = scope:path("watch.json"), argv = { "curl", "-sN",
      ("http://127.0.0.1:%d/apis/spec.example/v1/namespaces/default/gates?watch=1"):format(admin.port) } })
    local haptic = scope:haptic({ kubeconfig = world:kubeconfig("a"), config = e2e.config({
      watchedResources = { gates = { apiVersion = "spec.example/v1", resources = "gates", indexBy = NAMED, statusPatch = true } },
      templateSnippets = { ["gates.lua"] = { template = SCRIPT } } }) }):wait_ready()
    local function wait_ours(live, parent)
      local gate
      scope:wait_for("our elements", 20, function()
        gate = admin:get("Gate", "one")
        local ours = by(gate.status.conditions, "type", "Live")
        local at = by(gate.status.parents, "controllerName", "example.com/us")
        return ours and at and ours.status == live and at.parentRef.name == parent
          and ours.observedGeneration == gate.metadata.generation and at.conditions[1].observedGeneration == gate.metadata.generation,
          cjson.encode(gate.status)
      end)
      return by(gate.status.conditions, "type", "Live"), gate
    end
    local first = wait_ours("False", "gw")
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", first.lastTransitionTime)
    -- Both write at the same time, again and again; the generation grows.
    for n = 1, 15 do
      admin:patch("Gate", "one", { spec = { parent = "gw" .. n, live = "False" } })
      write_theirs(n)
    end
    local later, gate = wait_ours("False", "gw15")
    assert.equal(first.lastTransitionTime, later.lastTransitionTime)
    assert.same({ theirs(15), their_condition(15) }, { by(gate.status.parents, "controllerName", "example.com/them"),
      by(gate.status.conditions, "type", "Theirs") })
    assert.equal(2, #gate.status.parents)
    -- Another status is another time.
    admin:patch("Gate", "one", { spec = { live = "True" } })
    assert.equal("True", wait_ours("True", "gw15").status)
    -- The watcher never saw them gone or set back.
    local seen, last = 0, 0
    for line in watcher:log():gmatch("[^\n]+") do
      local ok, event = pcall(cjson.decode, line)
      local status = ok and event.object and event.object.status
      if status and status.parents then
        local parent, condition = by(status.parents, "controllerName", "example.com/them"), by(status.conditions, "type", "Theirs")
        assert.is_truthy(parent and condition, line)
        local n = tonumber(parent.conditions[1].reason:sub(2))
        assert.equal("R" .. n, condition.reason)
        assert.is_true(n >= last, line)
        seen, last = seen + 1, n
      end
    end
    assert.is_true(seen > 16, tostring(seen))
    assert.equal(15, last)
    assert.equal(0, haptic:count_log("level=ERROR"))
  end)
end)
