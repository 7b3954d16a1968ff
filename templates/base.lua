--- base.lua — what every configuration has: global, defaults, the HTTP frontend, the status frontend, routing by maps.
--
-- Settings (extraContext) and extension points with their order numbers: docs/templates.md. A route is an entry of a
-- map and a backend; nothing here changes when routes do.

local WORD, BINDS = "^[^%c%s]+$", "addresses to bind, such as :80"

settings({
  http_port = { type = "integer", min = 1, max = 65535, default = 8080, doc = "port of the HTTP frontend" },
  http_bind = { type = "list", pattern = WORD, expects = BINDS, doc = "addresses instead of a port" },
  status_port = { type = "integer", min = 1, max = 65535, default = 8404, doc = "port of the status frontend" },
  status_bind = { type = "list", pattern = WORD, expects = BINDS, doc = "addresses instead of a port" },
  prometheus = { type = "bool", default = capabilities.prometheus ~= false, doc = "/metrics of HAProxy" },
  maxconn = { type = "integer", min = 1, max = 100000000, doc = "connections at the same time" },
  fd_hard_limit = { type = "integer", min = 100, max = 1073741824, default = 100000, doc = "bound of descriptors" },
  threads = { type = "integer", min = 1, max = 4096, doc = "threads of HAProxy" },
  hard_stop_after = { type = "duration", min = "1s", default = "30m", doc = "end of an old worker" },
  max_reloads = { type = "integer", min = 1, max = 10000, default = 50, doc = "reloads that an old worker outlives" },
  log_target = { type = "text", pattern = WORD, expects = "stdout, stderr, a socket or an address", default = "stdout",
    doc = "where HAProxy logs to" },
  log_level = { type = "enum", default = "info", doc = "least level that HAProxy logs",
    values = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" } },
  access_log = { type = "bool", default = true, doc = "a line for each request" },
  balance = { type = "text", default = "roundrobin", doc = "how a backend chooses a server",
    pattern = "^%l[%l%d_-]*%(?[%w,_-]*%)?$", expects = "an algorithm in one word, such as leastconn" },
  retries = { type = "integer", min = 0, max = 100, default = 3, doc = "tries to connect" },
  timeout_connect = { type = "duration", min = "1ms", default = "5s", doc = "to connect to a server" },
  timeout_client = { type = "duration", min = "1ms", default = "60s", doc = "silence of a client" },
  timeout_server = { type = "duration", min = "1ms", default = "60s", doc = "silence of a server" },
  timeout_http_request = { type = "duration", min = "1ms", default = "10s", doc = "until a request is whole" },
  timeout_http_keep_alive = { type = "duration", min = "1ms", default = "60s", doc = "between two requests" },
  timeout_queue = { type = "duration", min = "1ms", default = "30s", doc = "wait for a free server" },
  timeout_tunnel = { type = "duration", min = "1ms", default = "1h", doc = "silence of an upgraded connection" },
  timeout_client_fin = { type = "duration", min = "1ms", default = "10s", doc = "a half-closed client" },
  timeout_server_fin = { type = "duration", min = "1ms", default = "10s", doc = "a half-closed server" },
  trusted_proxies = { type = "addresses", default = {}, doc = "whose forwarding headers are believed" },
  restrict_header_names = { type = "enum", values = { "delete", "reject", "preserve" }, default = "delete",
    doc = "what happens to unusual header names" },
  not_found_text = { type = "text", default = "no such route", doc = "body of the 404 answer" },
})

-- global ----------------------------------------------------------------------------------------------------

section("global", { name = "global", order = 100 }, function(b)
  -- Relative paths of maps and files begin where the configuration lies.
  b:line("default-path", "config")
  b:line("log", context.log_target, "format", "raw", "local0", context.log_level)
  b:line("stats", "socket", from_env("HAPTIC_DIR", "/runtime.sock"), "mode", 600, "level", "admin", "expose-fd",
    "listeners")
  -- Where the system's limit is enormous, tables sized by it would be too; where it is lower, HAProxy takes that.
  b:line("fd-hard-limit", context.fd_hard_limit)
  if context.maxconn then b:line("maxconn", context.maxconn) end
  if context.threads then b:line("nbthread", context.threads) end
  -- Old workers end: after this long, or when so many reloads have passed over them.
  b:line("hard-stop-after", context.hard_stop_after)
  b:line("mworker-max-reloads", context.max_reloads)
  b:line("spread-checks", 5)
  b:line("server-state-file", from_env("HAPTIC_DIR", "/servers.state")) -- addresses of names outlive a reload
end)
point("global", "global")

-- defaults --------------------------------------------------------------------------------------------------

section("defaults base", { name = "defaults", order = 100, from = false }, function(b)
  b:line("mode", "http")
  b:line("log", "global")
  if context.access_log then b:line("option", "httplog") end
  b:line("option", "dontlognull")
  b:line("balance", context.balance)
  b:line("option", "redispatch")
  b:line("load-server-state-from-file", "global")
  b:line("option", "idle-close-on-response") -- idle connections get one more answer from a worker that stops
  b:line("retries", context.retries)
  b:line("retry-on", "conn-failure")
  b:line("timeout", "connect", context.timeout_connect)
  b:line("timeout", "client", context.timeout_client)
  b:line("timeout", "server", context.timeout_server)
  b:line("timeout", "http-request", context.timeout_http_request)
  b:line("timeout", "http-keep-alive", context.timeout_http_keep_alive)
  b:line("timeout", "queue", context.timeout_queue)
  b:line("timeout", "tunnel", context.timeout_tunnel)
  b:line("timeout", "client-fin", context.timeout_client_fin)
  b:line("timeout", "server-fin", context.timeout_server_fin)
end)
point("defaults", "defaults base")

-- frontend http ---------------------------------------------------------------------------------------------

section("frontend http", { name = "http-bind", order = 100 }, function(b)
  local binds = context.http_bind or {}
  if #binds == 0 then binds = { ":" .. context.http_port } end
  for _, address in ipairs(binds) do b:line("bind", address) end
end)

section("frontend http", { name = "http-headers", order = 300 }, function(b)
  -- Header names with "_" and the like reach some applications as the names that are set here.
  b:line("option", "http-restrict-req-hdr-names", context.restrict_header_names)
  local trusted = context.trusted_proxies
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
      context.not_found_text)
  end)
  -- Without servers: HAProxy answers 503. Where a rule names something that cannot be a backend.
  out:backend("haptic_unavailable", { profile = false }, function() end)
end)

-- frontend status -------------------------------------------------------------------------------------------

section("frontend status", { name = "status", order = 100 }, function(b)
  local binds = context.status_bind or {}
  if #binds == 0 then binds = { ":" .. context.status_port } end
  for _, address in ipairs(binds) do b:line("bind", address) end
  -- Not ready any more while it stops, so that no new connections come.
  b:line("monitor-uri", "/healthz")
  b:line("monitor", "fail", "if", "{", "stopping", "}")
  b:line("http-request", "set-log-level", "silent")
  if context.prometheus then
    b:line("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}")
  end
  b:line("stats", "enable")
  b:line("stats", "uri", "/stats")
  b:line("stats", "hide-version")
  b:line("stats", "refresh", "10s")
end)
point("frontend-status", "frontend status")
