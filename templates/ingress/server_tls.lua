--- server_tls.lua — TLS between HAProxy and the servers of a backend, by annotations of the Ingress or the Service.
--
-- A requirement that cannot be met closes the backend: a Secret that was never valid yields authorities that have
-- signed no certificate, and a Secret that cannot be read leaves no server.

local loaded, ssl = pcall(use, "ssl")
local names, keys, configmap = use("ingress.names"), use("ingress.backend_keys"), use("base.configmap")

local SECRETS = loaded and ssl.has_secrets
local ALPN = { h1 = "http/1.1", h2 = "h2" }
--- HAProxy 3.3 and later send the name in "Host" to servers and verify it. A fetch without a result means no name, in
--- all versions.
local NO_NAME = "var(txn.no_name)"
--- HAProxy 3.2 and later change authorities in use without a reload, but a server without a certificate keeps its first
--- ones: another server has to replace it.
local V = capabilities
local REPLACES = V.major ~= nil and (V.major > 3 or V.major == 3 and (V.minor or 0) >= 2)
local NAMES = { "server_ssl", "server_proto", "server_ca", "server_crt", "server_sni" }
local SILENT = { warn = function() end }

--- The first level that has a valid value for a name.
local function level_of(levels, name)
  for _, level in ipairs(levels) do
    if annotated({ name }, { level })[name] ~= nil then return level end
  end
  return nil
end

--- The Secret that a value names: {namespace=, name=, out=}, or nil when it cannot be used. Its author is told why.
local function secret_of(levels, name, ref, namespace)
  local level = level_of(levels, name)
  local out, key = level.out or SILENT, name:gsub("_", "-")
  local is_admin = level.kind == "ConfigMap"
  local wanted = ref.namespace or is_admin and configmap.namespace or namespace
  if not is_admin and wanted ~= namespace then
    out:warn("InvalidServerSecret", key .. " names no Secret in the namespace of the Service; requests get 503")
    return nil
  end
  if not SECRETS then
    out:warn("InvalidServerSecret", key .. ": Secrets are not watched; requests get 503")
    return nil
  end
  return { namespace = wanted, name = ref.name, out = out }
end

--- The TLS settings for servers from all levels: nil without TLS and protocol; `closed` when no server can be trusted.
--- list: {kind=, object=, out=} of each, the nearest to the route first.
local function read(list, namespace)
  local levels = keys.levels_of(list)
  if #levels == 0 then return nil end
  local outs, has_ca = {}, annotated({ "server_ca" }, levels).server_ca ~= nil
  for _, level in ipairs(levels) do outs[level.kind] = level.out end
  local v, wrong = annotated(NAMES, levels, function(kind, key, message)
    if not outs[kind] then return end
    local known, what = annotation(key, kind), "it has no effect"
    -- Without authorities the name is not verified.
    if known.protects and (known.name ~= "server_sni" or has_ca) then
      what = "requests get 503, unless another level has a right one"
    end
    outs[kind]:warn("InvalidAnnotation", key .. " " .. message .. "; " .. what)
  end)
  local result = { proto = v.server_proto }
  local on = v.server_ssl
  if wrong.server_ssl then on = true end
  -- An explicit "false" disables TLS; authorities or a certificate enable it.
  if on == false then return result.proto and result or nil end
  result.closed = wrong.server_ca ~= nil or wrong.server_crt ~= nil
  for field, name in pairs({ ca = "server_ca", crt = "server_crt" }) do
    if v[name] then
      result[field] = secret_of(levels, name, v[name], namespace)
      result.closed = result.closed or result[field] == nil
    end
  end
  result.tls = on == true or result.ca ~= nil or result.crt ~= nil
  if result.closed then return result end
  if result.tls then
    result.sni = v.server_sni
    if wrong.server_sni or v.server_sni and not names.is_domain(v.server_sni) then
      result.sni, result.closed = nil, result.ca ~= nil
    end
  end
  return (result.tls or result.proto) and result or nil
end

--- The words for TLS in each server line, with a `tag` for the names of servers that cannot be changed; and whether
--- there may be servers at all.
local function words(out, list, namespace)
  local wanted = read(list, namespace)
  if not wanted then return {}, true end
  if wanted.closed then return {}, false end
  local result = {}
  local function add(...)
    for _, w in ipairs({ ... }) do result[#result + 1] = w end
  end
  if wanted.proto == "h2" then add("proto", "h2") end
  if not wanted.tls then return result, true end
  add("ssl", "alpn", ALPN[wanted.proto] or "h2,http/1.1")
  if wanted.ca then
    local file, content = ssl.server_authorities(out, wanted.ca.out, wanted.ca.namespace, wanted.ca.name,
      REPLACES and not wanted.crt)
    result.tag = content and "ca" .. content:sub(1, 6)
    add("verify", "required", "ca-file", path:cert(file))
    if wanted.sni then add("verifyhost", wanted.sni) end
  else
    add("verify", "none")
  end
  if wanted.crt then
    local file = ssl.certificate(out, wanted.crt.namespace, wanted.crt.name, nil, capabilities.default_certificate,
      wanted.crt.out)
    add("crt", path:cert(file))
  end
  add("sni", wanted.sni and "str(" .. wanted.sni .. ")" or NO_NAME)
  if wanted.sni then add("check-sni", wanted.sni) end
  return result, true
end

--- Tell the owner of an Ingress what is wrong with its own annotations.
local function judge(out, ing)
  local wanted = read({ { kind = "Ingress", object = ing, out = out } }, ing.metadata.namespace)
  if not wanted or wanted.closed then return end
  local reason, message
  if wanted.ca then
    reason, message = select(3, ssl.server_problem(wanted.ca.namespace, wanted.ca.name))
    if reason then out:warn(reason, message) end
  end
  if wanted.crt then
    reason, message = ssl.problem(wanted.crt.namespace, wanted.crt.name)
    if reason then out:warn(reason, message) end
  end
end

--- The error in the Secret that a value of the ConfigMap names: a Reason and words; nil when there is none.
local function problem_of(name, ref)
  local namespace = ref.namespace or configmap.namespace
  if not SECRETS then return "InvalidServerSecret", "Secrets are not watched; requests get 503" end
  if name == "server_ca" then return select(3, ssl.server_problem(namespace, ref.name)) end
  local reason, message = ssl.problem(namespace, ref.name)
  return reason, reason and message .. "; the certificate that was in use stays, or else the default one"
end

-- Backends that take these values from the ConfigMap have no owner who could be told.
configmap.each("server-tls", function(out)
  local values = annotated({ "server_ca", "server_crt" }, { configmap.level() })
  for _, name in ipairs({ "server_ca", "server_crt" }) do
    local reason, message
    if values[name] then reason, message = problem_of(name, values[name]) end
    if reason then out:warn(reason, name:gsub("_", "-") .. ": " .. message) end
  end
end)

provide("ingress.server_tls", { words = words, judge = judge })
