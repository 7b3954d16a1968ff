--- How kinds are found and selected on a real API server: candidate versions, a kind that may be absent, namespaces by
--- their labels, and an index with several values.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")

local TEMPLATE = [[
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind 127.0.0.1:{{ context.http_port }}
{% for _, parent in ipairs({ "east", "west" }) do -%}
{% local names = {} -%}
{% for _, t in ipairs(resources.talks:fetch(parent)) do names[#names + 1] = t.metadata.namespace .. "/" .. t.metadata.name .. "@" .. t.apiVersion end -%}
  http-request return status 200 content-type text/plain string "{{ table.concat(names, ' ') }};{{ #resources.gates:list() }}" if { path /{{ parent }} }
{% end -%}
  http-request return status 404
]]

describe("kinds:", function()
  local scope, cluster, admin, haptic

  before_each(function()
    scope = e2e.scope("kinds")
    cluster = scope:cluster()
    admin = cluster.admin
  end)
  after_each(function() scope:close() end)

  local function talk(namespace, name, ...)
    local parents = {}
    for i, parent in ipairs({ ... }) do parents[i] = { name = parent } end
    admin:put({ kind = "Talk", apiVersion = "spec.example/v1", metadata = { namespace = namespace, name = name },
      spec = { parents = parents } })
  end
  local function namespace(name, team)
    admin:put({ kind = "Namespace", apiVersion = "v1", metadata = { name = name, labels = { team = team } } })
  end
  local function expect(path, wanted)
    scope:wait_for(path .. " to answer " .. wanted, 15, function()
      local answer = http.request({ port = haptic.http_port, host = "x", path = path })
      return answer and answer.body == wanted, answer and answer.body
    end)
  end

  it("the first version that is served, an absent one, labels of namespaces, several values of an index", function()
    admin:put({ kind = "CustomResourceDefinition", apiVersion = "apiextensions.k8s.io/v1",
      metadata = { name = "talks.spec.example" },
      spec = { group = "spec.example", scope = "Namespaced", names = { plural = "talks", singular = "talk", kind = "Talk" },
        versions = { { name = "v1", served = true, storage = true,
          schema = { openAPIV3Schema = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true } } } } } })
    admin:know("Talk", "/apis/spec.example/v1", "talks")
    scope:wait_for("the API server to serve the kind", 10, function()
      return admin:call("GET", "/apis/spec.example/v1/talks") == 200
    end)
    namespace("one", "a")
    namespace("two", "b")
    talk("one", "first", "east", "west")
    talk("two", "second", "west")

    local rules = kube.rules_with(kube.rules(),
      { apiGroups = { "spec.example" }, resources = { "talks" }, verbs = { "get", "list", "watch" } })
    admin:allow("alice", rules)
    haptic = scope:haptic({ kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), config = e2e.config({
      haproxyConfig = { template = TEMPLATE },
      watchedResources = {
        talks = { apiVersions = { "spec.example/v2", "spec.example/v1" }, resources = "talks",
          indexBy = { "spec.parents[*].name" }, namespaceSelector = "team=a" },
        gates = { apiVersion = "spec.example/v1", resources = "gates", indexBy = { "metadata.name" }, optional = true },
      },
    }) })
    -- The right to namespaces is missing, and is told.
    scope:wait_for("the missing right to be told", 15, function()
      return haptic:log():find('namespaceSelector: list namespaces: 403: the user alice may not list namespaces at the '
        .. 'cluster scope; add the verb \\"list\\" to its cluster role', 1, true) ~= nil, haptic:log()
    end)
    admin:allow("alice", kube.rules_with(rules,
      { apiGroups = { "" }, resources = { "namespaces" }, verbs = { "list", "watch" } }))
    haptic:wait_ready(30)
    expect("/east", "one/first@spec.example/v1;0")
    expect("/west", "one/first@spec.example/v1;0")
    local log = haptic:log()
    assert.matches('level=INFO msg="An optional kind is absent; it is empty until it appears" resource=gates', log, 1, true)
    assert.is_nil(log:find("resource=gates error", 1, true))

    talk("one", "first", "west")
    expect("/east", ";0")
    namespace("two", "a")
    expect("/west", "one/first@spec.example/v1 two/second@spec.example/v1;0")
    namespace("one", "c")
    expect("/west", "two/second@spec.example/v1;0")
  end)
end)
