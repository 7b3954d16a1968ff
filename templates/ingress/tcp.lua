--- tcp.lua — ports whose connections go to a Service unchanged, from a ConfigMap: PORT → NAMESPACE/SERVICE:PORT[:ssl].
--
-- A port has its own frontend, and an entry of a map names its target: so another Service needs no reload, but a new
-- port does. With ":ssl", TLS ends here, with the certificates of the library ssl.

local binds, write_tcp, write_proxy = use("base.binds"), use("base.tcp"), use("base.proxy")
local write_tcp_log, configmap = use("base.tcp_log"), use("base.configmap")
local loaded, ssl = pcall(use, "ssl")

settings({
  tcp_services = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$",
    expects = "namespace/name of a ConfigMap",
    doc = "ports at which connections go to Services" },
})

local MAP, DEFAULTS, MAX_PORTS = "tcp-services.map", "tcp_services", 1000
local setting = configmap.setting
local services = configmap.named(context.tcp_services, "tcp-services")

--- Ports that HAProxy uses otherwise: port → use.
local taken = {}
for _, what in ipairs({ "http", "https", "status", "stats" }) do
  for _, words in ipairs(binds(context[what .. "_bind"], context[what .. "_port"] or 0)) do
    local port = tonumber(words[1]:match(":(%d+)$"))
    if port then taken[port] = what end
  end
end

--- {port=, namespace=, service=, label=, tls=}; or nil and what is wrong.
local function parse(key, value)
  local port = key:find("^[1-9]%d?%d?%d?%d?$") and tonumber(key)
  if not port or port > 65535 then return nil, "is no port" end
  if taken[port] then return nil, "is the port of the frontend " .. taken[port] end
  local namespace, service, label, tls = tostring(value):trim():match("^([a-z0-9-]+)/([a-z0-9-]+):([a-z0-9-]+)(.*)$")
  if not namespace or tls ~= "" and tls ~= ":ssl" then
    return nil, "must be NAMESPACE/SERVICE:PORT or NAMESPACE/SERVICE:PORT:ssl"
  end
  if tls ~= "" and not (loaded and ssl.on) then return nil, "needs the library ssl, and Secrets that are watched" end
  return { port = port, namespace = namespace, service = service, label = label, tls = tls ~= "" }
end

local function write_frontend(b, s)
  b:line("mode", "tcp")
  b:line("log", "global")
  write_tcp_log(b)
  b:line("option", "dontlognull")
  b:line("timeout", "client", setting("timeout_client"))
  b:line("timeout", "client-fin", setting("timeout_client_fin"))
  for _, words in ipairs(binds(nil, s.port)) do
    for _, w in ipairs(s.tls and { "ssl", "crt-list", path:crt_list(ssl.list) } or {}) do words[#words + 1] = w end
    b:line("bind", unpack(words))
  end
  write_proxy(b)
  b:line("use_backend", "%[str(" .. s.port .. "),map_str(" .. path:map(MAP) .. ")]", "if", "{",
    "str(" .. s.port .. "),map_str(" .. path:map(MAP) .. ")", "-m", "found", "}")
end

--- Declares the fragments. backend_of(out, namespace, service, label) gives the name of a backend in mode tcp.
local function put(backend_of)
  if not services.is_set then return end
  section("defaults " .. DEFAULTS, { name = "tcp-services-defaults", order = 100, from = false }, write_tcp)
  fragment("tcp-services-map", function(out) out:map(MAP) end)
  services.each(function(data, out)
    local count = 0
    for _, key in ipairs(keys(data)) do
      local s, problem = parse(key, data[key])
      count = count + 1
      if count > MAX_PORTS then s, problem = nil, ("is one of more than %d ports"):format(MAX_PORTS) end
      if s then
        out:section("frontend tcp_" .. s.port, { key = "body", from = false }, function(b) write_frontend(b, s) end)
        out:map_entry(MAP, tostring(s.port), backend_of(out, s.namespace, s.service, s.label))
      else
        out:warn("InvalidTcpService", key .. " " .. problem .. "; it has no effect")
      end
    end
  end)
end

provide("ingress.tcp", { is_set = services.is_set, put = put, defaults = DEFAULTS })
