-- What Ingresses of a class have by default: annotations that neither they nor their Services have.
local program = require("spec.support.program")

local KINDS = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }
local OTHER = "example.com/other"

local function engine(defaults, context)
  local all = { ingress_classes = { { controller = OTHER, defaults = defaults }, { name = "plain" } }, configmap = "default/haproxy" }
  for key, value in pairs(context or {}) do all[key] = value end
  local e = program.engine({ kinds = KINDS, context = all, capabilities = { version = "3.4", major = 3, minor = 4,
    default_certificate = "HapticSecret0123456789abcdef0123456789abcdefEnd" } })
  e:put("ingressclasses", { metadata = { name = "old" }, spec = { controller = OTHER } })
  e:put("services", program.service("web"))
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  return e
end

local function put(e, class, annotations)
  e:put("ingresses", program.ingress("web", { ingressClassName = class, annotations = annotations,
    rules = { { host = "a.example", paths = { { "/" } } } } }))
  e:render()
  assert.same({}, e.host.failures)
  return e:output().maps
end

local function told(e)
  local list = {}
  for _, f in pairs(e.host.fragments) do
    for _, c in ipairs(f.items) do
      if c.kind == 8 then list[#list + 1] = c.key .. ": " .. c.text end
    end
  end
  return list
end

describe("a further class", function()
  it("needs a name where IngressClasses are not watched", function()
    local kinds = {}
    for _, kind in ipairs(program.KINDS) do
      if kind.name ~= "ingressclasses" then kinds[#kinds + 1] = kind end
    end
    local e = program.engine({ kinds = kinds, context = { ingress_classes = { { controller = OTHER }, { name = "old" } } } })
    assert.matches("default_web_80", put(e, "old")["path-prefix.map"])
    local all = table.concat(told(e), "\n")
    assert.matches("InvalidSetting: ingress_classes: which classes are those of example.com/other is not known, as ingressclasses "
      .. "is not among watchedResources: name them", all, 1, true)
  end)
end)

describe("a ConfigMap that does not exist", function()
  local CLOSED, METRICS = "http-request return status 503 content-type text/plain string 'the configuration is not there'\n",
    "http-request deny deny_status 503 if { path /metrics }"
  local PASSED = "tcp-request content reject if { var(txn.passthrough) -m found }\n"

  it("closes everything where it is required, and only there", function()
    for _, case in ipairs({ { true, "nothing is served until it exists" }, { false, "nothing of what it may protect is protected" } }) do
      local e = engine({}, { configmap_required = case[1], ssl_passthrough = true })
      put(e, "plain")
      local config = e:output().config
      for _, line in ipairs({ CLOSED, METRICS, PASSED }) do
        assert.equal(case[1], config:find(line, 1, true) ~= nil, line)
      end
      assert.matches("ConfigMapNotFound: configmap: there is no ConfigMap default/haproxy; " .. case[2],
        table.concat(told(e), "\n"), 1, true)
      e:put("configmaps", { metadata = { namespace = "default", name = "haproxy" }, data = {} })
      put(e, "plain")
      for _, line in ipairs({ CLOSED, METRICS, PASSED }) do
        assert.is_nil(e:output().config:find(line, 1, true), line)
      end
      assert.not_matches("ConfigMapNotFound", table.concat(told(e), "\n"))
    end
  end)

  it("is missing as well where ConfigMaps are not watched", function()
    local e = program.engine({ context = { configmap = "default/haproxy", configmap_required = true } })
    e:render()
    assert.truthy(e:output().config:find(CLOSED, 1, true))
    assert.matches("KindNotWatched: configmap: .*nothing is served", table.concat(told(e), "\n"))
    e = program.engine({ context = { configmap_required = true } }) -- none is named
    e:render()
    assert.is_nil(e:output().config:find(CLOSED, 1, true))
  end)
end)

describe("the defaults of a class", function()
  it("count for its Ingresses only, where no level has a right value", function()
    local e = engine({ ["haproxy.org/request-redirect"] = "by-class.example", ["haproxy.org/timeout-server"] = "7s" })
    assert.matches("|by%-class.example", put(e, "old")["route-redirect.map"])
    assert.matches("|own.example", put(e, "old", { ["haproxy.org/request-redirect"] = "own.example" })["route-redirect.map"])
    -- A wrong one gives way to the class's.
    assert.matches("|by%-class.example", put(e, "old", { ["haproxy.org/request-redirect"] = "a b" })["route-redirect.map"])
    assert.equal("", put(e, "plain")["route-redirect.map"])
    assert.equal("", put(e, "haptic")["route-redirect.map"])
    assert.same(put(e, "haptic", { ["haproxy.org/timeout-server"] = "7s" })["timeout-server.map"], put(e, "old")["timeout-server.map"])
    assert.equal("default_web_80_web", put(e, "old")["path-prefix.map"]:match(" ([%w_]+)@"))
    assert.equal("a.example/ default_web_80\n", put(e, "haptic")["path-prefix.map"])
    e:put("configmaps", { metadata = { namespace = "default", name = "haproxy" }, data = { ["request-redirect"] = "by-map.example" } })
    assert.matches("|by%-map.example", put(e, "old")["route-redirect.map"])
  end)

  it("redirect to HTTPS", function()
    local e = engine({ ["haproxy.org/ssl-redirect"] = "true", ["haproxy.org/ssl-redirect-code"] = "308" })
    assert.equal("a.example/ 308:443:default_web_80\n", put(e, "old")["redirect-prefix.map"])
    assert.equal("", put(e, "haptic")["redirect-prefix.map"])
    assert.equal("", put(e, "old", { ["haproxy.org/ssl-redirect"] = "false" })["redirect-prefix.map"]:gsub("a.example/ off.*\n", ""))
    assert.equal("a.example/ 301:443:default_web_80\n",
      put(e, "old", { ["haproxy.org/ssl-redirect-code"] = "301" })["redirect-prefix.map"])
  end)

  it("of the ConfigMap redirect an Ingress without annotations, too", function()
    local e = engine(nil)
    e:put("configmaps", { metadata = { namespace = "default", name = "haproxy" }, data = { ["ssl-redirect"] = "true" } })
    assert.equal("a.example/ 302:443:default_web_80\n", put(e, "haptic")["redirect-prefix.map"])
  end)

  it("that are wrong are told once, to whoever configures", function()
    local e = engine({ ["haproxy.org/timeout-server"] = "soon", ["haproxy.org/load-balance"] = "leastconn", ["haproxy.org/x"] = "1",
      ["haproxy.org/cr-backend"] = "1" })
    e:put("configmaps", { metadata = { namespace = "default", name = "haproxy" }, data = {} })
    put(e, "old")
    local list = told(e)
    assert.equal(1, #list)
    assert.matches('haproxy.org/timeout-server must be a duration with its unit, such as 5s, not "soon"', list[1], 1, true)
    for _, key in ipairs({ "load-balance", "x", "cr-backend" }) do
      assert.matches("defaults of " .. OTHER .. ": haproxy.org/" .. key .. " is no annotation about routes", list[1], 1, true)
    end
    assert.equal("a.example/ default_web_80_web\n", put(e, "old")["path-prefix.map"])
  end)
end)
