--- tls.lua — spec.tls of an Ingress: the certificates of its hosts, and the redirects from HTTP to HTTPS.

local loaded, ssl = pcall(use, "ssl")
local has_acme, acme = pcall(use, "acme")
local addresses = use("ingress.addresses")
local classes, names, configmap = use("ingress.classes"), use("ingress.names"), use("base.configmap")

local ON = loaded and ssl.on and not context.tls_elsewhere

--- Certificates that one Ingress can have, and hosts of one of them.
local MAX_ENTRIES, MAX_HOSTS = 100, 1000

local CODES = {}
for _, code in ipairs(ON and ssl.codes or {}) do CODES[code] = true end

--- The same key in each family.
local function in_families(key)
  return { ["haproxy-haptic.org"] = key, ["haproxy.org"] = key, ["haproxy.com"] = key }
end

local TESTED = "tls_spec: is ended for exact names and wildcards, and unknown names get nobody's certificate"

if ON then
  annotations({
    ssl_redirect = {
      type = "switch", on = { "Ingress", "ConfigMap" }, families = in_families("ssl-redirect"), effect = "ssl-redirect",
      doc = "HTTP leads to HTTPS. Without it, where the host is in spec.tls and the setting ssl_redirect is true.",
      lines = "http-request redirect location https://%[var(txn.host)]%[pathq] code CODE", tested = TESTED,
    },
    ssl_redirect_code = {
      type = "integer", on = { "Ingress", "ConfigMap" }, families = in_families("ssl-redirect-code"),
      parse = function(code)
        if CODES[code] then return code end
        return nil, "301, 302, 303, 307 or 308"
      end,
      effect = "ssl-redirect", doc = "Status of that answer: the setting ssl_redirect_code.",
      lines = "http-request redirect … code CODE", tested = TESTED,
    },
    ssl_redirect_port = {
      type = "integer", min = 1, max = 65535, on = { "Ingress", "ConfigMap" },
      families = in_families("ssl-redirect-port"), effect = "ssl-redirect",
      doc = "Port in the address that clients are led to: the setting ssl_redirect_port.",
      lines = "http-request redirect location https://%[var(txn.host)]:PORT%[pathq]", tested = TESTED,
    },
  })
end

local REDIRECT = { "ssl_redirect", "ssl_redirect_code", "ssl_redirect_port" }

