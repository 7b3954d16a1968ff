--- base.lua — parts of every configuration: global, defaults, the HTTP frontend, the status frontend, routing by maps.
--
-- Settings (extraContext) and extension points with their order numbers: docs/templates.md. A route is an entry of a
-- map and a backend; nothing here changes when routes do.

local binds, setting, has_page = use("base.binds"), use("base.configmap").setting, use("base.error_files")

local WORD, BINDS = "^[^%c%s]+$", "addresses to bind, such as :80 or [::]:80 v6only"

--- HAProxy counts a descriptor for each server's check. It sizes its pools of idle connections by that sum, even if the
--- system's limit is lower, and can then lack descriptors for clients.
local CHECKED_FROM = 100000
local has_descriptors = (tonumber(capabilities.fd_limit) or CHECKED_FROM) >= CHECKED_FROM

settings({
  http_port = { type = "integer", min = 1, max = 65535, default = 8080, doc = "port of the HTTP frontend" },
  http_bind = { type = "list", pattern = "^[^%c%s][^%c]*$", expects = BINDS, doc = "addresses instead of a port" },
  status_port = { type = "integer", min = 1, max = 65535, default = 8404, doc = "port of the status frontend" },
  status_bind = { type = "list", pattern = "^[^%c%s][^%c]*$", expects = BINDS, doc = "addresses instead of a port" },
  stats_port = { type = "integer", min = 1, max = 65535, doc = "port of the statistics on loopback" },
  stats_bind = { type = "list", pattern = "^[^%c%s][^%c]*$", expects = BINDS, doc = "addresses instead of a port" },
  prometheus = { type = "bool", default = capabilities.prometheus ~= false, doc = "/metrics of HAProxy" },
  maxconn = { type = "integer", min = 1, max = 100000000, doc = "connections at the same time" },
  fd_hard_limit = { type = "integer", min = 100, max = 1073741824, default = 100000, doc = "bound of descriptors" },
  threads = { type = "integer", min = 1, max = 4096, doc = "threads of HAProxy" },
  h2_glitches = { type = "integer", min = 0, max = 100000000, default = 2000,
    doc = "protocol faults that end an HTTP/2 connection; 0: never" },
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
  observe_servers = { type = "bool", default = has_descriptors, doc = "leave servers alone that cannot be reached" },
  dead_server_errors = { type = "integer", min = 1, max = 1000, default = 3, doc = "failures until it is left alone" },
  dead_server_retry = { type = "duration", min = "100ms", default = "1s", doc = "between checks of such a server" },
  check_interval = { type = "duration", min = "1s", default = "10m", doc = "between checks of the others" },
  nameservers = { type = "list", pattern = WORD, expects = "addresses with ports", default = {},
    doc = "for external names, instead of those of /etc/resolv.conf" },
  dns_payload_size = { type = "integer", min = 512, max = 65535, default = 8192, doc = "largest answer" },
  dns_hold_valid = { type = "duration", min = "1s", default = "10s", doc = "how long an answer counts" },
  proxy_protocol = { type = "addresses", default = {}, doc = "load balancers that begin with the PROXY protocol" },
  trusted_proxies = { type = "addresses", default = {}, doc = "whose forwarding headers are believed" },
  restrict_header_names = { type = "enum", values = { "delete", "reject", "preserve" }, default = "delete",
    doc = "what happens to unusual header names" },
  not_found_text = { type = "text", default = "no such route", doc = "body of the 404 answer" },
})

-- global ----------------------------------------------------------------------------------------------------

--- Servers that cannot be reached get no requests for a while.
local OBSERVE = context.observe_servers

--- The number of connections that the descriptors allow, two for each connection. HAProxy cannot compute it when
--- servers have checks.
local function default_maxconn()
  local limit = tonumber(capabilities.fd_limit)
  if not OBSERVE or not limit then return nil end
  limit = math.min(limit, context.fd_hard_limit)
  return math.max(math.floor((limit - 200) * 0.49), 100)
end

section("global", { name = "global", order = 100 }, function(b)
  -- Relative paths of maps and files begin at the folder of the configuration.
  b:line("default-path", "config")
  local targets = setting("log_targets") or { { context.log_target, "format", "raw", "local0", context.log_level } }
  for _, words in ipairs(targets) do b:line("log", unpack(words)) end
  b:line("stats", "socket", from_env("HAPTIC_DIR", "/runtime.sock"), "mode", 600, "level", "admin", "expose-fd",
    "listeners")
  -- With a very high system limit, tables sized by it would be very large. With a lower limit, HAProxy uses the
  -- system's.
  b:line("fd-hard-limit", context.fd_hard_limit)
  local maxconn = setting("maxconn") or default_maxconn()
  if maxconn then b:line("maxconn", maxconn) end
  -- HAProxy reserves a descriptor for the check of each server, but uses few of them at a time. A limit that is too low
  -- for all of them must not prevent the start.
  if OBSERVE then b:line("no", "strict-limits") end
  local threads = setting("threads")
  if threads then b:line("nbthread", threads) end
  -- Against floods of HTTP/2 frames (HAProxy configuration manual, tune.h2.fe.glitches-threshold). Browsers cause a few
  -- such faults, too. HAProxy 2.6 has no such limit.
  if (capabilities.major or 2) >= 3 and context.h2_glitches > 0 then
    b:line("tune.h2.fe.glitches-threshold", context.h2_glitches)
  end
  -- Old workers end after this time, or after this many reloads.
  b:line("hard-stop-after", setting("hard_stop_after"))
  b:line("mworker-max-reloads", context.max_reloads)
  b:line("spread-checks", 5)
  b:line("server-state-file", from_env("HAPTIC_DIR", "/servers.state")) -- resolved addresses survive a reload
end)
point("global", "global")

