--- Objects from files are judged as the API server judges them: each of these is put to both, and the verdicts compared.

local e2e = require("support.e2e")
local json = require("cjson")
local posix = require("support.posix")

local GROUP = {
  Ingress = { "networking.k8s.io/v1", "ingresses" }, IngressClass = { "networking.k8s.io/v1", "ingressclasses" },
  EndpointSlice = { "discovery.k8s.io/v1", "endpointslices" }, Service = { "v1", "services" },
  Secret = { "v1", "secrets" }, ConfigMap = { "v1", "configmaps" },
}

local function backend(fields)
  local service = { name = "app", port = { number = 80 } }
  for key, value in pairs(fields or {}) do service[key] = value end
  return { service = service }
end

local function path(fields)
  local one = { path = "/", pathType = "Prefix", backend = backend() }
  for key, value in pairs(fields or {}) do one[key] = value end
  return one
end

local function rules(host, ...)
  return { rules = { { host = host, http = { paths = select("#", ...) > 0 and { ... } or { path() } } } } }
end

local function ingress(spec) return { kind = "Ingress", spec = spec } end
local function host(text) return ingress(rules(text)) end
local function at(text, kind) return ingress(rules("a.example", path({ path = text, pathType = kind or "Prefix" }))) end
local function tls(hosts, secret)
  local spec = rules("a.example")
  spec.tls = { { hosts = hosts, secretName = secret } }
  return ingress(spec)
end
local function to(service) return ingress(rules("a.example", path({ backend = backend(service) }))) end
local function class(name)
  local spec = rules("a.example")
  spec.ingressClassName = name
  return ingress(spec)
end
local function metadata(fields)
  local object = host("a.example")
  object.metadata = fields
  return object
end
local function slice(kind, addresses, ports, endpoint)
  local one = { addresses = addresses }
  for key, value in pairs(endpoint or {}) do one[key] = value end
  return { kind = "EndpointSlice", addressType = kind, endpoints = { one }, ports = ports }
end
local function port(fields)
  local one = { port = 80 }
  for key, value in pairs(fields or {}) do one[key] = value end
  return one
end
local function service(ports, fields)
  local spec = { ports = ports }
  for key, value in pairs(fields or {}) do spec[key] = value end
  return { kind = "Service", spec = spec }
end
local function controller(text) return { kind = "IngressClass", spec = { controller = text } } end

local OBJECTS = {
  -- hosts of rules
  host("a.example"), host("*.a.example"), host("a"), host("1.example"), host("xn--bcher-kva.example"), host(""),
  host("A.example"), host("a_b.example"), host("a.example."), host("*"), host("*.*.example"), host("a.*.example"),
  host("10.0.0.1"), host("fd00::1"), host("a.example:80"), host("-a.example"), host("a..example"),
  host(("a"):rep(63) .. ".example"), host(("a."):rep(126) .. "a"), host(("a."):rep(127) .. "a"), host("bücher.example"),
  -- paths
  at("/a"), at("/a/"), at("/a/../b"), at("/a/.."), at("/a/./b"), at("/a/."), at("//"), at("/a%2fb"), at("/a%2Fb"), at("a"),
  at(""), at("", "Exact"), at("", "ImplementationSpecific"), at("a", "ImplementationSpecific"), at("/a//b", "ImplementationSpecific"),
  at("/*", "ImplementationSpecific"), at("/a b"), at("/ä"), at("/a?b", "Exact"),
  -- what may stand beside what
  ingress({ rules = {} }), ingress({ defaultBackend = backend() }), ingress({ rules = { { host = "a.example" } } }),
  ingress({ rules = { { host = "a.example", http = { paths = json.empty_array } } } }),
  ingress(rules("a.example", path({ backend = json.decode('{"resource":{"apiGroup":"x.example","kind":"Bucket","name":"b"}}') }))),
  ingress(rules("a.example", path({ backend = { service = { name = "app", port = { number = 80 } },
    resource = { apiGroup = "x.example", kind = "Bucket", name = "b" } } }))),
  to({ port = { name = "http" } }), to({ port = { name = "http", number = 80 } }), to({ port = { number = 0 } }),
  to({ port = { number = 65536 } }), to({ port = { name = "HTTP" } }), to({ port = { name = "a--b" } }), to({ port = { name = "123" } }),
  to({ port = { name = ("a"):rep(16) } }), to({ name = "1app" }), to({ name = "App" }), to({ name = "a.b" }), to({ name = "" }),
  -- TLS, class
  tls({ "a.example" }, "cert"), tls({ "*.a.example" }, "cert"), tls({ "A.example" }, "cert"), tls({ "a.*" }, "cert"), tls({ "10.0.0.1" }, "c"),
  tls({ "a.example" }, "Cert"), tls({ "a.example" }, ""), tls({ "" }, "c"), class("haptic"), class("a.b"), class("A"), class("a/b"),
  -- metadata
  metadata({ labels = { ["a.example/b"] = "c" } }), metadata({ labels = { a = "" } }), metadata({ labels = { a = "-" } }),
  metadata({ labels = { ["a/b/c"] = "d" } }), metadata({ labels = { ["A.example/b"] = "d" } }), metadata({ labels = { a = ("b"):rep(64) } }),
  metadata({ annotations = { ["A.example/b"] = "any text\n" } }), metadata({ annotations = { ["a b"] = "c" } }),
  metadata({ annotations = { ["/b"] = "c" } }), metadata({ annotations = { [("a"):rep(64)] = "c" } }),
  -- slices
  slice("IPv4", { "10.1.2.3" }), slice("IPv4", { "10.1.2" }), slice("IPv4", { "fd00::1" }), slice("IPv4", { "10.1.2.256" }),
  slice("IPv4", { "a.example" }), slice("IPv6", { "fd00::1" }), slice("IPv6", { "10.1.2.3" }), slice("IPv6", { "fd00::1%eth0" }), slice("IPv6", { "fd00:::1" }),
  slice("FQDN", { "a.example" }), slice("FQDN", { "a" }), slice("FQDN", { "a_b.example" }), slice("IPv4", json.empty_array),
  slice("IPv4", { "10.1.2.3" }, { port({ name = "http" }) }), slice("IPv4", { "10.1.2.3" }, { port({ name = "HTTP" }) }),
  slice("IPv4", { "10.1.2.3" }, { port({ name = "a" }), port({ name = "a", port = 81 }) }),
  slice("IPv4", { "10.1.2.3" }, { port({ name = "" }) }),
  slice("IPv4", { "10.1.2.3" }, nil, { hostname = "a" }), slice("IPv4", { "10.1.2.3" }, nil, { hostname = "A" }),
  -- Services
  service({ port() }), service({ port({ name = "a" }), port({ name = "b", port = 81 }) }), service({ port(), port({ port = 81 }) }),
  service({ port({ name = "a" }), port({ name = "a", port = 81 }) }), service({ port({ name = "A" }) }), service(nil, { clusterIP = "None" }),
  service({ port({ targetPort = "http" }) }), service({ port({ targetPort = "HTTP" }) }), service({ port({ targetPort = 0 }) }),
  service({ port({ targetPort = 65536 }) }), service({ port({ targetPort = "80" }) }), service({ port({ port = 0 }) }),
  service(nil, { type = "ExternalName", externalName = "a.example" }), service(nil, { type = "ExternalName", externalName = "A" }),
  service(nil, { type = "ExternalName" }), service(nil, { type = "ExternalName", externalName = "a.example." }),
  service(nil, { type = "ExternalName", externalName = "10.0.0.1" }), service(nil, { type = "ExternalName", externalName = "a b" }),
  -- classes, keys of data
  controller("haproxy-haptic.org/controller"), controller("a"), controller("a.example/"), controller(""), controller("A.example/b"),
  { kind = "ConfigMap", data = { ["a.b_c-d"] = "x" } }, { kind = "ConfigMap", data = { ["a/b"] = "x" } }, { kind = "ConfigMap", data = { [".."] = "x" } },
  { kind = "ConfigMap", data = { a = "x" }, binaryData = { a = "eA==" } }, { kind = "Secret", data = { ["a b"] = "eA==" } },
  { kind = "Secret", data = { a = "eA==" } }, { kind = "Secret", data = { a = "e" } }, { kind = "Secret", stringData = { a = "e" } },
}

