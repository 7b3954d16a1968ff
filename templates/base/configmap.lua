--- configmap.lua — settings that follow a ConfigMap while the program runs, with the keys of a family of controllers.
--
-- What it has counts more than the setting of the same name. A key is one of an annotation declared for ConfigMaps.

settings({
  configmap = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$", expects = "namespace/name of a ConfigMap",
    doc = "settings that are followed" },
  configmap_family = { type = "text", pattern = "^[%w.-]+$", expects = "the prefix of a family's annotations",
    default = "haproxy.org", doc = "whose keys it has" },
})

local NAMESPACE, NAME = (context.configmap or ""):match("^([^/]+)/(.+)$")
local FAMILY = context.configmap_family

local LIMITS = { http_request = "until a request is whole", http_keep_alive = "between two requests",
  client_fin = "of a half-closed client", server_fin = "of a half-closed server", connect = "to connect to a pod",
  client = "of a silent client", queue = "to wait for a free pod", tunnel = "of an upgraded connection" }

local declared = {
  maxconn = {
    type = "integer", min = 1, max = 100000000, doc = "Connections at the same time.", lines = "maxconn N (global)",
  },
  threads = { doc = "Threads of HAProxy.", type = "integer", min = 1, max = 4096, lines = "nbthread N (global)" },
  hard_stop_after = {
    type = "duration", unit = "ms", min = "1s", doc = "End of an old worker.", lines = "hard-stop-after TIME (global)",
  },
  http_connection_mode = {
    type = "enum", values = { "http-keep-alive", "http-server-close", "httpclose" },
    doc = "What becomes of a connection behind an answer.",
    lines = "option http-keep-alive | http-server-close | httpclose (defaults)",
  },
  dontlognull = {
    type = "switch", doc = "No line in the log for a connection without a request.",
    lines = "option dontlognull (defaults)",
  },
  logasap = {
    type = "switch", doc = "A line in the log before the answer has ended.", lines = "option logasap (defaults)",
  },
}
for name, what in pairs(LIMITS) do
  declared["timeout_" .. name] = {
    type = "duration", unit = "ms", min = "1ms", doc = "Time limit " .. what .. ".",
    lines = "timeout " .. name:gsub("_", "-") .. " TIME (defaults)",
  }
end
for _, spec in pairs(declared) do
  spec.on, spec.effect, spec.reload = { "ConfigMap" }, "settings", "each value"
  spec.tested = "annotations_spec: follow a ConfigMap, in front of which Ingresses count"
end
annotations(declared)

--- What the ConfigMap has, as a level of annotated(): its values are empty where there is none.
local level = shared("configmap", function()
  local map = NAME and watched("configmaps") and resources.configmaps:get(NAMESPACE, NAME)
  return { kind = "ConfigMap", family = FAMILY, values = map and map.data or {} }
end)

--- The value of a declared setting: the ConfigMap's, or else the one of extraContext.
local function setting(name)
  if NAME then
    local value = annotated({ name }, { level() })[name]
    if type(value) == "number" and name:find("^timeout_") then return value .. "ms" end
    if value ~= nil then return value end
  end
  return context[name]
end

if NAME and watched("configmaps") then
  each(resources.configmaps, "configmap", function(map, out)
    if map.metadata.namespace ~= NAMESPACE or map.metadata.name ~= NAME then return end
    for key in pairs(map.data or {}) do
      local known = annotation(FAMILY .. "/" .. key, "ConfigMap")
      if not known then
        out:warn("AnnotationIgnored", key .. " has no effect: it is no key of " .. FAMILY)
      elseif not known.is_honoured then
        out:warn("AnnotationIgnored", key .. " has no effect: " .. known.refused)
      elseif known.is_value then
        annotated({ known.name }, { level() }, function(_, _, message)
          out:warn("InvalidAnnotation", key .. " " .. message .. "; it has no effect")
        end)
      end
    end
  end)
end

provide("base.configmap", { setting = setting, level = level, is_set = NAME ~= nil })
