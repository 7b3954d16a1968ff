-- The addresses that the ingress library writes into the status of Ingresses.
local program = require("spec.support.program")

local STATUS = 6

local function lb(list, more)
  local s = { metadata = { namespace = "edge", name = "lb" }, spec = { type = "LoadBalancer" },
    status = { loadBalancer = { ingress = list } } }
  for k, v in pairs(more or {}) do s.spec[k] = v end
  return s
end

--- What is wished for the Ingress "default/web".
local function wish(e, name)
  local f = e.host.fragments["ingress.lua:routes/ingresses/default/" .. (name or "web")]
  for _, c in ipairs(f and f.items or {}) do
    if c.kind == STATUS then return c.text end
  end
  return nil
end

local function engine(context, objects, options)
  options = options or {}
  options.context = context
  local e = program.engine(options)
  local ing = program.ingress("web", { rules = { { host = "a.example", paths = { { "/" } } } },
    ingressClassName = options.class, annotations = options.annotations })
  ing.metadata.annotations = options.annotations
  e:put("ingresses", ing)
  for _, o in ipairs(objects or {}) do e:put(o[1], o[2]) end
  e:render()
  return e
end

local function entries(list) return '{"loadBalancer":{"ingress":[' .. list .. "]}}" end
local SERVICE = { publish_service = "edge/lb" }

