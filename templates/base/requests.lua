--- requests.lua — which parts of a client's request are forwarded: methods, protocols, header fields; and the keys of
--- look-ups.

local WORD = "^[^%c%s]+$"

settings({
  refused_methods = { type = "list", pattern = WORD, expects = "methods", default = { "CONNECT", "TRACE" },
    doc = "methods that get 405" },
  allow_header = { type = "text", default = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    doc = "header Allow of that answer" },
  upgrade_protocols = { type = "list", pattern = WORD, expects = "protocols", default = { "websocket" },
    doc = "values of Upgrade that go on" },
  untrusted_headers = { type = "list", pattern = "^[%w_-]+$", expects = "names of headers", default = {},
    doc = "further headers that only trusted proxies may send" },
})

-- tunnels ---------------------------------------------------------------------------------------------------

-- HAProxy does not parse the contents of a tunnel, so paths, rules and header cleaning have no effect there. So no
-- CONNECT (RFC 9110, 9.3.6) and no change of the protocol (7.8) is allowed, except to the named protocols. On HTTP/2,
-- an extended CONNECT arrives here as GET with "Upgrade", which no other request has there (RFC 9113, 8.2.2).
section("frontend http", { name = "http-methods", order = 200 }, function(b)
  local refused = context.refused_methods
  if #refused > 0 then
    b:acl("refused_method", "method", unpack(refused))
    b:line("http-request", "return", "status", 405, "hdr", "Allow",
      context.allow_header, "if", "refused_method")
  end
  local protocols = context.upgrade_protocols
  local unless = {}
  if #protocols > 0 then
    b:acl("one_upgrade", "req.hdr_cnt(upgrade)", 1)
    b:acl("known_upgrade", { "req.hdr(upgrade)", "-i" }, unpack(protocols))
    unless = { "unless", "one_upgrade", "known_upgrade" }
    b:line("http-request", "deny", "deny_status", 501, "if", "{", "req.ver", "2.0", "}", "{", "req.hdr(upgrade)", "-m",
      "found", "}", "!known_upgrade")
    b:line("http-request", "set-header", "Connection", "Upgrade", "if", "one_upgrade", "known_upgrade")
  end
  -- The next hop deletes the header fields that "Connection" names, so it must not name fields that are set here.
  for _, name in ipairs({ "Connection", "Upgrade" }) do
    b:line("http-request", "del-header", name, unpack(unless))
  end
  for _, name in ipairs({ "HTTP2-Settings", "Keep-Alive", "Proxy-Connection" }) do
    b:line("http-request", "del-header", name)
  end
end)

-- forwarding headers ----------------------------------------------------------------------------------------

--- Fields that tell applications and proxies the client, its scheme, host and path; in addition to X-Forwarded-*.
local FORWARDING = { "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Cluster-Client-IP",
  "CF-Connecting-IP", "Fastly-Client-IP", "X-Original-Forwarded-For", "X-Original-Host", "X-Original-URI",
  "X-Original-URL", "X-Rewrite-URL", "X-Scheme", "X-Url-Scheme", "Front-End-Https" }

--- The limit of X-Forwarded-For lines of a trusted proxy that are joined; a request with more is refused.
local MAX_LINES = 5

--- One line with the addresses that trusted proxies named, followed by the client's own.
local function forwarded_for(b, has_trusted)
  local known = { "{", "src", "-m", "found", "}" }
  if not has_trusted then
    b:line("http-request", "set-header", "X-Forwarded-For", "%[src]", "if", unpack(known))
    return
  end
  b:line("http-request", "deny", "deny_status", 400, "if", "{", "req.fhdr_cnt(x-forwarded-for)", "gt", MAX_LINES, "}")
  b:line("http-request", "set-var(txn.xff_lines)", "req.fhdr_cnt(x-forwarded-for)")
  local value = "%[src]"
  for n = 0, MAX_LINES do
    if n > 0 then
      local parts = {}
      for i = 1, n do parts[i] = "%[req.fhdr(x-forwarded-for," .. i .. ")]" end
      parts[n + 1] = "%[src]"
      value = table.concat(parts, ", ")
    end
    b:line("http-request", "set-header", "X-Forwarded-For", value, "if", "{", "var(txn.xff_lines)", "-m", "int", n,
      "}", unpack(known))
  end
end

