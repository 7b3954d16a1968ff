--- backend_keys.lua — annotations about a backend as a whole: TLS to its servers, sharing, TLS passthrough.
--
-- An Ingress with an annotation about servers has its own backends, so that two Ingresses of one Service are
-- independent.

local values, configmap = use("ingress.backend_annotations"), use("base.configmap")
local effects = use("effects")

local BACKENDS = { "Ingress", "Service", "ConfigMap" }

--- The same key in each family.
local function in_families(key)
  return { ["haproxy-haptic.org"] = key, ["haproxy.org"] = key, ["haproxy.com"] = key }
end

--- "NAME", or "NAMESPACE/NAME" of a Secret.
local function parse_secret(text)
  local namespace, name = text:match("^([^/]+)/([^/]+)$")
  name = name or text
  if #name > 253 or not name:find("^[a-z0-9][a-z0-9.-]*$") or namespace and not namespace:find("^[a-z0-9-]+$") then
    return nil, "the name of a Secret in the namespace of the Service"
  end
  return { namespace = namespace, name = name }
end

local TLS_TEST = "tls_spec: goes on to servers, which are verified where their owner says by whom"

annotations({
  server_ssl = {
    type = "switch", on = BACKENDS, families = in_families("server-ssl"), effect = "server-tls",
    doc = "TLS to pods. Without server-ca, their certificates are not verified. A value that is "
      .. "neither true nor false counts as true.",
    lines = "server … ssl alpn h2,http/1.1 verify none", tested = TLS_TEST,
  },
  server_proto = {
    type = "text", on = BACKENDS, families = in_families("server-proto"), effect = "server-tls",
    parse = function(text)
      text = text:lower()
      if text == "h1" or text == "h2" then return text end
      return nil, "h1 or h2"
    end,
    doc = "The protocol to pods: h1 or h2.", lines = "server … proto h2, or alpn", tested = TLS_TEST,
  },
  server_ca = {
    type = "text", parse = parse_secret, on = BACKENDS, families = in_families("server-ca"), effect = "server-tls",
    protects = true,
    doc = "A Secret with the authorities (ca.crt, or tls.crt) that verify the pods' certificates. "
      .. "In the ConfigMap: NAMESPACE/NAME.",
    lines = "server … ssl verify required ca-file certs/NAMESPACE_NAME_server-ca.pem",
    reload = "another Secret; before 3.2, other authorities in it",
    tested = TLS_TEST,
  },
  server_crt = {
    type = "text", parse = parse_secret, on = BACKENDS, families = in_families("server-crt"), effect = "server-tls",
    protects = true, doc = "A Secret with the certificate that HAProxy shows to pods. In the ConfigMap: "
      .. "NAMESPACE/NAME.",
    lines = "server … ssl crt certs/NAMESPACE_NAME.pem", reload = "another Secret", tested = TLS_TEST,
  },
  server_sni = {
    type = "text", pattern = "^[a-z0-9][a-z0-9.-]*$", expects = "a DNS name in lower case", on = BACKENDS,
    families = in_families("server-sni"), effect = "server-tls", protects = true,
    doc = "The server name (SNI) in the handshake with pods. With server-ca, the pods' certificates "
      .. "must have this name. If the name is invalid and there is no server-ca, HAProxy sends no "
      .. "server name.",
    lines = "server … sni str(NAME) verifyhost NAME", tested = TLS_TEST,
  },
  standalone_backend = {
    type = "switch", on = { "Ingress", "Service" }, families = in_families("standalone-backend"), effect = "backend",
    doc = "The Ingress gets its own backends. On a Service: each of its Ingresses gets its own "
      .. "backends.",
    lines = "backend NAMESPACE_SERVICE_PORT_INGRESS",
    tested = "backend_annotations_spec: keeps an Ingress' backend apart, and takes values of the ConfigMap",
  },
  ssl_passthrough = {
    type = "switch", on = BACKENDS, families = in_families("ssl-passthrough"), effect = "passthrough",
    doc = "TLS connections are passed to the pods unchanged. The server name (SNI) selects the "
      .. "route. Needs the setting ssl_passthrough; without it the routes answer 503. Of other keys only "
      .. "ssl-redirect, and the Service's check, check-interval, pod-maxconn and send-proxy-protocol have "
      .. "an effect; an Event lists the others.",
    lines = "use_backend %[var(txn.passthrough)]",
    tested = "passthrough_spec: stands beside hosts whose TLS ends here, and comes and goes",
  },
})

local SERVER = { server_ssl = true, server_proto = true, server_ca = true, server_crt = true, server_sni = true }

--- The annotations of objects as levels: {kind=, object=, out=} of each, the nearest to the route first; the ConfigMap
--- is the last one.
local function levels_of(objects)
  local levels = {}
  for _, o in ipairs(objects) do
    local annotations = dig(o.object, "metadata", "annotations")
    if annotations then levels[#levels + 1] = { kind = o.kind, values = annotations, out = o.out } end
  end
  if configmap.is_set then levels[#levels + 1] = configmap.level() end
  return levels
end

--- True when an Ingress needs its own backends.
local function is_own(ing, service)
  local annotations = dig(ing, "metadata", "annotations")
  if effects.is_own(ing) then return true end
  for key in pairs(annotations or {}) do
    local known = annotation(key, "Ingress")
    if known and known.is_honoured and (SERVER[known.name] or values.is_key(key)) then return true end
  end
  local levels = {}
  if annotations then levels[1] = { kind = "Ingress", values = annotations } end
  local of_service = dig(service, "metadata", "annotations")
  if of_service then levels[#levels + 1] = { kind = "Service", values = of_service } end
  return #levels > 0 and annotated({ "standalone_backend" }, levels).standalone_backend == true
end

--- Tells the owner of an object about an error in such a value that no other function reports.
local function judge(out, object, kind)
  local annotations = dig(object, "metadata", "annotations")
  if annotations == nil then return end
  annotated({ "standalone_backend" }, { { kind = kind, values = annotations } }, function(_, key, message)
    out:warn("InvalidAnnotation", key .. " " .. message .. "; it has no effect")
  end)
end

provide("ingress.backend_keys", { judge = judge, levels_of = levels_of, is_own = is_own })
