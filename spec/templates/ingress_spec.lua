local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")
local ingress, service, slice = program.ingress, program.service, program.slice

-- A world: objects, and what requests get. Each Service's endpoints are loopback addresses at which one process
-- answers with the address it was reached at.
local port = haproxy.free_port()

local function address_of(n) return "127.1.0." .. n end

--- Objects of a service `name` in `namespace` with one endpoint, 127.1.0.n.
local function app(e, name, n, namespace)
  e:put("services", service(name, { { name = "http", port = 80 } }, { namespace = namespace }))
  e:put("endpoints", slice(name .. "-1", name, port, { { address_of(n), pod = name .. "-0" } },
    { namespace = namespace, port_name = "http" }))
end

local function world(options)
  local e = program.engine({ context = options.context })
  for i, name in ipairs(options.apps or {}) do app(e, name, i) end
  for _, o in ipairs(options.objects or {}) do e:put(o[1], o[2], o[3]) end
  e:render()
  assert.same({}, e.host.failures)
  return e
end

local BASE = { local_endpoints = "true", http_bind = "unix@SOCK/http", status_bind = "unix@SOCK/status" }

local folder, echo, binary
setup(function()
  folder = haproxy.folder()
  echo = haproxy.echo(folder .. "/echo", port)
end)
teardown(function()
  haproxy.stop(echo)
  haproxy.remove(folder)
end)

--- Run HAProxy with an output and ask it. requests: {host, path, expected}: expected is an address's last number, or
--- a status.
local function serve(e, requests, dir)
  haproxy.write(dir, e:output())
  local ok, words = haproxy.check(binary, dir)
  assert.is_true(ok, words)
  local pid = haproxy.start(binary, dir, dir .. "/http")
  local results = {}
  for i, r in ipairs(requests) do
    local status, body, text = haproxy.get(dir .. "/http", r[2], r[1], r.headers)
    results[i] = { status = status, body = body, text = text }
  end
  haproxy.stop(pid)
  for i, r in ipairs(requests) do
    local got = results[i]
    local what = ("%s: %s%s gave %s"):format(binary, tostring(r[1]), r[2], got.text)
    if type(r[3]) == "table" then
      local any = false
      for _, n in ipairs(r[3]) do any = any or got.body and got.body:find(address_of(n) .. " ", 1, true) == 1 end
      assert.is_true(any, what)
    elseif r[3] < 100 then
      assert.equal(200, got.status, what)
      assert.equal(address_of(r[3]), got.body:match("^%S+"), what)
    else
      assert.equal(r[3], got.status, what)
    end
    if r.body then assert.matches(r.body, got.body, nil, nil, what) end
  end
end

local function merged(context, dir)
  local c = {}
  for k, v in pairs(BASE) do c[k] = v:gsub("SOCK", dir) end
  for k, v in pairs(context or {}) do c[k] = v end
  return c
end

