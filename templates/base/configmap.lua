--- configmap.lua — settings that follow a ConfigMap while the program runs, with the keys of a family of controllers.
--
-- A value of the ConfigMap overrides the setting of the same name. A key is one of an annotation declared for
-- ConfigMaps.

settings({
  configmap = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$", expects = "namespace/name of a ConfigMap",
    doc = "settings that are followed" },
  configmap_family = { type = "text", pattern = "^[%w.-]+$", expects = "the prefix of a family's annotations",
    default = "haproxy.org", doc = "whose keys it has" },
  configmap_required = { type = "bool", default = false, doc = "nothing is served while there is none" },
})

local NAMESPACE, NAME = (context.configmap or ""):match("^([^/]+)/(.+)$")
local FAMILY = context.configmap_family

local LIMITS = {
  http_request = "to receive the headers of a request",
  http_keep_alive = "between two requests of a connection",
  client_fin = "for a half-closed connection of a client",
  server_fin = "for a half-closed connection to a pod",
  connect = "to connect to a pod",
  client = "for an inactive client",
  queue = "for a request in the queue",
  tunnel = "for an inactive upgraded connection, such as a WebSocket",
}

local declared = {
  maxconn = {
    type = "integer", min = 1, max = 100000000,
    doc = "The maximum of concurrent connections.", lines = "maxconn N (global)",
  },
  threads = {
    doc = "The number of HAProxy's threads.", type = "integer", min = 1, max = 4096, lines = "nbthread N (global)" },
  hard_stop_after = {
    type = "duration", unit = "ms", min = "1s",
    doc = "How long an old worker may run after a reload.", lines = "hard-stop-after TIME (global)",
  },
  http_connection_mode = {
    type = "enum", values = { "http-keep-alive", "http-server-close", "httpclose" },
    doc = "How connections are handled after an answer.",
    lines = "option http-keep-alive | http-server-close | httpclose (defaults)",
  },
  dontlognull = {
    type = "switch", doc = "Connections without a request are not logged.",
    lines = "option dontlognull (defaults)",
  },
  logasap = {
    type = "switch",
    doc = "Requests are logged when the answer begins, not when it ends.", lines = "option logasap (defaults)",
  },
  http_keep_alive = {
    type = "switch",
    doc = "The older form of http-connection-mode: http-keep-alive if true, httpclose if false.",
    lines = "option http-keep-alive | httpclose (defaults)",
  },
  http_server_close = {
    type = "switch", doc = "The older form of http-connection-mode: http-server-close.",
    lines = "option http-server-close (defaults)",
  },
  proxy_protocol = {
    type = "addresses", doc = "The load balancers whose connections must begin with a PROXY protocol header.",
    lines = "tcp-request connection expect-proxy layer4 if { src … }",
  },
  strict_sni = {
    type = "switch", doc = "Handshakes for names without a certificate are refused.", lines = "bind … strict-sni",
  },
  tls_alpn = {
    type = "list", pattern = "^[%w./-]+$", expects = "names of protocols",
    doc = "The protocols that HAProxy offers to clients (ALPN).",
    lines = "bind … alpn h2,http/1.1",
  },
  http3_max_age = {
    type = "integer", min = 1, max = 31536000,
    doc = "For how many seconds clients remember that HTTP/3 is available (setting http3).",
    lines = "http-after-response set-header Alt-Svc …",
  },
  default_certificate = {
    type = "text", pattern = "^[a-z0-9-]+/[a-z0-9.-]+$", expects = "namespace/name of a Secret", reload = "no",
    doc = "The certificate for names without their own certificate.", lines = "bind … crt-list (certs/default.pem)",
  },
  default_backend = {
    type = "text", pattern = "^[a-z0-9-]+/[a-z0-9-]+:?[a-z0-9-]*$",
    expects = "namespace/service or namespace/service:port",
    reload = "no", doc = "The Service for requests that match no Ingress. Without a port, its first port is used.",
    lines = "an entry of default-backend.map",
  },
  rate_limit_size = {
    type = "size", min = 1000, max = 100000000, doc = "How many clients all rate limits together remember.",
    lines = "stick-table … size N",
  },
}
for name, what in pairs(LIMITS) do
  declared["timeout_" .. name] = {
    type = "duration", unit = "ms", min = "1ms", doc = "The time limit " .. what .. ".",
    lines = "timeout " .. name:gsub("_", "-") .. " TIME (defaults)",
  }
end
--- The tests that show them.
local TESTS = {
  ["configmap_effects_spec: do what they say"] = [[timeout_client timeout_http_request timeout_http_keep_alive
    timeout_connect timeout_queue timeout_tunnel threads maxconn dontlognull logasap http_connection_mode
    timeout_client_fin timeout_server_fin hard_stop_after http_keep_alive]],
  ["configmap_spec: have settings with the keys of a family"] = [[http_server_close proxy_protocol strict_sni tls_alpn
    http3_max_age default_certificate default_backend rate_limit_size]],
}
local tested = {}
for test, names in pairs(TESTS) do
  for name in names:gmatch("%S+") do tested[name] = test end
