--- tls.lua — spec.tls of an Ingress: which of its hosts have which certificates, and which lead from HTTP to HTTPS.

local loaded, ssl = pcall(use, "ssl")
local names = use("ingress.names")

local ON = loaded and ssl.on and not context.tls_elsewhere

--- Certificates that one Ingress can have, and hosts of one of them.
local MAX_ENTRIES, MAX_HOSTS = 100, 1000

--- Annotations: with the value of an Ingress, the one before counts.
local REDIRECT = { "haproxy-haptic.org/ssl-redirect", "haproxy.org/ssl-redirect" }
local REDIRECT_CODE = { "haproxy-haptic.org/ssl-redirect-code", "haproxy.org/ssl-redirect-code" }
local REDIRECT_PORT = { "haproxy-haptic.org/ssl-redirect-port", "haproxy.org/ssl-redirect-port" }

local CODES = {}
for _, code in ipairs(ON and ssl.codes or {}) do CODES[code] = true end

--- The value of the first of these annotations that can be read; a wrong one is told and passed over.
local function annotated(out, ing, keys, read, expects)
  local annotations = dig(ing, "metadata", "annotations") or {}
  for _, key in ipairs(keys) do
    local written = annotations[key]
    local value = written ~= nil and read(tostring(written):trim()) or nil
    if value ~= nil then return value end
    if written ~= nil then out:warn("InvalidAnnotation", ("%s: expected %s"):format(key, expects)) end
  end
  return nil
end

local function read_bool(s)
  s = s:lower()
  if s == "true" or s == "on" or s == "yes" or s == "enabled" then return "yes" end
  if s == "false" or s == "off" or s == "no" or s == "disabled" then return "no" end
  return nil
end

local function read_code(s)
  local code = s:find("^%d+$") and tonumber(s)
  return code and CODES[code] and code or nil
end

local function read_port(s)
  local port = #s <= 5 and s:find("^%d+$") and tonumber(s)
  return port and port >= 1 and port <= 65535 and port or nil
end

--- What the map of redirects has for the routes of an Ingress in front of their backends: "302:443", or "off" where its
--- owner says so; nil where nobody asks for one. And whether that is for all of its hosts, or for those with TLS.
local function redirect_of(out, ing, tls)
  local wanted = annotated(out, ing, REDIRECT, read_bool, "true or false")
  if wanted == "no" then return "off", true end
  if wanted == nil and not (tls and context.ssl_redirect) then return nil end
  local code = annotated(out, ing, REDIRECT_CODE, read_code, "301, 302, 303, 307 or 308")
  local port = annotated(out, ing, REDIRECT_PORT, read_port, "a port")
  code = code or CODES[context.ssl_redirect_code] and context.ssl_redirect_code or 302
  return code .. ":" .. (port or context.ssl_redirect_port), wanted == "yes"
end

--- Whose certificates an Ingress asks of its clients: the name of a Secret, and "required" or "optional". Whatever is
--- wrong with what its owner wrote is taken for the stricter.
local function clients_of(out, ing)
  local annotations = dig(ing, "metadata", "annotations")
  local name = annotations and annotations["haproxy-haptic.org/client-ca"]
  if name == nil then return nil end
  local verify = annotations["haproxy-haptic.org/client-verify"]
  if verify ~= nil and verify ~= "required" and verify ~= "optional" then
    out:warn("InvalidAnnotation", "haproxy-haptic.org/client-verify: expected required or optional")
  end
  if type(name) ~= "string" or #name > 253 or not name:find("^[a-z0-9][a-z0-9.-]*$") then
    out:warn("InvalidAnnotation", "haproxy-haptic.org/client-ca: expected the name of a Secret with ca.crt")
    return nil, "required"
  end
  return name, verify == "optional" and "optional" or "required"
end