section("frontend http", { name = "http-headers", order = 300 }, function(b)
  -- Some applications read header names with "_" and similar characters as the names that are set here.
  b:line("option", "http-restrict-req-hdr-names", context.restrict_header_names)
  local trusted = context.trusted_proxies
  local from_anybody = {}
  if #trusted > 0 then
    b:acl("from_trusted_proxy", "src", unpack(trusted))
    from_anybody = { "unless", "from_trusted_proxy" }
  end
  -- CGI turns this field into the proxy for outgoing requests; it has no other meaning.
  b:line("http-request", "del-header", "Proxy")
  b:line("http-request", "del-header", "X-Forwarded", "-m", "beg", unpack(from_anybody))
  for _, name in ipairs(FORWARDING) do b:line("http-request", "del-header", name, unpack(from_anybody)) end
  for _, name in ipairs(context.untrusted_headers) do
    b:line("http-request", "del-header", name, unpack(from_anybody))
  end
  forwarded_for(b, #trusted > 0)
  local function unless_found(name) return "unless", "{", "req.hdr(" .. name .. ")", "-m", "found", "}" end
  b:line("http-request", "set-header", "X-Forwarded-Host", "%[req.hdr(host)]", unless_found("x-forwarded-host"))
  b:line("http-request", "set-header", "X-Forwarded-Proto", "https", "if", "{", "ssl_fc", "}", "!{",
    "req.hdr(x-forwarded-proto)", "-m", "found", "}")
  b:line("http-request", "set-header", "X-Forwarded-Proto", "http", unless_found("x-forwarded-proto"))
  -- The port that the client used, which may differ from the one that HAProxy listens at.
  b:line("http-request", "set-var(txn.port)", "req.hdr(host),port_only")
  b:line("http-request", "set-header", "X-Forwarded-Port", "%[var(txn.port)]", "if", "{", "var(txn.port)", "-m", "int",
    "1:65535", "}", "!{", "req.hdr(x-forwarded-port)", "-m", "found", "}")
  b:line("http-request", "set-header", "X-Forwarded-Port", 443, "if", "{", "req.hdr(x-forwarded-proto)", "-i", "https",
    "}", "!{", "req.hdr(x-forwarded-port)", "-m", "found", "}")
  b:line("http-request", "set-header", "X-Forwarded-Port", 80, unless_found("x-forwarded-port"))
end)

-- what is looked up by --------------------------------------------------------------------------------------

section("frontend http", { name = "http-variables", order = 400 }, function(b)
  -- HAProxy 3.0 and later refuse such hosts themselves. With a "/" in it, a host would bring a path of its own to the
  -- look-up; at a comma, req.hdr() would take what is behind it; of "NAME:80@OTHER", host_only takes NAME, and a server
  -- may take OTHER.
  if (capabilities.major or 2) < 3 then
    b:line("http-request", "deny", "deny_status", 400, "if", "{", "req.fhdr(host)", "-m", "sub", "/", ",", "@", "}")
  end
  b:line("http-request", "set-var(txn.host)", "req.hdr(host),host_only,lower")
  -- A name with a final dot is the same name (RFC 3986, 3.2.2).
  b:line("http-request", "set-var(txn.host)", 'var(txn.host),regsub("[.]$","")', "if", "{", "var(txn.host)", "-m",
    "end", ".", "}")
  b:line("http-request", "set-var(txn.path)", "path")
  -- "OPTIONS *", and a URI without a path, address the host as a whole.
  b:line("http-request", "set-var(txn.path)", "str(/)", "unless", "{", "var(txn.path)", "-m", "beg", "/", "}")
  -- The case of hexadecimal digits has no meaning (RFC 3986, 6.2.2.1); the maps have capitals. One look at the path
  -- shows whether it has any. The request itself is forwarded unchanged.
  for letter in ("abcdef"):gmatch(".") do
    local upper = letter:upper()
    b:line("http-request", "set-var(txn.path)",
      ('var(txn.path),regsub("%%%s","%%%s",g),regsub("%%(.)%s","%%\\\\1%s",g)'):format(letter, upper, letter, upper),
      "if", "{", "var(txn.path)", "-m", "sub", "%", "}", "{", "var(txn.path)", "-m", "reg", "%.?" .. letter, "}")
  end
  -- A wildcard stands for one label that is not empty.
  b:line("http-request", "set-var(txn.domain)", "var(txn.host),field(2,.,0)", "unless", "{", "var(txn.host)", "-m",
    "beg", ".", "}")
end)
