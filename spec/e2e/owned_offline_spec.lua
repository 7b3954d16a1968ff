--- Objects that templates want, without a cluster: what is rendered, which rights are needed, which kinds are refused.

local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"

local CONFIG = [[
watchedResources:
  configmaps: {apiVersion: v1, resources: configmaps, owned: true, namespaces: [shop]%s}
templateSnippets:
  own.lua:
    template: |
      fragment("own", function(out)
        out:object({ apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "shop", name = "x" }, data = { a = "b" } },
          { force = true })
      end)
]]

describe("objects that templates want, offline", function()
  local dir
  before_each(function() dir = posix.make_temporary_directory("/tmp/haptic-owned.") end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  local function haptic(command, more)
    posix.write_file(dir .. "/c.yaml", CONFIG:format(more or ""))
    local output, code = posix.run({ "sh", "-c", BIN .. " " .. command:gsub("CONFIG", dir .. "/c.yaml") .. " 2>&1" })
    return output, code
  end

  it("are rendered as manifests, without options", function()
    local output, code = haptic("render -t objects -c CONFIG --haproxy-version 3.2 examples/manifests")
    assert.equal(0, code, output)
    assert.matches('{"apiVersion":"v1","data":{"a":"b"},"kind":"ConfigMap","metadata":{"name":"x","namespace":"shop"}}', output, 1,
      true)
    assert.is_nil(output:find("options", 1, true))
  end)

  it("are one for a name: whoever wants it in another form is told, with the line", function()
    posix.write_file(dir .. "/two.yaml", [[
watchedResources:
  configmaps: {apiVersion: v1, resources: configmaps, owned: true}
templateSnippets:
  own.lua:
    template: |
      each(resources.services, "own", function(s, out)
        out:object({ apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "x" }, data = { a = s.metadata.name } })
      end)
]])
    local output, code = haptic("render -t objects --strict -c " .. dir .. "/two.yaml --haproxy-version 3.2 examples/manifests")
    assert.equal(1, code, output)
    assert.matches("own.lua:2:%d+: warning HT0402: ", output)
    assert.matches("warning HT0402: object configmaps default/x is also wanted by services default/cart, which is older and wins\n",
      output, 1, true)
    assert.matches("object: services default/web", output, 1, true)
    assert.matches('"data":{"a":"cart"}', output, 1, true)
  end)

  it("need rights that haptic rbac prints, in the namespaces of the kind", function()
    local output, code = haptic("rbac -c CONFIG --name edge")
    assert.equal(0, code, output)
    local cluster, role = output:match("^(.-)\n%-%-%-\n(.*)$")
    assert.matches("kind: ClusterRole", cluster, 1, true)
    assert.is_nil(cluster:find("configmaps", 1, true))
    assert.matches('resources: ["ingresses/status"]\n  verbs: ["patch"]', cluster, 1, true)
    assert.matches("kind: Role\nmetadata:\n  name: edge\n  namespace: shop", role, 1, true)
    assert.matches('resources: ["configmaps"]\n  verbs: ["get", "list", "watch", "create", "patch", "delete"]', role, 1, true)
  end)

  it("must be seen by their own watch", function()
    local output, code = haptic("rbac -c CONFIG", ", labelSelector: app=x")
    assert.equal(1, code)
    assert.matches("c.yaml:2:%d+: error HT0103: ", output)
    assert.matches('watchedResources.configmaps.labelSelector: may only be "haproxy-haptic.org/owned-by"', output, 1, true)
    assert.equal(0, select(2, haptic("rbac -c CONFIG", ", labelSelector: haproxy-haptic.org/owned-by")))
    output = haptic("rbac -c CONFIG", ", fieldSelector: metadata.name=x")
    assert.matches("neither fieldSelector nor namespaceSelector", output, 1, true)
  end)
end)