--- The hosts that an entry of spec.tls is for; without any, those of the rules.
local function hosts_of(out, ing, entry)
  local written = type(entry.hosts) == "table" and entry.hosts or {}
  if #written == 0 then
    written = {}
    for _, rule in ipairs(dig(ing, "spec", "rules") or {}) do
      if rule.host ~= nil and rule.host ~= "" then written[#written + 1] = rule.host end
    end
  end
  local hosts, seen = {}, {}
  for _, written_host in ipairs(written) do
    local host, problem = names.host_key(written_host)
    if not host or host == "" then
      out:warn("InvalidHost", "spec.tls: " .. (problem or "the host is empty"))
    elseif not seen[host] and #hosts < MAX_HOSTS then
      hosts[#hosts + 1], seen[host] = host, true
    end
  end
  return hosts
end

--- Add the certificate of an entry to what its hosts have. Two of one host are for clients that know different types of
--- keys.
local function add_entry(out, ing, entry, hosts, of)
  local name = entry.secretName
  if name == nil or name == "" then return end
  if type(name) ~= "string" or #name > 253 or not name:find("^[a-z0-9][a-z0-9.-]*$") then
    out:warn("TlsSecretNotFound", "spec.tls: the secretName is no name of a Secret")
    return
  end
  local file, facts = ssl.certificate(out, ing.metadata.namespace, name)
  for _, host in ipairs(hosts) do
    local has = of[host] or { files = {}, types = {}, keep = false }
    local type_of_key = facts and facts.key_type or "unknown " .. file
    if facts and not ssl.covers(facts, host) then
      out:warn("CertificateHostMismatch", ("the certificate of Secret %s is not for the host %s"):format(name, host))
    elseif has.types[type_of_key] and has.types[type_of_key] ~= file then
      out:warn("DuplicateCertificate", ("spec.tls has several certificates of one type for the host %s; the first one "
        .. "counts"):format(host))
    elseif not has.types[type_of_key] then
      has.types[type_of_key] = file
      has.files[#has.files + 1] = file
      has.keep = has.keep or facts == nil
      of[host] = has
    end
  end
end

--- Is a rule's host one of those with TLS?
local function has_tls(hosts, host)
  return hosts[host] or hosts["*." .. (host:match("^[^.]+%.(.+)$") or "")] or false
end

--- Put out the certificates of an Ingress, and the redirects of its routes: `routes` gives host, map, key and backend
--- of each. passes: its TLS is passed through, so it needs no certificates and is HTTPS everywhere.
local function put(out, ing, routes, passes)
  local tls = dig(ing, "spec", "tls")
  if type(tls) ~= "table" then tls = nil end
  local redirect, everywhere = redirect_of(out, ing, passes or tls)
  if passes then tls, everywhere = nil, true end
  local of, hosts = {}, {}
  for i, entry in ipairs(tls or {}) do
    if i > MAX_ENTRIES then
      out:warn("InvalidTls", "spec.tls has more than " .. MAX_ENTRIES .. " entries; the rest has no effect")
      break
    end
    if type(entry) == "table" then
      local list = hosts_of(out, ing, entry)
      for _, host in ipairs(list) do hosts[host] = true end
      add_entry(out, ing, entry, list, of)
    end
  end
  local authorities = clients_of(out, ing)
  local options, keep = nil, nil
  if authorities then
    local file = ssl.authorities(out, ing.metadata.namespace, authorities)
    options, keep = { "ca-file", path:cert(file), "verify", "optional" }, true
  end
  for host, has in pairs(of) do
    table.sort(has.files)
    out:crt_list(ssl.list, has.files, { sni = host, keep = has.keep or keep, options = options })
  end
  if redirect == nil then return end
  for _, route in ipairs(routes(ing)) do
    if route.host ~= "" and (everywhere or has_tls(hosts, route.host)) then
      out:map_entry(route.map == "path-exact.map" and "redirect-exact.map" or "redirect-prefix.map",
        route.host .. route.key, redirect .. ":" .. route.backend)
    end
  end
end

provide("ingress.tls", { on = ON, put = put, clients_of = clients_of, protects = loaded and ssl.on })
