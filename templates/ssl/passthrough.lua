--- passthrough.lua — connections for some names go to servers as they are, beside those whose TLS ends here.
--
-- Then a frontend in mode tcp stands in front. It reads the name in the client's hello, and looks it up in
-- passthrough.map: a backend, or TERMINATE. All else goes by a Unix socket to the frontend http, with the client's
-- address (PROXY protocol). All of it is there as soon as the setting is true, so names come and go as entries.

local binds, write_tcp, write_proxy = use("base.binds"), use("base.tcp"), use("base.proxy")
local write_tcp_log, configmap = use("base.tcp_log"), use("base.configmap")
local setting = configmap.setting

settings({
  ssl_passthrough = { type = "bool", default = false, doc = "Ingresses may have their TLS passed through" },
})

local MAP, TERMINATE, INNER, DEFAULTS = "passthrough.map", "terminate", "haptic_https", "tcp"

--- Where the frontend http takes over: words of its bind line.
local function inner_bind() return { from_env("HAPTIC_DIR", "/https.sock"), "mode", 600, "accept-proxy" } end

local function write_frontend(b)
  b:line("mode", "tcp")
  b:line("log", "global")
  write_tcp_log(b)
  b:line("option", "dontlognull")
  b:line("timeout", "client", setting("timeout_client"))
  b:line("timeout", "client-fin", setting("timeout_client_fin"))
  for _, words in ipairs(binds(context.https_bind, context.https_port)) do b:line("bind", unpack(words)) end
  write_proxy(b)
  b:line("tcp-request", "inspect-delay", context.timeout_http_request)
  b:acl("client_hello", "req.ssl_hello_type", 1)
  local found = { "{", "var(txn.passthrough)", "-m", "found", "}" }
  local map = path:map(MAP)
  b:line("tcp-request", "content", "set-var(txn.sni)", "req.ssl_sni,lower", "if", "client_hello")
  b:line("tcp-request", "content", "set-var(txn.passthrough)", "var(txn.sni),map_str(" .. map .. ")")
  b:line("tcp-request", "content", "set-var(txn.domain)", "var(txn.sni),field(2,.,0)")
  b:line("tcp-request", "content", "set-var(txn.passthrough)", "str(*.),concat(,txn.domain),map_str(" .. map .. ")",
    "unless", unpack(found))
  b:line("tcp-request", "content", "unset-var(txn.passthrough)", "if", "{", "var(txn.passthrough)", "-m", "str",
    TERMINATE, "}")
  -- The frontend http logs the requests of the others.
  b:line("tcp-request", "content", "set-log-level", "silent", "unless", unpack(found))
  if configmap.is_missing() then b:line("tcp-request", "content", "reject", "if", unpack(found)) end
  b:line("use_backend", "%[var(txn.passthrough)]", "if", unpack(found))
  b:line("default_backend", INNER)
end

local function write_inner(b)
  b:line("server", "https", from_env("HAPTIC_DIR", "/https.sock"), "send-proxy-v2", "no-check")
end

--- The pieces of it; `on`: is there HTTPS, and is it asked for?
local function put(on)
  if not on then return end
  section("frontend tls", { name = "passthrough", order = 100, from = false }, write_frontend)
  -- Backends consist of this and servers, so new ones need no reload where HAProxy can add backends.
  section("defaults " .. DEFAULTS, { name = "passthrough-defaults", order = 100, from = false }, write_tcp)
  section("backend " .. INNER, { name = "passthrough-inner", from = DEFAULTS }, write_inner)
  fragment("passthrough-map", function(out)
    out:map(MAP, { duplicate = "DuplicatePassthrough", means = "TLS of host" })
  end)
end

provide("ssl.passthrough", { put = put, inner_bind = inner_bind, map = MAP, terminate = TERMINATE,
  defaults = DEFAULTS })
