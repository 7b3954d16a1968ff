--- passthrough.lua — Ingresses with TLS passthrough: the name in the client's hello selects the servers.
--
-- HAProxy sees no HTTP of such a connection, so protections by HTTP cannot work: with such an annotation, or when
-- passthrough is switched off, the Ingress answers 503.

local loaded, ssl = pcall(use, "ssl")
local backend_keys, foreign, names = use("ingress.backend_keys"), use("ingress.foreign"), use("ingress.names")
local classes = use("ingress.classes")

local ON = loaded and ssl.passes_through and not context.tls_elsewhere

--- The Services of an Ingress' rules, in their order, each once.
local function services_of(ing)
  local list, seen = {}, {}
  for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
    for _, p in ipairs(dig(rule, "http", "paths") or {}) do
      local name = dig(p, "backend", "service", "name")
      if names.is_label(name) and names.is_label(ing.metadata.namespace) and not seen[name] then
        seen[name] = true
        list[#list + 1] = resources.services:get(ing.metadata.namespace, name)
      end
    end
  end
  return list
end

--- Effects of an Ingress whose TLS is passed through, and values of its Services.
local KEPT = { passthrough = true, ["ssl-redirect"] = true }
local KEPT_VALUES = { check = true, check_interval = true, pod_maxconn = true, send_proxy_protocol = true,
  keep_last_ready = true, standalone_backend = true }

--- Tell the owner what has no effect on connections that are passed through.
local function judge(out, list)
  local ignored = {}
  for _, o in ipairs(list) do
    for key in pairs(dig(o.object, "metadata", "annotations") or {}) do
      local known = annotation(key, o.kind)
      local is_kept = known and (KEPT[known.effect] or o.kind == "Service" and KEPT_VALUES[known.name])
      if known and known.is_honoured and not is_kept then
        ignored[#ignored + 1] = (o.kind == "Service" and "service " .. o.object.metadata.name .. ": " or "") .. key
      end
    end
  end
  if #ignored == 0 then return end
  out:warn("AnnotationIgnored", "these have no effect on TLS that is passed through: " .. table.concat(ignored, ", "))
end

--- The handling of an Ingress's TLS: nil (it ends here), "passed", or "refused". Its own annotation counts first, then
--- that of the first Service that has one, then the ConfigMap's.
local function state(out, ing)
  local services = services_of(ing)
  local list = { { kind = "Ingress", object = ing } }
  for _, service in ipairs(services) do list[#list + 1] = { kind = "Service", object = service } end
  local levels = backend_keys.levels_of(list)
  if #levels == 0 then return nil end
  local wanted = annotated({ "ssl_passthrough" }, levels, function(kind, key, message)
    if kind ~= "ConfigMap" then out:warn("InvalidAnnotation", key .. " " .. message .. "; it has no effect") end
  end).ssl_passthrough
  if not wanted then return nil end
  local key = "ssl-passthrough"
  if not ON then
    out:warn("PassthroughNotSupported", key .. ": answered with 503; it needs the setting ssl_passthrough: true, and "
      .. "HTTPS")
    return "refused"
  end
  local class = classes.defaults_of(ing)
  if class then levels[#levels + 1] = { kind = "Ingress", values = class } end
  for _, level in ipairs(levels) do
    local protects = foreign.protecting(level)
    if protects then
      out:warn("ProtectionNotSupported", ("answered with 503, because %s%s protects and cannot be honoured together "
        .. "with %s"):format(protects, level.kind == "ConfigMap" and " of the ConfigMap" or "", key))
      return "refused"
    end
  end
  judge(out, list)
  return "passed"
end

--- Tell the owner of a rule whose paths have no effect: the name alone leads to a Service.
local function judge_paths(out, host, rule)
  local paths = dig(rule, "http", "paths")
  if #paths == 1 and (paths[1].path == nil or paths[1].path == "/" or paths[1].path == "") then return end
  out:warn("PathIgnored", ("ssl-passthrough: TLS for %s goes to the Service of the first path of its rule, whatever is "
    .. "asked for"):format(host))
end

--- Writes the targets for the names of an Ingress. backend_of gives the backend of a path.
local function put(out, ing, passes, backend_of)
  if not ON then return end
  local tls = dig(ing, "spec", "tls")
  if not passes and type(tls) ~= "table" then return end
  local done = {}
  for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
    local host = names.host_key(rule.host)
    if host == "" and passes then
      out:warn("InvalidHost", "a rule without a host cannot have its TLS passed through")
    elseif host and not done[host] then
      done[host] = true
      local p = passes and dig(rule, "http", "paths", 1)
      local target = not passes and ssl.terminate or p and backend_of(p)
      if target and host ~= "" then out:map_entry(ssl.passthrough_map, host, target) end
      if p then judge_paths(out, host, rule) end
    end
  end
end

provide("ingress.passthrough", { on = ON, state = state, put = put, defaults = loaded and ssl.tcp_defaults })