describe("objects in files", function()
  local scope, cluster

  setup(function()
    scope = e2e.scope("schema")
    cluster = scope:cluster()
  end)
  teardown(function() scope:close() end)

  it("are taken and refused as the API server does", function()
    local folder, server, words = scope:path("objects"), {}, {}
    posix.run({ "mkdir", "-p", folder })
    for i, object in ipairs(OBJECTS) do
      local name, group = ("object-%03d"):format(i), GROUP[object.kind]
      object.apiVersion = group[1]
      object.metadata = object.metadata or {}
      object.metadata.name = name
      local is_wide = object.kind == "IngressClass"
      object.metadata.namespace = not is_wide and "default" or nil
      words[name] = json.encode(object)
      posix.write_file(("%s/%s.json"):format(folder, name), words[name])
      local url = (group[1] == "v1" and "/api/v1" or "/apis/" .. group[1])
        .. (is_wide and "" or "/namespaces/default") .. "/" .. group[2] .. "?dryRun=All"
      local status, answer = cluster.admin:call("POST", url, object)
      assert(status == 201 or status == 422 or status == 400, tostring(status))
      server[name] = { is_taken = status == 201, message = answer.message }
    end
    local config = scope:path("config.yaml")
    posix.write_file(config, "watchedResources:\n" .. "  configmaps: { apiVersion: v1, resources: configmaps }\n"
      .. "  every_secret: { apiVersion: v1, resources: secrets }\n")
    local output, code = posix.run({ os.getenv("HAPTIC_BIN"), "validate", "-o", "json", "-c", config, folder })
    assert(code == 0 or code == 1, output)
    local refused = {}
    for _, finding in ipairs(json.decode(output:match("{.*}")).findings) do
      if finding.code == "HT0101" then
        refused[finding.file:match("(object%-%d+)%.json$")] = finding.message
      end
    end
    local differ, taken = {}, 0
    for i in ipairs(OBJECTS) do
      local name = ("object-%03d"):format(i)
      taken = taken + (server[name].is_taken and 1 or 0)
      if server[name].is_taken == (refused[name] ~= nil) then
        differ[#differ + 1] = ("%s\n  the server: %s\n  the folder: %s"):format(words[name],
          server[name].is_taken and "taken" or server[name].message, refused[name] or "taken")
      end
    end
    assert.equal("", table.concat(differ, "\n"))
    assert.is_true(taken > 30 and #OBJECTS - taken > 30)
  end)
end)
