--- ssl.lua — HTTPS: the same frontend at a second port, certificates by requested name, redirects.
--
-- One frontend serves both ports, so each rule applies to both. The list https.list assigns certificates to names; the
-- library ingress fills it. Settings: docs/libraries.md, "The ssl library".

local binds, write_routing, passthrough = use("base.binds"), use("base.routing"), use("ssl.passthrough")
local http3, configmap, everybody = use("ssl.http3"), use("base.configmap"), use("ssl.everybody")
local setting = configmap.setting

local BINDS = "addresses to bind, such as :443 or [::]:443 v6only"

settings({
  https = { type = "bool", default = true, doc = "HTTPS, where Secrets are watched" },
  https_port = { type = "integer", min = 1, max = 65535, default = 8443, doc = "port for HTTPS" },
  https_bind = { type = "list", pattern = "^[^%c%s][^%c]*$", expects = BINDS, doc = "addresses instead of a port" },
  default_certificate = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9.-]+$", expects = "namespace/name of a Secret",
    doc = "for names without a certificate" },
  tls_profile = { type = "enum", values = { "modern", "intermediate", "old" }, default = "intermediate",
    doc = "versions and ciphers, as Mozilla recommends them" },
  ssl_redirect = { type = "bool", default = true, doc = "HTTP leads to HTTPS where an Ingress has TLS" },
  ssl_redirect_code = { type = "integer", min = 301, max = 308, default = 302, doc = "status of that answer" },
  ssl_redirect_port = { type = "integer", min = 1, max = 65535, default = 443, doc = "port that clients see" },
  hsts = { type = "bool", default = false, doc = "Strict-Transport-Security on HTTPS" },
  hsts_max_age = { type = "integer", min = 0, max = 315360000, default = 31536000, doc = "seconds" },
  hsts_include_subdomains = { type = "bool", default = false, doc = "and for all names below" },
  hsts_preload = { type = "bool", default = false, doc = "for the browsers' list" },
  tls_alpn = { type = "list", pattern = "^[%w./-]+$", expects = "names of protocols", default = { "h2", "http/1.1" },
    doc = "protocols that clients are offered" },
  strict_sni = { type = "bool", default = false, doc = "end handshakes for names without a certificate" },
  sni_mismatch = { type = "enum", values = { "reject", "allow" }, default = "reject",
    doc = "a Host other than the name that TLS was begun for" },
  ocsp_update = { type = "bool", default = false,
    doc = "HAProxy asks for OCSP answers, and staples them, for certificates that name a responder" },
  sni_mismatch_status = { type = "integer", min = 400, max = 499, default = 421, doc = "status of that answer" },
  client_missing_status = { type = "integer", min = 400, max = 499, default = 496,
    doc = "status for a client without the certificate that its route requires" },
  client_invalid_status = { type = "integer", min = 400, max = 499, default = 495,
    doc = "status for a client whose certificate is not accepted" },
})

--- True when certificates can come from Secrets. The default certificate replaces a missing one.
local HAS_SECRETS = watched("secrets") and capabilities.default_certificate ~= nil
--- True when there is HTTPS. It needs Secrets, and a certificate for clients that request no name.
local ON = context.https and HAS_SECRETS

--- True when TLS may be passed through. Then a separate frontend has the port.
local PASSES = ON and context.ssl_passthrough

--- True when OCSP answers are requested. HAProxy refuses a certificate without an address for them.
local OCSP = ON and context.ocsp_update
  and (capabilities.major > 2 or capabilities.major == 2 and capabilities.minor >= 8)

local LIST, DEFAULT = "https.list", "default.pem"
--- Statuses that a redirect can have.
local CODES = { 301, 302, 303, 307, 308 }
local STANDARD_PORT = 443

--- Requested name → the authorities that verify its clients; NOBODY: those of no Ingress.
local AUTHORITIES, NOBODY = "client-ca.map", "none"

local MAJOR, MINOR = capabilities.major or 2, capabilities.minor or 0
local MIXES_SESSIONS = MAJOR < 3 or MAJOR == 3 and MINOR < 2

-- global ----------------------------------------------------------------------------------------------------

--- Mozilla's guidelines for servers, version 5.7.
local SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
local INTERMEDIATE = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
  .. "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
  .. "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