-- defaults --------------------------------------------------------------------------------------------------

--- After several failed connections in a row, a server gets no requests until a check reaches it. While it answers,
--- checks are rare: Kubernetes' probes decide which pods are ready.
local function write_observe(b)
  if OBSERVE then
    b:line("default-server", "check", "inter", context.check_interval, "fastinter", "1s", "downinter",
      context.dead_server_retry, "rise", 1, "fall", 3, "observe", "layer4", "error-limit",
      context.dead_server_errors, "on-error", "mark-down")
  end
end

--- Balance algorithms that do not need HTTP.
local TCP_BALANCE = { roundrobin = true, leastconn = true, source = true, first = true, random = true,
  ["static-rr"] = true }

--- Settings of backends in mode tcp, for libraries. These backends are not derived from a defaults section.
provide("base.tcp", function(b)
  b:line("mode", "tcp")
  b:line("log", "global")
  b:line("balance", TCP_BALANCE[context.balance:match("^[%w-]+")] and context.balance or "roundrobin")
  b:line("option", "redispatch")
  b:line("load-server-state-from-file", "global")
  b:line("retries", context.retries)
  write_observe(b)
  b:line("timeout", "connect", setting("timeout_connect"))
  b:line("timeout", "server", setting("timeout_server"))
  b:line("timeout", "queue", setting("timeout_queue"))
  b:line("timeout", "tunnel", setting("timeout_tunnel"))
  b:line("timeout", "server-fin", setting("timeout_server_fin"))
end)

--- The log line of a connection in a frontend in mode tcp.
provide("base.tcp_log", function(b)
  if not context.access_log then return end
  local log_format = setting("log_format_tcp")
  if log_format then b:line("log-format", log_format) else b:line("option", "tcplog") end
end)

section("defaults base", { name = "defaults", order = 100, from = false }, function(b)
  b:line("mode", "http")
  b:line("log", "global")
  local log_format = setting("log_format")
  if context.access_log and log_format then b:line("log-format", log_format) end
  if context.access_log and not log_format then b:line("option", "httplog") end
  if setting("dontlognull") ~= false then b:line("option", "dontlognull") end
  if setting("logasap") then b:line("option", "logasap") end
  local mode = setting("http_connection_mode") or setting("http_server_close") and "http-server-close"
  local keeps = setting("http_keep_alive")
  if not mode and keeps ~= nil then mode = keeps and "http-keep-alive" or "httpclose" end
  if mode then b:line("option", mode) end
  b:line("balance", context.balance)
  b:line("option", "redispatch")
  b:line("load-server-state-from-file", "global")
  b:line("option", "idle-close-on-response") -- a worker that stops answers one more request on an idle connection
  b:line("retries", context.retries)
  b:line("retry-on", "conn-failure")
  write_observe(b)
  b:line("timeout", "connect", setting("timeout_connect"))
  b:line("timeout", "client", setting("timeout_client"))
  b:line("timeout", "server", setting("timeout_server"))
  b:line("timeout", "http-request", setting("timeout_http_request"))
  b:line("timeout", "http-keep-alive", setting("timeout_http_keep_alive"))
  b:line("timeout", "queue", setting("timeout_queue"))
  b:line("timeout", "tunnel", setting("timeout_tunnel"))
  b:line("timeout", "client-fin", setting("timeout_client_fin"))
  b:line("timeout", "server-fin", setting("timeout_server_fin"))
end)
point("defaults", "defaults base")

-- resolvers -------------------------------------------------------------------------------------------------

section("resolvers default", { name = "resolvers", order = 100 }, function(b)
  local servers = context.nameservers
  for i, address in ipairs(servers) do b:line("nameserver", "n" .. i, address) end
  -- HAProxy refuses a configuration that names this file if it does not exist.
  if #servers == 0 and capabilities.resolv_conf ~= false then b:line("parse-resolv-conf") end
  -- For names with many addresses: answers up to this size need no second query by TCP.
  b:line("accepted_payload_size", context.dns_payload_size)
  b:line("hold", "valid", context.dns_hold_valid)
end)

-- frontend http ---------------------------------------------------------------------------------------------

section("frontend http", { name = "http-bind", order = 100 }, function(b)
  for _, words in ipairs(binds(context.http_bind, context.http_port)) do b:line("bind", unpack(words)) end
end)

--- Connections from the given networks must have the PROXY protocol; all others must not.
local function write_proxy(b)
  local senders = setting("proxy_protocol")
  if #senders == 0 then return end
  b:acl("sends_proxy", "src", unpack(senders))
  b:line("tcp-request", "connection", "expect-proxy", "layer4", "if", "sends_proxy")
