--- haptic test for an author at work: golden files, coverage, several processes, a run for each saved file.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"
local dir

local function write(name, text)
  local path = dir .. "/" .. name
  posix.write_file(path, text)
  return path
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- What `haptic test` printed, on standard error, and its exit status.
local function test(arguments)
  local status = os.execute(("%s test %s </dev/null >%s/out 2>%s/err"):format(BIN, arguments, dir, dir))
  if type(status) == "number" then status = math.floor(status / 256) end
  return read(dir .. "/out"), read(dir .. "/err"), status == true and 0 or status
end

--- A configuration without a library: two services, each a route and a backend.
local HEAD = [[
templatingSettings: {libraries: []}
watchedResources:
  services: {apiVersion: v1, resources: services}
haproxyConfig:
  template: |
    defaults own
      mode http
      timeout client 5s
      timeout server 5s
      timeout connect 1s
    frontend web from own
      bind :80
      use_backend %[req.hdr(host),map(maps/default-backend.map)]
templateSnippets:
  routes.lua: {file: routes.lua}
validationTests:
  _global:
    fixtures:
      services:
        - {apiVersion: v1, kind: Service, metadata: {name: a, namespace: ns}, spec: {externalIPs: [192.0.2.1]}}
        - {apiVersion: v1, kind: Service, metadata: {name: b, namespace: ns}, spec: {externalIPs: [192.0.2.2]}}
]]
local ROUTES = [[
each(resources.services, "backend", function(service, out)
  local name = service.metadata.name
  out:map_entry("default-backend.map", name .. ".test", "app_" .. name)
  if service.spec.nothing then
    fail("not in any test")
  end
  out:backend("app_" .. name, { from = "own", profile = false, rank = 5000 }, function(b)
    b:server({ name = "s", address = service.spec.externalIPs[1], port = 80 })
  end)
end)
]]

local function config(tests) return write("c.yaml", HEAD .. tests) end