local PROFILES = {
  modern = { version = "TLSv1.3", prefer = true },
  intermediate = { version = "TLSv1.2", prefer = true, ciphers = INTERMEDIATE },
  -- OpenSSL's security level disables TLS 1.0 and 1.1 unless the ciphers lower it.
  old = { version = "TLSv1.0", prefer = false, ciphers = "@SECLEVEL=0:" .. INTERMEDIATE
    .. ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    .. "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    .. "DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:"
    .. "AES256-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA" },
}

local function write_global(b)
  local profile = PROFILES[context.tls_profile]
  if profile.ciphers then b:line("ssl-default-bind-ciphers", profile.ciphers) end
  b:line("ssl-default-bind-ciphersuites", SUITES)
  local options = { "ssl-min-ver", profile.version, "no-tls-tickets" }
  if profile.prefer then options[#options + 1] = "prefer-client-ciphers" end
  b:line("ssl-default-bind-options", unpack(options))
  b:line("tune.ssl.default-dh-param", 2048)
end

-- frontend http ---------------------------------------------------------------------------------------------

local function write_binds(b)
  local addresses = PASSES and { passthrough.inner_bind() } or binds(context.https_bind, context.https_port)
  for _, words in ipairs(addresses) do
    -- A rule reports an invalid client certificate, instead of the end of the handshake.
    for _, w in ipairs({ "ssl", "crt-list", path:crt_list(LIST), "alpn", table.concat(setting("tls_alpn"), ","),
      "crt-ignore-err", "all", "ca-ignore-err", "all", setting("strict_sni") and "strict-sni" or nil }) do
      words[#words + 1] = w
    end
    for _, w in ipairs(everybody.words()) do words[#words + 1] = w end
    b:line("bind", unpack(words))
  end
end

--- Rules about server and client certificates apply to the name of the TLS handshake: a connection for one host may not
--- contain requests for another one. Browsers repeat such a request on a separate connection (RFC 9110, 15.5.20).
local function write_guard(b)
  b:line("http-request", "return", "status", context.sni_mismatch_status, "content-type", "text/plain", "string",
    "misdirected request", "if", "{", "ssl_fc", "}", "{", "ssl_fc_sni", "-m", "found", "}", "{", "var(txn.host)", "-m",
    "found", "}", "!{",
    "ssl_fc_sni,lower,strcmp(txn.host)", "eq", 0, "}")
end

--- What a route has besides its backend: as in the maps of the routes, the first that is found counts. The last field
--- of the value is the route's backend: what is found is another route's where a request leads to another one, whose
--- owner may be somebody else.
local function write_look_up(b, variable, maps, all, ...)
  local exact, prefix = path:map(maps .. "-exact.map"), path:map(maps .. "-prefix.map")
  local conditions = { "!{", "var(" .. variable .. ")", "-m", "found", "}", ... }
  local function look_up(expression)
    b:line("http-request", "set-var(" .. variable .. ")", expression, "if", unpack(conditions))
  end
  look_up("var(txn.host),concat(,txn.path),map_str(" .. exact .. ")")
  look_up("var(txn.host),concat(,txn.path,/),map_beg(" .. prefix .. ")")
  look_up("str(*.),concat(,txn.domain),concat(,txn.path),map_str(" .. exact .. ")")
  look_up("str(*.),concat(,txn.domain),concat(,txn.path,/),map_beg(" .. prefix .. ")")
  if all then
    local default = path:map(maps .. "-default.map")
    look_up("var(txn.path),map_str(" .. exact .. ")")
    look_up("var(txn.path),concat(/),map_beg(" .. prefix .. ")")
    look_up("var(txn.host),map_str(" .. default .. ")")
    look_up("str(*.),concat(,txn.domain),map_str(" .. default .. ")")
    look_up("str(*),map_str(" .. default .. ")")
  end
  write_routing(b, "txn.route", "{", "var(" .. variable .. ")", "-m", "found", "}")
  b:line("http-request", "unset-var(" .. variable .. ")", "unless", "{",
    "var(" .. variable .. "),field(-1,:),strcmp(txn.route)", "eq", 0, "}")
end

--- Which routes lead from HTTP to HTTPS. The values are "CODE:PORT:BACKEND" or "off:BACKEND". Where TLS ends in front
--- of HAProxy, the trusted proxy says "https".
local function write_redirect(b)
  b:acl("asks_https", { "req.hdr(x-forwarded-proto)", "-i" }, "https")
  -- Whoever proves that a host is his by an answer over HTTP has no certificate yet. A token is base64url (RFC 8555,
  -- 8.3). Nothing else passes: a server may resolve the ".." of a path, and would then answer for another path.
  b:acl("acme_challenge", "path_reg", "^/[.]well-known/acme-challenge/[A-Za-z0-9_-]+$")
  write_look_up(b, "txn.redirect", "redirect", false, "!asks_https", "!acme_challenge")
  for _, code in ipairs(CODES) do
    b:line("http-request", "redirect", "location", "https://%[var(txn.host)]%[pathq]", "code", code, "if", "{",
      "var(txn.redirect)", "-m", "beg", code .. ":" .. STANDARD_PORT .. ":", "}")
    b:line("http-request", "redirect", "location", "https://%[var(txn.host)]:%[var(txn.redirect),field(2,:)]%[pathq]",
      "code", code, "if", "{", "var(txn.redirect)", "-m", "beg", code .. ":", "}")
  end
end

--- Which routes need a certificate of the client: "required@AUTHORITIES:BACKEND" or "optional@AUTHORITIES:BACKEND", or
--- with a page for those who are not let in, "required@AUTHORITIES:https://example.com/why:BACKEND". It was verified in
--- the handshake, by the authorities of the name that was asked for: so the host has to be that name, whatever the
--- setting for others. They may be another Ingress' (client-ca.map says whose), which has the same host or a wildcard
--- of it: these open no route but their own. Over HTTP there is none; only who proves that a host is his gets through.
local function write_clients(b)
  write_look_up(b, "txn.client", "client", true)
  b:acl("wants_client", { "var(txn.client)", "-m", "found" })
  b:acl("needs_client", { "var(txn.client)", "-m", "beg" }, "required")
  local map = path:map(AUTHORITIES)
  b:line("http-request", "set-var(txn.client_ca)", "var(txn.host),map_str(" .. map .. ")", "if", "{", "ssl_c_used", "}",
    "{", "ssl_fc_sni", "-m", "found", "}")
  b:line("http-request", "set-var(txn.client_ca)", "str(*.),concat(,txn.domain),map_str(" .. map .. ")", "if", "{",
    "ssl_c_used", "}", "{", "ssl_fc_sni", "-m", "found", "}", "!{", "var(txn.client_ca)", "-m", "found", "}")
  b:line("http-request", "return", "status", context.sni_mismatch_status, "content-type", "text/plain", "string",
    "misdirected request", "if", "wants_client", "{", "ssl_fc", "}", "!{", "ssl_fc_sni,lower,strcmp(txn.host)", "eq", 0,
    "}")
  b:line("http-request", "set-var(txn.client_page)", [[var(txn.client),regsub("^[^:]+:",""),regsub(":[^:]*$","")]],
    "if", "{", "var(txn.client)", "-m", "reg", "^[^:]+:.+:", "}")
  local function refuse(status, text, ...)
    b:line("http-request", "redirect", "location", "%[var(txn.client_page)]", "code", 302, "if", "{",
      "var(txn.client_page)", "-m", "found", "}", ...)
    b:line("http-request", "return", "status", status, "content-type", "text/plain", "string", text, "if", ...)
  end
  refuse(context.client_invalid_status, "the client's certificate is not accepted", "wants_client", "{", "ssl_c_used",
    "}", "!{", "ssl_c_verify", 0, "}")
  refuse(context.client_invalid_status, "the client's certificate is not accepted", "wants_client", "{", "ssl_c_used",
    "}", "!{", "var(txn.client),field(1,:),field(2,@),strcmp(txn.client_ca)", "eq", 0, "}")
  for _, where in ipairs({ { "{", "ssl_fc", "}" }, { "!{", "ssl_fc", "}", "!acme_challenge" } }) do
    refuse(context.client_missing_status, "a certificate of the client is needed", "needs_client", "!{", "ssl_c_used",
      "}", unpack(where))
  end
  everybody.write_rules(b, refuse, NOBODY)
end

local function write_hsts(b)
  local value = "max-age=" .. context.hsts_max_age
  if context.hsts_include_subdomains then value = value .. "; includeSubDomains" end
  if context.hsts_preload then value = value .. "; preload" end
  b:line("http-after-response", "set-header", "Strict-Transport-Security", value, "if", "{", "ssl_fc", "}")
end

passthrough.put(PASSES)
http3.put(ON, LIST)
if ON then
  section("global", { name = "ssl-global", order = 150 }, write_global)
  section("frontend http", { name = "https-bind", order = 110 }, write_binds)
  if context.sni_mismatch == "reject" then
    section("frontend http", { name = "https-guard", order = 405 }, write_guard)
  end
  section("frontend http", { name = "https-redirect", order = 410 }, write_redirect)
  section("frontend http", { name = "https-clients", order = 415 }, write_clients)
  if context.hsts then section("frontend http", { name = "https-hsts", order = 420 }, write_hsts) end
  fragment("https-maps", function(out)
    out:map("redirect-exact.map", { duplicate = "DuplicateRedirect", means = "redirect of host and path" })
    out:map("redirect-prefix.map", { duplicate = "DuplicateRedirect", means = "redirect of host and path" })
    out:map("client-exact.map", { duplicate = "DuplicatePath", means = "client certificates of host and path" })
    out:map("client-prefix.map", { duplicate = "DuplicatePath", means = "client certificates of host and path" })
    out:map("client-default.map", { duplicate = "DuplicateDefaultBackend", means = "client certificates of host" })
    out:map(AUTHORITIES)
  end)
end

-- certificates ----------------------------------------------------------------------------------------------

--- Pairs of a certificate and its key that one Secret can have: tls.crt with tls.key, or one for each type of key.
local STEMS = { "tls", "rsa", "ecdsa" }

--- The beginning of the names of a Secret's files. Names of namespaces and of Secrets have no "_", so it separates the
--- parts: no name of a Secret looks like another name with a part behind it, nor like the hash of a long one.
local function id_of(namespace, name)
  local id = namespace .. "_" .. name
  return #id <= 190 and id or namespace .. "__" .. hash(name)
end

--- A file of a Secret. Each further word tells what is in it: "rsa", "ca", "crl", …; without one, it is tls.crt with
--- its key.
local function file_of(namespace, name, ...)
  local parts = { id_of(namespace, name) }
  for _, part in ipairs({ ... }) do
    if part ~= "tls" then parts[#parts + 1] = part end
  end
  return table.concat(parts, "_") .. ".pem"
end

--- The facts of each pair of a Secret.
local function pairs_of(secret)
  local first = secret and secret.x509
  if not first then return {} end
  local list = { first }
  for _, facts in ipairs(first.pairs or {}) do list[#list + 1] = facts end
  return list
end

--- What is wrong with a pair: a Reason and words; nil when nothing is.
local function pair_problem(facts, id)
  local what = "Secret " .. id .. ": "
  local crt = (facts.stem or "tls") == "tls" and "the certificate" or "the certificate " .. facts.stem .. ".crt"
  if facts.problem then return "InvalidCertificate", what .. facts.problem end
  if facts.validity == "ended" then return "CertificateExpired", what .. crt .. " has expired" end
  if facts.validity == "early" then return "CertificateNotYetValid", what .. crt .. " is not valid yet" end
  return nil
end

--- What is wrong with a Secret as a certificate: a Reason and words; nil when nothing is, and the facts of the first
--- pair that can be used.
local function problem_of(secret, id)
  if not secret then return "TlsSecretNotFound", "there is no Secret " .. id end
  local reason, message
  for _, facts in ipairs(pairs_of(secret)) do
    local r, m = pair_problem(facts, id)
    if not r then return nil, nil, facts end
    reason, message = reason or r, message or m
  end
  if not reason then
    reason, message = "InvalidCertificate", "Secret " .. id .. " has no certificate"
      .. (dig(secret, "data", "dsa.crt") ~= nil and " but dsa.crt, which no client takes" or "")
  end
  return reason, message
end

local function put_pair(out, secret, facts, file)
  out:certificate(file, { cert = facts.chain, key = secret.data[(facts.stem or "tls") .. ".key"] })
end

local STAYS = "; the certificate that was in use stays, or else the default one"

--- Put out one certificate of a Secret, the first that can be used. Where none can, it stays as it was, and the owner
--- is told. fallback: what it is where it never was anything. told: who hears what is wrong, else out.
local function certificate(out, namespace, name, file, fallback, told)
  local secret = resources.secrets:get(namespace, name)
  local reason, message, facts = problem_of(secret, namespace .. "/" .. name)
  file = file or file_of(namespace, name)
  if reason then
    told = told or out
    told:warn(reason, message .. STAYS)
    out:certificate(file, { cert = fallback, keep = true })
  else
    put_pair(out, secret, facts, file)
  end
  return file
end

--- Put out all certificates of a Secret: a list of {file=, facts=}; facts nil: it cannot be used, and its last good
--- bytes stay. Where nothing is known of the Secret, these are the files of all pairs that it may have had.
local function certificates(out, namespace, name)
  local secret, id, list = resources.secrets:get(namespace, name), namespace .. "/" .. name, {}
  local function keep(stem)
    local file = file_of(namespace, name, stem)
    out:certificate(file, { keep = true })
    list[#list + 1] = { file = file }
  end
  local all = pairs_of(secret)
  if #all == 0 or #all == 1 and all[1].certificates == 0 then
    local reason, message = problem_of(secret, id)
    out:warn(reason, message .. STAYS)
    for _, stem in ipairs(STEMS) do keep(stem) end
    return list
  end
  for _, facts in ipairs(all) do
    local reason, message = pair_problem(facts, id)
    if reason then
      out:warn(reason, message .. STAYS)
      keep(facts.stem)
    else
      local file = file_of(namespace, name, facts.stem)
      put_pair(out, secret, facts, file)
      list[#list + 1] = { file = file, facts = facts }
    end
  end
  if dig(secret, "data", "dsa.crt") ~= nil then
    out:warn("InvalidCertificate", "Secret " .. id .. ": dsa.crt has no effect, as no client takes keys for DSA")
  end
  return list
end

--- Put out the revoked certificates of a Secret, if it has any. Returns the file, or nil. Once HAProxy has them, they
--- stay while they cannot be read.
local function revocations(out, namespace, name, secret)
  local facts = dig(secret, "x509", "revocations")
  if not facts then return nil end
  local file = file_of(namespace, name, "crl")
  if facts.problem then
    out:warn("InvalidClientCrl", "Secret " .. namespace .. "/" .. name .. ": " .. facts.problem
      .. "; the list that was in use stays, or else no client is let in")
    out:certificate(file, { keep = true })
  else
    out:certificate(file, { crl = secret.data["ca.crl"] })
  end
  return file
end

--- The name of a Secret's authorities in the maps.
local function authorities_id(namespace, name) return id_of(namespace, name) end

--- Before 3.2, TLS 1.3 takes a session up for another name than the one that it began for, with the certificate that
--- the client had there: so no session is taken up.
local function write_no_sessions(b) b:line("tune.ssl.cachesize", 0) end

--- Put out the authorities of a Secret, by which clients are verified. Returns the words for HAProxy.
local function authorities(out, namespace, name)
  if MIXES_SESSIONS then out:section("global", { order = 155, key = "client authorities" }, write_no_sessions) end
  local secret = resources.secrets:get(namespace, name)
  local facts = secret and secret.x509 and secret.x509.authorities
  local problem = not secret and "there is no Secret " .. namespace .. "/" .. name
    or not facts and "Secret " .. namespace .. "/" .. name .. " has no ca.crt" or facts and facts.problem
  local file = file_of(namespace, name, "ca")
  if problem then
    out:warn("InvalidClientCa", problem .. "; the previous authorities stay in use; "
      .. "if there are none, no client is accepted")
    out:certificate(file, { keep = true })
  else
    out:certificate(file, { ca = secret.data["ca.crt"] })
  end
  local list = revocations(out, namespace, name, secret)
  if list then return { "ca-file", path:cert(file), "crl-file", path:cert(list), "verify", "optional" } end
  return { "ca-file", path:cert(file), "verify", "optional" }
end

--- The authorities of a Secret for servers: ca.crt, or tls.crt where there is none. nil, a Reason and words where there
--- are none that can be used. The second result tells one content from another.
local function server_problem(namespace, name)
  local secret = resources.secrets:get(namespace, name)
  local facts = secret and secret.x509
  if facts and facts.authorities and not facts.authorities.problem then
    return secret.data["ca.crt"], facts.authorities.digest
  end
  if facts and not facts.authorities and facts.certificates and facts.certificates > 0 then
    return secret.data[(facts.stem or "tls") .. ".crt"], facts.digest
  end
  local id = "Secret " .. namespace .. "/" .. name
  return nil, nil, "InvalidServerCa", (secret and id .. " has no authorities that can be read" or "there is no " .. id)
    .. "; the previous ones stay in use; if there are none, no server is trusted"
end

--- Put out the authorities by which servers are verified; `told` is who hears what is wrong. Where they were never
--- good, they are our own default certificate, which has signed nobody.
--- HAProxy keeps the first authorities of a server without a certificate of its own (is_fixed). So these have another
--- file for each content, which is told by the second result: servers of other names take the place of the former ones.
--- The file with the lasting name is for when the Secret goes bad.
local function server_authorities(out, told, namespace, name, is_fixed)
  local bytes, digest, reason, message = server_problem(namespace, name)
  local file = file_of(namespace, name, "server-ca")
  if bytes then
    out:certificate(file, { ca = bytes })
    if is_fixed and digest then
      file = file_of(namespace, name, "server-ca", digest)
      out:certificate(file, { ca = bytes })
      return file, digest
    end
  else
    told:warn(reason, message)
    out:certificate(file, { ca = capabilities.default_certificate, keep = true })
  end
  return file
end

--- Has a certificate a host's name? A wildcard stands for one label.
local function covers(facts, host)
  local wildcard = "*." .. (host:match("^[^.]+%.(.+)$") or "")
  for _, name in ipairs(facts.names) do
    if name == host or name == wildcard then return true end
  end
  return false
end

if ON then
  fragment("default-certificate", function(out)
    local own = capabilities.default_certificate
    local wanted = setting("default_certificate")
    if wanted == nil then
      out:certificate(DEFAULT, { cert = own })
    else
      local namespace, name = wanted:match("^([^/]+)/(.+)$")
      certificate(out, namespace, name, DEFAULT, own)
    end
    out:crt_list(LIST, DEFAULT)
  end)
  configmap.each("default-certificate", function(out)
    if not configmap.has("default_certificate") then return end
    local namespace, name = setting("default_certificate"):match("^([^/]+)/(.+)$")
    local reason, message = problem_of(resources.secrets:get(namespace, name), namespace .. "/" .. name)
    if reason then
      out:warn(reason, "ssl-certificate: " .. message .. "; the certificate that was in use stays, or else our own")
    end
  end)
end

if ON then
  everybody.put(function(namespace, name)
    local secret = resources.secrets:get(namespace, name)
    local facts = secret and secret.x509
    if facts and facts.authorities and not facts.authorities.problem then return secret.data["ca.crt"] end
    if facts and not facts.authorities and (facts.certificates or 0) > 0 then
      return secret.data[(facts.stem or "tls") .. ".crt"]
    end
    local id = "Secret " .. namespace .. "/" .. name
    return nil, secret and id .. " has no authorities that can be read" or "there is no " .. id
  end)
end

if ON and context.ocsp_update and not OCSP then
  fragment("ocsp", function(out)
    out:warn("OcspNotSupported", "ocsp_update: HAProxy has it from 2.8 on; no answers are asked for")
  end)
end

--- The same certificate under another name: HAProxy has a file with OCSP updates everywhere, or nowhere. facts: of one
--- that certificates() has put out.
local function unstapled(out, namespace, name, facts)
  local file = file_of(namespace, name, facts.stem or "tls", "unstapled")
  put_pair(out, resources.secrets:get(namespace, name), facts, file)
  return file
end

--- The entry that the names of a line have: whose authorities verify their clients. namespace, name: of a Secret, or
--- nil. nil where nobody can have a certificate.
local function authorities_entry(namespace, name)
  if not name and not everybody.is_wanted() then return nil end
  return { map = AUTHORITIES, value = name and authorities_id(namespace, name) or NOBODY }
end

provide("ssl", { on = ON, ocsp = OCSP, unstapled = unstapled, passes_through = PASSES,
  authorities_id = authorities_id, authorities_entry = authorities_entry,
  passthrough_map = passthrough.map, terminate = passthrough.terminate,
  tcp_defaults = passthrough.defaults, list = LIST, codes = CODES, certificate = certificate,
  certificates = certificates, authorities = authorities,
  server_authorities = server_authorities, server_problem = server_problem, covers = covers, has_secrets = HAS_SECRETS,
  problem = function(namespace, name)
    return problem_of(resources.secrets:get(namespace, name), namespace .. "/" .. name)
  end })