-- The table: each row is a world with its requests.
local ROWS = {
  { "matches Exact, Prefix and ImplementationSpecific as the API says",
    apps = { "a", "b", "c", "d", "e" },
    objects = { { "ingresses", ingress("i", { rules = { { host = "h.example", paths = {
      { "/foo", "Prefix", "a" }, { "/foo/bar", "Prefix", "b" }, { "/foo/bar", "Exact", "c" }, { "/exact/", "Exact", "d" },
      { "/impl", "ImplementationSpecific", "e" }, { "/slash/", "Prefix", "e" } } } } }) } },
    requests = {
      { "h.example", "/foo", 1 }, { "h.example", "/foo/", 1 }, { "h.example", "/foo?q=/foo/bar", 1 }, { "h.example", "/foobar", 404 },
      { "h.example", "/foo/ba", 1 }, { "h.example", "/foo/bar", 3 }, { "h.example", "/foo/bar/", 2 }, { "h.example", "/foo/bar/x/y", 2 },
      { "h.example", "/foo/barx", 1 }, { "h.example", "/exact/", 4 }, { "h.example", "/exact", 404 }, { "h.example", "/exact/x", 404 },
      { "h.example", "/impl/x", 5 }, { "h.example", "/implx", 404 }, { "h.example", "/slash", 5 }, { "h.example", "/slash/x", 5 },
      { "h.example", "/FOO", 404 }, { "h.example", "/", 404 }, { "h.example", "/f%6fo", 404 }, { "other.example", "/foo", 404 },
    } },
  { "prefers the exact host to the wildcard to none, and falls through where no path matches",
    apps = { "a", "b", "c", "d" },
    objects = {
      { "ingresses", ingress("exact", { rules = { { host = "w.example.com", paths = { { "/x", "Prefix", "a" } } } } }) },
      { "ingresses", ingress("wild", { rules = { { host = "*.example.com", paths = { { "/x/deep", "Prefix", "b" }, { "/y", "Prefix", "b" } } } } }) },
      { "ingresses", ingress("none", { rules = { { paths = { { "/", "Prefix", "c" }, { "/y", "Exact", "d" } } } } }) },
    },
    requests = {
      { "w.example.com", "/x/deep", 1 }, { "w.example.com", "/y", 2 }, { "w.example.com", "/z", 3 }, { "v.example.com", "/x/deep/er", 2 },
      { "v.example.com", "/y/", 2 }, { "example.com", "/y", 4 }, { "a.b.example.com", "/y", 4 }, { "a.b.example.com", "/y/z", 3 },
      { "W.Example.COM", "/x", 1 }, { "w.example.com:8080", "/x", 1 }, { "[::1]:80", "/q", 3 }, { "10.0.0.1", "/y", 4 },
      { "*.example.com", "/y", 2 },
    } },
  { "serves a path element by element down to the root",
    apps = { "a", "b" },
    objects = { { "ingresses", ingress("i", { rules = { { host = "r.example", paths = { { "/", "Prefix", "a" }, { "/b", "Prefix", "b" } } } } }) } },
    requests = { { "r.example", "/", 1 }, { "r.example", "/b", 2 }, { "r.example", "/bb", 1 }, { "r.example", "//b", 1 }, { "r.example", "/a/b", 1 } } },
  { "uses defaultBackend for what no rule matches",
    apps = { "a", "b", "c" },
    context = { default_backend = "default/c:http" },
    objects = {
      { "ingresses", ingress("hosts", { rules = { { host = "d.example", paths = { { "/x", "Prefix", "a" } } }, { host = "*.d.example", paths = {} } },
        defaultBackend = { service = { name = "b", port = { name = "http" } } } }) },
    },
    requests = { { "d.example", "/x", 1 }, { "d.example", "/y", 2 }, { "q.d.example", "/y", 2 }, { "other.example", "/y", 2 } } },
  { "uses the controller's own default behind all others",
    apps = { "a", "c" },
    context = { default_backend = "default/c:http" },
    objects = { { "ingresses", ingress("hosts", { rules = { { host = "d.example", paths = { { "/x", "Prefix", "a" } } } } }) } },
    requests = { { "d.example", "/x", 1 }, { "d.example", "/y", 2 }, { "other.example", "/y", 2 } } },
  { "an Ingress of a defaultBackend alone is the default of all hosts, before the controller's",
    apps = { "a", "b" },
    context = { default_backend = "default/b:80" },
    objects = { { "ingresses", ingress("all", { defaultBackend = { service = { name = "a", port = { number = 80 } } } }) } },
    requests = { { "any.example", "/", 1 } } },
  { "resolves ports by number and by name",
    objects = {
      { "services", service("s", { { name = "one", port = 80 }, { name = "two", port = 81 }, { name = "udp", port = 82, protocol = "UDP" } }) },
      { "endpoints", slice("s-1", "s", port, { { address_of(7) } }, { ports = { { name = "two", port = port }, { name = "one", port = 1 } } }) },
      { "ingresses", ingress("i", { rules = { { host = "p.example", paths = { { "/name", "Prefix", "s", "two" }, { "/number", "Prefix", "s", 81 },
        { "/one", "Prefix", "s", "one" }, { "/none", "Prefix", "s", "three" }, { "/udp", "Prefix", "s", 82 } } } } }) },
    },
    requests = { { "p.example", "/name", 7 }, { "p.example", "/number", 7 }, { "p.example", "/one", 503 }, { "p.example", "/none", 503 },
      { "p.example", "/udp", 503 } } },
  { "answers 503 for the path alone whose Service or endpoints are missing",
    apps = { "a" },
    objects = {
      { "services", service("empty") },
      { "endpoints", slice("empty-1", "empty", port, {}) },
      { "services", service("bare") },
      { "ingresses", ingress("i", { rules = { { host = "m.example", paths = { { "/", "Prefix", "a" }, { "/gone", "Prefix", "gone" },
        { "/empty", "Prefix", "empty" }, { "/bare", "Prefix", "bare" } } } } }) },
    },
    requests = { { "m.example", "/", 1 }, { "m.example", "/gone/x", 503 }, { "m.example", "/empty", 503 }, { "m.example", "/bare", 503 } } },
  { "joins slices, address families; leaves out what is not ready; drains what terminates",
    objects = {
      { "services", service("s", { { port = 80 } }) },
      { "endpoints", slice("s-1", "s", port, { { address_of(11), pod = "p-1", ready = false }, { address_of(12), pod = "p-2" } }) },
      { "endpoints", slice("s-2", "s", port, { { address_of(13), pod = "p-3", ready = false, serving = true, terminating = true },
        { address_of(14), pod = "p-4", ready = false, serving = false, terminating = true }, { address_of(12), pod = "p-2" } }) },
      { "services", service("six", { { port = 80 } }) },
      { "endpoints", slice("six-1", "six", port, { { "::1", pod = "p-2" } }, { addressType = "IPv6" }) },
      { "services", service("leaving", { { port = 80 } }) },
      { "endpoints", slice("l-1", "leaving", port, { { address_of(15), ready = false, serving = true, terminating = true } }) },
      { "ingresses", ingress("i", { rules = { { host = "s.example", paths = { { "/", "Prefix", "s" }, { "/six", "Prefix", "six" },
        { "/leaving", "Prefix", "leaving" } } } } }) },
    },
    requests = { { "s.example", "/", 12 }, { "s.example", "/", 12 }, { "s.example", "/", 12 }, { "s.example", "/six", 200, body = "^::1 " },
      { "s.example", "/leaving", 15 } },
    config = { "server p%-2 127.1.0.12:%d+\n    server p%-3 127.1.0.13:%d+ weight 0\n\n", "server p%-2_v6 %[::1%]:%d+\n" } },
  { "serves one host from several Ingresses; the oldest wins a path, then the name",
    apps = { "a", "b", "c" },
    objects = {
      { "ingresses", ingress("young", { rules = { { host = "c.example", paths = { { "/", "Prefix", "b" }, { "/b", "Prefix", "b" } } } } }), 2000 },
      { "ingresses", ingress("old", { rules = { { host = "c.example", paths = { { "/", "Prefix", "a" }, { "/b/c", "Prefix", "c" } } } } }), 1000 },
      { "ingresses", ingress("z-same-age", { rules = { { host = "c.example", paths = { { "/", "Prefix", "b" } } } } }), 1000 },
    },
    requests = { { "c.example", "/", 1 }, { "c.example", "/b", 2 }, { "c.example", "/b/c", 3 } } },
  { "keeps namespaces apart",
    objects = {
      { "services", service("web", nil, { namespace = "one" }) }, { "services", service("web", nil, { namespace = "two" }) },
      { "endpoints", slice("web-1", "web", port, { { address_of(21) } }, { namespace = "one" }) },
      { "endpoints", slice("web-1", "web", port, { { address_of(22) } }, { namespace = "two" }) },
      { "ingresses", ingress("i", { namespace = "one", rules = { { host = "one.example", paths = { { "/" } } } } }) },
      { "ingresses", ingress("i", { namespace = "two", rules = { { host = "two.example", paths = { { "/" } } } } }) },
    },
    requests = { { "one.example", "/", 21 }, { "two.example", "/", 22 } } },
  { "tells backends who asked, and does not believe clients",
    apps = { "a" },
    objects = { { "ingresses", ingress("i", { rules = { { paths = { { "/", "Prefix", "a" } } } } }) } },
    requests = { { "x", "/", 1, headers = { "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X_Forwarded_For: 6.6.6.6" }, body = "proto=http$" },
      { "x", "/", 200, headers = { "X-Forwarded-For: 6.6.6.6" }, body = "^%S+ / xff= " } } },
}

