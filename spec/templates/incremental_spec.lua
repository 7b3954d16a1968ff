local program = require("spec.support.program")

-- A small generator of its own: the sequence is the same on every machine; HAPTIC_SEED gives another one.
local seed = tonumber(os.getenv("HAPTIC_SEED") or "1")
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end
local function pick(list) return list[random(#list)] end

local NAMESPACES, NAMES, HOSTS = { "one", "two" }, { "a", "b", "c", "d" }, { "x.example", "*.x.example", "y.example", nil }
local PATHS = { "/", "/a", "/a/b", "/b/" }

local function random_object()
  local namespace, name = pick(NAMESPACES), pick(NAMES)
  local kind = random(10)
  if kind <= 4 then
    local rules = {}
    for i = 1, random(3) do
      local paths = {}
      for j = 1, random(3) do paths[j] = { pick(PATHS), pick({ "Prefix", "Exact" }), pick(NAMES), pick({ 80, "http" }) } end
      rules[i] = { host = HOSTS[random(4)], paths = paths }
    end
    local o = program.ingress(name, { namespace = namespace, rules = rules, ingressClassName = pick({ "haptic", "haptic", "edge", "nginx", false }) })
    if random(5) == 1 then o.spec.defaultBackend = { service = { name = pick(NAMES), port = { number = 80 } } } end
    return "ingresses", o, random(3)
  elseif kind <= 6 then
    return "services", program.service(name, { { name = pick({ "http", "web" }), port = pick({ 80, 81 }) } },
      { namespace = namespace, type = pick({ "ClusterIP", "ClusterIP", "ExternalName" }), externalName = "e.example" }), random(3)
  elseif kind <= 9 then
    local endpoints = {}
    for i = 1, random(4) - 1 do
      endpoints[i] = { "10.0.0." .. random(5), pod = pick({ "p-1", "p-2", nil }), ready = pick({ true, false }), serving = true, terminating = pick({ true, false }) }
    end
    return "endpoints", program.slice(name .. "-" .. random(2), pick(NAMES), pick({ 8080, 8081 }), endpoints,
      { namespace = namespace, port_name = pick({ "http", "web" }) }), random(3)
  end
  return "ingressclasses", { kind = "IngressClass", metadata = { name = pick({ "edge", "haptic" }), annotations =
    { ["ingressclass.kubernetes.io/is-default-class"] = pick({ "true", "false" }) } },
    spec = { controller = pick({ "haproxy-haptic.org/controller", "example.com/other" }) } }, 1
end

local function fill(world, order)
  local e = program.engine()
  for _, key in ipairs(order) do
    local o = world[key]
    e:put(o.kind, o.object, o.created)
  end
  e:render()
  return e
end

local function keys_of(world)
  local keys = {}
  for k in pairs(world) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

describe("incremental rendering", function()
  it("gives what a rendering from nothing gives, in whatever order the objects came", function()
    for _ = 1, 12 do
      local world, e = {}, program.engine()
      for _ = 1, 25 do
        for _ = 1, random(4) do
          local keys = keys_of(world)
          if #keys > 0 and random(4) == 1 then
            local key = pick(keys)
            e:delete(world[key].kind, program.id_of(world[key].object))
            world[key] = nil
          else
            local kind, object, created = random_object()
            world[kind .. " " .. program.id_of(object)] = { kind = kind, object = object, created = created }
            e:put(kind, object, created)
          end
        end
        e:render()
        assert.same({}, e.host.failures)
      end
      local order = keys_of(world)
      for i = #order, 2, -1 do
        local j = random(i)
        order[i], order[j] = order[j], order[i]
      end
      assert.equal(fill(world, order).host:dump(), e.host:dump(), "seed " .. seed)
    end
  end)

  it("runs one fragment for one changed slice among many", function()
    local e = program.engine({ checked = false })
    for i = 1, 200 do
      local name = "app-" .. i
      e:put("ingresses", program.ingress(name, { rules = { { host = name .. ".example", paths = { { "/", "Prefix", name } } } } }))
      e:put("services", program.service(name))
      e:put("endpoints", program.slice(name .. "-1", name, 8080, { { "10.0.0.1" } }))
    end
    local first = e:render()
    assert.is_true(first.complete)
    e:put("endpoints", program.slice("app-7-1", "app-7", 8080, { { "10.0.0.2" } }))
    local r = e:render()
    assert.same({ "ingress.lua:backend/services/default/app-7/80" }, r.ran)
    assert.same(r.ran, r.sent)
    -- What the fragments do not use leads to a run and to nothing sent.
    local s = program.service("app-7")
    s.metadata.annotations = { note = "x" }
    e:put("services", s)
    assert.same({}, e:render().sent)
    -- A Service that nobody uses leads to nothing.
    e:put("services", program.service("unused"))
    assert.equal(0, e:render().run)
    -- A new Ingress is one fragment.
    e:put("ingresses", program.ingress("new", { rules = { { host = "new.example", paths = { { "/", "Prefix", "app-7" } } } } }))
    assert.same({ "ingress.lua:routes/ingresses/default/new" }, e:render().ran)
    -- Both Ingresses of a Service share its backend.
    e:put("endpoints", program.slice("app-7-1", "app-7", 8080, { { "10.0.0.3" } }))
    assert.equal(1, e:render().run)
    -- It goes with the last of them.
    local backend = "ingress.lua:backend/services/default/app-7/80"
    e:delete("ingresses", "default/new")
    assert.same({ "ingress.lua:routes/ingresses/default/new" }, e:render().gone)
    e:delete("ingresses", "default/app-7")
    assert.same({ "ingress.lua:routes/ingresses/default/app-7", backend }, e:render().gone)
    -- The route comes behind the backend that it leads to.
    e:put("ingresses", program.ingress("app-7", { rules = { { host = "x.example", paths = { { "/", "Prefix", "app-7" } } } } }))
    assert.same({ backend, "ingress.lua:routes/ingresses/default/app-7" }, e:render().sent)
  end)

  it("does not depend on the order of endpoints in a slice", function()
    local function render(endpoints)
      local e = program.engine()
      e:put("services", program.service("a"))
      e:put("endpoints", program.slice("a-1", "a", 8080, endpoints))
      e:put("ingresses", program.ingress("i", { rules = { { host = "x.example", paths = { { "/", "Prefix", "a" } } } } }))
      e:render()
      return e.host:dump()
    end
    local list = { { "10.0.0.1", pod = "a" }, { "10.0.0.2", pod = "b" }, { "10.0.0.3" }, { "10.0.0.4", pod = "a" } }
    local reversed = {}
    for i, x in ipairs(list) do reversed[#list + 1 - i] = x end
    assert.equal(render(list), render(reversed))
  end)
end)