--- The prefix of an Ingress's routes in the map of redirects, before their backends: "302:443", or "off" when its owner
--- has switched it off; nil without a redirect. And whether it applies to all of its hosts, or to those with TLS.
local function redirect_of(out, ing, tls)
  local levels = { { kind = "Ingress", values = dig(ing, "metadata", "annotations") or {} } }
  local class = classes.defaults_of(ing)
  if configmap.is_set then levels[2] = configmap.level() end
  if class then levels[#levels + 1] = { kind = "Ingress", values = class, silent = true } end
  local values = annotated(REDIRECT, levels, function(kind, key, message)
    if kind == "Ingress" then out:warn("InvalidAnnotation", key .. " " .. message .. "; it has no effect") end
  end)
  if values.ssl_redirect == false then return "off", true end
  if not values.ssl_redirect and not (tls and context.ssl_redirect) then return nil end
  local code = values.ssl_redirect_code or CODES[context.ssl_redirect_code] and context.ssl_redirect_code or 302
  return code .. ":" .. (values.ssl_redirect_port or context.ssl_redirect_port), values.ssl_redirect == true
end

--- True when an Ingress without annotations and TLS may have a redirect as well.
local function is_everybody()
  return classes.has_defaults or configmap.is_set and configmap.level().values["ssl-redirect"] ~= nil
end

--- The target for clients that are refused: an address, or a path.
local function parse_page(page)
  local path = page:match("^https?://[%w.-]+(/.*)$") or page:match("^https?://[%w.-]+:%d+(/.*)$") or page:match("^/.*$")
  if path and #page <= 1024 and not path:find("^//") and path:find("^[%w/._~?=&%%+-]+$") then return page end
  return nil, "an address such as https://example.com/why, or a path"
end

local CLIENTS = { "route_client_ca", "route_client_verify", "route_client_page" }

if ON then
  local tested = "tls_spec: asks clients for certificates, and lets nobody in without what that needs"
  annotations({
    route_client_ca = {
      type = "text", shape = "^[a-z0-9][a-z0-9.-]{0,252}$", on = { "Ingress" }, protects = true,
      parse = function(name)
        if #name <= 253 and name:find("^[a-z0-9][a-z0-9.-]*$") then return name end
        return nil, "the name of a Secret with ca.crt"
      end,
      families = { ["haproxy-haptic.org"] = "client-ca" }, effect = "client-certificates",
      doc = "A Secret of the Ingress' namespace with the authorities (ca.crt) of the certificates that clients need, "
        .. "and perhaps with lists of revoked ones (ca.crl). Where it is wrong, nobody is let in.",
      lines = "crt-list: certs/NAMESPACE_NAME.pem [ca-file certs/NAMESPACE_CA_ca.pem verify optional]; http-request "
        .. "return status 496 if …",
      reload = "before 3.2, other authorities in the Secret", tested = tested,
    },
    route_client_verify = {
      type = "enum", values = { "required", "optional" }, on = { "Ingress" },
      families = { ["haproxy-haptic.org"] = "client-verify" }, effect = "client-certificates",
      doc = "With client-ca: whether clients without a certificate are let in. Without the key, or where it is wrong, "
        .. "they are not.",
      lines = "a value of client-prefix.map", tested = tested,
    },
    route_client_page = {
      type = "text", parse = parse_page, on = { "Ingress" },
      families = { ["haproxy-haptic.org"] = "client-error-page" }, effect = "client-certificates",
      doc = "With client-ca: an address or a path where clients are led (302) that are not let in, instead of the "
        .. "statuses 495 and 496.",
      lines = "http-request redirect location %[var(txn.client_page)] code 302 if …",
      tested = "clients_spec: are told what is wrong with them, by the chosen status or on a page",
    },
  })
else
  family("haproxy-haptic.org", { refused = {
    { keys = "client-ca", on = { "Ingress" }, protects = true, reason = "TLS does not end here" },
    { keys = { "client-verify", "client-error-page" }, on = { "Ingress" }, reason = "TLS does not end here" },
  } })
end

--- The client certificates that an Ingress requires: the name of a Secret, "required" or "optional", and the page for
--- refused clients. A wrong value counts as the stricter one. nil, "required": no certificate is accepted.
local function clients_of(out, ing)
  local annotations = dig(ing, "metadata", "annotations")
  if not ON or annotations == nil then return nil end
  local values, wrong = annotated(CLIENTS, { { kind = "Ingress", values = annotations } }, function(_, key, message)
    out:warn("InvalidAnnotation", key .. " " .. message .. (key:find("page$") and "; clients are told by the status"
      or "; no client is let in without a certificate"))
  end)
  if wrong.route_client_ca then return nil, "required" end
  if values.route_client_ca == nil then return nil end
  return values.route_client_ca, values.route_client_verify or "required", values.route_client_page
end

--- The hosts of an entry of spec.tls; without any, those of the rules.
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

--- True when HAProxy may request OCSP answers for a certificate. The certificate names the server: not this machine,
--- and no address that endpoints may not have.
local function asks_responder(out, facts, name)
  if not ssl.ocsp or not facts or not facts.ocsp then return false end
  if addresses.is_host(facts.ocsp_host or "") then return true end
  out:warn("OcspResponderRefused", ("the certificate of Secret %s names an OCSP responder that may not be asked; it is "
    .. "used without OCSP answers"):format(name))
  return false
end

--- Files that one host can have: one for each type of keys.
local MAX_FILES = 4

--- Adds a certificate to those of a host. Two certificates of one host are for clients with different types of keys.
local function add_file(out, of, host, name, c)
  local has = of[host] or { files = {}, types = {}, keep = false, staples = 0, facts = {} }
  local facts, file = c.facts, c.file
  local type_of_key = facts and facts.key_type or "unknown " .. file
  if facts and not ssl.covers(facts, host) then
    out:warn("CertificateHostMismatch", ("the certificate of Secret %s is not for the host %s"):format(name, host))
  elseif has.types[type_of_key] and has.types[type_of_key] ~= file then
    out:warn("DuplicateCertificate", ("spec.tls has several certificates of one type for the host %s; the first one "
      .. "counts"):format(host))
  elseif not has.types[type_of_key] and #has.files < MAX_FILES then
    has.types[type_of_key] = file
    has.files[#has.files + 1] = file
    if asks_responder(out, facts, name) then has.staples, has.facts[file] = has.staples + 1, { name, facts } end
    has.keep = has.keep or facts == nil
    of[host] = has
  end
end

--- Adds the certificates of an entry to those of its hosts.
local function add_entry(out, ing, entry, hosts, of)
  local name = entry.secretName
  if name == nil or name == "" then return end
  if type(name) ~= "string" or #name > 253 or not name:find("^[a-z0-9][a-z0-9.-]*$") then
    out:warn("TlsSecretNotFound", "spec.tls: the secretName is no name of a Secret")
    return
  end
  for _, c in ipairs(ssl.certificates(out, ing.metadata.namespace, name)) do
    for _, host in ipairs(hosts) do add_file(out, of, host, name, c) end
  end
end

--- The options of a host whose certificates have stapled OCSP answers. Options apply to all certificates of a host, and
--- HAProxy refuses a file that is named with them in one line and without them in another. When they cannot apply to
--- all, the other certificates get another name.
local function with_staples(out, ing, has, options)
  if has.staples == 0 then return options end
  if has.staples < #has.files then
    for i, file in ipairs(has.files) do
      local of = has.facts[file]
      if of then has.files[i] = ssl.unstapled(out, ing.metadata.namespace, of[1], of[2]) end
    end
    return options
  end
  local words = { "ocsp-update", "on" }
  for _, w in ipairs(options or {}) do words[#words + 1] = w end
  return words
end

--- True when an entry's hosts have no source of a certificate.
local function is_bare(ing, entry)
  local name = entry.secretName
  if name == nil or name == "" then return true end
  return type(name) == "string" and #name <= 253 and name:find("^[a-z0-9][a-z0-9.-]*$") ~= nil
    and resources.secrets:get(ing.metadata.namespace, name) == nil
end

--- Adds the certificates that HAProxy itself obtains, for hosts without another one.
local function add_obtained(out, bare, of)
  local hosts = {}
  for _, host in ipairs(bare) do
    if not of[host] then hosts[#hosts + 1] = host end
  end
  for host, file in pairs(acme.obtain(out, hosts)) do of[host] = { files = { file }, staples = 0, acme = true } end
end

--- True for a rule's host with TLS.
local function has_tls(hosts, host)
  return hosts[host] or hosts["*." .. (host:match("^[^.]+%.(.+)$") or "")] or false
end

--- Put out the certificates of an Ingress, and the redirects of its routes: `routes` gives host, map, key and backend
--- of each. state: what becomes of its TLS (passthrough.state()). Where it is passed through, the Ingress needs no
--- certificates and is HTTPS everywhere.
local function put(out, ing, routes, state)
  local passes = state == "passed"
  local tls = dig(ing, "spec", "tls")
  if type(tls) ~= "table" then tls = nil end
  local redirect, everywhere = redirect_of(out, ing, passes or tls)
  if passes then tls, everywhere = nil, true end
  local of, hosts, bare = {}, {}, {}
  local obtains = tls and has_acme and acme.wants(out, ing)
  for i, entry in ipairs(tls or {}) do
    if i > MAX_ENTRIES then
      out:warn("InvalidTls", "spec.tls has more than " .. MAX_ENTRIES .. " entries; the rest has no effect")
      break
    end
    if type(entry) == "table" then
      local list = hosts_of(out, ing, entry)
      for _, host in ipairs(list) do hosts[host] = true end
      if obtains and is_bare(ing, entry) then
        for _, host in ipairs(list) do bare[#bare + 1] = host end
      else
        add_entry(out, ing, entry, list, of)
      end
    end
  end
  if obtains then add_obtained(out, bare, of) end
  local authorities = clients_of(out, ing)
  local options, keep = nil, nil
  local entry = tls and ssl.authorities_entry(ing.metadata.namespace, authorities) or nil
  if authorities then
    options, keep = ssl.authorities(out, ing.metadata.namespace, authorities), true
  end
  for host, has in pairs(of) do
    local words = with_staples(out, ing, has, options)
    table.sort(has.files)
    out:crt_list(ssl.list, has.files,
      { sni = host, keep = has.keep or keep, options = words, acme = has.acme, entry = entry })
  end
  if redirect == nil then return end
  for _, route in ipairs(routes(ing, state)) do
    if route.host ~= "" and (everywhere or has_tls(hosts, route.host)) then
      out:map_entry(route.map == "path-exact.map" and "redirect-exact.map" or "redirect-prefix.map",
        route.host .. route.key, redirect .. ":" .. route.backend)
    end
  end
end

--- The prefix of the routes for the clients of an Ingress in the maps, before their backends; nil when it requires no
--- certificates.
local function clients_value(ing)
  local name, verify, page = clients_of({ warn = function() end }, ing)
  if not verify then return nil end
  if name then verify = verify .. "@" .. ssl.authorities_id(ing.metadata.namespace, name) end
  return page and verify .. ":" .. page or verify
end

provide("ingress.tls", { is_everybody = is_everybody, on = ON, put = put, clients_value = clients_value,
  protects = ON })