describe("workshop", function()
  before_each(function()
    dir = posix.make_temporary_directory("/tmp/haptic-workshop.")
    write("routes.lua", ROUTES)
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  it("compares with files, and writes them anew", function()
    local c = config("  t: {assertions: [{type: equals, target: 'map:default-backend.map', file: expected.map}]}\n")
    local out, _, status = test("-c " .. c)
    assert.equal(1, status)
    assert.matches("expected.map is not there; haptic test %-%-update writes it", out)
    out, _, status = test("--update -c " .. c)
    assert.equal(0, status, out)
    assert.matches("\nUpdated: 1 file\n", "\n" .. out)
    assert.equal("a.test app_a\nb.test app_b\n", read(dir .. "/expected.map"))
    out, _, status = test("-c " .. c)
    assert.equal(0, status, out)
    assert.is_nil(out:find("Updated", 1, true))
    write("expected.map", "a.test app_a\nb.test other\n")
    out, _, status = test("-c " .. c)
    assert.equal(1, status)
    assert.matches("differs from the file expected.map, first in line 2\n.*> +2 | b.test app_b\n  expected:\n.*> +2 | b.test other\n",
      out)
  end)

  it("names the nearest target, kind and server", function()
    local c = config([[
  target: {assertions: [{type: contains, target: "map:default-backnd.map", pattern: x}]}
  kind: {fixtures: {servces: [{apiVersion: v1, kind: Service, metadata: {name: c, namespace: ns}}]}, assertions: [{type: haproxy_valid}]}
  server: {servers: {app_a/t: {status: 500}}, requests: [{host: a.test, expect: {status: 200}}]}
]])
    local out = test("-c " .. c)
    assert.matches('there is no target "map:default%-backnd.map"; did you mean "map:default%-backend.map"%?', out)
    assert.matches('no entry of watchedResources has this name; did you mean "services"%?', out)
    assert.matches('there is no backend or server "app_a/t"; did you mean "app_a', out)
  end)

  it("counts lines of templates and routes", function()
    local c = config("  t: {requests: [{host: a.test, path: /x, expect: {status: 200, backend: app_a}}]}\n")
    local out, _, status = test(("--coverage --lcov %s/lcov -c %s"):format(dir, c))
    assert.equal(0, status, out)
    assert.matches("\n 88.9 %%     8 of 9    routes.lua  not run: 5\n", "\n" .. out)
    assert.matches("\nno request: b.test %(services ns/b%)\n", out)
    assert.matches("\nCoverage: [%d.]+ %% of %d+ template lines, 50.0 %% of 2 routes\n", out)
    local lcov = read(dir .. "/lcov")
    assert.matches("\nSF:" .. dir:gsub("%p", "%%%0") .. "/routes.lua\n", lcov)
    assert.matches("\nDA:5,0\n", lcov)
    assert.matches("\nFNDA:1,a.test %(services ns/a%)\nFNDA:0,b.test %(services ns/b%)\nFNF:2\nFNH:1\n", lcov)
    local _, err, under = test("--fail-under 80,10 -c " .. c)
    assert.equal(0, under, err)
    _, err, under = test("--fail-under 80,60 -c " .. c)
    assert.equal(1, under)
    assert.matches("50.0 %% of the routes are covered, 60 %% are wanted", err)
  end)

  it("spreads tests over processes, with the same result", function()
    local tests = {}
    for i = 1, 5 do
      tests[i] = ("  t%d: {assertions: [{type: contains, target: 'map:default-backend.map', pattern: app_%s}]}\n"):format(i,
        i == 3 and "none" or "a")
    end
    local c = config(table.concat(tests))
    local function verdicts(more)
      local out, err, status = test("-o json --coverage --seed 5 " .. more .. " -c " .. c)
      assert.equal(1, status, err)
      local document = cjson.decode(out)
      local list = {}
      for i, t in ipairs(document.tests) do list[i] = t.name .. " " .. t.verdict end
      return table.concat(list, ","), document
    end
    local alone, one = verdicts("")
    local together, three = verdicts("--jobs 3")
    assert.equal(alone, together)
    assert.same({ 4, 1 }, { three.passed, three.failed })
    assert.same(one.coverage, three.coverage)
    local out = test("-o json --seed 5 --share 2/3 -c " .. c)
    assert.equal(2, #cjson.decode(out).tests)
  end)

  it("runs again when a template is saved", function()
    local c = config("  t: {assertions: [{type: contains, target: 'map:default-backend.map', pattern: app_a}]}\n")
    os.execute(("%s test --watch -c %s >%s/watched 2>&1 </dev/null & echo $! >%s/pid"):format(BIN, c, dir, dir))
    local pid = read(dir .. "/pid"):match("%d+")
    finally(function() os.execute("kill " .. pid) end)
    local function await(pattern)
      for _ = 1, 600 do
        if posix.is_file(dir .. "/watched") and read(dir .. "/watched"):find(pattern) then return end
        posix.sleep(0.05)
      end
      error("not seen: " .. pattern .. "\n" .. read(dir .. "/watched"))
    end
    await("Tests: 1 passed.-waiting for a change")
    write("routes.lua.new", (ROUTES:gsub("app_", "other_")))
    os.rename(dir .. "/routes.lua.new", dir .. "/routes.lua")
    await("Tests: 0 passed, 1 failed.-waiting for a change")
    write("routes.lua", "local = 2\n")
    await("routes.lua:1: '<name>' expected near '='.-waiting for a change")
    write("routes.lua", ROUTES)
    await("expected near.*Tests: 1 passed.-waiting for a change")
  end)

  it("refuses a template with a text and a file, and one with a file that is not there", function()
    local c = write("c.yaml", "templateSnippets:\n  a: {template: x, file: z}\n")
    assert.matches('c.yaml:2:7: error HT0103: templateSnippets.a: has both "template" and "file"', (test("-c " .. c)))
    c = write("c.yaml", "templateSnippets:\n  a: {file: z}\n")
    assert.matches("templateSnippets.a: .*/z: No such file or directory", (test("-c " .. c)))
  end)

  --- What a command printed, on standard error, and its exit status.
  local function haptic(arguments)
    local status = os.execute(("%s %s </dev/null >%s/out 2>%s/err"):format(BIN, arguments, dir, dir))
    if type(status) == "number" then status = math.floor(status / 256) end
    return read(dir .. "/out"), read(dir .. "/err"), status == true and 0 or status
  end

  local DRAFT = [[
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: draft, namespace: shop}
spec:
  ingressClassName: haptic
  tls: [{hosts: [a.test], secretName: certs}]
  rules: [{host: a.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
]]

  it("takes a configuration of several files, or of a folder", function()
    os.execute("mkdir " .. dir .. "/folder " .. dir .. "/empty")
    write("folder/10-base.yaml", [[
templateSnippets:
  own.lua:
    template: |
      each(resources.services, "own", function(service, out) out:map_entry("own.map", service.metadata.name, "base") end)
libraryRefs: [{name: more}]
validationTests:
  one: {assertions: [{type: haproxy_valid}]}
]])
    write("folder/20-over.yaml", [[
templateSnippets:
  own.lua:
    template: |
      each(resources.services, "own", function(service, out) out:map_entry("own.map", service.metadata.name, "over") end)
]])
    write("folder/30-more.yaml", [[
apiVersion: haproxy-haptic.org/v1alpha1
kind: HAProxyTemplateLibrary
metadata: {name: more}
spec:
  revision: "1"
  templateSnippets: {more.lua: {template: 'provide("x", 1)'}}
  validationTests:
    two: {assertions: [{type: haproxy_valid}]}
]])
    write("folder/.hidden.yaml", "no: configuration")
    local function maps(options)
      local out, err, status = haptic("render -t maps --haproxy-version 3.2 " .. options .. " examples/manifests")
      assert.equal(0, status, err)
      return out:match("own%.map <==\n(.-)\n#")
    end
    assert.equal("cart over\nweb over", maps("-c " .. dir .. "/folder"))
    local base, over, more = dir .. "/folder/10-base.yaml", dir .. "/folder/20-over.yaml", dir .. "/folder/30-more.yaml"
    assert.equal("cart base\nweb base", maps(("-c %s -c %s -c %s"):format(over, base, more)))
    assert.equal("cart over\nweb over", maps(("-c %s -c %s -c %s"):format(more, base, over)))
    local out, err, status = test("-c " .. dir .. "/folder")
    assert.equal(0, status, err)
    assert.matches("Tests: 2 passed, 0 failed", out)
    local view = cjson.decode((haptic("config view -c " .. dir .. "/folder")))
    assert.matches('"over"', view.templateSnippets["own.lua"].template)
    assert.is_truthy(view.templateSnippets["more.lua"])
    -- A message names the file of the folder.
    write("folder/40-wrong.yaml", "maps:\n  a.map: {tmplate: x}\n")
    out, err, status = haptic("validate -c " .. dir .. "/folder examples/manifests")
    assert.equal(1, status, err)
    assert.matches("folder/40%-wrong.yaml:2:%d+: error HT0103: maps.a.map.tmplate: unknown field; did you mean \"template\"", out)
    out, err, status = haptic("validate -c " .. dir .. "/empty examples/manifests")
    assert.equal("", out)
    assert.equal(2, status)
    assert.matches("no file of this folder ends in .yaml, .yml or .json", err)
  end)

  it("renders an Ingress whose Service and certificate are invented, and tells what its owner is told", function()
    local c = write("s.yaml", "watchedResources:\n  secrets: {apiVersion: v1, resources: secrets}\n")
    local m = write("draft.yaml", DRAFT)
    local events, _, status = haptic(("render -t events -c %s %s"):format(c, m))
    assert.equal(0, status)
    assert.matches("\nWarning ServiceNotFound ingresses shop/draft there is no service web\n", "\n" .. events)
    assert.matches("\nWarning TlsSecretNotFound ingresses shop/draft ", "\n" .. events)
    local out, err
    out, err, status = haptic(("render --fill-missing -t all -c %s %s"):format(c, m))
    assert.equal(0, status, err)
    assert.equal("invented: Service shop/web with two endpoints, port 80, for Ingress shop/draft\n"
      .. "invented: Secret shop/certs with a certificate for a.test, for Ingress shop/draft\n", err)
    assert.matches("\nbackend shop_web_80 [^\n]+\n    server 198.51.100.1_80 198.51.100.1:80\n    server 203.0.113.1_80 203.0.113.1:80\n",
      out)
    assert.matches("\ncerts/shop_certs.pem a.test\n", out)
    assert.equal("", (haptic(("render --fill-missing -t events -c %s %s"):format(c, m))))
  end)

  it("says what fragments cost, and how that grows with the number of objects", function()
    local _, err = haptic("render --timings examples/manifests")
    assert.matches("\n +runs +total ms +most ms +KiB +fragments of\n", "\n" .. err)
    assert.matches("\n +2 +[%d.]+ +[%d.]+ +%d+  ingress.lua:backend/services/  %(most: ", err)
    -- Each fragment makes a list of all objects: what it allocates grows with the square of their number.
    local head = "templateSnippets:\n  own.lua: {template: 'each(resources.services, \"own\", function(s, out) "
    local tail = "out:map_entry(\"own.map\", s.metadata.namespace .. s.metadata.name, 1) end)'}\n"
    local old = write("old.yaml", head .. tail)
    local new = write("new.yaml", head .. "local t = {} for _, x in ipairs(resources.services:list()) do "
      .. "t[#t + 1] = { x.metadata.name } end " .. tail)
    local out, why, status = haptic(("bench -o json -n 800 -c %s -C %s examples/manifests"):format(old, new))
    assert.equal(0, status, out .. why)
    local document = cjson.decode(out)
    local function of(number)
      for _, f in ipairs(document.configurations[number].fragments) do
        if f.name == "own.lua:own/services/" then return f end
      end
    end
    assert.equal(2, #document.configurations)
    assert.same({ 200, 800 }, { document.configurations[1].sizes[1].objects, document.configurations[1].sizes[2].objects })
    assert.equal(of(1).runs, of(2).runs)
    assert.is_true(of(1).allocated_exponent < 1.3, cjson.encode(of(1)))
    assert.is_true(of(2).allocated_exponent > 1.7, cjson.encode(of(2)))
    for _, size in ipairs(document.configurations[1].sizes) do
      assert.is_true(size.render_ms > 0 and size.change_ms > 0 and size.validate_ms > 0 and size.allocated_bytes > 0)
    end
    assert.matches("there is no object in a namespace to copy", (select(2, haptic("bench"))))
  end)
end)