end
section("frontend http", { name = "http-proxy-protocol", order = 105 }, write_proxy)

-- HAProxy Technologies' controller stores host and path in this variable, and log-formats written for it use the
-- variable.
section("frontend http", { name = "http-log-base", order = 110 }, function(b)
  local log_format = setting("log_format")
  if log_format and log_format:find("var(txn.base)", 1, true) then
    b:line("http-request", "set-var(txn.base)", "base")
  end
end)
provide("base.proxy", write_proxy)

-- Exact entries come before prefixes, and the host before its wildcard before no host: the first match counts. A prefix
-- ends with "/" in the map, and so does the compared text. So a prefix always ends at an element of the path, and the
-- longest one wins.
local function write_routing(b, variable, ...)
  local conditions = { "!{", "var(" .. variable .. ")", "-m", "found", "}", ... }
  local function look_up(expression)
    b:line("http-request", "set-var(" .. variable .. ")", expression, "if", unpack(conditions))
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
  -- After the backend, the value may contain the effects of the route (base/effects.lua).
  local has_record = { "if", "{", "var(" .. variable .. ")", "-m", "sub", "@", "}" }
  if variable == "txn.backend" then
    b:line("http-request", "set-var(txn.record)", "var(txn.backend),field(2,@)", unpack(has_record))
    b:line("http-request", "set-var(txn.effects)", "var(txn.backend),field(3,@)", unpack(has_record))
  end
  b:line("http-request", "set-var(" .. variable .. ")", "var(" .. variable .. "),field(1,@)", unpack(has_record))
end

section("frontend http", { name = "http-routing", order = 500 }, function(b) write_routing(b, "txn.backend") end)
-- For libraries: writes the backend that a request would lead to into a variable of the library.
provide("base.routing", write_routing)

section("frontend http", { name = "http-backend", order = 900 }, function(b)
  b:line("use_backend", "%[var(txn.backend)]", "if", "{", "var(txn.backend)", "-m", "found", "}")
  b:line("default_backend", "haptic_notfound")
end)
point("frontend-http", "frontend http")

fragment("maps", function(out)
  out:map("path-exact.map", { duplicate = "DuplicatePath", means = "host and path" })
  out:map("path-prefix.map", { duplicate = "DuplicatePath", means = "host and path" })
  out:map("default-backend.map", { duplicate = "DuplicateDefaultBackend", means = "default backend of host" })
end)

-- backends that always exist -----------------------------------------------------------------------------------

-- Their names contain one "_"; those of services contain two.
fragment("backends", function(out)
  out:backend("haptic_notfound", { profile = false }, function(b)
    if has_page("404") then
      b:line("http-request", "deny", "deny_status", 404)
    else
      b:line("http-request", "return", "status", 404, "content-type", "text/plain", "string", context.not_found_text)
    end
  end)
  -- Without servers, so HAProxy answers 503. For a rule that names something that cannot be a backend.
  out:backend("haptic_unavailable", { profile = false }, function() end)
end)

-- frontend status -------------------------------------------------------------------------------------------

local PROMETHEUS = context.prometheus

-- For probes and all clients in the pod network: it shows nothing about namespaces, Services and servers.
section("frontend status", { name = "status", order = 100 }, function(b)
  for _, words in ipairs(binds(context.status_bind, context.status_port)) do b:line("bind", unpack(words)) end
  -- Not ready while HAProxy stops, so that no new connections come.
  b:line("monitor-uri", "/healthz")
  b:line("monitor", "fail", "if", "{", "stopping", "}")
  b:line("http-request", "set-log-level", "silent")
end)
section("frontend status", { name = "status-metrics", order = 150 }, function(b)
  if PROMETHEUS then
    -- Metrics of the process and of the frontends, for any query.
    b:line("http-request", "set-query", "scope=global&scope=frontend", "if", "{", "path", "/metrics", "}")
    b:line("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}")
  end
end)
point("frontend-status", "frontend status")

-- frontend stats --------------------------------------------------------------------------------------------

-- Statistics page and metrics of all backends and servers, whose names contain those of namespaces, Services and pods.
-- At a Unix socket, unless the administrator names a port of the machine or another address.
section("frontend stats", { name = "stats", order = 100 }, function(b)
  local port = context.stats_port
  if context.stats_bind == nil and port == nil then
    b:line("bind", from_env("HAPTIC_DIR", "/stats.sock"), "mode", 600)
  else
    local default = { "127.0.0.1:" .. tostring(port) }
    if capabilities.ipv6_loopback then default[2] = "[::1]:" .. tostring(port) end
    for _, words in ipairs(binds(context.stats_bind or default)) do b:line("bind", unpack(words)) end
  end
  b:line("http-request", "set-log-level", "silent")
  if PROMETHEUS then
    b:line("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}")
  end
  b:line("stats", "enable")
  b:line("stats", "uri", "/stats")
  b:line("stats", "hide-version")
  b:line("stats", "refresh", "10s")
end)
point("frontend-stats", "frontend stats")