end
for name, spec in pairs(declared) do
  spec.on, spec.effect = { "ConfigMap" }, "settings"
  spec.reload = spec.reload ~= "no" and "each value" or nil
  spec.tested = tested[name]
end
annotations(declared)

--- The values of the ConfigMap, as a level of annotated(); empty without a ConfigMap.
local level = shared("configmap", function()
  local map = NAME and watched("configmaps") and resources.configmaps:get(NAMESPACE, NAME)
  return { kind = "ConfigMap", family = FAMILY, values = map and map.data or {} }
end)

--- True when a required ConfigMap is missing. It may have contained protections, so nothing is served.
local is_missing = shared("configmap-required", function()
  return NAME ~= nil and context.configmap_required
    and not (watched("configmaps") and resources.configmaps:get(NAMESPACE, NAME))
end)

-- After the answers of the library acme, which contain no information.
section("frontend http", { name = "configmap-closed", order = 195 }, function(b)
  if is_missing() then
    b:line("http-request", "return", "status", 503, "content-type", "text/plain", "string",
      "the configuration is not there")
  end
end)

--- True when the ConfigMap has a right value for a declared setting.
local function has(name) return NAME ~= nil and annotated({ name }, { level() })[name] ~= nil end

--- The value of a declared setting: that of the ConfigMap, otherwise that of extraContext.
local function setting(name)
  if NAME then
    local value = annotated({ name }, { level() })[name]
    if type(value) == "number" and name:find("^timeout_") then return value .. "ms" end
    if value ~= nil then return value end
  end
  return context[name]
end

--- Unknown keys for which the nearest known one is looked up.
local MAX_HINTS = 5

if NAME and watched("configmaps") then
  each(resources.configmaps, "configmap", function(map, out)
    if map.metadata.namespace ~= NAMESPACE or map.metadata.name ~= NAME then return end
    local hints = 0
    for key in pairs(map.data or {}) do
      local known = annotation(FAMILY .. "/" .. key, "ConfigMap")
      if not known then
        hints = hints + 1
        local meant = hints <= MAX_HINTS and annotation_near(FAMILY .. "/" .. key, "ConfigMap")
        out:warn("AnnotationIgnored", key .. " has no effect: it is no key of " .. FAMILY
          .. (meant and "; did you mean " .. meant:match("/(.+)$") .. "?" or ""))
      elseif not known.is_honoured then
        out:warn("AnnotationIgnored", key .. " has no effect: " .. known.refused)
      elseif known.is_value then
        annotated({ known.name }, { level() }, function(_, _, message)
          out:warn("InvalidAnnotation", key .. " " .. message .. (known.protects
            and "; what it protects is closed, where no other level has a right one" or "; it has no effect"))
        end)
      end
    end
  end)
end

if NAME then
  fragment("configmap-missing", function(out)
    if not watched("configmaps") then
      out:warn("KindNotWatched", "configmap: it needs configmaps in watchedResources; it is not used"
        .. (is_missing() and ", and nothing is served (configmap_required)" or ""))
    elseif not resources.configmaps:get(NAMESPACE, NAME) then
      out:warn("ConfigMapNotFound", "configmap: there is no ConfigMap " .. NAMESPACE .. "/" .. NAME
        .. (is_missing() and "; nothing is served until it exists (configmap_required)"
          or "; nothing of what it may protect is protected"))
    end
  end)
end

--- Another ConfigMap, which the text "namespace/name" names. data() returns its data, while functions run; each(fn)
--- runs fn(data, out) for it. what: for names of fragments.
local function named(text, what)
  local namespace, name = (text or ""):match("^([^/]+)/(.+)$")
  local is_there = namespace ~= nil and watched("configmaps")
  local data = shared(what, function()
    local map = is_there and resources.configmaps:get(namespace, name)
    return map and map.data or {}
  end)
  local function each_one(fn)
    if not is_there then return end
    each(resources.configmaps, what, function(map, out)
      if map.metadata.namespace == namespace and map.metadata.name == name then fn(map.data or {}, out) end
    end)
  end
  return { is_set = namespace ~= nil, data = data, each = each_one }
end

--- Runs fn(out) for the ConfigMap, to report errors in it.
local function each_level(what, fn)
  if NAME and watched("configmaps") then
    each(resources.configmaps, what, function(map, out)
      if map.metadata.namespace == NAMESPACE and map.metadata.name == NAME then fn(out) end
    end)
  end
end

provide("base.configmap", { each = each_level, named = named, setting = setting, has = has, level = level,
  is_set = NAME ~= nil, is_missing = is_missing, namespace = NAMESPACE })
