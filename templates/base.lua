--- base.lua — what every configuration has: global, defaults, the HTTP frontend, the status frontend, routing by maps.
--
-- Settings (extraContext) and extension points with their order numbers: docs/templates.md. A route is an entry of a
-- map and a backend; nothing here changes when routes do.

local function setting(name, default)
  local v = context[name]
  if v == nil then return default end
  return v
end

--- A setting that is one value or a list of them.
local function list(v)
  if v == nil or v == false then return {} end
  if type(v) == "table" then return v end
  return { v }
end

--- Snippets named POINT-NUMBER-anything become pieces of a section, at that order.
local function point(name, header)
  for _, s in ipairs(snippets(name)) do
    section(header, { name = s.name, order = s.order }, function(b) b:include(s.name) end)
  end
end

-- global ----------------------------------------------------------------------------------------------------

section("global", { name = "global", order = 100 }, function(b)
  -- Relative paths of maps and files begin where the configuration lies.
  b:line("default-path", "config")
  b:line("log", setting("log_target", "stdout"), "format", "raw", "local0", setting("log_level", "info"))
  b:line("stats", "socket", from_env("HAPTIC_DIR", "/runtime.sock"), "mode", 600, "level", "admin", "expose-fd",
    "listeners")
  -- Where the system's limit is enormous, tables sized by it would be too; where it is lower, HAProxy takes that.
  b:line("fd-hard-limit", setting("fd_hard_limit", 100000))
  if setting("maxconn") then b:line("maxconn", context.maxconn) end
  if setting("threads") then b:line("nbthread", context.threads) end
  -- Old workers end: after this long, or when so many reloads have passed over them.
  b:line("hard-stop-after", setting("hard_stop_after", "30m"))
  b:line("mworker-max-reloads", setting("max_reloads", 20))
  b:line("spread-checks", 5)
end)
point("global", "global")

-- defaults --------------------------------------------------------------------------------------------------

section("defaults base", { name = "defaults", order = 100, from = false }, function(b)
  b:line("mode", "http")
  b:line("log", "global")
  if setting("access_log", true) then b:line("option", "httplog") end
  b:line("option", "dontlognull")
  b:line("balance", setting("balance", "roundrobin"))
  b:line("option", "redispatch")
  b:line("retries", setting("retries", 3))
  b:line("retry-on", "conn-failure")
  b:line("timeout", "connect", setting("timeout_connect", "5s"))
  b:line("timeout", "client", setting("timeout_client", "60s"))
  b:line("timeout", "server", setting("timeout_server", "60s"))
  b:line("timeout", "http-request", setting("timeout_http_request", "10s"))
  b:line("timeout", "http-keep-alive", setting("timeout_http_keep_alive", "60s"))
  b:line("timeout", "queue", setting("timeout_queue", "30s"))
  b:line("timeout", "tunnel", setting("timeout_tunnel", "1h"))
  b:line("timeout", "client-fin", setting("timeout_client_fin", "10s"))
  b:line("timeout", "server-fin", setting("timeout_server_fin", "10s"))
end)
point("defaults", "defaults base")

-- frontend http ---------------------------------------------------------------------------------------------

section("frontend http", { name = "http-bind", order = 100 }, function(b)
  local binds = list(context.http_bind)
  if #binds == 0 then binds = { ":" .. setting("http_port", 8080) } end
  for _, address in ipairs(binds) do b:line("bind", address) end
end)

section("frontend http", { name = "http-headers", order = 300 }, function(b)
  -- Header names with "_" and the like reach some applications as the names that are set here.
  b:line("option", "http-restrict-req-hdr-names", setting("restrict_header_names", "delete"))
  local trusted = list(context.trusted_proxies)
  local from_anybody = {}
  if #trusted > 0 then
    b:acl("from_trusted_proxy", "src", unpack(trusted))
    from_anybody = { "unless", "from_trusted_proxy" }
  end
  for _, name in ipairs({ "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
    "x-forwarded-prefix", "x-real-ip", "forwarded" }) do
    b:line("http-request", "del-header", name, unpack(from_anybody))
  end
  b:line("option", "forwardfor")
  b:line("http-request", "set-header", "X-Forwarded-Host", "%[req.hdr(host)]", "unless", "{",
    "req.hdr(x-forwarded-host)", "-m", "found", "}")
  b:line("http-request", "set-header", "X-Forwarded-Port", "%[dst_port]", "unless", "{", "req.hdr(x-forwarded-port)",
    "-m", "found", "}")
  b:line("http-request", "set-header", "X-Forwarded-Proto", "http", "unless", "{", "req.hdr(x-forwarded-proto)", "-m",
    "found", "}")
end)

