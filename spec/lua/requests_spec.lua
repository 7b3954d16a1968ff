-- Fragments that exist because others ask for them.
local program = require("spec.support.program")

local SOURCE = [[
local asks = each_requested(resources.parts, "part", function(part, out, asked)
  if part and part.fail then fail("as told") end
  out:map_entry("parts", asked.namespace .. "." .. asked.name .. "." .. asked.key, part and part.value or "none")
  if part and part.warn then out:warn("Odd", "odd") end
end)
each(resources.things, "thing", function(thing, out)
  for _, name in ipairs(thing.parts or {}) do
    asks(thing.metadata.namespace, name, thing.key or "k")
    out:map_entry("things", thing.metadata.name .. "." .. name, "x")
  end
  if thing.fail then fail("as told") end
end)
]]

local function engine(source, options)
  options = options or {}
  options.libraries = false
  options.kinds = { { name = "things", parts = 2 }, { name = "parts", parts = 2 } }
  options.scripts = { { name = "t.lua", source = source or SOURCE } }
  return program.engine(options)
end

local function object(name, fields)
  local o = { metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

local function part_id(name, key) return "t.lua:part/parts/ns/" .. name .. "/" .. (key or "k") end

describe("requested fragments", function()
  it("exist once for all who ask, and as long as one of them does", function()
    local e = engine()
    e:put("parts", object("p", { value = "1" }))
    assert.equal(0, e:render().run) -- nobody asks
    e:put("things", object("a", { parts = { "p" } }))
    e:put("things", object("b", { parts = { "p" } }))
    e:render()
    assert.equal("ns.p.k 1\n", e:output().maps.parts)
    e:put("parts", object("p", { value = "2" }))
    assert.same({ part_id("p") }, e:render().ran)
    e:put("things", object("a", {}))
    assert.same({}, e:render().gone)
    e:put("things", object("b", {}))
    assert.same({ part_id("p") }, e:render().gone)
    assert.is_nil(e:output().maps.parts)
    e:put("parts", object("p", { value = "3" }))
    assert.equal(0, e:render().run)
  end)

  it("belong to the object, also to one that does not exist", function()
    local e = engine()
    e:put("things", object("a", { parts = { "p" } }))
    e:render()
    assert.equal("ns.p.k none\n", e:output().maps.parts)
    local f = e.host.fragments[part_id("p")]
    assert.same({ "parts", "ns/p", 0 }, { f.kind, f.owner, f.created })
    e:put("parts", object("p", { value = "1", warn = true }), 77)
    assert.same({ part_id("p") }, e:render().sent)
    assert.equal(77, e.host.fragments[part_id("p")].created)
    assert.equal("odd", e:output().warnings["ns/p"].Odd)
    e:delete("parts", "ns/p")
    e:render()
    assert.equal("ns.p.k none\n", e:output().maps.parts)
  end)

  it("come before whoever is the first to ask for them", function()
    local e = engine()
    e:render()
    e:put("things", object("a", { parts = { "p", "q" } }))
    assert.same({ part_id("p"), part_id("q"), "t.lua:thing/things/ns/a" }, e:render().sent)
    -- Who leads to another one does so when that is there; then the old one goes.
    e:put("things", object("a", { parts = { "r" } }))
    local r = e:render()
    assert.same({ part_id("r"), "t.lua:thing/things/ns/a" }, r.sent)
    assert.same({ part_id("p"), part_id("q") }, r.gone)
    -- One that fails is waited for no longer.
    e:put("parts", object("s", { fail = true }))
    e:put("things", object("a", { parts = { "s" } }))
    assert.same({ "t.lua:thing/things/ns/a" }, e:render().sent)
  end)

  it("stay as long as the last good output of who asked may need them", function()
    local e = engine()
    e:put("things", object("a", { parts = { "p" } }))
    e:render()
    e:put("things", object("a", { parts = { "q" }, fail = true }))
    e:render()
    assert.equal("a.p x\n", e:output().maps.things)
    assert.equal("ns.p.k none\nns.q.k none\n", e:output().maps.parts)
    e:put("parts", object("p", { value = "new" }))
    e:render()
    assert.equal("ns.p.k new\nns.q.k none\n", e:output().maps.parts)
    e:put("things", object("a", { parts = { "q" } }))
    e:render()
    assert.equal("ns.q.k none\n", e:output().maps.parts)
    e:put("things", object("a", { parts = {}, fail = true }))
    e:render()
    e:delete("things", "ns/a")
    assert.same({ "t.lua:thing/things/ns/a", part_id("q") }, e:render().gone)
  end)

  it("may ask for others", function()
    local e = engine([[
      local deep
      deep = each_requested(resources.parts, "part", function(_, out, asked)
        local n = tonumber(asked.key)
        out:map_entry("m", asked.key, "x")
        if n > 0 then deep(asked.namespace, asked.name, tostring(n - 1)) end
      end)
      each(resources.things, "thing", function(thing, out)
        out:map_entry("things", thing.metadata.name, "x")
        if thing.depth then deep("ns", "p", thing.depth) end
      end)]])
    e:render()
    e:put("things", object("a", { depth = "3" }))
    local r = e:render()
    assert.same({ part_id("p", "0"), part_id("p", "1"), part_id("p", "2"), part_id("p", "3"), "t.lua:thing/things/ns/a" }, r.sent)
    e:put("things", object("a", {}))
    assert.equal(4, #e:render().gone)
    assert.is_nil(e:output().maps.m)
    assert.equal(1, e:render().total)
  end)

  it("may ask for each other", function()
    local e = engine([[
      local ask
      ask = each_requested(resources.parts, "part", function(_, out, asked)
        out:map_entry("m", asked.name, "x")
        ask("ns", asked.name == "p" and "q" or "p", "k")
      end)
      each(resources.things, "thing", function(_, out) ask("ns", "p", "k") out:map_entry("m", "thing", "x") end)]])
    e:render()
    e:put("things", object("a"))
    e:render()
    assert.equal("p x\nq x\nthing x\n", e:output().maps.m)
  end)

  it("are asked for by fragments only, with strings that fit", function()
    local function failure(call)
      local e = engine("local ask = each_requested(resources.parts, 'part', function() end)\n"
        .. "local value = shared('v', function() ask('ns', 'p', 'k') end)\n"
        .. "each(resources.things, 'thing', function(_, out) " .. call .. " end)")
      e:put("things", object("a"))
      e:render()
      return (select(2, next(e.host.failures)))
    end
    assert.matches("only a fragment can ask", failure("value()"))
    assert.matches("^t.lua:3: the name is a number", failure("ask('ns', 1, 'k')"))
    assert.matches("the key is empty, too long, or has '/'", failure("ask('ns', 'a', 'k/l')"))
    assert.matches("the namespace is empty", failure("ask('', 'a', 'k')"))
    assert.matches("the key is a nil", failure("ask('ns', 'a')"))
    assert.is_nil(failure("ask(nil, 'a', 'k')"))
    assert.has_error(function() engine("each_requested('parts', 'part', function() end)") end)
  end)

  it("can be replaced by a user's script", function()
    local e = engine(nil, {})
    assert.is_truthy(e)
    local r = program.engine({ libraries = false, kinds = { { name = "things", parts = 2 }, { name = "parts", parts = 2 } }, scripts = {
      { name = "t.lua", source = SOURCE },
      { name = "u.lua", source = "replace('t.lua:part', function(_, out, asked) out:map_entry('mine', asked.name, 'x') end)" } } })
    r:put("things", object("a", { parts = { "p" } }))
    r:render()
    assert.equal("p x\n", r:output().maps.mine)
  end)

  it("give what a rendering from nothing gives", function()
    local seed = tonumber(os.getenv("HAPTIC_SEED") or "1")
    local begin = seed
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % n + 1
    end
    local world, e = {}, engine()
    for step = 1, 300 do
      local kind, name = random(2) == 1 and "things" or "parts", ({ "a", "b", "c", "d" })[random(4)]
      local id = kind .. " " .. name
      if world[id] and random(4) == 1 then
        e:delete(kind, "ns/" .. name)
        world[id] = nil
      else
        local parts = {}
        for i = 1, random(3) - 1 do parts[i] = ({ "a", "b", "c", "d" })[random(4)] end
        local o = object(name, { parts = parts, key = ({ "k", "l" })[random(2)], value = tostring(random(3)) })
        world[id] = { kind = kind, object = o, created = random(3) }
        e:put(kind, o, world[id].created)
      end
      if random(3) == 1 then
        e:render()
        local full = engine()
        for _, w in pairs(world) do full:put(w.kind, w.object, w.created) end
        full:render()
        assert.equal(full.host:dump(), e.host:dump(), "HAPTIC_SEED=" .. begin .. " step " .. step)
        assert.equal(full:render().total, e:render().total)
      end
    end
  end)
end)
