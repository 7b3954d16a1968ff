--- everybody.lua — client certificates that all of HTTPS asks for, by the ConfigMap.
--
-- The authorities are those of the bind lines; a host whose Ingress names its own has these instead. Whatever is wrong
-- with them lets nobody in: the authorities that were in use stay, or else those of nobody are taken.

local configmap = use("base.configmap")

local FILE = "client-ca.everybody.pem"

local TESTED = "configmap_spec: ask all clients of HTTPS for certificates, and what is wrong closes it"

annotations({
  client_ca = {
    type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$", expects = "namespace/name of a Secret",
    on = { "ConfigMap" }, families = { ["haproxy.org"] = "client-ca", ["haproxy.com"] = "client-ca" },
    effect = "settings", protects = true, reload = "the first one, and another Secret",
    doc = "A Secret with the authorities (ca.crt, else tls.crt) that verify the certificates of all "
      .. "HTTPS clients. It applies to all routes, except those of an Ingress with "
      .. "haproxy-haptic.org/client-ca. HTTP is not affected. If the value or the Secret is wrong, "
      .. "HTTPS accepts no client.",
    lines = "bind … ca-file certs/" .. FILE .. " verify optional; http-request return status 496 if …",
    tested = TESTED,
  },
  client_optional = {
    type = "switch", on = { "ConfigMap" },
    families = { ["haproxy.org"] = "client-crt-optional", ["haproxy.com"] = "client-crt-optional" },
    effect = "settings", reload = "each value",
    doc = "With client-ca: clients without a certificate are accepted. Clients with an invalid "
      .. "certificate are refused.",
    lines = "no rule for clients without a certificate", tested = TESTED,
  },
})

--- Whose certificates: false where the ConfigMap asks for none; else namespace, name (nil: what it has is wrong),
--- optional.
local wanted = shared("client-ca", function()
  local values, wrong = annotated({ "client_ca", "client_optional" }, { configmap.level() })
  if values.client_ca == nil and wrong.client_ca == nil then return false end
  local namespace, name = (values.client_ca or ""):match("^([^/]+)/(.+)$")
  return { namespace = namespace, name = name, optional = values.client_optional == true }
end)

--- Words of a bind line.
local function words()
  return wanted() and { "ca-file", path:cert(FILE), "verify", "optional" } or {}
end

--- Rules behind those for routes with certificates of their own (which are wants_client). refuse(status, text, …) ends
--- requests; nobody: what txn.client_ca is where no Ingress has authorities for the name. A connection for the name of
--- an Ingress with authorities of its own was verified by these, so the host has to be the name that TLS was begun for.
local function write_rules(b, refuse, nobody)
  local who = wanted()
  if not who then return end
  b:line("http-request", "return", "status", context.sni_mismatch_status, "content-type", "text/plain", "string",
    "misdirected request", "if", "!wants_client", "{", "ssl_fc", "}", "{", "ssl_fc_sni", "-m", "found", "}", "!{",
    "ssl_fc_sni,lower,strcmp(txn.host)", "eq", 0, "}")
  refuse(context.client_invalid_status, "the client's certificate is not accepted", "!wants_client", "{", "ssl_fc", "}",
    "{", "ssl_c_used", "}", "!{", "ssl_c_verify", 0, "}")
  -- It was verified by the authorities of an Ingress that has the same host: they open the routes of that one only.
  refuse(context.client_invalid_status, "the client's certificate is not accepted", "!wants_client", "{", "ssl_fc", "}",
    "{", "ssl_c_used", "}", "{", "var(txn.client_ca)", "-m", "found", "}", "!{", "var(txn.client_ca)", "-m", "str",
    nobody, "}")
  if who.optional then return end
  refuse(context.client_missing_status, "a certificate of the client is needed", "!wants_client", "{", "ssl_fc", "}",
    "!{", "ssl_c_used", "}")
end

--- Put out the authorities. problem_of(namespace, name) gives their bytes; or nil, a Reason and words.
local function put(authorities_of)
  --- The bytes; or nil, and what the administrator is to be told.
  local function found()
    local who = wanted()
    if not who.name then return nil, "client-ca is wrong" end
    local bytes, problem = authorities_of(who.namespace, who.name)
    return bytes, problem and "client-ca: " .. problem
  end
  fragment("client-ca", function(out)
    if not wanted() then return end
    local bytes = found()
    -- Our own default certificate has signed nobody.
    out:certificate(FILE, { ca = bytes or capabilities.default_certificate, keep = not bytes or nil })
  end)
  configmap.each("client-ca", function(out)
    if not wanted() then return end
    local bytes, problem = found()
    if not bytes then
      out:warn("InvalidClientCa", problem .. "; the previous authorities stay in use; "
        .. "if there are none, no client is accepted over HTTPS")
    end
  end)
end

provide("ssl.everybody", { is_wanted = function() return wanted() ~= false end, words = words,
  write_rules = write_rules, put = put })