section("frontend http", { name = "http-variables", order = 400 }, function(b)
  -- HAProxy 3.0 and later refuse such hosts themselves. With a "/" in it, a host would bring a path of its own to the
  -- look-up; at a comma, req.hdr() would take what is behind it.
  if (capabilities.major or 2) < 3 then
    b:line("http-request", "deny", "deny_status", 400, "if", "{", "req.fhdr(host)", "-m", "sub", "/", ",", "}")
  end
  b:line("http-request", "set-var(txn.host)", "req.hdr(host),host_only,lower")
  b:line("http-request", "set-var(txn.path)", "path")
  b:line("http-request", "set-var(txn.domain)", "var(txn.host),field(2,.,0)")
end)

-- Exact entries before prefixes, the host itself before its wildcard before no host: the first that is found. A
-- prefix ends in "/" in the map, as does the text it is compared with: so it ends with a whole element of the path,
-- and the longest one wins.
section("frontend http", { name = "http-routing", order = 500 }, function(b)
  local function look_up(expression)
    b:line("http-request", "set-var(txn.backend)", expression, "unless", "{", "var(txn.backend)", "-m", "found", "}")
  end
  local exact, prefix, default = path:map("path-exact.map"), path:map("path-prefix.map"),
    path:map("default-backend.map")
  look_up("var(txn.host),concat(,txn.path),map_str(" .. exact .. ")")
  look_up("var(txn.host),concat(,txn.path,/),map_beg(" .. prefix .. ")")
  look_up("str(*.),concat(,txn.domain),concat(,txn.path),map_str(" .. exact .. ")")
  look_up("str(*.),concat(,txn.domain),concat(,txn.path,/),map_beg(" .. prefix .. ")")
  look_up("var(txn.path),map_str(" .. exact .. ")")
  look_up("var(txn.path),concat(/),map_beg(" .. prefix .. ")")
  look_up("var(txn.host),map_str(" .. default .. ")")
  look_up("str(*.),concat(,txn.domain),map_str(" .. default .. ")")
  look_up("str(*),map_str(" .. default .. ")")
  look_up("str(**),map_str(" .. default .. ")")
end)

section("frontend http", { name = "http-backend", order = 900 }, function(b)
  b:line("use_backend", "%[var(txn.backend)]", "if", "{", "var(txn.backend)", "-m", "found", "}")
  b:line("default_backend", "haptic_notfound")
end)
point("frontend-http", "frontend http")

fragment("maps", function(out)
  out:map("path-exact.map")
  out:map("path-prefix.map")
  out:map("default-backend.map")
end)

-- backends that are always there ----------------------------------------------------------------------------

-- Their names have one "_": those of services have two.
fragment("backends", function(out)
  out:backend("haptic_notfound", { profile = false }, function(b)
    b:line("http-request", "return", "status", 404, "content-type", "text/plain", "string",
      setting("not_found_text", "no such route"))
  end)
  -- Without servers: HAProxy answers 503. Where a rule names something that cannot be a backend.
  out:backend("haptic_unavailable", { profile = false }, function() end)
end)

-- frontend status -------------------------------------------------------------------------------------------

section("frontend status", { name = "status", order = 100 }, function(b)
  local binds = list(context.status_bind)
  if #binds == 0 then binds = { ":" .. setting("status_port", 8404) } end
  for _, address in ipairs(binds) do b:line("bind", address) end
  -- Not ready any more while it stops, so that no new connections come.
  b:line("monitor-uri", "/healthz")
  b:line("monitor", "fail", "if", "{", "stopping", "}")
  b:line("http-request", "set-log-level", "silent")
  if setting("prometheus", capabilities.prometheus ~= false) then
    b:line("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}")
  end
  b:line("stats", "enable")
  b:line("stats", "uri", "/stats")
  b:line("stats", "hide-version")
  b:line("stats", "refresh", "10s")
end)
point("frontend-status", "frontend status")
