--- Objects that are read when a template asks for them, from a real API server: what is rendered is what a full store
--- gives, byte by byte, and what may not be read is told.

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
{% local one = resources.configmaps:get("default", "m7") -%}
  http-request return status 200 content-type text/plain string "{{ one and one.data.text or 'none' }}" if { path /one }
  http-request return status 200 content-type text/plain string "{{ #resources.configmaps:fetch('g3') }}" if { path /group }
  http-request return status 404
]]
local MAP = [[
{% for _, m in ipairs(resources.configmaps:fetch("g3")) do -%}
{{ m.metadata.name }} {{ m.data.text }}
{% end %}
]]

describe("objects that are read on demand", function()
  local scope, cluster, admin

  before_each(function()
    scope = e2e.scope("ondemand")
    cluster = scope:cluster()
    admin = cluster.admin
  end)
  after_each(function() scope:close() end)

  local function put(name, group, text)
    admin:put({ kind = "ConfigMap", apiVersion = "v1", metadata = { name = name, namespace = "default", labels = { group = group } },
      data = { text = text, ballast = ("x"):rep(20000) } })
  end

  local function allow(verbs)
    admin:allow("alice", kube.rules_with(kube.rules(),
      { apiGroups = { "" }, resources = { "configmaps" }, verbs = verbs }))
  end

  local function start(name, store)
    return scope:haptic({ name = name, kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), directory = scope:path(name),
      config_file = nil, config = e2e.config({
        haproxyConfig = { template = TEMPLATE:gsub("{{ context.http_port }}", tostring(e2e.port())) },
        maps = { ["group.map"] = { template = MAP } },
        watchedResources = { configmaps = { apiVersion = "v1", resources = "configmaps", store = store,
          indexBy = { "metadata.labels.group", "metadata.name" } } },
      }) })
  end

  local function page(haptic, path)
    local answer = http.request({ port = haptic.debug_port, path = path })
    return answer and answer.status == 200 and answer.body:gsub("bind 127%.0%.0%.1:%d+", "bind") or nil
  end

  it("give the bytes of a full store, and are told where they may not be read", function()
    for i = 1, 60 do put("m" .. i, "g" .. i % 10, "text " .. i) end
    allow({ "list", "watch" })
    local keys = start("keys", "on-demand")
    keys:wait_log('Object cannot be read.*resource=configmaps.*get configmaps default/m%d+: 403', 20)
    scope:wait_for("the fragment to say so", 20, function()
      local found = keys:log():find("the controller may not read it: its account needs the verb get for configmaps in the "
        .. "namespace default", 1, true)
      return found ~= nil, "it does not"
    end)
    allow({ "get", "list", "watch" })
    keys:stop()
    keys = start("keys2", "on-demand"):wait_ready(30)
    local full = start("full", "full"):wait_ready(30)
    local function same(text)
      local a, b
      scope:wait_for("both to render " .. text, 20, function()
        a = (page(keys, "/debug/config") or "") .. (page(keys, "/debug/maps/group.map") or "")
        b = (page(full, "/debug/config") or "") .. (page(full, "/debug/maps/group.map") or "")
        return a == b and a:find(text, 1, true) ~= nil, a .. "\n----\n" .. b
      end)
    end
    same('string "text 7"')
    same("m13 text 13")
    put("m7", "g7", "other")
    same('string "other"')
    put("m9", "g3", "moved")
    same("m9 moved")
    admin:delete("ConfigMap", "m13")
    admin:delete("ConfigMap", "m7")
    same('string "none"')
    -- Seven objects were read of sixty, each once, and the one that came into the group.
    assert.equal(8, keys:metric("haptic_object_fetches_total", { kind = "configmaps", result = "taken" }))
  end)
end)