for _, path in ipairs(haproxy.binaries()) do
  describe("Ingress with " .. haproxy.sh(path .. " -v"):match("version (%S+)"), function()
    for i, row in ipairs(ROWS) do
      it(row[1], function()
        binary = path
        local dir = folder .. "/" .. i
        local e = world({ apps = row.apps, objects = row.objects, context = merged(row.context, dir) })
        for _, pattern in ipairs(row.config or {}) do assert.matches(pattern, e:output().config) end
        serve(e, row.requests, dir)
        haproxy.sh("rm -rf " .. dir)
      end)
    end

    it("answers on the status frontend", function()
      binary = path
      local dir = folder .. "/status"
      local e = world({ apps = { "secretive" }, context = merged(nil, dir), objects = {
        { "ingresses", ingress("i", { rules = { { host = "h.example", paths = { { "/", "Prefix", "secretive" } } } } }) } } })
      haproxy.write(dir, e:output())
      local pid = haproxy.start(path, dir, dir .. "/status")
      local health = haproxy.get(dir .. "/status", "/healthz")
      local metrics, text = haproxy.get(dir .. "/status", "/metrics")
      local stats, page = haproxy.get(dir .. "/stats.sock", "/stats")
      local _, servers = haproxy.get(dir .. "/stats.sock", "/metrics")
      local _, tried = haproxy.get(dir .. "/status", "/metrics?scope=server&scope=backend")
      local hidden = haproxy.get(dir .. "/status", "/stats")
      local missing = haproxy.get(dir .. "/http", "/")
      haproxy.stop(pid)
      assert.same({ 200, 200, 200, 404 }, { health, metrics, stats, missing })
      assert.equal(503, hidden)
      for _, private in ipairs({ page, servers }) do assert.matches("default_secretive_80", private) end
      for _, public in ipairs({ text, tried }) do
        assert.matches("haproxy_process_", public)
        assert.not_matches("secretive", public)
      end
    end)
  end)