describe("the status of an Ingress", function()
  it("is not touched by default", function()
    assert.is_nil(wish(engine({}, { { "services", lb({ { ip = "192.0.2.1" } }) } })))
  end)

  it("has the addresses of a Service", function()
    assert.equal(entries('{"ip":"192.0.2.1"},{"hostname":"lb.example"},{"ip":"192.0.2.9"}'),
      wish(engine(SERVICE, { { "services", lb({ { ip = "192.0.2.1", ports = {} }, { hostname = "LB.example" } },
        { externalIPs = { "192.0.2.9", "192.0.2.1" } }) } })))
    assert.equal(entries('{"hostname":"edge.example"}'), wish(engine(SERVICE,
      { { "services", lb(nil, { type = "ExternalName", externalName = "edge.example" }) } })))
    -- Of a Service of another type those are not reachable from outside.
    assert.is_nil(wish(engine(SERVICE, { { "services", lb({ { ip = "192.0.2.1" } }, { type = "ClusterIP" }) } })))
  end)

  it("is left alone while the Service has none, or is not there", function()
    local e = engine(SERVICE, { { "services", lb({ { ip = "192.0.2.1" } }) } })
    assert.is_truthy(wish(e))
    e:put("services", lb({}))
    e:render()
    assert.is_nil(wish(e))
    e:delete("services", "edge/lb")
    e:render()
    assert.is_nil(wish(e))
    e:put("services", lb({ { ip = "192.0.2.2" } }))
    e:render()
    assert.equal(entries('{"ip":"192.0.2.2"}'), wish(e))
  end)

  it("has fixed addresses", function()
    assert.equal(entries('{"ip":"192.0.2.1"},{"hostname":"lb.example"},{"ip":"2001:db8::1"}'),
      wish(engine({ publish_addresses = { "192.0.2.1", "lb.example", "2001:db8::1" } })))
  end)

  it("has the addresses of nodes", function()
    local function node(name, ready, address, labels)
      return { "nodes", { metadata = { name = name, labels = labels }, status = {
        conditions = { { type = "Ready", status = ready } },
        addresses = { { type = "InternalIP", address = address }, { type = "Hostname", address = name } } } } }
    end
    local kinds = { { name = "nodes", parts = 1 } }
    for _, k in ipairs(program.KINDS) do kinds[#kinds + 1] = k end
    local nodes = { node("n1", "True", "10.0.0.1"), node("n2", "False", "10.0.0.2"), node("n3", "True", "10.0.0.3"),
      node("n4", "True", "10.0.0.4", { ["node.kubernetes.io/exclude-from-external-load-balancers"] = "" }) }
    assert.equal(entries('{"ip":"10.0.0.1"},{"ip":"10.0.0.3"}'),
      wish(engine({ publish_nodes = "internal" }, nodes, { kinds = kinds })))
    assert.is_nil(wish(engine({ publish_nodes = "external" }, nodes, { kinds = kinds })))
    local e = engine({ publish_nodes = "internal" })
    local told
    for _, f in pairs(e.host.fragments) do
      for _, c in ipairs(f.items) do told = told or c.key == "KindNotWatched" end
    end
    assert.is_true(told)
    assert.is_nil(wish(e))
  end)

  it("has the addresses of nodes with a ready pod of HAProxy only, where the pods are watched", function()
    local function ready(name, status, labels)
      return { metadata = { name = name, labels = labels }, status = { conditions = { { type = "Ready", status = status } } } }
    end
    local kinds = { { name = "nodes", parts = 1 }, { name = "haproxy_pods", parts = 2 } }
    for _, k in ipairs(program.KINDS) do kinds[#kinds + 1] = k end
    local objects = {}
    for i = 1, 4 do
      local node = ready("n" .. i, "True")
      node.status.addresses = { { type = "InternalIP", address = "10.0.0." .. i } }
      objects[i] = { "nodes", node }
    end
    local function pod(name, node, status, deleted)
      local p = ready(name, status)
      p.metadata.namespace, p.metadata.deletionTimestamp = "haptic", deleted
      p.spec = { nodeName = node }
      return p
    end
    for _, p in ipairs({ pod("a", "n1", "True"), pod("b", "n2", "False"), pod("c", "n3", "True", "2024-01-01T00:00:00Z"), pod("d") }) do
      objects[#objects + 1] = { "haproxy_pods", p }
    end
    local e = engine({ publish_nodes = "internal" }, objects, { kinds = kinds })
    assert.equal(entries('{"ip":"10.0.0.1"}'), wish(e))
    e:put("haproxy_pods", pod("d", "n4", "True"))
    e:render()
    assert.equal(entries('{"ip":"10.0.0.1"},{"ip":"10.0.0.4"}'), wish(e))
    -- None is ready: what stands there stays.
    e:put("haproxy_pods", pod("a", "n1", "False"))
    e:put("haproxy_pods", pod("d", "n4", "False"))
    e:render()
    assert.is_nil(wish(e))
  end)

  it("is written as the class says", function()
    local theirs = { "ingressclasses", { metadata = { name = "theirs" }, spec = { controller = "example.com/x" } } }
    local function of(mode, class)
      return wish(engine({ publish_addresses = { "192.0.2.1" },
        ingress_classes = { { controller = "example.com/x", status = mode } } }, { theirs }, { class = class or "theirs",
        annotations = { ["haproxy-haptic.org/status-entries"] = "192.0.2.1" } }))
    end
    assert.equal(entries('{"ip":"192.0.2.1"}'), of(nil))
    assert.equal(entries('{"ip":"192.0.2.1"}'), of("own"))
    assert.equal('{"$options":{"alone":true},' .. entries('{"ip":"192.0.2.1"}'):sub(2), of("handover"))
    assert.is_nil(of("never"))
    assert.equal(entries('{"ip":"192.0.2.1"}'), of("never", "haptic"))
    -- Our own class by name.
    assert.is_nil(wish(engine({ publish_addresses = { "192.0.2.1" }, ingress_classes = { { name = "haptic", status = "never" } } },
      {}, { class = "haptic" })))
  end)

  it("of one that another controller serves loses what is noted as ours", function()
    local theirs = { "ingressclasses", { metadata = { name = "theirs" }, spec = { controller = "example.com/x" } } }
    local noted = { ["haproxy-haptic.org/status-entries"] = "192.0.2.1" }
    local context = { publish_addresses = { "192.0.2.1" } }
    assert.equal('{"loadBalancer":{"ingress":{}}}',
      wish(engine(context, { theirs }, { class = "theirs", annotations = noted })))
    assert.is_nil(wish(engine(context, { theirs }, { class = "theirs" })))
    assert.is_nil(wish(engine(context, {}, { class = "theirs", annotations = noted }))) -- a class that nobody knows
  end)

  it("is left alone where it may not be written", function()
    local kinds = {}
    for _, k in ipairs(program.KINDS) do kinds[#kinds + 1] = { name = k.name, parts = k.parts } end
    local e = engine({ publish_addresses = { "192.0.2.1" } }, {}, { kinds = kinds })
    assert.is_nil(wish(e))
    assert.same({}, e.host.failures)
  end)
end)
