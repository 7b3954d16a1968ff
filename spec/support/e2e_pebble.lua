--- Pebble, a certificate authority that speaks ACME (RFC 8555), and the name server that it asks.
-- Part of support.e2e: adds to the scopes.

local http = require("support.http")
local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local Pebble = {}
Pebble.__index = Pebble

--- Starts an authority: {directory (its address), ca (by which that is verified), nameserver}. All names have the
--- address 127.0.0.1, and it looks at http_port there.
---@param options table http_port; reuse (percent of authorizations that it takes from an earlier order: 0); bad_nonces
--- (percent of requests that it refuses: 5); days (of certificates: 90)
function Scope:pebble(options)
  local folder = posix.read_file(M.ROOT .. "/pebble"):gsub("%s+$", "")
  local port, management, dns, names = M.port(), M.port(), M.port(), M.port()
  local certificate = self:certificate({ names = { "authority.example" }, key = "authority" })
  local config = self:path("pebble.json")
  posix.write_file(config, http.encode({ pebble = {
    listenAddress = "127.0.0.1:" .. port, managementListenAddress = "127.0.0.1:" .. management,
    certificate = certificate.directory .. "/cert.pem", privateKey = certificate.directory .. "/key.pem",
    httpPort = options.http_port, tlsPort = M.port(), keyAlgorithm = "ecdsa", retryAfter = { authz = 1, order = 1 },
    profiles = { default = { description = "of tests", validityPeriod = (options.days or 90) * 86400 } },
  } }))
  self:spawn({ name = "names", argv = { folder .. "/pebble-challtestsrv", "-http01", "", "-https01", "", "-doh", "",
    "-tlsalpn01", "", "-dnsserver", "127.0.0.1:" .. dns, "-management", "127.0.0.1:" .. names, "-defaultIPv4",
    "127.0.0.1", "-defaultIPv6", "" } })
  local process = self:spawn({ name = "pebble", argv = { folder .. "/pebble", "-config", config, "-dnsserver",
    "127.0.0.1:" .. dns }, env = { PEBBLE_VA_NOSLEEP = "1", PEBBLE_AUTHZREUSE = tostring(options.reuse or 0),
    PEBBLE_WFE_NONCEREJECT = tostring(options.bad_nonces or 5) } })
  local pebble = setmetatable({ process = process, ca = certificate.cert, management = management, names = names,
    nameserver = "127.0.0.1:" .. dns, directory = ("https://authority.example:%d/dir"):format(port) }, Pebble)
  self:wait_for("pebble", 10, function() return pebble:root() ~= nil, process:log() end)
  return pebble
end

--- The authority that its certificates are verified by: PEM; nil while it does not answer.
function Pebble:root()
  local text, code = posix.run({ "curl", "-sSk", "-m", "5", ("https://127.0.0.1:%d/roots/0"):format(self.management) })
  return code == 0 and text:find("BEGIN CERTIFICATE", 1, true) and text or nil
end

--- Has the name an address, for the authority and for everybody who asks this name server? From now on.
function Pebble:resolves(host, does)
  local _, code = posix.run({ "curl", "-sSf", "-m", "5", "-d", http.encode({ host = host }),
    ("http://127.0.0.1:%d/%s-servfail"):format(self.names, does and "clear" or "set") })
  assert(code == 0)
end

--- What it wrote: one line for each request and each step.
function Pebble:log() return self.process:log() end

--- How many certificates it has issued.
function Pebble:issued() return select(2, self:log():gsub("Issued certificate serial", "")) end
