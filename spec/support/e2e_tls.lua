--- Certificates for specs, and what TLS clients see.
-- Part of support.e2e: adds to the module and its scopes.

local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local TOOL = "spec/support/e2e_tls"

local function run(...)
  local output, code = posix.run({ TOOL, ... })
  if code ~= 0 then
    error("e2e_tls: " .. output, 3)
  end
  return output
end

--- Makes a certificate with its key: {cert, key, fingerprint (SHA-1 in hexadecimal digits)}.
---@param options table names (DNS names); key ("ec", "rsa", "weak", "authority"); days (-1: it has expired); from (days
--- from now); password; issuer (another one, which then signs it)
function Scope:certificate(options)
  local directory = self:path("certificate")
  posix.run({ "mkdir", directory })
  run("make", directory, options.key or "ec", tostring(options.from or 0), tostring(options.days or 30),
    options.issuer and options.issuer.directory or "-", options.password or "-", unpack(options.names))
  return {
    directory = directory, cert = posix.read_file(directory .. "/cert.pem"),
    key = posix.read_file(directory .. "/key.pem"),
    fingerprint = posix.read_file(directory .. "/fingerprint"),
  }
end

--- A list by which an authority revokes certificates: PEM.
function Scope:revocations(authority, certificates)
  local file, words = self:path("crl"), {}
  for i, c in ipairs(certificates) do words[i] = c.directory end
  run("crl", authority.directory, file, unpack(words))
  return posix.read_file(file)
end

--- The serial number in the OCSP answer that a client gets with the certificate of a name; "" when there is none.
function M.staple(port, name) return (posix.run({ TOOL, "staple", tostring(port), name }):gsub("%s+$", "")) end

--- A responder that says of these certificates that they are good.
function Scope:ocsp_responder(port, authority, certificates)
  local words = { TOOL, "ocsp", tostring(port), authority.directory }
  for _, c in ipairs(certificates) do words[#words + 1] = c.directory end
  local process = self:spawn({ name = "OCSP responder", argv = words })
  -- HAProxy that meets no responder asks again five minutes later.
  self:wait_for("the OCSP responder", 10, function()
    return process:log():find("waiting for OCSP", 1, true), process:log()
  end)
  return process
end

--- A client that takes its session up again and again; its log tells what changes: "200 resumed".
function Scope:resuming_client(port, name, certificate)
  return self:spawn({ name = "a client with a session", argv = { TOOL, "resume", tostring(port), name,
    certificate.directory } })
end

--- Certificates for 1.DOMAIN, 2.DOMAIN, …: a list like those of certificate().
function Scope:certificates(count, domain)
  local directory, list = self:path("certificates"), {}
  posix.run({ "mkdir", directory })
  run("many", directory, tostring(count), domain)
  local key = posix.read_file(directory .. "/key.pem")
  for i = 1, count do
    list[i] = { name = i .. "." .. domain, cert = posix.read_file(directory .. "/" .. i .. ".pem"), key = key,
      fingerprint = posix.read_file(directory .. "/" .. i .. ".fingerprint") }
  end
  return list
end

--- Waits until who asks for the name of each certificate of a list gets it.
function Scope:wait_peers(port, certificates, seconds)
  local file, wanted = self:path("names"), {}
  for i, c in ipairs(certificates) do wanted[i] = c.name .. " " .. c.fingerprint end
  local names = {}
  for i, c in ipairs(certificates) do names[i] = c.name end
  posix.write_file(file, table.concat(names, "\n") .. "\n")
  self:wait_for(#names .. " names to get their certificates", seconds or 30, function()
    local output = posix.run({ TOOL, "peers", tostring(port), file })
    local all = table.concat(wanted, "\n") .. "\n"
    return output == all, output:sub(1, 200)
  end)
end

--- A Secret of type kubernetes.io/tls; cert and key are texts or nil.
function M.tls_secret(name, cert, key, namespace)
  return {
    apiVersion = "v1", kind = "Secret", type = "kubernetes.io/tls",
    metadata = { name = name, namespace = namespace or "default" },
    stringData = { ["tls.crt"] = cert, ["tls.key"] = key },
  }
end

--- The fingerprint of the certificate that a client gets who asks for a name ("" for none), or nil and the reason.
function M.peer(port, name)
  local output, code = posix.run({ TOOL, "peer", tostring(port), name })
  if code ~= 0 then
    return nil, output
  end
  return (output:gsub("%s+$", ""))
end

--- A request over TLS with curl: {status, body, headers, version}; or nil and the reason.
---@param options table port; sni (the host); host; path; http ("1.1", "2"); args
function M.https(options)
  local sni = options.sni or options.host
  local argv = { "curl", "-sSk", "-i", "-m", "5", "--path-as-is", "--http" .. (options.http or "2"), "--resolve",
    sni .. ":" .. options.port .. ":127.0.0.1", "-w", "\n%{http_code} %{http_version}" }
  if options.host and options.host ~= sni then
    argv[#argv + 1] = "-H"
    argv[#argv + 1] = "Host: " .. options.host
  end
  for _, word in ipairs(options.args or {}) do
    argv[#argv + 1] = word
  end
  argv[#argv + 1] = "https://" .. sni .. ":" .. options.port .. (options.path or "/")
  local output, code = posix.run(argv)
  if code ~= 0 then
    return nil, output
  end
  local text, status, version = output:match("^(.*)\n(%d%d%d) (%S+)$")
  local head, body = text:match("^(.-)\r\n\r\n(.*)$")
  local headers = {}
  for name, value in (head or ""):gmatch("\n([^:\r\n]+): ([^\r\n]*)") do
    headers[name:lower()] = value
  end
  return { status = tonumber(status), version = version, headers = headers, body = body }
end

--- A server with TLS, HTTP/1.1 and HTTP/2, that tells of each connection: "sni=NAME alpn=PROTOCOL client=NAME".
---@param options table port; certificate; clients (the authority of certificates that it asks clients for)
function Scope:tls_server(options)
  local process = self:spawn({ name = "TLS server", argv = { TOOL, "serve", tostring(options.port),
    options.certificate.directory, options.clients and options.clients.directory or "-" } })
  self:wait_for("the TLS server", 10, function() return process:log():find("ready", 1, true) end)
  return process
end

--- Waits until who asks for the name gets that certificate.
function Scope:wait_peer(port, name, certificate, seconds)
  self:wait_for(("%q to get its certificate"):format(name), seconds or 15, function()
    local seen, reason = M.peer(port, name)
    return seen == certificate.fingerprint, tostring(seen or reason)
  end)
end

--- Handshakes without a pause until finish(): which certificates were seen, and what failed.
function Scope:handshakes(port, names)
  local file = self:path("names")
  posix.write_file(file, table.concat(names, "\n") .. "\n")
  local process = self:spawn({ name = "handshakes", argv = { TOOL, "load", tostring(port), file } })
  self:wait_for("the first handshakes", 10, function()
    return process:log():find("ready", 1, true)
  end)
  --- {count, failed, first failure}
  function process.finish()
    process:signal("TERM")
    assert(process:wait(10) == "exit 0", process:log())
    local count, failed, first = process:log():match("handshakes (%d+) failed (%d+) ?([^\n]*)")
    return tonumber(count), tonumber(failed), first
  end
  return process
end
