--- acme.lua — certificates that HAProxy itself obtains by ACME (RFC 8555), for hosts without a Secret.
--
-- This uses HAProxy's own client, which is experimental. This file has only what the client needs: the section "acme",
-- a line of a "crt-store" for each host, and the answer to the authority's challenge over HTTP. Each host has its own
-- certificate, acme/HOST.pem, so a host that comes or goes changes no other certificate. The agent saves the
-- certificates that HAProxy has obtained. Settings: docs/libraries.md, "The acme library".

local ssl = use("ssl")

local NAME, KEY = "^[a-z0-9-]+/[a-z0-9.-]+$", "namespace/name of a Secret"

settings({
  acme_directory = { type = "text", pattern = "^https://[%w.:%[%]-]+[%w%%/._~:@!$&'()*+,;=?-]*$",
    expects = "an address that begins with https://", doc = "directory of the authority; with it, the library is on" },
  acme_hosts = { type = "enum", values = { "annotated", "absent" }, default = "annotated",
    doc = "hosts in spec.tls of annotated Ingresses, or of all, whose Secret is not there" },
  acme_domains = { type = "list", pattern = "^[%l%d_-][%l%d._-]*$", expects = "names such as example.com", default = {},
    doc = "only these names and those below them" },
  acme_contact = { type = "text", pattern = "^[%w.!#$&'*+/=?^_`{|}~-]+@[%w.-]+$", expects = "an e-mail address",
    doc = "to which the authority writes" },
  acme_key_type = { type = "enum", values = { "P-256", "P-384", "RSA-2048", "RSA-4096" }, default = "P-256",
    doc = "keys of the certificates" },
  acme_profile = { type = "text", pattern = "^[%w._-]+$", expects = "a profile's name",
    doc = "profile of certificates that is requested from the authority" },
  acme_ca = { type = "text", pattern = NAME, expects = KEY, doc = "authorities (ca.crt) that verify the directory" },
  acme_account = { type = "text", pattern = NAME, expects = KEY, doc = "the account's key (tls.key)" },
})

local SECTION, ACCOUNT, TOKENS = "haptic", "acme/account.key", "virt@acme"
--- The ring for HAProxy's messages about its orders; the agent reads it (core/agent/acme.c).
local RING = "acme-log"
local CHALLENGE = "/.well-known/acme-challenge/"
--- Hosts of one Ingress.
local MAX_HOSTS = 100
local KEYS = {
  ["P-256"] = { { "keytype", "ECDSA" }, { "curves", "P-256" } },
  ["P-384"] = { { "keytype", "ECDSA" }, { "curves", "P-384" } },
  ["RSA-2048"] = { { "keytype", "RSA" }, { "bits", 2048 } },
  ["RSA-4096"] = { { "keytype", "RSA" }, { "bits", 4096 } },
}

--- The reason why there are no such certificates; nil when there are some, or when none are requested.
local function refusal()
  if context.acme_directory == nil then return nil end
  if not ssl.on then return "there is no HTTPS" end
  if not capabilities.acme then return "HAProxy has it from 3.4 on, if it was built with it (+ACME in haproxy -vv)" end
  -- The authority's challenge reaches one of the HAProxys, and only the one that sent the order can answer it.
  if (tonumber(context.haproxy_pods) or 1) > 1 then return "it works with one HAProxy, and haproxy_pods is more" end
  return nil
end
local REFUSAL = refusal()
local ON = context.acme_directory ~= nil and not REFUSAL

if ssl.on then
  annotations({
    acme = {
      type = "switch", on = { "Ingress" }, families = { ["haproxy-haptic.org"] = "acme" },
      doc = "HAProxy obtains certificates for the hosts in spec.tls whose Secret is not there, or does not.",
      lines = "load crt acme/HOST.pem acme haptic domains HOST (crt-store)", reload = "each host that comes or goes",
      tested = "acme_library_spec: keeps what HAProxy renews",
    },
  })
end

if REFUSAL then
  fragment("acme-refused", function(out) out:warn("AcmeNotSupported", "acme_directory has no effect: " .. REFUSAL) end)
end

-- what HAProxy needs ----------------------------------------------------------------------------------------

--- The file with the account's key. Without a Secret, HAProxy makes one at its first start.
local function account(out)
  if context.acme_account == nil then return ACCOUNT end
  local namespace, name = context.acme_account:match("^([^/]+)/(.+)$")
  local key = dig(resources.secrets:get(namespace, name), "data", "tls.key")
  local file = "acme-account.pem"
  if key then
    out:certificate(file, { key = key })
  else
    out:warn("InvalidAcmeAccount", "acme_account: there is no Secret " .. context.acme_account
      .. " with tls.key; the key that was in use stays, or HAProxy makes one")
    out:certificate(file, { keep = true })
  end
  return path:cert(file)
