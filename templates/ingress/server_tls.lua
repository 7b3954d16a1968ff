--- server_tls.lua — TLS between HAProxy and the servers of a backend, by annotations of the Ingress or the Service.
--
-- What asks for more safety than can be given closes the backend: a Secret that was never good has authorities that
-- have signed nobody, and what cannot be read at all leaves no server.

local loaded, ssl = pcall(use, "ssl")
local names, levels = use("ingress.names"), use("ingress.backend_keys")

local SECRETS = loaded and ssl.has_secrets
local PROTOCOLS = { h1 = "http/1.1", h2 = "h2" }
--- HAProxy from 3.3 on asks servers for the name in "Host", and verifies that. A fetch that finds nothing means no name
--- in all versions.
local NO_NAME = "var(txn.no_name)"

--- The name of a Secret in this namespace; nil when it is none.
local function secret_name(value, namespace)
  local name = value
  if value:find("/", 1, true) then
    local other
    other, name = value:match("^([^/]*)/(.*)$")
    if other ~= namespace then return nil end
  end
  return #name <= 253 and name:find("^[a-z0-9][a-z0-9.-]*$") and name or nil
end

--- Read the Secret that a key names: {name=, out=}, or nil. is_closed: nothing can be made of what is there.
local function read_secret(list, key, namespace)
  local value, whole_key, level = levels.annotated(list, key)
  if value == nil then return nil, false end
  local name = secret_name(value, namespace)
  if name and SECRETS then return { name = name, out = level.out }, false end
  level.out:warn("InvalidServerSecret", whole_key .. ": " .. (name and "Secrets are not watched"
    or "expected the name of a Secret in the namespace of the Service") .. "; requests get 503")
  return nil, true
end

--- What the levels say about TLS to servers: nil without TLS and protocol; `closed` where no server can be trusted.
local function read(list, namespace)
  local wanted, key, level = levels.annotated(list, "server-ssl")
  local on = wanted ~= nil and levels.read_bool(wanted)
  if on == nil then
    level.out:warn("InvalidAnnotation", key .. ": expected true or false; TLS is used")
    on = true
  end
  local read_proto, proto_key, proto_level = levels.annotated(list, "server-proto")
  local proto = read_proto and read_proto:lower()
  if proto and not PROTOCOLS[proto] then
    proto_level.out:warn("InvalidAnnotation", proto_key .. ": expected h1 or h2")
    proto = nil
  end
  local result = { proto = proto }
  -- An owner who says "false" means it; who names authorities or a certificate wants TLS.
  if wanted ~= nil and not on then return proto and result or nil end
  local ca_closed, crt_closed
  result.ca, ca_closed = read_secret(list, "server-ca", namespace)
  result.crt, crt_closed = read_secret(list, "server-crt", namespace)
  result.tls = on or result.ca ~= nil or result.crt ~= nil
  result.closed = ca_closed or crt_closed
  if result.closed then return result end
  local sni, sni_key, sni_level = levels.annotated(list, "server-sni")
  if sni ~= nil and result.tls then
    if names.is_domain(sni) then
      result.sni = sni
    else
      sni_level.out:warn("InvalidAnnotation", sni_key .. ": expected a DNS name in lower case"
        .. (result.ca and "; requests get 503" or ""))
      result.closed = result.ca ~= nil
    end
  end
  return (result.tls or proto) and result or nil
end

--- The words that each server line has for TLS, and whether there may be servers at all.
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
  add("ssl", "alpn", PROTOCOLS[wanted.proto] or "h2,http/1.1")
  if wanted.ca then
    local file = ssl.server_authorities(out, wanted.ca.out, namespace, wanted.ca.name)
    add("verify", "required", "ca-file", path:cert(file))
    if wanted.sni then add("verifyhost", wanted.sni) end
  else
    add("verify", "none")
  end
  if wanted.crt then
    local file = ssl.certificate(out, namespace, wanted.crt.name, nil, capabilities.default_certificate, wanted.crt.out)
    add("crt", path:cert(file))
  end
  add("sni", wanted.sni and "str(" .. wanted.sni .. ")" or NO_NAME)
  if wanted.sni then add("check-sni", wanted.sni) end
  return result, true
end

--- Tell the owner of an Ingress what is wrong with its own annotations.
local function judge(out, ing)
  local wanted = read({ { object = ing, out = out } }, ing.metadata.namespace)
  if not wanted or wanted.closed then return end
  local reason, message
  if wanted.ca then
    reason, message = select(2, ssl.server_problem(ing.metadata.namespace, wanted.ca.name))
    if reason then out:warn(reason, message) end
  end
  if wanted.crt then
    reason, message = ssl.problem(ing.metadata.namespace, wanted.crt.name)
    if reason then out:warn(reason, message) end
  end
end

provide("ingress.server_tls", { words = words, judge = judge })