end

describe("Ingress classes", function()
  local function class(name, controller, default)
    return { kind = "IngressClass", metadata = { name = name, annotations = default and { ["ingressclass.kubernetes.io/is-default-class"] = "true" } },
      spec = { controller = controller } }
  end
  local OURS, OTHER = "haproxy-haptic.org/controller", "example.com/other"

  local function is_served(classes, fields, context)
    local e = program.engine({ context = context })
    for _, c in ipairs(classes) do e:put("ingressclasses", c) end
    local spec = { rules = { { host = "k.example", paths = { { "/" } } } } }
    for k, v in pairs(fields) do spec[k] = v end
    e:put("ingresses", ingress("i", spec))
    e:render()
    return e:output().maps["path-prefix.map"] ~= ""
  end
  local function annotation(name) return { ingressClassName = false, annotations = { ["kubernetes.io/ingress.class"] = name } } end

  for _, case in ipairs({
    { "our name without an IngressClass", true, {}, { ingressClassName = "haptic" } },
    { "another name", false, {}, { ingressClassName = "nginx" } },
    { "a class of our controller", true, { class("edge", OURS) }, { ingressClassName = "edge" } },
    { "a class of another controller", false, { class("edge", OTHER) }, { ingressClassName = "edge" } },
    { "our name taken by another controller", false, { class("haptic", OTHER) }, { ingressClassName = "haptic" } },
    { "the annotation", true, {}, annotation("haptic") },
    { "the annotation with a class of ours", true, { class("edge", OURS) }, annotation("edge") },
    { "another annotation", false, {}, annotation("nginx") },
    { "the field before the annotation", false, {}, { ingressClassName = "nginx", annotations = { ["kubernetes.io/ingress.class"] = "haptic" } } },
    { "no class where there are no classes", true, {}, { ingressClassName = false } },
    { "no class where ours is not the default", false, { class("haptic", OURS) }, { ingressClassName = false } },
    { "no class where ours is the default", true, { class("haptic", OURS, true) }, { ingressClassName = false } },
    { "no class where another is the default", false, { class("haptic", OURS), class("nginx", OTHER, true) }, { ingressClassName = false } },
    { "no class, all wanted", true, { class("nginx", OTHER, true) }, { ingressClassName = false }, { watch_without_class = true } },
    { "no class, none wanted", false, {}, { ingressClassName = false }, { watch_without_class = false } },
    { "a class name of our own", true, {}, { ingressClassName = "edge" }, { ingress_class = "edge" } },
    { "the usual name where another is ours", false, {}, { ingressClassName = "haptic" }, { ingress_class = "edge" } },
    { "a further name without an IngressClass", true, {}, { ingressClassName = "old" }, { ingress_classes = { { name = "old" } } } },
    { "a further name as an annotation", true, {}, annotation("old"), { ingress_classes = { { name = "old" } } } },
    { "a further name of another controller", true, { class("old", OTHER) }, { ingressClassName = "old" },
      { ingress_classes = { { name = "old" } } } },
    { "a further name with that controller", true, { class("old", OTHER) }, { ingressClassName = "old" },
      { ingress_classes = { { name = "old", controller = OTHER } } } },
    { "a further name with a third controller", false, { class("old", "example.com/third") }, { ingressClassName = "old" },
      { ingress_classes = { { name = "old", controller = OTHER } } } },
    { "another name of that controller", false, { class("new", OTHER) }, { ingressClassName = "new" },
      { ingress_classes = { { name = "old", controller = OTHER } } } },
    { "any class of a further controller", true, { class("new", OTHER) }, { ingressClassName = "new" },
      { ingress_classes = { { controller = OTHER } } } },
    { "no class where a further controller's is the default", true, { class("new", OTHER, true) }, { ingressClassName = false },
      { ingress_classes = { { controller = OTHER } } } },
    { "a class of our controller beside further ones", true, { class("edge", OURS) }, { ingressClassName = "edge" },
      { ingress_classes = { { name = "old" } } } },
    { "a further name, as text", true, {}, { ingressClassName = "old" },
      { ingress_classes = "controller=example.com/third status=never; name=old" } },
  }) do
    it(case[1] .. (case[2] and " is served" or " is not served"), function()
      assert.equal(case[2], is_served(case[3], case[4], case[5]))
    end)
  end

  it("that may not be read leave our own name, and nothing is said of others", function()
    local kinds = {}
    for _, kind in ipairs(program.KINDS) do
      if kind.name ~= "ingressclasses" then kinds[#kinds + 1] = kind end
    end
    for _, case in ipairs({
      { true, { ingressClassName = "haptic" } }, { true, annotation("haptic") }, { false, { ingressClassName = "edge" } },
      { false, { ingressClassName = false } }, { true, { ingressClassName = false }, { watch_without_class = true } },
    }) do
      local e = program.engine({ kinds = kinds, context = case[3] })
      case[2].rules = { { host = "k.example", paths = { { "/" } } } }
      e:put("ingresses", ingress("i", case[2]))
      e:render()
      assert.equal(case[1], e:output().maps["path-prefix.map"] ~= "")
      for _, item in ipairs(e.host.fragments["ingress.lua:routes/ingresses/default/i"].items) do
        assert.not_equal("ClassNotFound", item.key)
      end
    end
  end)

  it("that change are followed", function()
    local e = program.engine()
    e:put("ingresses", ingress("i", { ingressClassName = "edge", rules = { { host = "k.example", paths = { { "/" } } } } }))
    e:render()
    assert.equal("", e:output().maps["path-prefix.map"])
    e:put("ingressclasses", class("edge", OURS))
    assert.same({ "ingress.lua:backend/services/default/web/80", "ingress.lua:routes/ingresses/default/i" }, e:render().sent)
    assert.equal("k.example/ default_web_80\n", e:output().maps["path-prefix.map"])
    e:put("ingressclasses", class("unrelated", OTHER))
    assert.equal(1, e:render().run) -- no class is not ours by another reason now
    e:delete("ingressclasses", "edge")
    e:render()
    assert.equal("", e:output().maps["path-prefix.map"])
  end)
end)

describe("Ingress rules that cannot be", function()
  local function warnings(rule, objects)
    local e = program.engine()
    for _, o in ipairs(objects or {}) do e:put(o[1], o[2]) end
    e:put("ingresses", ingress("i", { rules = { rule } }))
    e:render()
    assert.same({}, e.host.failures)
    local o = e:output()
    return o.warnings["default/i"] or {}, o
  end

  it("are refused with a warning on the object", function()
    for _, host in ipairs({ "UPPER.example", "a b", "-a.example", "a..b", "*", "*.", "*.*.example", "a.*.example", "a_b.example", "x:80", ("a"):rep(64) .. ".example",
      ("a."):rep(127) .. "aa", "a/b", "a.example.", "ex\195\164mple" }) do
      local w, o = warnings({ host = host, paths = { { "/" } } })
      assert.is_string(w.InvalidHost, host)
      assert.equal("", o.maps["path-prefix.map"])
    end
    for _, path in ipairs({ "x", "/a b", "/a\tb", "/a\nb", "/a#b", "/a?b", "/%zz", "/%", "/a//b", "/./a", "/a/..", "/\195\164", "/" .. ("a"):rep(1024), "/a\"b", "/a\\b" }) do
      local w, o = warnings({ host = "p.example", paths = { { path } } })
      assert.is_string(w.InvalidPath, path)
      assert.equal("", o.maps["path-prefix.map"])
    end
    assert.is_string(warnings({ host = "p.example", paths = { { "/", "Regex" } } }).InvalidPath)
  end)

  it("name what is missing", function()
    assert.equal("there is no service web", warnings({ host = "p.example", paths = { { "/" } } }).ServiceNotFound)
    assert.equal("service web has no TCP port 81",
      warnings({ host = "p.example", paths = { { "/", "Prefix", "web", 81 } } }, { { "services", service("web") } }).ServicePortNotFound)
    local w, o = warnings({ host = "p.example", paths = { { "/", "Prefix", "web_1" }, { "/x", "Prefix", "web", 70000 } } })
    assert.is_string(w.InvalidBackend)
    assert.equal("p.example/ haptic_unavailable\np.example/x/ haptic_unavailable\n", o.maps["path-prefix.map"])
  end)

  it("give the first of two equal paths the route", function()
    local w, o = warnings({ host = "p.example", paths = { { "/a", "Prefix", "one" }, { "/a/", "Prefix", "two" } } })
    assert.is_string(w.DuplicatePath)
    assert.equal("p.example/a/ default_one_80\n", o.maps["path-prefix.map"])
  end)
end)

describe("Services by external name", function()
  local function external(name, port_label)
    local e = program.engine()
    e:put("services", service("x", { { name = "web", port = 8443 } }, { type = "ExternalName", externalName = name }))
    e:put("ingresses", ingress("i", { rules = { { host = "p.example", paths = { { "/", "Prefix", "x", port_label or 80 } } } } }))
    e:render()
    return e:output()
  end

  it("become a server that is resolved while HAProxy runs", function()
    assert.matches("server external api.example.com:80 resolvers default resolve%-prefer ipv4 init%-addr last,none\n", external("API.example.com.").config)
    assert.matches("server external api.example.com:8443 ", external("api.example.com", "web").config)
  end)

  it("cannot point at HAProxy's own machine or break out", function()
    for _, name in ipairs({ "localhost", "x.localhost", "127.0.0.1", "169.254.169.254", "0.0.0.0", "0", "a b", "a\nb", "[::1]", "::1", "", "unix@x", "a:80", "/tmp/s" }) do
      local o = external(name)
      assert.is_string(o.warnings["default/i"].InvalidExternalName, name)
      assert.not_matches("server external", o.config)
    end
  end)
end)

describe("Many endpoints", function()
  it("have no limit", function()
    local e = program.engine({ checked = false })
    e:put("services", service("web"))
    for s = 1, 60 do
      local list = {}
      for i = 1, 100 do list[i] = { ("10.%d.%d.1"):format(s, i), pod = ("p-%d-%d"):format(s, i) } end
      e:put("endpoints", slice("web-" .. s, "web", 80, list))
    end
    e:put("ingresses", ingress("i", { rules = { { host = "p.example", paths = { { "/" } } } } }))
    e:render()
    local o = e:output()
    local _, n = o.config:gsub("    server ", "")
    assert.equal(6000, n)
    local dir = haproxy.folder()
    finally(function() haproxy.remove(dir) end)
    haproxy.write(dir, o)
    local ok, words = haproxy.check("haproxy", dir)
    assert.is_true(ok, words)
  end)
end)
