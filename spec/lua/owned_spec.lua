-- out:object: objects that are to exist.
local cjson = require("cjson")
local program = require("spec.support.program")

local OBJECT = 11

local function run(call, owned)
  local e = program.engine({ libraries = false, kinds = { { name = "configmaps", parts = 2,
    owned = owned or { apiVersion = "v1", resources = "configmaps" } }, { name = "policies", parts = 2,
    owned = { apiVersion = "example.com/v1", resources = "policies" } } },
    scripts = { { name = "t.lua", source = 'fragment("f", function(out) ' .. call .. " end)" } } })
  e:render()
  local f = e.host.fragments["t.lua:f"]
  return f and f.items, e.host.failures["t.lua:f"]
end

local MAP = '{ apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "ns", name = "x" }%s }'

describe("out:object", function()
  it("names the declared kind and the object, and carries the manifest", function()
    local items = run("out:object(" .. MAP:format(', data = { a = "b" }, more = {}') .. ", { force = true })")
    assert.same({ OBJECT, "configmaps", "ns/x" }, { items[1].kind, items[1].scope, items[1].key })
    local text = cjson.decode(items[1].text)
    assert.same({ force = true }, text["$options"])
    assert.same({ a = "b" }, text.data)
    assert.matches('"more":{}', items[1].text, 1, true)
    items = run('out:object({ apiVersion = "example.com/v1", kind = "Policy", metadata = { name = "p" } })')
    assert.same({ "policies", "p" }, { items[1].scope, items[1].key })
  end)

  it("refuses wrong manifests with what would be right", function()
    for manifest, message in pairs({
      ['{ apiVersion = "v1", metadata = { name = "x" } }'] = "kind is missing",
      ['{ apiVersion = "v1", kind = "Service", metadata = { name = "x" } }'] = "set owned: true in its entry of watchedResources",
      ['{ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "../x" } }'] = "metadata.name is no name",
      ['{ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "x", uid = "1" } }'] = 'metadata: unknown field "uid"',
      ['{ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "x", annotations = { ["haproxy-haptic.org/applied"] = "1" } } }'] =
        "is set by the controller",
      [MAP:format(", status = {}")] = "has no status",
      [MAP:format(', data = { a = "HapticSecret0c1d0c1d0c1d0c1d0c1d0c1d0c1d0c1dEnd" }')] = "the value of a Secret cannot stand",
      [MAP:format(', data = { a = ("x"):rep(300000) }')] = "more than the 262144",
    }) do
      local _, failure = run("out:object(" .. manifest .. ")")
      assert.truthy(failure, manifest)
      assert.matches(message, failure, 1, true)
      assert.matches("t.lua:1: object: ", failure, 1, true)
    end
    local _, failure = run("out:object(" .. MAP:format("") .. ", { forced = true })")
    assert.matches('did you mean "force"?', failure, 1, true)
    _, failure = run("out:object(" .. MAP:format("") .. ")",
      { apiVersion = "v1", resources = "configmaps", namespaces = { "other" } })
    assert.matches("is not among those of watchedResources.configmaps", failure, 1, true)
    _, failure = run("out:object(" .. MAP:format("") .. ") out:object(" .. MAP:format(", data = {}") .. ")")
    assert.matches("in another form already", failure, 1, true)
  end)
end)
