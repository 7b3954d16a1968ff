--- Kinds of which only the keys are here until somebody reads an object: what is rendered is what it would be if all
--- objects were here.
local cjson = require("cjson")
local program = require("spec.support.program")

local SOURCE = [[
local size = shared("size", function(group)
  local bytes = 0
  for _, o in ipairs(resources.maps:fetch(group)) do bytes = bytes + #o.text end
  return bytes
end)
each(resources.things, "thing", function(thing, out)
  local name = thing.metadata.name
  if thing.map then
    local o = resources.maps:get("ns", thing.map)
    out:map_entry("texts", name, o and o.text or "none")
  end
  if thing.group then
    local names = {}
    for i, o in ipairs(resources.maps:fetch(thing.group)) do names[i] = o.metadata.name .. "=" .. o.text end
    out:map_entry("groups", name, #names > 0 and table.concat(names, ",") or "none")
    out:map_entry("sizes", name, tostring(size(thing.group)))
  end
  if thing.all then out:map_entry("all", name, tostring(#resources.maps:list())) end
end)
]]

local EACH = SOURCE .. [[
each(resources.maps, "map", function(o, out) out:map_entry("each", o.metadata.name, o.text) end)
]]

local function engine(keyed, source, checked)
  return program.engine({ libraries = false, checked = checked or false,
    kinds = { { name = "things", parts = 2 }, { name = "maps", parts = 2, lazy = keyed or nil, keyed = keyed or nil } },
    scripts = { { name = "t.lua", source = source or SOURCE } },
    parts = { maps = function(o) return o.group, o.metadata.name end } })
end

local function map(name, group, text) return { metadata = { name = name, namespace = "ns" }, group = group, text = text } end
local function thing(name, fields)
  local o = { metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields) do o[k] = v end
  return o
end

--- The core's side: objects by id, and which of them are asked for.
local function core(e)
  return { e = e, objects = {}, asked = {}, texts = 0, fetched = 0 }
end

local function send(c, id)
  local o = c.objects[id]
  c.e.E.put("maps", id, "ns", o.metadata.name, 1000, c.asked[id] and cjson.encode(o) or "", o.group, o.metadata.name)
end

local function put(c, o)
  local id = "ns/" .. o.metadata.name
  c.objects[id] = o
  send(c, id)
end

local function delete(c, name)
  c.objects["ns/" .. name] = nil
  c.e:delete("maps", "ns/" .. name)
end

--- Render until nothing is asked for any more; answers come in between, in any order.
local function settle(c)
  local complete
  for _ = 1, 20 do
    local r = c.e:render()
    complete = complete or r.complete
    local open = {}
    for _, line in ipairs(c.e.host.asked) do
      local sign, id = line:match("^([+-])maps (.*)$")
      c.asked[id] = sign == "+" or nil
      if sign == "+" then open[#open + 1] = id end
    end
    if #open == 0 then return complete end
    for i = #open, 1, -1 do
      local id = table.remove(open, math.random(i))
      if c.objects[id] then
        send(c, id)
        c.fetched = c.fetched + 1
      end
      c.e.E.answer("maps", id, 1, "")
    end
  end
  error("it asks on and on")
end

local function outputs(e)
  local all = {}
  for id, f in pairs(e.host.fragments) do
    local items = {}
    for i, item in ipairs(f.items) do items[i] = item.scope .. " " .. item.key .. " " .. item.text end
    all[id] = items
  end
  return all
end

describe("a kind whose objects are read on demand", function()
  it("has the objects that are read, and no others", function()
    local c = core(engine(true))
    for i = 1, 20 do put(c, map("m" .. i, "g" .. i % 4, "text " .. i)) end
    c.e:put("things", thing("a", { map = "m7" }))
    c.e:put("things", thing("b", { map = "absent" }))
    assert.is_true(settle(c))
    assert.same({ ["ns/m7"] = true }, c.asked)
    assert.equal(1, c.fetched)
    assert.same({ "texts a text 7" }, outputs(c.e)["t.lua:thing/things/ns/a"])
    assert.same({ "texts b none" }, outputs(c.e)["t.lua:thing/things/ns/b"])
    -- What is not read changes without a run, and what is read with one.
    put(c, map("m8", "g0", "other"))
    assert.equal(0, c.e:render().run)
    put(c, map("m7", "g3", "newer"))
    assert.equal(1, c.e:render().run)
    assert.same({ "texts a newer" }, outputs(c.e)["t.lua:thing/things/ns/a"])
    -- One that comes later is asked for then.
    put(c, map("absent", "g1", "here"))
    settle(c)
    assert.same({ "texts b here" }, outputs(c.e)["t.lua:thing/things/ns/b"])
  end)

  it("keeps the last output of a fragment that waits, and lets others go on", function()
    local c = core(engine(true))
    put(c, map("m", "g", "one"))
    put(c, map("n", "g", "two"))
    c.e:put("things", thing("a", { map = "m" }))
    settle(c)
    c.e:put("things", thing("a", { map = "n" }))
    c.e:put("things", thing("b", { map = "m" }))
    c.e:render()
    assert.same({ "+maps ns/n" }, c.e.host.asked)
    assert.same({ "texts a one" }, outputs(c.e)["t.lua:thing/things/ns/a"])
    assert.same({ "texts b one" }, outputs(c.e)["t.lua:thing/things/ns/b"])
    c.asked["ns/n"] = true
    send(c, "ns/n")
    c.e.E.answer("maps", "ns/n", 1, "")
    c.e:render()
    assert.same({ "texts a two" }, outputs(c.e)["t.lua:thing/things/ns/a"])
  end)

  it("forgets a text that nobody reads any more", function()
    local c = core(engine(true))
    put(c, map("m", "g", "one"))
    c.e:put("things", thing("a", { map = "m" }))
    settle(c)
    c.e:put("things", thing("a", {}))
    c.e:render()
    assert.same({ "-maps ns/m" }, c.e.host.asked)
    c.asked = {}
    c.e:put("things", thing("a", { map = "m" }))
    c.e:render()
    assert.same({ "+maps ns/m" }, c.e.host.asked) -- it is not taken for what was here once
  end)

  it("tells a reader what may not be read, by every way to read it", function()
    local c = core(engine(true, EACH))
    put(c, map("m", "g", "one"))
    c.e:put("things", thing("a", { map = "m" }))
    c.e:put("things", thing("b", { group = "g" }))
    c.e:render()
    c.e.E.answer("maps", "ns/m", 1, "the controller may not read it")
    c.e:render()
    for _, id in ipairs({ "t.lua:thing/things/ns/a", "t.lua:thing/things/ns/b", "t.lua:map/maps/ns/m" }) do
      assert.matches("maps ns/m: the controller may not read it", c.e.host.failures[id], 1, true)
    end
  end)

  it("has a bound, which is told to who passes it", function()
    local c = core(engine(true))
    for i = 1, 5001 do put(c, map("m" .. i, "g", "t")) end
    c.e:put("things", thing("a", { all = true }))
    settle(c)
    assert.matches("more than 5000 maps are asked for; store: full keeps all of them",
      c.e.host.failures["t.lua:thing/things/ns/a"], 1, true)
  end)

  for name, source in pairs({ ["by requests"] = SOURCE, ["by requests and each"] = EACH }) do
    it("renders what it renders with all objects, " .. name, function()
      local seed = tonumber(os.getenv("SEED")) or os.time()
      math.randomseed(seed)
      print("seed " .. seed)
      local c, full = core(engine(true, source, true)), engine(false, source, true)
      local state = {}
      for _ = 1, 80 do
        for _ = 1, math.random(4) do
          local n = "m" .. math.random(6)
          local kind = math.random(5)
          if kind == 1 and state[n] then
            state[n] = nil
            delete(c, n)
            full:delete("maps", "ns/" .. n)
          elseif kind <= 3 then
            local o = map(n, "g" .. math.random(3), "t" .. math.random(1000))
            state[n] = o
            put(c, o)
            full:put("maps", o)
          else
            local o = thing("a" .. math.random(4), { map = math.random(2) == 1 and "m" .. math.random(8) or nil,
              group = math.random(2) == 1 and "g" .. math.random(4) or nil, all = math.random(6) == 1 or nil })
            c.e:put("things", o)
            full:put("things", o)
          end
        end
        settle(c)
        full:render()
        assert.same(full.host.failures, c.e.host.failures)
        assert.same(outputs(full), outputs(c.e))
      end
    end)
  end
end)
