-- What Ingresses of other controllers mean and this one does not honour; and routes that answer 503 or 404 by
-- configuration: their owners are told why.
local program = require("spec.support.program")
local ingress, service, slice = program.ingress, program.service, program.slice

--- The warnings of an owner, and the output, of an engine with these objects.
local function render(objects, context)
  local e = program.engine({ context = context })
  for _, o in ipairs(objects) do e:put(o[1], o[2], o[3]) end
  e:render()
  assert.same({}, e.host.failures)
  return e:output(), e
end

--- All warnings with one reason, of whatever owner, as one text.
local function told(output, reason)
  local texts = {}
  for _, reasons in pairs(output.warnings) do texts[#texts + 1] = reasons[reason] end
  return table.concat(texts, "; ")
end

local function annotated(annotations, context, extra)
  local spec = { annotations = annotations, rules = { { host = "a.example", paths = { { "/" } } } } }
  for k, v in pairs(extra or {}) do spec[k] = v end
  return render({ { "services", service("web") }, { "endpoints", slice("web-1", "web", 80, { { "10.0.0.1" } }) },
    { "ingresses", ingress("i", spec) } }, context)
end

local SERVED, CLOSED = "a.example/ default_web_80\n", "a.example/ haptic_unavailable\n"

describe("Annotations of other controllers", function()
  it("are named to the owner when they have no effect, each of them", function()
    local o = annotated({ ["nginx.ingress.kubernetes.io/rewrite-target"] = "/", ["haproxy.org/server-slots"] = "5", ["haproxy-ingress.github.io/hsts"] = "true",
      ["alb.ingress.kubernetes.io/scheme"] = "internal", ["example.com/note"] = "x", ["kubernetes.io/ingress.class"] = "haptic",
      ["haproxy-haptic.org/unheard-of"] = "1", ["backend.haproxy.org/own-check"] = "1", ["frontend.corp.test/x"] = "1" })
    local text = told(o, "AnnotationIgnored")
    for _, key in ipairs({ "nginx.ingress.kubernetes.io/rewrite-target", "haproxy.org/server-slots", "haproxy-ingress.github.io/hsts",
      "alb.ingress.kubernetes.io/scheme", "haproxy-haptic.org/unheard-of",
      "backend.haproxy.org/own-check (another controller's administrator has defined it: declare it in a template)",
      "frontend.corp.test/x" }) do
      assert.is_truthy(text:find(key, 1, true), key)
    end
    for _, key in ipairs({ "example.com", "ingress.class" }) do assert.is_nil(text:find(key, 1, true), key) end
    assert.equal(SERVED, o.maps["path-prefix.map"])
    assert.equal("", told(annotated({ ["example.com/note"] = "x" }), "AnnotationIgnored"))
    assert.matches("haproxy.org/timeout-srever (did you mean haproxy.org/timeout-server?), haproxy.org/xyz",
      told(annotated({ ["haproxy.org/timeout-srever"] = "5s", ["haproxy.org/xyz"] = "5s" }), "AnnotationIgnored"), 1, true)
    assert.matches("haproxy-haptic.org/Check (did you mean haproxy-haptic.org/check?)",
      told(annotated({ ["haproxy-haptic.org/Check"] = "true" }), "AnnotationIgnored"), 1, true)
  end)

  it("are counted when there is no room for their names", function()
    local many = {}
    for i = 1, 200 do many["nginx.ingress.kubernetes.io/some-key-" .. i] = "1" end
    assert.matches("and %d+ more", told(annotated(many), "AnnotationIgnored"))
  end)

  it("that protect close the routes, and the owner is told", function()
    for _, annotation in ipairs({
      "nginx.ingress.kubernetes.io/auth-type=basic", "nginx.ingress.kubernetes.io/auth-secret=s", "nginx.ingress.kubernetes.io/auth-url=http://a",
      "nginx.ingress.kubernetes.io/auth-tls-secret=s", "nginx.ingress.kubernetes.io/auth-tls-verify-client=on",
      "nginx.ingress.kubernetes.io/whitelist-source-range=10.0.0.0/8", "nginx.ingress.kubernetes.io/denylist-source-range=10.0.0.0/8",
      "nginx.ingress.kubernetes.io/configuration-snippet=deny all;", "nginx.ingress.kubernetes.io/server-snippet=auth_basic on;",
      "ingress.kubernetes.io/auth-secret=s", "ingress.kubernetes.io/allow-list=10.0.0.0/8", "ingress.kubernetes.io/deny-list=10.0.0.0/8", "ingress.kubernetes.io/whitelist=10.0.0.0/8",
      "ingress.kubernetes.io/blacklist=10.0.0.0/8", "haproxy.org/backend-config-snippet=http-request deny if TRUE",
      "haproxy-ingress.github.io/auth-secret=s", "haproxy-ingress.github.io/oauth=oauth2_proxy", "haproxy-ingress.github.io/auth-tls-secret=s",
      "haproxy-ingress.github.io/allowlist-source-range=10.0.0.0/8", "ingress.kubernetes.io/auth-type=basic", "ingress.kubernetes.io/whitelist-source-range=10.0.0.0/8",
      "nginx.org/basic-auth-secret=s", "alb.ingress.kubernetes.io/inbound-cidrs=10.0.0.0/8", "traefik.ingress.kubernetes.io/router.middlewares=auth@file", "konghq.com/plugins=key-auth",
    }) do
      local key, value = annotation:match("^(.-)=(.*)$")
      local o = annotated({ [key] = value })
      assert.equal(CLOSED, o.maps["path-prefix.map"], key)
      assert.is_truthy(told(o, "ProtectionNotSupported"):find(key, 1, true), key)
      o = annotated({ [key] = value }, { unsupported_protection = "ignore" })
      assert.equal(SERVED, o.maps["path-prefix.map"], key)
      assert.is_truthy(told(o, "ProtectionNotSupported"):find(key, 1, true), key)
      o = annotated({ [key] = value }, { honoured_annotations = { key } })
      assert.equal(SERVED, o.maps["path-prefix.map"], key)
      assert.equal("", told(o, "ProtectionNotSupported"))
      assert.equal(SERVED, annotated({ [key] = value }, { honoured_annotations = key:sub(1, -3) .. "*" }).maps["path-prefix.map"], key)
    end
  end)

  it("that switch a protection off close nothing", function()
    for _, value in ipairs({ "", "off", "false", "Off", " none " }) do
      assert.equal(SERVED, annotated({ ["nginx.ingress.kubernetes.io/auth-tls-verify-client"] = value }).maps["path-prefix.map"], value)
    end
  end)

  it("of a Service close its backend alone", function()
    local closed = service("web")
    closed.metadata.annotations = { ["haproxy-ingress.github.io/allowlist-source-range"] = "10.0.0.0/8" }
    local o = render({ { "services", closed }, { "services", service("open") },
      { "endpoints", slice("web-1", "web", 80, { { "10.0.0.1" } }) }, { "endpoints", slice("open-1", "open", 80, { { "10.0.0.2" } }) },
      { "ingresses", ingress("i", { rules = { { host = "a.example", paths = { { "/", "Prefix", "web" }, { "/open", "Prefix", "open" } } } } }) } })
    assert.not_matches("server 10.0.0.1_80", o.config)
    assert.matches("server 10.0.0.2_80", o.config)
    assert.is_truthy(told(o, "ProtectionNotSupported"):find("haproxy-ingress.github.io/allowlist-source-range", 1, true))
  end)

  it("close the default backend as well", function()
    local o = annotated({ ["nginx.ingress.kubernetes.io/auth-type"] = "basic" }, nil, { defaultBackend = { service = { name = "web", port = { number = 80 } } } })
    assert.equal("* haptic_unavailable\na.example haptic_unavailable\n", o.maps["default-backend.map"])
  end)
end)

describe("A canary", function()
  it("takes no request from the main Ingress, and its owner is told", function()
    local main = ingress("main", { rules = { { host = "a.example", paths = { { "/", "Prefix", "web" } } } } })
    local canary = ingress("a-canary", { annotations = { ["nginx.ingress.kubernetes.io/canary"] = "true", ["nginx.ingress.kubernetes.io/canary-weight"] = "5" },
      rules = { { host = "a.example", paths = { { "/", "Prefix", "new" }, { "/more", "Prefix", "new" } } } } })
    for _, created in ipairs({ { 1000, 1000 }, { 1000, 2000 }, { 2000, 1000 } }) do
      local o = render({ { "services", service("web") }, { "services", service("new") }, { "ingresses", main, created[1] }, { "ingresses", canary, created[2] } })
      assert.equal(SERVED, o.maps["path-prefix.map"])
      assert.is_truthy((o.warnings["default/a-canary"] or {}).CanaryNotSupported)
    end
    canary.metadata.annotations = { ["nginx.ingress.kubernetes.io/canary"] = "false" }
    assert.matches("a.example/more/ default_new_80", render({ { "ingresses", canary } }).maps["path-prefix.map"])
  end)
end)

describe("spec.tls", function()
  it("is not passed over in silence", function()
    local tls = { tls = { { hosts = { "a.example" }, secretName = "s" } } }
    assert.matches("spec.tls", told(annotated(nil, nil, tls), "TlsNotSupported"))
    assert.equal("", told(annotated(nil, { tls_elsewhere = true }, tls), "TlsNotSupported"))
    assert.equal("", told(annotated(nil), "TlsNotSupported"))
  end)
end)

describe("Paths", function()
  local function path(p, path_type)
    local o = render({ { "services", service("web") }, { "ingresses", ingress("i", { rules = { { host = "a.example", paths = { { p, path_type } } } } }) } })
    return o.maps["path-prefix.map"] .. o.maps["path-exact.map"], o.warnings["default/i"] or {}
  end

  it("with /* at the end are prefixes where their type leaves that to the controller", function()
    for p, key in pairs({ ["/*"] = "a.example/", ["/v2/*"] = "a.example/v2/" }) do
      local entries, warnings = path(p, "ImplementationSpecific")
      assert.equal(key .. " default_web_80\n", entries)
      assert.is_nil(warnings.LiteralPath)
    end
  end)

  it("that look like patterns stay what they are, and the owner is told with the path", function()
    for _, c in ipairs({ { "/*", "Prefix", "/*/" }, { "/*", "Exact", "/*" }, { "/.*", "ImplementationSpecific", "/.*/" }, { "/a/(.*)", "ImplementationSpecific", "/a/(.*)/" },
      { "/v1/*/x", "ImplementationSpecific", "/v1/*/x/" }, { "/end$", "Prefix", "/end$/" }, { "/*/*", "ImplementationSpecific", "/*/*/" } }) do
      local entries, warnings = path(c[1], c[2])
      assert.equal("a.example" .. c[3] .. " default_web_80\n", entries)
      assert.is_truthy((warnings.LiteralPath or ""):find(c[1], 1, true), c[1])
    end
    assert.is_nil(select(2, path("/a$b", "Prefix")).LiteralPath)
  end)

  it("that clients encode are shown encoded", function()
    local o = render({ { "ingresses", ingress("i", { rules = { { host = "a.example", paths = { { "/k\195\184d" }, { "/with space" }, { "/a?b" } } } } }) } })
    local text = o.warnings["default/i"].InvalidPath
    for _, part in ipairs({ "/k%C3%B8d", "/with%20space", "/a?b" }) do assert.is_truthy(text:find(part, 1, true), text) end
  end)
end)

describe("A route that nobody answers", function()
  local function reason(objects)
    local list = { { "ingresses", ingress("i", { rules = { { host = "a.example", paths = { { "/", "Prefix", "web", "http" } } } } }) } }
    for _, o in ipairs(objects) do list[#list + 1] = o end
    local o = render(list)
    local all = {}
    for _, reasons in pairs(o.warnings) do
      for r, text in pairs(reasons) do all[r] = text end
    end
    return all
  end
  local web = { "services", service("web", { { name = "http", port = 80 } }) }

  it("has a reason that its owner can read", function()
    assert.matches("service web", reason({}).ServiceNotFound)
    assert.matches("http", reason({ { "services", service("web") } }).ServicePortNotFound)
    assert.matches("service web has no EndpointSlice.*Endpoints %(v1%)", reason({ web }).NoEndpointSlice)
    local other = reason({ web, { "endpoints", slice("web-1", "web", 80, { { "10.0.0.1" } }, { port_name = "web" }) } }).EndpointPortNotFound
    assert.matches("TCP port http", other)
    assert.matches("ports: web", other)
    assert.matches("no endpoints", reason({ web, { "endpoints", slice("web-1", "web", 80, {}, { port_name = "http" }) } }).NoEndpoints)
    -- As Kubernetes writes the slice of a Service without pods: no ports, no endpoints.
    local empty = slice("web-1", "web", 80, {})
    empty.ports = require("cjson").null
    local none = reason({ web, { "endpoints", empty } })
    assert.matches("no endpoints", none.NoEndpoints)
    assert.is_nil(none.EndpointPortNotFound)
    local portless = slice("web-1", "web", 80, { { "10.0.0.1" } })
    portless.ports = nil
    assert.matches("ports: none", reason({ web, { "endpoints", portless } }).EndpointPortNotFound)
    assert.matches("none of 2 endpoints", reason({ web, { "endpoints", slice("web-1", "web", 80, { { "10.0.0.1", ready = false }, { "10.0.0.2", ready = false } },
      { port_name = "http" }) } }).NoReadyEndpoints)
    local invalid = reason({ web, { "endpoints", slice("web-1", "web", 80, { { "127.0.0.1" } }, { port_name = "http" }) } })
    assert.matches("1 of 1", invalid.InvalidEndpoint)
    assert.is_nil(invalid.NoReadyEndpoints)
    local names = slice("web-1", "web", 80, { { "a.example" }, { "b.example" } }, { port_name = "http" })
    names.addressType = "FQDN"
    local only_names = reason({ web, { "endpoints", names } })
    assert.matches("^2 endpoints of service web are names %(addressType FQDN%)", only_names.EndpointNamesIgnored)
    only_names.EndpointNamesIgnored = nil
    assert.same({}, only_names)
    local both = reason({ web, { "endpoints", names },
      { "endpoints", slice("web-2", "web", 80, { { "10.0.0.1" } }, { port_name = "http" }) } })
    assert.matches("^2 endpoints", both.EndpointNamesIgnored)
    both.EndpointNamesIgnored = nil
    assert.same({}, both)
    assert.same({}, reason({ web, { "endpoints", slice("web-1", "web", 80, { { "10.0.0.1" } }, { port_name = "http" }) } }))
  end)
end)

describe("An Ingress of no class that there is", function()
  it("has an event that says so", function()
    local function event(fields, classes)
      local list = {}
      for name, is_default in pairs(classes) do
        list[#list + 1] = { "ingressclasses", { kind = "IngressClass", spec = { controller = "example.com/other" },
          metadata = { name = name, annotations = { ["ingressclass.kubernetes.io/is-default-class"] = tostring(is_default) } } } }
      end
      fields.rules = { { host = "a.example", paths = { { "/" } } } }
      list[#list + 1] = { "ingresses", ingress("i", fields) }
      local _, e = render(list)
      for _, item in ipairs(e.host.fragments["ingress.lua:routes/ingresses/default/i"].items) do
        if item.kind == 7 then return item.key, item.text end
      end
      return nil
    end
    local reason, text = event({ ingressClassName = "gone" }, { other = false })
    assert.equal("ClassNotFound", reason)
    assert.matches("gone", text)
    assert.is_nil(event({ ingressClassName = "other" }, { other = false }))
    assert.is_nil(event({ ingressClassName = false, annotations = { ["kubernetes.io/ingress.class"] = "nginx" } }, { other = false }))
    assert.equal("ClassNotFound", (event({ ingressClassName = false }, { other = false })))
    assert.is_nil(event({ ingressClassName = false }, { other = true }))
    assert.is_nil(event({ ingressClassName = false }, {}))
  end)
end)

describe("Endpoints of which none is ready", function()
  local endpoints = { { "10.0.0.1", pod = "a", ready = false }, { "10.0.0.2", pod = "b", ready = false, terminating = true },
    { "10.0.0.3", pod = "c", ready = false, serving = true, terminating = true } }
  local function servers(list, context, annotations)
    local web = service("web")
    web.metadata.annotations = annotations
    local o = render({ { "services", web }, { "endpoints", slice("web-1", "web", 80, list) },
      { "ingresses", ingress("i", { rules = { { host = "a.example", paths = { { "/" } } } } }) } }, context)
    local names = {}
    for line in o.config:gmatch("\n    server (%S+ %S+[^\n]*)") do names[#names + 1] = line end
    return names, o
  end

  it("serve where that is asked for, globally or for a Service", function()
    local KEPT, NOT = { "a 10.0.0.1:80", "c 10.0.0.3:80 weight 0" }, { "c 10.0.0.3:80" }
    local key = "haproxy-haptic.org/keep-last-ready"
    assert.same(NOT, (servers(endpoints)))
    assert.same(KEPT, (servers(endpoints, { keep_last_ready = true })))
    assert.same(KEPT, (servers(endpoints, nil, { [key] = "true" })))
    assert.same(NOT, (servers(endpoints, { keep_last_ready = true }, { [key] = "false" })))
    local _, o = servers(endpoints, { keep_last_ready = "true" })
    assert.matches("kept in use", told(o, "NoReadyEndpoints"))
  end)

  it("do not while one is", function()
    local list = { { "10.0.0.9", pod = "z" }, unpack(endpoints) }
    assert.same({ "c 10.0.0.3:80 weight 0", "z 10.0.0.9:80" }, (servers(list, { keep_last_ready = true })))
  end)
end)

describe("defaultBackend", function()
  it("serves what matches no host and no path; of two the older one", function()
    local function with_default(name, service_name, created)
      return { "ingresses", ingress(name, { rules = { { host = name .. ".example", paths = { { "/app" } } } },
        defaultBackend = { service = { name = service_name, port = { number = 80 } } } }), created }
    end
    local o = render({ with_default("young", "one", 2000), with_default("old", "two", 1000) })
    assert.equal("* default_two_80\nold.example default_two_80\nyoung.example default_one_80\n", o.maps["default-backend.map"])
  end)
end)
