-- What an author or a tenant writes costs work in proportion to its size, not to its square: each case at double size.
local program = require("spec.support.program")
local room = require("haptic.room")
local work = require("spec.support.work")

local KINDS = { { name = "things", parts = 2 }, { name = "parts", parts = 2 } }

local function engine(source)
  return program.engine({ checked = false, libraries = false, kinds = KINDS,
    scripts = { { name = "t.lua", source = source } } })
end

local function object(name, fields)
  local o = { metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

local function names(n, prefix)
  local list = {}
  for i = 1, n do list[i] = (prefix or "p") .. i end
  return list
end

--- Each case prepares for a size and gives back what is measured.
local CASES = {
  ["one that asks for many others and then fails"] = function(n)
    local e = engine([[
      local ask = each_requested(resources.parts, "part", function(_, out, asked) out:map_entry("m", asked.name, "x") end)
      each(resources.things, "thing", function(thing)
        for _, name in ipairs(thing.parts) do ask("ns", name, "k") end
        if thing.fail then fail("as told") end
      end)]])
    e:put("things", object("a", { parts = names(n) }))
    e:render()
    e:put("things", object("a", { parts = names(n, "q"), fail = true }))
    return function() e:render() end
  end,
  ["many that wait for room, while others shrink again and again"] = function(n)
    local released = 0
    local held = room.new({ released = function() released = released + 1 return released end,
      fits = function() return false end })
    local fragments = {}
    for i = 1, n do
      fragments[i] = {}
      held:hold("ns", fragments[i], 1)
    end
    return function()
      for i = 1, n do
        held:forget(fragments[i])
        held:retry(function() end)
      end
    end
  end,
  ["one that reads many objects"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      for _, name in ipairs(thing.parts) do resources.parts:get("ns", name) end
      out:map_entry("m", thing.metadata.name, "x") end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["many that read one object, which changes"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      out:map_entry("m", thing.metadata.name, (resources.parts:get("ns", "p") or { value = "none" }).value) end)]])
    for i = 1, n do e:put("things", object("t" .. i)) end
    e:render()
    return function()
      e:put("parts", object("p", { value = "1" }))
      e:render()
      for i = 1, n do e:delete("things", "ns/t" .. i) end
      e:render()
    end
  end,
  ["a shared value by many keys"] = function(n)
    local e = engine([[local v = shared("v", function(key) return { key } end)
      each(resources.things, "t", function(thing, out)
        for _, name in ipairs(thing.parts) do out:map_entry("m", name, v(name)[1]) end end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["many messages of one reason, and of many"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      for i, name in ipairs(thing.parts) do
        out:warn("Same", name)
        if i < 100 then out:event("R" .. name, name) end
      end end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["many lines, words, servers and entries"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      out:backend("b", function(b)
        for _, name in ipairs(thing.parts) do
          b:line("http-request", "set-header", "X", name)
          b:server({ name = name, address = "192.0.2.1", port = 80, "check" })
        end
      end)
      for _, name in ipairs(thing.parts) do out:map_entry("m", name, name) end
    end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["many pieces of many sections"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      for _, name in ipairs(thing.parts) do
        out:section("frontend f", { key = name }, function(b) b:comment(name) end)
        out:backend("b_" .. name, function(b) b:line("balance", "random") end)
      end end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["helpers"] = function(n)
    local e = engine([[each(resources.things, "t", function(thing, out)
      local sorted = sort_by(thing.parts, function(x) return x end)
      local groups = group_by(sorted, function(x) return x end)
      local joined = table.concat(keys(groups), ",")
      out:map_entry("m", "k", tostring(#joined:split(",")) .. #json(thing.parts) .. #b64encode(joined)
        .. #regex_escape(joined) .. #joined:trim() .. #hash(joined)) end)]])
    e:put("things", object("a", { parts = names(n) }))
    return function() e:render() end
  end,
  ["a text with many lines, statements and values"] = function(n)
    local lines = { "global", "{% for _, x in ipairs({ 1, 2 }) do %}" }
    for i = 1, n do lines[#lines + 1] = "    # {{ x }} {# remark #} line " .. i end
    lines[#lines + 1] = "{% end %}"
    return function()
      program.engine({ checked = false, libraries = false, kinds = KINDS, haproxyConfig = table.concat(lines, "\n") }):render()
    end
  end,
}

--- The same of the ingress library, by what an Ingress or its Service has many of.
local LIBRARY = {
  ["paths of an Ingress"] = function(n)
    local paths = {}
    for i = 1, n do paths[i] = { "/" .. i, "Prefix", "web", 80 } end
    return { { "ingresses", program.ingress("i", { rules = { { host = "a.example", paths = paths } } }) },
      { "services", program.service("web") } }
  end,
  ["hosts and Services of an Ingress"] = function(n)
    local rules = {}
    for i = 1, n do rules[i] = { host = "h" .. i .. ".example", paths = { { "/", "Prefix", "s" .. i, 80 } } } end
    return { { "ingresses", program.ingress("i", { rules = rules }) } }
  end,
  ["endpoints of a Service"] = function(n)
    local list = {}
    for i = 1, n do list[i] = { ("10.%d.%d.%d"):format(i / 65536, i / 256 % 256, i % 256) } end
    return { { "ingresses", program.ingress("i", { rules = { { host = "a.example", paths = { { "/" } } } } }) },
      { "services", program.service("web") }, { "endpoints", program.slice("web-1", "web", 80, list) } }
  end,
  ["slices of a Service"] = function(n)
    local list = { { "ingresses", program.ingress("i", { rules = { { host = "a.example", paths = { { "/" } } } } }) },
      { "services", program.service("web") } }
    for i = 1, n do
      list[#list + 1] = { "endpoints", program.slice("web-" .. i, "web", 80,
        { { ("10.%d.%d.%d"):format(i / 65536, i / 256 % 256, i % 256) }, { "10.255.255.1" } }) }
    end
    return list
  end,
  ["annotations of an Ingress and a Service"] = function(n)
    local ing = program.ingress("i", { rules = { { host = "a.example", paths = { { "/" } } } } })
    local service = program.service("web")
    ing.metadata.annotations, service.metadata.annotations = {}, {}
    for i = 1, n do
      ing.metadata.annotations["nginx.ingress.kubernetes.io/key" .. i] = "x"
      service.metadata.annotations["haproxy.org/key" .. i] = "x"
    end
    return { { "ingresses", ing }, { "services", service } }
  end,
  ["ports of a Service"] = function(n)
    local ports, paths = {}, {}
    for i = 1, n do ports[i] = { name = "p" .. i, port = i } end
    paths[1] = { "/", "Prefix", "web", n }
    return { { "ingresses", program.ingress("i", { rules = { { host = "a.example", paths = paths } } }) },
      { "services", program.service("web", ports) } }
  end,
}

for name, objects in pairs(LIBRARY) do
  CASES["the ingress library: " .. name] = function(n)
    local e = program.engine({ checked = false })
    for _, o in ipairs(objects(n)) do e:put(o[1], o[2]) end
    return function() e:render() end
  end
end

describe("work grows with the size, not with its square:", function()
  for name, prepare in pairs(CASES) do
    it(name, function()
      local once, twice = work.of(prepare(1000)), work.of(prepare(2000))
      if os.getenv("GROWTH_VERBOSE") then print(("%8.0f %8.0f %5.2f %s"):format(once, twice, twice / once, name)) end
      assert.is_true(once > 0)
      assert.is_true(twice < once * 2.5 + 20, ("%.0f thousand instructions at 1000, %.0f at 2000"):format(once, twice))
    end)
  end
end)

-- Steps of a pattern are no instructions of the interpreter, so they cannot be counted. With work that grows with the
-- square, each of these would take more than an hour.
describe("blanks are passed over once:", function()
  local MANY = (" "):rep(2 ^ 20)

  it("in a text of nothing else, before, behind and within others", function()
    local e = engine([[each(resources.things, "t", function(thing, out)
      for _, name in ipairs({ "only", "before", "behind", "within" }) do
        out:map_entry("m", name, #thing[name]:trim() .. "x")
      end end)]])
    e:put("things", object("a", { only = MANY, before = MANY .. "ab", behind = "ab" .. MANY, within = "a" .. MANY .. "b" }))
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("before 2x\nbehind 2x\nonly 0x\nwithin " .. 2 ^ 20 + 2 .. "x\n", e:output().maps.m)
  end)

  it("in annotations", function()
    local e = program.engine({ checked = false })
    e:put("services", program.service("web"))
    for i, value in ipairs({ MANY, "a" .. MANY .. "b" }) do
      local annotations = { ["nginx.ingress.kubernetes.io/whitelist-source-range"] = value }
      for _, key in ipairs({ "allow-list", "auth-type", "path-rewrite", "request-set-header", "load-balance" }) do
        annotations["haproxy-haptic.org/" .. key] = value
      end
      e:put("ingresses", program.ingress("i" .. i, { annotations = annotations,
        rules = { { host = i .. ".example", paths = { { "/" } } } } }))
    end
    e:render()
    assert.same({}, e.host.failures)
    -- Only blanks are as good as no value; with letters between them the list is wrong, which closes the route.
    assert.matches("^1%.example/ default_web_80%S*\n2%.example/ haptic_unavailable\n$", e:output().maps["path-prefix.map"])
  end)
end)