end

if ON then
  fragment("acme", function(out)
    out:section("global", { order = 160 }, function(b)
      b:line("expose-experimental-directives")
      b:line("log", "ring@" .. RING, "format", "raw", "local0", "notice", "notice")
      if context.acme_ca then
        local namespace, name = context.acme_ca:match("^([^/]+)/(.+)$")
        b:line("httpclient.ssl.ca-file", path:cert(ssl.server_authorities(out, out, namespace, name)))
      end
    end)
    out:section("ring " .. RING, function(b)
      b:line("format", "raw")
      b:line("maxlen", 1024)
      b:line("size", 262144)
    end)
    local file = account(out)
    out:section("acme " .. SECTION, function(b)
      b:line("directory", context.acme_directory)
      b:line("account-key", file)
      if context.acme_contact then b:line("contact", context.acme_contact) end
      b:line("challenge", "http-01")
      for _, words in ipairs(KEYS[context.acme_key_type]) do b:line(unpack(words)) end
      if context.acme_profile then b:line("profile", context.acme_profile) end
      b:line("map", TOKENS)
    end)
  end)

  -- Before all rules that refuse or redirect: methods, lists of addresses, users, HTTPS. Only tokens that the authority
  -- has given to this HAProxy are answered; other requests continue as usual.
  section("frontend http", { name = "acme-challenge", order = 190 }, function(b)
    b:line("http-request", "return", "status", 200, "content-type", "text/plain", "lf-string",
      "%[path,field(-1,/)].%[path,field(-1,/),map(" .. TOKENS .. ")]", "if", "{", "path_beg", CHALLENGE, "}", "{",
      "path,field(-1,/),map(" .. TOKENS .. ")", "-m", "found", "}")
  end)

  -- The authority's challenge may reach any of them.
  if watched("haproxy_pods") then
    fragment("acme-members", function(out)
      local names = {}
      for _, pod in ipairs(resources.haproxy_pods:list()) do
        if dig(pod, "metadata", "deletionTimestamp") == nil then names[#names + 1] = pod.metadata.name end
      end
      if #names > 1 then
        out:warn("AcmeSeveralMembers", ("acme_directory works with one HAProxy, and there are %d pods of it: each "
          .. "orders certificates of its own, and orders fail where the question of the authority reaches another one")
          :format(#names))
      end
    end)
  end
end

-- hosts -----------------------------------------------------------------------------------------------------

--- True when another controller was asked for the certificates of an Ingress.
local function is_managed(ing)
  for key in pairs(dig(ing, "metadata", "annotations") or {}) do
    if type(key) == "string" and (key:starts_with("cert-manager.io/") or key:starts_with("acme.cert-manager.io/")
      or key == "kubernetes.io/tls-acme") then
      return true
    end
  end
  return false
end

--- True when the hosts of an Ingress without certificates are to get some.
local function wants(out, ing)
  local written = dig(ing, "metadata", "annotations")
  local wanted
  if written and ssl.on then
    wanted = annotated({ "acme" }, { { kind = "Ingress", values = written } }, function(_, key, message)
      out:warn("InvalidAnnotation", key .. " " .. message .. "; it has no effect")
    end).acme
  end
  if wanted and not ON then
    out:warn("AcmeNotSupported", "haproxy-haptic.org/acme has no effect: "
      .. (REFUSAL or "the setting acme_directory names no authority"))
  end
  if wanted == nil then wanted = context.acme_hosts == "absent" and not is_managed(ing) end
  return ON and wanted
end

local function is_allowed(host)
  for _, domain in ipairs(context.acme_domains) do
    if host == domain or host:ends_with("." .. domain) then return true end
  end
  return #context.acme_domains == 0
end

--- Writes what is needed to obtain a certificate for each of these hosts. Returns the file of each host that can have
--- one.
local function obtain(out, hosts)
  local files, count = {}, 0
  for _, host in ipairs(hosts) do
    if host:starts_with("*.") then
      out:warn("AcmeNotPossible", host .. ": a wildcard cannot be proved by an answer over HTTP")
    elseif not is_allowed(host) then
      out:warn("AcmeNotPossible", host .. ": it is not below one of acme_domains")
    elseif count == MAX_HOSTS then
      out:warn("AcmeNotPossible", ("more than %d hosts of one Ingress; the rest have none"):format(MAX_HOSTS))
      break
    else
      -- No host begins with "_".
      local file = (#host <= 200 and host or "_" .. hash(host)) .. ".pem"
      out:section("crt-store", { key = host }, function(b)
        b:line("load", "crt", "acme/" .. file, "acme", SECTION, "domains", host)
      end)
      files[host], count = file, count + 1
    end
  end
  return files
end

provide("acme", { wants = wants, obtain = obtain })
